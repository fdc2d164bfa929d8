"""Flight records: what happened to each Client of late, so that "why did it not arrive?" has an answer.

Two kinds of things are noted. Decisions are noted always: coming and going, subscriptions, refusals, and messages that
were dropped, and why. All of them are rare, or repeat, and what repeats is counted in one event. Packets are noted only
of a Client that is watched: its Connection has a `Tap`, which looks at what was decoded and at the bytes that leave, so
that whoever is not watched pays one test a read and one a write.

All of it is bounded: so many events a Client, so many Clients. The record of a Client who is gone is kept until others
need the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.types import (
    Connack,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.core.session import Session
    from broker.packets.types import ControlPacket

IN: Final = "in"  # from the Client
OUT: Final = "out"  # to the Client
DECISION: Final = "decision"  # of the broker

DECISIONS: Final = 32  # events kept of a Client
PACKETS: Final = 512  # of one that is watched
CLIENTS: Final = 5_000  # with a record, there or gone (a guess; some 10 MB, 40 at worst)
WATCHED: Final = 100  # at a time
LARGEST: Final = 268_435_455  # bytes: whatever we send can be read


# What becomes of a message that does not get on its way
EXPIRED: Final = "a message has expired in its queue"
MADE_ROOM: Final = "a message has made room for a newer one in a full queue (queue_overflow drop-oldest)"
QUEUE_FULL: Final = "a message was refused: the queue is full (queue_messages, queue_bytes, buffered_bytes)"
BARRED: Final = "a message in its queue may not be received any more"
TOO_LARGE: Final = "a message is larger than the Maximum Packet Size of the Client"
NOT_ALLOWED: Final = "publishing to a topic is not allowed"
NOTED: Final = 64  # messages dropped for a slow reader that are one entry: a flood of them costs little more


class Event:
    """One thing that happened. `at` is monotonic seconds, `times` how often in a row until `last`; `packet` is the name
    of a Control Packet, "" for a decision; `topic` a Topic Name or Filter, "" for none; `qos` and `identifier` -1 and 0
    where they mean nothing; `size` bytes of the payload, -1 likewise. `detail` says the rest in words."""

    __slots__ = ("at", "detail", "direction", "identifier", "last", "packet", "qos", "size", "times", "topic")

    def __init__(
        self,
        at: float,
        direction: str,
        packet: str,
        topic: str = "",
        qos: int = -1,
        identifier: int = 0,
        size: int = -1,
        detail: str = "",
    ) -> None:
        self.at = at
        self.last = at
        self.times = 1
        self.direction = direction
        self.packet = packet
        self.topic = topic
        self.qos = qos
        self.identifier = identifier
        self.size = size
        self.detail = detail


class Flight:
    """The record of one Client, the oldest event first."""

    __slots__ = ("events", "most")

    def __init__(self, most: int = DECISIONS) -> None:
        self.events: list[Event] = []
        self.most = most

    def note(self, event: Event) -> None:
        """One more event; the oldest goes for it where there is no room."""
        events = self.events
        if len(events) >= self.most:
            del events[: len(events) - self.most + 1]
        events.append(event)

    def decide(self, at: float, detail: str, topic: str = "", qos: int = -1, times: int = 1) -> None:
        """Note a decision. One that repeats the last, be it about another topic, is counted there."""
        events = self.events
        if events:
            last = events[-1]
            if last.direction == DECISION and last.detail == detail:
                last.times += times
                last.last = at
                last.topic = topic
                last.qos = qos
                return
        event = Event(at, DECISION, "", topic, qos, 0, -1, detail)
        event.times = times
        self.note(event)

    def last_about(self, topic: str) -> Event | None:
        """The newest event that names `topic`."""
        for event in reversed(self.events):
            if event.topic == topic:
                return event
        return None


class Tap:
    """Notes the packets of one Network Connection, for as long as its Client is watched."""

    def __init__(self, flights: Flights, flight: Flight, version: int) -> None:
        self._flights = flights
        self._flight = flight
        limits = DecoderLimits()
        limits.maximum_packet_size = LARGEST
        self._decoder = Decoder(limits, version, server=False)  # of what leaves

    def came(self, packets: list[ControlPacket], now: float) -> None:
        """Packets from the Client, before they are handled."""
        for packet in packets:
            self._flight.note(described(packet, IN, now))

    def left(self, data: bytes) -> None:
        """Bytes for the Client, whole packets."""
        for packet in self._decoder.feed(data):
            self._flight.note(described(packet, OUT, self._flights.now))


class Flights:
    """The records of all Clients, by Client Identifier. `now` is when something last left, monotonic seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._of: dict[str, Flight] = {}  # who was noted last stands last
        self._watched: dict[str, None] = {}

    def of(self, client_identifier: str) -> Flight:
        """The record of a Client, a new one if need be; that of whom nothing was heard for longest may go for it."""
        of = self._of
        flight = of.pop(client_identifier, None)
        if flight is None:
            flight = Flight(PACKETS if client_identifier in self._watched else DECISIONS)
            if len(of) >= CLIENTS:
                del of[next(iter(of))]
        of[client_identifier] = flight
        return flight

    def find(self, client_identifier: str) -> Flight | None:
        """The record of a Client, if there is one."""
        return self._of.get(client_identifier)

    def arrived(self, connection: Connection, session: Session, present: bool, now: float) -> None:
        """A Network Connection has its CONNACK."""
        name = session.client_identifier
        peer = connection.peer
        version = {3: "3.1", 4: "3.1.1"}.get(connection.version, "5.0")
        found = "its Session was there" if present else "with a new Session"
        flight = self.of(name)
        flight.decide(now, f"connected from {peer.address} over {peer.transport}, MQTT {version}, {found}")
        if name in self._watched:
            self._tap(connection, flight)

    def dropped(self, connection: Connection, session: Session, topic: str, policy: str, now: float) -> None:
        """Messages of QoS 0 were dropped: by an overflow `policy`, or for want of one as too large."""
        fresh = connection.dropped - connection.noted
        if fresh >= NOTED or not connection.noted:
            what = f"QoS 0 was dropped for a slow reader (overflow {policy})" if policy else TOO_LARGE
            self.of(session.client_identifier).decide(now, what, topic, 0, fresh)
            connection.noted = connection.dropped

    def watched(self, client_identifier: str) -> bool:
        return client_identifier in self._watched

    def watch(self, client_identifier: str, connection: Connection | None) -> bool:
        """Note packets from now on; `connection` is the Client's present one. False where WATCHED are watched."""
        if client_identifier not in self._watched and len(self._watched) >= WATCHED:
            return False
        self._watched[client_identifier] = None
        flight = self.of(client_identifier)
        flight.most = PACKETS
        if connection is not None and connection.tap is None:
            self._tap(connection, flight)
        return True

    def unwatch(self, client_identifier: str, connection: Connection | None) -> None:
        """Note decisions only; what was noted goes as newer events need the place."""
        if client_identifier in self._watched:
            del self._watched[client_identifier]
        if connection is not None:
            connection.tap = connection.outbox.tap = None
        flight = self._of.get(client_identifier)
        if flight is not None:
            flight.most = DECISIONS

    def _tap(self, connection: Connection, flight: Flight) -> None:
        connection.tap = connection.outbox.tap = Tap(self, flight, connection.version)


def described(packet: ControlPacket, direction: str, now: float) -> Event:
    """One Control Packet as an Event. Nothing of a payload, a User Name or a Password is in it."""
    name = type(packet).__name__.upper()
    if isinstance(packet, Publish):
        flags = " ".join([flag for flag, on in (("DUP", packet.dup), ("RETAIN", packet.retain)) if on])
        size = len(packet.packet) - packet.payload_start
        return Event(now, direction, name, packet.topic, packet.qos, packet.packet_identifier, size, flags)
    if isinstance(packet, Puback | Pubrec | Pubrel | Pubcomp):
        detail = f"0x{packet.reason:02X}" if packet.reason else ""
        return Event(now, direction, name, identifier=packet.packet_identifier, detail=detail)
    if isinstance(packet, Subscribe):
        wanted = [f"{request.topic_filter} at QoS {request.maximum_qos}" for request in packet.requests]
        return Event(now, direction, name, identifier=packet.packet_identifier, detail=some(wanted))
    if isinstance(packet, Unsubscribe):
        return Event(now, direction, name, identifier=packet.packet_identifier, detail=some(packet.topic_filters))
    if isinstance(packet, Suback | Unsuback):
        reasons = [f"0x{reason:02X}" for reason in packet.reasons]
        return Event(now, direction, name, identifier=packet.packet_identifier, detail=some(reasons))
    if isinstance(packet, Connack | Disconnect):
        return Event(now, direction, name, detail=f"0x{packet.reason:02X}")
    return Event(now, direction, name)


SHOWN: Final = 8  # of a list


def some(items: list[str], count: int = 0) -> str:
    """A list in words, not longer than need be; `count` is how many there are where `items` are only the first."""
    shown = ", ".join([item[:128] for item in items[:SHOWN]])
    more = max(count, len(items)) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
