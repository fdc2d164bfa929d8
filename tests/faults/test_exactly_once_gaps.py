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
    from typing import Self

MESSAGES: Final = 3

# Whether the publisher keeps a Session (else it leaves no rows of its own), where the broker dies, and who must not
# have seen what by then: no packet leaves before that which it promises is kept.
GAPS: Final[dict[str, tuple[bool, str, str, type[ControlPacket]]]] = {
    "before PUBLISH is kept": (True, "before-commit@exchanges:1", "publisher", Pubrec),
    "before PUBREC": (True, "after-commit@exchanges:1", "publisher", Pubrec),
    "before PUBREL is kept": (True, "before-commit@exchanges-deleted:1", "publisher", Pubcomp),
    "before PUBCOMP": (True, "after-commit@exchanges-deleted:1", "publisher", Pubcomp),
    "before an identifier is kept": (False, "before-commit@queued:2", "subscriber", Publish),
    "before PUBLISH is sent": (False, "after-commit@queued:2", "subscriber", Publish),
    "before PUBREC is kept": (False, "before-commit@exchanges:1", "subscriber", Pubrel),
    "before PUBREL is sent": (False, "after-commit@exchanges:1", "subscriber", Pubrel),
    "before PUBCOMP is kept": (False, "before-commit@exchanges-deleted:1", "", Pubcomp),
    "behind the exchange": (False, "after-commit@exchanges-deleted:1", "", Pubcomp),
}


class Exchange:
    """A broker, a publisher and a subscriber, who may not be there from the beginning."""

    def __init__(self, folder: Path, version: int, websocket: bool, durability: str, qos: int = 2) -> None:
        self.broker = TrioMQ(folder, durability)
        self.ledger = Ledger(SEED)
        chance = Random(SEED)
        self.stream = self.ledger.stream("publisher", "t", qos)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.fleet.close()
        self.broker.__exit__(None, None, None)

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
        self.fleet.drained(self.ledger)
        verdict = self.ledger.verdict()
        assert verdict.clean, verdict
        assert self.fleet.quiet(self.fleet.clients), f"seed {SEED}: it never ends"
        if self.publisher.durable:
            assert verdict.uncertain == 0, verdict
            assert verdict.delivered - verdict.repeated == verdict.sent, verdict
        for each in self.fleet.here():
            each.close()
        self.broker.stop()


WAYS: Final = {"5.0-tcp-written": (MQTT_5_0, False, "written"), "3.1.1-ws-fsync": (MQTT_3_1_1, True, "fsync")}


@pytest.fixture(params=tuple(WAYS))
def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchange]:
    with Exchange(tmp_path, *WAYS[request.param]) as made:
        yield made


@pytest.mark.parametrize("gap", list(GAPS))
def test_each_gap(exchange: Exchange, gap: str) -> None:
    publisher_durable, failpoint, who, too_early = GAPS[gap]
    publisher, subscriber = exchange.publisher, exchange.subscriber
    publisher.durable = publisher_durable
    seen: dict[str, list[ControlPacket]] = {"publisher": [], "subscriber": [], "": []}
    publisher.trap = seen["publisher"].append
    subscriber.trap = seen["subscriber"].append
    exchange.broker.start(failpoint)
    if publisher_durable:
        exchange.come(subscriber, publisher)
        publisher.publish_some(MESSAGES)
    else:
        exchange.come(subscriber)
        subscriber.send(Disconnect())
        exchange.fleet.until(lambda: not exchange.fleet.here())
        exchange.come(publisher)
        publisher.publish_some(1)
        exchange.fleet.until(lambda: publisher.idle)
        exchange.come(subscriber)
    exchange.dies()
    assert not any(isinstance(packet, too_early) for packet in seen[who]), f"{too_early.__name__} came too early"
    seen["publisher"].clear()
    exchange.finish()
    reasons = {packet.reason for packet in seen["publisher"] if isinstance(packet, Pubcomp)}
    if gap == "before PUBCOMP" and publisher.version == MQTT_5_0:
        assert ReasonCode.PACKET_IDENTIFIER_NOT_FOUND in reasons, "the identifier is released, and the answer says so"
    else:
        assert reasons == {0}


@pytest.mark.parametrize("moment", ["before-commit", "after-commit"])
def test_puback_waits_for_the_commit(tmp_path: Path, moment: str) -> None:
    """And where the Client has not seen it, the message goes again."""
    seen: list[ControlPacket] = []
    with Exchange(tmp_path, MQTT_5_0, False, "written", qos=1) as exchange:
        exchange.broker.start(f"{moment}@messages:1")
        exchange.come(exchange.subscriber)
        exchange.subscriber.send(Disconnect())
        exchange.fleet.until(lambda: not exchange.fleet.here())
        exchange.come(exchange.publisher)
        exchange.publisher.trap = seen.append
        exchange.publisher.publish_some(MESSAGES)
        exchange.dies()
        assert seen == [], "PUBACK came too early"
        exchange.finish()


def test_qos_1_that_left_before_its_commit_repeats_with_dup(tmp_path: Path) -> None:
    """While one commit lasts a quick subscriber may acknowledge many windows of them; none of it is known later."""
    with Exchange(tmp_path, MQTT_5_0, False, "written", qos=1) as exchange:
        exchange.broker.start()
        exchange.come(exchange.subscriber)
        exchange.subscriber.send(Disconnect())
        exchange.fleet.until(lambda: not exchange.fleet.here())
        exchange.come(exchange.publisher)
        for _ in range(8):
            exchange.publisher.publish_some(50)
            assert exchange.fleet.until(lambda: exchange.publisher.idle)
        exchange.broker.kill()
        assert exchange.fleet.until(lambda: not exchange.fleet.here())
        exchange.broker.start("before-commit@queued:1")
        exchange.come(exchange.subscriber)
        exchange.dies()
        assert exchange.receiver.count > 100, "the moment was too short to tell anything"
        exchange.finish()


def test_a_qos_2_message_goes_on_after_its_commit(tmp_path: Path) -> None:
    """Also to a subscriber without a Session to keep: else its publisher would send it to him a second time."""
    seen: list[ControlPacket] = []
    with Exchange(tmp_path, MQTT_5_0, False, "written") as exchange:
        exchange.subscriber.durable = exchange.receiver.durable = False
        exchange.broker.start("before-commit@exchanges:1")
        exchange.come(exchange.subscriber, exchange.publisher)
        exchange.subscriber.trap = seen.append
        exchange.publisher.publish_some(MESSAGES)
        exchange.dies()
        assert not any(isinstance(packet, Publish) for packet in seen), "Publish came too early"
        exchange.finish()


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
    who, kind = SEEN[moment]
    seen: list[ControlPacket] = []
    with Exchange(tmp_path, *tuple(WAYS.values())[number % 2]) as exchange:
        client = exchange.publisher if who == "publisher" else exchange.subscriber

        def trap(packet: ControlPacket) -> None:
            if isinstance(packet, kind):
                seen.append(packet)
                if not answered:
                    exchange.broker.kill()

        exchange.broker.start()
        exchange.come(exchange.subscriber, exchange.publisher)
        client.trap = trap
        exchange.publisher.publish_some(MESSAGES)
        assert exchange.fleet.until(lambda: bool(seen)), f"seed {SEED}: nothing came"
        exchange.broker.kill()
        client.trap = None
        assert exchange.fleet.until(lambda: not exchange.fleet.here())
        exchange.finish()


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
