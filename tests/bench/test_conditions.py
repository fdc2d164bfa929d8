"""Conditions that hold, that do not, and that are none."""

from __future__ import annotations

import pytest

from broker.bench.conditions import BadCondition, judge, parse
from broker.bench.metrics import METRICS
from tests.bench.parts import comparison


@pytest.mark.parametrize(
    ("text", "subject", "figure", "comparison", "bound"),
    [
        ("p99>50ms", "", "p99", ">", 0.05),
        ("p99.9 >= 1.5 s", "", "p99.9", ">=", 1.5),
        ("p999>10us", "", "p99.9", ">", 1e-5),
        ("ws.p99.9>10µs", "ws", "p99.9", ">", 1e-5),
        ("ratio>1.5", "", "ratio", ">", 1.5),
        ("ws.cpu_ratio_low>1.2", "ws", "cpu_ratio_low", ">", 1.2),
        ("throughput<100k", "", "throughput", "<", 100_000),
        ("throughput<0.1M", "", "throughput", "<", 100_000),
        ("lost>0", "", "lost", ">", 0),
        ("framing>5%", "", "framing", ">", 0.05),
        ("memory>8KiB", "", "memory", ">", 8192),
        ("tcp 10.0.0.1:1883.p50<=2ms", "tcp 10.0.0.1:1883", "p50", "<=", 0.002),
    ],
)
def test_what_is_one(text: str, subject: str, figure: str, comparison: str, bound: float) -> None:
    condition = parse(text)
    assert (condition.subject, condition.figure, condition.comparison) == (subject, figure, comparison)
    assert condition.bound == pytest.approx(bound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no condition: p99>50ms"),
        ("p99", "is no condition"),
        ("p99=50ms", "is no condition"),
        ("p99>fast", "is no condition"),
        ("p99>50", "p99 is told in ns, us, µs, ms, s, as in 50ms"),
        ("p99>50k", "p99 is told in ns"),
        ("lost>1ms", "lost is told in k, M"),
        ("p98>1ms", "'p98' is no figure. Did you mean"),
        ("trhoughput<1k", "Did you mean 'throughput'?"),
        ("speed>1", "Known are ratio, throughput"),
        ("udp.p99>1ms", "no subject 'udp' here, but tcp, ws"),
        ("lost>1.2.3", "'1.2.3' is no number"),
    ],
)
def test_what_is_none(text: str, says: str) -> None:
    with pytest.raises(BadCondition) as raised:
        parse(text, ("tcp", "ws"))
    assert says in str(raised.value)


def test_each_figure_is_known() -> None:
    for name, metric in METRICS.items():
        assert parse(f"{name}>1{'s' if metric.unit == 's' else ''}").figure == name
        assert parse(f"ws.{name}_ratio>1").figure == f"{name}_ratio"


def test_which_held_and_with_what_figure() -> None:
    found = comparison(6)
    tcp, ws = judge(parse("throughput<100k"), found)
    assert (tcp.subject, tcp.holds, tcp.value) == ("tcp", True, 50_000)
    assert str(ws) == "throughput<100k: ws has 50,000/s"
    (one,) = judge(parse("ws.p99>50ms"), found)
    assert not one.holds
    assert not any(verdict.holds for verdict in judge(parse("lost>0"), found))


def test_ratios_are_those_of_all_but_the_first() -> None:
    found = comparison(6, ratio=1.6)
    (verdict,) = judge(parse("ratio>1.5"), found)
    assert verdict.subject == "ws"
    assert verdict.holds
    assert str(verdict) == "ratio>1.5: ws has 1.60"
    (verdict,) = judge(parse("cpu_ratio_low>1.7"), found)
    assert not verdict.holds
    (verdict,) = judge(parse("tcp.ratio>1.5"), found)
    assert verdict.value is None
    assert not verdict.holds
    assert str(verdict) == "tcp.ratio>1.5: tcp has no such figure"


def test_without_cpu_the_ratio_is_how_many_times_slower_it_is() -> None:
    found = comparison(6)
    for run in found.rounds_of("ws"):
        run.cpu = None
        run.measured.received //= 2
    (verdict,) = judge(parse("ratio>1.9"), found)
    assert verdict.value == pytest.approx(2.0)
    assert verdict.holds


def test_one_subject_has_no_ratio() -> None:
    found = comparison(1)
    del found.subjects[1]
    (verdict,) = judge(parse("ratio>1"), found)
    assert verdict.value is None
    assert not verdict.holds
