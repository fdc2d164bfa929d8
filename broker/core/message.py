"""The Application Message, and its wire forms: made once, shared by all receivers.

A message that came at QoS 0 in the receiver's own protocol and carries nothing of one connection only (alias, expiry)
leaves as the very bytes that came. Otherwise the form for (version, QoS, RETAIN) is written at the first receiver who
needs it and kept; QoS 1 and 2 are a head and a tail round two bytes of Packet Identifier. What differs from receiver to
receiver (Subscription Identifiers, Topic Alias, what is left of the Message Expiry Interval) is written each time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from broker.core.journal import Row
from broker.packets.encode import encode_publish, publish_parts

if TYPE_CHECKING:
    from broker.packets.types import Publish, Will

NEVER: Final = math.inf
ROUNDING: Final = 1e-6  # seconds by which floats may make an interval longer than it was given


class ApplicationMessage(Row):
    """The data of one PUBLISH or Will Message as the broker keeps it.

    `packet[payload_start:]` is the payload (see `Publish`). `expires_at` is a monotonic time in seconds, infinity for
    never. `retain` is the flag as published. `holders` counts the queues that hold it in a Store (see `Journal`), and
    `position` is the batch that must be committed before it is forwarded, 0 for none.
    """

    __slots__ = (
        "expires_at",
        "forwarded",
        "holders",
        "packet",
        "parts",
        "payload_bytes",
        "payload_start",
        "plain_3",
        "plain_5",
        "position",
        "qos",
        "retain",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        packet: bytes,
        payload_start: int = 0,
        qos: int = 0,
        retain: bool = False,
        forwarded: bytes = b"",
        expires_at: float = NEVER,
    ) -> None:
        self.row = 0
        self.holders = 0
        self.position = 0
        self.topic = topic
        self.packet = packet
        self.payload_start = payload_start
        self.payload_bytes = len(packet) - payload_start
        self.qos = qos
        self.retain = retain
        self.forwarded = forwarded
        self.expires_at = expires_at
        self.plain_3: bytes | None = None
        self.plain_5: bytes | None = None
        self.parts: dict[int, tuple[bytes, bytes]] | None = None

    @property
    def payload(self) -> bytes:
        return self.packet[self.payload_start :] if self.payload_start else self.packet

    @property
    def size(self) -> int:
        """Bytes that this message is counted with against queue limits."""
        return len(self.packet) + len(self.topic) + 64

    def plain(self, version: int, now: float) -> bytes:
        """The PUBLISH of QoS 0, RETAIN 0, without anything of one receiver."""
        if version == 5:
            if self.plain_5 is not None:
                return self.plain_5
            if self.expires_at != NEVER:
                return self.wire(5, 0, False, now)
            data = self.plain_5 = self.wire(5, 0, False, now)
            return data
        if self.plain_3 is not None:
            return self.plain_3
        data = self.plain_3 = self.wire(version, 0, False, now)
        return data

    def wire(
        self,
        version: int,
        qos: int,
        retain: bool,
        now: float,
        packet_identifier: int = 0,
        dup: bool = False,
        identifiers: tuple[int, ...] = (),
        topic_alias: int = 0,
        with_topic: bool = True,
    ) -> bytes:
        """The whole PUBLISH for one receiver."""
        return encode_publish(
            self.topic.encode() if with_topic else b"",
            self.payload,
            qos,
            retain,
            dup,
            packet_identifier,
            version,
            self.forwarded,
            self.remaining(now),
            topic_alias,
            identifiers,
        )

    def head_and_tail(self, version: int, qos: int, retain: bool, now: float) -> tuple[bytes, bytes]:
        """What stands before and behind the Packet Identifier of a PUBLISH of QoS 1 or 2, DUP 0."""
        if version == 5 and self.expires_at != NEVER:
            return self._encode_parts(version, qos, retain, now)
        key = qos | (4 if retain else 0) | (8 if version == 5 else 0)
        parts = self.parts
        if parts is None:
            parts = self.parts = {}
        found = parts.get(key)
        if found is None:
            found = parts[key] = self._encode_parts(version, qos, retain, now)
        return found

    def _encode_parts(self, version: int, qos: int, retain: bool, now: float) -> tuple[bytes, bytes]:
        return publish_parts(
            self.topic.encode(), self.payload, qos, retain, False, version, self.forwarded, self.remaining(now), 0, ()
        )

    def remaining(self, now: float) -> int:
        """What is left of the Message Expiry Interval in whole seconds; -1 for a message without [MQTT5-3.3.2-6]."""
        if self.expires_at == NEVER:
            return -1
        left = math.ceil(self.expires_at - now - ROUNDING)
        return left if left > 0 else 0


def expiry(interval: int, now: float, maximum: int) -> float:
    """When a message with this Message Expiry Interval (-1: none) expires, under a cap in seconds (0: none)."""
    if interval < 0:
        return now + maximum if maximum else NEVER
    return now + (min(interval, maximum) if maximum else interval)


def from_publish(publish: Publish, now: float, maximum_expiry: int) -> ApplicationMessage:
    """The message that a PUBLISH brings."""
    message = ApplicationMessage(
        publish.topic, publish.packet, publish.payload_start, publish.qos, publish.retain, publish.forwarded
    )
    if publish.message_expiry_interval >= 0 or maximum_expiry:
        message.expires_at = expiry(publish.message_expiry_interval, now, maximum_expiry)
    elif publish.qos == 0 and not publish.retain and publish.version:
        # The packet can go on as it came: no alias, no expiry, and DUP is always 0 at QoS 0 [MQTT-3.3.1-2].
        if publish.version == 5:
            if publish.topic_alias == 0:
                message.plain_5 = publish.packet
        else:
            message.plain_3 = publish.packet
    return message


def from_will(will: Will, now: float, maximum_expiry: int) -> ApplicationMessage:
    """The message that a Will becomes when it is published; its expiry begins now (section 3.1.3.2.4)."""
    return ApplicationMessage(
        will.topic,
        will.payload,
        0,
        will.qos,
        will.retain,
        will.forwarded,
        expiry(will.message_expiry_interval, now, maximum_expiry),
    )
