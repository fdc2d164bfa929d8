"""`broker.transport.proxy`: headers right and wrong, whole and cut, and another implementation beside it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from socket import SOCK_STREAM

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol.result import ProxyResult, ProxyResultIPv4, ProxyResultIPv6
from proxyprotocol.tlv import ProxyProtocolSSLTLV, ProxyProtocolTLV
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

from broker.transport.proxy import BLOCK_BYTES, KNOWN, LINE_BYTES, MALFORMED, READING, ProxyReader, crc32c

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FOUR = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + struct.pack("!HH", 4711, 8883)
SIX = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + struct.pack("!HH", 4711, 8883)


def binary(block: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", size) + block


def vector(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + struct.pack("!H", len(value)) + value


def tls(client: int, verify: int, *inner: bytes) -> bytes:
    return vector(0x20, struct.pack("!BI", client, verify) + b"".join(inner))


def fed(data: bytes) -> ProxyReader:
    reader = ProxyReader()
    reader.feed(data)
    return reader


def seen(reader: ProxyReader) -> tuple[object, ...]:
    """All that a reader says."""
    header = reader.header
    told = () if header is None else tuple(getattr(header, name) for name in header.__slots__)
    return (reader.outcome, reader.reason, reader.rest, told)


GOOD = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 8883\r\n", "192.0.2.1:4711", "192.0.2.2:8883"),
    "v1 IPv6": (b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 0 65535\r\n", "[2001:db8::1]:0", "[2001:db8::2]:65535"),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", "192.0.2.1:1", "192.0.2.2:2"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "", ""),
    "v1 unknown and more": (b"PROXY UNKNOWN ffff:f...f:ffff 65535\r\n", "", ""),
    "v1 longest": (
        b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
        "",
        "",
    ),
    "v2 IPv4": (binary(FOUR), "192.0.2.1:4711", "192.0.2.2:8883"),
    "v2 IPv6": (binary(SIX, family=0x21), "[2001:db8::1]:4711", "[2001:db8::2]:8883"),
    "v2 mapped": (
        binary(IPv6Address("::ffff:192.0.2.1").packed * 2 + bytes(4), family=0x21),
        "192.0.2.1:0",
        "192.0.2.1:0",
    ),
    "v2 Unix": (binary(b"/run/a".ljust(108, b"\0") * 2, family=0x31), "unix", "unix"),
    "v2 UNSPEC": (binary(b"", family=0x00), "", ""),
    "v2 UNSPEC with a block": (binary(b"\xff" * 40, family=0x00), "", ""),
    "v2 LOCAL": (binary(b"", command=0x20, family=0x00), "", ""),
    "v2 LOCAL with a block": (binary(b"\xff" * 12, command=0x20), "", ""),
    "v2 unknown vector": (
        binary(FOUR + vector(0xE0, b"\r\n") + vector(0xE0, b"") + vector(0x04, b"xx")),
        "192.0.2.1:4711",
        "192.0.2.2:8883",
    ),
    "v2 largest": (
        binary(FOUR + vector(0x04, bytes(BLOCK_BYTES - 15))),
        "192.0.2.1:4711",
        "192.0.2.2:8883",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_header_cut_anywhere_is_the_same_and_the_rest_is_kept(name: str) -> None:
    data, source, destination = GOOD[name]
    whole = fed(data + b"\x10rest")
    assert whole.outcome == KNOWN
    assert whole.header is not None
    assert (whole.header.source, whole.header.destination) == (source, destination)
    assert whole.rest == b"\x10rest"
    for cut in range(len(data)):
        reader = fed(data[:cut])
        assert reader.outcome == READING
        reader.feed(data[cut:] + b"\x10re")
        reader.feed(b"st")
        assert seen(reader) == seen(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"\x10\x0c\x00\x04MQTT",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b" PROXY UNKNOWN\r\n",
        b"PROXY  UNKNOWN\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWN x\ry\r\n",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        b"PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 2001:db8::1::2 2001:db8::2 1 2\r\n",
        b"PROXY TCP4 " + b"1" * LINE_BYTES,
        b"PROXY UNKNOWN " + b"x" * LINE_BYTES + b"\r\n",
        SIGNATURE[:-1] + b"\r" + bytes(4),
        b"\r\n\r\n\x00\r\nquit\n\x21\x11\x00\x00",
        binary(FOUR, command=0x11),
        binary(FOUR, command=0x31),
        binary(FOUR, command=0x22),
        binary(FOUR, command=0x2F),
        binary(FOUR, family=0x10),
        binary(FOUR, family=0x12),
        binary(FOUR, family=0x13),
        binary(FOUR, family=0x41),
        binary(FOUR, family=0xF1),
        binary(FOUR, family=0x02),
        binary(FOUR[:-1]),
        binary(b""),
        binary(FOUR, family=0x21),
        binary(bytes(215), family=0x31),
        binary(FOUR, length=BLOCK_BYTES + 1),
        binary(FOUR, length=0xFFFF),
        binary(FOUR, command=0x20, length=0xFFFF),
        binary(FOUR + b"\x02"),
        binary(FOUR + b"\x02\x00"),
        binary(FOUR + b"\x02\x00\x01"),
        binary(FOUR + b"\x04\xff\xff" + bytes(100)),
        binary(FOUR + vector(0x02, b"a") + vector(0x02, b"b")),
        binary(FOUR + vector(0x02, b"a\r\nb")),
        binary(FOUR + vector(0x02, b"a\x00")),
        binary(FOUR + vector(0x02, "a\x85".encode())),
        binary(FOUR + vector(0x02, b"\xff")),
        binary(FOUR + vector(0x02, b"x" * 256)),
        binary(FOUR + vector(0x05, b"x" * 129)),
        binary(FOUR + vector(0x03, b"\x00\x00\x00\x00")),
        binary(FOUR + vector(0x03, b"\x00\x00\x00")),
        binary(FOUR + vector(0x20, b"\x01\x00\x00\x00")),
        binary(FOUR + tls(1, 0, b"\x22\x00")),
        binary(FOUR + tls(1, 0, b"\x22\x00\x05abcd")),
        binary(FOUR + tls(7, 0, vector(0x22, b"a"), vector(0x22, b"b"))),
        binary(FOUR + tls(7, 0, vector(0x22, b"a\n"))),
        binary(FOUR + tls(7, 0) + tls(7, 0)),
    ],
)
def test_what_is_malformed(data: bytes) -> None:
    whole = fed(data)
    assert whole.outcome == MALFORMED
    assert whole.reason.isprintable()
    assert whole.header is None
    assert whole.rest == b""
    for cut in range(1, len(data)):
        reader = fed(data[:cut])
        reader.feed(data[cut:])
        assert reader.outcome == MALFORMED


def test_after_a_malformed_header_nothing_is_kept() -> None:
    reader = fed(b"\x10")
    reader.feed(b"PROXY UNKNOWN\r\n")
    assert seen(reader) == (MALFORMED, "the connection does not begin with a PROXY header", b"", ())


def test_what_the_proxy_says_of_tls() -> None:
    cut = vector(0x01, b"mqtt") + vector(0x02, "bücher.example".encode()) + vector(0x05, bytes(128))
    secured = tls(7, 0, vector(0x21, b"TLSv1.3"), vector(0x22, "Gerät 7".encode()), vector(0x23, b"AES"))
    header = fed(binary(FOUR + cut + secured)).header
    assert header is not None
    assert (header.authority, header.secure, header.common_name) == ("bücher.example", True, "Gerät 7")


@pytest.mark.parametrize(
    ("client", "verify", "secure", "name"),
    [
        (0x01, 0, True, ""),
        (0x03, 0, True, "dev"),
        (0x05, 0, True, "dev"),
        (0x07, 1, True, ""),  # the proxy let in a certificate that it does not vouch for
        (0x07, 0x01000000, True, ""),
        (0x06, 0, False, ""),
        (0x00, 0, False, ""),
    ],
)
def test_a_name_counts_only_where_the_proxy_has_verified_it(client: int, verify: int, secure: bool, name: str) -> None:
    header = fed(binary(FOUR + tls(client, verify, vector(0x22, b"dev")))).header
    assert header is not None
    assert (header.secure, header.common_name) == (secure, name)


def test_the_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4
    block = FOUR + vector(0x02, b"host") + vector(0x03, bytes(4))
    data = binary(block)
    right = data[:-4] + crc32c(data).to_bytes(4, "big")
    assert fed(right).outcome == KNOWN
    assert fed(right.replace(b"host", b"hose")).outcome == MALFORMED


def test_what_haproxy_writes() -> None:
    """Recorded from HAProxy 2.6: `send-proxy-v2-ssl-cn` with authority, ciphers and crc32c, behind a certificate."""
    data = bytes.fromhex(
        "0d0a0d0a000d0a515549540a2111006e7f0000017f000001df945d6003000404da3ae80200096c6f63616c686f737420004c"
        "0700000000210007544c5376312e332200056465762d37250005454332353624001165636473612d776974682d5348413235"
        "36230016544c535f4145535f3235365f47434d5f534841333834"
    )
    reader = fed(data + b"\x10")
    header = reader.header
    assert header is not None
    assert (header.source, header.destination) == ("127.0.0.1:57236", "127.0.0.1:23904")
    assert (header.authority, header.secure, header.common_name) == ("localhost", True, "dev-7")
    assert reader.rest == b"\x10"
    for at in range(len(data)):
        if at != 28:  # the byte that says that there is a checksum
            assert fed(data[:at] + bytes((data[at] ^ 0x04,)) + data[at + 1 :]).outcome != KNOWN


ports = st.integers(0, 65_535)


@given(
    st.sampled_from([ProxyProtocolV1(), ProxyProtocolV2()]),
    st.one_of(
        st.builds(
            lambda a, b, c, d: ProxyResultIPv4((IPv4Address(a), b), (IPv4Address(c), d), protocol=SOCK_STREAM),
            st.integers(0, 2**32 - 1),
            ports,
            st.integers(0, 2**32 - 1),
            ports,
        ),
        st.builds(
            lambda a, b, c, d: ProxyResultIPv6((IPv6Address(a), b), (IPv6Address(c), d), protocol=SOCK_STREAM),
            st.integers(2**64, 2**128 - 1),
            ports,
            st.integers(2**64, 2**128 - 1),
            ports,
        ),
    ),
    st.binary(max_size=20),
)
def test_what_another_implementation_writes_is_read(
    writer: ProxyProtocolV1 | ProxyProtocolV2, result: ProxyResultIPv4 | ProxyResultIPv6, rest: bytes
) -> None:
    reader = fed(writer.pack(result) + rest)
    assert reader.outcome == KNOWN
    assert reader.header is not None
    assert reader.rest == rest
    for told, (address, port) in ((reader.header.source, result.source), (reader.header.destination, result.dest)):
        assert told == (f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}")


def test_the_vectors_of_another_implementation_are_read() -> None:
    ssl = ProxyProtocolSSLTLV(has_ssl=True, has_cert_conn=True, verified=True, cn="device-7", cipher="AES")
    tlv = ProxyProtocolTLV(authority="broker.example", unique_id=b"1234", ssl=ssl)
    address = (IPv4Address("192.0.2.1"), 1)
    result: ProxyResult = ProxyResultIPv4(address, address, protocol=SOCK_STREAM, tlv=tlv)
    header = fed(ProxyProtocolV2().pack(result)).header
    assert header is not None
    assert (header.authority, header.common_name, header.secure) == ("broker.example", "device-7", True)


headers = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=120).map(lambda tail: b"PROXY " + tail),
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 400), st.binary(max_size=400)).map(
        lambda parts: SIGNATURE + bytes(parts[:2]) + struct.pack("!H", parts[2]) + parts[3]
    ),
    st.lists(st.tuples(st.sampled_from([1, 2, 3, 4, 5, 0x20, 0x22, 0xE0]), st.binary(max_size=40)), max_size=5).map(
        lambda vectors: binary(FOUR + b"".join(vector(kind, value) for kind, value in vectors))
    ),
)


@given(headers, st.lists(st.integers(0, 450), max_size=5))
def test_no_bytes_raise_and_cuts_change_nothing(data: bytes, cuts: list[int]) -> None:
    whole = fed(data)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    reader = ProxyReader()
    start = 0
    for end in ends:
        reader.feed(data[start:end])
        start = end
    if whole.outcome == MALFORMED:
        assert reader.outcome == MALFORMED
    else:
        assert seen(reader) == seen(whole)
