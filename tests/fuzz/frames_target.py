"""WebSocket frames: in any cut the same payload, the same replies, the same verdict, and never more than asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.websocket.deflate import Inflater
from broker.websocket.frames import CLOSE, INFLATE_STEP, PONG, FrameDecoder
from tests.fuzz.cuts import pieces

if TYPE_CHECKING:
    from tests.fuzz.cuts import Reads


class Heard(NamedTuple):
    """All that a FrameDecoder has to say."""

    closed: bool
    violation: str
    verdict: tuple[int | None, str, int]
    replies: bytes
    payload: bytes
    messages: list[tuple[int, bytes]]


def target(data: bytes) -> None:
    """As a Server or a Client, as a stream or in messages, with and without permessage-deflate."""
    if len(data) < 2:
        return
    mode, cut, data = data[0], data[1], data[2:]
    whole = heard(mode, [data])
    in_pieces = heard(mode, pieces(data, cut))
    if not (mode & 4 and whole.violation):
        assert in_pieces == whole
        return
    # What a compressed message was before it went wrong is given as far as it was read, and it may be wrong twice over.
    assert in_pieces.closed
    assert in_pieces.violation
    assert in_pieces.messages == whole.messages
    shorter = min(len(in_pieces.payload), len(whole.payload))
    assert in_pieces.payload[:shorter] == whole.payload[:shorter]


def heard(mode: int, reads: Reads) -> Heard:
    server, messages, compressed = not mode & 1, mode & 2 != 0, mode & 4 != 0
    maximum = (125, 1000, 0x10000, 1 << 20)[mode >> 4 & 3]
    decoder = FrameDecoder(maximum, (4, 64)[mode >> 6 & 1], server, messages)
    if compressed:
        decoder.inflater = Inflater(context=mode & 8 != 0)
    payload, replies, whole = b"", b"", list[tuple[int, bytes]]()
    for data in reads:
        given = decoder.feed(data)
        while True:
            assert len(given) <= len(data) + 3 * INFLATE_STEP
            payload += given
            whole += decoder.take_messages()
            if not decoder.pending:
                break
            given = decoder.more()
        assert compressed or len(decoder._held) <= 139
        replies += decoder.take_replies()
    assert decoder.closed or not decoder.violation
    assert not (payload if messages else whole)
    assert all(len(message) <= maximum for _, message in whole)
    if server:
        assert decoder.closed == (opcodes(replies)[-1:] == [CLOSE])
    else:
        replies = bytes(len(replies))  # masked at random
    verdict = (decoder.close_code, decoder.close_reason, decoder.pongs_received)
    return Heard(decoder.closed, decoder.violation, verdict, replies, payload, whole)


def opcodes(replies: bytes) -> list[int]:
    """Of a Server's Pongs and its Close, which comes last."""
    found: list[int] = []
    while replies:
        assert replies[0] & 0xF0 == 0x80
        assert replies[1] <= 125
        assert CLOSE not in found
        found.append(replies[0] & 0x0F)
        assert found[-1] in (CLOSE, PONG)
        assert len(replies) >= 2 + replies[1]
        replies = replies[2 + replies[1] :]
    return found
