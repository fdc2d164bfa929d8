"""What a run comes to, in lines for people: how many, how fast, how long each took, and whether all of it arrived.

A figure without its check is not told: what was lost, repeated, out of order or corrupted stands beside the rates, and
so does the generator where it was the slower one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.bench.findings import BUSY, describe
from broker.bench.metrics import METRICS, NANOSECONDS, messages
from broker.bench.units import digits, duration, size
from broker.client import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.bench.comparison import Comparison, Round
    from broker.bench.histogram import Histogram
    from broker.bench.measured import Measured
    from broker.bench.workload import Workload

KEPT: Final = 0.98  # share of the asked rate below which it was not kept
FEW: Final = 10  # connections, of which percentiles say nothing
SHORT: Final = 0.1  # seconds of which the share of a core says nothing
STARVED: Final = 0.1  # share of the time that a worker may wait for a core before it is told
LATE: Final = 0.01  # seconds that a message may be sent late before it is told
_PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)


def summary(comparison: Comparison) -> list[str]:
    """The lines of a single run: a title, figures, checks, and what a reader must know."""
    (run,) = comparison.rounds
    measured, workload = run.measured, comparison.workload
    rows: list[tuple[str, str]] = []
    if not workload.idle:
        rows += _messages(measured, workload)
    rows += _connecting(measured)
    rows += _broker(comparison, run)
    rows += _generator(measured)
    rows += _named("checks", wrong(measured) or right(measured, workload))
    rows += _named("note", [*limits(run, workload), *comparison.notes])
    return [title(workload), *(f"  {name:<13} {text}" for name, text in rows)]


def title(workload: Workload) -> str:
    """The load, and where it went."""
    return f"{describe(workload)}, at {parse(workload.url)}"


def _messages(measured: Measured, workload: Workload) -> list[tuple[str, str]]:
    seconds = measured.seconds
    warm = f", after {workload.warm_up:g} s of warm-up" if workload.warm_up else ""
    rows = [("duration", f"{duration(seconds)}{warm}")]
    if workload.publishers:
        rows.append(("sent", _rate(measured.sent, measured.bytes_sent, seconds)))
    if measured.received or workload.subscribers or workload.echo:
        rows.append(("received", _rate(measured.received, measured.bytes_received, seconds)))
    if measured.latency.count:
        rows.append(("latency", percentiles(measured.latency)))
    if measured.acknowledgement.count:
        rows.append(("acknowledged", f"{measured.acknowledged:,} messages, {percentiles(measured.acknowledgement)}"))
    rows += _wire(measured, secure=parse(workload.url).secure)
    return rows


def _wire(measured: Measured, *, secure: bool) -> list[tuple[str, str]]:
    said = [
        f"{total / count:.1f} bytes a message {way}, {_framing(total - mqtt, count)}"
        for way, count, total, mqtt in (
            ("sent", measured.sent, measured.bytes_sent, measured.mqtt_bytes_sent),
            ("received", measured.received, measured.bytes_received, measured.mqtt_bytes_received),
        )
        if count and total
    ]
    return _named("inside TLS" if secure else "on the wire", said)


def _framing(count: int, messages: int) -> str:
    return f"{count / messages:.1f} of them WebSocket framing" if count else "no framing beside MQTT's own"


def _connecting(measured: Measured) -> list[tuple[str, str]]:
    if not measured.connected:
        return []
    told = _count(measured.connected, "connection")
    if measured.connect_seconds:
        told += f" in {duration(measured.connect_seconds)}"
    if measured.connect.count > FEW and measured.connect_seconds:
        told += f", {digits(measured.connected / measured.connect_seconds)}/s, {percentiles(measured.connect)}"
    elif measured.connect.count:
        told += f", the slowest {duration(measured.connect.maximum / NANOSECONDS)}"
    return [("connected", told)]


def _broker(comparison: Comparison, run: Round) -> list[tuple[str, str]]:
    parts = []
    measured = run.measured
    if run.cpu is not None and measured.seconds and not comparison.workload.idle:
        said = f"{run.cpu / measured.seconds:.0%} of a core"
        count = messages(measured)
        if count:
            said += f", {duration(run.cpu / count)} of CPU a message"
        parts.append(said)
    if run.rss is not None:
        parts.append(f"{size(run.rss)} of memory")
    memory = comparison.memory.get(run.subject)
    if memory is not None:
        parts.append(f"{size(memory.each)} a connection")
    connects = METRICS["connect_cpu"].of(run)
    if connects is not None:
        parts.append(f"{duration(connects)} of CPU a connect")
    return [("broker", ", ".join(parts))] if parts else []


def _generator(measured: Measured) -> list[tuple[str, str]]:
    if not measured.workers:
        return []
    busy = f", the busiest at {measured.busiest:.0%} of a core" if measured.seconds > SHORT else ""
    return [("generator", f"{_count(measured.workers, 'worker')}{busy}")]


def right(measured: Measured, workload: Workload) -> list[str]:
    """What was checked, where nothing was wrong; nothing where no worker came to report."""
    if not measured.workers:
        return []
    if workload.idle:
        return [f"all {measured.connected:,} connections stood to the end"]
    if not measured.expected and measured.received:
        return ["every connection stood; whether all arrived that was sent, only its sender could know"]
    if not measured.expected:
        return ["every connection stood, and nothing was refused; nobody was there to check what arrives"]
    if not measured.lost and not measured.repeated:
        return [f"all {measured.expected:,} messages arrived once, in order and whole"]
    told = []
    if measured.lost:
        told.append(f"{measured.lost:,} of {measured.expected:,} messages were lost, which QoS 0 allows")
    if measured.repeated:
        told.append(f"{measured.repeated:,} messages came again, which QoS 1 allows")
    return [*told, "the others arrived once, in order and whole"]


def wrong(measured: Measured) -> list[str]:
    """What must not happen and did; empty where the run is sound."""
    of = f" of {measured.expected:,}" if measured.expected else ""
    told = [
        f"{number:,}{of if number <= measured.expected else ''} messages {what}"
        for number, what in (
            (measured.disordered, "came out of order"),
            (measured.corrupted, "came corrupted"),
            (measured.refused, "were refused by the broker"),
        )
        if number
    ]
    if measured.disconnected:
        told.append(f"{_count(measured.disconnected, 'connection')} ended unasked")
        if measured.lost:
            told.append(f"{measured.lost:,}{of} messages never arrived")
    elif measured.lost and measured.lost == measured.expected:
        told.append(f"not one{of} messages arrived: may these Clients publish and subscribe to these topics?")
    return told + [f"{text}{f' ({times:,} times)' if times > 1 else ''}" for text, times in measured.trouble.items()]


def limits(run: Round, workload: Workload) -> list[str]:
    """Whether the generator was what limited, or nobody, and whether it kept the rate that was asked for."""
    measured = run.measured
    told: list[str] = []
    if measured.disconnected:
        return told
    if measured.busiest >= BUSY:
        told.append(
            f"The generator was the bottleneck: a worker used {measured.busiest:.0%} of a core, and the broker may do "
            "more than this. Give it more --workers, or another machine."
        )
    elif not (workload.rate or workload.count or workload.echo) and measured.sent and not wrong(measured):
        used = METRICS["broker_load"].of(run)
        if used is not None and used < BUSY:
            told.append(
                f"Neither the broker ({used:.0%} of a core) nor the generator ({measured.busiest:.0%}) was at its "
                "limit: more --inflight or --clients would send more, or others use this machine."
            )
    if measured.starved >= STARVED and measured.seconds > SHORT:
        told.append(
            f"The generator waited for a core that others had for {measured.starved:.0%} of the time; latency "
            "includes it."
        )
    if workload.rate and measured.seconds and measured.sent < KEPT * workload.rate * measured.seconds:
        told.append(
            f"{measured.sent / measured.seconds:,.0f} messages a second were sent, of {workload.rate:,g} asked for; "
            "latency counts from when each was due."
        )
    elif measured.latest > LATE:
        told.append(f"The generator was up to {duration(measured.latest)} late in sending; latency includes it.")
    return told


def percentiles(histogram: Histogram) -> str:
    """p50 to p99.9 and the longest."""
    told = [f"p{percent:g} {duration(histogram.percentile(percent) / NANOSECONDS)}" for percent in _PERCENTILES]
    return ", ".join([*told, f"max {duration(histogram.maximum / NANOSECONDS)}"])


def _rate(count: int, wire: int, seconds: float) -> str:
    told = _count(count, "message")
    if seconds:
        told += f", {count / seconds:,.0f}/s"
    return f"{told}, {wire / seconds / 1e6:,.2f} MB/s" if seconds and wire else told


def _named(name: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """A row for each text; the first has the name."""
    return [("" if number else name, text) for number, text in enumerate(texts)]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
