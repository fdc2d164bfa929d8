from __future__ import annotations

import pytest

from broker.bench.errors import BenchError, CannotConnect, Refused


@pytest.mark.parametrize("error", [CannotConnect("nobody there"), Refused("go away")])
def test_each_is_a_bench_error_and_says_what_it_was_told(error: BenchError) -> None:
    assert isinstance(error, BenchError)
    assert str(error) in ("nobody there", "go away")
