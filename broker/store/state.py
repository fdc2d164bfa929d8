"""What a database says of itself in one row, written anew with each commit, so that nothing can be missing unseen.

SQLite finds a torn commit by itself, and a record its own damage. What neither sees is a row that is not there: a WAL
that was deleted or cut off, a page whose count of cells has lost a bit. So each commit carries the number of commits,
and by table how many rows there are, the sum of their numbers, and the newest number ever given. `Witness`, kept
outside of the database, says after each commit which one it was: a database that has fewer is not the whole of it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

from broker.core.journal import TABLES

if TYPE_CHECKING:
    from array import array

_VERSION: Final = 1
_STATE: Final = Struct("<BBQdd18Q")
_WITNESS: Final = Struct("<BBQ16s")
_CRC: Final = Struct("<I")
_MASK: Final = 0xFFFFFFFFFFFFFFFF

WITNESS_BYTES: Final = _WITNESS.size + _CRC.size


def seal(data: bytes) -> bytes:
    """`data` with its checksum."""
    return data + _CRC.pack(crc32(data))


def unseal(sealed: bytes, size: int) -> bytes | None:
    """The `size` bytes that were sealed; None where they are damaged."""
    data = sealed[:size]
    if len(sealed) != size + _CRC.size or sealed[size:] != _CRC.pack(crc32(data)):
        return None
    return data


class State:
    """See the module. `running` is false after a clean end only; times are seconds of `broker.store.clock`."""

    def __init__(self) -> None:
        self.running = False
        self.commits = 0
        self.store_time = 0.0
        self.wall_time = 0.0
        self.counts = [0] * TABLES
        self.sums = [0] * TABLES  # of the rows' numbers, modulo 2 ** 64
        self.last = [0] * TABLES

    def add(self, table: int, rows: int) -> None:
        """`rows` rows are added; they take the next numbers."""
        last = self.last[table]
        self.last[table] = last + rows
        self.counts[table] += rows
        self.sums[table] = (self.sums[table] + rows * last + rows * (rows + 1) // 2) & _MASK

    def delete(self, table: int, numbers: array[int]) -> None:
        """Rows with these numbers are deleted; all of them were there."""
        self.counts[table] -= len(numbers)
        self.sums[table] = (self.sums[table] - sum(numbers)) & _MASK

    def encode(self) -> bytes:
        return seal(
            _STATE.pack(
                _VERSION,
                1 if self.running else 0,
                self.commits,
                self.store_time,
                self.wall_time,
                *self.counts,
                *self.sums,
                *self.last,
            )
        )

    def copy(self) -> State:
        new = State()
        new.running = self.running
        new.commits = self.commits
        new.store_time = self.store_time
        new.wall_time = self.wall_time
        new.counts = list(self.counts)
        new.sums = list(self.sums)
        new.last = list(self.last)
        return new


def decode_state(sealed: bytes) -> State | None:
    """None where it is damaged."""
    data = unseal(sealed, _STATE.size)
    if data is None or data[0] != _VERSION:
        return None
    fields = _STATE.unpack(data)
    state = State()
    state.running = fields[1] == 1
    state.commits = fields[2]
    state.store_time = fields[3]
    state.wall_time = fields[4]
    state.counts = list(fields[5 : 5 + TABLES])
    state.sums = list(fields[5 + TABLES : 5 + 2 * TABLES])
    state.last = list(fields[5 + 2 * TABLES :])
    return state


class Witness:
    """The newest commit; whether it was on the disk (`synced`); and in which run of the machine, b"" if not known."""

    def __init__(self, commits: int, synced: bool, boot: bytes) -> None:
        self.commits = commits
        self.synced = synced
        self.boot = boot

    def encode(self) -> bytes:
        return seal(_WITNESS.pack(_VERSION, 1 if self.synced else 0, self.commits, self.boot))


def decode_witness(sealed: bytes) -> Witness | None:
    """None where it is damaged, or was never written."""
    data = unseal(sealed, _WITNESS.size)
    if data is None or data[0] != _VERSION:
        return None
    _, synced, commits, boot = _WITNESS.unpack(data)
    return Witness(commits, synced == 1, boot.rstrip(b"\0"))
