"""What is due when.

Keep Alive is asked of every connection all the time, so it must cost nothing per packet: a connection stands in the
bucket of the second in which it *could* be overdue; when that second comes, a look at its last packet either ends it or
moves it on. Rare things (wills, expiry, handshakes) stand in a heap; an entry that is no longer true when it comes up
is simply not acted on, which is cheaper than taking it out. But an entry holds on to its subject, a retained message
with its payload say, and may be due in years: so when the heap has doubled, those no longer true are swept out.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.connection import Connection

WILL: Final = 0
SESSION_EXPIRY: Final = 1
HANDSHAKE: Final = 2
RETAINED_EXPIRY: Final = 3
SYS: Final = 4
PROCESS: Final = 5
GRANT_EXPIRY: Final = 6
TAKEOVERS: Final = 7
AUDIT: Final = 8

SWEEP_FROM: Final = 1024  # entries below which a sweep is not worth it (a guess)


class Deadlines:
    """A heap of (time, number, kind, subject). The number keeps the order of equals and subjects out of comparisons."""

    def __init__(self) -> None:
        self.first = math.inf  # when the first one is due; infinity where nothing is
        self._heap: list[tuple[float, int, int, object]] = []
        self._number = 0
        self._sweep_at = SWEEP_FROM

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, kind: int, subject: object) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, kind, subject))
        self.first = self._heap[0][0]

    def due(self, now: float) -> list[tuple[float, int, object]]:
        """Take out what is due at `now`: (time, kind, subject), in order of time."""
        result: list[tuple[float, int, object]] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, kind, subject = heapq.heappop(self._heap)
            result.append((at, kind, subject))
        self.first = self._heap[0][0] if self._heap else math.inf
        return result

    def crowded(self) -> bool:
        """Whether there are twice as many entries as the last sweep left."""
        return len(self._heap) >= self._sweep_at

    def sweep(self, true: Callable[[float, int, object], bool]) -> None:
        """Take out the entries (time, kind, subject) that are not `true` any more; the others keep their order."""
        self._heap = [entry for entry in self._heap if true(entry[0], entry[2], entry[3])]
        heapq.heapify(self._heap)
        self.first = self._heap[0][0] if self._heap else math.inf
        self._sweep_at = max(SWEEP_FROM, 2 * len(self._heap))


class KeepAliveRing:
    """Connections by the second in which their Keep Alive could run out. One that ends is taken out."""

    def __init__(self) -> None:
        self.first = math.inf  # the first second that has a bucket; infinity where there is none
        self._buckets: dict[int, dict[Connection, None]] = {}
        self._seconds: list[int] = []  # a heap of the keys

    def add(self, connection: Connection, at: float) -> None:
        second = connection.keep_alive_second = math.ceil(at)
        bucket = self._buckets.get(second)
        if bucket is None:
            self._buckets[second] = {connection: None}
            heapq.heappush(self._seconds, second)
            self.first = float(self._seconds[0])
        else:
            bucket[connection] = None

    def remove(self, connection: Connection) -> None:
        """Take it out; its not being there is no error."""
        bucket = self._buckets.get(connection.keep_alive_second)
        if bucket is not None:
            bucket.pop(connection, None)

    def due(self, now: float) -> list[Connection]:
        result: list[Connection] = []
        while self._seconds and self._seconds[0] <= now:
            result.extend(self._buckets.pop(heapq.heappop(self._seconds)))
        self.first = float(self._seconds[0]) if self._seconds else math.inf
        return result
