"""Store time: the clock of everything in the store that is due at some time. No jump of the wall clock can hurry it.

It begins as wall time when the store is made and goes on with the monotonic clock while the broker runs. Over a
downtime it goes on by what the wall clock says has passed since the store was last alive, and never back. So an expiry
counts the downtime, as the standard wants it (section 3.1.2.11.2), and a clock that was set while the broker ran, or
was wrong, makes nothing expire early.

The file `clock` holds what time it was: written each second, without an fsync, so that a kill is known to about a
second. Where it is damaged or gone, the state row of the database, which each commit writes, stands in for it. Behind
it, at WITNESS_AT, each commit leaves its `Witness` (`broker.store.state`).
"""

from __future__ import annotations

import os
from struct import Struct
from typing import TYPE_CHECKING, Final

from broker.store.state import WITNESS_BYTES, Witness, decode_witness, seal, unseal

if TYPE_CHECKING:
    from pathlib import Path

_PAIR: Final = Struct("<4sdd")
_MAGIC: Final = b"clk1"
_PAIR_BYTES: Final = _PAIR.size + 4  # with its checksum
WITNESS_AT: Final = 64
BOOT: Final = "/proc/sys/kernel/random/boot_id"

JUMP: Final = 60.0  # seconds between the two clocks in one look that are worth a line in the log


def pair(store_time: float, wall_time: float) -> bytes:
    """What the file says of the time."""
    return seal(_PAIR.pack(_MAGIC, store_time, wall_time))


class StoreClock:
    """See the module. All times in seconds; `offset` is what makes store time of a monotonic one."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.behind = 0.0  # by how much the wall clock was set back over the downtime
        self._drift = 0.0  # wall time less store time, when it was last looked at

    def begin(self, now: float, wall_time: float, last: tuple[float, float] | None) -> None:
        """Start to count at the monotonic time `now`. `last` is the newest pair (store time, wall time), None where the
        store is new."""
        if last is None:
            store_time = wall_time
        else:
            passed = wall_time - last[1]
            self.behind = max(0.0, -passed)
            store_time = last[0] + max(0.0, passed)
        self.offset = store_time - now
        self._drift = wall_time - store_time

    def stored(self, now: float) -> float:
        """Store time at the monotonic time `now`."""
        return now + self.offset

    def monotonic(self, store_time: float) -> float:
        """The monotonic time of a store time; infinity for infinity."""
        return store_time - self.offset

    def jumped(self, now: float, wall_time: float) -> float:
        """By how many seconds the wall clock was set since the last look; 0.0 if by less than a minute."""
        drift = wall_time - self.stored(now)
        jump = drift - self._drift
        if abs(jump) < JUMP:
            return 0.0
        self._drift = drift
        return jump


class ClockFile:
    """The file `clock`. A failed write is the caller's: OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def read(self) -> tuple[tuple[float, float] | None, Witness | None]:
        """The pair (store time, wall time) and the Witness that were written last; None for what is damaged."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None, None
        found = unseal(data[:_PAIR_BYTES], _PAIR.size)
        times: tuple[float, float] | None = None
        if found is not None and found.startswith(_MAGIC):
            _, store_time, wall_time = _PAIR.unpack(found)
            times = store_time, wall_time
        return times, decode_witness(data[WITNESS_AT : WITNESS_AT + WITNESS_BYTES])

    def open(self) -> None:
        """Make the file, or go on with it."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def write(self, store_time: float, wall_time: float) -> None:
        os.pwrite(self._descriptor, pair(store_time, wall_time), 0)

    def write_witness(self, witness: bytes) -> None:
        os.pwrite(self._descriptor, witness, WITNESS_AT)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def boot() -> bytes:
    """Which run of the machine this is, 16 bytes; b"" where the system does not say."""
    try:
        with open(BOOT, encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))[:16].rstrip(b"\0")
    except (OSError, ValueError):
        return b""
