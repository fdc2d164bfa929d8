"""Nanoseconds per WebSocket frame, mask and handshake: `python -m tests.perf.bench_frames`.

Each line is the best of several rounds. A batch is what one read of a busy socket brings: at most 64 KiB here.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from broker.websocket import frames
from broker.websocket.frames import BINARY, FrameDecoder, binary_frames, message_frame
from broker.websocket.handshake import UPGRADED, HttpDoor
from broker.websocket.mask import apply_mask, xor_mask

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 50
READ_BYTES = 64 * 1024
CUTS_OF_A_PACKET = (1, 1, 2, 5, 2, 20, 64)  # how a Node client writes one PUBLISH: a frame for each
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\nOrigin: http://localhost:8080\r\n\r\n"
)


def best(work: Callable[[], object], operations: int) -> float:
    fastest = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        work()
        fastest = min(fastest, time.process_time_ns() - begun)
    return fastest / operations


def decoding(pieces: tuple[bytes, ...], masked: bool) -> float:
    """Nanoseconds per repetition of `pieces`, a frame each."""
    unit = b"".join(message_frame(BINARY, piece, masked) for piece in pieces)
    repetitions = max(1, min(1000, READ_BYTES // len(unit)))
    decoder = FrameDecoder(READ_BYTES, server=masked)
    data = unit * repetitions
    if decoder.feed(data) != b"".join(pieces) * repetitions or decoder.closed:
        raise RuntimeError(f"the decoder did not read its batch: {decoder.violation}")

    def work() -> None:
        for _ in range(10):
            decoder.feed(data)

    return best(work, 10 * repetitions)


def calling(work: Callable[[], object], times: int = 1000) -> float:
    def repeat() -> None:
        for _ in range(times):
            work()

    return best(repeat, times)


def upgrade() -> None:
    door = HttpDoor()
    door.feed(UPGRADE)
    if door.outcome != UPGRADED:
        raise RuntimeError(door.reason)


def main() -> None:
    compiled = (frames.__file__ or "").endswith(".so")
    print(f"frames.py runs {'compiled' if compiled else 'plain'}")
    for size in (2, 16, 64, 125, 126, 1000, 4096, 16_384):
        piece = (b"x" * size,)
        server, client = decoding(piece, True), decoding(piece, False)
        print(f"decode {size:6} bytes{server:8.0f} ns masked (Server){client:8.0f} unmasked (Client)")
    packet = tuple(b"x" * size for size in CUTS_OF_A_PACKET)
    print(f"decode a packet in {len(packet)} frames{decoding(packet, True):8.0f} ns")
    for size in (64, 1000, 16_384):
        payload = b"x" * size
        plain = calling(partial(binary_frames, payload, READ_BYTES))
        masked = calling(partial(binary_frames, payload, READ_BYTES, True))
        print(f"encode {size:6} bytes{plain:8.0f} ns unmasked (Server){masked:8.0f} masked (Client)")
    for size in (16, 90, 4096):
        payload = b"x" * size
        fast = calling(partial(apply_mask, payload, b"abcd"))
        own = calling(partial(xor_mask, payload, b"abcd"))
        print(f"mask   {size:6} bytes{fast:8.0f} ns as imported{own:8.0f} as integers")
    print(f"upgrade, from nothing to 101{calling(upgrade, 100):12.0f} ns")


if __name__ == "__main__":
    main()
