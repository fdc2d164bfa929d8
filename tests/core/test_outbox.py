"""Bytes waiting for one Network Connection."""

from __future__ import annotations

from broker.core.outbox import Outbox
from broker.core.stats import Traffic, TransportStats
from tests.core.parts import values_of


def new() -> tuple[Outbox, list[Outbox], TransportStats]:
    dirty: list[Outbox] = []
    stats = TransportStats()
    return Outbox(dirty, stats, Traffic(), 100, 1000), dirty, stats


def counters(stats: TransportStats) -> dict[str, int]:
    return {name: value for name, value in values_of(stats).items() if isinstance(value, int)}


def packet(qos: int, size: int = 10) -> bytes:
    return bytes((0x30 | qos << 1,)) + bytes(size - 1)


def fresh(stats: TransportStats) -> tuple[int, int, int]:
    latency = stats.latency
    return latency.fresh_0, latency.fresh_1, latency.fresh_2


def recorded(stats: TransportStats, qos: int) -> tuple[int, float]:
    """How many were recorded with their latency, and their mean."""
    histogram = stats.latency.written[qos]
    count = histogram.ever().count
    return count, histogram.total / count if count else 0.0


def test_nothing_waits_at_first() -> None:
    outbox, dirty, stats = new()
    assert outbox.take() == b""
    assert not dirty
    assert counters(stats) == counters(TransportStats())
    assert not stats.latency.pending()


def test_what_is_put_leaves_in_order_in_one_piece() -> None:
    outbox, _, _ = new()
    outbox.put(b"one")
    outbox.put_publish(b"two", 1)
    outbox.put_publish_parts(b"head", 0x0102, b"tail", 2)
    assert outbox.size == 3 + 3 + 4 + 2 + 4
    assert outbox.take() == b"onetwohead\x01\x02tail"
    assert outbox.take() == b""


def test_a_connection_and_its_transport_count_alike() -> None:
    outbox, _, stats = new()
    traffic = outbox.traffic
    for late in (False, True):
        outbox.put(b"no PUBLISH")
        outbox.put_publish(packet(0), 0)
        outbox.take()
        outbox.put_publish(packet(1), 0)
        outbox.put_publish(packet(2), 0)
        outbox.mark()
        outbox.put_publish(packet(1), 0)
        if late:
            outbox.waited(1.0, 2.0)
        outbox.take()
        outbox.hold(3.0)
    assert (traffic.messages_sent, traffic.bytes_sent) == (10, 100)
    assert stats.messages_sent + stats.publish_sent == traffic.messages_sent
    assert stats.bytes_sent == traffic.bytes_sent


def test_a_single_part_is_not_copied() -> None:
    outbox, _, _ = new()
    data = bytes(50)
    outbox.put_publish(data, 0)
    assert outbox.take() is data


def test_size_counts_until_the_bytes_have_left() -> None:
    outbox, _, _ = new()
    outbox.put(b"12345")
    outbox.take()
    assert outbox.size == 5
    outbox.put(b"678")
    assert outbox.size == 8
    outbox.sent()
    assert outbox.size == 3
    outbox.take()
    outbox.sent()
    assert outbox.size == 0


def test_taking_about_so_many_bytes() -> None:
    outbox, _, _ = new()
    for number in range(5):
        outbox.put(b"%d" % number * 10)
    assert outbox.take(15) == b"0" * 10 + b"1" * 10  # whole packets only
    assert outbox.take(1) == b"2" * 10
    assert outbox.size == 50
    outbox.sent()
    assert outbox.size == 20
    assert outbox.take(1000) == b"3" * 10 + b"4" * 10
    outbox.sent()
    assert outbox.size == 0


def test_it_is_dirty_once() -> None:
    outbox, dirty, _ = new()
    outbox.put(b"1")
    outbox.put_publish(b"2", 0)
    outbox.put_publish_parts(b"3", 1, b"", 0)
    outbox.touch()
    assert dirty == [outbox]
    dirty.clear()
    outbox.dirty = False
    outbox.put_publish(b"4", 0)
    assert dirty == [outbox]
    dirty.clear()
    outbox.dirty = False
    outbox.put_publish_parts(b"5", 1, b"", 0)
    assert dirty == [outbox]
    dirty.clear()
    outbox.dirty = False
    outbox.touch()
    assert dirty == [outbox]


def test_what_is_taken_is_counted() -> None:
    outbox, _, stats = new()
    outbox.put(b"1234")
    outbox.put_publish(b"12345678", 3)
    outbox.put_publish_parts(b"12", 1, b"34", 4)
    assert stats.bytes_sent == 0
    outbox.take()
    outbox.take()
    assert (stats.messages_sent, stats.publish_sent, stats.publish_bytes_sent, stats.bytes_sent) == (1, 2, 7, 18)


def test_clear_drops_what_waits_and_what_is_in_hand() -> None:
    outbox, _, _ = new()
    outbox.put(b"1")
    outbox.take()
    outbox.put(b"2")
    outbox.clear()
    assert outbox.size == 0
    assert outbox.take() == b""
    outbox.sent()
    assert outbox.size == 0


# -- For the latency


def test_what_is_taken_is_counted_by_qos() -> None:
    outbox, _, stats = new()
    for qos in (0, 0, 0, 1, 1, 2):
        outbox.put_publish(packet(qos), 0)
    outbox.put_publish_parts(packet(1), 1, b"", 0)
    outbox.put_publish_parts(packet(2), 1, b"", 0)
    outbox.put(packet(0))
    assert fresh(stats) == (0, 0, 0)
    outbox.take()
    outbox.sent()
    assert fresh(stats) == (3, 3, 2)
    assert stats.publish_sent == 8
    assert not outbox.held


def test_what_the_socket_does_not_take_is_as_old_as_the_stall_when_it_leaves() -> None:
    outbox, _, stats = new()
    outbox.put_publish(packet(0), 0)
    outbox.put_publish(packet(2), 0)
    outbox.take()
    outbox.hold(10.0)
    assert fresh(stats) == (0, 0, 0)
    outbox.put_publish(packet(1), 0)  # while it waits
    outbox.recover(13.0)
    outbox.sent()
    assert (recorded(stats, 0), recorded(stats, 1), recorded(stats, 2)) == ((1, 3.0), (0, 0.0), (1, 3.0))
    outbox.take()
    assert outbox.held
    assert fresh(stats) == (0, 0, 0)
    outbox.hold(13.0)  # and it stalls again
    outbox.recover(15.0)
    outbox.sent()
    assert recorded(stats, 1) == (1, 5.0)
    outbox.put_publish(packet(1), 0)
    outbox.take()
    outbox.recover(15.5)  # it had come after the second stall
    outbox.sent()
    outbox.put_publish(packet(1), 0)
    outbox.take()
    assert fresh(stats) == (0, 1, 0)
    assert stats.publish_sent == 5


def test_what_is_left_after_a_part_was_taken_is_counted_with_the_next() -> None:
    outbox, _, stats = new()
    for _ in range(10):
        outbox.put_publish(packet(0), 0)
    outbox.take(30)
    assert fresh(stats) == (3, 0, 0)
    outbox.hold(100.0)
    assert fresh(stats) == (0, 0, 0)
    outbox.recover(101.0)
    outbox.sent()
    assert recorded(stats, 0) == (3, 1.0)
    outbox.take()
    outbox.recover(102.0)
    outbox.sent()
    count, mean = recorded(stats, 0)
    assert count == stats.publish_sent == 10
    assert mean == (3 * 1.0 + 7 * 2.0) / 10


def test_a_reader_who_is_slow_for_ever_does_not_age_for_ever() -> None:
    outbox, _, stats = new()
    now = 1000.0
    for _ in range(10):
        outbox.put_publish(packet(0), 0)
    for _ in range(50):
        outbox.take(50)
        outbox.hold(now)
        now += 1.0
        outbox.recover(now)
        outbox.sent()
        for _ in range(5):
            outbox.put_publish(packet(0), 0)
    assert recorded(stats, 0)[0] == 250
    assert 1.0 < stats.latency.written[0].ever().maximum < 4.0


def test_what_has_waited_in_a_session_is_not_counted_by_its_round() -> None:
    outbox, _, stats = new()
    outbox.put_publish(packet(1), 0)
    outbox.mark()
    outbox.put_publish(packet(0), 0)
    outbox.put_publish(packet(1), 0)
    outbox.waited(-1.0, 5.0)
    outbox.mark()
    outbox.put_publish(packet(2), 0)
    outbox.waited(0.5, 5.0)
    outbox.mark()
    outbox.waited(0.5, 5.0)
    outbox.take()
    assert fresh(stats) == (0, 1, 0)
    assert stats.publish_sent == 4
    assert [recorded(stats, qos) for qos in range(3)] == [(0, 0.0), (0, 0.0), (1, 0.5)]
