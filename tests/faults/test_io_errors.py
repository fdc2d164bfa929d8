"""A disk that fails: nobody is told that his message is kept where it may not be.

After a failed fsync those behind it succeed, though what the failed one should have written is gone (Rebello et al.,
"Can applications recover from fsync failures?", 2020). So the first failure is the end of that process; the restart
reads what is really there. A disk without room is no failure (test_disk_full.py); here one fills up that is not real.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final

import apsw
import pytest

from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Pingreq, Puback, Pubrec
from broker.store.folder import StoreFailed
from tests.faults.brokers import BrokerProcess
from tests.faults.disks import SYNC, WRITE, Disk, Fault
from tests.faults.killable import TrioMQ
from tests.faults.ledger import Ledger
from tests.faults.machine import Machine, Near
from tests.faults.traffic import Durable, Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from broker.packets.types import ControlPacket

SEED: Final = int(os.environ.get("TRIOMQ_SEED", "0")) or SystemRandom().randrange(1, 1 << 32)
DISK_FAILED: Final = 74  # the exit code that docs and --help name


class Troubled(TrioMQ):
    """A broker on a disk with this fault; see tests/faults/failing_disk.py."""

    fault = ""

    def start(self, failpoint: str = "") -> None:
        self.starts += 1
        module = ["tests.faults.failing_disk", self.fault] if self.fault else ["broker"]
        command = [sys.executable, "-m", *module, "serve", "-c", str(self.configuration), "--log-format", "json"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        broker = BrokerProcess(self.process, self.log)
        broker.wait_for_listeners(["tcp", "ws"])
        self.addresses = broker.addresses


def a_fleet(ledger: Ledger, seed: int) -> tuple[Fleet, Durable]:
    """Publishers at QoS 1 and 2, and a durable subscriber, who comes first."""
    chance = Random(seed)
    receiver = ledger.receiver("durable", True, lambda _: True)
    durable = Durable("durable", ledger, chance, filters=["t/#"], receiver=receiver)
    publishers = [
        Durable(
            f"publisher-{number}",
            ledger,
            chance,
            version=version,
            publishes=[ledger.stream(f"publisher-{number}", f"t/{number}", qos) for qos in (1, 2)],
            window=20,
        )
        for number, version in enumerate((MQTT_5_0, MQTT_3_1_1))
    ]
    return Fleet([durable, *publishers]), durable


@pytest.mark.parametrize("fault", ["sync:30", "write:60", "short:60"])
def test_the_process_ends_and_says_why(tmp_path: Path, fault: str) -> None:
    """Exit code 74 and one line; after a restart everything acknowledged arrives."""
    ledger = Ledger(SEED)
    fleet, durable = a_fleet(ledger, SEED)
    with Troubled(tmp_path, "fsync") as broker:
        broker.fault = fault
        broker.start()
        durable.connect(broker.addresses)
        assert fleet.until(lambda: durable.ready)
        for client in fleet.clients[1:]:
            client.connect(broker.addresses)
        deadline = time.monotonic() + 20
        while broker.alive:
            assert time.monotonic() < deadline, "the disk has failed and the broker goes on"
            fleet.publish_some(5)
            fleet.turn(0.005)
        assert broker.died(5) == DISK_FAILED
        text = broker.log.read_text()
        assert "Traceback" not in text
        records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        told = [record["message"] for record in records if record["level"] in ("error", "critical")]
        assert len(told) == 1, told
        assert re.search(r"(?i)store|disk", told[0]), told
        assert fleet.until(lambda: not fleet.here())

        broker.fault = ""
        broker.start()
        for client in fleet.clients:
            client.connect(broker.addresses)
        assert fleet.until(lambda: all(client.idle for client in fleet.clients))
        assert fleet.until(lambda: ledger.missing(ledger.receivers[0]) == 0)
        verdict = ledger.verdict()
        assert verdict.clean, verdict
        assert verdict.acknowledged > 10, verdict
        fleet.close()
        broker.stop()


def test_a_slow_disk_holds_up_nobody_else(tmp_path: Path) -> None:
    """With 50 ms an fsync: acknowledgements wait and come in order, QoS 0 and PINGREQ do not."""
    ledger = Ledger(SEED)
    fleet, durable = a_fleet(ledger, SEED)
    live = Durable("live", ledger, Random(SEED), durable=False, filters=["zero"])
    fleet.clients.append(live)
    acknowledged: list[tuple[int, float]] = []
    with Troubled(tmp_path, "fsync") as broker:
        broker.fault = "slow:0.05"
        broker.start()
        for client in fleet.clients:
            client.connect(broker.addresses)
        assert fleet.until(lambda: all(client.ready for client in fleet.clients))
        publisher = fleet.clients[1]
        sent: dict[int, float] = {}

        def trap(packet: ControlPacket) -> None:
            if isinstance(packet, (Puback, Pubrec)):
                acknowledged.append((packet.packet_identifier, time.monotonic() - sent[packet.packet_identifier]))

        publisher.trap = trap
        lags: list[float] = []
        end = time.monotonic() + 2
        while time.monotonic() < end:
            before = set(publisher.outgoing)
            publisher.publish_some(2)
            sent.update(dict.fromkeys(set(publisher.outgoing) - before, time.monotonic()))
            live.received_others.clear()
            live.pinged = True
            begun = time.monotonic()
            live.send(Pingreq())
            live.publish("zero", b"", 0)
            assert fleet.until(lambda: not live.pinged and bool(live.received_others))
            lags.append(time.monotonic() - begun)
        assert fleet.quiet([publisher, durable])
        assert [each[0] for each in acknowledged] == sorted(each[0] for each in acknowledged), "out of order"
        waited = sorted(each[1] for each in acknowledged)
        assert waited[0] >= 0.05, "acknowledged before the disk had it"
        lags.sort()
        assert lags[len(lags) // 2] < 0.02, lags
        assert len(lags) > 40, "held up by the disk"
        verdict = ledger.verdict()
        assert verdict.clean, verdict
        fleet.close()
        broker.stop()


@pytest.mark.parametrize("number", range(12))
def test_nothing_is_acknowledged_behind_a_failure(tmp_path: Path, number: int) -> None:
    """The Nth write or fsync fails, once: the store has failed for good, and nothing leaves any more that waited for
    it, though the disk is well again. What is in the file, and what may be after a power cut, holds all promises."""
    chance = Random(f"{SEED} {number}")
    operation, code = ((SYNC, apsw.SQLITE_IOERR_FSYNC), (WRITE, apsw.SQLITE_IOERR_WRITE))[number % 2]
    ledger = Ledger(f"{SEED} {number}")
    streams = [ledger.stream("publisher", "t/x", qos) for qos in (1, 2)]
    publisher = Near("publisher", ledger, chance, publishes=streams, window=20)
    receiver = ledger.receiver("durable", True, lambda _: True)
    durable = Near("durable", ledger, chance, filters=["t/#"], receiver=receiver)
    folder = tmp_path / "data"
    with Disk() as disk:
        machine = Machine(folder, "fsync", disk)
        for client in (publisher, durable):
            client.join(machine)
        fault = disk.fail(Fault(operation, code, chance.randrange(10, 60), part=chance.random()))
        for _ in range(500):
            publisher.turn()
            durable.turn()
            if publisher.ready:
                publisher.publish_some(3)
            try:
                machine.step(wait=chance.random() < 0.5)
            except StoreFailed:
                break
        assert fault.happened == 1
        publisher.turn()
        promised = ledger.acknowledged_count
        for _ in range(10):
            if publisher.ready:
                publisher.publish_some(3)
            machine.settle()
            with pytest.raises(StoreFailed):
                machine.collect()
            publisher.turn()
        assert ledger.acknowledged_count == promised
        publisher.close()
        durable.close()
        machine.discard()
        disk.cut()
        left = tmp_path / "left"
        left.mkdir()
        disk.leave(left, chance)
    for client in (publisher, durable):
        client.patience = 0
    machine = Machine(left if number % 3 else folder, "fsync", now=2000.0)
    for client in (publisher, durable):
        client.join(machine)
    for _ in range(200):
        publisher.turn()
        durable.turn()
        machine.step()
        if publisher.idle and durable.idle:
            break
    machine.close()
    verdict = ledger.verdict()
    assert verdict.clean, verdict
    assert publisher.idle, publisher.outgoing


def test_a_message_that_cannot_be_read_is_the_end_too(tmp_path: Path) -> None:
    """A long queue is read back when its Client comes; where that fails the broker ends, and does not go on without."""
    ledger = Ledger(0)
    streams = [ledger.stream("publisher", "t/x", 1)]
    publisher = Near("publisher", ledger, Random(0), publishes=streams, window=20)
    receiver = ledger.receiver("durable", True, lambda _: True)
    durable = Near("durable", ledger, Random(0), filters=["t/#"], receiver=receiver)
    machine = Machine(tmp_path / "data", "written")
    machine.limits.queue_messages = 10_000
    for client in (publisher, durable):
        client.join(machine)
    for _ in range(1000):
        machine.step()
        publisher.turn()
        durable.turn()
        if durable.ready and durable.wire is not None:
            durable.close()
        if publisher.ready and durable.known:
            publisher.publish_some(20)
        if ledger.acknowledged_count > 4000:
            break
    machine.rest()
    other = apsw.Connection(str(tmp_path / "data" / "store.db"))
    other.execute("update messages set rec = zeroblob(50) where id = 2000")
    other.close()
    durable.join(machine)
    with pytest.raises(StoreFailed, match="row 2000 of table messages"):  # noqa: PT012  # at some point of these
        for _ in range(1000):
            machine.step()
            durable.turn()
            machine.advance(0.1)
    machine.discard()


def test_a_disk_without_room_is_waited_for(tmp_path: Path) -> None:
    """Acknowledgements wait while there is no room, and come when there is: the store has not failed."""
    ledger = Ledger(0)
    chance = Random(0)
    publisher = Near("publisher", ledger, chance, publishes=[ledger.stream("publisher", "t/x", 1)], window=20)
    durable = Near(
        "durable", ledger, chance, filters=["t/#"], receiver=ledger.receiver("durable", True, lambda _: True)
    )
    with Disk() as disk:
        machine = Machine(tmp_path / "data", "fsync", disk)
        for client in (durable, publisher):
            client.join(machine)
        for _ in range(100):
            machine.step()
            publisher.turn()
            durable.turn()
            if publisher.ready and durable.ready:
                break
        durable.close()
        machine.rest()
        disk.room = disk.used()
        publisher.publish_some(10)
        for _ in range(5):
            machine.step(wait=False)
            publisher.turn()
            time.sleep(0.02)
        assert ledger.acknowledged_count == 0
        assert machine.broker.journal is not None
        assert machine.broker.journal.full
        disk.room = None
        machine.rest()
        publisher.turn()
        assert ledger.acknowledged_count == len(ledger.streams.popitem()[1].state)
        machine.close()
