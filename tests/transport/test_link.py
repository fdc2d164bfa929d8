"""A Link over real sockets, with a Pump whose rounds and time the test makes."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, Disconnect, Pingreq, Publish, Will
from broker.transport.link import FEW_BYTES, LINGER, SMALL_READS
from broker.transport.poller import READ, WRITE
from broker.websocket.frames import CLOSE, close_frame
from tests.core.parts import limits
from tests.statements import statement
from tests.transport.parts import (
    UPGRADE,
    Bench,
    connect,
    frame,
    frames,
    names,
    packets,
    publish,
    subscribe,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PINGREQ = encode(Pingreq(), 5)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


async def test_what_is_sent_is_answered(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    client.send(PINGREQ + PINGREQ)
    client.expect("Pingresp", "Pingresp")
    assert bench.link.interest == READ
    assert bench.link.unsent is None


async def test_after_little_for_long_comes_much(bench: Bench) -> None:
    """Room for little is made then; what does not fit is read in the next rounds, and there is room again."""
    client = bench.connected(bench.listen())
    for _ in range(SMALL_READS):
        client.send(PINGREQ)
        client.expect("Pingresp")
    assert bench.link.small_reads >= SMALL_READS
    received = bench.broker.stats.total().bytes_received
    much = publish("a", bytes(3 * FEW_BYTES))
    client.send(much + PINGREQ)
    client.expect("Pingresp")
    assert bench.broker.stats.total().bytes_received == received + len(much) + len(PINGREQ)
    assert bench.link.small_reads == 0


# -- Slow readers


@statement("MQTT5-4.2.0-1", "MQTT5-4.6.0-6", "MQTT311-4.6.0-6")
async def test_short_writes_lose_nothing_and_change_no_order(bench: Bench) -> None:
    listener = bench.listen()
    client = bench.connected(listener, "s", receive_buffer=4096)
    client.send(subscribe("#"))
    client.expect("Suback")
    publisher = bench.connected(listener, "p")
    link = bench.fill("s")
    assert link.interest == READ | WRITE
    assert list(bench.pump.stalled) == [link]
    for number in range(20):
        publisher.send(publish("a", bytes([number]) * 5000))
    data = b""

    def all_came() -> bool:
        nonlocal data
        data += client.read()
        return data.endswith(bytes([19]) * 5000)

    bench.until(all_came)
    came = [packet for packet in packets(data) if isinstance(packet, Publish)]
    assert {packet.payload for packet in came if packet.topic == "fill"} == {b"x" * 32_768}
    assert [packet.payload for packet in came if packet.topic == "a"] == [bytes([n]) * 5000 for n in range(20)]
    assert [packet.topic for packet in came] == sorted((packet.topic for packet in came), reverse=True)
    bench.settle()
    assert link.interest == READ
    assert link.unsent is None
    assert link.layers.outbox.size == 0
    assert not bench.pump.stalled


async def test_a_full_socket_counts_until_the_bytes_have_left(bench: Bench) -> None:
    bench.connected(bench.listen(), receive_buffer=4096)
    link = bench.fill()
    outbox = link.layers.outbox
    assert link.unsent is not None
    assert outbox.size >= len(link.unsent) > 0
    before = outbox.size
    outbox.put(PINGREQ)
    bench.pump.flush(bench.now)
    assert outbox.size == before + 2


async def test_a_reader_that_takes_nothing_is_given_up(bench: Bench) -> None:
    bench.limits.write_stall_timeout = 3.0
    client = bench.connected(bench.listen(), receive_buffer=4096)
    link = bench.fill()
    bench.advance(2.9)
    assert not link.closed
    bench.advance(0.2)
    assert link.closed
    assert link.layers.connection.end_reason == "took no byte for 3 s"
    assert not bench.pump.stalled
    assert not bench.pump.links
    assert client.end().count(b"fill") > 0


async def test_a_reader_that_takes_a_little_is_not(bench: Bench) -> None:
    bench.limits.write_stall_timeout = 3.0
    client = bench.connected(bench.listen(), receive_buffer=4096)
    link = bench.fill()
    for _ in range(5):
        while link.unsent is None:
            bench.fill()
        bench.advance(2.0)
        bench.now += 0.5
        bench.until(lambda: bool(client.read()) and link.progress_at == bench.now)
    assert not link.closed


async def test_stalling_often_leaves_one_deadline(bench: Bench) -> None:
    client = bench.connected(bench.listen(), receive_buffer=4096)
    before = len(bench.pump.deadlines)
    link = bench.link
    for _ in range(20):
        bench.fill()
        bench.until(lambda: bool(client.read()) and link.unsent is None)
    bench.fill()
    assert len(bench.pump.deadlines) == before + 2, "the stall and the look at the watermark"


async def test_the_end_of_a_slow_reader_is_met_once(bench: Bench) -> None:
    # It would be reported as readable for as long as bytes wait for it: a busy loop.
    client = bench.connected(bench.listen(), receive_buffer=4096)
    link = bench.fill()
    client.half_close()
    assert link.layers.connection.ended
    assert not link.closed, "what it may still read goes out"
    assert not link.interest & READ
    bench.settle()
    rounds = bench.wakes
    for _ in range(20):
        bench.round(0.001)
    assert bench.wakes <= rounds + 1
    client.end()
    bench.settle()
    assert link.closed


async def test_a_paused_link_learns_of_a_reset_once(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    link = bench.link
    link.pause()
    client.abort()
    assert link.closed
    rounds = bench.wakes
    for _ in range(20):
        bench.round(0.001)
    assert bench.wakes == rounds


async def test_a_paused_link_over_a_unix_socket_learns_of_the_end_once(bench: Bench, tmp_path: Path) -> None:
    client = bench.connected(bench.listen("unix", path=str(tmp_path / "s")))
    link = bench.link
    link.pause()
    client.close()
    assert link.closed
    rounds = bench.wakes
    for _ in range(20):
        bench.round(0.001)
    assert bench.wakes == rounds


async def test_a_paused_link_whose_peer_half_closes_costs_nothing(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    link = bench.link
    link.pause()
    client.half_close()
    rounds = bench.wakes
    for _ in range(20):
        bench.round(0.001)
    assert bench.wakes == rounds
    link.resume()
    bench.settle()
    assert link.closed


# -- Reading or not


async def test_a_paused_link_is_not_read_and_loses_nothing(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    link = bench.link
    link.pause()
    link.pause()
    assert link.interest == 0
    client.send(PINGREQ)
    assert client.read() == b""
    link.resume()
    link.resume()
    assert link.interest == READ
    client.expect("Pingresp")


async def test_a_paused_link_is_written(bench: Bench) -> None:
    client = bench.connected(bench.listen(), receive_buffer=4096)
    link = bench.fill()
    link.pause()
    assert link.interest == WRITE
    bench.until(lambda: bool(client.read()) and link.unsent is None)
    assert link.interest == 0


# -- The end


@statement("MQTT5-4.13.2-1")
async def test_the_last_word_reaches_a_client_that_floods_us(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    link = bench.link
    link.layers.connection.end(ReasonCode.SERVER_BUSY, "", bench.now)
    # It has filled its half of the connection before it reads a word.
    client.socket.setblocking(False)
    sent = 0
    flood = publish("a", bytes(60_000))
    try:
        while sent < 64 * len(flood):
            sent += client.socket.send(flood)
    except BlockingIOError:
        pass
    assert sent > 65_536
    bench.settle()
    assert link.shut
    (disconnect,) = packets(client.end())
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.SERVER_BUSY
    assert not client.reset
    client.close()
    assert link.closed


@statement("MQTT311-4.8.0-2")
async def test_a_flood_before_connack_is_no_obstacle_either(bench: Bench) -> None:
    client = bench.client(bench.listen())
    client.send(b"\x10\x80\x80\x04" + bytes(100_000))
    data = client.end()
    assert data == b"" or names(data) == ["Connack"]
    assert not client.reset


async def test_a_client_that_does_not_close_is_closed(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    link = bench.link
    link.layers.connection.end(ReasonCode.SERVER_BUSY, "", bench.now)
    bench.settle()
    assert names(client.end()) == ["Disconnect"]
    bench.advance(LINGER - 0.1)
    assert not link.closed
    client.send(PINGREQ)
    bench.advance(0.2)
    assert link.closed
    assert not bench.pump.links


async def test_a_paused_link_ends_in_order(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    link = bench.link
    link.pause()
    link.layers.connection.end(ReasonCode.SERVER_BUSY, "", bench.now)
    bench.settle()
    assert names(client.end()) == ["Disconnect"]
    client.close()
    assert link.closed, "it is read again, to its end"


@statement("MQTT5-3.14.4-2", "MQTT311-3.14.4-2")
async def test_a_client_that_disconnects_is_closed_at_once(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    link = bench.link
    client.send(encode(Disconnect(), 5))
    assert link.closed
    assert client.end() == b""
    assert not client.reset


@statement("RFC6455-7.1.1")
async def test_the_server_closes_a_websocket_first(bench: Bench) -> None:
    client = bench.client(bench.listen("ws"))
    client.send(UPGRADE + frame(connect()))
    client.read()
    link = bench.link
    client.send(close_frame(1000, "", True))
    assert link.closed
    assert [opcode for opcode, _ in frames(client.end())] == [CLOSE]
    assert not client.reset


@statement("RFC6455-7.1.1", "RFC6455-7.1.2")
async def test_the_server_shuts_its_half_behind_its_close(bench: Bench) -> None:
    client = bench.client(bench.listen("ws"))
    client.send(UPGRADE + frame(connect()))
    client.read()
    link = bench.link
    link.layers.connection.end(ReasonCode.SERVER_SHUTTING_DOWN, "", bench.now)
    bench.settle()
    assert [opcode for opcode, _ in frames(client.end())][-1] == CLOSE
    assert link.shut
    assert not link.closed
    client.send(close_frame(1001, "", True))
    assert not link.closed
    client.close()
    assert link.closed


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_lost_connection_has_its_will(bench: Bench, how: str) -> None:
    listener = bench.listen()
    watcher = bench.connected(listener, "w")
    watcher.send(subscribe("will"))
    watcher.expect("Suback")
    client = bench.client(listener)
    client.send(connect("c", will=Will("will", b"gone")))
    client.expect("Connack")
    link = bench.link
    if how == "close":
        client.close()
        assert link.layers.connection.end_reason == "closed by the peer"
    else:
        client.abort()
        assert link.layers.connection.end_reason == "connection lost: Connection reset by peer"
    assert link.closed
    watcher.expect("Publish")


async def test_a_client_that_only_stops_to_send_gets_its_answers(bench: Bench) -> None:
    client = bench.client(bench.listen())
    client.socket.sendall(connect("c", MQTT_3_1_1) + publish("a", b"x", 1, MQTT_3_1_1) + PINGREQ)
    client.half_close()
    assert names(client.end(), MQTT_3_1_1) == ["Connack", "Puback", "Pingresp"]
    assert not client.reset
    assert not bench.pump.links


async def test_writing_into_a_reset_connection_ends_it(bench: Bench) -> None:
    client = bench.connected(bench.listen(), receive_buffer=4096)
    link = bench.fill()
    link.pause()
    client.abort()
    assert link.closed
    assert link.layers.connection.ended
    assert not bench.pump.links


class Jammed(socket.socket):
    """Sends no more, for a reason that does not end the connection."""

    def send(self, data: object, flags: int = 0) -> int:
        raise OSError(errno.ENOBUFS, "No buffer space available")


async def test_a_socket_that_fails_to_send_is_read_for_a_while_only(bench: Bench) -> None:
    listener = bench.listen()
    watcher, client = bench.connected(listener, "w"), bench.connected(listener)
    watcher.send(subscribe("a"))
    watcher.expect("Suback")
    link = bench.link
    link.socket = Jammed(fileno=link.socket.detach())
    client.send(PINGREQ)
    client.send(publish("a"))
    watcher.expect("Publish")
    bench.advance(LINGER)
    assert link.closed
    assert link.layers.connection.end_reason == "connection lost: No buffer space available"
    assert "c" not in bench.broker.sessions
    client.end()


async def test_abort_is_at_once_and_once(bench: Bench) -> None:
    client = bench.connected(bench.listen(), receive_buffer=4096)
    link = bench.fill()
    link.abort("enough", bench.now)
    link.abort("again", bench.now)
    assert link.closed
    assert link.layers.connection.end_reason == "enough"
    assert link.layers.outbox.size == 0
    assert link.layers.outbox.sink is None
    assert link.socket.fileno() == -1
    assert bench.broker.stats.transport("tcp").connections == 0
    assert not bench.broker.connections
    client.end()


async def test_a_closed_link_does_nothing_more(bench: Bench) -> None:
    bench.connected(bench.listen())
    link = bench.link
    link.close()
    link.pause()
    link.resume()
    link.layers.outbox.put(PINGREQ)
    link.flush()
    assert link.unsent is None


class Unshuttable(socket.socket):
    def shutdown(self, how: int) -> None:
        raise OSError("not connected")


async def test_a_socket_that_cannot_be_shut_is_closed(bench: Bench) -> None:
    bench.connected(bench.listen())
    link = bench.link
    link.socket = Unshuttable(fileno=link.socket.detach())
    link.layers.connection.end(ReasonCode.SERVER_BUSY, "", bench.now)
    bench.settle()
    assert link.closed


async def test_bytes_are_taken_as_they_fit(bench: Bench) -> None:
    """An outbox of many pieces goes out in writes of a bounded size: a short write keeps little."""
    bench.limits.outbox_hard_bytes = 64 * 1024 * 1024
    bench.connected(bench.listen(of=limits()), receive_buffer=4096)
    link = bench.link
    link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(200):
        link.layers.outbox.put(publish("a", bytes(10_000)))
    bench.pump.flush(bench.now)
    assert link.unsent is not None
    assert len(link.unsent) < 300_000
    assert link.layers.outbox.size > 1_500_000
