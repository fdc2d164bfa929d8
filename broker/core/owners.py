"""Whether there is room for one more Session: of all, of one principal, and in memory.

Of the principals only those are counted who have proved to be somebody, so that one user does not take the room of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.session import Session


class Owners:
    """How many Sessions each principal owns."""

    def __init__(self) -> None:
        self._sessions: dict[str, int] = {}

    def sessions_of(self, principal: str) -> int:
        return self._sessions.get(principal, 0)

    def move(self, old: str, new: str) -> None:
        """A Session goes from one principal to another; "" is nobody, or where Sessions come from and end."""
        if old == new:
            return
        if new:
            self._sessions[new] = self._sessions.get(new, 0) + 1
        if old:
            left = self._sessions[old] - 1
            if left:
                self._sessions[old] = left
            else:
                del self._sessions[old]


def no_room(broker: Broker, session: Session | None, principal: str) -> Refusal | None:
    """Why `principal` cannot have one more Session, or `session`, which may be nobody's; None where it can."""
    limits = broker.limits
    if session is None and len(broker.sessions) >= limits.sessions:
        return Refusal(ReasonCode.QUOTA_EXCEEDED, "too many Sessions")
    most = limits.sessions_per_user
    more = session is None or session.principal != principal
    if most and principal and more and broker.owners.sessions_of(principal) >= most:
        broker.stats.owners_refused += 1
        broker.notice("sessions_per_user", f"{principal[:64]!a} has {most} Sessions ([server] sessions_per_user)")
        return Refusal(ReasonCode.QUOTA_EXCEEDED, "too many Sessions of one user")
    if session is None and broker.memory_full:  # who has one may take what waits in it
        return Refusal(ReasonCode.SERVER_BUSY, "too much memory is in use")
    return None
