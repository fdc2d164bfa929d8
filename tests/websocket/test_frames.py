"""`broker.websocket.frames`: the rules of RFC 6455 as a table of bytes, and another implementation beside it."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

from broker.websocket.deflate import Inflater
from broker.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    binary_frames,
    close_frame,
    frame_header,
    message_frame,
    ping_frame,
    pong_frame,
)
from broker.websocket.mask import xor_mask
from tests.statements import statement

KEY: Final = b"\x37\xfa\x21\x3d"
MAXIMUM: Final = 1 << 20


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame of any kind, right or wrong; the length in its shortest form."""
    first = bytes(((0x80 if final else 0) | reserved | opcode,))
    header = frame_header(len(payload))
    if not masked:
        return first + header[1:] + payload
    return first + bytes((header[1] | 0x80,)) + header[2:] + KEY + xor_mask(payload, KEY)


def server(maximum: int = MAXIMUM, fragments: int = 64) -> FrameDecoder:
    return FrameDecoder(maximum, fragments)


def feed_cut(decoder: FrameDecoder, data: bytes, cuts: list[int]) -> bytes:
    """Feed `data` in pieces that end at `cuts`; the payload that came out."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return b"".join(decoder.feed(data[start:end]) for start, end in itertools.pairwise([0, *ends]))


# -- What is right


@statement("RFC6455-5.2", "RFC6455-5.3", "RFC6455-5.6")
@pytest.mark.parametrize("length", [0, 1, 5, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_binary_message_of_any_length_is_unmasked(length: int) -> None:
    payload = bytes(range(256)) * (length // 256 + 1)
    decoder = server()
    assert decoder.feed(frame(BINARY, payload[:length])) == payload[:length]
    assert not decoder.closed
    assert decoder.take_replies() == b""


@statement("RFC6455-5.2")
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_a_byte_at_a_time_gives_the_same(length: int) -> None:
    payload = (b"0123456789" * (length // 10 + 1))[:length]
    data = frame(BINARY, payload) + frame(PING, b"p") + frame(BINARY, b"end")
    decoder = server()
    assert b"".join(decoder.feed(data[index : index + 1]) for index in range(len(data))) == payload + b"end"
    assert decoder.take_replies() == pong_frame(b"p")


@statement("MQTT5-6.0.0-2", "MQTT311-6.0.0-2", "RFC6455-6.2", "RFC6455-5.4")
@settings(deadline=None)
@given(
    payload=st.binary(max_size=600),
    sizes=st.lists(st.integers(0, 40), max_size=60),
    breaks=st.lists(st.booleans(), min_size=61, max_size=61),
    pings=st.lists(st.integers(0, 60), max_size=5),
    cuts=st.lists(st.integers(0, 1500), max_size=20),
)
def test_any_framing_and_any_cut_gives_the_same_stream_of_bytes(
    payload: bytes, sizes: list[int], breaks: list[bool], pings: list[int], cuts: list[int]
) -> None:
    pieces: list[bytes] = []
    start = 0
    for size in sizes:
        pieces.append(payload[start : start + size])
        start += size
    pieces.append(payload[start:])
    data = b""
    within = False
    for index, piece in enumerate(pieces):
        final = breaks[index] or index == len(pieces) - 1
        data += frame(CONTINUATION if within else BINARY, piece, final=final)
        within = not final
        data += frame(PING, bytes((index,))) * pings.count(index)
    decoder = server()
    assert feed_cut(decoder, data, cuts) == payload
    assert not decoder.closed
    answered = [index for index in range(len(pieces)) for _ in range(pings.count(index))]
    assert decoder.take_replies() == b"".join(pong_frame(bytes((index,))) for index in answered)


@statement("RFC6455-5.4", "RFC6455-5.5.2", "RFC6455-5.5.3")
def test_a_ping_between_fragments_is_answered_with_its_data() -> None:
    decoder = server()
    data = frame(BINARY, b"a", final=False) + frame(PING, b"x" * 125) + frame(CONTINUATION, b"b")
    assert not decoder.replying
    assert decoder.feed(data) == b"ab"
    assert decoder.replying
    assert decoder.take_replies() == bytes((0x8A, 125)) + b"x" * 125
    assert not decoder.replying
    assert decoder.take_replies() == b""


@statement("RFC6455-5.5.3")
def test_a_pong_is_counted_and_not_answered() -> None:
    decoder = server()
    assert decoder.feed(frame(PONG) + frame(PONG, b"unasked")) == b""
    assert decoder.pongs_received == 2
    assert decoder.take_replies() == b""
    assert not decoder.closed


def test_payload_is_handed_on_before_its_frame_is_whole() -> None:
    decoder = server()
    data = frame(BINARY, b"abcdefghij" * 30)
    assert decoder.feed(data[:12]) == b"abcd"
    assert decoder.feed(data[12:13]) == b"e"
    assert decoder.feed(data[13:]) == (b"abcdefghij" * 30)[5:]


# -- What is wrong


def violations() -> list[tuple[str, bytes, int]]:
    """(what, bytes, close code)"""
    table = [
        ("unmasked data", frame(BINARY, b"a", masked=False), 1002),
        ("unmasked empty data", frame(BINARY, masked=False), 1002),
        ("unmasked ping", frame(PING, masked=False), 1002),
        ("unmasked close", frame(CLOSE, masked=False), 1002),
        ("ping of 126 bytes", frame(PING, b"x" * 126), 1002),
        ("pong of 126 bytes", frame(PONG, b"x" * 126), 1002),
        ("close of 126 bytes", frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
        ("ping of 64-bit length", frame(PING, b"x" * 65_536), 1002),
        ("fragmented ping", frame(PING, final=False), 1002),
        ("fragmented pong", frame(PONG, final=False), 1002),
        ("fragmented close", frame(CLOSE, final=False), 1002),
        ("continuation of nothing", frame(CONTINUATION, b"a"), 1002),
        ("open continuation of nothing", frame(CONTINUATION, b"a", final=False), 1002),
        ("continuation behind a whole message", frame(BINARY, b"a") + frame(CONTINUATION, b"b"), 1002),
        ("binary within a message", frame(BINARY, b"a", final=False) + frame(BINARY, b"b"), 1002),
        ("binary fragment within a message", frame(BINARY, final=False) + frame(BINARY, final=False), 1002),
        ("text within a message", frame(BINARY, b"a", final=False) + frame(TEXT, b"b"), 1002),
        ("length of 5 in 16 bits", b"\x82\xfe\x00\x05" + KEY + b"abcde", 1002),
        ("length of 125 in 16 bits", b"\x82\xfe\x00\x7d" + KEY, 1002),
        ("length of 125 in 16 bits, whole", b"\x82\xfe\x00\x7d" + KEY + b"x" * 125, 1002),
        ("length of 5 in 64 bits", b"\x82\xff" + bytes(7) + b"\x05" + KEY, 1002),
        ("length of 65535 in 64 bits", b"\x82\xff" + bytes(6) + b"\xff\xff" + KEY, 1002),
        ("length above 63 bits", b"\x82\xff\x80" + bytes(7) + KEY, 1002),
        ("length of all ones", b"\x82\xff" + b"\xff" * 8 + KEY, 1002),
        ("text", frame(TEXT, b"hello"), 1003),
        ("empty text", frame(TEXT), 1003),
        ("text fragment", frame(TEXT, b"hello", final=False), 1003),
        ("close of one byte", frame(CLOSE, b"\x03"), 1002),
        ("close reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff\xfe"), 1007),
        ("close reason cut within a character", frame(CLOSE, b"\x03\xe8" + "é".encode()[:1]), 1007),
        ("close reason with a surrogate", frame(CLOSE, b"\x03\xe8\xed\xa0\x80"), 1007),
        ("message of a byte too much", frame(BINARY, b"x" * (MAXIMUM + 1)), 1009),
        ("header of a byte too much", b"\x82\xff" + (MAXIMUM + 1).to_bytes(8, "big"), 1009),
        ("fragments of a byte too much", frame(BINARY, b"x" * MAXIMUM, final=False) + frame(CONTINUATION, b"x"), 1009),
        ("65 fragments", frame(BINARY, b"x", final=False) + frame(CONTINUATION, b"x", final=False) * 64, 1008),
        ("65 empty fragments", frame(BINARY, final=False) + frame(CONTINUATION, final=False) * 64, 1008),
    ]
    table += [(f"reserved bit {bit:#x}", frame(BINARY, b"a", reserved=bit), 1002) for bit in (0x40, 0x20, 0x10, 0x70)]
    table += [("reserved bit of a ping", frame(PING, reserved=0x40), 1002)]
    table += [("reserved bit of a continuation", frame(BINARY, final=False) + frame(0, reserved=0x40), 1002)]
    table += [(f"opcode {opcode}", frame(opcode), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
    wrong = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    table += [(f"close code {code}", frame(CLOSE, code.to_bytes(2, "big")), 1002) for code in wrong]
    return table


VIOLATIONS: Final = violations()


@statement("RFC6455-5.1", "RFC6455-5.2", "RFC6455-5.4", "RFC6455-5.5", "RFC6455-5.8", "RFC6455-7.1.7")
@statement("RFC6455-7.4.1", "RFC6455-7.4.2", "RFC6455-8.1", "RFC6455-10.4", "RFC6455-10.7")
@statement("MQTT5-6.0.0-1", "MQTT311-6.0.0-1")
@pytest.mark.parametrize(("data", "code"), [case[1:] for case in VIOLATIONS], ids=[case[0] for case in VIOLATIONS])
def test_a_violation_is_answered_with_its_close_code_and_ends_the_reading(data: bytes, code: int) -> None:
    decoder = server()
    before = decoder.feed(frame(BINARY, b"before"))
    decoder.feed(data + frame(BINARY, b"after") + frame(PING))
    assert before == b"before"
    assert decoder.closed
    assert decoder.close_code == code
    assert decoder.violation
    replies = decoder.take_replies()
    assert replies[0] == 0x88
    assert replies[1] == len(replies) - 2 <= 125
    assert int.from_bytes(replies[2:4], "big") == code
    assert replies[4:].decode() == decoder.violation
    assert decoder.feed(frame(BINARY, b"later") + frame(PING)) == b""
    assert decoder.take_replies() == b""


@pytest.mark.parametrize("data", [case[1] for case in VIOLATIONS if len(case[1]) < 2000])
@pytest.mark.parametrize("step", [1, 3, 7])
def test_a_violation_is_the_same_however_it_is_cut(data: bytes, step: int) -> None:
    whole, cut = server(), server()
    came = whole.feed(data)
    assert b"".join(cut.feed(data[index : index + step]) for index in range(0, len(data), step)) == came
    assert cut.take_replies() == whole.take_replies()
    assert cut.close_code == whole.close_code


def test_payload_before_a_violation_in_the_same_read_is_handed_on() -> None:
    decoder = server()
    assert decoder.feed(frame(BINARY, b"a") + frame(BINARY, b"b") + frame(TEXT, b"c")) == b"ab"
    assert decoder.close_code == 1003


@statement("RFC6455-10.4")
def test_a_promise_of_2_to_62_bytes_takes_no_memory() -> None:
    header = b"\x82\xff" + (1 << 62).to_bytes(8, "big") + KEY
    refusing, trusting = server(), server(maximum=1 << 63)
    tracemalloc.start()
    try:
        refusing.feed(header)
        trusting.feed(header)
        for _ in range(1000):
            assert len(trusting.feed(b"x" * 4096)) == 4096
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert refusing.close_code == 1009
    assert not trusting.closed


@statement("RFC6455-10.4")
def test_a_million_empty_continuations_are_refused_and_take_no_memory() -> None:
    flood = frame(CONTINUATION, final=False) * 10_000
    decoder = server()
    decoder.feed(frame(BINARY, final=False))
    tracemalloc.start()
    try:
        for _ in range(100):
            assert decoder.feed(flood) == b""
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert decoder.close_code == 1008


def test_the_limit_counts_a_message_and_not_the_connection() -> None:
    decoder = server(maximum=10, fragments=3)
    message = frame(BINARY, b"1234", final=False) + frame(0, b"5678", final=False) + frame(0, b"90")
    assert decoder.feed((message + frame(BINARY, b"x" * 10)) * 20) == (b"1234567890" + b"x" * 10) * 20
    decoder.feed(frame(BINARY, b"x" * 11))
    assert decoder.close_code == 1009


def test_the_limit_may_be_raised() -> None:
    decoder = server(maximum=10)
    decoder.maximum = 1000
    assert decoder.feed(frame(BINARY, b"x" * 1000)) == b"x" * 1000


@statement("RFC6455-5.8")
def test_a_reserved_bit_that_was_negotiated_passes() -> None:
    decoder = server()
    decoder.inflater = Inflater()
    assert decoder.feed(frame(BINARY, b"\x4a\x04\x00", reserved=0x40)) == b"a"
    decoder.feed(frame(BINARY, b"a", reserved=0x20))
    assert decoder.close_code == 1002


# -- Closing


@statement("RFC6455-5.5.1", "RFC6455-7.1.5", "RFC6455-7.4.2")
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code(code: int) -> None:
    decoder = server()
    assert decoder.feed(frame(BINARY, b"a") + frame(CLOSE, code.to_bytes(2, "big") + "tschüß".encode())) == b"a"
    assert decoder.closed
    assert decoder.close_code == code
    assert decoder.close_reason == "tschüß"
    assert decoder.violation == ""
    assert decoder.take_replies() == b"\x88\x02" + code.to_bytes(2, "big")


@statement("RFC6455-5.5.1", "RFC6455-7.1.5", "RFC6455-7.4.1")
def test_a_close_without_a_code_is_1005_and_answered_without_one() -> None:
    decoder = server()
    decoder.feed(frame(CLOSE))
    assert decoder.close_code == 1005
    assert decoder.take_replies() == b"\x88\x00"


@statement("RFC6455-5.5.1", "RFC6455-5.5.2")
def test_behind_a_close_nothing_is_read_or_answered() -> None:
    decoder = server()
    assert decoder.feed(frame(CLOSE, b"\x03\xe8") + frame(BINARY, b"late") + frame(PING, b"late")) == b""
    assert decoder.take_replies() == b"\x88\x02\x03\xe8"


@statement("RFC6455-5.5.1", "RFC6455-7.1.2")
def test_our_own_close_is_sent_once_and_its_answer_not_answered() -> None:
    decoder = server()
    assert decoder.close(1001, "bye") == b"\x88\x05\x03\xe9bye"
    assert decoder.close(1001) == b""
    assert decoder.feed(frame(BINARY, b"under way")) == b"under way"
    decoder.feed(frame(CLOSE, b"\x03\xe9"))
    assert decoder.closed
    assert decoder.take_replies() == b""


@statement("RFC6455-5.5.1")
def test_a_violation_behind_our_own_close_sends_no_second_one() -> None:
    decoder = server()
    decoder.close()
    decoder.feed(frame(BINARY, masked=False))
    assert decoder.closed
    assert decoder.take_replies() == b""


# -- Whole messages


def test_messages_keep_their_opcode_and_their_edges() -> None:
    decoder = FrameDecoder(MAXIMUM, messages=True)
    data = frame(TEXT, "hé".encode()[:2], final=False) + frame(0, "hé".encode()[2:]) + frame(BINARY, b"b")
    data += frame(BINARY, final=False) + frame(0) + frame(TEXT)
    assert feed_cut(decoder, data, list(range(len(data)))) == b""
    assert decoder.take_messages() == [(TEXT, "hé".encode()), (BINARY, b"b"), (BINARY, b""), (TEXT, b"")]
    assert decoder.take_messages() == []
    assert not decoder.closed


@statement("RFC6455-8.1")
@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"ab\xffc"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(TEXT, "é".encode()[:1]),
        frame(TEXT, "é".encode()[:1], final=False) + frame(0, b"x"),
        frame(TEXT, b"ab\xff" + b"c" * 200)[:20],
        frame(TEXT, b"\xff", final=False),
    ],
    ids=["bad byte", "surrogate", "cut end", "cut over frames", "frame not whole yet", "message not whole yet"],
)
def test_text_that_is_not_utf_8_fails_as_soon_as_it_is_seen(data: bytes) -> None:
    decoder = FrameDecoder(MAXIMUM, messages=True)
    decoder.feed(data)
    assert decoder.close_code == 1007
    assert decoder.take_messages() == []


# -- The Client's side


@statement("RFC6455-5.1")
def test_a_client_refuses_masked_frames_and_masks_its_own() -> None:
    client = FrameDecoder(MAXIMUM, server=False)
    assert client.feed(message_frame(BINARY, b"x" * 300) + message_frame(BINARY, b"y")) == b"x" * 300 + b"y"
    client.feed(ping_frame(b"p"))
    pong = client.take_replies()
    assert pong[:2] == bytes((0x8A, 0x81))
    client.feed(message_frame(BINARY, b"z", masked=True))
    assert client.close_code == 1002
    assert client.take_replies()[1] & 0x80


@settings(deadline=None)
@given(payload=st.binary(max_size=400), frame_bytes=st.integers(1, 300), masked=st.booleans())
def test_what_one_role_encodes_the_other_decodes(payload: bytes, frame_bytes: int, masked: bool) -> None:
    decoder = FrameDecoder(frame_bytes, fragments=1, server=masked)
    data = binary_frames(payload, frame_bytes, masked)
    assert decoder.feed(data) == payload
    assert not decoder.closed


# -- Encoding


@statement("RFC6455-5.2", "RFC6455-6.1", "RFC6455-5.1", "MQTT5-6.0.0-1", "MQTT311-6.0.0-1")
@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, "8200"),
        (1, "8201"),
        (125, "827d"),
        (126, "827e007e"),
        (65_535, "827effff"),
        (65_536, "827f0000000000010000"),
        (1 << 62, "827f4000000000000000"),
    ],
)
def test_a_header_says_binary_final_unmasked_and_the_length_shortly(length: int, header: str) -> None:
    assert frame_header(length).hex() == header


@statement("MQTT5-6.0.0-2", "MQTT311-6.0.0-2")
def test_payload_is_cut_into_messages_of_the_size_asked_for() -> None:
    assert binary_frames(b"", 4) == b""
    assert binary_frames(b"abcd", 4) == b"\x82\x04abcd"
    assert binary_frames(b"abcdefghi", 4) == b"\x82\x04abcd\x82\x04efgh\x82\x01i"
    decoder = server(maximum=4)
    assert decoder.feed(binary_frames(b"abcdefghi", 4, masked=True)) == b"abcdefghi"
    assert not decoder.closed


@statement("RFC6455-5.5", "RFC6455-5.5.1")
def test_a_long_close_reason_is_cut_between_characters() -> None:
    made = close_frame(1002, "é" * 100)
    assert made[:4] == bytes((0x88, 2 + 122)) + b"\x03\xea"
    assert made[4:].decode() == "é" * 61
    assert close_frame(1005, "not sent") == b"\x88\x00"


@statement("RFC6455-5.3")
def test_masking_keys_differ() -> None:
    keys = {ping_frame(masked=True)[2:6] for _ in range(50)}
    assert len(keys) > 45


# -- Against the `websockets` package


def reference(data: bytes) -> tuple[list[tuple[int, bytes]], int | None]:
    """What the package makes of the same bytes: the frames it takes in order, and the close code of a refusal."""
    protocol = ServerProtocol(state=OPEN, max_size=MAXIMUM)
    protocol.receive_data(data)
    read = [event for event in protocol.events_received() if isinstance(event, Frame)]
    taken = [(int(event.opcode), bytes(event.data)) for event in read]
    refusal = protocol.parser_exc
    code = None
    if refusal is not None and protocol.close_sent is not None:
        code = int(protocol.close_sent.code)
    return taken, code


RAW_FRAMES: Final = st.builds(
    frame,
    st.sampled_from([0, 0, 1, 2, 2, 2, 3, 8, 9, 10, 11]),
    st.one_of(st.binary(max_size=20), st.binary(min_size=120, max_size=130), st.sampled_from([b"\x03\xe8", b"\x0b"])),
    final=st.sampled_from([True, True, False]),
    masked=st.sampled_from([True] * 9 + [False]),
    reserved=st.sampled_from([0] * 12 + [0x40, 0x20, 0x10]),
)


@statement("RFC6455-5.4", "RFC6455-5.2", "RFC6455-5.5")
@settings(max_examples=200, deadline=None)
@given(sent=st.lists(RAW_FRAMES, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_we_take_and_refuse_what_the_websockets_package_does(sent: list[bytes], cuts: list[int]) -> None:
    data = b"".join(sent)
    taken, code = reference(data)
    decoder = FrameDecoder(MAXIMUM, messages=True)
    feed_cut(decoder, data, cuts)
    if decoder.close_code == 1007 and decoder.violation.startswith("text"):
        return  # text is checked in its frames by us, by the package when a program asks for it
    if code == 1002 and decoder.close_code is not None and not decoder.violation:
        assert sent[len(taken)][0] == 0x80 | CLOSE
        return  # a Close between fragments is a violation to the package; section 5.4 allows control frames there
    expected: list[tuple[int, bytes]] = []
    opcode, parts, was_closed = BINARY, b"", False
    for (kind, payload), raw in zip(taken, sent, strict=False):
        was_closed = was_closed or kind == CLOSE
        if kind > BINARY:
            continue
        if kind != CONTINUATION:
            opcode, parts = kind, b""
        parts += payload
        if raw[0] & 0x80:
            expected.append((opcode, parts))
    assert decoder.take_messages() == expected
    assert decoder.closed == (was_closed or code is not None)
    if code is not None and not was_closed:
        assert decoder.close_code in (code, 1002)  # a frame may break two rules; which is named is free


@settings(deadline=None)
@given(
    messages=st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.text(max_size=80)), max_size=6),
    cuts=st.lists(st.integers(0, 600), max_size=8),
)
def test_we_decode_what_the_websockets_package_encodes(messages: list[tuple[int, str]], cuts: list[int]) -> None:
    client = Protocol(CLIENT, state=OPEN)
    for opcode, text in messages:
        if opcode == TEXT:
            client.send_text(text.encode())
        else:
            client.send_binary(text.encode())
    client.send_ping(b"are you there")
    client.send_close(4000, "enough")
    decoder = FrameDecoder(MAXIMUM, messages=True)
    feed_cut(decoder, b"".join(client.data_to_send()), cuts)
    assert decoder.take_messages() == [(opcode, text.encode()) for opcode, text in messages]
    assert decoder.close_code == 4000
    assert decoder.close_reason == "enough"
    assert decoder.take_replies() == pong_frame(b"are you there") + close_frame(4000)


@statement("RFC6455-6.1")
@given(payload=st.binary(min_size=1, max_size=70_000), frame_bytes=st.integers(1000, 70_000), masked=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_websockets_package_decodes_what_we_encode(payload: bytes, frame_bytes: int, masked: bool) -> None:
    peer = Protocol(SERVER if masked else CLIENT, state=OPEN)
    peer.receive_data(
        binary_frames(payload, frame_bytes, masked)
        + ping_frame(b"p", masked)
        + pong_frame(b"q", masked)
        + close_frame(1008, "naughty", masked)
    )
    read = [event for event in peer.events_received() if isinstance(event, Frame)]
    assert [event.opcode for event in read[-3:]] == [Opcode.PING, Opcode.PONG, Opcode.CLOSE]
    assert b"".join(bytes(event.data) for event in read[:-3]) == payload
    assert peer.close_rcvd is not None
    assert (peer.close_rcvd.code, peer.close_rcvd.reason) == (1008, "naughty")
