"""The Client's half of the opening handshake (RFC 6455 section 4.1): a request to send, and the answer's examination.

h11 reads the answer's head, the `websockets` package judges it. Send `request`, feed what comes back until `done`; then
`leftover` already belongs to the frames. An answer that opens no WebSocket raises `HandshakeRefused`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import h11
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_BYTES: Final = 16 * 1024
BODY_BYTES: Final = 2 * 1024  # of a refusal, kept for its reader
SHOWN: Final = 240  # characters of it that are told


class HandshakeRefused(Exception):
    """The Server opened no WebSocket: `status` is that of HTTP, 0 when no such answer came; `text` says why.

    `text` is one line, whatever the Server said: of a page its title.
    """

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = in_one_line(text)
        super().__init__(f"HTTP status {status}: {self.text}" if status else self.text)


def in_one_line(text: str) -> str:
    """What a web server said: of a page its title, of anything else its words."""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    plain = title[1] if title is not None else re.sub(r"<[^>]*>", " ", text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= SHOWN else f"{plain[: SHOWN - 1]}…"


class ClientHandshake:
    """One opening handshake with the Server `host` at `port`; `path` may have a query.

    `subprotocols` are offered in that order ([MQTT-6.0.0-3]: `mqtt` among them); `headers` are added to the request.
    """

    __slots__ = ("_body", "_parser", "_protocol", "_response", "done", "leftover", "request", "subprotocol")

    def __init__(
        self,
        host: str,
        port: int,
        path: str = "/mqtt",
        *,
        secure: bool = False,
        subprotocols: Sequence[str] = ("mqtt",),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        bare, _, query = path.partition("?")
        offered = [Subprotocol(name) for name in subprotocols]
        self._protocol = ClientProtocol(WebSocketURI(secure, host, port, bare, query), subprotocols=offered or None)
        request = self._protocol.connect()
        fields = [*request.headers.raw_items(), *headers]
        self._parser = h11.Connection(h11.CLIENT, HEAD_BYTES)
        sent = self._parser.send(h11.Request(method="GET", target=request.path, headers=fields))
        self._parser.send(h11.EndOfMessage())
        self._response: h11.Response | None = None
        self._body = b""
        self.request: bytes = sent or b""
        self.done: bool = False
        self.leftover: bytes = b""
        self.subprotocol: str | None = None

    def feed(self, data: bytes) -> bool:
        """Take the bytes of one read, b"" for the end of the stream; whether the WebSocket is open.

        Raises `HandshakeRefused` when the answer is another or none.
        """
        if self.done:
            self.leftover += data
            return True
        try:
            self._parser.receive_data(data)
            self._events()
        except h11.RemoteProtocolError as error:
            if self._response is not None:
                self._refused(self._response)
            why = f"the answer is not HTTP: {error}" if data else "the connection was closed before the answer"
            raise HandshakeRefused(0, why) from error
        return self.done

    def _events(self) -> None:
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    self._opened(event)
                    return
            elif isinstance(event, h11.Response):
                self._response = event
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            if self._response is not None and (len(self._body) > BODY_BYTES or isinstance(event, h11.EndOfMessage)):
                self._refused(self._response)
            if event is h11.NEED_DATA:
                return

    def _opened(self, event: h11.InformationalResponse) -> None:
        fields = Headers((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
        try:
            self._protocol.process_response(Response(101, "", fields))
        except InvalidHandshake as error:
            raise HandshakeRefused(101, f"the answer breaks the WebSocket protocol: {error}") from error
        self.subprotocol = self._protocol.subprotocol
        self.leftover = self._parser.trailing_data[0]
        self.done = True

    def _refused(self, response: h11.Response) -> None:
        text = self._body[:BODY_BYTES].decode("utf-8", "replace").strip()
        raise HandshakeRefused(response.status_code, text or response.reason.decode("latin-1"))
