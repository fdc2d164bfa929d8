from __future__ import annotations

import pytest

from broker.packets.types import MQTT_3_1_1, Connack, ControlPacket, Suback
from broker.probe.verdict import Outcome
from tests.probe.servers import Tampered, ask, forgiving, only

NAMES = {
    "wildcard-topic": "MQTT5-3.3.2-2",
    "empty-topic": "MQTT5-4.7.3-1",
    "wrong-filter": "MQTT5-4.7.1-1",
    "qos-3": "MQTT5-3.3.1-4",
    "reserved-flags": "MQTT5-2.1.3-1",
    "not-connect": "MQTT5-3.1.0-1",
    "second-connect": "MQTT5-3.1.0-2",
}


def only_3_1_1(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
    return None if isinstance(packet, Connack) and version != MQTT_3_1_1 else [packet]


async def test_a_good_server_closes() -> None:
    async with Tampered().serving() as endpoint:
        verdicts, _ = await ask(endpoint, "faults")
    assert list(verdicts) == list(NAMES)
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.OK}
    assert verdicts["qos-3"].text == "DISCONNECT 0x81 malformed packet: QoS 3"
    assert verdicts["not-connect"].text == "the Server closed the Network Connection"


async def test_a_good_server_closes_before_5_0_too() -> None:
    async with Tampered(only_3_1_1).serving() as endpoint:
        verdicts, _ = await ask(endpoint, "faults")
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.OK}
    assert verdicts["qos-3"].text == "the Server closed the Network Connection"


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_that_bears_everything(name: str) -> None:
    async with Tampered(admit=forgiving).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert verdict.outcome is Outcome.WRONG
    assert verdict.statement == NAMES[name]
    assert "closed" in verdict.expected or "close" in verdict.expected
    assert verdict.advice == "Good Clients notice nothing of it; the mistakes of others stay hidden."


@pytest.mark.parametrize(("reason", "outcome"), [(0x8F, Outcome.OK), (0x00, Outcome.WRONG)])
async def test_a_wrong_filter_may_be_refused_and_not_granted(reason: int, outcome: Outcome) -> None:
    def answering(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Suback) and packet.reasons == [2]:
            return [Suback(packet.packet_identifier, [reason])]
        return [packet]

    def rewritten(data: bytes, _: bool) -> bytes:
        """The wrong Topic Filter becomes a good one at QoS 2, whose SUBACK is known by that."""
        return data[:-4] + b"xxx\x02" if data.endswith(b"#/b\0") else data

    async with Tampered(answering, rewritten).serving() as endpoint:
        verdict = await only(endpoint, "wrong-filter")
    assert verdict.outcome is outcome
    assert verdict.text == ("SUBACK 0x8F topic filter invalid" if outcome is Outcome.OK else "it is granted")
