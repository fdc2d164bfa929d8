"""Axes, the grid, and the comparison at each of its points."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from broker.bench.sweep import (
    MOST_POINTS,
    Axis,
    BadSweep,
    Point,
    at_point,
    at_text,
    clients_of,
    estimate,
    parse,
    parse_all,
    points_of,
    sweep,
)
from tests.bench.parts import TCP, WORKLOAD, WS, FakeDrive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.bench.compare import Progress


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("payload=16..65536", (16, 128, 1024, 8192, 65_536)),
        ("clients=1..1000", (1, 6, 32, 178, 1000)),
        ("clients=1..1000/4", (1, 10, 100, 1000)),
        ("payload=16,64,1KiB", (16, 64, 1024)),
        ("rate=1k..100k/3", (1000, 10_000, 100_000)),
        ("rate=0.5", (0.5,)),
        ("qos=0..2", (0, 1, 2)),
        ("clients=1..3", (1, 2, 3)),
        ("inflight=20..20", (20,)),
    ],
)
def test_axes(text: str, values: tuple[float, ...]) -> None:
    axis = parse(text)
    assert axis.name == text.partition("=")[0]
    assert axis.values == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("payload", "is no axis"),
        ("payload=", "is no axis"),
        ("colour=1..2", "'colour' cannot be varied; payload, clients"),
        ("payload=1..64", "payload=1 is out of bounds: 16 to"),
        ("qos=3", "out of bounds"),
        ("clients=1000..1", "goes backwards: write 1..1000"),
        ("clients=1..many", "'many' in clients is no number"),
        ("clients=1,,2", "'' in clients is no number"),
        ("clients=1.5", "no whole number"),
        ("clients=1..10/1", "'1' is no number of points"),
        ("clients=1..10/x", "'x' is no number of points"),
        ("rate=0..10", "begins at 0"),
    ],
)
def test_what_is_no_axis(text: str, says: str) -> None:
    with pytest.raises(BadSweep) as raised:
        parse(text)
    assert says in str(raised.value)


def test_several_axes() -> None:
    assert parse_all(["payload=16,64 qos=0,1", "clients=1"]) == [
        Axis("payload", (16, 64)),
        Axis("qos", (0, 1)),
        Axis("clients", (1,)),
    ]
    for texts, says in (
        ([], "nothing to vary"),
        (["qos=0", "qos=1"], "varied twice"),
        (["clients=1 publishers=2"], "stands for publishers and subscribers"),
        (["payload=16..4096/20 clients=1..100/20"], f"more than {MOST_POINTS}"),
    ):
        with pytest.raises(BadSweep, match=says):
            parse_all(texts)


def test_the_grid() -> None:
    points = points_of([Axis("payload", (16, 64)), Axis("qos", (0, 1))])
    assert points == [
        {"payload": 16, "qos": 0},
        {"payload": 16, "qos": 1},
        {"payload": 64, "qos": 0},
        {"payload": 64, "qos": 1},
    ]


def test_a_point_in_words() -> None:
    assert at_text({"payload": 65_536.0, "qos": 1.0}) == "payload 65,536, qos 1"
    assert at_text({}) == ""


def test_what_clients_are() -> None:
    assert clients_of(WORKLOAD) == ("publishers", "subscribers")
    assert clients_of(replace(WORKLOAD, publishers=1)) == ("subscribers",)
    assert clients_of(replace(WORKLOAD, subscribers=1)) == ("publishers",)
    assert clients_of(replace(WORKLOAD, subscribers=0, echo=True)) == ("publishers",)
    assert clients_of(replace(WORKLOAD, publishers=0, subscribers=0, idle=5)) == ("idle",)


def test_a_workload_at_a_point() -> None:
    changed = at_point(WORKLOAD, {"payload": 1024.0, "clients": 7.0, "rate": 0.5})
    assert changed == replace(WORKLOAD, payload=1024, publishers=7, subscribers=7, rate=0.5)
    assert isinstance(changed.payload, int)


async def test_a_sweep() -> None:
    drive = FakeDrive()
    told: list[tuple[float, float, Mapping[str, float]]] = []

    def tell(progress: Progress, point: Mapping[str, float]) -> None:
        told.append((progress.done, progress.remaining, point))

    workload = replace(WORKLOAD, seconds=0.01, warm_up=0.0)
    axes = parse_all(["payload=16,64,256"])
    seen: list[list[Point]] = []
    points = await sweep(
        [TCP, WS], workload, axes, drive=drive, rounds=1, connections=5, pause=0, progress=tell, seen=seen.append
    )
    assert seen == [points[:1], points[:2], points]
    assert [point.at for point in points] == [{"payload": 16}, {"payload": 64}, {"payload": 256}]
    assert [point.comparison.workload.payload for point in points] == [16, 64, 256]
    assert [call.payload for call in drive.calls if call.idle == 0] == [16] * 4 + [64] * 4 + [256] * 4
    assert sum(call.idle > 0 for call in drive.calls) == 2  # at the first point only
    assert all(earlier[0] <= later[0] for earlier, later in pairwise(told))
    assert told[0][1] > told[-1][1]
    assert told[-1][2] == {"payload": 256}
    assert told[-1][0] > 0.8


def test_the_estimate() -> None:
    axes = parse_all(["payload=16..65536"])
    whole = estimate(WORKLOAD, axes, subjects=2, rounds=6, connections=0)
    assert whole == pytest.approx(5 * estimate(WORKLOAD, [Axis("qos", (0,))], subjects=2, rounds=6, connections=0))
    assert estimate(WORKLOAD, axes, subjects=2, rounds=6) > whole
