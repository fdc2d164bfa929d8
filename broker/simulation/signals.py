"""What a device measures: values that go on in time. No network, no clock.

A Signal is asked with `at(now)` and answers with its value at that moment; `now` is in seconds since 1970 and never
falls. It moves on when it is asked and at no other time, and asks those that it depends on for the same moment. All
chance comes from the generator that it was given: the same seed and the same moments give the same values.

Signals follow each other as those of real things do: they drift, lag and count; they do not jump about.
`broker.simulation.devices` builds them from a scenario; the keyword arguments here are the keys there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

DAY: Final = 86_400.0
HOUR: Final = 3600.0
STEPS: Final = 600  # in which a long time is lived through at most
LARGEST: Final = 1e15  # number that is said or obeyed
LONGEST: Final = 256  # characters of a text that is obeyed

Value = float | int | bool | str | list[float]


class Source(Protocol):
    """What can be asked for a value: a Signal, or one of a Signal's outputs."""

    def at(self, now: float) -> Value: ...


class Shape:
    """How a number is said: bounds, noise (a standard deviation) and decimals."""

    __slots__ = ("chance", "decimals", "maximum", "minimum", "noise")

    def __init__(
        self, chance: Random, minimum: float | None, maximum: float | None, noise: float, decimals: int
    ) -> None:
        self.chance = chance
        self.minimum = -LARGEST if minimum is None else minimum
        self.maximum = LARGEST if maximum is None else maximum
        self.noise = noise
        self.decimals = decimals

    def __call__(self, number: float) -> float | int:
        if self.noise:
            number += self.chance.gauss(0.0, self.noise)
        if number > self.maximum:
            number = self.maximum
        elif not number >= self.minimum:  # or not a number: what was multiplied was too large
            number = self.minimum
        return round(number, self.decimals) if self.decimals else round(number)


class Signal(ABC):
    """The base of all. `value` is that of the moment `time`."""

    __slots__ = ("time", "value")

    value: Value

    def __init__(self, value: Value = 0.0) -> None:
        self.value = value
        self.time = -1.0

    def at(self, now: float) -> Value:
        """The value at `now`."""
        if now > self.time:
            elapsed = now - self.time if self.time >= 0.0 else 0.0
            self.time = now
            self.advance(now, elapsed)
        return self.value

    @abstractmethod
    def advance(self, now: float, elapsed: float) -> None:
        """Set `value` to that at `now`, `elapsed` seconds after the last time (0 at the first)."""

    def output(self, name: str) -> Source:
        """One of several things that it tells. KeyError where there is no such thing."""
        raise KeyError(name)


class Output:
    """An attribute of a Signal that tells several things."""

    __slots__ = ("_name", "_signal")

    def __init__(self, signal: Signal, name: str) -> None:
        self._signal = signal
        self._name = name

    def at(self, now: float) -> Value:
        self._signal.at(now)
        value: Value = getattr(self._signal, self._name)
        return value


def number(value: Value) -> float:
    """A value as something to reckon with: true is 1; text and lists are 0."""
    return float(value) if isinstance(value, (int, float)) else 0.0


class Constant(Signal):
    """Drawn once, and then always the same."""

    __slots__ = ()

    def __init__(
        self,
        chance: Random,
        *,
        value: Value | None = None,
        between: Sequence[float] | None = None,
        one_of: Sequence[Value] | None = None,
        decimals: int = 2,
    ) -> None:
        super().__init__()
        if between is not None:
            self.value = round(chance.uniform(between[0], between[1]), decimals)
        elif one_of is not None:
            self.value = chance.choice(one_of)
        elif value is not None:
            self.value = value

    def advance(self, now: float, elapsed: float) -> None:
        pass


class Walk(Signal):
    """A random walk that is drawn back to `mean` (an Ornstein-Uhlenbeck process): `spread` is its standard deviation,
    `memory` the seconds that it remembers."""

    __slots__ = ("_chance", "_elapsed", "_kept", "_level", "_mean", "_memory", "_noise", "_shape", "_spread")

    def __init__(self, chance: Random, shape: Shape, *, mean: float, spread: float, memory: float) -> None:
        super().__init__()
        self._chance = chance
        self._shape = shape
        self._mean = mean
        self._spread = spread
        self._memory = memory
        self._level = chance.gauss(mean, spread)
        self._elapsed = 0.0
        self._kept = 1.0
        self._noise = 0.0

    def advance(self, now: float, elapsed: float) -> None:
        if elapsed != self._elapsed:  # mostly it is asked at the same pace
            self._elapsed = elapsed
            self._kept = math.exp(-elapsed / self._memory)
            self._noise = self._spread * math.sqrt(1.0 - self._kept * self._kept)
        level = self._mean + (self._level - self._mean) * self._kept
        if self._noise:
            level += self._noise * self._chance.gauss(0.0, 1.0)
        self._level = level
        self.value = self._shape(level)


class Wave(Signal):
    """Between `low` and `high` and back in `period` seconds; highest `peak` seconds into it. The day's curve is one."""

    __slots__ = ("_amplitude", "_middle", "_peak", "_shape", "_turn")

    def __init__(self, shape: Shape, *, low: float, high: float, period: float, peak: float) -> None:
        super().__init__()
        self._shape = shape
        self._middle = (low + high) / 2.0
        self._amplitude = (high - low) / 2.0
        self._turn = 2.0 * math.pi / period
        self._peak = peak

    def advance(self, now: float, elapsed: float) -> None:
        self.value = self._shape(self._middle + self._amplitude * math.cos((now - self._peak) * self._turn))


class Schedule(Signal):
    """A value for each time of the day (UTC), from its own hour on; `jitter` seconds earlier or later, each day
    another."""

    __slots__ = ("_chance", "_day", "_hours", "_jitter", "_today", "_values")

    def __init__(self, chance: Random, *, hours: Mapping[float, Value], jitter: float) -> None:
        super().__init__()
        self._chance = chance
        self._hours = sorted(hours)
        self._values = [hours[hour] for hour in self._hours]
        self._jitter = jitter
        self._day = -1
        self._today: list[float] = []

    def advance(self, now: float, elapsed: float) -> None:
        day = int(now // DAY)
        if day != self._day:
            self._day = day
            jitter = self._jitter
            self._today = [hour + self._chance.uniform(-jitter, jitter) for hour in self._hours]
        second = now - day * DAY
        value = self._values[-1]  # since yesterday
        for hour, other in zip(self._today, self._values, strict=True):
            if second >= hour:
                value = other
        self.value = value


class States(Signal):
    """One of several states; each lasts its own time on average, then another follows. `after` says which may follow
    a state, and how likely; every other one otherwise."""

    __slots__ = ("_after", "_chance", "_left", "_seconds", "_state")

    def __init__(
        self,
        chance: Random,
        *,
        states: Mapping[str, float],
        after: Mapping[str, Mapping[str, float]],
    ) -> None:
        names = list(states)
        self._chance = chance
        self._seconds = states
        self._after = {
            name: after.get(name) or {other: 1.0 for other in names if other != name or len(names) == 1}
            for name in names
        }
        self._state: str = chance.choices(names, list(states.values()))[0]
        super().__init__(self._state)
        self._left = chance.expovariate(1.0 / states[self._state])

    def advance(self, now: float, elapsed: float) -> None:
        self._left -= elapsed
        for _ in range(STEPS):
            if self._left > 0.0:
                break
            following = self._after[self._state]
            self._state = self._chance.choices(list(following), list(following.values()))[0]
            self._left += self._chance.expovariate(1.0 / self._seconds[self._state])
        self.value = self._state


class Switch(Signal):
    """True for `on` seconds and false for `off` seconds, on average."""

    __slots__ = ("_chance", "_off", "_on", "_state")

    def __init__(self, chance: Random, *, on: float, off: float) -> None:
        self._chance = chance
        self._on = on
        self._off = off
        self._state = chance.random() < on / (on + off)
        super().__init__(self._state)

    def advance(self, now: float, elapsed: float) -> None:
        if elapsed and self._chance.random() < 1.0 - math.exp(-elapsed / (self._on if self._state else self._off)):
            self._state = not self._state
        self.value = self._state


class Choice(Signal):
    """One of `values` at every reading, by their `weights`."""

    __slots__ = ("_chance", "_values", "_weights")

    def __init__(self, chance: Random, *, values: Sequence[Value], weights: Sequence[float] | None) -> None:
        super().__init__(values[0])
        self._chance = chance
        self._values = values
        self._weights = weights

    def advance(self, now: float, elapsed: float) -> None:
        self.value = self._chance.choices(self._values, self._weights)[0]


class Counter(Signal):
    """Rises by `step` every `every` seconds, or by `step` for each second of each unit of `per`; while `when` is true,
    or is what `equals` says. What it counts comes at random where `random` is set. It begins between the two of
    `start`."""

    __slots__ = (
        *("_chance", "_count", "_decimals", "_equals", "_every", "_per", "_progress", "_random", "_step", "_wait"),
        "_when",
    )

    def __init__(
        self,
        chance: Random,
        *,
        step: float,
        every: float,
        per: Source | None,
        when: Source | None,
        equals: Value | None,
        random: bool,
        start: Sequence[float],
        decimals: int,
    ) -> None:
        super().__init__()
        self._chance = chance
        self._step = step
        self._every = every
        self._per = per
        self._when = when
        self._equals = True if equals is None else equals
        self._random = random
        self._decimals = decimals
        self._count = chance.uniform(start[0], start[1])
        if not decimals:
            self._count = float(int(self._count))
        self._progress = 0.0
        self._wait = chance.expovariate(1.0) if random else 0.0

    def advance(self, now: float, elapsed: float) -> None:
        if self._when is None or self._when.at(now) == self._equals:
            if self._per is not None:
                self._count += self._step * max(0.0, number(self._per.at(now))) * elapsed
            elif self._random:
                self._progress += elapsed / self._every
                if self._progress > STEPS:  # too many to draw them one by one
                    self._count += self._step * int(self._progress)
                    self._progress = 0.0
                while self._progress >= self._wait:
                    self._progress -= self._wait
                    self._wait = self._chance.expovariate(1.0)
                    self._count += self._step
            else:
                self._progress += elapsed / self._every
                whole = math.floor(self._progress)
                self._progress -= whole
                self._count += self._step * whole
        self.value = round(self._count, self._decimals) if self._decimals else int(self._count + 1e-9)


class Level(Signal):
    """A tank or a battery, from 100 down to `refill` and up again at once: it falls by `rate` an hour, or by `rate` for
    each unit that `of` rises."""

    __slots__ = ("_before", "_level", "_of", "_rate", "_refill", "_shape")

    def __init__(self, chance: Random, shape: Shape, *, rate: float, of: Source | None, refill: float) -> None:
        super().__init__()
        self._shape = shape
        self._rate = rate
        self._of = of
        self._refill = refill
        self._level = chance.uniform(refill + (100.0 - refill) / 4.0, 100.0)
        self._before: float | None = None

    def advance(self, now: float, elapsed: float) -> None:
        if self._of is None:
            used = elapsed / HOUR
        else:
            here = number(self._of.at(now))
            used = 0.0 if self._before is None else here - self._before
            self._before = here
        self._level -= self._rate * max(0.0, used)
        if self._level < self._refill:
            self._level = 100.0
        self.value = self._shape(self._level)


class Follow(Signal):
    """Goes where `of` leads, as slowly as `lag` seconds say: to `factor` times its number, or to what `values` has for
    its state."""

    __slots__ = ("_factor", "_lag", "_level", "_of", "_shape", "_values")

    def __init__(
        self, shape: Shape, *, of: Source, lag: float, factor: float, values: Mapping[str, float] | None
    ) -> None:
        super().__init__()
        self._shape = shape
        self._of = of
        self._lag = lag
        self._factor = factor
        self._values = values
        self._level = math.nan

    def advance(self, now: float, elapsed: float) -> None:
        led = self._of.at(now)
        if self._values is None:
            aim = self._factor * number(led)
        else:
            aim = self._values.get(str(led).lower() if isinstance(led, bool) else str(led), 0.0)
        if self._level != self._level:  # not a number: the first time
            self._level = aim
        elif self._lag:
            self._level += (aim - self._level) * (1.0 - math.exp(-elapsed / self._lag))
        else:
            self._level = aim
        self.value = self._shape(self._level)


class Mix(Signal):
    """The sum of others, each times its factor, and of `offset`."""

    __slots__ = ("_offset", "_shape", "_terms")

    def __init__(self, shape: Shape, *, of: Sequence[tuple[Source, float]], offset: float) -> None:
        super().__init__()
        self._shape = shape
        self._terms = of
        self._offset = offset

    def advance(self, now: float, elapsed: float) -> None:
        total = self._offset
        for source, factor in self._terms:
            total += factor * number(source.at(now))
        self.value = self._shape(total)


class Product(Signal):
    """Others multiplied, and `factor`; what is false is 0, so that a lamp that is off draws nothing."""

    __slots__ = ("_factor", "_of", "_shape")

    def __init__(self, shape: Shape, *, of: Sequence[Source], factor: float) -> None:
        super().__init__()
        self._shape = shape
        self._of = of
        self._factor = factor

    def advance(self, now: float, elapsed: float) -> None:
        total = self._factor
        for source in self._of:
            total *= number(source.at(now))
        self.value = self._shape(total)


class Compare(Signal):
    """Whether `of` is above, below or equal to something; all that are given must hold."""

    __slots__ = ("_above", "_below", "_equals", "_of")

    def __init__(self, *, of: Source, above: float | None, below: float | None, equals: Value | None) -> None:
        super().__init__(False)
        self._of = of
        self._above = above
        self._below = below
        self._equals = equals

    def advance(self, now: float, elapsed: float) -> None:
        value = self._of.at(now)
        self.value = (
            (self._above is None or number(value) > self._above)
            and (self._below is None or number(value) < self._below)
            and (self._equals is None or value == self._equals)
        )


class Regulator(Signal):
    """A heated room, an oven, a fridge: it goes towards `surroundings` in `loses` seconds and towards `heater` in
    `heats` seconds, while the heater is `on`, which a thermostat sees to with `hysteresis` around `target`."""

    __slots__ = ("_heater", "_heats", "_hysteresis", "_level", "_loses", "_shape", "_surroundings", "_target", "on")

    def __init__(
        self,
        shape: Shape,
        *,
        target: Source,
        surroundings: Source,
        heater: float,
        heats: float,
        loses: float,
        hysteresis: float,
    ) -> None:
        super().__init__()
        self._shape = shape
        self._target = target
        self._surroundings = surroundings
        self._heater = heater
        self._heats = heats
        self._loses = loses
        self._hysteresis = hysteresis
        self._level = math.nan
        self.on = False

    def output(self, name: str) -> Source:
        if name != "on":
            raise KeyError(name)
        return Output(self, name)

    def advance(self, now: float, elapsed: float) -> None:
        target, around = number(self._target.at(now)), number(self._surroundings.at(now))
        cools = self._heater < around
        if self._level != self._level:
            self._level = target
        steps = min(STEPS, 1 + int(elapsed * 20.0 / min(self._heats, self._loses)))
        for _ in range(steps):
            aim, seconds = (self._heater, self._heats) if self.on else (around, self._loses)
            self._level += (aim - self._level) * (1.0 - math.exp(-elapsed / steps / seconds))
            over = self._level - target
            if cools:
                over = -over
            if over < -self._hysteresis:
                self.on = True
            elif over > self._hysteresis:
                self.on = False
        self.value = self._shape(self._level)


class Setting(Signal):
    """What a command can set: `value` to begin with, then what `follows` says whenever that changes, then what was
    commanded last. Numbers keep to `minimum` and `maximum`, text to `one_of`."""

    __slots__ = ("_follows", "_led", "_maximum", "_minimum", "_one_of")

    def __init__(
        self,
        *,
        value: Value,
        follows: Source | None,
        minimum: float | None,
        maximum: float | None,
        one_of: Sequence[str] | None,
    ) -> None:
        super().__init__(value)
        self._follows = follows
        self._led: Value | None = None
        self._minimum = -LARGEST if minimum is None else minimum
        self._maximum = LARGEST if maximum is None else maximum
        self._one_of = one_of

    def advance(self, now: float, elapsed: float) -> None:
        if self._follows is not None:
            led = self._follows.at(now)
            if led != self._led:
                self._led = led
                self.value = led

    def command(self, value: object) -> str:
        """Set it; what is wrong with `value`, or nothing."""
        before = self.value
        if isinstance(before, bool):
            if not isinstance(value, bool):
                return "true or false is wanted"
            self.value = value
        elif isinstance(before, (int, float)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
                return "a number is wanted"
            if not self._minimum <= value <= self._maximum:
                return f"a number from {self._minimum:g} to {self._maximum:g} is wanted"
            self.value = value
        else:
            if not isinstance(value, str) or len(value) > LONGEST or not _is_utf8(value):
                return f"text is wanted, of {LONGEST} characters at most"
            if self._one_of is not None and value not in self._one_of:
                return f"one of {', '.join(self._one_of)} is wanted"
            self.value = value
        return ""


def _is_utf8(text: str) -> bool:
    """Whether it can be sent: JSON can express halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Spectrum(Signal):
    """The harmonics of something that turns, `lines` of them, times the number of `of`; they fall off, but for the
    third, where `wear` shows."""

    __slots__ = ("_chance", "_decimals", "_lines", "_of", "_wear")

    def __init__(self, chance: Random, *, lines: int, of: Source | None, wear: float, decimals: int) -> None:
        super().__init__([])
        self._chance = chance
        self._lines = lines
        self._of = of
        self._wear = chance.uniform(0.0, wear)
        self._decimals = decimals

    def advance(self, now: float, elapsed: float) -> None:
        scale = 1.0 if self._of is None else number(self._of.at(now))
        gauss = self._chance.gauss
        self.value = [
            round(scale * (1.0 / line + (self._wear if line == 3 else 0.0)) * (1.0 + gauss(0.0, 0.05)), self._decimals)
            for line in range(1, self._lines + 1)
        ]
