"""The built-in scenarios: TOML files, of the same form as a user's own. `broker.config.scenario` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SCENARIOS: Final = ("home", "factory", "vehicles", "weather")
MIXED: Final = "mixed"  # all of them at once


def path_of(name: str) -> Path:
    """The file of a built-in scenario."""
    return Path(__file__).parent / f"{name}.toml"
