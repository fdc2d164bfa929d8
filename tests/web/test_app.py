"""What is answered where, and to whom: the parts of the site and their switches."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from broker.web.app import build
from broker.web.bans import Bans
from broker.web.history import History
from broker.web.settings import Settings, Token
from broker.web.static import POLICY, File
from tests.web.asking import Asker
from tests.web.lines import MemoryLine
from tests.web.systems import Bench

if TYPE_CHECKING:
    from collections.abc import Mapping

FILES = {"/": File("index.html", b"<!doctype html>page", None), "/assets/a-1.js": File("assets/a-1.js", b"js", b"gz")}


def asker(
    bench: Bench | None = None, *, files: Mapping[str, File] = FILES, local: bool = True, **settings: object
) -> Asker:
    wanted = Settings(open_here=True)
    for name, value in settings.items():
        assert hasattr(wanted, name)
        setattr(wanted, name, value)
    system = (bench or Bench()).system
    app = build(system, wanted, Bans(system.broker), History(system), files)
    line = MemoryLine() if local else MemoryLine("192.0.2.1:5000", loopback=False)
    return Asker(app, line, "localhost:8080" if local else "broker.example")


async def test_health_is_anybodys() -> None:
    answer = await asker(local=False).get("/healthz")
    assert (answer.status, answer.text) == (200, "ok\n")
    head = await asker().ask("HEAD", "/healthz")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "3")
    refused = await asker().ask("POST", "/healthz")
    assert (refused.status, refused.text) == (405, "This method is not answered here.\n")
    assert "GET" in refused.headers["allow"]


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        (None, 200, {"status": "ready"}),
        ({"state": "ok", "path": "/secret"}, 200, {"status": "ready", "store": "ok"}),
        ({"state": "full"}, 200, {"status": "ready", "store": "full"}),
        ({"state": "failed"}, 503, {"status": "failed", "store": "failed"}),
    ],
)
async def test_readiness_is_that_of_the_store(state: dict[str, object] | None, status: int, said: object) -> None:
    bench = Bench()
    bench.system.store = None if state is None else lambda: state
    answer = await asker(bench, local=False).get("/readyz")
    assert (answer.status, answer.json) == (status, said)


async def test_the_dashboard() -> None:
    page = await asker(local=False).get("/?x=y")
    assert (page.status, page.text) == (200, "<!doctype html>page")
    assert page.headers["content-security-policy"] == POLICY
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    script = await asker().get("/assets/a-1.js", accept_encoding="br, gzip")
    assert (script.body, script.headers["content-encoding"]) == (b"gz", "gzip")
    assert script.headers["cache-control"].endswith("immutable")
    assert (await asker().get("/assets/../index.html")).status == 404
    assert (await asker().get("/assets/%2e%2e/%2e%2e/app.py")).status == 404
    assert (await asker().ask("POST", "/")).status == 405


async def test_without_the_dashboard_the_plain_page_says_how_to_get_it() -> None:
    page = await asker(files={}).get("/")
    assert page.status == 200
    assert "ws://localhost:8080/mqtt" in page.text
    assert "The dashboard is not in this installation." in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    off = await asker(dashboard=False).get("/")
    assert "ws://localhost:8080/mqtt" in off.text
    assert "installation" not in off.text


async def test_the_websocket_endpoint_says_what_it_is() -> None:
    answer = await asker().get("/mqtt")
    assert answer.status == 426
    assert answer.headers["upgrade"] == "websocket"


async def test_there_is_nothing_else() -> None:
    for target in ("/nothing", "/healthz/", "/index.html", "/%00", "/docs", "//", "/a/b"):
        answer = await asker().get(target)
        assert (answer.status, answer.text) == (404, "There is nothing here.\n")


@pytest.mark.parametrize(
    ("part", "target"),
    [
        ("health", "/healthz"),
        ("health", "/readyz"),
        ("metrics", "/metrics"),
        ("api", "/api/v1/session"),
    ],
)
async def test_parts_can_be_switched_off(part: str, target: str) -> None:
    assert (await asker().get(target)).status == 200
    off: dict[str, Any] = {part: False}
    assert (await asker(**off).get(target)).status == 404


async def test_metrics_are_for_viewers_unless_for_anybody() -> None:
    tokens = {hashlib.sha256(b"t0ken").digest(): Token("grafana", "viewer")}
    closed = asker(local=False, tokens=tokens)
    refused = await closed.get("/metrics")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    answer = await closed.get("/metrics", authorization="Bearer t0ken")
    assert answer.status == 200
    assert "triomq_clients_connected 0.0" in answer.text
    assert (await closed.get("/metrics", authorization="Bearer wrong")).status == 401
    assert (await asker(local=False, metrics_anonymous=True).get("/metrics")).status == 200


async def test_errors_of_the_api_have_one_shape() -> None:
    for method, target, status in (
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v2/session", 404),
        ("PATCH", "/api/v1/session", 405),
        ("GET", "/api/v1/clients?limit=x", 400),
    ):
        answer = await asker().ask(method, target)
        assert answer.status == status
        assert set(answer.json) == {"error"}
        assert set(answer.json["error"]) == {"code", "message"}
