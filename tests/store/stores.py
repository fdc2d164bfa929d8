"""Stores built by hand: the format as the head of `broker.store.records` describes it, written without that module.

So these are also the files that a broker must always be able to read.
"""

from __future__ import annotations

import shutil
from struct import pack
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import apsw
import msgpack

from broker.store.clock import ClockFile
from broker.store.database import close, connect, create
from broker.store.folder import Folder
from broker.store.state import State, Witness

if TYPE_CHECKING:
    from pathlib import Path

TABLES: Final = ("sessions", "subscriptions", "messages", "queued", "exchanges", "retained")
SESSIONS, SUBSCRIPTIONS, MESSAGES, QUEUED, EXCHANGES, RETAINED = range(6)
STORE_TIME: Final = 1_700_000_000.0

Rows = dict[tuple[int, int], bytes]


def sealed(table: int, row: int, body: bytes) -> bytes:
    data = b"\x01" + body
    return data + pack("<I", crc32(bytes([table]) + data) ^ row & 0xFFFFFFFF ^ row >> 32)


def packed(table: int, row: int, *fields: Any) -> bytes:
    return sealed(table, row, msgpack.packb(fields))


def queued(row: int, number: int, message: int, identifier: int = 0, size: int = 100) -> bytes:
    return sealed(QUEUED, row, pack("<BIQHI", 1, number, message, identifier, size))


class Builder:
    """Writes rows, one transaction after each `commit`; `rows` is what the store holds then.

    With `clock` it leaves the files of a broker at level fsync beside it: what time it was, and a Witness.
    """

    def __init__(self, path: Path, clock: bool = False) -> None:
        self.folder = Folder(path)
        self.folder.open()
        create(self.folder)
        self.connection = connect(self.folder.database)
        self.connection.pragma("wal_autocheckpoint", 0)
        self.state = State()
        self.state.running = True
        self.state.store_time = self.state.wall_time = STORE_TIME
        self.clock = ClockFile(self.folder.clock)
        if clock:
            self.clock.open()
            self.clock.write(STORE_TIME, STORE_TIME)
        self.witnessed = clock
        self.rows: Rows = {}
        self._next: Rows = {}
        self._gone: list[tuple[int, int]] = []
        self._last = [0] * len(TABLES)
        self.commit()
        self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self.commit()

    def number(self, table: int) -> int:
        """The number of the next row."""
        return self._last[table] + 1

    def add(self, table: int, record: bytes) -> int:
        row = self._last[table] = self.number(table)
        self._next[table, row] = record
        return row

    def delete(self, table: int, row: int) -> None:
        self._gone.append((table, row))

    def session(self, client_identifier: str, will: Any = None) -> int:
        row = self.number(SESSIONS)
        away_since = STORE_TIME - 60.0
        return self.add(SESSIONS, packed(SESSIONS, row, row, client_identifier, 3600, away_since, will, None, ""))

    def subscription(self, number: int, topic_filter: str) -> int:
        row = self.number(SUBSCRIPTIONS)
        return self.add(SUBSCRIPTIONS, packed(SUBSCRIPTIONS, row, number, topic_filter, 2, False, False, 0, ""))

    def message(self, topic: str, payload: bytes, forwarded: bytes = b"", expires: float | None = None) -> int:
        row = self.number(MESSAGES)
        return self.add(MESSAGES, packed(MESSAGES, row, topic, payload, 1, False, forwarded, expires))

    def queued(self, number: int, message: int, identifier: int = 0) -> int:
        row = self.number(QUEUED)
        return self.add(QUEUED, queued(row, number, message, identifier))

    def exchange(self, number: int, identifier: int, incoming: bool) -> int:
        row = self.number(EXCHANGES)
        return self.add(EXCHANGES, packed(EXCHANGES, row, number, identifier, incoming))

    def retained(self, topic: str, payload: bytes) -> int:
        row = self.number(RETAINED)
        return self.add(RETAINED, packed(RETAINED, row, topic, payload, 1, True, b"", None))

    def commit(self) -> None:
        with self.connection:
            for (table, row), record in self._next.items():
                self.connection.execute(f"INSERT INTO {TABLES[table]} (rec) VALUES (?)", (record,))
                assert self.connection.last_insert_rowid() == row
                self.rows[table, row] = record
                self.state.last[table] = row
            for table, row in self._gone:
                self.connection.execute(f"DELETE FROM {TABLES[table]} WHERE id = ?", (row,))
                del self.rows[table, row]
            for table in range(len(TABLES)):
                numbers = [row for other, row in self.rows if other == table]
                self.state.counts[table] = len(numbers)
                self.state.sums[table] = sum(numbers)
            self.state.commits += 1
            self.connection.execute("UPDATE meta SET v = ? WHERE k = 'state'", (self.state.encode(),))
        if self.witnessed:
            self.clock.write_witness(Witness(self.state.commits, True, b"").encode())
        self._next = {}
        self._gone = []

    def killed(self, path: Path) -> Path:
        """The folder as a kill -9 would leave it now."""
        shutil.copytree(self.folder.path, path)
        return path

    def close(self) -> None:
        """End in order, as a broker does."""
        self.state.running = False
        self.commit()
        self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        close(self.connection)
        self.clock.close()
        self.folder.close()


def build(path: Path, sessions: int = 3, messages: int = 60, clock: bool = False) -> Builder:
    """A store with some of everything, written in several transactions, the first of them in the database already."""
    builder = Builder(path, clock)
    numbers = [builder.session(f"client-{index}") for index in range(sessions)]
    builder.session("with-will", ["last/words", b"\xff\x00", 1, True, 30, -1, b""])
    for number in numbers:
        builder.subscription(number, "a/#")
        builder.subscription(number, f"$share/g/b/{number}")
    builder.exchange(numbers[0], 7, True)
    builder.exchange(numbers[0], 9, False)
    builder.commit()
    for index in range(messages):
        payload = b"%d " % index * (1500 if index % 20 == 3 else 10)
        message = builder.message(f"a/{index % 7}", payload if index % 5 else b"\xfe" + payload)
        for number in numbers[: 1 + index % sessions]:
            builder.queued(number, message, index % 3)
        if index % 4 == 0:
            builder.retained(f"a/{index}", payload)
        if index % 10 == 9:
            builder.commit()
        if index == messages // 2:
            builder.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    for row in [row for table, row in builder.rows if table == QUEUED][:5]:
        builder.delete(QUEUED, row)
    for row in (1, 2):  # held by these alone
        builder.delete(MESSAGES, row)
    for row in [row for table, row in builder.rows if table == RETAINED][:3]:
        builder.delete(RETAINED, row)
    builder.commit()
    return builder


def rows_of(path: Path) -> Rows:
    """All rows of a store that SQLite can read."""
    folder = Folder(path)
    connection = connect(folder.database, read_only=True)
    try:
        return {
            (table, row): record
            for table, name in enumerate(TABLES)
            for row, record in connection.execute(f"SELECT id, rec FROM {name}")
        }
    finally:
        connection.close()


def flip(path: Path, byte: int, bit: int = 0) -> None:
    """Turn one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(byte)
        value = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([value ^ 1 << bit]))
