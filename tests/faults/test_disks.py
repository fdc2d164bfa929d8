"""The disk itself: what it must lose and must not lose, seen by SQLite alone."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import apsw
import pytest

from tests.faults.disks import SYNC, WRITE, Disk, Fault

if TYPE_CHECKING:
    from pathlib import Path

FULL, NORMAL = "full", "normal"


def opened(path: Path, disk: Disk | None = None, synchronous: str = FULL) -> apsw.Connection:
    made = apsw.Connection(str(path), vfs=disk.name if disk else None)
    made.execute(f"pragma journal_mode=wal; pragma wal_autocheckpoint=0; pragma synchronous={synchronous}").fetchall()
    made.execute("create table if not exists t (id integer primary key, rec blob)")
    return made


def cut_in_the_middle(folder: Path, synchronous: str, seed: int) -> tuple[int, int]:
    """Commits before a cut, and those of them that are there afterwards; they must be the first ones."""
    generator = random.Random(seed)
    before, after = folder / f"{seed}-before", folder / f"{seed}-after"
    before.mkdir()
    after.mkdir()
    done = 0
    with Disk() as disk:
        written = opened(before / "store.db", disk, synchronous)
        disk.cut(after=generator.randrange(1, 300))
        with contextlib.suppress(apsw.IOError):
            while done < 1000:
                written.execute("insert into t values (?, ?)", (done, generator.randbytes(500)))
                done += 1
                if generator.random() < 0.05:
                    written.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        disk.leave(after, generator)
        with pytest.raises(apsw.IOError):
            written.execute("insert into t values (-1, x'')")
        with contextlib.suppress(apsw.IOError):
            written.close()
    found = opened(after / "store.db")
    assert found.execute("pragma integrity_check").fetchall() == [("ok",)]
    ids = [row[0] for row in found.execute("select id from t order by id")]
    found.close()
    assert ids == list(range(len(ids)))
    return done, len(ids)


def test_a_cut_loses_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    for seed in range(15):
        done, found = cut_in_the_middle(tmp_path, FULL, seed)
        assert found in (done, done + 1), seed
    outcomes = [cut_in_the_middle(tmp_path, NORMAL, seed) for seed in range(100, 115)]
    assert sum(done - found for done, found in outcomes) > 0, "nothing is ever lost: no disk"
    assert any(found for _, found in outcomes), "everything is lost: no disk either"


def test_a_write_in_flight_may_be_torn(tmp_path: Path) -> None:
    """Of sixteen sectors some are old and some new, and the content at the last sync is kept."""
    outcomes = set()
    for seed in range(40):
        with Disk() as disk:
            disk.opened("store.db")
            disk.write("store.db", b"a" * 8192, 0)
            disk.sync("store.db")
            disk.write("store.db", b"b" * 8192, 0)
            disk.cut()
            folder = tmp_path / str(seed)
            folder.mkdir()
            disk.leave(folder, random.Random(seed))
        content = (folder / "store.db").read_bytes()
        sectors = [content[start : start + 512] for start in range(0, 8192, 512)]
        assert all(sector in (b"a" * 512, b"b" * 512) for sector in sectors)
        outcomes.add(len(set(sectors)))
    assert outcomes == {1, 2}


def test_a_fault_strikes_once_or_for_good(tmp_path: Path) -> None:
    with Disk() as disk:
        written = opened(tmp_path / "store.db", disk)
        once = disk.fail(Fault(SYNC, apsw.SQLITE_IOERR_FSYNC, nth=2, ending="-wal"))
        written.execute("insert into t values (1, x'')")
        with pytest.raises(apsw.IOError):
            written.execute("insert into t values (2, x'')")
        assert once.happened == 1
        written.execute("insert into t values (3, x'')")
        lasting = disk.fail(Fault(WRITE, apsw.SQLITE_IOERR_WRITE, lasting=True, part=0.5))
        for _ in range(2):
            with pytest.raises(apsw.IOError):
                written.execute("insert into t values (4, x'')")
        assert lasting.happened >= 2
        disk.faults.clear()
        assert [row[0] for row in written.execute("select id from t order by id")] == [1, 3]
        written.close()


def test_a_full_disk_has_room_again_when_it_is_given_some(tmp_path: Path) -> None:
    with Disk() as disk:
        written = opened(tmp_path / "store.db", disk)
        disk.room = disk.used() + 20_000
        written.execute("insert into t values (1, ?)", (bytes(5000),))
        with pytest.raises(apsw.FullError):
            written.execute("insert into t values (2, ?)", (bytes(50_000),))
        assert disk.used() <= disk.room
        assert disk.used() == sum(file.stat().st_size for file in tmp_path.iterdir() if "-shm" not in file.name)
        disk.room = None
        written.execute("insert into t values (2, ?)", (bytes(50_000),))
        written.close()
