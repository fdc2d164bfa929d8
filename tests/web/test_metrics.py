"""The page for Prometheus: it parses, it moves, it is bounded, and it is quick."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from broker.packets.types import Publish
from broker.web.metrics import Metrics
from broker.web.system import Reloads
from tests.web.systems import WS, Bench, subscribe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

    from broker.core.stats import Stats, TransportStats

parse_openmetrics: Callable[[str], Iterable[Metric]] = openmetrics.text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def values(bench: Bench) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(name, labels) -> value."""
    text, media = Metrics(bench.system).page("")
    assert media.startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def test_counters_move() -> None:
    bench = Bench()
    tcp, ws = (("transport", "tcp"),), (("transport", "ws"),)
    before = values(bench)
    assert before["triomq_clients_connected", ()] == 0
    bench.client("a", subscribe("x/#"))
    bench.client("b", Publish("x/y", b"payload"), transport="ws")
    bench.retain("r", b"12345")
    bench.broker.flush(bench.now)
    after = values(bench)
    assert after["triomq_clients_connected", ()] == 2
    assert after["triomq_sessions", (("state", "connected"),)] == 2
    assert after["triomq_connections", tcp] == after["triomq_connects_total", ws] == 1
    assert after["triomq_packets_received_total", tcp] == 2
    assert after["triomq_publish_received_total", ws] == 1
    assert after["triomq_publish_received_payload_bytes_total", ws] == 7
    assert after["triomq_received_bytes_total", ws] > 7
    assert after["triomq_subscriptions", ()] == 1
    assert after["triomq_retained_messages", ()] == 1
    assert after["triomq_build_info", (("build", "plain"), ("version", "9.8.7"))] == 1
    assert after["process_cpu_seconds_total", ()] > 0
    bench.broker.stats.turned_away["connections"] += 3
    assert values(bench)["triomq_connections_refused_total", (("reason", "connections"),)] == 3


def test_limits_and_what_comes_of_them() -> None:
    bench = Bench()
    before = values(bench)
    assert before["triomq_memory_full", ()] == 0
    assert before["triomq_buffered_limit_bytes", ()] == bench.broker.limits.buffered_bytes
    assert ("triomq_memory_limit_bytes", ()) not in before, "it may use what there is"
    bench.broker.memory_full = True
    bench.broker.limits.memory = 1000
    bench.broker.limits.buffered_bytes = 2000  # as a reload changes it
    after = values(bench)
    assert after["triomq_memory_full", ()] == 1
    assert after["triomq_memory_limit_bytes", ()] == 1000
    assert after["triomq_buffered_limit_bytes", ()] == 2000


def test_reloads() -> None:
    bench = Bench()
    assert ("triomq_config_last_reload_successful", ()) not in values(bench), "there is nothing to be read anew"
    reloads = bench.system.reloads = Reloads()
    for succeeded, last in ((None, 1), (False, 0), (False, 0), (True, 1)):
        if succeeded is not None:
            reloads.add(succeeded=succeeded)
        assert values(bench)["triomq_config_last_reload_successful", ()] == last
    after = values(bench)
    assert after["triomq_config_reloads_total", (("result", "failed"),)] == 2
    assert after["triomq_config_reloads_total", (("result", "succeeded"),)] == 1


def test_every_counter_of_the_broker_is_shown() -> None:
    """A new attribute of the statistics has to come here, or be left out by name."""
    bench = Bench()
    bench.broker.stats.transport("tcp")
    number = 1000
    expected: set[int] = set()
    left_out = {"clients_maximum", "connected"}  # the sum of the latter is there: clients_connected
    for stats in (bench.broker.stats, bench.broker.stats.by_transport["tcp"]):
        for name, value in vars_of(stats).items():
            if isinstance(value, int) and name not in left_out:
                number += 1
                setattr(stats, name, number)
                expected.add(number)
    shown = {int(value) for value in values(bench).values()}
    missing = {each for each in expected if each not in shown}
    # What is sent is shown as one number with the PUBLISH packets among it.
    tcp = bench.broker.stats.by_transport["tcp"]
    missing.discard(tcp.messages_sent)
    assert not missing


def vars_of(stats: Stats | TransportStats) -> Mapping[str, object]:
    """Attributes, also of a compiled class."""
    return {name: getattr(stats, name) for name in dir(stats) if not name.startswith("_")}


def test_openmetrics() -> None:
    bench = Bench()
    bench.client("a")
    text, media = Metrics(bench.system).page(OPENMETRICS)
    assert media.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(text.decode())}
    assert families["triomq_publish_received"].type == "counter"
    assert families["triomq_clients_connected"].samples[0].value == 1


def test_names_follow_the_conventions() -> None:
    text, _ = Metrics(Bench().system).page(OPENMETRICS)
    for family in parse_openmetrics(text.decode()):
        assert family.name.startswith(("triomq_", "process_"))
        assert family.documentation.endswith(".")
        for bad in ("_ms", "_milliseconds", "_kb", "_count"):
            assert not family.name.endswith(bad)
        for sample in family.samples:
            assert sample.name.endswith("_total") is (family.type == "counter")


@pytest.mark.parametrize("name", ['a"b', "a\\", "a\nevil 1\nb", 'x"} 1\ny{z="', "ä" * 64, "{}"])
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_name_cannot_break_the_format(name: str, accept: str) -> None:
    text, _ = Metrics(Bench(names={WS: name}).system).page(accept)
    families = list((parse_openmetrics if accept else parse)(text.decode()))
    found = [
        sample.labels["listener"]
        for family in families
        for sample in family.samples
        if sample.name == "triomq_listener_connections"
    ]
    assert found == [name, "mqtt://127.0.0.1:1883"]
    assert "evil" not in {family.name for family in families}


def test_clients_have_no_labels_and_a_scrape_is_quick() -> None:
    bench = Bench()
    for each in range(300):
        bench.client(f"client-{each}", subscribe(f"topic-{each}"), user_name="somebody")
    metrics = Metrics(bench.system)
    text, _ = metrics.page("")
    for secret in (b"client-", b"topic-", b"somebody", b"192.0.2.1"):
        assert secret not in text
    assert text.count(b"\n") < 300
    took = []
    for _ in range(10):
        began = time.perf_counter()
        metrics.page("")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.005


def test_latencies_are_histograms_by_transport_and_qos() -> None:
    bench = Bench()
    latency = bench.broker.stats.transport("ws").latency
    assert not [name for name, _ in values(bench) if "_written_" in name or "_acknowledged_" in name]
    for seconds in (0.00004, 0.0003, 0.02, 60.0):
        latency.written[1].record(seconds, 2, 0.0)
    latency.acknowledged[2].record(0.001, 1, 0.0)
    found = values(bench)
    labels = (("qos", "1"), ("transport", "ws"))
    assert found["triomq_publish_written_seconds_count", labels] == 8
    assert found["triomq_publish_written_seconds_sum", labels] == pytest.approx(120.04068)
    buckets = {
        float(dict(of)["le"]): value
        for (name, of), value in found.items()
        if name == "triomq_publish_written_seconds_bucket"
    }
    assert len(buckets) == 20
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets[0.00005], buckets[0.0002], buckets[0.0004], buckets[0.0256]) == (2, 2, 4, 6)
    assert buckets[13.1072] == 6
    assert buckets[float("inf")] == 8
    assert found["triomq_publish_acknowledged_seconds_count", (("qos", "2"), ("transport", "ws"))] == 1
    text, _ = Metrics(bench.system).page(OPENMETRICS)
    assert "triomq_publish_written_seconds" in {family.name for family in parse_openmetrics(text.decode())}
