"""What a process and all that descend from it have cost: CPU seconds and resident memory.

On Linux CPU time comes from the process's own CPU clock, which counts nanoseconds of all its threads, those that have
ended included; /proc/PID/stat would count in steps of 10 ms. Elsewhere `ps` is asked. A descendant that has ended
counts with what it had when it was last seen. Nothing here needs a right beyond that of a user who may list processes.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"  # the kernel's number of the state, in /proc/net/tcp
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_LOOK_AGAIN: Final = 1.0  # seconds until new descendants are looked for
_PS_TIME: Final = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")


class NoSuchProcess(ValueError):
    """There is no process of this number, or it has ended; the message says which."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its descendants have used until `at`."""

    at: float  # seconds of time.monotonic()
    cpu: float  # seconds since the process began
    rss: int  # bytes of resident memory now; pages that processes share count for each


class Processes:
    """A process and its descendants, read again and again."""

    def __init__(self, pid: int) -> None:
        """NoSuchProcess where there is none."""
        self.pid = pid
        self._cpu: dict[int, float] = {}  # of each process, as last seen
        self._linux = sys.platform == "linux"
        self._descendants: list[int] = []
        self._looked = -_LOOK_AGAIN
        self.read()

    def read(self) -> Usage:
        """NoSuchProcess when the process has ended; that a descendant has ended is no error."""
        at = time.monotonic()
        found = self._read_linux() if self._linux else read_ps(_ps(), self.pid)
        if self.pid not in found:
            raise NoSuchProcess(f"there is no process {self.pid}")
        for pid, (cpu, _) in found.items():
            self._cpu[pid] = cpu
        return Usage(at, sum(self._cpu.values()), sum(rss for _, rss in found.values()))

    def _read_linux(self) -> dict[int, tuple[float, int]]:
        now = time.monotonic()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            self._descendants = _descendants(self.pid)
        found: dict[int, tuple[float, int]] = {}
        for pid in (self.pid, *self._descendants):
            try:
                cpu = _cpu_clock(pid)
                rss = int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
            except OSError:
                continue  # has ended meanwhile
            found[pid] = (cpu, rss)
        return found


def _cpu_clock(pid: int) -> float:
    """CPU seconds of the whole process; the clock's number is that of clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def _descendants(root: int) -> list[int]:
    """All processes that descend from one; those that end meanwhile may be left out."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            children.setdefault(_parent(int(folder.name)), []).append(int(folder.name))
    found: list[int] = []
    wanted = [root]
    while wanted:
        below = children.get(wanted.pop(), [])
        found += below
        wanted += below
    return found


def _ps() -> str:
    return subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss=,time="], check=True, capture_output=True, text=True, timeout=10
    ).stdout


def read_ps(text: str, root: int) -> dict[int, tuple[float, int]]:
    """Process -> (CPU seconds, resident bytes) of `root` and its descendants, out of `ps -o pid=,ppid=,rss=,time=`."""
    rows: dict[int, tuple[int, float, int]] = {}
    for line in text.splitlines():
        pid, parent, kibibytes, clock = line.split()
        match = _PS_TIME.fullmatch(clock)
        if match is None:
            continue
        days, hours, minutes, seconds = match.groups()
        cpu = (int(days or 0) * 24 + int(hours or 0)) * 3600 + int(minutes) * 60 + float(seconds)
        rows[int(pid)] = (int(parent), cpu, int(kibibytes) * 1024)
    found: dict[int, tuple[float, int]] = {}
    wanted = [root] if root in rows else []
    while wanted:
        one = wanted.pop()
        found[one] = rows[one][1:]
        wanted += [child for child, row in rows.items() if row[0] == one]
    return found


def check_cpus(cpus: set[int]) -> None:
    """ValueError, which says why, where a process of ours cannot be bound to these CPUs."""
    if sys.platform != "linux":
        raise ValueError("a process can be bound to a CPU on Linux only")
    allowed = os.sched_getaffinity(0)
    if not cpus or not cpus <= allowed:
        wrong = ", ".join(map(str, sorted(cpus - allowed))) or "none"
        raise ValueError(f"CPU {wrong} is not among those that may be used: {', '.join(map(str, sorted(allowed)))}")


def pin(pid: int, cpus: set[int]) -> None:
    """Let a process (0 is this one) run on these CPUs alone, all its threads, and so what it starts from now on.

    ValueError, which says why, where that is not possible.
    """
    check_cpus(cpus)
    _bind(pid, cpus)


@contextmanager
def off(cpu: int) -> Iterator[None]:
    """Keep this process, and what it starts, off one CPU as long as the block lasts; nothing where there is no other.

    ValueError as of `pin`.
    """
    check_cpus({cpu})
    before = os.sched_getaffinity(0)
    others = before - {cpu}
    if others:
        _bind(0, others)
    try:
        yield
    finally:
        if others:
            _bind(0, before)


def _bind(pid: int, cpus: set[int]) -> None:
    # Each thread has CPUs of its own, and a process inherits those of the thread that starts it: often not the first
    try:
        threads = [int(each.name) for each in (_PROC / str(pid or "self") / "task").iterdir()]
        for thread in threads:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cpus)
    except (FileNotFoundError, ProcessLookupError):
        raise NoSuchProcess(f"there is no process {pid}") from None
    except PermissionError:
        raise ValueError(f"process {pid} belongs to somebody else") from None


def listening_on(port: int) -> int | None:
    """The process of this machine that listens on a TCP port, where it can be seen: on Linux, and one's own or as root.

    None where it cannot, and where more than one does: they would be different brokers.
    """
    if sys.platform != "linux":
        return None
    sockets: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            parts = line.split()
            if parts[3] == _LISTENING and int(parts[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{parts[9]}]")
    owners = _owners(sockets) if sockets else set()
    # workers that have inherited the socket count for the process that they descend from
    roots = [pid for pid in owners if _parent(pid) not in owners]
    return roots[0] if len(roots) == 1 else None


def _owners(sockets: set[str]) -> set[int]:
    owners: set[int] = set()
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if any(os.readlink(each) in sockets for each in (folder / "fd").iterdir()):
                owners.add(int(folder.name))
        except OSError:
            continue
    return owners


def _parent(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_here(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(str(address[4][0]).startswith(("127.", "::1")) for address in found)
