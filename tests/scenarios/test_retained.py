"""Retained messages: the last word on a topic, told to whoever comes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.core.message import ApplicationMessage
from broker.core.retained import STRETCH
from broker.core.session import SLICE
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Publish, Suback, Subscribe, SubscriptionRequest, Will
from tests.scripted import forwarded, texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-3.3.1-5", "MQTT5-3.3.1-9", "MQTT5-3.3.1-12", "MQTT311-3.3.1-5", "MQTT311-3.3.1-6")
@statement("MQTT311-3.3.1-8", "MQTT311-3.3.1-9", "MQTT311-3.1.2.7")
async def test_retained_first_then_live(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    for number in range(5):
        await publisher.publish(f"state/{number}", b"old %d" % number, qos=1, retain=True)
    await publisher.leave()
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("state/+", qos=1)
    publisher = await door.connect("p", version)
    await publisher.publish("state/0", b"new", qos=1, retain=True)
    messages = await subscriber.messages(6)
    assert sorted(texts(messages[:5])) == [(f"state/{n}", b"old %d" % n) for n in range(5)]
    assert [message.retain for message in messages] == [True] * 5 + [False]
    assert texts(messages[5:]) == [("state/0", b"new")]
    await subscriber.quiet()


@statement("MQTT5-3.3.1-5", "MQTT311-3.3.1-5", "MQTT5-3.3.1-8", "MQTT311-3.3.1-12")
async def test_only_a_retained_message_replaces_one(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    await publisher.publish("a", b"1", retain=True)
    await publisher.publish("a", b"2", retain=True)
    await publisher.publish("a", b"3")
    await publisher.publish("a", b"")
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a")
    assert texts([await subscriber.message()]) == [("a", b"2")]
    await subscriber.quiet()


@statement("MQTT5-3.3.1-6", "MQTT5-3.3.1-7", "MQTT311-3.3.1-10", "MQTT311-3.3.1-11")
async def test_an_empty_payload_clears(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    live = await door.connect("live", version)
    await live.subscribe("a")
    await publisher.publish("a", b"1", qos=1, retain=True)
    await publisher.publish("a", b"", qos=1, retain=True)
    assert texts(await live.messages(2)) == [("a", b"1"), ("a", b"")]
    late = await door.connect("late", version)
    await late.subscribe("a", "#")
    await late.quiet()
    await publisher.publish("a", b"2", qos=1, retain=True)
    later = await door.connect("later", version)
    await later.subscribe("a")
    assert (await later.message()).payload == b"2"


@statement("MQTT5-3.8.4-8", "MQTT311-3.8.4-6")
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_the_lower_qos_counts(door: Door, version: int, granted: int) -> None:
    publisher = await door.connect("p", version)
    for qos in (0, 1, 2):
        await publisher.publish(f"a/{qos}", b"x", qos=qos, retain=True)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a/#", qos=granted)
    got = {message.topic: message.qos for message in await subscriber.messages(3)}
    assert got == {f"a/{qos}": min(qos, granted) for qos in (0, 1, 2)}


@statement("MQTT5-3.8.4-4", "MQTT311-3.8.4-3")
async def test_subscribing_again_sends_them_again(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    await publisher.publish("a", b"x", retain=True)
    subscriber = await door.connect("s", version)
    for qos in (0, 0, 1):
        await subscriber.subscribe("a", qos=qos)
        message = await subscriber.message()
        assert (message.payload, message.retain) == (b"x", True)
        await subscriber.quiet()


@statement("MQTT5-3.3.1-9", "MQTT5-3.3.1-10", "MQTT5-3.3.1-11")
async def test_retain_handling(door: Door) -> None:
    publisher = await door.connect("p")
    await publisher.publish("a", b"x", retain=True)
    subscriber = await door.connect("s")
    await subscriber.subscribe(SubscriptionRequest("a", retain_handling=2))
    await subscriber.quiet()
    await subscriber.subscribe(SubscriptionRequest("a", retain_handling=1))
    await subscriber.quiet()
    await subscriber.subscribe(SubscriptionRequest("a", retain_handling=0))
    assert (await subscriber.message()).payload == b"x"
    await subscriber.unsubscribe("a")
    await subscriber.subscribe(SubscriptionRequest("a", retain_handling=1))
    assert (await subscriber.message()).payload == b"x"
    await subscriber.quiet()


@statement("MQTT5-3.3.1-10")
async def test_retain_handling_1_knows_a_resumed_session(door: Door) -> None:
    publisher = await door.connect("p")
    await publisher.publish("a", b"x", retain=True)
    subscriber = await door.durable("s")
    await subscriber.subscribe(SubscriptionRequest("a", retain_handling=1))
    await subscriber.message()
    await subscriber.leave()
    subscriber = await door.durable("s", session_present=True)
    await subscriber.subscribe(SubscriptionRequest("a", retain_handling=1))
    await subscriber.quiet()


@statement("MQTT5-3.3.1-12", "MQTT5-3.3.1-13")
async def test_retain_as_published(door: Door) -> None:
    publisher = await door.connect("p")
    plain, as_published = await door.connect("plain"), await door.connect("as published")
    await plain.subscribe(SubscriptionRequest("a", 1))
    await as_published.subscribe(SubscriptionRequest("a", 1, retain_as_published=True))
    for qos, retain in ((0, True), (0, False), (1, True), (1, False)):
        await publisher.publish("a", b"x", qos=qos, retain=retain)
        assert (await plain.message()).retain is False
        assert (await as_published.message()).retain is retain


@statement("MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
async def test_wildcards_and_dollar(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    for topic in ("a", "a/b", "a/b/c", "$x/a", "/a"):
        await publisher.publish(topic, b"x", retain=True)
    for topic_filter, topics in {
        "a/#": ["a", "a/b", "a/b/c"],
        "+/b": ["a/b"],
        "+": ["a"],
        "#": ["/a", "a", "a/b", "a/b/c"],
        "+/a": ["/a"],
        "$x/#": ["$x/a"],
    }.items():
        subscriber = await door.connect("s", version)
        await subscriber.subscribe(topic_filter)
        assert sorted(message.topic for message in await subscriber.messages(len(topics))) == topics
        await subscriber.quiet()
        await subscriber.leave()


async def test_a_retained_message_keeps_its_properties(door: Door) -> None:
    publisher = await door.connect("p")
    kept = forwarded(
        payload_format_indicator=1, content_type="text/plain", user_properties=[("b", "1"), ("a", "2"), ("b", "3")]
    )
    await publisher.publish("a", b"x", retain=True, forwarded=kept)
    subscriber = await door.connect("s")
    await subscriber.subscribe("a")
    assert (await subscriber.message()).forwarded == kept


async def test_retained_messages_of_an_earlier_version_and_to_an_earlier_version(door: Door) -> None:
    old, new = await door.connect("old", MQTT_3_1_1), await door.connect("new", MQTT_5_0)
    await old.publish("from/old", b"1", qos=1, retain=True)
    await new.publish("from/new", b"2", qos=1, retain=True, forwarded=forwarded(content_type="x"))
    for peer in (old, new):
        await peer.subscribe("from/+", qos=1)
        assert sorted(texts(await peer.messages(2))) == [("from/new", b"2"), ("from/old", b"1")]


@statement("MQTT5-3.3.1-5")
async def test_no_local_does_not_hold_back_what_is_retained(door: Door) -> None:
    """No Local is about messages forwarded as they come; section 3.8.3.1 says nothing of retained ones being kept."""
    peer = await door.connect("c")
    await peer.publish("a", b"x", retain=True)
    other = await door.connect("other")
    await other.subscribe(SubscriptionRequest("a", no_local=True))
    assert (await other.message()).payload == b"x"


@statement("MQTT5-3.2.2-13")
async def test_retain_switched_off(door: Door) -> None:
    door.settings["retain_available"] = False
    peer = await door.peer()
    assert (await peer.connect("c")).properties.retain_available == 0
    await peer.subscribe("a")
    await peer.send(Publish("a", b"x"))
    await peer.message()
    await peer.send(Publish("a", b"x", retain=True))
    await peer.disconnected(ReasonCode.RETAIN_NOT_SUPPORTED)
    peer = await door.peer()
    await peer.connect("c", will=Will("a", b"x", retain=True), reason=ReasonCode.RETAIN_NOT_SUPPORTED)
    await peer.closed()


TOPICS = 5000


@pytest.mark.parametrize(("version", "qos"), [(MQTT_3_1_1, 1), (MQTT_5_0, 0)])
async def test_a_snapshot_is_never_cut(socket_door: Door, version: int, qos: int) -> None:
    """5,000 retained topics go to a reader that takes its time, through an outbox and queues that hold a tenth."""
    socket_door.settings.update(outbox_soft_bytes=64 * 1024, outbox_hard_bytes=512 * 1024, queue_messages=10)
    publisher = await socket_door.connect("p", version)
    payload = bytes(200)
    numbers = list(range(TOPICS))
    for start in range(0, TOPICS, 500):
        chunk = numbers[start : start + 500]
        await publisher.send(*(Publish(f"state/{n}", payload, retain=True) for n in chunk))
        await publisher.quiet()
    subscriber = await socket_door.connect("s", version)
    await subscriber.send(Subscribe(1, [SubscriptionRequest("state/#", qos)]))
    await trio.sleep(0.1)
    await publisher.publish("other", b"the publisher is not held up")
    await subscriber.expect(Suback)
    seen = set()
    for number in range(TOPICS):
        message = await subscriber.message()
        assert message.retain
        seen.add(message.topic)
        if number % 1000 == 0:
            await trio.sleep(0.02)
    assert seen == {f"state/{n}" for n in numbers}
    await subscriber.quiet()


async def test_live_messages_pass_while_a_snapshot_is_on_its_way(socket_door: Door) -> None:
    socket_door.settings.update(outbox_soft_bytes=64 * 1024)
    publisher = await socket_door.connect("p")
    for start in range(0, 3000, 500):
        await publisher.send(*(Publish(f"state/{n}", bytes(500), retain=True) for n in range(start, start + 500)))
        await publisher.quiet()
    subscriber = await socket_door.connect("s")
    await subscriber.send(Subscribe(1, [SubscriptionRequest("state/#", 1), SubscriptionRequest("live", 1)]))
    await subscriber.expect(Suback)
    for number in range(20):
        await publisher.publish("live", b"%d" % number, qos=1)
    live: list[bytes] = []
    retained: set[str] = set()
    while len(live) < 20 or len(retained) < 3000:
        message = await subscriber.message()
        if message.topic == "live":
            live.append(message.payload)
        else:
            assert message.retain
            retained.add(message.topic)
    assert live == [b"%d" % number for number in range(20)]
    await subscriber.quiet()


async def test_a_walk_past_many_that_do_not_match_comes_to_its_end(door: Door) -> None:
    """A walk is cut into slices: the next must be taken although the last has found nothing to send."""
    reader = await door.connect("reader")
    assert door.server is not None
    for number in range(2 * STRETCH * SLICE + 100):
        door.server.broker.retained.set(ApplicationMessage(f"many/{number:06}/no", b"x", retain=True))
    door.server.broker.retained.set(ApplicationMessage("many/last/yes", b"found", retain=True))
    await reader.subscribe("many/+/yes")
    assert texts([await reader.message()]) == [("many/last/yes", b"found")]


async def test_what_its_author_may_retain_no_more_is_not_there(door: Door, version: int) -> None:
    publisher = await door.connect("author", version)
    other = await door.connect("other", version)
    for topic in ("a/1", "a/2", "b"):
        await publisher.publish(topic, b"x", qos=1, retain=True)
    await other.publish("a/3", b"x", qos=1, retain=True)
    assert door.server is not None
    core = door.server.broker
    core.audit_retained(lambda author, topic: author.client_identifier != "author" or topic == "b", trio.current_time())
    await publisher.publish("c", b"", qos=1)  # has the broker look at what is due
    while core.audit is not None:  # noqa: ASYNC110 - the core has no Events
        await trio.sleep(0.01)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("#")
    assert sorted(texts(await subscriber.messages(2))) == [("a/3", b"x"), ("b", b"x")]
    await subscriber.quiet()
