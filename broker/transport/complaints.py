"""Logging what a stranger can make happen as often as he likes: a line a kind every ten seconds, with a count."""

from __future__ import annotations

import logging
from typing import Final

INTERVAL: Final = 10.0  # seconds between two lines of one kind

log = logging.getLogger("broker")


class Complaints:
    """`complain(kind, ...)` logs the first of its kind at once and counts the rest until the interval is over."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def complain(self, now: float, level: int, kind: str, text: str) -> None:
        last = self._last.get(kind)
        if last is not None and now - last < INTERVAL:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        held = self._held.pop(kind, 0)
        self._last[kind] = now
        log.log(level, "%s%s", text, f" (and {held} more like it)" if held else "")
