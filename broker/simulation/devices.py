"""Simulated devices: what they measure, and how it reads on the wire. No network, no clock.

A Device is a small model with a state; `advance` moves it on by some seconds, `sweep` tells what its sensors say then.
Values follow each other as those of real sensors do (they drift, lag and count; they do not jump about), and all chance
comes from the device's own generator: the same seed and the same times give the same bytes.

Times are seconds since 1970. The payload of every reading is a map with `time` in milliseconds, as JSON or as
MessagePack; a device writes one of the two, as real ones do.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections import deque
from random import Random
from typing import ClassVar, Final

import msgpack

DAY: Final = 86_400.0

Quantity = float | int | bool | str | list[float]


class Reading:
    """One message to be: under `<device>/<channel>`, with `values` still unencoded."""

    __slots__ = ("channel", "qos", "values")

    def __init__(self, channel: str, values: dict[str, Quantity], qos: int = 0) -> None:
        self.channel = channel
        self.values = values
        self.qos = qos


class Drift:
    """A value that wanders around its mean (an Ornstein-Uhlenbeck process): `spread` is its standard deviation,
    `seconds` how long it remembers."""

    __slots__ = ("mean", "seconds", "spread", "value")

    def __init__(self, chance: Random, mean: float, spread: float, seconds: float) -> None:
        self.mean = mean
        self.spread = spread
        self.seconds = seconds
        self.value = chance.gauss(mean, spread)

    def advance(self, chance: Random, elapsed: float) -> float:
        kept = math.exp(-elapsed / self.seconds)
        noise = self.spread * math.sqrt(1.0 - kept * kept)
        self.value = self.mean + (self.value - self.mean) * kept + noise * chance.gauss(0.0, 1.0)
        return self.value


class Device(ABC):
    """The base of all devices. `topic` is its root; `<topic>/state` holds its retained birth and last will."""

    kind: ClassVar[str]
    encoding: ClassVar[str]  # "json" or "msgpack"

    def __init__(self, scenario: str, number: int, seed: int) -> None:
        self.name = f"{self.kind}-{number:04d}"
        self.topic = f"{scenario}/{self.name}"
        self.chance = Random(f"{seed}/{self.topic}")
        self._due: deque[tuple[str, bytes, int]] = deque()
        self._time = -1.0
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Set up the model; `self.chance` is ready."""

    @abstractmethod
    def advance(self, now: float, elapsed: float) -> None:
        """Move the model on to `now`, `elapsed` seconds after the last time."""

    @abstractmethod
    def sweep(self) -> list[Reading]:
        """What all sensors say at this moment; at least one Reading."""

    def next_message(self, now: float) -> tuple[str, bytes, int]:
        """Topic, payload and QoS of the next message: the readings of a sweep one by one, then a new sweep at `now`."""
        if not self._due:
            # A device that was not asked for long has not lived through all of it: no jumps.
            elapsed = 0.0 if self._time < 0 else min(60.0, max(0.0, now - self._time))
            self._time = now
            self.advance(now, elapsed)
            for reading in self.sweep():
                values: dict[str, Quantity] = {"time": int(now * 1000), **reading.values}
                self._due.append((f"{self.topic}/{reading.channel}", self._encoded(values), reading.qos))
        return self._due.popleft()

    @property
    def content_type(self) -> str:
        return f"application/{self.encoding}"

    def _encoded(self, values: dict[str, Quantity]) -> bytes:
        if self.encoding == "msgpack":
            packed: bytes = msgpack.packb(values)
            return packed
        return json.dumps(values, separators=(",", ":")).encode()


def daylight(now: float) -> float:
    """-1 in the coldest hour of the night (03:00 UTC), 1 in the warmest of the day (15:00)."""
    return -math.cos((now % DAY - 3 * 3600.0) / DAY * 2 * math.pi)


# -- home


class Thermostat(Device):
    """A heated room: it cools towards the outside, and a radiator with hysteresis of half a degree heats it."""

    kind = "thermostat"
    encoding = "json"

    def build(self) -> None:
        self.target = self.chance.choice([19.0, 20.0, 21.0, 22.0])
        self.temperature = self.target + self.chance.uniform(-1.5, 1.0)
        self.humidity = Drift(self.chance, 45.0, 6.0, 900.0)
        self.heating = self.temperature < self.target

    def advance(self, now: float, elapsed: float) -> None:
        outside = 6.0 + 5.0 * daylight(now)
        towards, seconds = (38.0, 1800.0) if self.heating else (outside, 7200.0)
        self.temperature += (towards - self.temperature) * (1.0 - math.exp(-elapsed / seconds))
        if self.temperature < self.target - 0.25:
            self.heating = True
        elif self.temperature > self.target + 0.25:
            self.heating = False
        self.humidity.advance(self.chance, elapsed)

    def sweep(self) -> list[Reading]:
        temperature = round(self.temperature + self.chance.gauss(0.0, 0.03), 2)
        humidity = round(min(95.0, max(10.0, self.humidity.value)), 1)
        return [
            Reading("climate", {"temperature": temperature, "humidity": humidity}),
            Reading("heating", {"on": self.heating, "target": self.target}, qos=1),
        ]


class Meter(Device):
    """The electricity meter of a household: a base load, appliances that go on and off, a counter that only rises."""

    kind = "meter"
    encoding = "msgpack"
    appliances: ClassVar[dict[str, float]] = {"fridge": 90.0, "oven": 2100.0, "kettle": 1900.0, "washer": 480.0}

    def build(self) -> None:
        self.base = Drift(self.chance, self.chance.uniform(90.0, 220.0), 15.0, 120.0)
        self.mains = Drift(self.chance, 230.0, 1.5, 60.0)
        self.running = {name: self.chance.random() < 0.2 for name in self.appliances}
        self.energy = self.chance.uniform(800.0, 9000.0)
        self.watts = self.base.value

    def advance(self, now: float, elapsed: float) -> None:
        for name, on in self.running.items():
            # On for three minutes and off for ten, on average.
            if self.chance.random() < 1.0 - math.exp(-elapsed / (180.0 if on else 600.0)):
                self.running[name] = not on
        self.mains.advance(self.chance, elapsed)
        load = sum(self.appliances[name] for name, on in self.running.items() if on)
        self.watts = max(10.0, self.base.advance(self.chance, elapsed)) + load
        self.energy += self.watts * elapsed / 3_600_000.0

    def sweep(self) -> list[Reading]:
        watts, volts = round(self.watts, 1), round(self.mains.value, 1)
        return [
            Reading("power", {"watts": watts, "volts": volts, "amperes": round(watts / volts, 3)}),
            Reading("energy", {"kilowatt_hours": round(self.energy, 4)}, qos=1),
        ]


class Door(Device):
    """A contact on a battery: mostly shut, opened now and then for half a minute."""

    kind = "door"
    encoding = "json"

    def build(self) -> None:
        self.open = False
        self.battery = self.chance.uniform(2.7, 3.1)

    def advance(self, now: float, elapsed: float) -> None:
        if self.chance.random() < 1.0 - math.exp(-elapsed / (30.0 if self.open else 240.0)):
            self.open = not self.open
        self.battery = max(2.0, self.battery - elapsed * 2e-8)

    def sweep(self) -> list[Reading]:
        return [Reading("contact", {"open": self.open, "battery": round(self.battery, 3)}, qos=1)]


# -- factory


class Press(Device):
    """A press that makes a part every few seconds; its oil warms with work, and some parts are rejects."""

    kind = "press"
    encoding = "json"

    def build(self) -> None:
        self.cycle = self.chance.uniform(2.0, 6.0)
        self.progress = 0.0
        self.parts = self.chance.randrange(100_000)
        self.rejects = self.parts // 200
        self.oil = 35.0 + self.chance.uniform(0.0, 10.0)
        self.pressure = Drift(self.chance, 180.0, 4.0, 8.0)

    def advance(self, now: float, elapsed: float) -> None:
        self.progress += elapsed / self.cycle
        made, self.progress = int(self.progress), self.progress % 1.0
        self.parts += made
        self.rejects += sum(self.chance.random() < 0.004 for _ in range(made))
        self.oil += (58.0 - self.oil) * (1.0 - math.exp(-elapsed / 1200.0))
        self.pressure.advance(self.chance, elapsed)

    def sweep(self) -> list[Reading]:
        return [
            Reading("hydraulics", {"bar": round(self.pressure.value, 1), "oil": round(self.oil, 1)}),
            Reading("count", {"parts": self.parts, "rejects": self.rejects}, qos=1),
        ]


class Motor(Device):
    """A motor under a changing load: its speed sags with it, its windings warm up, its bearing slowly gets worse."""

    kind = "motor"
    encoding = "msgpack"

    def build(self) -> None:
        self.load = Drift(self.chance, 0.6, 0.15, 30.0)
        self.winding = 40.0 + self.chance.uniform(0.0, 15.0)
        self.wear = self.chance.uniform(0.0, 0.5)

    def advance(self, now: float, elapsed: float) -> None:
        load = min(1.2, max(0.0, self.load.advance(self.chance, elapsed)))
        self.winding += (25.0 + 70.0 * load * load - self.winding) * (1.0 - math.exp(-elapsed / 600.0))
        self.wear += elapsed * 1e-6

    def sweep(self) -> list[Reading]:
        load = min(1.2, max(0.0, self.load.value))
        # Harmonics of the shaft fall off; wear shows at the third.
        spectrum = [
            round((1.0 / n + (self.wear if n == 3 else 0.0)) * (1.0 + 0.05 * self.chance.gauss(0.0, 1.0)), 4)
            for n in range(1, 9)
        ]
        rms = round(math.sqrt(sum(line * line for line in spectrum)), 4)
        return [
            Reading("shaft", {"rpm": round(1500.0 - 45.0 * load, 1), "load": round(load, 3)}),
            Reading("vibration", {"rms": rms, "spectrum": spectrum}),
            Reading("winding", {"temperature": round(self.winding, 1)}),
        ]


# -- tracker


class Vehicle(Device):
    """Something that moves over the ground: speed and heading wander, position is their integral."""

    speed: ClassVar[float]  # metres a second, on average
    turning: ClassVar[float]  # radians that the heading wanders

    def build(self) -> None:
        self.latitude = 52.52 + self.chance.uniform(-0.15, 0.15)
        self.longitude = 13.40 + self.chance.uniform(-0.25, 0.25)
        self.velocity = Drift(self.chance, self.speed, self.speed / 4, 20.0)
        self.course = Drift(self.chance, self.chance.uniform(0.0, 2 * math.pi), self.turning, 45.0)
        self.tank = self.chance.uniform(0.4, 1.0)

    def advance(self, now: float, elapsed: float) -> None:
        metres = max(0.0, self.velocity.advance(self.chance, elapsed)) * elapsed
        heading = self.course.advance(self.chance, elapsed)
        self.latitude += metres * math.cos(heading) / 111_320.0
        self.longitude += metres * math.sin(heading) / (111_320.0 * math.cos(math.radians(self.latitude)))
        self.tank = self.tank - metres / 400_000.0 if self.tank > 0.05 else 1.0

    def position(self) -> Reading:
        return Reading(
            "position",
            {
                "latitude": round(self.latitude, 6),
                "longitude": round(self.longitude, 6),
                "speed": round(max(0.0, self.velocity.value), 2),
                "heading": round(math.degrees(self.course.value) % 360.0, 1),
            },
        )


class Truck(Vehicle):
    kind = "truck"
    encoding = "msgpack"
    speed = 16.0
    turning = 0.6

    def sweep(self) -> list[Reading]:
        return [self.position(), Reading("fuel", {"level": round(self.tank, 4)}, qos=1)]


class Bike(Vehicle):
    kind = "bike"
    encoding = "json"
    speed = 5.0
    turning = 1.2

    def sweep(self) -> list[Reading]:
        return [self.position(), Reading("battery", {"charge": round(self.tank, 4)})]


# -- weather


class Station(Device):
    """A weather station: the day's curve and slow drifts; wind comes in gusts, rain fills a gauge that only rises."""

    kind = "station"
    encoding = "json"

    def build(self) -> None:
        self.air = Drift(self.chance, 11.0, 2.0, 3600.0)
        self.pressure = Drift(self.chance, 1013.0, 6.0, 7200.0)
        self.wind = Drift(self.chance, 5.0, 1.5, 60.0)
        self.gust = 0.0
        self.rain = self.chance.uniform(0.0, 20.0)
        self.temperature = self.air.value

    def advance(self, now: float, elapsed: float) -> None:
        self.temperature = self.air.advance(self.chance, elapsed) + 5.0 * daylight(now)
        self.pressure.advance(self.chance, elapsed)
        wind = max(0.0, self.wind.advance(self.chance, elapsed))
        self.gust = wind * (1.0 + 0.4 * abs(self.chance.gauss(0.0, 1.0)))
        if self.pressure.value < 1009.0:
            self.rain += elapsed * 2.0 / 3600.0

    def sweep(self) -> list[Reading]:
        humidity = min(100.0, max(20.0, 75.0 - 2.0 * (self.temperature - 11.0)))
        wind = max(0.0, self.wind.value)
        return [
            Reading("air", {"temperature": round(self.temperature, 1), "humidity": round(humidity, 1)}),
            Reading("wind", {"speed": round(wind, 1), "gust": round(self.gust, 1)}),
            Reading("pressure", {"hectopascal": round(self.pressure.value, 1)}),
            Reading("rain", {"millimetres": round(self.rain, 2)}, qos=1),
        ]


class Buoy(Device):
    """A buoy at sea: waves follow the wind of the last hours, the water hardly changes."""

    kind = "buoy"
    encoding = "msgpack"

    def build(self) -> None:
        self.wave = Drift(self.chance, 1.4, 0.4, 1200.0)
        self.water = Drift(self.chance, 9.0, 0.6, 14_400.0)

    def advance(self, now: float, elapsed: float) -> None:
        self.wave.advance(self.chance, elapsed)
        self.water.advance(self.chance, elapsed)

    def sweep(self) -> list[Reading]:
        height = max(0.05, self.wave.value)
        return [
            Reading("waves", {"height": round(height, 2), "period": round(3.6 * math.sqrt(height), 1)}),
            Reading("water", {"temperature": round(self.water.value, 2)}),
        ]


SCENARIOS: Final[dict[str, tuple[type[Device], ...]]] = {
    "home": (Thermostat, Meter, Door),
    "factory": (Press, Motor),
    "tracker": (Truck, Bike),
    "weather": (Station, Buoy),
}
MIXED: Final = "mixed"  # all scenarios at once


def build_fleet(scenario: str, count: int, seed: int) -> list[Device]:
    """`count` devices of a scenario (or `mixed`), their kinds in turn. KeyError for an unknown scenario."""
    if scenario == MIXED:
        widest = max(len(kinds) for kinds in SCENARIOS.values())
        turn = [
            (name, kinds[place]) for place in range(widest) for name, kinds in SCENARIOS.items() if place < len(kinds)
        ]
    else:
        turn = [(scenario, kind) for kind in SCENARIOS[scenario]]
    fleet: list[Device] = []
    for index in range(count):
        name, kind = turn[index % len(turn)]
        fleet.append(kind(name, index // len(turn) + 1, seed))
    return fleet
