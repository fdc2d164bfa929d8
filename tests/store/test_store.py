"""The Store from its start to its end: nothing is committed before it is safe, and nothing after a failure."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import apsw
import pytest

from broker.core.journal import MESSAGES, QUEUED, SESSIONS
from broker.store.folder import StoreError, StoreFailed
from broker.store.store import FAILED, FULL, GATHER, LOAD, OK, SqliteStore
from tests.faults.disks import SYNC, WRITE, Disk, Fault
from tests.store.parts import Kept, Running, message, session

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.build("plain")  # what stands in for a Restorer is no compiled class

MIB = 1024 * 1024


def rows(path: Path, table: str = "queued") -> int:
    """As another process would count them."""
    connection = apsw.Connection(str(path / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").get)
    finally:
        connection.close()


def test_a_commit_is_told_when_it_is_there(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        journal = running.journal
        queued = running.keep(receiver)
        position = journal.position
        assert not running.store.hand_over(running.now)
        assert running.store.busy
        assert journal.committed < position
        running.settle()
        assert journal.committed == position
        assert (queued.row, queued.message.row, journal.safe_queued) == (1, 1, 1)
        assert rows(tmp_path / "data") == 1


def test_what_comes_while_a_batch_is_written_is_the_next_one(tmp_path: Path) -> None:
    with Disk() as disk, Running(tmp_path / "data", vfs=disk.name) as running:
        receiver = running.session()
        before = running.store.figures.commits
        disk.sync_seconds = 0.05
        for _ in range(100):
            running.keep(receiver)
            running.store.hand_over(running.now)
        running.settle()
        assert running.store.figures.commits == before + 2, "the first alone, then all that had come"
        assert running.journal.committed == running.journal.latest()
        assert rows(tmp_path / "data") == 100
        assert running.store.figures.last_commit >= 0.05


def test_under_load_a_batch_gathers_what_comes_in_a_millisecond(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        store, journal = running.store, running.journal
        store.patient = True
        for _ in range(LOAD):
            running.keep(receiver)
        running.now += GATHER
        running.commit()
        taken = journal.position
        running.keep(receiver)
        running.now += GATHER / 2
        assert not store.hand_over(running.now)
        assert (store.gathering, store.busy, journal.position) == (True, False, taken)
        running.now += GATHER
        store.hand_over(running.now)
        assert (store.gathering, journal.position) == (False, taken + 1)
        running.settle()
        running.keep(receiver)
        store.hand_over(running.now)
        assert (store.gathering, journal.position) == (False, taken + 2), "the last one held little"


def test_without_patience_nothing_is_gathered(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        for _ in range(3):
            for _ in range(LOAD):
                running.keep(receiver)
            running.store.hand_over(running.now)
            assert running.store.busy
            running.settle()


def test_a_message_that_was_quick_costs_no_commit(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        commits = running.store.figures.commits
        position = running.journal.position
        running.journal.release(running.keep(receiver))
        assert running.store.hand_over(running.now)
        assert not running.store.busy
        assert running.journal.committed == position
        assert running.store.figures.commits == commits
        assert not running.store.hand_over(running.now), "there is nothing more"


@pytest.mark.parametrize("durability", ["written", "fsync"])
def test_levels(tmp_path: Path, durability: str) -> None:
    """At `fsync` each commit is on the disk; at `written` none needs to be."""
    with Disk() as disk, Running(tmp_path / "data", durability, vfs=disk.name) as running:
        receiver = running.session()
        before = disk.syncs
        for _ in range(5):
            running.keep(receiver)
            running.commit()
        assert disk.syncs - before == (5 if durability == "fsync" else 0)


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        running.keep(receiver)
        running.commit()
    with Running(tmp_path / "data") as running:
        assert running.kept.waits == {1: ([1], [1], [message().size])}
        queued = running.keep(running.kept.by_number[1])
        running.commit()
        assert (queued.row, queued.message.row) == (2, 2)
    with Running(tmp_path / "data") as running:
        assert running.kept.waits == {1: ([1, 2], [1, 2], [message().size] * 2)}


def test_figures(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        running.keep(receiver)
        running.commit()
        running.store.tick(running.now)
        figures = running.store.figures
        assert (figures.commits, figures.rows) == (2, 3)
        assert figures.bytes > 60
        assert 0 < figures.last_commit <= figures.slowest_commit
        assert figures.free > 0


@pytest.mark.parametrize(
    ("operation", "code"), [(WRITE, apsw.SQLITE_IOERR_WRITE), (SYNC, apsw.SQLITE_IOERR_FSYNC)], ids=[WRITE, SYNC]
)
def test_a_failed_write_is_the_end(tmp_path: Path, operation: str, code: int) -> None:
    """Nothing of that batch is committed, nor anything after it; the next start has all that was."""
    with Disk() as disk:
        running = Running(tmp_path / "data", vfs=disk.name)
        receiver = running.session()
        running.keep(receiver)
        running.commit()
        safe = running.journal.committed
        disk.faults.append(Fault(operation, code, 1, "-wal"))
        running.keep(receiver)
        running.store.hand_over(running.now)
        with pytest.raises(StoreFailed, match="the store cannot be written: IOError"):
            running.settle()
        running.keep(receiver)
        for call in (running.store.collect, running.store.collect, running.store.tick):
            with pytest.raises(StoreFailed):
                call(running.now)
        assert not running.store.hand_over(running.now)
        assert running.journal.committed == safe
        assert running.store.state == FAILED
        running.store.close(running.now)
        assert running.journal.committed == safe
    with Running(tmp_path / "data") as again:
        assert again.kept.waits[1][0] in ([1], [1, 2]), "what was not acknowledged may be there or not"


def test_a_failure_is_noticed_by_a_tick_too(tmp_path: Path) -> None:
    with Disk() as disk:
        running = Running(tmp_path / "data", vfs=disk.name)
        receiver = running.session()
        disk.faults.append(Fault(WRITE, apsw.SQLITE_IOERR_WRITE, 1, "-wal"))
        running.keep(receiver)
        running.store.hand_over(running.now)
        select.select([running.store.fileno()], [], [], 5.0)
        with pytest.raises(StoreFailed, match="IOError"):
            running.store.tick(running.now)
        running.store.close(running.now)


def test_a_full_disk_and_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What does not fit is not committed until it does; meanwhile the Journal is marked, and nothing fails."""
    with Disk() as disk, Running(tmp_path / "data", vfs=disk.name, reserve=0, ballast=MIB) as running:
        receiver = running.session()
        disk.room = 0
        position = running.journal.position
        for _ in range(100):
            running.keep(receiver, message("a", bytes(1000)))
        running.store.hand_over(running.now)
        deadline = time.monotonic() + 5.0
        while running.store.state != FULL:
            assert time.monotonic() < deadline
            running.store.collect(running.now)
            time.sleep(0.01)
        assert running.journal.full
        assert running.journal.committed < position
        running.store.tick(running.now)
        assert running.store.state == FULL
        assert rows(tmp_path / "data") == 0
        disk.room = None
        running.settle()
        assert running.journal.committed == position
        assert rows(tmp_path / "data") == 100
        running.store.tick(running.now)
        assert running.store.state == OK
        assert not running.journal.full
        assert (tmp_path / "data" / "ballast").stat().st_size == MIB
    assert [record.levelname for record in caplog.records if "disk" in record.message] == ["ERROR", "WARNING"]


def test_below_the_soft_limit_the_journal_is_marked_from_the_start(tmp_path: Path) -> None:
    with Running(tmp_path / "data", reserve=1 << 60, ballast=0) as running:
        assert running.store.state == FULL
        assert running.journal.full
        receiver = running.session()
        queued = running.keep(receiver)
        running.commit()
        running.journal.release(queued)
        running.commit()
        assert rows(tmp_path / "data") == 0, "small rows and deletes go on"


def test_the_end_commits_what_was_recorded(tmp_path: Path) -> None:
    running = Running(tmp_path / "data")
    receiver = running.session()
    for _ in range(10):
        running.keep(receiver)
    running.store.close(running.now)
    assert running.journal.committed == running.journal.latest()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["ballast", "clock", "lock", "store.db"]
    assert rows(tmp_path / "data") == 10


def test_the_end_is_bounded(tmp_path: Path) -> None:
    with Disk() as disk:
        running = Running(tmp_path / "data", vfs=disk.name, reserve=0, ballast=0)
        receiver = running.session()
        disk.room = 0
        safe = running.journal.committed
        running.keep(receiver, message("a", bytes(100_000)))
        started = time.monotonic()
        with pytest.raises(StoreFailed, match="could not be closed in time"):
            running.store.close(running.now, 0.5)
        assert time.monotonic() - started < 2.0
        assert running.journal.committed == safe
    with Running(tmp_path / "data") as again:
        assert again.kept.waits == {}


def test_one_that_was_never_started_leaves_nothing_locked(tmp_path: Path) -> None:
    for read in (False, True):
        store = SqliteStore(tmp_path / "data", "fsync")
        store.open(0.0)
        if read:
            store.load(Kept())  # type: ignore[arg-type]
        store.close(0.0)
    with Running(tmp_path / "data"), pytest.raises(StoreError, match="uses this folder"):
        SqliteStore(tmp_path / "data", "fsync").open(0.0)


def test_a_start_on_a_full_disk_takes_the_ballast(tmp_path: Path) -> None:
    with Running(tmp_path / "data", ballast=MIB):
        pass
    with Disk() as disk:
        store = SqliteStore(tmp_path / "data", "fsync", vfs=disk.name, reserve=0, ballast=MIB)
        store.open(0.0)
        store.load(Kept())  # type: ignore[arg-type]
        disk.room = 0
        with pytest.raises(StoreError, match="no space is left on the device; make room and start again"):
            store.start(0.0)
        assert (tmp_path / "data" / "ballast").stat().st_size == 0
    with Running(tmp_path / "data", ballast=MIB):
        assert (tmp_path / "data" / "ballast").stat().st_size == MIB


def test_an_error_of_the_disk_at_the_start(tmp_path: Path) -> None:
    with Running(tmp_path / "data"):
        pass
    with Disk() as disk:
        store = SqliteStore(tmp_path / "data", "fsync", vfs=disk.name)
        store.open(0.0)
        store.load(Kept())  # type: ignore[arg-type]
        disk.faults.append(Fault(SYNC, apsw.SQLITE_IOERR_FSYNC))
        with pytest.raises(StoreError, match=r"store\.db: .*see to the disk"):
            store.start(0.0)
    with Running(tmp_path / "data"):
        pass


def test_the_clock_goes_on_over_a_downtime(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wall = 1.7e9
    times: list[float] = []
    for monotonic, at in ((1000.0, wall), (5.0, wall + 600.0), (9.0, wall - 3000.0)):
        store = SqliteStore(tmp_path / "data", "fsync")
        store._wall = partial(float, at)
        store.open(monotonic)
        store.load(Kept())  # type: ignore[arg-type]
        store.start(monotonic)
        store.tick(monotonic)
        times.append(store.clock.stored(monotonic))
        store.close(monotonic)
    assert times == [wall, wall + 600.0, wall + 600.0]
    assert "The clock is 3600 s behind" in caplog.text


def test_a_jump_of_the_clock_is_told_and_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Running(tmp_path / "data") as running:
        before = running.store.clock.stored(running.now)
        real = time.time()
        running.store._wall = lambda: real + 3600.0
        running.store.tick(running.now)
        assert "The clock was set by +3600 s" in caplog.text
        assert running.store.clock.stored(running.now) == before


def test_without_the_clock_file_the_last_commit_tells_the_time(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        running.session()
        before = running.store.clock.stored(running.now)
    for damage in (b"", b"no clock"):
        (tmp_path / "data" / "clock").write_bytes(damage)
        with Running(tmp_path / "data", now=5.0) as running:
            assert before <= running.store.clock.stored(5.0) < before + 60.0


KILLED = """
import sys
from pathlib import Path
from tests.store.parts import Running
running = Running(Path(sys.argv[1]))
receiver = running.session()
for number in range(100):
    running.keep(receiver)
    running.commit()
    print(running.journal.committed, flush=True)
"""


@pytest.mark.parametrize(
    ("failpoint", "told", "kept"),
    [("before-commit:6", 4, 4), ("after-commit:6", 4, 5), ("after-commit@queued:6", 5, 6)],
)
def test_fail_points_kill_the_process(tmp_path: Path, failpoint: str, told: int, kept: int) -> None:
    """The first commit is that of the Session; one that dies after a commit has it, and has told nobody."""
    environment = {**os.environ, "BROKER_FAILPOINT": failpoint}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data")]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == -signal.SIGKILL, found.stderr
    assert len(found.stdout.splitlines()) == told
    with Running(tmp_path / "data") as running:
        assert running.kept.waits[1][0] == list(range(1, kept + 1))


def test_what_an_ended_session_has_left_goes_with_the_next_batches(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        entries = [running.keep(receiver) for _ in range(2500)]
        running.commit()
        commits = running.store.figures.commits
        running.journal.delete(SESSIONS, receiver)
        for each in entries:
            running.journal.discard(each)
        running.commit()
        assert running.store.figures.commits == commits + 3
        assert rows(tmp_path / "data") == rows(tmp_path / "data", "messages") == 0
    with Running(tmp_path / "data") as running:
        assert running.kept.lost == []


def test_a_new_session_is_numbered_by_its_first_row(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        first = running.session("first")
        running.journal.change(SESSIONS, first)
        running.commit()
        second = session("second")
        running.journal.add(SESSIONS, second)
        running.commit()
        assert (first.number, first.row, second.number, second.row) == (1, 2, 3, 3)
        assert running.journal.last[SESSIONS] == 3
        assert (running.journal.last[MESSAGES], running.journal.last[QUEUED]) == (0, 0)
