"""Receive Maximum, both ways, and the order in which a window is filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.scripted import properties
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-3.3.4-9", "MQTT5-3.3.4-10", "MQTT5-4.9.0-1", "MQTT5-4.9.0-2", "MQTT5-4.9.0-3")
async def test_the_server_obeys_receive_maximum(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s", properties=properties(receive_maximum=2))
    await subscriber.subscribe("a", qos=1)
    for number in range(6):
        await publisher.publish("a", b"%d" % number, qos=1)
    window = [await subscriber.expect(Publish) for _ in range(2)]
    await subscriber.quiet()
    assert await subscriber.subscribe("b") == [0]
    await publisher.publish("b", b"QoS 0 needs no window")
    assert (await subscriber.expect(Publish)).topic == "b"
    received = [publish.payload for publish in window]
    while len(received) < 6:
        await subscriber.send(Puback(window.pop(0).packet_identifier))
        window.append(await subscriber.expect(Publish))
        received.append(window[-1].payload)
        await subscriber.quiet()
    assert received == [b"%d" % number for number in range(6)]


@statement("MQTT5-3.3.4-9", "MQTT5-4.9.0-2")
async def test_a_qos_2_message_holds_its_place_until_pubcomp(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s", properties=properties(receive_maximum=1))
    await subscriber.subscribe("a", qos=2)
    for number in range(2):
        await publisher.publish("a", b"%d" % number, qos=2)
    first = await subscriber.expect(Publish)
    await subscriber.send(Pubrec(first.packet_identifier))
    await subscriber.expect(Pubrel)
    await subscriber.quiet()
    await subscriber.send(Pubcomp(first.packet_identifier))
    assert (await subscriber.expect(Publish)).payload == b"1"


async def test_a_refusing_acknowledgement_frees_the_place(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s", properties=properties(receive_maximum=1))
    await subscriber.subscribe("a", qos=2)
    for qos in (2, 1, 2):
        await publisher.publish("a", b"%d" % qos, qos=qos)
    first = await subscriber.expect(Publish)
    await subscriber.send(Pubrec(first.packet_identifier, ReasonCode.UNSPECIFIED_ERROR))
    second = await subscriber.expect(Publish)
    await subscriber.send(Puback(second.packet_identifier, ReasonCode.UNSPECIFIED_ERROR))
    assert (await subscriber.message()).qos == 2
    await subscriber.quiet()


async def test_a_stray_acknowledgement_does_not_widen_the_window(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s", properties=properties(receive_maximum=2))
    await subscriber.subscribe("a", qos=1)
    await subscriber.send(Puback(500), Puback(501), Pubcomp(502))
    for number in range(4):
        await publisher.publish("a", b"%d" % number, qos=1)
    for _ in range(2):
        await subscriber.expect(Publish)
    await subscriber.quiet()


async def test_max_inflight_is_the_window_of_3_1_1(door: Door, version: int) -> None:
    door.settings["max_inflight"] = 3
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=1)
    for number in range(5):
        await publisher.publish("a", b"%d" % number, qos=1)
    window = [await subscriber.expect(Publish) for _ in range(3)]
    await subscriber.quiet()
    await subscriber.send(*(Puback(publish.packet_identifier) for publish in window))
    assert [publish.payload for publish in await subscriber.messages(2)] == [b"3", b"4"]


@statement("MQTT5-4.9.0-2", "MQTT5-3.3.4-9")
async def test_a_reconnect_begins_with_the_new_window(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s", properties=properties(receive_maximum=5, session_expiry_interval=60))
    await subscriber.subscribe("a", qos=1)
    for number in range(8):
        await publisher.publish("a", b"%d" % number, qos=1)
    for _ in range(5):
        await subscriber.expect(Publish)
    await subscriber.lose()
    subscriber = await door.connect(
        "s", clean_start=False, properties=properties(receive_maximum=2, session_expiry_interval=60)
    )
    window = [await subscriber.expect(Publish) for _ in range(2)]
    await subscriber.quiet()
    received = [(publish.payload, publish.dup) for publish in window]
    await subscriber.send(*(Puback(publish.packet_identifier) for publish in window))
    received += [(publish.payload, publish.dup) for publish in await subscriber.messages(6)]
    assert received == [(b"%d" % number, number < 5) for number in range(8)]


async def test_a_client_that_exceeds_receive_maximum_is_disconnected(door: Door) -> None:
    door.settings["receive_maximum"] = 3
    peer = await door.peer()
    assert (await peer.connect("c")).properties.receive_maximum == 3
    for number in (1, 2, 3):
        await peer.send(Publish("a", b"x", qos=2, packet_identifier=number))
        await peer.expect(Pubrec)
    await peer.send(Publish("a", b"x", qos=2, packet_identifier=2, dup=True))
    await peer.expect(Pubrec)
    await peer.send(Publish("a", b"QoS 0 does not count"))
    await peer.quiet()
    await peer.send(Publish("a", b"x", qos=2, packet_identifier=4))
    await peer.disconnected(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)


async def test_a_client_within_receive_maximum_goes_on_for_ever(door: Door) -> None:
    door.settings["receive_maximum"] = 2
    peer = await door.connect("c")
    for number in range(1, 20):
        await peer.send(Publish("a", b"x", qos=2, packet_identifier=number))
        await peer.expect(Pubrec)
        await peer.send(Publish("a", b"x", qos=1, packet_identifier=1000 + number))
        await peer.expect(Puback)
        await peer.send(Pubrel(number))
        await peer.expect(Pubcomp)


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_burst_in_one_write_is_within_the_window_as_long_as_it_is_acknowledged(door: Door, qos: int) -> None:
    """At QoS 1 the broker acknowledges at once, so no burst is too long. At QoS 2 the Client's PUBREL counts."""
    peer = await door.connect("c", MQTT_5_0)
    await peer.send(*(Publish("a", b"x", qos=qos, packet_identifier=number) for number in range(1, 201)))
    if qos == 1:
        for number in range(1, 201):
            assert (await peer.expect(Puback)).packet_identifier == number
        await peer.quiet()
    else:
        for number in range(1, 33):
            assert (await peer.expect(Pubrec)).packet_identifier == number
        await peer.disconnected(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)
