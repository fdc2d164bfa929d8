"""The one thread that writes: a transaction for each Work that it is given, one at a time.

A commit takes a fixed number of Python statements, whatever its size, as for each of them the thread must get the
interpreter's lock from a busy main thread. What is recorded while a commit runs is the next one (natural group commit):
no timer, no delay.

Its outcome is one of three. Done: the `Witness` is left in the clock file, and the main thread is told. No room on the
disk: the transaction is rolled back and tried again, first with the ballast given up, then every RETRY seconds; nobody
is told that it is done until it is. Anything else that fails, a write, an fsync, a checkpoint: the thread ends for good
and touches the file no more. For after a failed fsync the next one says that all is well, though the kernel has dropped
what it could not write; only reading the file anew tells what is in it.

The WAL is carried over into the database (a checkpoint) when there is nothing to commit, and without such a moment when
it has grown to its maximum. Free pages are given back to the disk a few at a time, when there was nothing to do.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from logging import getLogger
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

import apsw

from broker.store.folder import StoreFailed
from broker.store.records import TABLE_NAMES
from broker.store.space import NO_ROOM

if TYPE_CHECKING:
    from broker.store.batches import Work
    from broker.store.clock import ClockFile
    from broker.store.failpoints import Failpoint
    from broker.store.space import Space

log = getLogger("broker.store")

RETRY: Final = 0.25  # seconds between two tries on a full disk
LULL: Final = 0.02  # seconds without a Work that make a quiet moment (a guess)
VACUUM_PAGES: Final = 2000  # given back at once: 8 MB, some 20 ms
FULL_PAGES: Final = 32  # on a full disk: what is moved for it must find room in the WAL
SPARE_PAGES: Final = 256  # kept, as the next rows need some

_INSERT: Final = [f"INSERT INTO {name} (rec) SELECT value FROM carray(?)" for name in TABLE_NAMES]
_DELETE: Final = [f"DELETE FROM {name} WHERE id IN (SELECT value FROM carray(?))" for name in TABLE_NAMES]
_STATE: Final = "UPDATE meta SET v = ? WHERE k = 'state'"


class Quiet:
    """Given to the thread instead of a Work: nothing happens, tidy up."""


class End:
    """Given to the thread instead of a Work: write this state, carry everything over and end."""

    def __init__(self, state: bytes, witness: bytes) -> None:
        self.state = state
        self.witness = witness


class Stop:
    """Given to the thread instead of a Work: end, and leave everything as it is."""


class Writer:
    """See the module. It owns `connection` from `start` on.

    The main thread calls `give`, when the last Work is `done`, and reads `done`, `full` and `error` when `told` is
    readable. `seconds` and `slowest` say how long the last commit took and the slowest one.
    """

    def __init__(
        self, connection: apsw.Connection, clock: ClockFile, space: Space, failpoint: Failpoint | None = None
    ) -> None:
        self.done = True
        self.full = False
        self.error: StoreFailed | None = None
        self.seconds = 0.0
        self.slowest = 0.0
        self.checkpoints = 0
        self._connection = connection
        self._clock = clock
        self._space = space
        self._failpoint = failpoint
        self._given: SimpleQueue[Work | Quiet | End | Stop] = SimpleQueue()
        self.finished = False
        self._hurry = threading.Event()  # the end is near: do not wait for room
        self._wal_pages = 0
        page_bytes = int(connection.pragma("page_size"))
        self._wal_maximum = space.wal_maximum // page_bytes
        self._wal_much = self._wal_maximum // 4
        self.told, self._tell = os.pipe()
        os.set_blocking(self.told, False)
        os.set_blocking(self._tell, False)
        connection.set_wal_hook(self._wal_grown)
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    # -- Main thread

    def start(self) -> None:
        self._thread.start()

    def give(self, work: Work) -> None:
        """Have `work` written; not before the last one is `done`."""
        self.done = False
        self._given.put(work)

    def quiet(self) -> None:
        """Nothing has happened for a while."""
        if self._given.empty():
            self._given.put(Quiet())

    def heard(self) -> None:
        """Take back what made `told` readable."""
        try:
            while os.read(self.told, 512):
                pass
        except BlockingIOError:
            pass

    def wait(self, seconds: float) -> None:
        """Until there is something to hear, or so long."""
        select.select([self.told], [], [], seconds)

    def end(self, state: bytes, witness: bytes, seconds: float) -> bool:
        """Write `state`, carry the WAL over, close the database; whether that was done within `seconds`."""
        self._given.put(End(state, witness))
        self._hurry.set()
        self._thread.join(seconds)
        return self.finished and not self._thread.is_alive()

    def close(self) -> None:
        """Have the thread end, if it has not, and give back the descriptors."""
        self._given.put(Stop())
        self._hurry.set()
        self._thread.join(1.0)
        if not self._thread.is_alive():  # else it hangs in the disk, and goes with the process
            os.close(self.told)
            os.close(self._tell)

    # -- The thread

    def _run(self) -> None:
        connection = self._connection
        try:
            while True:
                try:
                    given = self._given.get(timeout=LULL if self._wal_pages >= self._wal_much else None)
                except Empty:
                    self._carry_over()
                    continue
                if isinstance(given, End):
                    self._finish(given)
                    return
                if isinstance(given, Stop):
                    connection.close()
                    return
                if isinstance(given, Quiet):
                    self._tidy()
                    continue
                if self._wal_pages >= self._wal_maximum:
                    self._carry_over()
                started = time.monotonic()
                if not self._persist(given):
                    connection.close()
                    return
                self.seconds = time.monotonic() - started
                self.slowest = max(self.slowest, self.seconds)
                self.full = False
                self.done = True
                self._tell_main()
        except StoreFailed as error:
            self.error = error
            self._tell_main()
        except (apsw.Error, OSError) as error:
            code = connection.system_errno
            detail = f" ({os.strerror(code)})" if code and isinstance(error, apsw.IOError) else ""
            self.error = StoreFailed(f"the store cannot be written: {type(error).__name__}: {error}{detail}")
            self.error.__cause__ = error
            self._tell_main()

    def _persist(self, work: Work) -> bool:
        """Write `work`, however long the disk is full; False where there is no time for that."""
        while True:
            try:
                self._write(work)
                return True
            except apsw.BusyError:
                self._roll_back()
                log.warning("Another program has the store's database locked; nothing is acknowledged meanwhile.")
            except (apsw.FullError, apsw.IOError) as error:
                if not self._no_room(error):
                    raise
                self._roll_back()
                self._say_full()
                if self._space.drop_ballast():
                    continue
                self._carry_over()  # then the WAL is used from its beginning again
            if self._hurry.wait(RETRY):
                return False

    def _write(self, work: Work) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for table, last, records in work.added:
            connection.execute(_INSERT[table], (apsw.carray(records),))
            given = connection.last_insert_rowid()
            if given != last:
                raise StoreFailed(f"row {given} of table {TABLE_NAMES[table]} should have number {last}")
        for table, numbers in work.deleted:
            connection.execute(_DELETE[table], (apsw.carray(numbers),))
            found = connection.changes()
            if found != len(numbers):
                raise StoreFailed(
                    f"of {len(numbers)} rows to delete from table {TABLE_NAMES[table]} {found} were there"
                )
        connection.execute(_STATE, (work.state,))
        if self._failpoint is not None:
            self._pass_by("before-commit", work)
        connection.execute("COMMIT")
        self._witness(work.witness)
        if self._failpoint is not None:
            self._pass_by("after-commit", work)

    def _pass_by(self, name: str, work: Work) -> None:
        assert self._failpoint is not None
        self._failpoint.pass_by(name, [each[0] for each in work.added], [each[0] for each in work.deleted])

    def _witness(self, witness: bytes) -> None:
        try:
            self._clock.write_witness(witness)
        except OSError as error:
            if error.errno not in NO_ROOM:  # an older witness is a weaker one, but not wrong
                raise

    def _no_room(self, error: apsw.Error) -> bool:
        """Whether `error` says that the disk is full, or the user's share of it."""
        return isinstance(error, apsw.FullError) or (
            getattr(error, "extendedresult", 0) in (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMSIZE)
            and self._connection.system_errno in NO_ROOM
        )

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _say_full(self) -> None:
        if not self.full:
            self.full = True
            self._tell_main()

    def _wal_grown(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _carry_over(self) -> None:
        """A checkpoint. Where a reader is in the way the rest is for the next time."""
        try:
            pages, carried = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return
        except (apsw.FullError, apsw.IOError) as error:
            if not self._no_room(error):
                raise
            self._say_full()
            self._space.drop_ballast()
            return
        self.checkpoints += 1
        if carried == pages:
            self._wal_pages = 0  # the next commit begins it anew

    def _tidy(self) -> None:
        connection = self._connection
        self.full = False  # no commit waits for room; if there still is none, what follows or the next one says so
        pages = FULL_PAGES if self._space.full else min(VACUUM_PAGES, self._wal_much)
        try:
            while not self.full:
                free = int(connection.pragma("freelist_count"))
                if free <= SPARE_PAGES:
                    break
                for _ in connection.execute(f"PRAGMA incremental_vacuum({min(pages, free - SPARE_PAGES)})"):
                    pass
                self._carry_over()
                if not self._given.empty():
                    break
            if self._wal_pages >= self._wal_much // 8 and self._given.empty():
                self._carry_over()
        except (apsw.FullError, apsw.IOError) as error:
            if not self._no_room(error):
                raise
            self._roll_back()
            self._say_full()
            self._space.drop_ballast()
        except apsw.BusyError:
            self._roll_back()

    def _finish(self, end: End) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_STATE, (end.state,))
            connection.execute("COMMIT")
            self._witness(end.witness)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.FullError, apsw.BusyError):
            self._roll_back()  # what was committed is in the WAL, and the next start reads it there
        else:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        connection.set_wal_hook(None)
        connection.close()
        self.finished = True

    def _tell_main(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is readable already
            os.write(self._tell, b"!")
