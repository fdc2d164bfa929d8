"""What one publisher sends, and what becomes of it: messages in whole batches, acknowledgements one by one.

A packet is `head`, some bytes of its own, and the filler; of a batch only the bytes of its own are made one by one, and
one join makes the rest. Over WebSocket each packet is a frame with a masking key of its own, as real Clients do it.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from broker.bench.engine.payload import filler
from broker.packets.encode import pubrel
from broker.packets.types import MQTT_5_0
from broker.packets.wire import variable_byte_integer
from broker.websocket.mask import apply_mask

if TYPE_CHECKING:
    from broker.bench.engine.flow import Arrivals
    from broker.bench.engine.tally import Tally

UNBOUNDED: Final = 1 << 60
BATCH_BYTES: Final = 64 * 1024  # of one batch, or one message
PACKET_IDENTIFIERS: Final = 65_535

_PUBACK: Final = 0x40
_PUBREC: Final = 0x50
_PUBCOMP: Final = 0x70
_NAMES: Final = {_PUBACK: "PUBACK", _PUBREC: "PUBREC", _PUBCOMP: "PUBCOMP"}


def publish_head(topic: bytes, payload_bytes: int, qos: int, version: int) -> tuple[bytes, int]:
    """How a PUBLISH without properties begins, up to its Topic Name's end, and how long the whole of it is."""
    remaining = 2 + len(topic) + (2 if qos else 0) + (1 if version == MQTT_5_0 else 0) + payload_bytes
    fixed = bytes((0x30 | qos << 1,)) + variable_byte_integer(remaining)
    return fixed + len(topic).to_bytes(2, "big") + topic, len(fixed) + remaining


class Publisher:
    """One publisher's state; `number` is its own among all publishers of the run, of which there are `of`.

    `spacing` is the nanoseconds between two messages of all publishers together, 0.0 in a closed loop, which `inflight`
    bounds; `quota` is how many messages it may send in all. `ready` is the list of those who may have room. In payloads
    its number is counted from `first_source`.
    """

    def __init__(
        self,
        tally: Tally,
        ready: list[Publisher],
        number: int,
        of: int,
        topic: str,
        payload_bytes: int,
        qos: int,
        version: int,
        framed: bool,
        spacing: float,
        inflight: int,
        quota: int,
        first_source: int = 0,
    ) -> None:
        self.number = number
        self.sequence = 0  # of the next message
        self.quota = quota
        self.backlog = 0  # open loop: messages that are due
        self.queued = False  # in `ready`
        self.fan = 0  # subscribers that get each message
        self.arrivals: Arrivals | None = None  # at the subscribers of this worker
        self.remote: list[int] = []  # places of the counters for those of other workers
        self.written_off: list[int] = []  # messages that no longer count as under way: here, then as in `remote`
        self.progress_at = 0  # ns: when something of it last arrived or was acknowledged
        self.begun = 0  # ns: when the first message of all publishers is due
        self.replies: list[bytes] = []

        self._tally = tally
        self._ready = ready
        self._of = of
        self._qos = qos
        self._framed = framed
        self._spacing = spacing
        self._inflight = inflight
        self._window = PACKET_IDENTIFIERS if spacing else min(inflight, PACKET_IDENTIFIERS)
        self._packet_identifier = 0
        self._acknowledgement_of: dict[int, int] = {}  # Packet Identifier -> due: PUBACK or PUBREC is to come
        self._completion_of: dict[int, int] = {}  # the same: PUBCOMP is to come

        head, self.packet_bytes = publish_head(topic.encode(), payload_bytes, qos, version)
        self._filler = filler(payload_bytes)
        own = (first_source + number).to_bytes(4, "big")
        gap = "x" if version == MQTT_5_0 else ""
        if qos:
            self._head = head
            self._stamp = struct.Struct(f">H{gap}4sIQ")
        else:
            self._head = head + (b"\0" if version == MQTT_5_0 else b"") + own
            self._stamp = struct.Struct(">IQ")
        self._own = own
        length = self.packet_bytes
        if length < 126:
            self._frame_head = bytes((0x82, 0x80 | length))
        elif length < 0x10000:
            self._frame_head = b"\x82\xfe" + length.to_bytes(2, "big")
        else:
            self._frame_head = b"\x82\xff" + length.to_bytes(8, "big")
        self.wire_bytes = length + (len(self._frame_head) + 4 if framed else 0)
        self.batch = max(1, BATCH_BYTES // self.wire_bytes)
        self._joint = self._filler + self._head if self.batch > 1 else b""  # what is between two messages' own bytes

    def wake(self) -> None:
        """There may be room for a message."""
        if not self.queued:
            self.queued = True
            self._ready.append(self)

    # -- How much may be sent

    def limit(self, receive_maximum: int) -> None:
        """Honour the Server's Receive Maximum [MQTT-3.3.4-9]."""
        self._window = min(self._window, receive_maximum)

    @property
    def unacknowledged(self) -> int:
        return len(self._acknowledgement_of) + len(self._completion_of)

    def room(self, shared: memoryview | None) -> int:
        """How many messages it may send now; `shared` are the counters of other workers."""
        room = self.quota - self.sequence
        if self._qos:
            room = min(room, self._window - len(self._acknowledgement_of) - len(self._completion_of))
        if self._spacing:
            return min(room, self.backlog)
        under_way = self._under_way(shared)
        return min(room, self._inflight - under_way) if self.fan else room

    def _under_way(self, shared: memoryview | None) -> int:
        """Messages that the slowest of their subscribers has not got."""
        most = 0
        arrivals = self.arrivals
        if arrivals is not None:
            most = self.sequence - arrivals.completed - self.written_off[0]
        if shared is not None:
            for index, place in enumerate(self.remote):
                completed: int = shared[place]
                most = max(most, self.sequence - completed - self.written_off[index + 1])
        return most

    def write_off(self, shared: memoryview | None) -> bool:
        """Count what is under way as lost, so that it does not hold up the rest; whether there was any."""
        if not self._under_way(shared):
            return False
        if self.arrivals is not None:
            self.written_off[0] = self.sequence - self.arrivals.completed
        if shared is not None:
            for index, place in enumerate(self.remote):
                completed: int = shared[place]
                self.written_off[index + 1] = self.sequence - completed
        return True

    # -- Messages

    def messages(self, count: int, now: int) -> bytes:
        """The next `count` messages, at most `batch`, as they go on the wire; in an open loop due when they were."""
        tally = self._tally
        sequence = self.sequence
        spacing = self._spacing
        stamp = self._stamp
        qos = self._qos
        due = now
        items: list[bytes] = []
        for each in range(sequence, sequence + count):
            if spacing:
                due = self.begun + int((each * self._of + self.number) * spacing)
                if now - due > tally.latest and now >= tally.window_start:
                    tally.latest = now - due
            if qos:
                items.append(stamp.pack(self._next_packet_identifier(due), self._own, each, due))
            else:
                items.append(stamp.pack(each, due))
        self.sequence = sequence + count
        if spacing:
            self.backlog -= count
        tally.sent += count
        tally.expected += count * self.fan
        tally.mqtt_bytes_sent += count * self.packet_bytes
        tally.bytes_sent += count * self.wire_bytes
        tally.last_event = now
        if self._framed:
            return self._frames(items)
        return b"".join((self._head, self._joint.join(items), self._filler))

    def _frames(self, items: list[bytes]) -> bytes:
        frame_head = self._frame_head
        head = self._head
        rest = self._filler
        keys = os.urandom(4 * len(items))  # another for every frame (RFC 6455 section 5.3)
        parts: list[bytes] = []
        at = 0
        for item in items:
            key = keys[at : at + 4]
            at += 4
            parts.append(frame_head)
            parts.append(key)
            parts.append(apply_mask(head + item + rest, key))
        return b"".join(parts)

    def _next_packet_identifier(self, due: int) -> int:
        """One that is free, taken for a message that was due at `due`."""
        found = self._packet_identifier
        while True:
            found = found + 1 if found < PACKET_IDENTIFIERS else 1
            if found not in self._acknowledgement_of and found not in self._completion_of:
                break
        self._packet_identifier = found
        self._acknowledgement_of[found] = due
        return found

    # -- Acknowledgements

    def acknowledge(self, data: bytes, at: int, size: int, now: int) -> int:
        """Take the PUBACKs, PUBRECs and PUBCOMPs that stand at `at`; return where something else, or a part, begins."""
        while size - at >= 4:
            first = data[at]
            if first not in _NAMES:
                break
            remaining = data[at + 1]
            end = at + 2 + remaining
            if remaining < 2 or remaining > 0x7F or end > size:
                break
            packet_identifier = data[at + 2] << 8 | data[at + 3]
            reason = data[at + 4] if remaining > 2 else 0
            self._acknowledged(first, packet_identifier, reason, now)
            at = end
        return at

    def _acknowledged(self, first: int, packet_identifier: int, reason: int, now: int) -> None:
        tally = self._tally
        waiting = self._completion_of if first == _PUBCOMP else self._acknowledgement_of
        due = waiting.pop(packet_identifier, -1)
        if due < 0 or (first == _PUBACK) != (self._qos == 1):
            tally.complain(f"a {_NAMES[first]} that belongs to no message")
            return
        self.progress_at = now
        tally.last_event = now
        self.wake()
        if reason >= 0x80:
            tally.refused += 1
            tally.expected -= self.fan
            tally.complain(f"a {_NAMES[first]} with Reason Code 0x{reason:02X}")
            for index in range(len(self.written_off)):
                self.written_off[index] += 1
        elif first == _PUBREC:
            self._completion_of[packet_identifier] = due
            self.replies.append(pubrel(packet_identifier))
        else:
            tally.acknowledged += 1
            if tally.window_start <= due < tally.window_end:
                tally.acknowledgement.record(now - due)
