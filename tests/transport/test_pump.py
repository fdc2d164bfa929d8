"""The Pump: rounds over real sockets in the test's own time, then as the task that it is."""

from __future__ import annotations

import errno
import gc
import os
import resource
import socket
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
import trio

from broker.core.grants import Grant
from broker.core.ports import Refusal
from broker.packets.encode import PINGRESP_PACKET, encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, Connack, Disconnect, Pingreq
from broker.transport.pump import ACCEPT_PAUSE, ACCEPTED_AT_ONCE, BUSY, LONG_LOOK, LOOK, WATERMARK_LOOK, Pump
from broker.websocket.frames import BINARY, PING
from tests.core.parts import Disorder, LateStore, limits, new_broker
from tests.statements import statement
from tests.transport.parts import (
    UPGRADE,
    Bench,
    Broken,
    Grants,
    Running,
    Waiting,
    accept_unfit,
    complete,
    connect,
    errors,
    exhaust,
    frame,
    frames,
    names,
    packets,
    publish,
    soon,
    subscribe,
    warnings,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from typing import Self

    from trio.testing import MockClock

    from broker.core.ports import Peer
    from broker.packets.types import Connect

PINGREQ = encode(Pingreq(), 5)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


# -- Bugs


@statement("MQTT5-4.13.2-1", "MQTT311-4.8.0-2")
async def test_a_bug_is_logged_once_and_ends_one_connection(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.broker.authenticator = Grants(Broken())
    listener = bench.listen()
    one, other = bench.connected(listener, "one"), bench.connected(listener, "other")
    one.send(publish("boom") + publish("boom"))
    (disconnect,) = packets(one.end())
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
    assert not one.reset
    other.send(PINGREQ)
    other.expect("Pingresp")
    assert errors(caplog) == ["a bug, met in the connection of one"]
    assert "out of order" in caplog.text
    one.close()
    assert [link.layers.connection.name for link in bench.pump.links.values()] == ["other"]


async def test_an_authenticator_that_raises_lets_nobody_in(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.broker.authenticator = Grants(RuntimeError("no directory"))
    client = bench.client(bench.listen())
    client.send(connect() + publish("a"))
    assert client.end() == b""
    assert len(errors(caplog)) == 1
    assert not bench.broker.sessions


async def test_a_bug_in_a_flush_ends_one_connection(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    listener = bench.listen()
    one, other = bench.connected(listener, "one"), bench.connected(listener, "other")
    session = bench.broker.sessions["one"]
    session.expiry_interval = 60  # so that its queue is not looked at when the connection ends
    session.pending = Disorder()
    one.socket.sendall(PINGREQ)
    other.socket.sendall(PINGREQ)
    bench.settle()
    assert names(one.end()) == ["Pingresp", "Disconnect"]
    other.expect("Pingresp")
    assert errors(caplog) == ["a bug, met in the connection of one"]


async def test_a_bug_on_the_way_to_the_end_still_ends_it(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    client = bench.connected(bench.listen())
    bench.broker.sessions["c"].pending = Disorder()
    client.send(b"\x00\x00")  # a malformed packet
    client.end()
    assert not bench.pump.links
    assert not bench.broker.connections
    assert errors(caplog) == ["a bug, met in the connection of c"]


async def test_a_bug_that_the_end_repeats_is_survived(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.broker.authenticator = Grants(Broken())
    client = bench.connected(bench.listen())
    bench.broker.sessions["c"].pending = Disorder()
    client.send(publish("boom"))
    client.end()
    assert not bench.pump.links
    assert errors(caplog) == ["a bug, met in the connection of c", "another, met while ending it"]


class Jammed(bytearray):
    """Takes nothing more."""

    def __iadd__(self, other: object) -> Self:
        raise RuntimeError("no ball")


async def test_bugs_in_what_is_due_end_one_connection(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    listener = bench.listen("ws", limits(websocket_ping_interval=10.0))
    one, other = bench.client(listener), bench.client(listener)
    for number, client in enumerate((one, other)):
        client.send(UPGRADE + frame(connect(str(number))))
        client.read()
    first = next(iter(bench.pump.links.values()))
    first.layers._control = Jammed()
    bench.advance(10.0)
    assert frames(other.read()) == [(PING, b"")]
    assert frames(one.end())[0][0] == BINARY
    assert errors(caplog) == ["a bug, met in the connection of 0"]


async def test_closing_is_complete_whatever_a_connection_does(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    listener = bench.listen()
    clients = [bench.connected(listener, str(number)) for number in range(3)]
    for session in bench.broker.sessions.values():
        session.pending = Disorder()
    bench.pump.close()
    assert not bench.pump.links
    assert len(errors(caplog)) == 3
    for client in clients:
        client.read()
        assert client.ended


async def test_a_fault_while_writing_to_a_receiver_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    listener = bench.listen()
    receiver, publisher = bench.connected(listener, "r"), bench.connected(listener, "p")
    receiver.send(subscribe("a"))
    receiver.expect("Suback")
    session = bench.broker.sessions["r"]
    bench.broker.fault(session, RuntimeError("half a message"))
    publisher.send(PINGREQ)
    publisher.expect("Pingresp")
    assert names(receiver.end()) == ["Disconnect"]
    assert errors(caplog) == ["a bug, met with r"]


# -- Accepting


async def test_many_are_accepted_at_a_time(bench: Bench) -> None:
    listener = bench.listen()
    count = ACCEPTED_AT_ONCE + 3
    waiting = [socket.create_connection((listener.host, listener.port)) for _ in range(count)]
    assert bench.round(1.0)
    assert len(bench.pump.links) == ACCEPTED_AT_ONCE
    bench.settle()
    assert len(bench.pump.links) == listener.connections == count
    for each in waiting:
        each.close()
    bench.settle()
    assert listener.connections == 0


async def test_a_full_listener_lets_nobody_in_until_one_leaves(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    listener = bench.listen(of=limits(max_connections=2))
    first = bench.connected(listener, "1")
    second = bench.connected(listener, "2")
    for _ in range(3):
        third = bench.client(listener)
        assert third.end() == b""
    second.send(PINGREQ)
    second.expect("Pingresp")
    (line,) = warnings(caplog)
    assert line.startswith(f"{listener.url}: 127.0.0.1:")
    assert line.endswith(" is not let in: 2 connections of this listener (limits.max_connections)")
    first.close()
    bench.connected(listener, "3")
    assert listener.connections == 2


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_stranger_is_no_proxy(bench: Bench, caplog: pytest.LogCaptureFixture, trusted: bool) -> None:
    listener = bench.listen()
    listener.proxy_protocol = True
    listener.trusted_proxies = (ip_network("127.0.0.0/8" if trusted else "10.0.0.0/8"),)
    client = bench.client(listener)
    if trusted:
        client.send(b"PROXY UNKNOWN\r\n" + connect())
        client.expect("Connack")
        assert warnings(caplog) == []
    else:
        client.end()
        assert "is no trusted proxy" in warnings(caplog)[0]
        assert listener.connections == 0


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_without_descriptors_new_connections_wait(
    bench: Bench, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    listener = bench.listen()
    present = bench.connected(listener, "present")
    exhausted = exhaust(listener, error)
    waiting = bench.client(listener)
    assert listener.paused
    rounds = bench.wakes
    for _ in range(10):
        bench.round(0.001)
    assert bench.wakes == rounds, "a backlog that can't be emptied is not looked at"
    present.send(PINGREQ)
    present.expect("Pingresp")
    bench.advance(ACCEPT_PAUSE)
    assert listener.paused, "there is still none"
    exhausted.failures = 0
    bench.advance(ACCEPT_PAUSE)
    assert not listener.paused
    waiting.send(connect())
    waiting.expect("Connack")
    (line,) = errors(caplog)
    assert line.startswith(f"{listener.url}: cannot accept: ")
    assert "ulimit -n" in line


async def test_no_descriptors_are_left_in_earnest(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    listener = bench.listen()
    present = bench.connected(listener, "present")
    raw = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raw.fileno() + 1, hard))
    try:
        raw.connect((listener.host, listener.port))
        held = []
        try:
            while True:
                held.append(os.dup(raw.fileno()))
        except OSError:
            pass
        bench.settle()
        assert listener.paused
        present.send(PINGREQ)
        present.expect("Pingresp")
        for fd in held:
            os.close(fd)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    bench.advance(ACCEPT_PAUSE)
    assert len(bench.pump.links) == 2
    raw.close()
    assert len(errors(caplog)) == 1


async def test_a_connection_that_is_gone_before_it_was_here_is_passed_over(bench: Bench) -> None:
    listener = bench.listen()
    exhaust(listener, errno.ECONNABORTED).failures = 3
    bench.connected(listener)
    assert not listener.paused


async def test_a_listener_that_only_fails_is_no_busy_loop(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    listener = bench.listen()
    exhausted = exhaust(listener, errno.EINVAL)
    client = bench.client(listener)
    assert listener.paused
    assert errors(caplog) == [f"{listener.url}: cannot accept: Invalid argument"]
    exhausted.failures = 0
    bench.advance(ACCEPT_PAUSE)
    client.send(connect())
    client.expect("Connack")


@pytest.mark.parametrize("error", [OSError(errno.EINVAL, "Invalid argument"), RuntimeError("a bug")])
async def test_a_connection_that_cannot_be_set_up_leaves_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    listener = bench.listen()
    accept_unfit(listener, error)
    client = bench.client(listener)
    assert client.end() == b""
    assert not bench.pump.links
    assert not bench.broker.connections
    assert listener.connections == 0
    assert len(caplog.records) == 1
    assert listener.url in caplog.text
    listener.socket = socket.socket(fileno=listener.socket.detach())
    bench.connected(listener, "next")


async def test_a_poller_without_room_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # A link known to the pump and not to the poller would take the next one's descriptor with it when it ends.
    listener = bench.listen()
    add = bench.pump.poller.add

    def full(fd: int, interest: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench.pump.poller, "add", full)
    assert bench.client(listener).end() == b""
    assert not bench.pump.links
    assert not bench.broker.connections
    monkeypatch.setattr(bench.pump.poller, "add", add)
    client = bench.connected(listener, "next")
    bench.advance(60.0)
    client.send(PINGREQ)
    client.expect("Pingresp")


async def test_listeners_close_and_the_present_ones_live_on(bench: Bench) -> None:
    listener, paused = bench.listen(), bench.listen()
    client = bench.connected(listener)
    exhaust(paused)
    bench.client(paused)
    assert paused.paused
    bench.pump.stop_accepting()
    for each in (listener, paused):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((each.host, each.port))
    client.send(PINGREQ)
    client.expect("Pingresp")
    bench.advance(ACCEPT_PAUSE)


# -- Deadlines


async def test_pings_go_to_silent_websockets_alone(bench: Bench) -> None:
    of = limits(websocket_ping_interval=10.0)
    listener = bench.listen("auto", of)
    silent, busy = bench.client(listener), bench.client(listener)
    plain = bench.connected(listener, "plain")
    for name, client in (("silent", silent), ("busy", busy)):
        client.send(UPGRADE + frame(connect(name)))
        client.read()
    bench.advance(6.0)
    busy.send(frame(PINGREQ))
    assert len(frames(busy.read())) == 1
    bench.advance(4.0)
    assert frames(silent.read()) == [(PING, b"")]
    assert busy.read() == b""
    bench.advance(6.0)
    assert frames(busy.read()) == [(PING, b"")]
    assert silent.read() == b""
    bench.advance(4.0)
    assert frames(silent.read()) == [(PING, b"")]
    assert plain.read() == b""


async def test_where_pongs_keep_alive_a_silent_one_is_pinged_whatever_it_is_sent(bench: Bench) -> None:
    publisher = bench.connected(bench.listen(), "p")
    for keep_alive, pings in (("strict", 0), ("lenient", 3)):
        listener = bench.listen("ws", limits(websocket_ping_interval=10.0, keep_alive=keep_alive))
        hidden = bench.client(listener)
        hidden.send(UPGRADE + frame(connect(keep_alive)) + frame(subscribe("a")))
        hidden.read()
        got: list[int] = []
        for _ in range(8):
            bench.advance(4.0)
            publisher.send(publish("a"), PINGREQ)
            publisher.expect("Pingresp")
            got += [opcode for opcode, _ in frames(hidden.read())]
        assert got.count(PING) == pings
        assert got.count(BINARY) == 8


async def test_no_pings_where_none_are_wanted(bench: Bench) -> None:
    before = len(bench.pump.deadlines)
    bench.client(bench.listen("ws", limits(websocket_ping_interval=0.0)))
    bench.client(bench.listen("tcp"))
    assert len(bench.pump.deadlines) == before


async def test_deadlines_do_not_hold_on_to_links_that_are_closed(bench: Bench) -> None:
    listener = bench.listen("ws")
    for _ in range(1200):
        raw = socket.create_connection((listener.host, listener.port))
        bench.round(1.0)
        raw.close()
        bench.round(1.0)
    bench.settle()
    assert not bench.pump.links
    assert len(bench.pump.deadlines) < 1100


@statement("MQTT5-3.1.4-1")
async def test_a_connection_without_connect_is_closed(bench: Bench) -> None:
    client = bench.client(bench.listen("auto", limits(handshake_timeout=2.0)))
    bench.advance(1.9)
    assert client.read() == b""
    assert not client.ended
    bench.advance(0.2)
    assert client.end() == b""


# -- The watermark


async def test_publishers_wait_while_slow_readers_hold_too_much(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(buffered_bytes=200_000)
    listener = bench.listen()
    slow = bench.connected(listener, "slow", receive_buffer=4096)
    slow.send(subscribe("#"))
    slow.expect("Suback")
    publisher, idle = bench.connected(listener, "p"), bench.connected(listener, "idle")
    link = bench.fill("slow")
    bench.advance(WATERMARK_LOOK)
    of_publisher = next(each for each in bench.pump.links.values() if each.layers.connection.name == "p")
    assert not of_publisher.paused, "not so much yet"
    while link.layers.outbox.size < 400_000:
        publisher.send(publish("a", bytes(50_000)))
    bench.advance(WATERMARK_LOOK)
    assert of_publisher.paused
    assert [each.paused for each in bench.pump.links.values()].count(True) == 1
    publisher.socket.sendall(PINGREQ)
    bench.settle()
    assert publisher.read() == b""
    idle.send(PINGREQ)
    idle.expect("Pingresp")
    assert len(warnings(caplog)) == 1
    assert "publishers wait" in warnings(caplog)[0]

    bench.until(lambda: bool(slow.read()) and link.layers.outbox.size == 0)
    bench.advance(WATERMARK_LOOK)
    publisher.expect("Pingresp")
    before = len(bench.pump.deadlines)
    bench.advance(20.0)
    assert len(bench.pump.deadlines) < before, "nothing stalls: nobody looks any more"
    bench.close()


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
async def test_a_publisher_that_is_not_read_is_not_silent() -> None:
    bench = Bench(buffered_bytes=100_000)
    bench.limits.write_stall_timeout = 100.0
    listener = bench.listen()
    bench.connected(listener, "slow", receive_buffer=4096)
    publisher = bench.client(listener)
    publisher.send(connect("p", keep_alive=1))
    publisher.expect("Connack")
    link = bench.fill("slow")
    while link.layers.outbox.size < 200_000:
        link.layers.outbox.put(bytes(10_000))
    publisher.send(publish("a"))
    bench.advance(WATERMARK_LOOK)
    publisher.socket.sendall(PINGREQ)
    bench.advance(30.0)
    assert publisher.read() == b""
    assert not publisher.ended
    link.abort("enough of it", bench.now)
    bench.advance(WATERMARK_LOOK)
    publisher.expect("Pingresp")
    bench.advance(3.0)
    assert names(publisher.end()) == ["Disconnect"], "now it is"
    bench.close()


# -- As a task


@pytest.fixture
async def running(bench: Bench) -> AsyncIterator[Running]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield Running(bench, nursery)
            nursery.cancel_scope.cancel()


async def test_the_task_serves(running: Running) -> None:
    client = await running.connected()
    await client.send_all(PINGREQ)
    assert names(bytes(await client.receive_some())) == ["Pingresp"]
    assert running.woken >= 3, "whoever sleeps until something is due is asked after each round"
    await client.aclose()
    await running.pump.all_closed()
    assert not running.pump.links


async def test_other_tasks_live_under_constant_traffic(running: Running) -> None:
    """The poller always has something: still others have their turn."""
    client = await running.connected()
    poll = running.pump.poller.poll
    idle = 0

    def never_idle(seconds: float, most: int) -> list[tuple[int, int]]:
        nonlocal idle
        idle += not (ready := poll(seconds, most))
        return ready or [(-1, 1)]  # as if a socket were always ready

    running.pump.poller.poll = never_idle
    await client.send_all(PINGREQ)
    before = time.process_time()
    for _ in range(5):
        await trio.lowlevel.checkpoint()
    assert time.process_time() - before < 0.1, "a turn every 5 ms, as asked"
    await soon(lambda: idle > 0)
    running.pump.poller.poll = poll
    await client.aclose()


async def test_it_looks_longer_while_there_is_traffic(running: Running) -> None:
    client = await running.connected()
    poll = running.pump.poller.poll
    looks: list[float] = []

    def traffic(seconds: float, most: int) -> list[tuple[int, int]]:
        looks.append(seconds)
        return poll(0.0, most) or ([(-1, 1)] if len(looks) < 2 * BUSY else [])

    running.pump.poller.poll = traffic
    await client.send_all(PINGREQ)
    assert names(bytes(await client.receive_some())) == ["Pingresp"]
    await soon(lambda: len(looks) >= 2 * BUSY)
    await client.send_all(PINGREQ)
    assert names(bytes(await client.receive_some())) == ["Pingresp"]
    running.pump.poller.poll = poll
    assert looks[BUSY + 2 : 2 * BUSY] == [LONG_LOOK] * (BUSY - 2)
    assert LOOK in looks[2 * BUSY :], "it found nothing, and slept through Trio"
    await client.aclose()


async def test_a_store_that_gathers_is_asked_again_although_nothing_comes() -> None:
    class Gathering(LateStore):
        left = 3

        def hand_over(self, now: float) -> bool:
            self.left -= 1
            self.gathering = self.patient and self.left > 0
            return False if self.gathering else super().hand_over(now)

    store = Gathering()
    bench = Bench(store=store)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            running = Running(bench, nursery)
            client = await running.client()
            await client.send_all(connect(version=MQTT_3_1_1, clean_start=False))  # a durable Session
            while not store.batches:  # noqa: ASYNC110 - what is waited for happens without an event
                await trio.sleep(0.001)
            assert store.left == 0
            assert not store.patient, "elsewhere nobody would come back"
            await client.aclose()
            nursery.cancel_scope.cancel()
    bench.close()


async def test_an_authenticator_that_waits_stops_its_own_link_alone(running: Running) -> None:
    authenticator = running.bench.broker.authenticator = Waiting()
    client = await running.client()
    await client.send_all(connect("slow") + PINGREQ)
    await soon(lambda: authenticator.asked == 1)
    (link,) = running.pump.links.values()
    assert link.paused
    await client.send_all(PINGREQ)
    quick = await running.connected("quick")
    await quick.send_all(PINGREQ)
    assert names(bytes(await quick.receive_some())) == ["Pingresp"]
    authenticator.go.set()
    data = b""
    while len(complete(data)) < 3:
        data += await client.receive_some()
    assert names(data) == ["Connack", "Pingresp", "Pingresp"]
    assert authenticator.asked == 1
    await client.aclose()
    await quick.aclose()


async def test_a_client_that_is_gone_before_anybody_asks_who_it_is(bench: Bench) -> None:
    begun = []

    async def think() -> Grant:
        begun.append(1)
        return Grant()

    class Slow:
        def authenticate(self, connect: Connect, peer: Peer) -> Awaitable[Grant]:
            return think()

    bench.broker.authenticator = Slow()
    client = bench.client(bench.listen())
    async with trio.open_nursery() as nursery:
        bench.pump._nursery = nursery
        client.send(connect())
        bench.link.abort("gone", bench.now)
    gc.collect()
    assert begun == [], "and no warning that it was never awaited"


async def test_an_authenticator_that_refuses_after_a_while(running: Running) -> None:
    authenticator = running.bench.broker.authenticator = Waiting()
    authenticator.answer = Refusal(ReasonCode.BANNED)
    client = await running.client()
    await client.send_all(connect("slow") + PINGREQ)
    await soon(lambda: authenticator.asked == 1)
    authenticator.go.set()
    (connack,) = packets(bytes(await client.receive_some()))
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.BANNED
    assert await client.receive_some() == b""
    await client.aclose()


async def test_an_authenticator_that_fails_after_a_while_lets_nobody_in(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    authenticator = running.bench.broker.authenticator = Waiting()
    authenticator.answer = RuntimeError("no directory")
    client = await running.client()
    await client.send_all(connect("slow") + PINGREQ)
    await soon(lambda: authenticator.asked == 1)
    authenticator.go.set()
    assert await client.receive_some() == b""
    assert len(errors(caplog)) == 1
    assert "no directory" in caplog.text
    assert not running.bench.broker.sessions
    await client.aclose()


async def test_a_client_that_is_reset_while_it_is_thought_about(running: Running) -> None:
    authenticator = running.bench.broker.authenticator = Waiting()
    client = await running.client()
    await client.send_all(connect("slow"))
    await soon(lambda: authenticator.asked == 1)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await client.aclose()
    await running.pump.all_closed()
    authenticator.go.set()
    quick = await running.connected("quick")
    assert "slow" not in running.bench.broker.sessions
    await quick.aclose()


async def test_an_authenticator_that_never_answers_is_given_up(running: Running) -> None:
    running.bench.limits.handshake_timeout = 0.05
    authenticator = running.bench.broker.authenticator = Waiting()
    client = await running.client()
    await client.send_all(connect("slow"))
    await soon(lambda: authenticator.gone == 1)
    assert not running.bench.broker.sessions
    await client.aclose()


async def test_an_accept_pause_ends_though_the_task_sleeps(running: Running) -> None:
    exhausted = exhaust(running.listener)
    raw = socket.create_connection((running.listener.host, running.listener.port))
    await soon(lambda: running.listener.paused)
    await trio.sleep(0.01)
    exhausted.failures = 0
    running.pump.tick(running.pump.now + ACCEPT_PAUSE)
    await soon(lambda: len(running.pump.links) == 1)
    raw.close()
    await running.pump.all_closed()


async def test_what_becomes_dirty_elsewhere_leaves_without_the_task(running: Running) -> None:
    client = await running.connected()
    (link,) = running.pump.links.values()
    link.layers.outbox.put(PINGREQ)
    assert running.pump.next_deadline() <= running.pump.clock()
    running.pump.flush(running.pump.clock())
    assert await client.receive_some() == PINGREQ
    await client.aclose()


async def test_its_clock_is_the_one_of_trio(bench: Bench) -> None:
    before = trio.current_time()
    assert before <= bench.pump.clock() <= trio.current_time()


async def test_its_clock_stands_when_that_of_a_test_does(autojump_clock: MockClock) -> None:
    pump = Pump(new_broker())
    try:
        assert pump.clock() == trio.current_time()
        await trio.sleep(1000)
        assert pump.clock() == trio.current_time()
    finally:
        pump.close()


# -- The Store


async def test_a_file_descriptor_that_is_watched(bench: Bench) -> None:
    readable, writable = os.pipe()
    calls: list[float] = []

    def collect(now: float) -> None:
        calls.append(now)
        os.read(readable, 1)

    bench.pump.watch(readable, collect)
    os.write(writable, b"x")
    bench.settle()
    assert calls == [bench.now]
    bench.pump.unwatch(readable)
    bench.pump.unwatch(readable)
    os.write(writable, b"x")
    bench.settle()
    assert len(calls) == 1
    os.close(readable)
    os.close(writable)


async def test_what_comes_behind_a_connack_that_waits_is_not_read() -> None:
    store = LateStore()
    bench = Bench(store=store)
    client = bench.client(bench.listen())
    client.send(connect("c", 4, clean_start=False), PINGREQ)
    assert bench.link.paused
    assert client.read() == b""
    assert bench.broker.stats.clients_connected == 0
    store.write(bench.now)
    bench.pump.flush(bench.now)
    assert not bench.link.paused
    bench.settle()
    assert client.read() == b"\x20\x02\x00\x00" + PINGRESP_PACKET
    bench.close()


async def test_a_link_that_is_held_may_end() -> None:
    store = LateStore()
    bench = Bench(store=store)
    listener = bench.listen()
    client, another = bench.client(listener), bench.client(listener)
    client.send(connect("c", 4, clean_start=False))
    another.send(connect("c", 4, clean_start=False))
    assert client.end() == b"", "taken over before its CONNACK"
    client.close()
    store.catch_up(bench.now)
    bench.pump.flush(bench.now)
    assert not bench.broker.arriving
    bench.settle()
    assert another.read() == b"\x20\x02\x01\x00"
    bench.close()


# -- Latency


class Slow(Grant):
    """Takes a while for each PUBLISH of QoS 1 and 2."""

    def __init__(self, clock: MockClock) -> None:
        super().__init__(everything=False)
        self._clock = clock

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        self._clock.jump(0.004 * qos)
        return ReasonCode.SUCCESS


async def test_what_leaves_in_a_round_is_as_old_as_the_round(mock_clock: MockClock) -> None:
    bench = Bench(authenticator=Grants(Slow(mock_clock)))
    try:
        over_tcp, over_websocket = bench.listen(), bench.listen("ws")
        reader = bench.connected(over_tcp, "reader")
        reader.send(subscribe("#", 2))
        reader.expect("Suback")
        other = bench.client(over_websocket)
        other.send(UPGRADE, frame(connect("other") + subscribe("a/1")))
        bench.until(lambda: bench.broker.stats.subscriptions == 2)
        publisher = bench.connected(over_tcp, "publisher")
        for qos, answers in enumerate(([], ["Puback"] * 2, ["Pubrec"] * 2)):
            bench.now = mock_clock.current_time()
            publisher.send(publish(f"a/{qos}", qos=qos) * 2)
            reader.expect(*["Publish"] * (1 if qos == 2 else 2))  # what is sent again at QoS 2 is not routed again
            publisher.expect(*answers)
        tcp, ws = (bench.broker.stats.transport(name).latency for name in ("tcp", "ws"))
        assert [each.ever().count for each in tcp.written] == [2, 2, 1]
        assert [each.ever().maximum for each in tcp.written] == pytest.approx([0.0, 0.008, 0.008])
        assert [each.ever().count for each in tcp.acknowledged] == [0, 2, 2]
        assert [each.ever().maximum for each in tcp.acknowledged] == pytest.approx([0.0, 0.008, 0.008])
        assert [each.ever().count for each in ws.written] == [2, 0, 0]
        assert ws.written[0].ever().maximum == pytest.approx(0.008)
        assert not tcp.pending()
        assert not ws.pending()
    finally:
        bench.close()


async def test_a_round_that_brings_nothing_is_not_timed(bench: Bench) -> None:
    client = bench.connected(bench.listen())
    client.send(encode(Pingreq(), 5))
    client.expect("Pingresp")
    latency = bench.broker.stats.transport("tcp").latency
    assert not any(each.used for each in (*latency.written, *latency.acknowledged))


async def test_what_a_slow_reader_takes_late_is_recorded_late(bench: Bench) -> None:
    listener = bench.listen()
    reader = bench.connected(listener, receive_buffer=4096)
    link = bench.fill()
    outbox = link.layers.outbox
    outbox.put_publish(publish("a", bytes(10)), 10)
    outbox.put_publish(publish("a", bytes(10), qos=1), 10)
    bench.settle()
    latency = bench.broker.stats.transport("tcp").latency
    assert not any(each.used for each in latency.written)
    bench.now += 3.0

    def taken() -> bool:
        reader.read()
        return link.unsent is None and not outbox.parts

    bench.until(taken)
    assert [each.ever().count for each in latency.written] == [1, 1, 0]
    assert [each.ever().maximum for each in latency.written] == pytest.approx([3.0, 3.0, 0.0])
    outbox.put_publish(publish("a", bytes(10)), 10)
    bench.settle()
    assert latency.written[0].ever().count == 2
    assert latency.written[0].ever().quantile(0.5) < 3.0
