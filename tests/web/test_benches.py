"""Comparisons run one at a time as processes of their own, and none stays behind, whatever it or we do.

A script stands for `broker bench compare`, but where it is that which must not stay behind.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from broker.site import compare_command
from broker.web import benches as module
from broker.web.benches import Benches, Busy, environment, longest_seconds
from broker.web.reports import KEPT, REPORT_BYTES, Comparison
from tests.bench.test_own_broker import is_there
from tests.cli.bench.test_single import children
from tests.web.systems import Bench
from tests.web.test_reports import REPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

TELL = """
import json, os, signal, subprocess, sys, time
def tell(**words):
    print(json.dumps(words), file=sys.stderr, flush=True)
report = {report}
"""


def bench_of(script: str, folder: Path | None = None) -> Bench:
    """A system whose comparisons are this script."""
    bench = Bench()
    text = TELL.format(report=repr(json.dumps(REPORT))) + script
    bench.system.compare = (sys.executable, "-I", "-S", "-c", text)
    bench.system.folder = folder
    return bench


async def over(benches: Benches) -> Comparison:
    """The one that runs, when it does no more."""
    running = benches.running
    assert running is not None
    with trio.fail_after(60):
        while benches.running is not None:  # noqa: ASYNC110 - who looks from outside asks again and again, too
            await trio.sleep(0.01)
    return running


async def at(comparison: Comparison, progress: float) -> None:
    with trio.fail_after(60):
        while comparison.progress < progress:  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)


async def run(script: str, nursery: trio.Nursery) -> tuple[Comparison, Benches]:
    benches = Benches(bench_of(script).system, nursery)
    await benches.start("pub", 1, 2, 3)
    return await over(benches), benches


async def test_one_runs_and_its_report_outlives_us(tmp_path: Path, nursery: trio.Nursery) -> None:
    go_on = tmp_path / "go-on"
    script = f"""
tell(done=0.5, text="round 1")
tell(done=0.25), tell(other=1), tell(done="x")
while not os.path.exists({str(go_on)!r}):
    time.sleep(0.01)
print("a summary", sys.argv[1:], file=sys.stderr)
print(report)
"""
    bench = bench_of(script, tmp_path)
    benches = Benches(bench.system, nursery)
    assert benches.possible
    started = await benches.start("rtt", 0.25, 2, 30)
    assert (started.state, started.progress, started.error) == ("running", 0, None)
    await at(started, 0.5)
    assert await benches.all() == [started]
    with pytest.raises(Busy) as busy:
        await benches.start("pub", 1, 1, 0)
    assert busy.value.running is started
    go_on.touch()
    assert await over(benches) is started
    assert (started.state, started.progress, started.error) == ("done", 1, None)
    assert json.loads(await benches.report(started) or "") == REPORT

    later = Benches(bench.system, nursery)
    (found,) = await later.all()
    assert found.told() == started.told()
    assert json.loads(await later.report(found) or "") == REPORT
    await later.remove(found)
    assert await later.all() == []
    assert await Benches(bench.system, nursery).all() == []


async def test_what_it_is_told(nursery: trio.Nursery) -> None:
    found, _ = await run("sys.exit(' '.join(sys.argv[1:]))", nursery)
    assert found.error == ("--workload pub -d 1 --rounds 2 --connections 3 --json=- --json-progress")


async def test_it_comes_after_us(nursery: trio.Nursery) -> None:
    script = f"while os.nice(0) == {os.nice(0)}: time.sleep(0.01)\n"
    found, _ = await run(script + "sys.exit(f'{os.nice(0)} {os.getpgid(0) == os.getpid()}')", nursery)
    assert found.error == f"{min(19, os.nice(0) + 10)} True"


@pytest.mark.parametrize(
    ("script", "state", "error"),
    [
        (
            "print('Usage', file=sys.stderr); sys.exit('Error: cannot connect: refused')",
            "failed",
            "cannot connect: refused",
        ),
        ("sys.exit(3)", "failed", "It ended without a word (3)."),
        ("os.kill(os.getpid(), 9)", "failed", "It ended without a word (-9)."),
        ("print('{}')", "failed", "It ended without a word (0)."),
        ("sys.stderr.buffer.write(b'\\xff' + b'x' * 200000); sys.exit(1)", "failed", "\ufffd" + "x" * 299),
        (
            "print(report); sys.exit(1)",
            "done",
            "Not every message arrived once, whole and in order, as the report says.",
        ),
        (f"print('x' * {REPORT_BYTES} * 2); time.sleep(100)", "failed", "Its report is too long."),
    ],
)
async def test_how_it_ends(script: str, state: str, error: str, nursery: trio.Nursery) -> None:
    found, benches = await run(script, nursery)
    assert (found.state, found.error) == (state, error)
    assert (await benches.report(found) is not None) == (state == "done")
    assert await benches.all() == [found]


async def test_a_command_that_is_not_there(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.system.compare = ("/there/is/no/such/program",)
    benches = Benches(bench.system, nursery)
    await benches.start("pub", 1, 1, 0)
    found = await over(benches)
    assert found.state == "failed"
    assert found.error is not None
    assert found.error.startswith("It cannot be run: ")
    assert caplog.records[0].levelno == logging.ERROR


async def test_it_is_ended_where_it_does_not_end(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "longest_seconds", lambda comparison: 0.01)
    found, _ = await run("time.sleep(100)", nursery)
    assert (found.state, found.error) == ("failed", "It was not over after 0 s.")


async def test_stopped_it_tells_what_it_has(nursery: trio.Nursery) -> None:
    script = """
def end(*_):
    print(report)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
tell(done=0.5)
time.sleep(100)
"""
    benches = Benches(bench_of(script).system, nursery)
    benches.stop()
    started = await benches.start("pub", 1, 1, 0)
    await at(started, 0.5)
    benches.stop()
    assert started.state == "stopping"
    assert await over(benches) is started
    assert (started.state, started.error) == ("stopped", "It was stopped before its end.")
    assert json.loads(await benches.report(started) or "") == REPORT


async def test_stopped_before_it_began(nursery: trio.Nursery) -> None:
    benches = Benches(bench_of("time.sleep(100)").system, nursery)
    started = await benches.start("pub", 1, 1, 0)
    benches.stop()
    await over(benches)
    assert started.state == "stopped"
    assert await benches.report(started) is None


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(100)"])
print(child.pid, file=sys.stderr)
tell(done=0.5)
time.sleep(100)
"""


async def test_the_stubborn_are_killed_with_all_of_their_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GOODBYE", 0.01)
    async with trio.open_nursery() as ours:
        benches = Benches(bench_of(STUBBORN).system, ours)
        started = await benches.start("pub", 1, 1, 0)
        await at(started, 0.5)
        assert benches._process is not None
        group = benches._process.pid
        benches.close()
        assert not benches.possible
        assert os.getpgid(group) == group
        ours.cancel_scope.cancel()
    with trio.fail_after(60):
        while _alive(group):  # noqa: ASYNC110 - the kernel tells nobody when a grandchild has ended
            await trio.sleep(0.01)


def _alive(group: int) -> list[str]:
    """Processes of a group, but for those that nobody has asked about since they ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(path.parent.name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are seen in /proc")
async def test_nothing_stays_behind_a_broker_that_ends() -> None:
    bench = Bench()
    bench.system.compare = compare_command()
    seen: Sequence[int] = []
    async with trio.open_nursery() as ours:
        benches = Benches(bench.system, ours)
        started = await benches.start("pub", 60, 12, 0)
        with trio.fail_after(120):
            while len(seen) < 2:  # its broker and a worker
                await trio.sleep(0.02)
                seen = list(children(benches._process.pid)) if benches._process is not None else []
        assert started.state == "running"
        ours.cancel_scope.cancel()
    with trio.fail_after(60):
        while any(map(is_there, seen)):  # noqa: ASYNC110 - they are not our children
            await trio.sleep(0.02)


async def test_those_that_failed_are_forgotten_in_time(nursery: trio.Nursery) -> None:
    bench = Bench()
    bench.system.compare = ("/there/is/no/such/program",)
    benches = Benches(bench.system, nursery)
    for _ in range(KEPT + 1):
        last = await benches.start("pub", 1, 1, 0)
        await over(benches)
    with trio.fail_after(60):
        while len(found := await benches.all()) > KEPT:  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)
    assert (len(found), found[0]) == (KEPT, last)


async def test_where_none_can_be_run(nursery: trio.Nursery) -> None:
    assert not Benches(Bench().system, nursery).possible
    assert not Benches(bench_of("").system, None).possible


def test_the_environment() -> None:
    given = {"PATH": "/bin", "BROKER_LISTENERS": "x", "NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1"}
    root = str(Path(module.__file__).parents[2])
    assert environment(given) == {"PATH": "/bin", "PYTHONPATH": root}
    assert environment({"PYTHONPATH": "/mine"}) == {"PYTHONPATH": f"{root}{os.pathsep}/mine"}


def test_patience_grows_with_the_load() -> None:
    short = longest_seconds(Comparison("x", "pub", 0.2, 1, 0, 0))
    long = longest_seconds(Comparison("x", "pub", 60, 12, 500, 0))
    assert 60 < short < 120 < 12 * 2 * 60 < long < 6 * 3600
