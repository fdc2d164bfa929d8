"""PROXY headers: in any cut the same, and what is taken is what another implementation reads out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxyprotocol import ProxyProtocolIncompleteError, ProxyProtocolSyntaxError
from proxyprotocol.detect import ProxyProtocolDetect
from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6

from broker.transport.proxy import BLOCK_BYTES, KNOWN, LINE_BYTES, READING, ProxyReader
from broker.websocket.forwarded import parsed_address, with_port
from tests.fuzz.cuts import pieces

if TYPE_CHECKING:
    from tests.fuzz.cuts import Reads


def target(data: bytes) -> None:
    """What is taken is what another implementation reads out of it."""
    if len(data) < 1:
        return
    cut, data = data[0], data[1:]
    whole = reader_of([data])
    in_pieces = reader_of(pieces(data, cut))
    assert seen_of_reader(in_pieces) == seen_of_reader(whole)
    if whole.outcome == READING:
        assert len(data) < max(LINE_BYTES, 16 + BLOCK_BYTES)
        return
    header = whole.header
    assert (header is not None) == (whole.outcome == KNOWN) == (not whole.reason)
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


def reader_of(reads: Reads) -> ProxyReader:
    reader = ProxyReader()
    for data in reads:
        reader.feed(data)
        assert len(reader._received) <= 16 + BLOCK_BYTES or len(data) > BLOCK_BYTES
    return reader


def seen_of_reader(reader: ProxyReader) -> tuple[object, ...]:
    header = reader.header
    told = () if header is None else tuple(getattr(header, name) for name in header.__slots__)
    return reader.outcome, reader.reason, reader.rest, told
