"""The thread that writes: one transaction a Work, checkpoints in quiet moments, and no second try after a failure."""

from __future__ import annotations

import errno
import os
import time
from array import array
from typing import TYPE_CHECKING

import apsw
import pytest

from broker.core.journal import MESSAGES, QUEUED
from broker.store import writer
from broker.store.batches import Work
from broker.store.clock import ClockFile
from broker.store.database import connect, create
from broker.store.failpoints import armed
from broker.store.folder import Folder
from broker.store.space import Space
from broker.store.state import Witness
from broker.store.writer import Writer
from tests.faults.disks import SYNC, WRITE, Disk, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Bench:
    """A Writer over an empty database."""

    def __init__(self, path: Path, vfs: str = "", failpoint: str = "") -> None:
        self.folder = Folder(path)
        self.folder.open()
        create(self.folder)
        self.connection = connect(self.folder.database, vfs)
        self.connection.pragma("wal_autocheckpoint", 0)
        self.clock = ClockFile(self.folder.clock)
        self.clock.open()
        self.space = Space(path, self.folder.ballast, reserve=0, ballast=100_000)
        self.writer = Writer(self.connection, self.clock, self.space, armed(failpoint))
        self.writer.start()
        self.commits = 0
        self.last = [0] * 6

    def work(self, table: int = MESSAGES, records: int = 0, size: int = 100, deleted: tuple[int, ...] = ()) -> Work:
        self.commits += 1
        made = Work()
        if records:
            self.last[table] += records
            made.added.append((table, self.last[table], (b"x" * size,) * records))
        if deleted:
            made.deleted.append((table, array("q", deleted)))
        made.state = b"state %d" % self.commits
        made.witness = Witness(self.commits, True, b"").encode()
        return made

    def give(self, work: Work) -> None:
        self.writer.give(work)

    def until(self, ready: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, "nothing happens"
            self.writer.wait(0.01)
            self.writer.heard()

    def commit(self, work: Work) -> None:
        self.give(work)
        self.until(lambda: self.writer.done or self.writer.error)

    def counts(self) -> tuple[int, int, bytes]:
        """Rows of messages and of queues, and the state, as another process would see them."""
        connection = apsw.Connection(str(self.folder.database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            messages, queued = (
                connection.execute(f"SELECT count(*) FROM {name}").get for name in ("messages", "queued")
            )
            return messages, queued, connection.execute("SELECT v FROM meta").get
        finally:
            connection.close()

    def witness(self) -> int:
        found = self.clock.read()[1]
        return found.commits if found else 0

    def wal_bytes(self) -> int:
        return self.folder.wal.stat().st_size if self.folder.wal.exists() else -1

    def close(self) -> None:
        if self.writer.error is None and not self.writer.finished:
            self.writer.end(b"end", Witness(self.commits + 1, True, b"").encode(), 10.0)
        self.writer.close()
        self.clock.close()
        self.folder.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "data")
    yield made
    made.close()


def test_a_transaction_a_work(bench: Bench) -> None:
    work = bench.work(MESSAGES, 5)
    bench.last[QUEUED] = 7
    work.added.append((QUEUED, 7, (b"q",) * 7))
    bench.commit(work)
    assert bench.counts() == (5, 7, b"state 1")
    assert bench.witness() == 1
    bench.commit(bench.work(QUEUED, 2, deleted=(1, 3, 8)))
    assert bench.counts() == (5, 6, b"state 2"), "what is added may be deleted in the same one"
    assert bench.writer.done
    assert 0 < bench.writer.seconds <= bench.writer.slowest


def test_the_end_leaves_the_database_alone(bench: Bench) -> None:
    bench.commit(bench.work(MESSAGES, 3))
    assert bench.wal_bytes() > 0
    assert bench.writer.end(b"the end", Witness(9, True, b"").encode(), 10.0)
    assert bench.wal_bytes() == -1, "all of it is in the database"
    assert bench.counts() == (3, 0, b"the end")
    assert bench.witness() == 9


@pytest.mark.parametrize("ahead", [-1, 1])
def test_a_row_with_another_number_than_foretold_is_fatal(bench: Bench, ahead: int) -> None:
    work = bench.work(MESSAGES, 3)
    table, last, records = work.added[0]
    work.added[0] = table, last + ahead, records
    bench.commit(work)
    assert "row 3 of table messages should have number" in str(bench.writer.error)
    assert bench.counts()[0] == 0
    assert bench.witness() == 0


def test_a_row_to_delete_that_is_not_there_is_fatal(bench: Bench) -> None:
    bench.commit(bench.work(MESSAGES, 3))
    bench.commit(bench.work(MESSAGES, deleted=(2, 4)))
    assert "of 2 rows to delete from table messages 1 were there" in str(bench.writer.error)
    assert bench.counts() == (3, 0, b"state 1")


FAULTS = [
    (WRITE, apsw.SQLITE_IOERR_WRITE, "store.db-wal"),
    (SYNC, apsw.SQLITE_IOERR_FSYNC, "store.db-wal"),
]


@pytest.mark.parametrize(("operation", "code", "ending"), FAULTS, ids=[WRITE, SYNC])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_failed_write_or_fsync_ends_the_thread_for_good(
    tmp_path: Path, operation: str, code: int, ending: str, nth: int
) -> None:
    """Once is enough: the disk is well again at once, and nothing is tried again."""
    with Disk() as disk:
        bench = Bench(tmp_path / "data", disk.name)
        bench.commit(bench.work(MESSAGES, 1))
        disk.faults.append(Fault(operation, code, nth, ending))
        safe = 1
        while bench.writer.error is None:
            bench.commit(bench.work(MESSAGES, 1))
            safe += bench.writer.error is None
        assert not bench.writer.done, "it is never said to be done"
        assert "the store cannot be written: IOError" in str(bench.writer.error)
        assert bench.witness() == safe
        operations = disk.operations
        bench.give(bench.work(MESSAGES, 1))
        time.sleep(0.05)
        assert disk.operations == operations, "the file is touched no more"
        assert not bench.writer.done
        bench.close()
        bench.connection.close()
        assert disk.operations == operations, "not when it is closed either"


@pytest.mark.parametrize("ending", ["store.db", "store.db-wal"])
def test_a_failed_fsync_of_a_checkpoint_is_fatal_too(tmp_path: Path, ending: str) -> None:
    with Disk() as disk:
        bench = Bench(tmp_path / "data", disk.name)
        bench.connection.pragma("synchronous", "NORMAL")
        bench.commit(bench.work(MESSAGES, 2000, 4000))
        disk.faults.append(Fault(SYNC, apsw.SQLITE_IOERR_FSYNC, 1, ending))
        bench.writer.quiet()
        bench.until(lambda: bench.writer.error)
        assert "IOError" in str(bench.writer.error)
        bench.close()


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY", 0.01)
    with Disk() as disk:
        bench = Bench(tmp_path / "data", disk.name)
        bench.commit(bench.work(MESSAGES, 10))
        disk.room = 0
        bench.give(bench.work(MESSAGES, 1000, 1000))
        bench.until(lambda: bench.writer.full)
        bench.until(lambda: bench.folder.ballast.stat().st_size == 0)  # the ballast is given up
        time.sleep(0.05)
        assert bench.writer.error is None
        assert not bench.writer.done
        assert bench.counts()[0] == 10
        assert bench.witness() == 1
        disk.room = None
        bench.until(lambda: bench.writer.done)
        assert not bench.writer.full
        assert bench.counts() == (1010, 0, b"state 2")
        bench.close()


def test_the_ballast_makes_room_for_what_did_not_fit(tmp_path: Path) -> None:
    with Disk() as disk:
        bench = Bench(tmp_path / "data", disk.name)
        bench.commit(bench.work(MESSAGES, 10))
        drop = bench.space.drop_ballast

        def dropped() -> bool:
            disk.room = None
            return drop()

        bench.space.drop_ballast = dropped  # type: ignore[method-assign]
        disk.room = 0
        started = time.monotonic()
        bench.commit(bench.work(MESSAGES, 10))
        assert time.monotonic() - started < writer.RETRY, "at once"
        assert bench.counts()[0] == 20
        bench.close()


def test_the_end_does_not_wait_for_room(tmp_path: Path) -> None:
    with Disk() as disk:
        bench = Bench(tmp_path / "data", disk.name)
        bench.commit(bench.work(MESSAGES, 10))
        disk.room = 0
        bench.give(bench.work(MESSAGES, 1000, 1000))
        bench.until(lambda: bench.writer.full)
        assert not bench.writer.end(b"end", Witness(9, True, b"").encode(), 5.0)
        assert not bench.writer.done
        assert bench.counts()[0] == 10
        assert bench.witness() == 1
        bench.close()


@pytest.mark.build("plain")  # it breaks a method
def test_an_error_of_the_clock_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for a witness: the older one is not wrong. Anything else is a disk that fails."""
    code = errno.ENOSPC

    def fail(witness: bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(bench.clock, "write_witness", fail)
    bench.commit(bench.work(MESSAGES, 1))
    assert bench.writer.done
    code = errno.EIO
    bench.commit(bench.work(MESSAGES, 1))
    assert "Input/output error" in str(bench.writer.error)


def test_another_program_in_the_way_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "RETRY", 0.01)
    bench.connection.set_busy_timeout(1)
    other = apsw.Connection(str(bench.folder.database))
    other.execute("BEGIN IMMEDIATE")
    bench.give(bench.work(MESSAGES, 1))
    bench.until(lambda: "another program" in caplog.text.lower())
    assert not bench.writer.done
    other.execute("COMMIT")
    other.close()
    bench.until(lambda: bench.writer.done)
    assert bench.counts()[0] == 1


def test_a_quiet_moment_carries_the_wal_over(bench: Bench) -> None:
    bench.commit(bench.work(MESSAGES, 3000, 4000))  # 12 MB: much, but not the maximum
    assert bench.writer.checkpoints == 0
    bench.until(lambda: bench.writer.checkpoints)
    size = bench.wal_bytes()
    bench.commit(bench.work(MESSAGES, 1))
    assert bench.wal_bytes() == size, "it is used from its beginning again"


def test_a_wal_at_its_maximum_waits_for_no_quiet_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LULL", 60.0)
    bench = Bench(tmp_path / "data")
    bench.writer._wal_maximum = 100
    for _ in range(12):
        bench.commit(bench.work(MESSAGES, 20, 4000))
    assert bench.writer.checkpoints in (2, 3, 4)
    assert bench.wal_bytes() < 200 * 4096
    bench.close()


def test_free_pages_are_given_back_when_nothing_happens(bench: Bench) -> None:
    bench.commit(bench.work(MESSAGES, 2000, 4000))
    bench.writer.quiet()
    bench.until(lambda: bench.writer.checkpoints)
    full = bench.folder.database.stat().st_size
    bench.commit(bench.work(MESSAGES, deleted=tuple(range(1, 2001))))
    bench.writer.quiet()
    bench.until(lambda: bench.folder.database.stat().st_size < full / 4)
    assert bench.writer.error is None
    assert bench.counts()[0] == 0


def test_commits_do_not_grow_slower_with_more_tables(bench: Bench) -> None:
    """A fixed number of statements: a commit of 2,000 rows in each of two tables has as many as one of two rows."""
    counted: list[str] = []

    def count(_: object, statement: str, __: object) -> bool:
        counted.append(statement)
        return True

    bench.connection.exec_trace = count
    work = bench.work(MESSAGES, 1)
    work.added.append((QUEUED, 1, (b"q",)))
    bench.commit(work)
    small = list(counted)
    counted.clear()
    work = bench.work(MESSAGES, 2000)
    work.added.append((QUEUED, 2001, (b"q",) * 2000))
    bench.commit(work)
    assert counted == small
    assert len(counted) == 5
