"""sd_notify(3): telling a service manager how the broker does, over the datagram socket that it names.

Without `NOTIFY_SOCKET` nothing is told, and what cannot be told is left untold: a service manager that does not listen
is no reason to serve nobody. The watchdog wants to hear from this process at least once in `WATCHDOG_USEC`; it is told
twice as often.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServiceManager:
    """See the module. `beat_every` is in seconds, 0.0 where there is no watchdog. `close` it at the end."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.beat_every = 0.0
        self._socket: socket.socket | None = None
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):  # others are for virtual machines
            return
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notified.setblocking(False)
        try:
            notified.connect(f"\0{address[1:]}" if address[0] == "@" else address)
        except (OSError, ValueError):
            notified.close()
            return
        self._socket = notified
        self.beat_every = _watchdog(environ) / 2

    def tell(self, *assignments: str) -> None:
        """One datagram of lines such as "READY=1"."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send("\n".join(assignments).encode())

    def ready(self, status: str) -> None:
        """It serves; also after `reloading`."""
        self.tell("READY=1", _status(status))

    def reloading(self) -> None:
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self.tell("STOPPING=1", _status("Shutting down"))

    def beat(self) -> None:
        """Sent when connections are being served, and not otherwise."""
        self.tell("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog(environ: Mapping[str, str]) -> float:
    """The watchdog's patience with this process in seconds; 0.0 for none."""
    digits = environ.get("WATCHDOG_USEC", "")
    of_whom = environ.get("WATCHDOG_PID", "")
    if not digits.isdecimal() or (of_whom and of_whom != str(os.getpid())):
        return 0.0
    return int(digits) / 1e6


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())
