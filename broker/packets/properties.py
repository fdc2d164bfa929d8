"""Section 2.2.2: all properties of MQTT 5.0, read, written and judged by one table.

A row says everything that is known of a property. A property that a packet may not hold, or an unknown one, makes it
malformed (section 2.2.2.2); one given twice, or with a value outside its range, is a Protocol Error (the sections that
`TABLE` names). The properties of a PUBLISH and of a Will that go on to subscribers are never taken apart: they are
judged and kept as one slice of bytes, unaltered and in their order.
"""

from __future__ import annotations

from typing import Final

from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import STRING_BYTES, check_topic_name, valid_topic_name
from broker.packets.types import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    NO_PROPERTIES,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Properties,
)
from broker.packets.wire import (
    INCOMPLETE,
    VARIABLE_BYTE_INTEGER_MAXIMUM,
    binary,
    malformed,
    read_binary,
    read_string,
    read_variable_byte_integer,
    string,
    variable_byte_integer,
)

WILL: Final = 0  # the Will Properties of a CONNECT, where a packet type is asked for

BYTE: Final = 1  # the integers' kinds are their widths in bytes
TWO_BYTE_INTEGER: Final = 2
FOUR_BYTE_INTEGER: Final = 4
VARIABLE_BYTE_INTEGER: Final = 5
STRING: Final = 6
BINARY: Final = 7
STRING_PAIR: Final = 8

PAYLOAD_FORMAT_INDICATOR: Final = 0x01
MESSAGE_EXPIRY_INTERVAL: Final = 0x02
CONTENT_TYPE: Final = 0x03
RESPONSE_TOPIC: Final = 0x08
CORRELATION_DATA: Final = 0x09
SUBSCRIPTION_IDENTIFIER: Final = 0x0B
WILL_DELAY_INTERVAL: Final = 0x18
TOPIC_ALIAS: Final = 0x23
USER_PROPERTY: Final = 0x26


class Property:
    """A row of the table. `where` and `many` are sets of packet types as bits: `1 << PUBLISH`, `1 << WILL`."""

    __slots__ = ("attribute", "bit", "forwarded", "identifier", "kind", "many", "maximum", "minimum", "name", "where")

    def __init__(
        self,
        identifier: int,
        name: str,
        kind: int,
        where: tuple[int, ...],
        many: tuple[int, ...] = (),
        minimum: int = 0,
        maximum: int = -1,
        attribute: str = "",
    ) -> None:
        self.identifier = identifier
        self.bit = 1 << identifier
        self.name = name
        self.kind = kind
        self.where = _bits(where)
        self.many = _bits(many)
        self.minimum = minimum
        self.maximum = maximum if maximum >= 0 else _widest(kind)
        self.attribute = attribute or name.lower().replace(" ", "_")
        self.forwarded = identifier in _FORWARDED


def _bits(packets: tuple[int, ...]) -> int:
    bits = 0
    for packet in packets:
        bits |= 1 << packet
    return bits


def _widest(kind: int) -> int:
    return VARIABLE_BYTE_INTEGER_MAXIMUM if kind == VARIABLE_BYTE_INTEGER else (1 << 8 * min(kind, 4)) - 1


# A Server sends these on unaltered [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
_FORWARDED: Final = (PAYLOAD_FORMAT_INDICATOR, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, USER_PROPERTY)

_MESSAGE: Final = (PUBLISH, WILL)
_ANSWERS: Final = (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)
_ALL: Final = (CONNECT, WILL, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, *_ANSWERS)

TABLE: Final[tuple[Property, ...]] = (
    Property(0x01, "Payload Format Indicator", BYTE, _MESSAGE, maximum=1),  # 3.3.2.3.2
    Property(0x02, "Message Expiry Interval", FOUR_BYTE_INTEGER, _MESSAGE),  # 3.3.2.3.3
    Property(0x03, "Content Type", STRING, _MESSAGE),  # 3.3.2.3.9
    Property(0x08, "Response Topic", STRING, _MESSAGE),  # 3.3.2.3.5
    Property(0x09, "Correlation Data", BINARY, _MESSAGE),  # 3.3.2.3.6
    Property(  # 3.8.2.1.2, 3.3.2.3.8
        *(0x0B, "Subscription Identifier", VARIABLE_BYTE_INTEGER, (PUBLISH, SUBSCRIBE), (PUBLISH,)),
        minimum=1,
        attribute="subscription_identifiers",
    ),
    Property(0x11, "Session Expiry Interval", FOUR_BYTE_INTEGER, (CONNECT, CONNACK, DISCONNECT)),  # 3.1.2.11.2
    Property(0x12, "Assigned Client Identifier", STRING, (CONNACK,)),  # 3.2.2.3.7
    Property(0x13, "Server Keep Alive", TWO_BYTE_INTEGER, (CONNACK,)),  # 3.2.2.3.14
    Property(0x15, "Authentication Method", STRING, (CONNECT, CONNACK, AUTH)),  # 3.1.2.11.9
    Property(0x16, "Authentication Data", BINARY, (CONNECT, CONNACK, AUTH)),  # 3.1.2.11.10
    Property(0x17, "Request Problem Information", BYTE, (CONNECT,), maximum=1),  # 3.1.2.11.7
    Property(0x18, "Will Delay Interval", FOUR_BYTE_INTEGER, (WILL,)),  # 3.1.3.2.2
    Property(0x19, "Request Response Information", BYTE, (CONNECT,), maximum=1),  # 3.1.2.11.6
    Property(0x1A, "Response Information", STRING, (CONNACK,)),  # 3.2.2.3.15
    Property(0x1C, "Server Reference", STRING, (CONNACK, DISCONNECT)),  # 3.2.2.3.16
    Property(0x1F, "Reason String", STRING, _ANSWERS),  # 3.2.2.3.9
    Property(0x21, "Receive Maximum", TWO_BYTE_INTEGER, (CONNECT, CONNACK), minimum=1),  # 3.1.2.11.3
    Property(0x22, "Topic Alias Maximum", TWO_BYTE_INTEGER, (CONNECT, CONNACK)),  # 3.1.2.11.5
    Property(0x23, "Topic Alias", TWO_BYTE_INTEGER, (PUBLISH,), minimum=1),  # 3.3.2.3.4
    Property(0x24, "Maximum QoS", BYTE, (CONNACK,), maximum=1, attribute="maximum_qos"),  # 3.2.2.3.4
    Property(0x25, "Retain Available", BYTE, (CONNACK,), maximum=1),  # 3.2.2.3.5
    Property(0x26, "User Property", STRING_PAIR, _ALL, _ALL, attribute="user_properties"),  # 3.1.2.11.8
    Property(0x27, "Maximum Packet Size", FOUR_BYTE_INTEGER, (CONNECT, CONNACK), minimum=1),  # 3.1.2.11.4
    Property(0x28, "Wildcard Subscription Available", BYTE, (CONNACK,), maximum=1),  # 3.2.2.3.11
    Property(0x29, "Subscription Identifier Available", BYTE, (CONNACK,), maximum=1),  # 3.2.2.3.12
    Property(0x2A, "Shared Subscription Available", BYTE, (CONNACK,), maximum=1),  # 3.2.2.3.13
)

_BY_IDENTIFIER: Final[dict[int, Property]] = {row.identifier: row for row in TABLE}

# The table again, for each packet type those that it may hold
_OF_PACKET: Final[tuple[dict[int, Property], ...]] = tuple(
    {row.identifier: row for row in TABLE if row.where >> where & 1} for where in range(16)
)


class MessageProperties:
    """What `read_message_properties` finds; the attributes are those of Publish and Will."""

    __slots__ = (
        "forwarded",
        "message_expiry_interval",
        "subscription_identifiers",
        "topic_alias",
        "will_delay_interval",
    )

    def __init__(self) -> None:
        self.forwarded = b""
        self.message_expiry_interval = -1
        self.topic_alias = 0
        self.subscription_identifiers: tuple[int, ...] = ()
        self.will_delay_interval = 0


def read_property_length(
    data: bytes, start: int, end: int, limit: int = VARIABLE_BYTE_INTEGER_MAXIMUM
) -> tuple[int, int]:
    """Where the Properties begin and end whose Property Length is at `start`; 0x95 where they exceed `limit` bytes."""
    length, at = read_variable_byte_integer(data, start, end)
    if length == INCOMPLETE:
        raise malformed("no whole Property Length")  # [MQTT-2.2.2-1]
    if at + length > end:
        raise malformed("the Property Length reaches past the end of the packet")
    if length > limit:
        raise ProtocolError(ReasonCode.PACKET_TOO_LARGE, f"more than {limit} bytes of properties")
    return at, at + length


def read_properties(data: bytes, start: int, end: int, where: int, user_properties_limit: int = 0) -> Properties:
    """The Properties in `data[start:end]`, which follows the Property Length; `where` is a packet type.

    More User Properties than `user_properties_limit` (0: no limit) are 0x97 Quota exceeded.
    """
    if start == end:
        return NO_PROPERTIES
    properties = Properties()
    rows = _OF_PACKET[where]
    seen = 0
    at = start
    while at < end:
        row = rows.get(data[at])
        if row is None:
            raise _misplaced(data[at])
        if seen & row.bit and not row.many >> where & 1:
            raise _repeated(row)
        seen |= row.bit
        at += 1
        if row.kind == STRING:
            text, at = read_string(data, at, end)
            setattr(properties, row.attribute, text)
        elif row.kind == BINARY:
            value, at = read_binary(data, at, end)
            setattr(properties, row.attribute, value)
        elif row.kind == STRING_PAIR:
            name, at = read_string(data, at, end)
            text, at = read_string(data, at, end)
            properties.user_properties.append((name, text))
            if 0 < user_properties_limit < len(properties.user_properties):
                raise _too_many_user_properties(user_properties_limit)
        else:
            number, at = _read_integer(row, data, at, end)
            if row.identifier == SUBSCRIPTION_IDENTIFIER:
                properties.subscription_identifiers.append(number)
            else:
                setattr(properties, row.attribute, number)
    return properties


def read_message_properties(
    data: bytes,
    start: int,
    end: int,
    where: int,
    user_properties_limit: int = 0,
    topic_bytes: int = STRING_BYTES,
    topic_levels: int = 0,
) -> MessageProperties:
    """The Properties of a PUBLISH or a Will in `data[start:end]`: all judged, the forwarded ones kept as bytes."""
    found = MessageProperties()
    rows = _OF_PACKET[where]
    forwarded = b""
    run = start  # where the present run of forwarded properties began
    user_properties = 0
    seen = 0
    at = start
    while at < end:
        mark = at
        identifier = data[at]
        row = rows.get(identifier)
        if row is None:
            raise _misplaced(identifier)
        if seen & row.bit and not row.many >> where & 1:
            raise _repeated(row)
        seen |= row.bit
        at += 1
        if row.kind == STRING_PAIR:
            _, at = read_string(data, at, end)  # [MQTT-1.5.7-1]
            _, at = read_string(data, at, end)
            user_properties += 1
            if 0 < user_properties_limit < user_properties:
                raise _too_many_user_properties(user_properties_limit)
        elif row.kind == STRING:
            text, at = read_string(data, at, end)  # [MQTT-3.3.2-13] [MQTT-3.3.2-19]
            if identifier == RESPONSE_TOPIC:
                check_topic_name(text, topic_bytes, topic_levels)  # [MQTT-3.3.2-14]
        elif row.kind == BINARY:
            _, at = read_binary(data, at, end)
        else:
            number, at = _read_integer(row, data, at, end)
            if identifier == MESSAGE_EXPIRY_INTERVAL:
                found.message_expiry_interval = number
            elif identifier == TOPIC_ALIAS:
                found.topic_alias = number
            elif identifier == SUBSCRIPTION_IDENTIFIER:
                found.subscription_identifiers = (*found.subscription_identifiers, number)
            elif identifier == WILL_DELAY_INTERVAL:
                found.will_delay_interval = number
        if not row.forwarded:
            forwarded += data[run:mark]
            run = at
    found.forwarded = forwarded + data[run:end]
    return found


def publish_properties(forwarded: bytes) -> Properties:
    """The forwarded slice of a Publish or Will, taken apart; ProtocolError where it is none."""
    return read_properties(forwarded, 0, len(forwarded), PUBLISH)


def forwarded_properties(properties: Properties) -> bytes:
    """The slice that a Publish or Will carries, from the five properties that are forwarded; others are left out."""
    if properties.response_topic is not None and not valid_topic_name(properties.response_topic):  # [MQTT-3.3.2-14]
        raise ValueError(f"not a Response Topic: {properties.response_topic[:80]!r}")
    encoded = bytearray()
    for row in TABLE:
        if row.forwarded:
            _write(encoded, row, properties)
    return bytes(encoded)


def write_properties(properties: Properties, where: int) -> bytes:
    """Property Length and Properties; ValueError for one that `where` may not hold or cannot express."""
    if properties is NO_PROPERTIES:
        return b"\0"  # [MQTT-2.2.2-1]
    encoded = bytearray()
    for row in TABLE:
        before = len(encoded)
        _write(encoded, row, properties)
        if len(encoded) > before and not row.where >> where & 1:
            raise ValueError(f"a {row.name} does not belong into this packet")
    if not row_many(SUBSCRIPTION_IDENTIFIER, where) and len(properties.subscription_identifiers) > 1:
        raise ValueError("more than one Subscription Identifier")
    return variable_byte_integer(len(encoded)) + bytes(encoded)


def row_many(identifier: int, where: int) -> bool:
    """Whether the packet `where` may hold this property more than once."""
    return bool(_BY_IDENTIFIER[identifier].many >> where & 1)


def _misplaced(identifier: int) -> ProtocolError:
    # The identifier is a Variable Byte Integer, but all that exist are of one byte: one above 127 is unknown too.
    row = _BY_IDENTIFIER.get(identifier)
    if row is None:
        return malformed(f"unknown property 0x{identifier:02X}")
    return malformed(f"a {row.name} does not belong into this packet")


def _repeated(row: Property) -> ProtocolError:
    return ProtocolError(ReasonCode.PROTOCOL_ERROR, f"{row.name} more than once")


def _read_integer(row: Property, data: bytes, start: int, end: int) -> tuple[int, int]:
    if row.kind == VARIABLE_BYTE_INTEGER:
        number, at = read_variable_byte_integer(data, start, end)
        if number == INCOMPLETE:
            raise malformed(f"the properties end inside a {row.name}")
    else:
        at = start + row.kind
        if at > end:
            raise malformed(f"the properties end inside a {row.name}")
        number = int.from_bytes(data[start:at], "big")
    if not row.minimum <= number <= row.maximum:
        if row.identifier == TOPIC_ALIAS:  # 0 [MQTT-3.3.2-8]
            raise ProtocolError(ReasonCode.TOPIC_ALIAS_INVALID, "Topic Alias 0")
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"{row.name} of {number}")
    return number, at


def _too_many_user_properties(limit: int) -> ProtocolError:
    return ProtocolError(ReasonCode.QUOTA_EXCEEDED, f"more than {limit} User Properties")


def _write(encoded: bytearray, row: Property, properties: Properties) -> None:
    if row.identifier == USER_PROPERTY:
        for name, text in properties.user_properties:
            encoded.append(USER_PROPERTY)
            encoded += string(name)
            encoded += string(text)
        return
    if row.identifier == SUBSCRIPTION_IDENTIFIER:
        for number in properties.subscription_identifiers:
            encoded += integer_property(SUBSCRIPTION_IDENTIFIER, number)
        return
    value = getattr(properties, row.attribute)
    if value is None:
        return
    if row.kind == STRING:
        encoded.append(row.identifier)
        encoded += string(value)
    elif row.kind == BINARY:
        encoded.append(row.identifier)
        encoded += binary(value)
    else:
        encoded += integer_property(row.identifier, value)


def integer_property(identifier: int, number: int) -> bytes:
    """One property whose value is an integer; ValueError outside its range."""
    row = _BY_IDENTIFIER[identifier]
    if not row.minimum <= number <= row.maximum:
        raise ValueError(f"{row.name} of {number}")
    if row.kind == VARIABLE_BYTE_INTEGER:
        return bytes((identifier,)) + variable_byte_integer(number)
    return bytes((identifier,)) + number.to_bytes(row.kind, "big")
