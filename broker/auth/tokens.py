"""Where the token of a CONNECT stands, and how a target is shown without it.

A CONNECT with a password has its token there or has none: nothing else is looked at, so that no leftover of a browser
decides about somebody who has typed a password. Without one, and only where the setting names them, a token is taken

1. from a parameter of the WebSocket upgrade's target, `/mqtt?token=...`: a page put it there on purpose. It is seen by
   every proxy on the way and may stand in its log.
2. from a cookie of the upgrade. A browser sends it whichever page asks, so it counts only where the Origin header is
   there and names the scheme, host and port that the Host header names. Without an Origin it does not count: every
   browser sends one with an upgrade, and a program can write a password.

What is given more than once could be two people's and is worth nothing. Sec-WebSocket-Protocol is never a place for a
token: a Server must answer with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from broker.websocket.origins import host_and_port, normal_origin

if TYPE_CHECKING:
    from broker.core.ports import Peer
    from broker.packets.types import Connect

PASSWORD: Final = "password"
PARAMETER: Final = "query parameter"
COOKIE: Final = "cookie"

PARAMETERS: Final = 64  # in one target
SHOWN_CHARACTERS: Final = 200  # of a target in a log

HIDDEN: Final = "***"


class Token:
    """What was found and where; `value` is empty where the place was there and gave no single token."""

    __slots__ = ("source", "value")

    def __init__(self, value: bytes, source: str) -> None:
        self.value = value
        self.source = source


def find(connect: Connect, peer: Peer, parameter: str = "", cookie: str = "") -> Token | None:
    """The token that came with this CONNECT. `parameter` and `cookie` are names; "" is a place not looked at."""
    if connect.password is not None:
        return Token(connect.password, PASSWORD)
    if parameter:
        given = _of_target(peer.target, parameter)
        if given:
            return Token(_only(given), PARAMETER)
    if cookie:
        given = _of_cookies(peer.headers.get("cookie", ""), cookie)
        if given and is_same_origin(peer.headers, peer.transport == "wss"):
            return Token(_only(given), COOKIE)
    return None


def is_same_origin(headers: dict[str, str], secure: bool) -> bool:
    """Whether the page that asked has the scheme, host and port that it asked for: RFC 6454 section 5, and no exception
    for pages of this machine, for cookies do not tell ports apart. Names in `headers` are in lower case; `secure`: the
    connection is TLS of ours, and the page has to be https.

    Without TLS of ours a proxy may have ended it, and the scheme is taken from the page.
    """
    origin, host = headers.get("origin", ""), headers.get("host", "")
    if host_and_port(host) is None:
        return False
    page = normal_origin(origin)
    return page == normal_origin(f"https://{host}") or (not secure and page == normal_origin(f"http://{host}"))


def redacted(target: str) -> str:
    """A target for the eyes of a log: every parameter keeps its name and loses its value, because a token in a
    parameter with a mistyped name is one as well. Cut to a bounded length; controls and what is not ASCII are escaped.
    """
    path, mark, query = target.partition("?")
    shown = "&".join(_hidden(part) for part in query.split("&")) if mark else ""
    return ascii((path + mark + shown)[:SHOWN_CHARACTERS])[1:-1]


def _hidden(part: str) -> str:
    name, equals, value = part.partition("=")
    if equals:
        return name + equals + (HIDDEN if value else "")
    return HIDDEN if name else ""  # a parameter without a name: its text may be the token


def _of_target(target: str, parameter: str) -> list[str]:
    try:
        pairs = parse_qsl(target.partition("?")[2], keep_blank_values=True, max_num_fields=PARAMETERS)
    except ValueError:  # more than anybody needs
        return []
    return [value for name, value in pairs if name == parameter]


def _of_cookies(header: str, cookie: str) -> list[str]:
    """The values of one name in a Cookie header (RFC 6265 section 4.2.1)."""
    pairs = (part.strip(" \t").partition("=") for part in header.split(";"))
    return [value for name, equals, value in pairs if equals and name == cookie]


def _only(given: list[str]) -> bytes:
    return given[0].encode("utf-8", "replace") if len(given) == 1 else b""
