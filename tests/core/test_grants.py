"""What a Client may do."""

from __future__ import annotations

from broker.core.grants import AllowAll, Grant
from broker.core.ports import Peer
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect


def test_a_grant_allows_everything() -> None:
    grant = Grant()
    assert grant.everything
    assert grant.user_name == ""
    assert grant.publish("a", 2, True) == ReasonCode.SUCCESS
    assert grant.subscribe("#", 2) == ReasonCode.SUCCESS
    assert grant.may_deliver("a")
    assert grant.delivery_rule("a") == ""


def test_allow_all_lets_everybody_in_by_name() -> None:
    peer = Peer("127.0.0.1:5", "tcp")
    for user_name in (None, "ann"):
        answer = AllowAll().authenticate(Connect("c", user_name=user_name), peer)
        assert isinstance(answer, Grant)
        assert answer.everything
        assert answer.user_name == (user_name or "")
