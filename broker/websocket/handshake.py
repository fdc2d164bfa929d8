"""The HTTP head that opens a WebSocket (RFC 6455 section 4.2), or asks for a page.

The law of this file: one head is read, of bounded size, and one thing comes of it, the door's `outcome`:

- ``reading``: the head is not whole yet;
- ``upgraded``: send `response` (101); `leftover` already belongs to the frames;
- ``request``: a plain HTTP request; `door.respond()` is the answer, or pass `received` on to an HTTP server;
- ``refused``: send `response`, then close. `reason` is for the log.

h11 parses the head, the `websockets` package judges the upgrade; in between stands what is ours to decide: sizes,
paths, origins and subprotocols. The ordinary head of an ordinary client needs neither (`broker.websocket.upgrade`).
Nothing is raised for a peer's fault.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11
from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from broker.websocket.deflate import Agreement, BadOffer, extensions, negotiate
from broker.websocket.forwarded import Networks, forwarded, is_loopback, parsed_address
from broker.websocket.origins import origins_of
from broker.websocket.pages import UPGRADE_REQUIRED, HttpRequest, answer, respond, strict_transport
from broker.websocket.upgrade import LIST_ELEMENTS, ordinary_upgrade

if TYPE_CHECKING:
    from collections.abc import Sequence

READING: Final = "reading"
UPGRADED: Final = "upgraded"
REQUEST: Final = "request"
REFUSED: Final = "refused"

REQUEST_LINE_BYTES: Final = 8 * 1024
HEADER_FIELDS: Final = 64

_LISTS: Final = ("connection", "upgrade", "sec-websocket-protocol", "sec-websocket-extensions")
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HOST: Final = re.compile(
    r"(?:\[(?P<address>[^\]]+)\]|(?:[\w.~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})*+)(?::[0-9]*)?", re.ASCII
)


class _Upgrade(ServerProtocol):
    """The package's rules of the upgrade with our choice of a subprotocol. One serves all connections of a setting:
    it is asked for its verdict only, and a connection so leaves no cycle of references behind."""

    def __init__(self, subprotocols: tuple[str, ...], require_subprotocol: bool) -> None:
        super().__init__()
        self._spoken = tuple(Subprotocol(name) for name in subprotocols)
        self._required = require_subprotocol

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """`choose`, or the refusal that says what to offer."""
        chosen = self.choose(subprotocols)
        if chosen is not None:
            return Subprotocol(chosen) if chosen else None
        expected = ", ".join(self._spoken)
        if subprotocols:
            raise NegotiationError(f"none of the subprotocols offered is spoken here; offer one of: {expected}")
        raise NegotiationError(f"no subprotocol is offered; Sec-WebSocket-Protocol must offer one of: {expected}")

    def choose(self, offered: Sequence[str]) -> str | None:
        """One of those offered, so that exactly it is echoed [MQTT-6.0.0-4]; the Client's list has any order.

        [MQTT-6.0.0-3] obliges the Client to offer; small devices do not, and are let in, with the empty string for
        their subprotocol, unless the setting is strict. None where nobody is let in so.
        """
        for name in self._spoken:
            if name in offered:
                return name
        return None if offered or self._required else ""


@lru_cache(maxsize=64)
def _upgrade_of(subprotocols: tuple[str, ...], require_subprotocol: bool) -> _Upgrade:
    return _Upgrade(subprotocols, require_subprotocol)


class HttpDoor:
    """One head of HTTP, of a connection just accepted.

    `paths` are those of the WebSocket endpoint; `subprotocols` in order of preference, of which the first that the
    Client offers is taken; `origins` as in `broker.websocket.origins`; `head_bytes` bounds the head. `secure` says that
    the connection is TLS of ours, `loopback` that it came in at a loopback address. With `compression` an offer of
    permessage-deflate is taken up, with `context_takeover` so that windows are kept between messages where the Client
    likes that too; what was agreed on stands in the attribute `compression`. `peer_address` is whom the connection
    comes from, and `client_address` then whom the request does: another only where the peer is one of `trusted_proxies`
    and says so, as `broker.websocket.forwarded` reads it.
    """

    __slots__ = (
        "_compressing",
        "_context_takeover",
        "_head_bytes",
        "_loopback",
        "_origins",
        "_paths",
        "_peer_address",
        "_searched",
        "_secure",
        "_trusted_proxies",
        "_upgrade",
        "client_address",
        "compression",
        "headers",
        "leftover",
        "outcome",
        "path",
        "query",
        "reason",
        "received",
        "request",
        "response",
        "subprotocol",
        "target",
    )

    def __init__(
        self,
        paths: Sequence[str] = ("/mqtt", "/"),
        subprotocols: Sequence[str] = ("mqtt", "mqttv3.1"),
        require_subprotocol: bool = False,
        origins: Sequence[str] = ("same-origin",),
        head_bytes: int = 16 * 1024,
        secure: bool = False,
        loopback: bool = False,
        compression: bool = False,
        context_takeover: bool = False,
        peer_address: str = "",
        trusted_proxies: Networks = (),
    ) -> None:
        self._paths = paths
        self._upgrade = _upgrade_of(tuple(subprotocols), require_subprotocol)
        self._origins = origins_of(tuple(origins))
        self._head_bytes = head_bytes
        self._secure = secure
        self._loopback = loopback
        self._compressing = compression
        self._context_takeover = context_takeover
        self._peer_address = peer_address
        self._trusted_proxies = trusted_proxies
        self._searched = 0  # bytes of `received` in which no blank line begins

        self.outcome: str = READING
        self.received: bytes = b""  # all that was fed
        self.leftover: bytes = b""  # what came behind the head
        self.response: bytes = b""  # to send, when upgraded or refused
        self.reason: str = ""  # of a refusal
        self.subprotocol: str | None = None
        self.compression: Agreement | None = None
        self.target: str = ""  # path and query
        self.path: str = ""
        self.query: str = ""
        self.headers: dict[str, str] = {}  # names in lower case
        self.client_address: str = peer_address
        self.request: HttpRequest | None = None

    def feed(self, data: bytes) -> None:
        """Take the bytes of one read and set `outcome`; behind a whole head everything is `leftover`."""
        self.received += data
        if self.outcome != READING:
            self.leftover += data
            return
        received = self.received
        if not received:
            return
        if received[0] < 0x21:
            self._refuse(400, _guess(received[0]))
            return
        end = _BLANK_LINE.search(received, self._searched)
        if (received.find(b"\n", 0, REQUEST_LINE_BYTES)) < 0 and len(received) >= REQUEST_LINE_BYTES:
            self._refuse(414, f"The request line is longer than {REQUEST_LINE_BYTES} bytes.")
        elif (len(received) if end is None else end.end()) > self._head_bytes:
            self._refuse(431, f"The head is larger than {self._head_bytes} bytes.")
        elif end is None:
            self._searched = max(0, len(received) - 2)
        else:
            self.leftover = received[end.end() :]
            self._head(received[: end.end()])

    @property
    def secure(self) -> bool:
        """Whether the request came over TLS, be it to a trusted proxy."""
        return self._secure

    @property
    def loopback(self) -> bool:
        """Whether it came in at a loopback address, and from there where a trusted proxy says whence."""
        return self._loopback

    def respond(self) -> bytes:
        """The answer to a plain `request`; then close."""
        if self.request is None:
            raise RuntimeError("there is no plain HTTP request to answer")
        return respond(self.request, self._paths, self._secure)

    def _head(self, head: bytes) -> None:
        upgrade = ordinary_upgrade(head)
        if upgrade is not None and upgrade.path in self._paths and valid_host(upgrade.headers["host"]):
            given = upgrade.headers
            self._hear_proxy(given)
            subprotocol = self._upgrade.choose(upgrade.offered)
            if subprotocol is not None and self._welcome(given):
                agreed = self._agree(given)
                if agreed is not None:
                    self.target, self.path, self.query = upgrade.target, upgrade.path, upgrade.query
                    self.headers = given
                    self.subprotocol = subprotocol or None
                    self.response = upgrade.response(subprotocol, agreed)
                    self.outcome = UPGRADED
                    return
        if head.count(b"\n") > HEADER_FIELDS + 2:
            self._refuse(431, f"There are more than {HEADER_FIELDS} header fields.")
            return
        if _CONTROLS.search(head):  # h11 lets most of them pass in field values, which end in logs and other programs
            self._refuse(400, "There is a control character in the head.")
            return
        parser = h11.Connection(h11.SERVER, self._head_bytes)
        try:
            parser.receive_data(head)
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, f"This is not HTTP/1.1: {error}.")
            return
        assert isinstance(event, h11.Request), "a whole head is a request or an error"
        if not event.http_version.startswith(b"1."):
            self._refuse(505, "This is not HTTP/1.1.")
            return
        fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers]
        headers: dict[str, str] = {}
        for name, value in fields:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if not valid_host(headers.get("host", "")):
            self._refuse(400, f"The Host {headers['host'][:200]!a} is neither a name nor an address.")
            return
        self._hear_proxy(headers)
        self.headers = headers
        target = event.target.decode("ascii")
        if not target.startswith("/"):  # the absolute form, which a Server must take too: RFC 9112 section 3.2.2
            target = _relative(target)
        self.target = target
        self.path, _, self.query = target.partition("?")
        if "transfer-encoding" in headers and "content-length" in headers:
            self._refuse(400, "Transfer-Encoding and Content-Length contradict each other.")
        elif "sec-websocket-key" in headers or _names_websocket(headers.get("upgrade", "")):
            method, version = event.method.decode("ascii"), event.http_version.decode("ascii")
            self._handshake(Request(target, Headers(fields), method, f"HTTP/{version}"))
        else:
            self.outcome = REQUEST
            self.request = HttpRequest(event.method.decode("ascii"), self.path, self.query, headers)

    def _handshake(self, request: Request) -> None:
        headers = self.headers
        for name in _LISTS:
            if headers.get(name, "").count(",") >= LIST_ELEMENTS:
                self._refuse(431, f"The header field {name} has more than {LIST_ELEMENTS} elements.")
                return
        if self.path not in self._paths:
            self._refuse(404, f"There is no MQTT at {self.path[:200]!a}. It is at: {', '.join(self._paths)}")
            return
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            self._refuse(400, "A WebSocket handshake has no body.")
            return
        if not self._welcome(headers):
            self._refuse(
                403,
                f"A page of the Origin {headers.get('origin', '')[:200]!a} may not connect here. "
                "Pages allowed are named in the setting `origins` of this listener.",
            )
            return
        if headers.get("sec-websocket-version", "13") != "13":
            wanted = ("Sec-WebSocket-Version", "13")
            self._refuse(426, "Only version 13 of WebSocket is spoken here.", [wanted, *UPGRADE_REQUIRED])
            return
        verdict = self._upgrade.accept(request)
        if verdict.status_code == 101:
            agreed = self._agree(headers)
            if agreed is None:
                self._refuse(400, "The header field Sec-WebSocket-Extensions is malformed.")
                return
            if agreed:
                verdict.headers["Sec-WebSocket-Extensions"] = agreed
            self.subprotocol = verdict.headers.get("Sec-WebSocket-Protocol")
            self.response = verdict.serialize()
            self.outcome = UPGRADED
            return
        reason = bytes(verdict.body).decode("utf-8").partition("\n")[0]
        if verdict.status_code == 426:
            hint = " A proxy in between must pass Upgrade and Connection on."
            self._refuse(426, reason + hint, UPGRADE_REQUIRED)
        elif verdict.status_code == 405:
            self._refuse(405, reason, [("Allow", "GET")])
        else:
            self._refuse(verdict.status_code, reason)

    def _hear_proxy(self, headers: dict[str, str]) -> None:
        """Let a trusted proxy say whom a request comes from, how, and for which host, which `headers` then name."""
        if not self._trusted_proxies:
            return
        told = forwarded(headers, self._peer_address, self._trusted_proxies)
        if told.address != self._peer_address:
            self.client_address = told.address
            self._loopback = is_loopback(told.address)
        if told.scheme:
            self._secure = told.scheme == "https"
        if told.host:
            headers["host"] = told.host

    def _welcome(self, headers: dict[str, str]) -> bool:
        """Whether a page of the request's Origin may come in."""
        return self._origins.allow(headers.get("origin"), headers.get("host", ""), self._secure, self._loopback)

    def _agree(self, headers: dict[str, str]) -> str | None:
        """The Sec-WebSocket-Extensions of the answer, "" for none; None where the Client's is malformed, which it may
        not be even where nothing would be taken up (RFC 6455 section 9.1)."""
        offers = headers.get("sec-websocket-extensions")
        if offers is None:
            return ""
        try:
            if self._compressing:
                self.compression = negotiate(offers, self._context_takeover)
            else:
                extensions(offers)
        except BadOffer:
            return None
        return self.compression.header if self.compression is not None else ""

    def _refuse(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.outcome = REFUSED
        reason = reason if reason.isprintable() else ascii(reason)[1:-1]  # it may quote the request, and goes to a log
        self.reason = reason
        promise = strict_transport(self.headers.get("host", ""), self._secure)
        head = self.received.startswith(b"HEAD ")  # also where the request was not understood any further
        self.response = answer(status, reason + "\n", headers=(*headers, *promise), head=head)


def valid_host(host: str) -> bool:
    """Whether a Host field says what one may say: RFC 9110 section 7.2 and RFC 3986 section 3.2.2. It may be empty."""
    match = _HOST.fullmatch(host)
    return match is not None and (match["address"] is None or parsed_address(match["address"]) is not None)


def _names_websocket(upgrade: str) -> bool:
    return any(token.strip().lower() == "websocket" for token in upgrade.split(","))


def _relative(target: str) -> str:
    try:
        parts = urlsplit(target)
    except ValueError:
        return target
    if parts.scheme.lower() not in ("http", "https"):
        return target
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _guess(first: int) -> str:
    """What a first byte that cannot begin an HTTP request probably is."""
    if first == 0x10:
        return "This is MQTT without WebSocket; this port takes MQTT over WebSocket."
    if first == 0x16:
        return "This is TLS; this port is not encrypted."
    return "This is not HTTP."
