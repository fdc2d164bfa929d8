from __future__ import annotations

import pytest

from broker.packets.types import (
    MQTT_5_0,
    ControlPacket,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Suback,
)
from broker.probe.verdict import Outcome
from tests.probe.altering import announcing, changing, dropping, publishing, written
from tests.probe.servers import Alter, Tampered, ask, only


async def test_a_good_server_passes() -> None:
    async with Tampered().serving() as endpoint:
        verdicts, result = await ask(endpoint, "messages", patience=5)
    assert {name: verdict.text for name, verdict in verdicts.items() if verdict.outcome is not Outcome.OK} == {}
    assert verdicts["qos-2"].text.count("ms") == 3  # of each version
    assert verdicts["crossing"].text == "9 ways"
    assert verdicts["message-expiry"].text in [f"dropped after 1 s; 1000 s became {left} s" for left in (997, 998)]
    assert result.barrier is None


@pytest.mark.parametrize(
    ("name", "alter", "text", "expected", "statement"),
    [
        ("qos-1", dropping(Puback), "nothing within", "PUBACK 1", "MQTT5-4.3.2-4"),
        ("qos-2", dropping(Pubrec), "nothing within", "PUBREC 1", "MQTT5-4.3.3-8"),
        ("qos-2", dropping(Pubcomp), "nothing within", "PUBCOMP 1", "MQTT5-4.3.3-11"),
        ("qos-0", dropping(Publish, on="qos-0"), "nothing within", "the message on", "MQTT5-4.5.0-1"),
        (
            "qos-0",
            changing("qos-0", payload=bytes(255)),
            "a payload of 255 bytes",
            "256 bytes as published",
            "MQTT5-4.2.0-1",
        ),
        (
            "qos-0",
            changing("qos-0", topic=b"elsewhere"),
            "a message on 'elsewhere'",
            "the message on",
            "MQTT5-4.5.0-1",
        ),
        (
            "qos-1",
            changing("qos-1", qos=0, packet_identifier=0),
            "delivered at QoS 0",
            "QoS 1",
            "MQTT5-3.8.4-8",
        ),
        ("crossing", dropping(Publish, on="crossing"), "nothing within", "at 5.0 what was published", "MQTT5-4.5.0-1"),
        ("order", dropping(Publish, on="order"), "nothing within", "message 1 of 20", "MQTT5-4.5.0-1"),
        (
            "order",
            changing("order", payload=b"7"),
            "the order 7 7 7",
            "as published",
            "MQTT5-4.6.0-5",
        ),
        (
            "topic-alias",
            dropping(Publish, on="topic-alias"),
            "nothing",
            "the message of Topic Alias 1",
            "MQTT5-3.3.2-12",
        ),
        (
            "properties",
            changing("properties", forwarded=b""),
            "User Properties []",
            "('b', '2')",
            "MQTT5-3.3.2-17",
        ),
        (
            "packet-size-kept",
            changing("packet-size-kept", payload=bytes(200)),
            "a packet of",
            "128 at most",
            "MQTT5-3.1.2-24",
        ),
    ],
)
async def test_what_is_wrong(name: str, alter: Alter, text: str, expected: str, statement: str) -> None:
    async with Tampered(alter).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert verdict.outcome is Outcome.WRONG
    assert text in verdict.text
    assert expected in verdict.expected
    assert verdict.statement == statement


async def test_user_properties_in_another_order() -> None:
    def turned(packet: Publish, version: int) -> bytes:
        pairs = [b"\x26\x00\x01" + pair for pair in packet.forwarded.split(b"\x26\x00\x01")[1:]]
        head = packet.forwarded.partition(b"\x26\x00\x01")[0]
        return written(packet, version, forwarded=head + b"".join(sorted(pairs)))

    async with Tampered(publishing(turned, "properties")).serving() as endpoint:
        verdict = await only(endpoint, "properties")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.statement == "MQTT5-3.3.2-18"


async def test_a_server_that_lets_no_message_expire() -> None:
    again = changing("message-expiry", payload=b"short", message_expiry=1)
    async with Tampered(again).serving() as endpoint:
        verdict = await only(endpoint, "message-expiry", patience=4)
    assert (verdict.outcome, verdict.statement) == (Outcome.WRONG, "MQTT5-3.3.2-5")

    not_counted = changing("message-expiry", message_expiry=1000)
    async with Tampered(not_counted).serving() as endpoint:
        verdict = await only(endpoint, "message-expiry", patience=4)
    assert (verdict.text, verdict.statement) == ("Message Expiry Interval 1000", "MQTT5-3.3.2-6")


async def test_a_server_that_does_not_keep_to_our_receive_maximum() -> None:
    def twice(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and "receive-maximum-kept" in packet.topic:
            return [packet, written(packet, 5, payload=b"2", packet_identifier=packet.packet_identifier + 1)]
        return [packet]

    async with Tampered(twice).serving() as endpoint:
        verdict = await only(endpoint, "receive-maximum-kept")
    assert (verdict.text, verdict.statement) == ("2 messages unacknowledged", "MQTT5-3.3.4-9")


@pytest.mark.parametrize(
    ("name", "announced", "outcome", "text"),
    [
        ("qos-2", {"maximum_qos": 1}, Outcome.NO, "the Server's Maximum QoS is 1"),
        ("large", {"maximum_packet_size": 100}, Outcome.NO, "the Server's Maximum Packet Size is 100"),
        ("topic-alias", {"topic_alias_maximum": 0}, Outcome.NO, "the Server's Topic Alias Maximum is 0"),
        ("unknown-alias", {}, Outcome.SKIPPED, "the Server's Topic Alias Maximum is 0"),
    ],
)
async def test_what_is_announced_is_not_asked_for(
    name: str, announced: dict[str, int], outcome: Outcome, text: str
) -> None:
    async with Tampered(announcing(**announced)).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert (verdict.outcome, verdict.text) == (outcome, text)


async def test_the_large_payload_is_as_large_as_the_server_takes() -> None:
    async with Tampered(maximum_packet_size=10_000).serving() as endpoint:
        verdict = await only(endpoint, "large")
    assert verdict.outcome is Outcome.OK
    size = int(verdict.text.partition(" ")[0].replace(",", ""))
    assert 9_900 < size < 10_000


async def test_a_large_payload_that_is_swallowed() -> None:
    async with Tampered(dropping(Publish, on="large")).serving() as endpoint:
        verdict = await only(endpoint, "large", patience=0.2)
    assert verdict.outcome is Outcome.WRONG
    assert (
        verdict.advice == "The Server may have a limit that it did not announce; it said nothing against 262,144 bytes."
    )


async def test_a_lesser_qos_granted_is_legal() -> None:
    def granting_0(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        return [Suback(packet.packet_identifier, [0])] if isinstance(packet, Suback) else [packet]

    async with Tampered(granting_0).serving() as endpoint:
        verdicts, _ = await ask(endpoint, "qos-0", "qos-1")
    assert verdicts["qos-0"].outcome is Outcome.OK
    assert (verdicts["qos-1"].outcome, verdicts["qos-1"].text) == (
        Outcome.NO,
        "SUBACK grants QoS 0 where 1 is asked for",
    )


async def test_who_may_not_publish_is_told_of_topics() -> None:
    def refusing(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Puback) and version == MQTT_5_0:
            return [Puback(packet.packet_identifier, 0x87)]
        return [] if isinstance(packet, Publish) else [packet]

    async with Tampered(refusing).serving() as endpoint:
        verdicts, result = await ask(endpoint)
    permission = verdicts["permission"]
    assert (permission.outcome, permission.text) == (Outcome.NO, "PUBLISH is refused: 0x87 not authorized")
    assert "-t" in permission.advice
    assert result.barrier == permission
    assert result.refused
    assert verdicts["retained-kept"].text == "permission failed"
