"""What a refused PUBLISH is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker.core.refusals import refusal, with_reason_string
from broker.packets.reasons import ReasonCode
from broker.packets.types import NO_PROPERTIES, Puback, Pubrec
from tests.core.parts import connect, decoded, new_broker
from tests.statements import statement

if TYPE_CHECKING:
    from broker.core.connection import Connection


def told(connection: Connection, kind: type[Puback] | type[Pubrec], reason: int) -> tuple[int, str]:
    (packet,) = decoded(refusal(connection, kind, 7, reason), 5)
    assert isinstance(packet, kind)
    assert packet.packet_identifier == 7
    return packet.reason, packet.properties.reason_string or ""


@pytest.mark.parametrize("kind", [Puback, Pubrec])
def test_why(kind: type[Puback] | type[Pubrec]) -> None:
    connection = connect(new_broker(), "c")
    reason, text = told(connection, kind, ReasonCode.NOT_AUTHORIZED)
    assert reason == ReasonCode.NOT_AUTHORIZED
    assert text == "this Client may not publish to this topic"
    reason, text = told(connection, kind, ReasonCode.QUOTA_EXCEEDED)
    assert reason == ReasonCode.QUOTA_EXCEEDED
    assert "no room" in text
    assert told(connection, kind, ReasonCode.UNSPECIFIED_ERROR) == (ReasonCode.UNSPECIFIED_ERROR, "")


@statement("MQTT5-3.4.2-2")
@pytest.mark.parametrize("values", [{"request_problem_information": 0}, {"maximum_packet_size": 40}])
def test_the_bare_reason_code(values: dict[str, Any]) -> None:
    connection = connect(new_broker(), "c", **values)
    assert told(connection, Puback, ReasonCode.NOT_AUTHORIZED) == (ReasonCode.NOT_AUTHORIZED, "")


def test_a_reason_string() -> None:
    assert with_reason_string("") is NO_PROPERTIES
    assert with_reason_string("why").reason_string == "why"
