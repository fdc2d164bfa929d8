"""Medians, spreads, and that an interval holds what it promises."""

from __future__ import annotations

import random

import pytest

from broker.bench.statistics import confidence_of, median_interval, paired_ratio, spread


def test_spread() -> None:
    three = spread([3.0, 1.0, 2.0])
    assert (three.median, three.minimum, three.maximum, three.relative) == (2.0, 1.0, 3.0, 1.0)
    assert spread([0.0, 0.0]).relative == 0.0
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_a_ratio_is_taken_inside_each_round() -> None:
    drifting = [100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0]
    ratio = paired_ratio([1.5 * value for value in drifting], drifting)
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (1.5, 1.5, 1.5)
    assert ratio.clear
    assert not ratio.apart
    assert ratio.rounds == 6
    assert ratio.confidence == 0.95


def test_one_spoilt_round_does_not_decide() -> None:
    ratio = paired_ratio([1.3, 1.3, 9.0, 1.3, 1.3, 1.3, 1.3], [1.0] * 7)
    assert ratio is not None
    assert ratio.value == 1.3
    assert ratio.low == 1.3


def test_rounds_without_a_figure_are_left_out() -> None:
    ratio = paired_ratio([2.0, 0.0, 2.0], [1.0, 1.0, 0.0])
    assert ratio is not None
    assert (ratio.value, ratio.rounds, ratio.clear) == (2.0, 1, False)
    assert paired_ratio([0.0], [1.0]) is None
    assert paired_ratio([], []) is None
    with pytest.raises(ValueError, match="longer"):
        paired_ratio([1.0], [1.0, 2.0])


def test_a_difference_that_was_not_shown_is_not_clear() -> None:
    ratio = paired_ratio([0.9, 1.1, 1.05, 0.95, 1.2, 0.8], [1.0] * 6)
    assert ratio is not None
    assert not ratio.clear
    assert ratio.apart


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [random.Random(3).gauss(1, 0.2) for _ in range(12)]
    assert median_interval(values, seed=5) == median_interval(values, seed=5)
    assert median_interval([4.0]) == (4.0, 4.0)
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def test_what_few_rounds_can_promise() -> None:
    assert [confidence_of(rounds) for rounds in (1, 3, 5, 6)] == [0.0, 0.75, 0.9375, 0.95]


@pytest.mark.parametrize("heavy", [False, True], ids=["gaussian", "with outliers"])
@pytest.mark.parametrize("rounds", [4, 5, 6, 8, 12])
def test_coverage(rounds: int, heavy: bool) -> None:
    """The interval holds the true median about as often as it says: never clearly less."""
    generator = random.Random(rounds)
    trials = 200
    held = 0
    for _ in range(trials):
        values = [generator.gauss(1.3, 0.4 if heavy and generator.random() < 0.15 else 0.05) for _ in range(rounds)]
        low, high = median_interval(values, resamples=300)
        held += low <= 1.3 <= high
    allowed = 3 * (0.95 * 0.05 / trials) ** 0.5  # three standard errors of the simulation itself
    assert held / trials >= confidence_of(rounds) - allowed


def test_an_interval_becomes_narrower_with_the_rounds() -> None:
    generator = random.Random(1)
    values = [generator.gauss(1.3, 0.05) for _ in range(40)]
    few, many = median_interval(values[:6]), median_interval(values)
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])
    assert min(values) < many[0] < many[1] < max(values)
