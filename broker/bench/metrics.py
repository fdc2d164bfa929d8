"""The figures that a run is judged by: what each is called, what it counts, and how it comes out of one round.

The names are those of `--fail-if`, of the JSON and of the CSV. Times are in seconds, sizes in bytes. A message is
counted where it arrives; in a workload without receivers, where it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.bench.comparison import Round
    from broker.bench.histogram import Histogram
    from broker.bench.measured import Measured

Unit = Literal["s", "B", "/s", "share", "cores", ""]
Better = Literal["less", "more", "neither"]
OverRounds = Literal["median", "sum", "max"]

NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Metric:
    """`of` gives the figure of one round, or None where that round has none."""

    name: str
    title: str
    unit: Unit
    better: Better
    of: Callable[[Round], float | None]
    group: str
    over_rounds: OverRounds = "median"


def messages(measured: Measured) -> int:
    """Those that arrived; in a workload without receivers, those that left."""
    return measured.received or measured.sent


def _per_second(count: int, measured: Measured) -> float | None:
    return count / measured.seconds if count and measured.seconds else None


def _per_message(amount: float | None, measured: Measured) -> float | None:
    count = messages(measured)
    return amount / count if amount is not None and count else None


def _percentile(histogram: Histogram, percent: float) -> float | None:
    return histogram.percentile(percent) / NANOSECONDS if histogram.count else None


def _longest(histogram: Histogram) -> float | None:
    return histogram.maximum / NANOSECONDS if histogram.count else None


def _latency(percent: float) -> Callable[[Round], float | None]:
    return lambda run: _percentile(run.measured.latency, percent)


def _acknowledgement(percent: float) -> Callable[[Round], float | None]:
    return lambda run: _percentile(run.measured.acknowledgement, percent)


def _opening(run: Round) -> Measured:
    """Where connections were opened for their own sake, those; else those of the workload."""
    return run.connections.measured if run.connections is not None else run.measured


def _connect(percent: float) -> Callable[[Round], float | None]:
    return lambda run: _percentile(_opening(run).connect, percent)


def _connects(run: Round) -> float | None:
    opening = _opening(run)
    return opening.connected / opening.connect_seconds if opening.connected and opening.connect_seconds else None


def _connect_bytes(run: Round) -> float | None:
    opening = _opening(run)
    total = opening.connect_bytes_sent + opening.connect_bytes_received
    return total / opening.connected if opening.connected and total else None


def _connect_cpu(run: Round) -> float | None:
    opening = run.connections
    if opening is None or opening.cpu is None or not opening.measured.connected:
        return None
    return opening.cpu / opening.measured.connected


def _sent_bytes(run: Round) -> float | None:
    return run.measured.bytes_sent / run.measured.sent if run.measured.sent else None


def _sent_framing(run: Round) -> float | None:
    measured = run.measured
    return (measured.bytes_sent - measured.mqtt_bytes_sent) / measured.sent if measured.sent else None


def _received_bytes(run: Round) -> float | None:
    return run.measured.bytes_received / run.measured.received if run.measured.received else None


def _received_framing(run: Round) -> float | None:
    measured = run.measured
    return (measured.bytes_received - measured.mqtt_bytes_received) / measured.received if measured.received else None


def _framing(run: Round) -> float | None:
    measured = run.measured
    total = measured.bytes_sent + measured.bytes_received
    mqtt = measured.mqtt_bytes_sent + measured.mqtt_bytes_received
    return (total - mqtt) / total if total else None


def _per_frame(run: Round) -> float | None:
    measured = run.measured
    return measured.received / measured.frames_received if measured.frames_received and measured.received else None


def _counted(name: str) -> Callable[[Round], float | None]:
    return lambda run: float(getattr(run.measured, name))


_ALL: Final = (
    Metric(
        "throughput",
        "Messages a second",
        "/s",
        "more",
        lambda run: _per_second(messages(run.measured), run.measured),
        "speed",
    ),
    Metric(
        "published", "Published a second", "/s", "more", lambda r: _per_second(r.measured.sent, r.measured), "speed"
    ),
    Metric("p50", "Latency, median", "s", "less", _latency(50), "latency"),
    Metric("p90", "Latency, 90 %", "s", "less", _latency(90), "latency"),
    Metric("p99", "Latency, 99 %", "s", "less", _latency(99), "latency"),
    Metric("p99.9", "Latency, 99.9 %", "s", "less", _latency(99.9), "latency"),
    Metric("max", "Latency, longest", "s", "less", lambda r: _longest(r.measured.latency), "latency", "max"),
    Metric("ack_p50", "Acknowledged, median", "s", "less", _acknowledgement(50), "acknowledgement"),
    Metric("ack_p99", "Acknowledged, 99 %", "s", "less", _acknowledgement(99), "acknowledgement"),
    Metric(
        "ack_max",
        "Acknowledged, longest",
        "s",
        "less",
        lambda r: _longest(r.measured.acknowledgement),
        "acknowledgement",
        "max",
    ),
    Metric("cpu", "Broker's CPU per message", "s", "less", lambda r: _per_message(r.cpu, r.measured), "broker"),
    Metric(
        "broker_load",
        "Cores the broker used",
        "cores",
        "neither",
        lambda run: run.cpu / run.measured.seconds if run.cpu is not None and run.measured.seconds else None,
        "broker",
    ),
    Metric("memory", "Broker's memory per connection", "B", "less", lambda _: None, "broker"),
    Metric("rss", "Broker's memory", "B", "neither", lambda run: None if run.rss is None else float(run.rss), "broker"),
    Metric("sent_bytes", "Bytes per message sent", "B", "less", _sent_bytes, "wire"),
    Metric("sent_framing", "... of them framing", "B", "less", _sent_framing, "wire"),
    Metric("received_bytes", "Bytes per message received", "B", "less", _received_bytes, "wire"),
    Metric("received_framing", "... of them framing", "B", "less", _received_framing, "wire"),
    Metric("framing", "Framing, share of all bytes", "share", "less", _framing, "wire"),
    Metric("per_frame", "Messages per frame received", "", "neither", _per_frame, "wire"),
    Metric("connect_p50", "Connect, median", "s", "less", _connect(50), "connect"),
    Metric("connect_p99", "Connect, 99 %", "s", "less", _connect(99), "connect"),
    Metric("connects", "Connects a second", "/s", "more", _connects, "connect"),
    Metric("connect_cpu", "Broker's CPU per connect", "s", "less", _connect_cpu, "connect"),
    Metric("connect_bytes", "Bytes per connect", "B", "less", _connect_bytes, "connect"),
    Metric("generator", "Generator's busiest core", "share", "neither", _counted("busiest"), "generator", "max"),
    Metric("late", "Sent too late, at most", "s", "less", _counted("latest"), "generator", "max"),
    Metric("lost", "Lost", "", "less", _counted("lost"), "checks", "sum"),
    Metric("repeated", "Repeated", "", "less", _counted("repeated"), "checks", "sum"),
    Metric("disordered", "Out of order", "", "less", _counted("disordered"), "checks", "sum"),
    Metric("corrupted", "Corrupted", "", "less", _counted("corrupted"), "checks", "sum"),
    Metric("refused", "Refused", "", "less", _counted("refused"), "checks", "sum"),
    Metric("disconnected", "Disconnected", "", "less", _counted("disconnected"), "checks", "sum"),
)

METRICS: Final[dict[str, Metric]] = {metric.name: metric for metric in _ALL}
CHECKS: Final = tuple(metric.name for metric in _ALL if metric.group == "checks")
