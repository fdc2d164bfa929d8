"""Who gets which message."""

from __future__ import annotations

import pytest

from broker.client.deliveries import Delivery
from broker.client.errors import Disconnected, SubscribeRefused
from broker.client.message import Message
from broker.client.subscriptions import CACHED_ROUTES, Subscription, Subscriptions
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    NO_PROPERTIES,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
)
from tests.client.line import Line, of
from tests.client.server import message


def subscription(*filters: str, limit: int = 100) -> Subscription:
    return Subscription([SubscriptionRequest(topic_filter, 1) for topic_filter in filters], limit)


def added(subscriptions: Subscriptions, *filters: str, limit: int = 100) -> Subscription:
    one = subscription(*filters, limit=limit)
    subscriptions.add(one)
    return one


def deliver(
    subscriptions: Subscriptions, topic: str, *identifiers: int, qos: int = 0, spill: bool = False
) -> Delivery | None:
    delivery = Delivery(1, qos) if qos else None
    subscriptions.deliver(Message(message(topic, identifiers=identifiers), topic), delivery, spill)
    return delivery


def topics(one: Subscription) -> list[str]:
    return [waiting.topic for waiting, _ in one.buffer]


def test_filters_are_matched() -> None:
    subscriptions = Subscriptions()
    first, second = added(subscriptions, "a/+", "b"), added(subscriptions, "a/#")
    shared = added(subscriptions, "$share/g/c/#")
    for topic in ("a/b", "b", "a", "c/d", "d"):
        deliver(subscriptions, topic)
    assert (topics(first), topics(second), topics(shared)) == (["a/b", "b"], ["a/b", "a"], ["c/d"])


def test_identifiers_decide() -> None:
    subscriptions = Subscriptions()
    first, second = added(subscriptions, "a/#"), added(subscriptions, "a/b")
    deliver(subscriptions, "a/b", second.identifier)
    deliver(subscriptions, "a/b", first.identifier, second.identifier)
    deliver(subscriptions, "a/b")
    assert (len(first.buffer), len(second.buffer)) == (2, 3)


def test_an_identifier_of_an_earlier_run_is_not_believed() -> None:
    subscriptions = Subscriptions()
    first, second = added(subscriptions, "a/#"), added(subscriptions, "b/#")
    deliver(subscriptions, "b/c", first.identifier)
    deliver(subscriptions, "b/d", 999)
    assert (topics(first), topics(second)) == ([], ["b/c", "b/d"])


def test_routes_follow_subscriptions() -> None:
    subscriptions = Subscriptions()
    deliver(subscriptions, "a")
    first = added(subscriptions, "a")
    deliver(subscriptions, "a")
    assert topics(first) == ["a"]
    subscriptions.remove(first, keep=False)
    second = added(subscriptions, "a")
    deliver(subscriptions, "a")
    assert (topics(first), topics(second)) == ([], ["a"])


def test_any_number_of_topics() -> None:
    subscriptions = Subscriptions()
    one = added(subscriptions, "#", limit=10**6)
    for number in range(CACHED_ROUTES + 10):
        deliver(subscriptions, str(number))
    assert len(one.buffer) == CACHED_ROUTES + 10


def test_a_filter_belongs_to_one() -> None:
    subscriptions = Subscriptions()
    first = added(subscriptions, "a", "b")
    with pytest.raises(ValueError, match="already"):
        added(subscriptions, "c", "b")
    with pytest.raises(ValueError, match="twice"):
        added(subscriptions, "d", "d")
    subscriptions.remove(first, keep=False)
    added(subscriptions, "c", "b")


def test_a_message_is_held_by_all_who_got_it() -> None:
    subscriptions = Subscriptions()
    first, second = added(subscriptions, "a"), added(subscriptions, "+")
    delivery = deliver(subscriptions, "a", qos=1)
    assert delivery is not None
    assert delivery.holders == 2
    subscriptions.take(first)
    first.through()
    first.through()
    assert delivery.holders == 1
    subscriptions.remove(second, keep=False)
    assert delivery.holders == 0


def test_leaving_lets_go_of_what_is_in_hand() -> None:
    subscriptions = Subscriptions()
    one = added(subscriptions, "a")
    delivery = deliver(subscriptions, "a", qos=1)
    assert delivery is not None
    subscriptions.take(one)
    subscriptions.remove(one, keep=False)
    assert delivery.holders == 0


def test_full_until_half_empty() -> None:
    subscriptions = Subscriptions()
    one = added(subscriptions, "#", limit=4)
    for number in range(4):
        assert not subscriptions.full
        deliver(subscriptions, str(number))
    assert subscriptions.full
    subscriptions.take(one)
    assert subscriptions.full
    subscriptions.take(one)
    assert not subscriptions.full


def test_a_full_buffer_is_forgotten_with_its_subscription() -> None:
    subscriptions = Subscriptions()
    one = added(subscriptions, "#", limit=1)
    deliver(subscriptions, "a")
    assert subscriptions.full
    subscriptions.remove(one, keep=False)
    assert not subscriptions.full


def test_spilling_drops_qos_0_only_and_only_above_the_limit() -> None:
    subscriptions = Subscriptions()
    one, other = added(subscriptions, "#", limit=2), added(subscriptions, "+", limit=100)
    for topic in ("a", "b", "c"):
        deliver(subscriptions, topic, spill=True)
    deliver(subscriptions, "d", qos=1, spill=True)
    deliver(subscriptions, "e")
    assert (topics(one), one.dropped) == (["a", "b", "d", "e"], 1)
    assert (topics(other), other.dropped) == (["a", "b", "c", "d", "e"], 0)


def test_unwanted_messages_are_dropped() -> None:
    subscriptions = Subscriptions()
    delivery = deliver(subscriptions, "a", qos=1)
    assert delivery is not None
    assert (delivery.holders, subscriptions.held) == (0, 0)


def test_a_resumed_session_holds_what_nobody_asked_for_yet() -> None:
    subscriptions = Subscriptions()
    subscriptions.holding = True
    deliveries = [deliver(subscriptions, topic, qos=1) for topic in ("a", "b", "a")]
    deliver(subscriptions, "a")
    assert subscriptions.held == 3
    one = added(subscriptions, "a")
    assert (topics(one), subscriptions.held) == (["a", "a"], 1)
    assert [delivery.holders for delivery in deliveries if delivery] == [1, 1, 1]


def test_forgotten_filters_hold_nothing() -> None:
    subscriptions = Subscriptions()
    subscriptions.holding = True
    delivery = deliver(subscriptions, "a/b", qos=1)
    assert delivery is not None
    subscriptions.forget(["a/#"])
    assert (delivery.holders, subscriptions.held) == (0, 0)
    again = deliver(subscriptions, "a/c", qos=1)
    assert again is not None
    assert again.holders == 0
    one = added(subscriptions, "a/#")
    subscriptions.remove(one, keep=True)
    deliver(subscriptions, "a/d", qos=1)
    assert subscriptions.held == 1


def test_leaving_a_kept_subscription_holds_what_was_not_worked_on() -> None:
    subscriptions = Subscriptions()
    one = added(subscriptions, "+")
    for topic in ("a", "b", "c"):
        deliver(subscriptions, topic, qos=1)
    deliver(subscriptions, "zero")
    subscriptions.take(one)
    one.through()
    subscriptions.take(one)
    subscriptions.remove(one, keep=True)
    assert subscriptions.held == 2
    assert topics(added(subscriptions, "+")) == ["b", "c"]


def test_removing_twice() -> None:
    subscriptions = Subscriptions()
    one = added(subscriptions, "a")
    subscriptions.remove(one, keep=False)
    other = added(subscriptions, "a")
    subscriptions.remove(one, keep=False)
    assert list(subscriptions) == [other]


def test_an_arrival_is_told_once() -> None:
    subscriptions = Subscriptions()
    one = added(subscriptions, "#")
    calls: list[int] = []
    one.arrived = lambda: calls.append(len(one.buffer))
    deliver(subscriptions, "a")
    deliver(subscriptions, "b")
    assert calls == [1]
    one.arrived = lambda: calls.append(-1)
    error = Disconnected(None)
    one.end(error)
    assert calls == [1, -1]
    assert one.ended is error


# -- SUBSCRIBE and SUBACK


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0])
def test_user_properties_go_with_every_subscribe(version: int) -> None:
    line = Line(version, session_expiry_interval=60)
    subscription = Subscription([SubscriptionRequest("a", 1)], 100, [("overflow", "latest"), ("b", "c")])
    line.protocol.subscribe(subscription)
    for _ in range(2):
        (packet,) = line.connect()
        assert isinstance(packet, Subscribe)
        given = of(user_properties=[("overflow", "latest"), ("b", "c")], subscription_identifiers=[1])
        assert packet.properties == (given if version == MQTT_5_0 else NO_PROPERTIES)
        line.send(Suback(packet.packet_identifier, [1]))
        line.lose()
    assert subscription.done


def test_a_part_may_be_enough() -> None:
    line = Line(session_expiry_interval=60)
    requests = [SubscriptionRequest(name, 1) for name in ("a", "b/#", "c")]
    subscription = Subscription(requests, 100, partly=True)
    line.protocol.subscribe(subscription)
    (packet,) = line.connect(wildcard_subscription_available=0)
    assert isinstance(packet, Subscribe)
    assert [request.topic_filter for request in packet.requests] == ["a", "c"]
    assert line.send(Suback(packet.packet_identifier, [1, ReasonCode.NOT_AUTHORIZED])) == []
    assert (subscription.done, subscription.error, subscription.granted) == (True, None, {"a": 1})
    assert subscription.refused == {
        "b/#": ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
        "c": ReasonCode.NOT_AUTHORIZED,
    }
    line.lose()
    (packet,) = line.connect()  # the next Server may take more
    assert isinstance(packet, Subscribe)
    assert [request.topic_filter for request in packet.requests] == ["a", "b/#", "c"]
    line.send(Suback(packet.packet_identifier, [1, 1, ReasonCode.NOT_AUTHORIZED]))
    assert (subscription.granted, list(subscription.refused)) == ({"a": 1, "b/#": 1}, ["c"])
    line.protocol.leave(subscription, keep=False)
    (unsubscribe,) = line.out()
    assert isinstance(unsubscribe, Unsubscribe)
    assert unsubscribe.topic_filters == ["a", "b/#"]


@pytest.mark.parametrize("ruled_out", [False, True])
def test_no_part_is_not_enough(ruled_out: bool) -> None:
    line = Line()
    line.connect(wildcard_subscription_available=0 if ruled_out else 1)
    subscription = Subscription([SubscriptionRequest(name, 1) for name in ("a/#", "b/#")], 100, partly=True)
    line.protocol.subscribe(subscription)
    packets = line.out()
    assert len(packets) == (0 if ruled_out else 1)
    for packet in packets:
        assert isinstance(packet, Subscribe)
        assert line.send(Suback(packet.packet_identifier, [ReasonCode.NOT_AUTHORIZED] * 2)) == []
    assert isinstance(subscription.error, SubscribeRefused)
    assert list(subscription.error.reasons) == ["a/#", "b/#"]
