"""The long part of a Session's queue: entries that are only in the Store, known by their numbers.

A queue of a Session is `pending` (in memory, sent first), then what is here, then `tail`: in memory again, because it
came last and may not be written yet. While there is a Paged, new entries go to its tail; when `pending` has run out the
next page is read from the Store; when there is nothing left here the tail becomes `pending`. So a million waiting
messages take 20 bytes each.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.core.journal import Journal, Queued

PAGE: Final = 256  # entries read at once: a millisecond
IN_MEMORY: Final = 1024  # entries of a tail; then those that the Store has are known by their numbers only


class Paged:
    """Numbers of entries (`queued`), of their messages, and the bytes that each is counted with; in order."""

    __slots__ = ("_at", "messages", "queued", "sizes", "tail")

    def __init__(self, queued: array[int], messages: array[int], sizes: array[int]) -> None:
        self.queued = queued
        self.messages = messages
        self.sizes = sizes
        self.tail: deque[Queued] = deque()
        self._at = 0

    def __len__(self) -> int:
        """Entries that are only in the Store."""
        return len(self.queued) - self._at

    def next_page(self) -> tuple[array[int], array[int], int]:
        """Numbers of the next entries, of their messages, and their bytes together. They are out of here then."""
        start = self._at
        end = min(start + PAGE, len(self.queued))
        page = self.queued[start:end], self.messages[start:end], sum(self.sizes[start:end])
        self._at = end
        if end > 65536 and end * 2 > len(self.queued):
            del self.queued[:end]
            del self.messages[:end]
            del self.sizes[:end]
            self._at = 0
        return page

    def rest(self) -> tuple[array[int], array[int], int]:
        """As `next_page`, all that is left."""
        start = self._at
        page = self.queued[start:], self.messages[start:], sum(self.sizes[start:])
        self._at = len(self.queued)
        return page

    def put_away(self, journal: Journal) -> None:
        """Of the tail, keep only the numbers of what the Store can give back."""
        tail = self.tail
        while tail:
            entry = tail[0]
            message = entry.message
            if not 0 < entry.row <= journal.safe_queued or not 0 < message.row <= journal.safe_message:
                break
            tail.popleft()
            journal.share(message)
            self.queued.append(entry.row)
            self.messages.append(message.row)
            self.sizes.append(message.size)


def no_page() -> Paged:
    return Paged(array("q"), array("q"), array("i"))
