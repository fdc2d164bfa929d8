"""The ledger: what was sent, what was promised and what arrived, and the verdict on it.

Every payload names its publisher, its topic, its QoS and its number in that stream, with a checksum. A publisher notes
a message before it is sent and again when the broker has promised to keep it: at PUBACK, and at QoS 2 at PUBREC
already, since a Client has given the message away then. A receiver notes each message before it is acknowledged. All of
it is in the memory of the test's own process, which nobody kills.

    acknowledged   must arrive at every durable receiver: at QoS 1 at least once, at QoS 2 exactly once
    uncertain      sent and never acknowledged: may arrive
    lost           acknowledged, and did not arrive
    unexpected     never sent, or damaged, or at a QoS or under a Packet Identifier that cannot be
    duplicated     at QoS 2 twice; at QoS 1 more often with DUP 0 than its publisher has sent it
    reordered      its first arrival comes after that of a later message of the same publisher, topic and QoS
    forgotten      a Session, subscription or retained message that should have been there was not

A receiver without a durable Session is owed, for as long as one Network Connection lasts, a stream without holes: what
was sent after it had subscribed and was acknowledged comes before whatever is later in the same stream.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable

UNCERTAIN, ACKNOWLEDGED, REFUSED = range(3)
SHOWN = 8  # of each kind of fault


class Stream:
    """All messages of one publisher on one topic at one QoS; the first has the number 1."""

    def __init__(self, publisher: str, topic: str, qos: int) -> None:
        self.publisher = publisher
        self.topic = topic
        self.qos = qos
        self.head = f"{publisher} {topic} {qos} ".encode()
        self.first_sent: array[int] = array("Q")  # the ledger's moment, by number - 1
        self.times_sent = bytearray()
        self.state = bytearray()

    def __str__(self) -> str:
        return f"{self.publisher} on {self.topic} at QoS {self.qos}"

    def payload(self, number: int) -> bytes:
        body = self.head + str(number).encode()
        return b"%b %08x" % (body, crc32(body))


class Receiver:
    """One Client that receives, or several that share a subscription and so the order as well (`ordered` is False).

    Deliveries are kept by stream, each as `number << 21 | connection << 1 | dup`; `count` is how many they are.
    """

    def __init__(self, name: str, durable: bool, wants: Callable[[Stream], bool], ordered: bool = True) -> None:
        self.name = name
        self.durable = durable
        self.wants = wants
        self.ordered = ordered
        self.count = 0
        self.connections: array[int] = array("Q")  # the moment since which everything must come, of each
        self.deliveries: dict[Stream, array[int]] = {}


@dataclass(repr=False)
class Verdict:
    """Counts, and the faults in words."""

    seed: object
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    delivered: int = 0
    repeated: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    @property
    def uncertain(self) -> int:
        return self.sent - self.acknowledged - self.refused

    @property
    def clean(self) -> bool:
        return not (self.lost or self.unexpected or self.duplicated or self.reordered or self.forgotten)

    def __repr__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.sent} sent, {self.acknowledged} acknowledged, {self.uncertain} uncertain, "
            f"{self.refused} refused; {self.delivered} delivered, {self.repeated} of them again; "
            f"{len(self.lost)} lost, {len(self.unexpected)} unexpected, {len(self.duplicated)} duplicated, "
            f"{len(self.reordered)} reordered, {len(self.forgotten)} forgotten"
        ]
        for kind in ("lost", "unexpected", "duplicated", "reordered", "forgotten"):
            lines += [f"  {kind}: {fault}" for fault in getattr(self, kind)[:SHOWN]]
        return "\n".join(lines)


class Ledger:
    """See the module. `seed` is what the run repeats from; it stands in the verdict."""

    def __init__(self, seed: object = None) -> None:
        self.seed = seed
        self.moment = 0
        self.streams: dict[bytes, Stream] = {}
        self.receivers: list[Receiver] = []
        self.acknowledged_count = 0
        self._unexpected: list[str] = []
        self._forgotten: list[str] = []

    def stream(self, publisher: str, topic: str, qos: int) -> Stream:
        made = Stream(publisher, topic, qos)
        return self.streams.setdefault(made.head, made)

    def receiver(self, name: str, durable: bool, wants: Callable[[Stream], bool], ordered: bool = True) -> Receiver:
        made = Receiver(name, durable, wants, ordered)
        self.receivers.append(made)
        return made

    # -- By a publisher

    def sending(self, stream: Stream) -> int:
        """Note the next message of `stream`, which is about to be sent; its number."""
        self.moment += 1
        stream.first_sent.append(self.moment)
        stream.times_sent.append(1)
        stream.state.append(UNCERTAIN)
        return len(stream.state)

    def sending_again(self, stream: Stream, number: int) -> None:
        times = stream.times_sent[number - 1]
        stream.times_sent[number - 1] = min(times + 1, 255)

    def acknowledged(self, stream: Stream, number: int) -> None:
        """The broker has promised to keep it."""
        if stream.state[number - 1] == UNCERTAIN:
            stream.state[number - 1] = ACKNOWLEDGED
            self.acknowledged_count += 1

    def refused(self, stream: Stream, number: int) -> None:
        """The broker has said that it does not take it."""
        stream.state[number - 1] = REFUSED

    # -- By a receiver

    def subscribed(self, receiver: Receiver) -> None:
        """A new Network Connection of `receiver`, and from now on everything must come on it."""
        self.moment += 1
        receiver.connections.append(self.moment)

    def delivered(self, receiver: Receiver, topic: str, qos: int, dup: bool, payload: bytes) -> None:
        """Note a message that has come and is not acknowledged yet."""
        body, _, check = payload.rpartition(b" ")
        head, _, number_text = body.rpartition(b" ")
        stream = self.streams.get(head + b" ")
        if stream is None or b"%08x" % crc32(body) != check or not number_text.isdigit():
            self.unexpected(receiver.name, f"{payload[:80]!r} on {topic}")
            return
        number = int(number_text)
        if not 0 < number <= len(stream.state):
            self.unexpected(receiver.name, f"{payload!r}, never sent")
        elif (stream.topic, stream.qos) != (topic, qos):
            self.unexpected(receiver.name, f"{payload!r} on {topic} at QoS {qos}")
        elif not receiver.wants(stream):
            self.unexpected(receiver.name, f"{payload!r}, not subscribed to")
        else:
            receiver.count += 1
            deliveries = receiver.deliveries.get(stream)
            if deliveries is None:
                deliveries = receiver.deliveries[stream] = array("Q")
            deliveries.append(number << 21 | len(receiver.connections) << 1 | dup)

    def unexpected(self, who: str, what: str) -> None:
        self._unexpected.append(f"{who} got {what}")

    def forgotten(self, what: str) -> None:
        self._forgotten.append(what)

    # -- The verdict

    def verdict(self) -> Verdict:
        verdict = Verdict(self.seed, unexpected=list(self._unexpected), forgotten=list(self._forgotten))
        for stream in self.streams.values():
            verdict.sent += len(stream.state)
            verdict.acknowledged += stream.state.count(ACKNOWLEDGED)
            verdict.refused += stream.state.count(REFUSED)
        for receiver in self.receivers:
            for stream in self.streams.values():
                if receiver.wants(stream):
                    self._judge(verdict, receiver, stream)
        return verdict

    def missing(self, receiver: Receiver) -> int:
        """How many acknowledged messages have not come to this durable receiver yet."""
        count = 0
        for stream in self.streams.values():
            if receiver.wants(stream):
                seen = {entry >> 21 for entry in receiver.deliveries.get(stream, ())}
                state = stream.state
                count += sum(
                    1 for number in range(1, len(state) + 1) if state[number - 1] == ACKNOWLEDGED and number not in seen
                )
        return count

    def _judge(self, verdict: Verdict, receiver: Receiver, stream: Stream) -> None:
        seen = bytearray(len(stream.state) + 1)
        fresh = bytearray(len(seen))  # how often with DUP 0
        latest = 0
        deliveries = receiver.deliveries.get(stream, ())
        verdict.delivered += len(deliveries)
        for entry in deliveries:
            number = entry >> 21
            if not entry & 1:
                fresh[number] = min(fresh[number] + 1, 255)
            if seen[number]:
                verdict.repeated += 1
                if stream.qos == 2:
                    verdict.duplicated.append(f"{number} of {stream} at {receiver.name}")
                elif not entry & 1 and fresh[number] > stream.times_sent[number - 1]:
                    verdict.duplicated.append(f"{number} of {stream} at {receiver.name}, with DUP 0")
                continue
            seen[number] = 1
            if number < latest and receiver.ordered:
                verdict.reordered.append(f"{number} of {stream} after {latest} at {receiver.name}")
            latest = max(latest, number)
        if receiver.durable:
            self._judge_durable(verdict, receiver, stream, seen)
        else:
            self._judge_live(verdict, receiver, stream)

    def _judge_durable(self, verdict: Verdict, receiver: Receiver, stream: Stream, seen: bytearray) -> None:
        since = receiver.connections[0] if receiver.connections else self.moment
        for at, state in enumerate(stream.state):
            if state == ACKNOWLEDGED and not seen[at + 1] and stream.first_sent[at] > since:
                verdict.lost.append(f"{at + 1} of {stream} for {receiver.name}")

    def _judge_live(self, verdict: Verdict, receiver: Receiver, stream: Stream) -> None:
        seen: dict[int, set[int]] = {}
        for entry in receiver.deliveries.get(stream, ()):
            seen.setdefault(entry >> 1 & 0xFFFFF, set()).add(entry >> 21)
        for connection, numbers in seen.items():
            since = receiver.connections[connection - 1]
            for number in range(min(numbers), max(numbers)):
                before_its_end = number not in numbers and stream.state[number - 1] == ACKNOWLEDGED
                if before_its_end and stream.first_sent[number - 1] > since:
                    verdict.lost.append(f"{number} of {stream} for {receiver.name}, in connection {connection}")
