"""What an application reads and writes: `Message` in, `Will` and payloads out."""

from __future__ import annotations

from broker.packets.properties import forwarded_properties, publish_properties
from broker.packets.reasons import ReasonCode
from broker.packets.types import NO_PROPERTIES, Properties, Publish
from broker.packets.types import Will as WillMessage

Payload = str | bytes | bytearray | memoryview


def payload_bytes(payload: Payload) -> bytes:
    """`payload` as it is sent; text as UTF-8."""
    return payload.encode() if isinstance(payload, str) else bytes(payload)


class Message:
    """An Application Message as it was received; only its topic is decoded before it is asked for."""

    __slots__ = ("_properties", "_publish", "topic")

    def __init__(self, publish: Publish, topic: str) -> None:
        self.topic = topic
        self._publish = publish
        self._properties: Properties | None = None

    @property
    def payload(self) -> bytes:
        return self._publish.payload

    @property
    def qos(self) -> int:
        return self._publish.qos

    @property
    def retain(self) -> bool:
        return self._publish.retain

    @property
    def dup(self) -> bool:
        """The Server sends this packet again. It says nothing about the message itself [MQTT-3.3.1-3]."""
        return self._publish.dup

    @property
    def packet_identifier(self) -> int:
        """Of the PUBLISH that brought it; 0 at QoS 0."""
        return self._publish.packet_identifier

    @property
    def subscription_identifiers(self) -> tuple[int, ...]:
        return self._publish.subscription_identifiers

    @property
    def properties(self) -> Properties:
        """The properties of the PUBLISH, with what remains of the Message Expiry Interval; decoded when first read."""
        if self._properties is None:
            publish = self._publish
            found = publish_properties(publish.forwarded)
            if publish.message_expiry_interval >= 0 or publish.subscription_identifiers:
                if found is NO_PROPERTIES:
                    found = Properties()
                if publish.message_expiry_interval >= 0:
                    found.message_expiry_interval = publish.message_expiry_interval
                found.subscription_identifiers = list(publish.subscription_identifiers)
            self._properties = found
        return self._properties

    def __repr__(self) -> str:
        return f"Message({self.topic!r}, {self.payload[:40]!r}, qos={self.qos}, retain={self.retain})"


class Acknowledgement:
    """How a publication ended. `reason` is that of the PUBACK, or of the PUBREC at QoS 2; Success at QoS 0.

    "No matching subscribers" (0x10) is a success that a 5.0 Server may tell.
    """

    __slots__ = ("properties", "reason")

    def __init__(self, reason: ReasonCode = ReasonCode.SUCCESS, properties: Properties = NO_PROPERTIES) -> None:
        self.reason = reason
        self.properties = properties

    def __repr__(self) -> str:
        return f"Acknowledgement({self.reason!r})"


class Will:
    """The Will Message that the Server publishes when the Network Connection ends without our DISCONNECT.

    `delay_interval` in seconds, and of `properties` what a PUBLISH may hold: both 5.0 only. ValueError for what cannot
    be a Will.
    """

    __slots__ = ("delay_interval", "payload", "properties", "qos", "retain", "topic")

    def __init__(
        self,
        topic: str,
        payload: Payload = b"",
        qos: int = 0,
        retain: bool = False,
        delay_interval: int = 0,
        properties: Properties | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload_bytes(payload)
        self.qos = qos
        self.retain = retain
        self.delay_interval = delay_interval
        self.properties = properties or NO_PROPERTIES

    def packet(self) -> WillMessage:
        """What a CONNECT carries."""
        return WillMessage(
            self.topic,
            self.payload,
            self.qos,
            self.retain,
            self.delay_interval,
            message_expiry(self.properties),
            forwarded_properties(self.properties),
        )


def message_expiry(properties: Properties) -> int:
    """The Message Expiry Interval as a Publish holds it: -1 where there is none."""
    interval = properties.message_expiry_interval
    return -1 if interval is None else interval
