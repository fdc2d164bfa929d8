from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import broker
from broker.client import CannotConnect, ConnectRefused, Disconnected, Tls, Will, connect, parse
from broker.client.protocol import Protocol, Settings
from broker.config import Config, LimitsConfig, ListenerConfig
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1
from broker.simulation.line import WAITING, Line, open_line
from broker.transport.poller import READ, WRITE
from tests.secured import Papers, secured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from broker.server import Server


@asynccontextmanager
async def served(**limits: object) -> AsyncIterator[Server]:
    given = LimitsConfig.model_validate(limits)
    listeners = [ListenerConfig(type=kind, port=0, limits=given) for kind in ("tcp", "ws")]
    async with broker.serve(Config(listeners=listeners)) as server:
        yield server


def settings(name: str = "d-1") -> Settings:
    found = Settings()
    found.client_identifier = name
    return found


async def pump(line: Line, true: Callable[[], bool]) -> None:
    """Flush and read until it holds."""
    with trio.fail_after(20):
        while not true():
            if not line.closed:
                line.flush(trio.current_time())
                if line.interest & WRITE:
                    line.writable(trio.current_time())
            if not line.closed:
                line.readable(trio.current_time())
            await trio.sleep(0.002)


@pytest.mark.parametrize("place", [0, 1])
async def test_messages_and_commands_over_each_transport(place: int) -> None:
    async with served() as server:
        url = server.listeners[place].url
        async with connect(server.listeners[0].url) as client, client.subscribe("a/#", qos=2) as messages:
            line = await open_line(parse(url), Protocol(settings()))
            line.listen("a/set")
            for qos in (0, 1, 2):
                line.publish(b"a/b", b"x" * 70_000 + bytes([qos]), qos, False, b"")
            assert line.waiting == 2
            await pump(line, lambda: line.waiting == 0)
            assert sorted([(await messages.receive()).payload[-1] for _ in range(3)]) == [0, 1, 2]
            await client.publish("a/set", b"go", qos=1)
            await pump(line, lambda: line.protocol.subscriptions.full or bool(line._commands and line._commands.buffer))
            assert line.command() == (b"go", "", None)
            assert line.command() is None
            line.disconnect()
            await pump(line, lambda: line.closed)
            assert line.ending


@pytest.mark.parametrize("way", [0, 1])
async def test_over_tls(tmp_path: Path, way: int) -> None:
    papers = Papers(tmp_path)
    async with secured(papers.context()) as doors:
        tls = Tls(ca_file=papers.ca)
        url = (f"mqtts://127.0.0.1:{doors[0].port}", f"wss://127.0.0.1:{doors[1].port}/mqtt")[way]
        async with connect(url, tls=tls) as client, client.subscribe("a/#", qos=2, buffer=1000) as messages:
            line = await open_line(parse(url), Protocol(settings()), tls)
            line.listen("c")
            for qos in (0, 1, 2):
                line.publish(b"a/b", b"x" * 700_000 + bytes([qos]), qos, False, b"")
            line.flush(trio.current_time())
            assert line.stuffed
            await pump(line, lambda: line.waiting == 0)
            assert sorted([(await messages.receive()).payload[-1] for _ in range(3)]) == [0, 1, 2]
            await client.publish("c", b"y" * 100_000, qos=1)
            await pump(line, lambda: bool(line._commands and line._commands.buffer))
            assert line.command() == (b"y" * 100_000, "", None)
            line.disconnect()
            await pump(line, lambda: line.closed)


async def test_tls_that_breaks_is_told(tmp_path: Path) -> None:
    papers = Papers(tmp_path)

    async def answer(stream: trio.SocketStream) -> None:
        wrapped = trio.SSLStream(stream, papers.context(), server_side=True)
        await wrapped.do_handshake()
        await wrapped.receive_some()
        await wrapped.send_all(b"\x20\x03\x00\x00\x00")
        await stream.send_all(b"what is no TLS")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        endpoint = parse(f"mqtts://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        line = await open_line(endpoint, Protocol(settings()), Tls(ca_file=papers.ca))
        await pump(line, lambda: line.closed)
        assert "the Network Connection broke off (what answers does not speak TLS" in str(line.trouble)
        nursery.cancel_scope.cancel()


async def test_a_line_that_is_closed_without_a_word_leaves_its_will() -> None:
    async with served() as server:
        url = server.listeners[0].url
        async with connect(url) as client, client.subscribe("gone") as messages:
            for in_order in (True, False):
                asked = settings()
                asked.will = Will("gone", b"will").packet()
                line = await open_line(parse(url), Protocol(asked))
                if in_order:
                    line.disconnect()
                    await pump(line, lambda: line.closed)  # noqa: B023
                else:
                    line.close()
            with trio.fail_after(20):
                assert (await messages.receive()).payload == b"will"
            assert messages.buffered == 0


async def test_what_the_server_takes_not_is_not_asked_for() -> None:
    async with served(maximum_qos=0, retain_available=False) as server:
        line = await open_line(parse(server.listeners[0].url), Protocol(settings()))
        line.publish(b"a", b"1", 2, True, b"")
        assert (line.waiting, line.retains, line.maximum_qos) == (0, False, 0)
        line.listen("a")
        await pump(line, lambda: bool(line._commands and line._commands.done))
        line.publish(b"a", b"2", 2, True, b"")
        await pump(line, lambda: bool(line._commands and line._commands.buffer))
        assert not line.refused
        line.close()


async def test_a_server_that_reads_nothing_stuffs_it() -> None:
    leave = trio.Event()

    async def accept_and_read_no_more(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\x20\x03\x00\x00\x00")
        await leave.wait()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, accept_and_read_no_more, 0)
        line = await open_line(parse(f"mqtt://127.0.0.1:{listeners[0].socket.getsockname()[1]}"), Protocol(settings()))
        assert not line.stuffed
        for _ in range(300):
            line.publish(b"a", b"x" * 65_536, 0, False, b"")
            line.flush(0.0)
        assert line.stuffed
        assert line.interest == READ | WRITE
        leave.set()
        await pump(line, lambda: line.closed)
        assert isinstance(line.trouble, Disconnected)
        nursery.cancel_scope.cancel()


async def test_unanswered_messages_stuff_it() -> None:
    async with served() as server:
        line = await open_line(parse(server.listeners[0].url), Protocol(settings()))
        for _ in range(WAITING):
            assert not line.stuffed
            line.publish(b"a", b"", 1, False, b"")
        assert line.stuffed
        await pump(line, lambda: not line.stuffed)
        line.close()


async def test_why_it_ended() -> None:
    async with served() as server:
        url = server.listeners[0].url
        line = await open_line(parse(url), Protocol(settings("twin")))
        other = await open_line(parse(url), Protocol(settings("twin")))
        await pump(line, lambda: line.closed)
        assert isinstance(line.trouble, Disconnected)
        assert line.trouble.reason == ReasonCode.SESSION_TAKEN_OVER
        other.close()


async def test_keep_alive() -> None:
    async with served() as server:
        asked = settings()
        asked.keep_alive = 10
        line = await open_line(parse(server.listeners[0].url), Protocol(asked))
        now = trio.current_time()
        line.tick(now + 8.0)
        await pump(line, lambda: line.protocol.deadline() > now + 12.0 or line.protocol.deadline() < now)
        line.tick(now + 100.0)
        line.tick(now + 200.0)
        assert line.closed
        assert line.trouble is not None
        assert "PINGRESP" in str(line.trouble)


async def test_an_older_version() -> None:
    async with served(versions=[4]) as server:
        asked = settings()
        asked.version = MQTT_3_1_1
        line = await open_line(parse(server.listeners[1].url), Protocol(asked))
        assert line.protocol.connected
        line.close()
        with pytest.raises(ConnectRefused):
            await open_line(parse(server.listeners[1].url), Protocol(settings()))


async def test_nobody_there() -> None:
    with pytest.raises(CannotConnect, match=r"mqtt://127\.0\.0\.1:1"):
        await open_line(parse("mqtt://127.0.0.1:1"), Protocol(settings()))
    with pytest.raises(CannotConnect, match="nowhere"):
        await open_line(parse("unix:/nowhere/at/all"), Protocol(settings()))


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_somebody_who_says_nothing_or_hangs_up(scheme: str) -> None:
    hanging_up = False

    async def answer(stream: trio.SocketStream) -> None:
        if not hanging_up:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        endpoint = parse(f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        asked = settings()
        asked.connect_timeout = 0.1
        with pytest.raises(CannotConnect, match=r"no CONNACK within 0\.1 s"):
            await open_line(endpoint, Protocol(asked))
        hanging_up = True
        with pytest.raises(CannotConnect):
            await open_line(endpoint, Protocol(settings()))
        nursery.cancel_scope.cancel()
