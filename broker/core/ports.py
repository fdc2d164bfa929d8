"""Every seam between the core and the outside, on one page. Direct calls, no hook table.

`Store` keeps what must survive, `Authenticator` says who may connect, a `Watcher` looks on at rare events, and a
`Wire` is what a Connection needs of its transport. Floor 3 implements them; the core never imports an implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from array import array
    from collections.abc import Awaitable
    from typing import TypeAlias

    from broker.core.grants import Grant
    from broker.core.journal import Queued
    from broker.core.session import Session
    from broker.packets.reasons import ReasonCode
    from broker.packets.types import Connect

    Answer: TypeAlias = "Grant | Refusal | Challenge"


class Peer:
    """Who is at the other end of a Network Connection, as far as the transport knows."""

    __slots__ = ("address", "certificate", "headers", "listener", "target", "transport")

    def __init__(self, address: str, transport: str, listener: str = "", headers: dict[str, str] | None = None) -> None:
        self.address = address  # "127.0.0.1:51234", "unix", "memory"
        self.transport = transport  # "tcp", "ws", "unix", "memory": statistics are split by this
        self.listener = listener
        self.headers = headers or {}  # of the WebSocket upgrade, names in lower case
        self.target = ""  # of the WebSocket upgrade: path and query
        self.certificate: Certificate | None = None  # of a Client that showed one, and only where it was verified


class Certificate:
    """Whom a Client's certificate names; the transport has verified it."""

    __slots__ = ("alternative_names", "common_name", "distinguished_name")

    def __init__(self, common_name: str, distinguished_name: str, alternative_names: tuple[str, ...]) -> None:
        self.common_name = common_name  # of the subject; "" where it has none or more than one
        self.distinguished_name = distinguished_name  # of the subject, as RFC 4514 writes it: "CN=a,O=b"
        self.alternative_names = alternative_names  # DNS names, e-mail addresses and URIs, in their order


class Refusal:
    """The answer of an Authenticator that says no; `reason` goes into the CONNACK."""

    __slots__ = ("detail", "reason")

    def __init__(self, reason: ReasonCode, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail


class AuthenticationExchange(Protocol):
    """An enhanced authentication under way (MQTT 5.0 section 4.12). It is asked once for each AUTH from the Client."""

    def go_on(self, data: bytes) -> Answer | Awaitable[Answer]: ...


class Challenge:
    """The answer of an Authenticator that wants to hear more: an AUTH 0x18 with this Authentication Data."""

    __slots__ = ("data", "exchange")

    def __init__(self, data: bytes, exchange: AuthenticationExchange) -> None:
        self.data = data
        self.exchange = exchange


class Authenticator(Protocol):
    """Decides at CONNECT. May answer at once or return an awaitable; the link is paused meanwhile, nothing else is.

    A CONNECT with an Authentication Method comes here only where that one stands in `methods`, an attribute that an
    Authenticator without enhanced authentication does not need; to all others a Challenge is no answer.
    """

    def authenticate(self, connect: Connect, peer: Peer) -> Answer | Awaitable[Answer]: ...


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

    def noticed(self, kind: str, text: str) -> None:
        """Something that whoever runs the broker should look at. `kind` says which lines are alike."""
        return
