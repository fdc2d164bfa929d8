"""DISCONNECT from both sides, and the Reason Codes with which a Server ends a Network Connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connect, Disconnect, Pingreq, Publish, Will
from tests.scripted import properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-3.14.4-2", "MQTT311-3.14.4-1")
async def test_the_server_closes_after_disconnect(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(Disconnect())
    await peer.closed()


async def test_nothing_is_done_behind_a_disconnect(door: Door, version: int) -> None:
    watcher = await door.connect("watcher", version)
    await watcher.subscribe("a")
    peer = await door.connect("c", version)
    await peer.send(Publish("a", b"before"), Disconnect(), Publish("a", b"after"), Pingreq())
    await peer.closed()
    assert (await watcher.message()).payload == b"before"
    await watcher.quiet()


@statement("MQTT5-3.14.4-3", "MQTT311-3.14.4-3")
async def test_who_does_not_wait_for_answers_is_heard_all_the_same(door: Door, version: int) -> None:
    watcher = await door.connect("watcher", version)
    await watcher.subscribe("a", "will")
    peer = await door.peer(version)
    messages = [Publish("a", b"%d" % number, qos=1, packet_identifier=number) for number in range(1, 11)]
    await peer.send(Connect("c", version, will=Will("will", b"")), *messages, Disconnect())
    await peer.lose()
    assert texts(await watcher.messages(10)) == texts(messages)
    probe = await door.connect("c", version)
    await probe.leave()
    await watcher.quiet()


@statement("MQTT5-3.14.1-1", "MQTT311-3.14.1-1", "MQTT5-2.1.3-1", "MQTT311-2.2.2-2")
async def test_the_reserved_flags(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(b"\xe1\x00")
    await peer.disconnected(ReasonCode.MALFORMED_PACKET)


FAULTS: dict[str, tuple[bytes, bytes, ReasonCode]] = {
    # what is wrong: as 3.1.1, as 5.0, the reason
    "packet type 0": (b"\x00\x00", b"\x00\x00", ReasonCode.MALFORMED_PACKET),
    "QoS 3": (b"\x36\x05\x00\x01a\x00\x01", b"\x36\x06\x00\x01a\x00\x01\x00", ReasonCode.MALFORMED_PACKET),
    "Remaining Length of five bytes": (
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\xff\xff\xff\xff\x01",
        ReasonCode.MALFORMED_PACKET,
    ),
    "a topic longer than the packet": (b"\x30\x03\x00\x09a", b"\x30\x04\x00\x09a\x00", ReasonCode.MALFORMED_PACKET),
    "U+0000 in a topic": (b"\x30\x04\x00\x02a\x00", b"\x30\x05\x00\x02a\x00\x00", ReasonCode.MALFORMED_PACKET),
    "a surrogate in a topic": (
        b"\x30\x05\x00\x03\xed\xa0\x80",
        b"\x30\x06\x00\x03\xed\xa0\x80\x00",
        ReasonCode.MALFORMED_PACKET,
    ),
    "PUBREL with wrong flags": (b"\x60\x02\x00\x01", b"\x60\x02\x00\x01", ReasonCode.MALFORMED_PACKET),
    "a packet that only a Server sends": (b"\xd0\x00", b"\xd0\x00", ReasonCode.PROTOCOL_ERROR),
}


@statement("MQTT5-4.13.1-1", "MQTT311-4.8.0-1", "MQTT5-3.14.2-1")
@pytest.mark.parametrize("fault", list(FAULTS))
async def test_a_fault_ends_the_connection_and_no_other(door: Door, version: int, fault: str) -> None:
    bystander = await door.connect("bystander", version)
    peer = await door.connect("c", version)
    old, new, reason = FAULTS[fault]
    await peer.send(new if version == MQTT_5_0 else old)
    told = await peer.disconnected(reason)
    assert told.session_expiry_interval is None
    await bystander.quiet()


@statement("MQTT5-3.3.2-2", "MQTT311-3.3.2-2", "MQTT5-4.7.0-1", "MQTT311-4.7.1-1")
@pytest.mark.parametrize("topic", ["a/+", "#", "+/b", "a#"])
async def test_a_wildcard_in_a_topic_name(door: Door, version: int, topic: str) -> None:
    watcher = await door.connect("watcher", version)
    await watcher.subscribe("#")
    peer = await door.connect("c", version)
    await peer.send(encode(Publish("~" * len(topic), b"x"), version).replace(b"~" * len(topic), topic.encode()))
    packet = await peer.next()
    if version == MQTT_5_0:
        assert isinstance(packet, Disconnect)
        assert packet.reason in (ReasonCode.TOPIC_NAME_INVALID, ReasonCode.MALFORMED_PACKET)
        packet = await peer.next()
    assert packet is None
    await watcher.quiet()


@statement("MQTT5-3.3.4-6")
async def test_a_subscription_identifier_from_a_client(door: Door) -> None:
    peer = await door.connect("c")
    await peer.send(b"\x30\x06\x00\x01a\x02\x0b\x05")
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.14.2-2", "MQTT5-3.14.2-3")
async def test_the_reason_string_fits_the_client(door: Door) -> None:
    for size in (1024, 40):
        peer = await door.connect("c", properties=properties(maximum_packet_size=size))
        await peer.send(b"\xc0\x01\x00")
        told = await peer.disconnected(ReasonCode.MALFORMED_PACKET)
        assert (told.reason_string is None) is (size == 40)
        assert told.session_expiry_interval is None


async def test_at_the_end_of_the_server_clients_are_told(door: Door) -> None:
    new, old = await door.connect("new", MQTT_5_0), await door.connect("old", MQTT_3_1_1)
    door.stop()
    await new.disconnected(ReasonCode.SERVER_SHUTTING_DOWN)
    await old.closed()
