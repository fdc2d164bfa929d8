"""What one subscriber gets: PUBLISH packets, read where they stand in what came, each checked to the last byte.

A message of this run is known before it is read: its length, its head, its filler. What is not exactly that is looked
at with patience in `_other`. Where the run has no publishers any message is welcome and only counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.bench.engine.flow import LATE, NEW, Arrivals, Flow
from broker.bench.engine.payload import OLDEST, STAMP, STAMP_BYTES, due_of, filler
from broker.bench.engine.publisher import publish_head
from broker.packets.encode import puback, pubcomp, pubrec
from broker.packets.topics import matches
from broker.packets.types import MQTT_5_0, Publish
from broker.packets.wire import INCOMPLETE, read_variable_byte_integer

if TYPE_CHECKING:
    from broker.bench.engine.tally import Tally
    from broker.packets.decode import Decoder

PUBLISH_BITS: Final = 0x30
FOREIGN_BEGINNING: Final = 4096  # bytes of filler that are compared where the length of payloads is not known


def packet_end(data: bytes, at: int, size: int) -> int:
    """Where the packet at `at` ends, which may be after `size`; INCOMPLETE where its Remaining Length is in parts."""
    if size - at < 2:
        return INCOMPLETE
    remaining = data[at + 1]
    if remaining < 0x80:
        return at + 2 + remaining
    remaining, body = read_variable_byte_integer(data, at + 1, size)
    return INCOMPLETE if remaining == INCOMPLETE else body + remaining


class Sources:
    """What all subscribers of a worker know of the publishers: their topics, and what of theirs has arrived.

    A payload names its source: the publisher's number, counted from `first`.
    """

    def __init__(self, topics: list[str], payload_bytes: int, version: int, first: int = 0) -> None:
        self.topics = topics
        self.first = first
        self.payload_bytes = payload_bytes
        self.version = version
        self.filler = filler(payload_bytes) if topics else filler(STAMP_BYTES + FOREIGN_BEGINNING)
        self.arrivals: dict[int, Arrivals] = {}  # by the publisher's number
        self.changed: list[Arrivals] = []  # of these, what other workers are to be told
        self._heads: dict[int, tuple[bytes, int]] = {}

    def head(self, number: int, qos: int) -> tuple[bytes, int]:
        """How the packets of a publisher begin and how long they are, where they come with `qos`."""
        found = self._heads.get(number << 2 | qos)
        if found is None:
            found = publish_head(self.topics[number].encode(), self.payload_bytes, qos, self.version)
            self._heads[number << 2 | qos] = found
        return found


class Receiver:
    """One subscriber of `topic_filter`, its `$share/name/` taken off; `shared` says whether it had one."""

    def __init__(self, tally: Tally, sources: Sources, topic_filter: str, shared: bool, decoder: Decoder) -> None:
        self.topic_filter = topic_filter
        self.shared = shared
        self.granted = 0  # QoS
        self.violation = ""  # what the Server did that ends the connection
        self.replies: list[bytes] = []
        self._tally = tally
        self._sources = sources
        self._decoder = decoder
        self._flows: dict[int, Flow] = {}
        self._unreleased: set[int] = set()  # Packet Identifiers of QoS 2 between PUBREC and PUBREL

    def take(self, data: bytes, at: int, size: int, now: int) -> int:
        """Take the PUBLISH packets that stand at `at`; return where something else, or a part of one, begins."""
        sources = self._sources
        if not sources.topics:
            return self._take_any(data, at, size, now)
        tally = self._tally
        payload_bytes = sources.payload_bytes
        tail = sources.filler
        window_start = tally.window_start
        window_end = tally.window_end
        histogram = tally.latency
        of_5_0 = sources.version == MQTT_5_0
        unpack = STAMP.unpack_from
        last_source = -1
        flow: Flow | None = None
        received = 0
        unique = 0
        age_of_many = -1  # a run of messages that were due at the same time is recorded at once
        many = 0
        while size - at >= 2:
            first = data[at]
            if first & 0xF0 != PUBLISH_BITS:
                break
            remaining = data[at + 1]
            if remaining < 0x80:
                end = at + 2 + remaining
            else:
                end = packet_end(data, at, size)
                if end == INCOMPLETE:
                    break
            if end > size:
                break
            payload = end - payload_bytes
            if payload <= at + 4:
                self._other(data[at:end], now)
                at = end
                continue
            source: int
            sequence: int
            due: int
            source, sequence, due = unpack(data, payload)
            if source != last_source:
                last_source = source
                flow = self._flows.get(source)
                if flow is None:
                    flow = self._new_flow(source)
            age = now - due
            if (
                flow is None
                or end - at != flow.size
                or not data.startswith(flow.head, at)
                or (of_5_0 and data[payload - 1])
                or not data.startswith(tail, payload + STAMP_BYTES)
                or not 0 <= age <= OLDEST
            ):
                self._other(data[at:end], now)
                at = end
                continue
            received += 1
            if first & 6:
                packet_identifier = data[payload - 3] << 8 | data[payload - 2]
                if not of_5_0:
                    packet_identifier = data[payload - 2] << 8 | data[payload - 1]
                self._answer(packet_identifier, first >> 1 & 3)
            at = end
            if sequence == flow.next:
                flow.next = sequence + 1
            elif not self._is_new(flow, sequence):
                continue
            unique += 1
            flow.arrivals.take(sequence)
            if window_start <= due < window_end:
                if age == age_of_many:
                    many += 1
                else:
                    if many:
                        histogram.record(age_of_many, many)
                    age_of_many = age
                    many = 1
            self._tell(flow.arrivals, now)
        if many:
            histogram.record(age_of_many, many)
        if received:
            tally.received += received
            tally.unique += unique
            tally.last_event = now
        return at

    def _answer(self, packet_identifier: int, qos: int) -> None:
        if qos == 1:
            self.replies.append(puback(packet_identifier))
            return
        if packet_identifier in self._unreleased:
            self._tally.complain("a Packet Identifier of QoS 2 used again before its PUBREL")
        self._unreleased.add(packet_identifier)
        self.replies.append(pubrec(packet_identifier))

    def release(self, packet_identifier: int) -> None:
        """A PUBREL."""
        if packet_identifier not in self._unreleased:
            self._tally.complain("a PUBREL that belongs to no message")
        self._unreleased.discard(packet_identifier)
        self.replies.append(pubcomp(packet_identifier))

    def _new_flow(self, source: int) -> Flow | None:
        """The Flow of a publisher that was not met before; None where none of its messages may come here."""
        sources = self._sources
        number = source - sources.first
        arrivals = sources.arrivals.get(number)
        if arrivals is None or not matches(self.topic_filter, sources.topics[number]):
            return None
        head, size = sources.head(number, self.granted)
        flow = self._flows[source] = Flow(head, size, arrivals, self.shared)
        return flow

    def _is_new(self, flow: Flow, sequence: int) -> bool:
        """The message is not the next in order: count what that means."""
        verdict = flow.judge(sequence)
        if verdict == NEW:
            return True
        if verdict == LATE:
            self._tally.disordered += 1
            return True
        self._tally.repeated += 1
        return False

    def _other(self, packet: bytes, now: int) -> None:
        """A PUBLISH that is not what a message of ours looks like at first sight: repeated, altered or foreign."""
        decoded = self._decoder.feed(packet)
        if len(decoded) != 1:
            self.violation = str(self._decoder.error)
            return
        publish = decoded[0]
        assert isinstance(publish, Publish)
        if publish.qos:
            self._answer(publish.packet_identifier, publish.qos)
        sources = self._sources
        tally = self._tally
        payload = publish.payload
        flow: Flow | None = None
        source = sequence = due = 0
        if len(payload) >= STAMP_BYTES:
            source, sequence, due = STAMP.unpack_from(payload)
            flow = self._flows.get(source)
            if flow is None:
                flow = self._new_flow(source)
        if flow is None:
            if not publish.retain:  # a retained message was there before the run
                tally.corrupted += 1
                tally.complain(
                    f"a message that this run did not send, on {publish.topic[:80]!r} (a run beside it needs a -t of "
                    "its own)"
                )
            return
        if publish.topic != sources.topics[source - sources.first]:
            tally.corrupted += 1
            tally.complain("a message on another topic than the one that it was sent to")
        elif payload[STAMP_BYTES:] != sources.filler:
            tally.corrupted += 1
            tally.complain("a message whose payload is not the one that was sent")
        elif not 0 <= now - due <= OLDEST:
            tally.corrupted += 1
            tally.complain("a message whose send time is not the one that was sent")
        elif publish.qos != self.granted:
            tally.complain(f"a message with QoS {publish.qos} to a Subscription of QoS {self.granted}")
        tally.received += 1
        tally.last_event = now
        if sequence == flow.next:
            flow.next = sequence + 1
        elif not self._is_new(flow, sequence):
            return
        tally.unique += 1
        flow.arrivals.take(sequence)
        if tally.window_start <= due < tally.window_end:
            tally.latency.record(now - due)
        self._tell(flow.arrivals, now)

    def _tell(self, arrivals: Arrivals, now: int) -> None:
        """Whoever sent the message may have room for another."""
        publisher = arrivals.publisher
        if publisher is not None:
            publisher.progress_at = now
            publisher.wake()
        elif not arrivals.changed:
            arrivals.changed = True
            self._sources.changed.append(arrivals)

    def _take_any(self, data: bytes, at: int, size: int, now: int) -> int:
        """As `take`, where nothing is known of the messages."""
        tally = self._tally
        beginning = self._sources.filler
        of_5_0 = self._sources.version == MQTT_5_0
        while size - at >= 2:
            first = data[at]
            if first & 0xF0 != PUBLISH_BITS:
                break
            end = packet_end(data, at, size)
            if end == INCOMPLETE or end > size:
                break
            body = at + 2
            while data[body - 1] & 0x80:
                body += 1
            qos = first >> 1 & 3
            payload = body + 2
            if payload <= end:
                payload += (data[body] << 8 | data[body + 1]) + (2 if qos else 0)
            if payload <= end and of_5_0:
                length, payload = read_variable_byte_integer(data, payload, end)
                payload += length
                if length == INCOMPLETE:
                    payload = end + 1
            if payload > end or qos == 3:
                self.violation = "a malformed PUBLISH"
                return end
            if qos:
                before = body + 2 + (data[body] << 8 | data[body + 1])
                self._answer(data[before] << 8 | data[before + 1], qos)
            tally.received += 1
            due = due_of(data[payload:end], beginning, now)
            if tally.window_start <= due < tally.window_end:
                tally.latency.record(now - due)
            tally.last_event = now
            at = end
        return at
