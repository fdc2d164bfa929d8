"""Fuzz targets of what comes off the wire: Control Packets, WebSocket frames, HTTP heads, PROXY headers.

A target takes any bytes and returns; an assertion or any other exception is a find. The first byte of an input chooses
the settings of what is tried, the second how the rest is cut into reads: whatever the cut, the outcome is the same.
"""

from __future__ import annotations

import base64
import hashlib
import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, NamedTuple
from unittest.mock import patch

from proxyprotocol import ProxyProtocolIncompleteError, ProxyProtocolSyntaxError
from proxyprotocol.detect import ProxyProtocolDetect
from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack, Connect, ControlPacket
from broker.transport.proxy import BLOCK_BYTES, LINE_BYTES, ProxyReader
from broker.transport.proxy import KNOWN as PROXY_KNOWN
from broker.transport.proxy import READING as PROXY_READING
from broker.websocket.deflate import Inflater
from broker.websocket.forwarded import Networks, parsed_address, with_port
from broker.websocket.frames import INFLATE_STEP, FrameDecoder
from broker.websocket.handshake import READING, REFUSED, REQUEST, UPGRADED, HttpDoor
from tests.hostile.peers import NO_CLOSE, taken_apart
from tests.packets.table import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

PROXIES: Final[Networks] = (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"))
PEERS: Final = ("192.0.2.9:1", "10.0.0.1:4711", "127.0.0.1:1", "unix")
DATE: Final = re.compile(rb"\r\nDate: [^\r]*")
RESPONSE: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]+\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]+\r\n)+\r\n")
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def pieces(data: bytes, cut: int) -> Iterator[bytes]:
    """`data` in the reads that `cut` stands for: 0 a byte at a time, otherwise `cut` bytes, one, three times `cut`."""
    sizes = (cut, 1, 3 * cut) if cut else (1,)
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at += size
        turn += 1


# -- Control Packets


def few_limits() -> DecoderLimits:
    limits = DecoderLimits()
    limits.maximum_packet_size = 100
    limits.connect_packet_size = 60
    return limits


def packets(data: bytes) -> None:
    """As a Server that awaits the CONNECT (version 0), and as either side behind it."""
    if len(data) < 2:
        return
    mode, cut, data = data[0], data[1], data[2:]
    version, server = (0, 3, 4, 5)[mode & 3], not mode & 4
    if not version:
        server = True
    limits = few_limits() if mode & 8 else DecoderLimits()
    whole = Decoder(limits, version, server)
    read = list(decoded(whole, [data], limits))
    in_pieces = Decoder(limits, version, server)
    assert fields(list(decoded(in_pieces, pieces(data, cut), limits))) == fields(read)
    assert (in_pieces.error is None) == (whole.error is None)
    if whole.error is not None and in_pieces.error is not None:
        assert isinstance(whole.error.reason, ReasonCode)
        assert in_pieces.error.reason == whole.error.reason
        assert whole.error.detail.isprintable()
    for packet in read:
        round_trip(packet, version or spoken(read), server)


def spoken(read: list[ControlPacket]) -> int:
    """The version of the CONNECT that came first."""
    first = read[0]
    assert isinstance(first, Connect)
    return first.version


def decoded(decoder: Decoder, reads: Iterator[bytes] | list[bytes], limits: DecoderLimits) -> Iterator[ControlPacket]:
    """All packets of `reads`; a CONNECT is accepted at once."""
    most = max(limits.maximum_packet_size, limits.connect_packet_size) + 5
    for data in reads:
        found = decoder.feed(data)
        while found:
            yield from found
            if not isinstance(found[-1], Connect):
                break
            decoder.accept()
            found = decoder.feed(b"")
        assert decoder.error is None or not decoder.feed(b"\xc0\x00")
        assert len(decoder._buffer) <= most


def round_trip(packet: ControlPacket, version: int, server: bool) -> None:
    """What was read can be written, and is read again as what it was."""
    if isinstance(packet, Connect):
        if packet.version not in (3, 4, 5):  # only a CONNACK is to be said to that one
            return
        version = packet.version
    data = encode(packet, version)
    again = Decoder(DecoderLimits(), 0 if isinstance(packet, Connect) else version, server)
    read = again.feed(data)
    assert again.error is None, again.error
    assert fields(read) == fields([packet])
    assert version == MQTT_5_0 or not isinstance(packet, Connack) or len(data) == 4
    assert encode(read[0], version) == data


# -- WebSocket frames


class Heard(NamedTuple):
    """All that a FrameDecoder has to say."""

    closed: bool
    violation: str
    verdict: tuple[int | None, str, int]
    replies: bytes
    payload: bytes
    messages: list[tuple[int, bytes]]


def frames(data: bytes) -> None:
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


def heard(mode: int, reads: Iterator[bytes] | list[bytes]) -> Heard:
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
        said = taken_apart(replies)
        assert decoder.closed == (said.close != NO_CLOSE)
    else:
        replies = bytes(len(replies))  # masked at random
    verdict = (decoder.close_code, decoder.close_reason, decoder.pongs_received)
    return Heard(decoder.closed, decoder.violation, verdict, replies, payload, whole)


# -- HTTP heads


def http(data: bytes) -> None:
    """The door of a listener, with its settings one way and the other."""
    if len(data) < 2:
        return
    mode, cut, data = data[0], data[1], data[2:]
    whole = door_of(mode, [data])
    assert whole.outcome in (READING, UPGRADED, REQUEST, REFUSED)
    assert seen_of_door(door_of(mode, pieces(data, cut))) == seen_of_door(whole)
    if whole.outcome == READING:
        assert len(data) <= 16 * 1024
        assert not whole.response
        return
    response = whole.respond() if whole.outcome == REQUEST else whole.response
    match = RESPONSE.match(response)
    assert match is not None, response
    status = int(match[1])
    body = response[match.end() :]
    assert (status == 101) == (whole.outcome == UPGRADED)
    assert whole.reason.isprintable()
    assert bool(whole.reason) == (whole.outcome == REFUSED)
    if status == 101:
        assert not body
        check_upgrade(mode, data, whole)
    elif data.startswith(b"HEAD "):
        assert not body
    else:
        assert f"\r\nContent-Length: {len(body)}\r\n".encode() in match[0]
        assert b"\r\nConnection: close\r\n" in match[0]


def door_of(mode: int, reads: Iterator[bytes] | list[bytes]) -> HttpDoor:
    door = HttpDoor(
        require_subprotocol=mode & 1 != 0,
        origins=("*",) if mode & 2 else ("same-origin", "https://a.example"),
        secure=mode & 4 != 0,
        loopback=mode & 8 != 0,
        compression=mode & 16 != 0,
        context_takeover=mode & 16 != 0 and mode & 2 != 0,
        peer_address=PEERS[mode >> 6],
        trusted_proxies=PROXIES if mode & 32 else (),
    )
    for data in reads:
        door.feed(data)
    return door


def seen_of_door(door: HttpDoor) -> tuple[object, ...]:
    leftover = door.leftover if door.outcome in (UPGRADED, REQUEST) else b""
    agreed = door.compression.header if door.compression is not None else ""
    answer = DATE.sub(b"", door.response)
    head = (door.outcome, door.reason, answer, leftover, door.subprotocol, agreed, door.client_address)
    return (*head, door.target, door.path, door.query, door.headers)


def check_upgrade(mode: int, data: bytes, door: HttpDoor) -> None:
    """It is what RFC 6455 section 4.2.2 says; and who reads every head says the same as who reads the ordinary ones."""
    key = door.headers["sec-websocket-key"].encode()
    assert len(base64.b64decode(key, validate=True)) == 16
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    assert b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n" in door.response
    with patch("broker.websocket.handshake.ordinary_upgrade", return_value=None):
        careful = door_of(mode, [data])
    assert careful.outcome == UPGRADED, careful.reason
    one, other = (sorted(DATE.sub(b"", each.response).split(b"\r\n")) for each in (careful, door))
    assert one == other
    assert seen_of_door(careful)[3:] == seen_of_door(door)[3:]


# -- PROXY headers


def proxy(data: bytes) -> None:
    """What is taken is what another implementation reads out of it."""
    if len(data) < 1:
        return
    cut, data = data[0], data[1:]
    whole = reader_of([data])
    in_pieces = reader_of(pieces(data, cut))
    assert seen_of_reader(in_pieces) == seen_of_reader(whole)
    if whole.outcome == PROXY_READING:
        assert len(data) < max(LINE_BYTES, 16 + BLOCK_BYTES)
        return
    header = whole.header
    assert (header is not None) == (whole.outcome == PROXY_KNOWN) == (not whole.reason)
    if header is None:
        assert whole.reason.isprintable()
        return
    for text in (header.authority, header.common_name, header.source, header.destination):
        assert not any(ord(character) < 32 for character in text)
    if header.source in ("", "unix"):  # the other wants paths to be ASCII
        return
    try:
        other = ProxyProtocolDetect().unpack(data[: len(data) - len(whole.rest)])
    except (ProxyProtocolSyntaxError, ProxyProtocolIncompleteError) as error:
        raise AssertionError("taken by us alone") from error
    assert isinstance(other, ProxyResultIPv4 | ProxyResultIPv6)
    address, port = other.source
    plain = parsed_address(str(address))
    assert plain is not None
    assert header.source == with_port(plain, port)


def reader_of(reads: Iterator[bytes] | list[bytes]) -> ProxyReader:
    reader = ProxyReader()
    for data in reads:
        reader.feed(data)
        assert len(reader._received) <= 16 + BLOCK_BYTES or len(data) > BLOCK_BYTES
    return reader


def seen_of_reader(reader: ProxyReader) -> tuple[object, ...]:
    header = reader.header
    told = () if header is None else tuple(getattr(header, name) for name in header.__slots__)
    return reader.outcome, reader.reason, reader.rest, told
