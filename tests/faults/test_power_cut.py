"""The power fails in the middle of traffic, at a random write: what was acknowledged at level fsync is there after it.

The core and the store are the real ones, the disk is `tests/faults/disks.py`: of what was not synced it loses a part,
and tears what it was writing. At level written such a cut may lose the newest commits, but nothing else: the store
opens, and that is to say that it holds what was there after one of the commits, no row more or less.
"""

from __future__ import annotations

import os
import shutil
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final

import pytest

from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Will
from broker.store.clock import WITNESS_AT
from broker.store.folder import StoreError, StoreFailed
from broker.store.state import WITNESS_BYTES, Witness, decode_witness
from tests.faults.disks import Disk
from tests.faults.ledger import Ledger
from tests.faults.machine import Machine, Near

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.ledger import Verdict

SEED: Final = int(os.environ.get("TRIOMQ_SEED", "0")) or SystemRandom().randrange(1, 1 << 32)
MOST_OPERATIONS: Final = 1200  # writes and syncs before a cut
MOST_ROUNDS: Final = 600


class Cutting:
    """Traffic on a machine until its power is cut, and again on what is left of it."""

    def __init__(self, seed: int, durability: str, folder: Path) -> None:
        self.chance = chance = Random(seed)
        self.durability = durability
        self.folder = folder
        self.ledger = Ledger(seed)
        self.lives = 0
        self.clocks: list[bytes] = []  # what the file has held
        self.clients: list[Near] = []
        for number, version in enumerate((MQTT_5_0, MQTT_3_1_1)):
            name = f"publisher-{number}"
            streams = [self.ledger.stream(name, f"t/{number}", qos) for qos in (1, 2)]
            self.clients.append(Near(name, self.ledger, chance, version=version, publishes=streams, window=10))
        for number, version in enumerate((MQTT_5_0, MQTT_3_1_1, MQTT_5_0)):
            name = f"durable-{number}"
            receiver = self.ledger.receiver(name, True, lambda _: True)
            client = Near(name, self.ledger, chance, version=version, filters=["t/#"], receiver=receiver)
            client.patience = 0.5
            self.clients.append(client)
        self.clients[0].will = Will("will", b"gone", 1, False)
        self.retained: dict[str, list[bytes]] = {}  # by topic, what may be retained: of acknowledged changes the last
        self.retaining = Near("retaining", self.ledger, chance)
        self.clients.append(self.retaining)
        self.changing: tuple[str, int] = "", 0

    def life(self, disk: Disk) -> None:
        """Open the store and let random things happen until the disk is dead."""
        self.lives += 1
        try:
            machine = Machine(self.folder, self.durability, disk, now=100.0 * self.lives)
        except StoreError:
            assert disk.dead, "refused, on a disk that is well"
            return
        try:
            for _ in range(MOST_ROUNDS):
                self.something(machine)
                machine.step(wait=self.chance.random() < 0.5)
                for client in self.clients:
                    client.turn()
                if self.chance.random() < 0.05:
                    self.clocks.append((self.folder / "clock").read_bytes())
            disk.cut()
        except StoreFailed:
            assert disk.dead, "failed, on a disk that is well"
        for client in self.clients:
            client.turn()  # what was on its way to a Client arrives
            client.close()
        machine.discard()

    def something(self, machine: Machine) -> None:
        for client in self.clients:
            if client.wire is None:
                if self.chance.random() < 0.2:
                    client.join(machine)
            elif client.publishes and client.ready:
                if all(each.known for each in self.clients if each.filters):  # else order could not be judged
                    client.publish_some(self.chance.randint(0, 5))
            elif client is not self.retaining and self.chance.random() < 0.03:
                client.close()
        if self.retaining.ready and not self.retaining.outgoing:
            self.retain()
        machine.advance(self.chance.random() * 0.1)

    def retain(self) -> None:
        topic = f"retained/{self.chance.randrange(5)}"
        self.acknowledged_change()
        payload = b"" if self.chance.random() < 0.3 else b"%d" % self.chance.randrange(1 << 30)
        self.retained.setdefault(topic, [b""]).append(payload)
        self.changing = topic, self.retaining.publish(topic, payload, self.chance.choice((1, 2)), retain=True)

    def acknowledged_change(self) -> None:
        topic, identifier = self.changing
        if topic and identifier not in self.retaining.outgoing:
            del self.retained[topic][:-1]
            self.changing = "", 0

    def power(self, after: Path, operations: int) -> None:
        """A life with a disk that dies behind so many operations; what is left of the folder is in `after`."""
        with Disk() as disk:
            disk.cut(after=operations)
            self.life(disk)
            self.acknowledged_change()
            after.mkdir()
            disk.leave(after, self.chance)
        clock = self.folder / "clock"
        left = self.chance.choice([clock.read_bytes() if clock.exists() else b"", *self.clocks[-2:]])
        if left and self.chance.random() < 0.9:
            (after / "clock").write_bytes(of_another_run(left))
        shutil.rmtree(self.folder)
        self.folder = after

    def last_life(self) -> Verdict:
        """Everybody comes back and everything arrives, on a disk that holds."""
        machine = Machine(self.folder, self.durability, now=100.0 * self.lives + 100.0)
        found = machine.retained()
        for client in self.clients:
            client.patience = 0
            client.join(machine)
        calm = 0
        for _ in range(20 * MOST_ROUNDS):
            for client in self.clients:
                client.turn()
            moved = machine.step()
            calm = 0 if moved or not all(client.idle for client in self.clients) else calm + 1
            if calm == 3:
                break
        machine.close()
        for topic, possible in self.retained.items():
            assert self.durability != "fsync" or found.get(topic, b"") in possible, (
                f"{topic} of seed {self.ledger.seed}"
            )
        return self.ledger.verdict()


def of_another_run(clock: bytes) -> bytes:
    """The file `clock`, as it is found when the machine was started anew."""
    witness = decode_witness(clock[WITNESS_AT : WITNESS_AT + WITNESS_BYTES])
    if witness is None:
        return clock
    other = Witness(witness.commits, witness.synced, b"another run")
    return clock[:WITNESS_AT] + other.encode() + clock[WITNESS_AT + WITNESS_BYTES :]


def cut_and_judged(tmp_path: Path, seed: int, durability: str, cuts: int) -> Verdict:
    """So many lives of one store, each of which ends with a cut; then one in which everything arrives."""
    folder = tmp_path / f"{seed}-0"
    cutting = Cutting(seed, durability, folder)
    for number in range(1, cuts + 1):
        cutting.power(tmp_path / f"{seed}-{number}", cutting.chance.randrange(1, MOST_OPERATIONS))
    verdict = cutting.last_life()
    shutil.rmtree(cutting.folder)
    return verdict


def nothing_lost(tmp_path: Path, stores: int, cuts: int) -> None:
    """At fsync: what was acknowledged is there, in its order, at QoS 2 once."""
    acknowledged = 0
    for number in range(stores):
        verdict = cut_and_judged(tmp_path, SEED + number, "fsync", cuts)
        assert verdict.clean, verdict
        acknowledged += verdict.acknowledged
    assert acknowledged > stores * 50
    print(f"{stores * cuts} cuts, {acknowledged} acknowledged, none lost; seed {SEED}")


def nothing_corrupt(tmp_path: Path, stores: int, cuts: int) -> None:
    """At written: the newest may be lost, and no more than that."""
    lost = acknowledged = 0
    for number in range(stores):
        verdict = cut_and_judged(tmp_path, SEED + number, "written", cuts)
        assert not verdict.unexpected, verdict
        lost += len(verdict.lost)
        acknowledged += verdict.acknowledged
    print(f"{stores * cuts} cuts, {acknowledged} acknowledged, {lost} lost; seed {SEED}")
    assert lost, "a disk that loses nothing proves nothing"


def test_nothing_acknowledged_is_lost_at_fsync(tmp_path: Path) -> None:
    nothing_lost(tmp_path, stores=25, cuts=3)


def test_nothing_is_corrupt_at_written(tmp_path: Path) -> None:
    nothing_corrupt(tmp_path, stores=25, cuts=1)


@pytest.mark.faults_long
def test_nothing_acknowledged_is_lost_at_fsync_in_many_cuts(tmp_path: Path) -> None:
    nothing_lost(tmp_path, stores=200, cuts=4)


@pytest.mark.faults_long
def test_nothing_is_corrupt_at_written_in_many_cuts(tmp_path: Path) -> None:
    nothing_corrupt(tmp_path, stores=200, cuts=1)
