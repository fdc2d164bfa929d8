"""Messages of QoS 0 for a reader who is too slow: what is kept, what is dropped.

While an outbox is above its soft limit, QoS 0 follows the subscription's overflow policy. `drop-newest` keeps nothing
here. `drop-oldest` keeps the last messages, `latest` the last one of each topic; both are bounded in messages and
bytes, the oldest goes first. What is kept leaves in order when the outbox has drained.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from broker.core.limits import LATEST

if TYPE_CHECKING:
    from broker.core.message import ApplicationMessage
    from broker.core.subscriptions import Delivery


class Backlog:
    """A bounded queue of (message, Delivery). Keys are topics under `latest`, else numbers."""

    __slots__ = ("_entries", "_number", "bytes", "maximum_bytes", "maximum_messages")

    def __init__(self, maximum_messages: int, maximum_bytes: int) -> None:
        self._entries: OrderedDict[str | int, tuple[ApplicationMessage, Delivery]] = OrderedDict()
        self.bytes = 0  # of the messages
        self._number = 0
        self.maximum_messages = maximum_messages
        self.maximum_bytes = maximum_bytes

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, message: ApplicationMessage, delivery: Delivery, policy: str) -> int:
        """Keep one more; returns how many were dropped for it."""
        key: str | int
        dropped = 0
        if policy == LATEST:
            key = message.topic
            old = self._entries.get(key)
            if old is not None:
                self.bytes -= old[0].size
                dropped = 1
        else:
            self._number += 1
            key = self._number
        self._entries[key] = (message, delivery)
        self.bytes += message.size
        while len(self._entries) > self.maximum_messages or (
            self.bytes > self.maximum_bytes and len(self._entries) > 1
        ):
            self.pop()
            dropped += 1
        return dropped

    def pop(self) -> tuple[ApplicationMessage, Delivery]:
        """The oldest."""
        _, entry = self._entries.popitem(last=False)
        self.bytes -= entry[0].size
        return entry
