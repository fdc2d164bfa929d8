"""How an input is cut into reads: whatever the cut, the outcome is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Reads: TypeAlias = "Iterator[bytes] | list[bytes]"


def pieces(data: bytes, cut: int) -> Iterator[bytes]:
    """`data` in the reads that `cut` stands for: 0 a byte at a time, otherwise `cut` bytes, one, three times `cut`."""
    sizes = (cut, 1, 3 * cut) if cut else (1,)
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at += size
        turn += 1
