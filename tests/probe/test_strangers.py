from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio

import broker
from broker.client import parse
from broker.config import Config, ListenerConfig
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, Connack
from broker.probe import strangers
from broker.probe.verdict import Outcome
from tests.probe.servers import answering, ask, scripted

if TYPE_CHECKING:
    from broker.client import Endpoint

HANDSHAKE = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"
ALERT = b"\x15\x03\x01\x00\x02\x02\x46"


@pytest.mark.parametrize(
    ("answer", "language", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n", "HTTP", "'HTTP/1.1 400 Bad Request'"),
        (ALERT, "TLS", "a TLS record"),
        (HANDSHAKE, "TLS", "a TLS record"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "", "'SSH-2.0-OpenSSH_9.2'"),
        (b"220 mail.example ESMTP\r\n", "", "'220 mail.example ESMTP'"),
        (b"\x00\x01\xff" * 10, "", "bytes 00 01 ff 00 01 ff 00 01 ff 00 01 ff 00 01 ff 00"),
        (b"\x1b[31m", "", "bytes 1b 5b 33 31 6d"),
        (b"", "", "bytes "),
    ],
)
def test_the_first_bytes_tell(answer: bytes, language: str, words: str) -> None:
    assert strangers.language(answer) == language
    assert strangers.describe(answer) == words


def test_advice() -> None:
    endpoint = parse("ws://[::1]:8080/x")
    assert strangers.advice("MQTT", endpoint).endswith("mqtt://[::1]:8080")
    assert "ws://[::1]:8080/mqtt" in strangers.advice("HTTP", endpoint)
    assert strangers.advice("TLS", endpoint) == "This port speaks TLS: wss://[::1]:8080/x"
    assert strangers.advice("TLS", parse("mqtt://h")) == "This port speaks TLS: mqtts://h:1883"
    assert "Another program" in strangers.advice("", endpoint)


def as_ws(endpoint: Endpoint) -> Endpoint:
    return parse(f"ws://{endpoint.authority}/mqtt")


async def found(endpoint: Endpoint, within: float = 0.5) -> str:
    return await strangers.find_out(endpoint, trio.current_time() + within)


async def test_who_answers_is_found_out() -> None:
    async with scripted(answering(HANDSHAKE)) as endpoint:
        assert await found(endpoint, 5.0) == "TLS"
        assert await found(as_ws(endpoint), 5.0) == "TLS"
    async with scripted(answering(b"HTTP/1.0 200 OK\r\n\r\n")) as endpoint:
        assert await found(endpoint, 5.0) == "HTTP"
    async with scripted(answering(encode(Connack(ReasonCode.NOT_AUTHORIZED), MQTT_3_1_1))) as endpoint:
        assert await found(as_ws(endpoint), 5.0) == "MQTT"
    async with scripted(answering(b"garbage")) as endpoint:
        assert await found(endpoint) == await found(as_ws(endpoint)) == ""
    async with scripted(answering(b"")) as endpoint:
        assert await found(endpoint) == ""  # and that within its time
    assert await found(endpoint) == ""  # nobody listens any more


async def test_a_real_tls_server_is_known() -> None:
    async def tls(stream: trio.SocketStream) -> None:
        """A server without a certificate refuses every ClientHello with an alert, and what is none as well."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(bytes(await stream.receive_some()))
        with pytest.raises(ssl.SSLError):
            server.do_handshake()
        await stream.send_all(outgoing.read())

    async with scripted(tls) as endpoint:
        verdicts, result = await ask(endpoint, "mqtt-5.0")
    assert verdicts["mqtt-5.0"].outcome in (Outcome.WRONG, Outcome.NO)
    assert result.barrier is not None
    assert result.barrier.advice.startswith("This port speaks TLS")


@pytest.mark.parametrize(
    ("answer", "text", "advice"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the answer is not MQTT: 'HTTP/1.1 400 Bad Request'", "speaks HTTP"),
        (ALERT, "the answer is not MQTT: a TLS record", "speaks TLS"),
        (b"220 mail.example ESMTP\r\n", "the answer is not MQTT: '220 mail.example ESMTP'", "Another program"),
        (b"\x00\x00\x00\x00", "the answer is not MQTT: bytes 00 00 00 00", "Another program"),
    ],
)
async def test_garbage_behind_an_mqtt_url(answer: bytes, text: str, advice: str) -> None:
    async with scripted(answering(answer)) as endpoint:
        verdicts, result = await ask(endpoint, patience=0.2)
    assert verdicts["mqtt-5.0"].outcome is Outcome.WRONG
    assert verdicts["mqtt-5.0"].text == text
    assert result.barrier is not None
    assert result.barrier.name == "mqtt-5.0"
    assert advice in result.barrier.advice
    assert not result.refused


async def test_our_own_web_port_is_told_from_mqtt() -> None:
    async with broker.serve(Config(listeners=[ListenerConfig(type="ws", port=0)])) as server:
        port = server.listeners[0].port
        _, result = await ask(parse(f"mqtt://127.0.0.1:{port}"))
    assert result.barrier is not None
    assert f"ws://127.0.0.1:{port}/mqtt" in result.barrier.advice
