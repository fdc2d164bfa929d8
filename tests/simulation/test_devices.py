from __future__ import annotations

import itertools
import json
from random import Random

import msgpack
import pytest

from broker.packets.topics import valid_topic_name
from broker.simulation.devices import MIXED, SCENARIOS, Device, Drift, build_fleet, daylight

NOON = 1_763_726_400.0  # 2025-11-21T12:00Z

KINDS = [kind for kinds in SCENARIOS.values() for kind in kinds]


def life(device: Device, seconds: float, step: float) -> list[tuple[str, bytes, int]]:
    """All messages of a device that is asked every `step` seconds."""
    return [device.next_message(NOON + index * step) for index in range(int(seconds / step))]


def read(device: Device, payload: bytes) -> dict[str, object]:
    values = json.loads(payload) if device.encoding == "json" else msgpack.unpackb(payload)
    assert isinstance(values, dict)
    return values


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    def messages(seed: int) -> list[tuple[str, bytes, int]]:
        return [message for device in build_fleet(MIXED, 18, seed) for message in life(device, 120, 1.5)]

    assert messages(1) == messages(1)
    assert messages(1) != messages(2)


@pytest.mark.parametrize("kind", KINDS)
def test_readings_are_on_valid_topics_in_the_devices_own_encoding(kind: type[Device]) -> None:
    device = kind("home", 1, 7)
    for topic, payload, qos in life(device, 300, 1.0):
        assert topic.startswith(f"home/{device.kind}-0001/")
        assert valid_topic_name(topic)
        assert qos in (0, 1)
        values = read(device, payload)
        assert isinstance(values["time"], int)
        assert len(values) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_has_one_time_and_the_next_is_later(kind: type[Device]) -> None:
    device = kind("home", 1, 7)
    channels = len(device.sweep())
    times = [read(device, payload)["time"] for _, payload, _ in life(device, channels * 3, 1.0)]
    assert times == [int((NOON + sweep * channels) * 1000) for sweep in range(3) for _ in range(channels)]


@pytest.mark.parametrize(
    ("scenario", "channel", "key", "most"),
    [
        ("home", "climate", "temperature", 0.5),
        ("factory", "winding", "temperature", 2.0),
        ("weather", "air", "temperature", 1.0),
        ("tracker", "position", "latitude", 0.001),
    ],
)
def test_values_do_not_jump(scenario: str, channel: str, key: str, most: float) -> None:
    for device in build_fleet(scenario, 4, 3):
        values = [
            read(device, payload)[key] for topic, payload, _ in life(device, 600, 1.0) if topic.endswith(f"/{channel}")
        ]
        for before, after in itertools.pairwise(values):
            assert isinstance(before, float)
            assert isinstance(after, float)
            assert abs(after - before) <= most


@pytest.mark.parametrize(
    ("scenario", "channel", "key"),
    [
        ("home", "energy", "kilowatt_hours"),
        ("factory", "count", "parts"),
        ("weather", "rain", "millimetres"),
    ],
)
def test_counters_only_rise(scenario: str, channel: str, key: str) -> None:
    seen = 0
    for device in build_fleet(scenario, 6, 5):
        values = [
            read(device, payload)[key] for topic, payload, _ in life(device, 1200, 2.0) if topic.endswith(f"/{channel}")
        ]
        seen += len(values)
        assert values == sorted(values, key=lambda value: float(str(value)))
    assert seen > 100


def test_a_heated_room_stays_near_its_target() -> None:
    device = build_fleet("home", 1, 2)[0]
    values = [read(device, payload) for topic, payload, _ in life(device, 4 * 3600, 10.0) if topic.endswith("/climate")]
    late = [float(str(value["temperature"])) for value in values[len(values) // 2 :]]
    assert max(late) - min(late) < 1.5


def test_drift_keeps_to_its_mean_and_spread() -> None:
    chance = Random(4)
    drift = Drift(chance, 10.0, 2.0, 5.0)
    values = [drift.advance(chance, 20.0) for _ in range(4000)]
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    assert mean == pytest.approx(10.0, abs=0.2)
    assert deviation == pytest.approx(2.0, abs=0.2)
    before = drift.value
    assert drift.advance(chance, 0.0) == before


def test_a_long_silence_is_no_leap() -> None:
    device = build_fleet("tracker", 1, 1)[0]
    positions = [read(device, device.next_message(NOON + hours * 3600)[1]) for hours in (0, 0, 5)]
    moved = abs(float(str(positions[2]["latitude"])) - float(str(positions[0]["latitude"])))
    assert moved < 0.02  # about 2 km, a minute's way and not five hours'


def test_daylight() -> None:
    assert daylight(3 * 3600.0) == pytest.approx(-1.0)
    assert daylight(15 * 3600.0) == pytest.approx(1.0)
    assert daylight(9 * 3600.0) == pytest.approx(0.0, abs=1e-9)


def test_fleets() -> None:
    assert [device.name for device in build_fleet("factory", 4, 0)] == [
        "press-0001",
        "motor-0001",
        "press-0002",
        "motor-0002",
    ]
    mixed = build_fleet(MIXED, 40, 0)
    assert len({device.topic for device in mixed}) == 40
    assert {type(device) for device in mixed} == set(KINDS)
    assert {device.content_type for device in mixed} == {"application/json", "application/msgpack"}
    with pytest.raises(KeyError):
        build_fleet("nowhere", 1, 0)
