"""Time over a restart: what is due counts the downtime, and no jump of the wall clock makes anything expire early.

While the broker runs a jump has no effect at all. Over a restart nobody can tell a jump from a downtime, so expiry is
off by the jump at most; where the clock went back nothing has passed, and the log says so.
"""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from broker.packets.types import Will
from tests.faults.killable import TrioMQ
from tests.faults.ledger import Ledger
from tests.faults.traffic import Durable, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR: Final = 3600
TEN_YEARS: Final = 10 * 365 * 24 * HOUR
TICK: Final = 1.5  # seconds after which the broker has written down what time it is


class World:
    """A broker whose wall clock can be set, and Clients by name."""

    def __init__(self, folder: Path) -> None:
        self.broker = TrioMQ(folder, "written")
        self.broker.wall = folder / "wall"
        self.set_clock(0)
        self.clients: dict[str, Durable] = {}
        self.fleet = Fleet([])

    def set_clock(self, seconds: int) -> None:
        assert self.broker.wall is not None
        new = self.broker.wall.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.broker.wall)

    def come(self, name: str, *filters: str, expiry: int = HOUR, will: Will | None = None) -> Durable:
        """Connect this Client, for the first time or again; its subscriptions are there when this returns."""
        client = self.clients.get(name)
        if client is None:
            client = Durable(name, Ledger(), Random(1), filters=list(filters), expiry=expiry, will=will)
            self.clients[name] = client
            self.fleet.clients.append(client)
        client.connect(self.broker.addresses)
        assert self.fleet.until(lambda: client.ready)
        return client

    def go(self, *clients: Durable) -> None:
        """Their Network Connections end without DISCONNECT, and the broker knows it."""
        for client in clients:
            client.close()
        witness = self.come("passer-by")
        assert self.fleet.quiet([witness])
        witness.close()

    def publish(self, client: Durable, topic: str, expiry: int = -1, retain: bool = False) -> None:
        client.publish(topic, topic.encode(), 1, retain=retain, expiry=expiry)
        assert self.fleet.until(lambda: client.idle)

    def settled(self, client: Durable, *expected: str) -> dict[str, int]:
        """All topics that have come to it when those that are expected have come, and the Message Expiry Interval of
        the last message to each."""
        assert self.fleet.until(lambda: {packet.topic for packet in client.received_others} >= set(expected))
        assert self.fleet.quiet([client])
        return {packet.topic: packet.message_expiry_interval for packet in client.received_others}

    def kill(self) -> None:
        self.broker.kill()
        assert self.fleet.until(lambda: not self.fleet.here())

    def present(self, name: str) -> bool:
        """Whether its Session is there when it comes again."""
        connack = self.come(name).connack
        assert connack is not None
        return connack.session_present


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.broker:
        made.broker.start()
        yield made
    made.fleet.close()


def test_the_downtime_counts(world: World) -> None:
    """Away or connected when the broker is killed: three seconds later what had two is over, what had 60 is not."""
    away = [world.come("away-2", expiry=2), world.come("away-60", "m/#", "r/#", expiry=60)]
    world.go(*away)
    world.come("here-2", expiry=2)
    world.come("here-60", expiry=60)
    publisher = world.come("publisher")
    for seconds in (2, 60):
        world.publish(publisher, f"m/{seconds}", seconds)
        world.publish(publisher, f"r/{seconds}", seconds, retain=True)
    world.publish(publisher, "r/ever", retain=True)
    world.kill()
    time.sleep(3)
    world.broker.start()
    assert {name: world.present(name) for name in ("away-2", "here-2", "away-60", "here-60")} == {
        "away-2": False,
        "here-2": False,
        "away-60": True,
        "here-60": True,
    }
    found = world.settled(world.clients["away-60"], "m/60", "r/60", "r/ever")
    assert set(found) == {"m/60", "r/60", "r/ever"}
    assert 40 < found["m/60"] <= 58
    retained = world.settled(world.come("reader", "r/#"), "r/60", "r/ever")
    assert set(retained) == {"r/60", "r/ever"}
    assert 40 < retained["r/60"] <= 58


def test_wills_are_published_once(world: World) -> None:
    """Whatever the broker was doing when a Will was due, and however often it is killed."""
    witness = world.come("witness", "will/#")

    def came() -> list[str]:
        return sorted(packet.topic.removeprefix("will/") for packet in witness.received_others)

    def will(name: str, delay: int) -> Will:
        return Will(f"will/{name}", b"x", 2, delay_interval=delay)

    world.go(*(world.come(f"gone-{delay}", will=will(f"gone-{delay}", delay)) for delay in (0, 1, 5)))
    started = time.monotonic()
    assert world.fleet.until(lambda: "gone-0" in came())
    world.come("here-1", will=will("here-1", 1))
    back = world.come("back-4", will=will("back-4", 4))
    killed = time.monotonic()
    world.kill()
    back.will = None
    world.broker.start()
    world.come("back-4")
    in_time = time.monotonic() < killed + 3.5
    world.come("witness")
    assert world.fleet.until(lambda: {"gone-1", "gone-5", "here-1"} <= set(came())), came()
    assert 4.5 < time.monotonic() - started < 15
    world.kill()
    world.broker.start()
    world.come("witness")
    time.sleep(1)
    assert world.fleet.quiet([witness])
    expected = ["gone-0", "gone-1", "gone-5", "here-1"]
    assert came() == (expected if in_time else ["back-4", *expected])


def test_jumps_while_it_runs(world: World) -> None:
    """Nothing is early and nothing late, in this life and in the next."""
    subscriber = world.come("away-60", "m", expiry=60)
    world.go(subscriber, world.come("away-2", expiry=2))
    publisher = world.come("publisher")
    world.publish(publisher, "m", 60)
    for jump in (HOUR, TEN_YEARS, -TEN_YEARS, -HOUR):
        world.set_clock(jump)
        time.sleep(TICK)
    world.kill()
    world.broker.start()
    assert world.present("away-60")
    assert not world.present("away-2")
    assert 30 < world.settled(subscriber, "m")["m"] < 60 - 3 * TICK


@pytest.mark.parametrize("jump", [-HOUR, -TEN_YEARS])
def test_a_clock_that_was_set_back_over_a_restart(world: World, jump: int) -> None:
    """Nothing has passed: what is late is so by the downtime, and nothing is early."""
    subscriber = world.come("away-60", "m", expiry=60)
    world.go(subscriber)
    world.publish(world.come("publisher"), "m", 60)
    world.kill()
    world.set_clock(jump)
    world.broker.start()
    assert world.present("away-60")
    assert 40 < world.settled(subscriber, "m")["m"] <= 60
    assert "behind the time at which this store was last used" in world.broker.log.read_text()


def test_a_clock_that_was_set_forward_over_a_restart(world: World) -> None:
    """It cannot be told from a downtime of an hour: expiry is off by no more than that."""
    world.go(world.come("away-60", expiry=60), world.come("away-2h", "m/#", expiry=2 * HOUR))
    publisher = world.come("publisher", expiry=2 * HOUR)
    world.publish(publisher, "m/60", 60)
    world.publish(publisher, "m/2h", 2 * HOUR)
    world.kill()
    world.set_clock(HOUR)
    world.broker.start()
    assert world.present("away-2h")
    assert not world.present("away-60")
    found = world.settled(world.clients["away-2h"], "m/2h")
    assert set(found) == {"m/2h"}
    assert HOUR - 30 < found["m/2h"] <= HOUR
