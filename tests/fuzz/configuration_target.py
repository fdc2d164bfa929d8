"""Configuration files: a configuration, or all mistakes at once, each with its place."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from broker.config import Config
from broker.config.errors import ConfigError
from broker.config.load import load


@cache
def file() -> Path:
    """One that is written anew for each input, and goes with the process."""
    made = NamedTemporaryFile(suffix=".toml", delete=False)  # noqa: SIM115
    made.close()
    return Path(made.name)


def target(data: bytes) -> None:
    """A configuration, or all mistakes at once, each with its place."""
    path = file()
    path.write_bytes(data)
    lines = len(data.splitlines()) + 1
    try:
        config = load(path, {})
    except ConfigError as error:
        mistakes = error.mistakes
    else:
        assert isinstance(config, Config)
        return
    assert mistakes
    for mistake in mistakes:
        assert mistake.message
        place = re.match(re.escape(str(path)) + r":(\d+):(\d+)", mistake.where)
        assert place is None or 1 <= int(place[1]) <= lines
