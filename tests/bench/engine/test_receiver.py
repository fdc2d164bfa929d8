"""A subscriber: every message checked to the last byte, and all that can be wrong with one told apart."""

from __future__ import annotations

import pytest

from broker.bench.engine.payload import OLDEST, STAMP, filler
from broker.bench.engine.receiver import packet_end
from broker.packets.encode import puback, pubcomp, pubrec
from tests.bench.engine.parts import NOW, Subscriber


def faults(subscriber: Subscriber) -> tuple[int, int, int]:
    tally = subscriber.tally
    return tally.repeated, tally.disordered, tally.corrupted


@pytest.mark.parametrize("payload", [16, 17, 64, 20_000])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [3, 4, 5])
def test_good_messages_are_counted_and_timed(version: int, qos: int, payload: int) -> None:
    subscriber = Subscriber(version=version, qos=qos, payload=payload)
    identifiers = range(4, 8) if qos else (0, 0, 0, 0)
    data = b"".join(
        subscriber.message(sequence, source=source, packet_identifier=identifier)
        for (source, sequence), identifier in zip([(0, 0), (1, 0), (1, 1), (1, 2)], identifiers, strict=True)
    )
    assert subscriber.take(data) == len(data)
    tally = subscriber.tally
    assert (tally.received, tally.unique, faults(subscriber), tally.trouble) == (4, 4, (0, 0, 0), {})
    assert tally.latency.count == 4
    assert tally.latency.percentile(50) == pytest.approx(1000, rel=0.01)
    answer = {0: [], 1: [puback(each) for each in identifiers], 2: [pubrec(each) for each in identifiers]}
    assert subscriber.receiver.replies == answer[qos]
    assert subscriber.ready == [subscriber.publishers[0], subscriber.publishers[1]]
    assert subscriber.sources.arrivals[1].completed == 3


def test_only_what_was_due_in_the_window_is_timed() -> None:
    subscriber = Subscriber()
    subscriber.tally.window_start, subscriber.tally.window_end = NOW - 500, NOW - 100
    subscriber.take(*(subscriber.message(n, due=NOW - due) for n, due in enumerate((501, 500, 300, 101, 100))))
    assert (subscriber.tally.received, subscriber.tally.latency.count) == (5, 3)


def test_lost_is_what_is_expected_and_not_unique() -> None:
    subscriber = Subscriber()
    subscriber.take(*(subscriber.message(sequence) for sequence in (0, 1, 4)))
    assert (subscriber.tally.received, subscriber.tally.unique, faults(subscriber)) == (3, 3, (0, 0, 0))


def test_repeated() -> None:
    subscriber = Subscriber()
    subscriber.take(*(subscriber.message(sequence) for sequence in (0, 1, 1, 0, 2)))
    assert (subscriber.tally.received, subscriber.tally.unique, faults(subscriber)) == (5, 3, (2, 0, 0))


def test_disordered() -> None:
    subscriber = Subscriber()
    subscriber.take(*(subscriber.message(sequence) for sequence in (0, 2, 1, 3)))
    assert (subscriber.tally.unique, faults(subscriber)) == (4, (0, 1, 0))


def test_two_publishers_do_not_disturb_each_other() -> None:
    subscriber = Subscriber()
    subscriber.take(*(subscriber.message(n // 2, source=n % 2) for n in range(20)))
    assert (subscriber.tally.unique, faults(subscriber)) == (20, (0, 0, 0))


def altered(size: int, at: int) -> bytes:
    payload = bytearray(STAMP.pack(0, 0, NOW - 1000) + filler(size))
    payload[at] ^= 1
    return bytes(payload)


@pytest.mark.parametrize("at", [16, 40, 63])
def test_an_altered_byte_is_corrupted_and_not_lost(at: int) -> None:
    subscriber = Subscriber()
    subscriber.take(subscriber.message(0, payload=altered(64, at)), subscriber.message(1))
    assert (subscriber.tally.received, subscriber.tally.unique, faults(subscriber)) == (2, 2, (0, 0, 1))
    assert "payload" in next(iter(subscriber.tally.trouble))


@pytest.mark.parametrize("payload", [altered(64, 20)[:50], altered(64, 20) + b"x", b"", b"21.5", bytes(64)])
def test_another_length_or_somebody_elses_is_corrupted(payload: bytes) -> None:
    subscriber = Subscriber()
    subscriber.take(subscriber.message(0, payload=payload))
    assert faults(subscriber) == (0, 0, 1)


def test_a_wrong_topic_is_corrupted() -> None:
    subscriber = Subscriber()
    subscriber.take(subscriber.message(0, topic="bench/1"), subscriber.message(0, source=1, topic="bench/11"))
    assert faults(subscriber) == (0, 0, 2)


def test_a_message_to_a_topic_that_was_not_subscribed_to_is_corrupted() -> None:
    subscriber = Subscriber(topic_filter="bench/0")
    subscriber.take(subscriber.message(0, source=1), subscriber.message(0, source=2, topic="other/2"))
    assert (faults(subscriber), subscriber.tally.received) == ((0, 0, 2), 0)


def test_a_publisher_that_is_not_in_the_run_is_corrupted() -> None:
    subscriber = Subscriber()
    subscriber.take(subscriber.message(0, source=77, topic="bench/0"))
    assert faults(subscriber) == (0, 0, 1)
    assert "did not send" in next(iter(subscriber.tally.trouble))


def test_a_run_beside_this_one_is_told_apart() -> None:
    subscriber = Subscriber()
    subscriber.sources.first = 1_000
    subscriber.take(subscriber.message(0, source=1_001, topic="bench/1"), subscriber.message(0, topic="bench/0"))
    assert (subscriber.tally.unique, faults(subscriber)) == (1, (0, 0, 1))
    assert "did not send, on 'bench/0' (a run beside it needs a -t of its own)" in next(iter(subscriber.tally.trouble))


@pytest.mark.parametrize("due", [NOW + 1, NOW - OLDEST - 1])
def test_a_time_that_cannot_be_is_corrupted(due: int) -> None:
    subscriber = Subscriber()
    subscriber.take(subscriber.message(0, due=due))
    assert faults(subscriber) == (0, 0, 1)


def test_a_retained_message_of_before_is_let_pass() -> None:
    subscriber = Subscriber()
    subscriber.take(subscriber.message(0, payload=b"21.5", retain=True))
    assert (subscriber.tally.received, faults(subscriber), subscriber.tally.trouble) == (0, (0, 0, 0), {})


def test_dup_and_properties_are_legal() -> None:
    subscriber = Subscriber(qos=1)
    subscriber.take(subscriber.message(0, dup=True), subscriber.message(1, identifiers=(5,)), subscriber.message(2))
    assert (subscriber.tally.unique, faults(subscriber), subscriber.tally.trouble) == (3, (0, 0, 0), {})
    assert subscriber.receiver.replies == [puback(1), puback(2), puback(3)]


def test_another_qos_than_granted_is_trouble() -> None:
    subscriber = Subscriber(qos=1)
    subscriber.take(subscriber.message(0, qos=0))
    assert subscriber.tally.unique == 1
    assert subscriber.tally.trouble == {"a message with QoS 0 to a Subscription of QoS 1": 1}


def test_qos_2_is_released() -> None:
    subscriber = Subscriber(qos=2)
    subscriber.take(subscriber.message(0, packet_identifier=7))
    subscriber.receiver.release(7)
    subscriber.take(subscriber.message(1, packet_identifier=7))
    assert subscriber.receiver.replies == [pubrec(7), pubcomp(7), pubrec(7)]
    assert subscriber.tally.trouble == {}


def test_a_packet_identifier_used_again_before_its_release_is_trouble() -> None:
    subscriber = Subscriber(qos=2)
    subscriber.take(subscriber.message(0, packet_identifier=7), subscriber.message(1, packet_identifier=7))
    assert list(subscriber.tally.trouble) == ["a Packet Identifier of QoS 2 used again before its PUBREL"]


def test_a_pubrel_of_nothing_is_trouble_and_answered() -> None:
    subscriber = Subscriber(qos=2)
    subscriber.receiver.release(7)
    assert subscriber.receiver.replies == [pubcomp(7)]
    assert list(subscriber.tally.trouble) == ["a PUBREL that belongs to no message"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("payload", [64, 200])
def test_it_stops_where_something_else_or_a_part_begins(payload: int, known: bool) -> None:
    subscriber = Subscriber(payload=payload, known=known)
    one = subscriber.message(0)
    two = subscriber.message(1)
    for cut in range(len(two)):
        subscriber = Subscriber(payload=payload, known=known)
        assert subscriber.take(one, two[:cut]) == len(one)
        assert subscriber.tally.received == 1
    assert subscriber.take(one, b"\xd0\x00", two) == len(one)


def test_what_is_no_publish_at_all_is_a_violation() -> None:
    subscriber = Subscriber()
    packet = bytearray(subscriber.message(0))
    packet[0] |= 6  # QoS 3
    subscriber.take(bytes(packet))
    assert "QoS 3" in subscriber.receiver.violation


def test_a_far_publisher_is_told_by_a_counter() -> None:
    subscriber = Subscriber()
    arrivals = subscriber.sources.arrivals[0]
    arrivals.publisher = None
    subscriber.take(subscriber.message(0), subscriber.message(1))
    assert (subscriber.sources.changed, arrivals.completed, subscriber.ready) == ([arrivals], 2, [])


# -- Where the run has no publishers


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_any_message_is_welcome(version: int, qos: int) -> None:
    subscriber = Subscriber(known=False, version=version, qos=qos)
    for sequence, payload in enumerate([b"", b"21.5", bytes(1000)]):
        packet = subscriber.message(sequence, payload=payload, topic="any/where")
        assert subscriber.take(packet) == len(packet)
    subscriber.take(subscriber.message(3), subscriber.message(3, retain=True))
    tally = subscriber.tally
    assert (tally.received, faults(subscriber), tally.latency.count) == (5, (0, 0, 0), 2)
    assert len(subscriber.receiver.replies) == (5 if qos else 0)


@pytest.mark.parametrize(
    "packet", [b"\x30\x01\x00", b"\x30\x03\x00\x05a", b"\x36\x05\x00\x01a\x00\x01", b"\x30\x04\x00\x01a\x7f"]
)
def test_a_malformed_message_is_a_violation(packet: bytes) -> None:
    subscriber = Subscriber(known=False)
    subscriber.take(packet)
    assert subscriber.receiver.violation
    assert subscriber.tally.received == 0


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", -1),
        (b"\x30", -1),
        (b"\x30\x05", 7),
        (b"\x30\x85", -1),
        (b"\x30\x85\x01", 136),
        (b"\x30\x80\x80\x01", 16_388),
    ],
)
def test_where_a_packet_ends(data: bytes, end: int) -> None:
    assert packet_end(data, 0, len(data)) == end
