from __future__ import annotations

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, Connack, ControlPacket, Disconnect, Publish, Suback, Unsuback
from broker.probe.subject import Subject
from broker.probe.verdict import Outcome
from tests.probe.altering import announcing, changing, dropping, written
from tests.probe.servers import Alter, Tampered, ask, only


def subacked(reason: int) -> Alter:
    """Every SUBACK says `reason`."""

    def alter(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Suback):
            return [Suback(packet.packet_identifier, [reason] * len(packet.reasons))]
        return [packet]

    return alter


async def test_a_good_server_passes() -> None:
    async with Tampered().serving() as endpoint:
        subject = Subject(endpoint)
        verdicts, _ = await ask(endpoint, "subscriptions", subject=subject, patience=5)
    unlike = {name: verdict for name, verdict in verdicts.items() if verdict.outcome is not Outcome.OK}
    assert unlike == {}
    assert verdicts["granted-qos"].text == "2→0, 2→1, 2→2"
    assert verdicts["dollar"].text == "+ and #: no match"
    assert verdicts["shared"].text.startswith("20 messages, ")
    assert verdicts["system-topics"].text.startswith("TrioMQ version ")
    assert verdicts["system-topics"].text.startswith(subject.name)


@pytest.mark.parametrize(
    ("name", "alter", "text", "expected", "statement"),
    [
        ("granted-qos", subacked(2), "SUBACK grants QoS 2", "0 or less", "MQTT5-3.8.4-7"),
        ("granted-qos", changing("granted-qos", qos=0), "delivered at QoS 0", "QoS 1", "MQTT5-3.8.4-8"),
        ("unsubscribe", dropping(Unsuback), "nothing within", "UNSUBACK", "MQTT5-3.10.4-4"),
        (
            "subscription-identifiers",
            changing("subscription-identifiers", subscription_identifiers=()),
            "a message without a Subscription Identifier",
            "those of the matching Subscriptions",
            "MQTT5-3.3.4-3",
        ),
        (
            "subscription-identifiers",
            changing("subscription-identifiers", subscription_identifiers=(7, 8)),
            "Subscription Identifiers [7, 8]",
            "7 and 268435455",
            "MQTT5-3.3.4-3",
        ),
        ("no-local", changing("no-local", payload=b"ours"), "our own message came back", "others", "MQTT5-3.8.3-3"),
        ("plus", dropping(Publish, on="/plus//b"), "does not match", "that it does", "MQTT5-3.3.2-3"),
        ("shared", dropping(Publish, on="/shared"), "0 of 20 messages", "all of them", "MQTT5-4.5.0-1"),
    ],
)
async def test_what_is_wrong(name: str, alter: Alter, text: str, expected: str, statement: str) -> None:
    async with Tampered(alter).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert verdict.outcome is Outcome.WRONG
    assert text in verdict.text
    assert expected in verdict.expected
    assert verdict.statement == statement


async def test_a_wildcard_that_matches_too_much() -> None:
    def more(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and packet.topic.endswith("/plus/a/b"):
            return [packet, written(packet, version, topic=f"{packet.topic}/c".encode())]
        return [packet]

    async with Tampered(more).serving() as endpoint:
        verdict = await only(endpoint, "plus")
    assert verdict.outcome is Outcome.WRONG
    assert "/plus/+/b' matches" in verdict.text
    assert verdict.text.endswith("/a/b/c'")


async def test_dollar_topics_that_get_out() -> None:
    def out(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        """Whoever subscribes to two Topic Filters at once gets a message with it."""
        if isinstance(packet, Suback) and len(packet.reasons) == 2:
            return [packet, Publish("$SYS/broker/uptime", b"1 second")]
        return [packet]

    async with Tampered(out).serving() as endpoint:
        verdict = await only(endpoint, "dollar")
    assert (verdict.outcome, verdict.statement) == (Outcome.WRONG, "MQTT5-4.7.2-1")
    assert verdict.text == "a message on '$SYS/broker/uptime'"


async def test_dollar_topics_without_5_0_are_looked_for_with_plus_alone() -> None:
    def old(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
        return None if isinstance(packet, Connack) and version != MQTT_3_1_1 else [packet]

    async with Tampered(old).serving() as endpoint:
        verdict = await only(endpoint, "dollar")
    assert verdict.text == "+: no match"


async def test_a_message_behind_unsuback() -> None:
    def late(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and packet.topic.endswith("/unsubscribe/other"):
            topic = packet.topic.replace("/other", "/ended").encode()
            return [written(packet, version, topic=topic, payload=b"late"), packet]
        return [packet]

    async with Tampered(late).serving() as endpoint:
        verdict = await only(endpoint, "unsubscribe")
    assert (verdict.text, verdict.statement) == ("a message after UNSUBACK", "MQTT5-3.10.4-2")


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (lambda packet, _: [Suback(packet.packet_identifier % 65_535 + 1, packet.reasons)], "for Packet Identifier 2"),
        (lambda packet, _: [Suback(packet.packet_identifier, [*packet.reasons, 0])], "with 2 Reason Codes"),
    ],
)
async def test_a_suback_that_is_not_for_the_subscribe(alter: Alter, text: str) -> None:
    def altered(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
        return alter(packet, version) if isinstance(packet, Suback) else [packet]

    async with Tampered(altered).serving() as endpoint:
        verdict = await only(endpoint, "permission")
    assert verdict.outcome is Outcome.WRONG
    assert text in verdict.text


@pytest.mark.parametrize(
    ("reason", "outcome", "text"),
    [
        (0x9E, Outcome.NO, "not available, and refused: 0x9E shared subscriptions not supported"),
        (0x00, Outcome.WRONG, "announced as not available, and granted"),
    ],
)
async def test_shared_subscriptions_that_are_not_available(reason: int, outcome: Outcome, text: str) -> None:
    silent = announcing(shared_subscription_available=0)

    def alter(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
        if isinstance(packet, Suback) and packet.reasons != [1]:  # not that of `permission`
            return [Suback(packet.packet_identifier, [reason])]
        return silent(packet, version)

    async with Tampered(alter).serving() as endpoint:
        verdict = await only(endpoint, "shared")
    assert (verdict.outcome, verdict.text) == (outcome, text)


async def test_asking_for_what_is_not_available_may_end_the_connection() -> None:
    silent = announcing(shared_subscription_available=0)
    goodbye = encode(Disconnect(ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED), 5)

    def alter(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
        return [goodbye] if isinstance(packet, Suback) and packet.reasons != [1] else silent(packet, version)

    async with Tampered(alter).serving() as endpoint:
        verdict = await only(endpoint, "shared")
    assert verdict.outcome is Outcome.NO
    assert verdict.text.endswith("DISCONNECT 0x9E shared subscriptions not supported")


async def test_our_own_refusal_of_shared_subscriptions_is_legal() -> None:
    async with Tampered(shared_subscription_available=False).serving() as endpoint:
        verdict = await only(endpoint, "shared")
    assert verdict.outcome is Outcome.NO
    assert "0x9E shared subscriptions not supported" in verdict.text


async def test_a_shared_message_that_comes_twice_is_wrong() -> None:
    counted: list[int] = []

    def alter(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and packet.topic.endswith("/shared") and packet.payload == b"19":
            counted.append(1)
            if len(counted) == 2:  # 19 goes to one member and to the outsider
                return [packet, packet]
        return [packet]

    async with Tampered(alter).serving() as endpoint:
        verdict = await only(endpoint, "shared")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.statement in ("MQTT5 section 4.8.2", "MQTT5-4.5.0-1")


@pytest.mark.parametrize(
    ("name", "announced", "outcome"),
    [
        ("plus", "wildcard_subscription_available", Outcome.NO),
        ("hash", "wildcard_subscription_available", Outcome.NO),
        ("dollar", "wildcard_subscription_available", Outcome.SKIPPED),
        ("subscription-identifiers", "subscription_identifier_available", Outcome.NO),
    ],
)
async def test_what_is_not_available_is_not_asked_for(name: str, announced: str, outcome: Outcome) -> None:
    async with Tampered(announcing(**{announced: 0})).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert (verdict.outcome, "announced as not available" in verdict.text) == (outcome, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [("subscription-identifiers", "those of one Subscription"), ("system-topics", "TrioMQ version ")],
)
async def test_what_can_do_without_wildcards_is_asked_without_them(name: str, text: str) -> None:
    async with Tampered(wildcard_subscription_available=False).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert (verdict.outcome, verdict.text.startswith(text)) == (Outcome.OK, True)


async def test_a_topic_filter_that_is_refused_is_legal() -> None:
    async with Tampered(subacked(0x87)).serving() as endpoint:
        verdicts, result = await ask(endpoint, "permission", "plus")
    assert verdicts["permission"].outcome is Outcome.NO
    assert "is refused: 0x87 not authorized" in verdicts["permission"].text
    assert result.refused


async def test_system_topics_that_are_not_there() -> None:
    async with Tampered(dropping(Publish, on="$SYS")).serving() as endpoint:
        verdict = await only(endpoint, "system-topics", patience=0.3)
    assert (verdict.outcome, verdict.text) == (Outcome.NO, "no version there")


async def test_system_topics_as_emqx_has_them() -> None:
    node = "$SYS/brokers/emqx@10.0.0.1"

    def emqx(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Suback) and len(packet.reasons) == 4:
            told = [Publish(f"{node}/version", b"5.8.0"), Publish(f"{node}/sysdescr", b"EMQX")]
            return [packet, *told]
        return [] if isinstance(packet, Publish) and packet.topic.startswith("$SYS/broker/") else [packet]

    async with Tampered(emqx).serving() as endpoint:
        verdict = await only(endpoint, "system-topics")
    assert (verdict.outcome, verdict.text) == (Outcome.OK, "EMQX 5.8.0")
