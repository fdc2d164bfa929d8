"""Client Identifiers that an operator has banned for a while.

Whoever has one of them is disconnected with 0x98 Administrative action, and its CONNECT is refused with 0x8A Banned
(0x05 before 5.0) once it has proved who it is. It is a tool against a device gone wild, not against an attacker, who
takes another identifier; it ends with the process. The memory is bounded: where it is full, nobody more is banned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from broker.core.broker import Broker

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
        self._broker.banned[client_identifier] = ban.until
        return ban

    def remove(self, client_identifier: str, now: float) -> bool:
        """Take a ban back; whether there was one."""
        self.held(now)
        self._broker.banned.pop(client_identifier, None)
        return self._held.pop(client_identifier, None) is not None

    def held(self, now: float) -> list[Ban]:
        """Those in force."""
        for name in [name for name, ban in self._held.items() if ban.until <= now]:
            del self._held[name]
            self._broker.banned.pop(name, None)
        return list(self._held.values())

    def end(self, client_identifier: str, detail: str) -> bool:
        """End the connection of a Client at the end of the round; whether it has one."""
        session = self._broker.sessions.get(client_identifier)
        connection = session.connection if session is not None else None
        if connection is None:
            return False
        self._broker.doom(connection, ReasonCode.ADMINISTRATIVE_ACTION, detail)
        return True
