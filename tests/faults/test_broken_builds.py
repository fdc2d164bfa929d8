"""The tests are tested: a broker that breaks one promise turns the test of that promise red.

Each build is a copy of the source with one change of its text, and runs as plain code.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.build("plain")  # the changed source is not compiled

SECONDS: Final = 120.0
GAPS: Final = "tests/faults/test_exactly_once_gaps.py"
CUTS: Final = "tests/faults/test_power_cut.py"


@dataclass(frozen=True)
class Change:
    """`old` stands once in `file`, and is `new` in the broken build; `tests` fail there, each with its complaint, which
    is a regular expression."""

    file: str
    old: str
    new: str
    tests: dict[str, str]


CHANGES: Final[dict[str, Change]] = {
    "PUBACK and PUBREC before their commit": Change(
        "broker/core/connection.py",
        "if journal is None or (not self.staged and position <= journal.committed):",
        "if True:",
        {
            f"{GAPS}::test_each_gap[5.0-tcp-written-before PUBLISH is kept]": "Pubrec came too early",
            f"{GAPS}::test_puback_waits_for_the_commit[before-commit]": "PUBACK came too early",
        },
    ),
    "PUBREL before its commit": Change(
        "broker/core/exchanging.py",
        "connection.acknowledge(pubrel(identifier), journal.latest() if journal is not None else 0)",
        "connection.outbox.put(pubrel(identifier))",
        {f"{GAPS}::test_each_gap[5.0-tcp-written-before PUBREC is kept]": "Pubrel came too early"},
    ),
    "PUBLISH before its identifier is kept": Change(
        "broker/core/session.py",
        "        if qos == 1:\n            outcome = connection.send_new(queued, 1, now)",
        "        if qos:\n            outcome = connection.send_new(queued, qos, now)",
        {f"{GAPS}::test_each_gap[5.0-tcp-written-before an identifier is kept]": "Publish came too early"},
    ),
    "QoS 2 forwarded before its commit": Change(
        "broker/core/promises.py",
        "        message.position = journal.position\n",
        "        message.position = 0\n",
        {f"{GAPS}::test_a_qos_2_message_goes_on_after_its_commit": "Publish came too early"},
    ),
    "QoS 2 identifiers forgotten": Change(
        "broker/store/load.py",
        "def _load_exchanges(self, restorer: Restorer) -> None:\n",
        "def _load_exchanges(self, restorer: Restorer) -> None:\n        return\n",
        {f"{GAPS}::test_each_gap[5.0-tcp-written-before PUBREC]": "at QoS 2 at subscriber"},
    ),
    "no fsync": Change(
        "broker/store/store.py",
        '"FULL" if self.durability == FSYNC else "NORMAL"',
        '"NORMAL"',
        {f"{CUTS}::test_nothing_acknowledged_is_lost_at_fsync": r"commits are missing|retained/\d of seed"},
    ),
}


def broken(folder: Path, change: Change) -> Path:
    """A copy of the source with that change."""
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "*.so")
    for name in ("broker", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    path = folder / change.file
    source = path.read_text("utf-8")
    assert source.count(change.old) == 1, f"{change.file} has changed: name the line that keeps this promise now"
    path.write_text(source.replace(change.old, change.new), "utf-8")
    return folder


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_broken_promise_is_seen(tmp_path: Path, name: str) -> None:
    change = CHANGES[name]
    folder = broken(tmp_path / "source", change)
    command = [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'run'}"]
    environment = os.environ | {"PYTHONPATH": str(folder), "TRIOMQ_BUILD": "plain", "TRIOMQ_SHARED": ""}
    done = subprocess.run(
        [*command, *change.tests], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-4000:] + done.stderr[-2000:]
    for test, complaint in change.tests.items():
        assert f"FAILED {test}" in done.stdout, done.stdout[-4000:]
        assert re.search(complaint, done.stdout), done.stdout[-4000:]
