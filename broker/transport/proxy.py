"""The PROXY protocol, versions 1 and 2: what a proxy says, before anything else, of the connection that it passes on.

The law of this file:

1. On a listener with the PROXY protocol every connection begins with a header, and only a trusted peer is asked for
   one: from anybody else a header is refused by whoever owns the reader (`trusted` in `broker.websocket.forwarded`).
2. At most 107 bytes of version 1 and 16 + `BLOCK_BYTES` of version 2 are kept. Nothing is raised for a peer's fault.
3. What is not written exactly as the specification says is malformed, never half understood; so is every text with a
   control character in it, for texts end in logs, user names and other programs.
4. LOCAL, UNKNOWN and UNSPEC say nothing: the connection keeps the addresses that it has.

The specification is HAProxy's proxy-protocol.txt, whose sections are cited here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from broker.websocket.forwarded import parsed_address, with_port

READING: Final = "reading"
KNOWN: Final = "known"
MALFORMED: Final = "malformed"

LINE_BYTES: Final = 107  # of version 1 with its CRLF: section 2.1
BLOCK_BYTES: Final = 4096  # of version 2 behind its first 16; what proxies send has some hundred

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_WORD: Final = b"PROXY "
_LINE: Final = re.compile(rb"PROXY (TCP[46]) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

_LOCAL: Final = 0
_PROXY: Final = 1
_UNSPEC: Final = 0
_INET: Final = 1
_INET6: Final = 2
_UNIX: Final = 3
_STREAM: Final = 1
_ADDRESS_BYTES: Final = {_INET: 12, _INET6: 36, _UNIX: 216}

# Types of what follows the addresses (TLV): section 2.2
_ALPN: Final = 0x01
_AUTHORITY: Final = 0x02
_CRC32C: Final = 0x03
_UNIQUE_ID: Final = 0x05
_SSL: Final = 0x20
_SSL_CN: Final = 0x22
_OURS: Final = frozenset((_ALPN, _AUTHORITY, _CRC32C, _UNIQUE_ID, _SSL))  # may come once
_BY_TLS: Final = 0x01  # the Client came to the proxy over TLS
_WITH_CERTIFICATE: Final = 0x06  # and showed a certificate, in this connection or in the session it resumed


class ProxyHeader:
    """What a header says. Texts are empty where it does not say."""

    __slots__ = ("authority", "common_name", "destination", "secure", "source", "version")

    def __init__(self, version: int) -> None:
        self.version: int = version
        self.source: str = ""  # of the Client, as transports name it: "192.0.2.1:4711", "[2001:db8::1]:4711", "unix"
        self.destination: str = ""  # that the Client connected to, in the same form
        self.authority: str = ""  # host name that the Client asked for (SNI)
        self.secure: bool = False  # the Client speaks TLS with the proxy
        self.common_name: str = ""  # of the certificate that the Client showed to the proxy, which has verified it


class ProxyReader:
    """The first bytes of a connection. Feed it until `outcome` is no more ``reading``: then ``known``, with `header`
    and the `rest` that came behind it, or ``malformed``, with a `reason` that is fit for a log."""

    __slots__ = ("_received", "header", "outcome", "reason", "rest")

    def __init__(self) -> None:
        self._received: bytes = b""
        self.outcome: str = READING
        self.header: ProxyHeader | None = None
        self.rest: bytes = b""
        self.reason: str = ""

    def feed(self, data: bytes) -> None:
        """Take the bytes of one read."""
        if self.outcome == KNOWN:
            self.rest += data
        if self.outcome != READING:
            return
        self._received += data
        received = self._received
        try:
            if received.startswith(_SIGNATURE[: len(received)]):
                self._binary(received)
            elif received.startswith(_WORD[: len(received)]):
                self._line(received)
            else:
                raise _MalformedError("the connection does not begin with a PROXY header")
        except _MalformedError as error:
            self.outcome = MALFORMED
            self.reason = str(error)
            self._received = b""

    def _known(self, header: ProxyHeader, end: int) -> None:
        self.outcome = KNOWN
        self.header = header
        self.rest = self._received[end:]
        self._received = b""

    def _line(self, received: bytes) -> None:
        end = received.find(b"\n", 0, LINE_BYTES) + 1
        if end == 0:
            if len(received) >= LINE_BYTES:
                raise _MalformedError(f"a PROXY line of more than {LINE_BYTES} bytes")
            return
        line = received[:end]
        header = ProxyHeader(1)
        if _UNKNOWN.fullmatch(line) is None:
            match = _LINE.fullmatch(line)
            if match is None:
                raise _MalformedError("a PROXY line that breaks its grammar")
            family, source, destination, source_port, destination_port = match.groups()
            header.source = _written(family, source, source_port)
            header.destination = _written(family, destination, destination_port)
        self._known(header, end)

    def _binary(self, received: bytes) -> None:
        if len(received) < 16:
            return
        version, command = received[12] >> 4, received[12] & 15
        family, protocol = received[13] >> 4, received[13] & 15
        if version != 2 or command > _PROXY:
            raise _MalformedError("a PROXY header of an unknown version or command")
        end = 16 + int.from_bytes(received[14:16], "big")
        if end > 16 + BLOCK_BYTES:
            raise _MalformedError(f"a PROXY header of more than {BLOCK_BYTES} bytes")
        if len(received) < end:
            return
        header = ProxyHeader(2)
        if command == _PROXY:
            if family > _UNIX or protocol > _STREAM or (family != _UNSPEC and protocol != _STREAM):
                raise _MalformedError("a PROXY header of an unknown or impossible address family")
            if family != _UNSPEC:
                start = 16 + _ADDRESS_BYTES[family]
                if start > end:
                    raise _MalformedError("a PROXY header too short for its addresses")
                _addresses(header, family, received[16:start])
                _extras(header, received[:end], start)
        self._known(header, end)


class _MalformedError(Exception):
    pass


def _written(family: bytes, text: bytes, port: bytes) -> str:
    """An address of version 1 in its normal form."""
    address = parsed_address(text.decode("ascii"))
    if address is None or (b":" in text) is not (family == b"TCP6"):
        raise _MalformedError("a PROXY line with a bad address")
    if int(port) > 0xFFFF or (len(port) > 1 and port.startswith(b"0")):
        raise _MalformedError("a PROXY line with a bad port")
    return with_port(address, int(port))


def _addresses(header: ProxyHeader, family: int, data: bytes) -> None:
    if family == _UNIX:
        header.source = header.destination = "unix"
        return
    size = 4 if family == _INET else 16
    addresses: list[IPv4Address | IPv6Address] = []
    for at in (0, size):
        packed = data[at : at + size]
        if size == 4:
            addresses.append(IPv4Address(packed))
        else:
            address = IPv6Address(packed)
            addresses.append(address.ipv4_mapped or address)
    ports = data[2 * size :]
    header.source = with_port(addresses[0], int.from_bytes(ports[:2], "big"))
    header.destination = with_port(addresses[1], int.from_bytes(ports[2:], "big"))


def _extras(header: ProxyHeader, data: bytes, start: int) -> None:
    """Read the TLVs of a whole header `data`, which begin at `start`."""
    seen: set[int] = set()
    for kind, at, value in _vectors(data, start):
        if kind in _OURS:
            if kind in seen:
                raise _MalformedError("a PROXY header that says something twice")
            seen.add(kind)
        if kind == _AUTHORITY:
            header.authority = _text(value, 255)
        elif kind == _CRC32C:
            if len(value) != 4 or crc32c(data[:at] + bytes(4) + data[at + 4 :]) != int.from_bytes(value, "big"):
                raise _MalformedError("a PROXY header whose checksum is wrong")
        elif kind == _UNIQUE_ID:
            if len(value) > 128:
                raise _MalformedError("a PROXY header with an identifier of more than 128 bytes")
        elif kind == _SSL:
            _tls(header, value)


def _tls(header: ProxyHeader, value: bytes) -> None:
    if len(value) < 5:
        raise _MalformedError("a PROXY header cut short")
    client = value[0]
    name = b""
    for kind, _, inner in _vectors(value, 5):
        if kind == _SSL_CN:
            if name:
                raise _MalformedError("a PROXY header that says something twice")
            name = inner
    common_name = _text(name, 1024)
    header.secure = client & _BY_TLS != 0
    if header.secure and client & _WITH_CERTIFICATE and value[1:5] == bytes(4):  # 0 stands for a certificate in order
        header.common_name = common_name


def _vectors(data: bytes, start: int) -> list[tuple[int, int, bytes]]:
    """(type, where its value begins, value) of each TLV from `start` to the end."""
    found: list[tuple[int, int, bytes]] = []
    while start < len(data):
        if start + 3 > len(data):
            raise _MalformedError("a PROXY header cut short")
        at = start + 3
        start = at + int.from_bytes(data[at - 2 : at], "big")
        if start > len(data):
            raise _MalformedError("a PROXY header cut short")
        found.append((data[at - 3], at, data[at:start]))
    return found


def _text(value: bytes, limit: int) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise _MalformedError("a PROXY header with text that is not UTF-8") from None
    if len(value) > limit or _CONTROLS.search(text):
        raise _MalformedError("a PROXY header with a text too long or with a control character")
    return text


def _crc32c_table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_CRC32C_TABLE: Final = _crc32c_table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720 appendix B.4, which zlib does not have; headers are short and seldom carry it."""
    table = _CRC32C_TABLE
    register = 0xFFFFFFFF
    for byte in data:
        register = register >> 8 ^ table[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF
