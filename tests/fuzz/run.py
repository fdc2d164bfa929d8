"""Let Atheris think of inputs for every target, for a bounded time (`make fuzz`).

    python -m tests.fuzz.run [--seconds N] [--runs N --seed N] [--jobs N] [--keep] [--require] [target ...]

Each target runs for so many seconds in a process of its own, as many at a time as there are processors. With `--runs`
and `--seed` the inputs are the same each time, which is for who must not be surprised: CI. Exit status: 0
when nothing was found; 1 when something was: its input is printed as a line for `corpus/`, whose place is there once it
is mended; 3 when Atheris is not here and `--require` was given. Without Atheris, which has wheels for Linux on x86-64,
the seeds alone are put to their targets. `--keep` adds to `corpus/` what led to lines of the broker that no seed leads
to.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fuzz.seeds import FOLDER, LONGEST, TARGETS, seeds, target_of, written_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, FrameType

    from _typeshed import TraceFunction

BROKER: Final = str(Path(__file__).parents[2] / "broker")
SECONDS: Final = 60
STARTING: Final = 300  # seconds that a process may take beyond its time
MEMORY: Final = 1024  # MB that a process may take
SLOW: Final = 5  # seconds that one input may take: a thousand times what the slowest seed does
LONG: Final = {"http": 20_000, "proxy": 6000, "configuration": 2000}  # bytes of an input; others: LONGEST


class Finding(Exception):
    """What is printed: the end of the process's own words, and the input."""


def fuzz(target: str, seconds: int, keep: bool, runs: int, drawn_from: int) -> str:
    """A line of figures. Raises Finding."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch) / "inputs"
        folder.mkdir()
        known = seeds(target)
        for number, seed in enumerate(known):
            (folder / f"seed-{number}").write_bytes(seed)
        options = (
            f"-max_total_time={seconds}",
            f"-max_len={LONG.get(target, LONGEST)}",
            f"-timeout={SLOW}",
            f"-rss_limit_mb={MEMORY}",
            f"-artifact_prefix={scratch}/",
            "-print_final_stats=1",
            f"-runs={runs}",
            f"-seed={drawn_from}",
        )
        command = [sys.executable, "-m", "tests.fuzz.one", target, *options, str(folder)]
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + STARTING,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        words = said(process.stdout, process.stderr)
        for artifact in Path(scratch).glob("*-*"):  # crash-…, timeout-…, oom-…
            raise Finding(f"{words}\n{target}: {written_line(artifact.read_bytes())}")
        if process.returncode:
            raise Finding(f"{words}\n{target}: exit status {process.returncode}")
        new = [path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith("seed-")]
        line = f"{target:<14} {count(process.stderr, 'number_of_executed_units'):>9,} inputs, {len(new):>5,} kept"
        return f"{line}, {add(target, known, new)} written to corpus/" if keep else line


def said(output: str, errors: str) -> str:
    """What matters of a process's words: the exception, or what libFuzzer ended it for."""
    at = output.find(" === Uncaught Python exception")
    if at >= 0:
        return output[at:].strip()
    return errors[max(0, errors.find("ERROR: libFuzzer")) :][-4000:].strip()


def count(output: str, name: str) -> int:
    match = re.search(rf"stat::{name}: +(\d+)", output)
    return int(match[1]) if match else 0


def add(target: str, known: Iterable[bytes], new: Iterable[bytes]) -> int:
    """Write down what of `new`, the shortest first, leads where no other input does."""
    seen: set[tuple[CodeType, int, int]] = set()
    for seed in known:
        seen |= steps(target, seed)
    lines: list[str] = []
    for data in sorted((data for data in new if len(data) <= LONGEST), key=len):
        found = steps(target, data)
        if not found <= seen:
            seen |= found
            lines.append(written_line(data) + "\n")
    with (FOLDER / f"{target}.txt").open("a") as file:
        file.writelines(lines)
    return len(lines)


def steps(target: str, data: bytes) -> set[tuple[CodeType, int, int]]:
    """From which line to which the broker goes for an input."""
    found: set[tuple[CodeType, int, int]] = set()

    def enter(frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        if not frame.f_code.co_filename.startswith(BROKER):
            return None
        last = 0

        def step(frame: FrameType, event: str, argument: object) -> TraceFunction:
            nonlocal last
            found.add((frame.f_code, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        target_of(target)(data)
    finally:
        sys.settrace(None)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what the broker reads, for a bounded time.")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for each target (default: {SECONDS})")
    parser.add_argument("--runs", type=int, default=-1, help="inputs of each target at most (default: no bound)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: another one each time)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time (default: processors)")
    parser.add_argument("--keep", action="store_true", help="add what leads further to corpus/")
    parser.add_argument("--require", action="store_true", help="fail where Atheris is not installed")
    parser.add_argument("targets", nargs="*", help=f"of: {', '.join(TARGETS)} (default: all)")
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    if unknown := [target for target in targets if target not in TARGETS]:
        parser.error(f"there is no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        for target in targets:
            for seed in seeds(target):
                target_of(target)(seed)
        print("Atheris is not here (it has wheels for Linux on x86-64): the seeds alone were tried.")
        return 3 if options.require else 0
    began = time.monotonic()
    found = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        wanted = (options.seconds, options.keep, options.runs, options.seed)
        for future in [pool.submit(fuzz, target, *wanted) for target in targets]:
            try:
                print(future.result(), flush=True)
            except (Finding, subprocess.TimeoutExpired) as error:
                found += 1
                print(error, flush=True)
    print(f"{len(targets)} targets, {found} finds, {time.monotonic() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
