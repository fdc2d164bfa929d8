"""What the writer is given for a Batch."""

from __future__ import annotations

import pytest

from broker.core.journal import (
    EXCHANGES,
    MESSAGES,
    QUEUED,
    RETAINED,
    SESSIONS,
    SUBSCRIPTIONS,
    Exchange,
    Journal,
    RetainedRow,
    Row,
)
from broker.core.subscriptions import Subscription
from broker.store.batches import encode
from broker.store.records import decode_message, decode_queued, decode_session
from broker.store.state import State
from tests.store.parts import entry, message, session


def test_a_message_for_two_sessions_is_written_once() -> None:
    journal, state = Journal(), State()
    first, second = session("first"), session("second")
    journal.add(SESSIONS, first)
    journal.add(SESSIONS, second)
    sent = message()
    journal.keep(entry(first, sent))
    journal.keep(entry(second, sent))
    work = encode(journal.take(), state, 50.0)
    assert [(table, last, len(records)) for table, last, records in work.added] == [
        (SESSIONS, 2, 2),
        (MESSAGES, 1, 1),
        (QUEUED, 2, 2),
    ]
    assert work.deleted == []
    assert (work.rows, work.growing) == (5, True)
    assert work.bytes == sum(len(record) for _, _, records in work.added for record in records)
    assert state.counts == [2, 0, 1, 2, 0, 0]
    assert state.last == [2, 0, 1, 2, 0, 0]
    assert state.commits == 1
    sessions, messages, queued = (records for _, _, records in work.added)
    assert [decode_session(row, record).number for row, record in enumerate(sessions, 1)] == [1, 2]
    assert decode_message(MESSAGES, 1, messages[0]).payload == b"payload"
    assert [decode_queued(row, record)[:2] for row, record in enumerate(queued, 1)] == [(1, 1), (2, 1)]


def test_what_was_added_and_deleted_in_between_costs_nothing() -> None:
    journal = Journal()
    queued = entry(session("c", 1))
    journal.keep(queued)
    journal.release(queued)
    assert journal.pending()
    assert journal.take().empty()


def test_deletes() -> None:
    journal, state = Journal(), State()
    receiver = session("c", 1)
    entries = [entry(receiver) for _ in range(3)]
    for each in entries:
        journal.keep(each)
    encode(journal.take(), state, 0.0)
    journal.release(entries[0])
    journal.release(entries[2])
    work = encode(journal.take(), state, 0.0)
    assert work.added == []
    assert [(table, list(numbers)) for table, numbers in work.deleted] == [(MESSAGES, [1, 3]), (QUEUED, [1, 3])]
    assert (work.rows, work.bytes, work.growing) == (4, 0, False)
    assert (state.counts[QUEUED], state.sums[QUEUED], state.last[QUEUED]) == (1, 2, 3)


@pytest.mark.parametrize("table", [SESSIONS, SUBSCRIPTIONS, MESSAGES, QUEUED, EXCHANGES, RETAINED])
def test_numbers_go_on_where_the_table_stands(table: int) -> None:
    receiver = session("c", 1)
    rows: dict[int, Row] = {
        SESSIONS: receiver,
        SUBSCRIPTIONS: Subscription(receiver, "a/#", "", 1),
        MESSAGES: message(),
        QUEUED: entry(receiver),
        EXCHANGES: Exchange(receiver, 5, True),
        RETAINED: RetainedRow(message()),
    }
    journal, state = Journal(), State()
    journal.last[table] = state.last[table] = 41
    journal.add(table, rows[table])
    work = encode(journal.take(), state, 0.0)
    assert [(found, last) for found, last, _ in work.added] == [(table, 42)]
    assert rows[table].row == 42
    assert work.growing == (table in (MESSAGES, QUEUED, RETAINED))
