"""The built page in a headless Chromium, as `broker serve` serves it, with devices over TCP and WebSocket.

`node/scenarios.mjs` has what is done and what must be seen then; all of it runs in one browser, and so is one test.
There are three brokers: one as it starts by itself, one without its admin API, where the page has MQTT alone, and one
that asks who one is. axe looks at each view, dark and on a phone. `pictures` makes the documents' screenshots.

`test_its_source` runs the page's own unit tests, which need no browser, and checks its types.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import hatch_ui
from tests.interop import brokers, tools

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.build("plain")  # a browser takes long, and the compiled broker says the same bytes

ROOT: Final = Path(__file__).parents[2]
NODE_FOLDER: Final = Path(__file__).parent / "node"
SECONDS: Final = 1200  # ends a run that hangs; it says nothing of how fast a machine has to be
SCENARIOS: Final = {
    "overview",
    "clients",
    "subscriptions",
    "explain",
    "retained",
    "topics",
    "formats",
    "filter_and_pins",
    "the_list_stays_under_the_pointer",
    "pause",
    "keyboard",
    "publish",
    "compare",
    "themes",
    "overview_from_sys",
    "retained_over_mqtt",
    "what_needs_the_api_says_so",
    "transports_from_sys",
    "log_in",
    "first_steps",
    "look_dark",
    "look_phone",
}


def node() -> hatch_ui.Node:
    found = hatch_ui.find_node()
    if found is None:
        tools.missing("Node.js 20.19 or later", "run 'make interop-node'")
    return found


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[dict[str, int]]:
    """A broker, as the ports of its listeners."""
    folder.mkdir()
    with brokers.served(folder, *arguments) as running:
        yield {"ws": running.ws.port, "tcp": running.tcp.port}


def locked_configuration(folder: Path) -> Path:
    """Of a broker that lets in user `ann` with the password `secret`, and nobody else."""
    passwords = folder / "passwords"
    command = [sys.executable, "-m", "broker", "passwd", "add", str(passwords), "ann", "--stdin"]
    subprocess.run(command, input=b"secret", check=True, capture_output=True)
    path = folder / "locked.toml"
    path.write_text(f'[auth]\npassword_file = "{passwords}"\n\n[web]\nadmins = ["ann"]\n')
    return path


def test_the_page(tmp_path: Path) -> None:
    if not (ROOT / hatch_ui.BUILT / "index.html").exists():
        tools.missing("The dashboard's page", "run 'make ui'")
    if not (NODE_FOLDER / "node_modules/playwright-core").exists():
        tools.missing("playwright-core", "run 'make interop-node'")
    tools.mqttjs()
    without_api = tmp_path / "without-api.toml"
    without_api.write_text("[web]\napi = false\n")
    with (
        served(tmp_path / "open") as is_open,
        served(tmp_path / "without", "-c", str(without_api)) as is_without_api,
        served(tmp_path / "locked", "-c", str(locked_configuration(tmp_path))) as is_locked,
    ):
        options = {
            "chromium": tools.program("chromium", "chromium"),
            "open": is_open,
            "withoutApi": is_without_api,
            "locked": is_locked,
        }
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
    wrong = [f"{name}: {error}" for name, error in results.items() if error is not None]
    assert not wrong, "\n\n".join(wrong)
    assert done.returncode == 0, done.stderr
    assert set(results) == SCENARIOS


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("vitest/vitest.mjs", ["run", "--reporter=dot"]),
        ("svelte-check/bin/svelte-check", ["--fail-on-warnings", "--tsconfig", "./tsconfig.json"]),
    ],
)
def test_its_source(program: str, arguments: list[str]) -> None:
    folder = ROOT / hatch_ui.SOURCE
    path = folder / "node_modules" / program
    if not path.exists():
        tools.missing(program, "run 'make ui'")
    command = [str(node().program), str(path), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_loads_first_is_small() -> None:
    folder = ROOT / hatch_ui.BUILT
    if not (folder / "index.html").exists():
        tools.missing("The dashboard's page", "run 'make ui'")
    first = list((folder / "assets").glob("index-*.gz"))
    assert {path.suffixes[-2] for path in first} == {".js", ".css"}
    assert sum(path.stat().st_size for path in first) < 200_000


def test_nothing_can_become_markup() -> None:
    """Names and payloads are text wherever they are shown: nothing of the page's source makes markup of a string."""
    makes = re.compile(
        r"@html|innerHTML|outerHTML|srcdoc|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser"
        r"|\beval\(|new Function"
    )
    sources = [
        path for path in (ROOT / "broker" / "dashboard" / "ui" / "src").rglob("*") if path.suffix in (".ts", ".svelte")
    ]
    assert len(sources) > 30
    assert [path.name for path in sources if makes.search(path.read_text("utf-8"))] == []
