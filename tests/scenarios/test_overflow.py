"""A reader too slow for its messages of QoS 0: what is dropped, and that nobody else notices.

The reader here is a memory stream whose broker side stops being writable, so that every number is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Disconnect, Publish, Subscribe, SubscriptionRequest
from tests.scripted import Peer, properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door

COUNT = 200
SIZE = 200
KEPT_AT_MOST = 170  # of COUNT: what a soft limit of 16 KiB and one write under way can hold


class Gated(trio.abc.HalfCloseableStream):
    """A stream that takes no bytes while `shut`."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self.opened = trio.Event()
        self.opened.set()

    def shut(self) -> None:
        self.opened = trio.Event()

    def open(self) -> None:
        self.opened.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.opened.wait()
        await self.stream.send_all(data)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def wait_send_all_might_not_block(self) -> None:
        await self.opened.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.stream.aclose()


async def slow_subscriber(
    memory: Door, nursery: trio.Nursery, topic_filter: str, version: int = MQTT_5_0, overflow: str = "", qos: int = 0
) -> tuple[Peer, Gated]:
    """A subscriber, and the gate in front of it."""
    near, far = memory_stream_pair()
    gate = Gated(far)
    server = memory.server or await memory.start()
    nursery.start_soon(server.serve_stream, gate)
    peer = Peer(near, version)
    await peer.connect("slow")
    user_properties = [("overflow", overflow)] if overflow else []
    assert await peer.subscribe(topic_filter, qos=qos, user_properties=user_properties) == [qos]
    return peer, gate


async def flood(door: Door, topics: int = 1) -> Peer:
    publisher = await door.connect("p")
    for number in range(COUNT):
        await publisher.send(Publish(f"a/{number % topics}", b"%d" % number + bytes(SIZE)))
    await publisher.quiet()
    return publisher


def dropped(door: Door) -> int:
    """What the broker says that it has dropped."""
    assert door.server is not None
    return door.server.broker.stats.publish_dropped


def numbers(messages: list[Publish]) -> list[int]:
    return [int(message.payload.rstrip(b"\0")) for message in messages]


async def drain(peer: Peer, publisher: Peer) -> list[Publish]:
    """All that waits for `peer`, which is then up to date again: it gets the next message at once."""
    received: list[Publish] = []
    while True:
        with trio.move_on_after(0.1) as idle:
            received.append(await peer.expect(Publish))
        if idle.cancelled_caught:
            break
    await publisher.publish("a/0", b"live")
    assert (await peer.expect(Publish)).payload == b"live"
    return received


@pytest.fixture
def small(memory: Door) -> Door:
    memory.settings.update(outbox_soft_bytes=16 * 1024, outbox_hard_bytes=1024 * 1024)
    return memory


@pytest.mark.parametrize("by_client", [False, True])
async def test_drop_newest(small: Door, version: int, by_client: bool) -> None:
    """What came first stays: no gap in it, and what comes after it is live again."""
    if by_client:
        small.settings["overflow"] = "drop-oldest"
    async with trio.open_nursery() as nursery:
        peer, gate = await slow_subscriber(
            small, nursery, "a/#", MQTT_5_0 if by_client else version, "drop-newest" if by_client else ""
        )
        gate.shut()
        publisher = await flood(small)
        gate.open()
        received = numbers(await drain(peer, publisher))
        assert 20 < len(received) < KEPT_AT_MOST
        assert received == list(range(len(received)))
        assert dropped(small) == COUNT - len(received)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("by_client", [False, True])
async def test_drop_oldest(small: Door, version: int, by_client: bool) -> None:
    """The last are kept, as many as a queue holds; what was under way before stays too, and order with it."""
    small.settings["queue_messages"] = 50
    if not by_client:
        small.settings["overflow"] = "drop-oldest"
    async with trio.open_nursery() as nursery:
        peer, gate = await slow_subscriber(
            small, nursery, "a/#", MQTT_5_0 if by_client else version, "drop-oldest" if by_client else ""
        )
        gate.shut()
        publisher = await flood(small)
        gate.open()
        received = numbers(await drain(peer, publisher))
        assert received == sorted(received)
        assert received[-50:] == list(range(COUNT - 50, COUNT))
        assert 50 < len(received) < KEPT_AT_MOST
        assert dropped(small) == COUNT - len(received)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("by_client", [False, True])
async def test_latest(small: Door, version: int, by_client: bool) -> None:
    """The newest message of every topic arrives, however many came before."""
    if not by_client:
        small.settings["overflow"] = "latest"
    async with trio.open_nursery() as nursery:
        peer, gate = await slow_subscriber(
            small, nursery, "a/#", MQTT_5_0 if by_client else version, "latest" if by_client else ""
        )
        gate.shut()
        publisher = await flood(small, topics=10)
        gate.open()
        received = await drain(peer, publisher)
        assert len(received) < KEPT_AT_MOST
        assert dropped(small) == COUNT - len(received)
        last = {message.topic: number for message, number in zip(received, numbers(received), strict=True)}
        assert last == {f"a/{number % 10}": number for number in range(COUNT - 10, COUNT)}
        for topic in last:
            mine = [
                number for message, number in zip(received, numbers(received), strict=True) if message.topic == topic
            ]
            assert mine == sorted(set(mine))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("by_client", [False, True])
async def test_disconnect(small: Door, version: int, by_client: bool) -> None:
    if not by_client:
        small.settings["overflow"] = "disconnect"
    async with trio.open_nursery() as nursery:
        version = MQTT_5_0 if by_client else version
        peer, gate = await slow_subscriber(small, nursery, "a/#", version, "disconnect" if by_client else "")
        gate.shut()
        await flood(small)
        gate.open()
        received: list[Publish] = []
        while isinstance(packet := await peer.next(), Publish):
            received.append(packet)
        assert numbers(received) == list(range(len(received)))
        if version == MQTT_5_0:
            assert isinstance(packet, Disconnect)
            assert packet.reason == ReasonCode.QUOTA_EXCEEDED
            await peer.closed()
        else:
            assert packet is None
        nursery.cancel_scope.cancel()


async def test_an_unknown_policy_is_refused(memory: Door) -> None:
    peer = await memory.connect("c")
    wanted = properties(user_properties=[("overflow", "whatever")])
    await peer.send(Subscribe(1, [SubscriptionRequest("a")], wanted))
    told = await peer.disconnected(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)
    assert told.reason_string is not None
    assert "drop-oldest" in told.reason_string


@statement("MQTT5-4.5.0-1", "MQTT311-4.5.0-1")
@pytest.mark.parametrize("qos", [1, 2])
async def test_qos_1_and_2_wait_and_lose_nothing(small: Door, version: int, qos: int) -> None:
    async with trio.open_nursery() as nursery:
        peer, gate = await slow_subscriber(small, nursery, "a/#", version, qos=qos)
        gate.shut()
        publisher = await small.connect("p")
        for number in range(COUNT):
            assert await publisher.publish("a/0", b"%d" % number + bytes(SIZE), qos) == 0
        gate.open()
        received = await peer.messages(COUNT)
        assert numbers(received) == list(range(COUNT))
        nursery.cancel_scope.cancel()


async def test_others_do_not_notice(small: Door, version: int) -> None:
    async with trio.open_nursery() as nursery:
        peer, gate = await slow_subscriber(small, nursery, "a/#", version)
        healthy = await small.connect("healthy", version)
        await healthy.subscribe("a/#")
        gate.shut()
        publisher = await small.connect("p")
        sent = [Publish("a/0", b"%d" % number + bytes(SIZE)) for number in range(COUNT)]
        for start in range(0, COUNT, 20):
            await publisher.send(*sent[start : start + 20])
            assert texts(await healthy.messages(20)) == texts(sent[start : start + 20])
        gate.open()
        assert len(await drain(peer, publisher)) < KEPT_AT_MOST
        nursery.cancel_scope.cancel()


async def test_answers_come_even_when_messages_are_dropped(small: Door, version: int) -> None:
    async with trio.open_nursery() as nursery:
        peer, gate = await slow_subscriber(small, nursery, "a/#", version)
        gate.shut()
        publisher = await flood(small)
        await peer.send(Publish("elsewhere", b"x", qos=1, packet_identifier=1))
        await publisher.quiet()
        gate.open()
        while isinstance(packet := await peer.next(), Publish):
            pass
        assert getattr(packet, "packet_identifier", None) == 1
        nursery.cancel_scope.cancel()


async def test_who_asks_without_reading_is_cut(small: Door, version: int) -> None:
    """Acknowledgements are never dropped, so a peer that only asks comes to the hard limit."""
    small.settings.update(outbox_soft_bytes=4096, outbox_hard_bytes=8192)
    async with trio.open_nursery() as nursery:
        peer, gate = await slow_subscriber(small, nursery, "a/#", version)
        gate.shut()
        probe = await small.connect("probe")
        for _ in range(8):
            await peer.send(b"\xc0\x00" * 2000)
        await probe.quiet()
        gate.open()
        while (packet := await peer.next()) is not None and not isinstance(packet, Disconnect):
            pass
        if version == MQTT_5_0:
            assert isinstance(packet, Disconnect)
            assert packet.reason == ReasonCode.QUOTA_EXCEEDED
        else:
            assert packet is None
        nursery.cancel_scope.cancel()
