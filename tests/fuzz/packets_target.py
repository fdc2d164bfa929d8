"""Control Packets: any bytes, in any cut, are packets or a reason; and what was read can be written and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack, Connect, ControlPacket
from tests.fuzz.cuts import pieces
from tests.packets.table import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.cuts import Reads


def few_limits() -> DecoderLimits:
    limits = DecoderLimits()
    limits.maximum_packet_size = 100
    limits.connect_packet_size = 60
    return limits


def target(data: bytes) -> None:
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


def decoded(decoder: Decoder, reads: Reads, limits: DecoderLimits) -> Iterator[ControlPacket]:
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
