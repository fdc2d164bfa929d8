"""Bytes to Control Packets.

Three laws. A fault of the peer is never an exception but `Decoder.error`, with what came before it still delivered.
A bound acts on what the fixed header promises, before a byte of the body is kept: memory grows with bytes received.
And nothing is read twice: a packet that arrives in pieces waits in one buffer until it is whole.

PUBLISH, and the four acknowledgements in their short form, are decoded inside the loop of `feed`; everything else is
rare and has a method of its own.
"""

from __future__ import annotations

from typing import Final

from broker.packets.bodies import Bodies, DecoderLimits
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    MQTT_3_1,
    MQTT_5_0,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    ControlPacket,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from broker.packets.wire import (
    INCOMPLETE,
    malformed,
    read_variable_byte_integer,
)

__all__ = ["Decoder", "DecoderLimits"]

_FROM_CLIENT: Final = frozenset((CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ))  # and never from a Server
_FROM_SERVER: Final = frozenset((CONNACK, SUBACK, UNSUBACK, PINGRESP))  # and never from a Client


def _routes() -> bytes:
    routes = bytearray(256)
    for first in (0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D):  # not QoS 3, not DUP at QoS 0
        routes[first] = PUBLISH
    for kind in (PUBACK, PUBREC, PUBCOMP):
        routes[kind << 4] = kind
    routes[PUBREL << 4 | 2] = PUBREL
    return bytes(routes)


# By the first byte of a packet: its type where the loop reads it, 0 where a method does, or where it is wrong
_ROUTES: Final = _routes()


class Decoder(Bodies):
    """One direction of one Network Connection.

    A Server's decoder (`server`) begins with `version` 0, takes nothing but a CONNECT, and stops after it: what follows
    is kept until `accept()`. With a `version` given it is past that point, and so is a Client's decoder.
    `error` is the first fault; input after it is ignored.
    """

    def __init__(self, limits: DecoderLimits, version: int = 0, server: bool = True) -> None:
        super().__init__(limits, version, server)
        self.error: ProtocolError | None = None
        self._maximum = limits.maximum_packet_size if version else limits.connect_packet_size
        self._stopped = False
        self._authenticating = False
        self._buffer = bytearray()
        self._needed = 0  # bytes that must be in the buffer before looking at them again can pay

    def accept(self) -> None:
        """The CONNECT is accepted: go on with `feed(b"")`, within `maximum_packet_size`."""
        self._authenticating = False
        self._maximum = self._limits.maximum_packet_size
        if self.error is None:
            self._stopped = False

    def challenge(self) -> None:
        """More is asked of the Client before its CONNECT is accepted: take one packet more, AUTH or DISCONNECT."""
        self._authenticating = True
        if self.error is None:
            self._stopped = False

    def feed(self, data: bytes) -> list[ControlPacket]:
        """The packets that `data` completes, in order. A fault ends in `error`, never in an exception."""
        packets: list[ControlPacket] = []
        if self._stopped:
            if self.error is None:
                self._buffer += data
            return packets
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return packets
            data = bytes(self._buffer)
            self._buffer.clear()
        try:
            self._decode(data, packets)
        except ProtocolError as error:
            self.error = error.with_traceback(None)  # whose frames hold on to this very decoder
            self._stopped = True
            self._buffer.clear()
        return packets

    def _decode(self, data: bytes, packets: list[ControlPacket]) -> None:
        version = self.version
        maximum = self._maximum
        topic_names = self._limits.topic_names
        size = len(data)
        start = 0
        if size and not version:  # then a PUBLISH or an acknowledgement is wrong as well
            self._check_first(data[0])
        if size and self._authenticating and data[0] >> 4 not in (AUTH, DISCONNECT):  # [MQTT-3.1.2-30]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "neither AUTH nor DISCONNECT before CONNACK")
        last = size - 1
        while start < last:
            first = data[start]
            route = _ROUTES[first]
            if not route:
                self._check_first(first)
            body = start + 2
            remaining = data[start + 1]
            if remaining > 0x7F:
                remaining, body = read_variable_byte_integer(data, start + 1, size)
                if remaining == INCOMPLETE:
                    self._keep(data, start, body - start + 1)
                    return
            end = body + remaining
            if (end > size or size > maximum) and end - start > maximum:
                raise ProtocolError(ReasonCode.PACKET_TOO_LARGE, f"a packet of {end - start} bytes")
            if end > size:
                self._check_length(first, remaining)
                self._keep(data, start, end - start)
                return

            if route == PUBLISH:
                at = body + 2
                if at > end:
                    raise malformed("a PUBLISH without a Topic Name")  # [MQTT-3.3.2-1]
                topic_end = at + data[body + 1]
                if data[body]:
                    topic_end += data[body] << 8
                if topic_end > end:
                    raise malformed("the Topic Name reaches past the end of the packet")
                raw = data[at:topic_end]
                topic = topic_names.get(raw)
                if topic is None:
                    topic = self._topic_name(raw)
                at = topic_end
                qos = 0
                packet_identifier = 0
                if first & 6:
                    qos = first >> 1 & 3
                    at += 2
                    if at > end:
                        raise malformed("a PUBLISH without its Packet Identifier")
                    packet_identifier = data[topic_end] << 8 | data[topic_end + 1]
                    if not packet_identifier:
                        raise self._no_packet_identifier()
                if version == MQTT_5_0:
                    if at == end or data[at]:
                        packets.append(self._publish(data, start, at, end, topic, packet_identifier))
                        start = end
                        continue
                    at += 1  # a Property Length of 0
                    if not topic:
                        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "neither Topic Name nor Topic Alias")
                packets.append(
                    Publish(
                        topic,
                        data[start:end] if start or end != size else data,
                        at - start,
                        qos,
                        first & 1 != 0,
                        first & 8 != 0,
                        packet_identifier,
                        version,
                    )
                )
            elif route and remaining == 2:
                packet_identifier = data[body] << 8 | data[body + 1]
                if not packet_identifier:
                    raise self._no_packet_identifier()
                if route == PUBACK:
                    packets.append(Puback(packet_identifier))
                elif route == PUBREL:
                    packets.append(Pubrel(packet_identifier))
                elif route == PUBREC:
                    packets.append(Pubrec(packet_identifier))
                else:
                    packets.append(Pubcomp(packet_identifier))
            else:
                self._check_length(first, remaining)
                packets.append(self._packet(first >> 4, data, body, end))
                if first >> 4 == CONNECT or self._authenticating:  # [MQTT-3.1.4-6]: the CONNECT may be refused
                    self._stopped = True
                    self._keep(data, end, 0)
                    return
            start = end
        if start == last:
            self._check_first(data[start])  # decided at once, whatever follows
            self._keep(data, start, 2)

    def _keep(self, data: bytes, start: int, needed: int) -> None:
        self._buffer += data[start:]
        self._needed = needed

    # -- What the fixed header alone decides

    def _check_first(self, first: int) -> None:
        """Packet type, direction and flags (section 2.1)."""
        kind = first >> 4
        flags = first & 0x0F
        if not self.version and kind != CONNECT:  # [MQTT-3.1.0-1]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "the first packet is not a CONNECT")
        if kind == PUBLISH:
            if flags & 6 == 6:
                raise malformed("QoS 3")  # [MQTT-3.3.1-4]
            if flags & 14 == 8:
                raise malformed("DUP with QoS 0")  # [MQTT-3.3.1-2]
            return
        expected = 0
        if kind in (PUBREL, SUBSCRIBE, UNSUBSCRIBE):
            expected = 2
            if self.version == MQTT_3_1:  # sends these three again with DUP set (its section 2.1)
                flags &= ~8
        if flags != expected:  # [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1]
            raise malformed(f"reserved flags of packet type {kind}")
        if kind == 0 or (kind == AUTH and self.version != MQTT_5_0):
            raise malformed(f"packet type {kind}")
        if kind in (_FROM_SERVER if self._server else _FROM_CLIENT):
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"packet type {kind} in the wrong direction")
        if kind == DISCONNECT and not self._server and self.version != MQTT_5_0:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a DISCONNECT from a Server before 5.0")
        if kind == CONNECT and self.version:  # [MQTT-3.1.0-2]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a second CONNECT")

    def _check_length(self, first: int, remaining: int) -> None:
        """Remaining Length, where the packet type bounds it closer than the Maximum Packet Size."""
        kind = first >> 4
        fixed = -1
        if kind in (PINGREQ, PINGRESP):
            fixed = 0
        elif self.version != MQTT_5_0:
            if kind == DISCONNECT:
                fixed = 0
            elif kind in (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK):
                fixed = 2
        elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP) and remaining > self._limits.acknowledgement_bytes:
            raise ProtocolError(ReasonCode.PACKET_TOO_LARGE, f"an acknowledgement of {remaining} bytes")
        if fixed >= 0 and remaining != fixed:
            raise malformed(f"a Remaining Length of {remaining} for packet type {kind}")
