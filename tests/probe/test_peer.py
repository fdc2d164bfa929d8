from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connack,
    Connect,
    Disconnect,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
)
from broker.probe.peer import Peer, describe, is_refusal_of_credentials, refusal
from broker.probe.verdict import Lacking, Wrong

if TYPE_CHECKING:
    from trio.testing import MemoryReceiveStream, MemorySendStream

    from broker.packets.types import ControlPacket

    Stream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Line:
    """A Peer and the far end of its stream, in virtual time."""

    def __init__(self, version: int = MQTT_5_0, patience: float = 5.0) -> None:
        near, self.far = memory_stream_pair()
        self.peer = Peer(near, version, trio.current_time() + patience)
        self.decoder = Decoder(DecoderLimits(), version)

    async def say(self, *packets: ControlPacket | bytes) -> None:
        for packet in packets:
            await self.far.send_all(packet if isinstance(packet, bytes) else encode(packet, self.peer.version))

    async def heard(self) -> list[ControlPacket]:
        return self.decoder.feed(bytes(await self.far.receive_some()))


async def test_packets_are_passed_over_and_kept(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.say(Publish("a", b"1"), Puback(1), Publish("b", b"2"))
    assert (await line.peer.take(Puback, "PUBACK")).packet_identifier == 1
    assert (await line.peer.take(Publish, "b", where=lambda publish: publish.topic == "b")).payload == b"2"
    await line.peer.message("a", b"1")


async def test_what_does_not_come_is_told(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.say(Publish("a", b"1"), Pubrec(4))
    with pytest.raises(Wrong) as caught:
        await line.peer.take(Puback, "PUBACK 1", "MQTT5-4.3.2-4", "MQTT311-4.3.2-2")
    assert caught.value.text == "nothing within 5.0 s but PUBLISH on 'a' at QoS 0, PUBREC 4 0x00 success"
    assert (caught.value.expected, caught.value.statement) == ("PUBACK 1", "MQTT5-4.3.2-4")
    assert trio.current_time() == 5.0


@pytest.mark.parametrize(
    ("said", "words", "fault"),
    [
        (Disconnect(ReasonCode.SERVER_SHUTTING_DOWN), "DISCONNECT 0x8B server shutting down", False),
        (b"\xf0\x00\xff", "what the Server sent is no packet that a Client takes: ", True),
        (b"\x82\x00", "what the Server sent is no packet that a Client takes: ", True),
    ],
)
async def test_how_a_server_ends_it(
    autojump_clock: trio.testing.MockClock, said: ControlPacket | bytes, words: str, fault: bool
) -> None:
    line = Line()
    await line.say(said)
    with pytest.raises(Wrong, match=words):
        await line.peer.take(Puback, "PUBACK")
    assert line.peer.fault is fault
    if fault:
        with pytest.raises(Wrong, match=words):  # garbage is no orderly close
            await line.peer.closing(0.1, "a close")
    else:
        assert line.peer.reason == ReasonCode.SERVER_SHUTTING_DOWN
        assert (await line.peer.closing(0.1, "a close")).startswith(words)


async def test_a_close_without_words(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.far.aclose()
    await line.peer.send(b"\xc0\x00")  # that it is gone is for the next wait to say
    with pytest.raises(Wrong, match="the Server closed the Network Connection"):
        await line.peer.next("anything")
    assert await line.peer.closing(0.1, "a close") == "the Server closed the Network Connection"


async def test_a_connection_that_stays_open_is_shown_by_a_ping(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            await line.heard()
            await line.say(Pingresp())

        with pytest.raises(Wrong, match="stays open"):
            await line.peer.closing(0.5, "a close", "MQTT5-3.1.0-2")
    silent = Line()
    with pytest.raises(Wrong, match="nothing within"):
        await silent.peer.closing(0.5, "a close")


async def test_a_server_that_does_not_read(autojump_clock: trio.testing.MockClock) -> None:
    near, far = memory_stream_pair()

    async def never() -> None:
        await trio.sleep_forever()

    near.send_stream.send_all_hook = never
    peer = Peer(near, MQTT_5_0, trio.current_time() + 3)
    with pytest.raises(Wrong, match="the Server does not read: 2 bytes"):
        await peer.send(b"\xc0\x00")
    await peer.leave()  # nor does that hang
    assert trio.current_time() == 3.5
    await far.aclose()


async def test_the_first_packet_must_be_connack(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.say(Publish("a", b""), Connack(ReasonCode.SUCCESS))
    with pytest.raises(Wrong, match="PUBLISH on 'a'") as caught:
        await line.peer.connect(Connect("x"))
    assert caught.value.statement == "MQTT5-3.2.0-1"
    line = Line(MQTT_3_1_1)
    await line.say(b"220 hello\r\n")
    with pytest.raises(Wrong, match="the answer is not MQTT: '220 hello'"):
        await line.peer.connect(Connect("x", MQTT_3_1_1))


@pytest.mark.parametrize("reason", [0x80, 0x87, 0x97])
async def test_a_refused_message_is_lacking(autojump_clock: trio.testing.MockClock, reason: int) -> None:
    for qos, answer in ((1, Puback(1, reason)), (2, Pubrec(1, reason))):
        line = Line()
        await line.say(answer)
        with pytest.raises(Lacking, match=f"PUBLISH is refused: 0x{reason:02X}"):
            await line.peer.publish("a", b"", qos)


async def test_the_exchange_of_qos_2_both_ways(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.say(Pubrec(1), Pubcomp(1), Publish("a", b"x", qos=2, packet_identifier=9), Pubrel(9))
    assert await line.peer.publish("a", b"x", 2) == ReasonCode.SUCCESS
    await line.peer.message("a", b"x", 2)
    sent = await line.heard()
    assert [describe(packet) for packet in sent] == [
        "PUBLISH on 'a' at QoS 2",
        "PUBREL 1 0x00 success",
        "PUBREC 9 0x00 success",
        "PUBCOMP 9 0x00 success",
    ]


async def test_a_pubrel_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.say(Publish("a", b"x", qos=2, packet_identifier=9))
    with pytest.raises(Wrong) as caught:
        await line.peer.message("a", b"x", 2)
    assert (caught.value.expected, caught.value.statement) == ("PUBREL 9", "MQTT5-4.3.3-4")


async def test_what_comes_in_a_while(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.say(Publish("a", b"1"), Publish("a", b"2"))
    assert [publish.payload for publish in await line.peer.arriving(0.25)] == [b"1", b"2"]
    assert trio.current_time() == 0.25
    assert await line.peer.arriving(0.25, count=1) == []  # and one comes never
    assert trio.current_time() == 5.0


async def test_a_subscription_that_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    await line.say(Suback(1, [0x87]), Suback(2, [0x87]))
    with pytest.raises(Lacking, match="SUBSCRIBE to 'a' is refused: 0x87 not authorized"):
        await line.peer.subscribe("a")
    assert await line.peer.subscribe("a", refusable=False) == [0x87]


def test_words() -> None:
    said = Properties()
    said.reason_string = "who are you"
    assert refusal(Connack(ReasonCode.NOT_AUTHORIZED, False, said), MQTT_5_0) == "0x87 not authorized: who are you"
    refused = Connack(ReasonCode.BAD_USER_NAME_OR_PASSWORD)
    assert refusal(refused, MQTT_3_1_1) == "Connect Return Code 4, bad user name or password"
    assert is_refusal_of_credentials(ReasonCode.NOT_AUTHORIZED)
    assert not is_refusal_of_credentials(ReasonCode.SERVER_BUSY)
    assert describe(Pingresp()) == "PINGRESP"
