"""The broker's command, on a disk that is not well: `python -m tests.faults.failing_disk FAULT serve ...`.

    sync:N    the Nth fsync of the write-ahead log fails, once; those behind it succeed
    write:N   the Nth write to the log fails, once
    short:N   of the Nth write to the log only a half is written
    slow:S    each fsync takes S seconds

Opening the store takes a few of them.
"""

from __future__ import annotations

import sys

import apsw

from broker.cli import main
from tests.faults.disks import SYNC, WRITE, Disk, Fault

WAL = "store.db-wal"


def arranged(disk: Disk, fault: str) -> None:
    """Have `disk` be as `fault` says."""
    kind, _, value = fault.partition(":")
    if kind == "slow":
        disk.sync_seconds = float(value)
    elif kind == "sync":
        disk.fail(Fault(SYNC, apsw.SQLITE_IOERR_FSYNC, int(value), WAL))
    elif kind in ("write", "short"):
        disk.fail(Fault(WRITE, apsw.SQLITE_IOERR_WRITE, int(value), WAL, part=0.5 if kind == "short" else 0.0))
    else:
        raise ValueError(fault)


if __name__ == "__main__":
    with Disk(default=True) as disk:
        arranged(disk, sys.argv.pop(1))
        main()
