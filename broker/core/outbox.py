"""Bytes waiting for one Network Connection.

Whatever the core wants to say to a Client is put here, complete Control Packets only; the transport takes it in one
piece after the round. `size` counts until the bytes have left for the socket (`sent`), so that the limits see a slow
reader. The limits themselves are applied by whoever puts: QoS 0 yields above `soft`, everything ends above `hard`.
Acknowledgements are always put, whatever the size.

PUBLISH packets are counted by QoS, for the latency (see `broker.core.latency`): `mark` and `waited` stand round what
puts some that have waited in a Session, and `hold` and `recover` round the time in which the socket takes no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from broker.core.flight import Tap
    from broker.core.stats import Traffic, TransportStats

# PUBLISH packets of an outbox are counted by QoS in one number, which costs no more than counting them all.
ONE: Final = 1 << 21
TWO: Final = 1 << 42
LANE: Final = ONE - 1


class Sink(Protocol):
    """Who carries an outbox's bytes away: the transport's link."""

    def flush(self) -> None: ...

    def measure(self, now: float) -> None:
        """Have Traffic's `round_trip` taken anew, where the transport can."""


class Outbox:
    """A list of bytes, its size, and the list of dirty outboxes that it joins when the first byte comes.

    `taken` is what the transport has in hand and has not yet written. `messages`, `counted` (PUBLISH packets,
    see ONE) and `late` (those whose latency is not to be recorded any more) count since the last take.
    """

    __slots__ = (
        "counted",
        "dirty",
        "dirty_list",
        "hand",
        "hand_since",
        "hard",
        "held",
        "late",
        "left",
        "marked",
        "messages",
        "parts",
        "publish_bytes",
        "since",
        "sink",
        "size",
        "soft",
        "stats",
        "taken",
        "tap",
        "traffic",
    )

    def __init__(self, dirty_list: list[Outbox], stats: TransportStats, traffic: Traffic, soft: int, hard: int) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.taken = 0
        self.soft = soft
        self.hard = hard
        self.dirty = False
        self.dirty_list = dirty_list
        self.stats = stats
        self.traffic = traffic
        self.sink: Sink | None = None
        self.tap: Tap | None = None  # of a Client that is watched
        self.messages = 0
        self.counted = 0
        self.late = 0
        self.publish_bytes = 0
        self.marked = 0  # what was counted at `mark`
        self.hand = 0  # what was counted and is taken
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
            self.counted += 1
        else:
            self.counted += ONE if qos == 2 else TWO
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
        self.counted += TWO if head[0] & 4 else ONE
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
            counted = self.counted
            self.counted = 0
            self.left = 0.0
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
            counted = self._part(len(data) / (self.size - self.taken))
        self.taken += len(data)
        stats = self.stats
        traffic = self.traffic
        stats.bytes_sent += len(data)
        traffic.bytes_sent += len(data)
        stats.messages_sent += self.messages
        traffic.messages_sent += self.messages
        stats.publish_bytes_sent += self.publish_bytes
        self.messages = self.publish_bytes = 0
        self.hand = counted
        if self.since or self.late:
            self._take_late(counted)
        elif counted < ONE:
            stats.publish_sent += counted
            traffic.messages_sent += counted
            stats.latency.fresh_0 += counted
        else:
            zero, one, two = counted & LANE, counted >> 21 & LANE, counted >> 42
            stats.publish_sent += zero + one + two
            traffic.messages_sent += zero + one + two
            latency = stats.latency
            latency.fresh_0 += zero
            latency.fresh_1 += one
            latency.fresh_2 += two
        if self.tap is not None:
            self.tap.left(data)
        return data

    def _part(self, share: float) -> int:
        """So much of what waits is taken: how many are counted with it, as if all packets were of one size."""
        counted = self.counted
        zero, one, two = counted & LANE, counted >> 21 & LANE, counted >> 42
        taken = int(zero * share) + int(one * share) * ONE + int(two * share) * TWO
        self.counted = counted - taken
        self.left = 1.0 - share
        return taken

    def _take_late(self, counted: int) -> None:
        """The same where some have waited in a Session, or all for a slow socket."""
        zero, one, two = counted & LANE, counted >> 21 & LANE, counted >> 42
        stats = self.stats
        stats.publish_sent += zero + one + two + self.late
        self.traffic.messages_sent += zero + one + two + self.late
        self.late = 0
        if self.since:
            self.held = True
            self.hand_since = self.since
            if not self.left:
                self.since = 0.0
        else:
            latency = stats.latency
            latency.fresh_0 += zero
            latency.fresh_1 += one
            latency.fresh_2 += two

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
            counted = self.hand
            latency = self.stats.latency
            latency.fresh_0 -= counted & LANE
            latency.fresh_1 -= counted >> 21 & LANE
            latency.fresh_2 -= counted >> 42
        if not self.left:
            self.since = now
        else:  # as if it had come evenly
            start = self.since or self.hand_since
            self.since = start + (now - start) * (1.0 - self.left)

    def recover(self, now: float) -> None:
        """What was held has left: record it. `sent` follows."""
        self.held = False
        self._record(self.hand, now - self.hand_since, now)

    def mark(self) -> None:
        """What is put from now until `waited` has waited in a Session."""
        self.marked = self.counted

    def waited(self, seconds: float, now: float) -> None:
        """Record what was put since `mark` as so old, and not by its round; not at all where `seconds` is negative."""
        counted = self.counted - self.marked
        if counted:
            self.counted = self.marked
            self.late += (counted & LANE) + (counted >> 21 & LANE) + (counted >> 42)
            if seconds >= 0.0:
                self._record(counted, seconds, now)

    def _record(self, counted: int, seconds: float, now: float) -> None:
        zero, one, two = counted & LANE, counted >> 21 & LANE, counted >> 42
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
