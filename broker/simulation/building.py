"""From a scenario's table of signals to Signals: names become the Sources that they stand for.

A reference is the name of a signal of the same table, or of the site's, or `name.output` where a signal tells several
things. A signal may refer to one that stands further down; a circle is for whoever reads the scenario to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from broker.simulation.route import Route
from broker.simulation.signals import (
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
    Source,
    Spectrum,
    States,
    Switch,
    Walk,
    Wave,
)

if TYPE_CHECKING:
    from random import Random

Spec = Mapping[str, Any]


class Scope:
    """Where references are looked up: `signals`, which are of the device, before `shared`, which are of its site.

    `number` is that of the site, by which a vehicle finds its town.
    """

    def __init__(
        self, chance: Random, number: int, shared: Mapping[str, Callable[[str], Source]] | None = None
    ) -> None:
        self.chance = chance
        self.number = number
        self.signals: dict[str, Signal] = {}
        self._shared = shared or {}
        self._specs: Mapping[str, Spec] = {}

    def build(self, specs: Mapping[str, Spec]) -> None:
        """Make all signals of a table."""
        self._specs = specs
        for name in specs:
            self._signal(name)

    def find(self, reference: str) -> Source:
        """What a reference stands for. KeyError where it stands for nothing."""
        name, _, output = reference.partition(".")
        if name in self._specs:
            signal = self._signal(name)
            return signal.output(output) if output else signal
        return self._shared[name](output)

    def maybe(self, reference: str | None) -> Source | None:
        return None if reference is None else self.find(reference)

    def _signal(self, name: str) -> Signal:
        signal = self.signals.get(name)
        if signal is None:
            spec = self._specs[name]
            signal = self.signals[name] = BUILDERS[spec["type"]](self, spec)
        return signal


def _shape(scope: Scope, spec: Spec) -> Shape:
    return Shape(scope.chance, spec["minimum"], spec["maximum"], spec["noise"], spec["decimals"])


def _constant(scope: Scope, spec: Spec) -> Signal:
    return Constant(
        scope.chance,
        value=spec["value"],
        between=spec["between"],
        one_of=spec["one_of"],
        decimals=spec["decimals"],
    )


def _walk(scope: Scope, spec: Spec) -> Signal:
    shape = _shape(scope, spec)
    return Walk(scope.chance, shape, mean=spec["mean"], spread=spec["spread"], memory=spec["memory"])


def _wave(scope: Scope, spec: Spec) -> Signal:
    return Wave(_shape(scope, spec), low=spec["low"], high=spec["high"], period=spec["period"], peak=spec["peak"])


def _schedule(scope: Scope, spec: Spec) -> Signal:
    return Schedule(scope.chance, hours=spec["hours"], jitter=spec["jitter"])


def _states(scope: Scope, spec: Spec) -> Signal:
    return States(scope.chance, states=spec["states"], after=spec["after"])


def _switch(scope: Scope, spec: Spec) -> Signal:
    return Switch(scope.chance, on=spec["on"], off=spec["off"])


def _choice(scope: Scope, spec: Spec) -> Signal:
    return Choice(scope.chance, values=spec["values"], weights=spec["weights"])


def _counter(scope: Scope, spec: Spec) -> Signal:
    return Counter(
        scope.chance,
        step=spec["step"],
        every=spec["every"],
        per=scope.maybe(spec["per"]),
        when=scope.maybe(spec["when"]),
        equals=spec["equals"],
        random=spec["random"],
        start=spec["start"],
        decimals=spec["decimals"],
    )


def _level(scope: Scope, spec: Spec) -> Signal:
    of = scope.maybe(spec["of"])
    return Level(scope.chance, _shape(scope, spec), rate=spec["rate"], of=of, refill=spec["refill"])


def _follow(scope: Scope, spec: Spec) -> Signal:
    of = scope.find(spec["of"])
    return Follow(_shape(scope, spec), of=of, lag=spec["lag"], factor=spec["factor"], values=spec["values"])


def _mix(scope: Scope, spec: Spec) -> Signal:
    of = [(scope.find(reference), factor) for reference, factor in spec["of"].items()]
    return Mix(_shape(scope, spec), of=of, offset=spec["offset"])


def _product(scope: Scope, spec: Spec) -> Signal:
    of = [scope.find(reference) for reference in spec["of"]]
    return Product(_shape(scope, spec), of=of, factor=spec["factor"])


def _compare(scope: Scope, spec: Spec) -> Signal:
    of = scope.find(spec["of"])
    return Compare(of=of, above=spec["above"], below=spec["below"], equals=spec["equals"])


def _regulator(scope: Scope, spec: Spec) -> Signal:
    return Regulator(
        _shape(scope, spec),
        target=scope.find(spec["target"]),
        surroundings=scope.find(spec["surroundings"]),
        heater=spec["heater"],
        heats=spec["heats"],
        loses=spec["loses"],
        hysteresis=spec["hysteresis"],
    )


def _setting(scope: Scope, spec: Spec) -> Signal:
    return Setting(
        value=spec["value"],
        follows=scope.maybe(spec["follows"]),
        minimum=spec["minimum"],
        maximum=spec["maximum"],
        one_of=spec["one_of"],
    )


def _spectrum(scope: Scope, spec: Spec) -> Signal:
    of = scope.maybe(spec["of"])
    return Spectrum(scope.chance, lines=spec["lines"], of=of, wear=spec["wear"], decimals=spec["decimals"])


def _route(scope: Scope, spec: Spec) -> Signal:
    places = spec["places"]
    latitude, longitude = places[(scope.number - 1) % len(places)]
    return Route(
        scope.chance,
        place=(latitude, longitude),
        radius=spec["radius"],
        speed=spec["speed"],
        stops=spec["stops"],
        legs=spec["legs"],
    )


BUILDERS: Mapping[str, Callable[[Scope, Spec], Signal]] = {
    "constant": _constant,
    "walk": _walk,
    "wave": _wave,
    "schedule": _schedule,
    "states": _states,
    "switch": _switch,
    "choice": _choice,
    "counter": _counter,
    "level": _level,
    "follow": _follow,
    "mix": _mix,
    "product": _product,
    "compare": _compare,
    "regulator": _regulator,
    "setting": _setting,
    "spectrum": _spectrum,
    "route": _route,
}
