"""Scenarios and devices for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.config.scenario import load_scenario
from broker.simulation.devices import Device, Scenario, Wishes, build_fleet
from broker.simulation.scenarios import path_of

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_763_726_400.0  # 2025-11-21T12:00Z

_read: dict[str, Scenario] = {}


def scenario(name: str) -> Scenario:
    """A built-in scenario; read once."""
    if name not in _read:
        _read[name] = load_scenario(path_of(name))
    return _read[name]


def fleet_of(name: str, count: int | None = None, seed: int = 1, **wishes: Any) -> list[Device]:
    return build_fleet([scenario(name)], count, seed, Wishes(**wishes))


def written(folder: Path, text: str, name: str = "own.toml") -> Scenario:
    """The scenario of a file with `text`."""
    path = folder / name
    path.write_text(text, "utf-8")
    return load_scenario(path)


LAMPS = """
[[devices]]
kind = "lamp"
topic = "den/{kind}-{number}"
interval = "20ms"
[devices.signals]
on = { type = "setting", value = false }
level = { type = "setting", value = 80, minimum = 1, maximum = 100 }
watts = { type = "product", of = ["on", "level"], factor = 0.1, decimals = 1 }
[devices.channels]
light = { fields = ["on", "level"], qos = 1, retain = true, on_change = true }
power = { fields = ["watts"] }
"""
