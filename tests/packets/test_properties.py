"""The table of properties, and the matrix made from it: every property in every packet, once, twice, at its ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.packets.properties import (
    BINARY,
    BYTE,
    FOUR_BYTE_INTEGER,
    STRING,
    STRING_PAIR,
    TABLE,
    TWO_BYTE_INTEGER,
    VARIABLE_BYTE_INTEGER,
    WILL,
    Property,
    forwarded_properties,
    integer_property,
    publish_properties,
    read_message_properties,
    read_properties,
    read_property_length,
    write_properties,
)
from broker.packets.reasons import ProtocolError, ReasonCode
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
from tests.packets.table import octets, properties, variable
from tests.statements import statement

PACKETS = (
    *(WILL, CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP),
    *(SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH),
)
ACKNOWLEDGED = {CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH}

# Table 2-4, by hand: identifier, name, type, where it may be
TABLE_2_4: dict[int, tuple[str, int, set[int]]] = {
    0x01: ("Payload Format Indicator", BYTE, {PUBLISH, WILL}),
    0x02: ("Message Expiry Interval", FOUR_BYTE_INTEGER, {PUBLISH, WILL}),
    0x03: ("Content Type", STRING, {PUBLISH, WILL}),
    0x08: ("Response Topic", STRING, {PUBLISH, WILL}),
    0x09: ("Correlation Data", BINARY, {PUBLISH, WILL}),
    0x0B: ("Subscription Identifier", VARIABLE_BYTE_INTEGER, {PUBLISH, SUBSCRIBE}),
    0x11: ("Session Expiry Interval", FOUR_BYTE_INTEGER, {CONNECT, CONNACK, DISCONNECT}),
    0x12: ("Assigned Client Identifier", STRING, {CONNACK}),
    0x13: ("Server Keep Alive", TWO_BYTE_INTEGER, {CONNACK}),
    0x15: ("Authentication Method", STRING, {CONNECT, CONNACK, AUTH}),
    0x16: ("Authentication Data", BINARY, {CONNECT, CONNACK, AUTH}),
    0x17: ("Request Problem Information", BYTE, {CONNECT}),
    0x18: ("Will Delay Interval", FOUR_BYTE_INTEGER, {WILL}),
    0x19: ("Request Response Information", BYTE, {CONNECT}),
    0x1A: ("Response Information", STRING, {CONNACK}),
    0x1C: ("Server Reference", STRING, {CONNACK, DISCONNECT}),
    0x1F: ("Reason String", STRING, ACKNOWLEDGED),
    0x21: ("Receive Maximum", TWO_BYTE_INTEGER, {CONNECT, CONNACK}),
    0x22: ("Topic Alias Maximum", TWO_BYTE_INTEGER, {CONNECT, CONNACK}),
    0x23: ("Topic Alias", TWO_BYTE_INTEGER, {PUBLISH}),
    0x24: ("Maximum QoS", BYTE, {CONNACK}),
    0x25: ("Retain Available", BYTE, {CONNACK}),
    0x26: ("User Property", STRING_PAIR, set(PACKETS)),
    0x27: ("Maximum Packet Size", FOUR_BYTE_INTEGER, {CONNECT, CONNACK}),
    0x28: ("Wildcard Subscription Available", BYTE, {CONNACK}),
    0x29: ("Subscription Identifier Available", BYTE, {CONNACK}),
    0x2A: ("Shared Subscription Available", BYTE, {CONNACK}),
}
NEVER_0 = {0x0B, 0x21, 0x23, 0x27}
WIDTH = {BYTE: 1, TWO_BYTE_INTEGER: 2, FOUR_BYTE_INTEGER: 4}
AT_LEAST = {VARIABLE_BYTE_INTEGER: "01", STRING: '"r"', BINARY: "0000", STRING_PAIR: '"k" "v"'}


def smallest(row: Property) -> bytes:
    """The property with its smallest value, identifier included."""
    if row.kind in WIDTH:
        return bytes((row.identifier,)) + int(row.identifier in NEVER_0).to_bytes(WIDTH[row.kind], "big")
    return bytes((row.identifier,)) + octets(AT_LEAST[row.kind])


def largest(row: Property) -> bytes:
    if row.kind == BYTE:
        return bytes((row.identifier, 1))
    if row.kind in WIDTH:
        return bytes((row.identifier,)) + b"\xff" * WIDTH[row.kind]
    if row.kind == VARIABLE_BYTE_INTEGER:
        return bytes((row.identifier,)) + bytes.fromhex("ffffff7f")
    field = b"\xff\xff" + b"x" * 65_535
    return bytes((row.identifier,)) + field * (2 if row.kind == STRING_PAIR else 1)


def value(row: Property, read: Properties) -> object:
    return getattr(read, row.attribute)


def refused(data: bytes, where: int) -> ReasonCode:
    """What both readers answer; a Will and a PUBLISH have their own, which must agree with the general one."""
    with pytest.raises(ProtocolError) as error:
        read_properties(data, 0, len(data), where)
    reason = error.value.reason
    if where in (PUBLISH, WILL):
        with pytest.raises(ProtocolError) as error:
            read_message_properties(data, 0, len(data), where)
        assert error.value.reason == reason
    return reason


def test_the_table_is_the_standards() -> None:
    assert [row.identifier for row in TABLE] == list(TABLE_2_4)
    for row in TABLE:
        name, kind, where = TABLE_2_4[row.identifier]
        assert (row.name, row.kind) == (name, kind)
        assert {packet for packet in PACKETS if row.where >> packet & 1} == where
        assert row.attribute in dir(NO_PROPERTIES)


def test_every_attribute_of_properties_has_its_row() -> None:
    attributes = {name for name in dir(Properties()) if not name.startswith("_")}
    assert {row.attribute for row in TABLE} == attributes


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_matrix(row: Property) -> None:
    """Section 2.2.2.2: in a packet that may not hold it a property is malformed; else it is read and written back."""
    for where in PACKETS:
        for data in (smallest(row), largest(row)):
            if where not in TABLE_2_4[row.identifier][2]:
                assert refused(data, where) == ReasonCode.MALFORMED_PACKET
                continue
            read = read_properties(data, 0, len(data), where)
            assert write_properties(read, where) == variable(len(data)) + data
            if row.kind in WIDTH:
                assert value(row, read) == int.from_bytes(data[1:], "big")


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_matrix_twice(row: Property) -> None:
    """A property given twice is a Protocol Error; but a User Property, and in a PUBLISH Subscription Identifiers."""
    data = smallest(row) * 2
    for where in TABLE_2_4[row.identifier][2]:
        if row.identifier == 0x26 or (row.identifier == 0x0B and where == PUBLISH):
            read = read_properties(data, 0, len(data), where)
            assert write_properties(read, where) == variable(len(data)) + data
        else:
            assert refused(data, where) == ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_matrix_cut(row: Property) -> None:
    """The properties' end inside a property is malformed, wherever it falls."""
    where = min(TABLE_2_4[row.identifier][2])
    data = smallest(row)
    for cut in range(1, len(data)):
        assert refused(data[:cut], where) == ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_matrix_out_of_range(row: Property) -> None:
    """Sections 3.1.2.11.3 to .7, 3.2.2.3.4 to .13, 3.3.2.3.2, 3.8.2.1.2."""
    too_small = b"\0" * WIDTH.get(row.kind, 1) if row.identifier in NEVER_0 else b""
    too_large = [b"\2", b"\xff"] if row.kind == BYTE else []
    expected = ReasonCode.TOPIC_ALIAS_INVALID if row.identifier == 0x23 else ReasonCode.PROTOCOL_ERROR
    for raw in [too_small] * bool(too_small) + too_large:
        for where in TABLE_2_4[row.identifier][2]:
            assert refused(bytes((row.identifier,)) + raw, where) == expected
        with pytest.raises(ValueError, match=row.name):
            integer_property(row.identifier, int.from_bytes(raw, "big"))


def test_unknown_identifiers() -> None:
    for identifier in set(range(256)) - set(TABLE_2_4):
        for where in PACKETS:
            assert refused(bytes((identifier,)) + b"\1\0\0\0", where) == ReasonCode.MALFORMED_PACKET


@statement("MQTT5-3.3.2-8")
def test_topic_alias_0() -> None:
    assert refused(octets("23 0000"), PUBLISH) == ReasonCode.TOPIC_ALIAS_INVALID
    with pytest.raises(ValueError, match="Topic Alias of 0"):
        integer_property(0x23, 0)


@statement("MQTT5-2.2.2-1")
def test_no_properties_are_a_length_of_zero() -> None:
    assert write_properties(NO_PROPERTIES, CONNACK) == b"\0"
    assert write_properties(Properties(), CONNACK) == b"\0"
    assert read_properties(b"", 0, 0, CONNACK) is NO_PROPERTIES
    assert read_property_length(b"\0", 0, 1) == (1, 1)
    with pytest.raises(ProtocolError) as error:
        read_property_length(b"", 0, 0)
    assert error.value.reason == ReasonCode.MALFORMED_PACKET


def test_property_length() -> None:
    assert read_property_length(b"x\2ab", 1, 4, 2) == (2, 4)
    for data, end, limit, reason in (
        (b"\2a", 2, 9, ReasonCode.MALFORMED_PACKET),
        (b"\x80", 1, 9, ReasonCode.MALFORMED_PACKET),
        (b"\2ab", 3, 1, ReasonCode.PACKET_TOO_LARGE),
    ):
        with pytest.raises(ProtocolError) as error:
            read_property_length(data, 0, end, limit)
        assert error.value.reason == reason


def test_user_properties_are_counted_while_they_are_read() -> None:
    """What comes after the first one too many is not even looked at: it may be malformed."""
    data = octets('26 "k" "v"') * 3
    for where in PACKETS:
        assert len(read_properties(data, 0, len(data), where, 3).user_properties) == 3
        with pytest.raises(ProtocolError) as error:
            read_properties(data + b"\xff", 0, len(data) + 1, where, 2)
        assert error.value.reason == ReasonCode.QUOTA_EXCEEDED
    for where in (PUBLISH, WILL):
        assert read_message_properties(data, 0, len(data), where, 3).forwarded == data
        with pytest.raises(ProtocolError) as error:
            read_message_properties(data + b"\xff", 0, len(data) + 1, where, 2)
        assert error.value.reason == ReasonCode.QUOTA_EXCEEDED


@statement(
    *("MQTT5-3.3.2-4", "MQTT5-3.3.2-15", "MQTT5-3.3.2-16", "MQTT5-3.3.2-17", "MQTT5-3.3.2-18", "MQTT5-3.3.2-20"),
    "MQTT5-3.1.3-10",
)
@pytest.mark.parametrize("where", [PUBLISH, WILL])
def test_forwarded_properties_stay_as_they_are(where: int) -> None:
    """Whatever stands between them, the five kinds keep their bytes and their order."""
    kept = [
        octets(text) for text in ('26 "b" "1"', '08 "r"', '26 "a" "2"', "09 0002 00ff", "01 01", '03 "é"', '26 "b" "1"')
    ]
    for at in range(len(kept) + 1):
        data = b"".join((*kept[:at], octets("02 00000009"), *kept[at:]))
        found = read_message_properties(data, 0, len(data), where)
        assert found.forwarded == b"".join(kept)
        assert found.message_expiry_interval == 9


def test_what_else_a_message_has() -> None:
    data = octets('0b 01 26 "k" "v" 23 0007 0b 8001 01 00 02 00000000')
    found = read_message_properties(b"x" + data + b"x", 1, 1 + len(data), PUBLISH)
    assert found.subscription_identifiers == (1, 128)
    assert found.topic_alias == 7
    assert found.message_expiry_interval == 0
    assert found.forwarded == octets('26 "k" "v" 01 00')
    found = read_message_properties(octets("18 00000005"), 0, 5, WILL)
    assert (found.will_delay_interval, found.forwarded) == (5, b"")
    found = read_message_properties(b"", 0, 0, PUBLISH)
    assert (found.forwarded, found.message_expiry_interval, found.topic_alias) == (b"", -1, 0)


@statement("MQTT5-3.3.2-14")
@pytest.mark.parametrize("topic", ["", "a/#", "+"])
def test_response_topic_has_no_wildcard(topic: str) -> None:
    data = octets(f'08 "{topic}"')
    for where in (PUBLISH, WILL):
        with pytest.raises(ProtocolError) as error:
            read_message_properties(data, 0, len(data), where)
        assert error.value.reason == ReasonCode.TOPIC_NAME_INVALID
    with pytest.raises(ValueError, match="Response Topic"):
        forwarded_properties(properties(response_topic=topic))


def test_response_topic_keeps_within_bounds() -> None:
    data = octets('08 "a/b"')
    read_message_properties(data, 0, len(data), PUBLISH, 0, 3, 2)
    for topic_bytes, topic_levels in ((2, 2), (3, 1)):
        with pytest.raises(ProtocolError):
            read_message_properties(data, 0, len(data), PUBLISH, 0, topic_bytes, topic_levels)


def test_a_property_that_does_not_belong_is_not_written() -> None:
    for where in PACKETS:
        for row in TABLE:
            if where in TABLE_2_4[row.identifier][2]:
                continue
            given_properties = read_properties(smallest(row), 0, len(smallest(row)), min(TABLE_2_4[row.identifier][2]))
            with pytest.raises(ValueError, match=f"a {row.name} does not belong"):
                write_properties(given_properties, where)


def test_one_subscription_identifier_in_a_subscribe() -> None:
    two = properties(subscription_identifiers=[1, 2])
    with pytest.raises(ValueError, match="more than one"):
        write_properties(two, SUBSCRIBE)
    assert write_properties(two, PUBLISH) == octets("[0b 01 0b 02]")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(
    st.none() | st.integers(0, 1),
    st.none() | TEXT,
    st.none() | st.sampled_from(["r", "a/b"]),
    st.none() | st.binary(max_size=8),
    st.lists(st.tuples(TEXT, TEXT), max_size=4),
)
def test_the_forwarded_slice_and_back(
    payload_format: int | None,
    content_type: str | None,
    response_topic: str | None,
    correlation_data: bytes | None,
    user_properties: list[tuple[str, str]],
) -> None:
    some = properties(
        payload_format_indicator=payload_format,
        content_type=content_type,
        response_topic=response_topic,
        correlation_data=correlation_data,
        user_properties=user_properties,
    )
    forwarded = forwarded_properties(some)
    assert publish_properties(forwarded) == some
    assert read_message_properties(forwarded, 0, len(forwarded), PUBLISH).forwarded == forwarded


def test_only_forwarded_properties_are_in_the_slice() -> None:
    some = properties(message_expiry_interval=5, topic_alias=1, subscription_identifiers=[1], content_type="x")
    assert forwarded_properties(some) == octets('03 "x"')


@given(st.binary(max_size=40), st.sampled_from(PACKETS))
def test_any_bytes_are_read_or_refused(data: bytes, where: int) -> None:
    try:
        read = read_properties(data, 0, len(data), where)
    except ProtocolError:
        return
    assert read_properties(data, 0, len(data), where) == read
    written = write_properties(read, where)
    assert read_properties(written, 1, len(written), where) == read
