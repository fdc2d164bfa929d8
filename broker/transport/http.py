"""Plain HTTP on a connection that might have become a WebSocket: who answers, and what it is given for that.

The request stays in its Layers: what comes (out of TLS, behind a PROXY header) is handed to the HttpApplication, and
what that says goes the way of all bytes, with the write stall timeout and everything else that bounds a slow reader.
An application never sends from within `receive`, `eof`, `drained` or `closed`: they are told, and a task answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.transport.layers import Layers


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


class HttpLine:
    """One Network Connection, as its HttpApplication sees it.

    `address` is whom the requests come from, as a trusted proxy may have said; `secure`, whether over TLS; `loopback`,
    whether at a loopback address; `listener` is that of the door.
    """

    __slots__ = ("_layers", "_settle", "address", "listener", "loopback", "secure")

    def __init__(
        self, layers: Layers, settle: Callable[[], None], address: str, listener: str, secure: bool, loopback: bool
    ) -> None:
        self._layers = layers
        self._settle = settle
        self.address = address
        self.listener = listener
        self.secure = secure
        self.loopback = loopback

    def send(self, data: bytes) -> int:
        """Let `data` leave. How many bytes wait then: `drained` comes when there are none, at once if it is 0."""
        return self._layers.say(data, self._settle)

    def finish(self) -> None:
        """Everything is said: the connection is closed when it has left."""
        self._layers.finish(self._settle)

    def pause(self) -> None:
        """Read no more of the peer for now: a body is not taken as fast as it comes."""
        self._layers.read(False)

    def resume(self) -> None:
        self._layers.read(True)


# Begins with each connection that asks for something else than a WebSocket.
HttpService = "Callable[[HttpLine], HttpApplication]"
