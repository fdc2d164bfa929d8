from __future__ import annotations

import datetime

import msgpack
import pytest

from broker.cli.payloads import PayloadError, Value, decode, encode, legible, to_json


@pytest.mark.parametrize(
    ("content", "encoding", "payload"),
    [
        (b"\xff\x00 as it is\n", "text", b"\xff\x00 as it is\n"),
        (b"c0 ff\nEE", "hex", b"\xc0\xff\xee"),
        (b"0xC0FFEE", "hex", b"\xc0\xff\xee"),
        (b"", "hex", b""),
        (b' {"a": 1.50}\n', "json", b'{"a": 1.50}'),
        ('"ä"'.encode(), "json", '"ä"'.encode()),
        (b'{"a":[1,2.5,null,true,"x"]}', "msgpack", b"\x81\xa1a\x95\x01\xcb@\x04\x00\x00\x00\x00\x00\x00\xc0\xc3\xa1x"),
        (b"-1", "msgpack", b"\xff"),
    ],
)
def test_encode(content: bytes, encoding: str, payload: bytes) -> None:
    assert encode(content, encoding) == payload


@pytest.mark.parametrize(
    ("content", "encoding", "fault"),
    [
        (b"c0f", "hex", "not hexadecimal"),
        (b"xyz", "hex", "not hexadecimal"),
        (b"{a:1}", "json", "not JSON"),
        (b"NaN", "json", "NaN is Python's"),
        (b"", "json", "not JSON"),
        (b"[" * 100_000, "json", "not JSON"),
        (b"\xff", "json", "not UTF-8"),
        (b"123456789012345678901234567890", "msgpack", "not to be said in MessagePack"),
    ],
)
def test_encode_refuses(content: bytes, encoding: str, fault: str) -> None:
    with pytest.raises(PayloadError, match=fault):
        encode(content, encoding)


@pytest.mark.parametrize(
    ("payload", "content_type", "value"),
    [
        (b"", None, None),
        (b'{"a":1}', None, {"a": 1}),
        (b"21.5", None, 21.5),
        (b"on", None, "on"),
        ("grün\n".encode(), None, "grün\n"),
        (msgpack.packb({"a": 1}), None, {"a": 1}),
        (msgpack.packb([1, "x"]), None, [1, "x"]),
        (msgpack.packb({str(n): n for n in range(20)}), None, {str(n): n for n in range(20)}),
        (b"\xc3", None, "c3"),  # MessagePack's `true`, but as a lone byte it says nothing
        (b"\x00\x01", None, "0001"),
        (b"\x1b[2J", None, "1b5b324a"),
        ("\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}".encode(), None, "\U0001f469\u200d\U0001f4bb"),
        (b"\x01", "application/msgpack", 1),
        (b"21.5", "text/plain; charset=utf-8", "21.5"),
        (b"\xff\xff", "text/plain", "ffff"),
        (b"not json", "application/json", "not json"),
    ],
)
def test_decode_guesses(payload: bytes, content_type: str | None, value: Value) -> None:
    assert decode(payload, "auto", content_type) == value


@pytest.mark.parametrize(
    ("payload", "decoding", "value"),
    [
        (b"12", "json", 12),
        (b"12", "text", "12"),
        (b"12", "hex", "3132"),
        (b"\x0c", "msgpack", 12),
        (b"", "msgpack", None),
        (msgpack.packb({1: b"\xff\x00"}), "msgpack", {"1": "/wA="}),
        (
            msgpack.packb(datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC), datetime=True),
            "msgpack",
            "2026-11-21T00:00:00+00:00",
        ),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "msgpack", [5, "eA=="]),
    ],
)
def test_decode_as_told(payload: bytes, decoding: str, value: Value) -> None:
    assert decode(payload, decoding) == value


@pytest.mark.parametrize(
    ("payload", "decoding"), [(b"on", "json"), (b"\xff", "text"), (b"\xc1", "msgpack"), (b"\x01\x02", "msgpack")]
)
def test_decode_refuses_what_is_not_as_told(payload: bytes, decoding: str) -> None:
    with pytest.raises(PayloadError):
        decode(payload, decoding)


def test_json_and_messagepack_say_the_same() -> None:
    text = '{"a":[1,2.5,null,true,"ä"],"b":{}}'
    assert to_json(decode(encode(text.encode(), "msgpack"), "msgpack")) == text


def test_a_terminal_is_not_moved_by_a_message() -> None:
    assert legible("\x1b[2J\x9b1m\x7f\r\u202egnp") == "\\x1b[2J\\x9b1m\\x7f\\r\\u202egnp"
    assert legible("grün\t\N{WOMAN}\u200d\N{PERSONAL COMPUTER}\n") == "grün\t\N{WOMAN}\u200d\N{PERSONAL COMPUTER}\n"
