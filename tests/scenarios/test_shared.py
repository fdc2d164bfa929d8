"""Shared subscriptions: a message goes to one member of the group."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Disconnect, Puback, Publish, Pubrec, Suback, Subscribe, SubscriptionRequest
from tests.scripted import properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door
    from tests.scripted import Peer


def subscribe_bytes(topic_filter: str, options: int = 0) -> bytes:
    """A SUBSCRIBE of 5.0 that an encoder with manners would not write."""
    name = topic_filter.encode()
    body = b"\x00\x01\x00" + len(name).to_bytes(2, "big") + name + bytes((options,))
    return bytes((0x82, len(body))) + body


async def members(door: Door, count: int, topic_filter: str, qos: int = 0, version: int = MQTT_5_0) -> list[Peer]:
    made = [await door.connect(f"member {number}", version) for number in range(count)]
    for member in made:
        assert await member.subscribe(topic_filter, qos=qos) == [qos]
    return made


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_members_take_turns(door: Door, version: int, qos: int) -> None:
    publisher = await door.connect("p", version)
    group = await members(door, 3, "$share/group/a/+", qos, version)
    for number in range(12):
        await publisher.publish(f"a/{number}", b"x", qos=qos)
    seen: Counter[str] = Counter()
    for member in group:
        seen.update(message.topic for message in await member.messages(4))
        await member.quiet()
    assert seen == {f"a/{number}": 1 for number in range(12)}


async def test_each_group_and_each_other_subscriber_has_its_copy(door: Door) -> None:
    publisher = await door.connect("p")
    one, two, plain = [await door.connect(name) for name in ("one", "two", "plain")]
    await one.subscribe("$share/one/a")
    await two.subscribe("$share/two/a")
    await plain.subscribe("a")
    await publisher.publish("a", b"x")
    for peer in (one, two, plain):
        assert texts([await peer.message()]) == [("a", b"x")]
        await peer.quiet()


async def test_a_client_may_be_member_and_subscriber(door: Door) -> None:
    """Section 4.8.2: a shared subscription is never merged with another one, so there are two copies."""
    publisher = await door.connect("p")
    peer = await door.connect("c")
    await peer.subscribe("$share/g/a", "a")
    await publisher.publish("a", b"x")
    assert texts(await peer.messages(2)) == [("a", b"x")] * 2
    await peer.quiet()


@statement("MQTT5-4.8.2-3")
async def test_the_granted_qos_of_the_member_counts(door: Door) -> None:
    publisher = await door.connect("p")
    careless, careful = await door.connect("0"), await door.connect("2")
    await careless.subscribe("$share/g/a", qos=0)
    await careful.subscribe("$share/g/a", qos=2)
    for _ in range(2):
        await publisher.publish("a", b"x", qos=2)
    assert (await careless.message()).qos == 0
    assert (await careful.message()).qos == 2


async def test_retained_messages_are_not_sent_to_a_group(door: Door) -> None:
    publisher = await door.connect("p")
    await publisher.publish("a", b"x", retain=True)
    member = await door.connect("m")
    await member.subscribe("$share/g/a")
    await member.quiet()


async def test_subscription_identifiers_of_a_member(door: Door) -> None:
    publisher = await door.connect("p")
    member = await door.connect("m")
    await member.subscribe("$share/g/a", identifier=77)
    await publisher.publish("a", b"x")
    assert (await member.message()).subscription_identifiers == (77,)


async def test_leaving_a_group(door: Door) -> None:
    publisher = await door.connect("p")
    first, second = await members(door, 2, "$share/g/a")
    assert await first.unsubscribe("a", "$share/h/a", "$share/g/a") == [0x11, 0x11, 0]
    for _ in range(3):
        await publisher.publish("a", b"x")
    await second.messages(3)
    await first.quiet()
    assert await second.unsubscribe("$share/g/a") == [0]
    assert await publisher.publish("a", b"x", qos=1) == ReasonCode.NO_MATCHING_SUBSCRIBERS


async def test_absent_members_are_passed_over(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    absent = await door.durable("absent", version)
    await absent.subscribe("$share/g/a", qos=1)
    await absent.lose()
    present = await door.durable("present", version)
    await present.subscribe("$share/g/a", qos=1)
    for number in range(6):
        await publisher.publish("a", b"%d" % number, qos=1)
    assert texts(await present.messages(6)) == [("a", b"%d" % number) for number in range(6)]
    absent = await door.durable("absent", version, session_present=True)
    await absent.quiet()


async def test_messages_wait_when_all_are_absent(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    for name in ("one", "two"):
        member = await door.durable(name, version)
        await member.subscribe("$share/g/a", qos=1)
        await member.lose()
    for number in range(6):
        await publisher.publish("a", b"%d" % number, qos=1)
    received = []
    for name in ("one", "two"):
        member = await door.durable(name, version, session_present=True)
        await member.send(Subscribe(1, [SubscriptionRequest("end")]))
        while isinstance(packet := await member.next(), Publish):
            received.append(packet.payload)
            await member.acknowledge(packet)
    assert sorted(received) == [b"%d" % number for number in range(6)]


async def test_a_member_with_a_full_window_is_passed_over(door: Door) -> None:
    publisher = await door.connect("p")
    busy = await door.connect("busy", properties=properties(receive_maximum=2))
    await busy.subscribe("$share/g/a", qos=1)
    free = await door.connect("free")
    await free.subscribe("$share/g/a", qos=1)
    for number in range(10):
        await publisher.publish("a", b"%d" % number, qos=1)
    held = [await busy.expect(Publish) for _ in range(2)]
    taken = await free.messages(8)
    assert sorted(p.payload for p in held + taken) == [b"%d" % number for number in range(10)]
    await free.quiet()
    await busy.quiet()


async def test_a_member_with_a_full_queue_is_passed_over(door: Door) -> None:
    """Nobody can take a message at once; it is kept where there is room, and refused when there is none."""
    door.settings["queue_messages"] = 3
    publisher = await door.connect("p")
    for name in ("one", "two"):
        member = await door.durable(name)
        await member.subscribe("$share/g/a", qos=1)
        await member.lose()
    reasons = [await publisher.publish("a", b"%d" % number, qos=1) for number in range(8)]
    assert reasons == [ReasonCode.SUCCESS] * 6 + [ReasonCode.QUOTA_EXCEEDED] * 2
    received = []
    for name in ("one", "two"):
        member = await door.durable(name, session_present=True)
        received += [message.payload for message in await member.messages(3)]
        await member.quiet()
    assert sorted(received) == [b"%d" % number for number in range(6)]


async def test_a_message_of_a_member_whose_session_ended_goes_to_another(door: Door) -> None:
    publisher = await door.connect("p")
    first, second = await members(door, 2, "$share/g/a", qos=1)
    for number in range(4):
        await publisher.publish("a", b"%d" % number, qos=1)
    taken = [await first.expect(Publish) for _ in range(2)]
    await first.send(Puback(taken[0].packet_identifier))
    await first.quiet()
    theirs = [message.payload for message in await second.messages(2)]
    await first.lose()
    theirs.append((await second.message()).payload)
    assert sorted([taken[0].payload, *theirs]) == [b"%d" % number for number in range(4)]
    await second.quiet()


async def test_a_message_kept_for_a_session_that_expires_goes_to_another(
    memory: Door, autojump_clock: MockClock
) -> None:
    publisher = await memory.connect("p")
    member = await memory.connect("m", properties=properties(session_expiry_interval=60))
    await member.subscribe("$share/g/a", qos=2)
    await member.lose()
    for number in range(3):
        await publisher.publish("a", b"%d" % number, qos=1 + number % 2)
    other = await memory.connect("other")
    await other.subscribe("$share/g/a", qos=2)
    await other.nothing(55)
    await trio.sleep(10)
    assert texts(await other.messages(3)) == [("a", b"%d" % number) for number in range(3)]
    await other.quiet()


@statement("MQTT5-4.8.2-4")
async def test_a_qos_2_message_sent_stays_with_its_member(door: Door) -> None:
    publisher = await door.connect("p")
    member = await door.durable("m")
    await member.subscribe("$share/g/a", qos=2)
    await publisher.publish("a", b"x", qos=2)
    first = await member.expect(Publish)
    await member.lose()
    other = await door.connect("other")
    await other.subscribe("$share/g/a", qos=2)
    await other.quiet()
    member = await door.durable("m", session_present=True)
    again = await member.message()
    assert (again.packet_identifier, again.payload, again.dup) == (first.packet_identifier, b"x", True)
    await other.quiet()


@statement("MQTT5-4.8.2-5")
async def test_a_qos_2_message_sent_ends_with_its_session(door: Door) -> None:
    publisher = await door.connect("p")
    group = await members(door, 2, "$share/g/a", qos=2)
    await publisher.publish("a", b"x", qos=2)
    await group[0].expect(Publish)
    await group[0].lose()
    again = await door.connect("member 0")
    await again.quiet()
    await group[1].quiet()


@statement("MQTT5-4.8.2-6")
async def test_a_message_refused_by_a_member_is_discarded(door: Door) -> None:
    publisher = await door.connect("p")
    group = await members(door, 2, "$share/g/a", qos=2)
    await publisher.publish("a", b"1", qos=1)
    await publisher.publish("a", b"2", qos=2)
    publish = await group[0].expect(Publish)
    await group[0].send(Puback(publish.packet_identifier, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR))
    publish = await group[1].expect(Publish)
    await group[1].send(Pubrec(publish.packet_identifier, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR))
    for member in group:
        await member.quiet()


@statement("MQTT5-3.8.3-4")
async def test_no_local_on_a_shared_subscription_is_a_protocol_error(door: Door) -> None:
    peer = await door.connect("c")
    await peer.send(subscribe_bytes("$share/g/a", 0x04))
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-4.8.2-1", "MQTT5-4.8.2-2")
@pytest.mark.parametrize("topic_filter", ["$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/g#/a", "$share/"])
async def test_an_invalid_share_is_refused(door: Door, topic_filter: str) -> None:
    peer = await door.connect("c")
    await peer.send(subscribe_bytes(topic_filter))
    packet = await peer.next()
    if isinstance(packet, Suback):
        assert packet.reasons == [ReasonCode.TOPIC_FILTER_INVALID]
    else:
        assert isinstance(packet, Disconnect)
        assert packet.reason in (
            ReasonCode.TOPIC_FILTER_INVALID,
            ReasonCode.MALFORMED_PACKET,
            ReasonCode.PROTOCOL_ERROR,
        )


async def test_switched_off(door: Door) -> None:
    door.settings["shared_subscription_available"] = False
    peer = await door.peer()
    assert (await peer.connect("c")).properties.shared_subscription_available == 0
    assert await peer.subscribe("a") == [0]
    await peer.send(Subscribe(1, [SubscriptionRequest("$share/g/a")]))
    await peer.disconnected(ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
