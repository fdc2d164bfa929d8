"""Traffic over many lives of a broker, each of which ends by kill -9 at a random moment.

Beside the messages of the ledger there are two more things that a broker acknowledges and must keep: retained messages
(`Retaining`) and subscriptions (`Subscribing`). All choices are drawn from the seed; when a kill meets what is left to
the machine, so the run that a seed repeats is the same in what it tries and not in what is cut.
"""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from tests.faults.ledger import Ledger
from tests.faults.traffic import Durable, Fleet

if TYPE_CHECKING:
    from tests.faults.killable import Killable
    from tests.faults.ledger import Verdict

AHEAD = 6_000  # deliveries that are due and have not come, above which publishers wait
TOPICS = 4
COMMITS = [
    f"{moment}@{rows}"
    for moment in ("before-commit", "after-commit")
    for rows in ("queued", "exchanges", "exchanges-deleted")
]


class Retaining(Durable):
    """Publishes retained messages to a few topics, and empties them at times; one change after the other.

    A topic holds what the last acknowledged change made of it, or what one made that was sent after it.
    """

    def __init__(self, name: str, ledger: Ledger, chance: Random, version: int, websocket: bool) -> None:
        super().__init__(name, ledger, chance, version=version, websocket=websocket)
        self.topics = [f"r/{name}/{number}" for number in range(TOPICS)]
        self.possible: dict[str, list[bytes]] = {topic: [b""] for topic in self.topics}
        self.changes = 0
        self.changing = ""

    def change_one(self) -> None:
        if self.outgoing or not self.ready:
            return
        if self.changing:  # the last one is acknowledged
            del self.possible[self.changing][:-1]
        self.changes += 1
        self.changing = self.chance.choice(self.topics)
        payload = b"" if self.chance.random() < 0.3 else f"change {self.changes}".encode()
        self.possible[self.changing].append(payload)
        self.publish(self.changing, payload, self.chance.choice((1, 2)), retain=True)

    def check(self, retained: dict[str, bytes]) -> None:
        """What the broker has retained, all of it, is what was promised."""
        if not self.outgoing and self.changing:
            del self.possible[self.changing][:-1]
            self.changing = ""
        for topic, possible in self.possible.items():
            found = retained.get(topic, b"")
            if found not in possible:
                self.ledger.forgotten(f"{topic} has {found!r} retained, none of {possible}")


class Subscribing(Durable):
    """Subscribes, subscribes anew at another QoS and unsubscribes; one change after the other.

    `possible` is what the Session may hold of each filter: a QoS, or -1 for no subscription. To `fence` it is always
    subscribed: what was published before has come when a message to that has come.
    """

    def __init__(self, name: str, ledger: Ledger, chance: Random, version: int, websocket: bool) -> None:
        self.fence = f"s/{name}/fence"
        super().__init__(name, ledger, chance, version=version, websocket=websocket, filters=[self.fence])
        self.possible: dict[str, set[int]] = {f"s/{name}/{number}": {-1} for number in range(TOPICS)}
        self.changing = ""
        self.wanted = -1

    def change_one(self) -> None:
        if not self.ready:
            return
        if self.changing:
            if not self.answers:
                return
            packet = self.answers.popleft()
            assert isinstance(packet, Unsuback if self.wanted < 0 else Suback)
            self.possible[self.changing] = {self.wanted}
        self.changing = self.chance.choice(list(self.possible))
        self.wanted = self.chance.choice((-1, 1, 2))
        self.possible[self.changing].add(self.wanted)
        identifier = self.identifier()
        if self.wanted < 0:
            self.send(Unsubscribe(identifier, [self.changing]))
        else:
            self.send(Subscribe(identifier, [SubscriptionRequest(self.changing, self.wanted)]))

    def has(self, topic: str, payload: bytes) -> bool:
        """Whether this message has come."""
        return any((packet.topic, packet.payload) == (topic, payload) for packet in self.received_others)

    def check(self, came: dict[str, int]) -> None:
        """`came` says at which QoS a message at QoS 2 to each topic has come; after this nothing is uncertain."""
        if self.changing and self.answers:
            self.possible[self.changing] = {self.wanted}
        self.changing = ""
        self.answers.clear()
        for topic, possible in self.possible.items():
            found = came.get(topic, -1)
            if found not in possible:
                self.ledger.forgotten(f"{self.name} is subscribed to {topic} at {found}, none of {possible}")
            self.possible[topic] = {found}


class Killing:
    """8 publishers with a stream for every QoS in `qos`, 4 durable and 4 live subscribers to everything, and the rest:
    two that share a subscription, those who retain and those who subscribe anew.

    They speak 5.0 and 3.1.1, over TCP and WebSocket, and windows are of 20 and of 100 messages. With a larger `ahead`
    queues grow longer.
    """

    def __init__(self, broker: Killable, seed: int, qos: tuple[int, ...], ahead: int = AHEAD) -> None:
        self.broker = broker
        self.ahead = ahead
        self.chance = Random(seed)
        self.ledger = Ledger(seed)
        self.kills = 0
        self.first_connack: list[float] = []  # seconds from the start of the process
        self.draining = 0.0  # seconds in which at the end everything came
        chance = self.chance
        ways = [(version, websocket) for version in (MQTT_5_0, MQTT_3_1_1) for websocket in (False, True)]
        publishers: list[Durable] = []
        receivers: list[Durable] = []
        for number in range(8):
            version, websocket = ways[number % 4]
            name = f"publisher-{number}"
            publishers.append(
                Durable(
                    name,
                    self.ledger,
                    chance,
                    version=version,
                    websocket=websocket,
                    publishes=[self.ledger.stream(name, f"t/{number}", level) for level in qos],
                    window=(20, 100)[number // 4],
                )
            )
        for number in range(8):
            version, websocket = ways[number % 4]
            durable = number < 4
            name = f"{'durable' if durable else 'live'}-{number}"
            receivers.append(
                Durable(
                    name,
                    self.ledger,
                    chance,
                    version=version,
                    websocket=websocket,
                    durable=durable,
                    filters=["t/#"],
                    receiver=self.ledger.receiver(name, durable, lambda _: True),
                )
            )
            receivers[-1].patience = (0.0, 0.8)[number % 2]
        self.durable = receivers[:4]
        group = self.ledger.receiver("group", True, lambda _: True, ordered=False)
        for number in range(2):
            version, websocket = ways[number]
            receivers.append(
                Durable(
                    f"sharing-{number}",
                    self.ledger,
                    chance,
                    version=version,
                    websocket=websocket,
                    filters=["$share/group/t/#"],
                    receiver=group,
                )
            )
        self.retaining = [Retaining(f"retaining-{number}", self.ledger, chance, *ways[number]) for number in range(4)]
        self.subscribing = [
            Subscribing(f"subscribing-{number}", self.ledger, chance, *ways[number]) for number in (1, 2)
        ]
        self.looker = Durable("looker", self.ledger, chance, durable=False, filters=["r/#"])
        self.looks = 0
        self.all = [*publishers, *receivers, *self.retaining, *self.subscribing]
        self.fleet = Fleet([*self.all, self.looker])

    def life(self, seconds: float, absent: float = 0.2, failpoint: str = "") -> None:
        """One life of the broker, to its kill; a durable subscriber stays away from it with the chance `absent`."""
        self.begin(absent, failpoint)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.broker.alive:
            if not self._ahead():
                self.fleet.publish_some(20)
            for retaining in self.retaining:
                retaining.change_one()
            for subscribing in self.subscribing:
                subscribing.change_one()
            self.fleet.turn(0.005)
        self.broker.kill()
        self.kills += 1
        assert self.fleet.until(lambda: not self.fleet.here()), "the sockets of a dead broker do not end"

    def begin(self, absent: float, failpoint: str = "") -> None:
        """Start the broker, and let everybody come back; unless it is to die by itself, look at what it has kept."""
        started = time.monotonic()
        self.broker.start(failpoint)
        away = [each for each in self.durable if each.known and self.chance.random() < absent]
        for client in self.all:
            if client not in away:
                try:
                    client.connect(self.broker.addresses)
                except OSError:
                    assert failpoint, "it does not listen"
        here = self.fleet.here()
        assert self.fleet.until(lambda: any(each.connack for each in here) or not self.broker.alive), "no CONNACK"
        self.first_connack.append(time.monotonic() - started)
        assert self.fleet.until(lambda: all(each.ready for each in here) or not self.broker.alive), "not all came back"
        if not failpoint:
            self.look()

    def look(self) -> None:
        """Read what is retained, and which subscriptions there are."""
        assert self.fleet.until(lambda: not any(each.outgoing for each in self.retaining)), "no acknowledgement"
        self.looks += 1
        mark = str(self.looks).encode()
        looker = self.looker
        looker.received_others.clear()
        looker.connect(self.broker.addresses)
        assert self.fleet.until(lambda: looker.ready), "no CONNACK"
        for each in self.subscribing:
            each.received_others.clear()
            for topic in each.possible:
                looker.publish(topic, mark, 2)
            looker.publish(each.fence, mark, 2)
        assert self.fleet.until(lambda: all(each.has(each.fence, mark) for each in self.subscribing)), "no message"
        assert self.fleet.quiet([looker, *self.subscribing]), "not all was answered"
        for retaining in self.retaining:
            retaining.check({packet.topic: packet.payload for packet in looker.received_others})
        for each in self.subscribing:
            each.check({packet.topic: packet.qos for packet in each.received_others if packet.payload == mark})
        looker.leave()

    def _ahead(self) -> bool:
        come = sum(each.receiver.count for each in self.durable if each.receiver)
        return self.ledger.acknowledged_count * len(self.durable) - come > self.ahead

    def end(self) -> Verdict:
        """A last life, in which everything arrives."""
        self.begin(0)
        for each in self.fleet.clients:
            each.patience = 0
        started = time.monotonic()
        self.fleet.drained(self.ledger)
        self.draining = time.monotonic() - started
        verdict = self.ledger.verdict()
        for each in self.fleet.here():
            each.close()
        self.broker.stop()
        return verdict


def killed(
    broker: Killable,
    seed: int,
    kills: int,
    qos: tuple[int, ...],
    shortest: float,
    longest: float,
    *,
    aimed: bool = False,
    acknowledged: int = 0,
    ahead: int = AHEAD,
) -> Verdict:
    """What the ledger says after so many kills in lives of `shortest` to `longest` seconds.

    `aimed` has the broker die by itself, at a commit. There are more kills, at most twice as many, where not so many
    messages are `acknowledged` before.
    """
    with broker:
        killing = Killing(broker, seed, qos, ahead)
        chance = killing.chance
        try:
            while killing.kills < kills or (
                killing.kills < 2 * kills and killing.ledger.acknowledged_count < acknowledged
            ):
                failpoint = f"{chance.choice(COMMITS)}:{chance.randint(1, 100)}" if aimed else ""
                killing.life(chance.uniform(shortest, longest), failpoint=failpoint)
            verdict = killing.end()
        except BaseException:
            print(f"seed {seed}, after {killing.kills} kills")
            raise
        finally:
            killing.fleet.close()
    print(
        f"{killing.kills} kills; first CONNACK after {max(killing.first_connack):.2f} s at most; "
        f"all there in {killing.draining:.1f} s; {verdict}"
    )
    return verdict
