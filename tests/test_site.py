"""The HTTP side of a whole Server, over sockets, beside MQTT on the same port."""

from __future__ import annotations

import hashlib
import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from broker import Config, ListenerConfig, Server, serve
from broker.auth.methods import AccessError
from broker.config import StoreConfig, WebConfig
from broker.core.grants import AllowAll
from broker.site import settings_of

if TYPE_CHECKING:
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
    async with serve(wanted) as server:
        _, body = await asked(server, "/readyz")
        assert json.loads(body)["store"] == "ok"
        _, body = await asked(server, "/api/v1/overview")
        assert json.loads(body)["store"]["durability"] == "fsync"


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
