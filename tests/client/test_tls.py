"""TLS under the Client: what it trusts, what it shows, and what it says when there is none."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from trio.testing import memory_stream_pair

from broker.client import CannotConnect, ClientError, Tls, connect
from broker.client.tls import as_tls, explain, handshake_failed, secure
from broker.client.transport import connect_stream
from broker.client.url import parse
from tests.secured import Papers, secured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

URLS = ["mqtts://{host}:{mqtts}", "wss://{host}:{wss}/mqtt"]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("others"), ["elsewhere.test"])


async def exchange(url: str, tls: Tls | ssl.SSLContext | None) -> None:
    """Publish to ourselves, more than fits into one record of TLS."""
    async with connect(url, tls=tls, reconnect=False) as client, client.subscribe("t") as messages:
        await client.publish("t", b"x" * 100_000, qos=1)
        message = await messages.receive()
        assert message.payload == b"x" * 100_000


async def refused(url: str, tls: Tls | None) -> str:
    with pytest.raises(ClientError) as caught:
        await exchange(url, tls)
    return str(caught.value)


async def one_answer(answer: bytes) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """A Server that says the same to everybody and closes."""

    async def opened() -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        await theirs.send_all(answer)
        await theirs.send_eof()
        return ours

    return opened


@pytest.mark.parametrize("url", URLS)
async def test_messages_over_tls(papers: Papers, url: str) -> None:
    async with secured(papers.context()) as (mqtts, wss):
        await exchange(url.format(host="127.0.0.1", mqtts=mqtts.port, wss=wss.port), Tls(ca_file=papers.ca))
        (seen,) = (mqtts if url.startswith("mqtts") else wss).seen
        assert seen.alpn == ("mqtt" if url.startswith("mqtts") else "http/1.1")
        assert seen.version == "TLSv1.3"


@pytest.mark.parametrize("url", URLS)
async def test_tls_1_2(papers: Papers, url: str) -> None:
    context = papers.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with secured(context) as (mqtts, wss):
        await exchange(url.format(host="localhost", mqtts=mqtts.port, wss=wss.port), Tls(ca_file=papers.ca))
        assert [seen.version for seen in mqtts.seen + wss.seen] == ["TLSv1.2"]


async def test_a_context_of_the_embedder(papers: Papers) -> None:
    context = ssl.create_default_context(cafile=papers.ca)
    async with secured(papers.context()) as (mqtts, _):
        await exchange(f"mqtts://127.0.0.1:{mqtts.port}", context)
        assert mqtts.seen[0].alpn is None
    assert as_tls(context) == Tls(context=context)
    assert as_tls(None) == Tls()


async def test_tls_is_opened_on_a_stream_of_the_embedder(papers: Papers) -> None:
    async with secured(papers.context()) as (_, wss):
        stream = partial(trio.open_tcp_stream, "127.0.0.1", wss.port)
        async with connect("wss://localhost/mqtt", stream=stream, tls=Tls(ca_file=papers.ca)) as client:
            await client.publish("t", b"", qos=1)
        assert len(wss.seen) == 1


async def test_another_name(others: Papers) -> None:
    async with secured(others.context()) as (mqtts, _):
        url = f"mqtts://127.0.0.1:{mqtts.port}"
        said = await refused(url, Tls(ca_file=others.ca))
        assert said.startswith(f"{url}: the Server's certificate is for another name (IP address mismatch, ")
        assert said.endswith(": connect by a name that it holds")
        said = await refused(url, Tls(ca_file=others.ca, server_name="x.test"))
        assert "Hostname mismatch, certificate is not valid for 'x.test'" in said
        await exchange(url, Tls(ca_file=others.ca, server_name="elsewhere.test"))


@pytest.mark.parametrize("url", URLS)
async def test_an_unknown_authority(papers: Papers, others: Papers, url: str) -> None:
    async with secured(papers.context()) as (mqtts, wss):
        url = url.format(host="127.0.0.1", mqtts=mqtts.port, wss=wss.port)
        for tls in (None, Tls(ca_file=others.ca)):
            said = await refused(url, tls)
            assert said.startswith(url)
            assert said.endswith("of an authority that is unknown here: name its CA with --cafile (ca_file)")


async def test_an_expired_certificate(tmp_path: Path) -> None:
    papers = Papers(tmp_path, aged=datetime.now(UTC) - timedelta(days=900))
    async with secured(papers.context()) as (mqtts, _):
        said = await refused(f"mqtts://127.0.0.1:{mqtts.port}", Tls(ca_file=papers.ca))
    assert "the Server's certificate has expired" in said


async def test_insecure_is_said_loudly(others: Papers, caplog: pytest.LogCaptureFixture) -> None:
    async with secured(others.context()) as (mqtts, _):
        url = f"mqtts://127.0.0.1:{mqtts.port}"
        await exchange(url, Tls(insecure=True))
        await exchange(url, Tls(insecure=True, ca_file=others.ca))
    assert [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "broker.client"] == [
        (logging.WARNING, f"{url}: the certificate is NOT checked: anybody may be at the other end"),
        (logging.WARNING, f"{url}: the name in the certificate is NOT checked"),
    ]


async def test_insecure_still_checks_the_authority_that_was_named(papers: Papers, others: Papers) -> None:
    async with secured(papers.context()) as (mqtts, _):
        said = await refused(f"mqtts://127.0.0.1:{mqtts.port}", Tls(insecure=True, ca_file=others.ca))
    assert "authority that is unknown here" in said


async def test_a_certificate_of_ours(papers: Papers) -> None:
    async with secured(papers.context(client_ca=papers.ca)) as (mqtts, _):
        tls = Tls(ca_file=papers.ca, certificate=papers.client_certificate, key=papers.client_key)
        await exchange(f"mqtts://127.0.0.1:{mqtts.port}", tls)
        certificate = mqtts.seen[0].certificate
        assert certificate is not None
        assert certificate["subject"] == ((("commonName", "me"),),)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("version", "words"),
    [
        (ssl.TLSVersion.TLSv1_3, "the Server wants a certificate of ours: --cert and --key (certificate, key)"),
        (ssl.TLSVersion.TLSv1_2, "it may want a certificate: --cert and --key (certificate, key)"),
    ],
)
async def test_no_certificate_of_ours(papers: Papers, url: str, version: ssl.TLSVersion, words: str) -> None:
    context = papers.context(client_ca=papers.ca)
    context.maximum_version = version
    async with secured(context) as (mqtts, wss):
        said = await refused(url.format(host="127.0.0.1", mqtts=mqtts.port, wss=wss.port), Tls(ca_file=papers.ca))
    assert words in said


async def test_a_certificate_of_ours_that_is_not_taken(papers: Papers, others: Papers) -> None:
    async with secured(papers.context(client_ca=papers.ca)) as (mqtts, _):
        tls = Tls(ca_file=papers.ca, certificate=others.client_certificate, key=others.client_key)
        said = await refused(f"mqtts://127.0.0.1:{mqtts.port}", tls)
    assert "the Server does not take our certificate: its authority is unknown there" in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers does not speak TLS: is it the right port?"),
        (b"\x20\x02\x00\x01", "does it speak TLS at this port?"),
        (b"", "the Server broke off the TLS handshake: does it speak TLS at this port?"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "no version of TLS that is spoken here, 1.2 and 1.3"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "TLS failed (tlsv1 alert internal error)"),
    ],
)
async def test_no_tls_at_the_other_end(answer: bytes, words: str) -> None:
    with pytest.raises(CannotConnect) as caught:
        async with connect("mqtts://a.test", stream=await one_answer(answer)):
            pass
    assert str(caught.value).startswith("mqtts://a.test:8883: ")
    assert words in str(caught.value)


async def test_a_plain_broker(papers: Papers) -> None:
    """Our own, which sees a packet that no Client sends."""
    import broker
    from broker.config import Config, ListenerConfig

    config = Config(listeners=[ListenerConfig(type="tcp", port=0)])
    async with broker.serve(config) as server:
        said = await refused(server.listeners[0].url.replace("mqtt:", "mqtts:"), Tls(ca_file=papers.ca))
    assert "does it speak TLS at this port?" in said


async def test_the_handshake_has_the_time_of_connecting(autojump_clock: trio.testing.MockClock, papers: Papers) -> None:
    ours, theirs = memory_stream_pair()
    with pytest.raises(CannotConnect, match="no Network Connection within 3 s"):
        async with connect("mqtts://a.test", stream=ours, tls=Tls(ca_file=papers.ca), connect_timeout=3):
            pass
    assert trio.current_time() >= 3
    hello = await theirs.receive_some()
    assert hello[:1] == b"\x16"
    assert await theirs.receive_some() == b""


async def test_a_stream_is_closed_where_tls_fails() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"\x00" * 10)
    with pytest.raises(CannotConnect):
        await secure(ours, parse("mqtts://a"), ssl.create_default_context())
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


async def test_streams_for_those_who_want_the_default(papers: Papers) -> None:
    async with secured(papers.context()) as (mqtts, _):
        endpoint = parse(f"mqtts://127.0.0.1:{mqtts.port}")
        with pytest.raises(CannotConnect, match="authority that is unknown here"):
            await connect_stream(endpoint)
        stream = await connect_stream(endpoint, Tls(ca_file=papers.ca).make_context(endpoint))
        await stream.send_all(b"\xe0\x00")
        await stream.aclose()


def test_files_that_cannot_be_used(papers: Papers, others: Papers, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    encrypted = tmp_path / "encrypted.key"
    key = load_pem_private_key(papers.client_key.read_bytes(), None)
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    mine = papers.client_certificate
    endpoint = parse("mqtts://a")
    wrong: list[tuple[Tls, str]] = [
        (Tls(ca_file=tmp_path / "no"), "no: No such file or directory"),
        (Tls(ca_file=tmp_path), "Is a directory"),
        (Tls(ca_file=text), "text holds no certificate in PEM"),
        (Tls(certificate=tmp_path / "no"), "no: No such file or directory"),
        (Tls(ca_file=papers.ca, certificate=mine, key=tmp_path / "no"), "no: No such file or directory"),
        (Tls(ca_file=papers.ca, certificate=mine, key=others.client_key), "do not belong together"),
        (Tls(ca_file=papers.ca, certificate=mine), "not a certificate and its key in PEM, or not the key's password"),
        (
            Tls(ca_file=papers.ca, certificate=text, key=text),
            "not a certificate and its key in PEM, or not the key's password",
        ),
        (Tls(ca_file=papers.ca, certificate=mine, key=encrypted), "or not the key's password"),
        (Tls(ca_file=papers.ca, certificate=mine, key=encrypted, key_password="other"), "or not the key's password"),
        (Tls(key=papers.client_key), "a key is of no use without its certificate"),
    ]
    for tls, why in wrong:
        with pytest.raises(ValueError, match=why):
            tls.make_context(endpoint)
    Tls(ca_file=papers.ca, certificate=mine, key=encrypted, key_password="secret").make_context(endpoint)
    with pytest.raises(ValueError, match="No such file"):
        connect("mqtts://a", tls=Tls(ca_file=tmp_path / "no"))


def test_tls_is_checked_by_default() -> None:
    context = Tls().make_context(parse("mqtts://a"))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("url", ["mqtt://a", "ws://a", "unix:/a"])
def test_tls_is_for_urls_of_tls(url: str) -> None:
    with pytest.raises(ValueError, match="tls is for mqtts:// and wss://"):
        connect(url, tls=Tls())


def test_words_for_what_is_not_of_tls() -> None:
    assert explain(OSError(104, "Connection reset by peer")) == "[Errno 104] Connection reset by peer"
    assert handshake_failed(OSError(104, "Reset")).endswith("does it speak TLS at this port? ([Errno 104] Reset)")


def test_a_context_is_made_once(papers: Papers) -> None:
    endpoint = parse("mqtts://a")
    ready = Tls(ca_file=papers.ca, server_name="b").ready(endpoint)
    assert ready.server_name == "b"
    assert ready.context is not None
    assert ready.make_context(endpoint) is ready.context
