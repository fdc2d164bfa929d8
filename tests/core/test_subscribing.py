"""SUBSCRIBE and UNSUBSCRIBE: what is answered, what is kept, what of the retained messages comes."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.limits import LATEST
from broker.packets.reasons import ReasonCode
from broker.packets.types import Disconnect, Publish, Suback, Subscribe, SubscriptionRequest, Unsuback, Unsubscribe
from tests.core.parts import (
    connect,
    kinds,
    limits,
    message,
    new_broker,
    publishes,
    said,
    send,
    session_of,
    subscribe,
)
from tests.core.test_flapping import Noticing
from tests.pair import properties
from tests.statements import statement


def requests(*topic_filters: str, qos: int = 0) -> list[SubscriptionRequest]:
    return [SubscriptionRequest(topic_filter, qos) for topic_filter in topic_filters]


@statement("MQTT5-3.8.4-5", "MQTT5-3.8.4-6", "MQTT5-3.9.3-1", "MQTT311-3.8.4-4", "MQTT311-3.8.4-5", "MQTT311-3.9.3-1")
@pytest.mark.parametrize("version", [3, 4, 5])
def test_one_answer_a_filter_in_order(version: int) -> None:
    broker = new_broker()
    connection = connect(broker, "c", version, limits(maximum_qos=1))
    packet = Subscribe(77, [SubscriptionRequest("a", 2), SubscriptionRequest("b", 0), SubscriptionRequest("+/c", 1)])
    send(connection, packet)
    (suback,) = said(connection)
    assert isinstance(suback, Suback)
    assert (suback.packet_identifier, list(suback.reasons)) == (77, [1, 0, 1])
    assert list(session_of(connection).subscriptions) == ["a", "b", "+/c"]
    assert broker.stats.subscriptions == 3


def test_what_a_session_may_hold_is_bounded() -> None:
    connection = connect(new_broker(), "c", of=limits(subscriptions_per_session=2))
    send(connection, Subscribe(1, requests("a", "b", "c", "a")))
    (suback,) = said(connection)
    assert isinstance(suback, Suback)
    assert list(suback.reasons) == [0, 0, ReasonCode.QUOTA_EXCEEDED, 0]
    send(connection, Unsubscribe(2, ["a"]))
    said(connection)
    assert subscribe(connection, "c") == 0


@pytest.mark.parametrize("bound", ["subscription_bytes", "subscription_bytes_per_session"])
def test_what_subscriptions_take_of_memory_is_bounded(bound: str) -> None:
    whole = bound == "subscription_bytes"
    of_server: dict[str, Any] = {bound: 2000} if whole else {}
    of_listener: dict[str, Any] = {} if whole else {bound: 2000}
    broker = new_broker(**of_server)
    told = Noticing()
    broker.watchers = (told,)
    connection = connect(broker, "c", of=limits(**of_listener))
    deep = "/".join("abcdefgh")
    send(connection, Subscribe(1, requests("a", deep, "a")))
    (suback,) = said(connection)
    assert isinstance(suback, Suback)
    assert list(suback.reasons) == [0, ReasonCode.QUOTA_EXCEEDED, 0]
    assert list(session_of(connection).subscriptions) == ["a"]
    ((kind, text),) = told.noticed_
    assert kind == bound
    assert bound in text
    assert broker.sys_topics.values(0.0)["subscriptions/refused"] == "1"
    assert broker.sys_topics.values(0.0)["subscriptions/bytes"] == str(broker.subscriptions.bytes)
    for _ in range(10):
        assert subscribe(connection, "b") == 0
        send(connection, Unsubscribe(2, ["b"]))
        said(connection)
    connection.lost(0.0)
    assert broker.subscriptions.bytes == 0, "it has gone with its Session"


@pytest.mark.parametrize(
    ("switch", "topic_filter", "reason"),
    [
        ("wildcard_subscription_available", "a/+", ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("wildcard_subscription_available", "#", ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("wildcard_subscription_available", "$share/g/#", ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("shared_subscription_available", "$share/g/a", ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
    ],
)
def test_what_connack_said_is_not_there(switch: str, topic_filter: str, reason: ReasonCode) -> None:
    values = {switch: False}
    connection = connect(new_broker(), "c", 5, limits(**values))
    send(connection, Subscribe(1, requests(topic_filter)))
    (disconnect,) = said(connection)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == reason
    connection = connect(new_broker(), "c", 4, limits(**values))
    assert subscribe(connection, topic_filter) == ReasonCode.UNSPECIFIED_ERROR
    assert subscribe(connection, "plain") == 0
    assert list(session_of(connection).subscriptions) == ["plain"]


def test_subscription_identifiers_that_are_off() -> None:
    connection = connect(new_broker(), "c", of=limits(subscription_identifier_available=False))
    send(connection, Subscribe(1, requests("a"), properties(subscription_identifiers=[3])))
    (disconnect,) = said(connection)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED


def test_an_overflow_policy_by_user_property() -> None:
    broker = new_broker()
    connection = connect(broker, "c")
    subscribe(connection, "a", user_properties=[("other", "x"), ("overflow", LATEST)])
    assert session_of(connection).subscriptions["a"].overflow == LATEST
    assert broker.subscriptions.plan("a").deliveries[0].overflow == LATEST
    send(connection, Subscribe(1, requests("b"), properties(user_properties=[("overflow", "drop-everything")])))
    (disconnect,) = said(connection)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
    assert disconnect.properties.reason_string is not None
    assert "drop-oldest" in disconnect.properties.reason_string


# -- Retained messages


@statement("MQTT5-3.3.1-9", "MQTT5-3.3.1-10", "MQTT5-3.3.1-11", "MQTT5-3.8.4-4")
@pytest.mark.parametrize(("handling", "first", "second"), [(0, True, True), (1, True, False), (2, False, False)])
def test_retain_handling(handling: int, first: bool, second: bool) -> None:
    broker = new_broker()
    broker.retained.set(message("a", retain=True))
    connection = connect(broker, "c")
    for expected in (first, second):
        subscribe(connection, "a", retain_handling=handling)
        assert len(publishes(connection)) == expected
    send(connection, Unsubscribe(9, ["a"]))
    said(connection)
    subscribe(connection, "a", retain_handling=handling)
    assert len(publishes(connection)) == first


@statement("MQTT5-3.3.1-8", "MQTT311-3.3.1-8", "MQTT5-3.3.1-12", "MQTT5-3.3.1-13")
@pytest.mark.parametrize("retain_as_published", [False, True])
def test_retain_flags(retain_as_published: bool) -> None:
    broker = new_broker()
    broker.publish(message("a", b"1", retain=True), None, 0.0)
    connection = connect(broker, "c")
    subscribe(connection, "a", retain_as_published=retain_as_published)
    broker.publish(message("a", b"2", retain=True), None, 0.0)
    broker.publish(message("a", b"3"), None, 0.0)
    found = publishes(connection)
    assert [(each.payload, each.retain) for each in found] == [
        (b"1", True),
        (b"2", retain_as_published),
        (b"3", False),
    ]


def test_a_retained_message_carries_the_identifier_and_the_granted_qos() -> None:
    broker = new_broker()
    broker.retained.set(message("a", qos=2, retain=True))
    connection = connect(broker, "c")
    subscribe(connection, "#", 1, subscription_identifiers=[5])
    (publish,) = publishes(connection)
    assert (publish.qos, publish.subscription_identifiers) == (1, (5,))


def test_none_for_a_shared_subscription() -> None:
    broker = new_broker()
    broker.retained.set(message("a", retain=True))
    connection = connect(broker, "c")
    subscribe(connection, "$share/g/a")
    assert publishes(connection) == []


def test_suback_comes_before_the_retained_messages() -> None:
    broker = new_broker()
    broker.retained.set(message("a", retain=True))
    connection = connect(broker, "c")
    send(connection, Subscribe(1, requests("a", "+")))
    assert kinds(said(connection)) == ["Suback", "Publish", "Publish"]


def test_subscribing_anew_begins_the_snapshot_anew() -> None:
    broker = new_broker()
    for number in range(4):
        broker.retained.set(message(f"a/{number}", b"x", 1, True))
    connection = connect(broker, "c", receive_maximum=2)
    subscribe(connection, "a/#", 1)
    assert [each.topic for each in publishes(connection)] == ["a/0", "a/1"]
    subscribe(connection, "a/#", 0)
    assert [each.topic for each in publishes(connection)] == ["a/0", "a/1", "a/2", "a/3"]
    assert not session_of(connection).snapshots


def test_unsubscribing_ends_the_snapshot() -> None:
    broker = new_broker()
    for number in range(4):
        broker.retained.set(message(f"a/{number}", b"x", 1, True))
    connection = connect(broker, "c", receive_maximum=2)
    subscribe(connection, "a/#", 1)
    send(connection, Unsubscribe(2, ["a/#"]))
    assert kinds(said(connection)) == ["Publish", "Publish", "Unsuback"]
    assert not session_of(connection).waiting()


# -- UNSUBSCRIBE


@statement("MQTT5-3.10.4-1", "MQTT5-3.10.4-4", "MQTT5-3.10.4-5", "MQTT5-3.10.4-6", "MQTT5-3.11.3-1", "MQTT311-3.10.4-1")
@pytest.mark.parametrize("version", [3, 4, 5])
def test_unsubscribing(version: int) -> None:
    broker = new_broker()
    connection = connect(broker, "c", version)
    for topic_filter in ("a", "a/#", "$share/g/a"):
        subscribe(connection, topic_filter)
    send(connection, Unsubscribe(9, ["a", "A", "a/+", "$share/h/a", "$share/g/a", "a"]))
    (unsuback,) = said(connection)
    assert isinstance(unsuback, Unsuback)
    assert unsuback.packet_identifier == 9
    if version == 5:
        assert list(unsuback.reasons) == [0, 0x11, 0x11, 0x11, 0, 0x11]
    assert list(session_of(connection).subscriptions) == ["a/#"]
    assert (broker.stats.subscriptions, broker.stats.shared_subscriptions) == (1, 0)


@statement("MQTT5-3.10.4-2", "MQTT5-3.10.4-3", "MQTT311-3.10.4-2", "MQTT311-3.10.4-3")
def test_after_unsubscribing_nothing_new_comes_and_what_was_begun_is_ended() -> None:
    broker = new_broker()
    connection = connect(broker, "c", receive_maximum=1)
    subscribe(connection, "a", 1)
    for payload in (b"1", b"2"):
        broker.publish(message("a", payload, 1), None, 0.0)
    send(connection, Unsubscribe(9, ["a"]))
    broker.publish(message("a", b"3", 1), None, 0.0)
    sent, unsuback = said(connection)
    assert isinstance(sent, Publish)
    assert isinstance(unsuback, Unsuback)
    assert [entry.message.payload for entry in session_of(connection).pending] == [b"2"]
    assert list(session_of(connection).outgoing.unacknowledged) == [sent.packet_identifier]


# -- Maximum Packet Size


@statement("MQTT5-3.1.2-24")
@pytest.mark.parametrize("count", [35, 36])
def test_an_answer_too_large_for_the_client(count: int) -> None:
    """Nothing is changed then, and the connection ends with 0x95."""
    names = [f"f{number}" for number in range(count)]
    packets: list[Any] = [Subscribe(1, requests(*names)), Unsubscribe(1, names)]
    for packet in packets:
        broker = new_broker()
        connection = connect(broker, "c", maximum_packet_size=40, session_expiry_interval=9)
        subscribe(connection, "f0")
        send(connection, packet)
        found = said(connection)
        if count == 35:
            assert kinds(found) == ["Suback" if packet is packets[0] else "Unsuback"]
        else:
            (disconnect,) = found
            assert isinstance(disconnect, Disconnect)
            assert disconnect.reason == ReasonCode.PACKET_TOO_LARGE
            assert list(broker.sessions["c"].subscriptions) == ["f0"]
