"""Masking of WebSocket payloads: each byte XOR the masking key's byte at its index modulo four (RFC 6455 section 5.3).

The C function of the `websockets` package does it where that was built; it is not in that package's documentation, so
the import is guarded and a pure function of the same meaning stands behind it. Both are tested against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def xor_mask(data: bytes, mask: bytes) -> bytes:
    """`data` masked, or unmasked, with the 4-byte `mask`, as two big integers: no loop over bytes."""
    length = len(data)
    repeated = (mask * ((length + 3) >> 2))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(length, "little")


def _fastest() -> Callable[[bytes, bytes], bytes]:
    try:
        from websockets.speedups import apply_mask as in_c
    except ImportError:
        return xor_mask
    return in_c


apply_mask: Final[Callable[[bytes, bytes], bytes]] = _fastest()
