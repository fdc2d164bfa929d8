"""The data types of section 1.5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.wire import (
    INCOMPLETE,
    VARIABLE_BYTE_INTEGER_MAXIMUM,
    binary,
    decode_string,
    holds_disallowed_characters,
    read_binary,
    read_string,
    read_two_byte_integer,
    read_variable_byte_integer,
    string,
    variable_byte_integer,
)
from tests.packets.faults import DISALLOWED, ILL_FORMED, NULLS
from tests.packets.table import variable
from tests.statements import statement

# Table 1-1 of 5.0, table 2.4 of 3.1.1: the first and last value of each width
WIDTHS = [
    (0, "00"),
    (127, "7f"),
    (128, "8001"),
    (16_383, "ff7f"),
    (16_384, "808001"),
    (2_097_151, "ffff7f"),
    (2_097_152, "80808001"),
    (268_435_455, "ffffff7f"),
]


@statement("MQTT5-1.5.5-1")
@pytest.mark.parametrize(("value", "encoded"), WIDTHS)
def test_variable_byte_integer(value: int, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert variable_byte_integer(value) == data
    assert read_variable_byte_integer(b"\xff" + data + b"\xff", 1, 2 + len(data)) == (value, 1 + len(data))
    for cut in range(len(data)):
        assert read_variable_byte_integer(data, 0, cut) == (INCOMPLETE, cut)


@statement("MQTT5-1.5.5-1")
@given(st.integers(0, VARIABLE_BYTE_INTEGER_MAXIMUM))
def test_variable_byte_integer_is_that_of_the_standard(value: int) -> None:
    assert variable_byte_integer(value) == variable(value)
    assert read_variable_byte_integer(variable(value), 0, len(variable(value))) == (value, len(variable(value)))


@statement("MQTT5-1.5.5-1")
@pytest.mark.parametrize("encoded", ["8000", "808000", "80808000", "ff00", "80808080", "ffffffff01", "ffffffff"])
def test_variable_byte_integer_too_long(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    with pytest.raises(ProtocolError) as refused:
        read_variable_byte_integer(data, 0, len(data))
    assert refused.value.reason == ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize("value", [-1, VARIABLE_BYTE_INTEGER_MAXIMUM + 1])
def test_what_a_variable_byte_integer_cannot_express(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        variable_byte_integer(value)


def test_binary() -> None:
    assert binary(b"") == b"\0\0"
    assert binary(b"\0\xff") == b"\0\2\0\xff"
    assert read_binary(b"x\0\2ab", 1, 5) == (b"ab", 5)
    longest = b"x" * 65_535
    assert read_binary(binary(longest), 0, 65_537) == (longest, 65_537)
    with pytest.raises(ValueError, match="65,535"):
        binary(longest + b"x")


def test_nothing_is_read_past_the_end() -> None:
    data = b"\0\2ab"
    for end in range(4):
        for read in (read_binary, read_string):
            with pytest.raises(ProtocolError) as refused:
                read(data, 0, end)
            assert refused.value.reason == ReasonCode.MALFORMED_PACKET
    for end in range(2):
        with pytest.raises(ProtocolError):
            read_two_byte_integer(data, 0, end)
    assert read_two_byte_integer(data, 0, 2) == (2, 2)
    assert read_two_byte_integer(b"\xff\xfe", 0, 2) == (0xFFFE, 2)


@statement("MQTT5-1.5.4-1", "MQTT311-1.5.3-1")
@pytest.mark.parametrize("raw", ILL_FORMED.values(), ids=ILL_FORMED)
def test_ill_formed_utf8(raw: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_string(bytes.fromhex(raw))
    assert refused.value.reason == ReasonCode.MALFORMED_PACKET


@statement("MQTT5-1.5.4-2", "MQTT311-1.5.3-2")
@pytest.mark.parametrize("raw", NULLS.values(), ids=NULLS)
def test_null_character(raw: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_string(bytes.fromhex(raw))
    assert refused.value.reason == ReasonCode.MALFORMED_PACKET
    with pytest.raises(ValueError, match=r"U\+0000"):
        string(bytes.fromhex(raw).decode())


@statement("MQTT5-1.5.4-1", "MQTT311-1.5.3-1")
def test_surrogates_are_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        string("a\ud800")


@statement("MQTT5-1.5.4-3", "MQTT311-1.5.3-3")
@pytest.mark.parametrize("raw", ["efbbbf", "efbbbf61", "61efbbbf", "efbbbfefbbbf"])
def test_zero_width_no_break_space_stays(raw: str) -> None:
    data = bytes.fromhex(raw)
    text = decode_string(data)
    assert text.count("\ufeff") == raw.count("efbbbf")
    assert string(text)[2:] == data


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_strings_round_trip(text: str) -> None:
    encoded = string(text)
    assert int.from_bytes(encoded[:2], "big") == len(encoded) - 2
    assert read_string(encoded, 0, len(encoded)) == (text, len(encoded))


@pytest.mark.parametrize("raw", DISALLOWED.values(), ids=DISALLOWED)
def test_disallowed_characters(raw: str) -> None:
    text = bytes.fromhex(raw).decode()
    assert holds_disallowed_characters(text)
    assert holds_disallowed_characters(f"a{text}")


@pytest.mark.parametrize(
    "text", ["", "a b", "é", "\ufeff", "\u00a0", "\u00ad", "\u2028", "\ue000", "\ufdcf", "\ufdf0", "\ufffd"]
)
def test_unusual_characters_that_are_allowed(text: str) -> None:
    assert not holds_disallowed_characters(text)
