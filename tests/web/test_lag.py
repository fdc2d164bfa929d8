"""The lag of the loop, of the last minute."""

from __future__ import annotations

import time

import trio
import trio.lowlevel

from broker.web.lag import INTERVAL, KEPT, LoopLag


async def test_whoever_holds_the_loop_is_seen(nursery: trio.Nursery) -> None:
    lag = LoopLag()
    assert lag.figures() is None
    assert lag.percentile(0.99) == 0.0
    nursery.start_soon(lag.run)
    await trio.lowlevel.checkpoint()
    time.sleep(INTERVAL + 0.1)  # noqa: ASYNC251 - that is what is measured
    await trio.sleep(0.01)
    figures = lag.figures()
    assert figures is not None
    assert figures["max_ms"] >= 80
    assert lag.longest >= 0.08


def test_percentiles_of_what_is_kept() -> None:
    lag = LoopLag()
    lag.add(9.0)
    for each in range(KEPT):
        lag.add(each / 1000)
    figures = lag.figures()
    assert figures is not None
    assert [round(figures[name]) for name in ("p50_ms", "p99_ms", "max_ms")] == [120, 237, 239]
    assert lag.longest == 9.0
