"""A Client's Protocol and the packets between it and a Server, with time passed in by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.client.protocol import Protocol, Settings
from broker.client.publications import Publication
from broker.client.subscriptions import Subscription
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode, publish_parts
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    NO_PROPERTIES,
    Connack,
    Connect,
    ControlPacket,
    Properties,
    Suback,
    Subscribe,
    SubscriptionRequest,
)

if TYPE_CHECKING:
    from broker.client.errors import ClientError


class Line:
    """A Protocol and the packets between it and a Server; `now` is the time."""

    def __init__(self, version: int = MQTT_5_0, **settings: object) -> None:
        self.settings = Settings()
        self.settings.version = version
        self.settings.client_identifier = "c"
        for name, value in settings.items():
            assert hasattr(self.settings, name)
            setattr(self.settings, name, value)
        self.protocol = Protocol(self.settings)
        self.now = 1000.0
        self._decoder = Decoder(DecoderLimits())

    def open(self) -> Connect:
        """A new Network Connection and its CONNECT."""
        self._decoder = Decoder(DecoderLimits())
        self.protocol.open(self.now)
        (connect,) = self.out()
        assert isinstance(connect, Connect)
        self._decoder.accept()
        return connect

    def connect(self, session_present: bool = False, **properties: object) -> list[ControlPacket]:
        """CONNECT and CONNACK; what follows at once."""
        self.open()
        return self.send(Connack(ReasonCode.SUCCESS, session_present, of(**properties)))

    def send(self, *packets: ControlPacket) -> list[ControlPacket]:
        """The Server sends; what the Client answers."""
        version = self.protocol.version
        self.protocol.receive(b"".join(encode(packet, version) for packet in packets), self.now)
        return self.out()

    def out(self) -> list[ControlPacket]:
        """What the Client has to send."""
        data = self.protocol.take()
        assert not self.protocol.pending
        packets = self._decoder.feed(data)
        assert self._decoder.error is None, self._decoder.error
        if data:
            self.protocol.handed(self.now)
        return packets

    def publish(self, qos: int, payload: bytes = b"x", retain: bool = False) -> Publication:
        head, tail = publish_parts(b"a", payload, qos, retain, False, self.protocol.version)
        publication = Publication(head, tail, qos, retain)
        self.protocol.publish(publication)
        return publication

    def subscribe(self, *filters: str) -> Subscription:
        subscription = Subscription([SubscriptionRequest(topic_filter, 2) for topic_filter in filters], 100)
        self.protocol.subscribe(subscription)
        return subscription

    def subscribed(self, *filters: str) -> Subscription:
        subscription = self.subscribe(*filters)
        (packet,) = self.out()
        assert isinstance(packet, Subscribe)
        self.send(Suback(packet.packet_identifier, [2] * len(filters)))
        assert subscription.done
        return subscription

    def lose(self) -> None:
        self.protocol.lost()

    def wait(self, seconds: float) -> list[ControlPacket]:
        """Let time pass; the deadlines are met."""
        end = self.now + seconds
        packets: list[ControlPacket] = []
        while self.protocol.deadline() <= end:
            self.now = max(self.now, self.protocol.deadline())
            self.protocol.tick(self.now)
            packets += self.out()
        self.now = end
        return packets

    @property
    def error(self) -> ClientError | None:
        return self.protocol.error


def of(**values: object) -> Properties:
    if not values:
        return NO_PROPERTIES
    properties = Properties()
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def kinds(packets: list[ControlPacket]) -> list[type]:
    return [type(packet) for packet in packets]
