"""Clients that keep their word over any number of Network Connections, and a loop that runs many of them.

A `Durable` does what the standard asks of a Client that stores its Session (section 4.1): it remembers what it has sent
and is not acknowledged, and which QoS 2 identifiers it has received, sends again after it comes back, in the order and
under the identifiers of the first time, and writes into the `Ledger` before it answers. It chooses all that is left to
a Client at random, from a seed: when it publishes, on which topic, how long it holds its acknowledgements.

Nothing here waits for longer than it was told to.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
)
from broker.websocket.frames import FrameDecoder
from tests.faults.brokers import HTTP_HEAD, frame

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from broker.packets.types import Will
    from tests.faults.ledger import Ledger, Receiver, Stream

READ_SIZE = 256 * 1024
EXPIRY = 3600  # seconds, of a durable Session of 5.0
CALM = 0.1  # seconds in which what waits for a commit comes after all
GRACE = 5.0  # seconds without a packet after which what is missing is taken for lost
PATIENCE = 60.0  # seconds for what a broker on a busy machine must do


class Wire:
    """One Network Connection over TCP or WebSocket: packets in and out, never blocking."""

    def __init__(self, address: tuple[str, int], websocket: bool, version: int) -> None:
        self.version = version
        self.ended = False
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._decoder = Decoder(DecoderLimits(), version, server=False)
        self._frames = FrameDecoder(1 << 28, server=False) if websocket else None
        self._head = b""
        self._upgraded = not websocket
        self._unsent = HTTP_HEAD if websocket else b""

    def send(self, data: bytes) -> None:
        """Send `data`, or keep it until there is room."""
        self._unsent += data if self._frames is None else frame(data)
        self.flush()

    def flush(self) -> None:
        if self._unsent and not self.ended:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self._unsent = b""  # the end comes by reading, behind what was sent before it
                return
            self._unsent = self._unsent[sent:]

    def blocked(self) -> bool:
        return bool(self._unsent)

    def receive(self) -> list[ControlPacket]:
        """The packets that have come; `ended` says that there will be no more."""
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return []
        if self._frames is not None:
            if not self._upgraded:
                self._head += data
                head, found, data = self._head.partition(b"\r\n\r\n")
                if not found:
                    return []
                assert head.startswith(b"HTTP/1.1 101 "), head
                self._upgraded = True
            data = self._frames.feed(data)
            self._unsent += self._frames.take_replies()
            self.ended = self._frames.closed
        packets = self._decoder.feed(data)
        assert self._decoder.error is None, self._decoder.error
        return packets

    def close(self) -> None:
        self.ended = True
        self.socket.close()


@dataclass
class Sent:
    """A message of ours that is not acknowledged. `released`: PUBREC has come, and PUBREL was sent."""

    stream: Stream | None
    number: int
    packet: Publish
    released: bool = False


class Durable:
    """A Client with a Session to keep (`durable`), or one that begins anew each time. See the module.

    `publishes` are the streams that it publishes to, `window` how many messages at once; `filters` are what it
    subscribes to at QoS 2, and `receiver` is its part of the ledger. `trap` sees every packet before the Client does.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        chance: random.Random,
        *,
        version: int = MQTT_5_0,
        websocket: bool = False,
        durable: bool = True,
        publishes: list[Stream] | None = None,
        window: int = 0,
        filters: list[str] | None = None,
        receiver: Receiver | None = None,
        expiry: int = EXPIRY,
        will: Will | None = None,
    ) -> None:
        self.name = name
        self.ledger = ledger
        self.chance = chance
        self.version = version
        self.websocket = websocket
        self.durable = durable
        self.publishes = publishes or []
        self.window = window
        self.filters = filters or []
        self.receiver = receiver
        self.expiry = expiry
        self.will = will
        self.trap: Callable[[ControlPacket], None] | None = None
        self.patience = 0.0  # the chance that acknowledgements are held back for a moment
        self.packets = 0  # that have come
        self.received_others: list[Publish] = []  # what came and is not of the ledger, where there is no receiver
        # -- what a Client stores
        self.known = False  # the broker has acknowledged the Session, subscriptions included
        self.outgoing: dict[int, Sent] = {}
        self.received: dict[int, bytes] = {}  # QoS 2 identifiers that are not released, with their payloads
        self.last_identifier = 0
        # -- of the present Network Connection
        self.wire: Wire | None = None
        self.connack: Connack | None = None
        self.disconnect: Disconnect | None = None
        self.ready = False  # the Session is there, and subscriptions are made
        self.answers: deque[ControlPacket] = deque()
        self.pinged = False
        self.held: list[bytes] = []
        self.quota = 65_535

    # -- Coming and going

    def connect(self, addresses: Mapping[str, tuple[str, int]], clean_start: bool | None = None) -> None:
        """Begin a Network Connection; an older one is left as it is."""
        self.wire = Wire(addresses["ws" if self.websocket else "tcp"], self.websocket, self.version)
        self.connack = self.disconnect = None
        self.ready = self.pinged = False
        self.held.clear()
        properties = Properties()
        clean = not self.durable if clean_start is None else clean_start
        if self.version == MQTT_5_0 and self.durable:
            properties.session_expiry_interval = self.expiry
        self.send(Connect(self.name, self.version, clean, 0, will=self.will, properties=properties))

    def send(self, packet: ControlPacket) -> None:
        assert self.wire is not None
        self.wire.send(encode(packet, self.version))

    def close(self) -> None:
        """End the Network Connection without a word, whatever it still held for us."""
        if self.wire is not None:
            self.wire.close()
        self.wire = None
        self.ready = self.pinged = False

    def leave(self) -> None:
        self.send(Disconnect())
        self.close()

    @property
    def idle(self) -> bool:
        """Whether all that was sent is acknowledged, and all that has come."""
        return self.ready and not self.outgoing and not self.received and not self.held

    # -- Publishing

    def publish_some(self, most: int) -> None:
        """Publish up to `most` messages of streams chosen at random, as far as the window has room."""
        for _ in range(min(most, self.window - len(self.outgoing), self.quota - len(self.outgoing))):
            stream = self.chance.choice(self.publishes)
            number = self.ledger.sending(stream)
            self.publish(stream.topic, stream.payload(number), stream.qos, stream=stream, number=number)

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        retain: bool = False,
        expiry: int = -1,
        stream: Stream | None = None,
        number: int = 0,
    ) -> int:
        """Publish one message; its Packet Identifier."""
        packet = Publish(topic, payload, qos=qos, retain=retain, message_expiry_interval=expiry)
        if qos:
            packet.packet_identifier = self.identifier()
            self.outgoing[packet.packet_identifier] = Sent(stream, number, packet)
        self.send(packet)
        return packet.packet_identifier

    def identifier(self) -> int:
        while True:
            self.last_identifier = self.last_identifier % 65_535 + 1
            if self.last_identifier not in self.outgoing:
                return self.last_identifier

    def _send_again(self) -> None:
        for identifier, sent in self.outgoing.items():  # in the order of the first time [MQTT-4.6.0-1]
            if sent.released:
                self.send(Pubrel(identifier))
            else:
                sent.packet.dup = True
                if sent.stream is not None:
                    self.ledger.sending_again(sent.stream, sent.number)
                self.send(sent.packet)

    # -- What comes

    def handle(self, packet: ControlPacket) -> None:
        self.packets += 1
        if self.trap is not None:
            self.trap(packet)
        if isinstance(packet, Publish):
            self._on_publish(packet)
        elif isinstance(packet, (Puback, Pubrec, Pubcomp)):
            self._on_acknowledgement(packet)
        elif isinstance(packet, Pubrel):
            known = self.received.pop(packet.packet_identifier, None) is not None
            reason = 0 if known else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
            self._answer(Pubcomp(packet.packet_identifier, reason))
        elif isinstance(packet, Connack):
            self._on_connack(packet)
        elif isinstance(packet, Suback) and not self.ready:
            assert all(reason < 0x80 for reason in packet.reasons), packet.reasons
            self._start()
        elif isinstance(packet, Pingresp):
            self.pinged = False
        elif isinstance(packet, Disconnect):
            self.disconnect = packet
        elif isinstance(packet, (Suback, Unsuback)):
            self.answers.append(packet)

    def _on_connack(self, connack: Connack) -> None:
        self.connack = connack
        assert connack.reason == ReasonCode.SUCCESS, f"{self.name}: {connack.reason!r}"
        self.quota = connack.properties.receive_maximum or 65_535
        if not connack.session_present:
            if self.known:
                self.ledger.forgotten(f"the Session of {self.name}")
            self.known = False
            self.outgoing.clear()
            self.received.clear()
        if self.filters and not self.known:
            self.send(Subscribe(self.identifier(), [SubscriptionRequest(each, 2) for each in self.filters]))
        else:
            self._start()

    def _start(self) -> None:
        self.ready = True
        self.known = self.durable
        if self.receiver is not None:
            self.ledger.subscribed(self.receiver)
        self._send_again()

    def _on_publish(self, packet: Publish) -> None:
        identifier = packet.packet_identifier
        if packet.qos == 2:
            before = self.received.get(identifier)
            if before is not None:
                if before != packet.payload or not packet.dup:
                    what = f"{packet!r} under an identifier that is in use for {before!r}"
                    self.ledger.unexpected(self.name, what)
                self._answer(Pubrec(identifier))
                return
            self.received[identifier] = packet.payload
        if self.receiver is not None:
            self.ledger.delivered(self.receiver, packet.topic, packet.qos, packet.dup, packet.payload)
        else:
            self.received_others.append(packet)
        if packet.qos == 1:
            self._answer(Puback(identifier))
        elif packet.qos == 2:
            self._answer(Pubrec(identifier))

    def _on_acknowledgement(self, packet: Puback | Pubrec | Pubcomp) -> None:
        identifier = packet.packet_identifier
        sent = self.outgoing.get(identifier)
        if sent is None:
            if isinstance(packet, Pubrec):
                self._answer(Pubrel(identifier, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
            return
        expected = Puback if sent.packet.qos == 1 else Pubcomp if sent.released else Pubrec
        if not isinstance(packet, expected):
            if not (isinstance(packet, Pubrec) and sent.released):
                self.ledger.unexpected(self.name, f"{packet!r} for {sent}")
            return
        if isinstance(packet, Pubcomp):
            del self.outgoing[identifier]
            return
        if packet.reason >= 0x80:
            if sent.stream is not None:
                self.ledger.refused(sent.stream, sent.number)
            del self.outgoing[identifier]
            return
        if sent.stream is not None:
            self.ledger.acknowledged(sent.stream, sent.number)
        if isinstance(packet, Puback):
            del self.outgoing[identifier]
        else:
            sent.released = True
            self._answer(Pubrel(identifier))

    def _answer(self, packet: ControlPacket) -> None:
        self.held.append(encode(packet, self.version))

    def let_go(self) -> None:
        """Send the acknowledgements that are due, in their order, unless it is a moment to be slow in."""
        if self.held and self.wire is not None and (len(self.held) > 100 or self.chance.random() >= self.patience):
            data = b"".join(self.held)
            self.held.clear()
            self.wire.send(data)


class Fleet:
    """Many Clients in one thread."""

    def __init__(self, clients: list[Durable]) -> None:
        self.clients = clients
        self.selector = selectors.DefaultSelector()
        self._watched: dict[Durable, Wire] = {}

    def turn(self, longest: float) -> None:
        """Read and answer what there is, after waiting for it at most so long."""
        for client, watched in list(self._watched.items()):
            if watched is not client.wire or watched.ended:
                self._forget(client)
        for client in self.clients:
            if client.wire is not None and client not in self._watched:
                self.selector.register(client.wire.socket, selectors.EVENT_READ, client)
                self._watched[client] = client.wire
        for key, _ in self.selector.select(longest):
            client = key.data
            current = self._watched[client]
            if client.wire is not current:
                continue  # what came before it has ended it
            for packet in current.receive():
                if client.wire is current:
                    client.handle(packet)
            if current.ended and client.wire is current:
                client.close()
        for client in self.clients:
            if client.wire is not None:
                client.let_go()
                client.wire.flush()

    def _forget(self, client: Durable) -> None:
        self.selector.unregister(self._watched.pop(client).socket)

    def until(self, holds: Callable[[], bool], within: float = PATIENCE) -> bool:
        """Turn until `holds()`, or for `within` seconds; whether it does."""
        deadline = time.monotonic() + within
        while not holds():
            if time.monotonic() >= deadline:
                return False
            self.turn(0.02)
        return True

    def publish_some(self, most: int) -> None:
        """Let everybody who publishes, and whose last bytes are gone, publish up to `most` messages."""
        for client in self.clients:
            if client.ready and client.publishes and client.wire is not None and not client.wire.blocked():
                client.publish_some(client.chance.randint(0, most))

    def quiet(self, clients: Sequence[Durable], within: float = PATIENCE) -> bool:
        """Until `clients`, as far as they are here, wait for nothing, and two rounds of PINGREQ bring them nothing new;
        whether it came to that."""
        deadline = time.monotonic() + within
        calm = 0
        while calm < 2:
            if not self.until(lambda: all(each.idle for each in clients if each.wire), deadline - time.monotonic()):
                return False
            here = [each for each in clients if each.wire is not None]
            before = sum(each.packets for each in here)
            for each in here:
                each.pinged = True
                each.send(Pingreq())
            if not self.until(lambda: not any(each.pinged for each in clients), deadline - time.monotonic()):
                return False
            calm = calm + 1 if sum(each.packets for each in here) == before + len(here) else 0
        return True

    def drained(self, ledger: Ledger) -> bool:
        """Until everything acknowledged has come to the durable receivers and nobody waits; whether it came to that.

        It may take as long as it takes, unless for `GRACE` seconds nothing comes and nothing is acknowledged.
        """
        before, since = -1, 0.0
        while True:
            come = ledger.acknowledged_count + sum(each.count for each in ledger.receivers)
            now = time.monotonic()
            if come != before:
                before, since = come, now
            elif now - since > GRACE:
                return False
            elif (
                now - since > CALM
                and all(each.idle for each in self.here())
                and self.quiet(self.clients)
                and not any(ledger.missing(each) for each in ledger.receivers if each.durable)
            ):
                return True
            self.turn(0.02)

    def here(self) -> list[Durable]:
        return [each for each in self.clients if each.wire is not None]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.selector.close()
