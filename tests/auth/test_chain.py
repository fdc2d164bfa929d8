"""Chain: the first who knows somebody decides, nobody else gets in, and what goes wrong lets nobody in."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, cast

import pytest
import trio
import trio.testing

from broker.auth.chain import principal_of
from broker.auth.failures import Failures
from broker.auth.methods import Denied, Identity
from broker.core.grants import Grant
from broker.core.ports import Challenge, Peer, Refusal
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect
from tests.auth.chains import CANARY, NOBODY, SOMEBODY, WRONG, Bench, Fixed, Slow, alice, granted, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.auth.methods import Method, Verdict
    from broker.core.ports import Answer, AuthenticationExchange


@pytest.fixture(autouse=True)
def no_secret(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of this module lets the password into the log."""
    caplog.set_level(logging.DEBUG)
    yield
    assert CANARY not in caplog.text
    assert not any(CANARY in str(vars(record)) for record in caplog.records)


# -- Who is asked, and in what order


def test_the_first_identity_wins() -> None:
    methods = [Fixed(None), Fixed(alice()), Fixed(Denied("no"))]
    bench = Bench(*methods)
    grant = granted(bench.ask())
    assert [method.asked for method in methods] == [1, 1, 0]
    assert (grant.user_name, grant.principal, grant.expires_at, grant.data) == ("alice", "user:alice", math.inf, b"")
    assert bench.granted == [("alice", "c", b"")]
    assert bench.counts == (1, 0, 0, 0)


@pytest.mark.parametrize("reason", [WRONG, ReasonCode.NOT_AUTHORIZED, ReasonCode.BANNED])
def test_the_first_denied_refuses(reason: ReasonCode) -> None:
    methods = [Fixed(None), Fixed(Denied("no such user", reason)), Fixed(alice())]
    bench = Bench(*methods)
    assert refused(bench.ask()) == reason
    assert [method.asked for method in methods] == [1, 1, 0]
    assert bench.counts == (0, 1, 0, 0)
    assert bench.granted == []


def test_a_denied_that_says_success_is_a_refusal() -> None:
    assert refused(Bench(Fixed(Denied("", ReasonCode.SUCCESS))).ask()) == ReasonCode.NOT_AUTHORIZED


def test_it_is_counted_by_method() -> None:
    bench = Bench(Fixed(None, "one"), Fixed(alice(), "two"))
    bench.ask()
    bench.chain.replace([Fixed(Denied("x"), "one")], bench.grants, frozenset(), None)
    bench.ask()
    bench.chain.replace([Fixed(OSError(), "two")], bench.grants, frozenset(), None)
    bench.ask()
    assert bench.counted("one") == (0, 1, 0)
    assert bench.counted("two") == (1, 0, 1)
    assert bench.counts == (1, 1, 1, 0)


async def test_methods_may_take_their_time() -> None:
    methods = [Slow(None), Fixed(None), Slow(alice()), Fixed(Denied("no"))]
    bench = Bench(*cast("list[Method]", methods))
    assert granted(await bench.wait()).principal == "user:alice"
    assert [method.asked for method in methods] == [1, 1, 1, 0]
    assert bench.counts == (1, 0, 0, 0)


async def test_a_slow_method_may_deny() -> None:
    bench = Bench(Slow(Denied("no")), Fixed(alice()))
    assert refused(await bench.wait()) == WRONG


# -- Anonymous


def test_without_methods_nobody_gets_in() -> None:
    bench = Bench()
    assert refused(bench.ask(NOBODY)) == ReasonCode.NOT_AUTHORIZED
    assert refused(bench.ask(SOMEBODY)) == ReasonCode.NOT_AUTHORIZED
    assert bench.granted == []
    assert bench.counts == (0, 2, 0, 0)


def test_anonymous_by_listener() -> None:
    bench = Bench(Fixed(None), anonymous=frozenset({"mqtt://127.0.0.1:1883"}))
    grant = granted(bench.ask(NOBODY, listener="mqtt://127.0.0.1:1883"))
    assert (grant.principal, grant.user_name, grant.expires_at) == ("", "", math.inf)
    assert refused(bench.ask(NOBODY, listener="mqtt://0.0.0.0:1883")) == ReasonCode.NOT_AUTHORIZED
    assert bench.granted == [(None, "c", b"")]
    assert bench.counted("anonymous") == (1, 1, 0)


@pytest.mark.parametrize(("says", "allowed"), [(True, True), (False, False), (1, False), ("no", False), (None, False)])
def test_anonymous_by_peer(says: object, allowed: bool) -> None:
    bench = Bench(anonymous=lambda peer: cast("bool", says))
    assert isinstance(bench.ask(NOBODY), Grant) is allowed


@pytest.mark.parametrize(
    "connect", [SOMEBODY, Connect("c", user_name="alice"), Connect("c", user_name=""), Connect("c", password=b"")]
)
def test_credentials_that_nobody_takes(connect: Connect) -> None:
    bench = Bench(Fixed(None), anonymous=lambda peer: True)
    assert refused(bench.ask(connect)) == WRONG
    assert bench.failures.counted == 1
    assert isinstance(bench.ask(NOBODY), Grant)


def test_credentials_mean_nothing_where_nobody_could_take_them() -> None:
    grant = granted(Bench(anonymous=lambda peer: True).ask(SOMEBODY))
    assert (grant.principal, grant.user_name) == ("", "")


def test_no_principal_is_that_of_nobody() -> None:
    for name in ("", "user:", "anonymous"):
        assert principal_of(Identity(name, "x")) not in ("", principal_of(Identity(name + "x", "x")))


# -- It fails closed


FAULTS: Final[list[object]] = [
    OSError(CANARY),
    ValueError(CANARY),
    KeyError(CANARY),
    RecursionError(),
    TimeoutError(),
    ExceptionGroup(CANARY, [OSError(CANARY)]),
    True,
    "alice",
    0,
    Grant("alice"),
    Identity("", "fixed"),
    Identity(cast("str", None), "fixed"),
    Identity("alice", "fixed", expires_at=cast("float", "soon")),
    Identity,
    Denied("its backend is away", ReasonCode.SERVER_UNAVAILABLE),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("slow", [False, True])
async def test_what_a_method_does_wrong_refuses(fault: object, slow: bool, caplog: pytest.LogCaptureFixture) -> None:
    last = Fixed(alice())
    method = Slow(fault) if slow else Fixed(fault, "slow")
    bench = Bench(method, last, anonymous=lambda peer: True)
    answer = await bench.wait() if slow else bench.ask()
    assert refused(answer) == ReasonCode.SERVER_UNAVAILABLE
    assert last.asked == 0, "no other Method is asked"
    assert bench.counts == (0, 0, 1, 0)
    assert bench.counted("slow") == (0, 0, 1)
    assert bench.failures.counted == 0, "the Client is not to blame"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "slow: cannot authenticate" in caplog.text


@pytest.mark.parametrize("fault", FAULTS[:6], ids=lambda fault: type(fault).__name__)
def test_what_the_roles_do_wrong_refuses(fault: object) -> None:
    bench = Bench(Fixed(alice()), anonymous=lambda peer: True)
    bench.answer = fault
    assert refused(bench.ask()) == ReasonCode.SERVER_UNAVAILABLE
    assert bench.counted("fixed") == (0, 0, 1)
    bench.chain.replace([], bench.grants, lambda peer: True, None)
    assert refused(bench.ask(NOBODY)) == ReasonCode.SERVER_UNAVAILABLE
    assert bench.counted("anonymous") == (0, 0, 1)


@pytest.mark.parametrize("answer", ["everything", True, Grant, Challenge(b"", cast("AuthenticationExchange", None))])
def test_only_a_grant_is_a_grant(answer: object) -> None:
    bench = Bench(Fixed(alice()))
    bench.answer = answer
    assert refused(bench.ask()) == ReasonCode.SERVER_UNAVAILABLE


def test_the_roles_may_refuse() -> None:
    bench = Bench(Fixed(alice()))
    bench.answer = Refusal(ReasonCode.BANNED, "no role")
    answer = bench.ask()
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.detail) == (ReasonCode.BANNED, "no role")
    assert bench.counts == (0, 1, 0, 0)


def test_who_says_who_may_be_anonymous_may_raise() -> None:
    def broken(peer: Peer) -> bool:
        raise OSError(CANARY)

    bench = Bench(anonymous=broken)
    assert refused(bench.ask(NOBODY)) == ReasonCode.SERVER_UNAVAILABLE
    assert bench.counts == (0, 0, 1, 0)


async def test_a_method_that_hangs(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    method = Slow(alice(), seconds=math.inf)
    bench = Bench(method)
    started = trio.current_time()
    assert refused(await bench.wait()) == ReasonCode.SERVER_UNAVAILABLE
    assert trio.current_time() - started == pytest.approx(5.0)
    assert method.finished == 0
    assert bench.counts == (0, 0, 1, 0)
    assert "no answer for 5 s" in caplog.text


async def test_one_that_is_slow_does_not_hang(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench(Slow(None, seconds=4.9), Slow(alice(), seconds=4.9))
    assert isinstance(await bench.wait(), Grant)


async def test_what_cannot_be_awaited_on_trio_refuses() -> None:
    class Foreign:
        def __await__(self) -> Iterator[object]:
            yield "of another loop"

    bench = Bench(Fixed(Foreign()))
    assert refused(await bench.wait()) == ReasonCode.SERVER_UNAVAILABLE


async def test_the_end_of_the_broker_is_no_failure() -> None:
    bench = Bench(Slow(alice(), seconds=math.inf))
    with trio.move_on_after(0.01) as scope:
        await bench.wait()
    assert scope.cancelled_caught
    assert bench.counts == (0, 0, 0, 0)


# -- Expiry


def test_wall_time_becomes_monotonic_time() -> None:
    bench = Bench()
    bench.chain.replace([Fixed(alice(bench.clock.wall + 60))], bench.grants, frozenset(), None)
    assert granted(bench.ask()).expires_at == pytest.approx(bench.clock.now + 60)


def test_the_roles_may_end_it_sooner() -> None:
    bench = Bench(Fixed(alice()))
    bench.answer = Grant("alice", expires_at=1001.0)
    assert granted(bench.ask()).expires_at == 1001.0


@pytest.mark.parametrize("left", [0.0, -0.001, -1e9, -math.inf, math.nan])
def test_what_is_over_is_refused(left: float) -> None:
    bench = Bench()
    bench.chain.replace([Fixed(alice(bench.clock.wall + left))], bench.grants, frozenset(), None)
    assert refused(bench.ask()) == ReasonCode.NOT_AUTHORIZED
    assert bench.failures.counted == 0, "it is no guess"
    assert bench.counts == (0, 1, 0, 0)


# -- Too many failures


def test_over_the_limit_nobody_is_asked() -> None:
    method = Fixed(Denied("wrong password"))
    bench = Bench(method)
    assert [refused(bench.ask()) for _ in range(12)] == [WRONG] * 10 + [ReasonCode.CONNECTION_RATE_EXCEEDED] * 2
    assert method.asked == 10
    assert bench.counts == (0, 10, 0, 2)
    method.answer = alice()
    assert refused(bench.ask()) == ReasonCode.CONNECTION_RATE_EXCEEDED
    bench.clock.wait(6.1)
    assert isinstance(bench.ask(), Grant)


def test_who_has_been_in_stays_in() -> None:
    method = Fixed(alice())
    bench = Bench(method)
    bench.ask()
    method.answer = Denied("wrong password")
    for host in range(30):
        bench.ask(address=f"198.51.100.{host}:1")
    bench.ask(Connect("c", user_name="mallory", password=b"x"))
    method.answer = alice()
    assert refused(bench.ask(address="203.0.113.1:1")) == ReasonCode.CONNECTION_RATE_EXCEEDED
    assert isinstance(bench.ask(), Grant)


def test_nobody_makes_himself_known_as_another() -> None:
    method = Fixed(Identity("mallory", "jwt"))
    bench = Bench(method)
    assert granted(bench.ask()).principal == "user:mallory"
    method.answer = Denied("wrong password")
    for _ in range(10):
        bench.ask(Connect("c", user_name="bob", password=b"x"))
    assert refused(bench.ask()) == ReasonCode.CONNECTION_RATE_EXCEEDED


async def test_of_many_guesses_at_once_ten_are_answered(autojump_clock: trio.testing.MockClock) -> None:
    class Guessing(Slow):
        async def check(self, connect: Connect, peer: Peer) -> Verdict:
            await trio.sleep(float(connect.client_identifier) / 1000)
            return alice() if connect.client_identifier == "60" else Denied("wrong password")

    bench = Bench(Guessing(None))
    answers: list[ReasonCode] = []

    async def guess(number: int) -> None:
        answers.append(refused(await bench.wait(Connect(str(number), user_name="alice", password=b"x"))))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(guess, number)
    assert answers == [WRONG] * 10 + [ReasonCode.CONNECTION_RATE_EXCEEDED] * 90, "the right one is not to be seen"
    assert bench.granted == []


def test_a_backend_that_is_away_locks_nobody_out() -> None:
    method = Fixed(OSError())
    bench = Bench(method)
    assert {refused(bench.ask()) for _ in range(50)} == {ReasonCode.SERVER_UNAVAILABLE}
    method.answer = Denied("busy", ReasonCode.SERVER_BUSY)
    assert {refused(bench.ask()) for _ in range(50)} == {ReasonCode.SERVER_BUSY}
    method.answer = alice()
    assert isinstance(bench.ask(), Grant)
    assert bench.counts == (1, 0, 100, 0)


# -- The log


def test_a_line_a_minute_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    method = Fixed(OSError(CANARY))
    bench = Bench(method)
    for _ in range(100):
        bench.ask()
    assert len(caplog.records) == 1
    assert "fixed: cannot authenticate: OSError at chains.py:" in caplog.text
    method.answer = ValueError(CANARY)
    bench.ask()
    assert len(caplog.records) == 2
    method.answer = OSError(CANARY)
    bench.clock.wait(61)
    bench.ask()
    assert len(caplog.records) == 3
    assert "99 more since the last line" in caplog.text


def test_a_refusal_says_whom_and_why(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(Fixed(Denied("wrong password")))
    bench.ask(Connect("c", user_name="al\nice\x1b[0m\u202e" + "x" * 5000, password=CANARY.encode()))
    assert "fixed: refused: wrong password (192.0.2.1, user name 'al\\nice\\x1b[0m\\u202e" in caplog.text
    assert len(caplog.records[0].getMessage()) < 200
    bench.ask(address="unix")
    assert len(caplog.records) == 1


def test_no_flood_of_refusals_floods_the_log(caplog: pytest.LogCaptureFixture) -> None:
    method = Fixed(None)
    bench = Bench(method, failures=Failures(per_address=0, per_user=0))
    for number in range(1000):
        method.answer = Denied(f"no user {number}")
        bench.ask()
    assert len(caplog.records) == 200
    method.answer = OSError()
    bench.ask()
    assert caplog.records[-1].levelname == "ERROR"
    bench.clock.wait(61)
    method.answer = Denied("no user at all")
    bench.ask()
    assert caplog.records[-1].getMessage().startswith("fixed: refused: no user at all")


# -- Reload


async def test_a_reload_asks_again(autojump_clock: trio.testing.MockClock) -> None:
    old, new = Slow(alice(), seconds=1.0), Fixed(Denied("gone"))
    bench = Bench(old)
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await bench.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.5)
        bench.chain.replace([new], bench.grants, frozenset(), None)
    assert old.finished == 1
    assert new.asked == 1
    assert refused(answers[0]) == WRONG
    assert bench.counts == (0, 1, 0, 0)
    assert bench.granted == []


def test_a_reload_keeps_the_failures_or_not() -> None:
    method = Fixed(Denied("wrong"))
    bench = Bench(method)
    for _ in range(10):
        bench.ask()
    bench.chain.replace([method], bench.grants, frozenset(), None)
    assert refused(bench.ask()) == ReasonCode.CONNECTION_RATE_EXCEEDED
    bench.chain.replace([method], bench.grants, frozenset(), None, Failures())
    assert refused(bench.ask()) == WRONG
    assert bench.chain.failures.counted == 1
