"""The core and scripted Clients joined by bytes, in virtual time.

`Pair` holds a `Broker` and a clock that only `advance` moves. A `Client` does exactly what a test says: nothing is
acknowledged, no PINGREQ sent, unless the test asks. What the broker sends is met strictly in its order: `receive` fails
when the next packet is of another type, `nothing` when there is any. `cuts` cuts the bytes of both directions into
pieces: None as they come, 1 a byte at a time, or random by the generator given.

Raw packets are written with `raw` and `string`: `raw(0x30, string("a/b"), b"payload")` puts the Remaining Length in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from broker.core.broker import Broker
from broker.core.limits import Limits, ServerLimits
from broker.core.ports import Peer
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    NO_PROPERTIES,
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
    Unsubscribe,
    Will,
)

if TYPE_CHECKING:
    from random import Random

    from broker.core.ports import Authenticator

    Cuts = Random | int | None

Packet = TypeVar("Packet", bound=ControlPacket)


def length(value: int) -> bytes:
    """`value` as a Variable Byte Integer."""
    data = bytearray()
    while True:
        value, low = divmod(value, 128)
        data.append(low | (128 if value else 0))
        if not value:
            return bytes(data)


def string(text: str | bytes) -> bytes:
    """Text, or bytes that need not be UTF-8, behind its two bytes of length."""
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def raw(first_byte: int, *parts: bytes) -> bytes:
    """A Control Packet from its first byte and what follows the Remaining Length."""
    body = b"".join(parts)
    return bytes([first_byte]) + length(len(body)) + body


def properties(**values: Any) -> Properties:
    """`Properties` with these attributes; the shared NO_PROPERTIES where none is given."""
    if not values:
        return NO_PROPERTIES
    result = Properties()
    for name, value in values.items():
        setattr(result, name, value)
    return result


class Pair:
    """A broker and its clock.

    The limits are those that ship, but for two that would disturb: no Server Keep Alive is imposed, no $SYS published.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        server_limits: ServerLimits | None = None,
        authenticator: Authenticator | None = None,
        cuts: Cuts = None,
    ) -> None:
        if limits is None:
            limits = Limits()
            limits.server_keep_alive_maximum = 0
        if server_limits is None:
            server_limits = ServerLimits()
            server_limits.sys_interval = 0.0
        self.now = 1000.0
        self.limits = limits
        self.cuts = cuts
        self.broker = Broker(server_limits, authenticator)

    def client(self, version: int = MQTT_5_0, limits: Limits | None = None) -> Client:
        """A new Network Connection; nothing is sent yet."""
        return Client(self, version, limits or self.limits)

    def connected(
        self,
        client_identifier: str,
        version: int = MQTT_5_0,
        clean_start: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        **values: Any,
    ) -> Client:
        """A new Network Connection whose CONNECT was accepted; `values` are CONNECT properties."""
        client = self.client(version)
        connack = client.connect(client_identifier, clean_start, keep_alive, will, **values)
        assert connack.reason == ReasonCode.SUCCESS
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass, and the broker do all that falls due."""
        end = self.now + seconds
        while (due := self.broker.next_deadline()) <= end:
            self.now = max(self.now, due)
            self.broker.tick(self.now)
            self.settle()
            assert self.broker.next_deadline() > self.now, "a deadline that does not go away"
        self.now = end
        self.broker.tick(self.now)
        self.settle()

    def settle(self) -> None:
        """Let outboxes leave until none has anything more to say."""
        self.broker.flush(self.now)
        while self.broker.dirty:
            self.broker.flush(self.now)

    def piece(self, size: int) -> int:
        """How many of `size` bytes go over the network in one piece."""
        if self.cuts is None:
            return size
        if isinstance(self.cuts, int):
            return min(size, self.cuts)
        return self.cuts.randint(1, size)


class Client:
    """One Network Connection of a scripted Client; `version` is the protocol level that it speaks."""

    def __init__(self, pair: Pair, version: int, limits: Limits) -> None:
        self.pair = pair
        self.version = version
        self.closed = False  # by the broker
        self.stalled = False  # set it, and what the broker sends waits in its outbox
        self.last = b""  # the bytes of the packet received last
        self.topic_aliases: dict[int, str] = {}
        self._bytes = bytearray()
        self._packets: deque[bytes] = deque()
        self._packet_identifier = 0
        self.connection = pair.broker.accept(Peer("memory", "memory"), limits, pair.now)
        self.connection.outbox.sink = self

    # -- the network

    def measure(self, now: float) -> None:
        """For the outbox: nothing here takes time."""

    def flush(self) -> None:
        """The broker's side: take what waits in the outbox."""
        outbox = self.connection.outbox
        while not self.stalled and outbox.parts:
            self._bytes += outbox.take(self.pair.piece(max(1, outbox.size)))
            outbox.sent()
        if self.connection.ended and not self.closed:
            self.closed = True
            self.connection.lost(self.pair.now)
            self.pair.broker.gone(self.connection)
        elif not self.stalled:
            self.connection.drained(self.pair.now)
        self._split()

    def resume(self) -> None:
        """Read again after `stalled`."""
        self.stalled = False
        self.flush()
        self.pair.settle()

    def drop(self) -> None:
        """The network is lost: no DISCONNECT, and what was on its way is gone."""
        self.connection.lost(self.pair.now)
        self.connection.outbox.clear()
        self.pair.broker.gone(self.connection)
        self.closed = True
        self.pair.settle()

    def _split(self) -> None:
        """Cut what has arrived into packets by their Remaining Length."""
        while len(self._bytes) >= 2:
            size = position = 0
            while True:
                if 1 + position >= len(self._bytes):
                    return
                byte = self._bytes[1 + position]
                size |= (byte & 127) << (7 * position)
                position += 1
                if byte < 128:
                    break
            end = 1 + position + size
            if len(self._bytes) < end:
                return
            self._packets.append(bytes(self._bytes[:end]))
            del self._bytes[:end]

    # -- the least that can be asked

    def send(self, *packets: ControlPacket | bytes) -> None:
        """Send `packets` at once; bytes go out as they are."""
        data = b"".join(one if isinstance(one, bytes) else encode(one, self.version) for one in packets)
        while data and not self.connection.ended:
            size = self.pair.piece(len(data))
            self.connection.receive(data[:size], self.pair.now)
            data = data[size:]
        self.pair.settle()

    def next(self) -> bytes | None:
        """The bytes of the next packet; None where there is none."""
        if not self._packets:
            return None
        self.last = self._packets.popleft()
        return self.last

    def receive(self, kind: type[Packet]) -> Packet:
        """The next packet, which must be a `kind`. The Topic Name of a PUBLISH is put in from its Topic Alias."""
        data = self.next()
        assert data is not None, f"no {kind.__name__}: nothing came{', connection closed' if self.closed else ''}"
        packet = self.decode(data)
        assert isinstance(packet, kind), f"{kind.__name__} expected, got {packet!r} ({data.hex(' ')})"
        if isinstance(packet, Publish) and packet.topic_alias:
            if packet.topic:
                self.topic_aliases[packet.topic_alias] = packet.topic
            else:
                packet.topic = self.topic_aliases[packet.topic_alias]
        return packet

    def decode(self, data: bytes) -> ControlPacket:
        """One whole packet from the broker; fails where it breaks the standard."""
        limits = DecoderLimits()
        limits.maximum_packet_size = 268_435_460
        limits.topic_bytes = limits.topic_levels = limits.properties_bytes = 65_535
        decoder = Decoder(limits, self.version, server=False)
        packets = decoder.feed(data)
        assert decoder.error is None, f"{decoder.error} in {data.hex(' ')}"
        assert len(packets) == 1
        return packets[0]

    def receive_bytes(self, expected: bytes) -> None:
        """The next packet, which must be these very bytes."""
        data = self.next()
        assert data is not None, "nothing came"
        assert data.hex(" ") == expected.hex(" ")

    def nothing(self) -> None:
        """Nothing came, and the Network Connection is open."""
        assert not self._packets, f"{self.decode(self._packets[0])!r} came ({self._packets[0].hex(' ')})"
        assert not self._bytes
        assert not self.closed, "the broker closed the Network Connection"

    def ends(self, reason: ReasonCode | None = None) -> None:
        """The broker has ended the connection: to a 5.0 Client with a DISCONNECT of `reason`, to 3.x without a word."""
        if self.version == MQTT_5_0 and reason is not None:
            assert self.receive(Disconnect).reason == reason
        assert self.next() is None, f"came before the end: {self.decode(self.last)!r}"
        assert self.closed, "the Network Connection is still open"

    def refused(self, reason: ReasonCode | None = None) -> None:
        """The broker has ended the connection before it accepted a CONNECT.

        A 5.0 Client may have got a CONNACK: then with `reason`, if given, and Session Present 0.
        """
        assert self.closed, "the Network Connection is still open"
        if self._packets:
            assert self.version == MQTT_5_0, "a word to a 3.x Client"
            connack = self.receive(Connack)
            assert connack.reason == reason if reason is not None else connack.reason >= 0x80
            assert not connack.session_present
        assert self.next() is None

    # -- whole exchanges

    def connect(
        self,
        client_identifier: str = "",
        clean_start: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        user_name: str | None = None,
        password: bytes | None = None,
        **values: Any,
    ) -> Connack:
        """CONNECT and its CONNACK, whatever it says; `values` are properties."""
        self.send(
            Connect(
                client_identifier,
                self.version,
                clean_start,
                keep_alive,
                user_name,
                password,
                will,
                properties(**values),
            )
        )
        return self.receive(Connack)

    def identifier(self) -> int:
        """The next Packet Identifier."""
        self._packet_identifier += 1
        return self._packet_identifier

    def subscribe(
        self,
        topic_filter: str,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        subscription_identifier: int = 0,
    ) -> int:
        """Subscribe to one Topic Filter; gives the Reason Code of the SUBACK."""
        identifier = self.identifier()
        request = SubscriptionRequest(topic_filter, qos, no_local, retain_as_published, retain_handling)
        values: dict[str, Any] = (
            {"subscription_identifiers": [subscription_identifier]} if subscription_identifier else {}
        )
        self.send(Subscribe(identifier, [request], properties(**values)))
        suback = self.receive(Suback)
        assert suback.packet_identifier == identifier
        assert len(suback.reasons) == 1
        return suback.reasons[0]

    def unsubscribe(self, topic_filter: str) -> None:
        identifier = self.identifier()
        self.send(Unsubscribe(identifier, [topic_filter]))
        assert self.receive(Unsuback).packet_identifier == identifier

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        forwarded: bytes = b"",
        message_expiry_interval: int = -1,
    ) -> int:
        """Publish and, at QoS 1 and 2, go through the whole exchange; gives the last Reason Code received."""
        identifier = self.identifier() if qos else 0
        self.send(
            Publish(
                topic,
                payload,
                qos=qos,
                retain=retain,
                packet_identifier=identifier,
                forwarded=forwarded,
                message_expiry_interval=message_expiry_interval,
            )
        )
        if qos == 1:
            puback = self.receive(Puback)
            assert puback.packet_identifier == identifier
            return puback.reason
        if qos == 2:
            pubrec = self.receive(Pubrec)
            assert pubrec.packet_identifier == identifier
            if pubrec.reason >= 0x80:
                return pubrec.reason
            self.send(Pubrel(identifier))
            pubcomp = self.receive(Pubcomp)
            assert pubcomp.packet_identifier == identifier
            return pubrec.reason
        return 0

    def accept(self) -> Publish:
        """The next packet, a PUBLISH, and the whole exchange that its QoS asks for."""
        publish = self.receive(Publish)
        if publish.qos == 1:
            self.send(Puback(publish.packet_identifier))
        elif publish.qos == 2:
            self.send(Pubrec(publish.packet_identifier))
            self._packets.remove(raw(0x62, publish.packet_identifier.to_bytes(2, "big")))  # behind what came before
            self.send(Pubcomp(publish.packet_identifier))
        return publish

    def ping(self) -> None:
        self.send(Pingreq())
        self.receive(Pingresp)

    def disconnect(self, reason: ReasonCode = ReasonCode.SUCCESS, **values: Any) -> None:
        """DISCONNECT; the broker closes."""
        self.send(Disconnect(reason, properties(**values)))
        assert self.closed
