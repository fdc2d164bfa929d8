"""Two Network Connections with one Client Identifier: the newer has the Session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, Connect, Publish
from tests.scripted import texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door
    from tests.scripted import Peer


@statement("MQTT5-3.1.4-3", "MQTT5-4.13.2-1", "MQTT311-3.1.4-2")
@pytest.mark.parametrize("clean_start", [False, True])
async def test_the_older_connection_is_told_and_closed(door: Door, version: int, clean_start: bool) -> None:
    older = await door.durable("c", version)
    newer = await door.connect("c", version, clean_start=clean_start, session_present=not clean_start)
    await older.disconnected(ReasonCode.SESSION_TAKEN_OVER)
    await newer.quiet()


@statement("MQTT5-4.4.0-1", "MQTT311-4.4.0-1")
async def test_the_session_goes_on_in_the_newer(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    older = await door.durable("c", version)
    await older.subscribe("a", qos=1)
    await publisher.publish("a", b"1", qos=1)
    first = await older.expect(Publish)
    newer = await door.durable("c", version, session_present=True)
    await older.disconnected(ReasonCode.SESSION_TAKEN_OVER)
    again = await newer.message()
    assert (again.packet_identifier, again.payload, again.dup) == (first.packet_identifier, b"1", True)
    await publisher.publish("a", b"2", qos=1)
    assert texts([await newer.message()]) == [("a", b"2")]


async def test_the_end_of_the_older_does_no_harm_to_the_newer(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    older = await door.durable("c", version)
    newer = await door.durable("c", version, session_present=True)
    await older.lose()
    await newer.subscribe("a", qos=1)
    await publisher.publish("a", b"x", qos=1)
    assert (await newer.message()).payload == b"x"
    await newer.leave()
    await door.durable("c", version, session_present=True)


async def test_a_client_may_change_its_version_while_it_takes_over(door: Door) -> None:
    old = await door.durable("c", MQTT_3_1_1)
    new = await door.durable("c", MQTT_5_0, session_present=True)
    await old.closed()
    again = await door.durable("c", MQTT_3_1_1, session_present=True)
    await new.disconnected(ReasonCode.SESSION_TAKEN_OVER)
    await again.quiet()


async def test_a_race_of_many_has_one_winner(door: Door, version: int) -> None:
    peers = [await door.peer(version) for _ in range(12)]

    async def compete(peer: Peer) -> None:
        await peer.send(Connect("c", version, clean_start=False))

    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(compete, peer)
    winners = []
    for peer in peers:
        assert (await peer.expect(Connack)).reason == ReasonCode.SUCCESS
    probe = await door.connect("probe", version)
    await probe.subscribe("a")
    for peer in peers:
        try:
            await peer.publish("a", b"x", qos=1)
        except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
            continue
        winners.append(peer)
    assert len(winners) == 1
    assert (await probe.message()).payload == b"x"
    await probe.quiet()
