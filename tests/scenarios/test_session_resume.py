"""Sessions that outlive their Network Connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Disconnect, Publish
from tests.scripted import properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door


@statement("MQTT5-3.1.2-5", "MQTT5-3.1.2-23", "MQTT5-3.2.2-3", "MQTT5-4.5.0-1", "MQTT5-3.1.3-2")
@statement("MQTT311-3.1.2-4", "MQTT311-3.1.2-5", "MQTT311-3.2.2-2", "MQTT311-4.5.0-1", "MQTT311-4.1.0-1")
async def test_messages_wait_for_an_absent_subscriber(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.durable("s", version, session_present=False)
    await subscriber.subscribe("a/#", qos=2)
    await subscriber.leave()
    for number in range(30):
        await publisher.publish(f"a/{number % 4}", b"%d" % number, qos=1 + number % 2)
    subscriber = await door.durable("s", version, session_present=True)
    for number in range(30):
        message = await subscriber.message()
        assert (message.payload, message.qos, message.dup) == (b"%d" % number, 1 + number % 2, False)
    await publisher.publish("a/live", b"still subscribed")
    assert (await subscriber.message()).payload == b"still subscribed"
    await subscriber.quiet()


@statement("MQTT5-3.1.2-4", "MQTT5-3.2.2-2", "MQTT5-3.1.4-4", "MQTT311-3.1.2-6", "MQTT311-3.2.2-1", "MQTT311-3.1.4-3")
async def test_clean_start_discards(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("a", qos=1)
    await publisher.publish("a", b"in flight", qos=1)
    await subscriber.expect(Publish)
    await subscriber.lose()
    await publisher.publish("a", b"queued", qos=1)
    subscriber = await door.connect("s", version, clean_start=True, session_present=False)
    await publisher.publish("a", b"live", qos=1)
    await subscriber.quiet()
    await subscriber.leave()
    subscriber = await door.durable("s", version, session_present=False)
    await subscriber.quiet()


async def test_a_session_without_expiry_ends_with_its_connection(door: Door) -> None:
    subscriber = await door.connect("s", clean_start=False, session_present=False)
    await subscriber.subscribe("a", qos=1)
    await subscriber.leave()
    await door.connect("s", clean_start=False, session_present=False)


async def test_a_clean_session_of_3_1_1_ends_with_its_connection(door: Door) -> None:
    subscriber = await door.connect("s", MQTT_3_1_1)
    await subscriber.subscribe("a", qos=1)
    await subscriber.leave()
    await door.durable("s", MQTT_3_1_1, session_present=False)


@statement("MQTT5-4.1.0-2", "MQTT5-3.1.2-23")
async def test_a_session_expires(memory: Door, autojump_clock: MockClock) -> None:
    lasting = properties(session_expiry_interval=100)
    subscriber = await memory.connect("s", properties=lasting)
    await subscriber.subscribe("a", qos=1)
    await subscriber.lose()
    await trio.sleep(99)
    subscriber = await memory.connect("s", clean_start=False, properties=lasting, session_present=True)
    await subscriber.lose()
    await trio.sleep(102)
    await memory.connect("s", clean_start=False, properties=lasting, session_present=False)


@statement("MQTT5-4.1.0-1", "MQTT311-4.1.0-2")
async def test_a_session_lasts_as_long_as_its_connection(memory: Door, version: int, autojump_clock: MockClock) -> None:
    memory.settings["server_keep_alive_maximum"] = 0
    memory.settings["session_expiry_maximum"] = 50
    publisher = await memory.connect("p", version)
    subscriber = await memory.durable("s", version)
    await subscriber.subscribe("a", qos=1)
    await trio.sleep(1000)
    await publisher.publish("a", b"x", qos=1)
    assert (await subscriber.message()).payload == b"x"


async def test_the_expiry_of_a_session_counts_from_its_last_connection(memory: Door, autojump_clock: MockClock) -> None:
    lasting = properties(session_expiry_interval=100)
    for present in (False, True, True, True):
        peer = await memory.connect("s", clean_start=False, properties=lasting, session_present=present)
        await trio.sleep(50)
        await peer.lose()
        await trio.sleep(90)


async def test_the_server_caps_the_expiry_and_says_so(memory: Door, autojump_clock: MockClock) -> None:
    memory.settings["session_expiry_maximum"] = 60
    peer = await memory.peer()
    connack = await peer.connect("s", properties=properties(session_expiry_interval=0xFFFFFFFF))
    assert connack.properties.session_expiry_interval == 60
    await peer.lose()
    await trio.sleep(59)
    peer = await memory.peer()
    connack = await peer.connect("s", clean_start=False, properties=properties(session_expiry_interval=30))
    assert connack.session_present
    assert connack.properties.session_expiry_interval is None
    await peer.lose()
    await trio.sleep(32)
    await memory.connect("s", clean_start=False, session_present=False)


async def test_a_3_1_1_session_lives_as_long_as_the_cap(memory: Door, autojump_clock: MockClock) -> None:
    memory.settings["session_expiry_maximum"] = 60
    peer = await memory.durable("s", MQTT_3_1_1, session_present=False)
    await peer.leave()
    await trio.sleep(59)
    peer = await memory.durable("s", MQTT_3_1_1, session_present=True)
    await peer.leave()
    await trio.sleep(62)
    await memory.durable("s", MQTT_3_1_1, session_present=False)


async def test_disconnect_may_change_the_expiry(memory: Door, autojump_clock: MockClock) -> None:
    peer = await memory.connect("s", properties=properties(session_expiry_interval=100))
    await peer.leave(properties=properties(session_expiry_interval=1000))
    await trio.sleep(500)
    peer = await memory.connect(
        "s", clean_start=False, properties=properties(session_expiry_interval=100), session_present=True
    )
    await peer.leave(properties=properties(session_expiry_interval=0))
    await memory.connect("s", clean_start=False, session_present=False)


async def test_disconnect_cannot_give_an_expiry_to_a_session_without(door: Door) -> None:
    peer = await door.connect("s")
    await peer.send(Disconnect(ReasonCode.SUCCESS, properties(session_expiry_interval=10)))
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)
    await door.connect("s", clean_start=False, session_present=False)


async def test_a_queue_has_an_end_and_the_publisher_is_told(door: Door, version: int) -> None:
    door.settings["queue_messages"] = 10
    publisher = await door.connect("p", MQTT_5_0)
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("a", qos=1)
    await subscriber.leave()
    reasons = [await publisher.publish("a", b"%d" % number, qos=1 + number % 2) for number in range(12)]
    assert reasons == [ReasonCode.SUCCESS] * 10 + [ReasonCode.QUOTA_EXCEEDED] * 2
    subscriber = await door.durable("s", version, session_present=True)
    assert texts(await subscriber.messages(10)) == [("a", b"%d" % number) for number in range(10)]
    await subscriber.quiet()
    assert await publisher.publish("a", b"again", qos=1) == ReasonCode.SUCCESS
    assert (await subscriber.message()).payload == b"again"


async def test_a_queue_has_an_end_in_bytes(door: Door) -> None:
    door.settings["queue_bytes"] = 2000
    publisher = await door.connect("p")
    subscriber = await door.durable("s")
    await subscriber.subscribe("a", qos=1)
    await subscriber.leave()
    reasons = [await publisher.publish("a", bytes(300), qos=1) for number in range(10)]
    kept = reasons.count(ReasonCode.SUCCESS)
    assert 5 <= kept <= 6
    assert reasons == [ReasonCode.SUCCESS] * kept + [ReasonCode.QUOTA_EXCEEDED] * (10 - kept)
    subscriber = await door.durable("s", session_present=True)
    await subscriber.messages(kept)
    await subscriber.quiet()


async def test_all_queues_together_have_an_end(door: Door) -> None:
    door.server_settings["buffered_bytes"] = 4000
    publisher = await door.connect("p")
    for name in ("one", "two"):
        subscriber = await door.durable(name)
        await subscriber.subscribe(name, qos=1)
        await subscriber.leave()
    reasons = [await publisher.publish(name, bytes(400), qos=1) for name in ("one", "two") * 6]
    kept = reasons.count(ReasonCode.SUCCESS)
    assert 6 <= kept <= 9
    assert reasons == [ReasonCode.SUCCESS] * kept + [ReasonCode.QUOTA_EXCEEDED] * (12 - kept)
    subscriber = await door.durable("one", session_present=True)
    await subscriber.messages((kept + 1) // 2)
    await subscriber.quiet()
    assert await publisher.publish("two", bytes(400), qos=1) == ReasonCode.SUCCESS


async def test_a_client_may_come_back_with_another_version(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.durable("s", MQTT_3_1_1)
    await subscriber.subscribe("a", qos=2)
    await subscriber.leave()
    await publisher.publish("a", b"1", qos=1)
    subscriber = await door.durable("s", MQTT_5_0, session_present=True)
    assert (await subscriber.message()).payload == b"1"
    await subscriber.leave()
    await publisher.publish("a", b"2", qos=2)
    subscriber = await door.durable("s", MQTT_3_1_1, session_present=True)
    assert (await subscriber.message()).payload == b"2"


async def test_qos_0_does_not_wait(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("a", qos=2)
    await subscriber.leave()
    await publisher.publish("a", b"0", qos=0)
    await publisher.publish("a", b"1", qos=1)
    subscriber = await door.durable("s", version, session_present=True)
    assert texts([await subscriber.message()]) == [("a", b"1")]
    await subscriber.quiet()
