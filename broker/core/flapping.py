"""Clients that come and go too often: banned for a while, where the Server is told to.

Who is banned is whoever cannot be told apart: the same Client Identifier of the same owner from the same address. A
stranger who connects with somebody's identifier comes from elsewhere, or proves to be somebody else, or proves nothing
and is not counted at all: so nobody is banned for what another did. Two devices with one identifier behind one address
translation are one and the same to us, and what they do to each other is what a ban is for.

Both memories are bounded. Where one is full the oldest entry goes: at worst somebody is banned later, or not as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from typing import TypeAlias

    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.core.limits import ServerLimits

    Who: TypeAlias = tuple[str, str, str]  # Client Identifier, principal, host

KEPT: Final = 10_000  # entries of each memory, some 3 MB together (a guess)


def host_of(address: str) -> str:
    """The address of a Peer without its port, which is another one each time."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or (":" in host and not host.startswith("[")):  # "unix", or an IPv6 address alone
        return address
    return host or address


class Window:
    """How many CONNECTs have come since when."""

    __slots__ = ("count", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 1


class Flapping:
    """See the module. Its limits are read each time: they may change."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._windows: dict[Who, Window] = {}  # the one that began first stands first, in both
        self._bans: dict[Who, float] = {}  # until when
        self.bans = 0  # ever
        self.refused = 0  # CONNECTs, ever

    def banned(self, client_identifier: str, principal: str, address: str, now: float) -> bool:
        """Count one more CONNECT of a Client that has proved who it is; whether it must be refused."""
        limits = self._limits
        most = limits.flapping_connects
        if not most:
            return False
        who = (client_identifier, principal, host_of(address))
        until = self._bans.get(who)
        if until is not None:
            if now < until:
                self.refused += 1
                return True
            del self._bans[who]
        window = self._windows.get(who)
        if window is not None and now - window.since < limits.flapping_window:
            window.count += 1
            if window.count <= most:
                return False
            del self._windows[who]
            while len(self._bans) >= KEPT:
                del self._bans[next(iter(self._bans))]
            self._bans[who] = now + limits.flapping_ban
            self.bans += 1
            self.refused += 1
            return True
        if window is not None:
            del self._windows[who]
        else:
            while len(self._windows) >= KEPT:
                del self._windows[next(iter(self._windows))]
        self._windows[who] = Window(now)
        return False

    def now_banned(self, now: float) -> int:
        """How many are banned."""
        for who in [who for who, until in self._bans.items() if until <= now]:
            del self._bans[who]
        return len(self._bans)


def banned(broker: Broker, connection: Connection, client_identifier: str) -> Refusal:
    """What a banned Client is told, and whoever runs the broker."""
    limits = broker.limits
    detail = f"more than {limits.flapping_connects} connections in {limits.flapping_window:g} s"
    who = f"client id {client_identifier[:64]!a} from {connection.peer.address}"
    broker.notice("flapping", f"{who} is banned for a while: {detail} ([server] flapping_connects)")
    return Refusal(ReasonCode.BANNED, detail)
