"""Who may do what over HTTP, and who may not, however he asks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from broker.core.grants import AllowAll, Grant
from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode
from broker.web.accounts import COOKIE, LONGEST, SESSIONS, Accounts, Denied, Who, cookie, may_scrape
from broker.web.exchange import Caller
from broker.web.heads import read_head
from broker.web.settings import Settings, Token
from tests.web.lines import MemoryLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.ports import Authenticator, Peer
    from broker.packets.types import Connect

USERS = {"ann": "admin", "ben": "operator", "cleo": "viewer"}
TOKENS = {hashlib.sha256(b"t0ken").digest(): Token("grafana", "viewer")}


class Passwords:
    """Everybody's password is "right"."""

    def __init__(self, reason: ReasonCode = ReasonCode.BAD_USER_NAME_OR_PASSWORD) -> None:
        self.reason = reason
        self.asked: list[tuple[str | None, str]] = []
        self.seconds = 0.0

    async def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal:
        self.asked.append((connect.user_name, peer.address))
        await trio.sleep(self.seconds)
        if connect.password == b"right":
            grant = Grant(principal=f"user:{connect.user_name}")
            grant.method, grant.roles = "password", ("floor",)
            return grant
        return Refusal(self.reason)


def caller(
    host: str = "localhost:8080", address: str = "127.0.0.1:4711", *, secure: bool = False, loopback: bool = True
) -> Caller:
    line = MemoryLine(address, secure=secure, loopback=loopback)
    return Caller(line, read_head(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[1])


REMOTE = caller("example.org", "192.0.2.1:4711", loopback=False)


def accounts(
    authenticator: Authenticator | None = None, ended: Callable[[str], None] | None = None, **settings: object
) -> Accounts:
    wanted = Settings(users=USERS, tokens=TOKENS)
    for name, value in settings.items():
        assert hasattr(wanted, name)
        setattr(wanted, name, value)
    judge = authenticator or Passwords()
    return Accounts(wanted, lambda: judge, ended=ended)


def status_of(found: Accounts, who: Caller, method: str = "GET", **headers: str) -> int:
    with pytest.raises(Denied) as caught:
        found.who(who, method, {name.replace("_", "-"): value for name, value in headers.items()})
    return caught.value.status


# -- Nobody in particular


@pytest.mark.parametrize(
    ("asker", "open_here", "anonymous", "role"),
    [
        (caller(), True, None, "operator"),
        (caller("127.0.0.1:8080"), True, None, "operator"),
        (caller("[::1]:8080"), True, None, "operator"),
        (caller("127.1.2.3"), True, None, "operator"),
        (caller(), False, None, "none"),
        (caller("evil.example:8080"), True, None, "none"),
        (caller("localhost.evil.example"), True, None, "none"),
        (caller("192.0.2.1"), True, None, "none"),
        (caller("evil.example"), True, "admin", "none"),
        (REMOTE, True, None, "none"),
        (REMOTE, True, "viewer", "viewer"),
        (REMOTE, True, "none", "none"),
        (caller(), True, "none", "none"),
        (caller(), False, "admin", "admin"),
    ],
)
async def test_whoever_proves_nothing(asker: Caller, open_here: bool, anonymous: str | None, role: str) -> None:
    who = accounts(open_here=open_here, anonymous=anonymous).who(asker, "GET", {})
    assert (who.role, who.log_in) == (role, None)


async def test_behind_a_proxy_of_this_machine_nobody_is_local() -> None:
    one = caller()
    one.proxied = True
    assert accounts(open_here=True).who(one, "GET", {}).role == "none"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"origin": "http://localhost:8080", "sec_fetch_site": "same-origin"}, False),
        ({"origin": "http://localhost:3000"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"sec_fetch_site": "cross-site"}, True),
        ({"sec_fetch_site": "same-site"}, True),
    ],
)
async def test_other_pages_change_nothing(headers: dict[str, str], refused: bool) -> None:
    found = accounts(open_here=True)
    if refused:
        assert status_of(found, caller(), "POST", **headers) == 403
    else:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        assert found.who(caller(), "DELETE", fields).role == "operator"
    assert found.who(caller(), "GET", {}).role == "operator"


# -- Bearer tokens


async def test_a_token() -> None:
    who = accounts().who(REMOTE, "POST", {"authorization": "Bearer t0ken"})
    assert (who.name, who.role, who.log_in) == ("token grafana", "viewer", None)
    assert accounts().who(REMOTE, "GET", {"authorization": "bearer  t0ken "}).role == "viewer"


@pytest.mark.parametrize(
    "sent", ["Bearer t0kem", "Bearer", "Bearer \udcff", "t0ken", "Basic dDBrZW4=", "Bearer " + "x" * 9000]
)
async def test_what_is_no_token_is_not_anonymous_either(sent: str) -> None:
    assert status_of(accounts(open_here=True), caller(), authorization=sent) == 401


async def test_tokens_are_not_to_be_guessed(autojump_clock: trio.testing.MockClock) -> None:
    found = accounts()
    statuses = [status_of(found, REMOTE, authorization=f"Bearer {each}") for each in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert status_of(found, REMOTE, authorization="Bearer t0ken") == 429
    assert found.who(caller(), "GET", {"authorization": "Bearer t0ken"}).role == "viewer"
    await trio.sleep(60)
    assert found.who(REMOTE, "GET", {"authorization": "Bearer t0ken"}).role == "viewer"


# -- Log-ins


async def test_a_log_in_and_its_end(autojump_clock: trio.testing.MockClock) -> None:
    found = accounts()
    secret, who = await found.log_in(REMOTE, "ben", "right")
    assert (who.name, who.role) == ("ben", "operator")
    headers = {"cookie": f"other=1; {COOKIE}=planted; {COOKIE}={secret}"}
    again = found.who(REMOTE, "GET", headers)
    assert again.log_in is who.log_in
    assert again.log_in is not None
    assert secret not in repr(found._log_ins)
    assert status_of(found, REMOTE, "POST", cookie=headers["cookie"]) == 403
    assert status_of(found, REMOTE, "DELETE", cookie=headers["cookie"], x_csrf_token="ä") == 403
    with_token = {**headers, "x-csrf-token": again.log_in.csrf}
    assert found.who(REMOTE, "POST", with_token).role == "operator"
    assert status_of(found, REMOTE, "POST", origin="http://evil.example", cookie=headers["cookie"]) == 403
    await trio.sleep(11 * 3600)
    assert found.who(REMOTE, "GET", headers).role == "operator"
    found.settings.users = {"ben": "viewer"}
    assert found.who(REMOTE, "GET", headers).role == "viewer"
    found.settings.users = {}
    assert found.who(REMOTE, "GET", headers).role == "none"
    found.log_out(headers)
    assert found.who(REMOTE, "GET", headers).log_in is None


async def test_a_log_in_ends_unused_and_after_a_week(autojump_clock: trio.testing.MockClock) -> None:
    found = accounts()
    secret, _ = await found.log_in(REMOTE, "ann", "right")
    headers = {"cookie": f"{COOKIE}={secret}"}
    await trio.sleep(12 * 3600)
    assert found.who(REMOTE, "GET", headers).role == "none"
    assert len(found) == 0
    secret, _ = await found.log_in(REMOTE, "ann", "right")
    headers = {"cookie": f"{COOKIE}={secret}"}
    hours = 0
    while found.who(REMOTE, "GET", headers).role == "admin":
        await trio.sleep(3600)
        hours += 1
    assert hours == LONGEST / 3600


async def test_a_log_in_is_known_to_mqtt(autojump_clock: trio.testing.MockClock) -> None:
    over: list[str] = []
    found = accounts(ended=over.append)
    secret, _ = await found.log_in(REMOTE, "ben", "right")
    headers = {"cookie": f"{COOKIE}=planted; {COOKIE}={secret}"}
    known = found.known(headers)
    assert known is not None
    assert (known.user_name, known.roles, known.left) == ("ben", ("floor",), LONGEST)
    assert found.known({"cookie": f"{COOKIE}=planted"}) is None
    assert found.known({}) is None
    assert [found.stands(name) for name in ("ben", "ann")] == [True, False]
    found.settings.users = {}
    assert found.known(headers) is None, "[web] gives the user no role any more"
    assert not found.stands("ben")
    found.settings.users = USERS
    await trio.sleep(3600)
    known = found.known(headers)
    assert known is not None
    assert known.left == LONGEST - 3600
    await trio.sleep(12 * 3600)
    assert not found.stands("ben")
    assert found.known(headers) is None, "it was not used"
    assert over == []
    secret, _ = await found.log_in(REMOTE, "ann", "right")
    found.log_out({"cookie": f"{COOKIE}=planted"})
    assert over == []
    found.log_out({"cookie": f"{COOKIE}={secret}"})
    assert over == ["ann"]
    assert not found.stands("ann")


async def test_log_ins_of_users_who_are_gone_end() -> None:
    found = accounts()
    for user in ("ann", "ben", "cleo"):
        await found.log_in(REMOTE, user, "right")
    found.keep(lambda method, user: (method, user) != ("password", "ben"))
    assert [found.stands(user) for user in ("ann", "ben", "cleo")] == [True, False, True]
    found.keep(lambda method, user: method != "password")
    assert len(found) == 0


@pytest.mark.parametrize(
    ("user", "password"),
    [("ann", "wrong"), ("dan", "right"), ("", ""), ("a\0", "right"), ("ann", "x" * 2000), ("\ud800", "")],
)
async def test_who_is_not_let_in_does_not_learn_why(user: str, password: str) -> None:
    found = accounts()
    with pytest.raises(Denied, match="wrong, or") as caught:
        await found.log_in(REMOTE, user, password)
    assert caught.value.status == 401
    assert len(found) == 0


async def test_without_authentication_nobody_logs_in() -> None:
    with pytest.raises(Denied) as caught:
        await accounts(AllowAll()).log_in(REMOTE, "ann", "anything")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("reason", "status"), [(ReasonCode.SERVER_UNAVAILABLE, 503), (ReasonCode.CONNECTION_RATE_EXCEEDED, 429)]
)
async def test_an_authenticator_that_cannot_tell(reason: ReasonCode, status: int) -> None:
    with pytest.raises(Denied) as caught:
        await accounts(Passwords(reason)).log_in(REMOTE, "ann", "wrong")
    assert caught.value.status == status


async def test_an_authenticator_that_hangs(autojump_clock: trio.testing.MockClock) -> None:
    judge = Passwords()
    judge.seconds = 1000.0
    with pytest.raises(Denied) as caught:
        await accounts(judge).log_in(REMOTE, "ann", "right")
    assert caught.value.status == 503


async def test_passwords_are_not_to_be_guessed(autojump_clock: trio.testing.MockClock) -> None:
    judge = Passwords()
    found = accounts(judge)

    async def attempt(asker: Caller = REMOTE, password: str = "wrong") -> int:
        try:
            await found.log_in(asker, "ann", password)
        except Denied as denied:
            return denied.status
        return 200

    assert [await attempt() for _ in range(12)] == [401] * 10 + [429] * 2
    assert len(judge.asked) == 10
    assert await attempt(caller("example.org", "198.51.100.7:1", loopback=False)) == 429  # by the user's name, too
    await trio.sleep(60)
    assert await attempt(password="right") == 200


async def test_of_many_guesses_at_once_only_some_are_answered(autojump_clock: trio.testing.MockClock) -> None:
    judge = Passwords()
    judge.seconds = 1.0
    found = accounts(judge)
    statuses: list[int] = []

    async def attempt(password: str) -> None:
        try:
            await found.log_in(REMOTE, "ann", password)
            statuses.append(200)
        except Denied as denied:
            statuses.append(denied.status)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(attempt, "wrong")
    assert statuses.count(401) == 10
    assert statuses.count(429) == 40


async def test_log_ins_are_bounded() -> None:
    found = accounts()
    first, _ = await found.log_in(REMOTE, "ann", "right")
    second, _ = await found.log_in(REMOTE, "ann", "right")
    for each in range(SESSIONS - 1):
        if each == 5:
            found.who(REMOTE, "GET", {"cookie": f"{COOKIE}={first}"})
        await found.log_in(REMOTE, "ben", "right")
    assert len(found) == SESSIONS
    assert found.who(REMOTE, "GET", {"cookie": f"{COOKIE}={first}"}).role == "admin"
    assert found.who(REMOTE, "GET", {"cookie": f"{COOKIE}={second}"}).role == "none"


# -- What roles may


@pytest.mark.parametrize(
    ("held", "needed", "status"),
    [
        ("none", "viewer", 401),
        ("viewer", "viewer", 0),
        ("viewer", "operator", 403),
        ("operator", "viewer", 0),
        ("operator", "admin", 403),
        ("admin", "admin", 0),
    ],
)
def test_roles(held: str, needed: str, status: int) -> None:
    try:
        Who("x", held).need(needed)
        found = 0
    except Denied as denied:
        found = denied.status
    assert found == status


def test_who_may_scrape() -> None:
    assert not may_scrape(Settings(), Who("x", "none"))
    assert may_scrape(Settings(), Who("x", "viewer"))
    assert may_scrape(Settings(metrics_anonymous=True), Who("x", "none"))


def test_the_cookie() -> None:
    assert cookie("abc", False) == "triomq_session=abc; Path=/; HttpOnly; SameSite=Strict"
    assert cookie("abc", True).endswith("; Secure")
    assert "Max-Age=0" in cookie("", True)
