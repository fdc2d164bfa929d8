"""One task that sleeps until something is due: Keep Alive, wills, expiry, pings, stalls.

How late it wakes is the lag of the loop: as long as that, whoever was due waited for its turn. Nothing is woken for the
measuring; `$SYS` has something due each second.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.transport.pump import Pump


class Ticker:
    """Call `check` after anything that may have brought an earlier deadline."""

    def __init__(self, broker: Broker, pump: Pump) -> None:
        self._broker = broker
        self._pump = pump
        self._asleep_until = -math.inf
        self._woken = trio.Event()
        self._deadlines = broker.deadlines
        self._keep_alive = broker.keep_alive
        self._pump_deadlines = pump.deadlines
        self._lag = broker.stats.loop_lag

    def check(self) -> None:
        """Wake the task if the next deadline is before the one that it sleeps for. Called after every round."""
        until = self._asleep_until
        if (
            self._deadlines.first < until
            or self._keep_alive.first < until
            or self._pump_deadlines.first < until
            or (self._broker.dirty and until > -math.inf)
        ):
            self._asleep_until = -math.inf
            self._woken.set()

    def _next(self) -> float:
        return min(self._broker.next_deadline(), self._pump.next_deadline())

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            self._woken = trio.Event()
            due = self._asleep_until = self._next()
            asleep = trio.current_time()
            with trio.move_on_at(due):
                await self._woken.wait()
            self._asleep_until = -math.inf
            now = trio.current_time()
            if asleep <= due <= now:
                self._lag.record(now - due, 1, now)
            self._pump.tick(now)
            self._broker.tick(now)
            self._pump.flush(now)
