"""What a way of telling who somebody is has to answer.

A Method looks at a CONNECT and at whoever sent it, and says one of three things: who it is (`Identity`), that it is
not who it says (`Denied`), or that this is none of its business (None), so that the next one is asked. It fails closed:
what it raises is a refusal. It may answer at once or return an awaitable; nobody but this Client waits for that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.core.ports import Peer
    from broker.packets.types import Connect


class AccessError(Exception):
    """What authentication needs cannot be used; the text names every mistake, one a line."""


class Identity:
    """Somebody who has proved who it is. `user_name` owns the Sessions that it makes and stands for `%u` in roles.

    `roles` are given beside those that the configuration gives to the user name. `expires_at` is wall time in seconds
    since the epoch, after which the proof is worth nothing; infinity where it does not end.
    """

    __slots__ = ("expires_at", "method", "roles", "user_name")

    def __init__(self, user_name: str, method: str, roles: tuple[str, ...] = (), expires_at: float = math.inf) -> None:
        self.user_name = user_name
        self.method = method  # "password", "certificate", "jwt", "http", "scram": for the log
        self.roles = roles
        self.expires_at = expires_at


class Denied:
    """Not who it says. `detail` is for the log and tells the Client nothing: no secret may stand in it.

    `reason` is what CONNACK says: 0x86 for wrong credentials, 0x87 where the credentials are good and not enough, 0x88
    where the method's backend cannot be reached.
    """

    __slots__ = ("detail", "reason")

    def __init__(self, detail: str, reason: ReasonCode = ReasonCode.BAD_USER_NAME_OR_PASSWORD) -> None:
        self.detail = detail
        self.reason = reason


Verdict = Identity | Denied | None


class Method(Protocol):
    """See the module."""

    name: str

    def check(self, connect: Connect, peer: Peer) -> Verdict | Awaitable[Verdict]: ...


# In the order in which they are asked by default: a token stands where a password would, and is told by its shape.
METHODS: Final = ("certificate", "jwt", "password", "http")
