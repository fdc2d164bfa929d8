"""kill -9 in each gap of a QoS 2 exchange, both directions: every message arrives, and none twice (section 4.3.3).

The broker dies before and behind the commit that a step waits for, by a fail-point, or right after a Client has seen
or sent a packet. Then everybody comes back, and all that was begun is brought to its end.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    ControlPacket,
    Disconnect,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from tests.faults.killable import TrioMQ
from tests.faults.ledger import Ledger
from tests.faults.test_kill import SEED
from tests.faults.traffic import Durable, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGES: Final = 3

# which of the two keep a Session, and where the broker dies; a publisher without one leaves no rows of its own
GAPS: Final[dict[str, tuple[bool, str]]] = {
    "before PUBLISH is kept": (True, "before-commit@exchanges:1"),
    "before PUBREC": (True, "after-commit@exchanges:1"),
    "before PUBREL is kept": (True, "before-commit@exchanges-deleted:1"),
    "before PUBCOMP": (True, "after-commit@exchanges-deleted:1"),
    "before an identifier is kept": (False, "before-commit@queued:2"),
    "before PUBLISH is sent": (False, "after-commit@queued:2"),
    "before PUBREC is kept": (False, "before-commit@exchanges:1"),
    "before PUBREL is sent": (False, "after-commit@exchanges:1"),
    "before PUBCOMP is kept": (False, "before-commit@exchanges-deleted:1"),
    "behind the exchange": (False, "after-commit@exchanges-deleted:1"),
}


class Exchange:
    """A broker, a publisher and a subscriber, who may not be there from the beginning."""

    def __init__(self, folder: Path, version: int, websocket: bool, durability: str) -> None:
        self.broker = TrioMQ(folder, durability)
        self.ledger = Ledger(SEED)
        chance = Random(SEED)
        self.stream = self.ledger.stream("publisher", "t", 2)
        self.publisher = Durable(
            "publisher", self.ledger, chance, version=version, websocket=websocket, publishes=[self.stream], window=100
        )
        self.receiver = self.ledger.receiver("subscriber", True, lambda _: True)
        self.subscriber = Durable(
            "subscriber",
            self.ledger,
            chance,
            version=version,
            websocket=websocket,
            filters=["t"],
            receiver=self.receiver,
        )
        self.fleet = Fleet([self.publisher, self.subscriber])

    def come(self, *clients: Durable) -> None:
        """Connect `clients`, and wait until their Sessions are there, or the broker has died of that."""
        for client in clients:
            client.connect(self.broker.addresses)
        came = self.fleet.until(lambda: all(each.ready for each in clients) or not self.broker.alive)
        assert came, f"seed {SEED}: no CONNACK"

    def dies(self) -> None:
        """The fail-point is reached."""
        assert self.fleet.until(lambda: not self.broker.alive), f"seed {SEED}: the fail-point was not reached"
        assert self.broker.died(1) == -9
        assert self.fleet.until(lambda: not self.fleet.here())

    def finish(self) -> None:
        """A new life of the broker, in which everything that was begun is ended: each message has come once."""
        self.broker.start()
        self.come(self.subscriber, self.publisher)
        self.publisher.publish_some(1)
        assert self.fleet.quiet(self.fleet.clients), f"seed {SEED}: it never ends"
        verdict = self.ledger.verdict()
        assert verdict.clean, verdict
        assert self.ledger.missing(self.receiver) == 0
        if self.publisher.durable:
            assert verdict.uncertain == 0, verdict
            assert verdict.delivered == verdict.sent, verdict
        self.fleet.close()
        self.broker.stop()


WAYS: Final = [(MQTT_5_0, False, "written"), (MQTT_3_1_1, True, "fsync")]


@pytest.fixture(params=WAYS, ids=["5.0-tcp-written", "3.1.1-ws-fsync"])
def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchange]:
    made = Exchange(tmp_path, *request.param)
    with made.broker:
        yield made
    made.fleet.close()


@pytest.mark.parametrize("gap", list(GAPS))
def test_each_gap(exchange: Exchange, gap: str) -> None:
    publisher_durable, failpoint = GAPS[gap]
    exchange.publisher.durable = publisher_durable
    exchange.broker.start(failpoint)
    if publisher_durable:
        exchange.come(exchange.subscriber, exchange.publisher)
        exchange.publisher.publish_some(MESSAGES)
    else:
        exchange.come(exchange.subscriber)
        exchange.subscriber.send(Disconnect())
        exchange.fleet.until(lambda: not exchange.fleet.here())
        exchange.come(exchange.publisher)
        exchange.publisher.publish_some(1)
        exchange.fleet.until(lambda: exchange.publisher.idle)
        exchange.come(exchange.subscriber)
    exchange.dies()
    seen: list[ControlPacket] = []
    exchange.publisher.trap = seen.append
    exchange.finish()
    reasons = [packet.reason for packet in seen if isinstance(packet, Pubcomp)]
    if gap == "before PUBCOMP" and exchange.publisher.version == MQTT_5_0:
        assert ReasonCode.PACKET_IDENTIFIER_NOT_FOUND in reasons, "the identifier is released, and the answer says so"
    else:
        assert set(reasons) == {0}


SEEN: Final[dict[str, tuple[str, type[ControlPacket]]]] = {
    "PUBREC is seen": ("publisher", Pubrec),
    "PUBCOMP is seen": ("publisher", Pubcomp),
    "PUBLISH is seen": ("subscriber", Publish),
    "PUBREL is seen": ("subscriber", Pubrel),
}


@pytest.mark.parametrize("answered", [False, True], ids=["unanswered", "answered"])
@pytest.mark.parametrize("moment", list(SEEN))
def test_when_a_packet_is_seen(tmp_path: Path, moment: str, answered: bool) -> None:
    """The Client that gets it dies together with the broker, or has its answer on the way."""
    number = list(SEEN).index(moment) + answered
    exchange = Exchange(tmp_path, *WAYS[number % 2])
    who, kind = SEEN[moment]
    client = exchange.publisher if who == "publisher" else exchange.subscriber
    seen: list[ControlPacket] = []

    def trap(packet: ControlPacket) -> None:
        if isinstance(packet, kind):
            seen.append(packet)
            if not answered:
                exchange.broker.kill()

    with exchange.broker:
        exchange.broker.start()
        exchange.come(exchange.subscriber, exchange.publisher)
        client.trap = trap
        exchange.publisher.publish_some(MESSAGES)
        assert exchange.fleet.until(lambda: bool(seen)), f"seed {SEED}: nothing came"
        exchange.broker.kill()
        client.trap = None
        assert exchange.fleet.until(lambda: not exchange.fleet.here())
        exchange.finish()
    exchange.fleet.close()


def test_an_identifier_that_the_broker_does_not_know(exchange: Exchange) -> None:
    """PUBREL for it is answered after a restart as before: 0x92 in 5.0, and never silence."""
    expected = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND if exchange.publisher.version == MQTT_5_0 else 0
    seen: list[ControlPacket] = []
    for life in range(2):
        exchange.broker.start()
        exchange.come(exchange.publisher)
        seen.clear()
        exchange.publisher.trap = seen.append
        exchange.publisher.send(Pubrel(77))
        assert exchange.fleet.until(lambda: bool(seen))
        assert isinstance(seen[0], Pubcomp)
        assert (seen[0].packet_identifier, seen[0].reason) == (77, expected), life
        exchange.broker.kill()
        assert exchange.fleet.until(lambda: not exchange.fleet.here())
