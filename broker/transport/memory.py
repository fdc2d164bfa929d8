"""What memory the process uses, and what it may use: asked of Linux, elsewhere not known."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

PAGE: Final = os.sysconf("SC_PAGE_SIZE")  # bytes
SHARE: Final = 0.8  # of what the control group allows: what the system keeps for us counts there too
UNLIMITED: Final = 1 << 60  # version 1 says so with a number near the greatest that there is


def resident() -> int:
    """Bytes that the process has in memory; 0 where only their peak is told."""
    if sys.platform == "linux":
        with suppress(OSError), open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE
    return 0


def of_control_group(root: Path = Path("/")) -> int:
    """The default of `server.memory`: SHARE of what a container or a unit of systemd allows; 0 where nothing bounds us.

    The bounds of all groups above ours count too. `root` is where `proc` and `sys` are.
    """
    least = UNLIMITED
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                mount, name = root / "sys/fs/cgroup", "memory.max"
            elif "memory" in controllers.split(","):
                mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            else:
                continue
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(parts) + 1):  # in a container our group is the root of what is mounted
                least = min(least, _bound(mount.joinpath(*parts[:depth], name)))
    return int(least * SHARE) if least < UNLIMITED else 0


def _bound(file: Path) -> int:
    with suppress(OSError, ValueError):
        return int(file.read_text())  # "max" is none
    return UNLIMITED
