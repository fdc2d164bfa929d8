"""Which web pages may open a WebSocket to this broker: the Origin header against a listener's `origins`.

A browser lets any page open a WebSocket to any address and sends the page's Origin with it; it is the Server that must
look (RFC 6455 section 10.2). A program that is no browser sends none, or whatever it likes, so a request without an
Origin is let in. The entries of `origins`:

- ``same-origin``: the Origin's host and port are those of the Host header, ports left out standing for the scheme's.
  A page on this machine (``localhost``, ``127.0.0.1``, ``[::1]``, at any port) may always reach a broker that it calls
  by such a name: a page in the making is served by another port. At a connection that came in at a loopback address
  *only* such pages are let in: a stranger's page can give its own name the address 127.0.0.1 (DNS rebinding), and then
  its Origin and Host are equal. A broker behind a reverse proxy of the same machine needs its public origin listed.
- an origin, such as ``https://dashboard.example``: that one, compared as a whole; case and default port do not count.
- anything else, such as ``null`` or ``capacitor://localhost``: that very text.
- ``*``: every page.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

SAME_ORIGIN: Final = "same-origin"
ANY: Final = "*"

_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))
_AUTHORITY: Final = r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
_HOST: Final = re.compile(_AUTHORITY)
_ORIGIN: Final = re.compile(r"(https?)://" + _AUTHORITY)


class Origins:
    """The setting `origins` of a listener, ready to be asked."""

    __slots__ = ("_any", "_exact", "_same")

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._any = ANY in allowed
        self._same = SAME_ORIGIN in allowed
        self._exact = frozenset(normal_origin(origin) for origin in allowed)

    def allow(self, origin: str | None, host: str, secure: bool = False, loopback: bool = False) -> bool:
        """Whether a page of `origin` may come in. `host` is the Host header; `secure`: this connection is TLS of
        ours; `loopback`: it came in at a loopback address."""
        if origin is None or self._any:
            return True
        if origin not in (SAME_ORIGIN, ANY) and normal_origin(origin) in self._exact:
            return True
        return self._same and _is_same(origin, host, secure, loopback)


@lru_cache(maxsize=64)
def origins_of(allowed: tuple[str, ...]) -> Origins:
    """The `Origins` of a setting; made once, as a listener asks for it at every connection."""
    return Origins(allowed)


def normal_origin(origin: str) -> str:
    """An http or https origin in lower case and without the scheme's own port; any other text as it is."""
    match = _ORIGIN.fullmatch(_lower(origin))
    if match is None:
        return origin
    scheme, host, port = match.groups()
    if port is None or int(port) == _default_port(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}"


def host_and_port(host: str) -> tuple[str, int | None] | None:
    """A Host header as lower-case name and port; None when it is neither a name nor an address."""
    match = _HOST.fullmatch(_lower(host))
    if match is None:
        return None
    name, port = match.groups()
    return name, None if port is None else int(port)


def _lower(text: str) -> str:
    """ASCII in lower case. The lower case of the Kelvin sign is the letter k: all other text stays as it is."""
    return text.lower() if text.isascii() else text


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _is_same(origin: str, host: str, secure: bool, loopback: bool) -> bool:
    match = _ORIGIN.fullmatch(_lower(origin))
    called = host_and_port(host)
    if match is None or called is None:
        return False
    scheme, page, page_port = match.groups()
    name, port = called
    if page in _LOOPBACK and name in _LOOPBACK:
        return True
    if loopback or (secure and scheme != "https"):
        return False
    # Without TLS of ours a proxy may have ended it: the scheme of the page then tells which port a bare Host means.
    default = _default_port(scheme)
    return page == name and (default if page_port is None else int(page_port)) == (default if port is None else port)
