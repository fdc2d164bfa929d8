"""Makes the pictures of the documents: `python -m tests.dashboard.pictures docs/pictures`.

They show the built page at a broker that lives for a while with a simulated fleet, over TCP and WebSocket. The fleet is
the same each time; figures and times are what they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.dashboard.test_page import NODE_FOLDER, node
from tests.interop import brokers, tools

SECONDS: Final = 150  # of which the charts tell
FLEET: Final = ("simulate", "home", "--seed", "7", "--devices", "60", "--rate", "120", "--flaky", "0.1", "--no-table")


def make(folder: Path) -> int:
    """Write the pictures into `folder`; the exit status of what made them."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, brokers.served(Path(place)) as running:
        urls = [f"--url={door.url}" for door in (running.tcp, running.ws)]
        fleet = subprocess.Popen([sys.executable, "-m", "broker", *FLEET, *urls], stdout=subprocess.DEVNULL)
        try:
            options = {
                "chromium": tools.program("chromium", "chromium"),
                "folder": str(folder.resolve()),
                "tcp": running.tcp.port,
                "ws": running.ws.port,
                "seconds": SECONDS,
            }
            command = [str(node().program), "pictures.mjs", json.dumps(options)]
            return subprocess.run(command, cwd=NODE_FOLDER, check=False).returncode
        finally:
            fleet.terminate()
            fleet.wait()


if __name__ == "__main__":
    try:
        sys.exit(make(Path(sys.argv[1])))
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
