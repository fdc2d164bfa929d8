"""Who is let in at the door: how many connections there may be, of whom, and how fast they may come.

The law of this file:

1. Over a bound on how many connections there may be, the next one is closed at once, before a byte of it is read. Over
   a bound on how fast they may come, or on how many may be on their way to a CONNACK, none is accepted for a while: who
   knocks waits in the system's backlog and is let in later.
2. An address is an IPv4 address, or the /64 of an IPv6 one. Loopback and Unix sockets have none, and a trusted proxy's
   own is not counted: each of them stands for many.
3. Behind a proxy the address is known later, from a PROXY header or from X-Forwarded-For, and counted from then on. By
   then a request of HTTP has been read, and is answered 429; before that nothing is said.
4. Bounds are read when they are needed, so that a reload counts at once. It puts nobody out who is inside.
5. A Unix socket is the way in for whoever looks after the machine: only the bounds on all connections and on those of
   a listener hold for it.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from broker.websocket.forwarded import network_of, parsed_address, trusted

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.transport.complaints import Complaints
    from broker.transport.listeners import Listener

AT_ONCE: Final = 2  # seconds' worth of connects that may come in one moment
PAUSE: Final = 0.01  # seconds between two looks at the rate at least: one connect at a time would wake us too often


class Admission:
    """See the module. One of a broker; the Pump asks it."""

    def __init__(self, broker: Broker, complaints: Complaints) -> None:
        self.broker = broker
        self.complaints = complaints
        self.addresses: dict[str, int] = {}  # connections of each address that has any
        self._credit = math.inf  # connects that may come now
        self._credited_at = 0.0

    def room(self, listener: Listener, most: int, now: float) -> int:
        """How many connections `listener` may accept now, up to `most`; ask `delay` where it is none."""
        if listener.type == "unix":
            return most
        limits = self.broker.limits
        if limits.handshakes:
            most = min(most, max(0, limits.handshakes - self.broker.stats.handshakes))
        rate = limits.connects_per_second
        if not rate:
            self._credit = math.inf
            return most
        self._credit = min(self._credit + (now - self._credited_at) * rate, float(AT_ONCE * rate))
        self._credited_at = now
        return most if self._credit >= most else int(self._credit)

    def delay(self) -> float:
        """Seconds until there may be room again; infinity until a handshake is over."""
        limits = self.broker.limits
        if 0 < limits.handshakes <= self.broker.stats.handshakes:
            return math.inf
        return max((1.0 - self._credit) / limits.connects_per_second, PAUSE)

    def complain_of_delay(self, listener: Listener, delay: float, now: float) -> None:
        """Tell why `listener` accepts nothing, and count it."""
        limits = self.broker.limits
        if delay == math.inf:
            why = f"{self.broker.stats.handshakes} connections have no CONNACK yet"
            setting, bound = "handshakes", limits.handshakes
        else:
            setting, bound = "connects_per_second", limits.connects_per_second
            why = f"more than {bound} connects a second"
        self.broker.stats.kept_waiting[setting] += 1
        text = f"{listener.url}: {why}: the next ones wait (server.{setting} is {bound})"
        self.complaints.complain(now, logging.WARNING, setting, text)

    def admit(self, listener: Listener, name: str, now: float) -> str | None:
        """What a connection just accepted, of the peer `name`, is counted as, "" for nothing; None where it may not
        stay. A `Place` counts it."""
        if listener.type != "unix":
            self._credit -= 1.0
        most = self.broker.limits.connections
        if 0 < most <= len(self.broker.connections):
            self._turn_away(listener, name, "connections", f"{most} connections (server.connections)", now)
            return None
        most = listener.limits.max_connections
        if 0 < most <= listener.connections:
            why = f"{most} connections of this listener (limits.max_connections)"
            self._turn_away(listener, name, "max_connections", why, now)
            return None
        if listener.proxy_protocol and listener.type != "unix" and not trusted(name, listener.trusted_proxies):
            why = "it is no trusted proxy (trusted_proxies)"
            self._turn_away(listener, name, "trusted_proxies", why, now)
            return None
        network = counted_as(name, listener)
        return network if self.has_room(listener, network, name, now) else None

    def has_room(self, listener: Listener, network: str, name: str, now: float) -> bool:
        """Whether one more connection of `network` may be there; "" is whoever is not counted."""
        most = self.broker.limits.connections_per_address
        if not network or not 0 < most <= self.addresses.get(network, 0):
            return True
        why = f"{most} connections of {network} (server.connections_per_address)"
        self._turn_away(listener, name, "connections_per_address", why, now)
        return False

    def _turn_away(self, listener: Listener, name: str, setting: str, why: str, now: float) -> None:
        self.broker.stats.turned_away[setting] += 1
        text = f"{listener.url}: {name} is not let in: {why}"
        self.complaints.complain(now, logging.WARNING, setting, text)


class Place:
    """The place that one Network Connection takes, at its listener and under its `network`, until it leaves."""

    __slots__ = ("_admission", "_listener", "_network")

    def __init__(self, admission: Admission, listener: Listener, network: str) -> None:
        self._admission = admission
        self._listener = listener
        self._network = ""
        listener.connections += 1
        self._take(network)

    def moved(self, name: str, now: float) -> bool:
        """A proxy has said that the peer is `name`; whether it may stay."""
        network = counted_as(name, self._listener)
        if network == self._network:
            return True
        if not self._admission.has_room(self._listener, network, name, now):
            return False
        self._give_back()
        self._take(network)
        return True

    def leave(self) -> None:
        """The connection is gone."""
        self._listener.connections -= 1
        self._give_back()

    def _take(self, network: str) -> None:
        self._network = network
        if network:
            addresses = self._admission.addresses
            addresses[network] = addresses.get(network, 0) + 1

    def _give_back(self) -> None:
        if self._network:
            addresses = self._admission.addresses
            left = addresses[self._network] - 1
            if left:
                addresses[self._network] = left
            else:
                del addresses[self._network]


def counted_as(name: str, listener: Listener) -> str:
    """The address under which a peer, as transports name it, is counted; "" where it is not."""
    network = _network(name[1:].partition("]")[0] if name.startswith("[") else name.rpartition(":")[0])
    if network and listener.trusted_proxies and trusted(name, listener.trusted_proxies):
        return ""
    return network


@lru_cache(1024)  # many come from few addresses
def _network(host: str) -> str:
    address = parsed_address(host.partition("%")[0])
    return "" if address is None or address.is_loopback else network_of(str(address))
