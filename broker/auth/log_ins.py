"""Who somebody is, said by the log-in of a page that this broker serves: the cookie of the WebSocket upgrade.

It is asked for a CONNECT without User Name and Password only: whoever gives one has to prove it, and no leftover of a
browser decides. A browser sends the cookie whichever page asks, so it counts only where the Origin header is there and
is the broker's own, as in `broker.auth.tokens`; and only with a WebSocket. A cookie that nobody knows, or that is over,
proves nothing: its bringer is let in as somebody without one would be.

The log-ins themselves are kept by whoever hands out the cookies. Where nobody does, nobody comes in by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from broker.auth.methods import Identity
from broker.auth.tokens import is_same_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.ports import Peer
    from broker.packets.types import Connect

NAME: Final = "log-in"

_WEBSOCKETS: Final = ("ws", "wss")


class Known:
    """Somebody who has logged in. `roles` are those that the proof itself has given; `left`: seconds until it ends."""

    __slots__ = ("left", "roles", "user_name")

    def __init__(self, user_name: str, roles: tuple[str, ...], left: float) -> None:
        self.user_name = user_name
        self.roles = roles
        self.left = left


class LogIns(Protocol):
    """Whoever keeps the log-ins."""

    def known(self, headers: Mapping[str, str]) -> Known | None:
        """Whose cookie this is, where that may still do something."""

    def stands(self, user_name: str) -> bool:
        """Whether there is a log-in of this user that may still do something."""

    def keep(self, is_there: Callable[[str, str], bool]) -> None:
        """End the log-ins of whom `is_there` does not know any more, by the method of the proof and user name."""


class LogInMethod:
    """See the module. `log_ins` is None until there is somebody who keeps them; `clock` is wall time in seconds."""

    name = NAME

    def __init__(self, clock: Callable[[], float]) -> None:
        self.log_ins: LogIns | None = None
        self._clock = clock

    def check(self, connect: Connect, peer: Peer) -> Identity | None:
        """See `Method`."""
        if self.log_ins is None or connect.user_name is not None or connect.password is not None:
            return None
        if peer.transport not in _WEBSOCKETS or not is_same_origin(peer.headers, peer.transport == "wss"):
            return None
        known = self.log_ins.known(peer.headers)
        if known is None:
            return None
        return Identity(known.user_name, self.name, known.roles, self._clock() + known.left)
