"""When publishers are not read: the broker holds more than it may, and whoever reads must take some of it first.

Three things count: what slow readers have not taken (`server.buffered_bytes`), in outboxes and in backlogs of QoS 0;
what is not yet on the disk (`UNSAFE`); and the memory that the process uses (`server.memory`). Once above, it is above
until a good part of that is gone. Above `server.memory` nobody gets a new Session either; who has one may come back for
what waits in it, for that is how it gets less.

`look` is called by the Pump, which pauses its links; the door of a Trio stream asks `above` before it reads.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from broker.transport.complaints import log
from broker.transport.memory import resident

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.broker import Broker
    from broker.transport.complaints import Complaints
    from broker.transport.layers import Layers

UNSAFE: Final = 32 * 1024 * 1024  # bytes of messages not yet committed; above it publishers are not read (a guess)
RECENT: Final = 1.0  # seconds since its last PUBLISH for which a Client is a publisher
MEMORY_LOOK: Final = 1.0  # seconds between two looks at the memory of the process
MEMORY_LOOK_SOON: Final = 0.1  # the same above half of what it may use
MEMORY_ENOUGH: Final = 0.9  # of what it may use; below it all goes on
TRIM_INTERVAL: Final = 5.0  # seconds between two requests to the allocator


class Watermark:
    """See the module. `writing` are the layers of stream doors whose bytes wait; `watch` makes the Pump look soon."""

    def __init__(self, broker: Broker, complaints: Complaints, watch: Callable[[float], None]) -> None:
        self.above = False
        self.lowered = trio.Event()  # the next time that it is no longer above
        self.writing: dict[Layers, None] = {}
        self.watch = watch
        self.complaints = complaints
        self.resident: Callable[[], int] = resident
        self._broker = broker
        self._process_is_large = False
        self._trimmed_at = -TRIM_INTERVAL

    def look(self, stalled: Sequence[Layers], now: float) -> bool:
        """Find out where we stand; `stalled` are the layers of links whose bytes wait. Whether to look again soon."""
        broker = self._broker
        held = sum([held_by(layers) for layers in (*stalled, *self.writing)])
        most = broker.limits.buffered_bytes
        unsafe = broker.unsafe_bytes()
        if self._process_is_large or held > most or unsafe > UNSAFE:
            if not self.above:
                self.above = True
                why = ""  # of its memory the log has been told
                if held > most:
                    why = f"slow readers hold {held} bytes (server.buffered_bytes is {most})"
                elif unsafe > UNSAFE:
                    why = f"{unsafe} bytes wait to be written to the disk"
                if why:
                    self.complaints.complain(now, logging.WARNING, "watermark", f"{why}: publishers wait")
        elif self.above and held < most // 2 and unsafe < UNSAFE // 2:
            self.above = False
            self.lowered.set()
            self.lowered = trio.Event()
        return self.above or bool(stalled) or bool(self.writing) or unsafe > UNSAFE // 2

    def look_at_memory(self, now: float) -> float:
        """Find out what the process uses. Seconds until the next look; 0 where it may use what there is."""
        broker = self._broker
        most = broker.limits.memory or 0
        used = self.resident() if most else 0
        if used > most:
            if not self._process_is_large:
                self._process_is_large = broker.memory_full = True
                broker.sys_topics.tell_memory("full", now)
                log.warning(
                    "the process uses %d bytes of memory (server.memory is %d): publishers wait, new Sessions are "
                    "refused",
                    used,
                    most,
                )
                self.watch(now)
        elif self._process_is_large and used <= most * MEMORY_ENOUGH:
            self._process_is_large = broker.memory_full = False
            broker.sys_topics.tell_memory("ok", now)
            log.info("the process uses %d bytes of memory again (server.memory is %d)", used, most)
        if self._process_is_large and now >= self._trimmed_at + TRIM_INTERVAL:
            self._trimmed_at = now
            give_back()
        if not most:
            return 0.0
        return MEMORY_LOOK_SOON if 2 * used > most else MEMORY_LOOK


def held_by(layers: Layers) -> int:
    """Bytes that wait for one slow reader."""
    backlog = layers.connection.backlog
    return layers.outbox.size + (backlog.bytes if backlog is not None else 0)


def publishes(layers: Layers, now: float) -> bool:
    """Whether it is one of those whom a watermark holds back."""
    return layers.connection.last_published > now - RECENT


def give_back() -> None:
    """Have the C library return what is free to the system, where it can."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
