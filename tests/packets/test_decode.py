"""Where packets begin and end: pieces, bounds, order, and what is left after a fault."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode, encode_publish
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect, ControlPacket, Pingreq, Publish
from tests.packets import faults
from tests.packets.faults import FAULTS, refused
from tests.packets.strategies import packets
from tests.packets.table import CASES, CONNECT_CASES, Case, decoder, fields, octets
from tests.statements import statement

CONNECT = octets('10 .. "MQTT" 04 02 003c "dev"')
PINGREQ = octets("c0 00")
BEGINNINGS = [(0, True), (3, True), (4, True), (5, True), (3, False), (4, False), (5, False)]


def in_pieces(reader: Decoder, *pieces: bytes) -> list[ControlPacket]:
    read: list[ControlPacket] = []
    for piece in pieces:
        read += reader.feed(piece)
    return read


def one_by_one(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# -- Pieces


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    """Two pieces are as good as one, and nothing comes before the last byte."""
    step = 1 + len(case.data) // 300
    for cut in range(0, len(case.data), step):
        reader = decoder(case.version, case.server)
        assert reader.feed(case.data[:cut]) == []
        assert fields(reader.feed(case.data[cut:])) == fields([case.packet])
        assert reader.error is None


@pytest.mark.parametrize("case", [case for case in CASES if len(case.data) < 1000], ids=lambda case: case.name)
def test_a_byte_at_a_time(case: Case) -> None:
    reader = decoder(case.version, case.server)
    assert fields(in_pieces(reader, *one_by_one(case.data))) == fields([case.packet])
    assert reader.error is None


def test_a_fault_is_the_same_a_byte_at_a_time() -> None:
    for fault in FAULTS:
        reader = decoder(fault.version, fault.server)
        assert in_pieces(reader, *one_by_one(fault.data)) == [], fault.name
        assert reader.error is not None, fault.name
        assert reader.error.reason == fault.reason, fault.name


@given(st.data(), st.sampled_from((3, 4, 5)), st.booleans())
def test_pieces_do_not_matter(data: st.DataObject, version: int, server: bool) -> None:
    some = data.draw(st.lists(packets(version, server), min_size=1, max_size=4))
    stream = b"".join(encode(packet, version) for packet in some)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader = decoder(version, server)
    assert fields(in_pieces(reader, *pieces)) == fields(some)
    assert reader.error is None


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("server", [True, False])
def test_many_packets_in_one_piece(version: int, server: bool) -> None:
    cases = [case for case in CASES if (case.version, case.server) == (version, server)]
    assert len(cases) > 8
    reader = decoder(version, server)
    assert fields(reader.feed(b"".join(case.data for case in cases))) == fields([case.packet for case in cases])


def test_a_publish_keeps_its_packet_as_it_came() -> None:
    """Alone it is not even copied; its payload is the end of it."""
    for version, body in ((4, "'hi'"), (5, "[] 'hi'"), (5, "[01 01 23 0001] 'hi'")):
        data = octets(f'32 .. "a/b" 0007 {body}')
        (publish,) = decoder(version).feed(data)
        assert isinstance(publish, Publish)
        assert publish.packet is data
        assert publish.payload == b"hi"
        (publish, _) = decoder(version).feed(data + PINGREQ)
        assert isinstance(publish, Publish)
        assert publish.packet == data
        assert publish.version == version


# -- Faults


@given(st.binary(max_size=60), st.sampled_from(BEGINNINGS), st.integers(0, 60))
@example(CONNECT, (0, True), 3)
def test_any_bytes_are_packets_or_a_reason(data: bytes, beginning: tuple[int, bool], cut: int) -> None:
    reader = decoder(*beginning)
    whole = reader.feed(data)
    assert reader.error is None or isinstance(reader.error.reason, ReasonCode)
    in_two = decoder(*beginning)
    assert fields(in_pieces(in_two, data[:cut], data[cut:])) == fields(whole)
    assert (in_two.error and in_two.error.reason) == (reader.error and reader.error.reason)


@given(st.sampled_from(CASES), st.data())
def test_damaged_packets_are_packets_or_a_reason(case: Case, data: st.DataObject) -> None:
    """A byte changed, put in or left out, anywhere: deeper than any bytes would come."""
    damaged = bytearray(case.data[:400])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    reader = decoder(case.version, case.server)
    for packet in reader.feed(bytes(damaged)):
        assert isinstance(packet, ControlPacket)
    assert reader.error is None or isinstance(reader.error.reason, ReasonCode)


@statement("MQTT5-4.13.1-1", "MQTT311-4.8.0-1")
def test_what_came_before_a_fault_is_delivered_and_nothing_after_it() -> None:
    reader = decoder(4)
    assert fields(reader.feed(PINGREQ + PINGREQ + b"\x36" + PINGREQ)) == fields([Pingreq(), Pingreq()])
    first = reader.error
    assert first is not None
    assert reader.feed(PINGREQ) == []
    reader.accept()
    assert reader.feed(PINGREQ + b"\0") == []
    assert reader.error is first


@statement("MQTT5-2.1.3-1", "MQTT311-2.2.2-1", "MQTT311-2.2.2-2", "MQTT5-3.6.1-1", "MQTT311-3.6.1-1", "MQTT5-3.8.1-1")
@statement(
    "MQTT311-3.8.1-1", "MQTT5-3.10.1-1", "MQTT311-3.10.1-1", "MQTT5-3.14.1-1", "MQTT311-3.14.1-1", "MQTT5-3.15.1-1"
)
def test_flags() -> None:
    refused(*faults.FLAGS, *faults.UNKNOWN_TYPES)


@statement("MQTT5-3.3.1-4", "MQTT311-3.3.1-4")
def test_qos_3() -> None:
    refused(*faults.QOS_3)


@statement("MQTT5-3.3.1-2", "MQTT311-3.3.1-2")
def test_dup_at_qos_0() -> None:
    refused(*faults.DUP_AT_QOS_0)


def test_packets_in_the_wrong_direction() -> None:
    refused(*faults.DIRECTION)


# -- CONNECT


@statement("MQTT5-3.1.0-1", "MQTT311-3.1.0-1")
def test_the_first_packet_is_a_connect() -> None:
    """Decided from one byte: nothing is awaited from what does not speak MQTT."""
    refused(*faults.FIRST_PACKET)


@statement("MQTT5-3.1.0-2", "MQTT311-3.1.0-2")
def test_a_second_connect() -> None:
    refused(*faults.SECOND_CONNECT)
    reader = decoder(0)
    assert len(reader.feed(CONNECT + CONNECT)) == 1
    reader.accept()
    assert reader.feed(b"") == []
    assert reader.error is not None
    assert reader.error.reason == ReasonCode.PROTOCOL_ERROR


@statement("MQTT5-3.1.4-6", "MQTT311-3.1.4-5")
@pytest.mark.parametrize("case", CONNECT_CASES, ids=lambda case: case.name)
def test_nothing_after_a_connect_is_read_before_it_is_accepted(case: Case) -> None:
    reader = decoder(0)
    assert fields(reader.feed(case.data + PINGREQ)) == fields([case.packet])
    assert reader.feed(PINGREQ[:1]) == []
    assert reader.feed(PINGREQ[1:] + b"\x36") == []
    assert reader.error is None
    reader.accept()
    assert len(reader.feed(b"")) == 2
    assert reader.error is not None
    assert reader.version == case.spoken


def test_accepted_without_anything_waiting() -> None:
    reader = decoder(0)
    (connect,) = reader.feed(CONNECT)
    assert isinstance(connect, Connect)
    reader.accept()
    assert reader.feed(b"") == []
    assert len(reader.feed(PINGREQ)) == 1


# -- Bounds


def small() -> DecoderLimits:
    limits = DecoderLimits()
    limits.connect_packet_size = 30
    limits.maximum_packet_size = 40
    return limits


def test_connect_packet_size() -> None:
    largest = octets(f'10 .. "MQTT" 04 02 0000 "{"x" * 16}"')
    assert len(largest) == 30
    assert len(Decoder(small()).feed(largest)) == 1
    reader = Decoder(small())
    assert reader.feed(octets("10 1d")) == []
    assert reader.error is not None
    assert reader.error.reason == ReasonCode.PACKET_TOO_LARGE


def test_maximum_packet_size_once_accepted() -> None:
    reader = Decoder(small())
    reader.feed(CONNECT)
    reader.accept()
    largest = encode_publish(b"t", b"x" * 35, version=4)
    assert len(largest) == 40
    assert len(reader.feed(largest * 3)) == 3
    assert reader.error is None
    assert len(reader.feed(largest + encode_publish(b"t", b"x" * 36, version=4))) == 1
    assert reader.error is not None
    assert reader.error.reason == ReasonCode.PACKET_TOO_LARGE


@pytest.mark.parametrize("promised", ["27", "ff7f", "ffffff7f"])
@pytest.mark.parametrize("server", [True, False])
def test_the_fixed_header_decides_about_the_size(promised: str, server: bool) -> None:
    """Not a byte of the body is awaited."""
    reader = Decoder(small(), 4, server)
    assert reader.feed(b"\x30") == []
    assert reader.feed(bytes.fromhex(promised)) == []
    assert reader.error is not None
    assert reader.error.reason == ReasonCode.PACKET_TOO_LARGE


@pytest.mark.parametrize("first", ["40", "50", "62", "70"])
def test_acknowledgement_bytes(first: str) -> None:
    limits = DecoderLimits()
    limits.acknowledgement_bytes = 20
    data = octets(f'{first} .. 0001 00 [1f "{"r" * 13}"]')
    assert len(data) == 22
    assert len(Decoder(limits, 5).feed(data)) == 1
    reader = Decoder(limits, 5)
    reader.feed(octets(f"{first} 15"))
    assert reader.error is not None
    assert reader.error.reason == ReasonCode.PACKET_TOO_LARGE


def test_lengths_that_cannot_be_are_refused_by_the_fixed_header() -> None:
    for version, header in (
        *((3, text) for text in ("40 03", "62 01", "c0 01", "e0 01")),
        (5, "c0 02"),
        (4, "50 ff01"),
    ):
        reader = decoder(version)
        assert reader.feed(octets(header)) == []
        assert reader.error is not None
        assert reader.error.reason == ReasonCode.MALFORMED_PACKET


def test_memory_grows_with_bytes_received_and_not_with_bytes_promised() -> None:
    limits = DecoderLimits()
    limits.maximum_packet_size = 300_000_000
    reader = Decoder(limits, 4)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        reader.feed(octets("30 80c2d72f 0001 'a'"))  # 100,000,000 bytes
        for _ in range(100):
            reader.feed(b"x" * 100)
        assert reader.error is None
        assert tracemalloc.get_traced_memory()[1] - before < 50_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("size", "piece"), [(20_000, 1), (1_000_000, 100)])
def test_buffering_is_linear(size: int, piece: int) -> None:
    """The bytes taken from memory over all pieces, kept or not, are a few times the packet; not its square."""
    data = encode_publish(b"t", bytes(size), version=4)
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    reader = decoder(4)
    taken = 0
    read: list[ControlPacket] = []
    tracemalloc.start()
    try:
        for one in pieces:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            read += reader.feed(one)
            taken += tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    (publish,) = read
    assert isinstance(publish, Publish)
    assert publish.packet == data
    overhead = 200 * len(pieces)  # the list that each call returns, a counter or two
    assert taken < 6 * len(data) + overhead


def test_nothing_is_kept_after_a_fault() -> None:
    reader = decoder(4)
    reader.feed(b"\x36")
    tracemalloc.start()
    try:
        for _ in range(100):
            reader.feed(bytes(10_000))
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


def test_a_megabyte_a_byte_at_a_time() -> None:
    data = encode_publish(b"t", bytes(999_990), version=4)
    reader = decoder(4)
    read = in_pieces(reader, *one_by_one(data))
    assert len(read) == 1
    assert reader.error is None
