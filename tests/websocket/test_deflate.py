"""`broker.websocket.deflate`, and the frames it goes through: RFC 7692 as tables, bombs, and another implementation."""

from __future__ import annotations

import itertools
import random
import resource
import tracemalloc
import zlib
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.headers import parse_extension

from broker.websocket.deflate import SHORT, SHORT_WITH_CONTEXT, BadOffer, Deflater, Inflater, negotiate
from broker.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INFLATE_STEP,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    frame_header,
    pong_frame,
)
from broker.websocket.mask import xor_mask

KEY: Final = b"\x37\xfa\x21\x3d"
TAIL: Final = b"\x00\x00\xff\xff"
MEBIBYTE: Final = 1 << 20


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, compressed: bool = False) -> bytes:
    """A Client's frame."""
    header = frame_header(len(payload))
    first = bytes(((0x80 if final else 0) | (0x40 if compressed else 0) | opcode,))
    return first + bytes((header[1] | 0x80,)) + header[2:] + KEY + xor_mask(payload, KEY)


def deflated(payload: bytes, level: int = 9) -> bytes:
    """The payload of a compressed message."""
    state = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(payload: bytes, cut: int = 0) -> bytes:
    """A compressed binary message, in two frames where `cut` says where."""
    data = deflated(payload)
    if cut:
        return frame(BINARY, data[:cut], final=False, compressed=True) + frame(CONTINUATION, data[cut:])
    return frame(BINARY, data, compressed=True)


def server(maximum: int = MEBIBYTE, *, context: bool = False, messages: bool = False) -> FrameDecoder:
    decoder = FrameDecoder(maximum, messages=messages)
    decoder.inflater = Inflater(context=context)
    return decoder


def everything(decoder: FrameDecoder, data: bytes) -> bytes:
    parts = [decoder.feed(data)]
    while decoder.pending:
        parts.append(decoder.more())
    return b"".join(parts)


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """(first byte, payload) of a Server's frames."""
    found = []
    while data:
        length, start = data[1], 2
        assert length < 128
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        found.append((data[0], data[start : start + length]))
        data = data[start + length :]
    return found


TEXTS: Final = b'{"device":"kitchen","temperature":21.5,"humidity":48,"on":true}' * 40


# -- What is agreed on


FORGETFUL: Final = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offers", "takeover", "answer"),
    [
        ("permessage-deflate", False, FORGETFUL),
        ("permessage-deflate; client_max_window_bits", False, FORGETFUL),
        ("permessage-deflate; server_max_window_bits=10", False, f"{FORGETFUL}; server_max_window_bits=10"),
        (
            "deflate-frame, permessage-deflate; client_max_window_bits=9",
            False,
            f"{FORGETFUL}; client_max_window_bits=9",
        ),
        ("permessage-deflate; unknown, permessage-deflate", False, FORGETFUL),
        ("permessage-deflate, permessage-deflate; server_max_window_bits=10", False, FORGETFUL),
        ("permessage-deflate", True, "permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            True,
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            True,
            f"{FORGETFUL}; server_max_window_bits=12",
        ),
    ],
)
def test_what_is_agreed_on(offers: str, takeover: bool, answer: str) -> None:
    agreement = negotiate(offers, takeover)
    assert agreement is not None
    assert agreement.header == answer
    assert agreement.incoming_context is ("client_no_context_takeover" not in answer)
    assert agreement.outgoing_context is ("server_no_context_takeover" not in answer)


@pytest.mark.parametrize(
    "offers",
    [
        "permessage-deflate; server_max_window_bits=8",  # zlib has no such window
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; foo",
        "permessage-bzip2",
        "deflate-frame",
        "PERMESSAGE-DEFLATE-2",
    ],
)
@pytest.mark.parametrize("takeover", [False, True])
def test_what_is_not_agreed_on_is_left_out(offers: str, takeover: bool) -> None:
    assert negotiate(offers, takeover) is None


@pytest.mark.parametrize(
    "offers", ["", ";", "permessage-deflate;", "permessage-deflate; =", "a b", "permessage-deflate;;"]
)
def test_a_malformed_offer_is_said_to_be_one(offers: str) -> None:
    with pytest.raises(BadOffer):
        negotiate(offers, False)


# -- What comes in


def test_compressed_and_plain_messages_are_one_stream() -> None:
    decoder = server()
    data = message(TEXTS) + frame(BINARY, b"plain") + message(TEXTS, cut=10) + frame(PING, b"p") + message(b"end")
    assert everything(decoder, data) == TEXTS + b"plain" + TEXTS + b"end"
    assert decoder.take_replies() == pong_frame(b"p")
    assert not decoder.closed


def test_a_byte_at_a_time_gives_the_same() -> None:
    decoder = server()
    data = message(TEXTS) + message(b"x" * 300, cut=3) + frame(BINARY, b"plain")
    assert b"".join(everything(decoder, data[at : at + 1]) for at in range(len(data))) == TEXTS + b"x" * 300 + b"plain"


def test_a_control_frame_between_the_frames_of_a_message() -> None:
    decoder = server()
    data = deflated(TEXTS)
    whole = frame(BINARY, data[:7], final=False, compressed=True) + frame(PING, b"p") + frame(CONTINUATION, data[7:])
    assert everything(decoder, whole) == TEXTS
    assert decoder.take_replies() == pong_frame(b"p")


@pytest.mark.parametrize(
    "payload",
    [
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",  # section 7.2.3.1
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",  # 7.2.3.3: a block without compression
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",  # 7.2.3.4: a final block
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",  # 7.2.3.5: two blocks
    ],
)
def test_the_examples_of_the_standard(payload: bytes) -> None:
    for cut in range(1, len(payload)):
        decoder = server()
        frames = frame(BINARY, payload[:cut], final=False, compressed=True) + frame(CONTINUATION, payload[cut:])
        assert everything(decoder, frames + frame(BINARY, payload, compressed=True)) == b"HelloHello"


def test_the_window_of_a_message_before_is_used_where_it_was_agreed_on() -> None:
    second = b"\xf2\x00\x11\x00\x00"  # "Hello" again, by a reference: section 7.2.3.2
    first = frame(BINARY, b"\xf2\x48\xcd\xc9\xc9\x07\x00", compressed=True)
    decoder = server(context=True)
    assert everything(decoder, first + frame(BINARY, second, compressed=True)) == b"HelloHello"
    decoder = server()
    assert everything(decoder, first + frame(BINARY, second, compressed=True)) == b"Hello"
    assert decoder.close_code == 1007


def test_an_empty_message() -> None:
    decoder = server()
    empty = frame(BINARY, b"\x00", compressed=True)
    fragments = frame(BINARY, deflated(b"abc"), final=False, compressed=True) + frame(CONTINUATION)
    assert everything(decoder, empty + fragments + empty) == b"abc"
    assert not decoder.closed


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(CONTINUATION, b"a", compressed=True), 1002),
        (frame(BINARY, b"\x4a", final=False, compressed=True) + frame(CONTINUATION, b"a", compressed=True), 1002),
        (frame(PING, b"a", compressed=True), 1002),
        (frame(PONG, b"a", compressed=True), 1002),
        (frame(CLOSE, b"\x03\xe8", compressed=True), 1002),
        (frame(TEXT, deflated(b"a"), compressed=True), 1003),
        (frame(BINARY, b"\xff\xff\xff\xff", compressed=True), 1007),
        (frame(BINARY, b"\x07", compressed=True), 1007),
        (frame(BINARY, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00", compressed=True), 1007),
        (frame(BINARY, b"\xf3\x48\xcd\xc9\xc9\x07\x00ab", compressed=True), 1007),
    ],
)
def test_what_breaks_the_rules(data: bytes, code: int) -> None:
    decoder = server()
    everything(decoder, data)
    assert decoder.close_code == code
    assert decoder.violation
    assert len(frames_of(decoder.take_replies())) == 1


def test_without_an_agreement_no_frame_may_be_compressed() -> None:
    decoder = FrameDecoder(MEBIBYTE)
    assert decoder.feed(message(b"abc")) == b""
    assert decoder.close_code == 1002


def test_text_is_checked_as_it_comes_out() -> None:
    decoder = server(messages=True)
    everything(decoder, frame(TEXT, deflated("tschüß".encode()), compressed=True))
    assert decoder.take_messages() == [(TEXT, "tschüß".encode())]
    everything(decoder, frame(TEXT, deflated(b"a\xff"), compressed=True))
    assert decoder.close_code == 1007


# -- Bounds


@pytest.mark.parametrize(("size", "code"), [(999, None), (1000, None), (1001, 1009), (MEBIBYTE, 1009)])
@pytest.mark.parametrize("cut", [0, 1, 5])
def test_the_limit_holds_for_what_comes_out(size: int, code: int | None, cut: int) -> None:
    decoder = server(maximum=1000)
    out = everything(decoder, message(b"x" * size, cut))
    assert decoder.close_code == code
    assert len(out) <= 1000
    if code is None:
        assert out == b"x" * size


def test_the_limit_holds_for_each_message_anew() -> None:
    decoder = server(maximum=1000)
    assert everything(decoder, message(b"x" * 1000) * 50) == b"x" * 50_000
    assert not decoder.closed


def test_one_call_gives_a_step_and_not_all_that_would_come_of_it() -> None:
    decoder = server(maximum=16 * MEBIBYTE)
    bombs = message(bytes(MEBIBYTE)) * 60
    assert len(bombs) < 65_536
    out, total = decoder.feed(bombs), 0
    while True:
        assert len(out) <= 2 * INFLATE_STEP + 16_384
        total += len(out)
        if not decoder.pending:
            break
        out = decoder.more()
    assert total == 60 * MEBIBYTE


def test_bytes_fed_while_some_are_pending_come_behind_them() -> None:
    decoder = server()
    parts = [decoder.feed(message(b"a" * 500_000))]
    assert decoder.pending
    parts.append(decoder.feed(message(b"b" * 500_000) + frame(BINARY, b"c")))
    while decoder.pending:
        parts.append(decoder.more())
    assert b"".join(parts) == b"a" * 500_000 + b"b" * 500_000 + b"c"


def test_a_thousand_bombs_take_no_memory() -> None:
    """1 MB of zeros in 1 KB, a thousand times: read as a socket would be, refused before a Client has shown who it is
    and taken in steps afterwards."""
    bomb = message(bytes(1_000_000))
    assert len(bomb) < 1100
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        for _ in range(1000):
            decoder = server(maximum=65_536)
            everything(decoder, bomb)
            assert decoder.close_code == 1009
        peak = tracemalloc.get_traced_memory()[1]
        decoder = server(maximum=16 * MEBIBYTE)
        tracemalloc.reset_peak()
        for _ in range(20):
            data = bomb * 50
            decoder.feed(data)
            while decoder.pending:
                decoder.more()
        assert not decoder.closed
        steps = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEBIBYTE
    assert steps < 2 * MEBIBYTE
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 8 * MEBIBYTE


# -- What goes out


@pytest.mark.parametrize("context", [False, True])
def test_a_short_message_goes_as_it_is(context: bool) -> None:
    deflater = Deflater(context=context)
    short = SHORT_WITH_CONTEXT if context else SHORT
    assert frames_of(deflater.frames(b"x" * (short - 1), 65_536)) == [(0x82, b"x" * (short - 1))]
    ((first, payload),) = frames_of(deflater.frames(b"x" * short, 65_536))
    assert first == 0xC2
    assert len(payload) < short
    assert deflater.frames(b"", 100) == b""


def test_what_would_not_shrink_goes_as_it_is() -> None:
    noise = random.Random(1).randbytes(5000)
    assert frames_of(Deflater().frames(noise, 65_536)) == [(0x82, noise)]


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("length", [31, 300, 1000, 1001, 2600])
def test_what_goes_out_can_be_read_by_another(context: bool, bits: int, length: int) -> None:
    deflater = Deflater(bits, context)
    reader = PerMessageDeflate(not context, True, bits, 15)
    out = b""
    for _ in range(3):
        for first, payload in frames_of(deflater.frames(TEXTS[:length], 1000)):
            read = reader.decode(Frame(Opcode.BINARY, payload, True, rsv1=bool(first & 0x40)))
            assert len(read.data) <= 1000
            out += read.data
    assert out == TEXTS[:length] * 3


def test_nothing_of_one_connection_is_in_another() -> None:
    """The compressor is shared: the second message must inflate by itself, as small as in a compressor of its own."""
    one, other = Deflater(), Deflater()
    one.message(BINARY, TEXTS)
    ((_, payload),) = frames_of(other.message(BINARY, TEXTS))
    assert zlib.decompressobj(-15).decompress(payload + TAIL) == TEXTS
    assert payload == deflated(TEXTS, level=1)


def test_what_an_interrupted_message_leaves_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def compress(self, data: bytes) -> bytes:
            raise MemoryError

    deflater = Deflater(11)
    deflater.message(BINARY, TEXTS)
    with monkeypatch.context() as patch:
        patch.setattr("broker.websocket.deflate._shared._states", {11: Failing()})
        with pytest.raises(MemoryError):
            deflater.message(BINARY, TEXTS)
        ((_, payload),) = frames_of(deflater.message(BINARY, TEXTS))
    assert zlib.decompressobj(-11).decompress(payload + TAIL) == TEXTS


# -- Against another implementation


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=600), st.booleans(), st.integers(0, 40)), max_size=8),
    st.lists(st.integers(0, 3000), max_size=6),
    st.booleans(),
)
def test_any_messages_cut_anyhow(messages: list[tuple[bytes, bool, int]], cuts: list[int], context: bool) -> None:
    writer = PerMessageDeflate(True, not context, 15, 15)
    data = b""
    for payload, compressed, cut in messages:
        if not compressed:
            data += frame(BINARY, payload)
            continue
        small = bytes(writer.encode(Frame(Opcode.BINARY, payload)).data)
        data += frame(BINARY, small[:cut], final=False, compressed=True) + frame(CONTINUATION, small[cut:])
    decoder = server(context=context)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    out = b"".join(everything(decoder, data[start:end]) for start, end in itertools.pairwise([0, *ends]))
    assert out == b"".join(payload for payload, _, _ in messages)
    assert not decoder.closed


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=10), st.integers(1, 5000), st.booleans())
def test_no_bytes_raise_and_none_go_beyond_the_limit(pieces: list[bytes], maximum: int, context: bool) -> None:
    decoder = server(maximum, context=context)
    data = b"".join(frame(BINARY, piece, compressed=True) for piece in pieces)
    out = everything(decoder, data)
    assert len(out) <= maximum * len(pieces)
    if decoder.closed:
        assert decoder.close_code in (1007, 1009)


def test_a_client_of_the_websockets_package_agrees() -> None:
    for takeover in (False, True):
        client = ClientPerMessageDeflateFactory()
        offer = "; ".join(name if value is None else f"{name}={value}" for name, value in client.get_request_params())
        agreement = negotiate(f"permessage-deflate; {offer}", takeover)
        assert agreement is not None
        ((_, parameters),) = parse_extension(agreement.header)
        reader = client.process_response_params(parameters, [])
        decoder = FrameDecoder(MEBIBYTE)
        decoder.inflater = agreement.inflater()
        deflater = agreement.deflater()
        for _ in range(3):
            sent = reader.encode(Frame(Opcode.BINARY, TEXTS))
            assert everything(decoder, frame(BINARY, bytes(sent.data), compressed=True)) == TEXTS
            ((first, payload),) = frames_of(deflater.message(BINARY, TEXTS))
            assert first == 0xC2
            assert reader.decode(Frame(Opcode.BINARY, payload, rsv1=True)).data == TEXTS
