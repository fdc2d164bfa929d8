"""What comes where a PROXY header is due, from a proxy that is trusted and from a peer that is not.

`because` names a section of HAProxy's proxy-protocol.txt, or a bound of ours. A header that is good lets the Client in;
any other, and every one from a peer that is not trusted, is met with a close without a word.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from tests.faults.brokers import HTTP_HEAD
from tests.hostile.inputs import CONNECTS
from tests.hostile.table_tls import hello, record
from tests.packets.table import octets

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FOUR: Final = IPv4Address("192.0.2.1").packed + IPv4Address("192.0.2.2").packed + b"\x12\x67\x07\x5b"
SIX: Final = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + b"\x12\x67\x07\x5b"
LONGEST: Final = b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n"


class Header(NamedTuple):
    """`good`: what comes behind it is served. With `leaves` the peer says no more behind it."""

    name: str
    data: bytes
    because: str
    good: bool = False
    leaves: bool = False


def good(name: str, data: bytes, because: str) -> Header:
    return Header(name, data, because, good=True)


def cut(name: str, data: bytes) -> Header:
    return Header(name, data, "sections 2.1, 2.2: whole or not at all", leaves=True)


def line(name: str, text: str, because: str = "section 2.1") -> Header:
    """Of version 1, malformed."""
    return Header(f"version 1, {name}", text.encode("latin-1"), because)


def block(data: bytes, command: int = 0x21, family: int = 0x11, size: int = -1) -> bytes:
    """Of version 2."""
    length = len(data) if size < 0 else size
    return SIGNATURE + bytes((command, family)) + length.to_bytes(2, "big") + data


def vector(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def binary(name: str, data: bytes, because: str = "section 2.2") -> Header:
    """Of version 2, malformed."""
    return Header(f"version 2, {name}", data, because)


def vectors(name: str, data: bytes) -> Header:
    """Of version 2 with hostile TLVs behind good addresses."""
    return binary(name, block(FOUR + data), "section 2.2: type, length, value")


GOOD: Final[list[Header]] = [
    good("version 1, IPv4", b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 1883\r\n", "section 2.1"),
    good("version 1, IPv6", b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 1883\r\n", "section 2.1"),
    good("version 1, UNKNOWN", b"PROXY UNKNOWN\r\n", "section 2.1: the receiver must use the real address"),
    good("version 1, 107 bytes", LONGEST, "section 2.1: the longest line"),
    good("version 2, IPv4", block(FOUR), "section 2.2"),
    good("version 2, IPv6", block(SIX, family=0x21), "section 2.2"),
    good("version 2, Unix", block(b"/run/a".ljust(108, b"\0") * 2, family=0x31), "section 2.2"),
    good("version 2, LOCAL", block(b"", command=0x20, family=0), "section 2.2: a check of the proxy's own"),
    good("version 2, LOCAL with noise", block(b"\xff" * 100, command=0x20), "section 2.2: must be skipped"),
    good("version 2, UNSPEC", block(b"\xff" * 100, family=0), "section 2.2: must be ignored"),
    good("version 2, unknown TLV", block(FOUR + vector(0xEA, b"\r\n\0")), "section 2.2: must be ignored"),
    good("version 2, 4 KiB of NOOP", block(FOUR + vector(4, bytes(4081))), "section 2.2.4; our bound"),
    good("version 2, a name with a tongue", block(FOUR + vector(2, "bücher.example".encode())), "section 2.2.2: UTF-8"),
]

NO_HEADER: Final[list[Header]] = [
    Header("no header but MQTT", octets(CONNECTS[5]), "section 2: must not be guessed"),
    Header("no header but HTTP", HTTP_HEAD, "section 2: must not be guessed"),
    Header("no header but TLS", record(22, hello()), "section 2: must not be guessed"),
    Header("noise", bytes(range(255, 0, -1)), "section 2: must not be guessed"),
    Header("HTTP's X-Forwarded-For", b"X-Forwarded-For: 192.0.2.1\r\n\r\n", "section 2: must not be guessed"),
    cut("nothing", b""),
    cut("half a word", b"PRO"),
    cut("half a line", b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 18"),
    cut("a line without its LF", b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 1883\r"),
    cut("half a signature", SIGNATURE[:7]),
    cut("a signature alone", SIGNATURE),
    cut("half addresses", block(FOUR)[:-1]),
    cut("a block of 4 KiB that does not come", block(FOUR, size=4096)),
]

LINES: Final[list[Header]] = [
    line("another case", "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    line("LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
    line("unknown family", "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"),
    line("UDP", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    line("two blanks", "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    line("a tab", "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n"),
    line("a port too few", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
    line("a port too many", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
    line("port 65536", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"),
    line("port -1", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"),
    line("port 01", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "section 2.1: no leading zeroes"),
    line("an octet of 256", "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"),
    line("an octal octet", "PROXY TCP4 192.0.2.010 192.0.2.2 1 2\r\n"),
    line("a name", "PROXY TCP4 localhost 192.0.2.2 1 2\r\n"),
    line("IPv6 called TCP4", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"),
    line("IPv4 called TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
    line("a zone", "PROXY TCP6 fe80::1%lo 2001:db8::2 1 2\r\n"),
    line("a NUL", "PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"),
    line("108 bytes", "PROXY UNKNOWN " + "x" * 92 + "\r\n", "section 2.1: 107 bytes are enough"),
    line("a line without an end", "PROXY TCP4 " + "1" * 5000, "section 2.1: 107 bytes are enough"),
]

BLOCKS: Final[list[Header]] = [
    binary("version 1", block(FOUR, command=0x11), "section 2.2: must be 2"),
    binary("version 3", block(FOUR, command=0x31), "section 2.2: must be 2"),
    binary("command 2", block(FOUR, command=0x22), "section 2.2: must be dropped"),
    binary("command 15", block(FOUR, command=0x2F), "section 2.2: must be dropped"),
    binary("family 4", block(FOUR, family=0x41)),
    binary("family 15", block(FOUR, family=0xF1)),
    binary("a datagram", block(FOUR, family=0x12)),
    binary("protocol 3", block(FOUR, family=0x13)),
    binary("IPv4 without a protocol", block(FOUR, family=0x10)),
    binary("no addresses", block(b"")),
    binary("11 bytes of IPv4", block(FOUR[:-1])),
    binary("IPv4 called IPv6", block(FOUR, family=0x21)),
    binary("215 bytes of Unix", block(bytes(215), family=0x31)),
    binary("a block of 4,097 bytes", block(FOUR, size=4097), "our bound"),
    binary("a block of 65,535 bytes", block(FOUR, size=0xFFFF), "our bound"),
    binary("LOCAL of 65,535 bytes", block(b"", command=0x20, size=0xFFFF), "our bound"),
    binary("a signature with one byte else", SIGNATURE[:-1] + b"\r" + bytes(4), "section 2.2"),
    vectors("half a type", b"\x02"),
    vectors("half a length", b"\x02\x00"),
    vectors("a value past the end", b"\x02\x00\x05abcd"),
    vectors("an unknown value past the end", b"\xea\xff\xff"),
    vectors("two names", vector(2, b"a") + vector(2, b"b")),
    vectors("a name with CR LF", vector(2, b"a\r\nb")),
    vectors("a name with ESC", vector(2, b"\x1b[2J")),
    vectors("a name that is not UTF-8", vector(2, b"\xff")),
    vectors("a name of 256 bytes", vector(2, b"x" * 256)),
    vectors("an identifier of 129 bytes", vector(5, b"x" * 129)),
    vectors("a wrong checksum", vector(3, bytes(4))),
    vectors("a checksum of 3 bytes", vector(3, bytes(3))),
    vectors("TLS cut short", vector(0x20, bytes(4))),
    vectors("TLS with half a TLV", vector(0x20, b"\x01" + bytes(4) + b"\x22\x00")),
    vectors("two common names", vector(0x20, b"\x07" + bytes(4) + vector(0x22, b"a") + vector(0x22, b"b"))),
    vectors("a common name with LF", vector(0x20, b"\x07" + bytes(4) + vector(0x22, b"a\n"))),
    vectors("TLS twice", vector(0x20, bytes(5)) * 2),
]

TABLE: Final = [*GOOD, *NO_HEADER, *LINES, *BLOCKS]
