"""Sections 4.7 and 4.8.2: Topic Names, Topic Filters and Shared Subscriptions as text.

Two laws. Nothing is normalised: case, leading, trailing and doubled separators all count [MQTT-4.7.3-4]. And no walk
here is recursive or takes more than one pass over its text.

`valid_...` say yes or no; `check_...` raise the `ProtocolError` that answers it and know the broker's own bounds too.
"""

from __future__ import annotations

from typing import Final

from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.wire import holds_disallowed_characters, malformed

STRING_BYTES: Final = 65_535  # of any UTF-8 Encoded String [MQTT-4.7.3-3]
SHARE_PREFIX: Final = "$share/"


def check_topic_name(topic: str, bytes_limit: int = STRING_BYTES, levels_limit: int = 0) -> None:
    """Refuse what cannot be a Topic Name, with 0x90, or 0x81 for characters; `levels_limit` 0 is no limit."""
    if not topic:
        raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "a Topic Name of no character")  # [MQTT-4.7.3-1]
    if "+" in topic or "#" in topic:
        raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "a wildcard in a Topic Name")  # [MQTT-4.7.0-1]
    _check_bounds(topic, bytes_limit, levels_limit, ReasonCode.TOPIC_NAME_INVALID)


def check_topic_filter(topic_filter: str, bytes_limit: int = STRING_BYTES, levels_limit: int = 0) -> None:
    """Refuse what cannot be a Topic Filter, shared or not, with 0x8F, or 0x81 for characters."""
    _check_bounds(topic_filter, bytes_limit, levels_limit, ReasonCode.TOPIC_FILTER_INVALID)
    fault = _filter_fault(topic_filter)
    if fault:
        raise ProtocolError(ReasonCode.TOPIC_FILTER_INVALID, fault)


def valid_topic_name(topic: str) -> bool:
    try:
        check_topic_name(topic)
    except ProtocolError:
        return False
    return True


def valid_topic_filter(topic_filter: str) -> bool:
    try:
        check_topic_filter(topic_filter)
    except ProtocolError:
        return False
    return True


def _check_bounds(text: str, bytes_limit: int, levels_limit: int, reason: ReasonCode) -> None:
    if holds_disallowed_characters(text):
        raise malformed("a control character or noncharacter in a topic")  # [MQTT-4.7.3-2]
    size = len(text)
    if size <= bytes_limit and not text.isascii():
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError:
            raise malformed("a surrogate in a topic") from None  # [MQTT-1.5.4-1]
    if size > bytes_limit:
        raise ProtocolError(reason, f"longer than {bytes_limit} bytes")
    if levels_limit and text.count("/") >= levels_limit:
        raise ProtocolError(reason, f"more than {levels_limit} levels")


def _filter_fault(topic_filter: str) -> str:
    if topic_filter.startswith(SHARE_PREFIX):
        share_name, separator, topic_filter = topic_filter[len(SHARE_PREFIX) :].partition("/")
        if not share_name or "+" in share_name or "#" in share_name:
            return "a ShareName is at least one character, none of them + or #"  # [MQTT-4.8.2-1] [MQTT-4.8.2-2]
        if not separator or not topic_filter:
            return "no Topic Filter after the ShareName"  # [MQTT-4.8.2-2]
    elif not topic_filter:
        return "a Topic Filter of no character"  # [MQTT-4.7.3-1]
    if "#" in topic_filter:
        # Alone or after a separator, and the last character [MQTT-4.7.1-1]
        if topic_filter.index("#") != len(topic_filter) - 1:
            return "# is not the last character"
        if len(topic_filter) > 1 and topic_filter[-2] != "/":
            return "# does not occupy a whole level"
    if "+" in topic_filter:
        for level in topic_filter.split("/"):
            if "+" in level and level != "+":
                return "+ does not occupy a whole level"  # [MQTT-4.7.1-2]
    return ""


def split_share(topic_filter: str) -> tuple[str | None, str]:
    """The ShareName (None for a Non-shared Subscription) and the Topic Filter proper, of a valid Topic Filter."""
    if not topic_filter.startswith(SHARE_PREFIX):
        return None, topic_filter
    share_name, _, shared = topic_filter[len(SHARE_PREFIX) :].partition("/")
    return share_name, shared


def levels(topic: str) -> list[str]:
    """The levels of a Topic Name or Topic Filter; an empty one counts (section 4.7.1.1)."""
    return topic.split("/")


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid Topic Filter, its `$share/.../` taken off, matches a valid Topic Name (section 4.7)."""
    if topic.startswith("$") and topic_filter.startswith(("+", "#")):
        return False  # [MQTT-4.7.2-1]
    names = topic.split("/")
    depth = 0
    for level in topic_filter.split("/"):
        if level == "#":
            return True  # the parent level too: "a/#" matches "a" (section 4.7.1.2)
        if depth == len(names) or (level != "+" and level != names[depth]):
            return False
        depth += 1
    return depth == len(names)
