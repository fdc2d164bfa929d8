"""What a broker calls itself, and that one that says nothing keeps nobody waiting."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from broker.bench.comparison import Subject
from broker.bench.identity import TOPIC, software
from broker.config import Config, ListenerConfig
from broker.core.grants import Grant
from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode
from broker.server import Server, serve
from tests.bench.parts import TCP, WORKLOAD
from tests.secured import Papers, secured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broker.core.ports import Peer
    from broker.packets.types import Connect


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve(Config(listeners=[ListenerConfig(type="tcp", port=0), ListenerConfig(type="ws", port=0)])) as here:
        yield here


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes for certain may take its time on a busy machine."""
    monkeypatch.setattr("broker.bench.identity._PATIENCE", 20.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("version", [4, 5])
async def test_our_own_says_who_it_is(server: Server, version: int) -> None:
    for listener in server.listeners:
        subject = Subject(label="here", url=listener.url)
        assert (await software(subject, replace(WORKLOAD, version=version))).startswith("TrioMQ version ")


@pytest.mark.usefixtures("patient")
async def test_what_it_says_is_one_short_line(server: Server) -> None:
    server.publish(TOPIC, b"a\nb\x1b[31m\xff" + 500 * b"x", retain=True)
    said = await software(Subject(label="here", url=server.listeners[0].url), WORKLOAD)
    assert said.startswith("ab[31m\N{REPLACEMENT CHARACTER}xxx")
    assert len(said) == 80


async def test_nobody_is_there() -> None:
    assert await software(TCP, WORKLOAD) == ""


async def test_one_that_does_not_answer_keeps_nobody_waiting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, trio.fail_after(20):
        assert await software(Subject(label="s", url=f"mqtt://127.0.0.1:{silent.getsockname()[1]}"), WORKLOAD) == ""


async def test_one_that_does_not_say_keeps_nobody_waiting(server: Server) -> None:
    server.publish(TOPIC, b"", retain=True)
    with trio.fail_after(20):
        assert await software(Subject(label="s", url=server.listeners[0].url), WORKLOAD) == ""


class Doorman:
    """Lets in who says `anna` and `secret`."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal:
        known = (connect.user_name, connect.password) == ("anna", b"secret")
        return Grant() if known else Refusal(ReasonCode.NOT_AUTHORIZED)


@pytest.mark.usefixtures("patient")
async def test_who_asks() -> None:
    config = Config(listeners=[ListenerConfig(type="tcp", port=0)])
    async with serve(config, authenticator=Doorman()) as server:
        stranger = Subject(label="here", url=server.listeners[0].url)
        named = replace(stranger, username="anna", password="secret")
        assert await software(stranger, WORKLOAD) == ""
        assert await software(named, WORKLOAD) != ""
        assert await software(stranger, replace(WORKLOAD, username="anna", password="secret")) != ""


@pytest.mark.usefixtures("patient")
async def test_a_broker_behind_tls_says_what_it_is(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    async with secured(papers.context()) as (_, wss):
        subject = Subject(label="wss", url=f"wss://127.0.0.1:{wss.port}/mqtt")
        assert (await software(subject, replace(WORKLOAD, ca_file=str(papers.ca)))).startswith("TrioMQ")
        assert await software(subject, replace(WORKLOAD, ca_file=str(tmp_path / "none"))) == ""
