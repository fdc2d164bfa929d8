from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

from broker.bench.comparison import Subject
from broker.bench.measured import Measured
from broker.bench.sweep import Axis
from broker.bench.workload import Workload
from broker.cli.bench import collecting
from broker.cli.bench.collecting import Collector
from broker.cli.bench.running import Ended, Interruption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.bench.compare import Progress
    from broker.bench.sweep import Point

SUBJECTS = [Subject(label="tcp", url="mqtt://192.0.2.1:1"), Subject(label="ws", url="ws://192.0.2.1:2/mqtt")]
WORKLOAD = Workload(url="", publishers=1, subscribers=1, seconds=0.1, warm_up=0.0)


class Drive:
    """Stands in for `drive_until`; the run of this number is ended by a signal."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.runs: list[tuple[str, int]] = []  # URL and payload

    async def __call__(self, interruption: Interruption, workload: Workload, **_: object) -> Measured:
        await trio.lowlevel.checkpoint()
        self.runs.append((workload.url, workload.payload))
        if len(self.runs) == self.last:
            interruption.number = signal.SIGINT
            raise Ended
        return Measured(seconds=0.1, sent=len(self.runs), received=len(self.runs))


async def collected(
    monkeypatch: pytest.MonkeyPatch, drive: Drive, axes: list[Axis]
) -> tuple[list[Point], list[tuple[str, Mapping[str, float]]]]:
    told: list[tuple[str, Mapping[str, float]]] = []

    def tell(progress: Progress, at: Mapping[str, float]) -> None:
        told.append((progress.stage, at))

    monkeypatch.setattr(collecting, "drive_until", drive)
    collector = Collector(SUBJECTS, WORKLOAD, axes, Interruption(), tell)
    return await collector.run(rounds=3, connections=0, workers=1), told


async def test_undisturbed_it_is_a_comparison(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    drive = Drive(0)
    points, told = await collected(monkeypatch, drive, [])
    (point,) = points
    assert point.at == {}
    assert [(run.subject, run.number) for run in point.comparison.rounds] == [
        (label, number) for number in (1, 2, 3) for label in ("tcp", "ws")
    ]
    assert len(drive.runs) == 8  # with one each that does not count
    assert {at == {} for _, at in told} == {True}


async def test_complete_rounds_are_kept(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    # 1 and 2 do not count, 3 to 6 are two rounds, 7 is half of the third
    points, _ = await collected(monkeypatch, Drive(8), [])
    (point,) = points
    assert [(run.subject, run.number) for run in point.comparison.rounds] == [
        (label, number) for number in (1, 2) for label in ("tcp", "ws")
    ]
    # rounds take turns: A B, B A
    assert [run.measured.sent for run in point.comparison.rounds] == [3, 4, 6, 5]
    assert point.comparison.workload.url == SUBJECTS[0].url
    assert point.comparison.notes[0].startswith("Ended by a signal")


@pytest.mark.parametrize("last", [1, 3, 4])
async def test_without_a_complete_round_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object, last: int
) -> None:
    assert (await collected(monkeypatch, Drive(last), []))[0] == []


async def test_points_of_a_sweep_are_kept(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    axis = Axis("payload", (16.0, 32.0, 64.0))
    points, told = await collected(monkeypatch, Drive(14), [axis])
    assert [point.at for point in points] == [{"payload": 16.0}, {"payload": 32.0}]
    assert [len(point.comparison.rounds) for point in points] == [6, 2]
    assert [point.comparison.workload.payload for point in points] == [16, 32]
    assert {at["payload"] for _, at in told} == {16.0, 32.0}
