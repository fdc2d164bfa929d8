"""What is good of a damaged store, put into a new one.

A table that SQLite reads to its end, and in which no row is missing by the state row's count, is taken as SQLite reads
it. The rows of any other are looked for in the pages of the files (`broker.store.pages`): so a page that SQLite cannot
get through costs the rows on it and no other. The price is that where the lists of free pages are damaged too, rows
that had been deleted may come back: of two rows that cannot both be, the newer one is taken.

Rows keep their numbers, to which their checksums belong, so a record is copied as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import apsw

from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, RETAINED, SESSIONS, SUBSCRIPTIONS, TABLES
from broker.store.clock import ClockFile
from broker.store.database import READ_STATE, close, connect, create
from broker.store.folder import Folder, StoreError, explain
from broker.store.inspection import held, leaving_nothing
from broker.store.pages import Pages
from broker.store.records import (
    BLOB,
    TABLE_NAMES,
    DamagedRecord,
    ExchangeRecord,
    MessageRecord,
    QueuedRecord,
    SessionRecord,
    SubscriptionRecord,
    decode,
    delivery_key,
)
from broker.store.state import State, decode_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Record = SessionRecord | SubscriptionRecord | MessageRecord | QueuedRecord | ExchangeRecord

# The tables by how many rows they have as a rule: a cell is tried against the most probable first.
_PROBABLE: Final = (QUEUED, MESSAGES, RETAINED, SUBSCRIPTIONS, SESSIONS, EXCHANGES)
_ORDER: Final = (SESSIONS, SUBSCRIPTIONS, MESSAGES, QUEUED, EXCHANGES, RETAINED)  # what is referred to comes first


class Salvaged:
    """What came of it, by table. `expected` is None where the damaged store does not say how many rows it had;
    `lost_commits` are the newest ones, of which nothing is left, as far as is known."""

    def __init__(self) -> None:
        self.kept = [0] * TABLES
        self.expected: list[int] | None = None
        self.dangling = [0] * TABLES  # good rows that belong to one that is lost, or to an ended Session
        self.searched: list[int] = []  # tables whose rows were looked for in the pages
        self.lost_commits = 0

    def lost(self, table: int) -> int | None:
        """Rows that are lost, those included that belong to a lost one; None where it cannot be known."""
        return None if self.expected is None else max(0, self.expected[table] - self.kept[table])


def salvage(source: Folder, into: Path, told: Callable[[str], None], wall_time: float) -> Salvaged:
    """Put what is good in `source` into a new store in the folder `into`, which must have none; `told` hears of each
    table. `wall_time` in seconds stands in for a store time that is lost.

    StoreError where a broker uses one of both, or the new folder cannot be written; no store is left in it then.
    """
    target = Folder(into)
    if target.database.exists() or target.traces():
        raise StoreError(f"{target.database}: there is a store already; choose an empty folder.")
    with leaving_nothing(source), held(source) as free:
        if not free:
            raise StoreError(f"{source.lock}: a broker uses this store; stop it first.")
        target.open()
        try:
            create(target)
            try:
                return _Salvage(source, target, told).run(wall_time)
            except BaseException:
                for path in (target.database, target.wal, target.path / "store.db-shm"):
                    path.unlink(missing_ok=True)
                raise
        except apsw.Error as error:
            raise StoreError(f"{target.database}: {error}; choose another folder.") from None
        except OSError as error:
            raise explain(error, source.database) from None
        finally:
            target.close()


class _Salvage:
    def __init__(self, source: Folder, target: Folder, told: Callable[[str], None]) -> None:
        self.source = source
        self.target = target
        self.told = told
        self.result = Salvaged()
        self.state = State()  # of the new store
        self.sessions: set[int] = set()
        self.messages: set[int] = set()
        self.wanted: set[int] = set()  # messages that wait in a queue

    def run(self, wall_time: float) -> Salvaged:
        with Pages(self.source.database) as pages:
            times, witness = ClockFile(self.source.clock).read()
            states = [state for blob in pages.states() if (state := decode_state(blob)) is not None]
            old = max(states, key=lambda state: state.commits, default=None)
            if old is not None:
                self.result.expected = old.counts
                self.state.last = list(old.last)
                self.state.commits = old.commits
                if witness is not None:
                    self.result.lost_commits = max(0, witness.commits - old.commits)
                times = times or (old.store_time, old.wall_time)
            elif not any(_table_of(cell.row, cell.record) >= 0 for cell in pages.cells()):
                raise StoreError(f"{self.source.database}: there is nothing of a store of this broker in it.")
            self.state.store_time, self.state.wall_time = times or (wall_time, wall_time)
            connection = connect(self.target.database)
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._fill(connection, pages, old)
                self._finish(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            close(connection)
        self.target.sync()
        return self.result

    def _fill(self, connection: apsw.Connection, pages: Pages, old: State | None) -> None:
        """Copy all good rows, then drop those that cannot be beside others."""
        searched = []
        for table in _ORDER:
            if not self._copy(connection, pages, table, old):
                connection.execute(f"DELETE FROM {TABLE_NAMES[table]}")
                searched.append(table)
        if searched:
            self.result.searched = searched
            self.told(f"looking for {', '.join(TABLE_NAMES[table] for table in searched)} in all pages")
            for cell in pages.cells():
                found = _table_of(cell.row, cell.record)
                if found in searched:
                    connection.execute(
                        f"INSERT OR IGNORE INTO {TABLE_NAMES[found]} VALUES (?, ?)", (cell.row, cell.record)
                    )
        for table in _ORDER:
            self._sift(connection, table)
        for row in sorted(self.messages - self.wanted):
            connection.execute("DELETE FROM messages WHERE id = ?", (row,))
            self._count(MESSAGES, row, -1)
            self.result.dangling[MESSAGES] += 1
        self.result.kept = list(self.state.counts)
        for table in _ORDER:
            self.told(f"{TABLE_NAMES[table]}: {self.result.kept[table]} rows are good")

    def _copy(self, connection: apsw.Connection, pages: Pages, table: int, old: State | None) -> bool:
        """Copy a table as SQLite reads it; whether this was all of it."""
        if old is None or (pages.wal is not None and pages.wal.damage is not None):
            return False
        count = total = 0
        try:
            reader = connect(self.source.database, read_only=True)
            try:
                row = reader.execute(READ_STATE).fetchone()
                state = decode_state(row[0]) if row and isinstance(row[0], bytes) else None
                if state is None or state.commits != old.commits:
                    return False
                for number, record in reader.execute(f"SELECT id, {BLOB} FROM {TABLE_NAMES[table]} ORDER BY id"):
                    count += 1
                    total += number
                    if isinstance(record, bytes) and _is_good(table, number, record):
                        connection.execute(f"INSERT INTO {TABLE_NAMES[table]} VALUES (?, ?)", (number, record))
            finally:
                reader.close()
        except apsw.Error:
            return False
        return (count, total & 0xFFFFFFFFFFFFFFFF) == (old.counts[table], old.sums[table])

    def _sift(self, connection: apsw.Connection, table: int) -> None:
        """Drop the rows that belong to nothing, and the older ones of two that cannot both be."""
        name = TABLE_NAMES[table]
        seen: set[object] = set()
        for row, record in _newest_first(connection, name):
            keys = self._keys(table, row, record)
            if keys is None or not seen.isdisjoint(keys):
                connection.execute(f"DELETE FROM {name} WHERE id = ?", (row,))
                self.result.dangling[table] += 1
                continue
            seen.update(keys)
            self._count(table, row, 1)
            self.state.last[table] = max(self.state.last[table], row)

    def _count(self, table: int, row: int, rows: int) -> None:
        self.state.counts[table] += rows
        self.state.sums[table] = (self.state.sums[table] + rows * row) & 0xFFFFFFFFFFFFFFFF

    def _keys(self, table: int, row: int, record: bytes) -> tuple[object, ...] | None:
        """What there can be one of only; None for a row that belongs to one that is not there."""
        found: Record = decode(table, row, record)
        if isinstance(found, SessionRecord):
            self.sessions.add(found.number)
            return found.number, found.client_identifier
        if isinstance(found, MessageRecord):
            if table == MESSAGES:
                self.messages.add(row)
                return ()
            return (found.topic,)
        if found.number not in self.sessions:
            return None
        if isinstance(found, QueuedRecord):
            if found.message not in self.messages:
                return None
            self.wanted.add(found.message)
            return ((found.number, found.message, delivery_key(record)),)
        if isinstance(found, SubscriptionRecord):
            return ((found.number, found.topic_filter),)
        return ((found.number, found.identifier, found.incoming),)

    def _finish(self, connection: apsw.Connection) -> None:
        """The new store's state row and the numbers it goes on from."""
        for table in range(TABLES):
            name = TABLE_NAMES[table]
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            if self.state.last[table]:
                connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, self.state.last[table]))
        connection.execute("UPDATE meta SET v = ? WHERE k = 'state'", (self.state.encode(),))


def _newest_first(connection: apsw.Connection, name: str) -> Iterator[tuple[int, bytes]]:
    """All rows of a table, some at a time, as rows are deleted meanwhile."""
    before = (1 << 63) - 1
    while True:
        rows: list[tuple[int, bytes]] = []
        for row, record in connection.execute(
            f"SELECT id, {BLOB} FROM {name} WHERE id < ? ORDER BY id DESC LIMIT 1000",
            (before,),
        ):
            rows.append((row, record))
        if not rows:
            return
        yield from rows
        before = rows[-1][0]


def _is_good(table: int, row: int, record: bytes) -> bool:
    try:
        decode(table, row, record)
    except DamagedRecord:
        return False
    return True


def _table_of(row: int, record: bytes) -> int:
    """The table whose record this is in this row; -1 where it is nobody's."""
    return next((table for table in _PROBABLE if _is_good(table, row, record)), -1)
