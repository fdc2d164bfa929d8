"""A bounded quarter of an hour."""

from __future__ import annotations

import trio
import trio.testing

from broker.packets.types import Publish
from broker.web.history import COLUMNS, INTERVAL, ROWS, History
from tests.web.systems import NOW, Bench, subscribe


async def test_a_row_has_the_counters_as_they_stand() -> None:
    bench = Bench()
    history = History(bench.system)
    bench.client("a", subscribe("x"))
    bench.client("b", Publish("x", b"12345"), transport="ws")
    for name, qos, seconds in (("tcp", 0, 0.001), ("tcp", 1, 0.5), ("ws", 0, 0.002)):
        bench.broker.stats.transport(name).latency.written[qos].record(seconds, 1, trio.current_time())
    history.sample()
    table = history.table()
    assert table["columns"] == list(COLUMNS)
    row = dict(zip(COLUMNS, table["rows"][0], strict=True))
    assert row["time"] == NOW
    assert (row["clients"], row["publish_received"], row["ws_publish"], row["dropped"]) == (2, 1, 1, 0)
    assert row["ws_bytes"] > 5
    assert row["latency_p99_ms"] == 500
    assert row["cpu_seconds"] > 0
    assert isinstance(row["clients"], int)


async def test_it_is_bounded_and_comes_every_five_seconds(autojump_clock: trio.testing.MockClock) -> None:
    history = History(Bench().system)
    with trio.move_on_after(10 * INTERVAL - 1):
        await history.run()
    assert len(history.table()["rows"]) == 10
    for _ in range(2 * ROWS):
        history.sample()
    assert len(history.table()["rows"]) == ROWS
    assert ROWS * INTERVAL == 15 * 60
