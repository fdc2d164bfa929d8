"""Message Expiry Interval: counted down, and obeyed wherever a message waits. Here time passes, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Publish, Pubrec, Pubrel
from tests.scripted import properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door


async def test_the_interval_goes_along(door: Door, version: int) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=1)
    for qos in (0, 1):
        for interval in (3600, 0xFFFFFFFF, -1):
            await publisher.publish("a", b"x", qos, message_expiry_interval=interval)
            told = (await subscriber.message()).message_expiry_interval
            assert told == (interval if version == MQTT_5_0 else -1)


@statement("MQTT5-3.3.2-6")
async def test_the_interval_is_counted_down(memory: Door, autojump_clock: MockClock) -> None:
    publisher = await memory.connect("p")
    await publisher.publish("retained", b"x", retain=True, message_expiry_interval=100)
    subscriber = await memory.durable("s")
    await subscriber.subscribe("queued", qos=1)
    await subscriber.lose()
    await publisher.publish("queued", b"x", qos=1, message_expiry_interval=100)
    await trio.sleep(30)
    subscriber = await memory.durable("s", session_present=True)
    queued = await subscriber.message()
    await subscriber.subscribe("retained")
    for message in (queued, await subscriber.message()):
        assert 69 <= message.message_expiry_interval <= 70, message.topic


@statement("MQTT5-3.3.2-5")
async def test_a_message_that_waited_too_long_is_gone(memory: Door, autojump_clock: MockClock) -> None:
    publisher = await memory.connect("p")
    subscriber = await memory.durable("s")
    await subscriber.subscribe("a", qos=2)
    await subscriber.lose()
    for qos, interval in ((1, 10), (2, 1000), (2, 10), (1, 1000), (1, -1)):
        await publisher.publish("a", b"%d" % interval, qos, message_expiry_interval=interval)
    await trio.sleep(11)
    subscriber = await memory.durable("s", session_present=True)
    assert texts(await subscriber.messages(3)) == [("a", b"1000"), ("a", b"1000"), ("a", b"-1")]
    await subscriber.quiet()


@statement("MQTT5-3.3.2-5")
async def test_a_message_that_waits_for_the_window_expires_too(memory: Door, autojump_clock: MockClock) -> None:
    publisher = await memory.connect("p")
    subscriber = await memory.connect("s", properties=properties(receive_maximum=1))
    await subscriber.subscribe("a", qos=1)
    await publisher.publish("a", b"1", qos=1, message_expiry_interval=10)
    await publisher.publish("a", b"2", qos=1, message_expiry_interval=10)
    await publisher.publish("a", b"3", qos=1)
    first = await subscriber.expect(Publish)
    await subscriber.nothing(11)
    await subscriber.acknowledge(first)
    assert (await subscriber.message()).payload == b"3"


@statement("MQTT5-4.3.3-7", "MQTT5-4.3.3-13")
async def test_a_message_already_sent_does_not_expire(memory: Door, autojump_clock: MockClock) -> None:
    publisher = await memory.connect("p")
    subscriber = await memory.durable("s")
    await subscriber.subscribe("a", qos=2)
    await publisher.publish("a", b"x", qos=2, message_expiry_interval=10)
    await publisher.publish("a", b"y", qos=2, message_expiry_interval=10)
    first, second = await subscriber.expect(Publish), await subscriber.expect(Publish)
    await subscriber.send(Pubrec(first.packet_identifier))
    await subscriber.expect(Pubrel)
    await subscriber.lose()
    await trio.sleep(20)
    subscriber = await memory.durable("s", session_present=True)
    assert (await subscriber.expect(Pubrel)).packet_identifier == first.packet_identifier
    again = await subscriber.message()
    assert (again.packet_identifier, again.payload, again.dup) == (second.packet_identifier, b"y", True)


@statement("MQTT5-3.3.2-5")
async def test_a_retained_message_expires(memory: Door, autojump_clock: MockClock) -> None:
    publisher = await memory.connect("p")
    await publisher.publish("a", b"old", retain=True, message_expiry_interval=10)
    await publisher.publish("b", b"for ever", retain=True)
    await publisher.publish("c", b"short", retain=True, message_expiry_interval=10)
    await publisher.publish("c", b"replaced", retain=True, message_expiry_interval=1000)
    await trio.sleep(11)
    subscriber = await memory.connect("s")
    await subscriber.subscribe("#")
    assert sorted(texts(await subscriber.messages(2))) == [("b", b"for ever"), ("c", b"replaced")]
    await subscriber.quiet()


async def test_a_3_1_1_subscriber_is_spared_old_messages_too(memory: Door, autojump_clock: MockClock) -> None:
    publisher = await memory.connect("p")
    subscriber = await memory.durable("s", MQTT_3_1_1)
    await subscriber.subscribe("a", qos=1)
    await subscriber.lose()
    await publisher.publish("a", b"old", qos=1, message_expiry_interval=10)
    await publisher.publish("a", b"good", qos=1)
    await trio.sleep(11)
    subscriber = await memory.durable("s", MQTT_3_1_1, session_present=True)
    assert (await subscriber.message()).payload == b"good"
    await subscriber.quiet()


async def test_the_cap_of_the_server(memory: Door, version: int, autojump_clock: MockClock) -> None:
    memory.settings["message_expiry_maximum"] = 60
    publisher = await memory.connect("p", version)
    await publisher.publish("a", b"x", retain=True, message_expiry_interval=3600 if version == MQTT_5_0 else -1)
    await trio.sleep(59)
    subscriber = await memory.connect("s")
    await subscriber.subscribe("a")
    assert 0 <= (await subscriber.message()).message_expiry_interval <= 1
    await trio.sleep(2)
    await subscriber.subscribe("a")
    await subscriber.quiet()
