"""Fail-points: which are known, and when they strike."""

from __future__ import annotations

import os
import signal

import pytest

from broker.core.journal import MESSAGES, QUEUED
from broker.store.failpoints import armed
from broker.store.folder import StoreError


def test_none_is_armed_without_the_variable() -> None:
    assert armed(None) is None
    assert armed("") is None


@pytest.mark.parametrize(
    "text", ["before-commit", "before-commit:0", "later:1", "before-commit@attic:1", "after-commit@queued-added:1"]
)
def test_one_that_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="BROKER_FAILPOINT is"):
        armed(text)


def deaths(monkeypatch: pytest.MonkeyPatch, text: str, passes: list[tuple[str, list[int], list[int]]]) -> list[int]:
    """At which of `passes` the process would be killed."""
    kills: list[int] = []
    found = armed(text)
    assert found is not None
    for at, (name, added, deleted) in enumerate(passes):
        monkeypatch.setattr(
            os, "kill", lambda pid, number, at=at: kills.append(at) if number == signal.SIGKILL else None
        )
        found.pass_by(name, added, deleted)
    return kills


def test_they_strike_once_at_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = [
        ("before-commit", [MESSAGES, QUEUED], []),
        ("after-commit", [MESSAGES, QUEUED], []),
        ("before-commit", [], [QUEUED]),
        ("after-commit", [], [QUEUED]),
        ("before-commit", [QUEUED], []),
        ("after-commit", [QUEUED], []),
    ]
    assert deaths(monkeypatch, "before-commit:2", passes) == [2]
    assert deaths(monkeypatch, "after-commit:1", passes) == [1]
    assert deaths(monkeypatch, "before-commit@queued:2", passes) == [4]
    assert deaths(monkeypatch, "after-commit@queued-deleted:1", passes) == [3]
    assert deaths(monkeypatch, "after-commit@messages:2", passes) == []
