"""One HTTP request and its response: h11 on the one side, ASGI 3 on the other.

The application is called in a Trio task and cancelled when the peer goes away. What it does wrong is no business of
the peer's: a response that has not begun becomes a 500 without a word of the inside, one that has begun is cut off, and
both leave a line in the log. A body is read as the application takes it: no more than `BUFFERED` bytes wait, and a peer
that stops in the middle of one is told 408.
"""

from __future__ import annotations

import logging
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import h11
import trio

from broker.transport.complaints import log
from broker.websocket.forwarded import forwarded, is_loopback
from broker.websocket.pages import SECURITY, answer, strict_transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence
    from typing import TypeAlias

    from broker.transport.http import HttpLine
    from broker.web.heads import Head

    Message: TypeAlias = MutableMapping[str, Any]
    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

CALLER: Final = "triomq.caller"  # of the scope: a Caller
BUFFERED: Final = 64 * 1024  # bytes of a body above which the peer waits
BODY_SILENCE: Final = 10.0  # seconds within which more of a body has to come
BODY_WHOLE: Final = 120.0  # seconds within which all of it has to

_OWN: Final = frozenset((b"connection", b"date", b"keep-alive", b"transfer-encoding"))  # ours to say
_SECURITY: Final = tuple((name.lower().encode(), value.encode()) for name, value in SECURITY)
_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}
_CLOSE: Final = (b"connection", b"close")


class Caller:
    """Whom one request comes from: `address` as transports name a peer, and `host`, the name that was called.

    `secure`: over TLS, ours or that of a trusted proxy; `loopback`: it came in at a loopback address; `listener` is the
    door's URL; `proxied`: there may be a proxy between, so that `loopback` need not be the whole truth.
    """

    __slots__ = ("address", "host", "listener", "loopback", "proxied", "secure")

    def __init__(self, line: HttpLine, head: Head) -> None:
        self.listener = line.listener
        self.proxied = bool(line.trusted_proxies)
        self.address, self.secure, self.loopback = line.address, line.secure, line.loopback
        self.host = head.fields.get("host", "")
        if self.proxied:  # it may ask for many on one connection
            told = forwarded(head.fields, line.peer_address, line.trusted_proxies)
            self.address = told.address
            if told.address != line.peer_address:
                self.loopback = is_loopback(told.address)
            if told.scheme:
                self.secure = told.scheme == "https"
            self.host = told.host or self.host


class Exchange:
    """See the module. Bodies above `body_bytes` are refused with 413."""

    def __init__(self, line: HttpLine, parser: h11.Connection, head: Head, body_bytes: int) -> None:
        self._line = line
        self._caller = Caller(line, head)
        self._parser = parser
        self._head = head
        self._body_bytes = body_bytes
        self.last = False  # the connection ends with this response
        self._scope = trio.CancelScope()
        self._came = trio.Event()  # something has happened that `receive` may wait for
        self._room: trio.Event | None = None  # what was sent has left
        self._waiting = 0  # bytes that h11 was given since it last wanted more
        self._paused = False
        self._taken = 0  # bytes of the body
        self._whole = False  # the end of the body has come
        self._told = False  # the application knows that
        self._away = False  # the peer sends no more
        self._gone = False  # the peer is not there any more
        self._refused: tuple[int, str] | None = None
        self._body_by = 0.0
        self._start: Message | None = None
        self._begun = False  # some of the response has left
        self._over = False  # all of it has
        if head.length <= 0 and parser.their_state is h11.SEND_BODY and not head.chunked:
            self._whole = type(parser.next_event()) is h11.EndOfMessage

    # -- The connection

    def receive(self, data: bytes) -> None:
        """Bytes behind the head."""
        self._parser.receive_data(data)
        self._waiting += len(data)
        if self._waiting > BUFFERED and not self._paused:
            self._paused = True
            self._line.pause()
        self._came.set()

    def eof(self) -> None:
        """The peer sends no more; a response is still wanted, unless half a request is all that there will be."""
        self._away = True
        self._parser.receive_data(b"")
        self._came.set()

    def drained(self) -> None:
        if self._room is not None:
            self._room.set()

    def closed(self) -> None:
        self._gone = self._away = True
        self._scope.cancel()

    @property
    def whole(self) -> bool:
        """Whether the request has come to its end."""
        return self._whole

    @property
    def rest(self) -> bytes:
        """What came behind what was read of this request."""
        return bytes(self._parser.trailing_data[0])

    # -- The application

    async def run(self, app: AsgiApp) -> bool:
        """Have `app` answer; whether another request may follow on this connection."""
        self._body_by = trio.current_time() + BODY_WHOLE
        fault: Exception | None = None
        try:
            with self._scope:
                if self._head.length > self._body_bytes:
                    await self._end(413, self._too_large())
                await app(self._asgi_scope(), self._receive, self._send)
        except Exception as error:
            fault = error
        if self._gone:
            return False
        if self._paused:
            self._line.resume()
        if self._refused is not None:
            if not self._begun:
                self._say(*self._refused)
            return False
        if fault is not None or not self._over:
            self._complain(fault)
            if not self._begun:
                self._say(500, "Something went wrong here; the log of the broker says what.")
            return False
        if self.last:
            return False
        return self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE

    def _asgi_scope(self) -> Scope:
        head, caller = self._head, self._caller
        host, _, port = caller.address.rpartition(":")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": head.version,
            "method": head.method,
            "scheme": "https" if caller.secure else "http",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "client": (host.strip("[]"), int(port)) if port.isdecimal() else None,
            "server": None,
            CALLER: caller,
        }

    async def _receive(self) -> Message:
        """The next piece of the body; after its end, and once the peer has gone, http.disconnect."""
        if self._told:
            while not (self._away or self._over):
                await self._hear()
            return {"type": "http.disconnect"}
        if self._parser.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self._line.send(self._parser.send(go_on) or b"")
        while not self._whole:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                if not self._away:
                    return await self._end(error.error_status_hint, "The body of the request is malformed.")
                event = h11.NEED_DATA
            if event is h11.NEED_DATA:
                if self._away:
                    self.closed()
                    await trio.lowlevel.checkpoint()
                    return {"type": "http.disconnect"}
                if not await self._more():
                    return await self._end(408, "The body of the request did not come in time.")
            elif isinstance(event, h11.Data):
                self._taken += len(event.data)
                if self._taken > self._body_bytes:
                    return await self._end(413, self._too_large())
                await trio.lowlevel.checkpoint()
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            else:
                self._whole = True
        self._told = True
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _more(self) -> bool:
        """Wait for more of the body; whether it came in time."""
        self._waiting = 0
        if self._paused:
            self._paused = False
            self._line.resume()
        with trio.move_on_at(min(trio.current_time() + BODY_SILENCE, self._body_by)) as waiting:
            await self._hear()
        return not waiting.cancelled_caught

    async def _hear(self) -> None:
        self._came = trio.Event()
        await self._came.wait()

    async def _end(self, status: int, text: str) -> Message:
        """End the application here and now; the peer is told why."""
        self._refused = (status, text)
        self._scope.cancel()
        await trio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    def _too_large(self) -> str:
        return f"A body may have {self._body_bytes} bytes here."

    # -- The response

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self._start is not None:
                raise RuntimeError("the response has begun before")
            self._start = message
            if self._head.method != "HEAD" and not _has_length(message):
                self._put(self._begin(message))  # the head of a stream does not wait for its first piece
        elif kind == "http.response.body":
            if self._start is None or self._over:
                raise RuntimeError("a body is not expected now")
            data = b"" if self._begun else self._begin(self._start)
            body = bytes(message.get("body", b""))
            if body and self._has_body(self._start):
                data += self._parser.send(h11.Data(data=body)) or b""
            if not message.get("more_body", False):
                data += self._parser.send(h11.EndOfMessage()) or b""
                self._over = True
                self._came.set()
            self._room = trio.Event()
            if data and not self._put(data) and not self._over:
                await self._room.wait()
        else:
            raise RuntimeError(f"{kind!r} is not known here")
        await trio.lowlevel.checkpoint()

    def _put(self, data: bytes) -> bool:
        """Send; whether all has left."""
        if self._gone:
            return True
        self._begun = True
        return self._line.send(data)

    def _begin(self, message: Message) -> bytes:
        """The head of the response."""
        fields = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
        if not self._whole or (b"connection", b"close") in fields:
            self.last = True  # what is left of a body that nobody has read could not be told from the next request
        headers = [(name, value) for name, value in fields if name not in _OWN]
        headers.append((b"date", formatdate(usegmt=True).encode()))
        said = {name for name, _ in headers}
        headers += [(name, value) for name, value in _SECURITY if name not in said]
        headers += [(name.lower().encode(), value.encode()) for name, value in self._strict()]
        if b"upgrade" in said:  # of a 426: RFC 9110 section 7.8
            headers.append((b"connection", b"upgrade"))
        if self.last:
            headers.append(_CLOSE)
        status = int(message["status"])
        response = h11.Response(status_code=status, headers=headers, reason=_PHRASES.get(status, ""))
        return self._parser.send(response) or b""

    def _has_body(self, message: Message) -> bool:
        return self._head.method != "HEAD" and message["status"] not in (204, 304)

    def _say(self, status: int, text: str) -> None:
        """Answer in place of the application, and let that be the last."""
        self._put(answer(status, f"{text}\n", headers=self._strict(), head=self._head.method == "HEAD"))

    def _strict(self) -> Sequence[tuple[str, str]]:
        return strict_transport(self._caller.host, self._caller.secure)

    def _complain(self, fault: Exception | None) -> None:
        where = f"{self._head.method} {self._head.raw_path[:200].decode('ascii', 'replace')}"
        if fault is None:
            log.error("a bug in answering %s: the response was not finished", where)
        else:
            log.log(logging.ERROR, "a bug in answering %s", where, exc_info=fault)


def _has_length(message: Message) -> bool:
    return any(bytes(name).lower() == b"content-length" for name, _ in message.get("headers", ()))
