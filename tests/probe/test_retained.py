from __future__ import annotations

import pytest

from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, ControlPacket, Publish
from broker.probe.verdict import Outcome
from tests.probe.altering import announcing, changing, dropping, written
from tests.probe.servers import Alter, Tampered, ask, only


async def test_a_good_server_passes() -> None:
    async with Tampered().serving() as endpoint:
        verdicts, _ = await ask(endpoint, "retained", patience=5)
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.OK}
    assert list(verdicts) == [
        "retained-kept",
        "retained-live",
        "retained-cleared",
        "retain-handling",
        "retain-as-published",
    ]


def before_5_0(alter: Alter) -> Alter:
    """The same, and 3.1.1 is the only version that is spoken."""

    def both(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
        return None if isinstance(packet, Connack) and version != MQTT_3_1_1 else alter(packet, version)

    return both


@pytest.mark.parametrize(
    ("name", "alter", "text", "expected", "statements"),
    [
        (
            "retained-kept",
            changing("retained-kept", retain=False),
            "RETAIN 0 in a message for a new Subscription",
            "RETAIN 1",
            ("MQTT5 section 3.3.1.3", "MQTT311-3.3.1-8"),
        ),
        (
            "retained-kept",
            dropping(Publish, on="/retained-kept"),
            "nothing within",
            "the retained message for a new Subscription",
            ("MQTT5-3.3.1-9", "MQTT311-3.3.1-6"),
        ),
        (
            "retained-kept",
            changing("retained-kept", payload=b"first"),
            "a payload of 5 bytes",
            "4 bytes as published",
            ("MQTT5-4.2.0-1", "MQTT311-7.1.1-1"),
        ),
        (
            "retained-live",
            changing("retained-live", retain=True),
            "RETAIN 1 in a message for an established Subscription",
            "RETAIN 0",
            ("MQTT5-3.3.1-12", "MQTT311-3.3.1-9"),
        ),
    ],
)
@pytest.mark.parametrize("version", [MQTT_5_0, MQTT_3_1_1], ids=["5.0", "3.1.1"])
async def test_what_is_wrong(
    version: int, name: str, alter: Alter, text: str, expected: str, statements: tuple[str, str]
) -> None:
    async with Tampered(alter if version == MQTT_5_0 else before_5_0(alter)).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert verdict.outcome is Outcome.WRONG
    assert text in verdict.text
    assert expected in verdict.expected
    assert verdict.statement == statements[version != MQTT_5_0]


async def test_an_old_message_is_kept_beside_the_last() -> None:
    def twice(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and packet.payload == b"last":
            return [packet, written(packet, version, payload=b"first", packet_identifier=packet.packet_identifier + 1)]
        return [packet]

    async with Tampered(twice).serving() as endpoint:
        verdict = await only(endpoint, "retained-kept")
    assert (verdict.text, verdict.statement) == ("2 retained messages for one topic", "MQTT5-3.3.1-5")


async def test_a_message_that_cannot_be_cleared() -> None:
    """The empty payload is given one on its way to the broker."""

    def filled(data: bytes, _: bool) -> bytes:
        if data[:1] == b"\x33" and b"/gone" in data and not data.endswith(b"to go"):
            return bytes((data[0], data[1] + 1)) + data[2:] + b"!"
        return data

    async with Tampered(admit=filled).serving() as endpoint:
        verdict = await only(endpoint, "retained-cleared")
    assert (verdict.text, verdict.statement) == ("the message is retained still", "MQTT5-3.3.1-6")


async def test_an_empty_message_that_is_retained() -> None:
    async with Tampered(with_empty()).serving() as endpoint:
        verdict = await only(endpoint, "retained-cleared")
    assert (verdict.text, verdict.statement) == ("an empty retained message", "MQTT5-3.3.1-7")


def with_empty() -> Alter:
    def alter(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and packet.topic.endswith("/there"):
            gone = packet.topic.replace("/there", "/gone").encode()
            return [written(packet, version, topic=gone, payload=b"", packet_identifier=99), packet]
        return [packet]

    return alter


async def test_a_server_that_clears_too_much() -> None:
    async with Tampered(dropping(Publish, on="/there")).serving() as endpoint:
        verdict = await only(endpoint, "retained-cleared")
    assert (verdict.text, verdict.statement) == ("another topic's retained message is gone too", "MQTT5-3.3.1-9")


@pytest.mark.parametrize(
    ("options", "text", "statement"),
    [
        (b"\x20", "it came with Retain Handling 2", "MQTT5-3.3.1-11"),
        (b"\x10", "it came again for the same Subscription, with Retain Handling 1", "MQTT5-3.3.1-10"),
    ],
)
async def test_a_server_that_overlooks_retain_handling(options: bytes, text: str, statement: str) -> None:
    def overlooked(data: bytes, _: bool) -> bytes:
        return data[:-1] + b"\0" if data[:1] == b"\x82" and data.endswith(options) else data

    async with Tampered(admit=overlooked).serving() as endpoint:
        verdict = await only(endpoint, "retain-handling")
    assert (verdict.text, verdict.statement) == (text, statement)


async def test_a_server_that_overlooks_retain_as_published() -> None:
    async with Tampered(changing("retain-as-published", retain=False)).serving() as endpoint:
        verdict = await only(endpoint, "retain-as-published")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.text.startswith("RETAIN 0")


async def test_a_server_that_retains_nothing_and_says_so() -> None:
    async with Tampered(announcing(retain_available=0)).serving() as endpoint:
        verdicts, _ = await ask(endpoint, "retained")
    assert verdicts["retained-kept"].outcome is Outcome.NO
    assert {verdict.outcome for name, verdict in verdicts.items() if name != "retained-kept"} == {Outcome.SKIPPED}
