from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from broker.client import Tls, parse
from broker.probe.subject import Subject
from broker.probe.verdict import Outcome
from tests.probe.servers import Tampered, ask, only, scripted
from tests.secured import Papers, secured

if TYPE_CHECKING:
    from pathlib import Path

    import trio

Answers = list[tuple[int, int, int, str, tuple[str, int]]]


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every host name stands for these."""

    async def getaddrinfo(_: str, port: int, **__: object) -> Answers:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("trio.socket.getaddrinfo", getaddrinfo)


async def test_a_port_that_answers() -> None:
    async with Tampered().serving() as endpoint:
        verdicts, result = await ask(endpoint, "network")
    assert verdicts["resolve"].text == "127.0.0.1"
    assert verdicts["port"].text.startswith("127.0.0.1 in ")
    assert list(verdicts) == ["resolve", "port"]
    assert result.barrier is None


async def test_the_network_alone_needs_no_mqtt() -> None:
    asked: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        asked.append(bytes(await stream.receive_some()))

    async with scripted(serve) as endpoint:
        _, result = await ask(endpoint, "network")
    assert result.barrier is None
    assert set(asked) <= {b""}


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = parse(f"mqtt://127.0.0.1:{taken.getsockname()[1]}")
        verdicts, result = await ask(endpoint)
    assert verdicts["port"].outcome is Outcome.WRONG
    assert verdicts["port"].text == "127.0.0.1: Connection refused"
    assert verdicts["port"].advice.startswith("Nobody listens at that port")
    assert result.barrier == verdicts["port"]
    assert {verdict.because for name, verdict in verdicts.items() if name not in ("resolve", "port")} == {"port"}


async def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> Answers:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("trio.socket.getaddrinfo", getaddrinfo)
    verdicts, result = await ask(parse("mqtt://nowhere.example"))
    assert verdicts["resolve"].outcome is Outcome.WRONG
    assert verdicts["resolve"].text == "nowhere.example: Name or service not known"
    assert verdicts["port"].because == "resolve"
    assert result.barrier == verdicts["resolve"]


async def test_a_name_that_cannot_be_asked_for() -> None:
    verdict = await only(parse(f"mqtt://{'x' * 70}.example"), "resolve")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.text.startswith("xxxx")


async def test_a_name_service_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    import trio

    async def getaddrinfo(*_: object, **__: object) -> Answers:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr("trio.socket.getaddrinfo", getaddrinfo)
    verdict = await only(parse("mqtt://slow.example"), "resolve", patience=0.1)
    assert verdict.text == "slow.example: no answer of the name service"


async def test_one_address_of_two_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Tampered().serving() as endpoint:
        names(monkeypatch, "127.0.0.9", "127.0.0.1")
        verdict = await only(parse(f"mqtt://two.example:{endpoint.port}"), "port")
    assert verdict.outcome is Outcome.OK
    assert verdict.text.startswith("127.0.0.1 in ")
    assert "127.0.0.9: Connection refused" in verdict.advice


async def test_an_address_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import trio

    async def connect(*_: object) -> None:
        await trio.sleep_forever()

    names(monkeypatch, "127.0.0.9")
    monkeypatch.setattr("trio._socket._SocketType.connect", connect)
    verdict = await only(parse("mqtt://silent.example"), "port", patience=0.1)
    assert verdict.text == "127.0.0.9: Connection timed out"
    assert "firewall" in verdict.advice


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    verdicts, result = await ask(parse(f"unix:{path}"), "network")
    assert list(verdicts) == ["port"]
    assert verdicts["port"].text == "No such file or directory"
    assert result.barrier == verdicts["port"]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        assert (await only(parse(f"unix:{path}"), "port")).text == f"{path} takes connections"


@pytest.mark.parametrize("way", [0, 1])
async def test_tls(tmp_path: Path, way: int) -> None:
    papers = Papers(tmp_path)
    async with secured(papers.context()) as doors:
        port = doors[way].port
        endpoint = parse((f"mqtts://127.0.0.1:{port}", f"wss://127.0.0.1:{port}/mqtt")[way])
        verdicts, result = await ask(endpoint, "network", "ping", subject=Subject(endpoint, tls=Tls(ca_file=papers.ca)))
        assert verdicts["tls"].text.startswith("TLSv1.3, TLS_")
        assert verdicts["tls"].text.endswith("the certificate has 824 days left")
        assert (verdicts["tls"].advice, result.barrier) == ("", None)
        assert verdicts["ping"].outcome is Outcome.OK
        verdicts, _ = await ask(endpoint, "tls", subject=Subject(endpoint, tls=Tls(insecure=True)))
        assert verdicts["tls"].advice.startswith("The certificate was not checked")
        verdicts, result = await ask(endpoint, "tls", "ping")
        assert verdicts["tls"].outcome is Outcome.WRONG
        assert verdicts["tls"].text.startswith("the Server's certificate is of an authority that is unknown here")
        assert (result.barrier, verdicts["ping"].because) == (verdicts["tls"], "tls")


async def test_a_certificate_that_soon_expires(tmp_path: Path) -> None:
    papers = Papers(tmp_path, aged=datetime.now(UTC) - timedelta(days=810))
    async with secured(papers.context()) as (mqtts, _):
        endpoint = parse(f"mqtts://127.0.0.1:{mqtts.port}")
        verdicts, _ = await ask(endpoint, "tls", subject=Subject(endpoint, tls=Tls(ca_file=papers.ca)))
    assert verdicts["tls"].text.endswith("14 days left")
    assert "to be renewed" in verdicts["tls"].advice


async def test_no_tls_at_the_port(tmp_path: Path) -> None:
    async def keep_silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass

    papers = Papers(tmp_path)
    async with scripted(keep_silent) as plain:
        endpoint = parse(f"mqtts://127.0.0.1:{plain.port}")
        verdicts, _ = await ask(endpoint, "tls", subject=Subject(endpoint, tls=Tls(ca_file=papers.ca)), patience=0.3)
    assert verdicts["tls"].text == "no answer to the TLS handshake"
    async with Tampered().serving() as plain:
        endpoint = parse(f"mqtts://127.0.0.1:{plain.port}")
        verdicts, _ = await ask(endpoint, "tls", subject=Subject(endpoint, tls=Tls(ca_file=papers.ca)))
    assert "does it speak TLS at this port?" in verdicts["tls"].text
