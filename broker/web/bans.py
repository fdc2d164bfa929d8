"""Client Identifiers that an operator has banned for a while.

A Watcher: whoever connects with one of them is disconnected again at the end of the round, with 0x98 Administrative
action. It is a tool against a device gone wild, not against an attacker, who takes another identifier; it ends with the
process. The memory is bounded: where it is full, nobody more is banned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.ports import Peer

KEPT: Final = 10_000
REASON_CHARACTERS: Final = 200


class Ban:
    """Until when, on the core's clock, and why."""

    __slots__ = ("client_identifier", "reason", "until")

    def __init__(self, client_identifier: str, until: float, reason: str) -> None:
        self.client_identifier = client_identifier
        self.until = until
        self.reason = reason


class Bans:
    """See the module. Times are those of the core."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._held: dict[str, Ban] = {}

    def add(self, client_identifier: str, seconds: float, reason: str, now: float) -> Ban | None:
        """Ban a Client from now on, whatever was said before; None where there is no room."""
        self.held(now)
        if len(self._held) >= KEPT and client_identifier not in self._held:
            return None
        ban = self._held[client_identifier] = Ban(client_identifier, now + seconds, reason[:REASON_CHARACTERS])
        return ban

    def remove(self, client_identifier: str, now: float) -> bool:
        """Take a ban back; whether there was one."""
        self.held(now)
        return self._held.pop(client_identifier, None) is not None

    def held(self, now: float) -> list[Ban]:
        """Those in force."""
        self._held = {name: ban for name, ban in self._held.items() if ban.until > now}
        return list(self._held.values())

    def end(self, client_identifier: str, detail: str) -> bool:
        """End the connection of a Client at the end of the round; whether it has one."""
        session = self._broker.sessions.get(client_identifier)
        connection = session.connection if session is not None else None
        if connection is None:
            return False
        self._broker.doom(connection, ReasonCode.ADMINISTRATIVE_ACTION, detail)
        return True

    # -- The Watcher

    def connected(self, client_identifier: str, peer: Peer) -> None:
        ban = self._held.get(client_identifier)
        if ban is None:
            return
        session = self._broker.sessions.get(client_identifier)
        connection = session.connection if session is not None else None
        if connection is not None and connection.last_received < ban.until:
            self.end(client_identifier, "this Client is banned for a while")

    def disconnected(self, client_identifier: str, peer: Peer, reason: str) -> None:
        """Nothing to do."""

    def refused(self, client_identifier: str, peer: Peer, reason: str) -> None:
        """Nothing to do."""

    def noticed(self, kind: str, text: str) -> None:
        """Nothing to do."""
