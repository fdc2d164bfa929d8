"""The Ticker in virtual time: it sleeps until something is due, and not longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.transport.pump import WATERMARK, Pump
from broker.transport.ticker import Ticker
from tests.core.parts import accept, connect, limits, new_broker
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from broker.core.outbox import Outbox


class Bench(trio.abc.Instrument):
    """A Ticker that runs, and the times at which its task was woken: for each it ticks and sleeps again."""

    def __init__(self) -> None:
        self.broker = new_broker()
        self.pump = Pump(self.broker)
        self.ticker = Ticker(self.broker, self.pump)
        self.ticks: list[float] = []

    async def start(self, nursery: trio.Nursery) -> None:
        """Until it sleeps. Its first step is its start, and no tick."""
        trio.lowlevel.add_instrument(self)
        nursery.start_soon(self.ticker.run, name="ticker")
        await trio.testing.wait_all_tasks_blocked()
        del self.ticks[0]

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == "ticker":
            self.ticks.append(trio.current_time())


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.start(nursery)
    assert bench.ticks == []
    yield bench
    bench.pump.poller.close()


async def test_it_does_not_tick_while_nothing_is_due(bench: Bench, autojump_clock: MockClock) -> None:
    await trio.sleep(80_000.0)
    assert bench.ticks == []


async def test_it_wakes_for_an_earlier_deadline(bench: Bench, autojump_clock: MockClock) -> None:
    accept(bench.broker, limits(handshake_timeout=100.0))
    bench.ticker.check()
    await trio.sleep(10.0)
    accept(bench.broker, limits(handshake_timeout=10.0), now=10.0)
    bench.ticker.check()
    await trio.sleep(1.0)
    bench.pump.deadlines.add(15.0, WATERMARK, bench.pump)
    bench.ticker.check()
    await trio.testing.wait_all_tasks_blocked()
    bench.ticks.clear()
    await trio.sleep(200.0)
    assert bench.ticks == [15.0, 20.0, 100.0]
    assert not bench.broker.connections or all(each.ended for each in bench.broker.connections)


async def test_a_later_deadline_does_not_wake_it(bench: Bench, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    accept(bench.broker, now=start)  # its handshake is due in 5 seconds
    bench.ticker.check()
    await trio.testing.wait_all_tasks_blocked()
    bench.ticks.clear()
    accept(bench.broker, now=start + 1.0)
    bench.ticker.check()
    await trio.sleep(4.9)
    assert bench.ticks == []
    await trio.sleep(1.2)
    assert bench.ticks == [start + 5.0, start + 6.0]


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
async def test_keep_alive_is_seen_to(bench: Bench, autojump_clock: MockClock) -> None:
    connection = connect(bench.broker, "c", keep_alive=10)
    bench.ticker.check()
    await trio.sleep(14.0)
    assert not connection.ended
    await trio.sleep(2.0)
    assert connection.ended


class Sink:
    """Has something to say more often than once."""

    def __init__(self, outbox: Outbox, times: int) -> None:
        self.outbox = outbox
        self.times = times

    def flush(self) -> None:
        self.outbox.take()
        self.outbox.sent()
        if self.times:
            self.times -= 1
            self.outbox.put(b"more")

    def measure(self, now: float) -> None:
        """For the outbox: nothing here takes time."""


async def test_what_is_left_dirty_has_its_turn(bench: Bench, autojump_clock: MockClock) -> None:
    """A door outside the pump flushes once and goes; the rest would wait for the next deadline."""
    outbox = accept(bench.broker).outbox
    sink = outbox.sink = Sink(outbox, 5)
    outbox.put(b"some")
    bench.ticker.check()
    await trio.testing.wait_all_tasks_blocked()
    assert sink.times == 0
    assert outbox.size == 0
    assert trio.current_time() == 0.0


async def test_it_ticks_at_once_for_what_is_overdue(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = Bench()
    accept(bench.broker, now=-100.0)
    await bench.start(nursery)
    assert bench.ticks == [0.0]
    assert trio.current_time() == 0.0
    bench.pump.poller.close()


async def test_waking_late_is_the_lag_of_the_loop(bench: Bench, mock_clock: MockClock) -> None:
    lag = bench.broker.stats.loop_lag
    for seconds in (10.0, 20.0):
        bench.pump.deadlines.add(seconds, WATERMARK, bench.pump)
    bench.ticker.check()
    await trio.testing.wait_all_tasks_blocked()
    assert not lag.used
    mock_clock.jump(10.25)
    await trio.testing.wait_all_tasks_blocked()
    assert (lag.ever().count, lag.ever().maximum) == (1, 0.25)
    bench.pump.deadlines.add(15.0, WATERMARK, bench.pump)
    bench.ticker.check()  # woken, and nothing is due
    await trio.testing.wait_all_tasks_blocked()
    assert lag.ever().count == 1
    mock_clock.jump(4.75)
    await trio.testing.wait_all_tasks_blocked()
    assert (lag.ever().count, lag.ever().maximum) == (2, 0.25)
    assert lag.ever().quantile(0.5) < 1e-6
