"""The programs that these tests drive, and what happens where one is missing.

A person who lacks one sees a skip that names it. With TRIOMQ_REQUIRE_INTEROP=1, as in continuous integration, it is a
failure: a test that nobody runs proves nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

NODE_FOLDER = Path(__file__).parent / "node"


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test that asks, or fail it where every tool is required."""
    message = f"{what} is missing: {remedy}"
    if os.environ.get("TRIOMQ_REQUIRE_INTEROP") == "1":
        pytest.fail(message)
    pytest.skip(message)


def program(name: str, package: str) -> str:
    """Return the path of a program of a Debian package."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(name, f"install the Debian package {package}")
    return path


def mqttjs() -> Path:
    """Return the folder of the installed MQTT.js package."""
    folder = NODE_FOLDER / "node_modules" / "mqtt"
    if not (folder / "package.json").is_file():
        missing("MQTT.js", "run 'make interop-node'")
    return folder
