"""The built page in a headless Chromium, against `broker serve` and devices over TCP.

`node/scenarios.mjs` has what is done and what must be seen then; all of it runs in one browser, and so is one test. The
page needs nothing but MQTT in these: the API is not there, and the page must say so where it matters.
axe looks at each view, dark and on a phone. `DASHBOARD_PICTURES` names a folder for screenshots.

`test_its_modules` runs the page's own unit tests, which need no browser.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

import hatch_ui
from tests.interop import brokers, tools

pytestmark = pytest.mark.build("plain")  # a browser takes long, and the compiled broker says the same bytes

ROOT: Final = Path(__file__).parents[2]
NODE_FOLDER: Final = Path(__file__).parent / "node"
SECONDS: Final = 240
SCENARIOS: Final = {
    "overview",
    "topics",
    "formats",
    "filter_and_pins",
    "the_list_stays_under_the_pointer",
    "pause",
    "keyboard",
    "publish",
    "retained",
    "what_needs_the_api_says_so",
    "transports",
    "the_broker_is_all_that_is_asked",
    "themes",
    "look_dark",
    "look_phone",
}


def node() -> hatch_ui.Node:
    found = hatch_ui.find_node()
    if found is None:
        tools.missing("Node.js 20.19 or later", "run 'make interop-node'")
    return found


def test_the_page(tmp_path: Path) -> None:
    if not (ROOT / hatch_ui.BUILT / "index.html").exists():
        tools.missing("The dashboard's page", "run 'make ui'")
    if not (NODE_FOLDER / "node_modules/playwright-core").exists():
        tools.missing("playwright-core", "run 'make interop-node'")
    tools.mqttjs()
    options: dict[str, object] = {
        "chromium": tools.program("chromium", "chromium"),
        "folder": str(ROOT / hatch_ui.BUILT),
        "pictures": os.environ.get("DASHBOARD_PICTURES"),
    }
    with brokers.served(tmp_path) as served:
        options |= {"origin": f"http://{served.ws.host}:{served.ws.port}", "tcp": served.tcp.port}
        done = subprocess.run(
            [str(node().program), "main.mjs", json.dumps(options)],
            cwd=NODE_FOLDER,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    results = {line["name"]: line["error"] for line in map(json.loads, done.stdout.splitlines())}
    assert {name: error for name, error in results.items() if error is not None} == {}
    assert done.returncode == 0, done.stderr
    assert set(results) == SCENARIOS


def test_its_modules() -> None:
    folder = ROOT / hatch_ui.SOURCE
    vitest = folder / "node_modules/vitest/vitest.mjs"
    if not vitest.exists():
        tools.missing("vitest", "run 'make ui'")
    command = [str(node().program), str(vitest), "run", "--reporter=dot"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_loads_first_is_small() -> None:
    folder = ROOT / hatch_ui.BUILT
    if not (folder / "index.html").exists():
        tools.missing("The dashboard's page", "run 'make ui'")
    first = list((folder / "assets").glob("index-*.gz"))
    assert {path.suffixes[-2] for path in first} == {".js", ".css"}
    assert sum(path.stat().st_size for path in first) < 200_000
