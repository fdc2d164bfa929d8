"""What errors say."""

from __future__ import annotations

from broker.client.errors import (
    CannotConnect,
    ClientError,
    ConnectRefused,
    Disconnected,
    PublishRefused,
    SubscribeRefused,
    reason_code,
)
from broker.packets.reasons import ReasonCode


def test_texts() -> None:
    refused = ConnectRefused(ReasonCode.NOT_AUTHORIZED, "no such user", "other:1883")
    assert str(refused) == "0x87 not authorized: no such user"
    assert refused.server_reference == "other:1883"
    assert str(Disconnected(None, "broke off")) == "broke off"
    assert str(Disconnected(ReasonCode.SERVER_SHUTTING_DOWN)) == "0x8B server shutting down"
    assert str(PublishRefused(ReasonCode.QUOTA_EXCEEDED)) == "0x97 quota exceeded"
    subscribe = SubscribeRefused({"a/#": ReasonCode.NOT_AUTHORIZED}, "no")
    assert str(subscribe) == "'a/#' 0x87 not authorized: no"
    assert subscribe.reasons == {"a/#": ReasonCode.NOT_AUTHORIZED}


def test_one_base() -> None:
    for kind in (CannotConnect, ConnectRefused, Disconnected, PublishRefused, SubscribeRefused):
        assert issubclass(kind, ClientError)


def test_an_unknown_reason_code() -> None:
    assert reason_code(0x10) is ReasonCode.NO_MATCHING_SUBSCRIBERS
    assert reason_code(0xEE) is ReasonCode.UNSPECIFIED_ERROR
