"""Plain HTTP on a connection that might have become a WebSocket: who answers, and what it is given for that.

The requests stay in their Layers: what comes (out of TLS, behind a PROXY header) is handed to an HttpApplication, and
what that says goes the way of all bytes, with the write stall timeout and everything else that bounds a slow reader.
An application is told, and a task of its own answers: from within `receive`, `eof`, `drained` and `closed` nothing is
to be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.transport.layers import Layers
    from broker.websocket.forwarded import Networks


class HttpApplication(Protocol):
    """What answers the HTTP requests of one Network Connection."""

    def receive(self, data: bytes) -> None:
        """Bytes from the peer; the first time the whole head of the first request, and what came with it."""

    def eof(self) -> None:
        """The peer will send no more."""

    def drained(self) -> None:
        """All that was sent has left for the socket."""

    def closed(self) -> None:
        """The Network Connection is gone."""


class Door(Protocol):
    """Who reads the socket: it can be told to wait."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class HttpLine:
    """One Network Connection, as its HttpApplication sees it.

    `peer_address` is whom it comes from, as a PROXY header may have said; `address` whom its first request does, which
    is another only where one of `trusted_proxies` says so in a header field. `secure`: over TLS, ours or that proxy's;
    `loopback`: it came in at a loopback address; `listener` is the door's URL.
    """

    __slots__ = (
        "_layers",
        "_settle",
        "address",
        "application",
        "listener",
        "loopback",
        "over",
        "peer_address",
        "secure",
        "trusted_proxies",
        "waits",
    )

    def __init__(
        self,
        layers: Layers,
        settle: Callable[[], None],
        address: str,
        peer_address: str,
        listener: str,
        secure: bool,
        loopback: bool,
        trusted_proxies: Networks,
    ) -> None:
        self._layers = layers
        self._settle = settle
        self.address = address
        self.peer_address = peer_address
        self.listener = listener
        self.secure = secure
        self.loopback = loopback
        self.trusted_proxies = trusted_proxies
        self.application: HttpApplication | None = None
        self.over = False  # everything is said
        self.waits = False  # some of it has not left

    # -- The application

    def send(self, data: bytes) -> bool:
        """Let `data` leave; whether all has left already. If not, wait for `drained` before there is more."""
        if self.over:
            return True
        self.waits = True
        self._layers.say(data)
        self._settle()
        return not self.waits

    def finish(self) -> None:
        """Everything is said: the connection is closed when it has left."""
        if not self.over:
            self.over = True
            self._layers.say(b"")
            self._settle()

    def pause(self) -> None:
        """Read no more of the peer for now: a body is not taken as fast as it comes."""
        if self._layers.door is not None:
            self._layers.door.pause()

    def resume(self) -> None:
        if self._layers.door is not None and not self._layers.connection.peer_is_done:
            self._layers.door.resume()

    # -- The connection

    def left(self) -> None:
        """Nothing waits any more."""
        if self.waits:
            self.waits = False
            if self.application is not None:
                self.application.drained()

    def gone(self) -> None:
        """The Network Connection has ended."""
        self.over = True
        application, self.application = self.application, None
        if application is not None:
            application.closed()


# Begins with each connection that asks for something else than a WebSocket.
HttpService = Callable[[HttpLine], HttpApplication]
