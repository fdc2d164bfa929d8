"""Bytes waiting for one Network Connection.

Whatever the core wants to say to a Client is put here, complete Control Packets only; the transport takes it in one
piece after the round. `size` counts until the bytes have left for the socket (`sent`), so that the limits see a slow
reader. The limits themselves are applied by whoever puts: QoS 0 yields above `soft`, everything ends above `hard`.
Acknowledgements are always put, whatever the size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.core.flight import Tap
    from broker.core.stats import TransportStats


class Sink(Protocol):
    """Who carries an outbox's bytes away: the transport's link."""

    def flush(self) -> None: ...


class Outbox:
    """A list of bytes, its size, and the list of dirty outboxes that it joins when the first byte comes.

    `taken` is what the transport has in hand and has not yet written. `messages` and `publishes` count packets since
    the last take, for the statistics.
    """

    __slots__ = (
        "dirty",
        "dirty_list",
        "hard",
        "messages",
        "parts",
        "publish_bytes",
        "publishes",
        "sink",
        "size",
        "soft",
        "stats",
        "taken",
        "tap",
    )

    def __init__(self, dirty_list: list[Outbox], stats: TransportStats, soft: int, hard: int) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.taken = 0
        self.soft = soft
        self.hard = hard
        self.dirty = False
        self.dirty_list = dirty_list
        self.stats = stats
        self.sink: Sink | None = None
        self.tap: Tap | None = None  # of a Client that is watched
        self.messages = 0
        self.publishes = 0
        self.publish_bytes = 0

    def put(self, data: bytes) -> None:
        """Add one Control Packet that is no PUBLISH."""
        self.parts.append(data)
        self.size += len(data)
        self.messages += 1
        if not self.dirty:
            self.dirty = True
            self.dirty_list.append(self)

    def put_publish(self, data: bytes, payload_bytes: int) -> None:
        """Add one PUBLISH."""
        self.parts.append(data)
        self.size += len(data)
        self.publishes += 1
        self.publish_bytes += payload_bytes
        if not self.dirty:
            self.dirty = True
            self.dirty_list.append(self)

    def put_publish_parts(self, head: bytes, identifier: int, tail: bytes, payload_bytes: int) -> None:
        """Add one PUBLISH of QoS 1 or 2: `head`, its Packet Identifier, `tail`."""
        parts = self.parts
        parts.append(head)
        parts.append(identifier.to_bytes(2, "big"))
        parts.append(tail)
        self.size += len(head) + 2 + len(tail)
        self.publishes += 1
        self.publish_bytes += payload_bytes
        if not self.dirty:
            self.dirty = True
            self.dirty_list.append(self)

    def touch(self) -> None:
        """Have the transport look at this connection at the end of the round, bytes or not."""
        if not self.dirty:
            self.dirty = True
            self.dirty_list.append(self)

    def take(self, limit: int = 1 << 62) -> bytes:
        """All that waits, or about `limit` bytes of it; `sent()` must follow when it has been written."""
        parts = self.parts
        if not parts:
            return b""
        if self.size <= limit or len(parts) == 1:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
        else:
            total = 0
            count = 0
            for part in parts:
                total += len(part)
                count += 1
                if total >= limit:
                    break
            data = b"".join(parts[:count])
            del parts[:count]
        self.taken += len(data)
        stats = self.stats
        stats.bytes_sent += len(data)
        stats.messages_sent += self.messages
        stats.publish_sent += self.publishes
        stats.publish_bytes_sent += self.publish_bytes
        self.messages = self.publishes = self.publish_bytes = 0
        if self.tap is not None:
            self.tap.left(data)
        return data

    def sent(self) -> None:
        """What was taken has left."""
        self.size -= self.taken
        self.taken = 0

    def clear(self) -> None:
        """The connection is gone; nothing waits any more."""
        self.parts.clear()
        self.size = self.taken = 0
