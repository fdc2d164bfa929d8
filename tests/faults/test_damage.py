"""Damaged files: a start loads all that was acknowledged, or refuses and names the file; what is good can be saved.

A failure names its seed; TRIOMQ_SEED repeats it.
"""

from __future__ import annotations

import os
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest

from broker.store.pages import Pages
from tests.faults.damage import CLOCK, DATABASE, LOG, Damage, start
from tests.store.stores import build

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = 200
CUTS = 200


def seed() -> int:
    given = int(os.environ.get("TRIOMQ_SEED", "0")) or Random().randrange(1, 1 << 32)
    print(f"TRIOMQ_SEED={given}")
    return given


@pytest.fixture
def damage(tmp_path: Path) -> Damage:
    return Damage(tmp_path)


def test_without_damage_everything_is_there(damage: Damage) -> None:
    for state in damage.states:
        assert damage.change("none", state, lambda path: None) == "whole"


def test_single_bits(damage: Damage) -> None:
    damage.flips(Random(seed()), FLIPS, rescue=10)
    print(damage.outcomes)
    assert damage.outcomes["bit", "refused"] > FLIPS // 4


def test_truncations(damage: Damage) -> None:
    damage.truncations(Random(seed()), CUTS, rescue=10)
    print(damage.outcomes)
    assert damage.outcomes["cut", "refused"] > CUTS // 2


@pytest.mark.faults_long
@pytest.mark.parametrize("run", range(10))
def test_many_bits_and_truncations(tmp_path: Path, run: int) -> None:
    chance = Random(seed())
    damage = Damage(tmp_path, messages=chance.choice([60, 200, 1000]))
    damage.flips(chance, FLIPS, rescue=1)
    damage.truncations(chance, CUTS, rescue=1)
    print(damage.outcomes)


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_a_zeroed_page(damage: Damage, state: str) -> None:
    for name, content in damage.states[state].items():
        step = 4096 if name == DATABASE else 4120
        for at in range(0, len(content), step):

            def zero(path: Path, name: str = name, at: int = at) -> None:
                content = bytearray((path / name).read_bytes())
                end = min(at + 4096, len(content))
                content[at:end] = bytes(end - at)
                (path / name).write_bytes(content)

            damage.change("zeroed", state, zero, f"{name}, byte {at}")
    print(damage.outcomes)
    assert damage.outcomes["zeroed", "refused"] > 10


def test_a_log_that_is_deleted(damage: Damage) -> None:
    assert damage.change("deleted", "killed", lambda path: (path / LOG).unlink()) == "refused"


def test_a_log_that_is_deleted_with_its_clock(damage: Damage) -> None:
    def delete(path: Path) -> None:
        (path / LOG).unlink()
        (path / CLOCK).unlink()

    assert damage.change("deleted", "killed", delete) == "refused"


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_a_database_that_is_deleted_is_not_begun_anew(damage: Damage, state: str) -> None:
    assert damage.change("deleted", state, lambda path: (path / DATABASE).unlink()) == "refused"


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_a_clock_that_is_deleted_costs_nothing(damage: Damage, state: str) -> None:
    assert damage.change("deleted", state, lambda path: (path / CLOCK).unlink()) == "whole"


def _put(path: Path, name: str, content: bytes) -> None:
    (path / name).write_bytes(content)


def test_a_log_that_is_cut_off_at_the_end_of_each_commit(damage: Damage) -> None:
    """Nothing in the log itself tells this from an older state; the Witness beside it does."""
    content = damage.killed[LOG]
    with Pages(damage.fresh("killed") / DATABASE) as pages:
        assert pages.wal is not None
        ends = [frame.byte + pages.size for frame in pages.wal.frames if frame.pages]
    assert len(ends) >= 3
    for end in ends[:-1]:
        put = partial(_put, name=LOG, content=content[:end])
        assert damage.change("cut", "killed", put, f"at byte {end}") == "refused"
    assert damage.change("cut", "killed", partial(_put, name=LOG, content=content[: ends[-1]])) == "whole"


@pytest.mark.parametrize("other", ["older", "carried", "closed"])
def test_a_database_of_another_moment(damage: Damage, other: str) -> None:
    """Beside the log of the kill. A newer one holds the log's pages already; an older one lacks some."""
    content = {"older": damage.older, "carried": damage.carried[DATABASE], "closed": damage.closed[DATABASE]}[other]
    assert content != damage.killed[DATABASE]
    outcome = damage.change(f"database {other}", "killed", partial(_put, name=DATABASE, content=content))
    assert outcome == ("refused" if other == "older" else "whole")


def test_a_log_of_another_moment(damage: Damage) -> None:
    """A log is not tied to its database: that of an older moment would be laid over the newer one."""
    put = partial(_put, name=LOG, content=damage.older_log)
    assert damage.change("log older", "killed", put) == "refused"
    assert damage.change("log older", "closed", put) == "refused"


def test_files_of_another_store(damage: Damage, tmp_path: Path) -> None:
    other = build(tmp_path / "other", sessions=2, messages=90, clock=True)
    foreign = other.killed(tmp_path / "foreign")
    other.close()
    for name in (DATABASE, LOG):
        put = partial(_put, name=name, content=(foreign / name).read_bytes())
        assert damage.change("foreign", "killed", put, name) == "refused", name


def test_swapped_files(damage: Damage) -> None:
    def swap(path: Path) -> None:
        (path / DATABASE).rename(path / "x")
        (path / LOG).rename(path / DATABASE)
        (path / "x").rename(path / LOG)

    assert damage.change("swapped", "killed", swap) == "refused"


def test_what_is_compared_is_what_a_start_has_loaded(damage: Damage) -> None:
    """The comparison is one of rows; that they become Sessions, subscriptions and retained messages is seen here."""
    path = damage.fresh("killed")
    broker = start(path)
    assert sorted(broker.sessions) == ["client-0", "client-1", "client-2", "with-will"]
    assert broker.stats.subscriptions == 6
