"""Latencies in buckets, held against the sorted values themselves."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.latency import BOUNDS, SLICE, WINDOW, Distribution, Histogram, Latency
from broker.packets.encode import puback, pubcomp, pubrec
from broker.packets.types import Puback, Publish
from tests.core.parts import LateStore, connect, new_broker, said, send, subscribe

PARTS = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0)


def exact(values: list[float], part: float) -> float:
    wanted = max(1.0, part * len(values))
    return next(value for place, value in enumerate(sorted(values), 1) if place >= wanted)


def near(seconds: float) -> object:
    return pytest.approx(seconds, rel=0.016, abs=0.126e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-7.0, 3.0).map(lambda power: 10**power), min_size=1, max_size=60))
def test_quantiles_are_those_of_the_sorted_values(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value, 1, 0.0)
    for found in (histogram.recent(1.0), histogram.ever()):
        assert found.count == len(values)
        assert found.maximum == max(values)
        for part in PARTS:
            assert found.quantile(part) == near(exact(values, part))
    assert histogram.total == pytest.approx(sum(values))


def test_quantiles_of_many_values_and_of_weights() -> None:
    random = Random(1)
    values = [10 ** random.gauss(-4, 1) for _ in range(5000)]
    single, weighed = Histogram(), Histogram()
    for value in values:
        single.record(value, 1, 0.0)
        weighed.record(value, 7, 0.0)
    for part in PARTS:
        assert single.ever().quantile(part) == near(exact(values, part))
    assert weighed.ever().count == 35_000
    assert weighed.ever().quantile(0.5) == single.ever().quantile(0.5)


@pytest.mark.parametrize("seconds", [-5.0, 0.0])
def test_what_is_below_zero_counts_as_zero(seconds: float) -> None:
    histogram = Histogram()
    histogram.record(seconds, 1, 0.0)
    assert (histogram.ever().quantile(1.0), histogram.ever().maximum, histogram.total) == (0.0, 0.0, 0.0)
    assert histogram.ever().cumulative()[0][1] == 1


def test_what_is_too_long_is_in_the_last_bucket() -> None:
    histogram = Histogram()
    histogram.record(1e6, 1, 0.0)
    histogram.record(1e9, 1, 0.0)
    assert histogram.ever().count == 2
    assert histogram.ever().maximum == 1e9
    assert 1000 < histogram.ever().quantile(0.5) < 1e6


def test_nothing_was_recorded() -> None:
    histogram = Histogram()
    for found in (histogram.recent(100.0), histogram.ever()):
        assert (found.count, found.quantile(0.5), found.maximum) == (0, 0.0, 0.0)
        assert found.cumulative() == [(bound, 0) for bound in BOUNDS]
        assert found.figures() == {"p50_ms": 0.0, "p90_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0, "count": 0}


def test_figures() -> None:
    histogram = Histogram()
    for number in range(1, 101):
        histogram.record(number / 1000, 1, 0.0)
    figures = histogram.recent(0.0).figures()
    assert figures["count"] == 100
    assert figures["max_ms"] == 100.0
    assert [figures[name] for name in ("p50_ms", "p90_ms", "p99_ms")] == pytest.approx([50, 90, 99], rel=0.016)


def test_merging() -> None:
    one, other = Histogram(), Histogram()
    one.record(0.001, 3, 0.0)
    other.record(0.5, 1, 0.0)
    both = Distribution()
    both.merge(one.ever())
    both.merge(other.ever())
    assert (both.count, both.maximum) == (4, 0.5)
    assert both.quantile(0.75) == near(0.001)
    assert both.quantile(0.76) == near(0.5)


def test_cumulative_counts_have_exact_bounds() -> None:
    histogram = Histogram()
    for bound in BOUNDS:
        histogram.record(bound * 0.999, 1, 0.0)
        histogram.record(bound * 1.001, 10, 0.0)
    counted = histogram.ever().cumulative()
    assert counted == [(bound, 11 * place + 1) for place, bound in enumerate(BOUNDS)]
    assert len(BOUNDS) <= 20
    assert BOUNDS[0] == 50e-6
    assert BOUNDS[-1] > 10


def test_the_last_minute_is_kept_apart() -> None:
    histogram = Histogram()
    for second in range(300):
        histogram.record(second, 1, 1000.0 + second)
        recent = histogram.recent(1000.0 + second)
        assert min(second + 1, WINDOW) <= recent.count <= WINDOW + SLICE
        assert recent.maximum == second
    assert histogram.recent(1299.0).quantile(0.0) >= 300 - WINDOW - SLICE - 5
    assert histogram.ever().count == 300
    assert histogram.ever().maximum == 299
    assert histogram.recent(1299.0 + WINDOW / 2).count == pytest.approx(WINDOW / 2, abs=SLICE + 1)


@pytest.mark.parametrize("pause", [WINDOW + SLICE, 3600.0])
def test_a_minute_of_silence_is_empty(pause: float) -> None:
    histogram = Histogram()
    histogram.record(1.0, 5, 1000.0)
    assert histogram.recent(1000.0 + WINDOW - 1).count == 5
    assert histogram.recent(1000.0 + pause).count == 0
    histogram.record(0.001, 1, 1000.0 + pause)
    recent = histogram.recent(1000.0 + pause)
    assert (recent.count, recent.maximum) == (1, 0.001)
    assert (histogram.ever().count, histogram.ever().maximum) == (6, 1.0)


def test_reading_changes_nothing() -> None:
    histogram = Histogram()
    histogram.record(1.0, 1, 0.0)
    histogram.recent(0.0).merge(histogram.ever())
    histogram.ever().merge(histogram.recent(0.0))
    assert histogram.recent(0.0).count == histogram.ever().count == 1


# -- What a transport keeps


def test_a_round_is_recorded_for_all_that_left_in_it() -> None:
    latency = Latency()
    assert not latency.pending()
    latency.fresh_0, latency.fresh_1, latency.fresh_2 = 5, 3, 1
    latency.give(puback(1))
    latency.give(puback(2))
    latency.give(pubrec(1))
    latency.give(pubcomp(1))
    assert latency.pending()
    latency.settle(0.002, 10.0)
    assert not latency.pending()
    latency.settle(7.0, 10.0)
    figures = latency.figures(10.0)
    assert {qos: each["count"] for qos, each in figures["latency"].items()} == {"0": 5, "1": 3, "2": 1}
    assert {qos: each["count"] for qos, each in figures["acknowledge"].items()} == {"1": 2, "2": 1}
    assert {each["max_ms"] for kind in figures.values() for each in kind.values()} == {2.0}


@pytest.mark.parametrize(("qos", "position"), [(1, 1), (2, 2)])
def test_an_acknowledgement_is_as_old_as_its_round_when_it_waits_for_the_store(qos: int, position: int) -> None:
    store = LateStore()
    broker = new_broker(store=store)
    reader = connect(broker, "reader", session_expiry_interval=100, clean_start=False)
    subscribe(reader, "a", 2)
    store.catch_up()
    said(reader)
    sender = connect(broker, "sender", session_expiry_interval=100)
    latency = sender.stats.latency
    for number, now in ((1, 10.0), (2, 10.0), (3, 11.0)):
        send(sender, Publish("a", b"x", qos=qos, packet_identifier=number), now=now)
    broker.flush(11.0)
    assert not latency.acknowledged[qos].ever().count
    while store.writing is not None:
        store.write(14.0)
    found = latency.acknowledged[qos].ever()
    assert found.count == 3
    assert (found.quantile(0.3), found.quantile(1.0)) == (near(3.0), near(4.0))
    assert not latency.pending()


def test_a_message_that_waits_for_its_commit_is_as_old_as_its_batch() -> None:
    store = LateStore()
    broker = new_broker(store=store)
    durable = connect(broker, "durable", session_expiry_interval=100, clean_start=False)
    subscribe(durable, "a", 2)
    for name, qos in (("plain", 2), ("less", 1), ("least", 0)):
        subscribe(connect(broker, name), "a", qos)
    store.catch_up()
    sender = connect(broker, "sender", session_expiry_interval=100)
    send(sender, Publish("a", b"x", qos=2, packet_identifier=1), now=20.0)
    broker.flush(20.0)
    written = sender.stats.latency.written
    assert [each.ever().count for each in written] == [0, 0, 0]
    while store.writing is not None:
        store.write(21.5)
    assert [each.ever().count for each in written] == [1, 1, 2]
    assert [each.ever().maximum for each in written] == [1.5, 1.5, 1.5]


def test_what_waits_for_the_send_quota_is_not_counted() -> None:
    broker = new_broker()
    reader = connect(broker, "reader", receive_maximum=1)
    subscribe(reader, "a", 1)
    sender = connect(broker, "sender")
    for number in (1, 2):
        send(sender, Publish("a", b"x", qos=1, packet_identifier=number))
    first = [packet for packet in said(reader) if isinstance(packet, Publish)]
    assert len(first) == 1
    assert reader.stats.latency.fresh_1 == 1
    send(reader, Puback(first[0].packet_identifier))
    assert [type(packet).__name__ for packet in said(reader)] == ["Publish"]
    assert reader.stats.latency.fresh_1 == 1
    assert reader.stats.publish_sent == 2
