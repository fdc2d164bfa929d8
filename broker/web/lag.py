"""How long whoever is due has to wait for its turn: the lag of the broker's one loop.

A task sleeps for a quarter of a second and looks how much longer it took: as long as that, everybody waited. It adds to
what the transport measures of itself, so that what is told here and in `$SYS` is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from broker.core.latency import Histogram

INTERVAL: Final = 0.25  # seconds


class LoopLag:
    """Times in seconds."""

    def __init__(self, kept: Histogram) -> None:
        self._kept = kept

    async def run(self) -> None:
        """Measure, for ever."""
        due = trio.current_time()
        while True:
            due += INTERVAL
            await trio.sleep_until(due)
            now = trio.current_time()
            self._kept.record(now - due, 1, now)
            due = now

    def percentile(self, part: float) -> float:
        """That of the last minute; 0.0 where nothing has been measured."""
        return self._kept.recent(trio.current_time()).quantile(part)

    def figures(self) -> dict[str, float] | None:
        """As the API gives them, of the last minute."""
        if not self._kept.used:
            return None
        figures = self._kept.recent(trio.current_time()).figures()
        return {name: figures[name] for name in ("p50_ms", "p99_ms", "max_ms")}
