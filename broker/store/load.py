"""A start: everything in the database put back into the Broker, in the order of the rows' numbers, and checked.

A million waiting messages must not hold up the first connection: of an entry that waits only the numbers are taken, and
its message stays where it is. Each record's checksum is looked at, and for each table that no row is missing
(`broker.store.state`). The rows of `messages`, which may be gigabytes, are only counted, by another thread meanwhile;
their checksums are looked at here if the database is small, and else when a message is read.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from logging import getLogger
from struct import pack
from typing import TYPE_CHECKING, Any, Final

from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, RETAINED, SESSIONS, SUBSCRIPTIONS, Queued
from broker.core.message import ApplicationMessage
from broker.packets.types import Will
from broker.store.database import SMALL, check_count, check_newest, connect, count_rows
from broker.store.reading import Reader
from broker.store.records import (
    SOUND,
    DamagedRecord,
    decode_exchange,
    decode_message,
    decode_session,
    decode_subscription,
    split_queued,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker.core.journal import Journal
    from broker.core.restoring import Restorer
    from broker.core.subscriptions import Delivery
    from broker.store.state import State

log = getLogger("broker.store")

PROGRESS: Final = 1.0  # seconds between two calls of `progress`
STEP: Final = 10_000  # rows between two looks at the clock
IN_LISTS: Final = 4096  # entries of a queue, before they are brought into its arrays


class Waiting:
    """What waits for one Session: see `Restorer.waiting`. The newest is in lists, as `array.append` is slow."""

    def __init__(self) -> None:
        self.rows = array("q")
        self.messages = array("q")
        self.sizes = array("i")
        self.new_rows: list[int] = []
        self.new_messages: list[int] = []
        self.new_sizes: list[int] = []

    def put_away(self) -> None:
        """Bring the lists into the arrays."""
        count = len(self.new_rows)
        self.rows.frombytes(pack(f"={count}q", *self.new_rows))
        self.messages.frombytes(pack(f"={count}q", *self.new_messages))
        self.sizes.frombytes(pack(f"={count}i", *self.new_sizes))
        self.new_rows.clear()
        self.new_messages.clear()
        self.new_sizes.clear()


class MessageCount:
    """Counts the rows of `messages` in a thread of its own, through a connection of its own."""

    def __init__(self, path: Path, vfs: str) -> None:
        self.count = 0
        self.total = 0
        self._path = path
        self._vfs = vfs
        self._error: Exception | None = None
        self._counting = threading.Thread(target=self._run, name="store-check", daemon=True)
        self._counting.start()

    def _run(self) -> None:
        try:
            connection = connect(self._path, self._vfs, read_only=True)
            try:
                self.count, self.total = count_rows(connection, MESSAGES)
            finally:
                connection.close()
        except Exception as error:
            self._error = error

    def join(self) -> None:
        """Until it has counted, or failed."""
        self._counting.join()

    def check(self, state: State) -> None:
        """See that there are as many as there should be. What the counting failed of is raised here."""
        if self._error is not None:
            raise self._error
        check_count(self._path, state, MESSAGES, self.count, self.total)


class Loader:
    """One start. `offset` makes store time of monotonic seconds; `alive_until` is the monotonic time at which the
    broker was last known to run, `path` the database's file. `progress` gets how many rows are read, and of how many.
    """

    def __init__(
        self,
        connection: Any,
        state: State,
        path: Path,
        vfs: str,
        offset: float,
        alive_until: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._connection = connection
        self._state = state
        self._path = path
        self._vfs = vfs
        self._offset = offset
        self._alive_until = alive_until
        self._progress = progress
        self._total = sum(state.counts) - state.counts[MESSAGES]
        self._read = 0
        self._next_call = time.monotonic() + PROGRESS
        self._waiting: dict[int, Waiting] = {}
        self._sent: dict[int, list[tuple[int, int, bytes]]] = {}  # by Session: row, message, record
        # Messages that came up again, and how often; how many came up first, and the sum of their numbers.
        self._again: dict[int, int] = {}
        self._firsts = 0
        self._firsts_total = 0

    def load(self, restorer: Restorer) -> None:
        """Put all of it back. StoreError, DamagedRecord or apsw.Error where it is damaged: nothing may be used then."""
        messages = MessageCount(self._path, self._vfs)
        try:
            check_newest(self._connection, self._state, self._path)
            self._load_sessions(restorer)
            self._load_subscriptions(restorer)
            self._read_queued()
            self._load_queued(restorer)
            self._load_exchanges(restorer)
            self._load_retained(restorer)
        finally:
            messages.join()
        messages.check(self._state)
        if self._path.stat().st_size <= SMALL:
            self._check_messages()
        restorer.finish(list(self._state.last))

    def _rows(self, table: str) -> Any:
        return self._connection.execute(f"SELECT id, {SOUND} FROM {table} ORDER BY id")

    def _step(self) -> None:
        """Another STEP rows were read."""
        self._read += STEP
        if self._progress is not None and time.monotonic() >= self._next_call:
            self._progress(min(self._read, self._total), self._total)
            self._next_call = time.monotonic() + PROGRESS

    def _monotonic(self, stored: float) -> float:
        return stored - self._offset

    def _load_sessions(self, restorer: Restorer) -> None:
        count = 0
        total = 0
        row: int
        record: bytes
        for row, record in self._rows("sessions"):
            found = decode_session(row, record)
            will: Will | None = None
            if found.will is not None:
                will = Will(
                    found.will.topic,
                    found.will.payload,
                    found.will.qos,
                    found.will.retain,
                    found.will.delay_interval,
                    found.will.message_expiry_interval,
                    found.will.forwarded,
                )
            away_since = self._monotonic(found.away_since)
            restorer.session(
                row,
                found.number,
                found.client_identifier,
                found.expiry_interval,
                self._alive_until if away_since == math.inf else away_since,
                will,
                self._monotonic(found.will_at),
                away_since == math.inf,
                found.principal,
            )
            count += 1
            total += row
            if count % STEP == 0:
                self._step()
        check_count(self._path, self._state, SESSIONS, count, total)

    def _load_subscriptions(self, restorer: Restorer) -> None:
        count = 0
        total = 0
        row: int
        record: bytes
        for row, record in self._rows("subscriptions"):
            found = decode_subscription(row, record)
            restorer.subscription(
                row,
                found.number,
                found.topic_filter,
                found.maximum_qos,
                found.no_local,
                found.retain_as_published,
                found.identifier,
                found.overflow,
            )
            count += 1
            total += row
            if count % STEP == 0:
                self._step()
        check_count(self._path, self._state, SUBSCRIPTIONS, count, total)

    def _read_queued(self) -> None:
        """Sort the entries of all queues by their Sessions, and see which messages are in several."""
        count = 0
        total = 0
        newest = 0
        firsts = 0
        firsts_total = 0
        last_number = -1
        waiting = Waiting()
        again = self._again
        row: int
        record: bytes
        for row, record in self._rows("queued"):
            _, number, message, identifier, size = split_queued(row, record)
            if message > newest:
                newest = message
                firsts += 1
                firsts_total += message
            else:  # it came up before, or it is out of order
                again[message] = again.get(message, 0) + 1
            if identifier:
                self._sent.setdefault(number, []).append((row, message, record))
            else:
                if number != last_number:
                    last_number = number
                    known = self._waiting.get(number)
                    if known is None:
                        known = self._waiting[number] = Waiting()
                    waiting = known
                waiting.new_rows.append(row)
                waiting.new_messages.append(message)
                waiting.new_sizes.append(size)
                if len(waiting.new_rows) == IN_LISTS:
                    waiting.put_away()
            count += 1
            total += row
            if count % STEP == 0:
                self._step()
        for waiting in self._waiting.values():
            waiting.put_away()
        self._firsts = firsts
        self._firsts_total = firsts_total
        check_count(self._path, self._state, QUEUED, count, total)

    def _load_queued(self, restorer: Restorer) -> None:
        journal = restorer.broker.journal
        assert journal is not None
        restorer.shared(self._shared(journal))
        reader = Reader(self._connection, journal, restorer.broker.subscriptions, self._offset)
        for number, waiting in self._waiting.items():
            if number in restorer.by_number:
                restorer.waiting(number, waiting.rows, waiting.messages, waiting.sizes)
            else:
                restorer.orphans(waiting.rows, waiting.messages)
        for number, sent in self._sent.items():
            session = restorer.by_number.get(number)
            if session is None:
                restorer.orphans(array("q", [each[0] for each in sent]), array("q", [each[1] for each in sent]))
                continue
            messages = reader.messages(array("q", [each[1] for each in sent]))
            deliveries: dict[bytes, Delivery] = {}
            entries: list[Queued] = []
            for row, message, record in sent:
                entries.append(reader.entry(session, row, record, messages[message], deliveries))
            restorer.sent(number, entries)
        self._waiting.clear()
        self._sent.clear()

    def _shared(self, journal: Journal) -> dict[int, int]:
        """Messages that are in several queues, and in how many; and see that they are the messages that there are."""
        again = self._again
        counts: dict[int, int] = {}
        if again:
            for waiting in self._waiting.values():
                for message in waiting.messages:
                    if message in again:
                        counts[message] = counts.get(message, 0) + 1
            for sent in self._sent.values():
                for _, message, _ in sent:
                    if message in again:
                        counts[message] = counts.get(message, 0) + 1
        known = self._firsts
        known_total = self._firsts_total
        for message, times in again.items():
            if counts[message] == times:  # it was out of order each time
                known += 1
                known_total += message
        state = self._state
        if known != state.counts[MESSAGES] or known_total & 0xFFFFFFFFFFFFFFFF != state.sums[MESSAGES]:
            self._compare_messages(journal)
        return {message: count for message, count in counts.items() if count > 1}

    def _compare_messages(self, journal: Journal) -> None:
        """The queues do not hold all messages, which are deleted then, or hold some that are not there."""
        left: dict[int, None] = {}
        number: int
        for (number,) in self._connection.execute("SELECT id FROM messages"):
            left[number] = None
        held: dict[int, None] = {}
        for waiting in self._waiting.values():
            for message in waiting.messages:
                held[message] = None
        for sent in self._sent.values():
            for _, message, _ in sent:
                held[message] = None
        for message in held:
            if message not in left:
                raise DamagedRecord(MESSAGES, message, "it is missing")
            del left[message]
        log.warning("%s: %d messages that no queue holds are deleted", self._path, len(left))
        for message in left:
            journal.forget(MESSAGES, message)

    def _load_exchanges(self, restorer: Restorer) -> None:
        count = 0
        total = 0
        row: int
        record: bytes
        for row, record in self._rows("exchanges"):
            found = decode_exchange(row, record)
            restorer.exchange(row, found.number, found.identifier, found.incoming)
            count += 1
            total += row
            if count % STEP == 0:
                self._step()
        check_count(self._path, self._state, EXCHANGES, count, total)

    def _load_retained(self, restorer: Restorer) -> None:
        count = 0
        total = 0
        row: int
        record: bytes
        for row, record in self._rows("retained"):
            found = decode_message(RETAINED, row, record)
            author = found.author
            restorer.retained(
                row,
                ApplicationMessage(
                    found.topic,
                    found.payload,
                    0,
                    found.qos,
                    found.retain,
                    found.forwarded,
                    self._monotonic(found.expires_at),
                ),
                restorer.author(*author) if author is not None else None,
            )
            count += 1
            total += row
            if count % STEP == 0:
                self._step()
        check_count(self._path, self._state, RETAINED, count, total)

    def _check_messages(self) -> None:
        row: int
        record: bytes
        for row, record in self._rows("messages"):
            decode_message(MESSAGES, row, record)
