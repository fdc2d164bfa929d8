"""A store looked at from outside: found, held against a broker that wants to start, and checked row by row.

Nothing here writes. A connection that only reads may stand beside a running broker: it sees the last commit before it
began, and the most it costs the broker is a WAL that cannot shrink meanwhile. What reads the files themselves
(`broker.store.pages`) is for a store that nobody uses.

`check` finds damage: what is not what a broker wrote, or is missing. Rows of Sessions that have ended are none: they
are deleted some at a time, and a broker that starts goes on with it; they are counted as left over.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw

from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, RETAINED, SESSIONS, SUBSCRIPTIONS, TABLES
from broker.store.clock import ClockFile, boot
from broker.store.database import READ_STATE, SCHEMA, check_header, connect, open_database
from broker.store.folder import Folder, StoreError, explain
from broker.store.pages import Pages, Place
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
)
from broker.store.state import State, decode_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE: Final = "store.db"
MOST_FINDINGS: Final = 1000  # that are told; a file of rubbish would have no end
SESSION_NUMBERS: Final = 1 << 32

_PAGE: Final = re.compile(r"[Pp]age (\d+)")


class Finding(NamedTuple):
    """Something damaged: the file, the byte at which its page begins (-1 where it cannot be told), the table and the
    row ("" and 0 where it is about none)."""

    file: str
    byte: int
    table: str
    row: int
    detail: str

    def __str__(self) -> str:
        where = f"{self.file}, byte {self.byte}" if self.byte >= 0 else self.file
        what = f"row {self.row} of table {self.table}: " if self.row else f"table {self.table}: " if self.table else ""
        return f"{where}: {what}{self.detail}"


class Checked:
    """What `check` found. `rows` are those that are whole, by table."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.rows = dict.fromkeys(TABLE_NAMES, 0)
        self.left_over = 0  # rows of ended Sessions, which a broker deletes
        self.live = False  # a broker was using the store


def locate(path: Path) -> Folder:
    """The store in a data folder, or the one whose database file is named. StoreError where there is none."""
    try:
        if path.is_dir():
            folder = Folder(path)
        else:
            folder = Folder(path.parent)
            if path.name != DATABASE:  # a copy: what lies beside it belongs to another one
                folder.database = path
                folder.wal = path.with_name(f"{path.name}-wal")
                folder.clock = path.with_name(f"{path.name}-clock")
                folder.lock = path.with_name(f"{path.name}-lock")
        if not folder.database.is_file():
            raise StoreError(f"{folder.database}: there is no store here; name the data folder, or the file store.db.")
    except OSError as error:
        raise explain(error, path) from None
    return folder


@contextmanager
def held(folder: Folder) -> Iterator[bool]:
    """Whether no broker uses the store; then none can begin to, as long as the block lasts."""
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY)
    except FileNotFoundError:
        yield True  # a copy of a store has no lock
        return
    except OSError as error:
        raise explain(error, folder.lock) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(descriptor)


@contextmanager
def reading(folder: Folder) -> Iterator[apsw.Connection]:
    """The store as its last commit left it, for reading alone, whether a broker uses it or not.

    StoreError where it is damaged, foreign or newer.
    """
    with leaving_nothing(folder):
        connection, _ = open_database(folder, read_only=True)
        try:
            connection.execute("BEGIN")
            yield connection
        except apsw.Error as error:
            raise StoreError(f"{folder.database}: {error}; `broker store check` says what is damaged.") from None
        except DamagedRecord as error:
            raise StoreError(
                f"{folder.database}: {error}; `broker store check` names all that is damaged, and `broker store "
                "salvage` saves the rest."
            ) from None
        finally:
            connection.close()


@contextmanager
def leaving_nothing(folder: Folder) -> Iterator[None]:
    """Take away the empty log that SQLite makes for who only reads, and that it then cannot take away itself."""
    there = folder.wal.exists()
    try:
        yield
    finally:
        if not there and folder.wal.exists():
            with held(folder) as free:
                if free and folder.wal.stat().st_size == 0:
                    folder.wal.unlink()
                    folder.wal.with_name(f"{folder.database.name}-shm").unlink(missing_ok=True)


def interruptible(connection: apsw.Connection) -> None:
    """Let Ctrl-C end a long statement: Python looks at its signals when SQLite calls it."""
    connection.set_progress_handler(_go_on, 100_000)


def _go_on() -> bool:
    return False


def check(folder: Folder) -> Checked:
    """Everything that can be known to be damaged. StoreError where this is no store, or one of a newer broker."""
    with leaving_nothing(folder), held(folder) as free:
        return check_held(folder, free)


def check_held(folder: Folder, free: bool) -> Checked:
    """As `check`, by who has the store `held` already."""
    return _Check(folder, free).run()


class _Check:
    """One check of one store."""

    def __init__(self, folder: Folder, free: bool) -> None:
        self.folder = folder
        self.result = Checked()
        self.result.live = not free
        self.damaged: dict[tuple[int, bytes], tuple[int, str]] = {}  # (row, record) -> table and detail
        self.numbers: set[int] = set()  # of Sessions
        self.names: set[str] = set()
        self.messages: set[int] = set()
        self.wanted: set[int] = set()  # messages that wait in a queue
        self.once: set[tuple[object, ...]] = set()

    def run(self) -> Checked:
        try:
            check_header(self.folder.database)
        except OSError as error:
            raise explain(error, self.folder.database) from None
        if not self.result.live:
            with Pages(self.folder.database) as pages:
                self._check_log(pages)
                self._check_database(pages)
                self._place(pages)
        else:
            self._check_database(None)
            self._place(None)
        return self.result

    def _found(self, detail: str, table: str = "", row: int = 0, byte: int = -1, file: str = "") -> None:
        if len(self.result.findings) < MOST_FINDINGS:
            self.result.findings.append(Finding(file or self.folder.database.name, byte, table, row, detail))

    def _check_log(self, pages: Pages) -> None:
        log = pages.wal
        if log is not None and log.damage is not None:
            self._found(
                "the write-ahead log is damaged here, and good commits follow",
                file=log.damage.file,
                byte=log.damage.byte,
            )

    def _check_database(self, pages: Pages | None) -> None:
        try:
            connection = connect(self.folder.database, read_only=True)
        except apsw.Error as error:
            self._found(f"SQLite cannot open it ({error})")
            return
        try:
            interruptible(connection)
            connection.execute("BEGIN")
            self._check_pages(connection, pages)
            self._check_schema(connection)
            state = self._check_state(connection)
            for table in (SESSIONS, SUBSCRIPTIONS, MESSAGES, QUEUED, EXCHANGES, RETAINED):
                self._check_table(connection, table, state)
            self.result.left_over += len(self.messages - self.wanted)
        except apsw.Error as error:
            self._found(f"SQLite cannot read it ({error})")
        finally:
            connection.close()

    def _check_pages(self, connection: apsw.Connection, pages: Pages | None) -> None:
        for (line,) in connection.execute(f"PRAGMA integrity_check({MOST_FINDINGS})"):
            if line == "ok":
                return
            for detail in str(line).removeprefix("*** in database main ***\n").split("\n"):
                page = _PAGE.search(detail)
                place = pages.place(int(page[1])) if page and pages else None
                self._found(detail.strip(), file=place.file if place else "", byte=place.byte if place else -1)

    def _check_schema(self, connection: apsw.Connection) -> None:
        found = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))
        for name, line in zip(TABLE_NAMES, SCHEMA.splitlines(), strict=True):
            if found.get(name) != line.rstrip(";"):
                self._found("is not the table that a broker makes", name)

    def _check_state(self, connection: apsw.Connection) -> State | None:
        row = connection.execute(READ_STATE).fetchone()
        state = decode_state(row[0]) if row and isinstance(row[0], bytes) else None
        if state is None:
            self._found("the row 'state' is damaged", "meta")
            return None
        if not self.result.live:
            wal = self.folder.wal
            if state.running and not (wal.exists() and wal.stat().st_size):
                self._found("the write-ahead log is missing, and with it the newest commits", file=wal.name)
            witness = ClockFile(self.folder.clock).read()[1]
            allowed = witness is None or not (witness.synced or (witness.boot and witness.boot == boot()))
            if witness is not None and witness.commits > state.commits and not allowed:
                self._found(
                    f"the newest {witness.commits - state.commits} of {witness.commits} commits are missing",
                    file=wal.name,
                )
        newest = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
        for table in range(TABLES):
            if newest.get(TABLE_NAMES[table], 0) != state.last[table]:
                self._found(
                    f"its newest number is {newest.get(TABLE_NAMES[table], 0)} and should be {state.last[table]}",
                    TABLE_NAMES[table],
                )
        return state

    def _check_table(self, connection: apsw.Connection, table: int, state: State | None) -> None:
        """Its records, its references, and that none is missing."""
        name = TABLE_NAMES[table]
        count = total = whole = row = 0
        try:
            for row, record in connection.execute(f"SELECT id, {BLOB} FROM {name} ORDER BY id"):
                count += 1
                total += row
                if not isinstance(record, bytes):
                    self._found("is no BLOB", name, row)
                    continue
                try:
                    self._judge(table, row, decode(table, row, record))
                    whole += 1
                except DamagedRecord as error:
                    if len(self.damaged) < MOST_FINDINGS:
                        self.damaged[row, record] = table, error.detail
        except apsw.Error as error:
            self._found(f"cannot be read behind row {row} ({error})", name)
        self.result.rows[name] = whole
        if state is not None and (count, total & 0xFFFFFFFFFFFFFFFF) != (state.counts[table], state.sums[table]):
            self._found(f"has {count} rows and should have {state.counts[table]}, or not the right ones", name)

    def _judge(
        self,
        table: int,
        row: int,
        record: SessionRecord | SubscriptionRecord | MessageRecord | QueuedRecord | ExchangeRecord,
    ) -> None:
        """What a good record says, seen with the others. DamagedRecord where that cannot be."""
        if isinstance(record, SessionRecord):
            if record.number > row or record.number in self.numbers or record.client_identifier in self.names:
                raise DamagedRecord(table, row, "is not the only one of its Session, or has a number it cannot have")
            self.numbers.add(record.number)
            self.names.add(record.client_identifier)
        elif isinstance(record, MessageRecord):
            if table == MESSAGES:
                self.messages.add(row)
            else:
                self._only(table, row, record.topic)
        elif record.number not in self.numbers:
            self.result.left_over += 1
        elif isinstance(record, QueuedRecord):
            if record.message not in self.messages:
                raise DamagedRecord(table, row, f"its message, row {record.message} of table messages, is not there")
            self.wanted.add(record.message)
        elif isinstance(record, SubscriptionRecord):
            self._only(table, row, record.number, record.topic_filter)
        else:
            self._only(table, row, record.number, record.identifier, record.incoming)

    def _only(self, table: int, row: int, *key: object) -> None:
        if (table, *key) in self.once:
            raise DamagedRecord(table, row, "is the second one of its kind")
        self.once.add((table, *key))

    def _place(self, pages: Pages | None) -> None:
        """Tell the damaged records, each with its page where nobody writes to the file."""
        at: dict[tuple[int, bytes], Place] = {}
        if pages and self.damaged:
            at = {cell[:2]: pages.place(cell.page) for cell in pages.cells() if cell[:2] in self.damaged}
        for key, (table, detail) in self.damaged.items():
            place = at.get(key)
            self._found(
                detail,
                TABLE_NAMES[table],
                key[0],
                place.byte if place else -1,
                place.file if place else "",
            )
