"""The bounds of what a packet, a Session and the broker may hold."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from broker import serve
from broker.config import Config
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    NO_PROPERTIES,
    Connack,
    Connect,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.scripted import Peer, forwarded, properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.server import Server
    from tests.doors import Door


async def ended(peer: Peer, *reasons: ReasonCode) -> None:
    """The broker ends the connection for one of `reasons`."""
    packet = await peer.next()
    if peer.version == MQTT_5_0:
        assert isinstance(packet, Disconnect)
        assert packet.reason in reasons
        packet = await peer.next()
    assert packet is None


@statement("MQTT5-3.1.2-24", "MQTT5-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_too_large_for_a_client_is_not_sent(door: Door, qos: int) -> None:
    publisher = await door.connect("p")
    small = await door.connect("small", properties=properties(maximum_packet_size=100, receive_maximum=1))
    large = await door.connect("large")
    for peer in (small, large):
        await peer.subscribe("a", qos=2)
    sizes = (10, 200, 20, 300, 90, 10)
    for size in sizes:
        await publisher.publish("a", bytes(size), qos)
    assert [len(message.payload) for message in await large.messages(6)] == list(sizes)
    expected = [10, 20, 90, 10]
    assert [len(message.payload) for message in await small.messages(4)] == expected
    await small.quiet()


@statement("MQTT5-3.1.2-24")
async def test_the_boundary_is_exact(door: Door) -> None:
    publisher = await door.connect("p")
    overhead = len(encode(Publish("a", b""), MQTT_5_0))
    subscriber = await door.connect("s", properties=properties(maximum_packet_size=100))
    await subscriber.subscribe("a")
    await publisher.publish("a", bytes(101 - overhead))
    await publisher.publish("a", bytes(100 - overhead))
    assert len((await subscriber.message()).payload) == 100 - overhead
    await subscriber.quiet()


@statement("MQTT5-3.1.2-25")
async def test_a_queued_message_too_large_does_not_block_the_queue(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.durable("s")
    await subscriber.subscribe("a", qos=2)
    await subscriber.lose()
    for size, qos in ((10, 1), (500, 1), (20, 2), (500, 2), (30, 1)):
        await publisher.publish("a", bytes(size), qos)
    subscriber = await door.connect(
        "s",
        clean_start=False,
        session_present=True,
        properties=properties(maximum_packet_size=100, receive_maximum=1, session_expiry_interval=100),
    )
    assert [len(message.payload) for message in await subscriber.messages(3)] == [10, 20, 30]
    await subscriber.quiet()


@statement("MQTT5-3.2.2-15", "MQTT5-4.13.1-1")
async def test_a_packet_too_large_for_the_server(door: Door, version: int) -> None:
    door.settings["maximum_packet_size"] = 1000
    watcher = await door.connect("watcher")
    await watcher.subscribe("a")
    peer = await door.peer(version)
    connack = await peer.connect("c")
    if version == MQTT_5_0:
        assert connack.properties.maximum_packet_size == 1000
    overhead = len(encode(Publish("a", bytes(500)), version)) - 500
    await peer.publish("a", bytes(1000 - overhead))
    await watcher.message()
    await peer.send(encode(Publish("a", bytes(1001 - overhead)), version)[:10])  # the header says enough
    await ended(peer, ReasonCode.PACKET_TOO_LARGE)
    await watcher.quiet()


async def test_a_connect_too_large(door: Door, version: int) -> None:
    door.settings["connect_packet_size"] = 1000
    peer = await door.peer(version)
    connect = Connect("c", version, will=Will("a", bytes(1000)))
    await peer.send(encode(connect, version)[:100])
    packet = await peer.next()
    if packet is not None:
        assert isinstance(packet, Connack)
        assert packet.reason == ReasonCode.PACKET_TOO_LARGE
        await peer.closed()


async def test_client_identifiers_have_a_length(door: Door, version: int) -> None:
    door.settings["client_identifier_maximum"] = 30
    await door.connect("c" * 30, version)
    peer = await door.peer(version)
    await peer.connect("c" * 31, reason=ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)
    await peer.closed()


@statement("MQTT5-3.2.2-9", "MQTT5-3.2.2-10", "MQTT5-3.2.2-11")
@pytest.mark.parametrize("maximum", [0, 1])
async def test_maximum_qos(door: Door, maximum: int) -> None:
    door.settings["maximum_qos"] = maximum
    peer = await door.peer()
    assert (await peer.connect("c")).properties.maximum_qos == maximum
    assert await peer.subscribe("a", qos=2) == [maximum]
    await peer.send(Publish("a", b"x", qos=maximum, packet_identifier=maximum))
    packets = [await peer.next() for _ in range(1 + maximum)]
    (message,) = [packet for packet in packets if isinstance(packet, Publish)]
    assert message.qos == maximum
    await peer.acknowledge(message)
    await peer.send(Publish("a", b"x", qos=maximum + 1, packet_identifier=9))
    await ended(peer, ReasonCode.QOS_NOT_SUPPORTED)


async def test_a_3_1_1_client_meets_maximum_qos_without_having_been_told(door: Door) -> None:
    door.settings["maximum_qos"] = 1
    peer = await door.connect("c", MQTT_3_1_1)
    assert await peer.subscribe("a", qos=2) == [1]
    await peer.send(Publish("a", b"x", qos=2, packet_identifier=1))
    await peer.closed()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("topic_bytes", "x" * 50, "x" * 51),
        ("topic_levels", "/".join("a" * 5), "/".join("a" * 6)),
    ],
)
async def test_topics_have_bounds(door: Door, version: int, name: str, good: str, bad: str) -> None:
    door.settings[name] = 50 if name == "topic_bytes" else 5
    peer = await door.connect("c", version)
    assert await peer.subscribe(good) == [0]
    await peer.send(Publish(good, b"x"))
    assert (await peer.message()).topic == good
    await peer.send(Publish(bad, b"x"))
    await ended(peer, ReasonCode.TOPIC_NAME_INVALID, ReasonCode.MALFORMED_PACKET, ReasonCode.QUOTA_EXCEEDED)
    peer = await door.connect("d", version)
    await peer.send(Subscribe(1, [SubscriptionRequest(bad)]))
    packet = await peer.next()
    if isinstance(packet, Suback):
        refusals = (ReasonCode.TOPIC_FILTER_INVALID, ReasonCode.QUOTA_EXCEEDED)
        assert packet.reasons[0] in (refusals if version == MQTT_5_0 else (0x80,))
    else:
        assert packet is None or isinstance(packet, Disconnect)


async def test_the_deepest_topic_goes_all_the_way(door: Door, version: int) -> None:
    """128 levels, retained and live, by name and by wildcards (nothing recurses)."""
    topic = "/".join("a" * 128)
    publisher = await door.connect("p", version)
    await publisher.publish(topic, b"retained", qos=1, retain=True)
    filters = (topic, "/".join("+" * 128), "#", "/".join("+" * 127 + "#"))
    subscribers = [await door.connect(f"s{number}", version) for number in range(len(filters))]
    for subscriber, topic_filter in zip(subscribers, filters, strict=True):
        await subscriber.subscribe(topic_filter)
        assert texts([await subscriber.message()]) == [(topic, b"retained")]
    await publisher.publish(topic, b"live")
    for subscriber in subscribers:
        assert texts([await subscriber.message()]) == [(topic, b"live")]


async def test_the_longest_topic(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.subscribe("#")
    await peer.send(Publish("a" * 4096, b"x"))
    assert (await peer.message()).topic == "a" * 4096


async def test_user_properties_are_counted(door: Door) -> None:
    peer = await door.connect("c")
    await peer.publish("a", b"x", forwarded=forwarded(user_properties=[("k", "v")] * 64))
    await peer.send(Publish("a", b"x", forwarded=forwarded(user_properties=[("k", "v")] * 65)))
    await ended(peer, ReasonCode.QUOTA_EXCEEDED, ReasonCode.PACKET_TOO_LARGE, ReasonCode.PROTOCOL_ERROR)


async def test_properties_have_a_size(door: Door) -> None:
    door.settings["properties_bytes"] = 200
    peer = await door.connect("c")
    await peer.publish("a", b"x", forwarded=forwarded(correlation_data=bytes(197)))
    await peer.send(Publish("a", b"x", forwarded=forwarded(correlation_data=bytes(198))))
    await ended(peer, ReasonCode.QUOTA_EXCEEDED, ReasonCode.PACKET_TOO_LARGE, ReasonCode.PROTOCOL_ERROR)


async def test_subscriptions_of_a_packet(door: Door, version: int) -> None:
    door.settings["subscriptions_per_packet"] = 3
    peer = await door.connect("c", version)
    assert await peer.subscribe("a", "b", "c") == [0, 0, 0]
    await peer.send(Subscribe(1, [SubscriptionRequest(name) for name in "abcd"]))
    await ended(peer, ReasonCode.QUOTA_EXCEEDED, ReasonCode.PACKET_TOO_LARGE, ReasonCode.PROTOCOL_ERROR)


async def test_subscriptions_of_a_session(door: Door, version: int) -> None:
    door.settings["subscriptions_per_session"] = 3
    peer = await door.connect("c", version)
    refusal = ReasonCode.QUOTA_EXCEEDED if version == MQTT_5_0 else 0x80
    assert await peer.subscribe("a", "b", "c", "d") == [0, 0, 0, refusal]
    assert await peer.subscribe("a", qos=1) == [1]
    assert await peer.subscribe("e") == [refusal]
    await peer.unsubscribe("b")
    assert await peer.subscribe("e") == [0]
    await peer.send(Publish("d", b"refused"), Publish("e", b"granted"))
    assert texts([await peer.message()]) == [("e", b"granted")]


async def test_memory_for_subscriptions_of_a_session(door: Door, version: int) -> None:
    door.settings["subscription_bytes_per_session"] = 3000
    refusal = ReasonCode.QUOTA_EXCEEDED if version == MQTT_5_0 else 0x80
    peer = await door.connect("c", version)
    assert await peer.subscribe("a", "a/b/c/d/e", "b") == [0, refusal, 0]
    assert await (await door.connect("d", version)).subscribe("a") == [0]
    await peer.unsubscribe("a", "b")
    assert await peer.subscribe("a/b/c/d/e") == [0]
    await peer.send(Publish("a/b/c/d/e", b"granted"))
    assert texts([await peer.message()]) == [("a/b/c/d/e", b"granted")]


async def test_memory_for_subscriptions_of_the_broker(door: Door, version: int) -> None:
    door.server_settings.update(subscription_bytes=3000, sys_interval=0)
    refusal = ReasonCode.QUOTA_EXCEEDED if version == MQTT_5_0 else 0x80
    first = await door.connect("1", version)
    second = await door.connect("2", version)
    assert await first.subscribe("a", "b") == [0, 0]
    assert await second.subscribe("a", "c/d") == [0, refusal]
    assert await first.subscribe("a", qos=1) == [1]
    await first.unsubscribe("a", "b")
    assert await second.subscribe("c/d") == [0]


async def test_sessions_of_the_broker(door: Door, version: int) -> None:
    door.server_settings["sessions"] = 2
    first = await door.connect("1", version)
    await door.connect("2", version)
    peer = await door.peer(version)
    reason = ReasonCode.QUOTA_EXCEEDED if version == MQTT_5_0 else ReasonCode.SERVER_UNAVAILABLE
    await peer.connect("3", reason=reason)
    await peer.closed()
    await first.leave()
    await door.connect("3", version)


async def test_retained_messages_of_the_broker(door: Door) -> None:
    door.server_settings.update(retained_messages=3, sys_interval=0)
    publisher = await door.connect("p")
    subscriber = await door.connect("s")
    await subscriber.subscribe("#")
    reasons = [await publisher.publish(f"a/{n}", b"x", qos=1, retain=True) for n in range(4)]
    assert reasons == [0, 0, 0, ReasonCode.QUOTA_EXCEEDED]
    assert await publisher.publish("a/0", b"replaced", qos=1, retain=True) == 0
    assert await publisher.publish("a/1", b"", qos=1, retain=True) == 0
    assert await publisher.publish("a/3", b"x", qos=1, retain=True) == 0
    late = await door.connect("late")
    await late.subscribe("#")
    assert sorted(texts(await late.messages(3))) == [("a/0", b"replaced"), ("a/2", b"x"), ("a/3", b"x")]
    await late.quiet()


async def test_connections_of_a_listener(socket_door: Door) -> None:
    socket_door.settings["max_connections"] = 2
    first = await socket_door.connect("1")
    second = await socket_door.connect("2")
    refused = (AssertionError, OSError, trio.BrokenResourceError)
    with pytest.raises(refused):  # noqa: PT012  # refused at accept, in the handshake, or behind it
        peer = await socket_door.peer()
        await peer.connect("3")
    await first.quiet()
    await second.leave()
    for _ in range(50):
        try:
            await socket_door.connect("3")
            break
        except refused:
            continue
    await first.quiet()


async def test_connections_of_the_broker(socket_door: Door) -> None:
    socket_door.server_settings["connections"] = 2
    first = await socket_door.connect("1")
    await socket_door.connect("2")
    with pytest.raises((AssertionError, OSError, trio.BrokenResourceError)):  # noqa: PT012  # as above
        peer = await socket_door.peer()
        await peer.connect("3")
    await first.quiet()
    server = socket_door.server
    assert server is not None
    assert server.broker.stats.turned_away["connections"] == 1


@asynccontextmanager
async def behind_a_proxy(connections: int) -> AsyncIterator[tuple[Server, Config]]:
    """A broker that believes what comes over loopback about addresses, of which each may have so many connections."""
    proxied = {"host": "127.0.0.1", "port": 0, "trusted_proxies": ["127.0.0.0/8"], "allow_anonymous": True}
    settings = {
        "listeners": [{"type": "tcp", "proxy_protocol": True, **proxied}, {"type": "ws", **proxied}],
        "server": {"connections_per_address": connections},
    }
    config = Config.model_validate(settings)
    async with serve(config) as server:
        yield server, Config.model_validate(settings | {"server": {"connections_per_address": connections + 1}})


async def from_address(server: Server, address: str) -> Peer:
    """A Client at `address` of IPv6, as a load balancer passes it on."""
    stream = await trio.open_tcp_stream(server.listeners[0].host, server.listeners[0].port)
    await stream.send_all(f"PROXY TCP6 {address} ::1 4711 1883\r\n".encode())
    return Peer(stream, MQTT_5_0)


async def test_connections_of_an_address() -> None:
    """The /64 is what counts; a reload counts from then on; WebSocket is told why."""
    async with behind_a_proxy(2) as (server, more):
        first = await from_address(server, "2001:db8::1")
        await first.connect("1")
        second = await from_address(server, "2001:db8::2")
        await second.connect("2")
        third = await from_address(server, "2001:db8::3")
        await third.closed()
        await third.lose()
        other = await from_address(server, "2001:db8:0:1::3")
        await other.connect("other")
        head = (
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"X-Forwarded-For: 2001:db8::4\r\n\r\n"
        )
        statuses = []
        for _ in range(2):
            web = await trio.open_tcp_stream(server.listeners[1].host, server.listeners[1].port)
            await web.send_all(head)
            statuses.append(bytes(await web.receive_some())[:12])
            await web.aclose()
            await server.reload(more)
        assert statuses == [b"HTTP/1.1 429", b"HTTP/1.1 101"]
        await first.quiet()
        assert server.broker.stats.turned_away["connections_per_address"] == 2
        for peer in (first, second, other):
            await peer.leave()


@statement("MQTT5-3.1.2-29")
async def test_problem_information_not_wanted(door: Door) -> None:
    """Without it only CONNACK, DISCONNECT and PUBLISH may carry a Reason String or User Properties."""
    door.settings["subscriptions_per_session"] = 1
    peer = await door.connect("c", properties=properties(request_problem_information=0))
    requests = [SubscriptionRequest("a"), SubscriptionRequest("b")]
    await peer.send(
        Subscribe(1, requests),
        Unsubscribe(2, ["b"]),
        Publish("$SYS/broker/x", b"x", qos=1, packet_identifier=3),
        Publish("$SYS/broker/x", b"x", qos=2, packet_identifier=4),
        Pubrel(5),
    )
    for kind in (Suback, Unsuback, Puback, Pubrec, Pubcomp):
        packet = await peer.next()
        assert isinstance(packet, kind)
        assert getattr(packet, "properties", None) == NO_PROPERTIES
