"""Simulated devices: what each measures, says and obeys, and how it reads on the wire. No network, no clock.

`build_fleet` makes devices of a scenario, which is plain data as `broker.config.scenario` reads it from a TOML file. A
Device has Signals, which live on in time, and Channels, which say some of them under `<device>/<channel>` as JSON, as
MessagePack or as bare text. Devices of one site (a house, a hall, a region) share the site's Signals: the same cold
night, the same front of rain.

All chance comes from generators seeded by the seed and the device's topic: the same seed and the same moments give the
same devices and the same bytes. Moments are seconds since 1970.
"""

from __future__ import annotations

import json
import math
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgpack

from broker.simulation.building import Scope
from broker.simulation.signals import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.simulation.signals import Signal, Source, Value

Scenario = dict[str, Any]  # as `broker.config.scenario` validated it

ENCODINGS: Final = ("json", "msgpack", "text")
CONTENT_TYPES: Final = {"json": "application/json", "msgpack": "application/msgpack", "text": "text/plain"}
GRID: Final = 1.0  # seconds between two looks at what a site shares, so that it does not matter who looks
BEHIND: Final = 60  # looks of a site in one go; what is longer ago is leapt over
SWITCHING: Final = {"on": True, "off": False}
MIXED: Final = ("json", "msgpack")  # in turn, where both are wanted

_to_json: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Wishes:
    """What the user wants otherwise than the scenario says; None is as the scenario says."""

    def __init__(
        self,
        *,
        encoding: str | None = None,
        qos: int | None = None,
        retain: bool | None = None,
        rate: float | None = None,
        flaky: float | None = None,
        prefix: str = "",
    ) -> None:
        """`encoding` may be "mixed": every other device writes JSON, the others MessagePack. `rate` is the messages a
        second of all devices together, `flaky` the share of devices that lose their connection now and then."""
        self.encoding = encoding
        self.qos = qos
        self.retain = retain
        self.rate = rate
        self.flaky = flaky
        self.prefix = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


class Site:
    """What devices in one place share. It looks at all of its Signals at each whole second."""

    def __init__(self, scenario: str, spec: Mapping[str, Any], number: int, seed: int) -> None:
        self.name = f"{spec['name']}-{number:03d}"
        self.number = number
        self.chance = Random(f"{seed}/{scenario}/{self.name}")
        scope = Scope(self.chance, number)
        scope.build(spec["signals"])
        self.signals = scope.signals
        self._looked = -1.0

    def advance(self, now: float) -> None:
        moment = math.floor(now / GRID) * GRID
        if moment <= self._looked:
            return
        first = moment if self._looked < 0.0 else max(self._looked + GRID, moment - BEHIND * GRID)
        self._looked = moment
        while first <= moment:
            for signal in self.signals.values():
                signal.at(first)
            first += GRID

    def sources(self) -> dict[str, Callable[[str], Source]]:
        """Its Signals by their names, as devices see them; the argument is one of a Signal's outputs, or empty."""
        return {name: partial(self._shared, signal) for name, signal in self.signals.items()}

    def _shared(self, signal: Signal, output: str) -> Source:
        return Shared(self, signal.output(output) if output else signal)


class Shared:
    """A Signal of the site, as one of its devices sees it."""

    __slots__ = ("_site", "_source")

    def __init__(self, site: Site, source: Source) -> None:
        self._site = site
        self._source = source

    def at(self, now: float) -> Value:
        self._site.advance(now)
        return self._source.at(0.0)  # as it was at the last look


class Channel:
    """One topic of a device: which values it says, and how often.

    `every` is in seconds. With `on_change` it is looked at so often, and says something only where that is new.
    """

    __slots__ = ("_last", "_write", "every", "fields", "name", "on_change", "qos", "retain", "row", "settable", "topic")

    def __init__(self, name: str, topic: str, row: str, encoding: str) -> None:
        self.name = name
        self.topic = topic
        self.row = row  # what all channels of its kind are counted under
        self.every = 1.0
        self.qos = 0
        self.retain = False
        self.on_change = False
        self.fields: list[tuple[str, Source]] = []
        self.settable = False  # a command can change what it says
        self._write = WRITERS[encoding]
        self._last: list[Value] | None = None

    def payload(self, now: float) -> bytes | None:
        """What it says at `now`; None where it has nothing new to say."""
        if self.on_change:
            said = [source.at(now) for _, source in self.fields]
            if said == self._last:
                return None
            self._last = said
        values: dict[str, Value] = {"time": int(now * 1000.0)}
        for name, source in self.fields:
            values[name] = source.at(now)
        return self._write(values)

    def forget(self) -> None:
        """What it says next is new, whatever it is: a device that comes back says how things are."""
        self._last = None


class Device:
    """A device: its `channels`, its retained state with a Will Message, and what it obeys.

    `name` is its Client Identifier. Topics are empty where there are none.
    """

    def __init__(
        self,
        scenario: Scenario,
        spec: Mapping[str, Any],
        number: int,
        site: Site | None,
        seed: int,
        encoding: str,
        wishes: Wishes,
    ) -> None:
        self.kind: str = spec["kind"]
        self.scenario: str = scenario["name"]
        self.encoding = encoding
        placed = {
            "scenario": self.scenario,
            "site": "" if site is None else site.name,
            "kind": self.kind,
            "number": f"{number:04d}",
        }
        own: str = spec["topic"].format_map(placed)
        self.prefix = wishes.prefix
        self.topic = wishes.prefix + own
        self.root = wishes.prefix + own.partition("/")[0]  # all that it says is below
        self.name = f"{wishes.prefix.replace('/', '-')}{self.kind}-{number:04d}"
        self.row = f"{wishes.prefix}{self.scenario}/{self.kind}"

        self.chance = Random(f"{seed}/{own}")
        self.connection_chance = Random(f"{seed}/{own}/connection")
        self.luck = self.connection_chance.random()  # the flaky ones are those with the least
        self.flaky = False
        self.uptime: float = scenario["flaky"]["uptime"]  # seconds on average, where it is flaky

        scope = Scope(self.chance, number if site is None else site.number, site.sources() if site else None)
        scope.build(spec["signals"])
        self.settings = {name: signal for name, signal in scope.signals.items() if isinstance(signal, Setting)}
        self.channels = [self._channel(name, spec, scope, wishes) for name in spec["channels"]]
        self._state: Mapping[str, Any] = spec["state"]
        self.state_topic = f"{self.topic}/{self._state['topic']}" if self._state["topic"] else ""
        self.command_topic = f"{self.topic}/{spec['commands']}" if self.settings and spec["commands"] else ""

    def _channel(self, name: str, spec: Mapping[str, Any], scope: Scope, wishes: Wishes) -> Channel:
        told = spec["channels"][name]
        channel = Channel(name, f"{self.topic}/{name}", f"{self.row}/{name}", self.encoding)
        channel.every = told["every"] or spec["interval"]
        channel.qos = next(one for one in (wishes.qos, told["qos"], spec["qos"]) if one is not None)
        channel.retain = next(
            retain for retain in (wishes.retain, told["retain"], spec["retain"]) if retain is not None
        )
        channel.on_change = told["on_change"]
        for field, reference in told["fields"].items():
            channel.fields.append((field, scope.find(reference)))
            channel.settable = channel.settable or reference in self.settings
        return channel

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.encoding]

    @property
    def retained_topics(self) -> list[str]:
        """What it may leave in the broker."""
        topics = [channel.topic for channel in self.channels if channel.retain]
        return [self.state_topic, *topics] if self.state_topic else topics

    def birth(self, now: float) -> bytes:
        """What its state says while it is there; as a certificate, with the values of all channels."""
        state = self._state
        if not state["certificate"]:
            return str(state["online"]).encode()
        channels = {
            channel.name: {name: source.at(now) for name, source in channel.fields} for channel in self.channels
        }
        return WRITERS[self.encoding]({"state": state["online"], "time": int(now * 1000.0), "channels": channels})

    def death(self) -> bytes:
        """What its state says when it is gone: the payload of its Will Message."""
        state = self._state
        if not state["certificate"]:
            return str(state["offline"]).encode()
        return WRITERS[self.encoding]({"state": state["offline"]})

    def command(self, payload: bytes) -> str:
        """Obey a command: a map of settings as JSON or MessagePack, or where there is but one setting its bare value
        or ON and OFF. What is wrong with it, or nothing; a wrong command changes nothing."""
        told = _read(payload)
        if not isinstance(told, dict):
            if len(self.settings) != 1:
                return f"a map is wanted, with some of {', '.join(self.settings)}"
            told = {next(iter(self.settings)): told}
        unknown = [str(name) for name in told if name not in self.settings]
        if unknown:
            return f"no such setting: {', '.join(unknown)}; there are {', '.join(self.settings)}"
        before = {name: setting.value for name, setting in self.settings.items()}
        for name, value in told.items():
            problem = self.settings[name].command(value)
            if problem:
                for other, kept in before.items():
                    self.settings[other].value = kept
                return f"{name}: {problem}"
        return ""


def _write_json(values: Mapping[str, Any]) -> bytes:
    return _to_json(values).encode()


def _write_msgpack(values: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(values)
    return packed


def _write_text(values: Mapping[str, Any]) -> bytes:
    """The bare value of the last field: a channel in text has one beside the time."""
    value = list(values.values())[-1]
    return (value if isinstance(value, str) else _to_json(value)).encode()


WRITERS: Final[dict[str, Callable[[Mapping[str, Any]], bytes]]] = {
    "json": _write_json,
    "msgpack": _write_msgpack,
    "text": _write_text,
}


def _read(payload: bytes) -> object:
    """What a command says, None where it says nothing legible."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        pass
    word = payload[:8].decode("ascii", "replace").lower()
    if word in SWITCHING:
        return SWITCHING[word]
    try:
        read: object = msgpack.unpackb(payload)
    except Exception:  # msgpack raises ValueError, its own ExtraData, and what the types below it raise
        return None
    return read


# -- a fleet

Plan = tuple["Mapping[str, Any]", int, Site | None]  # what it is, its number among its kind, where it stands


def build_fleet(
    scenarios: Sequence[Scenario], count: int | None, seed: int, wishes: Wishes | None = None
) -> list[Device]:
    """`count` devices of one or more scenarios, dealt out in turn; None is as many as the first scenario says.

    ValueError, with a sentence for a person, where a scenario cannot have that many, or has nothing that `rate` could
    quicken.
    """
    wishes = wishes or Wishes()
    total = default_count(scenarios) if count is None else count
    hands: list[list[Plan]] = []
    for place, scenario in enumerate(scenarios):
        share = total // len(scenarios) + (place < total % len(scenarios))
        hands.append(_plans(scenario, share, seed) if share else [])
    fleet: list[Device] = []
    for turn in range(max(len(hand) for hand in hands)):
        for hand, scenario in zip(hands, scenarios, strict=True):
            if turn < len(hand):
                spec, number, site = hand[turn]
                encoding = wishes.encoding or spec["encoding"]
                if encoding == "mixed":
                    encoding = MIXED[number % len(MIXED)]
                fleet.append(Device(scenario, spec, number, site, seed, encoding, wishes))
    for scenario in scenarios:
        of_it = [device for device in fleet if device.scenario == scenario["name"]]
        _make_flaky(of_it, scenario["flaky"]["share"] if wishes.flaky is None else wishes.flaky)
    if wishes.rate is not None:
        natural = natural_rate(fleet)
        if not natural:
            raise ValueError("all channels speak on change only: there is nothing that a rate could quicken")
        for device in fleet:
            for channel in device.channels:
                if not channel.on_change:
                    channel.every *= natural / wishes.rate
    return fleet


def default_count(scenarios: Sequence[Scenario]) -> int:
    """How many devices there are where nobody says."""
    fixed = sum(spec["count"] or 0 for scenario in scenarios for spec in scenario["devices"])
    if all(spec["count"] for scenario in scenarios for spec in scenario["devices"]):
        return fixed
    fleet: int = scenarios[0]["fleet"]
    return max(fleet, fixed)


def natural_rate(fleet: Sequence[Device]) -> float:
    """Messages a second of all channels that speak by the clock."""
    return sum(1.0 / channel.every for device in fleet for channel in device.channels if not channel.on_change)


def _plans(scenario: Scenario, total: int, seed: int) -> list[Plan]:
    sites: dict[int, Site] = {}
    numbers: dict[str, int] = {}
    plans: list[Plan] = []
    place = scenario["site"]
    for index, spec in enumerate(_deal(scenario, total)):
        kind = spec["kind"]
        numbers[kind] = numbers.get(kind, 0) + 1
        site: Site | None = None
        if place is not None:
            at = index // place["size"] + 1
            site = sites.get(at) or sites.setdefault(at, Site(scenario["name"], place, at, seed))
        plans.append((spec, numbers[kind], site))
    return plans


def _deal(scenario: Scenario, total: int) -> list[Mapping[str, Any]]:
    """The kinds of `total` devices: as many of each as its count says, of the others by their shares, in turn."""
    specs: list[Mapping[str, Any]] = scenario["devices"]
    fixed = sum(spec["count"] or 0 for spec in specs)
    sharing = [spec for spec in specs if not spec["count"]]
    if total < fixed or (not sharing and total != fixed):
        most = "no more and no fewer" if not sharing else "and at least these"
        raise ValueError(
            f"scenario {scenario['name']} has {fixed} devices by their counts, {most}; {total} were asked for"
        )
    whole = sum(spec["share"] for spec in sharing)
    weights = [float(spec["count"]) if spec["count"] else spec["share"] / whole * (total - fixed) for spec in specs]
    dealt = [0] * len(specs)
    turn: list[Mapping[str, Any]] = []
    for index in range(total):
        behind = [
            -math.inf if spec["count"] == dealt[place] else weights[place] * (index + 1) / total - dealt[place]
            for place, spec in enumerate(specs)
        ]
        best = max(range(len(specs)), key=lambda place: (round(behind[place], 9), -place))
        dealt[best] += 1
        turn.append(specs[best])
    return turn


def _make_flaky(devices: list[Device], share: float) -> None:
    """The `share` with the least luck, at least one of them."""
    if share > 0.0 and devices:
        for device in sorted(devices, key=lambda device: device.luck)[: max(1, round(len(devices) * share))]:
            device.flaky = True
