"""Counts what came through the broker: messages and bytes by kind of topic and by URL. No network, no clock.

Messages of the same channel of all devices are one row. Rates are over a sliding window, so that they come to rest
within seconds and fall to nothing when messages cease.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.simulation.devices import Device

WINDOW: Final = 5.0  # seconds


class Row:
    """One kind of topic. `messages` and `bytes` are totals; `by_place` the messages by the place of their URL."""

    __slots__ = ("by_place", "bytes", "last", "messages", "name")

    def __init__(self, name: str, places: int) -> None:
        self.name = name
        self.messages = 0
        self.bytes = 0
        self.by_place = [0] * places
        self.last = b""


class Meter:
    """Feed it with `count`; ask `rates` now and then (not more than some times a second)."""

    def __init__(self, devices: Sequence[tuple[Device, int]], places: int) -> None:
        """`devices` with the place of the URL that each publishes to, of which there are `places`."""
        self.places = places
        self.rows: dict[str, Row] = {}
        self.messages = 0
        self.bytes = 0
        self.births = 0  # states that say that somebody came
        self.wills = 0  # Will Messages
        self._topics: dict[str, tuple[Row, int]] = {}
        self._deaths: dict[str, tuple[bytes, int]] = {}
        self._samples: deque[tuple[float, list[list[int]]]] = deque()
        for device, place in devices:
            for channel in device.channels:
                row = self.rows.get(channel.row)
                if row is None:
                    row = self.rows[channel.row] = Row(channel.row, places)
                self._topics[channel.topic] = (row, place)
            if device.state_topic:
                self._deaths[device.state_topic] = (device.death(), place)

    def place_of(self, topic: str) -> int:
        """The place of the URL through which a topic comes; -1 for a topic of nobody here."""
        if topic in self._topics:
            return self._topics[topic][1]
        return self._deaths[topic][1] if topic in self._deaths else -1

    def count(self, topic: str, payload: bytes) -> None:
        """A message that came through; an empty one, which clears what is retained, says nothing."""
        known = self._topics.get(topic)
        if known is None or not payload:
            self._count_other(topic, payload)
            return
        row, place = known
        size = len(payload)
        row.messages += 1
        row.bytes += size
        row.by_place[place] += 1
        row.last = payload
        self.messages += 1
        self.bytes += size

    def _count_other(self, topic: str, payload: bytes) -> None:
        death = self._deaths.get(topic)
        if death is not None and payload:
            if payload == death[0]:
                self.wills += 1
            else:
                self.births += 1

    def rates(self, now: float) -> dict[str, list[float]]:
        """Messages a second over the last WINDOW seconds: row -> by place; `now` in seconds, never falling."""
        totals = [row.by_place.copy() for row in self.rows.values()]
        samples = self._samples
        samples.append((now, totals))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:
            samples.popleft()
        began, before = samples[0]
        elapsed = now - began
        if elapsed <= 0:
            return {name: [0.0] * self.places for name in self.rows}
        return {
            name: [(count - earlier) / elapsed for count, earlier in zip(risen, past, strict=True)]
            for name, risen, past in zip(self.rows, totals, before, strict=True)
        }


class Pace:
    """How fast a fleet speaks, over the same window: messages a second that were `said`, that were `missed` for want
    of time, and that were `held_back` because a connection took no more."""

    def __init__(self) -> None:
        self.said = 0.0
        self.missed = 0.0
        self.held_back = 0.0
        self._samples: deque[tuple[float, int, int, int]] = deque()

    def look(self, now: float, said: int, missed: int, held_back: int) -> None:
        """The counts of the fleet at `now`."""
        samples = self._samples
        samples.append((now, said, missed, held_back))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:
            samples.popleft()
        began, *before = samples[0]
        elapsed = now - began
        if elapsed > 0:
            self.said, self.missed, self.held_back = (
                (count - earlier) / elapsed for count, earlier in zip((said, missed, held_back), before, strict=True)
            )
