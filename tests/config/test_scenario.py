"""Scenarios: what a file may say, and every mistake of it at its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from broker.config import ConfigError
from broker.config.scenario import OUTPUTS, TYPES, load_scenario
from broker.simulation import route
from broker.simulation.devices import build_fleet

HEAD = '[[devices]]\nkind = "gate"\n'
TAIL = '[devices.channels]\nc = { fields = ["a"] }\n'


def written(tmp_path: Path, text: str, name: str = "my plant.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def mistakes(tmp_path: Path, text: str) -> list[str]:
    """The mistakes of a file, without its path: "line:column: message", each its first line."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    return [str(mistake).removeprefix(f"{path}:").partition("\n")[0] for mistake in caught.value.mistakes]


def of_signal(tmp_path: Path, signal: str) -> list[str]:
    return [
        mistake.partition("devices[0].signals.")[2] or mistake
        for mistake in mistakes(tmp_path, f"{HEAD}[devices.signals]\na = {{ {signal} }}\n{TAIL}")
    ]


def test_the_shortest_has_all_defaults(tmp_path: Path) -> None:
    text = f'{HEAD}[devices.signals]\na = {{ type = "constant", value = 1 }}\n{TAIL}'
    scenario = load_scenario(written(tmp_path, text))
    assert (scenario["name"], scenario["fleet"], scenario["site"]) == ("my-plant", 36, None)
    assert scenario["flaky"] == {"share": 0.0, "uptime": 60.0}
    (device,) = scenario["devices"]
    assert device["topic"] == "{scenario}/{kind}-{number}"
    assert device["channels"]["c"]["fields"] == {"a": "a"}
    assert device["state"] == {"topic": "state", "online": "online", "offline": "offline", "certificate": False}
    assert load_scenario(written(tmp_path, f'name = "other"\n{text}'))["name"] == "other"


def test_durations_hours_and_outputs_are_read(tmp_path: Path) -> None:
    text = (
        f'{HEAD}interval = "250ms"\n[devices.signals]\n'
        'r = { type = "route", places = [[52.5, 13.4]], stops = "2m" }\n'
        'h = { type = "schedule", hours = { "06:30" = true, "22:00" = false } }\n'
        '[devices.channels]\nc = { fields = ["r.speed", "h"], every = 2 }\n'
    )
    (device,) = load_scenario(written(tmp_path, text))["devices"]
    assert (device["interval"], device["channels"]["c"]["every"]) == (0.25, 2.0)
    assert device["channels"]["c"]["fields"] == {"speed": "r.speed", "h": "h"}
    assert device["signals"]["h"]["hours"] == {23_400.0: True, 79_200.0: False}
    assert device["signals"]["r"]["stops"] == 120.0
    assert OUTPUTS["route"] == route.OUTPUTS


def test_all_mistakes_are_told_at_once_with_place_and_hint(tmp_path: Path) -> None:
    text = """\
fleat = 3
[flaky]
share = 2
[[devices]]
kind = "g/1"
topic = "{scenari}/{number}"
interval = "1ly"
[devices.signals]
a = { type = "walk", mean = 1, sprad = 2 }
b = { type = "wav" }
c = { type = "follow", of = "d" }
[devices.channels]
"x#" = { fields = ["a"] }
y = { fields = ["q"], qos = 7 }
[[devices]]
"""
    assert mistakes(tmp_path, text) == [
        "1:1: fleat: unknown setting 'fleat'; did you mean 'fleet'?",
        "3:9: flaky.share: must be at most 1, not 2",
        '5:8: devices[0].kind: must be a name of letters, digits, - and _, 64 at most, not "g/1"',
        "6:9: devices[0].topic: {scenari} stands for nothing; did you mean 'scenario'?",
        '7:12: devices[0].interval: must be a duration such as 2.5, "500ms", "15s", "10m", "1h" or "7d", not "1ly"',
        "9:5: devices[0].signals.a: spread is missing; a walk needs it",
        "9:32: devices[0].signals.a.sprad: unknown setting 'sprad'; did you mean 'spread'?",
        "10:14: devices[0].signals.b.type: there is no 'wav'; did you mean 'wave'?",
        '11:29: devices[0].signals.c.of: there is no signal "d"; there are a, b, c',
        '13:1: devices[0].channels.x#: must be part of a topic, without +, # and control characters, not "x#"',
        '14:17: devices[0].channels.y.fields[0]: there is no signal "q"; there are a, b, c',
        "14:29: devices[0].channels.y.qos: must be at most 2, not 7",
        "15:3: devices[1]: kind is missing; a device needs it",
        "15:3: devices[1]: channels is missing; a device needs it",
    ]


def test_a_mistake_shows_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, f'{HEAD}[devices.signals]\na = {{ type = "constant", value = [1] }}\n{TAIL}')
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    assert str(caught.value).split("\n") == [
        f"{path}:4:34: devices[0].signals.a.value: must be a number, a string, true or false",
        '    a = { type = "constant", value = [1] }',
        f"    {'':33}^^^",
    ]


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ('type = "constant"', "a: needs one of value, between and one_of"),
        ('type = "constant", between = [3, 1]', "a.between: must be [least, most], not [3.0, 1.0]"),
        ('type = "constant", one_of = []', "a.one_of: must not be empty"),
        ('type = "walk", mean = nan, spread = 1', "a.mean: must be a number of this world, not NaN"),
        ('type = "walk", mean = true, spread = 1', "a.mean: must be a number, not true"),
        ('type = "schedule", hours = { "25:00" = 1 }', 'a.hours: has "25:00" for an hour; write it as "06:30"'),
        ('type = "schedule", hours = {}', 'a.hours: must not be empty: { "06:30" = true, "22:00" = false }'),
        ('type = "states", states = { on = 0 }', "a.states.on: must be at least 0.001, not 0"),
        (
            'type = "states", states = { on = 1, off = 1 }, after = { onn = { off = 1 } }',
            "a: there is no state 'onn'; did you mean 'on'?",
        ),
        ('type = "choice", values = [1, 2], weights = [1]', "a: has 2 values and 1 weights; give one weight a value"),
        ('type = "compare", of = "a.x", above = 1', 'a.of: "a" has no "x"'),
        ('type = "compare", of = "a"', "a: needs above, below or equals"),
        ('type = "mix", of = { a = 1 }', "a: waits for itself: a -> a"),
        ('type = "product", of = ["b"]', 'a.of[0]: there is no signal "b"; there are a'),
        ('type = "route", places = [[95, 0]]', "a.places[0][0]: must be at most 85, not 95"),
        ('kind = "walk"', "a: needs a type; there are " + ", ".join(TYPES)),
    ],
)
def test_mistakes_of_signals(tmp_path: Path, signal: str, expected: str) -> None:
    assert expected in of_signal(tmp_path, signal)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "devices is missing; a scenario needs it"),
        ("devices = []\n", "1:11: devices: must not be empty"),
        ("devices = 3\n", "1:11: devices: must be an array, not 3"),
        (f"{HEAD}channels = {{}}\n", "3:12: devices[0].channels: must not be empty"),
        (f'{HEAD}topic = "x/{{kind}}"\n{TAIL}', "must have {number} in it"),
        (f'{HEAD}topic = "x/{{number"\n{TAIL}', "cannot be read: "),
        (f'{HEAD}topic = "x/{{number!r}}"\n{TAIL}', "{number} stands for nothing"),
        (f'{HEAD}topic = "{{site}}/{{number}}"\n{TAIL}', "{site} stands for nothing without a table [site]"),
        (f"{HEAD}{TAIL}{HEAD}{TAIL}", 'there is a kind "gate" already'),
        (f'{HEAD}[devices.channels]\nset = {{ fields = ["a"] }}\n', "cannot be a channel: commands come in there"),
        (f'{HEAD}[devices.channels]\nstate = {{ fields = ["a"] }}\n', "cannot be a channel: that is its state"),
        (
            f'{HEAD}encoding = "text"\n[devices.channels]\nx = {{ fields = ["a", "b"] }}\n',
            "has 2 values, and text says one",
        ),
        (f'{HEAD}state = {{ topic = "x#" }}\n{TAIL}', "devices[0].state.topic: must be part of a topic"),
        (f'{HEAD}commands = "#"\n{TAIL}', "devices[0].commands: must be part of a topic"),
        (f'{HEAD[:-7]}"{"x" * 65}"\n{TAIL}', "devices[0].kind: must be a name"),
        (f"{HEAD}encoding = 'xml'\n{TAIL}", 'must be one of json, msgpack, text, not "xml"'),
    ],
)
def test_mistakes_of_the_whole(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in mistake for mistake in mistakes(tmp_path, text))


def test_a_circle_is_told_once(tmp_path: Path) -> None:
    signals = "".join(
        f'{name} = {{ type = "follow", of = "{of}" }}\n' for name, of in (("a", "b"), ("b", "c"), ("c", "b"))
    )
    found = mistakes(tmp_path, f"{HEAD}[devices.signals]\n{signals}{TAIL}")
    assert found == ["5:5: devices[0].signals.b: waits for itself: b -> c -> b"]


def test_what_the_site_shares_may_be_referred_to_and_not_the_other_way_round(tmp_path: Path) -> None:
    site = '[site]\n[site.signals]\ns = { type = "constant", value = 1 }\n'
    text = f'{HEAD}[devices.signals]\na = {{ type = "follow", of = "s" }}\n{TAIL}'
    assert load_scenario(written(tmp_path, site + text))["site"]["name"] == "site"
    wrong = site.replace('"constant", value = 1', '"follow", of = "a"')
    assert mistakes(tmp_path, wrong + text) == ['3:29: site.signals.s.of: there is no signal "a"; there are s']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[[devices", ":1:10: is not TOML: "),
        (b"\xff", ":1:1: is not UTF-8"),
        (None, ": cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_no_nonsense_is_a_traceback(tmp_path: Path) -> None:
    """Every key of a good file, once with each kind of wrong value."""
    import tomllib

    from broker.simulation.scenarios import path_of

    good = tomllib.loads(path_of("home").read_text("utf-8"))
    wrong: list[Any] = [None, 7, -1, "", "x", True, [], [1], {}, {"x": 1}, float("nan")]
    for value in wrong:
        for key in list(good["devices"][0]):
            assert_no_traceback(tmp_path, {**good, "devices": [{**good["devices"][0], key: value}]})
        for key in good:
            assert_no_traceback(tmp_path, {**good, key: value})
        for key in ("signals", "channels"):
            for name in good["devices"][1][key]:
                inner = {**good["devices"][1][key], name: value}
                assert_no_traceback(tmp_path, {**good, "devices": [{**good["devices"][1], key: inner}]})


def assert_no_traceback(tmp_path: Path, data: dict[str, Any]) -> None:
    mistakes: tuple[object, ...] = ("none",)
    try:
        load_scenario(written(tmp_path, toml(data)))
    except ConfigError as error:
        mistakes = error.mistakes
    assert mistakes


def toml(table: dict[str, Any]) -> str:
    return "".join(f"{quoted(name)} = {inline(value)}\n" for name, value in table.items() if value is not None)


def inline(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{quoted(key)} = {inline(item)}" for key, item in value.items() if item is not None)
        return f"{{ {pairs} }}"
    if isinstance(value, list):
        return f"[{', '.join(inline(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    return f'"{text}"'


def test_the_sample_of_the_guide_is_whole(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "simulate.md").read_text("utf-8")
    (sample,) = re.findall(r"^```toml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    scenario = load_scenario(written(tmp_path, sample, "brewery.toml"))
    devices = build_fleet([scenario], None, 1)
    assert [sum(device.kind == kind for device in devices) for kind in ("tank", "filler", "van")] == [8, 3, 1]
    assert all(channel.payload(1e9) for device in devices for channel in device.channels)


def test_the_guide_names_every_type_with_its_keys() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "simulate.md").read_text("utf-8")
    rows = {match[1]: match[2] for match in re.finditer(r"^\| `(\w+)` \| (.*) \|$", guide, re.MULTILINE)}
    shaped = {"type", "minimum", "maximum", "noise", "decimals"}
    for name, table in TYPES.items():
        missing = [key for key in table.model_fields if key not in shaped and f"`{key}" not in rows[name]]
        assert missing == [], name
