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
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Door:
    """One way into a broker: raw TCP, WebSocket, or a Unix socket, whose path is `host`, as paho-mqtt has it."""

    transport: Literal["tcp", "websockets", "unix"]
    host: str
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        scheme = {"tcp": "mqtt", "websockets": "ws"}[self.transport]
        return f"{scheme}://{self.host}:{self.port}{self.path}"


@dataclass
class RunningBroker:
    """A broker's process and its doors: `tcp`, `ws`; of ours also `unix`, and `auto-tcp` and `auto-ws` on one port."""

    process: subprocess.Popen[bytes]
    log: Path
    doors: Mapping[str, Door]

    @property
    def tcp(self) -> Door:
        return self.doors["tcp"]

    @property
    def ws(self) -> Door:
        return self.doors["ws"]

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
) -> Iterator[RunningBroker]:
    """Run `broker serve` with a listener of each type; at the end it must stop at SIGTERM with status 0."""
    log = folder / "broker.log"
    path = str(folder / "socket")
    binds = (f"tcp://127.0.0.1:{tcp_port}", f"ws://127.0.0.1:{ws_port}", f"unix:{path}", "auto://127.0.0.1:0")
    command = [sys.executable, "-m", "broker", "serve", *(f"--bind={bind}" for bind in binds), *arguments]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    tcp, ws, auto = wait_for(
        log, process, [rf'"url": "(?:mqtt|ws)://127\.0\.0\.1:(\d+).*"type": "{type}"' for type in ("tcp", "ws", "auto")]
    )
    doors = {
        "tcp": Door("tcp", "127.0.0.1", int(tcp[1])),
        "ws": Door("websockets", "127.0.0.1", int(ws[1]), "/mqtt"),
        "unix": Door("unix", path, 1),
        "auto-tcp": Door("tcp", "127.0.0.1", int(auto[1])),
        "auto-ws": Door("websockets", "127.0.0.1", int(auto[1]), "/mqtt"),
    }
    running = RunningBroker(process, log, doors)
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
    tcp = Door("tcp", "127.0.0.1", free_port())
    ws = Door("websockets", "127.0.0.1", free_port(), "/mqtt")
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {tcp.port} 127.0.0.1\nlistener {ws.port} 127.0.0.1\nprotocol websockets\n"
        "allow_anonymous true\npersistence false\nlog_dest stderr\n"
    )
    log = folder / "mosquitto.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=stream, stderr=stream)
    wait_for(log, process, ["running"])
    running = RunningBroker(process, log, {"tcp": tcp, "ws": ws})
    try:
        yield running
    finally:
        running.end()
