"""The head of one HTTP/1 request: where it ends, and whether it may be answered.

Whatever two programs could read in two ways is refused (RFC 9112 section 11.2): a request with both Transfer-Encoding
and Content-Length, control characters, a Host that is none. h11 parses; sizes and what it lets pass are looked at here.
The bounds are those of the WebSocket handshake, which has read the first head of a connection before.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import h11

from broker.websocket.handshake import HEADER_FIELDS, REQUEST_LINE_BYTES, valid_host

HEAD_BYTES: Final = 16 * 1024

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")


class BadHead(Exception):
    """A request that is answered with `status` and one line, after which the connection is closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Head:
    """One head. `path` is decoded, `raw_path` as it came; `length` is the Content-Length, -1 where there is none.
    `headers` are as they came, names in lower case; in `fields` repeated ones are joined with a comma.
    """

    __slots__ = ("chunked", "fields", "headers", "length", "method", "path", "query", "raw_path", "version")

    def __init__(self, request: h11.Request) -> None:
        self.method = request.method.decode("ascii")
        self.version = request.http_version.decode("ascii")
        self.headers = [(bytes(name), bytes(value)) for name, value in request.headers]
        target = _relative(bytes(request.target))
        self.raw_path, _, self.query = target.partition(b"?")
        self.fields: dict[str, str] = {}
        for name, value in self.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            self.fields[key] = f"{self.fields[key]}, {text}" if key in self.fields else text
        self.chunked = "transfer-encoding" in self.fields
        self.length = int(self.fields.get("content-length", "-1"))
        if self.chunked and (self.length >= 0 or self.version == "1.0"):
            raise BadHead(400, "Transfer-Encoding contradicts Content-Length, or the version.")
        try:
            self.path = unquote_to_bytes(self.raw_path).decode("utf-8")
        except UnicodeDecodeError:
            raise BadHead(400, "The path is not UTF-8.") from None
        if self.method == "CONNECT" or not self.raw_path.startswith(b"/"):
            raise BadHead(400, "A request names a path of this server.")
        if not valid_host(self.fields.get("host", "")):
            raise BadHead(400, f"The Host {self.fields['host'][:200]!a} is neither a name nor an address.")


def end_of_head(received: bytes, searched: int = 0) -> int:
    """How long the head is that `received` begins with; 0 while it is not whole. `searched` bytes hold no end.

    Raises BadHead for what is too long.
    """
    end = _BLANK_LINE.search(received, max(0, searched - 2))
    if received.find(b"\n", 0, REQUEST_LINE_BYTES) < 0 and len(received) >= REQUEST_LINE_BYTES:
        raise BadHead(414, f"The request line is longer than {REQUEST_LINE_BYTES} bytes.")
    if (len(received) if end is None else end.end()) > HEAD_BYTES:
        raise BadHead(431, f"The head is larger than {HEAD_BYTES} bytes.")
    return 0 if end is None else end.end()


def read_head(head: bytes) -> tuple[h11.Connection, Head]:
    """The request that `head`, up to its blank line, is, and the parser for what follows. Raises BadHead."""
    if head.count(b"\n") > HEADER_FIELDS + 2:
        raise BadHead(431, f"There are more than {HEADER_FIELDS} header fields.")
    if _CONTROLS.search(head):
        raise BadHead(400, "There is a control character in the head.")
    parser = h11.Connection(h11.SERVER, HEAD_BYTES)
    try:
        parser.receive_data(head)
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise BadHead(error.error_status_hint, f"This is not HTTP/1.1: {str(error)[:200]}.") from None
    if not isinstance(event, h11.Request):
        raise BadHead(400, "This is not HTTP/1.1.")
    if not event.http_version.startswith(b"1."):
        raise BadHead(505, "This is not HTTP/1.1.")
    return parser, Head(event)


def _relative(target: bytes) -> bytes:
    """A target in its absolute form, which a Server must take too, without the origin: RFC 9112 section 3.2.2."""
    if target.startswith(b"/"):
        return target
    try:
        parts = urlsplit(target.decode("ascii"))
    except ValueError:
        return target
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return target
    return ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode("ascii")
