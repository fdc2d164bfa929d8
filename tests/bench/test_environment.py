"""Where figures were made."""

from __future__ import annotations

import getpass
import os
import platform
from datetime import datetime

from broker.bench.environment import Environment, command_line, cores, gather


def test_what_is_told() -> None:
    here = gather("triomq 1 (plain Python)", "broker bench compare")
    assert here.cores == cores() >= 1
    assert here.memory > 1 << 27
    assert platform.python_version() in here.python
    assert here.load >= 0
    made = datetime.fromisoformat(here.date)
    assert made.tzinfo is not None
    assert abs((datetime.now().astimezone() - made).total_seconds()) < 10


def test_names_of_people_and_machines_are_not() -> None:
    text = str(gather("v", "c").to_dict())
    assert platform.node() not in text or len(platform.node()) < 4
    assert f"/{getpass.getuser()}/" not in text
    assert os.getcwd() not in text


def test_it_survives_a_file() -> None:
    here = gather("v", "c")
    assert Environment.from_dict(here.to_dict()) == here
    assert Environment.from_dict({"version": "9", "colour": "of a later version"}) == Environment(version="9")


def test_the_command_line() -> None:
    arguments = ["broker", "bench", "compare", "-P", "pass word", "-L", "mqtt://u:pass word@h", "--fail-if", "p99>5ms"]
    assert command_line(arguments, ["pass word"]) == (
        "broker bench compare -P '***' -L 'mqtt://u:***@h' --fail-if 'p99>5ms'"
    )
    assert command_line(["broker"], [""]) == "broker"
