"""The Session: what is sent at once, what is kept, and what leaves when there is room again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from broker.core.limits import DISCONNECT, DROP_NEWEST, DROP_OLDEST, LATEST
from broker.core.message import from_publish
from broker.core.session import SLICE, Session
from broker.core.stats import Stats
from broker.core.subscriptions import ACCEPTED, NOBODY, REFUSED, Delivery
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.types import Puback, Pubcomp, Publish, Pubrec, Subscribe, SubscriptionRequest
from tests.core.parts import (
    accept,
    connect,
    limits,
    message,
    new_broker,
    payloads,
    publishes,
    request,
    said,
    send,
    session_of,
    subscribe,
)
from tests.statements import statement

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.core.message import ApplicationMessage

PLENTY = 1 << 30


def reader(
    version: int = 5, qos: int = 2, receive_maximum: int = 10, **values: object
) -> tuple[Connection, Session, Delivery]:
    """A connected Session and a Delivery of `qos` for it; `values` are limits."""
    of = limits(max_inflight=receive_maximum, **values)
    connection = connect(new_broker(), "reader", version, of, clean_start=version == 5, session_expiry_interval=60)
    session = session_of(connection)
    return connection, session, Delivery(session, qos)


def drain(connection: Connection, now: float = 0.0) -> list[Publish]:
    """Read all there is, as the transport does it: take, send, say that there is room."""
    result: list[Publish] = []
    for _ in range(100):
        found = publishes(connection)
        connection.outbox.dirty = False
        connection.drained(now)
        result += found
        if not connection.outbox.parts:
            return result
    raise AssertionError("no end")


# -- deliver, at QoS 0


def test_qos_0_to_nobody() -> None:
    session = Session("c", limits(), Stats(), PLENTY)
    assert session.deliver(message(), Delivery(session, 2), 0.0) == NOBODY
    assert session.deliver(message(qos=2), Delivery(session, 0), 0.0) == NOBODY
    assert not session.pending


@pytest.mark.parametrize("version", [3, 4, 5])
def test_the_very_bytes_that_came_go_to_all(version: int) -> None:
    data = encode(Publish("a", b"payload"), version)
    (publish,) = Decoder(DecoderLimits(), version).feed(data)
    assert isinstance(publish, Publish)
    one = from_publish(publish, 0.0, 0)
    for _ in range(3):
        connection, session, delivery = reader(version)
        assert session.deliver(one, delivery, 0.0) == ACCEPTED
        assert connection.outbox.parts == [data]
        assert connection.outbox.parts[0] is publish.packet


@pytest.mark.parametrize("qos", [1, 2])
def test_heads_and_tails_are_shared_by_all(qos: int) -> None:
    one = message(qos=qos)
    found = []
    for _ in range(2):
        connection, session, delivery = reader()
        assert session.deliver(one, delivery, 0.0) == ACCEPTED
        found.append(connection.outbox.parts)
    assert found[0][0] is found[1][0]
    assert found[0][2] is found[1][2]


@pytest.mark.parametrize("policy", [DROP_NEWEST, DISCONNECT])
def test_a_full_outbox_refuses_qos_0(policy: str) -> None:
    connection, session, delivery = reader(outbox_soft_bytes=100, overflow=policy)
    connection.outbox.put(bytes(99))
    assert session.deliver(message(payload=b"1"), delivery, 0.0) == ACCEPTED
    assert session.deliver(message(payload=b"2"), delivery, 0.0) == REFUSED
    assert connection.dropped == 1
    assert session.stats.publish_dropped == 1
    assert not connection.ended, "not within the round"
    connection.broker.flush(0.0)
    assert connection.ended == (policy == DISCONNECT)
    if policy == DISCONNECT:
        assert "quota_exceeded" in connection.end_reason


@pytest.mark.parametrize(
    ("policy", "left", "dropped"),
    [
        (DROP_OLDEST, [("b", b"2"), ("b", b"3"), ("a", b"4")], 2),
        (LATEST, [("a", b"4"), ("b", b"3")], 3),
    ],
)
def test_a_full_outbox_keeps_what_the_policy_says(policy: str, left: list[tuple[str, bytes]], dropped: int) -> None:
    connection, session, delivery = reader(outbox_soft_bytes=100, overflow=policy, queue_messages=3)
    connection.outbox.put(encode(Publish("full", bytes(100)), 5))
    for number, topic in enumerate("aabba"):
        assert session.deliver(message(topic, b"%d" % number), delivery, 0.0) == ACCEPTED
    assert not connection.simple
    assert connection.dropped == dropped
    found = drain(connection)
    assert [(each.topic, each.payload) for each in found] == [("full", bytes(100)), *left]
    assert connection.backlog is None
    assert connection.simple
    assert session.deliver(message(payload=b"live"), delivery, 0.0) == ACCEPTED
    assert payloads(connection) == [b"live"]


def test_what_is_kept_stays_in_order_with_what_comes() -> None:
    connection, session, delivery = reader(outbox_soft_bytes=100, overflow=DROP_OLDEST)
    connection.outbox.put(bytes(100))
    session.deliver(message(payload=b"1"), delivery, 0.0)
    connection.outbox.clear()
    session.deliver(message(payload=b"2"), delivery, 0.0)
    assert not connection.outbox.parts
    assert [each.payload for each in drain(connection)] == [b"1", b"2"]


def test_the_subscription_has_a_policy_of_its_own() -> None:
    connection, session, _ = reader(outbox_soft_bytes=1)
    connection.outbox.put(b"full")
    assert session.deliver(message(), Delivery(session, 0, overflow=LATEST), 0.0) == ACCEPTED
    assert session.deliver(message(), Delivery(session, 0), 0.0) == REFUSED


def test_what_is_kept_expires() -> None:
    connection, session, delivery = reader(outbox_soft_bytes=10, overflow=DROP_OLDEST)
    connection.outbox.put(bytes(10))
    session.deliver(message(payload=b"old", expires_at=5.0), delivery, 0.0)
    session.deliver(message(payload=b"new"), delivery, 0.0)
    connection.outbox.clear()
    assert [each.payload for each in drain(connection, 5.0)] == [b"new"]


# -- deliver, at QoS 1 and 2


def test_the_lower_quality_of_service_counts() -> None:
    connection, session, _ = reader()
    for published in (0, 1, 2):
        for granted in (0, 1, 2):
            session.deliver(message(qos=published), Delivery(session, granted), 0.0)
            (publish,) = publishes(connection)
            assert publish.qos == min(published, granted)


@statement("MQTT5-4.9.0-2", "MQTT5-3.3.4-9")
@pytest.mark.parametrize("qos", [1, 2])
def test_beyond_the_send_quota_messages_wait(qos: int) -> None:
    connection, session, delivery = reader(receive_maximum=2)
    for number in range(5):
        assert session.deliver(message(payload=b"%d" % number, qos=qos), delivery, 0.0) == ACCEPTED
    sent = publishes(connection)
    assert [each.payload for each in sent] == [b"0", b"1"]
    assert session.stats.queued_messages == len(session.pending) == 3
    assert session.stats.queued_bytes == session.pending_bytes > 0
    got = list(sent)
    while sent:
        first = sent.pop(0).packet_identifier
        if qos == 1:
            send(connection, Puback(first))
        else:
            send(connection, Pubrec(first), Pubcomp(first))
        new = [each for each in said(connection) if isinstance(each, Publish)]
        assert len(new) <= 1
        sent += new
        got += new
    assert [each.payload for each in got] == [b"%d" % number for number in range(5)]
    assert session.stats.queued_messages == session.stats.queued_bytes == session.pending_bytes == 0
    assert session.outgoing.quota == 2


@statement("MQTT5-3.3.4-10")
def test_qos_0_does_not_wait_for_the_quota() -> None:
    connection, session, delivery = reader(receive_maximum=1)
    for qos in (1, 1, 0):
        session.deliver(message(payload=b"%d" % qos, qos=qos), delivery, 0.0)
    assert payloads(connection) == [b"1", b"0"]


def test_a_full_outbox_makes_qos_1_wait() -> None:
    connection, session, delivery = reader(outbox_soft_bytes=10)
    connection.outbox.put(bytes(10))
    assert session.deliver(message(payload=b"1", qos=1), delivery, 0.0) == ACCEPTED
    connection.outbox.clear()
    session.deliver(message(payload=b"2", qos=1), delivery, 0.0)
    assert not connection.outbox.parts, "not before those that wait"
    assert [each.payload for each in drain(connection)] == [b"1", b"2"]


def test_all_identifiers_in_use_make_qos_1_wait() -> None:
    connection, session, delivery = reader(receive_maximum=65535)
    session.outgoing.released = dict.fromkeys(range(1, 65536))
    assert session.outgoing.full()
    assert session.deliver(message(qos=1), delivery, 0.0) == ACCEPTED
    session.snapshots.clear()
    session.refill(0.0)
    assert not connection.outbox.parts
    assert len(session.pending) == 1
    send(connection, Pubcomp(700))
    (publish,) = publishes(connection)
    assert publish.packet_identifier == 700


def test_the_queue_is_bounded_in_messages() -> None:
    session = Session("c", limits(queue_messages=2), Stats(), PLENTY)
    delivery = Delivery(session, 1)
    assert [session.deliver(message(qos=1), delivery, 0.0) for _ in range(4)] == [ACCEPTED, ACCEPTED, REFUSED, REFUSED]
    assert session.dropped == session.stats.publish_refused == session.stats.publish_dropped == 2


def test_a_burst_for_one_who_is_there_is_bounded_in_bytes_only() -> None:
    size = message(qos=1).size
    connection, session, delivery = reader(qos=1, receive_maximum=1, queue_messages=2, queue_bytes=10 * size)
    outcomes = [session.deliver(message(qos=1), delivery, 0.0) for _ in range(13)]
    assert outcomes == [ACCEPTED] * 11 + [REFUSED] * 2  # one is in flight, ten wait
    connection.lost(0.0)
    assert len(session.pending) == 10, "what was accepted is kept when the connection is lost"
    assert session.deliver(message(qos=1), delivery, 0.0) == REFUSED


def test_the_queue_is_bounded_in_bytes() -> None:
    size = message(payload=bytes(100), qos=1).size
    session = Session("c", limits(queue_bytes=2 * size), Stats(), PLENTY)
    delivery = Delivery(session, 1)
    assert session.deliver(message(payload=bytes(200), qos=1), delivery, 0.0) == ACCEPTED
    assert session.deliver(message(payload=bytes(100), qos=1), delivery, 0.0) == REFUSED
    assert session.deliver(message(payload=b"", qos=1), delivery, 0.0) == ACCEPTED


def test_what_has_expired_makes_room() -> None:
    session = Session("c", limits(queue_messages=3), Stats(), PLENTY)
    delivery = Delivery(session, 1)
    for expires_at in (5.0, 6.0, math.inf):
        session.deliver(message(qos=1, expires_at=expires_at), delivery, 0.0)
    assert session.deliver(message(qos=1), delivery, 4.9) == REFUSED
    assert session.deliver(message(qos=1), delivery, 5.0) == ACCEPTED
    assert session.deliver(message(qos=1), delivery, 5.0) == REFUSED
    assert session.deliver(message(qos=1), delivery, 6.0) == ACCEPTED
    assert session.deliver(message(qos=1), delivery, 99.0) == REFUSED
    assert session.stats.queued_messages == 3
    assert session.stats.queued_bytes == session.pending_bytes == 3 * message().size


def test_all_queues_together_are_bounded() -> None:
    size = message(qos=1).size
    stats = Stats()
    one, other = (Session(name, limits(), stats, 3 * size) for name in ("one", "other"))
    outcomes = [each.deliver(message(qos=1), Delivery(each, 1), 0.0) for each in (one, other, one, other)]
    assert outcomes == [ACCEPTED, ACCEPTED, ACCEPTED, REFUSED]
    one.take_orphans(0.0, False)
    assert other.deliver(message(qos=1), Delivery(other, 1), 0.0) == ACCEPTED
    assert stats.queued_bytes == 2 * size


@statement("MQTT5-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_too_large_for_the_client_is_over(qos: int) -> None:
    connection = connect(new_broker(), "c", maximum_packet_size=50, session_expiry_interval=9)
    session = session_of(connection)
    delivery = Delivery(session, qos)
    assert session.deliver(message(payload=bytes(50), qos=qos), delivery, 0.0) == NOBODY
    assert session.stats.publish_dropped == 1
    assert not session.outgoing.unacknowledged
    assert not session.outgoing.released
    assert session.outgoing.quota == session.outgoing.maximum
    assert session.deliver(message(payload=bytes(30), qos=qos), delivery, 0.0) == ACCEPTED
    assert payloads(connection) == [bytes(30)]


def test_can_send() -> None:
    connection, session, delivery = reader(receive_maximum=1, outbox_soft_bytes=100)
    offline = Session("o", limits(), Stats(), PLENTY)
    assert not offline.can_send(message(), Delivery(offline, 2))
    assert session.can_send(message(qos=0), delivery)
    assert session.can_send(message(qos=1), delivery)
    session.deliver(message(qos=1), delivery, 0.0)
    assert session.can_send(message(qos=0), delivery)
    assert session.can_send(message(qos=1), Delivery(session, 0))
    assert not session.can_send(message(qos=1), delivery)
    connection.outbox.put(bytes(100))
    assert not session.can_send(message(qos=0), delivery)


# -- A new connection


def again(old: Connection, receive_maximum: int = 10) -> Connection:
    """The Client loses its connection and comes back; nothing is read yet."""
    old.lost(0.0)
    connection = accept(old.broker, limits(max_inflight=receive_maximum))
    request(connection, "reader", clean_start=False, session_expiry_interval=60)
    return connection


@statement("MQTT5-4.4.0-1", "MQTT5-3.3.1-1", "MQTT311-4.4.0-1", "MQTT311-3.3.1-1", "MQTT5-4.6.0-1", "MQTT311-4.6.0-6")
@pytest.mark.parametrize("receive_maximum", [1, 2, 10])
def test_sent_again_first_then_new(receive_maximum: int) -> None:
    connection, session, delivery = reader(receive_maximum=3)
    for number in range(5):
        session.deliver(message(payload=b"%d" % number, qos=1 + number % 2), delivery, 0.0)
    assert len(publishes(connection)) == 3
    connection = again(connection, receive_maximum=receive_maximum)
    session.deliver(message(payload=b"5", qos=1), delivery, 0.0)
    got: list[Publish] = []
    while new := [each for each in said(connection) if isinstance(each, Publish)]:
        assert len(new) <= receive_maximum
        got += new
        for each in new:
            if each.qos == 1:
                send(connection, Puback(each.packet_identifier))
            else:
                send(connection, Pubrec(each.packet_identifier), Pubcomp(each.packet_identifier))
    assert [(each.payload, each.dup) for each in got] == [(b"%d" % number, number < 3) for number in range(6)]
    assert not session.waiting()


def test_a_message_sent_again_that_is_too_large_now_is_over() -> None:
    connection, session, delivery = reader(receive_maximum=2)
    session.deliver(message(payload=bytes(100), qos=1), delivery, 0.0)
    session.deliver(message(payload=bytes(100), qos=2), delivery, 0.0)
    session.deliver(message(payload=b"small", qos=1), delivery, 0.0)
    connection.lost(0.0)
    of = limits(max_inflight=2)
    connection = connect(
        connection.broker, "reader", of=of, clean_start=False, session_expiry_interval=60, maximum_packet_size=60
    )
    assert list(session.outgoing.unacknowledged) == [3]
    assert session.outgoing.quota == 1


def test_while_disconnected_nothing_is_sent() -> None:
    connection, session, delivery = reader()
    connection.lost(0.0)
    assert session.deliver(message(qos=1), delivery, 0.0) == ACCEPTED
    session.refill(0.0)
    assert session.waiting()
    assert len(session.pending) == 1


@statement("MQTT5-3.3.2-5")
def test_what_expired_in_the_queue_is_not_sent() -> None:
    connection, session, delivery = reader()
    connection.lost(0.0)
    for number, expires_at in enumerate((5.0, math.inf, 6.0)):
        session.deliver(message(payload=b"%d" % number, qos=1, expires_at=expires_at), delivery, 0.0)
    connection = again(connection)
    found = [each for each in said(connection) if isinstance(each, Publish)]
    assert [each.message_expiry_interval for each in found] == [5, -1, 6]
    connection.lost(0.0)
    for number, expires_at in enumerate((5.0, math.inf, 6.0)):
        session.deliver(message(payload=b"q%d" % number, qos=1, expires_at=expires_at), delivery, 0.0)
    session.outgoing.unacknowledged.clear()
    connection = connect(connection.broker, "reader", now=5.5, clean_start=False, session_expiry_interval=60)
    held = [entry.message.payload for entry in session.outgoing.unacknowledged.values()]
    assert held == [b"q1", b"q2"]
    assert session.stats.publish_dropped == 1
    assert session.stats.queued_messages == 0


# -- Snapshots


def retain(connection: Connection, count: int, qos: int = 0, expires_at: float = math.inf, size: int = 10) -> None:
    for number in range(count):
        one = message(f"r/{number:04}", b"%04d" % number + bytes(size), qos, True, expires_at)
        assert connection.broker.retained.set(one)


def test_a_snapshot_of_qos_0_is_paced_by_the_outbox() -> None:
    connection, session, _ = reader(outbox_soft_bytes=200)
    retain(connection, 100)
    subscribe(connection, "r/#")
    assert connection.outbox.size < 250
    assert session.waiting()
    found = drain(connection)
    assert [each.topic for each in found] == [f"r/{number:04}" for number in range(100)]
    assert all(each.retain for each in found)
    assert not session.waiting()
    assert session.stats.publish_dropped == 0


def test_a_snapshot_of_qos_1_is_paced_by_the_quota() -> None:
    connection, _, _ = reader(receive_maximum=3)
    retain(connection, 10, 1)
    subscribe(connection, "r/#", 1)
    got: list[bytes] = []
    while new := publishes(connection):
        assert len(new) <= 3
        got += [each.payload[:4] for each in new]
        send(connection, *[Puback(each.packet_identifier) for each in new])
    assert got == [b"%04d" % number for number in range(10)]


def test_a_snapshot_waits_for_the_quota_with_its_eyes_open() -> None:
    """What expires, goes or is replaced while the send quota is spent does not come, or comes as it is then."""
    connection, session, delivery = reader(receive_maximum=1)
    retained = connection.broker.retained
    for topic, expires_at in (("r/0", 5.0), ("r/1", math.inf), ("r/2", math.inf)):
        retained.set(message(topic, b"old", 1, True, expires_at))
    session.deliver(message(qos=1), delivery, 0.0)
    (publish,) = publishes(connection)
    subscribe(connection, "r/#", 1)
    assert not connection.outbox.parts
    retained.remove("r/1")
    retained.set(message("r/2", b"new", 1, True))
    send(connection, Puback(publish.packet_identifier), now=6.0)
    (publish,) = publishes(connection)
    assert (publish.topic, publish.payload) == ("r/2", b"new")
    send(connection, Puback(publish.packet_identifier), now=6.0)
    assert publishes(connection) == []
    assert not session.waiting()


@pytest.mark.parametrize("receive_maximum", [1, 4])
def test_a_snapshot_and_the_queue_take_turns(receive_maximum: int) -> None:
    """However small the quota, a long snapshot does not keep live messages waiting."""
    connection, session, delivery = reader(receive_maximum=receive_maximum)
    retain(connection, 50, 1)
    subscribe(connection, "r/#", 1)
    for number in range(10):
        session.deliver(message(payload=b"q%d" % number, qos=1), delivery, 0.0)
    got: list[bytes] = []
    while new := publishes(connection):
        got += [each.payload[:4] for each in new]
        for each in new:
            send(connection, Puback(each.packet_identifier))
    assert got.index(b"q9") <= 2 * 10 + receive_maximum
    assert [each for each in got if each.startswith(b"q")] == [b"q%d" % number for number in range(10)]
    assert [each for each in got if not each.startswith(b"q")] == [b"%04d" % number for number in range(50)]


def test_a_snapshot_goes_on_with_the_next_connection() -> None:
    connection, _, _ = reader(receive_maximum=2)
    retain(connection, 4, 1)
    subscribe(connection, "r/#", 1)
    assert len(publishes(connection)) == 2
    connection = again(connection)
    got = [each for each in said(connection) if isinstance(each, Publish)]
    assert [(each.topic, each.dup, each.retain) for each in got] == [
        ("r/0000", True, True),
        ("r/0001", True, True),
        ("r/0002", False, True),
        ("r/0003", False, True),
    ]


def test_a_snapshot_too_large_for_the_client_is_left_out() -> None:
    connection = connect(new_broker(), "c", maximum_packet_size=60, receive_maximum=1)
    for qos in (0, 1):
        connection.broker.retained.set(message(f"large/{qos}", bytes(100), qos, True))
        connection.broker.retained.set(message(f"small/{qos}", b"x", qos, True))
    subscribe(connection, "#", 1)
    found = publishes(connection)
    assert sorted(each.topic for each in found) == ["small/0", "small/1"]
    send(connection, Puback(found[-1].packet_identifier))
    assert not session_of(connection).waiting()


def test_dropping_one_snapshot_leaves_the_others() -> None:
    connection, session, _ = reader(outbox_soft_bytes=1)
    retain(connection, 3)
    connection.outbox.put(b"full")
    for topic_filter in ("r/0000", "r/0001", "r/0002"):
        data = connection.outbox.parts[0]
        subscribe_behind(connection, topic_filter)
        assert connection.outbox.parts == [data]
    session.drop_snapshot("r/0001")
    connection.outbox.clear()
    assert [each.topic for each in drain(connection)] == ["r/0000", "r/0002"]
    session.drop_snapshot("r/0001")


def subscribe_behind(connection: Connection, topic_filter: str) -> None:
    send(connection, Subscribe(1, [SubscriptionRequest(topic_filter)]))
    connection.outbox.size -= len(connection.outbox.parts.pop())


def test_a_slice_at_a_time() -> None:
    """A reader of a long snapshot lets the others have their turn, and is looked at again in the next round."""
    connection, session, _ = reader()
    retain(connection, 3 * SLICE, size=1)
    subscribe(connection, "r/#")
    rounds = []
    while found := publishes(connection):
        rounds.append(len(found))
        assert connection.outbox.dirty
        connection.broker.dirty.clear()
        connection.outbox.dirty = False
        connection.drained(0.0)
    assert sum(rounds) == 3 * SLICE
    assert max(rounds) <= SLICE
    assert not connection.outbox.dirty or not session.waiting()


def test_a_slice_without_a_byte_has_its_next_turn_too() -> None:
    connection, session, _ = reader()
    retain(connection, 2 * SLICE, expires_at=-1.0)
    retained = connection.broker.retained
    assert retained.set(message("s", b"x", 0, True))
    subscribe(connection, "#")
    connection.outbox.dirty = False
    session.refill(0.0)
    assert connection.outbox.dirty
    assert not connection.outbox.parts
    session.refill(0.0)
    assert [each.topic for each in publishes(connection)] == ["s"]


def test_what_comes_waits_behind_what_the_full_outbox_keeps_from_being_sent_again() -> None:
    connection, session, delivery = reader()
    for number in range(2):
        session.deliver(message(payload=b"%d" % number + bytes(60), qos=1), delivery, 0.0)
    connection.lost(0.0)
    connection = accept(connection.broker, limits(outbox_soft_bytes=80))
    request(connection, "reader", clean_start=False, session_expiry_interval=60)
    assert list(session.outgoing.resend) == [2]
    said(connection)
    session.deliver(message(payload=b"2", qos=1), delivery, 0.0)
    assert [each.payload[:1] for each in drain(connection)] == [b"1", b"2"]


def test_nothing_to_refill() -> None:
    connection, session, _ = reader()
    connection.outbox.dirty = False
    session.refill(0.0)
    assert not connection.outbox.parts
    assert not connection.outbox.dirty
    assert not session.waiting()


def test_resending_lets_nothing_overtake() -> None:
    """While something must be sent again, snapshot, queue and what comes wait behind it."""
    connection, session, delivery = reader(receive_maximum=2)
    for number in range(2):
        session.deliver(message(payload=b"%d" % number, qos=1), delivery, 0.0)
    connection = again(connection, receive_maximum=1)
    retain(connection, 1, 0)
    assert [each.payload for each in said(connection) if isinstance(each, Publish)] == [b"0"]
    subscribe(connection, "r/#")
    session.deliver(message(payload=b"2", qos=1), delivery, 0.0)
    assert publishes(connection) == []
    send(connection, Puback(1))
    assert [each[:4] for each in payloads(connection)] == [b"1", b"0000"]
    send(connection, Puback(2))
    assert payloads(connection) == [b"2"]


# -- The end


@statement("MQTT5-4.8.2-5")
def test_orphans() -> None:
    """Of shared subscriptions: QoS 1 unacknowledged and all that waited; never a QoS 2 message that was sent."""
    connection, session, own = reader(receive_maximum=2)
    connection.broker.subscriptions.plan("a")
    subscribe(connection, "$share/g/a", 2)
    (group,) = connection.broker.subscriptions.plan("a").groups
    (shared,) = group.members
    sent: list[ApplicationMessage] = [message(payload=b"s1", qos=1), message(payload=b"s2", qos=2)]
    kept = [message(payload=b"k%d" % qos, qos=qos) for qos in (1, 2)]
    for each in (*sent, *kept):
        session.deliver(each, shared, 0.0)
    session.deliver(message(payload=b"own", qos=1), own, 0.0)
    connection.lost(0.0)
    assert [each.message.payload for each in session.take_orphans(0.0, True)] == [b"s1", b"k1", b"k2"]
    assert not session.pending
    assert session.stats.queued_messages == session.stats.queued_bytes == 0
