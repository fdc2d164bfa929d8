"""Store time: it goes on over a downtime, never back, and no jump of the wall clock hurries it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from broker.store.clock import WITNESS_AT, ClockFile, StoreClock, boot, pair
from broker.store.state import Witness

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
YEAR = 365.25 * 24 * HOUR
WALL = 1.7e9


def test_it_begins_as_wall_time() -> None:
    clock = StoreClock()
    clock.begin(100.0, WALL, None)
    assert clock.stored(100.0) == WALL
    assert clock.stored(130.5) == WALL + 30.5
    assert clock.monotonic(WALL + 30.5) == 130.5
    assert clock.monotonic(math.inf) == math.inf


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR])
def test_a_jump_while_it_runs_changes_nothing(jump: float) -> None:
    clock = StoreClock()
    clock.begin(100.0, WALL, None)
    assert clock.jumped(101.0, WALL + 1) == 0.0
    assert clock.jumped(102.0, WALL + 2 + jump) == pytest.approx(jump)
    assert clock.jumped(103.0, WALL + 3 + jump) == 0.0, "it is told once"
    assert clock.stored(103.0) == WALL + 3


def test_a_small_jump_is_not_worth_a_line() -> None:
    clock = StoreClock()
    clock.begin(0.0, WALL, None)
    assert clock.jumped(1.0, WALL + 30) == 0.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR])
def test_a_jump_before_the_end_does_not_count_at_the_next_start(jump: float) -> None:
    """The file has both clocks: the wall clock is compared with what it was then, jump included."""
    clock = StoreClock()
    clock.begin(100.0, WALL, None)
    last = clock.stored(200.0), WALL + 100 + jump
    again = StoreClock()
    again.begin(5.0, WALL + 100 + jump + 60, last)
    assert again.stored(5.0) == pytest.approx(WALL + 160)
    assert again.behind == 0.0


@pytest.mark.parametrize("jump", [HOUR, 10 * YEAR])
def test_a_clock_that_went_forward_over_the_downtime_is_believed(jump: float) -> None:
    clock = StoreClock()
    clock.begin(5.0, WALL + jump, (WALL, WALL))
    assert clock.stored(5.0) == WALL + jump


@pytest.mark.parametrize("jump", [HOUR, 10 * YEAR])
def test_a_clock_that_went_back_over_the_downtime_stands_still(jump: float) -> None:
    clock = StoreClock()
    clock.begin(5.0, WALL - jump, (WALL, WALL))
    assert clock.stored(5.0) == WALL
    assert clock.stored(15.0) == WALL + 10, "and goes on from there"
    assert clock.behind == jump
    assert clock.jumped(15.0, WALL - jump + 10) == 0.0


def test_the_file(tmp_path: Path) -> None:
    file = ClockFile(tmp_path / "clock")
    assert file.read() == (None, None)
    file.open()
    file.write_witness(Witness(7, True, b"boot").encode())
    assert file.read()[0] is None
    file.write(WALL, WALL + 5)
    file.write(WALL + 1, WALL + 6)
    file.close()
    file.open()  # goes on with what is there
    times, witness = file.read()
    file.close()
    assert times == (WALL + 1, WALL + 6)
    assert witness is not None
    assert (witness.commits, witness.synced, witness.boot) == (7, True, b"boot")


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    whole = pair(WALL, WALL).ljust(WITNESS_AT, b"\0") + Witness(7, True, b"").encode()
    file = ClockFile(path)
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        times, witness = file.read()
        assert times in (None, (WALL, WALL))
        assert witness is None or witness.commits == 7
        padding = len(pair(WALL, WALL)) <= bit // 8 < WITNESS_AT
        assert padding or times is None or witness is None
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert file.read()[1] is None


def test_the_run_of_the_machine_is_the_same_twice() -> None:
    assert boot() == boot()
    assert len(boot()) <= 16
