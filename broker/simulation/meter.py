"""Counts what came through the broker: messages and bytes by kind of topic and by transport. No network, no clock.

Messages of the same channel of all devices are one row: `home/meter-0007/power` counts for `home/meter/power`. Rates
are over a sliding window, so that they come to rest within seconds and fall to nothing when messages cease.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW: Final = 5.0  # seconds


class Row:
    """One kind of topic. `messages` and `bytes` are totals; `by_transport` the messages of each transport."""

    __slots__ = ("by_transport", "bytes", "last", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.by_transport: dict[str, int] = {}
        self.last = b""


class Meter:
    """Feed it with `count`; ask `rates` now and then (not more than some times a second)."""

    def __init__(self, transport_of: Callable[[str], str]) -> None:
        """`transport_of` tells the transport over which a topic's device publishes; "" where it is not known."""
        self._transport_of = transport_of
        self._kinds: dict[str, tuple[str, str]] = {}
        self._samples: deque[tuple[float, dict[tuple[str, str], int]]] = deque()
        self.rows: dict[str, Row] = {}
        self.messages = 0
        self.bytes = 0

    def count(self, topic: str, payload: bytes) -> None:
        known = self._kinds.get(topic)
        if known is None:
            known = self._kinds[topic] = (row_of(topic), self._transport_of(topic))
        kind, transport = known
        row = self.rows.get(kind)
        if row is None:
            row = self.rows[kind] = Row()
        row.messages += 1
        row.bytes += len(payload)
        row.by_transport[transport] = row.by_transport.get(transport, 0) + 1
        row.last = payload
        self.messages += 1
        self.bytes += len(payload)

    def rates(self, now: float) -> dict[str, dict[str, float]]:
        """Messages a second over the last WINDOW seconds: row -> transport -> rate; `now` in seconds, never falling."""
        totals = {
            (kind, transport): count for kind, row in self.rows.items() for transport, count in row.by_transport.items()
        }
        samples = self._samples
        samples.append((now, totals))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:
            samples.popleft()
        began, before = samples[0]
        elapsed = now - began
        rates: dict[str, dict[str, float]] = {}
        for (kind, transport), count in totals.items():
            risen = count - before.get((kind, transport), 0)
            rates.setdefault(kind, {})[transport] = risen / elapsed if elapsed > 0 else 0.0
        return rates


def row_of(topic: str) -> str:
    """The topic without its device's number: `home/meter-0007/power` -> `home/meter/power`."""
    levels = topic.split("/")
    for place, level in enumerate(levels):
        name, dash, number = level.rpartition("-")
        if dash and number.isdigit():
            levels[place] = name
    return "/".join(levels)
