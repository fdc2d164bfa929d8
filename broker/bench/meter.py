"""Watches the broker's process while runs go on, and tells afterwards what any span of time has cost.

Samples are taken every tenth of a second, and at moments that somebody asks for; between two samples cost is taken to
have grown evenly. So what is wanted should begin and end at a sample, or where the load is the same on both sides.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from typing import Final

import trio

from broker.bench.processes import NoSuchProcess, Processes, Usage

_INTERVAL: Final = 0.1 if sys.platform == "linux" else 0.5  # seconds; elsewhere each sample runs `ps`


class Meter:
    """Of one process and its descendants. `run` samples until it is cancelled or the process has ended."""

    latency: Final = 0.0  # seconds that `fresh` takes

    def __init__(self, pid: int) -> None:
        """NoSuchProcess where there is none."""
        self._processes = Processes(pid)
        self._samples: list[Usage] = [self._processes.read()]

    async def run(self) -> None:
        while True:
            if self.look() is None:
                return
            await trio.sleep(_INTERVAL)

    def look(self) -> Usage | None:
        """A sample of now; None when the process has ended."""
        try:
            usage = self._processes.read()
        except NoSuchProcess:
            return None
        self._samples.append(usage)
        return usage

    async def look_at(self, moment: float) -> None:
        """A sample at `moment` of time.monotonic()."""
        await trio.sleep(max(0.0, moment - time.monotonic()))
        self.look()

    async def fresh(self) -> Usage | None:
        """The same as `look`, for who would wait too."""
        return self.look()

    async def cost(self, begin: float, end: float) -> tuple[float | None, int | None]:
        """CPU seconds between two moments of time.monotonic(), and resident bytes at the end; None where not known."""
        self.look()
        return self.cpu_between(begin, end), self.rss_at(end)

    def cpu_between(self, begin: float, end: float) -> float | None:
        """CPU seconds between two moments of time.monotonic(); None where that time was not watched."""
        if not self._samples[0].at <= begin <= end <= self._samples[-1].at:
            return None
        return self._cpu_at(end) - self._cpu_at(begin)

    def _cpu_at(self, moment: float) -> float:
        place = bisect_left(self._samples, moment, key=lambda usage: usage.at)
        after = self._samples[place]
        if place == 0 or after.at == moment:
            return after.cpu
        before = self._samples[place - 1]
        share = (moment - before.at) / (after.at - before.at)
        return before.cpu + share * (after.cpu - before.cpu)

    def rss_at(self, moment: float) -> int:
        """Resident bytes in the last sample until `moment`; of the first where that is earlier."""
        place = bisect_left(self._samples, moment, key=lambda usage: usage.at)
        return self._samples[max(0, min(place, len(self._samples)) - 1)].rss
