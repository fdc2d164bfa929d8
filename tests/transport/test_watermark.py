"""When publishers are not read: what counts, and what happens above it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, Pingreq, Publish
from broker.transport.complaints import Complaints
from broker.transport.pump import WATERMARK_LOOK
from broker.transport.watermark import (
    MEMORY_LOOK,
    MEMORY_LOOK_SOON,
    TRIM_INTERVAL,
    UNSAFE,
    Watermark,
    give_back,
    held_by,
)
from tests.core.parts import LateStore, limits, new_broker
from tests.transport.parts import Bench, complete, connect, packets, publish, subscribe, warnings

if TYPE_CHECKING:
    from broker.transport.link import Link
    from tests.transport.parts import Client

PINGREQ = encode(Pingreq(), 5)


def link_of(bench: Bench, name: str) -> Link:
    return next(each for each in bench.pump.links.values() if each.layers.connection.name == name)


def test_what_is_not_on_the_disk_counts(caplog: pytest.LogCaptureFixture) -> None:
    store = LateStore()
    broker = new_broker(store=store)
    store.journal.bytes = UNSAFE
    watermark = Watermark(broker, Complaints(), lambda now: None)
    assert watermark.look([], 0.0), "there is something to look at"
    assert not watermark.above
    store.journal.bytes = UNSAFE + 1
    assert watermark.look([], 1.0)
    assert watermark.above
    store.journal.bytes = UNSAFE // 2
    assert watermark.look([], 2.0)
    assert watermark.above
    store.journal.bytes -= 1
    lowered = watermark.lowered
    assert not watermark.look([], 3.0)
    assert not watermark.above
    assert lowered.is_set()
    assert [record.getMessage() for record in caplog.records] == [
        f"{UNSAFE + 1} bytes wait to be written to the disk: publishers wait"
    ]


# -- Backlogs of QoS 0


@pytest.mark.parametrize("overflow", ["drop-oldest", "latest"])
async def test_what_is_kept_for_slow_readers_counts(overflow: str, caplog: pytest.LogCaptureFixture) -> None:
    of = limits(overflow=overflow, outbox_soft_bytes=1000, queue_bytes=1_000_000)
    bench = Bench(of=of, buffered_bytes=500_000)
    listener = bench.listen()
    slow = bench.connected(listener, "slow", receive_buffer=4096)
    slow.send(subscribe("#"))
    slow.expect("Suback")
    publisher = bench.connected(listener, "p")
    link = bench.fill("slow")
    number = 0
    while held_by(link.layers) < 400_000:
        number += 1
        publisher.send(publish(f"a/{number}", bytes(10_000)))
    assert link.layers.outbox.size < 200_000, "it is not the outbox alone"
    bench.advance(WATERMARK_LOOK)
    assert not link_of(bench, "p").paused
    while held_by(link.layers) <= 500_000:
        number += 1
        publisher.send(publish(f"a/{number}", bytes(10_000)))
    assert link.layers.outbox.size < 200_000
    bench.advance(WATERMARK_LOOK)
    assert link_of(bench, "p").paused
    assert "server.buffered_bytes is 500000" in warnings(caplog)[0]
    bench.until(lambda: bool(slow.read()) and link.layers.outbox.size == 0)
    bench.advance(WATERMARK_LOOK)
    assert not link_of(bench, "p").paused
    bench.close()


# -- The memory of the process


class Machine(Bench):
    """A process that uses as much memory as a test says, of 1,000,000 bytes that it may."""

    def __init__(self) -> None:
        super().__init__(memory=1_000_000)
        self.used = 100_000
        self.looks = 0
        self.pump.watermark.resident = self.resident
        self.broker.start(self.now)
        self.pump.watch_memory(self.now)
        self.listener = self.listen()

    def resident(self) -> int:
        self.looks += 1
        return self.used

    def use(self, memory: int) -> None:
        """So much, and it has been looked at."""
        self.used = memory
        self.advance(max(MEMORY_LOOK, WATERMARK_LOOK) + 0.01)

    def refused(self, name: str, version: int = MQTT_5_0) -> Connack:
        client = self.client(self.listener)
        client.send(connect(name, version))
        (connack,) = packets(client.end(), version)
        assert isinstance(connack, Connack)
        return connack


def state(reader: Client) -> list[str]:
    """What $SYS has said of it since the last time."""
    topic = "$SYS/broker/process/memory/state"
    told = [packet for packet in complete(reader.read()) if isinstance(packet, Publish)]
    return [packet.payload.decode() for packet in told if packet.topic == topic]


async def test_above_its_memory_publishers_wait_and_nobody_new_comes_in(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "broker")
    bench = Machine()
    publisher, reader = bench.connected(bench.listener, "p"), bench.connected(bench.listener, "r")
    reader.send(subscribe("$SYS/broker/process/memory/state"), subscribe("a"))
    bench.advance(0.9)
    publisher.send(publish("a", b"before"))
    assert b"before" in reader.read()
    bench.use(1_000_001)
    assert state(reader) == ["full"]
    assert bench.broker.sys_topics.values(bench.now)["process/memory/state"] == "full"
    publisher.send(publish("a", b"meanwhile"))
    assert reader.read() == b"", "not read"
    reader.send(PINGREQ)
    reader.expect("Pingresp")
    assert bench.refused("new").reason == ReasonCode.SERVER_BUSY
    assert bench.refused("new", MQTT_3_1_1).reason == ReasonCode.SERVER_UNAVAILABLE  # 3
    bench.connected(bench.listener, "r").expect()

    bench.use(950_000)
    assert bench.refused("new").reason == ReasonCode.SERVER_BUSY, "not much less yet"
    reader = bench.connected(bench.listener, "r")
    reader.send(subscribe("$SYS/broker/process/memory/state"), subscribe("a"))
    assert state(reader) == ["full"]
    bench.use(900_000)
    assert state(reader) == ["ok"]
    bench.connected(bench.listener, "new")
    publisher.send(PINGREQ)
    publisher.expect("Pingresp")
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "the process uses 1000001 bytes of memory (server.memory is 1000000): publishers wait, new Sessions are "
        "refused",
        "the process uses 900000 bytes of memory again (server.memory is 1000000)",
    ]
    bench.close()


async def test_the_fuller_it_is_the_more_often_it_looks() -> None:
    bench = Machine()
    bench.advance(10 * MEMORY_LOOK)
    assert bench.looks == pytest.approx(10, abs=1)
    bench.used = 600_000
    bench.advance(MEMORY_LOOK)
    bench.looks = 0
    bench.advance(10 * MEMORY_LOOK_SOON)
    assert bench.looks == pytest.approx(10, abs=1)
    bench.close()


async def test_a_bound_taken_away_lets_all_go_on() -> None:
    bench = Machine()
    bench.use(2_000_000)
    assert bench.refused("new").reason == ReasonCode.SERVER_BUSY
    bench.broker.limits.memory = 0
    bench.use(2_000_000)
    bench.connected(bench.listener, "new")
    looks = bench.looks
    bench.advance(10.0)
    assert bench.looks == looks, "nobody looks any more"
    bench.broker.limits.memory = 1_000_000
    bench.pump.watch_memory(bench.now)
    bench.pump.watch_memory(bench.now)
    bench.advance(0.0)
    assert bench.looks == looks + 1
    assert bench.refused("other").reason == ReasonCode.SERVER_BUSY
    bench.close()


def test_what_is_free_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that the process would stay large after all has been taken, and publishers would wait for ever."""
    trims = 0

    def trim() -> None:
        nonlocal trims
        trims += 1

    monkeypatch.setattr("broker.transport.watermark.give_back", trim)
    broker = new_broker(memory=1000)
    watermark = Watermark(broker, Complaints(), lambda now: None)
    watermark.resident = lambda: 2000
    for tenth in range(int(TRIM_INTERVAL * 10) + 2):
        watermark.look_at_memory(tenth / 10)
    assert trims == 2
    give_back()
