from __future__ import annotations

import itertools
import math
from random import Random
from typing import TYPE_CHECKING

import pytest

from broker.simulation.signals import (
    DAY,
    HOUR,
    Choice,
    Compare,
    Constant,
    Counter,
    Follow,
    Level,
    Mix,
    Product,
    Regulator,
    Schedule,
    Setting,
    Shape,
    Signal,
    Spectrum,
    States,
    Switch,
    Walk,
    Wave,
    number,
)

if TYPE_CHECKING:
    from broker.simulation.signals import Value


def plain(chance: Random | None = None, decimals: int = 6) -> Shape:
    return Shape(chance or Random(1), None, None, 0.0, decimals)


def fixed(value: Value) -> Signal:
    return Constant(Random(1), value=value)


class Script(Signal):
    """Says what it was told for each whole second."""

    def __init__(self, *values: Value) -> None:
        super().__init__(values[0])
        self.values = values

    def advance(self, now: float, elapsed: float) -> None:
        self.value = self.values[min(int(now), len(self.values) - 1)]


def life(signal: Signal, seconds: float, step: float) -> list[Value]:
    return [signal.at(index * step) for index in range(int(seconds / step))]


def numbers(signal: Signal, seconds: float, step: float) -> list[float]:
    return [number(value) for value in life(signal, seconds, step)]


def test_a_signal_moves_on_once_a_moment() -> None:
    walk = Walk(Random(3), plain(), mean=0.0, spread=1.0, memory=5.0)
    first = walk.at(10.0)
    assert walk.at(10.0) == walk.at(9.0) == first
    assert walk.at(11.0) != first


def test_a_shape_bounds_rounds_and_makes_noise() -> None:
    shape = Shape(Random(1), 0.0, 10.0, 0.0, 1)
    assert [shape(-3.0), shape(3.14159), shape(99.0)] == [0.0, 3.1, 10.0]
    whole = Shape(Random(1), None, None, 0.0, 0)(2.6)
    assert (whole, type(whole)) == (3, int)
    noisy = Shape(Random(1), None, None, 2.0, 3)
    values = [noisy(5.0) for _ in range(2000)]
    assert sum(values) / len(values) == pytest.approx(5.0, abs=0.2)


def test_what_is_too_large_or_no_number_is_bounded() -> None:
    shape = Shape(Random(1), None, None, 0.0, 0)
    assert [shape(math.inf), shape(-math.inf), shape(math.nan)] == [1e15, -1e15, -1e15]
    endless = Setting(value=1, follows=None, minimum=None, maximum=None, one_of=None)
    assert endless.command(math.inf)
    assert endless.command(10**400)
    assert Product(shape, of=[fixed(1e15)] * 30, factor=1.0).at(0.0) == 1e15
    many = counter(Random(1), every=0.001, random=True)
    assert numbers(many, 2 * DAY, DAY) == [0, pytest.approx(DAY * 1000)]


def test_constants() -> None:
    assert Constant(Random(1), value="blue").at(5.0) == "blue"
    assert Constant(Random(1), one_of=[7]).at(5.0) == 7
    drawn = {Constant(Random(seed), between=[2.0, 3.0]).at(0.0) for seed in range(20)}
    assert len(drawn) > 5
    assert all(2.0 <= number(value) <= 3.0 for value in drawn)


def test_a_walk_keeps_to_its_mean_and_spread() -> None:
    values = numbers(Walk(Random(4), plain(), mean=10.0, spread=2.0, memory=5.0), 80_000, 20.0)
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    assert mean == pytest.approx(10.0, abs=0.2)
    assert deviation == pytest.approx(2.0, abs=0.2)


def test_a_walk_does_not_jump() -> None:
    values = numbers(Walk(Random(4), plain(), mean=0.0, spread=1.0, memory=600.0), 600, 1.0)
    assert all(abs(after - before) < 0.4 for before, after in itertools.pairwise(values))
    assert len(set(values)) > 500


def test_the_day_has_its_peak() -> None:
    day = Wave(plain(), low=5.0, high=15.0, period=DAY, peak=15 * HOUR)
    assert [day.at(hour * HOUR) for hour in (3, 9, 15, 27)] == pytest.approx([5.0, 10.0, 15.0, 5.0])


def test_a_schedule_has_its_hours_and_each_day_others() -> None:
    hours: dict[float, Value] = {8 * HOUR: "away", 17 * HOUR: "home"}
    exact = Schedule(Random(1), hours=hours, jitter=0.0)
    assert [exact.at(hour * HOUR) for hour in (1, 9, 16.9, 17, 30, 33)] == [
        *("home", "away", "away", "home", "home", "away")
    ]
    loose = Schedule(Random(1), hours=hours, jitter=HOUR)
    leaving = []
    for day in range(8):
        minutes = [loose.at(day * DAY + minute * 60.0) for minute in range(24 * 60)]
        leaving.append(minutes.index("away"))
    assert all(7 * 60 <= minute <= 9 * 60 + 1 for minute in leaving)
    assert len(set(leaving)) > 3


def test_states_last_their_time_and_follow_as_told() -> None:
    states = States(
        Random(2),
        states={"run": 100.0, "idle": 20.0, "fault": 5.0},
        after={"run": {"idle": 3.0, "fault": 1.0}, "idle": {"run": 1.0}, "fault": {"idle": 1.0}},
    )
    seen = life(states, 6000, 0.02)
    assert seen.count("run") > 3 * seen.count("idle") > 9 * seen.count("fault") > 0
    steps = {(before, after) for before, after in itertools.pairwise(seen) if before != after}
    assert steps == {("run", "idle"), ("run", "fault"), ("fault", "idle"), ("idle", "run")}
    anything = States(Random(2), states={"a": 2.0, "b": 2.0, "c": 2.0}, after={})
    found = life(anything, 200, 0.02)
    assert len({pair for pair in itertools.pairwise(found) if pair[0] != pair[1]}) == 6
    assert set(life(States(Random(2), states={"only": 2.0}, after={}), 20, 1.0)) == {"only"}


def test_a_switch_is_on_for_its_share() -> None:
    seen = life(Switch(Random(5), on=30.0, off=90.0), 60_000, 1.0)
    assert 0.2 < seen.count(True) / len(seen) < 0.3
    assert sum(before != after for before, after in itertools.pairwise(seen)) < 1500


def test_choices_have_weights() -> None:
    seen = life(Choice(Random(5), values=["a", "b"], weights=[9.0, 1.0]), 1000, 1.0)
    assert 850 < seen.count("a") < 950


def counter(chance: Random, **told: object) -> Counter:
    settings: dict[str, object] = {
        **{"step": 1.0, "every": 1.0, "per": None, "when": None, "equals": None},
        **{"random": False, "start": (0.0, 0.0), "decimals": 0},
    }
    return Counter(chance, **(settings | told))  # type: ignore[arg-type]  # written by name


def test_counters_only_rise() -> None:
    assert numbers(counter(Random(1), every=2.0, step=3.0), 8, 1.0) == [0, 0, 3, 3, 6, 6, 9, 9]
    by_chance = numbers(counter(Random(1), every=2.0, random=True), 4000, 1.0)
    assert by_chance == sorted(by_chance)
    assert by_chance[-1] == pytest.approx(2000, rel=0.1)
    energy = counter(Random(1), per=fixed(1800.0), step=1 / 3_600_000, decimals=4)
    assert numbers(energy, 7300, 100.0)[-1] == pytest.approx(3.6, abs=0.001)
    begun = counter(Random(1), start=(50.0, 60.0))
    assert 50 <= number(begun.at(0.0)) <= 60


def test_a_counter_waits_while_it_must() -> None:
    state = Script("run", "run", "idle", "idle", "run")
    assert numbers(counter(Random(1), when=state, equals="run"), 6, 1.0) == [0, 1, 1, 1, 2, 3]
    assert numbers(counter(Random(1), when=Script(True, False)), 4, 1.0) == [0, 0, 0, 0]


def test_a_level_falls_and_is_filled_again() -> None:
    levels = numbers(Level(Random(1), plain(), rate=10.0, of=None, refill=20.0), 20 * HOUR, 60.0)
    falls = [after - before for before, after in itertools.pairwise(levels)]
    assert all(fall == pytest.approx(-1 / 6, abs=1e-5) or fall > 70 for fall in falls)
    assert any(fall > 70 for fall in falls)
    assert min(levels) >= 20.0
    tank = Level(Random(1), plain(), rate=2.0, of=Script(100.0, 100.0, 103.0), refill=5.0)
    full = number(tank.at(0.0))
    assert [full - number(tank.at(second)) for second in (1.0, 2.0)] == pytest.approx([0.0, 6.0])


def test_what_follows_lags_behind() -> None:
    oil = Follow(plain(), of=Script("off", "on"), lag=10.0, factor=1.0, values={"on": 60.0, "off": 20.0})
    assert [oil.at(0.0), oil.at(1.0), oil.at(11.0), oil.at(200.0)] == pytest.approx(
        [20.0, 60 - 40 * math.exp(-0.1), 60 - 40 * math.exp(-1.1), 60.0], abs=1e-4
    )
    at_once = Follow(plain(), of=Script(True, False), lag=0.0, factor=1.0, values={"true": 5.0})
    assert life(at_once, 2, 1.0) == [5.0, 0.0]
    assert Follow(plain(), of=fixed(8), lag=0.0, factor=0.5, values=None).at(0.0) == 4.0


def test_mixes_products_and_comparisons() -> None:
    assert Mix(plain(), of=[(fixed(2), 3.0), (fixed(True), 10.0)], offset=1.0).at(0.0) == 17.0
    assert Product(plain(), of=[fixed(False), fixed(7)], factor=2.0).at(0.0) == 0.0
    assert Product(plain(), of=[fixed(3), fixed(7)], factor=2.0).at(0.0) == 42.0
    assert Compare(of=fixed(5), above=4.0, below=6.0, equals=None).at(0.0) is True
    assert Compare(of=fixed(5), above=5.0, below=None, equals=None).at(0.0) is False
    assert Compare(of=fixed("x"), above=None, below=None, equals="x").at(0.0) is True
    assert [number("text"), number([1.0])] == [0.0, 0.0]


@pytest.mark.parametrize(("target", "around", "heater"), [(20.0, 5.0, 40.0), (4.0, 22.0, -20.0)])
def test_a_regulator_holds_its_target(target: float, around: float, heater: float) -> None:
    room = Regulator(
        *(plain(),),
        target=fixed(target),
        surroundings=fixed(around),
        heater=heater,
        heats=1800.0,
        loses=7200.0,
        hysteresis=0.25,
    )
    on = room.output("on")
    values: list[float] = []
    worked: set[Value] = set()
    for minute in range(600):
        values.append(number(room.at(minute * 30.0)))
        worked.add(on.at(minute * 30.0))
    assert max(abs(value - target) for value in values) < 0.8
    assert worked == {True, False}
    with pytest.raises(KeyError):
        room.output("off")


def test_a_setting_obeys_and_follows_until_it_is_commanded() -> None:
    lamp = Setting(value=False, follows=Script(False, True, True, True, False), minimum=None, maximum=None, one_of=None)
    assert life(lamp, 2, 1.0) == [False, True]
    assert lamp.command(False) == ""
    assert [lamp.at(2.0), lamp.at(3.0)] == [False, False]
    assert lamp.command(True) == ""
    assert lamp.at(3.5) is True
    assert lamp.at(4.0) is False


@pytest.mark.parametrize(
    ("value", "command", "problem"),
    [
        (False, 1, "true or false is wanted"),
        (50, "x", "a number is wanted"),
        (50, True, "a number is wanted"),
        (50, math.nan, "a number is wanted"),
        (50, 101, "a number from 0 to 100 is wanted"),
        (50, 99.5, ""),
        ("a", 3, "text is wanted, of 256 characters at most"),
        ("a", "x" * 257, "text is wanted, of 256 characters at most"),
        ("a", "\ud800", "text is wanted, of 256 characters at most"),
        (50, 10**400, "a number from 0 to 100 is wanted"),
        ("a", "c", "one of a, b is wanted"),
        ("a", "b", ""),
    ],
)
def test_commands_are_judged(value: Value, command: object, problem: str) -> None:
    setting = Setting(value=value, follows=None, minimum=0, maximum=100, one_of=["a", "b"])
    assert setting.command(command) == problem
    assert setting.at(1.0) == (value if problem else command)


def test_a_spectrum_falls_off() -> None:
    lines = Spectrum(Random(1), lines=6, of=fixed(10), wear=0.0, decimals=2).at(0.0)
    assert isinstance(lines, list)
    assert lines[0] == pytest.approx(10.0, rel=0.3)
    assert lines[5] == pytest.approx(10 / 6, rel=0.3)


def test_most_signals_tell_one_thing() -> None:
    with pytest.raises(KeyError):
        fixed(1).output("x")
