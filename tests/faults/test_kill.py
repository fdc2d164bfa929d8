"""kill -9 at random moments under traffic: what was acknowledged is there after the restart, in its order.

A failure names its seed; TRIOMQ_SEED repeats it.
"""

from __future__ import annotations

import os
from random import SystemRandom
from typing import TYPE_CHECKING

import pytest

from tests.faults.killable import Mosquitto, TrioMQ
from tests.faults.killing import killed
from tests.interop.tools import program

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("TRIOMQ_SEED", "0")) or SystemRandom().randrange(1, 1 << 32)

LONG_KILLS = 125  # of each of the four, so that they are 500 and a million acknowledged messages together
LONG_ACKNOWLEDGED = 250_000


@pytest.mark.parametrize(
    ("durability", "qos", "kills"),
    [("written", 1, 8), ("fsync", 1, 7), ("written", 2, 8), ("fsync", 2, 7)],
    ids=["written-1", "fsync-1", "written-2", "fsync-2"],
)
def test_kill_9_under_traffic(tmp_path: Path, durability: str, qos: int, kills: int) -> None:
    """QoS 1: no acknowledged message is lost, and what repeats says so. QoS 2: exactly once. Sessions, subscriptions
    and retained messages are there."""
    verdict = killed(TrioMQ(tmp_path, durability), SEED, kills, (qos,), 0.1, 0.6)
    assert verdict.clean, verdict
    assert verdict.acknowledged > 10 * kills, verdict
    assert verdict.delivered > 4 * verdict.acknowledged, verdict


def test_kill_9_at_commits_of_the_exchanges(tmp_path: Path) -> None:
    """The broker dies just before or behind a commit, amid QoS 1 and QoS 2 traffic."""
    verdict = killed(TrioMQ(tmp_path, "written"), SEED, 6, (1, 2), 5, 5, aimed=True)
    assert verdict.clean, verdict
    assert verdict.acknowledged > 60, verdict


@pytest.mark.faults_long
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("durability", ["written", "fsync"])
def test_kill_9_many_times(tmp_path: Path, durability: str, qos: int) -> None:
    broker = TrioMQ(tmp_path, durability)
    verdict = killed(broker, SEED, LONG_KILLS, (qos,), 0.2, 3, acknowledged=LONG_ACKNOWLEDGED, ahead=40_000)
    assert verdict.clean, verdict
    assert verdict.acknowledged >= LONG_ACKNOWLEDGED, verdict


@pytest.mark.faults_long
@pytest.mark.parametrize("durability", ["written", "fsync"])
def test_kill_9_at_many_commits(tmp_path: Path, durability: str) -> None:
    verdict = killed(TrioMQ(tmp_path, durability), SEED, 200, (1, 2), 10, 10, aimed=True, acknowledged=10_000)
    assert verdict.clean, verdict
    assert verdict.acknowledged >= 10_000, verdict


def test_without_a_store_the_ledger_finds_the_loss(tmp_path: Path) -> None:
    """So a clean verdict above is no blindness."""
    verdict = killed(TrioMQ(tmp_path, ""), SEED, 2, (1, 2), 0.3, 0.6)
    assert verdict.lost, verdict
    assert verdict.forgotten, verdict
    assert not verdict.unexpected, verdict


@pytest.mark.build("plain")  # nothing of it is ours
def test_mosquitto_loses_what_it_acknowledged(tmp_path: Path) -> None:
    """With `persistence true` and else its defaults, as docs/guides/durability.md says of it."""
    verdict = killed(Mosquitto(tmp_path, program("mosquitto", "mosquitto")), SEED, 2, (1, 2), 0.3, 0.6)
    assert verdict.lost, verdict
    assert verdict.forgotten, verdict
