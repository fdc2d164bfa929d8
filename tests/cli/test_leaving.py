"""Leaving the process without taking it apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.cli.leaving import PROCESS, Process

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import atexit, sys, tempfile
from broker.cli.leaving import Process

class Large:
    def __del__(self):
        print("freed", flush=True)

process = Process()
process.own = {own}
process.keep(Large())
folder = tempfile.TemporaryDirectory(dir=sys.argv[1])
atexit.register(print, "at exit")
print("last words")
{close}
process.leave(7)
"""


def left(tmp_path: Path, own: bool, close: str = "") -> tuple[int, list[str]]:
    """Exit code and what was said; its temporary folder is gone."""
    script = SCRIPT.format(own=own, close=close)
    command = [sys.executable, "-c", script, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert not list(tmp_path.iterdir())
    return result.returncode, result.stdout.splitlines()


def test_what_is_kept_is_not_freed_and_all_else_is_done(tmp_path: Path) -> None:
    assert left(tmp_path, True) == (7, ["last words", "at exit"])


def test_without_a_process_of_its_own_nothing_is_kept(tmp_path: Path) -> None:
    assert left(tmp_path, False) == (7, ["freed", "last words", "at exit"])


def test_a_reader_that_has_gone_changes_nothing(tmp_path: Path) -> None:
    code, _ = left(tmp_path, True, "import os; r, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w)")
    assert code == 7


def test_nothing_kept_is_an_ordinary_end() -> None:
    with pytest.raises(SystemExit) as caught:
        Process().leave(3)
    assert caught.value.code == 3


def test_no_test_keeps_anything() -> None:
    assert not PROCESS.own
    assert not PROCESS.kept


def test_a_broker_leaves_at_once_and_nothing_behind(tmp_path: Path) -> None:
    """The freeing of its Server would say so."""
    script = (
        "import sys, broker.server, broker.cli\n"
        "broker.server.Server.__del__ = lambda self: print('freed', flush=True)\n"
        "sys.argv = ['broker', 'serve', '--bind', 'unix:b.sock', '--log-format', 'text']\n"
        "broker.cli.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "Ctrl-C" not in process.stderr.readline():
        assert process.poll() is None
    assert (tmp_path / "b.sock").exists()
    os.kill(process.pid, signal.SIGTERM)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "SIGTERM: shutting down" in error
    assert not list(tmp_path.iterdir())
