"""What a Client may do: decided once at CONNECT, asked synchronously ever after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.core.ports import Peer, Refusal
    from broker.packets.types import Connect


class Grant:
    """Everything is allowed but what no Client may do: publish into `$SYS`.

    Kinds of permission subclass this and set `everything` to False, which makes the core ask on each packet.
    """

    def __init__(self, user_name: str = "", everything: bool = True) -> None:
        self.user_name = user_name
        self.everything = everything

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        """SUCCESS, or the Reason Code (>= 0x80) of the refusal, for a message or a Will Message to `topic`."""
        return ReasonCode.SUCCESS

    def subscribe(self, topic_filter: str, qos: int) -> ReasonCode:
        """SUCCESS, or the Reason Code (>= 0x80) of the refusal, for a Topic Filter without its `$share` prefix."""
        return ReasonCode.SUCCESS


class AllowAll:
    """The Authenticator that lets everybody in and grants everything."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal | Awaitable[Grant | Refusal]:
        return Grant(connect.user_name or "")
