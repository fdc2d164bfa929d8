"""What a broker says of its own process, once a second, in `$SYS/broker/process/`: for where we cannot look ourselves.

A Client of its own listens, beside those that are measured. A figure counts for the moment at which it arrives; the
retained one that comes first may be a second old and says only that there are such figures. What is asked of a Meter
can be asked here too, but now is not at hand: `fresh` waits for the next figure.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import trio

from broker.bench.identity import asking
from broker.bench.processes import Usage
from broker.client import ClientError

if TYPE_CHECKING:
    from broker.bench.comparison import Subject
    from broker.bench.workload import Workload
    from broker.client import Message

TOPICS: Final = "$SYS/broker/process/+"
CPU: Final = "$SYS/broker/process/cpu"  # seconds, user and system; the last of the two that come
MEMORY: Final = "$SYS/broker/process/memory"  # resident bytes
PATIENCE: Final = 1.0  # seconds for the retained ones
NEXT: Final = 2.0  # seconds for the next ones, of a broker that is busy too

_COVERED: Final = 0.6  # share of a span that is enough to speak for the whole
_LEAST: Final = 0.4  # seconds of a span that must be seen at all


class SysMeter:
    """Of the broker of one Subject. `run` listens until it is cancelled or the connection has ended."""

    latency: Final = 1.2  # seconds that `fresh` takes at most, of a broker that is not late

    def __init__(self) -> None:
        self.told = False  # whether the broker says anything
        self._memory = 0
        self._samples: list[Usage] = []
        self._arrived = trio.Event()
        self._ended = False

    async def run(
        self, subject: Subject, workload: Workload, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Started when it is known whether there are such figures: then `told` says so; else this ends at once."""
        known = False
        with trio.CancelScope(deadline=trio.current_time() + PATIENCE) as scope:
            try:
                async with asking(subject, workload) as client, client.subscribe(TOPICS) as messages:
                    async for message in messages:
                        self._take(message)
                        if self.told and not known:
                            known = True
                            scope.deadline = math.inf
                            task_status.started()
            except (ClientError, OSError, ValueError):
                pass  # why it cannot be reached is for the run itself to find out
        self._ended = True
        self._arrived.set()
        if not known:
            task_status.started()

    def _take(self, message: Message) -> None:
        try:
            value = float(message.payload)
        except ValueError:
            return
        if not 0 <= value < math.inf:
            return
        if message.topic == MEMORY:
            self._memory = int(value)
        elif message.topic == CPU:
            self.told = True
            if not message.retain:
                self._samples.append(Usage(time.monotonic(), value, self._memory))
                self._arrived.set()
                self._arrived = trio.Event()

    def look(self) -> Usage | None:
        """The newest figures; None where none have come yet."""
        return self._samples[-1] if self._samples else None

    async def look_at(self, moment: float) -> None:
        """Nothing: the broker chooses its moments."""

    async def fresh(self) -> Usage | None:
        """The next figures; None where they do not come."""
        return await self._first_from(time.monotonic())

    async def cost(self, begin: float, end: float) -> tuple[float | None, int | None]:
        """CPU seconds between two moments of time.monotonic(), and resident bytes at the end; None where not known.

        The load is taken to have been even from `begin` to `end`, and none to have followed. So figures from within
        speak for the whole where they lie far enough apart; where they do not, the next one behind `end` is waited for.
        """
        inside = [each for each in self._samples if begin <= each.at <= end]
        if not inside:
            return None, None
        first, last = inside[0], inside[-1]
        rss = last.rss or None
        span = last.at - first.at
        if span < _COVERED * (end - begin):
            behind = await self._first_from(end)
            span = end - first.at
            if behind is None:
                return None, rss
            last = behind
        if span < min(_LEAST, end - begin):
            return None, rss
        return (last.cpu - first.cpu) * (end - begin) / span, rss

    async def _first_from(self, moment: float) -> Usage | None:
        with trio.move_on_after(NEXT):
            while not self._ended and (not self._samples or self._samples[-1].at < moment):
                await self._arrived.wait()
        place = bisect_left(self._samples, moment, key=lambda usage: usage.at)
        return self._samples[place] if place < len(self._samples) else None
