"""Random operations of Clients on a broker with a store, and crashes between any two commits, against a model.

After each crash the broker that is restored is held against `World` (tests/faults/world.py) as it was at the last
commit: Sessions, subscriptions, messages in their order, Packet Identifiers, Wills, retained messages. And every
acknowledgement is held, in the moment in which it comes, against what is committed: what it promises must be in there.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.faults.machine import COMMIT_SECONDS, Machine, MemoryWire, contents
from tests.faults.world import Left, World
from tests.pair import properties

if TYPE_CHECKING:
    from broker.core.session import Session

NAMES = ("ann", "bob", "cat")
WITH_A_WILL = "bob"  # one only, so that no two Wills are due at the same time
TOPICS = ("a", "b", "will")
RETAINED_TOPICS = ("r/1", "r/2")
EXPIRY = 100
MESSAGE_EXPIRY = 50
WAIT = st.booleans()  # whether the batch that a rule has brought is done before the next one


class Actor:
    """One Client: what it would store, and its present Network Connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wire: MemoryWire | None = None
        self.last_identifier = 0
        self.unacknowledged: dict[int, Publish] = {}  # ours: PUBACK or PUBREC is due
        self.releasing: dict[int, None] = {}  # ours: PUBCOMP is due
        self.due: deque[tuple[int, int, bytes]] = deque()  # QoS, identifier and payload of what we may acknowledge
        self.received: dict[int, bytes] = {}  # QoS 2 identifiers of the broker that are not released
        self.identifiers: dict[bytes, int] = {}  # of QoS 2 messages to us, by payload
        self.connected = False
        self.released: deque[int] = deque()  # PUBREL has come, and we owe PUBCOMP

    def identifier(self) -> int:
        self.last_identifier += 1
        return self.last_identifier

    def forget(self) -> None:
        """A new Session."""
        self.unacknowledged.clear()
        self.releasing.clear()
        self.received.clear()
        self.identifiers.clear()

    def gone(self) -> None:
        """The Network Connection is."""
        self.wire = None
        self.connected = False
        self.due.clear()
        self.released.clear()


class StoreModel(RuleBasedStateMachine):
    """See the module. Each rule is one round of the broker; `commit` lets the store finish one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="triomq-model-"))
        self.lives = 0
        self.number = 0
        self.world = World()
        self.actors = {name: Actor(name) for name in NAMES}
        # What the answers to come promise, in their order: so many operations are committed. One identifier may be owed
        # two answers, where a message was sent again before it was acknowledged.
        self.promises: defaultdict[tuple[str, str, int], deque[int]] = defaultdict(deque)
        self.snapshots: dict[int, World] = {}
        self.next_position = 0
        self.machine = self.opened()

    # -- The machine

    def opened(self) -> Machine:
        self.lives += 1
        machine = Machine(self.root / str(self.lives), "written", now=1000.0 + self.world.now)
        self.snapshots = {machine.journal.committed: self.world.copy()}
        self.next_position = machine.journal.position
        return machine

    def step(self, wait: bool) -> None:
        """End the round; with `wait` the batch that is being written is done then, else it stays on its way."""
        machine = self.machine
        machine.settle()
        if wait and machine.store.busy:
            assert machine.ready(COMMIT_SECONDS)
            machine.collect()
        self.taken()
        self.read()

    def taken(self) -> None:
        """The batches that were taken meanwhile hold the world as it is now."""
        for position in range(self.next_position, self.machine.journal.position):
            self.snapshots[position] = self.world.copy()
        self.next_position = self.machine.journal.position

    def operation(self, before: object, *promise: Any) -> None:
        """The world has changed from `before`; where that is durable the answer `promise` must wait for it."""
        changed = self.world.durable() != before
        if changed:
            self.world.operations += 1
        if promise:
            name, what, identifier = promise
            self.promises[name, what, identifier].append(self.world.operations if changed else 0)

    def answered(self, *promise: Any) -> None:
        """An answer has come: what it promises is committed."""
        name, what, identifier = promise
        due = self.promises[name, what, identifier]
        needed = due.popleft() if due else 0
        committed = self.snapshots[self.machine.journal.committed].operations
        assert committed >= needed, f"{promise} came before its commit: {committed} of {needed} operations"

    # -- What comes

    def read(self) -> None:
        for actor in self.actors.values():
            if actor.wire is not None:
                for packet in actor.wire.receive():
                    self.came(actor, packet)
                if actor.wire is not None and actor.wire.ended:
                    actor.gone()

    def came(self, actor: Actor, packet: ControlPacket) -> None:
        name = actor.name
        if isinstance(packet, Connack):
            assert packet.reason == 0
            actor.connected = True
            self.answered(name, "connect", 0)
        elif isinstance(packet, (Suback, Unsuback)):
            self.answered(name, "subscribe", packet.packet_identifier)
        elif isinstance(packet, (Puback, Pubrec)):
            identifier = packet.packet_identifier
            assert packet.reason < 0x80
            if identifier in actor.unacknowledged:
                del actor.unacknowledged[identifier]
                if isinstance(packet, Pubrec):
                    actor.releasing[identifier] = None
            self.answered(name, "publish", identifier)
        elif isinstance(packet, Pubcomp):
            actor.releasing.pop(packet.packet_identifier, None)
            self.answered(name, "release", packet.packet_identifier)
        elif isinstance(packet, Pubrel):
            self.answered(name, "received", packet.packet_identifier)
            actor.received.pop(packet.packet_identifier, None)
            actor.released.append(packet.packet_identifier)
        elif isinstance(packet, Publish):
            self.came_publish(actor, packet)
        else:
            assert isinstance(packet, Disconnect), packet

    def came_publish(self, actor: Actor, packet: Publish) -> None:
        if packet.qos == 0:
            return
        identifier, payload = packet.packet_identifier, packet.payload
        held = self.world.sessions[actor.name].messages
        assert payload in [each.payload for each in held], f"{payload!r} came to {actor.name}, who is not owed it"
        if packet.qos == 2:
            before = actor.received.setdefault(identifier, payload)
            assert before == payload, f"identifier {identifier} of {before!r} was used again for {payload!r}"
            known = actor.identifiers.setdefault(payload, identifier)
            assert known == identifier, f"{payload!r} came as {identifier}, and before as {known}"
        actor.due.append((packet.qos, identifier, payload))

    # -- Coming and going

    @rule(
        name=st.sampled_from(NAMES),
        clean=st.sampled_from([False, False, False, True]),
        expiry=st.sampled_from([0, EXPIRY, EXPIRY]),
        delay=st.sampled_from([None, 0, 30]),
        rounds=st.sampled_from([0, 2, 2, 2]),
    )
    def connect(self, name: str, clean: bool, expiry: int, delay: int | None, rounds: int) -> None:
        actor = self.actors[name]
        before = self.world.durable()
        will, left = None, None
        if delay is not None and name == WITH_A_WILL:
            left = Left(self.payload(), delay)
            will = Will("will", left.payload, 1, False, delay)
        present = self.world.connect(name, clean, expiry, left)
        self.operation(before)
        # Whoever is told of a durable Session is told of all that it is, be it of an older connection.
        for promise, due in self.promises.items():
            if promise[0] == name:
                due.clear()  # what the older connection was owed never comes
        self.promises[name, "connect", 0].append(self.world.operations if expiry else 0)
        old = actor.wire
        actor.gone()
        if not present:
            actor.forget()
        actor.wire = MemoryWire(self.machine, MQTT_5_0)
        connect = Connect(name, MQTT_5_0, clean, 0, will=will, properties=properties(session_expiry_interval=expiry))
        self.send(actor, connect)
        self.step(wait=False)
        for _ in range(rounds):
            self.step(wait=True)
        assert old is None or old.ended

    def here(self) -> list[Actor]:
        return [actor for actor in self.actors.values() if actor.connected]

    @precondition(lambda self: self.here())
    @rule(data=st.data(), how=st.sampled_from(["normal", "with will", "lost"]), wait=WAIT)
    def leave(self, data: st.DataObject, how: str, wait: bool) -> None:
        actor = data.draw(st.sampled_from(self.here()))
        before = self.world.durable()
        self.world.lost(actor.name, with_will=how != "normal")
        self.operation(before)
        wire = actor.wire
        assert wire is not None
        if how == "lost":
            wire.close()
        else:
            reason = ReasonCode.SUCCESS if how == "normal" else ReasonCode.DISCONNECT_WITH_WILL_MESSAGE
            wire.send(encode(Disconnect(reason), MQTT_5_0))
        actor.gone()
        self.step(wait)

    # -- What Clients do

    def payload(self) -> bytes:
        self.number += 1
        return b"%d" % self.number

    def send(self, actor: Actor, packet: ControlPacket) -> None:
        assert actor.wire is not None
        actor.wire.send(encode(packet, MQTT_5_0))

    @precondition(lambda self: self.here())
    @rule(data=st.data(), topic=st.sampled_from(TOPICS), qos=st.sampled_from([-1, 0, 1, 2, 2]), wait=WAIT)
    def subscribe(self, data: st.DataObject, topic: str, qos: int, wait: bool) -> None:
        """-1: unsubscribe."""
        actor = data.draw(st.sampled_from(self.here()))
        before = self.world.durable()
        subscriptions = self.world.sessions[actor.name].subscriptions
        if qos < 0:
            subscriptions.pop(topic, None)
        else:
            subscriptions[topic] = qos
        identifier = actor.identifier()
        self.operation(before, actor.name, "subscribe", identifier)
        if qos < 0:
            self.send(actor, Unsubscribe(identifier, [topic]))
        else:
            self.send(actor, Subscribe(identifier, [SubscriptionRequest(topic, qos)]))
        self.step(wait)

    @precondition(lambda self: self.here())
    @rule(
        data=st.data(),
        topic=st.sampled_from(TOPICS),
        qos=st.sampled_from([0, 1, 1, 2, 2]),
        expiry=st.sampled_from([-1, -1, MESSAGE_EXPIRY]),
        wait=WAIT,
    )
    def publish(self, data: st.DataObject, topic: str, qos: int, expiry: int, wait: bool) -> None:
        actor = data.draw(st.sampled_from(self.here()))
        packet = Publish(topic, self.payload(), qos=qos, message_expiry_interval=expiry)
        self.publish_new(actor, packet, wait)

    @precondition(lambda self: self.here())
    @rule(data=st.data(), topic=st.sampled_from(RETAINED_TOPICS), qos=st.integers(0, 2), clear=st.booleans(), wait=WAIT)
    def retain(self, data: st.DataObject, topic: str, qos: int, clear: bool, wait: bool) -> None:
        actor = data.draw(st.sampled_from(self.here()))
        self.publish_new(actor, Publish(topic, b"" if clear else self.payload(), qos=qos, retain=True), wait)

    def publish_new(self, actor: Actor, packet: Publish, wait: bool) -> None:
        if packet.qos:
            packet.packet_identifier = actor.identifier()
            actor.unacknowledged[packet.packet_identifier] = packet
        self.publish_packet(actor, packet, wait)

    def publish_packet(self, actor: Actor, packet: Publish, wait: bool) -> None:
        before = self.world.durable()
        identifier = packet.packet_identifier
        received = self.world.sessions[actor.name].received
        if packet.qos < 2 or identifier not in received:
            expires_at = math.inf
            if packet.message_expiry_interval >= 0:
                expires_at = self.world.now + packet.message_expiry_interval
            if packet.retain:
                self.world.retain(packet.topic, packet.payload)
            self.world.route(packet.topic, packet.payload, packet.qos, expires_at)
            if packet.qos == 2:
                received.add(identifier)
            self.operation(before, *((actor.name, "publish", identifier) if packet.qos else ()))
        self.send(actor, packet)
        self.step(wait)

    @precondition(lambda self: any(actor.unacknowledged for actor in self.here()))
    @rule(data=st.data(), wait=WAIT)
    def publish_again(self, data: st.DataObject, wait: bool) -> None:
        """The oldest that is not acknowledged, with DUP; at QoS 2 it must not be routed again."""
        actor = data.draw(st.sampled_from([actor for actor in self.here() if actor.unacknowledged]))
        packet = next(iter(actor.unacknowledged.values()))
        packet.dup = True
        self.publish_packet(actor, packet, wait)

    @precondition(lambda self: any(actor.releasing for actor in self.here()))
    @rule(data=st.data(), wait=WAIT)
    def release(self, data: st.DataObject, wait: bool) -> None:
        actor = data.draw(st.sampled_from([actor for actor in self.here() if actor.releasing]))
        identifier = next(iter(actor.releasing))
        before = self.world.durable()
        self.world.sessions[actor.name].received.discard(identifier)
        self.operation(before, actor.name, "release", identifier)
        self.send(actor, Pubrel(identifier))
        self.step(wait)

    @precondition(lambda self: any(actor.due or actor.released for actor in self.here()))
    @rule(data=st.data(), most=st.integers(1, 5), wait=WAIT)
    def acknowledge(self, data: st.DataObject, most: int, wait: bool) -> None:
        actor = data.draw(st.sampled_from([actor for actor in self.here() if actor.due or actor.released]))
        kept = self.world.sessions[actor.name]
        for _ in range(most):
            before = self.world.durable()
            if actor.due:
                qos, identifier, payload = actor.due.popleft()
                kept.messages = [each for each in kept.messages if each.payload != payload]
                if qos == 1:
                    self.operation(before)
                    self.send(actor, Puback(identifier))
                else:
                    kept.released.add(identifier)
                    self.operation(before, actor.name, "received", identifier)
                    self.send(actor, Pubrec(identifier))
            elif actor.released:
                identifier = actor.released.popleft()
                kept.released.discard(identifier)
                self.operation(before)
                self.send(actor, Pubcomp(identifier))
        self.step(wait)

    # -- Time, commits and crashes

    @rule(seconds=st.sampled_from([1, 1, 40, 150]), wait=WAIT)
    def time_passes(self, seconds: int, wait: bool) -> None:
        before = self.world.durable()
        self.world.advance(seconds)
        self.operation(before)
        self.machine.advance(seconds)
        self.step(wait)

    @rule(times=st.integers(1, 4))
    def commit(self, times: int) -> None:
        for _ in range(times):
            self.step(wait=True)

    @rule()
    def crash(self) -> None:
        """All that was taken for a batch is on the disk, and maybe nobody knows it yet; what came after is gone."""
        machine = self.machine
        if machine.store.busy:
            assert machine.ready(COMMIT_SECONDS)
        world = self.snapshots[machine.journal.position - 1].copy()
        folder = self.root / str(self.lives + 1)
        machine.copy(folder)
        machine.discard()
        shutil.rmtree(self.root / str(self.lives))
        world.now = self.world.now
        world.crash()
        for actor in self.actors.values():
            actor.gone()
            if actor.name not in world.sessions:
                actor.forget()
        self.promises.clear()
        self.world = world
        self.machine = self.opened()
        self.check()
        self.time_passes(1, True)

    def check(self) -> None:
        """The broker holds what the world does."""
        broker, world = self.machine.broker, self.world
        assert sorted(broker.sessions) == sorted(world.sessions)
        for name, kept in world.sessions.items():
            session: Session = broker.sessions[name]
            assert {each: one.maximum_qos for each, one in session.subscriptions.items()} == kept.subscriptions
            assert set(session.received) == kept.received
            assert set(session.outgoing.released) == kept.released
            assert (session.will.payload if session.will else None) == (kept.will.payload if kept.will else None)
            expected = [(held.payload, held.qos) for held in kept.messages]
            assert contents(session, self.machine.now) == expected, f"messages of {name}"
            found = [session.expiry_interval, session.expires_at - self.machine.now]
            assert found == pytest.approx([kept.expiry, kept.away_since + kept.expiry - world.now], abs=1.5)
        assert self.machine.retained() == world.retained

    @invariant()
    def no_bug(self) -> None:
        assert not self.machine.broker.faults, self.machine.broker.faults

    def teardown(self) -> None:
        """Everybody who has a Session comes, and gets what he is owed."""
        try:
            self.drain()
        finally:
            self.machine.discard()
            shutil.rmtree(self.root)

    def drain(self) -> None:
        self.crash()
        for name in sorted(self.world.sessions):
            owed = [held for held in self.world.sessions[name].messages if held.expires_at > self.world.now]
            actor = self.actors[name]
            self.connect(name, False, EXPIRY, None, 2)
            came: list[bytes] = []
            for _ in range(20):
                self.step(wait=True)
                came += [payload for _, _, payload in actor.due]
                if not actor.due and not actor.released and not self.machine.store.busy:
                    break
                self.acknowledge_all(actor)
            else:
                raise AssertionError("it does not come to an end")
            may = [held.payload for held in owed]
            assert [payload for payload in came if payload in may] == may, f"{name} got {came}"

    def acknowledge_all(self, actor: Actor) -> None:
        kept = self.world.sessions[actor.name]
        while actor.due or actor.released:
            if actor.due:
                qos, identifier, payload = actor.due.popleft()
                kept.messages = [each for each in kept.messages if each.payload != payload]
                self.send(actor, Puback(identifier) if qos == 1 else Pubrec(identifier))
            else:
                self.send(actor, Pubcomp(actor.released.popleft()))


def test_the_store_is_what_the_model_says() -> None:
    run_state_machine_as_test(StoreModel, settings=examples(30, shrink=False))


@pytest.mark.faults_long
def test_the_store_is_what_the_model_says_many_times() -> None:
    run_state_machine_as_test(StoreModel, settings=examples(2000, shrink=True))


def examples(count: int, shrink: bool) -> settings:
    """Shrinking takes minutes, so it is left to the long form."""
    return settings(
        max_examples=count,
        stateful_step_count=60,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        database=None,
    )
