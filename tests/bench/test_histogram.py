"""The histogram, held against one that others trust."""

from __future__ import annotations

from random import Random

import pytest
from hdrh.histogram import HdrHistogram

from broker.bench.histogram import Histogram

PERCENTS = (1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0)


def spread(seed: int, count: int) -> list[int]:
    """Latencies as a broker has them: many short, few long, over seven powers of ten."""
    random = Random(seed)
    return [int(10 ** random.gauss(5, 1)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_those_of_hdrhistogram_within_one_percent(seed: int) -> None:
    ours = Histogram()
    theirs = HdrHistogram(1, 1 << 40, 3)
    for value in spread(seed, 3000):
        ours.record(value)
        theirs.record_value(value)
    for percent in PERCENTS:
        assert ours.percentile(percent) == pytest.approx(theirs.get_value_at_percentile(percent), rel=0.01)
    assert ours.mean == pytest.approx(theirs.get_mean_value(), rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_those_of_the_sorted_values(seed: int) -> None:
    values = sorted(spread(seed, 5000))
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    for percent in PERCENTS:
        exact = values[max(0, -(-len(values) * int(percent * 100) // 10_000) - 1)]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.005)


def test_small_values_are_exact() -> None:
    histogram = Histogram()
    for value in range(256):
        histogram.record(value)
    assert [histogram.percentile((value + 1) * 100 / 256) for value in range(256)] == list(range(256))


@pytest.mark.parametrize("value", [0, 1, 255, 256, 257, 511, 512, 10**6, 10**9 + 7, 2**47])
def test_no_bucket_is_off_by_more_than_half_a_percent(value: int) -> None:
    histogram = Histogram()
    histogram.record(value)
    histogram.record(0)
    histogram.record(2**50)  # so that the edges are not what holds the value
    assert histogram.percentile(60) == pytest.approx(value, rel=0.005)


def test_what_is_out_of_bounds_counts_at_the_bound() -> None:
    histogram = Histogram()
    histogram.record(-5)
    histogram.record(1 << 60)
    assert (histogram.minimum, histogram.maximum, histogram.count) == (0, 1 << 60, 2)
    assert histogram.percentile(1) == 0
    assert histogram.percentile(100) <= 1 << 60


def test_several_at_once_are_several() -> None:
    one, other = Histogram(), Histogram()
    for _ in range(7):
        one.record(12_345)
    other.record(12_345, 7)
    assert one.to_list() == other.to_list()
    assert (one.count, one.total) == (other.count, other.total)


def test_nothing_recorded_is_zero() -> None:
    histogram = Histogram()
    assert (histogram.percentile(99), histogram.mean, histogram.curve()) == (0.0, 0.0, [])


def test_adding_is_recording_in_one() -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    for index, value in enumerate(spread(9, 1000)):
        (one if index % 3 else other).record(value)
        both.record(value)
    one.add(other)
    one.add(Histogram())
    assert one.to_list() == both.to_list()
    assert (one.count, one.minimum, one.maximum) == (both.count, both.minimum, both.maximum)


def test_adding_to_an_empty_one_takes_its_minimum() -> None:
    one, other = Histogram(), Histogram()
    other.record(500)
    one.add(other)
    assert (one.minimum, one.maximum) == (500, 500)


def test_a_list_gives_the_same_histogram() -> None:
    histogram = Histogram()
    for value in spread(4, 300):
        histogram.record(value)
    again = Histogram.from_list(histogram.to_list())
    assert again.counts == histogram.counts
    assert again.mean == histogram.mean
    assert [again.percentile(each) for each in PERCENTS] == [histogram.percentile(each) for each in PERCENTS]


def test_the_curve_rises_to_all() -> None:
    histogram = Histogram()
    for value in spread(5, 500):
        histogram.record(value)
    curve = histogram.curve()
    assert curve == sorted(curve)
    assert curve[-1] == (100.0, histogram.maximum)
