"""A broker in a process of its own, so that its memory, its file descriptors, its log and its exit can be looked at."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 30.0
STOP_SECONDS = 20.0
MIB = 1024 * 1024
SECURE = {"mqtts": "tcp", "wss": "ws"}  # listeners with TLS, and what they are without it

HTTP_HEAD = (
    b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


class BrokerProcess:
    """`broker serve` with a tcp, a ws, an auto and a unix listener on addresses that the system chose."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.asked_to_end = False
        self.addresses: dict[str, Any] = {}  # by listener type, for socket.connect
        self._proc = Path(f"/proc/{process.pid}")

    def connect(self, type: str = "tcp", receive_buffer: int = 0) -> socket.socket:
        """A new blocking socket to the listener of that type."""
        address = self.addresses[type]
        made = socket.socket(socket.AF_UNIX if type == "unix" else socket.AF_INET)
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(20)
        try:
            made.connect(address)
        except OSError:
            made.close()
            raise
        return made

    def memory(self) -> int:
        """Resident bytes."""
        return int((self._proc / "statm").read_text().split()[1]) * resource.getpagesize()

    def descriptors(self) -> int:
        return len(os.listdir(self._proc / "fd"))

    def cpu_seconds(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def limit_descriptors(self, more: int) -> None:
        """Leave the process room for so many more file descriptors than it has now."""
        most = self.descriptors() + more
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (most, most))

    def records(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_for_listeners(self, types: list[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            for record in self.records():
                if record["message"] == "listening":
                    url = urlsplit(record["url"])
                    name = url.scheme if url.scheme in SECURE else record["type"]
                    self.addresses[name] = url.path if url.scheme == "unix" else (url.hostname, url.port)
            if set(self.addresses) == set(types):
                return
            time.sleep(0.05)
        raise AssertionError(f"the broker did not start:\n{self.log.read_text()}")

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Once: behind the first signal the process is on its way."""
        if not self.asked_to_end and self.process.poll() is None:
            self.process.send_signal(number)
        self.asked_to_end = True

    def settled(self, descriptors: int, within: float = 20.0) -> int:
        """Its file descriptors, as soon as they are down to `descriptors`, or after `within` seconds."""
        deadline = time.monotonic() + within
        while (now := self.descriptors()) > descriptors and time.monotonic() < deadline:
            time.sleep(0.05)
        return now


@contextmanager
def running(
    folder: Path,
    types: tuple[str, ...] = ("tcp", "ws", "auto", "unix"),
    server: str = "",
    certificate: tuple[Path, Path] | None = None,
    **limits: object,
) -> Iterator[BrokerProcess]:
    """A broker with these limits; it must still be alive at the end, and must not have logged a fault of its own.

    `certificate`, with its key, is for the types `mqtts` and `wss`.
    """
    lines = ["[server]", server, "[limits]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in limits.items()]
    for type_ in types:
        lines += ["[[listeners]]", f'type = "{SECURE.get(type_, type_)}"']
        lines.append(f'path = "{folder}/socket"' if type_ == "unix" else "port = 0")
        if type_ in SECURE and certificate is not None:
            lines += ["[listeners.tls]", f'certificate = "{certificate[0]}"', f'key = "{certificate[1]}"']
    configuration = folder / "broker.toml"
    configuration.write_text("\n".join(lines) + "\n")
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "serve", "-c", str(configuration), "--log-format", "json"],
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    broker = BrokerProcess(process, log)
    try:
        broker.wait_for_listeners(list(types))
        yield broker
        broker.ask_to_end()
        status = process.wait(STOP_SECONDS)
        text = log.read_text()
        assert status == 0, text[-4000:]
        assert "Traceback" not in text, text[-4000:]
        assert "a bug" not in text, text[-4000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def read_until_end(connected: socket.socket, within: float = 20.0) -> bytes:
    """All that still comes; a reset is an end as well."""
    connected.settimeout(within)
    parts: list[bytes] = []
    try:
        while data := connected.recv(65_536):
            parts.append(data)
    except ConnectionError:
        pass
    return b"".join(parts)


def read_some(connected: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes."""
    data = b""
    while len(data) < size:
        more = connected.recv(size - len(data))
        assert more, f"the end after {data!r}"
        data += more
    return data


def reset(connected: socket.socket) -> None:
    """Close with RST, as a machine does that has lost its memory of the connection."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connected.close()


def frame(payload: bytes, opcode: int = 2, fin: bool = True, masked: bool = True) -> bytes:
    """A Client's WebSocket frame; the masking key is zero, so that the payload can be read in a dump."""
    first = (0x80 if fin else 0) | opcode
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65_536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload
