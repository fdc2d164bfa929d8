"""What a check is, and the groups that they stand in.

A check is an asynchronous function with a name, a title and the statements that it looks at. It returns what it saw in
a few words, or raises a `Finding`. Its first line asks what a person would ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from broker.packets.types import MQTT_3_1
from broker.probe.trial import Trial

Run = Callable[[Trial], Awaitable[str]]

EVERY_SCHEME: Final = ("mqtt", "mqtts", "ws", "wss", "unix")


class Stage(IntEnum):
    """When a check runs. Those of one stage run side by side, and need what the stages before have found."""

    RESOLVE = 0
    CONNECT = 1
    SECURE = 2
    UPGRADE = 3
    VERSION = 4  # and what else needs no CONNACK
    PERMISSION = 5
    MEASURED = 6  # one after the other, so that they do not disturb each other's times
    FEATURE = 7


# One check each, that all others need
GATES: Final = (Stage.RESOLVE, Stage.CONNECT, Stage.SECURE, Stage.UPGRADE, Stage.PERMISSION)


@dataclass(frozen=True, kw_only=True)
class Check:
    """`since` is the version that it is about, `schemes` are the URLs that it is for. `matters` says what it means for
    Clients when something is wrong here. It may take `times` the time of others."""

    name: str
    group: str
    title: str
    statements: tuple[str, ...]
    run: Run
    since: int
    stage: Stage
    schemes: tuple[str, ...]
    matters: str
    times: int


class Group:
    """Checks that belong together, in their order."""

    def __init__(self, name: str, matters: str = "") -> None:
        self.name = name
        self._matters = matters
        self.checks: list[Check] = []

    def check(
        self,
        name: str,
        title: str,
        *statements: str,
        since: int = MQTT_3_1,
        stage: Stage = Stage.FEATURE,
        schemes: tuple[str, ...] = EVERY_SCHEME,
        matters: str = "",
        times: int = 1,
    ) -> Callable[[Run], Run]:
        """Make the decorated function a check of this group."""

        def register(run: Run) -> Run:
            self.checks.append(
                Check(
                    name=name,
                    group=self.name,
                    title=title,
                    statements=statements,
                    run=run,
                    since=since,
                    stage=stage,
                    schemes=schemes,
                    matters=matters or self._matters,
                    times=times,
                )
            )
            return run

        return register
