"""HTTP/1 on the connections of WebSocket listeners: one request after the other, each answered by an ASGI application.

A connection between two requests is this small object and no task. One request is read at a time: what is pipelined
behind it waits, bounded, until it is answered. Times that run while nobody works for a connection (for the next
request, for the rest of a head, for a peer to take a refusal) are looked at once a second, all together.

Connections and requests at once are bounded: whoever comes beyond that is told 503, and the listener's MQTT goes on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from broker.transport.complaints import log
from broker.web.exchange import BUFFERED, Exchange
from broker.web.heads import BadHead, end_of_head, read_head
from broker.websocket.pages import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    import h11

    from broker.transport.http import HttpLine
    from broker.web.exchange import AsgiApp
    from broker.web.heads import Head

IDLE: Final = 60.0  # seconds within which the next request has to begin
HEAD: Final = 10.0  # seconds within which a head has to be whole
LINGER: Final = 2.0  # seconds in which a peer that still sends may read why it should not
CONNECTIONS: Final = 1000
REQUESTS: Final = 200
IN_A_ROW: Final = 100  # requests of one connection, so that a pipeline without end has one
BODY_BYTES: Final = 1024 * 1024

_READY: Final = 0  # the next request may come
_BUSY: Final = 1
_LINGERING: Final = 2  # all is said: what comes is thrown away
_OVER: Final = 3


class Bridge:
    """See the module. A service of HTTP connections: call it with an HttpLine. Its tasks run in `nursery`."""

    def __init__(
        self,
        app: AsgiApp,
        nursery: trio.Nursery,
        body_bytes: int = BODY_BYTES,
        connections: int = CONNECTIONS,
        requests: int = REQUESTS,
    ) -> None:
        self.app = app
        self.body_bytes = body_bytes
        self.requests = requests
        self.connections = connections
        self.open: dict[HttpConnection, None] = {}
        self.busy = 0  # requests that are being answered
        self.answered = 0  # requests ever
        self.refused = 0  # connections and requests that were one too many
        self.stopping = False
        self._nursery = nursery
        self._watching = False

    def __call__(self, line: HttpLine) -> HttpConnection:
        """A connection has begun to speak HTTP."""
        if len(self.open) >= self.connections:
            idle = next((each for each in self.open if each.idle), None)
            if idle is not None:
                del self.open[idle]
                self.start(idle.time_is_up)
        connection = HttpConnection(self, line)
        self.open[connection] = None
        if not self._watching:
            self._watching = True
            self._nursery.start_soon(self._watch)
        return connection

    def start(self, work: Callable[[], object]) -> None:
        """Have a task do it: nothing is sent from within what the transport calls."""
        self._nursery.start_soon(_call, work)

    def stop(self) -> None:
        """No more requests: connections between two of them end now, the others when theirs is answered."""
        self.stopping = True
        for connection in list(self.open):
            connection.stop()

    def answer(self, connection: HttpConnection, parser: h11.Connection, head: Head) -> None:
        self._nursery.start_soon(connection.answer, parser, head)

    async def _watch(self) -> None:
        while self.open:
            await trio.sleep(1)
            now = trio.current_time()
            for connection in list(self.open):
                if connection.deadline <= now:
                    connection.time_is_up()
        self._watching = False


class HttpConnection:
    """One connection, for the transport an HttpApplication."""

    __slots__ = ("_answered", "_bridge", "_eof", "_exchange", "_line", "_received", "_searched", "_state", "deadline")

    def __init__(self, bridge: Bridge, line: HttpLine) -> None:
        self._bridge = bridge
        self._line = line
        self._exchange: Exchange | None = None
        self._received = b""
        self._searched = 0
        self._state = _READY
        self._eof = False
        self._answered = 0
        self.deadline = trio.current_time() + HEAD

    @property
    def idle(self) -> bool:
        return self._state == _READY and not self._received

    # -- The transport

    def receive(self, data: bytes) -> None:
        if self._state > _BUSY:
            return
        if self._exchange is not None:
            self._exchange.receive(data)
            return
        if not self._received and self._state == _READY:
            self.deadline = trio.current_time() + HEAD
        self._received += data
        if self._state == _READY:
            self._next()
        elif len(self._received) > BUFFERED:  # a task is on its way
            self._line.pause()

    def eof(self) -> None:
        self._eof = True
        if self._exchange is not None:
            self._exchange.eof()
        elif self._state != _BUSY:
            self._bridge.start(self._finish)

    def drained(self) -> None:
        if self._exchange is not None:
            self._exchange.drained()

    def closed(self) -> None:
        self._state = _OVER
        self._bridge.open.pop(self, None)
        if self._exchange is not None:
            self._exchange.closed()

    # -- Requests

    def _next(self) -> None:
        """Have the next request answered, if its head is there."""
        try:
            found = self._head()
        except BadHead as bad:
            self._refuse(bad.status, bad.text)
            return
        if found is None:
            return
        parser, head = found
        bridge = self._bridge
        if len(bridge.open) > bridge.connections or bridge.busy >= bridge.requests:
            bridge.refused += 1
            self._refuse(503, "Too many requests are being answered; try again.", (("Retry-After", "1"),))
            return
        self._state = _BUSY
        self.deadline = math.inf
        bridge.busy += 1
        bridge.answer(self, parser, head)

    def _head(self) -> tuple[h11.Connection, Head] | None:
        """The head that the bytes received begin with, if it is whole. Raises BadHead."""
        received = self._received
        if received[:2] == b"\r\n":  # one blank line before a request is let pass: RFC 9112 section 2.2
            received = self._received = received[2:]
        end = end_of_head(received, self._searched)
        if not end:
            self._searched = len(received)
            return None
        self._searched = 0
        self._received = received[end:]
        return read_head(received[:end])

    async def answer(self, parser: h11.Connection, head: Head) -> None:
        """Answer a request, in a task of its own."""
        bridge = self._bridge
        exchange = Exchange(self._line, parser, head, bridge.body_bytes)
        self._answered += 1
        exchange.last = bridge.stopping or self._answered >= IN_A_ROW
        goes_on = False
        try:
            if self._state != _BUSY:
                return
            self._exchange = exchange
            if self._received:
                received, self._received = self._received, b""
                exchange.receive(received)
            if self._eof:
                exchange.eof()
            goes_on = await exchange.run(bridge.app)
        except Exception as error:  # a bug of ours ends this connection and no other
            log.error("a bug in an HTTP connection", exc_info=error)
        finally:
            self._exchange = None
            bridge.busy -= 1
            bridge.answered += 1
        if self._state == _OVER:
            return
        self._received = exchange.rest
        if not goes_on or bridge.stopping or self._answered >= IN_A_ROW:
            if exchange.whole and not self._received:
                self._finish()
            else:
                self._linger()
            return
        self._state = _READY
        self.deadline = trio.current_time() + (HEAD if self._received else IDLE)
        if self._received:
            self._next()
        if self._eof and self._state == _READY:
            self._finish()

    # -- The end

    def _refuse(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        head = self._received.startswith(b"HEAD ")
        said = answer(status, f"{text}\n", headers=headers, head=head)
        self._state = _BUSY
        self._received = b""
        self._bridge.start(lambda: self._say(said))

    def _say(self, said: bytes) -> None:
        if self._state != _OVER:
            self._line.send(said)
            self._linger()

    def _linger(self) -> None:
        """All is said. Who still sends would lose that if the connection were closed on him: he has a moment."""
        self._received = b""
        if self._eof:
            self._finish()
        else:
            self._state = _LINGERING
            self.deadline = trio.current_time() + LINGER

    def _finish(self) -> None:
        if self._state != _OVER:
            self._state = _OVER
            self.deadline = math.inf
            self._bridge.open.pop(self, None)
            self._line.finish()

    def stop(self) -> None:
        """This is the end, or the request that is being answered is the last one."""
        if self._exchange is not None:
            self._exchange.last = True
        elif self._state in (_READY, _LINGERING):
            self._finish()

    def time_is_up(self) -> None:
        """The deadline is past."""
        if self._state == _READY and self._received:
            self._refuse(408, "The head of the request did not come in time.")
        elif self._state in (_READY, _LINGERING):
            self._finish()


async def _call(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:  # a bug of ours must not end the broker
        log.error("a bug in an HTTP connection", exc_info=error)
