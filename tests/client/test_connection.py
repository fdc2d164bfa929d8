"""One Network Connection: reading, writing, back-pressure, its end."""

from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from broker.client.connection import CLOSE_TIMEOUT, WRITE_TIMEOUT, Connection
from broker.client.errors import CannotConnect, ClientError, Disconnected
from broker.client.protocol import Protocol, Settings
from broker.client.publications import Publication
from broker.client.subscriptions import Subscription
from broker.client.transport import Wire
from broker.packets.encode import publish_parts
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    SubscriptionRequest,
)
from tests.client.server import Peer, message
from tests.statements import statement


class Counted(trio.abc.Stream):
    """Counts writes, and lets none end while `stalled`; reads at most `chunk` bytes at a time, none once `broken`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.writes = 0
        self.stalled = False
        self.broken = False
        self.chunk = 65_536

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self.stream.receive_some(self.chunk))
        if self.broken:
            raise trio.BrokenResourceError("reset")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.writes += 1
        if self.stalled:
            await trio.sleep_forever()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


class Pair:
    """A Connection running in `nursery`, and the Server at its other end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        settings = Settings()
        settings.keep_alive = 40
        self.protocol = Protocol(settings)
        ours, theirs = memory_stream_pair()
        self.stream = Counted(ours)
        self.peer = Peer(theirs)
        self.changes = 0
        self.connection = Connection(self.protocol, Wire(self.stream), self._changed)
        self.error: ClientError | None = None
        self.ended = trio.Event()
        nursery.start_soon(self._run)

    async def connect(self) -> None:
        await self.peer.expect(Connect)
        await self.peer.send(Connack(ReasonCode.SUCCESS))
        await wait_all_tasks_blocked()

    def publish(self, qos: int, payload: bytes = b"") -> Publication:
        head, tail = publish_parts(b"a", payload, qos, False, False, MQTT_5_0)
        publication = Publication(head, tail, qos, False)
        self.protocol.publish(publication)
        self.connection.wake()
        return publication

    async def subscribed(self, limit: int) -> Subscription:
        subscription = Subscription([SubscriptionRequest("#", 1)], limit)
        self.protocol.subscribe(subscription)
        self.connection.wake()
        await self.peer.grant()
        return subscription

    async def over(self) -> ClientError:
        """Wait for the end; why it came."""
        await self.ended.wait()
        assert self.error is not None
        return self.error

    def _changed(self) -> None:
        self.changes += 1

    async def _run(self) -> None:
        self.error = await self.connection.run()
        self.ended.set()


async def test_packets_are_gathered(nursery: trio.Nursery) -> None:
    pair = Pair(nursery)
    await pair.connect()
    assert pair.changes == 1
    before = pair.stream.writes
    publications = [pair.publish(0, bytes([number])) for number in range(50)]
    payloads = [(await pair.peer.expect(Publish)).payload for _ in range(50)]
    assert payloads == [bytes([number]) for number in range(50)]
    assert pair.stream.writes == before + 1
    await wait_all_tasks_blocked()
    assert all(publication.done for publication in publications)


async def test_pings(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    start = trio.current_time()
    for count in range(1, 5):
        await pair.peer.expect(Pingreq)
        assert trio.current_time() - start == count * 30
        await pair.peer.send(Pingresp())
    await pair.peer.expect(Pingreq)
    disconnect = await pair.peer.expect(Disconnect)
    assert disconnect.reason == ReasonCode.UNSPECIFIED_ERROR
    assert trio.current_time() - start == 150 + 10
    error = await pair.over()
    assert isinstance(error, Disconnected)
    assert error.reason == ReasonCode.KEEP_ALIVE_TIMEOUT


async def test_a_keep_alive_that_the_server_shortens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.peer.expect(Connect)
    properties = Properties()
    properties.server_keep_alive = 4
    await pair.peer.send(Connack(ReasonCode.SUCCESS, False, properties))
    start = trio.current_time()
    await pair.peer.expect(Pingreq)
    assert trio.current_time() - start == 3


async def test_no_connack(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.peer.expect(Connect)
    await pair.peer.closed()
    assert trio.current_time() == 10 + CLOSE_TIMEOUT


@pytest.mark.parametrize("how", ["closed", "broken", "garbage"])
async def test_an_end_before_connack(nursery: trio.Nursery, autojump_clock: MockClock, how: str) -> None:
    pair = Pair(nursery)
    await pair.peer.expect(Connect)
    if how == "garbage":
        await pair.peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    else:
        pair.stream.broken = how == "broken"
        await pair.peer.stream.aclose()
    error = await pair.over()
    assert isinstance(error, CannotConnect)
    said = {"closed": "the Server closed .* before CONNACK", "broken": "broke off .* before CONNACK", "garbage": "^0x8"}
    assert re.search(said[how], str(error)), error


async def test_the_server_closes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    await pair.peer.stream.aclose()
    error = await pair.over()
    assert isinstance(error, Disconnected)
    assert error.reason is None


async def test_the_server_says_why(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    await pair.peer.send(Disconnect(ReasonCode.SERVER_BUSY))
    error = await pair.over()
    assert isinstance(error, Disconnected)
    assert error.reason == ReasonCode.SERVER_BUSY
    await pair.peer.closed()


async def test_a_fault_of_the_server_is_answered(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    await pair.peer.send(b"\x00\x00")
    disconnect = await pair.peer.expect(Disconnect)
    assert disconnect.reason == ReasonCode.MALFORMED_PACKET
    await pair.peer.closed()


@statement("MQTT5-3.14.4-2", "MQTT311-3.14.4-1")
async def test_the_end_flushes_and_closes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    last = pair.publish(0, b"last")
    pair.protocol.close()
    pair.connection.end()
    assert (await pair.peer.expect(Publish)).payload == b"last"
    await pair.peer.expect(Disconnect)
    await pair.peer.closed()  # though we did not close
    assert trio.current_time() == CLOSE_TIMEOUT
    assert last.done


async def test_a_write_that_does_not_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    pair.stream.stalled = True
    pair.publish(1)
    error = await pair.over()
    assert isinstance(error, Disconnected)
    assert trio.current_time() == WRITE_TIMEOUT


async def test_the_end_does_not_wait_for_a_write_that_does_not_end(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    pair = Pair(nursery)
    await pair.connect()
    pair.stream.stalled = True
    pair.publish(1)
    await wait_all_tasks_blocked()
    pair.protocol.close()
    pair.connection.end()
    await pair.over()
    assert trio.current_time() == CLOSE_TIMEOUT


async def test_a_full_buffer_stops_reading(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    subscription = await pair.subscribed(limit=4)
    pair.stream.chunk = 7  # one message
    await pair.peer.send(*(message("a", bytes([number])) for number in range(20)))
    received: list[bytes] = []
    while len(received) < 20:
        await wait_all_tasks_blocked()
        assert 1 <= len(subscription.buffer) <= 4
        received.append(pair.protocol.subscriptions.take(subscription).payload)
        pair.connection.read_on()
    assert received == [bytes([number]) for number in range(20)]
    assert subscription.dropped == 0


async def test_keep_alive_goes_on_while_nothing_is_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    subscription = await pair.subscribed(limit=1)
    await pair.peer.send(message("a"))
    for _ in range(5):
        await pair.peer.expect(Pingreq)
        await pair.peer.send(Pingresp())
    assert not pair.ended.is_set()
    pair.protocol.subscriptions.take(subscription)
    pair.connection.read_on()
    await pair.peer.expect(Pingreq)
    assert not pair.ended.is_set()


async def test_who_waits_for_an_answer_gets_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    pair = Pair(nursery)
    await pair.connect()
    subscription = await pair.subscribed(limit=2)
    for number in range(4):
        await pair.peer.send(message("a", bytes([number])))
        await wait_all_tasks_blocked()
    publication = pair.publish(1)
    packet = await pair.peer.expect(Publish)
    await pair.peer.send(Puback(packet.packet_identifier))
    await wait_all_tasks_blocked()
    assert not publication.done  # nobody waits for it
    pair.protocol.awaited = 1
    pair.connection.read_on()
    await wait_all_tasks_blocked()
    assert publication.done
    assert (len(subscription.buffer), subscription.dropped) == (2, 2)
    pair.protocol.awaited = 0
    await pair.peer.send(message("a", b"\x09"))
    await wait_all_tasks_blocked()
    for _ in range(2):
        pair.protocol.subscriptions.take(subscription)
    pair.connection.read_on()
    await wait_all_tasks_blocked()
    assert [waiting.payload for waiting, _ in subscription.buffer] == [b"\x09"]


async def test_cancelled(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    settings = Settings()
    ours, theirs = memory_stream_pair()
    connection = Connection(Protocol(settings), Wire(ours), lambda: None)
    with trio.move_on_after(1):
        await connection.run()
    peer = Peer(theirs)
    await peer.expect(Connect)
    await peer.closed()
