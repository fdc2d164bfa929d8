"""A vehicle on its way: through the streets of a town, which are a grid, from stop to stop.

It drives a leg along a street, brakes for the corner, turns or goes straight on, speeds up again; after some legs it
stops for a while. Position, speed, heading and distance so always fit each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from broker.simulation.signals import STEPS, Output, Signal, Source

if TYPE_CHECKING:
    from random import Random

METRES_A_DEGREE: Final = 111_320.0  # of latitude
SPEEDS_UP: Final = 1.4  # metres a second squared
BRAKES: Final = 1.8
CORNER: Final = 4.0  # metres a second round a corner
BLOCK: Final = 180.0  # metres between two streets

OUTPUTS: Final = ("latitude", "longitude", "speed", "heading", "distance", "moving")


class Route(Signal):
    """Its value is `distance`, in kilometres since it was built; `speed` is in km/h, `heading` in degrees from north.

    The town lies around `place` (latitude and longitude), `radius` kilometres wide; `speed` (km/h) is what the vehicle
    drives where it can, `stops` the seconds of a stop on average, and it makes one after every `legs` legs or so.
    """

    __slots__ = (
        *(
            "_along",
            "_axis",
            "_chance",
            "_cruise",
            "_east",
            "_leg",
            "_legs",
            "_legs_left",
            "_metres",
            "_north",
            "_pause",
        ),
        *("_place", "_quarter", "_radius", "_scale", "_stops", "_velocity"),
        *OUTPUTS,
    )

    def __init__(
        self,
        chance: Random,
        *,
        place: tuple[float, float],
        radius: float,
        speed: float,
        stops: float,
        legs: float,
    ) -> None:
        super().__init__()
        self._chance = chance
        self._place = place
        self._radius = radius * 1000.0
        self._cruise = speed / 3.6 * chance.uniform(0.9, 1.1)
        self._stops = stops
        self._legs = legs
        self._scale = METRES_A_DEGREE * math.cos(math.radians(place[0]))
        # The streets of a town run the same way for everybody
        self._axis = math.radians(place[0] * 7919.0 % 90.0)
        reach = self._radius / 2.0
        self._east = round(chance.uniform(-reach, reach) / BLOCK) * BLOCK
        self._north = round(chance.uniform(-reach, reach) / BLOCK) * BLOCK
        self._quarter = chance.randrange(4)  # 0 is the grid's north, 1 its east
        self._velocity = 0.0
        self._metres = 0.0
        self._along = 0.0
        self._leg = 0.0
        self._legs_left = 0
        self._pause = 0.0
        self.latitude = self.longitude = self.speed = self.heading = self.distance = 0.0
        self.moving = False
        self._set_out()

    def output(self, name: str) -> Source:
        if name not in OUTPUTS:
            raise KeyError(name)
        return Output(self, name)

    def advance(self, now: float, elapsed: float) -> None:
        if elapsed:
            steps = min(STEPS, math.ceil(elapsed))
            step = elapsed / steps
            for _ in range(steps):
                self._step(step)
        east = self._north * math.sin(self._axis) + self._east * math.cos(self._axis)
        north = self._north * math.cos(self._axis) - self._east * math.sin(self._axis)
        self.latitude = round(self._place[0] + north / METRES_A_DEGREE, 6)
        self.longitude = round(self._place[1] + east / self._scale, 6)
        self.speed = round(self._velocity * 3.6, 1)
        self.heading = round((math.degrees(self._axis) + 90.0 * self._quarter) % 360.0, 1)
        self.moving = self._velocity > 0.3
        self.value = self.distance = round(self._metres / 1000.0, 3)

    def _step(self, seconds: float) -> None:
        if self._pause > 0.0:
            self._pause -= seconds
            self._velocity = 0.0
            return
        left = self._leg - self._along
        corner = CORNER if self._legs_left > 1 else 0.5
        fastest = min(self._cruise, math.sqrt(corner * corner + 2.0 * BRAKES * max(0.0, left)))
        if self._velocity < fastest:
            self._velocity = min(fastest, self._velocity + SPEEDS_UP * seconds)
        else:
            self._velocity = max(fastest, self._velocity - 2.0 * BRAKES * seconds)
        way = min(left, self._velocity * seconds)
        self._along += way
        self._metres += way
        if self._quarter % 2:
            self._east += way if self._quarter == 1 else -way
        else:
            self._north += way if self._quarter == 0 else -way
        if self._along >= self._leg - 0.5:
            self._turn()

    def _turn(self) -> None:
        """At the end of a leg: round the corner, straight on, or a stop."""
        self._legs_left -= 1
        if self._legs_left <= 0:
            if self._stops:
                self._pause = self._chance.expovariate(1.0 / self._stops)
            self._set_out()
            return
        self._choose_street()

    def _set_out(self) -> None:
        self._legs_left = 1 + int(self._chance.expovariate(1.0 / self._legs))
        self._choose_street()

    def _choose_street(self) -> None:
        """Left, right or straight on; home where the town ends."""
        self._quarter = (self._quarter + self._chance.choice((-1, 0, 0, 1))) % 4
        outward = (self._north, self._east, -self._north, -self._east)[self._quarter]
        if outward > self._radius:
            self._quarter = (self._quarter + 2) % 4
        self._leg = BLOCK * self._chance.randint(1, 5)
        self._along = 0.0
