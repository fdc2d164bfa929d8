"""A Chain on a bench: methods with fixed answers, clocks to turn, roles that note what they are asked."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Final, cast

import trio

from broker.auth.chain import Chain
from broker.auth.failures import Failures
from broker.auth.methods import Identity
from broker.core.grants import Grant
from broker.core.ports import Challenge, Peer, Refusal
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.auth.methods import Method, Verdict
    from broker.auth.scram import Scram
    from broker.core.ports import Answer

CANARY: Final = "canary-4f1c-pencil"
HERE: Final = "192.0.2.1:50000"
WRONG: Final = ReasonCode.BAD_USER_NAME_OR_PASSWORD
NOBODY: Final = Connect("c")
SOMEBODY: Final = Connect("c", user_name="alice", password=CANARY.encode())


class Fixed:
    """A Method with one answer, which may be an exception."""

    def __init__(self, answer: object, name: str = "fixed") -> None:
        self.answer = answer
        self.name = name
        self.asked = 0

    def check(self, connect: Connect, peer: Peer) -> Verdict | Awaitable[Verdict]:
        return self.judge()

    def judge(self) -> Verdict:
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return cast("Verdict", self.answer)


class Slow(Fixed):
    """The same after `seconds`."""

    def __init__(self, answer: object, name: str = "slow", seconds: float = 0.0) -> None:
        super().__init__(answer, name)
        self.seconds = seconds
        self.finished = 0

    async def check(self, connect: Connect, peer: Peer) -> Verdict:
        await trio.sleep(self.seconds)
        self.finished += 1
        return self.judge()


class Clock:
    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.now = 1000.0

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.now += seconds


class Bench:
    """A Chain, its clocks, and what the roles were asked."""

    def __init__(
        self,
        *methods: Method,
        anonymous: frozenset[str] | Callable[[Peer], bool] = frozenset(),
        scram: Scram | None = None,
        failures: Failures | None = None,
    ) -> None:
        self.clock = Clock()
        self.granted: list[tuple[str | None, str, bytes]] = []
        self.answer: object = None
        self.failures = Failures() if failures is None else failures
        self.chain = Chain(
            methods, self.grants, anonymous, self.failures, lambda: self.clock.wall, lambda: self.clock.now, scram
        )

    def grants(self, identity: Identity | None, client_identifier: str, data: bytes) -> Grant | Refusal:
        self.granted.append((identity.user_name if identity else None, client_identifier, data))
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is not None:
            return cast("Grant", self.answer)
        return Grant(identity.user_name if identity else "", data=data)

    def ask(self, connect: Connect = SOMEBODY, address: str = HERE, listener: str = "") -> Answer:
        answer = self.chain.authenticate(connect, Peer(address, "tcp", listener))
        assert isinstance(answer, Grant | Refusal | Challenge), "it answers at once"
        return answer

    async def wait(self, connect: Connect = SOMEBODY, address: str = HERE) -> Answer:
        answer = self.chain.authenticate(connect, Peer(address, "tcp"))
        assert inspect.iscoroutine(answer)
        return cast("Answer", await answer)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        return self.chain.accepted, self.chain.refused, self.chain.failed, self.chain.limited

    def counted(self, name: str) -> tuple[int, int, int]:
        counts = self.chain.by_method[name]
        return counts.accepted, counts.refused, counts.failed


def alice(expires_at: float = math.inf) -> Identity:
    return Identity("alice", "fixed", expires_at=expires_at)


def refused(answer: Answer) -> ReasonCode:
    assert isinstance(answer, Refusal)
    assert answer.detail == "", "the Client is told nothing else"
    return answer.reason


def granted(answer: Answer) -> Grant:
    assert isinstance(answer, Grant)
    return answer
