"""Section 1.5: the data types that every packet is made of, read from and written to bytes.

A reader is given where the bytes that it may touch end, and answers the value and the position after it. It never reads
past that end: what does not fit is malformed. A writer raises ValueError for what the standard cannot express; that is
our own mistake, never a peer's.
"""

from __future__ import annotations

from typing import Final

from broker.packets.reasons import ProtocolError, ReasonCode

VARIABLE_BYTE_INTEGER_MAXIMUM: Final = 268_435_455
INCOMPLETE: Final = -1


def malformed(detail: str) -> ProtocolError:
    return ProtocolError(ReasonCode.MALFORMED_PACKET, detail)


def read_variable_byte_integer(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Section 1.5.5. The value is `INCOMPLETE` where `end` comes before its last byte."""
    value = 0
    shift = 0
    at = start
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:  # the minimum number of bytes MUST be used [MQTT-1.5.5-1]
                raise malformed("a Variable Byte Integer longer than needed")
            return value, at
        shift += 7
        if shift == 28:
            raise malformed("a Variable Byte Integer of more than four bytes")
    return INCOMPLETE, at


def variable_byte_integer(value: int) -> bytes:
    """Section 1.5.5, in the minimum number of bytes [MQTT-1.5.5-1]."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if not 0 <= value <= VARIABLE_BYTE_INTEGER_MAXIMUM:
        raise ValueError(f"{value} does not fit in a Variable Byte Integer")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_two_byte_integer(data: bytes, start: int, end: int) -> tuple[int, int]:
    if start + 2 > end:
        raise malformed("the packet ends inside a Two Byte Integer")
    return data[start] << 8 | data[start + 1], start + 2


def read_binary(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    """Section 1.5.6: two bytes of length, then so many bytes."""
    first = start + 2
    if first > end:
        raise malformed("the packet ends inside a length")
    stop = first + (data[start] << 8 | data[start + 1])
    if stop > end:
        raise malformed("a length reaches past the end of the packet")
    return data[first:stop], stop


def binary(value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError("more than 65,535 bytes in one field")
    return len(value).to_bytes(2, "big") + value


def read_string(data: bytes, start: int, end: int) -> tuple[str, int]:
    """Section 1.5.4: a UTF-8 Encoded String."""
    first = start + 2
    if first > end:
        raise malformed("the packet ends inside a length")
    stop = first + (data[start] << 8 | data[start + 1])
    if stop > end:
        raise malformed("a length reaches past the end of the packet")
    return decode_string(data[first:stop]), stop


def decode_string(raw: bytes) -> str:
    """The characters of a UTF-8 Encoded String; a leading U+FEFF stays where it is [MQTT-1.5.4-3]."""
    try:
        text = raw.decode("utf-8")  # strict: refuses surrogates and overlong forms [MQTT-1.5.4-1]
    except UnicodeDecodeError as error:
        raise malformed(f"ill-formed UTF-8: {error.reason}") from None
    if "\0" in text:
        raise malformed("U+0000 in a string")  # [MQTT-1.5.4-2]
    return text


def string(value: str) -> bytes:
    """A UTF-8 Encoded String; UnicodeEncodeError (a ValueError) for surrogates [MQTT-1.5.4-1]."""
    if "\0" in value:
        raise ValueError("U+0000 in a string")  # [MQTT-1.5.4-2]
    return binary(value.encode("utf-8"))


def holds_disallowed_characters(text: str) -> bool:
    """Whether `text` holds one of the "disallowed Unicode code points" of section 1.5.4: controls and noncharacters.

    The standard lets a receiver treat them as malformed. We do so where a string names something: they are how a
    Topic Filter or Client Identifier becomes an injection into a log, a header or another protocol.
    """
    if text.isprintable():  # all of them are unprintable, so this one look in C settles nearly every name
        return False
    for character in text:
        code = ord(character)
        if code < 0x20 or 0x7F <= code <= 0x9F or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
            return True
    return False
