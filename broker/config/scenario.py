"""Scenarios for `broker simulate`: kinds of simulated devices, read from a TOML file, all mistakes at once.

`load_scenario` gives plain data with every default filled in, which `broker.simulation.devices` builds devices from.
pydantic judges single values; what refers to what is judged here on the data as it was written, so that a wrong
reference is told in the same run as a wrong value.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from broker.config.errors import ConfigError, Mistake, did_you_mean, shown
from broker.config.kinds import Count, Number, Seconds, no_bool
from broker.config.load import explain
from broker.config.sources import read_document
from broker.config.units import DURATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from broker.config.positions import Loc

LEAST_INTERVAL: Final = 0.001  # seconds; below it a device would be a load generator
LEAST_TIME: Final = 0.001  # seconds of what lasts or lags; it is divided by
NAME_LENGTH: Final = 64
TOPIC_LENGTH: Final = 200
PLACEHOLDERS: Final = ("scenario", "site", "kind", "number")

# What a signal of a type tells beside its own value
OUTPUTS: Final[dict[str, tuple[str, ...]]] = {
    "route": ("latitude", "longitude", "speed", "heading", "distance", "moving"),
    "regulator": ("on",),
}

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_FORBIDDEN: Final = re.compile("[+#\x00-\x1f\x7f-\x9f]")


def _there_are(names: Sequence[str]) -> str:
    return f"; there are {', '.join(name for name in names if name != 'type')}" if names else ""


def _is_name(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > NAME_LENGTH:
        raise ValueError(f"must be a name of letters, digits, - and _, {NAME_LENGTH} at most, not {shown(value)}")
    return value


def _is_topic(value: str) -> str:
    if not value or _FORBIDDEN.search(value) or len(value) > TOPIC_LENGTH:
        raise ValueError(f"must be part of a topic, without +, # and control characters, not {shown(value)}")
    return value


def _is_topic_or_none(value: str) -> str:
    return _is_topic(value) if value else value


def _is_template(value: str) -> str:
    _is_topic(value)
    try:
        found = [name for _, name, form, turn in string.Formatter().parse(value) if name is not None or form or turn]
    except ValueError as error:
        raise ValueError(f"cannot be read: {error}; {{ and }} stand around {', '.join(PLACEHOLDERS)} only") from None
    for name in found:
        if name not in PLACEHOLDERS or f"{{{name}}}" not in value:
            raise ValueError(
                f"{{{name}}} stands for nothing{did_you_mean(str(name), PLACEHOLDERS) or _there_are(PLACEHOLDERS)}"
            )
    if "number" not in found:
        raise ValueError("must have {number} in it, or all devices of the kind would share one topic")
    return value


def _clock(value: object) -> object:
    """Keys such as "06:30" as seconds of the day."""
    if not isinstance(value, dict):
        return value
    seconds: dict[float, object] = {}
    for name, said in value.items():
        match = _CLOCK.fullmatch(str(name))
        if match is None:
            raise ValueError(f'has {shown(name)} for an hour; write it as "06:30"')
        seconds[int(match[1]) * 3600.0 + int(match[2]) * 60.0] = said
    if not seconds:
        raise ValueError('must not be empty: { "06:30" = true, "22:00" = false }')
    return seconds


def _fields(value: object) -> object:
    """["temperature", "route.speed"] as {temperature = "temperature", speed = "route.speed"}."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {item.rpartition(".")[2]: item for item in value}
    return value


def _pair(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"must be [least, most], not {shown(list(value))}")
    return value


def _scalar(value: object) -> object:
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError("must be a number, a string, true or false")
    return value


def _finite(value: float) -> float:
    if value != value or abs(value) > 1e15:
        raise ValueError(f"must be a number of this world, not {shown(value)}")
    return value


Real = Annotated[Number, AfterValidator(_finite)]
Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Interval = Annotated[Seconds, Field(ge=LEAST_INTERVAL, le=86_400 * 7)]
Lasting = Annotated[Seconds, Field(ge=LEAST_TIME)]
NameText = Annotated[str, AfterValidator(_is_name)]
TopicText = Annotated[str, AfterValidator(_is_topic)]
TopicOrNone = Annotated[str, AfterValidator(_is_topic_or_none)]
Reference = str
Scalar = Annotated[Any, BeforeValidator(_scalar)]
Pair = Annotated[tuple[Real, Real], AfterValidator(_pair)]
Encoding = Literal["json", "msgpack", "text"]
Qos = Annotated[int, BeforeValidator(no_bool), Field(ge=0, le=2)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Shaped(_Table):
    minimum: Real | None = None
    maximum: Real | None = None
    noise: Annotated[Real, Field(ge=0)] = 0.0
    decimals: Annotated[Count, Field(ge=0, le=9)] = 2


class Constant(_Table):
    type: Literal["constant"]
    value: Scalar | None = None
    between: Pair | None = None
    one_of: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    decimals: Annotated[Count, Field(ge=0, le=9)] = 2

    @model_validator(mode="after")
    def _one(self) -> Constant:
        if sum(way is not None for way in (self.value, self.between, self.one_of)) != 1:
            raise ValueError("needs one of value, between and one_of")
        return self


class Walk(_Shaped):
    type: Literal["walk"]
    mean: Real
    spread: Annotated[Real, Field(ge=0)]
    memory: Lasting = 600.0


class Wave(_Shaped):
    type: Literal["wave"]
    low: Real
    high: Real
    period: Lasting = DURATION.factors["d"]
    peak: Seconds = 15 * 3600.0


class Schedule(_Table):
    type: Literal["schedule"]
    hours: Annotated[dict[float, Scalar], BeforeValidator(_clock)]
    jitter: Annotated[Seconds, Field(ge=0, le=6 * 3600)] = 0.0


class States(_Table):
    type: Literal["states"]
    states: Annotated[dict[str, Lasting], Field(min_length=1)]
    after: dict[str, Annotated[dict[str, Positive], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _of_these(self) -> States:
        for name in (*self.after, *(other for following in self.after.values() for other in following)):
            if name not in self.states:
                raise ValueError(
                    f"there is no state '{name}'{did_you_mean(name, self.states) or _there_are(list(self.states))}"
                )
        return self


class Switch(_Table):
    type: Literal["switch"]
    on: Lasting
    off: Lasting


class Choice(_Table):
    type: Literal["choice"]
    values: Annotated[tuple[Scalar, ...], Field(min_length=1)]
    weights: tuple[Positive, ...] | None = None

    @model_validator(mode="after")
    def _as_many(self) -> Choice:
        if self.weights is not None and len(self.weights) != len(self.values):
            raise ValueError(f"has {len(self.values)} values and {len(self.weights)} weights; give one weight a value")
        return self


class Counter(_Table):
    type: Literal["counter"]
    step: Positive = 1.0
    every: Interval = 1.0
    per: Reference | None = None
    when: Reference | None = None
    equals: Scalar | None = None
    random: bool = False
    start: Pair = (0.0, 0.0)
    decimals: Annotated[Count, Field(ge=0, le=9)] = 0


class Level(_Shaped):
    type: Literal["level"]
    rate: Positive
    of: Reference | None = None
    refill: Annotated[Number, Field(ge=0, lt=100)] = 5.0


class Follow(_Shaped):
    type: Literal["follow"]
    of: Reference
    lag: Seconds = 0.0
    factor: Real = 1.0
    values: dict[str, Real] | None = None


class Mix(_Shaped):
    type: Literal["mix"]
    of: Annotated[dict[str, Real], Field(min_length=1)]
    offset: Real = 0.0


class Product(_Shaped):
    type: Literal["product"]
    of: Annotated[tuple[Reference, ...], Field(min_length=1)]
    factor: Real = 1.0


class Compare(_Table):
    type: Literal["compare"]
    of: Reference
    above: Real | None = None
    below: Real | None = None
    equals: Scalar | None = None

    @model_validator(mode="after")
    def _with_something(self) -> Compare:
        if self.above is None and self.below is None and self.equals is None:
            raise ValueError("needs above, below or equals")
        return self


class Regulator(_Shaped):
    type: Literal["regulator"]
    target: Reference
    surroundings: Reference
    heater: Real
    heats: Lasting
    loses: Lasting
    hysteresis: Positive = 0.25


class Setting(_Table):
    type: Literal["setting"]
    value: Scalar
    follows: Reference | None = None
    minimum: Real | None = None
    maximum: Real | None = None
    one_of: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


class Spectrum(_Table):
    type: Literal["spectrum"]
    lines: Annotated[Count, Field(ge=1, le=1024)] = 8
    of: Reference | None = None
    wear: Annotated[Real, Field(ge=0)] = 0.5
    decimals: Annotated[Count, Field(ge=0, le=9)] = 4


class Route(_Table):
    type: Literal["route"]
    places: Annotated[
        tuple[
            tuple[Annotated[Number, Field(ge=-85, le=85)], Annotated[Number, Field(ge=-180, le=180)]],
            ...,
        ],
        Field(min_length=1),
    ]
    radius: Annotated[Number, Field(gt=0, le=1000)] = 5.0
    speed: Annotated[Number, Field(gt=0, le=1000)] = 50.0
    stops: Annotated[Seconds, Field(ge=0)] = 60.0
    legs: Annotated[Number, Field(ge=1, le=1000)] = 8.0


TYPES: Final[dict[str, type[_Table]]] = {
    "constant": Constant,
    "walk": Walk,
    "wave": Wave,
    "schedule": Schedule,
    "states": States,
    "switch": Switch,
    "choice": Choice,
    "counter": Counter,
    "level": Level,
    "follow": Follow,
    "mix": Mix,
    "product": Product,
    "compare": Compare,
    "regulator": Regulator,
    "setting": Setting,
    "spectrum": Spectrum,
    "route": Route,
}

Signal = Annotated[
    Constant
    | Walk
    | Wave
    | Schedule
    | States
    | Switch
    | Choice
    | Counter
    | Level
    | Follow
    | Mix
    | Product
    | Compare
    | Regulator
    | Setting
    | Spectrum
    | Route,
    Field(discriminator="type"),
]
Signals = dict[NameText, Signal]


class Channel(_Table):
    fields: Annotated[dict[str, Reference], BeforeValidator(_fields), Field(min_length=1)]
    every: Interval | None = None
    qos: Qos | None = None
    retain: bool | None = None
    on_change: bool = False


class State(_Table):
    topic: TopicOrNone = "state"
    online: str = "online"
    offline: str = "offline"
    certificate: bool = False


class Device(_Table):
    kind: NameText
    count: Annotated[Count, Field(ge=1, le=100_000)] | None = None
    share: Positive = 1.0
    topic: Annotated[str, AfterValidator(_is_template)] = "{scenario}/{kind}-{number}"
    encoding: Encoding = "json"
    interval: Interval = 1.0
    qos: Qos = 0
    retain: bool = False
    commands: TopicOrNone = "set"
    state: State = State()
    signals: Signals = {}
    channels: Annotated[dict[TopicText, Channel], Field(min_length=1)]


class Site(_Table):
    name: NameText = "site"
    size: Annotated[Count, Field(ge=1)] = 8
    signals: Signals = {}


class Flaky(_Table):
    share: Share = 0.0
    uptime: Annotated[Seconds, Field(ge=0.1)] = 60.0


class Scenario(_Table):
    name: NameText = ""
    description: str = ""
    fleet: Annotated[Count, Field(ge=1, le=100_000)] = 36
    site: Site | None = None
    flaky: Flaky = Flaky()
    devices: Annotated[tuple[Device, ...], Field(min_length=1)]


REFERRING: Final = ("of", "per", "when", "follows", "target", "surroundings")  # keys that name other signals


def load_scenario(path: Path) -> dict[str, Any]:
    """The scenario in a TOML file as plain data, with all defaults filled in; named after the file where it has no
    name. ConfigError with every mistake in it."""
    data, origins = read_document(path)
    found: list[tuple[tuple[int, int], Mistake]] = []

    def tell(loc: Loc, message: str, at_key: bool = False) -> None:
        place = next((origins[loc[:length]] for length in range(len(loc), 0, -1) if loc[:length] in origins), None)
        if place is None:
            found.append(((0, 0), Mistake(str(path), message)))
        else:
            found.append((place.order, place.mistake(loc, message, at_key)))

    scenario: Scenario | None = None
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            # What is wrong is left out before pydantic counts what there is
            if detail["type"] != "too_short" or not detail["input"]:
                tell(*_told(detail))
    for loc, message in _together(data):
        tell(loc, message)
    if found or scenario is None:
        raise ConfigError([mistake for _, mistake in sorted(dict.fromkeys(found), key=lambda item: item[0])])
    plain = scenario.model_dump()
    plain["name"] = scenario.name or re.sub("[^A-Za-z0-9_-]+", "-", path.stem) or "scenario"
    return plain


def _told(detail: ErrorDetails) -> tuple[Loc, str, bool]:
    """Where pydantic's error stands in the file, what it says in our words, and whether it is about the key."""
    loc: list[str | int] = []
    tag = ""
    for part in detail["loc"]:
        if len(loc) >= 2 and loc[-2] == "signals" and part in TYPES and not tag:
            tag = str(part)  # pydantic names the type of the signal, the file does not
        elif part != "[key]":
            loc.append(part)
    at_key = "[key]" in detail["loc"]
    kind = detail["type"]
    if kind == "extra_forbidden":
        table = _table_of(loc, tag)
        name = str(loc[-1])
        known = list(table.model_fields) if table is not None else []
        hint = did_you_mean(name, known)
        return tuple(loc), f"unknown setting '{name}'{hint or _there_are(known)}", True
    if kind == "union_tag_invalid":
        asked = str(detail["ctx"]["tag"])
        return (*loc, "type"), f"there is no '{asked}'{did_you_mean(asked, TYPES) or _there_are(list(TYPES))}", False
    if kind == "union_tag_not_found":
        return tuple(loc), f"needs a type{_there_are(list(TYPES))}", False
    if kind == "missing":
        table = _table_of(loc, tag)
        whose = table.__name__.lower() if table is not None else "table"
        return tuple(loc[:-1]), f"{loc[-1]} is missing; a {whose} needs it", False
    return tuple(loc), explain(detail), at_key


def _table_of(loc: list[str | int], tag: str) -> type[_Table] | None:
    """The table that the last key of a path stands in."""
    if tag:
        return TYPES[tag]
    names = [part for part in loc[:-1] if isinstance(part, str)]
    if not names:
        return Scenario
    tables: dict[str, type[_Table]] = {"devices": Device, "site": Site, "flaky": Flaky, "state": State}
    return Channel if len(names) > 1 and names[-2] == "channels" else tables.get(names[-1])


# -- What refers to what, on the data as it was written


def _together(data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Wrong references, circles, and what cannot be together."""
    site = data.get("site")
    shared = _tables(site.get("signals")) if isinstance(site, dict) else {}
    yield from _references(("site", "signals"), shared, {})
    kinds: dict[object, int] = {}
    devices = data.get("devices")
    for place, device in enumerate(devices if isinstance(devices, list) else []):
        if not isinstance(device, dict):
            continue
        at: Loc = ("devices", place)
        kind = device.get("kind")
        if isinstance(kind, str) and kinds.setdefault(kind, place) != place:
            yield (*at, "kind"), f"there is a kind {shown(kind)} already; another one needs another name"
        if isinstance(device.get("topic"), str) and "{site}" in device["topic"] and site is None:
            yield (*at, "topic"), "{site} stands for nothing without a table [site]"
        signals = _tables(device.get("signals"))
        yield from _references((*at, "signals"), signals, shared)
        yield from _of_channels(at, device, signals, shared)


def _of_channels(
    at: Loc, device: dict[str, Any], signals: dict[str, Any], shared: dict[str, Any]
) -> Iterator[tuple[Loc, str]]:
    state = device.get("state")
    taken = {
        device.get("commands", "set"): "commands come in there",
        (state.get("topic", "state") if isinstance(state, dict) else "state"): "that is its state",
    }
    for name, channel in _tables(device.get("channels")).items():
        loc: Loc = (*at, "channels", name)
        if name in taken:
            yield loc, f"cannot be a channel: {taken[name]}"
        fields = channel.get("fields")
        if device.get("encoding") == "text" and isinstance(fields, list | dict) and len(fields) > 1:
            yield (
                (*loc, "fields"),
                f"has {len(fields)} values, and text says one; give each a channel, or say it in json",
            )
        pairs = list(fields.items()) if isinstance(fields, dict) else list(enumerate(fields or []))
        for key, reference in pairs if isinstance(fields, dict | list) else []:
            problem = _unknown(reference, signals, shared)
            if problem:
                yield (*loc, "fields", key), problem


def _references(at: Loc, signals: dict[str, Any], shared: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    needs: dict[str, list[str]] = {name: [] for name in signals}
    for name, spec in signals.items():
        for loc, reference in _referred(spec):
            problem = _unknown(reference, signals, shared)
            if problem:
                yield (*at, name, *loc), problem
            elif isinstance(reference, str):
                needs[name].append(reference.partition(".")[0])
    for name in signals:
        circle = _circle(name, needs)
        if circle and name == min(circle):
            yield (*at, name), f"waits for itself: {' -> '.join([*circle, name])}"


def _referred(spec: dict[str, Any]) -> Iterator[tuple[Loc, object]]:
    """The references of a signal, each with its path below it."""
    table = TYPES.get(str(spec.get("type")))
    for key in REFERRING:
        if table is None or key not in table.model_fields or key not in spec:
            continue
        value = spec[key]
        if isinstance(value, dict):
            for name in value:
                yield (key, name), name
        elif isinstance(value, list):
            for place, name in enumerate(value):
                yield (key, place), name
        else:
            yield (key,), value


def _unknown(reference: object, signals: dict[str, Any], shared: dict[str, Any]) -> str:
    """What is wrong with a reference; nothing where it is no string, which is told elsewhere."""
    if not isinstance(reference, str):
        return ""
    name, dot, output = reference.partition(".")
    spec = signals.get(name) or shared.get(name)
    if spec is None:
        known = [*signals, *shared]
        return f"there is no signal {shown(name)}{did_you_mean(name, known) or _there_are(known)}"
    outputs = OUTPUTS.get(str(spec.get("type")), ())
    if dot and output not in outputs:
        return f"{shown(name)} has no {shown(output)}{did_you_mean(output, outputs) or _there_are(list(outputs))}"
    return ""


def _circle(start: str, needs: dict[str, list[str]]) -> list[str]:
    """The way from a signal to itself, if there is one."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for name in needs[way[-1]]:
            if name == start:
                return way
            if name in needs and name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def _tables(value: object) -> dict[str, Any]:
    """The tables of a table, without what is none."""
    return {name: spec for name, spec in value.items() if isinstance(spec, dict)} if isinstance(value, dict) else {}
