"""The HTTP side of a whole Server, over sockets, beside MQTT on the same port."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from broker import Config, ListenerConfig, Server, serve
from broker.auth.hashing import Argon2id
from broker.auth.methods import AccessError
from broker.config import AuthConfig, StoreConfig, TlsConfig, WebConfig
from broker.core.grants import AllowAll
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack, Connect, Disconnect
from broker.site import compare_command, settings_of
from broker.web.reports import Reports
from tests.authority import authority
from tests.scripted import Peer, WebSocketStream
from tests.web.test_reports import REPORT, comparison

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from email.message import Message
    from pathlib import Path


def config(**web: Any) -> Config:
    return Config(listeners=[ListenerConfig(type="auto", port=0, name="here")], web=WebConfig(**web))


def get(server: Server, path: str, token: str = "") -> tuple[int, bytes]:
    """In a thread: a request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.listeners[0].port, timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def asked(server: Server, path: str, token: str = "") -> tuple[int, bytes]:
    return await trio.to_thread.run_sync(get, server, path, token)


async def test_health_metrics_and_api_beside_mqtt() -> None:
    async with serve(config()) as server:
        assert await asked(server, "/healthz") == (200, b"ok\n")
        status, body = await asked(server, "/readyz")
        assert (status, json.loads(body)["status"]) == (200, "ready")
        server.publish("a", b"x")
        status, body = await asked(server, "/metrics")
        assert status == 200
        assert b"# TYPE triomq_" in body
        status, body = await asked(server, "/api/v1/overview")
        assert (status, json.loads(body)["listeners"][0]["name"]) == (200, "here")
        async with await trio.open_tcp_stream("127.0.0.1", server.listeners[0].port) as mqtt:
            await mqtt.send_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a")
            with trio.fail_after(10):
                assert bytes(await mqtt.receive_some()) == b"\x20\x02\x00\x00"


async def test_the_store_is_told_of(tmp_path: Path) -> None:
    wanted = Config(listeners=[ListenerConfig(type="auto", port=0)], store=StoreConfig(path=tmp_path))
    Reports(tmp_path / "bench").keep(comparison(), json.dumps(REPORT))
    async with serve(wanted) as server:
        _, body = await asked(server, "/readyz")
        assert json.loads(body)["store"] == "ok"
        _, body = await asked(server, "/api/v1/overview")
        assert json.loads(body)["store"]["durability"] == "fsync"
        _, body = await asked(server, "/api/v1/bench")
        assert json.loads(body)["items"] == [comparison().told()]


@pytest.mark.parametrize("wanted", [True, False])
async def test_comparisons_can_be_run_unless_they_are_switched_off(wanted: bool) -> None:
    async with serve(config(bench=wanted)) as server:
        _, body = await asked(server, "/api/v1/session")
        assert json.loads(body)["features"]["bench"] is wanted


def test_an_interpreter_that_cannot_be_started_compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare_command() == (sys.executable, "-P", "-m", "broker", "bench", "compare")
    monkeypatch.setattr(sys, "executable", "")
    assert compare_command() is None


async def test_with_all_parts_off_the_plain_page_answers() -> None:
    async with serve(config(health=False, metrics=False, api=False, dashboard=False)) as server:
        assert (await asked(server, "/metrics"))[0] == 404
        assert (await asked(server, "/"))[0] == 200


async def test_a_connection_between_two_requests_does_not_hold_the_end_up() -> None:
    with trio.fail_after(20):
        async with serve(config()) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.listeners[0].port)
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            started = trio.current_time()
        assert trio.current_time() - started < server.broker.limits.shutdown_timeout / 2
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_tokens_are_read_anew_at_a_reload(tmp_path: Path) -> None:
    def line(name: str) -> str:
        return f"{name} viewer {hashlib.sha256(name.encode()).hexdigest()}\n"

    file = tmp_path / "tokens"
    file.write_text(line("old"), "utf-8")
    file.chmod(0o600)
    async with serve(config(tokens_file=file, anonymous="none")) as server:
        assert (await asked(server, "/api/v1/overview"))[0] == 401
        assert (await asked(server, "/api/v1/overview", "old"))[0] == 200
        file.write_text(line("new"), "utf-8")
        await server.reload(config(tokens_file=file, anonymous="none"))
        assert (await asked(server, "/api/v1/overview", "old"))[0] == 401
        assert (await asked(server, "/api/v1/overview", "new"))[0] == 200
        file.write_text("nonsense\n", "utf-8")
        with pytest.raises(AccessError, match="tokens: line 1"):
            await server.reload(config(tokens_file=file, anonymous="none"))
        assert (await asked(server, "/api/v1/overview", "new"))[0] == 200


async def test_a_server_with_such_a_file_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("nonsense\n", "utf-8")
    file.chmod(0o600)
    with pytest.raises(AccessError, match="tokens: line 1"):
        async with serve(config(tokens_file=file)):
            pass


def test_who_may_ask_from_this_machine() -> None:
    assert settings_of(config(), own_authenticator=False).open_here
    assert not settings_of(config(), own_authenticator=True).open_here


async def test_an_authenticator_of_the_program_closes_the_api() -> None:
    async with serve(config(), authenticator=AllowAll()) as server:
        assert (await asked(server, "/api/v1/overview"))[0] == 401


# -- MQTT by the cookie of a log-in

ANN = Argon2id.make(b"secret").text
STREAMS: list[trio.abc.Stream] = []  # of the test that runs


@asynccontextmanager
async def locked(folder: Path, tls: TlsConfig | None = None) -> AsyncIterator[Server]:
    """A broker with the users ann and ben, an operator and a viewer."""
    file = folder / "users"
    file.touch(mode=0o600)
    file.write_text(f"ann:{ANN}\nben:{ANN}\n")
    listeners = [ListenerConfig(type="auto", port=0, tls=tls)]
    web = WebConfig(operators=("ann",), viewers=("ben",))
    with trio.fail_after(60):
        async with serve(Config(listeners=listeners, web=web, auth=AuthConfig(password_file=file))) as server:
            try:
                yield server
            finally:
                while STREAMS:
                    await trio.aclose_forcefully(STREAMS.pop())


async def log_in(server: Server, user: str) -> tuple[str, str]:
    """The cookie of a log-in, and what proves that a page of ours asks."""
    status, headers, body = await ask(server, "POST", {"Content-Type": "application/json"}, user)
    assert status == 200
    return headers["Set-Cookie"].partition(";")[0], json.loads(body)["csrf"]


async def ask(server: Server, method: str, headers: dict[str, str], user: str = "") -> tuple[int, Message, bytes]:
    """A request for the session."""

    def request() -> tuple[int, Message, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.listeners[0].port, timeout=60)
        try:
            body = json.dumps({"user": user, "password": "secret"}) if user else None
            connection.request(method, "/api/v1/session", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    return await trio.to_thread.run_sync(request)


async def by_cookie(
    server: Server, cookie: str, user_name: str | None = None, password: bytes | None = None, origin: str | None = ""
) -> tuple[Peer, int]:
    """A Client over the WebSocket of a page, and the Reason Code of its CONNACK."""
    listener = server.listeners[0]
    here = f"127.0.0.1:{listener.port}"
    secure = "s" if listener.tls is not None else ""
    headers = {"Cookie": cookie} if origin is None else {"Cookie": cookie, "Origin": origin or f"http{secure}://{here}"}
    carrier: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
    STREAMS.append(carrier)
    if secure:
        carrier = trio.SSLStream(carrier, authority().trusting(), server_hostname="127.0.0.1", https_compatible=True)
    stream = WebSocketStream(carrier, f"ws{secure}://{here}/mqtt", headers=headers)
    await stream.open()
    peer = Peer(stream, MQTT_5_0)
    await peer.send(Connect("", MQTT_5_0, True, 0, user_name, password))
    connack = await peer.expect(Connack)
    return peer, connack.reason


async def test_mqtt_by_the_cookie_of_a_log_in(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        cookie, csrf = await log_in(server, "ann")
        other, _ = await log_in(server, "ben")
        ann, reason = await by_cookie(server, cookie)
        assert reason == 0
        ben, reason = await by_cookie(server, other)
        assert reason == 0
        assert {session.principal for session in server.broker.sessions.values()} == {"user:ann", "user:ben"}
        port = server.listeners[0].port
        for name, cookies, origin in (
            ("a cookie of nobody", "triomq_session=x", ""),
            ("no Origin", cookie, None),
            ("a page of this machine, by another port", cookie, f"http://127.0.0.1:{port - 1}"),
            ("a page of this machine, by another name", cookie, f"http://localhost:{port}"),
        ):
            assert (await by_cookie(server, cookies, origin=origin))[1] == ReasonCode.NOT_AUTHORIZED, name
        wrong = ReasonCode.BAD_USER_NAME_OR_PASSWORD
        assert (await by_cookie(server, cookie, "ann"))[1] == wrong, "who gives a name has to prove it"
        assert (await by_cookie(server, cookie, "ben", b"guess"))[1] == wrong
        assert (await by_cookie(server, cookie, None, b""))[1] == wrong
        status, _, _ = await ask(server, "DELETE", {"Cookie": cookie, "X-CSRF-Token": csrf})
        assert status == 204
        assert (await ann.expect(Disconnect)).reason == ReasonCode.NOT_AUTHORIZED
        assert (await by_cookie(server, cookie))[1] == ReasonCode.NOT_AUTHORIZED
        await ben.quiet()


async def test_a_reload_ends_the_log_ins_of_users_who_are_gone(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        ann, ben = [await log_in(server, user) for user in ("ann", "ben")]
        stays, _ = await by_cookie(server, ann[0])
        goes, _ = await by_cookie(server, ben[0])
        (tmp_path / "users").write_text(f"ann:{ANN}\n")
        await server.reload(server.config)
        assert (await goes.expect(Disconnect)).reason == ReasonCode.NOT_AUTHORIZED
        assert (await by_cookie(server, ben[0]))[1] == ReasonCode.NOT_AUTHORIZED
        status, _, body = await ask(server, "GET", {"Cookie": ben[0]})
        assert (status, json.loads(body)["user"]) == (200, None)
        await stays.quiet()
        (tmp_path / "users").write_text(f"ann:{Argon2id.make(b'other').text}\n")
        await server.reload(server.config)
        assert (await stays.expect(Disconnect)).reason == ReasonCode.NOT_AUTHORIZED, "a new password"
        assert (await by_cookie(server, ann[0]))[1] == ReasonCode.NOT_AUTHORIZED
        (tmp_path / "users").write_text(f"ann:{ANN}\n")
        await server.reload(server.config)
        ann = await log_in(server, "ann")
        stays, reason = await by_cookie(server, ann[0])
        assert reason == 0
        without = server.config.model_copy(update={"web": WebConfig()})
        await server.reload(without)
        assert (await stays.expect(Disconnect)).reason == ReasonCode.NOT_AUTHORIZED, "[web] names nobody any more"


# -- TLS


def first_event(here: str, topic_filter: str) -> dict[str, Any]:
    """In a thread: what the stream of messages says first."""
    with (
        httpx2.Client(base_url=here, verify=authority().trusting(), timeout=60, auth=("ann", "secret")) as client,
        client.stream("GET", "/events", params={"filter": topic_filter}) as events,
    ):
        line = next(line for line in events.iter_lines() if line.startswith("data:"))
    found: dict[str, Any] = json.loads(line.removeprefix("data:"))
    return found


async def test_all_of_it_over_tls(tmp_path: Path) -> None:
    """A real HTTP client keeps its connection; the cookie stays within TLS, and is good for the page's WebSocket."""
    made = authority()
    tls = TlsConfig(certificate=made.certificate, key=made.key)
    ann = httpx2.BasicAuth("ann", "secret")
    async with locked(tmp_path, tls) as server:
        listener = server.listeners[0]
        here = f"https://127.0.0.1:{listener.port}"
        async with httpx2.AsyncClient(base_url=here, verify=made.trusting(), timeout=60) as client:
            assert (await client.get("/api/v1/overview")).status_code == 401
            answer = await client.post("/api/v1/session", json={"user": "ann", "password": "secret"})
            assert answer.status_code == 200
            assert "; Secure" in answer.headers["set-cookie"]
            (shown,) = (await client.get("/api/v1/overview")).json()["listeners"]
            assert (shown["tls"], shown["connections"]) == (True, 1)
            metrics = (await client.get("/metrics")).text
            assert re.search(r'^triomq_listener_connections\{.*tls="yes",type="auto"\} 1\.0$', metrics, re.MULTILINE)
            page = await client.get("/")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert listener.connections == 1, "all over one connection"
            publish = "/publish/a/b?retain=true"
            answer = await client.post(publish, content=b"over TLS", auth=ann, headers={"Origin": here})
            assert answer.status_code == 200
            assert (await trio.to_thread.run_sync(first_event, here, "a/#"))["payload"] == "over TLS"
            peer, reason = await by_cookie(server, f"triomq_session={client.cookies['triomq_session']}")
            assert reason == 0
            (item,) = (await client.get("/api/v1/clients", params={"transport": "wss"})).json()["items"]
            assert (item["user"], item["transport"]) == ("ann", "wss")
            plain = here.replace("https", "http")
            assert (await by_cookie(server, f"triomq_session={client.cookies['triomq_session']}", origin=plain))[1] != 0
            await peer.quiet()
