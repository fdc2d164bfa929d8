"""Latencies in log-linear buckets: the error of a percentile stays below 1 %, and a record costs no more than an index.

A value of up to 255 has a bucket of its own; above that each power of two is cut into 128 of them, so that a bucket is
at most 1/128 of its value wide, and its middle at most 0.4 % off.
"""

from __future__ import annotations

from typing import Final

_EXACT: Final = 256
_PARTS: Final = 128
_BUCKETS: Final = _EXACT + _PARTS * 40  # up to 2**48 ns, three days


class Histogram:
    """Counts of whole numbers from 0; what they are, the user knows (nanoseconds here)."""

    def __init__(self) -> None:
        self.counts: list[int] = [0] * _BUCKETS
        self.count = 0
        self.total = 0
        self.minimum = 0
        self.maximum = 0

    def record(self, value: int, times: int = 1) -> None:
        """One value, `times` of it; what is below 0 counts as 0, what is too large as the largest."""
        value = max(value, 0)
        if value < _EXACT:
            index = value
        else:
            shift = value.bit_length() - 8
            index = min(_EXACT + (shift - 1) * _PARTS + (value >> shift) - _PARTS, _BUCKETS - 1)
        self.counts[index] += times
        if self.count == 0 or value < self.minimum:
            self.minimum = value
        self.maximum = max(self.maximum, value)
        self.count += times
        self.total += value * times

    def add(self, other: Histogram) -> None:
        """Take in all that `other` has counted."""
        if other.count == 0:
            return
        for index, count in enumerate(other.counts):
            if count:
                self.counts[index] += count
        self.minimum = other.minimum if self.count == 0 else min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.count += other.count
        self.total += other.total

    @property
    def mean(self) -> float:
        """0 where nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The value that `percent` (0 to 100) of all values are not above; 0 where nothing was recorded."""
        if not self.count:
            return 0.0
        wanted = max(1, -(-self.count * percent // 100))
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return min(max(_middle(index), self.minimum), self.maximum)
        return self.maximum

    def curve(self) -> list[tuple[float, float]]:
        """(percent of all values, the value that they are not above) for each bucket in use."""
        points = []
        seen = 0
        for index, count in enumerate(self.counts):
            if count:
                seen += count
                points.append((100.0 * seen / self.count, min(max(_middle(index), self.minimum), self.maximum)))
        return points

    def to_list(self) -> list[int]:
        """For msgpack and JSON: total, minimum, maximum, then index and count of each bucket in use."""
        packed = [self.total, self.minimum, self.maximum]
        for index, count in enumerate(self.counts):
            if count:
                packed += [index, count]
        return packed

    @classmethod
    def from_list(cls, packed: list[int]) -> Histogram:
        """The reverse of `to_list`."""
        histogram = cls()
        histogram.total, histogram.minimum, histogram.maximum = packed[:3]
        for index, count in zip(packed[3::2], packed[4::2], strict=True):
            histogram.counts[index] = count
            histogram.count += count
        return histogram


def _middle(index: int) -> float:
    if index < _EXACT:
        return index
    shift, part = divmod(index - _EXACT, _PARTS)
    return ((part + _PARTS) + 0.5) * (2 << shift) - 0.5
