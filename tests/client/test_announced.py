"""What a Server's CONNACK rules out."""

from __future__ import annotations

from broker.client.announced import NO_MAXIMUM, Announced
from broker.client.errors import PublishRefused, SubscribeRefused
from broker.packets.reasons import ReasonCode
from broker.packets.types import NO_PROPERTIES, Publish, Subscribe
from tests.client.line import Line, kinds
from tests.statements import statement


def test_what_is_not_mentioned_is_there() -> None:
    announced = Announced(NO_PROPERTIES)
    assert (announced.receive_maximum, announced.maximum_packet_size, announced.maximum_qos) == (65_535, NO_MAXIMUM, 2)
    assert announced.retain_available
    assert announced.wildcard_subscription_available
    assert announced.shared_subscription_available
    assert announced.subscription_identifier_available


@statement("MQTT5-3.2.2-11", "MQTT5-3.2.2-14", "MQTT5-3.2.2-15")
def test_what_the_connack_rules_out_is_not_sent() -> None:
    line = Line()
    line.connect(maximum_qos=1, retain_available=0, maximum_packet_size=20)
    refused = [line.publish(2), line.publish(0, retain=True), line.publish(1, b"x" * 15)]
    allowed = line.publish(1, b"x" * 12)
    assert [one.error.reason for one in refused if isinstance(one.error, PublishRefused)] == [
        ReasonCode.QOS_NOT_SUPPORTED,
        ReasonCode.RETAIN_NOT_SUPPORTED,
        ReasonCode.PACKET_TOO_LARGE,
    ]
    (sent,) = line.out()
    assert isinstance(sent, Publish)
    assert allowed.size == 20
    line.lose()
    line.connect()  # this one rules nothing out
    bigger = line.publish(2, b"x" * 100)
    assert kinds(line.out()) == [Publish]
    assert bigger.error is None


def test_what_the_connack_rules_out_is_not_asked_for() -> None:
    line = Line()
    line.connect(
        wildcard_subscription_available=0,
        shared_subscription_available=0,
        subscription_identifier_available=0,
        maximum_packet_size=30,
    )
    wild, shared, long = line.subscribe("a/+"), line.subscribe("$share/g/a"), line.subscribe("a" * 30)
    reasons = [one.error.reasons for one in (wild, shared, long) if isinstance(one.error, SubscribeRefused)]
    assert reasons == [
        {"a/+": ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED},
        {"$share/g/a": ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED},
        {"a" * 30: ReasonCode.PACKET_TOO_LARGE},
    ]
    plain = line.subscribe("a")
    (packet,) = line.out()
    assert isinstance(packet, Subscribe)
    assert packet.properties is NO_PROPERTIES
    assert plain.error is None
