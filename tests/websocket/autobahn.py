"""Run the Autobahn suite (wstest, the fuzzing client) against the echo server and print what it found.

The suite is a Python 2.7 program. One is looked for in AUTOBAHN_PYTHON, then as `python2.7` on the PATH and among the
versions of pyenv; the suite is installed once into `.cache/autobahn` beside the project. Exit status: 0 when no case
failed, 1 when one did, 3 when there is no Python 2.7 and `--require` was given (0 without it), 4 when the suite could
not be installed or run.

Compression is agreed on where a case offers it: groups 12 and 13, whose 216 cases send a thousand messages each. They
run when they are named (`make autobahn GROUPS="12 13"`); otherwise a small one of a few of their parts does.

    python -m tests.websocket.autobahn [--require] [--context-takeover] [case ...]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final, cast

from tests.websocket.echo import TAKEOVER

CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "autobahn"
SUITE: Final = "autobahntestsuite==25.10.1"
CASES: Final = (*(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)), "12.1.1", "13.2.1", "13.4.1", "13.6.1")
PASSED: Final = frozenset(("OK", "NON-STRICT", "INFORMATIONAL"))
SECONDS: Final = 7200.0  # for all cases


def find_python() -> str | None:
    """A Python 2.7 that runs; pyenv's stub on the PATH does not unless the version is chosen."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [str(path) for path in sorted(pyenv.glob("versions/2.7*/bin/python2.7"))]
    for candidate in (os.environ.get("AUTOBAHN_PYTHON"), shutil.which("python2.7"), *versions):
        if candidate:
            probe = [candidate, "-c", "import sys; sys.exit(sys.version_info[:2] != (2, 7))"]
            try:
                if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode == 0:
                    return candidate
            except (OSError, subprocess.TimeoutExpired):
                continue
    return None


def install(python: str) -> Path:
    """The folder that holds the suite; fetched at the first call."""
    folder = CACHE / "suite"
    installed = CACHE / "installed"
    if installed.exists() and installed.read_text() == SUITE:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"installing {SUITE} into {CACHE}", flush=True)
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--target", str(folder), SUITE]
    subprocess.run(pip, check=True, timeout=600)
    (folder / "zope" / "__init__.py").touch()  # a namespace package, which --target leaves without its path file
    installed.write_text(SUITE)
    return folder


def run(python: str, suite: Path, cases: list[str], arguments: tuple[str, ...] = ()) -> dict[str, dict[str, object]]:
    """What wstest says of each case of the echo server with `arguments`: case number -> its entry of the index."""
    with tempfile.TemporaryDirectory(prefix="autobahn-") as scratch:
        command = [sys.executable, "-m", "tests.websocket.echo", *arguments]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            spec = {
                "outdir": scratch,
                "servers": [{"agent": "broker", "url": f"ws://127.0.0.1:{port}"}],
                "cases": cases,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
            path = Path(scratch) / "spec.json"
            path.write_text(json.dumps(spec))
            with (Path(scratch) / "wstest.log").open("w") as log:
                subprocess.run(
                    [python, str(suite / "bin" / "wstest"), "-m", "fuzzingclient", "-s", str(path)],
                    env={**os.environ, "PYTHONPATH": str(suite)},
                    cwd=scratch,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=True,
                    timeout=SECONDS,
                )
        except (subprocess.SubprocessError, ValueError):
            for log_file in Path(scratch).glob("*.log"):
                print(log_file.read_text()[-2000:])
            raise
        finally:
            server.kill()
            server.wait()
        index = json.loads((Path(scratch) / "index.json").read_text())
        return cast("dict[str, dict[str, object]]", index["broker"])


def table(results: dict[str, dict[str, object]]) -> str:
    """One line a group of cases, and one for every case that is not plainly OK."""
    groups: dict[str, Counter[str]] = {}
    for case, entry in results.items():
        groups.setdefault(case.partition(".")[0], Counter())[_behavior(entry)] += 1
    lines = [f"{'group':>5}  {'cases':>5}  result"]
    for group, counts in sorted(groups.items(), key=lambda item: int(item[0])):
        found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        lines.append(f"{group:>5}  {sum(counts.values()):>5}  {found}")
    for case, entry in sorted(results.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        if _behavior(entry) != "OK":
            lines.append(f"{case:>8}  {_behavior(entry)}")
    return "\n".join(lines)


def _behavior(entry: dict[str, object]) -> str:
    """The worse of the two verdicts on a case: its own, and that on how the connection was closed."""
    for verdict in (entry["behavior"], entry["behaviorClose"]):
        if verdict not in PASSED:
            return str(verdict)
    return str(entry["behavior"])


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the Autobahn suite against the WebSocket frame layer.")
    parser.add_argument("--require", action="store_true", help="fail where there is no Python 2.7")
    parser.add_argument(TAKEOVER, action="store_true", dest="takeover", help="compress with context takeover")
    parser.add_argument("cases", nargs="*", help="patterns such as 6.* (default: groups 1-7, 9, 10 and four more)")
    options = parser.parse_args()
    python = find_python()
    if python is None:
        print("The Autobahn suite was NOT run: it needs Python 2.7 (AUTOBAHN_PYTHON or python2.7 on the PATH).")
        return 3 if options.require else 0
    began = time.monotonic()
    try:
        arguments = (TAKEOVER,) if options.takeover else ()
        results = run(python, install(python), options.cases or list(CASES), arguments)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        print(f"The Autobahn suite could not be run: {error}")
        return 4
    print(table(results))
    failed = [case for case, entry in results.items() if _behavior(entry) not in PASSED]
    print(f"{len(results)} cases, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
