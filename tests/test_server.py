"""The whole put together: what `serve` opens, how it ends, and the command's `run` in a process of its own."""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from trio.testing import memory_stream_pair

import broker
from broker import server as server_module
from broker.bench.processes import Processes
from broker.client import connect as connect_client
from broker.config import Config, ConfigError, ListenerConfig
from broker.core.grants import Grant
from broker.core.ports import Peer as Stranger
from broker.core.ports import Refusal
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connect, Disconnect, Properties, Publish
from broker.transport.listeners import ListenError
from tests.scripted import Peer, WebSocketStream
from tests.statements import statement
from tests.transport.parts import connect, names

if TYPE_CHECKING:
    from pathlib import Path

    from broker.server import Server


ROOMY: Final = {"outbox_soft_bytes": "64MB", "outbox_hard_bytes": "64MB"}  # more than sockets hold


def config(*types: str, path: str = "", shutdown_timeout: float = 0.05, **tables: Any) -> Config:
    listeners = [
        {"type": each, "path": path} if each == "unix" else {"type": each, "host": "127.0.0.1", "port": 0}
        for each in types
    ]
    return Config.model_validate({"listeners": listeners, "server": {"shutdown_timeout": shutdown_timeout}, **tables})


async def stream_to(server: Server, number: int = 0) -> trio.abc.Stream:
    listener = server.listeners[number]
    if listener.type == "unix":
        return await trio.open_unix_socket(listener.path)
    stream = await trio.open_tcp_stream(listener.host, listener.port)
    if listener.type != "ws":
        return stream
    websocket = WebSocketStream(stream, listener.url)
    await websocket.open()
    return websocket


async def connected(server: Server, client_identifier: str, version: int = MQTT_5_0, number: int = 0) -> Peer:
    peer = Peer(await stream_to(server, number), version)
    await peer.connect(client_identifier)
    return peer


def refuses(server: Server) -> bool:
    """Whether nobody listens any more where `server` did."""
    for listener in server.listeners:
        try:
            socket.create_connection((listener.host, listener.port)).close()
        except ConnectionRefusedError:
            continue
        return False
    return True


# -- Opening


async def test_each_listener_is_open_and_named(tmp_path: Path) -> None:
    path = str(tmp_path / "broker.sock")
    async with broker.serve(config("tcp", "ws", "auto", "unix", path=path)) as server:
        tcp, ws, auto, unix = server.listeners
        assert [each.type for each in server.listeners] == ["tcp", "ws", "auto", "unix"]
        assert tcp.url == f"mqtt://127.0.0.1:{tcp.port}"
        assert ws.url == f"ws://127.0.0.1:{ws.port}/mqtt"
        assert auto.url == f"mqtt://127.0.0.1:{auto.port}"
        assert unix.url == f"unix:{path}"
        peers = [await connected(server, str(number), number=number) for number in range(4)]
        await peers[0].subscribe("a", qos=1)
        for peer in peers[1:]:
            await peer.publish("a", b"x", qos=1)
        assert len(await peers[0].messages(3)) == 3
        stats = server.broker.stats.by_transport
        assert {name: each.connections for name, each in stats.items()} == {"tcp": 2, "ws": 1, "auto": 0, "unix": 1}
        for peer in peers:
            await peer.leave()
        assert server.broker.stats.clients_connected == 0
    assert not await trio.Path(path).exists()


async def test_a_listener_has_the_limits_of_its_own() -> None:
    listeners = [
        {"type": "tcp", "port": 0, "limits": {"maximum_qos": 0}},
        {"type": "tcp", "port": 0},
    ]
    async with broker.serve(Config.model_validate({"listeners": listeners, "limits": {"maximum_qos": 1}})) as server:
        for number, maximum in ((0, 0), (1, 1)):
            peer = Peer(await stream_to(server, number))
            assert (await peer.connect("c")).properties.maximum_qos == maximum
            await peer.leave()


async def test_all_listeners_or_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
        probe.close()
        listeners = [ListenerConfig(type="tcp", host="127.0.0.1", port=port) for port in (free, taken.getsockname()[1])]
        with pytest.raises(ListenError, match="in use"):
            async with broker.serve(Config(listeners=listeners)):
                raise AssertionError("not all of it can be had")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", free))


async def test_nobody_is_let_in_from_afar_by_accident() -> None:
    everywhere = Config(listeners=[ListenerConfig(type="tcp", host="0.0.0.0", port=0)])
    with pytest.raises(ConfigError, match="allow_anonymous"):
        async with broker.serve(everywhere):
            raise AssertionError("anybody could connect")
    async with broker.serve(everywhere, authenticator=Gate()) as server:
        assert server.listeners[0].url == f"mqtt://localhost:{server.listeners[0].port}"


class Gate:
    def authenticate(self, connect: Connect, peer: Stranger) -> Grant | Refusal:
        return Grant() if connect.client_identifier == "friend" else Refusal(ReasonCode.NOT_AUTHORIZED, "who?")


class Noting:
    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    def connected(self, client_identifier: str, peer: Stranger) -> None:
        self.seen.append(("connected", client_identifier, peer.transport))

    def disconnected(self, client_identifier: str, peer: Stranger, reason: str) -> None:
        self.seen.append(("disconnected", client_identifier, reason))

    def refused(self, client_identifier: str, peer: Stranger, reason: str) -> None:
        self.seen.append(("refused", client_identifier, reason))

    def noticed(self, kind: str, text: str) -> None:
        self.seen.append(("noticed", kind, text))


async def test_an_authenticator_decides_and_watchers_are_told() -> None:
    watcher = Noting()
    async with broker.serve(config("tcp"), authenticator=Gate(), watchers=(watcher,)) as server:
        friend = await connected(server, "friend")
        stranger = Peer(await stream_to(server))
        await stranger.connect("stranger", reason=ReasonCode.NOT_AUTHORIZED)
        await stranger.closed()
        await stranger.lose()
        await friend.leave()
    assert watcher.seen == [
        ("connected", "friend", "tcp"),
        ("refused", "stranger", "0x87 not authorized: who?"),
        ("disconnected", "friend", "client disconnected"),
    ]


async def test_the_log_shows_strange_words_in_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "broker")
    async with broker.serve(config("tcp"), authenticator=Gate()) as server:
        friend = await connected(server, "friend")
        await friend.leave()
        stranger = Peer(await stream_to(server))
        await stranger.connect("caf\u00e9\u2028" + "x" * 240, reason=ReasonCode.NOT_AUTHORIZED)
        await stranger.lose()
    address = "127.0.0.1:"
    arrived, left, refused = caplog.messages
    assert arrived.startswith(f"friend connected from {address}")
    assert arrived.endswith(" over tcp")
    assert left.endswith(": client disconnected")
    assert refused.startswith("caf\\xe9\\u2028xxx")
    assert refused.count("x") < 240
    assert "\u2028" not in refused


# -- Ending


class Odd(BaseException):
    pass


@pytest.mark.parametrize("kind", [ValueError, KeyError, Odd, SystemExit])
async def test_an_exception_of_the_caller_comes_out_as_it_is(kind: type[BaseException]) -> None:
    cause = RuntimeError("why")
    error = kind("what")
    with pytest.raises(kind) as caught:  # noqa: PT012 - the block that raises is what is tested
        async with broker.serve(config("tcp")) as server:
            peer = await connected(server, "c")
            raise error from cause
    assert caught.value is error
    assert error.__cause__ is cause
    assert refuses(server)
    await peer.disconnected(ReasonCode.SERVER_SHUTTING_DOWN)
    await peer.lose()


async def test_a_group_of_the_caller_comes_out_as_it_is() -> None:
    group = ExceptionGroup("two", [ValueError(1), KeyError(2)])
    with pytest.raises(ExceptionGroup) as caught:
        async with broker.serve(config()):
            raise group
    assert caught.value is group


async def test_nothing_is_left_after_the_block() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    async with broker.serve(config("tcp", "ws")) as server:
        peer = await connected(server, "c")
        await peer.leave()
    assert refuses(server)
    assert not server.broker.connections
    assert len(os.listdir("/proc/self/fd")) == descriptors
    again = [
        ListenerConfig.model_validate({"type": each.type, "host": each.host, "port": each.port})
        for each in server.listeners
    ]
    async with broker.serve(Config(listeners=again)) as server:
        assert [each.port for each in server.listeners] == [each.port for each in again]


async def test_two_brokers_know_nothing_of_each_other() -> None:
    async with broker.serve(config("tcp")) as one, broker.serve(config("tcp")) as other:
        subscriber, publisher = await connected(one, "c"), await connected(other, "c")
        await subscriber.subscribe("#")
        await publisher.publish("a", b"x", retain=True)
        await subscriber.quiet()
        now = trio.current_time()
        assert one.broker.retained.get("a", now) is None
        assert other.broker.retained.get("a", now) is not None
        await subscriber.leave()
        await publisher.leave()


@statement("MQTT5-4.13.2-1")
@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0])
@pytest.mark.parametrize("transport", ["tcp", "ws", "unix", "auto"])
async def test_everybody_is_told_of_the_end(transport: str, version: int, tmp_path: Path) -> None:
    async with broker.serve(config(transport, path=str(tmp_path / "s"))) as server:
        peer = await connected(server, "c", version)
    await peer.disconnected(ReasonCode.SERVER_SHUTTING_DOWN)
    if isinstance(peer.stream, WebSocketStream):
        assert peer.stream.close_code == 1001
    await peer.lose()


async def test_what_waits_leaves_before_the_end(nursery: trio.Nursery) -> None:
    """Larger than what a socket holds: it needs the pump, which must live until it is said."""
    count, size = 100, 100_000
    received: list[str] = []

    async def read(peer: Peer) -> None:
        while (packet := await peer.next()) is not None:
            received.append(type(packet).__name__)
        await peer.lose()

    with trio.fail_after(30):
        async with broker.serve(config("tcp", limits=ROOMY, shutdown_timeout=20)) as server:
            subscriber, publisher = await connected(server, "s"), await connected(server, "p")
            await subscriber.subscribe("a")
            for _ in range(count):
                await publisher.publish("a", bytes(size))
            nursery.start_soon(read, subscriber)
            await publisher.leave()
        await trio.testing.wait_all_tasks_blocked()
    assert received == ["Publish"] * count + ["Disconnect"]


async def test_a_client_that_never_reads_does_not_hold_up_the_end() -> None:
    async with broker.serve(config("tcp", limits=ROOMY, shutdown_timeout=0.1)) as server:
        slow, publisher = await connected(server, "s"), await connected(server, "p")
        await slow.subscribe("a")
        for _ in range(100):
            await publisher.publish("a", bytes(100_000))
        start = time.monotonic()
    assert 0.09 < time.monotonic() - start < 10.0
    assert not server.broker.connections
    await publisher.disconnected(ReasonCode.SERVER_SHUTTING_DOWN)
    await slow.lose()
    await publisher.lose()


async def test_a_cancelled_caller_says_goodbye_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads, writes and looks at the clock goes on until it is said and the Client has had its time."""
    monkeypatch.setattr("broker.transport.pump.LINGER", 0.05)
    with trio.fail_after(20), trio.CancelScope() as scope:
        async with broker.serve(config("tcp", shutdown_timeout=60)) as server:
            peer = await connected(server, "c")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert refuses(server)
    await peer.disconnected(ReasonCode.SERVER_SHUTTING_DOWN)
    await peer.lose()


async def test_a_cancelled_caller_waits_for_what_is_unsent(nursery: trio.Nursery) -> None:
    """The Client closes when it has read all; within the bound of two seconds nobody has to be cut off."""
    reasons: list[ReasonCode] = []

    async def read(peer: Peer) -> None:
        while (packet := await peer.next()) is not None:
            if isinstance(packet, Disconnect):
                reasons.append(packet.reason)
        await peer.lose()

    with trio.fail_after(30), trio.CancelScope() as scope:
        async with broker.serve(config("tcp", limits=ROOMY, shutdown_timeout=5)) as server:
            subscriber, publisher = await connected(server, "s"), await connected(server, "p")
            await subscriber.subscribe("a")
            for _ in range(100):
                await publisher.publish("a", bytes(100_000))
            nursery.start_soon(read, subscriber)
            nursery.start_soon(read, publisher)
            scope.cancel()
            await trio.sleep_forever()
    await trio.testing.wait_all_tasks_blocked()
    assert reasons == [ReasonCode.SERVER_SHUTTING_DOWN] * 2


async def test_a_bug_in_the_pump_comes_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("the pump is broken")

    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(10):  # noqa: PT012 - the block raises
        async with broker.serve(config("tcp")) as server:
            peer = await connected(server, "c")
            monkeypatch.setattr(server._pump.poller, "poll", broken)
            await peer.send(Publish("a", b"x"))
            await trio.sleep_forever()
    assert caught.group_contains(RuntimeError, match="the pump is broken")
    assert refuses(server)
    await peer.lose()


# -- Any stream


async def test_any_stream_is_served() -> None:
    async with broker.serve(config("tcp", limits={"maximum_qos": 1})) as server, trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        peer = Peer(ours)
        assert (await peer.connect("m")).properties.maximum_qos == 1
        other = await connected(server, "t")
        await peer.subscribe("a")
        await other.publish("a", b"x")
        assert (await peer.message()).payload == b"x"
        assert server.broker.stats.transport("memory").connections == 1
        await other.leave()
        await peer.leave()


async def test_a_websocket_over_any_stream_with_a_name_and_limits_of_its_own() -> None:
    async with broker.serve(config()) as server, trio.open_nursery() as nursery:
        limits = config("ws", limits={"maximum_qos": 0}).listeners[0].build_limits()
        ours, theirs = memory_stream_pair()

        async def serve() -> None:
            await server.serve_stream(theirs, transport="tunnel", websocket=True, limits=limits)

        nursery.start_soon(serve)
        stream = WebSocketStream(ours, "ws://localhost/mqtt")
        await stream.open()
        peer = Peer(stream)
        assert (await peer.connect("m")).properties.maximum_qos == 0
        (connection,) = server.broker.connections
        assert (connection.peer.address, connection.peer.transport) == ("tunnel", "ws")
        await peer.leave()


async def test_time_passes_for_a_stream_too(autojump_clock: trio.testing.MockClock) -> None:
    async with broker.serve(config(limits={"handshake_timeout": 3})) as server:
        ours, theirs = memory_stream_pair()
        await trio.sleep(100.0)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_stream, theirs)
            assert await ours.receive_some() == b""
            assert trio.current_time() == start + 3.0


async def test_a_stream_is_told_of_the_end() -> None:
    async with trio.open_nursery() as nursery:
        async with broker.serve(config()) as server:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            peer = Peer(ours)
            await peer.connect("m")
        await peer.disconnected(ReasonCode.SERVER_SHUTTING_DOWN)
        await peer.stream.aclose()


# -- The command's


RUN = """
import gc, resource, sys, trio
from functools import partial
from broker.config import Config, ListenerConfig
from broker.server import run

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))

def started(server):
    raised = resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    print(server.listeners[0].port, raised, gc.get_freeze_count() > 0, flush=True)

config = Config(listeners=[ListenerConfig(type="tcp", port=0)])
trio.run(partial(run, config, started=started))
print("the end")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            port, raised, frozen = process.stdout.readline().split()
            assert raised == "True", "a process of 128 files holds no 10,000 connections"
            assert frozen == "True"
            with socket.create_connection(("127.0.0.1", int(port))) as client:
                client.settimeout(20)
                client.sendall(connect("c"))
                assert names(client.recv(1000)) == ["Connack"]
                process.send_signal(number)
                assert names(client.recv(1000)) == ["Disconnect"]
                assert client.recv(1000) == b""
            output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
        assert output == "the end\n"
        assert errors == ""
        assert process.returncode == 0


def test_a_second_signal_waits_for_nobody() -> None:
    """The peer does not close, and would be waited for: two seconds, so that of three times one must show it."""
    assert any(seconds_to_the_end_after_two_signals() < 1.5 for _ in range(3))


def seconds_to_the_end_after_two_signals() -> float:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().split()[0]
            with socket.create_connection(("127.0.0.1", int(port))) as client:
                client.settimeout(20)
                client.sendall(connect("c"))
                assert names(client.recv(1000)) == ["Connack"]
                process.send_signal(signal.SIGINT)
                assert names(client.recv(1000)) == ["Disconnect"]
                before = time.monotonic()
                process.send_signal(signal.SIGINT)
                output, errors = process.communicate(timeout=20)
                taken = time.monotonic() - before
        finally:
            process.kill()
    assert output == "the end\n"
    assert "SIGINT again: closing at once" in errors
    assert process.returncode == 0
    return taken


@pytest.mark.parametrize(
    ("soft", "hard", "most", "expected"),
    [
        (1024, 524_288, 1_000_000, [524_288]),
        (524_288, 524_288, 1_000_000, []),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1_000_000, []),
        (256, resource.RLIM_INFINITY, 10_240, [resource.RLIM_INFINITY, 10_240]),
        (20_000, resource.RLIM_INFINITY, 10_240, [resource.RLIM_INFINITY]),
        (256, 4096, 100, [4096]),
    ],
    ids=["usual", "there", "infinite", "macos", "macos, there", "refused"],
)
def test_as_many_files_as_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int, expected: list[int]
) -> None:
    asked: list[int] = []

    def setrlimit(kind: int, limits: tuple[int, int]) -> None:
        assert kind == resource.RLIMIT_NOFILE
        assert limits[1] == hard
        asked.append(limits[0])
        if limits[0] == resource.RLIM_INFINITY or limits[0] > most:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    server_module._raise_file_limit()
    assert asked[: len(expected)] == expected


async def test_what_the_process_uses_is_told() -> None:
    before = time.process_time()
    async with broker.serve(config("tcp")) as server, connect_client(server.listeners[0].url) as client:
        async with client.subscribe("$SYS/broker/process/cpu") as messages:
            kept = await messages.receive()
            with trio.fail_after(20):
                second = await messages.receive()
        assert (kept.retain, second.retain) == (True, False)
        assert before <= float(kept.payload) < float(second.payload) <= time.process_time()
        if sys.platform == "linux":
            async with client.subscribe("$SYS/broker/process/memory") as messages:
                told = int((await messages.receive()).payload)
            assert told == pytest.approx(Processes(os.getpid()).read().rss, rel=0.1)
        else:
            assert server.broker.retained.get("$SYS/broker/process/memory", 0.0) is None


@pytest.mark.build("plain")  # the name of a compiled task is another one
async def test_the_pulse_is_the_pumps() -> None:
    """A watchdog that another task tells would be told of a broker that serves nobody."""
    beats: list[str] = []
    enough = trio.Event()

    def beat() -> None:
        beats.append(trio.lowlevel.current_task().name)
        if len(beats) == 3:
            enough.set()

    async with broker.serve(config("tcp")) as server:
        server.pulse(0.01, beat)
        with trio.fail_after(20):
            await enough.wait()
        assert beats == ["broker.transport.pump.Pump.run"] * 3


@pytest.mark.build("plain")  # nothing can be put in the place of a compiled method
async def test_a_pump_that_stands_still_gives_no_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[float] = []
    async with broker.serve(config("tcp")) as server:
        monkeypatch.setattr(server._pump, "round", lambda ready, now: None)
        server.pulse(0.001, lambda: beats.append(0.0))
        await trio.sleep(0.05)
    assert beats == []


async def test_the_program_publishes_itself() -> None:
    async with broker.serve(config("tcp")) as server, connect_client(server.listeners[0].url) as client:
        assert server.publish("a/b", "nobody") == ReasonCode.NO_MATCHING_SUBSCRIBERS
        assert server.publish("kept", b"here", qos=1, retain=True) == ReasonCode.NO_MATCHING_SUBSCRIBERS
        async with client.subscribe("#", qos=1) as messages:
            kept = await messages.receive()
            assert (kept.topic, kept.payload, kept.qos, kept.retain) == ("kept", b"here", 1, True)
            properties = Properties()
            properties.message_expiry_interval = 60
            properties.content_type = "text/plain"
            assert server.publish("a/b", "text", qos=1, properties=properties) == ReasonCode.SUCCESS
            message = await messages.receive()
            assert (message.topic, message.payload, message.retain) == ("a/b", b"text", False)
            assert message.properties.content_type == "text/plain"
            assert message.properties.message_expiry_interval in (59, 60)
        with pytest.raises(ProtocolError):
            server.publish("a/#", b"")
