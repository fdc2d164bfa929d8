"""What a running `broker serve` shows to whoever may signal it, so that `broker reload` and `broker health` find it.

It is a file in memory that the broker holds open and names `MARK`: /proc lets the same user, and root, read it. So
there is nothing to configure, nothing to clean up behind a crash, nothing that a full disk or a read-only one could
prevent, and no process is ever taken for a broker that is none: SIGHUP ends those. What it says is replaced as a whole
(dup2), and never seen half-written. Linux has it; elsewhere nobody is found.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

NAME: Final = "triomq"
MARK: Final = f"/memfd:{NAME} (deleted)"
MOST: Final = 1024 * 1024  # bytes that are read
PROCESSES: Final = Path("/proc")


@dataclass
class Told:
    """What it says. `config` and `data` are absolute paths, "" for none. `begun` and `done` count reloads; of the last
    one that is done `changes` are the settings that were taken over, `restart` those that need a restart, and
    `mistakes`, where there are any, why everything is as it was.
    """

    version: str = ""
    config: str = ""
    data: str = ""
    listeners: list[dict[str, str]] = field(default_factory=list)  # type and url of those that anybody may ask
    begun: int = 0
    done: int = 0
    changes: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    mistakes: str = ""


class Beacon:
    """The broker's side. `told` is changed and then shown."""

    def __init__(self) -> None:
        self.told = Told()
        self._descriptor = -1

    def show(self) -> None:
        """Let `told` be seen as it is now. Where that cannot be, for want of descriptors perhaps, the old is seen."""
        if sys.platform != "linux":
            return
        with suppress(OSError):
            fresh = os.memfd_create(NAME)
            try:
                with open(fresh, "wb", closefd=False) as file:
                    file.write(json.dumps(asdict(self.told)).encode())
                if self._descriptor < 0:
                    self._descriptor = os.dup(fresh)
                else:
                    os.dup2(fresh, self._descriptor, inheritable=False)
            finally:
                os.close(fresh)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read(pid: int, processes: Path = PROCESSES) -> Told | None:
    """What the broker with that process id says; None where there is none, or it is somebody else's."""
    folder = processes / str(pid) / "fd"
    with suppress(OSError):
        for name in sorted(os.listdir(folder), key=int):  # it is among the first that a broker opens
            with suppress(OSError):
                if os.readlink(folder / name) == MARK:
                    with open(folder / name, "rb") as file:
                        return _parsed(file.read(MOST))
    return None


def running(processes: Path = PROCESSES) -> dict[int, Told]:
    """All brokers that this user may signal, by process id."""
    try:
        pids = sorted(int(name) for name in os.listdir(processes) if name.isdecimal())
    except OSError:
        return {}
    return {pid: told for pid in pids if (told := read(pid, processes)) is not None}


def _parsed(data: bytes) -> Told | None:
    """Whoever runs under the same user may have written it: it is nothing that is not of the right shape."""
    with suppress(ValueError, TypeError, RecursionError):
        told = Told(**json.loads(data))
        for name, value in asdict(Told()).items():
            if type(getattr(told, name)) is not type(value):
                return None
        if all(isinstance(text, str) for text in (*told.changes, *told.restart)) and all(
            isinstance(each, dict) and isinstance(each.get("url"), str) and isinstance(each.get("type"), str)
            for each in told.listeners
        ):
            return told
    return None
