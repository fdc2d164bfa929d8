"""`/metrics`: the broker's plain counters as Prometheus reads them.

Names and units are those of Prometheus' conventions. Labels are bounded by what a configuration says: transport, QoS,
listener, reason; never a Client Identifier, a user or a topic. Nothing is counted here: a scrape reads what is counted
anyway, and walks over no Client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

    from broker.core.latency import Histogram
    from broker.core.stats import TransportStats
    from broker.web.lag import LoopLag
    from broker.web.system import Reloads, System

# name without the prefix, attribute of TransportStats, help
_BY_TRANSPORT: Final = (
    ("connections_accepted", "accepted", "Network Connections accepted."),
    ("connects", "connects", "CONNECT packets answered with success."),
    ("connects_refused", "refused", "CONNECT packets refused, and connections that never sent a good one."),
    ("packets_received", "messages_received", "Control Packets received."),
    ("received_bytes", "bytes_received", "Bytes of MQTT received, without framing."),
    ("sent_bytes", "bytes_sent", "Bytes of MQTT sent, without framing."),
    ("publish_received", "publish_received", "PUBLISH packets received."),
    ("publish_sent", "publish_sent", "PUBLISH packets sent."),
    ("publish_received_payload_bytes", "publish_bytes_received", "Payload bytes of PUBLISH packets received."),
    ("publish_sent_payload_bytes", "publish_bytes_sent", "Payload bytes of PUBLISH packets sent."),
)
# name without the prefix, attribute of Stats, help
_COUNTERS: Final = (
    ("publish_dropped", "publish_dropped", "Messages that one receiver did not get, whatever the reason."),
    ("queue_refused", "publish_refused", "Messages that the queue of a Session had no room for."),
    ("session_takeovers", "takeovers", "Sessions taken over by another connection."),
    ("sessions_expired", "clients_expired", "Sessions that ended by their expiry."),
    ("connects_over_bound", "owners_refused", "CONNECT packets refused for a bound on the Sessions of one user."),
    ("clients_expelled", "clients_expelled", "Clients disconnected because their users are gone."),
    ("subscriptions_refused", "subscriptions_refused", "Subscriptions refused for want of room."),
    ("retained_taken_out", "retained_taken_out", "Retained messages taken out, whose authors may not retain any more."),
    ("reads_paused_for_rate", "over_rate", "Reads after which a Client was not read for having sent too much."),
)
_GAUGES: Final = (
    ("clients_connected", "clients_connected", "Clients connected."),
    ("handshakes", "handshakes", "Network Connections open that have no CONNACK yet."),
    ("subscriptions", "subscriptions", "Subscriptions."),
    ("shared_subscriptions", "shared_subscriptions", "Subscriptions that are shared."),
    ("queue_messages", "queued_messages", "Messages that wait in Sessions."),
    ("queue_bytes", "queued_bytes", "Bytes of messages that wait in Sessions."),
)
_AUTHENTICATIONS: Final = ("accepted", "refused", "failed", "limited")


class BrokerCollector(Collector):
    """Reads one broker."""

    def __init__(self, system: System) -> None:
        self._system = system

    def collect(self) -> Iterator[Metric]:
        system = self._system
        yield from self._process()
        yield from self._transports(sorted(system.broker.stats.by_transport.items()))
        yield from self._latencies(sorted(system.broker.stats.by_transport.items()))
        yield from self._totals()
        yield from self._listeners()
        if system.broker.journal is not None:
            journal = system.broker.journal
            yield _gauge("store_full", "1 while the disk has no room and QoS 1 and 2 are refused.", journal.full)
            yield _counter("store_commits", "Batches that the store has committed.", journal.committed)

    def _process(self) -> Iterator[Metric]:
        system = self._system
        build = GaugeMetricFamily("triomq_build_info", "What runs here; always 1.", labels=["version", "build"])
        build.add_metric([system.broker.version, system.build], 1)
        yield build
        cpu, memory = system.usage()
        yield CounterMetricFamily("process_cpu_seconds", "User and system CPU time.", value=cpu)
        if memory:
            yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory.", value=memory)
        yield GaugeMetricFamily("process_start_time_seconds", "When it started, since the epoch.", value=system.started)
        limits = system.broker.limits
        text = "1 while the process uses more memory than it may: publishers wait, and nobody gets a new Session."
        yield _gauge("memory_full", text, system.broker.memory_full)
        if limits.memory:
            yield _gauge("memory_limit_bytes", "What the process may use of memory.", limits.memory)
        yield _gauge("buffered_limit_bytes", "What may wait for all Clients together.", limits.buffered_bytes)
        if system.reloads is not None:
            yield from _reloads(system.reloads)

    def _transports(self, found: list[tuple[str, TransportStats]]) -> Iterator[Metric]:
        open_ = GaugeMetricFamily("triomq_connections", "Network Connections open.", labels=["transport"])
        sent = CounterMetricFamily("triomq_packets_sent", "Control Packets sent.", labels=["transport"])
        for name, stats in found:
            open_.add_metric([name], stats.connections)
            sent.add_metric([name], stats.messages_sent + stats.publish_sent)
        yield open_
        yield sent
        for name, attribute, text in _BY_TRANSPORT:
            family = CounterMetricFamily(f"triomq_{name}", text, labels=["transport"])
            for transport, stats in found:
                family.add_metric([transport], getattr(stats, attribute))
            yield family

    def _latencies(self, found: list[tuple[str, TransportStats]]) -> Iterator[Metric]:
        labels = ["transport", "qos"]
        text = "From when a PUBLISH was received until the socket had taken it for a receiver."
        written = HistogramMetricFamily("triomq_publish_written_seconds", text, labels=labels)
        text = "From when a PUBLISH was received until it was acknowledged."
        acknowledged = HistogramMetricFamily("triomq_publish_acknowledged_seconds", text, labels=labels)
        for name, stats in found:
            for qos in range(3):
                _add_histogram(written, [name, str(qos)], stats.latency.written[qos])
                _add_histogram(acknowledged, [name, str(qos)], stats.latency.acknowledged[qos])
        yield written
        yield acknowledged

    def _totals(self) -> Iterator[Metric]:
        broker = self._system.broker
        stats = broker.stats
        for name, attribute, text in _COUNTERS:
            yield _counter(name, text, getattr(stats, attribute))
        for name, attribute, text in _GAUGES:
            yield _gauge(name, text, getattr(stats, attribute))
        sessions = GaugeMetricFamily("triomq_sessions", "Sessions.", labels=["state"])
        sessions.add_metric(["connected"], stats.clients_connected)
        sessions.add_metric(["disconnected"], len(broker.sessions) - stats.clients_connected)
        yield sessions
        yield _gauge("retained_messages", "Retained messages.", broker.retained.count)
        yield _gauge("retained_bytes", "Bytes of retained messages.", broker.retained.bytes)
        yield _by_reason("connections_refused", "Connections closed at once.", stats.turned_away.items())
        yield _by_reason("accepting_paused", "How often accepting has stopped a while.", stats.kept_waiting.items())
        yield _counter("bans", "Clients banned for connecting too often.", broker.flapping.bans)
        yield _counter("connects_banned", "CONNECT packets of banned Clients.", broker.flapping.refused)
        authenticator = broker.authenticator
        if all(isinstance(getattr(authenticator, name, None), int) for name in _AUTHENTICATIONS):
            family = CounterMetricFamily("triomq_authentications", "How they ended.", labels=["result"])
            for name in _AUTHENTICATIONS:
                family.add_metric([name], getattr(authenticator, name))
            yield family
        if self._system.lag is not None:
            yield _lag(self._system.lag)
        bridge = self._system.bridge
        if bridge is not None:
            yield _counter("http_requests", "HTTP requests answered.", bridge.answered)
            yield _counter("http_refused", "HTTP requests refused as one too many.", bridge.refused)
            yield _gauge("http_connections", "HTTP connections open.", len(bridge.open))

    def _listeners(self) -> Iterator[Metric]:
        system = self._system
        family = GaugeMetricFamily(
            "triomq_listener_connections", "Network Connections open.", labels=["listener", "type", "tls"]
        )
        for listener in system.listeners:
            tls = "yes" if listener.tls is not None else "no"
            family.add_metric([system.listener_name(listener), listener.type, tls], listener.connections)
        yield family


class Metrics:
    """The page for scrapers."""

    def __init__(self, system: System) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(BrokerCollector(system))

    def page(self, accept: str) -> tuple[bytes, str]:
        """The text, and its media type: what the Accept header asks for, OpenMetrics or Prometheus' own format."""
        encode, media = choose_encoder(accept)
        text: bytes = encode(self._registry)
        return text, media


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"triomq_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"triomq_{name}", text, value=value)


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    """Nothing, where nothing was ever recorded."""
    if histogram.used:
        ever = histogram.ever()
        buckets: list[tuple[str, float]] = [(f"{bound:.12g}", count) for bound, count in ever.cumulative()]
        family.add_metric(labels, [*buckets, ("+Inf", ever.count)], sum_value=histogram.total)


def _reloads(reloads: Reloads) -> Iterator[Metric]:
    text = "How often the configuration was read anew."
    family = CounterMetricFamily("triomq_config_reloads", text, labels=["result"])
    family.add_metric(["succeeded"], reloads.succeeded)
    family.add_metric(["failed"], reloads.failed)
    yield family
    text = "0 when the last reading of the configuration found mistakes in it."
    yield _gauge("config_last_reload_successful", text, not reloads.last_failed)


def _lag(lag: LoopLag) -> Metric:
    text = "How long who is due waited, of the last minute."
    family = GaugeMetricFamily("triomq_loop_lag_seconds", text, labels=["quantile"])
    for part in (0.5, 0.99, 1.0):
        family.add_metric([str(part)], lag.percentile(part))
    return family


def _by_reason(name: str, text: str, counts: Iterable[tuple[str, int]]) -> Metric:
    family = CounterMetricFamily(f"triomq_{name}", text, labels=["reason"])
    for reason, count in counts:
        family.add_metric([reason], count)
    return family
