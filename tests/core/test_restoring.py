"""A Broker's state put back, and what a Client who comes back finds of it."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import pytest

from broker.core.broker import NO_LIMIT
from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, RETAINED, SESSIONS, SUBSCRIPTIONS, TABLES, Queued
from broker.core.restoring import Restorer
from broker.core.subscriptions import ACCEPTED, Delivery
from broker.packets.types import Connack, Puback, Publish, Pubrel, Will
from tests.core.parts import (
    LateStore,
    accept,
    connect,
    kinds,
    limits,
    message,
    new_broker,
    payloads,
    request,
    said,
    send,
    subscribe,
)

if TYPE_CHECKING:
    from typing import Any

    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.core.session import Session

NOW = 1000.0
LAST = [50, 60, 70, 80, 90, 100]


class Kept:
    """What a Store has, and a Broker that it is put back into. `restore` is the last thing to call."""

    def __init__(self) -> None:
        self.store = LateStore()
        self.broker: Broker = new_broker(store=self.store)
        self.restorer = Restorer(self.broker, limits(), NOW)

    def session(
        self,
        name: str = "c",
        row: int = 5,
        number: int = 3,
        expiry_interval: int = 600,
        away_since: float = NOW - 10,
        will: Will | None = None,
        will_at: float = math.inf,
        connected: bool = False,
    ) -> Session:
        return self.restorer.session(row, number, name, expiry_interval, away_since, will, will_at, connected)

    def waiting(self, session: Session, *qualities: int, granted: int = 2) -> None:
        """Messages of these QoS wait for it: entries 1, 2, ..., of messages 11, 12, ... with payloads 1, 2, ..."""
        sizes = array("i")
        for number, qos in enumerate(qualities, 1):
            one = message("a", b"%d" % number, qos)
            self.store.entries[number] = Queued(one, Delivery(session, granted))
            sizes.append(one.size)
        numbers = range(1, len(qualities) + 1)
        self.restorer.waiting(session.number, array("q", numbers), array("q", [10 + each for each in numbers]), sizes)

    def restore(self) -> Broker:
        self.restorer.finish(LAST)
        return self.broker

    def deleted(self) -> dict[int, list[int]]:
        """What is deleted with the first batch."""
        batch = self.store.journal.take()
        return {table: batch.deleted[table] for table in range(TABLES) if batch.deleted[table]}


def comes_back(broker: Broker, name: str = "c", **values: Any) -> tuple[Connection, list[Any]]:
    """The Client of a Session, and all that it hears at once, CONNACK first."""
    connection = accept(broker, now=NOW)
    request(connection, name, now=NOW, clean_start=False, session_expiry_interval=600, **values)
    assert isinstance(broker.store, LateStore)
    broker.store.catch_up(NOW)
    return connection, said(connection)


# -- Sessions


def test_a_session_is_there_again() -> None:
    kept = Kept()
    session = kept.session()
    broker = kept.restore()
    assert broker.sessions == {"c": session}
    assert (session.row, session.number, session.durable) == (5, 3, True)
    assert (session.away_since, session.expires_at) == (NOW - 10, NOW + 590)
    assert kept.deleted() == {}
    assert not kept.store.journal.pending()
    _, (connack,) = comes_back(broker)
    assert isinstance(connack, Connack)
    assert connack.session_present
    assert session.number == 3
    assert kept.store.batches[-1].deleted[0] == [5]
    assert session.row == LAST[0] + 1, "numbers are never used again"


@pytest.mark.parametrize(("interval", "away", "ends"), [(600, 590, 10.0), (600, 5000, 0.0), (NO_LIMIT, 5000, None)])
def test_a_session_expires_over_the_downtime(interval: int, away: float, ends: float | None) -> None:
    kept = Kept()
    session = kept.session(expiry_interval=interval, away_since=NOW - away)
    broker = kept.restore()
    assert session.expires_at == (NOW - away + interval if ends is not None else math.inf)
    broker.tick(NOW + (ends or 0.0) - 0.5)
    assert ("c" in broker.sessions) == (ends != 0.0)
    broker.tick(NOW + (ends or 0.0) + 0.5)
    assert ("c" in broker.sessions) == (ends is None)
    if ends is not None:
        assert kept.deleted() == {0: [5]}


def test_a_session_that_has_expired_is_not_there_even_before_the_first_tick() -> None:
    kept = Kept()
    kept.session(expiry_interval=600, away_since=NOW - 601)
    broker = kept.restore()
    _, (connack,) = comes_back(broker)
    assert isinstance(connack, Connack)
    assert not connack.session_present
    assert broker.stats.clients_expired == 1
    assert kept.store.batches[-1].deleted[SESSIONS] == [5]


@pytest.mark.parametrize(
    ("delay", "will_at", "connected", "due"),
    [(0, math.inf, True, 0.0), (30, math.inf, True, 20.0), (30, NOW + 7, False, 7.0), (30, NOW - 7, False, 0.0)],
)
def test_a_will_is_due(delay: int, will_at: float, connected: bool, due: float) -> None:
    """That of a Client who was connected: its Network Connection ended with the broker."""
    kept = Kept()
    kept.session(will=Will("w", b"bye", 0, False, delay), will_at=will_at, connected=connected)
    broker = kept.restore()
    spy = connect(broker, "spy", now=NOW)
    subscribe(spy, "w", now=NOW)
    broker.tick(NOW + due - 0.5)
    assert payloads(spy) == ([] if due else [b"bye"])
    broker.tick(NOW + due + 0.5)
    broker.tick(NOW + 100)
    assert payloads(spy) == ([b"bye"] if due else [])
    assert broker.sessions["c"].will is None


# -- Subscriptions


def test_subscriptions() -> None:
    kept = Kept()
    session = kept.session()
    kept.restorer.subscription(21, 3, "a/+", 1, True, True, 9, "latest")
    kept.restorer.subscription(22, 3, "$share/g/b", 2, False, False, 0, "")
    broker = kept.restore()
    assert list(session.subscriptions) == ["a/+", "$share/g/b"]
    one, other = session.subscriptions.values()
    assert (one.row, one.topic_filter, one.share_name, one.maximum_qos) == (21, "a/+", "", 1)
    assert (other.row, other.topic_filter, other.share_name) == (22, "b", "g")
    assert (broker.stats.subscriptions, broker.stats.shared_subscriptions) == (2, 1)
    connection, _ = comes_back(broker)
    broker.publish(message("a/1", b"1", 2, True), None, NOW)
    broker.publish(message("b", b"2"), None, NOW)
    kept.store.catch_up(NOW)
    found = {each.payload: each for each in said(connection)}
    assert set(found) == {b"1", b"2"}
    assert (found[b"1"].qos, found[b"1"].retain) == (1, True)
    assert list(found[b"1"].subscription_identifiers) == [9]


def test_bounds_of_memory_take_nothing_from_what_was_kept() -> None:
    kept = Kept()
    kept.broker.limits.subscription_bytes = 0
    kept.restorer.limits.subscription_bytes_per_session = 0
    session = kept.session()
    for row, topic_filter in enumerate(("a/b", "$share/g/c", "d/#")):
        kept.restorer.subscription(row, 3, topic_filter, 1, False, False, 0, "")
    broker = kept.restore()
    assert list(session.subscriptions) == ["a/b", "$share/g/c", "d/#"]
    assert broker.subscriptions.bytes > 0
    assert session.subscription_bytes > 0
    connection, _ = comes_back(broker)
    assert subscribe(connection, "e") == 0x97, "what was kept counts"
    assert subscribe(connection, "a/b") == 0, "and may be subscribed to again"
    for topic_filter in list(session.subscriptions):
        broker.unsubscribe(session, topic_filter)
    assert (broker.subscriptions.bytes, session.subscription_bytes) == (0, 0)


def test_what_belongs_to_nobody_is_deleted() -> None:
    kept = Kept()
    kept.restorer.subscription(21, 3, "a", 1, False, False, 0, "")
    kept.restorer.exchange(22, 3, 7, True)
    kept.restorer.shared({12: 2})
    kept.restorer.orphans(array("q", [1, 2, 3]), array("q", [11, 12, 12]))
    broker = kept.restore()
    assert not broker.subscriptions.plan("a").deliveries
    assert kept.deleted() == {SUBSCRIPTIONS: [21], EXCHANGES: [22], QUEUED: [1, 2, 3], MESSAGES: [11, 12]}


# -- Exchanges


def test_a_message_that_was_received_is_not_routed_again() -> None:
    kept = Kept()
    session = kept.session()
    kept.restorer.exchange(22, 3, 7, True)
    broker = kept.restore()
    assert list(session.received) == [7]
    spy = connect(broker, "spy", now=NOW)
    subscribe(spy, "#", now=NOW)
    connection, _ = comes_back(broker)
    send(connection, Publish("a", b"x", qos=2, packet_identifier=7, dup=True), Pubrel(7), now=NOW)
    kept.store.catch_up(NOW)
    assert kinds(said(connection)) == ["Pubrec", "Pubcomp"]
    assert said(spy) == []
    assert kept.store.batches[-1].deleted[EXCHANGES] == [22]


def test_a_release_is_sent_again() -> None:
    kept = Kept()
    kept.session()
    kept.restorer.exchange(22, 3, 7, False)
    _, (_, release) = comes_back(kept.restore())
    assert isinstance(release, Pubrel)
    assert release.packet_identifier == 7


def test_who_was_connected_is_away_since_the_first_crash() -> None:
    """Whatever number of crashes there are before the Client comes back: its Session expires in time."""
    kept = Kept()
    away = kept.session("away", 5, 3)
    there = kept.session("there", 6, 4, connected=True)
    kept.restore()
    assert list(kept.store.journal.added[SESSIONS]) == [there]
    assert kept.deleted() == {SESSIONS: [6]}
    assert (away.row, there.row, there.number) == (5, LAST[SESSIONS] + 1, 4)
    assert there.away_since == NOW - 10


def test_what_was_sent_is_sent_again_in_its_order() -> None:
    kept = Kept()
    session = kept.session()
    entries = []
    for identifier, number in ((40, 1), (9, 2)):
        entry = Queued(message("a", b"%d" % number, number), Delivery(session, 2))
        entry.row, entry.message.row, entry.message.holders, entry.identifier = number, 10 + number, 1, identifier
        entries.append(entry)
    kept.restorer.sent(3, entries)
    connection, (_, *found) = comes_back(kept.restore())
    assert [(each.packet_identifier, each.payload, each.qos, each.dup) for each in found] == [
        (40, b"1", 1, True),
        (9, b"2", 2, True),
    ]
    send(connection, Puback(40), now=NOW)
    assert kept.deleted() == {QUEUED: [1], MESSAGES: [11]}


# -- Queues


@pytest.mark.parametrize("connected", [False, True])
def test_the_queue_of_a_session(connected: bool) -> None:
    """Whoever it is may have had the first of QoS 1 already, whose Packet Identifier was not committed: DUP. Who was
    away in the last run may have been connected in the one before, at whose end they were not committed either."""
    kept = Kept()
    session = kept.session(connected=connected)
    kept.waiting(session, 1, 2, 1)
    broker = kept.restore()
    size = 3 * message("a", b"1").size
    assert (broker.stats.queued_messages, broker.stats.queued_bytes, session.pending_bytes) == (3, size, size)
    assert session.queued_messages() == 3
    assert kept.store.pages == [], "not read before the Client comes"
    _, (connack, *found) = comes_back(broker)
    assert connack.session_present
    assert kept.store.pages == [[1, 2, 3]]
    told = [(each.qos, each.payload, each.dup) for each in found]
    assert sorted(told) == [(1, b"1", True), (1, b"3", True), (2, b"2", False)]
    assert [each[1] for each in told if each[0] == 1] == [b"1", b"3"], "in order"
    assert (broker.stats.queued_messages, broker.stats.queued_bytes, session.pending_bytes) == (0, 0, 0)
    assert (session.maybe_sent, session.paged) == (0, None)


def test_what_comes_after_the_crash_was_not_sent_before() -> None:
    kept = Kept()
    session = kept.session(connected=True)
    kept.waiting(session, 1)
    broker = kept.restore()
    assert session.deliver(message("a", b"new", 1), Delivery(session, 1), NOW) == ACCEPTED
    _, (_, *found) = comes_back(broker)
    assert [(each.payload, each.dup) for each in found] == [(b"1", True), (b"new", False)]


def test_the_granted_qos_says_what_was_sent() -> None:
    kept = Kept()
    session = kept.session(connected=True)
    kept.waiting(session, 2, granted=1)
    _, (_, sent) = comes_back(kept.restore())
    assert (sent.qos, sent.dup) == (1, True)


def test_identifiers_begin_anywhere() -> None:
    """What was sent just before a crash had identifiers that are not known: a late answer must not meet a new one."""
    begin = {Kept().session().outgoing.last_identifier for _ in range(20)}
    assert len(begin) > 10
    assert all(0 <= each <= 65535 for each in begin)


# -- Retained messages


def test_retained_messages() -> None:
    kept = Kept()
    kept.restorer.retained(31, message("r", b"1", 1, True, expires_at=NOW + 5))
    kept.restorer.retained(32, message("s", b"2", 1, True))
    kept.restorer.retained(33, message("t", b"3", 1, True, expires_at=NOW))
    broker = kept.restore()
    assert (broker.retained.count, broker.retained.get("t", NOW)) == (2, None)
    assert broker.retained.bytes == 2 * message("r", b"1").size
    broker.publish(message("s", b"", 0, True), None, NOW)
    broker.tick(NOW + 5)
    assert broker.retained.count == 0
    assert kept.deleted() == {RETAINED: [33, 32, 31]}


def test_authors_of_retained_messages() -> None:
    kept = Kept()
    for row, topic in enumerate("ab", 31):
        author = kept.restorer.author("user:ann", "c", ("r",))
        kept.restorer.retained(row, message(topic, b"1", 1, True), author)
    kept.restorer.retained(33, message("c", b"1", 1, True))
    found = [each for each in kept.restore().retained.authored() if each is not None]
    assert [topic for _, topic in found] == ["a", "b"]
    assert found[0][0] is found[1][0]
    assert (found[0][0].principal, found[0][0].client_identifier, found[0][0].roles) == ("user:ann", "c", ("r",))


def test_new_numbers_follow_the_old_ones() -> None:
    kept = Kept()
    broker = kept.restore()
    journal = kept.store.journal
    assert (journal.last, journal.safe_queued, journal.safe_message) == (LAST, LAST[QUEUED], LAST[MESSAGES])
    broker.publish(message("r", b"1", 1, True), None, NOW)
    (row,) = journal.take().added[RETAINED]
    assert row.row == LAST[RETAINED] + 1
