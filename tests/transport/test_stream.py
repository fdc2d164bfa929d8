"""The stream door in virtual time, over memory streams."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

from broker.core.grants import Grant
from broker.core.ports import Peer, Refusal
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connack, Connect, Disconnect, Pingreq, Will
from broker.transport.complaints import Complaints
from broker.transport.layers import HTTP, MQTT, Layers
from broker.transport.stream import LINGER, WRITE_BYTES, serve_stream
from broker.transport.watermark import Watermark, held_by
from broker.websocket.frames import BINARY, CLOSE, PING, close_frame
from tests.core.parts import Disorder, limits, message, new_broker
from tests.statements import statement
from tests.transport.parts import (
    UPGRADE,
    Broken,
    Grants,
    complete,
    connect,
    frame,
    frames,
    names,
    packets,
    publish,
    soon,
    subscribe,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trio.testing import MockClock

    from broker.core.connection import Connection

PINGREQ = encode(Pingreq(), 5)


class Door:
    """A Broker that serves memory streams; whoever is due is ticked by a task."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.broker = new_broker()
        self.nursery = nursery
        self.limits = limits()
        self.looks = 0  # that were asked for, at the watermark
        self.watermark = Watermark(self.broker, Complaints(), self.watch)
        self.served = 0  # streams that have ended
        self.newest = trio.CancelScope()  # of the newest stream

    def settle(self, now: float) -> None:
        self.broker.flush(now)
        while self.broker.dirty:
            self.broker.flush(now)

    def watch(self, now: float) -> None:
        self.looks += 1

    async def serve(self, stream: trio.abc.Stream, kind: str) -> Connection:
        layers = Layers(self.broker, self.limits, kind, "memory", "memory", "memory", True, trio.current_time())
        scope = self.newest = trio.CancelScope()

        async def run() -> None:
            with scope:
                await serve_stream(stream, layers, self.broker, self.settle, self.watermark)
            self.served += 1

        self.nursery.start_soon(run)
        return layers.connection

    async def open(self, kind: str = MQTT) -> tuple[Client, Connection]:
        ours, theirs = memory_stream_pair()
        return Client(ours), await self.serve(theirs, kind)

    async def connected(self, client_identifier: str = "c", will: Will | None = None) -> tuple[Client, Connection]:
        client, connection = await self.open()
        await client.send(connect(client_identifier, will=will))
        await client.expect("Connack")
        return client, connection


class Client:
    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read(self) -> bytes:
        return bytes(await self.stream.receive_some())

    async def expect(self, *kinds: str) -> None:
        data = b""
        while len(complete(data)) < len(kinds):
            some = await self.read()
            assert some, f"the end after {names(data)}"
            data += some
        assert names(data) == list(kinds)

    async def end(self) -> bytes:
        """What comes until the broker closes."""
        data = b""
        while some := await self.read():
            data += some
        return data


@pytest.fixture
async def door(nursery: trio.Nursery) -> Door:
    return Door(nursery)


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_what_is_sent_is_answered(door: Door, autojump_clock: MockClock) -> None:
    client, _ = await door.connected()
    await client.send(PINGREQ + PINGREQ)
    await client.expect("Pingresp", "Pingresp")


async def test_a_websocket_over_a_stream(door: Door, autojump_clock: MockClock) -> None:
    client, connection = await door.open(HTTP)
    await client.send(UPGRADE + frame(connect()))
    head, _, rest = (await client.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    rest = rest or await client.read()
    ((opcode, payload),) = frames(rest)
    assert opcode == BINARY
    assert names(payload) == ["Connack"]
    start = trio.current_time()
    await client.send(close_frame(1000, "", True))
    assert [opcode for opcode, _ in frames(await client.end())] == [CLOSE]
    assert connection.ended
    assert trio.current_time() == start, "both Closes are there: nothing to wait for"


async def test_a_silent_websocket_is_pinged(door: Door, autojump_clock: MockClock) -> None:
    door.limits = limits(websocket_ping_interval=25.0)
    client, _ = await door.open(HTTP)
    await client.send(UPGRADE + frame(connect()))
    while b"\x20" not in await client.read():
        pass
    start = trio.current_time()
    assert frames(await client.read()) == [(PING, b"")]
    assert trio.current_time() - start == pytest.approx(25.0)
    await trio.sleep(20.0)
    await client.send(frame(PINGREQ))
    assert frames(await client.read()) == [(BINARY, b"\xd0\x00")]
    start = trio.current_time()
    assert frames(await client.read()) == [(PING, b"")]
    assert trio.current_time() - start == pytest.approx(25.0)


@pytest.mark.parametrize(("keep_alive", "pings"), [("strict", 0), ("lenient", 2)])
async def test_where_pongs_keep_alive_a_silent_one_is_pinged_whatever_it_is_sent(
    door: Door, autojump_clock: MockClock, keep_alive: str, pings: int
) -> None:
    door.limits = limits(websocket_ping_interval=10.0, keep_alive=keep_alive)
    client, _ = await door.open(HTTP)
    await client.send(UPGRADE + frame(connect()) + frame(subscribe("a")))
    with trio.move_on_after(1.0):
        while True:
            await client.read()
    got: list[int] = []
    for _ in range(8):
        with trio.move_on_after(4.0):
            while True:
                got += [opcode for opcode, _ in frames(await client.read())]
        door.broker.publish(message("a"), None, trio.current_time())
        door.settle(trio.current_time())
    assert got.count(PING) == pings


async def test_no_ping_in_plain_mqtt_nor_where_none_is_wanted(door: Door, autojump_clock: MockClock) -> None:
    plain, _ = await door.connected()
    door.limits = limits(websocket_ping_interval=0.0)
    client, _ = await door.open(HTTP)
    await client.send(UPGRADE)
    assert (await client.read()).startswith(b"HTTP/1.1 101 ")
    for each in (plain, client):
        with trio.move_on_after(1000.0):
            raise AssertionError(await each.read())


# -- Slow readers


class Slow(trio.abc.HalfCloseableStream):
    """The broker's end of a stream that passes on so many bytes a second."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, rate: float) -> None:
        self.stream = stream
        self.rate = rate
        self.eof = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(len(data) / self.rate)
        await self.stream.send_all(data)

    async def send_eof(self) -> None:
        self.eof = True
        await self.stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(max_bytes))

    async def wait_send_all_might_not_block(self) -> None: ...

    async def aclose(self) -> None:
        await self.stream.aclose()


async def slow(door: Door, rate: float, kind: str = MQTT) -> tuple[Client, Connection, Slow]:
    ours, theirs = memory_stream_pair()
    stream = Slow(theirs, rate)
    return Client(ours), await door.serve(stream, kind), stream


async def test_a_reader_that_takes_nothing_is_given_up(door: Door, autojump_clock: MockClock) -> None:
    client, connection, stream = await slow(door, 1e9)
    await client.send(connect())
    await client.expect("Connack")
    stream.rate = 1e-9
    start = trio.current_time()
    await client.send(PINGREQ)
    assert await client.end() == b""
    assert connection.end_reason == "took no byte for 15 s"
    assert trio.current_time() - start == pytest.approx(15.0)
    assert not stream.eof, "after a send that was cut off nothing more is said"
    assert not door.broker.connections
    assert connection.outbox.size == 0


async def test_a_websocket_that_takes_nothing_is_given_up_as_soon(door: Door, autojump_clock: MockClock) -> None:
    client, connection, stream = await slow(door, 1e9, HTTP)
    await client.send(UPGRADE + frame(connect()))
    while b"\x20" not in await client.read():
        pass
    stream.rate = 1e-9
    start = trio.current_time()
    await client.send(frame(PINGREQ))
    assert await client.end() == b""
    assert trio.current_time() - start == pytest.approx(15.0)
    assert connection.ended


async def test_a_reader_that_takes_a_little_is_not(door: Door, autojump_clock: MockClock) -> None:
    client, connection, stream = await slow(door, 1e9)
    await client.send(connect())
    await client.expect("Connack")
    stream.rate = WRITE_BYTES / 14.0
    connection.outbox.put(publish("a", bytes(200_000)))
    door.settle(trio.current_time())
    await client.expect("Publish")
    assert not connection.ended
    assert connection.outbox.size == 0


async def test_what_waits_is_sent_when_there_is_room(door: Door, autojump_clock: MockClock) -> None:
    door.limits = limits(outbox_soft_bytes=1000)
    client, connection, stream = await slow(door, 1e9)
    await client.send(connect() + subscribe("a", 1))
    await client.expect("Connack", "Suback")
    stream.rate = 10_000
    publisher, _ = await door.connected("p")
    for _ in range(20):
        await publisher.send(publish("a", bytes(500), qos=1))
        await publisher.expect("Puback")
    assert connection.session is not None
    assert connection.session.pending
    await client.expect(*["Publish"] * 20)


# -- The end


@statement("MQTT5-4.13.2-1")
async def test_the_last_word_is_followed_by_the_end_and_a_while_to_read_it(
    door: Door, autojump_clock: MockClock
) -> None:
    client, connection = await door.connected()
    start = trio.current_time()
    connection.end(ReasonCode.SERVER_BUSY, "", start)
    door.settle(start)
    assert names(await client.end()) == ["Disconnect"]
    assert trio.current_time() == start
    await client.send(PINGREQ * 1000)
    await trio.sleep(LINGER / 2)
    assert door.served == 0
    await trio.sleep(LINGER / 2 + 0.001)
    assert [door.served] == [1]
    with pytest.raises(trio.BrokenResourceError):
        await client.send(PINGREQ)


async def test_a_peer_that_closes_ends_the_wait(door: Door, autojump_clock: MockClock) -> None:
    client, connection = await door.connected()
    start = trio.current_time()
    connection.end(ReasonCode.SERVER_BUSY, "", start)
    door.settle(start)
    await client.end()
    await client.stream.aclose()
    await settled()
    assert door.served == 1
    assert trio.current_time() == start


@statement("MQTT5-3.14.4-2", "MQTT311-3.14.4-2")
async def test_a_client_that_disconnects_is_closed_at_once(door: Door, autojump_clock: MockClock) -> None:
    client, _ = await door.connected()
    start = trio.current_time()
    await client.send(encode(Disconnect(), 5))
    assert await client.end() == b""
    await settled()
    assert door.served == 1
    assert trio.current_time() == start


async def test_a_client_that_only_stops_to_send_gets_its_answers(door: Door, autojump_clock: MockClock) -> None:
    client, connection = await door.open()
    await client.send(connect() + publish("a", b"x", qos=1) + PINGREQ)
    await client.stream.send_eof()
    assert names(await client.end()) == ["Connack", "Puback", "Pingresp"]
    assert connection.end_reason == "closed by the peer"


class BrokenStream(trio.abc.Stream):
    """Hands out `data`, then fails to read or to write."""

    def __init__(self, data: bytes, reading: bool) -> None:
        self.data = data
        self.reading = reading
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self.data = self.data, b""
        if not data:
            if self.reading:
                raise trio.BrokenResourceError
            await trio.sleep_forever()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if not self.reading:
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None: ...

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
@pytest.mark.parametrize("reading", [True, False], ids=["reading", "writing"])
@pytest.mark.parametrize("kind", [MQTT, HTTP])
async def test_a_broken_stream_is_a_lost_connection(
    door: Door, autojump_clock: MockClock, reading: bool, kind: str
) -> None:
    watcher, _ = await door.connected("w")
    await watcher.send(subscribe("will"))
    await watcher.expect("Suback")
    hello = connect("c", will=Will("will", b"gone"))
    stream = BrokenStream(hello if kind == MQTT else UPGRADE + frame(hello), reading)
    start = trio.current_time()
    connection = await door.serve(stream, kind)
    await watcher.expect("Publish")
    await settled()
    assert connection.end_reason == "connection lost"
    assert door.served == 1
    assert stream.closed
    # What it said before its writing broke is read to the end, of which this one hears nothing.
    assert trio.current_time() - start == (0 if reading else LINGER)


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
async def test_a_cancelled_door_leaves_nobody_connected(door: Door, autojump_clock: MockClock) -> None:
    client, connection = await door.connected("c", Will("will", b"gone"))
    door.newest.cancel()
    await settled()
    assert door.served == 1
    assert connection.end_reason == "the server stopped"
    assert not door.broker.connections
    assert not door.broker.sessions
    assert door.broker.stats.clients_connected == 0
    assert door.broker.stats.transport("memory").connections == 0
    assert await client.end() == b""


async def test_a_bug_ends_one_connection(
    door: Door, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    door.broker.authenticator = Grants(Broken())
    other, _ = await door.connected("other")
    client, _ = await door.connected("c")
    await client.send(publish("boom"))
    assert names(await client.end()) == ["Disconnect"]

    client, _ = await door.connected("d")
    door.broker.sessions["d"].expiry_interval = 60  # so that its queue is not looked at when the connection ends
    door.broker.sessions["d"].pending = Disorder()
    await client.send(PINGREQ)
    assert names(await client.end()) == ["Pingresp", "Disconnect"]

    client, _ = await door.connected("e")
    door.broker.sessions["e"].pending = Disorder()
    await client.send(b"\x00\x00")
    await client.end()

    await other.send(PINGREQ)
    await other.expect("Pingresp")
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged == [f"a bug, met in the connection of {name}" for name in "cde"]


async def test_a_bug_in_the_very_end_is_survived(
    door: Door, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    client, _ = await door.connected()
    door.broker.sessions["c"].pending = Disorder()
    door.newest.cancel()
    assert await client.end() == b""
    assert "a queue in disorder" in caplog.text
    assert not door.broker.connections


# -- Authenticators that wait


class Waiting:
    """Thinks for ten seconds, or much longer."""

    def __init__(self, answer: Grant | Refusal | Exception, seconds: float = 10.0) -> None:
        self.answer = answer
        self.seconds = seconds

    def authenticate(self, connect: Connect, peer: Peer) -> Awaitable[Grant | Refusal]:
        return self._think()

    async def _think(self) -> Grant | Refusal:
        await trio.sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_an_authenticator_is_awaited(door: Door, autojump_clock: MockClock) -> None:
    door.broker.authenticator = Waiting(Grant())
    client, _ = await door.open()
    start = trio.current_time()
    await client.send(connect() + PINGREQ)
    await client.expect("Connack", "Pingresp")
    assert trio.current_time() - start == pytest.approx(10.0)


async def test_an_awaited_refusal(door: Door, autojump_clock: MockClock) -> None:
    door.broker.authenticator = Waiting(Refusal(ReasonCode.BANNED))
    client, _ = await door.open()
    await client.send(connect() + PINGREQ)
    (connack,) = packets(await client.end())
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.BANNED


async def test_an_authenticator_that_raises_lets_nobody_in(
    door: Door, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    door.broker.authenticator = Waiting(RuntimeError("no directory"))
    client, _ = await door.open()
    await client.send(connect() + PINGREQ)
    assert await client.end() == b""
    assert "no directory" in caplog.text
    assert not door.broker.sessions


async def test_an_authenticator_that_never_answers_is_given_up(door: Door, autojump_clock: MockClock) -> None:
    door.broker.authenticator = Waiting(Grant(), 1e6)
    client, connection = await door.open()
    await client.send(connect())
    await trio.sleep(5.0)
    door.broker.tick(trio.current_time())
    door.settle(trio.current_time())
    assert await client.end() == b""
    await trio.sleep(LINGER + 0.001)
    assert door.served == 1
    assert not door.broker.connections
    assert connection.ended


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
async def test_a_publisher_is_not_read_above_the_watermark(door: Door, autojump_clock: MockClock) -> None:
    reader, _ = await door.connected("r")
    await reader.send(subscribe("a"))
    await reader.expect("Suback")
    client, connection = await door.open()
    await client.send(connect("p", keep_alive=1) + publish("a", b"1"))
    await client.expect("Connack")
    await reader.expect("Publish")
    door.watermark.above = True
    await client.send(publish("a", b"2"))
    await reader.expect("Publish")  # it was being read already
    await client.send(publish("a", b"3") + PINGREQ)
    with trio.move_on_after(20.0):
        await client.read()
        raise AssertionError("it was read")
    assert not connection.ended, "and is not silent"
    door.watermark.above = False
    door.watermark.lowered.set()
    await client.expect("Pingresp")
    await reader.expect("Publish")


async def test_the_end_comes_above_the_watermark_too(door: Door, autojump_clock: MockClock) -> None:
    client, connection = await door.connected("p")
    door.watermark.above = True
    await client.send(publish("a"))
    await settled()
    await client.send(publish("a"))
    connection.end(ReasonCode.SESSION_TAKEN_OVER, "somebody else", trio.current_time())
    door.settle(trio.current_time())
    start = trio.current_time()
    assert names(await client.end()) == ["Disconnect"]
    await client.stream.aclose()
    await soon(lambda: door.served == 1)
    assert trio.current_time() - start < 1.0


async def test_what_a_stream_has_not_taken_counts(door: Door, autojump_clock: MockClock) -> None:
    pipe, theirs = trio.testing.lockstep_stream_pair()
    connection = await door.serve(theirs, MQTT)
    await pipe.send_all(connect("slow"))
    assert names(bytes(await pipe.receive_some(100_000))) == ["Connack"]
    await settled()
    assert not door.watermark.writing
    looks = door.looks
    connection.outbox.put(publish("a", bytes(1000)))
    door.settle(trio.current_time())
    await settled()
    assert [held_by(layers) for layers in door.watermark.writing] == [connection.outbox.size]
    assert door.looks == looks + 1, "the pump is asked to look"
    await pipe.receive_some(100_000)
    await settled()
    assert not door.watermark.writing
    connection.outbox.put(publish("a", bytes(1000)))
    door.settle(trio.current_time())
    await settled()
    door.newest.cancel()
    await settled()
    assert not door.watermark.writing


async def test_who_sends_too_fast_is_read_later(door: Door, autojump_clock: MockClock) -> None:
    door.limits = limits(messages_per_second=10)
    client, connection = await door.connected("p")
    start = trio.current_time()
    await client.send(publish("a") * 30 + PINGREQ)
    await client.send(PINGREQ)
    await client.expect("Pingresp", "Pingresp")
    assert trio.current_time() - start == pytest.approx(2.0, abs=0.1)
    await client.send(publish("a") * 1000)
    await settled()
    start = trio.current_time()
    connection.end(ReasonCode.SESSION_TAKEN_OVER, "somebody else", start)
    door.settle(start)
    assert names(await client.end()) == ["Disconnect"]
    await client.stream.aclose()
    await soon(lambda: door.served == 1)
    assert trio.current_time() - start < 1.0, "the end waits for nothing"
