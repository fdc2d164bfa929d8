"""What is due when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.broker import NO_LIMIT
from broker.core.deadlines import HANDSHAKE, SESSION_EXPIRY, SWEEP_FROM, WILL, Deadlines, KeepAliveRing
from broker.core.message import ApplicationMessage
from broker.packets.types import Pingreq, Will
from tests.core.parts import accept, connect, limits, new_broker, payloads, publishes, request, send, subscribe
from tests.statements import statement

if TYPE_CHECKING:
    from broker.core.broker import Broker


def test_nothing_is_due() -> None:
    deadlines = Deadlines()
    assert deadlines.first == math.inf
    assert deadlines.due(1e9) == []
    assert len(deadlines) == 0


def test_in_order_of_time_and_equals_in_order_of_coming() -> None:
    deadlines = Deadlines()
    one, other = object(), object()  # subjects cannot be compared
    deadlines.add(5.0, WILL, one)
    deadlines.add(3.0, HANDSHAKE, other)
    deadlines.add(5.0, SESSION_EXPIRY, other)
    assert deadlines.first == 3.0
    assert deadlines.due(2.9) == []
    assert deadlines.due(5.0) == [(3.0, HANDSHAKE, other), (5.0, WILL, one), (5.0, SESSION_EXPIRY, other)]
    assert deadlines.first == math.inf


@settings(deadline=None)
@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 25)))
def test_any_order(times: list[int], looks: list[int]) -> None:
    deadlines = Deadlines()
    for number, at in enumerate(times):
        deadlines.add(float(at), number, None)
    expected = sorted((at, number) for number, at in enumerate(times))
    for now in sorted(looks):
        found = [(at, kind) for at, kind, _ in deadlines.due(float(now))]
        assert found == [entry for entry in expected if entry[0] <= now]
        expected = [entry for entry in expected if entry[0] > now]
        assert deadlines.first == (expected[0][0] if expected else math.inf)


def test_a_sweep_leaves_what_is_true_in_its_order() -> None:
    deadlines = Deadlines()
    for number in range(SWEEP_FROM):
        assert not deadlines.crowded()
        deadlines.add(float(-number % 7), number, None)
    assert deadlines.crowded()
    deadlines.sweep(lambda at, kind, subject: kind % 2 == 0 and at > 0)
    expected = sorted((float(-number % 7), number) for number in range(0, SWEEP_FROM, 2) if number % 7)
    assert not deadlines.crowded()
    assert deadlines.first == 1.0
    assert [(at, kind) for at, kind, _ in deadlines.due(9.0)] == expected


def test_a_sweep_of_all() -> None:
    deadlines = Deadlines()
    deadlines.add(1.0, WILL, None)
    deadlines.sweep(lambda at, kind, subject: False)
    assert len(deadlines) == 0
    assert deadlines.first == math.inf


def test_sweeps_are_rare_where_all_is_true() -> None:
    deadlines = Deadlines()
    sweeps = 0
    for number in range(16 * SWEEP_FROM):
        deadlines.add(float(number), WILL, None)
        if deadlines.crowded():
            sweeps += 1
            deadlines.sweep(lambda at, kind, subject: True)
    assert sweeps == 5
    assert len(deadlines) == 16 * SWEEP_FROM


# -- Keep Alive


def test_a_ring_has_one_bucket_a_second() -> None:
    broker = new_broker()
    ring = KeepAliveRing()
    one, other, third = (accept(broker) for _ in range(3))
    ring.add(one, 10.2)
    ring.add(other, 10.9)
    ring.add(third, 12.0)
    assert ring.first == 11.0
    assert ring.due(10.99) == []
    assert ring.due(11.0) == [one, other]
    assert ring.first == 12.0
    assert ring.due(100.0) == [third]
    assert ring.first == math.inf


def test_a_ring_forgets_whom_it_is_told_to() -> None:
    broker = new_broker()
    ring = KeepAliveRing()
    one, other = accept(broker), accept(broker)
    ring.remove(one)
    ring.add(one, 10.2)
    ring.add(other, 10.2)
    ring.remove(one)
    ring.remove(one)
    assert ring.due(11.0) == [other]
    ring.remove(other)
    assert ring.due(99.0) == []


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
@pytest.mark.parametrize("keep_alive", [1, 10, 60])
def test_packets_cost_no_entry_and_silence_ends_the_connection(keep_alive: int) -> None:
    broker = new_broker()
    connection = connect(broker, "c", 4, keep_alive=keep_alive)
    for step in range(1, 20):
        now = step * keep_alive / 10
        send(connection, Pingreq(), now=now)
        assert len(broker.keep_alive._seconds) == 1
        broker.tick(now)
        assert not connection.ended
    last = 19 * keep_alive / 10
    broker.tick(last + 1.5 * keep_alive - 0.001)
    assert not connection.ended
    assert broker.next_deadline() <= last + 1.5 * keep_alive + 1
    broker.tick(broker.next_deadline())
    assert connection.ended
    assert "keep_alive_timeout" in connection.end_reason


# -- Nothing is held for hours that has ended


def subjects(broker: Broker) -> set[object]:
    heap = {subject for _, _, _, subject in broker.deadlines._heap}
    ring = {each for bucket in broker.keep_alive._buckets.values() for each in bucket}
    return heap | ring


def test_an_ended_connection_leaves_the_ring() -> None:
    broker = new_broker()
    for number in range(50):
        connect(broker, f"c{number}", 4, keep_alive=65535).lost(0.0)
    broker.tick(10.0)  # beyond the handshakes
    assert not subjects(broker)


def test_a_client_that_comes_and_goes_leaves_a_bounded_heap() -> None:
    broker = new_broker()
    of = limits(session_expiry_maximum=7 * 86400)
    for number in range(3 * SWEEP_FROM):
        now = float(number)
        connection = accept(broker, of, now)
        request(connection, "c", now=now, session_expiry_interval=86400, will=Will("w", b"", delay_interval=3600))
        connection.lost(now)
        broker.gone(connection)
        broker.tick(now)
        assert len(broker.deadlines) <= SWEEP_FROM
    session = broker.sessions["c"]
    assert session.will_at == now + 3600
    broker.tick(session.will_at)
    assert session.will is None
    broker.tick(session.expires_at)
    assert not broker.sessions


def test_a_session_that_was_discarded_leaves_the_heap() -> None:
    broker = new_broker()
    for number in range(3 * SWEEP_FROM):
        connection = connect(broker, "c", now=float(number), session_expiry_interval=86400)
        connection.lost(float(number))
        broker.tick(float(number))
        assert len(broker.deadlines) <= SWEEP_FROM


def test_replaced_retained_messages_leave_the_heap() -> None:
    broker = new_broker()
    for number in range(5 * SWEEP_FROM):
        broker.publish(ApplicationMessage("a", b"x", 0, 0, True, b"", 1e9 + number), None, 0.0)
        assert len(broker.deadlines) <= SWEEP_FROM
    assert broker.retained.count == 1
    broker.tick(1e9 + number - 1)
    assert broker.retained.count == 1
    broker.tick(1e9 + number)
    assert broker.retained.count == 0


@statement("MQTT5-3.2.2-21", "MQTT5-3.2.2-22", "MQTT5-3.1.2-22")
@pytest.mark.parametrize(
    ("version", "asked", "seconds"), [(5, 0, 60), (5, 100, 60), (5, 10, 10), (4, 100, 100), (4, 0, 0)]
)
def test_whose_keep_alive_counts(version: int, asked: int, seconds: int) -> None:
    broker = new_broker()
    of = limits(server_keep_alive_maximum=60, keep_alive_grace=1.5)
    connection = connect(broker, "c", version, of, keep_alive=asked)
    assert connection.keep_alive_seconds == 1.5 * seconds
    broker.tick(1.5 * (seconds or 1e6) - 0.5)
    assert not connection.ended
    broker.tick(1.5 * seconds + 1)
    assert connection.ended == (seconds > 0)


@statement("MQTT5-3.1.3-9")
def test_a_new_connection_makes_the_old_ones_deadlines_void() -> None:
    broker = new_broker()
    spy = connect(broker, "spy")
    subscribe(spy, "w")
    connect(broker, "c", will=Will("w", b"1", delay_interval=30), session_expiry_interval=60).lost(0.0)
    of = limits(session_expiry_maximum=NO_LIMIT)
    will = Will("w", b"2", delay_interval=100)
    connection = connect(broker, "c", of=of, clean_start=False, will=will, session_expiry_interval=NO_LIMIT)
    broker.tick(30.0)
    assert publishes(spy) == []
    connection.lost(31.0)
    broker.tick(60.0)
    assert "c" in broker.sessions
    broker.tick(131.0)
    assert payloads(spy) == [b"2"]
