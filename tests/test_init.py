"""`import broker`: everything it names is there, and nothing of it is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import broker


@pytest.mark.parametrize("name", broker.__all__)
def test_what_it_names_is_there(name: str) -> None:
    assert getattr(broker, name) is getattr(broker, name)


def test_what_it_does_not_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'server_of_mine'"):
        _ = broker.server_of_mine


def test_importing_it_loads_nothing() -> None:
    code = "import sys, broker; print(*(name for name in sys.modules if name.partition('.')[0] in "
    code += "('trio', 'pydantic', 'msgpack', 'websockets', 'click', 'rich') or name.startswith('broker.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert broker.__version__ == project["version"]
