from __future__ import annotations

import pytest

from broker.simulation.devices import Wishes, build_fleet, natural_rate
from broker.simulation.scenarios import MIXED, SCENARIOS, path_of
from tests.simulation.parts import NOON, scenario


def test_the_folder_holds_them_and_no_others() -> None:
    assert sorted(path.stem for path in path_of("home").parent.glob("*.toml")) == sorted(SCENARIOS)
    assert MIXED not in SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_can_be_read_and_lived(name: str) -> None:
    found = scenario(name)
    assert found["name"] == name
    assert found["description"]
    devices = build_fleet([found], None, 1)
    assert len(devices) == found["fleet"]
    assert {device.kind for device in devices} == {spec["kind"] for spec in found["devices"]}
    assert 1.0 < natural_rate(devices) < 100.0
    assert any(device.flaky for device in devices)
    for device in devices[:6]:
        assert all(channel.payload(NOON + minute * 60.0) != b"" for minute in range(60) for channel in device.channels)


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_has_something_retained_and_something_that_obeys_or_correlates(name: str) -> None:
    devices = build_fleet([scenario(name)], None, 1, Wishes(flaky=0.0))
    assert any(channel.retain for device in devices for channel in device.channels)
    assert any(device.command_topic for device in devices) or scenario(name)["site"]["signals"]
    assert not any(device.flaky for device in devices)
