"""Where the dashboard is, for whoever starts a broker or checks a configuration; or plainly why there is none.

Nothing of what answers over HTTP is imported for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from broker.transport.listeners import shown_host
from broker.web.static import is_built

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from broker.config import WebConfig

OFF: Final = "switched off ('dashboard = true' in [web] switches it on)"
NO_LISTENER: Final = "none, for no listener speaks HTTP (one of the type ws or auto does)"
NOT_BUILT: Final = "none, for this installation was built without it (a wheel of TrioMQ has it, 'make ui' builds it)"


class Door(Protocol):
    """What there is to know of a listener, open or only configured."""

    @property
    def type(self) -> str: ...
    @property
    def host(self) -> str | None: ...
    @property
    def port(self) -> int | None: ...
    @property
    def tls(self) -> object: ...


def page_urls(web: WebConfig, doors: Iterable[Door], folder: Path | None = None) -> list[str]:
    """The URL of the dashboard on each listener that has it; none where it is absent, as `why_absent` says.

    `folder` is that of the built page, by default the installation's.
    """
    if not web.dashboard or not is_built(folder):
        return []
    return [_url(door) for door in doors if _speaks_http(door)]


def why_absent(web: WebConfig, doors: Iterable[Door]) -> str:
    """Why there are no URLs, and what helps."""
    if not web.dashboard:
        return OFF
    return NOT_BUILT if any(_speaks_http(door) for door in doors) else NO_LISTENER


def where_the_page_is(web: WebConfig, doors: Iterable[Door], folder: Path | None = None) -> str:
    """The same as a line for people."""
    known = list(doors)
    return ", ".join(page_urls(web, known, folder)) or why_absent(web, known)


def _speaks_http(door: Door) -> bool:
    return door.type in ("ws", "auto")


def _url(door: Door) -> str:
    return f"{'http' if door.tls is None else 'https'}://{shown_host(door.host or '')}:{door.port}/"
