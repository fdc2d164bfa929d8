from __future__ import annotations

from random import Random

import pytest

from broker.config.scenario import TYPES
from broker.simulation.building import BUILDERS, Scope
from broker.simulation.signals import Constant
from tests.simulation.parts import scenario


def test_what_a_file_may_say_can_be_built() -> None:
    assert set(BUILDERS) == set(TYPES)


def test_signals_may_refer_to_ones_further_down_and_to_outputs() -> None:
    (spec,) = (device for device in scenario("vehicles")["devices"] if device["kind"] == "truck")
    scope = Scope(Random(1), 1)
    scope.build(spec["signals"])
    assert list(spec["signals"]).index("before") > list(spec["signals"]).index("odometer")
    before, odometer = scope.find("before"), scope.find("odometer")
    assert odometer.at(0.0) == pytest.approx(before.at(0.0), abs=0.1)
    assert scope.find("route.speed").at(0.0) == 0.0


def test_a_devices_own_goes_before_the_sites() -> None:
    shared = {name: lambda output: Constant(Random(1), value=f"shared {output}") for name in ("a", "b")}
    scope = Scope(Random(1), 1, shared)
    scope.build({"a": {"type": "constant", "value": "own", "between": None, "one_of": None, "decimals": 2}})
    assert scope.find("a").at(0.0) == "own"
    assert scope.find("b").at(0.0) == "shared "
    assert scope.find("b.on").at(0.0) == "shared on"
    assert scope.maybe(None) is None
    with pytest.raises(KeyError):
        scope.find("c")


def test_vehicles_of_a_site_are_in_its_town() -> None:
    (spec,) = (device for device in scenario("vehicles")["devices"] if device["kind"] == "bus")
    latitudes = []
    for number in (1, 2, 3, 4):
        scope = Scope(Random(1), number)
        specs = {name: told for name, told in spec["signals"].items() if told["type"] == "route"}
        scope.build(specs)
        latitudes.append(scope.find("route.latitude").at(0.0))
    assert latitudes == pytest.approx([52.52, 48.137, 53.551, 52.52], abs=0.1)
