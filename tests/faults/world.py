"""What a broker must hold, in the simplest words: Sessions as lists, routing as a loop; and what of it is durable.

It knows no batches, no rows and no slow connections: each operation has its whole effect at once. Topic Filters
have no wildcards. A message is its payload, which is never used twice.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field


@dataclass
class Held:
    """One message on its way to a Session; QoS 1 or 2."""

    payload: bytes
    qos: int
    expires_at: float = math.inf


@dataclass
class Left:
    """A Will Message to the topic `will`, at QoS 1."""

    payload: bytes
    delay: float


@dataclass
class Kept:
    """One Session."""

    expiry: float
    subscriptions: dict[str, int] = field(default_factory=dict)
    messages: list[Held] = field(default_factory=list)  # waiting, and sent and not acknowledged, in order
    released: set[int] = field(default_factory=set)  # PUBREC came, PUBCOMP did not
    received: set[int] = field(default_factory=set)  # QoS 2 Packet Identifiers of the Client
    will: Left | None = None
    away_since: float = math.inf
    durable: bool = False  # it was to outlive a connection once; what it is to do now is as durable


class World:
    """See the module. `operations` counts those that changed what is durable."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sessions: dict[str, Kept] = {}
        self.retained: dict[str, bytes] = {}
        self.operations = 0

    def copy(self) -> World:
        return copy.deepcopy(self)

    def durable(self) -> object:
        """All that a restart must bring back, comparable."""
        return (
            {
                name: (
                    kept.expiry,
                    dict(kept.subscriptions),
                    [(held.payload, held.qos) for held in kept.messages],
                    set(kept.released),
                    set(kept.received),
                    kept.will.payload if kept.will else None,
                )
                for name, kept in self.sessions.items()
                if kept.durable
            },
            dict(self.retained),
        )

    def connect(self, name: str, clean: bool, expiry: float, will: Left | None) -> bool:
        """Whether the Session was there."""
        old = self.sessions.get(name)
        if old is not None and old.away_since == math.inf:  # another connection takes over
            if clean:
                old.expiry = 0
            self.lost(name)
        if clean and name in self.sessions:
            self.end(name)
        present = name in self.sessions
        kept = self.sessions.setdefault(name, Kept(expiry))
        kept.expiry = expiry
        kept.durable = kept.durable or expiry > 0
        kept.will = will
        kept.away_since = math.inf
        return present

    def lost(self, name: str, with_will: bool = True) -> None:
        """The connection of a Session has ended."""
        kept = self.sessions[name]
        kept.away_since = self.now
        if not with_will:
            kept.will = None
        if kept.expiry == 0:
            self.end(name)
        elif kept.will is not None and kept.will.delay == 0:
            self.publish_will(kept)

    def end(self, name: str) -> None:
        kept = self.sessions.pop(name)
        if kept.will is not None:
            self.publish_will(kept)

    def publish_will(self, kept: Kept) -> None:
        will, kept.will = kept.will, None
        assert will is not None
        self.route("will", will.payload, 1)

    def route(self, topic: str, payload: bytes, qos: int, expires_at: float = math.inf) -> None:
        for kept in self.sessions.values():
            level = min(qos, kept.subscriptions.get(topic, 0))
            if level:
                kept.messages.append(Held(payload, level, expires_at))

    def retain(self, topic: str, payload: bytes) -> None:
        if payload:
            self.retained[topic] = payload
        else:
            self.retained.pop(topic, None)

    def advance(self, seconds: float) -> None:
        """Let time pass: Wills and Sessions that fall due, in their order."""
        end = self.now + seconds
        while True:
            due = [(at, name) for name, kept in self.sessions.items() if (at := self._next(kept)) <= end]
            if not due:
                break
            at, name = min(due)
            self.now = max(self.now, at)
            kept = self.sessions[name]
            if kept.away_since + kept.expiry <= at:
                self.end(name)
            else:
                self.publish_will(kept)
        self.now = end

    def _next(self, kept: Kept) -> float:
        will_at = kept.away_since + kept.will.delay if kept.will is not None else math.inf
        return min(will_at, kept.away_since + kept.expiry)

    def crash(self) -> None:
        """The broker is gone, and with it all connections and what is not durable; Wills are due from now on."""
        for name in [name for name, kept in self.sessions.items() if not kept.durable]:
            del self.sessions[name]
        for kept in self.sessions.values():
            kept.away_since = min(kept.away_since, self.now)
