"""The Broker: routing and what it says of it, Sessions that are taken over, wills, deadlines, faults."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.broker import NO_LIMIT, Broker
from broker.core.deadlines import HANDSHAKE
from broker.core.limits import Limits
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connack, Disconnect, Pingreq, Puback, Publish, Pubrec, Will
from tests.core.parts import (
    Sink,
    accept,
    connect,
    kinds,
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
    values_of,
)
from tests.statements import statement

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.core.ports import Peer
    from broker.core.session import Session


def connack_of(connection: Connection) -> Connack:
    packet = said(connection)[0]
    assert isinstance(packet, Connack)
    return packet


# -- What an acknowledgement says


def taker(broker: Broker, name: str, state: str) -> Session:
    """A subscriber to `a` at QoS 2: one who sends at once, who queues, who is full, or who is not there."""
    of = limits(queue_messages=0 if state == "full" else 10)
    connection = connect(broker, name, of=of, session_expiry_interval=60)
    subscribe(connection, "a", 0 if state == "gone" else 2)
    if state != "sends":
        connection.lost(0.0)
    return session_of(connection)


@statement("MQTT5-4.5.0-1")
@pytest.mark.parametrize(
    ("states", "at_1", "at_2"),
    [
        ([], 0x10, 0x10),
        (["sends"], 0, 0),
        (["queues"], 0, 0),
        (["gone"], 0x10, 0x10),
        (["full"], 0x97, 0x97),
        (["sends", "gone"], 0, 0),
        (["sends", "full"], 0x97, 0),
        (["queues", "full"], 0x97, 0),
        (["full", "gone"], 0x97, 0x97),
    ],
)
def test_an_acknowledgement_tells_the_truth(states: list[str], at_1: int, at_2: int) -> None:
    """0x97 where a queue had no room (at QoS 2, where a repeat would reach the others twice: only if nobody took it),
    0x10 where nobody was there."""
    for version in (4, 5):
        for qos, reason in ((1, at_1), (2, at_2)):
            broker = new_broker()
            for number, state in enumerate(states):
                taker(broker, f"t{number}", state)
            publisher = connect(broker, "p", version)
            send(publisher, Publish("a", b"x", qos=qos, packet_identifier=3))
            (answer,) = said(publisher)
            assert isinstance(answer, Puback if qos == 1 else Pubrec)
            assert answer.reason == (reason if version == 5 else 0)
            assert (3 in session_of(publisher).received) == (qos == 2 and (reason < 0x80 or version == 4))


def test_at_qos_0_nobody_is_told() -> None:
    broker = new_broker()
    assert broker.publish(message(), None, 0.0) == ReasonCode.NO_MATCHING_SUBSCRIBERS
    connection = connect(broker, "c", of=limits(outbox_soft_bytes=1))
    subscribe(connection, "a")
    connection.outbox.put(b"full")
    assert broker.publish(message(), None, 0.0) == ReasonCode.SUCCESS
    assert broker.stats.publish_dropped == 1


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_without_room_is_refused(qos: int) -> None:
    broker = new_broker(retained_messages=1)
    connection = connect(broker, "c")
    assert broker.publish(message("a", retain=True), None, 0.0) == 0x10
    reason = broker.publish(message("b", qos=qos, retain=True), None, 0.0)
    assert reason == (ReasonCode.QUOTA_EXCEEDED if qos else ReasonCode.SUCCESS)
    subscribe(connection, "b", 2)
    reason = broker.publish(message("b", qos=qos, retain=True), None, 0.0)
    assert reason == (ReasonCode.QUOTA_EXCEEDED if qos == 1 else ReasonCode.SUCCESS)
    assert len(publishes(connection)) == 1


# -- Taking over


@statement(
    "MQTT5-3.1.4-3",
    "MQTT311-3.1.4-2",
    "MQTT5-3.1.2-4",
    "MQTT5-3.1.2-5",
    "MQTT5-3.1.2-8",
    "MQTT5-3.1.3-9",
    "MQTT5-3.2.2-3",
)
@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("clean_start", [True, False])
@pytest.mark.parametrize("expiry", [0, 60])
@pytest.mark.parametrize("delay", [None, 0, 30])
def test_taking_over(online: bool, clean_start: bool, expiry: int, delay: int | None) -> None:
    """The old connection ends with 0x8E; the Session goes on or is new; the Will is published, unless it is delayed and
    the Session goes on."""
    broker = new_broker()
    spy = connect(broker, "spy")
    subscribe(spy, "w")
    will = None if delay is None else Will("w", b"bye", delay_interval=delay)
    old = connect(broker, "c", will=will, session_expiry_interval=expiry)
    subscribe(old, "a", 1)
    first = session_of(old)
    if not online:
        old.lost(0.0)
    new = accept(broker)
    request(new, "c", clean_start=clean_start, session_expiry_interval=expiry)
    goes_on = not clean_start and expiry > 0
    assert connack_of(new).session_present == goes_on
    assert (broker.sessions["c"] is first) == goes_on
    assert (session_of(new) is first) == goes_on
    assert set(session_of(new).subscriptions) == ({"a"} if goes_on else set())
    assert payloads(spy) == ([] if delay is None or (delay and goes_on) else [b"bye"])
    assert old.ended
    if online:
        (disconnect,) = said(old)
        assert isinstance(disconnect, Disconnect)
        assert disconnect.reason == ReasonCode.SESSION_TAKEN_OVER
    assert broker.stats.takeovers == online
    assert broker.stats.clients_connected == 2
    assert broker.stats.subscriptions == 1 + goes_on
    broker.tick(1000.0)
    assert payloads(spy) == [], "not twice, and never a Will that the new connection made void"
    assert not new.ended
    old.lost(2000.0)
    assert session_of(new).connection is new


def test_a_will_to_oneself_waits_for_the_new_connection() -> None:
    broker = new_broker()
    old = connect(broker, "c", will=Will("w", b"bye", 1), session_expiry_interval=60)
    subscribe(old, "w", 1)
    new = accept(broker)
    request(new, "c", clean_start=False, session_expiry_interval=60)
    assert kinds(said(new)) == ["Connack", "Publish"]


def test_a_3_1_1_session_ends_with_its_connection_or_lives_for_the_maximum() -> None:
    broker = new_broker()
    of = limits(session_expiry_maximum=100)
    connect(broker, "clean", 4, of).lost(0.0)
    connect(broker, "kept", 4, of, clean_start=False).lost(0.0)
    assert list(broker.sessions) == ["kept"]
    broker.tick(99.9)
    assert broker.sessions
    broker.tick(100.0)
    assert not broker.sessions
    assert broker.stats.clients_expired == 1


@statement("MQTT5-3.1.2-23", "MQTT5-4.1.0-2")
@pytest.mark.parametrize(("asked", "maximum", "lives"), [(5, 100, 5), (500, 100, 100), (NO_LIMIT, NO_LIMIT, math.inf)])
def test_how_long_a_session_lives(asked: int, maximum: int, lives: float) -> None:
    broker = new_broker()
    connection = accept(broker, limits(session_expiry_maximum=maximum))
    request(connection, "c", session_expiry_interval=asked)
    told = connack_of(connection).properties.session_expiry_interval
    assert told == (maximum if asked > maximum else None)
    broker.tick(1000.0)
    connection.lost(1000.0)
    assert broker.sessions["c"].expires_at == 1000.0 + lives
    if lives == math.inf:
        broker.tick(1e12)
        assert broker.sessions
    else:
        broker.tick(1000.0 + lives)
        assert not broker.sessions


def test_coming_back_stops_the_clock() -> None:
    broker = new_broker()
    connect(broker, "c", session_expiry_interval=10).lost(0.0)
    connection = connect(broker, "c", now=5.0, clean_start=False, session_expiry_interval=10)
    broker.tick(10.0)
    assert broker.sessions
    connection.lost(11.0)
    broker.tick(20.9)
    assert broker.sessions
    broker.tick(21.0)
    assert not broker.sessions


def test_the_number_of_sessions_is_bounded() -> None:
    broker = new_broker(sessions=1)
    one = connect(broker, "one")
    other = accept(broker)
    request(other, "other")
    assert connack_of(other).reason == ReasonCode.QUOTA_EXCEEDED
    connect(broker, "one")
    assert one.ended
    assert list(broker.sessions) == ["one"]


# -- Wills


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8", "MQTT5-3.1.2-14", "MQTT5-3.1.2-15")
@pytest.mark.parametrize(
    ("delay", "expiry", "due"),
    [(0, 0, 0.0), (0, 60, 0.0), (30, 60, 30.0), (90, 60, 60.0), (30, 0, 0.0), (60, 60, 60.0)],
)
def test_when_a_will_is_published(delay: int, expiry: int, due: float) -> None:
    broker = new_broker()
    spy = connect(broker, "spy")
    subscribe(spy, "w")
    will = Will("w", b"bye", 1, True, delay, 50)
    connection = connect(broker, "c", now=100.0, will=will, session_expiry_interval=expiry)
    connection.lost(100.0)
    if due:
        broker.tick(100.0 + due - 0.1)
        assert publishes(spy) == []
        broker.tick(100.0 + due)
    (publish,) = publishes(spy)
    assert (publish.payload, publish.retain) == (b"bye", False)
    assert publish.message_expiry_interval == 50, "its time begins when it is published"
    assert broker.retained.get("w", 100.0 + due) is not None
    broker.tick(1000.0)
    assert publishes(spy) == []


def test_a_cap_holds_for_wills_too() -> None:
    broker = new_broker()
    spy = connect(broker, "spy")
    subscribe(spy, "w")
    connect(broker, "c", of=limits(message_expiry_maximum=20), will=Will("w", b"")).lost(0.0)
    assert publishes(spy)[0].message_expiry_interval == 20


# -- CONNACK


@statement("MQTT5-3.2.2-16", "MQTT5-3.2.2-21", "MQTT5-3.1.2-28")
@pytest.mark.parametrize(
    ("values", "connect_values", "name", "told"),
    [
        ({}, {}, "receive_maximum", 32),
        ({"receive_maximum": 65535}, {}, "receive_maximum", None),
        ({}, {}, "maximum_qos", None),
        ({"maximum_qos": 1}, {}, "maximum_qos", 1),
        ({"maximum_qos": 0}, {}, "maximum_qos", 0),
        ({}, {}, "retain_available", None),
        ({"retain_available": False}, {}, "retain_available", 0),
        ({"maximum_packet_size": 100_000}, {}, "maximum_packet_size", 100_000),
        ({}, {}, "topic_alias_maximum", 16),
        ({"topic_alias_maximum": 0}, {}, "topic_alias_maximum", None),
        ({}, {}, "wildcard_subscription_available", None),
        ({"wildcard_subscription_available": False}, {}, "wildcard_subscription_available", 0),
        ({"subscription_identifier_available": False}, {}, "subscription_identifier_available", 0),
        ({"shared_subscription_available": False}, {}, "shared_subscription_available", 0),
        ({"server_keep_alive_maximum": 60}, {"keep_alive": 61}, "server_keep_alive", 60),
        ({"server_keep_alive_maximum": 60}, {"keep_alive": 0}, "server_keep_alive", 60),
        ({"server_keep_alive_maximum": 60}, {"keep_alive": 60}, "server_keep_alive", None),
        ({"server_keep_alive_maximum": 0}, {"keep_alive": 0}, "server_keep_alive", None),
        ({"response_information": "re"}, {"request_response_information": 1}, "response_information", "re"),
        ({"response_information": "re"}, {"request_response_information": 0}, "response_information", None),
        ({"response_information": "re"}, {}, "response_information", None),
        ({"response_information": ""}, {"request_response_information": 1}, "response_information", None),
        ({}, {}, "assigned_client_identifier", None),
        ({}, {}, "session_expiry_interval", None),
        ({"session_expiry_maximum": 10}, {"session_expiry_interval": 11}, "session_expiry_interval", 10),
        ({"session_expiry_maximum": 10}, {"session_expiry_interval": 10}, "session_expiry_interval", None),
    ],
)
def test_connack_tells_what_is_not_the_default(
    values: dict[str, Any], connect_values: dict[str, Any], name: str, told: object
) -> None:
    connection = accept(new_broker(), limits(**values))
    request(connection, "c", **connect_values)
    connack = connack_of(connection)
    assert connack.reason == 0
    assert getattr(connack.properties, name) == told


@statement("MQTT5-3.1.3-6", "MQTT5-3.1.3-7", "MQTT5-3.2.2-16", "MQTT311-3.1.3-6")
def test_a_client_without_a_name_is_given_one() -> None:
    broker = new_broker()
    names = set()
    for _ in range(3):
        connection = accept(broker, limits(client_identifier_prefix="x-"))
        request(connection, "")
        name = connack_of(connection).properties.assigned_client_identifier
        assert name is not None
        assert name.startswith("x-")
        assert broker.sessions[name] is connection.session
        names.add(name)
    assert len(names) == 3
    connection = accept(broker)
    request(connection, "", 4)
    assert connack_of(connection).reason == 0


@statement("MQTT5-3.1.2-24")
def test_a_connack_too_large_for_the_client() -> None:
    broker = new_broker()
    connection = accept(broker)
    request(connection, "c", maximum_packet_size=10)
    connack = connack_of(connection)
    assert connack.reason == ReasonCode.PACKET_TOO_LARGE
    assert connack.properties.reason_string is None
    assert not broker.sessions
    connection = accept(broker)
    request(connection, "c", maximum_packet_size=4)
    assert said(connection) == []
    assert connection.ended


# -- Rounds


def test_nothing_is_due_without_cause() -> None:
    broker = Broker()
    assert broker.next_deadline() == math.inf
    broker.tick(1e9)
    broker.flush(1e9)
    assert broker.dirty == []


def test_a_round_flushes_each_outbox_once() -> None:
    broker = new_broker()
    connections = [connect(broker, name) for name in "abc"]
    broker.flush(0.0)
    sinks = [Sink(each) for each in connections]
    for each in connections[:2]:
        send(each, Pingreq(), Pingreq())
    broker.flush(0.0)
    assert [sink.flushes for sink in sinks] == [1, 1, 0]
    assert broker.dirty == []
    broker.flush(0.0)
    assert [sink.flushes for sink in sinks] == [1, 1, 0]
    connections[2].outbox.touch()
    broker.flush(0.0)
    assert [sink.flushes for sink in sinks] == [1, 1, 1]


def test_the_doomed_end_with_the_round() -> None:
    broker = new_broker()
    spy = connect(broker, "spy")
    subscribe(spy, "w")
    connection = connect(broker, "c", will=Will("w", b"bye"))
    for _ in range(3):
        broker.doom(connection, ReasonCode.QUOTA_EXCEEDED, "too slow")
    assert not connection.ended
    assert connection.outbox.dirty
    broker.flush(0.0)
    assert connection.ended
    assert payloads(spy) == [b"bye"]


def test_a_gone_connection_is_forgotten() -> None:
    broker = new_broker()
    connection = connect(broker, "c")
    assert list(broker.connections) == [connection]
    assert connection.stats.connections == connection.stats.accepted == 1
    connection.lost(0.0)
    broker.gone(connection)
    assert not broker.connections
    assert (connection.stats.connections, connection.stats.accepted) == (0, 1)


@statement("MQTT5-3.14.2-1")
def test_shutting_down() -> None:
    broker = new_broker()
    five, three, early = connect(broker, "five"), connect(broker, "three", 4), accept(broker)
    broker.shut_down(0.0)
    (disconnect,) = said(five)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.SERVER_SHUTTING_DOWN
    assert said(three) == said(early) == []
    assert five.ended
    assert three.ended
    assert early.ended
    late = accept(broker)
    request(late, "late")
    assert connack_of(late).reason == ReasonCode.SERVER_UNAVAILABLE


def test_decoders_of_a_listener_share_their_limits() -> None:
    broker = new_broker()
    of = limits(maximum_packet_size=77_000, topic_levels=3)
    one = broker.decoder_limits(of)
    assert broker.decoder_limits(of) is one
    assert broker.decoder_limits(Limits()) is not one
    for name in values_of(one):
        if name != "topic_names":
            assert getattr(one, name) == getattr(of, name), name


# -- The end of a Session


def test_a_session_that_ends_leaves_nothing() -> None:
    broker = new_broker()
    connection = connect(broker, "c", session_expiry_interval=10)
    for topic_filter in ("a", "#", "$share/g/a", "$share/g/#"):
        subscribe(connection, topic_filter, 1)
    assert (broker.stats.subscriptions, broker.stats.shared_subscriptions) == (4, 2)
    connection.lost(0.0)
    broker.publish(message(qos=1), None, 0.0)
    assert broker.stats.queued_messages == 3
    broker.tick(10.0)
    stats = broker.stats
    assert (stats.subscriptions, stats.shared_subscriptions, stats.queued_messages, stats.queued_bytes) == (0, 0, 0, 0)
    assert broker.subscriptions._root.empty()
    assert broker.publish(message(qos=1), None, 0.0) == ReasonCode.NO_MATCHING_SUBSCRIBERS
    session = session_of(connection)
    broker.end_session(session, 10.0)
    assert not broker.unsubscribe(session, "a")


# -- Bugs and Watchers


class Broken(dict[int, Any]):
    """What a Session has in flight, after a bug: nothing can be added."""

    def __setitem__(self, identifier: int, delivery: object) -> None:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("topic_filter", ["a", "$share/g/a"])
def test_a_bug_in_one_receiver_ends_that_receiver_only(topic_filter: str) -> None:
    broker = new_broker()
    victim = connect(broker, "victim", session_expiry_interval=60)
    subscribe(victim, topic_filter, 1)
    session_of(victim).outgoing.unacknowledged = Broken()
    other = connect(broker, "other")
    subscribe(other, "a", 1)
    publisher = connect(broker, "publisher")
    send(publisher, Publish("a", b"x", qos=1, packet_identifier=1))
    assert kinds(said(publisher)) == ["Puback"]
    assert payloads(other) == [b"x"]
    assert [(each, str(error)) for each, error in broker.faults] == [(victim, "a bug")]
    broker.flush(0.0)
    assert victim.ended
    (disconnect,) = said(victim)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
    assert not publisher.ended
    assert not other.ended
    broker.publish(message(qos=1), None, 0.0)


class Notes:
    """A Watcher that writes down, and one that fails as well."""

    def __init__(self, fails: bool = False) -> None:
        self.notes: list[tuple[str, ...]] = []
        self.fails = fails

    def note(self, *words: str) -> None:
        self.notes.append(words)
        if self.fails:
            raise RuntimeError("a Watcher's bug")

    def connected(self, client_identifier: str, peer: Peer) -> None:
        self.note("connected", client_identifier, peer.transport)

    def disconnected(self, client_identifier: str, peer: Peer, reason: str) -> None:
        self.note("disconnected", client_identifier, reason)

    def refused(self, client_identifier: str, peer: Peer, reason: str) -> None:
        self.note("refused", client_identifier, reason)

    def noticed(self, kind: str, text: str) -> None:
        self.note("noticed", kind, text)


@pytest.mark.parametrize("fails", [False, True])
def test_watchers(fails: bool) -> None:
    broker = new_broker()
    first, second = Notes(fails), Notes()
    broker.watchers = (first, second)
    spy = connect(broker, "spy")
    subscribe(spy, "w")
    connection = connect(broker, "c", will=Will("w", b"bye"))
    refused = accept(broker)
    request(refused, "", 4, clean_start=False)
    assert refused.ended
    connection.lost(0.0, "pulled the plug")
    assert first.notes == second.notes
    assert first.notes == [
        ("connected", "spy", "memory"),
        ("connected", "c", "memory"),
        ("refused", "", "0x85 client identifier not valid: a zero-length one needs Clean Session 1"),
        ("disconnected", "c", "pulled the plug"),
    ]
    assert payloads(spy) == [b"bye"]
    assert "c" not in broker.sessions
    assert [each for each, _ in broker.faults] == ([spy, connection, refused, connection] if fails else [])


@pytest.mark.parametrize("fails", [False, True])
def test_a_notice(fails: bool) -> None:
    broker = new_broker()
    first, second = Notes(fails), Notes()
    broker.watchers = (first, second)
    broker.notice("kind", "text")
    assert first.notes == second.notes == [("noticed", "kind", "text")]
    assert len(broker.faults) == fails


def test_a_bug_in_what_is_due_keeps_no_other_from_its_time() -> None:
    broker = new_broker()
    broker.deadlines.add(1.0, HANDSHAKE, "no Connection")
    connection = accept(broker)
    broker.tick(6.0)
    assert connection.ended
    assert [(of, type(error)) for of, error in broker.faults] == [(None, AssertionError)]
