"""What a message of ours carries: who sent it, which one it is, when it was due, and bytes that can be checked.

The time is the nanoseconds of the machine's monotonic clock, which is one for all processes; the rest of the payload is
the beginning of one endless row of bytes, the same in every run, so that any process can tell a payload of ours.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Final

STAMP_BYTES: Final = 16
STAMP: Final = struct.Struct(">IIQ")  # number of the publisher, sequence, intended send time

OLDEST: Final = 3600 * 1_000_000_000  # ns: who took longer than that is none of ours


@lru_cache(maxsize=4)  # a thousand publishers share one
def filler(payload_bytes: int) -> bytes:
    """What follows the stamp in a payload of `payload_bytes`."""
    return hashlib.shake_128(b"broker bench").digest(payload_bytes - STAMP_BYTES)


def due_of(payload: bytes, beginning: bytes, now: int) -> int:
    """The intended send time in a payload of any publisher's; -1 where it is none of ours.

    `beginning` is a filler of any length: as much of it as there is in both is compared.
    """
    if len(payload) < STAMP_BYTES:
        return -1
    due = int.from_bytes(payload[8:STAMP_BYTES], "big")
    there = payload[STAMP_BYTES : STAMP_BYTES + len(beginning)]
    if not now - OLDEST <= due <= now or there != beginning[: len(there)]:
        return -1
    return due
