"""Bytes waiting for one Network Connection.

Whatever the core wants to say to a Client is put here, complete Control Packets only; the transport takes it in one
piece after the round. `size` counts until the bytes have left for the socket (`sent`), so that the limits see a slow
reader. The limits themselves are applied by whoever puts: QoS 0 yields above `soft`, everything ends above `hard`.
Acknowledgements are always put, whatever the size.

PUBLISH packets are counted by QoS, for the latency (see `broker.core.latency`): `mark` and `waited` stand round what
puts some that have waited in a Session, and `hold` and `recover` round the time in which the socket takes no more.
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

    `taken` is what the transport has in hand and has not yet written. `messages`, `qos_*` and `late` (PUBLISH packets
    whose latency is not to be recorded any more) count packets since the last take, for the statistics.
    """

    __slots__ = (
        "dirty",
        "dirty_list",
        "hand_0",
        "hand_1",
        "hand_2",
        "hand_since",
        "hard",
        "held",
        "late",
        "left",
        "mark_0",
        "mark_1",
        "mark_2",
        "messages",
        "parts",
        "publish_bytes",
        "qos_0",
        "qos_1",
        "qos_2",
        "since",
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
        self.qos_0 = 0
        self.qos_1 = 0
        self.qos_2 = 0
        self.late = 0
        self.publish_bytes = 0
        self.mark_0 = self.mark_1 = self.mark_2 = 0
        self.hand_0 = self.hand_1 = self.hand_2 = 0  # of the last take
        self.held = False  # the socket has not taken it
        self.hand_since = 0.0  # how long the oldest of it waits then
        self.since = 0.0  # the same of what is still in `parts`; 0 where it has come in this round
        self.left = 0.0  # the share of it that the last take has left there

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
        qos = data[0] & 6
        if not qos:
            self.qos_0 += 1
        elif qos == 2:
            self.qos_1 += 1
        else:
            self.qos_2 += 1
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
        if head[0] & 4:
            self.qos_2 += 1
        else:
            self.qos_1 += 1
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
            self._count()
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
            self._count_some(len(data) / (self.size - self.taken))
        self.taken += len(data)
        stats = self.stats
        stats.bytes_sent += len(data)
        stats.messages_sent += self.messages
        stats.publish_bytes_sent += self.publish_bytes
        self.messages = self.publish_bytes = 0
        if self.tap is not None:
            self.tap.left(data)
        return data

    def _count(self) -> None:
        """All PUBLISH packets are taken."""
        self.left = 0.0
        self.hand_0 = zero = self.qos_0
        self.hand_1 = one = self.qos_1
        self.hand_2 = two = self.qos_2
        self.qos_0 = self.qos_1 = self.qos_2 = 0
        stats = self.stats
        stats.publish_sent += zero + one + two + self.late
        self.late = 0
        if self.since:
            self._take_late()
        else:
            latency = stats.latency
            latency.fresh_0 += zero
            latency.fresh_1 += one
            latency.fresh_2 += two

    def _count_some(self, share: float) -> None:
        """So much of what waits is taken; as if all packets were of one size."""
        self.left = 1.0 - share
        zero, one, two = int(self.qos_0 * share), int(self.qos_1 * share), int(self.qos_2 * share)
        rest_0, rest_1, rest_2 = self.qos_0 - zero, self.qos_1 - one, self.qos_2 - two
        self.qos_0, self.qos_1, self.qos_2 = zero, one, two
        self._count()
        self.left = 1.0 - share
        self.qos_0, self.qos_1, self.qos_2 = rest_0, rest_1, rest_2

    def _take_late(self) -> None:
        """What is taken has waited for a slow socket."""
        self.held = True
        self.hand_since = self.since
        if not self.left:
            self.since = 0.0

    def sent(self) -> None:
        """What was taken has left."""
        self.size -= self.taken
        self.taken = 0

    # -- For the latency

    def hold(self, now: float) -> None:
        """The socket does not take what was taken: it waits, and what is still to come waits with it."""
        if not self.held:
            self.held = True
            self.hand_since = now
            latency = self.stats.latency
            latency.fresh_0 -= self.hand_0
            latency.fresh_1 -= self.hand_1
            latency.fresh_2 -= self.hand_2
        if not self.left:
            self.since = now
        else:  # as if it had come evenly
            start = self.since or self.hand_since
            self.since = start + (now - start) * (1.0 - self.left)

    def recover(self, now: float) -> None:
        """What was held has left: record it. `sent` follows."""
        self.held = False
        self._record(self.hand_0, self.hand_1, self.hand_2, now - self.hand_since, now)

    def mark(self) -> None:
        """What is put from now until `waited` has waited in a Session."""
        self.mark_0, self.mark_1, self.mark_2 = self.qos_0, self.qos_1, self.qos_2

    def waited(self, seconds: float, now: float) -> None:
        """Record what was put since `mark` as so old, and not by its round; not at all where `seconds` is negative."""
        zero, one, two = self.qos_0 - self.mark_0, self.qos_1 - self.mark_1, self.qos_2 - self.mark_2
        if zero or one or two:
            self.qos_0, self.qos_1, self.qos_2 = self.mark_0, self.mark_1, self.mark_2
            self.late += zero + one + two
            if seconds >= 0.0:
                self._record(zero, one, two, seconds, now)

    def _record(self, zero: int, one: int, two: int, seconds: float, now: float) -> None:
        written = self.stats.latency.written
        if zero:
            written[0].record(seconds, zero, now)
        if one:
            written[1].record(seconds, one, now)
        if two:
            written[2].record(seconds, two, now)

    def clear(self) -> None:
        """The connection is gone; nothing waits any more."""
        self.parts.clear()
        self.size = self.taken = 0
