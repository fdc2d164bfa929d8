"""What all tests share: the markers `statement` and `faults_long`, and which build of the broker they run on.

They run on the source beside them, or, with `TRIOMQ_BUILD=compiled`, on an unpacked wheel that comes first on the path
(`make test-compiled`). The marker `build` is for a test that belongs to one of the two runs: because it is about that
build, or because it has nothing to do with what is compiled and takes long. `faults_long` is for the long form of a
test that has a short one: it runs when `-m` asks for it (`make faults`), and at no other time.

`make test` makes both runs, and with `TRIOMQ_SHARED` set they share some of the work: a scenario goes through half of
its doors in each, and what looks at a broker's process from outside has the compiled one, which is what people run.

Most tests wait: for a process to start, a time to pass, a disk. So more of them run at a time than there are
processors, and none may count on having one to itself; hypothesis measures no times.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

import broker.packets.decode

ROOT: Final = Path(__file__).parent.parent
BUILD: Final = os.environ.get("TRIOMQ_BUILD", "plain")
# What has nothing compiled in it but the packets it is tested with, whose own tests run twice: the second run would be
# the first once more. A compiled broker is proved by the clients of others, and by `serve`, `bench` and `demo`.
NOT_COMPILED: Final = {
    "": "auth client config probe simulation test_readme",
    "bench": "test_charts test_comparison test_conditions test_drawing test_environment test_errors test_findings "
    "test_identity test_limits test_meter test_metrics test_page test_processes test_results test_statistics "
    "test_sweep test_sweep_charts test_sys_meter test_tables test_trust test_units test_workload",
    "cli/bench": "test_compare test_reports test_running test_workloads",
    "cli": "admin test_authority test_beacon test_certs test_config test_connecting test_errors test_explain "
    "test_formats test_logs test_notify test_outputs test_passwd test_payloads test_probe test_properties test_pub "
    "test_reload test_running test_simulate test_sub test_table",
    "interop": "test_commands",
}
# Of these tests one run is enough where there are two
FROM_OUTSIDE: Final = ("faults", "hostile", "interop")
SHARED: Final = bool(os.environ.get("TRIOMQ_SHARED"))
LEFT_OUT: Final = frozenset(Path(folder, name) for folder, names in NOT_COMPILED.items() for name in names.split())
SUFFIXES: Final = {"plain": ".py", "compiled": ".so"}
AT_A_TIME: Final = 2  # tests, for each processor

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def doors_of_this_run(names: tuple[str, ...], *, plain: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `names` that this run goes through: all, or of two runs that share them its own."""
    if not SHARED:
        return names
    return tuple(name for name in names if (name in plain) == (BUILD == "plain"))


def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means here."""
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or AT_A_TIME * (os.cpu_count() or 1))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "statement(*ids): the normative statements that this test proves")
    config.addinivalue_line("markers", "build(name): of the runs on the plain and on the compiled build, only this one")
    config.addinivalue_line("markers", "faults_long: the long form of a test, run by `make faults` only")
    if BUILD not in SUFFIXES:
        raise pytest.UsageError(f"TRIOMQ_BUILD is '{BUILD}'; it may be {' or '.join(SUFFIXES)}.")
    file = Path(broker.packets.decode.__file__)
    if file.suffix != SUFFIXES[BUILD] or (BUILD == "plain") != file.is_relative_to(ROOT / "broker"):
        raise pytest.UsageError(f"This is to be a run on the {BUILD} build, and the broker is imported from {file}.")
    if BUILD == "plain":
        os.environ["PYTHONPATH"] = str(ROOT)  # for the processes that tests start, wherever they do


def is_left_out(module: Path) -> bool:
    """Whether the run on the compiled build is without this test module, named from here, unless it is asked for."""
    return not LEFT_OUT.isdisjoint((module.with_suffix(""), *module.parents))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    tests = ROOT / "tests"
    if BUILD == "plain" or not collection_path.is_relative_to(tests):
        return None
    return is_left_out(collection_path.relative_to(tests)) or None  # None leaves it to others


def is_for_the_other_run(item: pytest.Item) -> bool:
    """Whether this run on the plain build leaves a test to the one on the compiled build, which has it."""
    module = item.path.relative_to(ROOT / "tests")
    once = module.parts[0] in FROM_OUTSIDE and item.get_closest_marker("build") is None
    return once and not is_left_out(module)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    long = "faults_long" in config.option.markexpr
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        here = all(mark.args == (BUILD,) for mark in item.iter_markers("build"))
        here = here and (long or item.get_closest_marker("faults_long") is None)
        here = here and not (SHARED and BUILD == "plain" and is_for_the_other_run(item))
        (kept if here else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
