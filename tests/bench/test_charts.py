"""What the charts of a comparison show, and that their tables say the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.bench.charts import of_comparison, overhead_by_payload
from broker.bench.comparison import Subject, single
from broker.bench.drawing import Chart, svg
from tests.bench.parts import WORKLOAD, comparison, measured


def chart(name: str, rounds: int = 6) -> Chart:
    return next(each for each in of_comparison(comparison(rounds)) if each.name == name)


def values(chart: Chart, layer: int | None = None) -> list[dict[str, Any]]:
    spec = chart.specs[0] if layer is None else chart.specs[0]["layer"][layer]
    found: list[dict[str, Any]] = spec["data"]["values"]
    return found


def test_which_charts_there_are() -> None:
    made = of_comparison(comparison(6))
    assert [each.name for each in made] == ["ratios", "latency", "throughput", "cpu", "overhead"]
    assert [each.name for each in of_comparison(comparison(6), without=("cpu", "overhead"))] == [
        *("ratios", "latency", "throughput")
    ]
    for each in made:
        assert each.rows
        assert {len(row) for row in each.rows} == {len(each.header)}


@pytest.mark.parametrize("number", [0, 1])
def test_all_of_them_can_be_drawn(number: int) -> None:
    for each in of_comparison(comparison(3)):
        assert svg(each.specs[number]).startswith("<svg")


def test_one_run_has_charts_too() -> None:
    made = of_comparison(single(WORKLOAD, measured(), cpu=0.5))
    assert [each.name for each in made] == ["latency", "throughput", "overhead"]
    for each in made:
        assert svg(each.specs[0]).startswith("<svg")


def test_three_subjects_can_be_drawn() -> None:
    found = comparison(2)
    found.subjects.append(Subject(label="unix", url="unix:/run/b.sock"))
    found.rounds += [replace(run, subject="unix") for run in found.rounds_of("tcp")]
    made = of_comparison(found)
    assert {row[0] for row in made[0].rows} == {"ws", "unix"}
    assert [name for name, _ in made[0].subjects] == ["ws", "unix"]
    assert svg(made[0].specs[0]).startswith("<svg")


def test_nothing_measured_nothing_drawn() -> None:
    found = comparison(1)
    found.rounds.clear()
    found.memory.clear()
    assert [each.name for each in of_comparison(found)] == ["overhead"]
    found.workload = replace(WORKLOAD, publishers=0)
    assert of_comparison(found) == []


def test_ratios() -> None:
    (cpu, *_) = values(chart("ratios"))
    assert (cpu["what"], cpu["text"]) == ("CPU per message", "1.30")
    assert cpu["low"] <= cpu["value"] <= cpu["high"]
    row = chart("ratios").rows[0]
    assert row[:3] == ["ws", "CPU per message", "1.30"]
    assert chart("ratios", 1).rows[0][3:] == ["", ""]


def test_latency_rises_to_the_longest() -> None:
    made = chart("latency")
    for label in ("tcp", "ws"):
        points = [(value["x"], value["y"]) for value in values(made) if value["subject"] == label]
        assert points == sorted(points)
        assert points[0][0] == 0
        assert points[-1][1] == pytest.approx(comparison(6).latency(label).maximum / 1e6, rel=0.001)
        # 3000 latencies: the curve ends where one in 3000 is beyond
        assert points[-1][0] == pytest.approx(3.477, abs=0.001)
        assert len(points) < 600
    assert made.header[-1] == "longest"


def test_messages_over_time() -> None:
    made = chart("throughput", 3)
    each, middle = values(made, 0), values(made, 1)
    assert len(each) == 3 * len(middle)
    assert {value["rate"] for value in middle} == {50.0}
    assert middle[0]["t"] == 0.125
    assert made.rows[0] == ["tcp", "50,000", "50,000", "50,000"]


def test_cpu_of_each_round() -> None:
    made = chart("cpu", 2)
    assert [(value["subject"], value["round"]) for value in values(made)] == [
        *(("tcp", 1), ("tcp", 2), ("ws", 1), ("ws", 2))
    ]
    assert values(made)[0]["cpu"] == pytest.approx(4.4)
    assert made.rows[0] == ["tcp", "1", "4.40 µs"]


def test_what_is_no_payload() -> None:
    made = chart("overhead")
    lines, dots = values(made, 0), values(made, 1)
    for label, extra in (("tcp", 12), ("ws", 18)):
        share = 100 * extra / (64 + extra)
        line = next(value for value in lines if value["subject"] == label and value["payload"] == 64)
        dot = next(value for value in dots if value["subject"] == label)
        assert line["share"] == pytest.approx(share)
        assert dot["share"] == pytest.approx(share)
    assert made.rows[1] == ["ws", "64", "82", "21.95 %"]


def test_what_is_no_payload_with_acknowledgements_is_theory_only() -> None:
    found = comparison(1)
    found.workload = replace(WORKLOAD, qos=1)
    made = overhead_by_payload(found.workload, [found])
    assert made is not None
    assert len(made.specs[0]["layer"]) == 1
