"""The broker as its HTTP side sees it: figures to read, and the few things that may be done.

Floor 3 knows no configuration and no server: whoever puts a broker together hands these in.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from broker.core.broker import Broker
    from broker.transport.listeners import Listener
    from broker.web.bridge import Bridge
    from broker.web.lag import LoopLag


class ReloadRefused(Exception):
    """The new configuration has mistakes, one a line, and the old one stays."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = list(mistakes)


class Reloads:
    """How often the configuration was read anew, and whether that went wrong the last time."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0
        self.last_failed = False

    def add(self, *, succeeded: bool) -> None:
        """It was read once more."""
        self.succeeded += succeeded
        self.failed += not succeeded
        self.last_failed = not succeeded


class System:
    """See the module.

    `settle` is to be called after everything that may have given Clients something, with the time of the core.
    `compare` is the command line of `broker bench compare`, where it may be run.
    `folder` is where something may be kept from one start to the next.
    `names` are those of listeners, by URL. `store` says how the data folder fares: state, durability, path, free_bytes.
    `reload` reads the configuration anew and tells what has changed, or raises ReloadRefused. `effective` tells each
    setting in force as (value, source), without secrets. `logged_out` hears of each user who logs out.
    `reloads` counts the readings, whoever asked for them.
    """

    def __init__(
        self,
        broker: Broker,
        listeners: Sequence[Listener],
        settle: Callable[[float], None],
        *,
        names: Mapping[str, str] | None = None,
        build: str = "plain",
        store: Callable[[], dict[str, object] | None] | None = None,
        reload: Callable[[], Awaitable[Sequence[str]]] | None = None,
        reloads: Reloads | None = None,
        effective: Callable[[], Mapping[str, tuple[object, str]]] | None = None,
        logged_out: Callable[[str], None] | None = None,
        compare: Sequence[str] | None = None,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.broker = broker
        self.listeners = listeners
        self.settle = settle
        self.names = dict(names or {})
        self.build = build
        self.store = store
        self.reload = reload
        self.reloads = reloads
        self.effective = effective
        self.logged_out = logged_out
        self.compare = compare
        self.folder = folder
        self.clock = clock
        self.started = clock()
        self.bridge: Bridge | None = None
        self.lag: LoopLag | None = None

    def listener_name(self, listener: Listener) -> str:
        """What a configuration calls it, else its URL."""
        return self.names.get(listener.url) or listener.url

    def paths(self, url: str) -> tuple[str, ...]:
        """Where a listener has its WebSocket endpoint."""
        for listener in self.listeners:
            if listener.url == url:
                return tuple(listener.limits.websocket_paths)
        return ()

    def usage(self) -> tuple[float, int]:
        """CPU seconds of the process and its resident bytes, 0 where they are not known."""
        process = self.broker.process
        return process() if process is not None else (time.process_time(), 0)
