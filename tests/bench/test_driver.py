"""Whole runs, with worker processes: against our own broker, and against one that does everything wrong."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import trio

import broker
from broker.bench import driver
from broker.bench.driver import Progress, drive
from broker.bench.errors import BenchError, CannotConnect, Refused
from broker.bench.workload import Workload
from broker.config import Config
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connack, Publish
from tests.bench.toy import Toy, faithful, serving
from tests.secured import Papers, secured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from broker.server import Server

PATIENCE = 60.0  # seconds for what must happen, however busy the machine is
SHORT: dict[str, Any] = {"publishers": 2, "subscribers": 2, "seconds": 0.15, "warm_up": 0.0, "timeout": PATIENCE}


def children() -> list[int]:
    """The processes that this one has started and that are still there."""
    return [child.pid for child in psutil.Process().children(recursive=True)]


@pytest.fixture(autouse=True)
def no_orphans(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(driver, "SETTLE", 0.01)
    monkeypatch.setattr(driver, "QUIET", 0.6)  # only what loses something waits for it
    yield
    assert children() == []


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    config = Config.model_validate(
        {
            "listeners": [
                {"type": "tcp", "host": "127.0.0.1", "port": 0},
                {"type": "ws", "host": "127.0.0.1", "port": 0},
                {"type": "unix", "path": str(tmp_path / "broker.sock")},
            ]
        }
    )
    async with broker.serve(config) as running:
        yield running


def url(server: Server, transport: str) -> str:
    return next(listener.url for listener in server.listeners if listener.type == transport)


# -- Against our own broker


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("transport", ["tcp", "ws", "unix"])
async def test_a_count_arrives_whole(server: Server, transport: str, version: int, qos: int) -> None:
    workload = Workload(
        url=url(server, transport), publishers=3, subscribers=3, count=100, qos=qos, version=version, timeout=PATIENCE
    )
    began = time.monotonic()
    measured = await drive(workload)
    assert measured.ok, measured.trouble
    assert (measured.sent, measured.received, measured.expected, measured.lost) == (100, 100, 100, 0)
    assert measured.acknowledged == measured.acknowledgement.count == (100 if qos else 0)
    assert (measured.latency.count, measured.connected, measured.connect.count) == (100, 6, 6)
    assert 0 < measured.seconds < time.monotonic() - began
    assert sum(sent for sent, _ in measured.series) == 100
    if transport == "ws":
        assert measured.bytes_sent - measured.mqtt_bytes_sent >= 100 * 6  # a frame's header and mask a message
        assert 0 < measured.frames_received <= 100 * 4
        assert measured.bytes_received - measured.mqtt_bytes_received >= 2 * measured.frames_received
    else:
        assert (measured.bytes_sent, measured.bytes_received) == (
            measured.mqtt_bytes_sent,
            measured.mqtt_bytes_received,
        )


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", [0, 1])
async def test_over_tls(tmp_path: Path, way: int, workers: int) -> None:
    papers = Papers(tmp_path)
    async with secured(papers.context(client_ca=papers.ca)) as doors:
        port = doors[way].port
        workload = Workload(
            url=(f"mqtts://127.0.0.1:{port}", f"wss://127.0.0.1:{port}/mqtt")[way],
            publishers=2,
            subscribers=2,
            qos=1,
            payload=40_000,
            count=20,
            timeout=PATIENCE,
            ca_file=str(papers.ca),
            certificate=str(papers.client_certificate),
            key=str(papers.client_key),
        )
        measured = await drive(workload, workers=workers)
        assert (measured.sent, measured.received, measured.connected) == (20, 20, 4)
        assert (measured.lost, measured.corrupted, measured.disconnected) == (0, 0, 0)
        assert [seen.alpn for seen in doors[way].seen] == [("mqtt", "http/1.1")[way]] * 4
        with pytest.raises(CannotConnect, match="authority that is unknown here: name its CA with --cafile"):
            await drive(replace(workload, ca_file=None), workers=workers)
        with pytest.raises(CannotConnect, match="the Server wants a certificate of ours: --cert and --key"):
            await drive(replace(workload, certificate=None, key=None), workers=workers)
        with pytest.raises(BenchError, match="No such file or directory"):
            await drive(replace(workload, ca_file=str(tmp_path / "none")), workers=workers)


async def test_seconds_are_measured_after_the_warm_up(server: Server) -> None:
    heard: list[Progress] = []
    workload = Workload(url=url(server, "tcp"), **{**SHORT, "seconds": 1.0, "warm_up": 0.1})
    began = time.monotonic()
    measured = await drive(workload, progress=heard.append)
    assert measured.ok, measured.trouble
    assert 0.5 < measured.seconds < time.monotonic() - began
    assert len(measured.series) == 4
    assert sum(sent for sent, _ in measured.series) == measured.sent
    assert measured.latency.count <= measured.expected
    assert measured.expected > measured.sent > 0  # those of the warm-up are expected too
    assert measured.generator_cpu > 0
    assert 0 < measured.busiest <= 1.1
    assert measured.workers == 1
    phases = [each.phase for each in heard]
    assert phases[0] == "connecting"
    assert "measuring" in phases
    assert heard[-1].connected == heard[-1].of == 4
    assert all(each.elapsed >= 0 and each.sent >= 0 for each in heard)


async def test_a_rate_is_kept_and_every_message_timed_from_when_it_was_due(server: Server) -> None:
    began = time.monotonic()
    measured = await drive(Workload(url=url(server, "tcp"), **SHORT, rate=1000.0))
    assert measured.ok, measured.trouble
    assert (measured.expected, measured.lost, measured.latency.count) == (150, 0, 150)
    assert 0 < measured.sent <= 150  # those that were late are not of the window, and yet sent and timed
    assert 0 <= measured.latest < time.monotonic() - began


async def test_echo(server: Server) -> None:
    workload = Workload(url=url(server, "ws"), publishers=3, echo=True, count=60, inflight=1, qos=1, timeout=PATIENCE)
    measured = await drive(workload)
    assert measured.ok, measured.trouble
    assert (measured.sent, measured.received, measured.connected) == (60, 60, 3)


async def test_idle_clients_only_connect(server: Server) -> None:
    began = time.monotonic()
    measured = await drive(Workload(url=url(server, "tcp"), idle=40, seconds=0.05, warm_up=0.0))
    assert measured.ok, measured.trouble
    assert (measured.connected, measured.connect.count, measured.sent) == (40, 40, 0)
    assert 0 < measured.connect_seconds < time.monotonic() - began
    assert measured.connect_busiest > 0
    assert measured.connect_bytes_sent > 40 * 20
    assert measured.connect_bytes_received >= 40 * 5


@pytest.mark.parametrize("qos", [0, 1])
async def test_publishers_without_subscribers(server: Server, qos: int) -> None:
    measured = await drive(Workload(url=url(server, "tcp"), **{**SHORT, "subscribers": 0}, qos=qos))
    assert measured.ok, measured.trouble
    assert measured.sent > 0
    assert (measured.expected, measured.received) == (0, 0)


async def test_subscribers_without_publishers_count_whatever_comes(server: Server) -> None:
    received = []
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            workload = Workload(
                url=url(server, "tcp"), subscribers=2, topic_filter="#", count=9, seconds=3600.0, warm_up=0.0
            )
            received.append(await drive(workload))
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        with trio.fail_after(PATIENCE):
            while True:
                server.publish("any/where", b"21.5")
                await trio.sleep(0.02)
    (measured,) = received
    assert measured.ok, measured.trouble
    assert measured.received >= 9
    assert measured.latency.count == 0


async def test_what_comes_before_the_window_does_not_fill_a_count(server: Server) -> None:
    for number in range(20):
        server.publish(f"retained/{number}", b"21.5", retain=True)
    phases = []
    received = []
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            workload = Workload(
                url=url(server, "tcp"), subscribers=1, topic_filter="+/+", count=9, seconds=3600.0, warm_up=0.0
            )
            received.append(await drive(workload, progress=lambda progress: phases.append(progress.phase)))
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        with trio.fail_after(PATIENCE):
            while True:
                if "measuring" in phases:
                    server.publish("any/where", b"21.5")
                await trio.sleep(0.02)
    (measured,) = received
    assert measured.ok, measured.trouble
    assert measured.received >= 9


async def test_fan_out_and_fan_in(server: Server) -> None:
    fan_out = Workload(
        url=url(server, "tcp"), publishers=1, subscribers=20, topic="a", topic_filter="a", count=30, timeout=PATIENCE
    )
    measured = await drive(fan_out)
    assert (measured.ok, measured.sent, measured.received) == (True, 30, 600)
    fan_in = replace(fan_out, publishers=20, subscribers=1, topic="a/%i", topic_filter="a/+", qos=1)
    measured = await drive(fan_in)
    assert (measured.ok, measured.sent, measured.received) == (True, 30, 30)


@pytest.mark.parametrize(
    "fields",
    [
        {"publishers": 4, "subscribers": 4},
        {"publishers": 1, "subscribers": 6, "topic": "a", "topic_filter": "a"},
        {"publishers": 6, "subscribers": 1, "topic": "a/%i", "topic_filter": "a/+", "inflight": 2},
        {"publishers": 4, "subscribers": 4, "topic_filter": "$share/g/bench/+"},
    ],
)
async def test_several_workers(server: Server, fields: dict[str, Any]) -> None:
    measured = await drive(Workload(url=url(server, "tcp"), count=60, timeout=PATIENCE, **fields), workers=2)
    assert measured.ok, measured.trouble
    assert (measured.sent, measured.received) == (60, measured.expected)
    assert (measured.lost, measured.workers) == (0, 2)


async def test_several_workers_wait_for_each_other(server: Server) -> None:
    enough = trio.Event()

    def look(progress: Progress) -> None:
        if progress.phase == "measuring" and progress.received > 60:  # those of the first flight are 18
            enough.set()

    fields = {"publishers": 2, "subscribers": 3, "topic": "a", "topic_filter": "a", "inflight": 3, "seconds": 3600.0}
    with trio.fail_after(PATIENCE):
        measured = await drive(
            Workload(url=url(server, "tcp"), **{**SHORT, **fields}), workers=2, progress=look, stop=enough
        )
    assert measured.ok, measured.trouble
    assert measured.received > 18
    assert measured.lost == 0


async def test_user_name_of_the_url_is_used_in_the_topics(server: Server) -> None:
    address = url(server, "tcp").replace("//", "//me:secret@")
    measured = await drive(
        Workload(
            url=address, publishers=1, subscribers=1, topic="of/%u", topic_filter="of/me", count=5, timeout=PATIENCE
        )
    )
    assert (measured.ok, measured.received) == (True, 5)


async def test_a_run_is_ended_before_its_time(server: Server) -> None:
    stop = trio.Event()

    def end(progress: Progress) -> None:
        if progress.phase == "measuring" and progress.received:
            stop.set()

    workload = Workload(url=url(server, "tcp"), **{**SHORT, "seconds": 3600.0}, qos=1)
    with trio.fail_after(PATIENCE):
        measured = await drive(workload, progress=end, stop=stop)
    assert measured.ok, measured.trouble
    assert (measured.lost, measured.received > 0, 0 < measured.seconds < PATIENCE) == (0, True, True)
    assert measured.latency.count > 0


async def test_a_run_is_ended_while_it_connects(server: Server) -> None:
    stop = trio.Event()
    stop.set()
    measured = await drive(Workload(url=url(server, "tcp"), idle=5, connect_rate=0.1), stop=stop)
    assert measured.connected < 5
    assert measured.sent == 0


# -- Against one that does wrong


def at_ten(*deliveries: Callable[[Publish], Publish]) -> Callable[[int, Publish], list[Publish]]:
    """Of message 10 these are delivered, every other is as it should be."""
    return lambda number, message: [change(message) for change in deliveries] if number == 10 else [message]


def same(message: Publish) -> Publish:
    return message


def altered(message: Publish) -> Publish:
    return Publish(message.topic, message.payload[:-1] + b"\0")


def elsewhere(message: Publish) -> Publish:
    return Publish("bench/1" if message.topic == "bench/0" else "bench/0", message.payload)


class Swap:
    """Message 10 after message 11 of the same topic."""

    def __init__(self) -> None:
        self.held: Publish | None = None

    def __call__(self, number: int, message: Publish) -> list[Publish]:
        if number == 10:
            self.held = message
            return []
        if self.held is not None and self.held.topic == message.topic:
            held, self.held = self.held, None
            return [message, held]
        return [message]


async def against(toy: Toy, **fields: Any) -> Any:
    workload = Workload(url="", **{"publishers": 2, "subscribers": 2, "count": 40, "timeout": PATIENCE, **fields})
    failure: BenchError | None = None
    async with serving(toy):
        try:
            return await drive(replace(workload, url=toy.url))
        except BenchError as error:  # not through the nursery, which would put it into a group
            failure = error
    raise failure


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_toy_can_do_right(qos: int) -> None:
    async with serving(Toy(faithful)) as toy:
        measured = await drive(Workload(url=toy.url, publishers=2, subscribers=2, count=40, qos=qos, timeout=PATIENCE))
        with trio.fail_after(PATIENCE):
            await toy.wait_for_goodbyes(4)
    assert measured.ok, measured.trouble
    assert measured.received == 40


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_dropped_message_is_lost(qos: int) -> None:
    measured = await against(Toy(at_ten()), qos=qos)
    assert (measured.sent, measured.received, measured.lost) == (40, 39, 1)
    assert measured.trouble == ({"a message lost at QoS 1": 1} if qos else {})


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_repeated_message_is_repeated(qos: int) -> None:
    measured = await against(Toy(at_ten(same, same)), qos=qos)
    assert (measured.received, measured.lost, measured.repeated) == (41, 0, 1)
    assert measured.ok is (qos == 1)


async def test_swapped_messages_are_disordered() -> None:
    measured = await against(Toy(Swap()))
    assert (measured.received, measured.lost, measured.disordered, measured.ok) == (40, 0, 1, False)


@pytest.mark.parametrize("fault", [altered, elsewhere])
async def test_an_altered_message_is_corrupted(fault: Callable[[Publish], Publish]) -> None:
    measured = await against(Toy(at_ten(fault)))
    assert (measured.corrupted, measured.ok) == (1, False)


async def test_refused_messages_are_refused_and_not_lost() -> None:
    toy = Toy(lambda number, message: [])
    toy.puback = ReasonCode.QUOTA_EXCEEDED
    measured = await against(toy, qos=1)
    assert (measured.refused, measured.lost, measured.ok) == (40, 0, False)


async def test_a_broker_that_delivers_nothing_is_not_fast() -> None:
    with trio.fail_after(PATIENCE):
        measured = await against(
            Toy(lambda number, message: []), count=0, seconds=0.8, warm_up=0.0, inflight=5, timeout=1.0
        )
    assert measured.sent <= 2 * 5 * 3  # what is under way at most, and again after each stall
    assert (measured.received, measured.lost) == (0, measured.expected)


async def test_a_count_is_not_fed_to_a_broker_that_delivers_nothing() -> None:
    with trio.fail_after(PATIENCE):
        measured = await against(Toy(lambda number, message: []), count=100_000, inflight=5, timeout=1.0)
    assert measured.sent == measured.lost < 100
    assert measured.trouble == {
        "a message that was not sent, as what was sent before did not come through": 100_000 - measured.sent
    }


async def test_two_runs_at_the_same_topics_are_told_apart() -> None:
    found: list[Any] = []
    looks = {"first": 0, "second": 0}  # at each, once both are measured
    measuring = set()
    stop = trio.Event()

    async def one(name: str) -> None:
        def look(progress: Progress) -> None:
            if progress.phase == "measuring" and progress.received:
                measuring.add(name)
            looks[name] += len(measuring) == 2
            if min(looks.values()) >= 3:
                stop.set()

        workload = Workload(url=toy.url, publishers=1, subscribers=1, seconds=3600.0, warm_up=0.0)
        found.append(await drive(workload, progress=look, stop=stop))

    with trio.fail_after(PATIENCE):
        async with serving(Toy()) as toy, trio.open_nursery() as nursery:
            nursery.start_soon(one, "first")
            nursery.start_soon(one, "second")
    assert len(found) == 2
    for measured in found:
        assert (measured.repeated, measured.disordered, measured.ok) == (0, 0, False)
        assert "a message that this run did not send, on 'bench/0'" in next(iter(measured.trouble))


async def test_a_broker_that_dies_ends_the_run() -> None:
    with trio.fail_after(PATIENCE):
        measured = await against(Toy(hang_up_at=10), count=0, seconds=3600.0, warm_up=0.0)
    assert measured.disconnected > 0
    assert measured.trouble
    assert not measured.ok
    assert measured.sent >= 10


async def test_nobody_there() -> None:
    with pytest.raises(CannotConnect, match="Is a broker running there"):
        await drive(Workload(url="mqtt://127.0.0.1:1", **SHORT))


async def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(CannotConnect, match=r"mqtt://nobody\.invalid:1883"):
        await drive(Workload(url="mqtt://nobody.invalid", **SHORT))


async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotConnect, match="No such file"):
        await drive(Workload(url=f"unix:{tmp_path}/nothing", **SHORT))


async def test_of_several_addresses_the_one_that_answers() -> None:
    async with serving(Toy()) as toy:
        measured = await drive(Workload(url=f"mqtt://localhost:{toy.port}", idle=1, seconds=0.01, warm_up=0.0))
    assert measured.connected == 1


async def test_a_refusal() -> None:
    toy = Toy()
    toy.connack = Connack(ReasonCode.BAD_USER_NAME_OR_PASSWORD)
    with pytest.raises(Refused, match="0x86 bad user name or password"):
        await against(toy)


async def test_no_answer() -> None:
    toy = Toy()
    toy.connack = None
    with trio.fail_after(PATIENCE), pytest.raises(CannotConnect, match="no answer to CONNECT of subscriber 0 in time"):
        await against(toy, timeout=0.2)


async def test_a_wrong_path(server: Server) -> None:
    with pytest.raises(Refused, match="404"):
        await drive(Workload(url=url(server, "ws").replace("/mqtt", "/nothing"), **SHORT))


@pytest.mark.parametrize(
    ("address", "fields", "words"),
    [
        ("http://x", {}, "is none of"),
        ("mqtt://x", {"payload": 3}, "a payload is 16"),
        ("mqtt://x", {"publishers": 0, "subscribers": 0}, "at least one client"),
    ],
)
async def test_what_has_no_sense(address: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        await drive(Workload(url=address, **{**SHORT, **fields}))


# -- Worker processes


async def test_a_cancelled_run_leaves_nothing() -> None:
    async with serving(Toy()) as toy:
        with trio.move_on_after(0.5) as scope:
            await drive(Workload(url=toy.url, **{**SHORT, "seconds": 3600.0}), workers=2)
        assert scope.cancelled_caught
        assert children() == []


async def test_a_cancelled_run_disconnects_its_clients() -> None:
    async with serving(Toy()) as toy:
        with trio.CancelScope() as scope:

            def look(progress: Progress) -> None:
                if progress.connected == 4:
                    scope.cancel()

            await drive(Workload(url=toy.url, idle=4, seconds=3600.0), progress=look)
        with trio.fail_after(PATIENCE):
            await toy.wait_for_goodbyes(4)


async def test_a_worker_that_dies_is_told(server: Server) -> None:
    def kill(progress: Progress) -> None:
        for child in children() if progress.phase == "measuring" else []:
            os.kill(child, signal.SIGKILL)

    workload = Workload(url=url(server, "tcp"), **{**SHORT, "seconds": 3600.0})
    with trio.fail_after(PATIENCE), pytest.raises(BenchError, match="a worker process ended: it said nothing"):
        await drive(workload, progress=kill)


async def test_a_worker_leaves_ctrl_c_to_its_parent(server: Server) -> None:
    interrupted: list[int] = []  # messages received when it was
    stop = trio.Event()

    def interrupt(progress: Progress) -> None:
        if progress.phase != "measuring":
            return
        if interrupted and progress.received > interrupted[0]:
            stop.set()
        for child in [] if interrupted else children():
            assert os.getpgid(child) != os.getpgid(0)
            os.kill(child, signal.SIGINT)
            interrupted.append(progress.received)

    with trio.fail_after(PATIENCE):
        workload = Workload(url=url(server, "tcp"), **{**SHORT, "seconds": 3600.0})
        measured = await drive(workload, progress=interrupt, stop=stop)
    assert measured.ok, measured.trouble
    assert interrupted
    assert measured.received > 0
