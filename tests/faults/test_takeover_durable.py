"""Many Network Connections with one Client Identifier and a durable Session: one owner, and nothing lost.

The one that is taken over is told so (0x8E, section 3.1.4) and closed; whoever comes gets the Session as it stands,
with the QoS 2 exchanges in both directions. In the middle the broker is killed.
"""

from __future__ import annotations

import select
import time
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, Connect, Disconnect, Pingreq, Pingresp, Properties
from tests.faults.killable import TrioMQ
from tests.faults.ledger import Ledger
from tests.faults.test_kill import SEED
from tests.faults.traffic import EXPIRY, Durable, Fleet, Wire

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from broker.packets.types import ControlPacket
    from tests.faults.ledger import Verdict

WEDGE = 5.0  # seconds in which a takeover must be over
RACERS = 8


class Racer:
    """One of many that want the Session; it acknowledges nothing."""

    def __init__(self, wire: Wire, websocket: bool, clean_start: bool) -> None:
        self.wire = wire
        self.websocket = websocket
        self.clean_start = clean_start
        self.packets: list[ControlPacket] = []

    @classmethod
    def connect(
        cls, addresses: dict[str, tuple[str, int]], name: str, version: int, websocket: bool, clean_start: bool
    ) -> Racer:
        wire = Wire(addresses["ws" if websocket else "tcp"], websocket, version)
        properties = Properties()
        if version == MQTT_5_0:
            properties.session_expiry_interval = EXPIRY
        wire.send(encode(Connect(name, version, clean_start, 0, properties=properties), version))
        return cls(wire, websocket, clean_start)

    def read(self) -> None:
        self.packets += self.wire.receive()
        self.wire.flush()

    def came(self, kind: type[ControlPacket]) -> list[ControlPacket]:
        return [packet for packet in self.packets if isinstance(packet, kind)]

    def told(self) -> bool:
        """Whether it was told as the standard wants it; 3.1.1 has no words for it."""
        said = [packet.reason for packet in self.packets if isinstance(packet, Disconnect)]
        return said == ([ReasonCode.SESSION_TAKEN_OVER] if self.wire.version == MQTT_5_0 else [])


def read_all(racers: list[Racer], until: float) -> None:
    """Read what comes to them until all but one have ended."""
    while time.monotonic() < until:
        left = [each for each in racers if not each.wire.ended]
        if len(left) <= 1:
            return
        ready, _, _ = select.select([each.wire.socket for each in left], [], [], 0.05)
        for each in left:
            if each.wire.socket in ready:
                each.read()


def race(
    addresses: dict[str, tuple[str, int]],
    name: str,
    chance: Random,
    clean: float,
    before: Racer | None,
    wires: ExitStack,
) -> Racer:
    """RACERS connect at once, one of them wins; `before` is who had the Session, and must lose. The winner."""
    started = time.monotonic()
    ways = [(version, websocket) for version in (MQTT_5_0, MQTT_3_1_1) for websocket in (False, True)]
    everybody = [before] if before is not None else []
    for number in range(RACERS):
        everybody.append(Racer.connect(addresses, name, *ways[number % 4], chance.random() < clean))
        wires.callback(everybody[-1].wire.close)
    read_all(everybody, started + WEDGE)
    owners = [each for each in everybody if not each.wire.ended]
    assert len(owners) == 1, f"seed {SEED}: {len(owners)} own the Session"
    owner = owners[0]
    assert owner is not before
    owner.wire.send(encode(Pingreq(), owner.wire.version))
    while not owner.came(Pingresp):
        assert time.monotonic() < started + WEDGE, f"seed {SEED}: no answer"
        assert not owner.wire.ended, f"seed {SEED}: nobody owns the Session"
        select.select([owner.wire.socket], [], [], 0.05)
        owner.read()
    for each in everybody:
        if each is not owner:
            each.wire.close()
        connacks = each.came(Connack)
        accepted = [packet for packet in connacks if isinstance(packet, Connack) and packet.reason == 0]
        if not accepted:  # another one came before its CONNACK was due
            assert each is not owner
            assert not each.came(Disconnect), f"seed {SEED}: DISCONNECT before CONNACK"
            continue
        assert len(connacks) == 1, f"seed {SEED}: {len(connacks)} CONNACK"
        assert each is owner or each.told(), f"seed {SEED}: {each.packets[-3:]}"
        if each.clean_start or not clean:
            assert accepted[0].session_present != each.clean_start, f"seed {SEED}: session present"
    owner.packets.clear()
    owner.packets.append(Connack(ReasonCode.SUCCESS, not owner.clean_start))
    return owner


class Owner:
    """One Client that receives and publishes at QoS 1 and 2, and a publisher who writes to it; broker and ledger."""

    def __init__(self, folder: Path, durability: str) -> None:
        self.broker = TrioMQ(folder, durability)
        self.ledger = Ledger(SEED)
        self.chance = Random(SEED)
        self.client = Durable(
            "owner",
            self.ledger,
            self.chance,
            filters=["to-owner"],
            publishes=[self.ledger.stream("owner", "from-owner", qos) for qos in (1, 2)],
            window=20,
            receiver=self.ledger.receiver("owner", True, lambda stream: stream.topic == "to-owner"),
        )
        self.client.patience = 0.5
        self.other = Durable(
            "other",
            self.ledger,
            self.chance,
            filters=["from-owner"],
            publishes=[self.ledger.stream("other", "to-owner", qos) for qos in (1, 2)],
            window=20,
            receiver=self.ledger.receiver("other", True, lambda stream: stream.topic == "from-owner"),
        )
        self.fleet = Fleet([self.client, self.other])
        self.left: Wire | None = None  # the old Network Connection, until it has ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self.left is not None:
            self.left.close()
        self.fleet.close()
        self.broker.__exit__(None, None, None)

    def start(self) -> None:
        """Start the broker; both come."""
        self.broker.start()
        for each in self.fleet.clients:
            each.connect(self.broker.addresses)
        assert self.fleet.until(lambda: self.client.ready and self.other.ready), f"seed {SEED}: no CONNACK"

    def kill(self) -> None:
        self.broker.kill()
        assert self.fleet.until(lambda: not self.fleet.here())

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.fleet.publish_some(5)
            self.fleet.turn(0.002)

    def take_over(self) -> None:
        """The Client comes a second time, another way perhaps; its first Network Connection is ended by the broker."""
        self.left = old = self.client.wire
        assert old is not None
        loser = Racer(old, self.client.websocket, False)
        self.client.version = self.chance.choice((MQTT_5_0, MQTT_3_1_1))
        self.client.websocket = self.chance.random() < 0.5
        self.client.connect(self.broker.addresses)
        assert self.fleet.until(lambda: self.client.ready, WEDGE), f"seed {SEED}: no CONNACK within {WEDGE} s"
        assert self.client.connack is not None
        assert self.client.connack.session_present
        deadline = time.monotonic() + WEDGE
        while not old.ended:
            assert time.monotonic() < deadline, f"seed {SEED}: the old connection stays"
            select.select([old.socket], [], [], 0.05)
            loser.read()
        assert loser.told(), f"seed {SEED}: {loser.packets[-3:]}"
        old.close()

    def end(self) -> Verdict:
        self.client.patience = 0
        self.fleet.drained(self.ledger)
        assert self.fleet.quiet(self.fleet.clients), f"seed {SEED}: it never ends"
        verdict = self.ledger.verdict()
        for each in self.fleet.here():
            each.close()
        self.broker.stop()
        return verdict


def taken_over(folder: Path, durability: str, times: int) -> Verdict:
    with Owner(folder, durability) as owner:
        owner.start()
        for number in range(times):
            owner.turns(owner.chance.randint(1, 10))
            owner.take_over()
            if number == times // 2:
                owner.turns(3)
                owner.kill()
                owner.start()
        return owner.end()


def test_taken_over_again_and_again(tmp_path: Path) -> None:
    """One after the other, amid traffic both ways."""
    verdict = taken_over(tmp_path, "written", 60)
    assert verdict.clean, verdict
    assert verdict.acknowledged > 100, verdict
    assert verdict.uncertain == 0, verdict


def raced(folder: Path, durability: str, rounds: int) -> Verdict:
    last: Racer | None = None
    with Owner(folder, durability) as owner, ExitStack() as wires:
        owner.start()
        owner.client.close()
        for number in range(rounds):
            owner.turns(5)
            last = race(owner.broker.addresses, "owner", owner.chance, 0, last, wires)
            race(owner.broker.addresses, f"any-{number}", owner.chance, 0.5, None, wires).wire.close()
            if number == rounds // 2:
                last.wire.close()
                last = None
                owner.kill()
                owner.start()
                owner.client.close()
        owner.client.version, owner.client.websocket = MQTT_5_0, False
        owner.client.connect(owner.broker.addresses)
        return owner.end()


def test_races_for_a_session(tmp_path: Path) -> None:
    """All at once, some with a clean start where the Session is not one to keep; each time one has it."""
    verdict = raced(tmp_path, "fsync", 10)
    assert verdict.clean, verdict
    assert verdict.acknowledged > 50, verdict


@pytest.mark.faults_long
@pytest.mark.parametrize("durability", ["written", "fsync"])
def test_many_takeovers(tmp_path: Path, durability: str) -> None:
    for name, many, times in (("one by one", taken_over, 1600), ("races", raced, 200)):
        folder = tmp_path / name
        folder.mkdir()
        verdict = many(folder, durability, times)
        assert verdict.clean, verdict
        assert verdict.acknowledged > times, verdict
