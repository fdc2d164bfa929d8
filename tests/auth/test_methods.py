"""The words in which methods answer."""

from __future__ import annotations

import math

from broker.auth.methods import METHODS, Denied, Identity
from broker.packets.reasons import ReasonCode


def test_an_identity_that_does_not_end() -> None:
    found = Identity("ann", "password")
    assert (found.user_name, found.method, found.roles, found.expires_at) == ("ann", "password", (), math.inf)


def test_a_denial_says_wrong_credentials_unless_told() -> None:
    assert Denied("wrong password").reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert Denied("down", ReasonCode.SERVER_UNAVAILABLE).reason == ReasonCode.SERVER_UNAVAILABLE


def test_a_token_is_looked_for_before_a_password() -> None:
    assert METHODS == ("certificate", "jwt", "password", "http")
