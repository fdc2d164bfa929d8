from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.packets.topics import valid_topic_name
from broker.simulation.devices import Device, Wishes, build_fleet, default_count, natural_rate
from broker.simulation.scenarios import SCENARIOS
from tests.simulation.parts import LAMPS, NOON, fleet_of, scenario, written

ALL = [scenario(name) for name in SCENARIOS]


def life(device: Device, seconds: float, step: float = 1.0) -> list[tuple[str, bytes]]:
    """All that the channels of a device say when each is asked every `step` seconds."""
    said = []
    for index in range(int(seconds / step)):
        for channel in device.channels:
            payload = channel.payload(NOON + index * step)
            if payload is not None:
                said.append((channel.topic, payload))
    return said


def read(encoding: str, payload: bytes) -> dict[str, object]:
    values = json.loads(payload) if encoding == "json" else msgpack.unpackb(payload)
    assert isinstance(values, dict)
    return values


def of_kind(devices: list[Device], kind: str) -> Device:
    return next(device for device in devices if device.kind == kind)


# -- chance


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_gives_the_same_devices_values_and_luck(name: str) -> None:
    def everything(seed: int) -> list[object]:
        found: list[object] = []
        for device in fleet_of(name, 9, seed, flaky=0.5):
            found += [device.topic, device.flaky, device.birth(NOON), *life(device, 60, 1.5)]
            found.append([device.connection_chance.random() for _ in range(5)])
        return found

    assert everything(1) == everything(1)
    assert everything(1) != everything(2)


def test_what_a_site_shares_does_not_depend_on_who_asks_first() -> None:
    def airs(order: int) -> list[bytes]:
        stations = [device for device in fleet_of("weather", 6) if device.kind == "station"]
        channels = {device.name: device.channels[0] for device in stations}
        said = {}
        for second in range(0, 120, 5):
            for name in sorted(channels)[::order]:
                said[name, second] = channels[name].payload(NOON + second + len(name) * 0.1) or b""
        return [said[key] for key in sorted(said)]

    assert airs(1) == airs(-1)


def test_stations_of_a_region_are_under_one_sky() -> None:
    devices = [device for device in fleet_of("weather", 16) if device.kind == "station"]
    first, second = devices[:2]
    assert first.topic.split("/")[1] == second.topic.split("/")[1]
    ours: list[float] = []
    apart: list[float] = []
    for hour in range(48):
        values = []
        for device in (first, second):
            channel = next(channel for channel in device.channels if channel.name == "pressure")
            values.append(float(str(read("json", channel.payload(NOON + hour * 3600.0) or b"")["hectopascal"])))
        ours.append(values[0])
        apart.append(values[0] - values[1])
    # They differ by their height, which stays, while the sky above both changes
    assert max(apart) - min(apart) < 0.6
    assert max(ours) - min(ours) > 2.0


# -- what they say


@pytest.mark.parametrize("name", SCENARIOS)
def test_channels_are_on_valid_topics_in_their_devices_encoding(name: str) -> None:
    for device in fleet_of(name, 12):
        for topic, payload in life(device, 20):
            assert topic.startswith(f"{device.topic}/")
            assert valid_topic_name(topic)
            assert topic.startswith(f"{device.root}/")
            if device.encoding == "text":
                assert json.loads(payload) in (True, False) or float(payload) >= 0
            else:
                values = read(device.encoding, payload)
                assert isinstance(values["time"], int)
                assert len(values) > 1


def test_what_speaks_on_change_says_nothing_twice_but_after_a_birth() -> None:
    device = of_kind(fleet_of("home", 10), "lamp")
    light = next(channel for channel in device.channels if channel.on_change)
    assert light.payload(NOON) is not None
    assert light.payload(NOON + 1) is None
    light.forget()
    assert light.payload(NOON + 2) is not None


def test_certificates_hold_the_values_of_all_channels() -> None:
    press = of_kind(fleet_of("factory", 4), "press")
    birth = read("json", press.birth(NOON))
    assert birth["state"] == "online"
    assert set(birth["channels"]) == {channel.name for channel in press.channels}  # type: ignore[call-overload]  # of JSON
    assert read("json", press.death()) == {"state": "offline"}
    assert press.state_topic == f"{press.topic}/birth"
    lamp = of_kind(fleet_of("home", 10), "lamp")
    assert (lamp.birth(NOON), lamp.death()) == (b"online", b"offline")
    assert lamp.retained_topics == [f"{lamp.topic}/state", f"{lamp.topic}/light"]


# -- what they obey


def test_a_lamp_obeys(tmp_path: Path) -> None:
    (lamp,) = build_fleet([written(tmp_path, LAMPS)], 1, 1)
    assert lamp.command_topic == "den/lamp-0001/set"
    light, power = lamp.channels
    assert read("json", light.payload(NOON) or b"") == {"time": int(NOON * 1000), "on": False, "level": 80}
    assert lamp.command(b'{"on": true, "level": 40}') == ""
    assert read("json", light.payload(NOON) or b"")["on"] is True
    assert read("json", power.payload(NOON + 1) or b"")["watts"] == 4.0
    assert lamp.command(msgpack.packb({"on": False})) == ""
    assert read("json", light.payload(NOON + 2) or b"") == {"time": int(NOON * 1000) + 2000, "on": False, "level": 40}


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b'{"on": true, "level": 400}', "level: a number from 1 to 100 is wanted"),
        (b'{"on": 3}', "on: true or false is wanted"),
        (b'{"off": true}', "no such setting: off; there are on, level"),
        (b"\xff\xff", "a map is wanted, with some of on, level"),
        (b"", "a map is wanted, with some of on, level"),
        (b"[" * 100_000, "a map is wanted, with some of on, level"),
        (b"on", "a map is wanted, with some of on, level"),
    ],
)
def test_a_wrong_command_changes_nothing(tmp_path: Path, payload: bytes, problem: str) -> None:
    (lamp,) = build_fleet([written(tmp_path, LAMPS)], 1, 1)
    assert lamp.command(payload) == problem
    assert {name: setting.value for name, setting in lamp.settings.items()} == {"on": False, "level": 80}


@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("on", "level", "x")), inner),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode())
)
@settings(max_examples=150, deadline=None)
def test_no_command_breaks_a_lamp(payload: bytes) -> None:
    with TemporaryDirectory() as folder:
        (lamp,) = build_fleet([written(Path(folder), LAMPS)], 1, 1)
    problem = lamp.command(payload)
    for place, channel in enumerate(lamp.channels):
        assert channel.payload(NOON + place)
    assert isinstance(lamp.settings["on"].value, bool)
    level = lamp.settings["level"].value
    assert isinstance(level, (int, float))
    assert 1 <= level <= 100
    if problem:
        assert (lamp.settings["on"].value, level) == (False, 80)


@pytest.mark.parametrize("payload", [b"ON", b"true", b"\xc3", b'{"on": true}'])
def test_a_device_with_one_setting_takes_its_bare_value(payload: bytes) -> None:
    motor = of_kind(fleet_of("factory", 4), "motor")
    motor.settings["on"].value = False
    assert motor.command(payload) == ""
    assert motor.settings["on"].value is True


# -- a fleet


def test_kinds_are_dealt_out_by_their_shares_and_counts(tmp_path: Path) -> None:
    names = [device.name for device in fleet_of("factory", 8)]
    assert names[:4] == ["press-0001", "motor-0001", "oven-0001", "press-0002"]
    assert [sum(name.startswith(kind) for name in names) for kind in ("press", "motor", "oven")] == [4, 2, 2]
    own = written(
        tmp_path,
        "".join(
            f'[[devices]]\nkind = "{kind}"\n{share}\n[devices.signals]\na = {{ type = "constant", value = 1 }}\n'
            '[devices.channels]\na = { fields = ["a"] }\n'
            for kind, share in (("gate", "count = 2"), ("cart", "share = 3"), ("crane", "share = 1"))
        ),
    )
    for count, expected in ((10, [2, 6, 2]), (2, [2, 0, 0]), (36, [2, 26, 8])):
        kinds = [device.kind for device in build_fleet([own], count, 1)]
        assert [kinds.count(kind) for kind in ("gate", "cart", "crane")] == expected
    with pytest.raises(ValueError, match="own has 2 devices by their counts, and at least these; 1 were asked for"):
        build_fleet([own], 1, 1)
    own["devices"] = own["devices"][:1]
    assert default_count([own]) == 2
    with pytest.raises(ValueError, match="no more and no fewer; 3 were asked for"):
        build_fleet([own], 3, 1)


def test_a_mixed_fleet_has_something_of_everything() -> None:
    mixed = build_fleet(ALL, 40, 0)
    assert len({device.topic for device in mixed}) == 40
    assert {device.scenario for device in mixed[:4]} == set(SCENARIOS)
    assert {device.kind for device in mixed} == {spec["kind"] for found in ALL for spec in found["devices"]}
    assert [len(build_fleet(ALL, count, 0)) for count in (1, 2, 37)] == [1, 2, 37]
    assert default_count(ALL) == 36


def test_wishes() -> None:
    prefixed = fleet_of("home", 6, prefix="lab/a")
    assert all(device.topic.startswith("lab/a/home/house-001/") for device in prefixed)
    assert prefixed[0].name == "lab-a-thermostat-0001"
    assert prefixed[0].root == "lab/a/home"
    bare = [message for device in fleet_of("home", 6) for message in life(device, 10)]
    assert [message for device in prefixed for message in life(device, 10)] == [
        (f"lab/a/{topic}", payload) for topic, payload in bare
    ]
    assert {device.content_type for device in fleet_of("home", 12)} == {
        *("application/json", "application/msgpack", "text/plain"),
    }
    assert {device.encoding for device in fleet_of("home", 12, encoding="msgpack")} == {"msgpack"}
    mixed = fleet_of("factory", 16, encoding="mixed")
    assert {(device.kind, device.encoding) for device in mixed} == {
        (kind, encoding) for kind in ("press", "motor", "oven") for encoding in ("json", "msgpack")
    }
    channels = [channel for device in fleet_of("home", 12, qos=2, retain=True) for channel in device.channels]
    assert {(channel.qos, channel.retain) for channel in channels} == {(2, True)}


def test_a_rate_is_that_of_all_together() -> None:
    for rate in (0.5, 20_000.0):
        devices = fleet_of("home", 50, rate=rate)
        assert natural_rate(devices) == pytest.approx(rate)
        lights = [channel for device in devices for channel in device.channels if channel.name == "light"]
        assert {channel.every for channel in lights} == {2.0}


def test_a_fleet_that_speaks_on_change_only_cannot_be_quickened(tmp_path: Path) -> None:
    quiet = written(tmp_path, LAMPS.partition("power =")[0])
    assert natural_rate(build_fleet([quiet], 3, 1)) == 0.0
    with pytest.raises(ValueError, match="nothing that a rate could quicken"):
        build_fleet([quiet], 3, 1, Wishes(rate=5.0))


@pytest.mark.parametrize(("share", "flaky"), [(0.0, 0), (0.001, 1), (0.25, 10), (1.0, 40)])
def test_a_share_is_flaky(share: float, flaky: int) -> None:
    devices = fleet_of("vehicles", 40, flaky=share)
    assert sum(device.flaky for device in devices) == flaky
    assert {device.uptime for device in devices} == {75.0}
