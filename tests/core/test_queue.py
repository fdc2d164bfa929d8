"""The part of a long queue that is only in the Store, and the order of all three."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import pytest

from broker.core.journal import MESSAGES, QUEUED, Journal, Queued
from broker.core.limits import Limits
from broker.core.queue import IN_MEMORY, PAGE, Paged, no_page
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Delivery
from broker.packets.types import Puback, Publish
from tests.core.parts import LateStore, connect, limits, message, new_broker, said, send, session_of, subscribe

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.connection import Connection

SESSION = Session("c", Limits(), Stats(), 0)


def paged(count: int) -> Paged:
    """Entries 1, 2, ..., of messages 101, 102, ..., of 1, 2, ... bytes."""
    numbers = range(1, count + 1)
    return Paged(array("q", numbers), array("q", [100 + each for each in numbers]), array("i", numbers))


def test_page_by_page() -> None:
    queue = paged(PAGE + 2)
    assert len(queue) == PAGE + 2
    rows, messages, size = queue.next_page()
    assert list(rows) == list(range(1, PAGE + 1))
    assert list(messages) == list(range(101, PAGE + 101))
    assert size == sum(range(1, PAGE + 1))
    assert len(queue) == 2
    rows, messages, size = queue.next_page()
    assert (list(rows), list(messages), size) == ([PAGE + 1, PAGE + 2], [PAGE + 101, PAGE + 102], 2 * PAGE + 3)
    assert len(queue) == 0


def test_all_that_is_left() -> None:
    queue = paged(PAGE + 2)
    queue.next_page()
    rows, messages, size = queue.rest()
    assert (list(rows), list(messages), size) == ([PAGE + 1, PAGE + 2], [PAGE + 101, PAGE + 102], 2 * PAGE + 3)
    assert len(queue) == 0


def test_what_was_read_takes_no_memory_for_ever() -> None:
    count = 140_000
    queue = paged(count)
    found = 0
    while len(queue):
        rows, _, _ = queue.next_page()
        assert rows[0] == found + 1
        found = rows[-1]
    assert found == count
    assert len(queue.queued) == len(queue.messages) == len(queue.sizes) < count // 2 + PAGE


def test_nothing_is_put_away_that_cannot_be_read_back() -> None:
    journal = Journal()
    queue = no_page()
    entries = [Queued(message(payload=b"%d" % number, qos=1), Delivery(SESSION, 1)) for number in range(3)]
    queue.tail.extend(entries)
    for each in entries[:2]:
        journal.keep(each)
    queue.put_away(journal)
    assert len(queue) == 0, "not taken"
    batch = journal.take()
    journal.keep(entries[2])
    queue.put_away(journal)
    assert len(queue) == 0, "not written"
    journal.written(batch)
    queue.put_away(journal)
    assert list(queue.tail) == [entries[2]]
    assert list(queue.queued) == list(queue.messages) == [1, 2]
    assert list(queue.sizes) == [each.message.size for each in entries[:2]]


# -- The whole queue of a Session


def sleeper(store: LateStore) -> tuple[Broker, Session]:
    """A durable Session whose Client is away."""
    broker = new_broker(store=store)
    connection = connect(broker, "sleeper", of=roomy(), session_expiry_interval=600)
    assert subscribe(connection, "a", 1) == 1
    connection.lost(0.0)
    store.catch_up()
    return broker, session_of(connection)


def roomy() -> Limits:
    return limits(queue_messages=10_000, queue_bytes=1 << 30, max_inflight=100)


def fill(broker: Broker, start: int, end: int) -> None:
    for number in range(start, end):
        broker.publish(message("a", b"%d" % number, 1), None, 0.0)


def drain(connection: Connection, store: LateStore, count: int) -> list[int]:
    """The payloads of the next `count` messages, each acknowledged."""
    found: list[int] = []
    while len(found) < count:
        packets = [each for each in said(connection) if isinstance(each, Publish)]
        assert packets, f"after {len(found)} messages nothing comes"
        found += [int(each.payload) for each in packets]
        send(connection, *[Puback(each.packet_identifier) for each in packets])
        store.catch_up()
    return found


def test_front_then_paged_then_tail() -> None:
    store = LateStore()
    broker, session = sleeper(store)
    count = 3 * IN_MEMORY
    fill(broker, 0, count)
    assert session.paged is not None
    assert (len(session.pending), len(session.paged), len(session.paged.tail)) == (IN_MEMORY, 0, 2 * IN_MEMORY)
    store.catch_up()
    assert (len(session.pending), len(session.paged), len(session.paged.tail)) == (IN_MEMORY, 2 * IN_MEMORY, 0)
    fill(broker, count, count + 5)
    assert session.queued_messages() == broker.stats.queued_messages == count + 5
    store.catch_up()
    assert len(session.paged.tail) == 5
    connection = connect(broker, "sleeper", of=roomy(), clean_start=False, session_expiry_interval=600)
    assert broker.stats.queued_messages == count + 5 - 100
    fill(broker, count + 5, count + 10)
    assert broker.stats.queued_messages == count + 10 - 100
    for identifier in list(session.outgoing.unacknowledged):
        send(connection, Puback(identifier))  # those that `connect` has read over
    store.catch_up()
    assert drain(connection, store, count + 10 - 100) == list(range(100, count + 10))
    assert session.paged is None
    assert (broker.stats.queued_messages, broker.stats.queued_bytes, session.pending_bytes) == (0, 0, 0)
    store.catch_up()
    assert store.journal.last[QUEUED] > count
    deleted = {number for batch in store.batches for number in batch.deleted[QUEUED]}
    assert deleted == set(store.entries), "every entry is deleted that was written"


@pytest.mark.parametrize("shared", [False, True])
def test_a_session_that_ends_takes_its_long_queue_along(shared: bool) -> None:
    store = LateStore()
    broker, session = sleeper(store)
    if shared:
        connection = connect(broker, "sleeper", of=roomy(), clean_start=False, session_expiry_interval=600)
        subscribe(connection, "$share/g/b", 1)
        connection.lost(0.0)
    fill(broker, 0, 3 * IN_MEMORY)
    store.catch_up()
    store.pages.clear()
    broker.end_session(session, 0.0)
    assert bool(store.pages) == shared, "where nobody inherits nothing is read"
    assert (broker.stats.queued_messages, broker.stats.queued_bytes) == (0, 0)
    store.catch_up()
    gone = {number for batch in store.batches for number in batch.deleted[QUEUED]}
    assert len(gone) == 3 * IN_MEMORY
    assert len({number for batch in store.batches for number in batch.deleted[MESSAGES]}) == 3 * IN_MEMORY
    assert not store.journal.garbage
