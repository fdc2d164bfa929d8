"""Where a Server is: `mqtt://host:1883`, `ws://host:8080/mqtt`, the same with TLS (`mqtts`, `wss`), `unix:/path`.

User name and password may stand in front of the host, percent-encoded; `str()` of an `Endpoint` leaves them out, so
that it may be logged.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
DEFAULT_PATH: Final = "/mqtt"
_ALIASES: Final = {"tcp": "mqtt"}
_USER_INFORMATION: Final = re.compile("//[^/]*@")


class Endpoint:
    """A parsed URL. `scheme` is "mqtt", "mqtts", "ws", "wss" or "unix".

    `path` is the request target of a WebSocket (with its query) or the path of a Unix socket; of `mqtt` and `mqtts` it
    is what the URL had, for those who name a topic there. `user_name` and `password` are None where the URL has none.
    """

    __slots__ = ("host", "password", "path", "port", "scheme", "user_name")

    def __init__(
        self,
        scheme: str,
        host: str = "",
        port: int = 0,
        path: str = "",
        user_name: str | None = None,
        password: str | None = None,
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.user_name = user_name
        self.password = password

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme in ("mqtts", "wss")

    @property
    def websocket(self) -> bool:
        """Whether MQTT travels in WebSocket frames there."""
        return self.scheme in ("ws", "wss")

    @property
    def authority(self) -> str:
        """Host and port, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}{self.path}"


def parse(url: str) -> Endpoint:
    """The `Endpoint` that `url` names; ValueError, which says what is wrong, when it names none."""
    shown = _USER_INFORMATION.sub("//", url)  # a password is shown to nobody
    scheme, colon, rest = url.partition(":")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if colon and scheme == "unix":
        return _unix(shown, rest)
    if not rest.startswith("//") or scheme not in DEFAULT_PORTS:
        raise ValueError(f"{shown!r} is none of mqtt://host:port, ws://host:port/path, mqtts://, wss://, unix:/path")
    parts = urlsplit(url)
    host = parts.hostname
    if not host:
        raise ValueError(f"{shown!r} names no host")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{shown!r}: {error}") from None
    if parts.fragment:
        raise ValueError(f"{shown!r} has a fragment, which names nothing here")
    path = parts.path
    if scheme in ("ws", "wss"):
        path = path or DEFAULT_PATH
        if parts.query:
            path = f"{path}?{parts.query}"
        if not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError(f"{shown!r}: percent-encode the path")
    elif parts.query:
        raise ValueError(f"{shown!r} has a query, which {scheme}:// does not know")
    return Endpoint(
        scheme,
        host,
        port or DEFAULT_PORTS[scheme],
        path,
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
    )


def _unix(shown: str, rest: str) -> Endpoint:
    path = rest[2:] if rest.startswith("//") else rest
    if not path.startswith("/"):
        raise ValueError(f"{shown!r}: a Unix socket is named by its whole path, unix:/run/broker.sock")
    return Endpoint("unix", path=unquote(path))
