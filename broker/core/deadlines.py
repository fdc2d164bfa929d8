"""What is due when.

Keep Alive is asked of every connection all the time, so it must cost nothing per packet: a connection stands in the
bucket of the second in which it *could* be overdue; when that second comes, a look at its last packet either ends it or
moves it on. Rare things (wills, expiry, handshakes) stand in a heap; an entry that is no longer true when it comes up
is simply not acted on, which is cheaper than taking it out.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.core.connection import Connection

WILL: Final = 0
SESSION_EXPIRY: Final = 1
HANDSHAKE: Final = 2
RETAINED_EXPIRY: Final = 3
SYS: Final = 4


class Deadlines:
    """A heap of (time, number, kind, subject). The number keeps the order of equals and subjects out of comparisons."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, object]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, kind: int, subject: object) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, kind, subject))

    def next(self) -> float:
        """When the first one is due; infinity where nothing is."""
        return self._heap[0][0] if self._heap else math.inf

    def due(self, now: float) -> list[tuple[float, int, object]]:
        """Take out what is due at `now`: (time, kind, subject), in order of time."""
        result: list[tuple[float, int, object]] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, kind, subject = heapq.heappop(self._heap)
            result.append((at, kind, subject))
        return result


class KeepAliveRing:
    """Connections by the second in which their Keep Alive could run out."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[Connection]] = {}
        self._seconds: list[int] = []  # a heap of the keys

    def add(self, connection: Connection, at: float) -> None:
        second = math.ceil(at)
        bucket = self._buckets.get(second)
        if bucket is None:
            self._buckets[second] = [connection]
            heapq.heappush(self._seconds, second)
        else:
            bucket.append(connection)

    def next(self) -> float:
        return float(self._seconds[0]) if self._seconds else math.inf

    def due(self, now: float) -> list[Connection]:
        result: list[Connection] = []
        while self._seconds and self._seconds[0] <= now:
            result.extend(self._buckets.pop(heapq.heappop(self._seconds)))
        return result
