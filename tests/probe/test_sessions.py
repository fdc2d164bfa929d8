from __future__ import annotations

import re

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, ControlPacket, Disconnect, Pingresp, Properties, Publish
from broker.probe.verdict import Outcome
from tests.probe.altering import announcing, changing, dropping, written
from tests.probe.servers import Alter, Tampered, ask, only


def session_present(present: bool) -> Alter:
    """Every CONNACK says so."""

    def alter(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        return [Connack(packet.reason, present, packet.properties)] if isinstance(packet, Connack) else [packet]

    return alter


def disconnecting(reason: ReasonCode) -> Alter:
    """Every DISCONNECT says this."""

    def alter(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        return [Disconnect(reason)] if isinstance(packet, Disconnect) else [packet]

    return alter


async def test_a_good_server_passes() -> None:
    async with Tampered().serving() as endpoint:
        verdicts, _ = await ask(endpoint, "sessions", patience=5)
    assert {name: verdict.text for name, verdict in verdicts.items() if verdict.outcome is not Outcome.OK} == {}
    assert verdicts["takeover"].text.startswith("the older one: DISCONNECT 0x8E session taken over")
    assert verdicts["keep-alive"].text.startswith("closed after ")


@pytest.mark.parametrize(
    ("name", "alter", "text", "expected", "statement"),
    [
        ("session", session_present(False), "Session Present 0", "Session Present 1", "MQTT5-3.2.2-3"),
        (
            "session",
            dropping(Publish, on="/session"),
            "nothing within",
            "the message of the time away",
            "MQTT5-4.5.0-1",
        ),
        (
            "redelivery",
            changing("redelivery", dup=False),
            "DUP 0 in a PUBLISH that is sent again",
            "DUP 1",
            "MQTT5-3.3.1-1",
        ),
        ("will", dropping(Publish, on="/will"), "nothing within", "the Will Message", "MQTT5-3.1.2-8"),
        ("ping", dropping(Pingresp), "nothing within", "PINGRESP", "MQTT5-3.12.4-1"),
        (
            "takeover",
            disconnecting(ReasonCode.SERVER_BUSY),
            "the older one: DISCONNECT 0x89 server busy",
            "DISCONNECT 0x8E",
            "MQTT5-3.1.4-3",
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


async def test_a_message_sent_again_with_another_packet_identifier() -> None:
    def alter(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and packet.dup:
            return [written(packet, version, packet_identifier=packet.packet_identifier + 7)]
        return [packet]

    async with Tampered(alter).serving() as endpoint:
        verdict = await only(endpoint, "redelivery")
    assert (verdict.text, verdict.statement) == ("Packet Identifier 8", "MQTT5-4.4.0-1")


async def test_a_session_that_is_never_forgotten() -> None:
    def remembered(data: bytes, first: bool) -> bytes:
        """A CONNECT of 5.0 never has Clean Start."""
        return data.replace(b"MQTT\x05\x02", b"MQTT\x05\x00") if first else data

    async with Tampered(admit=remembered).serving() as endpoint:
        verdict = await only(endpoint, "clean-start")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.statement == "MQTT5-3.2.2-2"  # the CONNACK says it already

    async with Tampered(session_present(False), remembered).serving() as endpoint:
        verdict = await only(endpoint, "clean-start")
    assert (verdict.text, verdict.statement) == ("the old Subscription is there still", "MQTT5-3.1.2-4")


async def test_a_will_behind_a_disconnect() -> None:
    def alarmed(data: bytes, first: bool) -> bytes:
        """A DISCONNECT in order becomes one with the Will Message (0x04)."""
        return b"\xe0\x01\x04" if data == b"\xe0\x00" else data

    async with Tampered(admit=alarmed).serving() as endpoint:
        verdict = await only(endpoint, "will-discarded")
    assert (verdict.text, verdict.statement) == ("the Will Message was sent", "MQTT5-3.1.2-10")


async def test_an_older_connection_that_stays() -> None:
    def apart(data: bytes, first: bool) -> bytes:
        """The broker sees another Client Identifier in the second CONNECT of the same name."""
        if first and b"probe" in data:
            seen.append(data)
            if seen.count(data) == 2:
                return data[:-1] + b"X"
        return data

    seen: list[bytes] = []
    async with Tampered(admit=apart).serving() as endpoint:
        verdict = await only(endpoint, "takeover")
    assert (verdict.text, verdict.statement) == ("the Network Connection stays open", "MQTT5-3.1.4-3")
    assert "fight for ever" in verdict.advice


async def test_a_server_that_notices_no_silence() -> None:
    async with Tampered(keep_alive_grace=10).serving() as endpoint:
        verdict = await only(endpoint, "keep-alive", patience=1.6)
    assert (verdict.outcome, verdict.statement) == (Outcome.WRONG, "MQTT5-3.1.2-22")
    assert re.match(r"open still after \d+\.\d s of silence", verdict.text)


async def test_a_server_that_is_too_quick() -> None:
    def quick(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        return [packet, encode(Disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT), 5)] if after_features(packet) else [packet]

    connacks: list[ControlPacket] = []

    def after_features(packet: ControlPacket) -> bool:
        if isinstance(packet, Connack):
            connacks.append(packet)
        return isinstance(packet, Connack) and len(connacks) > 4  # behind three versions and `permission`

    async with Tampered(quick).serving() as endpoint:
        verdict = await only(endpoint, "keep-alive", patience=1.6)
    assert verdict.outcome is Outcome.WRONG
    assert re.match(r"closed after 0\.\d s: DISCONNECT 0x8D keep alive timeout", verdict.text)


async def test_a_server_with_a_keep_alive_of_its_own_is_not_waited_for() -> None:
    async with Tampered(announcing(server_keep_alive=30)).serving() as endpoint:
        verdict = await only(endpoint, "keep-alive", patience=1.6)
    assert (verdict.outcome, verdict.text) == (Outcome.SKIPPED, "the Server wants a Keep Alive of 30 s")
    async with Tampered().serving() as endpoint:
        verdict = await only(endpoint, "keep-alive", patience=0.6)
    assert (verdict.outcome, verdict.text) == (Outcome.SKIPPED, "it takes 3 s")


async def test_sessions_before_5_0() -> None:
    def old(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
        return None if isinstance(packet, Connack) and version != MQTT_3_1_1 else [packet]

    async with Tampered(old).serving() as endpoint:
        verdicts, _ = await ask(endpoint, "session", "clean-start", "redelivery", "takeover", "will", "will-discarded")
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.OK}
    assert verdicts["takeover"].text == "the older one: the Server closed the Network Connection"


async def test_who_is_refused_with_a_will() -> None:
    def refused(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Connack) and version == MQTT_5_0:
            connacks.append(packet)
            if len(connacks) > 3:
                return [Connack(ReasonCode.QUOTA_EXCEEDED, False, Properties())]
        return [packet]

    connacks: list[ControlPacket] = []
    async with Tampered(refused).serving() as endpoint:
        verdict = await only(endpoint, "will")
    assert (verdict.outcome, verdict.text) == (Outcome.NO, "CONNECT is refused: 0x97 quota exceeded")
