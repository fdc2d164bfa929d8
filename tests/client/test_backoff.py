"""Delays between attempts."""

from __future__ import annotations

from itertools import islice

import pytest

from broker.client.backoff import Backoff


def test_the_bound_doubles_up_to_the_maximum() -> None:
    late = Backoff(1, 10, random_number=lambda: 1.0)
    early = Backoff(1, 10, random_number=lambda: 0.0)
    assert list(islice(late.delays(), 6)) == [1, 2, 4, 8, 10, 10]
    assert list(islice(early.delays(), 6)) == [0.5, 1, 2, 4, 5, 5]


def test_jitter() -> None:
    delays = {next(Backoff(1).delays()) for _ in range(20)}
    assert len(delays) > 1
    assert all(0.5 <= delay <= 1 for delay in delays)


def test_each_series_begins_anew() -> None:
    backoff = Backoff(1, 8, random_number=lambda: 1.0)
    assert list(islice(backoff.delays(), 3)) == list(islice(backoff.delays(), 3))


@pytest.mark.parametrize(("first", "maximum", "factor"), [(0, 1, 2), (2, 1, 2), (1, 2, 0.5)])
def test_nonsense(first: float, maximum: float, factor: float) -> None:
    with pytest.raises(ValueError, match="Backoff"):
        Backoff(first, maximum, factor)
