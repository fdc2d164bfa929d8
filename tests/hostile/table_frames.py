"""WebSocket frames behind the 101 that break RFC 6455, and some that try patience only.

The masking key is zero, so that a payload stands in the table as it is read. `because` names a section of RFC 6455
where nothing else is said.
"""

from __future__ import annotations

from typing import Final

from tests.faults.brokers import frame
from tests.hostile.inputs import Frames

ERROR: Final = 1002
UNSUPPORTED: Final = 1003
INVALID: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
KEY: Final = bytes(4)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PINGREQ, PINGRESP = b"\xc0\x00", b"\x82\x02\xd0\x00"


def closes(name: str, data: bytes, because: str, code: int, connected: bool = True, fresh: bool = True) -> Frames:
    """An input that gets a Close frame with `code`, and nothing else."""
    return Frames(name, data, because, code.to_bytes(2, "big"), connected, fresh)


def stays(name: str, data: bytes, because: str, answer: bytes = b"", fresh: bool = True) -> Frames:
    """An input that gets `answer`, and leaves the connection as it is."""
    return Frames(name, data, because, answer, True, fresh, True)


def header(first: int, second: int, extended: bytes = b"") -> bytes:
    return bytes((first, second)) + extended + KEY


FIRST_BYTE: Final[list[Frames]] = [
    closes("RSV1", header(0xC2, 0x81) + b"x", "5.2", ERROR),
    closes("RSV2", header(0xA2, 0x81) + b"x", "5.2", ERROR),
    closes("RSV3", header(0x92, 0x81) + b"x", "5.2", ERROR),
    closes("all reserved bits", header(0xF2, 0x80), "5.2", ERROR),
    closes("RSV1 on a Ping", header(0xC9, 0x80), "5.2", ERROR),
    closes("RSV1 on a Close", header(0xC8, 0x80), "5.2", ERROR),
    closes("RSV1 on a continuation", frame(b"", fin=False) + header(0xC0, 0x80), "5.2", ERROR),
    *(closes(f"opcode {opcode}", frame(b"", opcode), "5.2: reserved", ERROR) for opcode in range(3, 8)),
    *(closes(f"opcode {opcode}", frame(b"", opcode), "5.2: reserved", ERROR) for opcode in range(11, 16)),
    closes("text", frame(b"MQTT", TEXT), "MQTT-6.0.0-1; 7.4.1", UNSUPPORTED),
    closes("text of nothing", frame(b"", TEXT), "MQTT-6.0.0-1; 7.4.1", UNSUPPORTED),
    closes("text that is not UTF-8", frame(b"\xff", TEXT), "MQTT-6.0.0-1; 7.4.1", UNSUPPORTED),
    closes("text in fragments", frame(b"", TEXT, fin=False), "MQTT-6.0.0-1; 7.4.1", UNSUPPORTED),
    closes("HTTP once more", b"GET /mqtt HTTP/1.1\r\n\r\n", "5.2: opcode 7", ERROR),
    closes("MQTT without a frame", b"\x10\x0c\x00\x04MQTT", "5.2: an unmasked, reserved bit", ERROR),
    closes("noise", b"\xff" * 100, "5.2", ERROR),
]

MASKS: Final[list[Frames]] = [
    closes("not masked", b"\x82\x02\xc0\x00", "5.1: a Server MUST close", ERROR),
    closes("not masked, of nothing", b"\x82\x00", "5.1", ERROR),
    closes("a Ping not masked", b"\x89\x00", "5.1", ERROR),
    closes("a Close not masked", b"\x88\x00", "5.1", ERROR),
    closes("a continuation not masked", frame(b"", fin=False) + b"\x80\x00", "5.1", ERROR),
]

LENGTHS: Final[list[Frames]] = [
    closes("0 in two bytes", header(0x82, 0xFE, b"\x00\x00"), "5.2: the minimal number of bytes", ERROR),
    closes("125 in two bytes", header(0x82, 0xFE, b"\x00\x7d") + bytes(125), "5.2", ERROR),
    closes("0 in eight bytes", header(0x82, 0xFF, bytes(8)), "5.2", ERROR),
    closes("65,535 in eight bytes", header(0x82, 0xFF, b"\x00" * 6 + b"\xff\xff"), "5.2", ERROR),
    closes("2^63", header(0x82, 0xFF, b"\x80" + bytes(7)), "5.2: the most significant bit MUST be 0", ERROR),
    closes("2^64 - 1", header(0x82, 0xFF, b"\xff" * 8), "5.2", ERROR),
    closes("2^63 - 1", header(0x82, 0xFF, b"\x7f" + b"\xff" * 7), "7.4.1: 1009", TOO_BIG),
    closes("4 GiB", header(0x82, 0xFF, b"\x00\x00\x00\x01" + bytes(4)), "7.4.1: 1009", TOO_BIG),
    closes("64 KiB and a byte before CONNACK", header(0x82, 0xFF, bytes(5) + b"\x01\x00\x01"), "10.4", TOO_BIG, False),
    closes(
        "64 KiB and a byte in two frames",
        frame(bytes(1), fin=False) + header(0x80, 0xFF, bytes(5) + b"\x01\x00\x00"),
        "10.4",
        TOO_BIG,
        False,
    ),
    closes("17 MiB behind CONNACK", header(0x82, 0xFF, bytes(4) + b"\x01\x10\x00\x00"), "10.4", TOO_BIG, True, False),
    closes("a fragment of 2^62", header(0x02, 0xFF, b"\x40" + bytes(7)), "7.4.1: 1009", TOO_BIG),
]

FRAGMENTS: Final[list[Frames]] = [
    closes("a continuation of nothing", frame(b"x", CONTINUATION), "5.4", ERROR),
    closes("an unfinished continuation of nothing", frame(b"x", CONTINUATION, fin=False), "5.4", ERROR),
    closes("a continuation behind the end", frame(b"", BINARY) + frame(b"", CONTINUATION), "5.4", ERROR),
    closes("a message within a message", frame(b"", fin=False) + frame(b""), "5.4: not interleaved", ERROR),
    closes("a text within a message", frame(b"", fin=False) + frame(b"", TEXT), "5.4", ERROR),
    closes(
        "65 fragments of nothing",
        frame(b"", fin=False) + frame(b"", CONTINUATION, fin=False) * 64,
        "setting websocket_fragments; 7.4.1: 1008",
        POLICY,
    ),
    closes(
        "10,000 fragments of nothing",
        frame(b"", fin=False) + frame(b"", CONTINUATION, fin=False) * 10_000,
        "setting websocket_fragments; 7.4.1: 1008",
        POLICY,
    ),
    stays(
        "64 fragments",
        frame(PINGREQ, fin=False) + frame(b"", 0, fin=False) * 62 + frame(b"", 0),
        "5.4",
        PINGRESP,
        False,
    ),
    stays("10,000 messages of nothing", frame(b"") * 10_000, "MQTT-6.0.0-2: a stream of bytes"),
    stays("a Ping within a message", frame(b"", fin=False) + frame(b"hi", PING) + frame(b"", 0), "5.5", b"\x8a\x02hi"),
]

CONTROL: Final[list[Frames]] = [
    closes("a Ping of 126 bytes", header(0x89, 0xFE, b"\x00\x7e") + bytes(126), "5.5: 125 at most", ERROR),
    closes("a Pong of 126 bytes", header(0x8A, 0xFE, b"\x00\x7e") + bytes(126), "5.5", ERROR),
    closes("a Close of 126 bytes", header(0x88, 0xFE, b"\x00\x7e") + bytes(126), "5.5", ERROR),
    closes("a Ping of 2^63", header(0x89, 0xFF, b"\x80" + bytes(7)), "5.5", ERROR),
    closes("a Ping in fragments", frame(b"", PING, fin=False), "5.5: not fragmented", ERROR),
    closes("a Pong in fragments", frame(b"", PONG, fin=False), "5.5", ERROR),
    closes("a Close in fragments", frame(b"", CLOSE, fin=False), "5.5", ERROR),
    stays("1,000 Pings", frame(b"ping", PING) * 1000, "5.5.2: a Pong each, or the last", b"\x8a\x04ping" * 1000),
    stays("a Ping of 125 bytes", frame(b"x" * 125, PING), "5.5.3: the same data", b"\x8a\x7d" + b"x" * 125),
    stays("1,000 Pongs that nobody asked for", frame(b"", PONG) * 1000, "5.5.3: no response expected"),
]

CLOSES: Final[list[Frames]] = [
    closes("half a close code", frame(b"\x03", CLOSE), "5.5.1: two bytes", ERROR),
    *(
        closes(f"close code {code}", frame(code.to_bytes(2, "big"), CLOSE), "7.4.1, 7.4.2: not to be sent", ERROR)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    ),
    closes("a close reason that is not UTF-8", frame(b"\x03\xe8\xff", CLOSE), "5.5.1, 8.1", INVALID),
    *(
        closes(f"close code {code}, echoed", frame(code.to_bytes(2, "big"), CLOSE), "5.5.1", code)
        for code in (1000, 1001, 1011, 3000, 4999)
    ),
    closes("a Close with a long reason", frame(b"\x03\xe8" + b"x" * 123, CLOSE), "5.5.1", 1000),
    closes("PINGREQ behind a Close", frame(b"\x03\xe8", CLOSE) + frame(PINGREQ), "5.5.1: nothing behind it", 1000),
    closes("two Closes", frame(b"\x03\xe8", CLOSE) + frame(b"\x03\xe9", CLOSE), "5.5.1: answered once", 1000),
    Frames("a Close of nothing", frame(b"", CLOSE), "5.5.1, 7.1.5: no code, and none in answer", b""),
]

TABLE: Final = [*FIRST_BYTE, *MASKS, *LENGTHS, *FRAGMENTS, *CONTROL, *CLOSES]
