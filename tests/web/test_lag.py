"""The lag of the loop, of the last minute."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from broker.core.latency import Histogram
from broker.web.lag import INTERVAL, LoopLag


async def test_whoever_holds_the_loop_is_seen(nursery: trio.Nursery) -> None:
    kept = Histogram()
    lag = LoopLag(kept)
    assert lag.figures() is None
    assert lag.percentile(0.99) == 0.0
    nursery.start_soon(lag.run)
    await trio.testing.wait_all_tasks_blocked()
    time.sleep(INTERVAL + 0.1)  # noqa: ASYNC251 - that is what is measured
    await trio.testing.wait_all_tasks_blocked()
    figures = lag.figures()
    assert figures is not None
    assert figures["max_ms"] >= 80
    assert kept.ever().maximum >= 0.08


async def test_percentiles_of_what_is_kept() -> None:
    kept = Histogram()
    for each in range(240):
        kept.record(each / 1000, 1, trio.current_time())
    figures = LoopLag(kept).figures()
    assert figures == pytest.approx({"p50_ms": 119, "p99_ms": 237, "max_ms": 239}, rel=0.02)
    assert LoopLag(kept).percentile(0.99) == pytest.approx(0.237, rel=0.02)
