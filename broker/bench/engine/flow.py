"""What arrived of a publisher's messages: with one subscriber, and with all of a worker's subscribers together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.bench.engine.publisher import Publisher

NEW: Final = 0
LATE: Final = 1  # after one that was sent after it
REPEATED: Final = 2

REMEMBERED: Final = 4096  # sequences that one subscriber misses of one publisher; beyond it the oldest are forgotten


class Flow:
    """The messages of one publisher at one subscriber, by their sequence.

    `head` is how each of its packets begins and `size` how long it is. `shared` is for a Shared Subscription, in which
    other subscribers get what is missing here.
    """

    __slots__ = ("_missing", "arrivals", "head", "next", "shared", "size")

    def __init__(self, head: bytes, size: int, arrivals: Arrivals, shared: bool) -> None:
        self.head: bytes = head
        self.size: int = size
        self.arrivals: Arrivals = arrivals
        self.shared: bool = shared
        self.next: int = 0  # the sequence that is next in order; who meets it in its loop adds 1 and is done
        self._missing: dict[int, None] | None = None  # where there was a gap; of a million flows most have none

    def judge(self, sequence: int) -> int:
        """Take a message into account: NEW, LATE or REPEATED. LATE is for a missing one that comes at last."""
        missing = self._missing
        if sequence >= self.next:
            if sequence > self.next and not self.shared:
                if missing is None:
                    missing = self._missing = {}
                for each in range(max(self.next, sequence - REMEMBERED), sequence):
                    missing[each] = None
                while len(missing) > REMEMBERED:
                    del missing[next(iter(missing))]
            self.next = sequence + 1
            return NEW
        if missing is not None and sequence in missing:
            del missing[sequence]
            return LATE
        return REPEATED


class Arrivals:
    """How many messages of one publisher all of `fan` subscribers have: those of one worker.

    A message that one of them never gets is never counted, so that it stays under way for who counts what is.
    """

    def __init__(self, fan: int, under_way: int) -> None:
        self.fan = fan
        self.completed = 0
        self.publisher: Publisher | None = None  # where it is of this worker
        self.place = -1  # in the counters that the workers share, where it is not
        self.changed = False
        size = 1
        while size < 4 * under_way:
            size *= 2
        self._mask = size - 1
        self._sequences: list[int] = [-1] * size if fan > 1 else []
        self._counts: list[int] = [0] * size if fan > 1 else []

    def take(self, sequence: int) -> None:
        """One of the subscribers has it now."""
        if self.fan == 1:
            self.completed += 1
            return
        slot = sequence & self._mask
        if self._sequences[slot] < sequence:
            self._sequences[slot] = sequence
            self._counts[slot] = 0
        elif self._sequences[slot] > sequence:
            return
        self._counts[slot] += 1
        if self._counts[slot] == self.fan:
            self.completed += 1
