"""The last quarter of an hour in figures, a row every five seconds: counters as they stood. Its memory is bounded."""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from broker.web.system import System

INTERVAL: Final = 5.0  # seconds
ROWS: Final = 180
TRANSPORTS: Final = ("tcp", "tls", "ws", "wss", "unix")
COLUMNS: Final = (
    "time",
    "publish_received",
    "publish_sent",
    "bytes_received",
    "bytes_sent",
    "clients",
    "queue_messages",
    "dropped",
    "loop_lag_p99_ms",
    "latency_p99_ms",
    "memory_bytes",
    "cpu_seconds",
    *(f"{name}_publish" for name in TRANSPORTS),
    *(f"{name}_bytes" for name in TRANSPORTS),
)


class History:
    """Rows of `COLUMNS`, the oldest first. `<transport>_publish` and `_bytes` count both directions together."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._rows: deque[array[float]] = deque(maxlen=ROWS)

    async def run(self) -> None:
        """Take a sample every `INTERVAL` seconds, for ever."""
        while True:
            self.sample()
            await trio.sleep(INTERVAL)

    def sample(self) -> None:
        system = self._system
        stats = system.broker.stats
        total = stats.total()
        cpu, memory = system.usage()
        row = array("d", (system.clock(), total.publish_received, total.publish_sent))
        row.extend((total.bytes_received, total.bytes_sent, stats.clients_connected, stats.queued_messages))
        lag = system.lag.percentile(0.99) * 1000 if system.lag is not None else 0.0
        now = trio.current_time()
        written = [histogram.recent(now) for each in stats.transports for histogram in each.latency.written]
        latency = max((each.quantile(0.99) for each in written), default=0.0) * 1000  # of the slowest way
        row.extend((stats.publish_dropped, lag, latency, memory, cpu))
        each = [stats.by_transport.get(name) for name in TRANSPORTS]
        row.extend(0 if one is None else one.publish_received + one.publish_sent for one in each)
        row.extend(0 if one is None else one.bytes_received + one.bytes_sent for one in each)
        self._rows.append(row)

    def table(self) -> dict[str, Any]:
        """All rows, as the API gives them; what is whole has no fraction."""
        rows = [[int(value) if value.is_integer() else round(value, 3) for value in row] for row in self._rows]
        return {"interval_s": INTERVAL, "columns": list(COLUMNS), "rows": rows}
