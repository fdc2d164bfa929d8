"""How a sweep is drawn: a section an axis, and a grid for two."""

from __future__ import annotations

import pytest

from broker.bench.drawing import svg
from broker.bench.environment import Environment
from broker.bench.results import Results
from broker.bench.sweep import Point
from broker.bench.sweep_charts import of_sweep
from tests.bench.parts import comparison


def results(*points: dict[str, float]) -> Results:
    return Results(
        environment=Environment(),
        points=[Point(at, comparison(2, ratio=1.1 + 0.1 * number)) for number, at in enumerate(points)],
    )


def test_one_axis() -> None:
    ((title, made),) = of_sweep(results({"payload": 16.0}, {"payload": 256.0}, {"payload": 65_536.0}))
    assert title == "By payload"
    assert [chart.name for chart in made] == [
        *("payload-ratio", "payload-cpu", "payload-throughput", "payload-p99", "payload-framing", "overhead")
    ]
    assert [row[:3] for row in made[0].rows] == [["ws", "16", "1.10"], ["ws", "256", "1.20"], ["ws", "65,536", "1.30"]]
    for chart in made:
        assert chart.rows
        assert {len(row) for row in chart.rows} == {len(chart.header)}
        for spec in chart.specs:
            assert svg(spec).startswith("<svg")


def test_two_axes_have_a_grid() -> None:
    swept = results(*({"payload": size, "qos": qos} for size in (16.0, 64.0, 256.0) for qos in (0.0, 1.0)))
    sections = of_sweep(swept)
    assert [title for title, _ in sections] == ["By payload and qos", "By payload", "By qos"]
    (grid,) = sections[0][1]
    assert grid.rows[1][:3] == ["16", "1", "1.20"]
    assert grid.specs[0]["layer"][0]["encoding"]["x"]["axis"]["title"] == "payload"  # the longer one lies across
    for _, made in sections:
        for chart in made:
            assert svg(chart.specs[0]).startswith("<svg")
    dashes = sections[1][1][0].specs[0]["layer"][2]["encoding"]["strokeDash"]["scale"]
    assert dashes["domain"] == ["qos 0", "qos 1"]


def test_an_axis_of_one_value_has_no_chart() -> None:
    titles = [title for title, _ in of_sweep(results({"payload": 16.0, "qos": 0.0}, {"payload": 64.0, "qos": 0.0}))]
    assert titles == ["By payload and qos", "By payload"]


@pytest.mark.parametrize(("last", "kind"), [(65_536.0, "log"), (64.0, None)])
def test_far_apart_is_logarithmic(last: float, kind: str | None) -> None:
    ((_, made),) = of_sweep(results({"payload": 16.0}, {"payload": last}))
    x = made[0].specs[0]["layer"][1]["encoding"]["x"]
    assert x["scale"].get("type") == kind


def test_what_nobody_measured_has_no_chart() -> None:
    swept = results({"clients": 1.0}, {"clients": 10.0})
    for point in swept.points:
        for run in point.comparison.rounds:
            run.cpu = None
    ((_, made),) = of_sweep(swept)
    assert "clients-cpu" not in [chart.name for chart in made]
    assert made[0].title == "Messages a second, held against TCP"
