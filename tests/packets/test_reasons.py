"""Reason Codes and the one exception of floors 0 and 1."""

from __future__ import annotations

import pytest

from broker.packets.reasons import ProtocolError, ReasonCode, connect_return_code
from tests.statements import statement


def test_codes_from_0x80_are_errors() -> None:
    assert [code.name for code in ReasonCode if code < 0x80] == [
        *("SUCCESS", "GRANTED_QOS_1", "GRANTED_QOS_2", "DISCONNECT_WITH_WILL_MESSAGE", "NO_MATCHING_SUBSCRIBERS"),
        *("NO_SUBSCRIPTION_EXISTED", "CONTINUE_AUTHENTICATION", "RE_AUTHENTICATE"),
    ]


def test_a_protocol_error_carries_the_answer() -> None:
    error = ProtocolError(ReasonCode.TOPIC_NAME_INVALID, "a wildcard")
    assert error.reason is ReasonCode.TOPIC_NAME_INVALID
    assert error.detail == "a wildcard"
    assert str(error) == "0x90 topic name invalid: a wildcard"
    assert str(ProtocolError(ReasonCode.PROTOCOL_ERROR)) == "0x82 protocol error"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (ReasonCode.SUCCESS, 0),
        (ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, 1),
        (ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 2),
        (ReasonCode.SERVER_UNAVAILABLE, 3),
        (ReasonCode.SERVER_BUSY, 3),
        (ReasonCode.QUOTA_EXCEEDED, 3),
        (ReasonCode.BAD_USER_NAME_OR_PASSWORD, 4),
        (ReasonCode.NOT_AUTHORIZED, 5),
        (ReasonCode.BANNED, 5),
    ],
)
def test_connect_return_codes(reason: ReasonCode, code: int) -> None:
    assert connect_return_code(reason) == code


@statement("MQTT311-3.2.2-6")
def test_where_no_connect_return_code_fits() -> None:
    for reason in (ReasonCode.MALFORMED_PACKET, ReasonCode.PROTOCOL_ERROR, ReasonCode.QOS_NOT_SUPPORTED):
        assert connect_return_code(reason) == -1
