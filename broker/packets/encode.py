"""Control Packets to bytes.

`encode` writes any packet for any version and refuses with ValueError what the standard forbids to send: that is our
own mistake, never a peer's. What is written for every message has a function of its own with plain arguments; those
trust their caller, who hands on only what the decoder or `encode` would have judged.
"""

from __future__ import annotations

from typing import Final

from broker.packets.codes import REASONS_FROM_CLIENT, REASONS_FROM_SERVER
from broker.packets.properties import (
    MESSAGE_EXPIRY_INTERVAL,
    SUBSCRIPTION_IDENTIFIER,
    TOPIC_ALIAS,
    WILL_DELAY_INTERVAL,
    integer_property,
    write_properties,
)
from broker.packets.reasons import ReasonCode, connect_return_code
from broker.packets.topics import SHARE_PREFIX, valid_topic_filter, valid_topic_name
from broker.packets.types import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    MQTT_3_1,
    MQTT_5_0,
    NO_PROPERTIES,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Auth,
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
    Unsuback,
    Unsubscribe,
    Will,
)
from broker.packets.wire import binary, string, variable_byte_integer

PINGREQ_PACKET: Final = b"\xc0\x00"
PINGRESP_PACKET: Final = b"\xd0\x00"
# CONNACK of 3.x: Connection Accepted, with Session Present 0 and, where the version has it, 1.
CONNACK_3: Final = (b"\x20\x02\x00\x00", b"\x20\x02\x01\x00")

# The low half of a fixed header's first byte [MQTT-2.1.3-1]
_FLAGS: Final[dict[int, int]] = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}


# -- Written for every message


def publish_parts(
    topic: bytes,
    payload: bytes,
    qos: int,
    retain: bool,
    dup: bool,
    version: int,
    forwarded: bytes = b"",
    message_expiry: int = -1,
    topic_alias: int = 0,
    subscription_identifiers: tuple[int, ...] = (),
) -> tuple[bytes, bytes]:
    """A PUBLISH cut where its Packet Identifier goes: `head + packet_identifier.to_bytes(2, "big") + tail`.

    Written once, it serves every receiver whose version, QoS, RETAIN, DUP and properties are the same; at QoS 0 it is
    `head + tail`. `topic` is UTF-8; the last four arguments are those of Publish, and count for 5.0 only.
    """
    if version == MQTT_5_0:
        if forwarded or message_expiry >= 0 or topic_alias or subscription_identifiers:
            properties = forwarded
            if message_expiry >= 0:
                properties += integer_property(MESSAGE_EXPIRY_INTERVAL, message_expiry)
            if topic_alias:
                properties += integer_property(TOPIC_ALIAS, topic_alias)
            for subscription_identifier in subscription_identifiers:
                properties += integer_property(SUBSCRIPTION_IDENTIFIER, subscription_identifier)
            tail = variable_byte_integer(len(properties)) + properties + payload
        else:
            tail = b"\0" + payload  # [MQTT-2.2.2-1]
    else:
        tail = payload
    first = 0x30 | dup << 3 | qos << 1 | retain
    size = len(topic)
    remaining = size + len(tail) + (4 if qos else 2)
    if remaining < 0x80:
        return (first << 24 | remaining << 16 | size).to_bytes(4, "big") + topic, tail
    return first.to_bytes(1, "big") + variable_byte_integer(remaining) + size.to_bytes(2, "big") + topic, tail


def encode_publish(
    topic: bytes,
    payload: bytes,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
    packet_identifier: int = 0,
    version: int = MQTT_5_0,
    forwarded: bytes = b"",
    message_expiry: int = -1,
    topic_alias: int = 0,
    subscription_identifiers: tuple[int, ...] = (),
) -> bytes:
    """A whole PUBLISH; the Packet Identifier is left out at QoS 0 [MQTT-2.2.1-2]."""
    head, tail = publish_parts(
        topic, payload, qos, retain, dup, version, forwarded, message_expiry, topic_alias, subscription_identifiers
    )
    if qos:
        return head + packet_identifier.to_bytes(2, "big") + tail
    return head + tail


def puback(packet_identifier: int) -> bytes:
    """A PUBACK of Success: the same four bytes in every version. So with the three that follow."""
    return (0x40020000 | packet_identifier).to_bytes(4, "big")


def pubrec(packet_identifier: int) -> bytes:
    return (0x50020000 | packet_identifier).to_bytes(4, "big")


def pubrel(packet_identifier: int) -> bytes:
    return (0x62020000 | packet_identifier).to_bytes(4, "big")  # [MQTT-3.6.1-1]


def pubcomp(packet_identifier: int) -> bytes:
    return (0x70020000 | packet_identifier).to_bytes(4, "big")


def acknowledgement(kind: int, packet_identifier: int, reason: int, version: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP without properties. Before 5.0 there is no Reason Code: it is left out."""
    first = kind << 4 | (2 if kind == PUBREL else 0)
    if reason and version == MQTT_5_0:
        return (first << 32 | 3 << 24 | packet_identifier << 8 | reason).to_bytes(5, "big")
    return (first << 24 | 2 << 16 | packet_identifier).to_bytes(4, "big")


# -- Any packet


def encode(packet: ControlPacket, version: int) -> bytes:
    """The bytes of `packet` for a peer of `version`; what that version has no field for is left out.

    A CONNACK whose reason has no Connect Return Code in 3.x is no bytes at all: the Network Connection is closed
    without one [MQTT-3.2.2-6]. ValueError for what may not be sent.
    """
    if isinstance(packet, Publish):
        return _publish(packet, version)
    if isinstance(packet, Puback):
        return _acknowledgement(PUBACK, packet, version)
    if isinstance(packet, Pubrec):
        return _acknowledgement(PUBREC, packet, version)
    if isinstance(packet, Pubrel):
        return _acknowledgement(PUBREL, packet, version)
    if isinstance(packet, Pubcomp):
        return _acknowledgement(PUBCOMP, packet, version)
    if isinstance(packet, Pingreq):
        return PINGREQ_PACKET
    if isinstance(packet, Pingresp):
        return PINGRESP_PACKET
    if isinstance(packet, Suback):
        return _suback(packet, version)
    if isinstance(packet, Subscribe):
        return _subscribe(packet, version)
    if isinstance(packet, Unsuback):
        return _unsuback(packet, version)
    if isinstance(packet, Unsubscribe):
        return _unsubscribe(packet, version)
    if isinstance(packet, Connack):
        return _connack(packet, version)
    if isinstance(packet, Connect):
        return _connect(packet, version)
    if isinstance(packet, Disconnect):
        return _disconnect(packet, version)
    return _auth(packet, version)


def _packet(kind: int, body: bytes) -> bytes:
    return bytes((kind << 4 | _FLAGS.get(kind, 0),)) + variable_byte_integer(len(body)) + body


def _properties(properties: Properties, where: int, version: int) -> bytes:
    return write_properties(properties, where) if version == MQTT_5_0 else b""


def _identifier(packet_identifier: int) -> bytes:
    if not 0 < packet_identifier <= 0xFFFF:  # [MQTT-2.2.1-3] [MQTT-2.2.1-4]
        raise ValueError(f"Packet Identifier {packet_identifier}")
    return packet_identifier.to_bytes(2, "big")


def _check_reason(kind: int, reason: int) -> None:
    if reason not in REASONS_FROM_SERVER[kind] and reason not in REASONS_FROM_CLIENT[kind]:
        raise ValueError(f"Reason Code 0x{reason:02X} does not belong into packet type {kind}")


def _check_topic_name(topic: str) -> None:
    if not valid_topic_name(topic):
        raise ValueError(f"not a Topic Name: {topic[:80]!r}")


def _check_topic_filter(topic_filter: str) -> None:
    if not valid_topic_filter(topic_filter):
        raise ValueError(f"not a Topic Filter: {topic_filter[:80]!r}")


def _publish(packet: Publish, version: int) -> bytes:
    if packet.qos not in (0, 1, 2):  # [MQTT-3.3.1-4]
        raise ValueError(f"QoS {packet.qos}")
    if packet.qos:
        _identifier(packet.packet_identifier)
    elif packet.dup or packet.packet_identifier:  # [MQTT-3.3.1-2] [MQTT-2.2.1-2]
        raise ValueError("DUP or a Packet Identifier with QoS 0")
    if packet.topic or version != MQTT_5_0 or not packet.topic_alias:
        _check_topic_name(packet.topic)
    return encode_publish(
        packet.topic.encode(),
        packet.payload,
        packet.qos,
        packet.retain,
        packet.dup,
        packet.packet_identifier,
        version,
        packet.forwarded,
        packet.message_expiry_interval,
        packet.topic_alias,
        packet.subscription_identifiers,
    )


def _acknowledgement(kind: int, packet: Puback | Pubrec | Pubrel | Pubcomp, version: int) -> bytes:
    _check_reason(kind, packet.reason)
    _identifier(packet.packet_identifier)
    if packet.properties is NO_PROPERTIES or version != MQTT_5_0:
        return acknowledgement(kind, packet.packet_identifier, packet.reason, version)
    body = packet.packet_identifier.to_bytes(2, "big") + bytes((packet.reason,))
    return _packet(kind, body + write_properties(packet.properties, kind))


def _connect(packet: Connect, version: int) -> bytes:
    flags = packet.clean_start << 1
    will = packet.will
    payload = string(packet.client_identifier)  # the fields in the order of [MQTT-3.1.3-1]
    if will is not None:
        if will.qos not in (0, 1, 2):  # [MQTT-3.1.2-12]
            raise ValueError(f"Will QoS {will.qos}")
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += _will(will, version)
    if packet.user_name is not None:
        flags |= 0x80
        payload += string(packet.user_name)
    if packet.password is not None:
        if packet.user_name is None and version != MQTT_5_0:  # [MQTT-3.1.2-22] of 3.1.1
            raise ValueError("a Password without a User Name")
        flags |= 0x40
        payload += binary(packet.password)
    body = string("MQIsdp" if version == MQTT_3_1 else "MQTT") + bytes((version, flags))
    body += packet.keep_alive.to_bytes(2, "big") + _properties(packet.properties, CONNECT, version)
    return _packet(CONNECT, body + payload)


def _will(will: Will, version: int) -> bytes:
    _check_topic_name(will.topic)
    encoded = string(will.topic) + binary(will.payload)
    if version != MQTT_5_0:
        return encoded
    properties = will.forwarded
    if will.delay_interval:
        properties += integer_property(WILL_DELAY_INTERVAL, will.delay_interval)
    if will.message_expiry_interval >= 0:
        properties += integer_property(MESSAGE_EXPIRY_INTERVAL, will.message_expiry_interval)
    return variable_byte_integer(len(properties)) + properties + encoded


def _connack(packet: Connack, version: int) -> bytes:
    # Session Present is 0 with any other reason than Success [MQTT-3.2.2-6], and 3.1 has no such flag
    session_present = packet.session_present and packet.reason == ReasonCode.SUCCESS and version != MQTT_3_1
    if version == MQTT_5_0:
        _check_reason(CONNACK, packet.reason)  # [MQTT-3.2.2-8]
        body = bytes((session_present, packet.reason)) + write_properties(packet.properties, CONNACK)
        return _packet(CONNACK, body)
    code = connect_return_code(packet.reason)
    return _packet(CONNACK, bytes((session_present, code))) if code >= 0 else b""


def _subscribe(packet: Subscribe, version: int) -> bytes:
    body = _identifier(packet.packet_identifier) + _properties(packet.properties, SUBSCRIBE, version)
    for request in packet.requests:
        _check_topic_filter(request.topic_filter)
        if request.maximum_qos not in (0, 1, 2) or request.retain_handling not in (0, 1, 2):
            raise ValueError("QoS or Retain Handling is none of 0, 1, 2")
        options = request.maximum_qos
        if version == MQTT_5_0:
            if request.no_local and request.topic_filter.startswith(SHARE_PREFIX):  # [MQTT-3.8.3-4]
                raise ValueError("No Local on a Shared Subscription")
            options |= request.no_local << 2 | request.retain_as_published << 3 | request.retain_handling << 4
        body += string(request.topic_filter) + bytes((options,))
    if not packet.requests:  # [MQTT-3.8.3-2]
        raise ValueError("a SUBSCRIBE without a Topic Filter")
    return _packet(SUBSCRIBE, body)


def _suback(packet: Suback, version: int) -> bytes:
    body = _identifier(packet.packet_identifier) + _properties(packet.properties, SUBACK, version)
    for reason in packet.reasons:
        _check_reason(SUBACK, reason)  # [MQTT-3.9.3-2]
    if version == MQTT_5_0:
        return _packet(SUBACK, body + bytes(packet.reasons))
    # 3.1.1 has one failure code. 3.1 has none; 0x80 is sent there too, as other brokers do: the truth in an unknown
    # code serves a Client better than a QoS that was not granted.
    return _packet(SUBACK, body + bytes([min(reason, 0x80) for reason in packet.reasons]))


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    body = _identifier(packet.packet_identifier) + _properties(packet.properties, UNSUBSCRIBE, version)
    for topic_filter in packet.topic_filters:
        _check_topic_filter(topic_filter)
        body += string(topic_filter)
    if not packet.topic_filters:  # [MQTT-3.10.3-2]
        raise ValueError("an UNSUBSCRIBE without a Topic Filter")
    return _packet(UNSUBSCRIBE, body)


def _unsuback(packet: Unsuback, version: int) -> bytes:
    body = _identifier(packet.packet_identifier)
    if version != MQTT_5_0:
        return _packet(UNSUBACK, body)
    for reason in packet.reasons:
        _check_reason(UNSUBACK, reason)  # [MQTT-3.11.3-2]
    return _packet(UNSUBACK, body + write_properties(packet.properties, UNSUBACK) + bytes(packet.reasons))


def _disconnect(packet: Disconnect, version: int) -> bytes:
    if version != MQTT_5_0:
        return b"\xe0\x00"
    return _with_reason(DISCONNECT, packet.reason, packet.properties)


def _auth(packet: Auth, version: int) -> bytes:
    if version != MQTT_5_0:
        raise ValueError("AUTH is of 5.0 only")
    return _with_reason(AUTH, packet.reason, packet.properties)


def _with_reason(kind: int, reason: ReasonCode, properties: Properties) -> bytes:
    """Sections 3.14.2 and 3.15.2: nothing at all stands for Success without properties."""
    _check_reason(kind, reason)  # [MQTT-3.14.2-1] [MQTT-3.15.2-1]
    if properties is NO_PROPERTIES and reason == ReasonCode.SUCCESS:
        return _packet(kind, b"")
    return _packet(kind, bytes((reason,)) + write_properties(properties, kind))
