"""The Client's interface, against a scripted Server and against the broker itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

import broker
from broker.client import (
    Backoff,
    CannotConnect,
    Client,
    ConnectRefused,
    Disconnected,
    PublishRefused,
    Will,
    connect,
)
from broker.config import Config
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5_0,
    Connack,
    Connect,
    Disconnect,
    Properties,
    Puback,
    Publish,
    Pubrec,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from tests.client.server import Peer, Server, message
from tests.scripted import Dripping
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from broker.client.client import Connecting
    from broker.server import Server as Broker


# -- arguments


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "a URL or a stream"),
        ({"url": "http://x"}, "none of"),
        ({"url": "mqtt://x", "version": "4"}, "version"),
        ({"url": "mqtt://x", "keep_alive": 70_000}, "keep_alive"),
        ({"url": "mqtt://x", "version": "3.1.1", "password": "p"}, "User Name"),
        ({"url": "mqtt://x", "version": "3.1.1", "clean_start": False}, "client_identifier"),
        ({"url": "mqtt://x", "will": Will("a/#")}, "Topic Name"),
        ({"url": "mqtt://x", "will": Will("a", qos=3)}, "QoS"),
        ({"url": "mqtt://x", "receive_maximum": 0}, "Receive Maximum"),
        ({"url": "mqtt://x", "client_identifier": "\0"}, "U\\+0000"),
    ],
)
def test_what_cannot_be_sent(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        connect(**arguments)


async def said(arguments: dict[str, Any]) -> Connect:
    """The CONNECT that these arguments give."""
    server = Server()
    connects: list[Connect] = []

    async def serve() -> None:
        peer = Peer(await server.stream())
        connects.append(await peer.expect(Connect))
        await peer.send(Connack(ReasonCode.SUCCESS))
        await peer.leave()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with connect(stream=server.open, **arguments):
            pass
    return connects[0]


async def test_a_url_carries_user_name_and_password(autojump_clock: MockClock) -> None:
    url = "mqtt://us%40er:se%3Acret@host"
    packet = await said({"url": url})
    assert (packet.user_name, packet.password) == ("us@er", b"se:cret")
    packet = await said({"url": url, "user_name": "other", "password": b"\xff"})
    assert (packet.user_name, packet.password) == ("other", b"\xff")


@pytest.mark.parametrize(("version", "level"), [("3.1", MQTT_3_1), ("3.1.1", MQTT_3_1_1), ("5.0", MQTT_5_0)])
async def test_versions(autojump_clock: MockClock, version: str, level: int) -> None:
    packet = await said({"version": version})
    assert packet.version == level
    assert (1 <= len(packet.client_identifier) <= 23) is (level == MQTT_3_1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 300),
        ({"reconnect": False}, None),
        ({"reconnect": Backoff()}, 300),
        ({"session_expiry_interval": 0}, None),
        ({"session_expiry_interval": 7, "reconnect": False}, 7),
    ],
)
async def test_session_expiry(autojump_clock: MockClock, arguments: dict[str, Any], expected: int | None) -> None:
    assert (await said(arguments)).properties.session_expiry_interval == expected


class Alone:
    """A Client, connected to `peer`, without reconnecting."""

    def __init__(self, nursery: trio.Nursery, version: str = "5.0", properties: Properties | None = None) -> None:
        self._nursery = nursery
        self._server = Server()
        self._version = version
        self._properties = properties or Properties()
        self._connecting = connect(stream=self._server.open, version=version, reconnect=False)

    async def __aenter__(self) -> tuple[Client, Peer]:
        async def accept() -> None:
            level = {"3.1.1": MQTT_3_1_1, "5.0": MQTT_5_0}[self._version]
            self._peer = await self._server.accept(properties=self._properties, version=level)

        self._nursery.start_soon(accept)
        client = await self._connecting.__aenter__()
        return client, self._peer

    async def __aexit__(self, *error: object) -> None:
        self._nursery.start_soon(self._peer.stream.aclose)
        await self._connecting.__aexit__(None, None, None)


@pytest.fixture
def alone(nursery: trio.Nursery) -> Callable[..., Alone]:
    return lambda *arguments: Alone(nursery, *arguments)


async def test_wrong_arguments(autojump_clock: MockClock, alone: Callable[..., Alone]) -> None:
    aliased, identified = Properties(), Properties()
    aliased.topic_alias = 0
    identified.subscription_identifiers = [1]
    async with alone() as (client, peer):
        publishing: list[Awaitable[object]] = [
            client.publish("a/#"),
            client.publish(""),
            client.publish("a", qos=3),
            client.publish("a", properties=aliased),
            client.publish("a", properties=identified),
            client.unsubscribe(),
            client.unsubscribe("a/#/b"),
        ]
        for one in publishing:
            with pytest.raises(ValueError, match=r".+"):
                await one
        subscribing: list[Callable[[], object]] = [
            lambda: client.subscribe(),
            lambda: client.subscribe("a/#/b"),
            lambda: client.subscribe("a", qos=3),
            lambda: client.subscribe("a", buffer=0),
            lambda: client.subscribe("a", retain_handling=3),
            lambda: client.subscribe("$share/g/a", no_local=True),
            lambda: client.subscribe("a", user_properties=[("a", "\0")]),
        ]
        for subscribe in subscribing:
            with pytest.raises(ValueError, match=r".+"):
                subscribe()
        await peer.nothing(1)


async def test_what_is_of_5_0_only(autojump_clock: MockClock, alone: Callable[..., Alone]) -> None:
    async with alone("3.1.1") as (client, _):
        with pytest.raises(ValueError, match=r"5\.0 only"):
            await client.publish("a", properties=Properties())
        with pytest.raises(ValueError, match=r"5\.0 only"):
            client.subscribe("a", no_local=True)
        with pytest.raises(ValueError, match=r"5\.0 only"):
            client.subscribe("a", user_properties=[("a", "b")])
        with pytest.raises(ValueError, match=r"5\.0 only"):
            await client.request("a")


async def test_user_properties_of_a_subscription(
    autojump_clock: MockClock, alone: Callable[..., Alone], nursery: trio.Nursery
) -> None:
    async with alone() as (client, peer):
        subscribed: list[Subscribe] = []

        async def grant() -> None:
            subscribed.append(await peer.grant())

        nursery.start_soon(grant)
        async with client.subscribe("a", user_properties=[("overflow", "latest")]):
            assert subscribed[0].properties.user_properties == [("overflow", "latest")]


# -- publishing


async def test_properties_arrive(autojump_clock: MockClock, alone: Callable[..., Alone]) -> None:
    properties = Properties()
    properties.content_type = "text/plain"
    properties.message_expiry_interval = 9
    properties.user_properties = [("a", "b")]
    async with alone() as (client, peer):
        await client.publish("a/é", "é", retain=True, properties=properties)
        packet = await peer.expect(Publish)
        assert (packet.topic, packet.payload, packet.retain) == ("a/é", "é".encode(), True)
        assert packet.message_expiry_interval == 9
        assert b"text/plain" in packet.forwarded


async def test_answers(autojump_clock: MockClock, alone: Callable[..., Alone], nursery: trio.Nursery) -> None:
    properties = Properties()
    properties.reason_string = "because"

    async def serve(peer: Peer) -> None:
        one = await peer.expect(Publish)
        await peer.send(Puback(one.packet_identifier, ReasonCode.NO_MATCHING_SUBSCRIBERS, properties))
        two = await peer.expect(Publish)
        await peer.send(Puback(two.packet_identifier, ReasonCode.QUOTA_EXCEEDED, properties))
        three = await peer.expect(Publish)
        await peer.send(Pubrec(three.packet_identifier, ReasonCode.NOT_AUTHORIZED))

    async with alone() as (client, peer):
        nursery.start_soon(serve, peer)
        answer = await client.publish("a", qos=1)
        assert answer.reason == ReasonCode.NO_MATCHING_SUBSCRIBERS
        assert answer.properties.reason_string == "because"
        with pytest.raises(PublishRefused, match="because") as caught:
            await client.publish("a", qos=1)
        assert caught.value.reason == ReasonCode.QUOTA_EXCEEDED
        with pytest.raises(PublishRefused) as caught:
            await client.publish("a", qos=2)
        assert caught.value.reason == ReasonCode.NOT_AUTHORIZED


@statement("MQTT5-3.3.4-7")
async def test_without_waiting(autojump_clock: MockClock, alone: Callable[..., Alone]) -> None:
    async with alone() as (client, peer):
        ways = [client.publish_nowait("a", bytes([number]), qos=number % 3) for number in range(30)]
        packets = [await peer.expect(Publish) for _ in range(30)]
        assert [packet.payload for packet in packets] == [bytes([number]) for number in range(30)]
        await peer.send(Puback(packets[1].packet_identifier, ReasonCode.NO_MATCHING_SUBSCRIBERS))
        await peer.send(Puback(packets[4].packet_identifier, ReasonCode.QUOTA_EXCEEDED))
        assert (await ways[0].acknowledged()).reason == ReasonCode.SUCCESS
        assert (await ways[1].acknowledged()).reason == ReasonCode.NO_MATCHING_SUBSCRIBERS
        with pytest.raises(PublishRefused):
            await ways[4].acknowledged()
        with trio.move_on_after(5) as scope:
            await ways[2].acknowledged()
        assert scope.cancelled_caught
    with pytest.raises(Disconnected):
        await ways[5].acknowledged()
    with pytest.raises(Disconnected):
        client.publish_nowait("a")


async def test_many_publish_at_once_within_the_quota(
    autojump_clock: MockClock, alone: Callable[..., Alone], nursery: trio.Nursery
) -> None:
    properties = Properties()
    properties.receive_maximum = 3

    async def serve(peer: Peer) -> None:
        waiting: list[Publish] = []
        for _ in range(20):
            waiting.append(await peer.expect(Publish))
            assert len(waiting) <= 3
            if len(waiting) == 3:
                await peer.nothing(1)
                await peer.send(*(Puback(one.packet_identifier) for one in reversed(waiting)))
                waiting = []
        await peer.send(*(Puback(one.packet_identifier) for one in waiting))

    async with alone("5.0", properties) as (client, peer):
        nursery.start_soon(serve, peer)
        async with trio.open_nursery() as publishers:
            for _ in range(20):
                publishers.start_soon(client.publish, "a", b"", 1)


async def test_the_server_goes_while_we_wait(
    autojump_clock: MockClock, alone: Callable[..., Alone], nursery: trio.Nursery
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.expect(Publish)
        await peer.send(Disconnect(ReasonCode.SERVER_SHUTTING_DOWN))

    async with alone() as (client, peer):
        nursery.start_soon(serve, peer)
        with pytest.raises(Disconnected) as caught:
            await client.publish("a", qos=1)
        assert caught.value.reason == ReasonCode.SERVER_SHUTTING_DOWN
        with pytest.raises(Disconnected):
            await client.publish("a")
        assert not client.connected


async def test_a_client_that_was_left(autojump_clock: MockClock, alone: Callable[..., Alone]) -> None:
    async with alone() as (client, _):
        await client.publish("a")
    with pytest.raises(Disconnected, match="left"):
        await client.publish("a")


async def test_unsubscribing(autojump_clock: MockClock, alone: Callable[..., Alone], nursery: trio.Nursery) -> None:
    async def serve(peer: Peer) -> None:
        packet = await peer.expect(Unsubscribe)
        await peer.send(Unsuback(packet.packet_identifier, [ReasonCode.SUCCESS, ReasonCode.NO_SUBSCRIPTION_EXISTED]))

    async with alone() as (client, peer):
        nursery.start_soon(serve, peer)
        assert await client.unsubscribe("a", "b/#") == {
            "a": ReasonCode.SUCCESS,
            "b/#": ReasonCode.NO_SUBSCRIPTION_EXISTED,
        }


async def test_a_request(autojump_clock: MockClock, alone: Callable[..., Alone], nursery: trio.Nursery) -> None:
    properties = Properties()
    properties.response_information = "answers/c"

    async def serve(peer: Peer) -> None:
        subscribe = await peer.grant()
        asked = await peer.expect(Publish)
        await peer.send(Puback(asked.packet_identifier))
        topic = subscribe.requests[0].topic_filter
        assert topic.startswith("answers/c/")
        assert topic.encode() in asked.forwarded
        answer = message(topic, b"answer")
        answer.forwarded = b"\x09" + asked.forwarded[asked.forwarded.index(b"\x09") + 1 :]
        await peer.send(message(topic, b"another's"), answer)

    async with alone("5.0", properties) as (client, peer):
        nursery.start_soon(serve, peer)
        assert (await client.request("service", "question")).payload == b"answer"


# -- against the broker itself

DOORS = ("tcp", "ws", "unix", "memory", "memory ws", "drip")


class Place:
    """The broker, and `connect` by one of its doors."""

    def __init__(self, door: str, server: Broker, nursery: trio.Nursery) -> None:
        self.server = server
        self._door = door
        self._nursery = nursery

    def connect(self, **settings: Any) -> Connecting:
        arguments: dict[str, Any] = {"reconnect": False, **settings}
        if self._door in ("tcp", "ws", "unix"):
            arguments["url"] = self.server.listeners[0].url
        else:
            arguments["stream"] = self._stream
            if self._door == "memory ws":
                arguments["url"] = "ws://broker/mqtt"
        return connect(**arguments)

    async def _stream(self) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        far: trio.abc.Stream = theirs
        if self._door == "drip":
            far = Dripping(theirs)
        self._nursery.start_soon(lambda: self.server.serve_stream(far, websocket=self._door == "memory ws"))
        return Dripping(ours) if self._door == "drip" else ours


@pytest.fixture(params=DOORS)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    door: str = request.param
    listeners: list[dict[str, Any]] = []
    if door in ("tcp", "ws"):
        listeners = [{"type": door, "host": "127.0.0.1", "port": 0}]
    elif door == "unix":
        listeners = [{"type": "unix", "path": str(tmp_path / "broker.sock")}]
    async with trio.open_nursery() as nursery:
        async with broker.serve(Config.model_validate({"listeners": listeners})) as server:
            yield Place(door, server, nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", ["3.1", "3.1.1", "5.0"])
async def test_there_and_back(place: Place, version: str) -> None:
    with trio.fail_after(20):
        async with (
            place.connect(version=version, client_identifier="s") as subscriber,
            place.connect(version=version, client_identifier="p") as publisher,
            subscriber.subscribe("a/+", "b/#", qos=2) as messages,
        ):
            for qos in (0, 1, 2):
                for number in range(20):
                    await publisher.publish(f"a/{number}", bytes([qos, number]) * 100, qos=qos)
                received = [await messages.receive() for _ in range(20)]
                assert [(one.topic, one.payload, one.qos) for one in received] == [
                    (f"a/{number}", bytes([qos, number]) * 100, qos) for number in range(20)
                ]
            answer = await publisher.publish("nobody", qos=1)
            assert answer.reason == (ReasonCode.NO_MATCHING_SUBSCRIBERS if version == "5.0" else 0)


async def test_the_server_assigns_an_identifier(place: Place) -> None:
    with trio.fail_after(20):
        async with place.connect(keep_alive=0) as client:
            assert client.client_identifier
            assert client.version == MQTT_5_0
            await client.publish("a", qos=1)


async def test_many_at_once(place: Place) -> None:
    with trio.fail_after(30):
        async with place.connect() as publisher, place.connect(receive_maximum=5) as subscriber:
            async with subscriber.subscribe("#", qos=2, buffer=3) as messages, trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(publisher.publish, f"t/{number}", b"x" * number, 1 + number % 2)
                received = {(await messages.receive()).topic for _ in range(100)}
            assert received == {f"t/{number}" for number in range(100)}


async def test_retained_and_wills(place: Place) -> None:
    with trio.fail_after(20):
        async with place.connect() as watcher:
            await watcher.publish("state", "on", qos=1, retain=True)
            async with watcher.subscribe("state", "will", qos=1) as messages:
                retained = await messages.receive()
                assert (retained.payload, retained.retain) == (b"on", True)
                async with place.connect(will=Will("will", "orderly")):
                    pass
                async with (
                    place.connect(client_identifier="dying", will=Will("will", "gone", qos=1)),
                    place.connect(client_identifier="dying"),
                ):
                    gone = await messages.receive()
                assert (gone.topic, gone.payload) == ("will", b"gone")


async def test_a_session_that_waits(place: Place) -> None:
    def returning() -> Connecting:
        return place.connect(client_identifier="kept", session_expiry_interval=60, clean_start=False)

    with trio.fail_after(20):
        async with returning() as client, client.subscribe("q", qos=1, unsubscribe=False):
            pass
        async with place.connect() as publisher:
            for number in range(5):
                answer = await publisher.publish("q", bytes([number]), qos=1)
                assert answer.reason == ReasonCode.SUCCESS
        async with returning() as client:
            assert client.connack is not None
            assert client.connack.session_present
            async with client.subscribe("q", qos=1) as messages:
                assert [(await messages.receive()).payload for _ in range(5)] == [bytes([n]) for n in range(5)]


async def test_refused_and_not_there(tmp_path: Path) -> None:
    listener = {"type": "ws", "host": "127.0.0.1", "port": 0, "limits": {"versions": [5]}}
    config = Config.model_validate({"listeners": [listener]})
    async with broker.serve(config) as server:
        url = server.listeners[0].url
        with pytest.raises(CannotConnect, match="404"):
            async with connect(url.replace("/mqtt", "/elsewhere")):
                raise AssertionError("entered")
        with pytest.raises(ConnectRefused) as caught:
            async with connect(url, version="3.1.1"):
                raise AssertionError("entered")
        assert caught.value.reason == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
    with pytest.raises(CannotConnect):
        async with connect(url):
            raise AssertionError("entered")
    with pytest.raises(CannotConnect):
        async with connect(f"unix:{tmp_path}/none"):
            raise AssertionError("entered")


async def test_a_request_is_answered(place: Place) -> None:
    async def serve(service: Client) -> None:
        async with service.subscribe("square", qos=1) as requests:
            ready.set()
            async for one in requests:
                answer = Properties()
                answer.correlation_data = one.properties.correlation_data
                assert one.properties.response_topic is not None
                await service.publish(one.properties.response_topic, str(int(one.payload) ** 2), 1, properties=answer)

    ready = trio.Event()
    with trio.fail_after(20):
        async with place.connect() as service, place.connect() as client, trio.open_nursery() as nursery:
            nursery.start_soon(serve, service)
            await ready.wait()
            assert (await client.request("square", "12")).payload == b"144"
            nursery.cancel_scope.cancel()


class Cut(trio.abc.Stream):
    """Breaks after `left` bytes in either direction, somewhere in a packet, and reads in pieces."""

    def __init__(self, stream: trio.abc.Stream, dice: random.Random) -> None:
        self._stream = stream
        self._dice = dice
        self._left = dice.randrange(5, 60) if dice.random() < 0.3 else dice.randrange(60, 3000)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(self._dice.randrange(1, 200)))
        await self._count(len(data))
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(bytes(data)[: self._left])
        await self._count(len(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def _count(self, size: int) -> None:
        self._left = max(self._left - size, 0)
        if not self._left:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("cut")


@statement("MQTT5-4.3.3-10", "MQTT5-4.4.0-1", "MQTT5-4.6.0-1", "MQTT311-4.4.0-1", "MQTT311-4.6.0-1")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", ["3.1.1", "5.0"])
async def test_cut_at_random(autojump_clock: MockClock, version: str, qos: int, seed: int) -> None:
    """Nothing is lost, nothing comes twice at QoS 2, and everything comes in order, wherever a connection breaks."""
    dice = random.Random(seed)
    received: list[int] = []

    async def receive(subscriber: Client) -> None:
        async with subscriber.subscribe("t", qos=qos) as messages:
            subscribed.set()
            while True:
                received.append(int((await messages.receive()).payload))

    async with broker.serve(Config.model_validate({"listeners": []})) as server, trio.open_nursery() as nursery:

        async def stream() -> trio.abc.Stream:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            return Cut(ours, dice)

        def connecting(name: str) -> Connecting:
            return connect(
                stream=stream,
                version=version,
                client_identifier=name,
                clean_start=False,
                reconnect=Backoff(0.1, 0.2),
                wait=False,
            )

        subscribed = trio.Event()
        async with connecting("p") as publisher, connecting("s") as subscriber:
            nursery.start_soon(receive, subscriber)
            await subscribed.wait()
            async with trio.open_nursery() as publishers:
                for number in range(60):
                    publishers.start_soon(publisher.publish, "t", str(number), qos)
                    await trio.sleep(0.01)
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
    assert list(dict.fromkeys(received)) == list(range(60))
    assert qos == 1 or len(received) == 60
