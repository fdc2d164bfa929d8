"""Brokers as processes of their own: ours, and Mosquitto as the other opinion.

Both listen on ports that the system chose, log into a file, and are ended by the process that started them.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Door:
    """One way into a broker: raw TCP, or WebSocket."""

    type: str
    host: str
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        scheme = "mqtt" if self.type == "tcp" else "ws"
        return f"{scheme}://{self.host}:{self.port}{self.path}"


@dataclass
class RunningBroker:
    """A broker's process and its two doors."""

    process: subprocess.Popen[bytes]
    log: Path
    tcp: Door
    ws: Door

    def door(self, type: str) -> Door:
        return self.tcp if type == "tcp" else self.ws

    def end(self) -> int:
        """Ask the process to end, wait for it, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def wait_for(log: Path, process: subprocess.Popen[bytes], patterns: Sequence[str]) -> list[re.Match[str]]:
    """Wait until every pattern is in the log; return the matches in the order of `patterns`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace")
        matches = [re.search(pattern, text) for pattern in patterns]
        found = [match for match in matches if match is not None]
        if len(found) == len(patterns):
            return found
        if process.poll() is not None:
            raise RuntimeError(f"the broker ended with status {process.returncode} at its start:\n{text}")
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise RuntimeError(f"the broker did not say where it listens:\n{log.read_text(errors='replace')}")


@contextmanager
def served(
    folder: Path,
    *arguments: str,
    tcp_port: int = 0,
    ws_port: int = 0,
    environ: Mapping[str, str] | None = None,
) -> Iterator[RunningBroker]:
    """Run `broker serve` on loopback; at the end it must stop at SIGTERM with status 0."""
    log = folder / "broker.log"
    command = [
        *(sys.executable, "-m", "broker", "serve"),
        *("--bind", f"tcp://127.0.0.1:{tcp_port}", "--bind", f"ws://127.0.0.1:{ws_port}"),
        *arguments,
    ]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environ)
    tcp, ws = wait_for(log, process, [r"(?:mqtt|tcp)://127\.0\.0\.1:(\d+)", r"ws://127\.0\.0\.1:(\d+)/mqtt"])
    running = RunningBroker(
        process, log, Door("tcp", "127.0.0.1", int(tcp[1])), Door("ws", "127.0.0.1", int(ws[1]), "/mqtt")
    )
    try:
        yield running
    finally:
        status = running.end()
    assert status == 0, log.read_text(errors="replace")


def free_port() -> int:
    """Return a TCP port that was free a moment ago, for a program that cannot be given port 0."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def mosquitto(folder: Path, program: str) -> Iterator[RunningBroker]:
    """Run Mosquitto with everybody let in, on loopback."""
    tcp, ws = Door("tcp", "127.0.0.1", free_port()), Door("ws", "127.0.0.1", free_port(), "/mqtt")
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {tcp.port} 127.0.0.1\nlistener {ws.port} 127.0.0.1\nprotocol websockets\n"
        "allow_anonymous true\npersistence false\nlog_dest stderr\n"
    )
    log = folder / "mosquitto.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=stream, stderr=stream)
    wait_for(log, process, ["running"])
    running = RunningBroker(process, log, tcp, ws)
    try:
        yield running
    finally:
        running.end()
