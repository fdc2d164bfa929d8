"""Each figure, out of a round whose numbers can be worked out by hand."""

from __future__ import annotations

import pytest

from broker.bench.comparison import Connections, Round
from broker.bench.histogram import Histogram
from broker.bench.measured import Measured
from broker.bench.metrics import CHECKS, METRICS, messages


def histogram(*milliseconds: int) -> Histogram:
    made = Histogram()
    for each in milliseconds:
        made.record(each * 1_000_000)
    return made


def whole() -> Round:
    """Two seconds in which 100 messages went to two subscribers each."""
    opened = Measured(
        connected=50,
        connect=histogram(3, 3, 3),
        connect_seconds=0.5,
        connect_bytes_sent=1500,
        connect_bytes_received=1000,
    )
    measured = Measured(
        seconds=2.0,
        sent=100,
        received=200,
        bytes_sent=1200,
        mqtt_bytes_sent=1000,
        bytes_received=2100,
        mqtt_bytes_received=2000,
        frames_received=50,
        latency=histogram(*range(1, 101)),
        acknowledgement=histogram(7),
        connected=3,
        connect=histogram(9),
        connect_seconds=1.0,
        lost=1,
        repeated=2,
        disordered=3,
        corrupted=4,
        refused=5,
        disconnected=6,
        busiest=0.4,
        latest=0.002,
    )
    return Round(
        subject="tcp",
        number=1,
        measured=measured,
        cpu=0.5,
        rss=1000,
        connections=Connections(measured=opened, cpu=0.01),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("throughput", 100),
        ("published", 50),
        ("p50", 0.050),
        ("p90", 0.090),
        ("p99", 0.099),
        ("p99.9", 0.100),
        ("max", 0.100),
        ("ack_p50", 0.007),
        ("ack_p99", 0.007),
        ("ack_max", 0.007),
        ("cpu", 0.0025),
        ("broker_load", 0.25),
        ("rss", 1000),
        ("sent_bytes", 12),
        ("sent_framing", 2),
        ("received_bytes", 10.5),
        ("received_framing", 0.5),
        ("framing", 300 / 3300),
        ("per_frame", 4),
        ("connect_p50", 0.003),
        ("connect_p99", 0.003),
        ("connects", 100),
        ("connect_cpu", 0.0002),
        ("connect_bytes", 50),
        ("generator", 0.4),
        ("late", 0.002),
        ("lost", 1),
        ("repeated", 2),
        ("disordered", 3),
        ("corrupted", 4),
        ("refused", 5),
        ("disconnected", 6),
    ],
)
def test_figures(name: str, value: float) -> None:
    assert METRICS[name].of(whole()) == pytest.approx(value, rel=0.006)


def test_connections_of_the_workload_where_none_were_opened_for_their_own_sake() -> None:
    run = whole()
    run.connections = None
    assert METRICS["connect_p50"].of(run) == pytest.approx(0.009, rel=0.006)
    assert METRICS["connects"].of(run) == 3
    assert METRICS["connect_cpu"].of(run) is None


def test_a_message_that_nobody_receives_counts_where_it_leaves() -> None:
    run = whole()
    run.measured.received = 0
    assert messages(run.measured) == 100
    assert METRICS["throughput"].of(run) == 50
    assert METRICS["cpu"].of(run) == 0.005
    assert METRICS["received_bytes"].of(run) is None


def test_nothing_measured_gives_no_figure_but_the_checks() -> None:
    empty = Round(subject="tcp", number=1, measured=Measured())
    found = {name: metric.of(empty) for name, metric in METRICS.items()}
    assert {name for name, value in found.items() if value is not None} == {*CHECKS, "generator", "late"}


def test_checks_are_added_up_and_the_longest_counts() -> None:
    assert {METRICS[name].over_rounds for name in CHECKS} == {"sum"}
    assert {name for name, metric in METRICS.items() if metric.over_rounds == "max"} == {
        *("max", "ack_max", "generator", "late")
    }
