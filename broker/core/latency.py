"""How long messages take, in log-linear buckets, cheap enough to be measured always.

A record is an index and a few additions; a quantile is at most 1.6 % off, and at most an eighth of a microsecond. What
was recorded in the last minute is known apart from what was recorded ever: every few seconds the buckets in use become
a slice of that minute and are added to the whole.

Two latencies are kept, by transport and QoS:

    written         from when a PUBLISH was received until the socket had taken it for a receiver
    acknowledged    from when it was received until its PUBACK or PUBREC was given out

A message is not timed alone. What one round of the transport has read it was received at the beginning of that round,
and what leaves at the end of the same round is as old as the round, whoever came first in it. So an outbox only counts,
and a round costs one look at a clock. What a slow reader's socket did not take is recorded when it leaves, as old as
the oldest that waited with it. What waits for the Store is as old as its batch; an acknowledgement is timed from its
own round. A message of the broker's own, be it a Will Message, counts from when it was made.

What waits in a Session is not counted as written: for a Client who is away or whose send quota is used up, retained
messages, and what is sent again. That is the receiver's time. An acknowledgement is given out when it is in the outbox.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from broker.packets.types import PUBACK, PUBREC

TICKS: Final = 4e6  # a second: the finest that is told apart
EXACT: Final = 64  # values below it have a bucket each; above it each power of two is cut into half as many
HALF: Final = 32
BUCKETS: Final = HALF * 28  # up to 1,073 s
WINDOW: Final = 60.0  # seconds
SLICE: Final = 5.0  # seconds of it that are kept together
BOUNDS: Final = tuple(50e-6 * 2**power for power in range(19))  # of `cumulative`: 50 us to 13 s, each the edge of one


class Slice:
    """What was recorded in some seconds: bucket to count."""

    __slots__ = ("counts", "end", "maximum")

    def __init__(self, end: float, maximum: float, counts: dict[int, int]) -> None:
        self.end = end
        self.maximum = maximum
        self.counts = counts


class Distribution:
    """Counts by bucket, to be read. Times in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.count = 0
        self.maximum = 0.0

    def merge(self, other: Distribution) -> None:
        """Take in what `other` has."""
        for index, count in enumerate(other.counts):
            self.counts[index] += count
        self.count += other.count
        self.maximum = max(self.maximum, other.maximum)

    def quantile(self, part: float) -> float:
        """The seconds that `part` (0 to 1) of all are not above; 0.0 where nothing was recorded."""
        wanted = max(1.0, part * self.count)
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(_middle(index), self.maximum)
        return self.maximum

    def figures(self) -> dict[str, float]:
        """As people read it: milliseconds."""
        result: dict[str, float] = {}
        for name, part in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99)):
            result[name] = round(self.quantile(part) * 1000, 3)
        result["max_ms"] = round(self.maximum * 1000, 3)
        result["count"] = self.count
        return result

    def cumulative(self) -> list[tuple[float, int]]:
        """(bound in seconds, how many are below it) for each of BOUNDS."""
        result = []
        seen = index = 0
        for bound in BOUNDS:
            while index < BUCKETS and _end(index) <= bound * (1 + 1e-9):
                seen += self.counts[index]
                index += 1
            result.append((bound, seen))
        return result


class Histogram:
    """Records seconds; read it by `recent` and `ever`. It takes memory when the first is recorded. `total` is the sum
    of all that was ever recorded."""

    def __init__(self) -> None:
        self.total = 0.0
        self._now: list[int] = []  # counts since `_turn_at` - SLICE
        self._before: list[int] = []
        self._maximum = 0.0  # of `_now`
        self._maximum_before = 0.0
        self._turn_at = 0.0
        self._slices: deque[Slice] = deque()

    def record(self, seconds: float, count: int, now: float) -> None:
        """`count` times `seconds`; below 0 counts as 0, and what is too long for any bucket is in the last one."""
        if now >= self._turn_at:
            self._turn(now)
        ticks = int(seconds * TICKS) if seconds > 0.0 else 0
        row = 0
        while ticks >= EXACT:
            ticks >>= 1
            row += HALF
        row += ticks
        self._now[row if row < BUCKETS else BUCKETS - 1] += count
        if seconds > self._maximum:
            self._maximum = seconds
        if seconds > 0.0:
            self.total += seconds * count

    @property
    def used(self) -> bool:
        """Whether anything was ever recorded."""
        return bool(self._now)

    def _turn(self, now: float) -> None:
        """A new slice begins."""
        if not self._now:
            self._now = [0] * BUCKETS
            self._before = [0] * BUCKETS
        counts = {}
        for index, count in enumerate(self._now):
            if count:
                counts[index] = count
                self._now[index] = 0
                self._before[index] += count
        if counts:
            self._slices.append(Slice(self._turn_at, self._maximum, counts))
            self._maximum_before = max(self._maximum_before, self._maximum)
            self._maximum = 0.0
        self._turn_at = now + SLICE
        while self._slices and self._slices[0].end <= now - WINDOW:
            self._slices.popleft()

    def recent(self, now: float) -> Distribution:
        """What was recorded in the last WINDOW seconds, and up to SLICE seconds before."""
        result = Distribution()
        if self._now and self._turn_at > now - WINDOW:
            result.counts = self._now[:]
            result.count = sum(self._now)
            result.maximum = self._maximum
        for each in self._slices:
            if each.end > now - WINDOW:
                for index, count in each.counts.items():
                    result.counts[index] += count
                    result.count += count
                result.maximum = max(result.maximum, each.maximum)
        return result

    def ever(self) -> Distribution:
        """All that was recorded."""
        result = Distribution()
        if self._now:
            result.counts = [before + now for before, now in zip(self._before, self._now, strict=True)]
            result.count = sum(result.counts)
            result.maximum = max(self._maximum, self._maximum_before)
        return result


class Latency:
    """Of one transport. `written` and `acknowledged` are by QoS; nothing acknowledges QoS 0.

    `fresh_*` and `given_*` count what has left outboxes, and which acknowledgements were put into them, since `settle`.
    """

    def __init__(self) -> None:
        self.written = (Histogram(), Histogram(), Histogram())
        self.acknowledged = (Histogram(), Histogram(), Histogram())
        self.fresh_0 = 0
        self.fresh_1 = 0
        self.fresh_2 = 0
        self.given_1 = 0
        self.given_2 = 0

    def give(self, answer: bytes) -> None:
        """An acknowledgement is put out in the round of what it answers."""
        kind = answer[0] >> 4
        if kind == PUBACK:
            self.given_1 += 1
        elif kind == PUBREC:
            self.given_2 += 1

    def gave(self, answer: bytes, count: int, seconds: float, now: float) -> None:
        """So many like it are put out that have waited for the Store."""
        kind = answer[0] >> 4
        if kind == PUBACK:
            self.acknowledged[1].record(seconds, count, now)
        elif kind == PUBREC:
            self.acknowledged[2].record(seconds, count, now)

    def pending(self) -> bool:
        """Whether `settle` has anything to record."""
        return bool(self.fresh_0 or self.fresh_1 or self.fresh_2 or self.given_1 or self.given_2)

    def settle(self, seconds: float, now: float) -> None:
        """A round is over that took so long: record what left in it."""
        if self.fresh_0:
            self.written[0].record(seconds, self.fresh_0, now)
            self.fresh_0 = 0
        if self.fresh_1:
            self.written[1].record(seconds, self.fresh_1, now)
            self.fresh_1 = 0
        if self.fresh_2:
            self.written[2].record(seconds, self.fresh_2, now)
            self.fresh_2 = 0
        if self.given_1:
            self.acknowledged[1].record(seconds, self.given_1, now)
            self.given_1 = 0
        if self.given_2:
            self.acknowledged[2].record(seconds, self.given_2, now)
            self.given_2 = 0

    def figures(self, now: float) -> dict[str, dict[str, dict[str, float]]]:
        """Of the last minute: "latency" and "acknowledge", by QoS; what has been recorded never is not there."""
        result: dict[str, dict[str, dict[str, float]]] = {"latency": {}, "acknowledge": {}}
        for qos in range(3):
            if self.written[qos].used:
                result["latency"][str(qos)] = self.written[qos].recent(now).figures()
            if self.acknowledged[qos].used:
                result["acknowledge"][str(qos)] = self.acknowledged[qos].recent(now).figures()
        return result


def _end(index: int) -> float:
    """Where a bucket ends, in seconds."""
    shift = max(index // HALF - 1, 0)
    return float(index - HALF * shift + 1) * 2.0**shift / TICKS


def _middle(index: int) -> float:
    shift = max(index // HALF - 1, 0)
    return (index - HALF * shift + 0.5) * 2.0**shift / TICKS
