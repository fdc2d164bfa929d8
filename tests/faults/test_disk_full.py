"""A disk that fills up, to the reserve and to the last byte: who may go on, what is kept, and how it ends.

Everything that the broker acknowledges is in the ledger (tests/faults/ledger.py). Payloads are of 1 KiB, so that a disk
of 12 MiB is full after a few thousand.
"""

from __future__ import annotations

import subprocess
import sys
import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from broker.packets.types import MQTT_3_1_1, Pingreq
from tests.faults.brokers import BrokerProcess
from tests.faults.killable import TrioMQ
from tests.faults.ledger import REFUSED, Ledger
from tests.faults.small_disk import small_disk
from tests.faults.traffic import CALM, Durable, Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.small_disk import SmallDisk

MIB = 1024 * 1024
DISK, RESERVE, BALLAST = 12 * MIB, 4 * MIB, 2 * MIB
STATE = "$SYS/broker/store/state"
LONG_NAME = "." * 1000


class OnSmallDisk(TrioMQ):
    def __init__(self, folder: Path, disk: SmallDisk) -> None:
        super().__init__(folder, "fsync")
        self.disk = disk
        text = self.configuration.read_text().replace(str(self.data), str(disk.point / "data"))
        text = text.replace("[store]\n", f"[store]\nreserve = {RESERVE}\nballast = {BALLAST}\n")
        self.configuration.write_text("[server]\nsys_interval = 1\n" + text)

    def start(self, failpoint: str = "") -> None:
        self.starts += 1
        command = [sys.executable, "-m", "broker", "serve", "-c", str(self.configuration), "--log-format", "json"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.disk.prefix, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )
        broker = BrokerProcess(self.process, self.log)
        broker.wait_for_listeners(["tcp", "ws"])
        self.addresses = broker.addresses


class Scene:
    """A durable subscriber, who is away, a publisher of 5.0 and one of 3.1.1, and somebody who lives on QoS 0."""

    def __init__(self, broker: OnSmallDisk) -> None:
        self.broker = broker
        self.ledger = Ledger(0)
        chance = Random(0)
        streams = [self.ledger.stream(f"{name}{LONG_NAME}", f"full/{name}", 1) for name in ("new", "old")]
        receiver = self.ledger.receiver("away", True, lambda _: True)
        self.away = Durable("away", self.ledger, chance, filters=["full/#"], receiver=receiver)
        self.new = Durable("new", self.ledger, chance, publishes=streams[:1], window=20)
        self.old = Durable("old", self.ledger, chance, version=MQTT_3_1_1, publishes=streams[1:], window=20)
        self.live = Durable("live", self.ledger, chance, durable=False, filters=["zero/#", STATE])
        self.fleet = Fleet([self.away, self.new, self.old, self.live])

    def begin(self) -> None:
        self.broker.start()
        for each in self.fleet.clients:
            each.connect(self.broker.addresses)
        self.until(lambda: all(each.ready for each in self.fleet.clients))
        self.away.leave()

    def until(self, holds: Callable[[], bool]) -> None:
        assert self.fleet.until(holds), self.told()

    def told(self) -> str:
        state = self.live.received_others[-1:]
        return (
            f"{self.ledger.verdict()}; {state}; free {self.broker.disk.free()}; {self.broker.log.read_text()[-2000:]}"
        )

    def publish_until_refused(self) -> None:
        """Until 5.0 is told 0x97 and 3.1.1 waits for what does not come."""
        deadline = time.monotonic() + 30
        while not any(REFUSED in stream.state for stream in self.ledger.streams.values()):
            assert time.monotonic() < deadline, self.told()
            self.new.publish_some(20)
            self.old.publish_some(20)
            self.fleet.turn(0.01)
        self.until(lambda: not self.new.outgoing)
        for _ in range(3):  # what came before the disk was full is acknowledged as late as its commit
            self.old.publish_some(20)
            before = self.ledger.acknowledged_count
            for _ in range(3):
                self.ping(self.old)
                self.fleet.turn(CALM)
            if self.old.outgoing and self.ledger.acknowledged_count == before:
                return
        pytest.fail(f"3.1.1 got acknowledgements on a full disk: {self.told()}")

    def ping(self, client: Durable) -> None:
        client.pinged = True
        client.send(Pingreq())
        self.until(lambda: not client.pinged)

    def qos_0_flows(self, payload: bytes) -> None:
        for each in (self.new, self.old):
            each.publish(f"zero/{each.name}", payload, 0)
        self.until(lambda: all(self.came(f"zero/{each.name}", payload) for each in (self.new, self.old)))

    def state_is(self, payload: bytes) -> None:
        self.until(
            lambda: [each.payload for each in self.live.received_others if each.topic == STATE][-1:] == [payload]
        )

    def came(self, topic: str, payload: bytes) -> bool:
        return any(each.topic == topic and each.payload == payload for each in self.live.received_others)

    def drain(self) -> None:
        """The durable subscriber comes and takes all that was acknowledged."""
        self.away.connect(self.broker.addresses)
        receiver = self.away.receiver
        assert receiver is not None
        self.until(lambda: self.away.ready and self.ledger.missing(receiver) == 0)
        self.until(lambda: self.fleet.quiet([self.away]))

    def accepted_again(self) -> None:
        """Without a restart, QoS 1 is taken from both."""
        before = self.ledger.acknowledged_count
        deadline = time.monotonic() + 20
        while self.ledger.acknowledged_count == before:
            assert time.monotonic() < deadline, self.told()
            self.new.publish_some(1)
            self.until(lambda: not self.new.outgoing)
            self.fleet.turn(0.05)
        self.old.close()
        self.old.connect(self.broker.addresses)  # and sends again what was never acknowledged
        self.until(lambda: self.old.ready and not self.old.outgoing)

    def restart(self) -> None:
        self.broker.kill()
        self.until(lambda: not self.fleet.here())
        self.broker.start()

    def end(self) -> None:
        """Everything is there after one more restart, and nothing twice that need not be."""
        self.restart()
        for each in (self.new, self.old):
            each.connect(self.broker.addresses)
        self.until(lambda: self.new.idle and self.old.idle)
        self.drain()
        verdict = self.ledger.verdict()
        assert verdict.clean, verdict
        assert verdict.acknowledged > 100, verdict
        assert verdict.refused, verdict
        self.fleet.close()
        self.broker.stop()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with small_disk(tmp_path / "disk", DISK) as disk, OnSmallDisk(tmp_path, disk) as broker:
        made = Scene(broker)
        made.begin()
        yield made
        made.fleet.close()


def test_a_full_disk_that_its_consumers_empty(scene: Scene) -> None:
    """Filled by what waits: refused, told, QoS 0 goes on; drained, and taken again."""
    scene.publish_until_refused()
    assert scene.broker.disk.free() > RESERVE // 2, "the reserve was not kept"
    scene.state_is(b"full")
    scene.qos_0_flows(b"on a full disk")
    scene.drain()
    scene.state_is(b"ok")
    scene.accepted_again()
    scene.end()


@pytest.mark.parametrize("killed", [False, True])
def test_a_disk_that_others_fill_to_the_last_byte(scene: Scene, killed: bool) -> None:
    """Not even SQLite's DELETE has room then; what waits is taken away all the same, and it stays taken away. A broker
    that is started on such a disk does no less."""
    scene.publish_until_refused()
    others = scene.broker.disk.fill()
    if killed:
        scene.restart()
        for each in (scene.new, scene.old, scene.live):
            each.connect(scene.broker.addresses)
        scene.until(lambda: scene.new.ready and scene.old.ready and scene.live.ready)
        others = scene.broker.disk.fill()
    assert scene.broker.disk.free() == 0
    scene.qos_0_flows(b"no room at all")
    scene.drain()
    scene.state_is(b"full")
    scene.qos_0_flows(b"still none")
    others.unlink()
    scene.state_is(b"ok")
    scene.accepted_again()
    scene.end()


def test_a_disk_that_is_full_without_warning(scene: Scene) -> None:
    """Others take the last byte between two looks, in the middle of traffic: nothing of it is acknowledged and lost."""
    for _ in range(20):
        scene.new.publish_some(20)
        scene.old.publish_some(20)
        scene.fleet.turn(0.02)
    others = scene.broker.disk.fill()
    scene.publish_until_refused()
    scene.state_is(b"full")
    others.unlink()
    scene.state_is(b"ok")
    scene.accepted_again()
    scene.end()
