"""What a refused PUBLISH is told, and why: Reason Codes with a Reason String."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import NO_PROPERTIES, Properties, Puback, Pubrec

if TYPE_CHECKING:
    from broker.core.connection import Connection

_REFUSED_BECAUSE: Final = {
    int(ReasonCode.NOT_AUTHORIZED): "this Client may not publish to this topic",
    int(ReasonCode.QUOTA_EXCEEDED): "a receiver's queue or the store of retained messages had no room for it",
}


def refusal(connection: Connection, kind: type[Puback] | type[Pubrec], identifier: int, reason: int) -> bytes:
    """A negative PUBACK or PUBREC; with a Reason String if the Client wants one [MQTT-3.1.2-29] and can take it."""
    detail = _REFUSED_BECAUSE.get(reason, "")
    if detail and connection.problem_information:
        data = encode(kind(identifier, reason, with_reason_string(detail)), 5)
        if not connection.maximum_packet_size or len(data) <= connection.maximum_packet_size:  # [MQTT-3.4.2-2]
            return data
    return encode(kind(identifier, reason), 5)


def with_reason_string(detail: str) -> Properties:
    """Properties with `detail` as their Reason String; none where it is empty."""
    if not detail:
        return NO_PROPERTIES
    properties = Properties()
    properties.reason_string = detail
    return properties
