r"""How `broker sub` writes a message: mosquitto_sub's `-F` language, and the named outputs of `-o`.

`%` begins a field of the message, `@` one of strftime, `\` an escape. Fields, with `-` (left), `0` (zeros), a width and
a precision between the `%` and the letter, as in printf:

    %t topic    %p payload   %x %X payload in hex   %l its length   %f %d payload as a float of 4, 8 bytes
    %q QoS      %r RETAIN    %m Packet Identifier   %j %J the whole message as JSON; %J wants a payload in JSON
    %I ISO 8601 %U seconds since 1970               %A Topic Alias  %C Content Type   %D Correlation Data
    %E expiry   %F Payload Format Indicator         %P User Properties   %R Response Topic   %S Subscription Identifiers

Where we differ from mosquitto_sub 2.0: a width of text counts characters and not bytes; in `%j` a payload that is not
UTF-8 is an array of numbers (as since 2.1) and not text cut at its first zero, and a user property that came twice is a
list; `%x` with a width shows as many bytes as fit; all Subscription Identifiers are shown.
"""

from __future__ import annotations

import dataclasses
import struct
import time
from typing import TYPE_CHECKING, Final

from broker.cli.payloads import PayloadError, Value, decode, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ESCAPES: Final = {
    "\\": "\\",
    "0": "\0",
    "a": "\a",
    "e": "\x1b",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}


class FormatError(ValueError):
    """The text after `-F` is not of the language."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Received:
    """An Application Message as it arrived, with the wall clock's time in nanoseconds since 1970."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    packet_identifier: int = 0
    received_ns: int = 0
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    message_expiry_interval: int | None = None
    payload_format_indicator: int | None = None
    subscription_identifiers: tuple[int, ...] = ()
    topic_alias: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class _Field:
    letter: str
    left: bool
    zeros: bool
    width: int
    precision: int  # -1 where none was given


class Format:
    """A compiled `-F` text."""

    def __init__(self, text: str, *, pretty: bool = False) -> None:
        """Raises FormatError with mosquitto_sub's words."""
        self.pretty = pretty
        self._parts: list[str | _Field | tuple[str]] = []
        position = 0
        literal = ""
        while position < len(text):
            sign = text[position]
            position += 1
            if sign not in "%@\\":
                literal += sign
                continue
            if position == len(text):
                raise FormatError("incomplete escape specifier" if sign == "\\" else "incomplete format specifier")
            if sign == "\\":
                if text[position] not in _ESCAPES:
                    raise FormatError(f"invalid escape specifier '{text[position]}'")
                literal += _ESCAPES[text[position]]
                position += 1
            elif text[position] == sign:
                literal += sign
                position += 1
            else:
                self._parts.append(literal)
                literal = ""
                if sign == "@":
                    self._parts.append((text[position],))
                    position += 1
                else:
                    field, position = _parse_field(text, position)
                    self._parts.append(field)
        self._parts.append(literal)

    def __call__(self, message: Received) -> bytes:
        """The message in this format, without an end of line. Raises PayloadError where `%J` meets no JSON."""
        out = bytearray()
        for part in self._parts:
            if isinstance(part, str):
                out += part.encode()
            elif isinstance(part, _Field):
                out += _FIELDS[part.letter](message, part, self.pretty)
            elif part[0] == "N":
                out += b"%09d" % (message.received_ns % 1_000_000_000)
            else:
                out += time.strftime("%" + part[0], _local(message)).encode()
        return bytes(out)


def _parse_field(text: str, position: int) -> tuple[_Field, int]:
    left = text[position] == "-"
    position += left
    zeros = text[position : position + 1] == "0"
    position += zeros
    width, position = _digits(text, position)
    precision = -1
    if text[position : position + 1] == ".":
        precision, position = _digits(text, position + 1)
    if position >= len(text):
        raise FormatError("incomplete format specifier")
    letter = text[position]
    if letter not in _FIELDS:
        raise FormatError(f"invalid format specifier '{letter}'")
    return _Field(letter, left, zeros, width, precision), position + 1


def _digits(text: str, position: int) -> tuple[int, int]:
    end = position
    while end < len(text) and text[end] in "0123456789":
        end += 1
    return int(text[position:end] or "0"), end


def _local(message: Received) -> time.struct_time:
    return time.localtime(message.received_ns // 1_000_000_000)


def _text(value: str | None, field: _Field) -> bytes:
    if value is None:
        return b" " * field.width
    if field.precision >= 0:
        value = value[: field.precision]
    return (value.ljust(field.width) if field.left else value.rjust(field.width)).encode()


def _number(value: int | None, field: _Field) -> bytes:
    if value is None:
        return (b"0" if field.zeros else b" ") * field.width
    if field.left:
        return str(value).ljust(field.width).encode()
    return str(value).rjust(field.width, "0" if field.zeros else " ").encode()


def _payload(message: Received, field: _Field, _: bool) -> bytes:
    # A width is also the most that is shown of a payload, and of hex only whole bytes are.
    payload = message.payload[: field.width] if field.width else message.payload
    if field.letter != "p":
        payload = (message.payload[: field.width // 2] if field.width else message.payload).hex().encode()
        if field.letter == "X":
            payload = payload.upper()
    if field.left:
        return payload.ljust(field.width)
    return payload.rjust(field.width, b"0" if field.zeros else b" ")


def _float(message: Received, field: _Field, _: bool) -> bytes:
    code, size = ("<f", 4) if field.letter == "f" else ("<d", 8)
    if len(message.payload) != size:
        return b" " * field.width
    (value,) = struct.unpack(code, message.payload)
    text = f"{value:.{6 if field.precision < 0 else field.precision}f}"
    if field.left:
        return text.ljust(field.width).encode()
    return (text.zfill(field.width) if field.zeros else text.rjust(field.width)).encode()


def _iso(message: Received, field: _Field, _: bool) -> bytes:
    return _text(time.strftime("%Y-%m-%dT%H:%M:%S%z", _local(message)), field)


def _unix(message: Received, _field: _Field, _: bool) -> bytes:
    seconds, nanoseconds = divmod(message.received_ns, 1_000_000_000)
    return b"%d.%09d" % (seconds, nanoseconds)


def _user_properties(message: Received, _field: _Field, _: bool) -> bytes:
    return " ".join(f"{name}:{value}" for name, value in message.user_properties).encode()


def _subscription_identifiers(message: Received, field: _Field, _: bool) -> bytes:
    numbers = message.subscription_identifiers
    if len(numbers) < 2:
        return _number(numbers[0] if numbers else None, field)
    return _text(" ".join(str(number) for number in numbers), field)


def _quoted(message: Received, _field: _Field, pretty: bool) -> bytes:
    payload: Value
    try:
        payload = message.payload.decode() or None
    except UnicodeDecodeError:
        payload = list(message.payload)
    return to_json(as_object(message, payload), indent=4 if pretty else None).encode()


def _unquoted(message: Received, _field: _Field, pretty: bool) -> bytes:
    try:
        payload = decode(message.payload, "json")
    except PayloadError as error:
        raise PayloadError(f"Message payload is not valid JSON on topic {message.topic}.") from error
    return to_json(as_object(message, payload), indent=4 if pretty else None).encode()


_FIELDS: Final[dict[str, Callable[[Received, _Field, bool], bytes]]] = {
    "t": lambda message, field, _: _text(message.topic, field),
    "p": _payload,
    "x": _payload,
    "X": _payload,
    "f": _float,
    "d": _float,
    "l": lambda message, field, _: _number(len(message.payload), field),
    "m": lambda message, field, _: _number(message.packet_identifier, field),
    "q": lambda message, _field, _: b"%d" % message.qos,
    "r": lambda message, _field, _: b"%d" % message.retain,
    "j": _quoted,
    "J": _unquoted,
    "I": _iso,
    "U": _unix,
    "A": lambda message, field, _: _number(message.topic_alias, field),
    "C": lambda message, field, _: _text(message.content_type, field),
    "D": lambda message, _field, _: message.correlation_data or b"",
    "E": lambda message, field, _: _number(message.message_expiry_interval, field),
    "F": lambda message, field, _: _number(message.payload_format_indicator, field),
    "P": _user_properties,
    "R": lambda message, field, _: _text(message.response_topic, field) if message.response_topic else b"",
    "S": _subscription_identifiers,
}


def as_object(message: Received, payload: Value) -> Value:
    """The message as mosquitto_sub's `%j` tells it, the same names in the same order."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", _local(message))
    zone = time.strftime("%z", _local(message))
    value: dict[str, Value] = {
        "tst": f"{stamp}.{message.received_ns % 1_000_000_000 // 1000:06d}Z{zone}",
        "topic": message.topic,
        "qos": message.qos,
        "retain": int(message.retain),
        "payloadlen": len(message.payload),
    }
    if message.qos:
        value["mid"] = message.packet_identifier
    properties = _properties(message)
    if properties:
        value["properties"] = properties
    value["payload"] = payload
    return value


def _properties(message: Received) -> dict[str, Value]:
    properties: dict[str, Value] = {}
    if message.user_properties:
        properties["user-properties"] = _grouped(message.user_properties)
    if message.content_type is not None:
        properties["content-type"] = message.content_type
    if message.response_topic is not None:
        properties["response-topic"] = message.response_topic
    if message.correlation_data is not None:
        try:
            properties["correlation-data"] = message.correlation_data.decode()
        except UnicodeDecodeError:
            properties["correlation-data"] = list(message.correlation_data)
    if message.payload_format_indicator is not None:
        properties["payload-format-indicator"] = message.payload_format_indicator
    if message.message_expiry_interval is not None:
        properties["message-expiry-interval"] = message.message_expiry_interval
    if message.topic_alias is not None:
        properties["topic-alias"] = message.topic_alias
    if message.subscription_identifiers:
        numbers = message.subscription_identifiers
        properties["subscription-identifier"] = numbers[0] if len(numbers) == 1 else list(numbers)
    return properties


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, Value]:
    """Names to values; a name that came more than once has a list, for a JSON object can name it only once."""
    grouped: dict[str, list[Value]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in grouped.items()}
