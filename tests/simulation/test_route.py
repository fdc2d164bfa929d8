from __future__ import annotations

import itertools
import math
from random import Random

import pytest

from broker.simulation.route import OUTPUTS, Route
from broker.simulation.signals import number

BERLIN = (52.52, 13.405)


def route(seed: int = 1, **told: float) -> Route:
    return Route(Random(seed), place=BERLIN, **({"radius": 5.0, "speed": 50.0, "stops": 30.0, "legs": 4.0} | told))


def drive(vehicle: Route, seconds: int) -> list[tuple[float, float, float, float, float]]:
    """East and north in metres, speed in m/s, heading, distance in metres; each second."""
    seen = []
    for second in range(seconds):
        vehicle.at(float(second))
        north = (vehicle.latitude - BERLIN[0]) * 111_320.0
        east = (vehicle.longitude - BERLIN[1]) * 111_320.0 * math.cos(math.radians(BERLIN[0]))
        seen.append((east, north, vehicle.speed / 3.6, vehicle.heading, vehicle.distance * 1000.0))
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_position_speed_heading_and_distance_fit_each_other(seed: int) -> None:
    seen = drive(route(seed), 3000)
    for (east, north, _, _, metres), (east2, north2, speed, heading, metres2) in itertools.pairwise(seen):
        moved = math.hypot(east2 - east, north2 - north)
        assert moved <= speed + 0.8
        assert metres2 - metres == pytest.approx(moved, abs=1.5)
        if moved > 4.0 and speed > 8.0:
            course = math.degrees(math.atan2(east2 - east, north2 - north)) % 360.0
            assert abs((course - heading + 180.0) % 360.0 - 180.0) < 4.0


def test_it_speeds_up_brakes_stops_and_sets_out_again() -> None:
    speeds = [speed for _, _, speed, _, _ in drive(route(2), 4000)]
    assert max(speeds) > 11.0
    assert speeds.count(0.0) > 60
    assert all(-4.0 <= after - before <= 1.5 for before, after in itertools.pairwise(speeds) if after > 0.0)
    assert any(before == 0.0 < after for before, after in itertools.pairwise(speeds[2000:]))


def test_it_stays_in_town() -> None:
    for seed in range(3):
        vehicle = route(seed, speed=90.0, stops=0.0, radius=3.0)
        assert all(math.hypot(east, north) < 3000 * 1.5 + 1000 for east, north, *_ in drive(vehicle, 6000))


def test_a_long_silence_is_lived_through_in_few_steps() -> None:
    vehicle = route(5)
    vehicle.at(0.0)
    before = vehicle.distance
    vehicle.at(5 * 3600.0)
    assert 0.0 < vehicle.distance - before < 5 * 60.0


def test_outputs() -> None:
    vehicle = route()
    assert [number(vehicle.output(name).at(10.0)) for name in OUTPUTS] == [
        number(getattr(vehicle, name)) for name in OUTPUTS
    ]
    assert vehicle.at(10.0) == vehicle.distance
    with pytest.raises(KeyError):
        vehicle.output("altitude")
