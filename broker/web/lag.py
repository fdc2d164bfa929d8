"""How long whoever is due has to wait for its turn: the lag of the broker's one loop.

A task sleeps for a quarter of a second and looks how much longer it took: as long as that, everybody waited. The last
minute is kept.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

INTERVAL: Final = 0.25  # seconds
KEPT: Final = 240


class LoopLag:
    """Times in seconds."""

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=KEPT)
        self.longest = 0.0  # ever

    async def run(self) -> None:
        """Measure, for ever."""
        due = trio.current_time()
        while True:
            due += INTERVAL
            await trio.sleep_until(due)
            now = trio.current_time()
            self.add(now - due)
            due = now

    def add(self, lag: float) -> None:
        self._kept.append(lag)
        self.longest = max(self.longest, lag)

    def percentile(self, part: float) -> float:
        """That of the last minute; 0.0 where nothing has been measured."""
        kept = sorted(self._kept)
        return kept[min(len(kept) - 1, int(part * len(kept)))] if kept else 0.0

    def figures(self) -> dict[str, float] | None:
        """As the API gives them, of the last minute."""
        if not self._kept:
            return None
        parts = (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0))
        return {name: round(self.percentile(part) * 1000, 3) for name, part in parts}
