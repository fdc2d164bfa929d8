"""Every seam between the core and the outside, on one page. Direct calls, no hook table.

`Store` keeps what must survive, `Authenticator` says who may connect, a `Watcher` looks on at rare events, and a
`Wire` is what a Connection needs of its transport. Floor 3 implements them; the core never imports an implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from array import array
    from collections.abc import Awaitable

    from broker.core.grants import Grant
    from broker.core.journal import Queued
    from broker.core.session import Session
    from broker.packets.reasons import ReasonCode
    from broker.packets.types import Connect


class Peer:
    """Who is at the other end of a Network Connection, as far as the transport knows."""

    __slots__ = ("address", "headers", "listener", "transport")

    def __init__(self, address: str, transport: str, listener: str = "", headers: dict[str, str] | None = None) -> None:
        self.address = address  # "127.0.0.1:51234", "unix", "memory"
        self.transport = transport  # "tcp", "ws", "unix", "memory": statistics are split by this
        self.listener = listener
        self.headers = headers or {}  # of the WebSocket upgrade, names in lower case


class Refusal:
    """The answer of an Authenticator that says no; `reason` goes into the CONNACK."""

    __slots__ = ("detail", "reason")

    def __init__(self, reason: ReasonCode, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail


class Authenticator(Protocol):
    """Decides at CONNECT. May answer at once or return an awaitable; the link is paused meanwhile, nothing else is."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal | Awaitable[Grant | Refusal]: ...


class Store(Protocol):
    """Where promises are kept: it takes what the Broker's Journal has recorded, a batch at a time, and has the Journal
    know when that is safe (`Journal.written`).

    While `patient` is set it may leave a batch for more to come into it; it says so by `gathering`, and is asked again
    within a millisecond.
    """

    patient: bool
    gathering: bool

    def hand_over(self, now: float) -> bool:
        """Take a batch, unless one is being written: then the next follows it. What is empty is safe at once: True."""
        ...

    def page(self, session: Session, queued: array[int], messages: array[int], now: float) -> list[Queued]:
        """Read entries of a queue back, in this order, by their numbers and those of their messages."""
        ...


class Watcher(Protocol):
    """Looks on at rare events; never called per message. Its exceptions are logged, never the peer's fault."""

    def connected(self, client_identifier: str, peer: Peer) -> None: ...

    def disconnected(self, client_identifier: str, peer: Peer, reason: str) -> None: ...

    def refused(self, client_identifier: str, peer: Peer, reason: str) -> None: ...
