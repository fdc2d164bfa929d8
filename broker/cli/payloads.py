"""Payloads between what a person types and what travels: text, hex, JSON, MessagePack.

`encode` is used by `broker pub --encode`, `decode` and `to_json` by `broker sub`. A payload that cannot be read is
shown as hex when nothing was asked (`auto`), and is a `PayloadError` when something was.
"""

from __future__ import annotations

import base64
import datetime
import json
import unicodedata
from typing import Final

ENCODINGS: Final = ("text", "hex", "json", "msgpack")
DECODINGS: Final = ("auto", "json", "msgpack", "hex", "text")

CONTENT_TYPES: Final = {"json": "application/json", "msgpack": "application/msgpack"}

# Everything that JSON can hold. On the way to it MessagePack's bytes become base64, its extensions a pair of number and
# base64, and its keys that are no text their JSON.
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


# They change the direction of writing, so that a line says something else than what it holds.
_TURNING: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class PayloadError(ValueError):
    """The payload is not what it was said to be."""


def encode(content: bytes, encoding: str) -> bytes:
    """The payload for `content`, which is UTF-8 but for `text`, where any bytes go as they are.

    `hex` may hold blanks and line ends; `json` is checked and sent as it was written; `msgpack` is written as JSON.
    """
    if encoding == "text":
        return content
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8: {error}") from error
    if encoding == "hex":
        try:
            return bytes.fromhex(text.strip().removeprefix("0x"))
        except ValueError as error:
            raise PayloadError(f"not hexadecimal: {error}") from error
    value = _parse_json(text)
    if encoding == "json":
        return text.strip().encode()
    import msgpack

    try:
        packed: bytes = msgpack.packb(value)
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"not to be said in MessagePack: {error}") from error
    return packed


def decode(payload: bytes, decoding: str = "auto", content_type: str | None = None) -> Value:
    """What a payload means, as something that JSON can hold; text and hex give a str.

    `auto` believes the Content Type where there is one, and looks at the bytes otherwise: JSON, then text, then a
    MessagePack map or array, then hex. No bytes at all are None.
    """
    if decoding == "auto":
        return _guess(payload, content_type or "")
    if not payload:
        return None
    if decoding == "json":
        return _parse_json(_text(payload))
    if decoding == "msgpack":
        return _unpack(payload)
    if decoding == "text":
        return _text(payload)
    return payload.hex()


def to_json(value: Value, *, indent: int | None = None) -> str:
    """One line of JSON (or an indented one), in UTF-8 as it is and not in escapes."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)


def _guess(payload: bytes, content_type: str) -> Value:
    if not payload:
        return None
    if "msgpack" in content_type or "messagepack" in content_type:
        order: tuple[str, ...] = ("msgpack", "hex")
    elif content_type.startswith("text/"):
        order = ("text", "hex")
    else:
        order = ("json", "text", "msgpack", "hex")
    for decoding in order:
        try:
            value = decode(payload, decoding)
        except PayloadError:
            continue
        if decoding == "text" and not _is_text(str(value)):
            continue
        # A lone byte is a valid MessagePack number and means nothing of the kind.
        if decoding == "msgpack" and len(order) == 4 and not isinstance(value, (dict, list)):
            continue
        return value
    return payload.hex()


def legible(text: str) -> str:
    """`text` for a person's terminal: what would move its cursor or turn its writing about is shown as an escape."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii") if _is_control(character) else character
        for character in text
    )


def _is_control(character: str) -> bool:
    return character not in "\t\n" and (unicodedata.category(character) == "Cc" or character in _TURNING)


def _is_text(text: str) -> bool:
    return text.isprintable() or not any(unicodedata.category(one) == "Cc" and one not in "\t\r\n" for one in text)


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8: {error}") from error


def _parse_json(text: str) -> Value:
    try:
        value: Value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"not JSON: {error}") from error
    return value


def _refuse_constant(name: str) -> Value:
    raise ValueError(f"{name} is Python's, not JSON's")


def _unpack(payload: bytes) -> Value:
    import msgpack

    try:
        value = msgpack.unpackb(payload, strict_map_key=False, timestamp=3)
    except Exception as error:  # msgpack raises ValueError, its own ExtraData, and what the types below it raise
        raise PayloadError(f"not MessagePack: {error}") from error
    return _plain(value)


def _plain(value: object) -> Value:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else to_json(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return repr(value)
