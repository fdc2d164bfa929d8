"""Room on the disk: a soft limit under which nothing more is taken in, and a ballast for when it is really full.

SQLite needs room even to delete, for its WAL. So below `reserve` free bytes the Journal is marked full, and the core
refuses what grows the store, while acknowledgements and the state of Sessions go on; and if the disk fills up all the
same (others write to it too), the ballast, a file of zeros that was really allocated, is given up and makes room for
the commit that failed. When there is room again, and somewhat more, so that it does not go back and forth, the mark is
taken away and the ballast made anew. No restart is needed.
"""

from __future__ import annotations

import errno
import os
from logging import getLogger
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RESERVE: Final = 64 * 1024 * 1024  # bytes; an eighth of a smaller file system
BALLAST: Final = 16 * 1024 * 1024  # bytes; a sixteenth of a smaller file system
WAL_MAXIMUM: Final = 32 * 1024 * 1024  # bytes of WAL, at which a checkpoint no longer waits for a quiet moment
ENOUGH: Final = 1.25  # times the reserve: then the disk is no longer full
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)

log = getLogger("broker.store")


class Space:
    """See the module. `reserve` and `ballast` in bytes; None for the defaults."""

    def __init__(
        self, folder: Path, ballast_file: Path, reserve: int | None = None, ballast: int | None = None
    ) -> None:
        self.full = False
        self.free = 0
        found = os.statvfs(folder)
        size = found.f_blocks * found.f_frsize
        self.reserve = min(RESERVE, size // 8) if reserve is None else reserve
        self.ballast = min(BALLAST, size // 16) if ballast is None else ballast
        self.wal_maximum = max(256 * 1024, min(WAL_MAXIMUM, size // 16))
        self._folder = folder
        self._file = ballast_file
        self._spent = 0
        self.check()

    def spend(self, count: int) -> bool:
        """About `count` bytes are being written; whether that is so much of the reserve that a `check` is due."""
        self._spent += count
        return self._spent * 8 > self.reserve

    def check(self, refused: bool = False) -> bool:
        """Look how much room there is; whether the disk is full. `refused`: it has just shown that it is."""
        self._spent = 0
        found = os.statvfs(self._folder)
        self.free = found.f_bavail * found.f_frsize
        if not self.full:
            if refused or self.free < self.reserve:
                self.full = True
                log.error(
                    "%s: the disk is full (%d MiB left, the reserve is %d MiB): QoS 1 and 2 messages are refused until "
                    "there is room",
                    self._folder,
                    self.free >> 20,
                    self.reserve >> 20,
                )
        elif not refused and self.free >= self.reserve * ENOUGH + self._missing():
            self.full = False
            log.warning("%s: there is room on the disk again (%d MiB)", self._folder, self.free >> 20)
        if not self.full:
            self.lay_ballast()
        return self.full

    def lay_ballast(self) -> None:
        """Make the ballast where there is room for it."""
        missing = self._missing()
        if missing == 0 or self.free < self.reserve + missing:
            return
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                allocate(descriptor, self.ballast)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self.drop_ballast()

    def drop_ballast(self) -> bool:
        """Give its room back to the disk; whether there was any. Any thread may call this."""
        try:
            if self._file.stat().st_size == 0:
                return False
            os.truncate(self._file, 0)
        except FileNotFoundError:
            return False
        return True

    def _missing(self) -> int:
        """Bytes that the ballast has too few."""
        try:
            return max(0, self.ballast - self._file.stat().st_blocks * 512)
        except FileNotFoundError:
            return self.ballast


def allocate(descriptor: int, size: int) -> None:
    """Have the file system set `size` bytes aside for a file, not only promise them."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = bytes(65536)
    for at in range(0, size, len(zeros)):
        os.pwrite(descriptor, zeros[: size - at], at)
