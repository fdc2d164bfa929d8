"""Bytes waiting for one Network Connection."""

from __future__ import annotations

from broker.core.outbox import Outbox
from broker.core.stats import TransportStats
from tests.core.parts import values_of


def new() -> tuple[Outbox, list[Outbox], TransportStats]:
    dirty: list[Outbox] = []
    stats = TransportStats()
    return Outbox(dirty, stats, 100, 1000), dirty, stats


def test_nothing_waits_at_first() -> None:
    outbox, dirty, stats = new()
    assert outbox.take() == b""
    assert not dirty
    assert values_of(stats) == values_of(TransportStats())


def test_what_is_put_leaves_in_order_in_one_piece() -> None:
    outbox, _, _ = new()
    outbox.put(b"one")
    outbox.put_publish(b"two", 1)
    outbox.put_publish_parts(b"head", 0x0102, b"tail", 2)
    assert outbox.size == 3 + 3 + 4 + 2 + 4
    assert outbox.take() == b"onetwohead\x01\x02tail"
    assert outbox.take() == b""


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
