"""A Batch of the Journal as the writer wants it: bytes and arrays, so that a commit costs it a handful of statements.

All encoding happens here, on the main thread, between two rounds of the pump: compiled, it is a microsecond a row. The
writer's thread, which would have to fight for the interpreter's lock at each Python statement, has none to do a row.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from broker.core.journal import (
    MESSAGES,
    QUEUED,
    RETAINED,
    TABLES,
    Exchange,
    Queued,
    RetainedRow,
)
from broker.core.message import ApplicationMessage
from broker.core.session import Session
from broker.core.subscriptions import Subscription
from broker.store.records import (
    encode_exchange,
    encode_message,
    encode_queued,
    encode_retained,
    encode_session,
    encode_subscription,
)

if TYPE_CHECKING:
    from broker.core.journal import Batch, Row
    from broker.store.state import State

GROWING: Final = (MESSAGES, QUEUED, RETAINED)  # tables that fill a disk; the others are let grow on a full one


class Work:
    """One transaction. `added` are (table, number of the last row, records), `deleted` are (table, numbers)."""

    def __init__(self) -> None:
        self.added: list[tuple[int, int, tuple[bytes, ...]]] = []
        self.deleted: list[tuple[int, array[int]]] = []
        self.state = b""
        self.witness = b""
        self.rows = 0
        self.bytes = 0
        self.growing = False  # adds rows of messages or queues


def _records(table: int, rows: list[Row], number: int, offset: float) -> tuple[bytes, ...]:
    """`rows`, whose numbers begin with `number`, as bytes."""
    records: list[bytes] = []
    for row in rows:
        if isinstance(row, Queued):
            records.append(encode_queued(number, row))
        elif isinstance(row, ApplicationMessage):
            records.append(encode_message(number, row, offset))
        elif isinstance(row, RetainedRow):
            records.append(encode_retained(number, row, offset))
        elif isinstance(row, Exchange):
            records.append(encode_exchange(number, row))
        elif isinstance(row, Session):
            records.append(encode_session(number, row, offset))
        else:
            assert isinstance(row, Subscription)
            records.append(encode_subscription(number, row))
        number += 1
    return tuple(records)


def encode(batch: Batch, state: State, offset: float) -> Work:
    """The Work of `batch`; `state`, but for its times, becomes that of the database after it."""
    work = Work()
    for table in range(TABLES):
        rows = batch.added[table]
        if rows:
            records = _records(table, rows, state.last[table] + 1, offset)
            state.add(table, len(rows))
            work.added.append((table, state.last[table], records))
            work.rows += len(rows)
            for record in records:
                work.bytes += len(record)
            if table in GROWING:
                work.growing = True
        deleted = batch.deleted[table]
        if deleted:
            numbers = array("q", deleted)
            state.delete(table, numbers)
            work.deleted.append((table, numbers))
            work.rows += len(deleted)
    state.commits += 1
    return work
