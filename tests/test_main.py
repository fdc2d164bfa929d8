from __future__ import annotations

import subprocess
import sys

from broker.cli import version_text


def test_the_package_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "broker", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version_text()}\n", "")
