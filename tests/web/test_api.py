"""Who may ask the API for what: the whole table against all roles, the log-in, and the document."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from broker.web.accounts import Accounts
from broker.web.api import Api
from broker.web.bans import Bans
from broker.web.history import History
from broker.web.settings import RANKS, Settings, Token
from tests.web.asking import Asker, site
from tests.web.holding import assert_holds
from tests.web.systems import Bench
from tests.web.test_accounts import USERS, Passwords

if TYPE_CHECKING:
    from broker.web.routes import Operation

TOKENS = {hashlib.sha256(role.encode()).digest(): Token(role, role) for role in ("viewer", "operator", "admin")}


def table() -> tuple[Operation, ...]:
    bench = Bench()
    accounts = Accounts(Settings(), lambda: bench.broker.authenticator)
    return Api(bench.system, accounts, Bans(bench.broker), History(bench.system)).operations


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.mark.parametrize("operation", table(), ids=name_of)
async def test_every_operation_asks_for_its_role(operation: Operation) -> None:
    target = "/api/v1" + operation.path.replace("{id}", "x").replace("{topic}", "x")
    asker = site(Bench(), local=False, tokens=TOKENS)
    for role in ("", "viewer", "operator", "admin"):
        headers = {"authorization": f"Bearer {role}"} if role else {}
        answer = await asker.ask(operation.method, target, {} if operation.body else None, **headers)
        enough = RANKS.get(role or "none", 0) >= RANKS.get(operation.role or "none", 0)
        if enough:
            assert answer.status != 403
            assert answer.status != 401 or operation.path == "/session"
        else:
            assert answer.status == (403 if role else 401)
        if answer.status >= 400:
            assert_holds(answer.json, "Failure")
            declared = {400, 401, 403, *operation.failures} | ({422} if operation.body else set())
            assert answer.status in declared


async def test_the_document_is_the_table() -> None:
    answer = await site(Bench(), local=False).get("/api/v1/openapi.json")
    paths = answer.json["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == {
        (each.method, each.path) for each in table()
    }
    assert paths["/clients"]["get"]["x-role"] == "viewer"
    assert len({each["operationId"] for methods in paths.values() for each in methods.values()}) == len(table())


async def test_whoever_is_on_this_machine_is_an_operator_while_nobody_is_asked() -> None:
    answer = await site(Bench()).get("/api/v1/session")
    assert answer.status == 200
    assert_holds(answer.json, "Session")
    assert answer.json == {
        "user": None,
        "role": "operator",
        "csrf": None,
        "login": False,
        "version": "9.8.7",
        "features": {"api": True, "publish": True, "events": True, "bench": False, "mqtt_path": "/mqtt"},
    }
    assert (await site(Bench(), local=False).get("/api/v1/session")).json["role"] == "none"


def with_users() -> tuple[Asker, Passwords]:
    bench = Bench()
    judge = Passwords()
    bench.broker.authenticator = judge
    return site(bench, local=False, users=USERS, open_here=False), judge


async def test_a_log_in() -> None:
    asker, _ = with_users()
    assert (await asker.get("/api/v1/session")).json["login"] is True
    assert (await asker.get("/api/v1/overview")).status == 401
    answer = await asker.ask("POST", "/api/v1/session", {"user": "ben", "password": "right"})
    assert_holds(answer.json, "Session")
    assert (answer.status, answer.json["user"], answer.json["role"]) == (200, "ben", "operator")
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert (await asker.get("/api/v1/overview")).status == 200
    csrf = (await asker.get("/api/v1/session")).json["csrf"]
    ban = {"client_identifier": "x", "seconds": 5}
    assert (await asker.ask("POST", "/api/v1/bans", ban)).json["error"]["code"] == "csrf"
    assert (await asker.ask("POST", "/api/v1/bans", ban, x_csrf_token=csrf)).status == 200
    assert (await asker.ask("POST", "/api/v1/reload", x_csrf_token=csrf)).status == 403
    old = asker.headers["Cookie"]
    gone = await asker.ask("DELETE", "/api/v1/session", x_csrf_token=csrf)
    assert gone.status == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert (await asker.get("/api/v1/overview", cookie=old)).status == 401


async def test_logging_in_again_needs_no_token_and_ends_the_old_log_in() -> None:
    asker, _ = with_users()
    await asker.ask("POST", "/api/v1/session", {"user": "ben", "password": "right"})
    old = asker.headers["Cookie"]
    answer = await asker.ask("POST", "/api/v1/session", {"user": "ann", "password": "right"})
    assert answer.json["role"] == "admin"
    asker.headers["Cookie"] = old
    assert (await asker.get("/api/v1/session")).json["role"] == "none"


async def test_a_wrong_password_and_too_many_of_them() -> None:
    asker, judge = with_users()
    statuses = []
    for _ in range(11):
        answer = await asker.ask("POST", "/api/v1/session", {"user": "ann", "password": "wrong"})
        statuses.append(answer.status)
        assert_holds(answer.json, "Failure")
        assert "set-cookie" not in answer.headers
    assert statuses == [401] * 10 + [429]
    assert answer.headers["retry-after"] == "60"
    assert len(judge.asked) == 10


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
    ],
)
async def test_other_pages_log_nobody_in(headers: dict[str, str]) -> None:
    asker, judge = with_users()
    fields: dict[str, Any] = {name.replace("_", "-").title(): value for name, value in headers.items()}
    asker.headers |= fields
    answer = await asker.ask("POST", "/api/v1/session", {"user": "ann", "password": "right"})
    assert answer.status in (400, 403)
    assert judge.asked == []


async def test_a_stranger_may_not_say_much() -> None:
    asker, judge = with_users()
    answer = await asker.ask("POST", "/api/v1/session", {"user": "ann", "password": "x" * 20_000})
    assert answer.status == 413
    assert_holds(answer.json, "Failure")
    assert judge.asked == []
    assert (await asker.ask("POST", "/api/v1/publish", {"topic": "a", "payload": "x" * 20_000})).status == 401
