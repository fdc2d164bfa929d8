"""A disk of a few megabytes: a tmpfs in a mount namespace of its own, which ends with the test, whatever happens then.

A process holds the namespace; it ends when its stdin does. `prefix` makes another command run within. The files are
reached from outside through /proc. Root may do this, and where user namespaces are allowed so may anybody.
"""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class SmallDisk:
    def __init__(self, holder: subprocess.Popen[bytes], point: Path, user: list[str]) -> None:
        self.point = point  # as those see it who run within
        self.seen = Path(f"/proc/{holder.pid}/root{point}")  # and everybody else
        self.prefix = ["nsenter", "-t", str(holder.pid), *user, "-m", f"--wd={Path.cwd()}"]

    def free(self) -> int:
        found = os.statvfs(self.seen)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> Path:
        """Write a file of other people until only `leave` bytes are free."""
        path = self.seen / "others"
        with path.open("ab", buffering=0) as file:
            while (room := self.free() - leave) > 0:
                try:
                    file.write(bytes(min(room, 65_536)))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
        return path


@contextmanager
def small_disk(point: Path, size: int) -> Iterator[SmallDisk]:
    """Such a disk, mounted on the folder `point` for whoever is run within."""
    point.mkdir()
    mount = f'mount -t tmpfs -o size={size} none "$0" && echo mounted && exec cat'
    user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
    try:
        holder = subprocess.Popen(
            ["unshare", "-m", *([] if os.geteuid() == 0 else ["-r"]), "sh", "-c", mount, str(point)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here, so no disk can be made; test_io_errors.py fills one that is not real")
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if holder.stdout.readline() != b"mounted\n":
                why = holder.stderr.read().decode().strip()
                pytest.skip(f"no disk can be made ({why}); test_io_errors.py fills one that is not real")
            yield SmallDisk(holder, point, user)
        finally:
            holder.stdin.close()
