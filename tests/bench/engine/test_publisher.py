"""A publisher: what it puts on the wire, how much it may, and what it makes of the answers."""

from __future__ import annotations

import array

import pytest

from broker.bench.engine.payload import STAMP, filler
from broker.bench.engine.publisher import BATCH_BYTES, PACKET_IDENTIFIERS, Publisher
from broker.bench.engine.tally import NEVER, Tally
from broker.packets.encode import acknowledgement, encode, puback, pubcomp, pubrec, pubrel
from broker.packets.types import PUBACK, PUBREC, Properties, Puback
from tests.bench.engine.parts import NOW, SECOND, published, publisher


def acknowledge(one: Publisher, *packets: bytes, now: int = NOW) -> int:
    data = b"".join(packets)
    return one.acknowledge(data, 0, len(data), now)


# -- On the wire


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("payload", [16, 17, 100, 125, 126, 20_000, 70_000])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [3, 4, 5])
def test_messages_are_read_as_they_were_meant(version: int, qos: int, payload: int, framed: bool) -> None:
    tally = Tally()
    one = publisher(tally, number=7, topic="a/b\u00e9", payload=payload, qos=qos, version=version, framed=framed, fan=3)
    first = one.messages(2, NOW) if one.batch > 1 else one.messages(1, NOW) + one.messages(1, NOW)
    data = first + one.messages(1, NOW + 5)
    packets = published(data, version, framed)
    assert [packet.payload for packet in packets] == [
        STAMP.pack(7, sequence, due) + filler(payload) for sequence, due in ((0, NOW), (1, NOW), (2, NOW + 5))
    ]
    assert {(packet.topic, packet.qos, packet.retain, packet.dup) for packet in packets} == {
        ("a/b\u00e9", qos, False, False)
    }
    assert [packet.packet_identifier for packet in packets] == ([1, 2, 3] if qos else [0, 0, 0])
    assert (tally.sent, tally.expected, tally.bytes_sent) == (3, 9, len(data))
    assert tally.mqtt_bytes_sent == sum(len(packet.packet) for packet in packets) == 3 * one.packet_bytes


@pytest.mark.parametrize(("payload", "framing"), [(64, 6), (114, 6), (115, 8), (60_000, 8), (66_000, 14)])
def test_each_packet_is_a_frame_with_a_mask_of_its_own(payload: int, framing: int) -> None:
    one = publisher(payload=payload, version=4, topic="bench/1", framed=True)
    data = one.messages(40, NOW)
    assert one.wire_bytes - one.packet_bytes == framing
    frames = [data[at : at + one.wire_bytes] for at in range(0, len(data), one.wire_bytes)]
    masks = {frame[framing - 4 : framing] for frame in frames}
    assert len(frames) == 40
    assert len(masks) > 35


def test_a_batch_is_bounded_in_bytes() -> None:
    assert publisher(payload=64).batch == BATCH_BYTES // publisher(payload=64).wire_bytes
    assert publisher(payload=1_000_000).batch == 1


# -- How much


def test_a_closed_loop_waits_for_the_slowest_subscriber() -> None:
    one = publisher(inflight=3, fan=2)
    assert one.room(None) == 3
    one.messages(3, NOW)
    assert one.room(None) == 0
    assert one.arrivals is not None
    for sequence in (0, 1, 2):
        one.arrivals.take(sequence)
    assert one.room(None) == 0
    one.arrivals.take(0)
    assert one.room(None) == 1


def test_subscribers_of_other_workers_count() -> None:
    one = publisher(inflight=3, fan=1)
    one.remote.append(1)
    one.written_off.append(0)
    shared = memoryview(array.array("Q", [0, 0]))
    one.messages(3, NOW)
    assert one.arrivals is not None
    for sequence in range(3):
        one.arrivals.take(sequence)
    assert one.room(shared) == 0
    shared[1] = 2
    assert one.room(shared) == 2
    assert one.write_off(shared)
    assert one.room(shared) == 3


def test_what_never_came_is_written_off_and_it_goes_on() -> None:
    one = publisher(inflight=3)
    assert not one.write_off(None)
    one.messages(3, NOW)
    assert one.write_off(None)
    assert one.room(None) == 3
    one.messages(1, NOW)
    assert one.room(None) == 2


def test_without_subscribers_only_the_acknowledgements_bound_it() -> None:
    assert publisher(fan=0, inflight=3).room(None) > 1_000_000
    one = publisher(fan=0, inflight=3, qos=1)
    one.messages(2, NOW)
    assert one.room(None) == 1


def test_the_receive_maximum_is_honoured() -> None:
    one = publisher(qos=1, inflight=50, fan=0)
    one.limit(4)
    one.messages(4, NOW)
    assert one.room(None) == 0
    acknowledge(one, puback(2))
    assert one.room(None) == 1


def test_a_quota_is_not_exceeded() -> None:
    one = publisher(inflight=10, quota=12)
    assert one.room(None) == 10
    one.messages(10, NOW)
    assert one.write_off(None)
    assert one.room(None) == 2


def test_in_an_open_loop_what_is_due_may_be_sent() -> None:
    one = publisher(spacing=1000.0, inflight=1)
    one.backlog = 7
    assert one.room(None) == 7
    one.messages(5, NOW)
    assert one.backlog == one.room(None) == 2


def test_in_an_open_loop_a_message_keeps_its_due_time_however_late_it_is_sent() -> None:
    tally = Tally()
    tally.window_start, tally.window_end = NOW, NEVER
    one = publisher(tally, number=1, of=4, spacing=1000.0)
    one.backlog = 3
    sent_at = NOW + SECOND
    dues = [STAMP.unpack_from(packet.payload)[2] for packet in published(one.messages(3, sent_at))]
    assert dues == [NOW + 1000, NOW + 5000, NOW + 9000]
    assert tally.latest == SECOND - 1000


# -- Answers


def test_a_puback_ends_it() -> None:
    tally = Tally()
    tally.window_start, tally.window_end = NOW, NEVER
    ready: list[Publisher] = []
    one = publisher(tally, qos=1, ready=ready)
    one.messages(2, NOW)
    assert one.unacknowledged == 2
    assert acknowledge(one, puback(1), puback(2), now=NOW + 700) == 8
    assert (tally.acknowledged, tally.refused, one.unacknowledged) == (2, 0, 0)
    assert tally.acknowledgement.percentile(50) == pytest.approx(700, rel=0.01)
    assert ready == [one]


def test_qos_2_is_two_steps() -> None:
    tally = Tally()
    one = publisher(tally, qos=2)
    one.messages(1, NOW)
    acknowledge(one, pubrec(1))
    assert one.replies == [pubrel(1)]
    assert (tally.acknowledged, one.unacknowledged) == (0, 1)
    acknowledge(one, pubcomp(1))
    assert (tally.acknowledged, one.unacknowledged, tally.trouble) == (1, 0, {})


@pytest.mark.parametrize(("kind", "qos"), [(PUBACK, 1), (PUBREC, 2)])
def test_a_refused_message_is_not_expected(kind: int, qos: int) -> None:
    tally = Tally()
    one = publisher(tally, qos=qos, inflight=1, fan=3)
    one.messages(1, NOW)
    acknowledge(one, acknowledgement(kind, 1, 0x97, 5))
    assert (tally.refused, tally.expected, one.unacknowledged, one.room(None)) == (1, 0, 0, 1)
    assert "0x97" in next(iter(tally.trouble))


def test_no_matching_subscribers_is_no_refusal() -> None:
    tally = Tally()
    one = publisher(tally, qos=1)
    one.messages(1, NOW)
    acknowledge(one, acknowledgement(PUBACK, 1, 0x10, 5))
    assert (tally.refused, tally.acknowledged) == (0, 1)


def test_properties_of_an_acknowledgement_are_passed_over() -> None:
    tally = Tally()
    one = publisher(tally, qos=1)
    one.messages(2, NOW)
    properties = Properties()
    properties.reason_string = "fine"
    data = encode(Puback(1, 0, properties), 5)
    assert acknowledge(one, data, puback(2)) == len(data) + 4
    assert tally.acknowledged == 2


@pytest.mark.parametrize(
    ("qos", "answers"),
    [(1, [puback(9)]), (1, [puback(1), puback(1)]), (1, [pubrec(1)]), (2, [puback(1)]), (2, [pubcomp(1)])],
)
def test_an_answer_to_nothing_is_trouble(qos: int, answers: list[bytes]) -> None:
    tally = Tally()
    one = publisher(tally, qos=qos)
    one.messages(1, NOW)
    acknowledge(one, *answers)
    assert sum(tally.trouble.values()) == 1
    assert "belongs to no message" in next(iter(tally.trouble))


def test_what_is_no_answer_or_not_all_there_is_left() -> None:
    one = publisher(qos=1)
    one.messages(3, NOW)
    assert acknowledge(one, puback(1), b"\xd0\x00", puback(2)) == 4
    assert acknowledge(one, puback(2), puback(3)[:3]) == 4
    assert acknowledge(one, b"\x40\x85\x01" + bytes(133)) == 0  # longer than any that is met by the thousand


def test_a_packet_identifier_in_use_is_not_taken() -> None:
    one = publisher(qos=1, inflight=PACKET_IDENTIFIERS, payload=16)
    first = one.messages(PACKET_IDENTIFIERS, NOW)
    assert len({packet.packet_identifier for packet in published(first)}) == PACKET_IDENTIFIERS
    acknowledge(one, puback(40_000))
    assert published(one.messages(1, NOW))[0].packet_identifier == 40_000
