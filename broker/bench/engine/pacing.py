"""When messages are due in an open loop, whatever the broker does: message k at k spacings, publishers in turn.

So a broker that stalls meets all that was due meanwhile as soon as it goes on, and each of these keeps the time when it
was due: its wait is part of its latency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.bench.engine.tally import NEVER

if TYPE_CHECKING:
    from broker.bench.engine.publisher import Publisher


AT_ONCE: Final = 10_000  # messages that are handed out before the caller has its turn, whatever the rate


class Schedule:
    """The turns of `publishers`, who are some of the `of` in the run; `count` is the messages of all of them.

    `spacing` is in nanoseconds, and a float: a rate need not divide a second.
    """

    def __init__(self, publishers: list[Publisher], of: int, spacing: float, count: int) -> None:
        self._publishers = publishers
        self._of = of
        self._spacing = spacing
        self._count = count
        self._begun = NEVER
        self._until = NEVER
        self._round = 0
        self._turn = 0

    def begin(self, begun: int, until: int) -> None:
        """The first message is due at `begun`, and none at `until` or later."""
        self._begun = begun
        self._until = until

    def hand_out(self, now: int) -> int:
        """Give each publisher what is due by `now`; nanoseconds until the next is, 0 where it is overdue, or NEVER."""
        publishers = self._publishers
        if not publishers:
            return NEVER
        for _ in range(AT_ONCE):
            publisher = publishers[self._turn]
            message = self._round * self._of + publisher.number
            due = self._begun + int(message * self._spacing)
            if message >= self._count or due >= self._until:
                return NEVER
            if due > now:
                return due - now
            publisher.backlog += 1
            publisher.wake()
            self._turn += 1
            if self._turn == len(publishers):
                self._turn = 0
                self._round += 1
        return 0
