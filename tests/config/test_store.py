"""What is kept, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from broker.config import Config, StoreConfig

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_path_nothing_is_kept() -> None:
    store = Config().store
    assert (store.path, store.durability, store.reserve, store.ballast) == (None, "none", None, None)


@pytest.mark.parametrize("durability", ["none", "written", "fsync"])
def test_with_a_path_the_level_is_ones_own(durability: Any, tmp_path: Path) -> None:
    assert StoreConfig(path=tmp_path).durability == "fsync"
    assert Config(store=StoreConfig(path=tmp_path, durability=durability)).store.durability == durability


@pytest.mark.parametrize("durability", ["written", "fsync"])
def test_a_level_needs_a_path(durability: Any) -> None:
    with pytest.raises(ValidationError, match=r"store\.durability: there is no folder .* --data DIR"):
        Config(store=StoreConfig(durability=durability))


def test_room_on_the_disk() -> None:
    store = StoreConfig.model_validate({"reserve": "64MiB", "ballast": 0})
    assert (store.reserve, store.ballast) == (64 << 20, 0)
    for name in ("reserve", "ballast"):
        for value in (-1, "lots", True, 1.5):
            with pytest.raises(ValidationError):
                StoreConfig.model_validate({name: value})
