"""A message as JSON brings it: checked as a PUBLISH would be."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from broker.core.message import ApplicationMessage, expiry
from broker.packets.properties import forwarded_properties
from broker.packets.topics import valid_topic_name
from broker.packets.types import Properties


class BadMessage(ValueError):
    """It is no message; the text says why, to whoever sent it."""


PROPERTIES: Final[dict[str, type]] = {
    "payload_format_indicator": int,
    "message_expiry_interval": int,
    "content_type": str,
    "response_topic": str,
    "correlation_data_base64": str,
    "user_properties": list,
}


_TEXT: Final = {"type": "string", "format": "mqtt-string"}  # 65,535 bytes at most, and no U+0000
_PAIR: Final = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}
PROPERTY_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "payload_format_indicator": {"type": "integer", "minimum": 0, "maximum": 1},
    "message_expiry_interval": {"type": "integer", "minimum": 0, "maximum": 0xFFFFFFFF},
    "content_type": _TEXT,
    "response_topic": _TEXT,
    "correlation_data_base64": {"type": "string", "format": "byte"},
    "user_properties": {"type": "array", "items": _PAIR},
}


def message_of(body: dict[str, Any], now: float) -> ApplicationMessage:
    """The message of a body whose members have the types that they should. Raises BadMessage."""
    topic: str = body["topic"]
    if not valid_topic_name(topic):
        raise BadMessage("topic has to be a Topic Name, without + and #.")
    payload = _payload(body)
    properties = _read_properties(body["properties"] or {})
    interval = properties.message_expiry_interval
    try:
        forwarded = forwarded_properties(properties)
    except ValueError as error:
        raise BadMessage(f"{error}.") from None
    expires_at = expiry(-1 if interval is None else interval, now, 0)
    return ApplicationMessage(topic, payload, 0, body["qos"], body["retain"], forwarded, expires_at)


def _read_properties(given: dict[str, Any]) -> Properties:
    found = Properties()
    for name, value in given.items():
        kind = PROPERTIES.get(name)
        if kind is None:
            raise BadMessage(f"There is no property {name[:80]!a}; there is: {', '.join(PROPERTIES)}.")
        if not _is(value, kind):
            raise BadMessage(f"The property {name} is of another type.")
        if name == "correlation_data_base64":
            found.correlation_data = _from_base64(value)
        elif name == "user_properties":
            found.user_properties = [_pair(each) for each in value]
        elif kind is str:
            setattr(found, name, _string(value))
        elif 0 <= value <= (1 if name == "payload_format_indicator" else 0xFFFFFFFF):
            setattr(found, name, value)
        else:
            raise BadMessage(f"The property {name} is out of range.")
    return found


def _is(value: Any, kind: type) -> bool:
    return type(value) is kind  # a bool is no number


def _pair(value: Any) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(each, str) for each in value):
        raise BadMessage("user_properties are pairs of strings.")
    return _string(value[0]), _string(value[1])


def _string(value: str) -> str:
    """A string that MQTT can carry (section 1.5.4)."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        size = -1
    if "\0" in value or not 0 <= size <= 65535:
        raise BadMessage("A property is no UTF-8 string of MQTT.")
    return value


def _payload(body: dict[str, Any]) -> bytes:
    text, encoded = body["payload"], body["payload_base64"]
    if (text is None) is (encoded is None):
        raise BadMessage("There has to be one of payload and payload_base64.")
    if encoded is not None:
        return _from_base64(encoded)
    try:
        return str(text).encode()
    except UnicodeEncodeError:
        raise BadMessage("payload has half a surrogate pair.") from None


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage("This is no base64.") from None
