"""Reading the configuration anew: the same whoever asks, one after the other, told and counted."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from broker import Config, serve
from broker.config import ConfigError, LogConfig
from broker.config.errors import Mistake
from broker.reloading import Reloading
from broker.web.system import ReloadRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from broker.config.changes import Change
    from broker.server import Server

QUIET = Config(listeners=[])
LOUD = Config(listeners=[], log=LogConfig(level="debug"))


class Overseer:
    beat_every = 0.0

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self, server: Server) -> None:
        raise AssertionError

    def beat(self) -> None:
        raise AssertionError

    def reloading(self) -> None:
        self.told.append("reloading")

    def reloaded(self, found: Sequence[Change], mistakes: str) -> None:
        self.told.append(mistakes or f"{len(found)} changes")

    def stopping(self) -> None:
        raise AssertionError


@asynccontextmanager
async def reloading(reread: Callable[[], Config]) -> AsyncIterator[tuple[Reloading, Overseer]]:
    overseer = Overseer()
    with trio.fail_after(30):
        async with serve(QUIET) as server:
            yield Reloading(server, reread, overseer), overseer


def mistaken() -> Config:
    raise ConfigError([Mistake("log.level", "no such level"), Mistake("limits", "no such table")])


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("broker")
    level = found.level
    found.setLevel("INFO")
    yield found
    found.setLevel(level)


async def test_over_http_and_at_sighup_it_is_the_same(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    wanted = [LOUD]
    async with reloading(lambda: wanted[-1]) as (reload, overseer):
        (change,) = await reload.over_http()
        assert change.startswith("log.level: ")
        assert logger.level == logging.DEBUG
        wanted.append(QUIET)
        await reload.at_sighup()
        assert logger.level == logging.INFO
        assert overseer.told == ["reloading", "1 changes"] * 2
        assert (reload.counts.succeeded, reload.counts.failed, reload.counts.last_failed) == (2, 0, False)
    said = [message for message in caplog.messages if "is read again" in message]
    assert [message.partition(":")[0] for message in said] == ["HTTP", "SIGHUP"]


async def test_mistakes(caplog: pytest.LogCaptureFixture) -> None:
    rereads: list[Callable[[], Config]] = [mistaken, mistaken, lambda: LOUD]
    async with reloading(lambda: rereads.pop(0)()) as (reload, overseer):
        with pytest.raises(ReloadRefused) as caught:
            await reload.over_http()
        assert ["log.level" in caught.value.mistakes[0], "limits" in caught.value.mistakes[1]] == [True, True]
        await reload.at_sighup()
        assert (reload.counts.succeeded, reload.counts.failed, reload.counts.last_failed) == (0, 2, True)
        await reload.at_sighup()
        assert (reload.counts.succeeded, reload.counts.failed, reload.counts.last_failed) == (1, 2, False)
        assert "no such level" in overseer.told[1]
        assert overseer.told[4:] == ["reloading", "1 changes"]
    assert sum("has mistakes" in message for message in caplog.messages) == 2


async def test_a_bug_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def bug() -> Config:
        raise KeyError("x")

    async with reloading(bug) as (reload, overseer):
        with pytest.raises(ReloadRefused, match="a bug, met while reloading \\(KeyError\\)"):
            await reload.over_http()
        assert overseer.told[1].startswith("a bug")
        assert reload.counts.failed == 1
    assert "a bug, met while reloading" in caplog.text


async def test_one_after_the_other() -> None:
    async with reloading(lambda: LOUD) as (reload, overseer), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(reload.at_sighup)
    assert overseer.told == ["reloading", "1 changes", "reloading", "0 changes", "reloading", "0 changes"]


async def test_one_that_is_broken_off_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = trio.Event()

    async def hang(config: Config) -> list[Change]:
        begun.set()
        await trio.sleep_forever()
        raise AssertionError

    async with reloading(lambda: LOUD) as (reload, overseer):
        monkeypatch.setattr(reload._server, "reload", hang)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reload.at_sighup)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert overseer.told == ["reloading", "it was broken off"]
        assert reload.counts.failed == 1
