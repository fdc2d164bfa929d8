"""The Store: the Journal of a Broker on one side, a database in a folder on the other.

    open, load, start       before the first connection, in this order; `load` fills the Broker
    hand_over, collect      at the end of each round of the pump, and when `fileno` is readable
    page                    a Session wants more of a long queue
    tick                    each second
    close                   at the end: all that was recorded is committed first

All of it is called on the main thread. Nothing here waits, but for `open`, `load`, `start` and `close`, and `page` for
a millisecond. A StoreError says that the folder cannot be used and why; a StoreFailed, from any method, that a write
has failed: nothing that was not committed by then may be acknowledged, and the process must end.
"""

from __future__ import annotations

import os
import time
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final

import apsw

from broker.store.batches import encode
from broker.store.clock import ClockFile, StoreClock, boot
from broker.store.database import connect, damaged_record, explain_sqlite, open_database
from broker.store.failpoints import VARIABLE, armed
from broker.store.folder import Folder, StoreError, StoreFailed, explain
from broker.store.load import Loader
from broker.store.reading import Reader
from broker.store.records import BLOB, TABLE_NAMES, DamagedRecord
from broker.store.space import NO_ROOM, Space
from broker.store.state import State, Witness
from broker.store.writer import Writer

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable
    from pathlib import Path

    from broker.core.journal import Batch, Journal, Queued
    from broker.core.restoring import Restorer
    from broker.core.session import Session
    from broker.store.failpoints import Failpoint

WRITTEN: Final = "written"
FSYNC: Final = "fsync"
CLOSE: Final = 10.0  # seconds that the end may take
# Under load a batch begins no sooner after the last one. What comes and is acknowledged in between then costs no I/O.
GATHER: Final = 0.001  # seconds, the least that the pump's poller waits for
LOAD: Final = 128  # changes in the last batch: it held that many, so the next one will
OK: Final = "ok"
FULL: Final = "full"
FAILED: Final = "failed"

log = getLogger("broker.store")


class Figures:
    """What has been written since the start, for `$SYS`. Times in seconds."""

    def __init__(self) -> None:
        self.commits = 0
        self.rows = 0  # added and deleted
        self.bytes = 0  # of records
        self.last_commit = 0.0
        self.slowest_commit = 0.0
        self.checkpoints = 0
        self.free = 0  # bytes left on the disk


class SqliteStore:
    """See the module. `durability` is WRITTEN (what is committed survives the end of the process) or FSYNC (and a power
    cut). `reserve` and `ballast` in bytes, None for the defaults of `broker.store.space`."""

    def __init__(
        self,
        folder: Path,
        durability: str,
        *,
        vfs: str = "",
        reserve: int | None = None,
        ballast: int | None = None,
    ) -> None:
        assert durability in (WRITTEN, FSYNC)
        self.folder = Folder(folder)
        self.durability = durability
        self.figures = Figures()
        self.clock = StoreClock()
        self.state = OK
        self.patient = False
        self.gathering = False
        self._vfs = vfs
        self._reserve = reserve
        self._ballast = ballast
        self._clock_file = ClockFile(self.folder.clock)
        self._connection: Any = None
        self._contents = State()
        self._journal: Journal | None = None
        self._reader: Reader | None = None
        self._writer: Writer | None = None
        self._space: Space | None = None
        self._batch: Batch | None = None  # that which is being written
        self._failpoint: Failpoint | None = None
        self._boot = boot()
        self._failed: StoreFailed | None = None
        self._alive_until = 0.0
        self._last_given = 0.0
        self._changes = 0  # of the journal when it was last taken
        self._load = 0  # changes in the last batch
        self._wall = time.time

    # -- The start

    def open(self, now: float) -> None:
        """Take the folder and look at its database; nothing that it holds is changed. StoreError if it is not to be
        used."""
        self._failpoint = armed(os.environ.get(VARIABLE))
        self.folder.open()
        try:
            self._connection, self._contents = open_database(self.folder, self._vfs)
            self._take_time(now)
            self._space = Space(self.folder.path, self.folder.ballast, self._reserve, self._ballast)
        except OSError as error:
            self._abandon()
            raise explain(error, self.folder.path) from None
        except StoreError:
            self._abandon()
            raise

    def _take_time(self, now: float) -> None:
        """What time it is for the store, and whether the database is as new as it should be."""
        contents = self._contents
        times, witness = self._clock_file.read()
        if contents.commits:
            kept = (contents.store_time, contents.wall_time)
            times = kept if times is None else max(times, kept)
        wall_time = self._wall()
        self.clock.begin(now, wall_time, times)
        self._alive_until = now if times is None else self.clock.monotonic(times[0])
        if self.clock.behind:
            log.warning(
                "The clock is %.0f s behind the time at which this store was last used: what is to expire is given as "
                "much longer.",
                self.clock.behind,
            )
        if witness is None or witness.commits <= contents.commits:
            return
        lost = witness.commits - contents.commits
        if witness.synced or (witness.boot and witness.boot == self._boot):
            raise StoreError(
                f"{self.folder.wal}: the newest {lost} commits are missing, of which {self.folder.clock} tells: the "
                "file is damaged, or an older copy; put the right one back, or delete that file to go on without them."
            )
        log.warning(
            "%s: the newest %d commits did not survive that the machine stopped; durability '%s' allows that.",
            self.folder.database,
            lost,
            WRITTEN,
        )

    def load(self, restorer: Restorer, progress: Callable[[int, int], None] | None = None) -> None:
        """Put back what the database holds. StoreError where it is damaged; `restorer` is of no use then, and the
        folder is left as it was. `progress` is called about each second with rows read and rows in all."""
        broker = restorer.broker
        self._journal = broker.journal
        assert self._journal is not None
        loader = Loader(
            self._connection,
            self._contents,
            self.folder.database,
            self._vfs,
            self.clock.offset,
            self._alive_until,
            progress,
        )
        try:
            loader.load(restorer)
            reading = connect(self.folder.database, self._vfs, read_only=True)
        except DamagedRecord as error:
            record = self._record(error)
            self._abandon()
            raise damaged_record(self.folder, error.table, error.row, error.detail, record) from None
        except StoreError:
            self._abandon()
            raise
        except apsw.Error as refused:
            refusal = explain_sqlite(refused, self.folder, self._connection)
            self._abandon()
            raise refusal from None
        self._reader = Reader(reading, self._journal, broker.subscriptions, self.clock.offset)

    def _record(self, error: DamagedRecord) -> bytes:
        """The damaged one, to be looked for in the file; b"" where it cannot be read."""
        try:
            found = self._connection.execute(
                f"SELECT {BLOB} FROM {TABLE_NAMES[error.table]} WHERE id = ?",
                (error.row,),
            ).fetchone()
        except apsw.Error:
            return b""
        return found[0] if found and isinstance(found[0], bytes) else b""

    def start(self, now: float) -> None:
        """Mark the database as running, and begin to write. StoreError where that cannot be written."""
        assert self._space is not None
        contents = self._contents
        contents.running = True
        contents.commits += 1
        self._stamp(now)
        connection = self._connection
        try:
            for last in (False, True):
                try:
                    connection.pragma("wal_autocheckpoint", 0)
                    connection.pragma("fullfsync", 1)
                    connection.pragma("checkpoint_fullfsync", 1)
                    connection.pragma("synchronous", "FULL")
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("UPDATE meta SET v = ? WHERE k = 'state'", (contents.encode(),))
                    connection.execute("COMMIT")
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                    break
                except apsw.FullError:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if last or not self._space.drop_ballast():
                        raise
            connection.pragma("synchronous", "FULL" if self.durability == FSYNC else "NORMAL")
            self._clock_file.open()
            self._write_clock(now)
            self._clock_file.write_witness(self._witness())
            self.folder.sync()
        except OSError as error:
            self._abandon()
            raise explain(error, self.folder.clock) from None
        except apsw.Error as refused:  # another name: compiled, a name has one type
            refusal = explain_sqlite(refused, self.folder)
            self._abandon()
            raise refusal from None
        self._writer = Writer(connection, self._clock_file, self._space, self._failpoint)
        self._writer.start()
        if self._space.full:
            self._mark(True)

    def _abandon(self) -> None:
        """Let go of the folder and leave everything in it as it is."""
        self._close_reader()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._clock_file.close()
        self.folder.close()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.connection.close()
            self._reader = None

    # -- Each round

    @property
    def journal(self) -> Journal:
        assert self._journal is not None
        return self._journal

    @property
    def busy(self) -> bool:
        """Whether a batch is being written."""
        return self._batch is not None

    def fileno(self) -> int:
        """Readable when there is something to `collect`."""
        assert self._writer is not None
        return self._writer.told

    def hand_over(self, now: float) -> bool:
        """Have what was recorded written, if nothing is being written now. Whether something is committed at once, for
        there was nothing left of it to write."""
        journal = self._journal
        writer = self._writer
        if self._batch is not None or journal is None or writer is None or not journal.pending():
            return False
        self.gathering = self.patient and self._load >= LOAD and now - self._last_given < GATHER
        if self.gathering:
            return False
        batch = journal.take()
        self._load = journal.changes - self._changes
        self._changes = journal.changes
        if batch.empty():
            journal.written(batch)
            return True
        work = encode(batch, self._contents, self.clock.offset)
        self._stamp(now)
        work.state = self._contents.encode()
        work.witness = self._witness()
        self._batch = batch
        self._last_given = now
        figures = self.figures
        figures.rows += work.rows
        figures.bytes += work.bytes
        writer.give(work)
        if work.growing and self._space is not None and self._space.spend(work.bytes * 2):
            self._look()
        return False

    def collect(self, now: float) -> bool:
        """Take note of what the writer has done, and give it the next batch. Whether `journal.committed` has moved.
        StoreFailed where it could not be done."""
        writer = self._writer
        if writer is None:
            return False
        writer.heard()
        if writer.error is not None:
            self._fail(writer.error)
        if not writer.done:
            if writer.full and self.state == OK:
                self._look(refused=True)
            return False
        moved = False
        batch = self._batch
        if batch is not None:
            self._batch = None
            self.journal.written(batch)
            figures = self.figures
            figures.commits += 1
            figures.last_commit = writer.seconds
            figures.slowest_commit = writer.slowest
            moved = True
        if self.hand_over(now):
            moved = True
        return moved

    def page(self, session: Session, queued: array[int], messages: array[int], now: float) -> list[Queued]:
        """Entries of `session`'s queue, by their numbers and those of their messages, in the order given. They must be
        committed. StoreFailed where they cannot be read."""
        assert self._reader is not None
        try:
            return self._reader.page(session, queued, messages)
        except DamagedRecord as error:
            failure = StoreFailed(
                f"{self.folder.database}: {error}; export what is good with `broker store salvage`, or put a backup of "
                "the whole folder in its place."
            )
        except apsw.Error as refused:
            failure = StoreFailed(f"{self.folder.database}: it cannot be read: {type(refused).__name__}: {refused}")
        self._fail(failure)
        return []

    # -- Each second

    def tick(self, now: float) -> None:
        """Write down what time it is, look how much room there is, and tidy up: where nothing was written for a
        second, or the disk is full and needs it. StoreFailed where anything has failed, be it told already: within
        the core a `page` that fails looks like the fault of one connection."""
        writer = self._writer
        if writer is None:
            return
        if self._failed is not None:
            raise self._failed
        if writer.error is not None:
            self._fail(writer.error)
        jump = self.clock.jumped(now, self._wall())
        if jump:
            log.warning("The clock was set by %+.0f s; what is to expire is not changed by that.", jump)
        try:
            self._write_clock(now)
        except OSError as error:
            if error.errno not in NO_ROOM:
                self._fail(StoreFailed(f"{self.folder.clock}: {error.strerror}"))
        self._look(refused=writer.full)
        self.figures.checkpoints = writer.checkpoints
        if self.state == FULL or (self._batch is None and now - self._last_given >= 1.0):
            writer.quiet()

    def _look(self, refused: bool = False) -> None:
        """Look how much room there is on the disk."""
        assert self._space is not None
        try:
            full = self._space.check(refused)
        except OSError as error:
            self._fail(StoreFailed(f"{self.folder.path}: {error.strerror}"))
            return
        self.figures.free = self._space.free
        if full != (self.state == FULL):
            self._mark(full)

    def _mark(self, full: bool) -> None:
        self.state = FULL if full else OK
        if full:
            self.journal.full = True
        else:
            self.journal.room_again()

    def _stamp(self, now: float) -> None:
        self._contents.store_time = self.clock.stored(now)
        self._contents.wall_time = self._wall()

    def _write_clock(self, now: float) -> None:
        self._clock_file.write(self.clock.stored(now), self._wall())

    def _witness(self) -> bytes:
        return Witness(self._contents.commits, self.durability == FSYNC, self._boot).encode()

    def _fail(self, failure: StoreFailed) -> None:
        self._failed = failure
        self.state = FAILED
        raise failure

    # -- The end

    def close(self, now: float, seconds: float = CLOSE) -> None:
        """Commit all that was recorded, carry the WAL over, and let go of the folder. StoreFailed where that fails or
        takes longer than `seconds`: what was committed is safe all the same."""
        writer = self._writer
        if writer is None:
            self._abandon()
            return
        deadline = time.monotonic() + seconds
        try:
            if self._failed is None:
                self._drain(now, deadline - seconds / 2)
                self._contents.running = False
                self._contents.commits += 1
                self._stamp(now)
                left = max(0.1, deadline - time.monotonic())
                if not writer.end(self._contents.encode(), self._witness(), left):
                    self._fail(writer.error or StoreFailed(f"{self.folder.database}: it could not be closed in time"))
                self._write_clock(now)
        except OSError as error:
            log.warning("%s: %s", self.folder.clock, error.strerror)
        finally:
            self._writer = None
            self._close_reader()
            self._clock_file.close()
            self.folder.close()
            writer.close()

    def _drain(self, now: float, deadline: float) -> None:
        """Until nothing is left to be written, or it is too late."""
        writer = self._writer
        assert writer is not None
        journal = self.journal
        while time.monotonic() < deadline:
            if self.busy:
                writer.wait(0.05)
            elif journal.changes == journal.taken:
                break  # what may be left of Sessions that have ended, the next start deletes
            self.collect(now)
