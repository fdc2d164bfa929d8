"""The Will Message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, NO_PROPERTIES, Publish, Will
from tests.scripted import forwarded, properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door
    from tests.scripted import Peer

WILL = Will("will", b"gone", qos=1)
LASTING = properties(session_expiry_interval=300)


async def witness(door: Door, version: int = MQTT_5_0) -> Peer:
    """A Client that sees every will."""
    peer = await door.connect("witness", version)
    await peer.subscribe("will/#", qos=2)
    return peer


@statement("MQTT5-3.1.2-7", "MQTT5-3.1.2-8", "MQTT5-3.1.2-12", "MQTT5-3.1.2-14", "MQTT311-3.1.2-8", "MQTT311-3.1.2-9")
@statement("MQTT311-3.1.2-16")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_lost_connection_publishes_it(door: Door, version: int, qos: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.connect("c", version, will=Will("will", b"gone", qos=qos))
    await peer.lose()
    message = await witnessing.message()
    assert (message.topic, message.payload, message.qos, message.retain) == ("will", b"gone", qos, False)
    late = await door.connect("late", version)
    await late.subscribe("will")
    await late.quiet()
    await witnessing.quiet()


@statement("MQTT5-3.1.2-15", "MQTT311-3.1.2-17")
async def test_it_is_retained_when_asked(door: Door, version: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.connect("c", version, will=Will("will", b"gone", retain=True))
    await peer.lose()
    assert (await witnessing.message()).retain is False
    late = await door.connect("late", version)
    await late.subscribe("will")
    message = await late.message()
    assert (message.payload, message.retain) == (b"gone", True)


@statement("MQTT5-3.14.4-3", "MQTT5-3.1.2-10", "MQTT311-3.14.4-3", "MQTT311-3.1.2-10")
async def test_disconnect_removes_it(door: Door, version: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.connect("c", version, will=WILL)
    await peer.leave()
    again = await door.connect("c", version)
    await again.lose()
    await witnessing.quiet()


@statement("MQTT311-3.1.2-12")
async def test_without_a_will_there_is_none(door: Door, version: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.connect("c", version)
    await peer.lose()
    await (await door.connect("c", version)).quiet()
    await witnessing.quiet()


async def test_disconnect_with_will_message(door: Door) -> None:
    witnessing = await witness(door)
    peer = await door.connect("c", will=WILL)
    await peer.leave(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE)
    assert (await witnessing.message()).payload == b"gone"


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
async def test_a_protocol_error_publishes_it(door: Door, version: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.connect("c", version, will=WILL)
    await peer.send(b"\x00\x00")
    await peer.disconnected(ReasonCode.MALFORMED_PACKET)
    assert (await witnessing.message()).payload == b"gone"


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
async def test_a_silent_client_publishes_it(memory: Door, version: int, autojump_clock: MockClock) -> None:
    witnessing = await witness(memory, version)
    await memory.connect("c", version, keep_alive=10, will=WILL)
    start = trio.current_time()
    message = await witnessing.message(within=60)
    assert message.payload == b"gone"
    assert 15 <= trio.current_time() - start <= 16.5
    await witnessing.quiet()


@statement("MQTT5-3.1.2-10", "MQTT311-3.1.2-10")
async def test_it_is_published_once(door: Door, version: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.durable("c", version)
    await peer.leave()
    peer = await door.peer(version)
    await peer.connect("c", clean_start=False, will=WILL, properties=LASTING if version == MQTT_5_0 else NO_PROPERTIES)
    await peer.lose()
    assert (await witnessing.message()).payload == b"gone"
    peer = await door.durable("c", version, session_present=True)
    await peer.lose()
    await door.durable("c", version, session_present=True)
    await witnessing.quiet()


@statement("MQTT5-3.1.2-8")
async def test_a_delayed_will(memory: Door, autojump_clock: MockClock) -> None:
    witnessing = await witness(memory)
    peer = await memory.connect("c", will=Will("will", b"gone", delay_interval=60), properties=LASTING)
    await peer.lose()
    await witnessing.nothing(59)
    assert (await witnessing.message()).payload == b"gone"
    await witnessing.nothing(400)


@statement("MQTT5-3.1.3-9")
@pytest.mark.parametrize("clean_start", [False, True])
async def test_a_client_that_comes_back_in_time(memory: Door, clean_start: bool, autojump_clock: MockClock) -> None:
    """With Clean Start the old Session ends, and its will is due; otherwise it is never published."""
    witnessing = await witness(memory)
    peer = await memory.connect("c", will=Will("will", b"gone", delay_interval=60), properties=LASTING)
    await peer.lose()
    await witnessing.nothing(30)
    await memory.connect("c", clean_start=clean_start, properties=LASTING)
    if clean_start:
        assert (await witnessing.message()).payload == b"gone"
    await witnessing.nothing(400)


@statement("MQTT5-3.1.2-8")
async def test_a_will_does_not_wait_longer_than_the_session(memory: Door, autojump_clock: MockClock) -> None:
    witnessing = await witness(memory)
    will = Will("will", b"gone", delay_interval=300)
    peer = await memory.connect("c", will=will, properties=properties(session_expiry_interval=60))
    await peer.lose()
    await witnessing.nothing(59)
    assert (await witnessing.message()).payload == b"gone"
    peer = await memory.connect("d", will=will)
    await peer.lose()
    assert (await witnessing.message()).payload == b"gone"
    await witnessing.nothing(400)


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
async def test_a_takeover_publishes_it(door: Door, version: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.connect("c", version, will=WILL)
    await door.connect("c", version)
    await peer.disconnected(ReasonCode.SESSION_TAKEN_OVER)
    assert (await witnessing.message()).payload == b"gone"


@statement("MQTT5-3.1.3-9")
async def test_a_takeover_within_the_delay_does_not(memory: Door, autojump_clock: MockClock) -> None:
    witnessing = await witness(memory)
    peer = await memory.connect("c", will=Will("will", b"gone", delay_interval=60), properties=LASTING)
    await memory.connect("c", clean_start=False, properties=LASTING, session_present=True)
    await peer.disconnected(ReasonCode.SESSION_TAKEN_OVER)
    await witnessing.nothing(400)


@statement("MQTT5-3.1.3-10", "MQTT5-3.3.2-4", "MQTT5-3.3.2-15", "MQTT5-3.3.2-16", "MQTT5-3.3.2-17", "MQTT5-3.3.2-20")
async def test_its_properties(door: Door) -> None:
    witnessing = await witness(door)
    kept = forwarded(
        payload_format_indicator=1,
        content_type="text/plain",
        response_topic="answer",
        correlation_data=b"\x00\xff",
        user_properties=[("z", "1"), ("a", "2"), ("z", "1")],
    )
    peer = await door.connect("c", will=Will("will", b"gone", forwarded=kept, message_expiry_interval=100))
    await peer.lose()
    message = await witnessing.message()
    assert message.forwarded == kept
    assert message.message_expiry_interval == 100


async def test_the_expiry_of_a_will_begins_when_it_is_published(memory: Door, autojump_clock: MockClock) -> None:
    subscriber = await memory.durable("s")
    await subscriber.subscribe("will", qos=1)
    will = Will("will", b"gone", qos=1, delay_interval=60, message_expiry_interval=30)
    peer = await memory.connect("c", will=will, properties=LASTING)
    await peer.lose()
    await trio.sleep(61)
    assert 29 <= (await subscriber.message()).message_expiry_interval <= 30
    peer = await memory.connect("c", will=will, properties=LASTING)
    await subscriber.lose()
    await peer.lose()
    await trio.sleep(60 + 31)
    subscriber = await memory.durable("s", session_present=True)
    await subscriber.quiet()


async def test_a_will_waits_for_absent_subscribers(door: Door, version: int) -> None:
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("will", qos=1)
    await subscriber.leave()
    witnessing = await witness(door, version)
    peer = await door.connect("c", version, will=WILL)
    await peer.lose()
    await witnessing.message()
    subscriber = await door.durable("s", version, session_present=True)
    assert texts([await subscriber.message()]) == [("will", b"gone")]


@statement("MQTT5-3.2.2-12")
async def test_a_will_above_the_maximum_qos_is_refused(door: Door) -> None:
    door.settings["maximum_qos"] = 1
    peer = await door.peer()
    connack = await peer.connect("c", will=Will("will", b"", qos=2), reason=ReasonCode.QOS_NOT_SUPPORTED)
    assert connack.session_present is False
    await peer.closed()
    peer = await door.peer()
    assert (await peer.connect("c", will=WILL)).properties.maximum_qos == 1


async def test_a_wills_order_behind_the_last_messages(door: Door, version: int) -> None:
    witnessing = await witness(door, version)
    peer = await door.connect("c", version, will=WILL)
    await peer.send(*(Publish("will/last words", b"%d" % n) for n in range(10)))
    await peer.quiet()
    await peer.lose()
    messages = await witnessing.messages(11)
    assert [message.payload for message in messages] == [b"%d" % n for n in range(10)] + [b"gone"]
