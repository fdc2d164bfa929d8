"""What a Client may do: decided at CONNECT, asked synchronously ever after, and replaced as a whole when it changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.core.ports import Peer, Refusal
    from broker.packets.types import Connect


class Grant:
    """Everything is allowed but what no Client may do: publish into `$SYS`.

    Kinds of permission subclass this and set `everything` to False, which makes the core ask on each packet and again
    at each delivery.

    `principal` is who owns the Sessions made under it: nobody else is let into them. It is "" for whoever has proved
    nothing. After `expires_at`, monotonic seconds, the proof is worth nothing and the connection ends with 0x87. `data`
    is the Authentication Data that goes with the success of an enhanced authentication.
    """

    def __init__(
        self,
        user_name: str = "",
        everything: bool = True,
        principal: str = "",
        expires_at: float = math.inf,
        data: bytes = b"",
    ) -> None:
        self.user_name = user_name
        self.everything = everything
        self.principal = principal
        self.expires_at = expires_at
        self.data = data
        self.method = ""  # of the proof, where there was one
        self.roles: tuple[str, ...] = ()  # that the proof itself has given, for when the others change

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        """SUCCESS, or the Reason Code (>= 0x80) of the refusal, for a message or a Will Message to `topic`."""
        return ReasonCode.SUCCESS

    def subscribe(self, topic_filter: str, qos: int) -> ReasonCode:
        """SUCCESS, or the Reason Code (>= 0x80) of the refusal, for a Topic Filter without its `$share` prefix."""
        return ReasonCode.SUCCESS

    def may_deliver(self, topic: str) -> bool:
        """Whether a message to `topic` may reach the Client, whatever it has subscribed to."""
        return True

    def delivery_rule(self, topic: str) -> str:
        """What `may_deliver` goes by, in words for people, without a full stop; "" where there is nothing to tell. The
        data path does not ask for it."""
        return ""


class AllowAll:
    """The Authenticator that lets everybody in and grants everything."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal | Awaitable[Grant | Refusal]:
        return Grant(connect.user_name or "")
