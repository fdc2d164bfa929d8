"""Retained messages whose author may no longer retain them: taken out when what Clients may do has changed.

A retained message outlives the connection, the Session and the right of whoever published it (CVE-2018-12546). So its
author is kept with it, and when there are new roles all retained messages are looked at once, a slice at a time between
the work of everybody else: a million of them take a minute. Those without an author (what the Server itself
published, or an older version has kept) stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.deadlines import AUDIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from broker.core.broker import Broker
    from broker.core.retained import Author, RetainedMessages

    MayRetain: TypeAlias = Callable[[Author, str], bool]  # whether the author may retain a message to that topic

SLICE: Final = 64  # messages, or stretches without one, looked at in one go: about a millisecond
PAUSE: Final = 0.002  # seconds between two slices


class Audit:
    """One walk. `taken_out` counts what it has removed so far."""

    def __init__(self, retained: RetainedMessages, may_retain: MayRetain) -> None:
        self.taken_out = 0
        self._retained = retained
        self._may_retain = may_retain
        self._walk: Iterator[tuple[Author, str] | None] = retained.authored()

    def step(self) -> bool:
        """Look at some more; whether there is nothing left to look at."""
        for _ in range(SLICE):
            try:
                found = next(self._walk)
            except StopIteration:
                return True
            if found is not None:
                author, topic = found
                if not self._may_retain(author, topic) and self._retained.remove(topic):
                    self.taken_out += 1
        return False


def go_on(broker: Broker, audit: Audit, now: float) -> None:
    """One slice is due, unless newer roles have had another walk begin."""
    if audit is not broker.audit:
        return
    before = audit.taken_out
    done = audit.step()
    broker.stats.retained_taken_out += audit.taken_out - before
    if not done:
        broker.remember(now + PAUSE, AUDIT, audit)
        return
    broker.audit = None
    if audit.taken_out:
        text = f"{audit.taken_out} retained messages are taken out: their authors may not retain them any more"
        broker.notice("audit", text)
