from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import broker
from broker.client import parse
from broker.config import Config, ListenerConfig
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.types import MQTT_5_0
from broker.packets.wire import read_variable_byte_integer
from broker.probe.verdict import Outcome
from broker.websocket.frames import TEXT
from tests.probe.servers import answering, ask, only, scripted
from tests.probe.webserver import Request, page, right, web

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [
    *("upgrade", "paths", "subprotocol", "subprotocol-3.1", "no-subprotocol"),
    *("joined", "split", "ping-frame", "text-frame"),
]


async def test_our_own_passes() -> None:
    async with broker.serve(Config(listeners=[ListenerConfig(type="ws", port=0)])) as server:
        verdicts, _ = await ask(parse(server.listeners[0].url), "websocket")
    assert list(verdicts) == NAMES
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.OK}
    assert verdicts["paths"].text == "/ open too, not /ws"


async def test_the_good_web_server_of_these_tests_passes_but_for_text() -> None:
    async with web() as endpoint:
        verdicts, _ = await ask(endpoint, "websocket")
    wrong = {name for name, verdict in verdicts.items() if verdict.outcome is not Outcome.OK}
    assert wrong == {"text-frame"}
    assert verdicts["text-frame"].statement == "MQTT5-6.0.0-1"
    assert verdicts["text-frame"].text == "the Network Connection stays open"
    assert verdicts["paths"].text == "/, /ws open too"


async def test_all_the_rest_over_websocket() -> None:
    async with web() as endpoint:
        verdicts, _ = await ask(endpoint, "connect", "messages", "retained", "faults", patience=20)
    assert {name for name, verdict in verdicts.items() if verdict.outcome is not Outcome.OK} == set()


@pytest.mark.parametrize(
    ("answer", "text", "advice"),
    [
        (
            page("404 Not Found", "<html><title>Not here</title>"),
            "HTTP 404 Not Found at /mqtt: Not here",
            "Not at /, /ws either",
        ),
        (page("403 Forbidden", "no such Origin"), "HTTP 403 Forbidden at /mqtt: no such Origin", "Refused by a rule"),
        (page("401 Unauthorized"), "HTTP 401 Unauthorized at /mqtt: Unauthorized", "wants a login"),
        (
            page("200 OK", "<title>Welcome to nginx!</title>"),
            "HTTP 200 OK at /mqtt: Welcome to nginx!",
            "An ordinary web page",
        ),
        (page("301 Moved Permanently", "", "Location: https://x/"), "HTTP 301 Moved Permanently", "elsewhere"),
        (
            page("400 Bad Request", "No Upgrade"),
            "HTTP 400 Bad Request at /mqtt: No Upgrade",
            "takes the Upgrade header away",
        ),
        (page("502 Bad Gateway"), "HTTP 502 Bad Gateway", "does not reach the Server"),
        (page("599 Odd", "odd"), "HTTP 599 at /mqtt: odd", "ask for the path"),
    ],
)
async def test_what_is_no_upgrade(answer: bytes, text: str, advice: str) -> None:
    async with web(lambda _: answer) as endpoint:
        verdicts, result = await ask(endpoint)
    upgrade = verdicts["upgrade"]
    assert upgrade.outcome is Outcome.WRONG
    assert upgrade.expected == "101 Switching Protocols"
    assert upgrade.text.startswith(text)
    assert advice in upgrade.advice
    assert result.barrier == upgrade
    assert not result.refused
    assert verdicts["mqtt-5.0"].because == "upgrade"


async def test_the_right_path_is_found() -> None:
    async with web(lambda request: right(request) if request.path == "/ws" else page("404 Not Found")) as endpoint:
        verdict = await only(endpoint, "upgrade")
        assert verdict.advice == f"A WebSocket opens at ws://{endpoint.authority}/ws"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda request: request.accepted("mqtt", accept="bm8="), "Sec-WebSocket-Accept"),
        (lambda request: request.accepted("chat"), "unsupported subprotocol: chat"),
        (lambda _: b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "breaks the WebSocket protocol"),
    ],
)
async def test_a_wrong_101(answer: Callable[[Request], bytes], text: str) -> None:
    async with web(answer) as endpoint:
        verdict = await only(endpoint, "upgrade")
    assert (verdict.outcome, verdict.statement) == (Outcome.WRONG, "RFC6455-4.2.2")
    assert text in verdict.text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "nothing"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (b"\x20\x02\x00\x05", "the answer is not HTTP"),
    ],
)
async def test_what_is_no_http(answer: bytes, text: str) -> None:
    async with scripted(answering(answer), "ws", "/mqtt") as endpoint:
        verdicts, result = await ask(endpoint, "upgrade", patience=0.3)
    assert result.barrier == verdicts["upgrade"]
    assert verdicts["upgrade"].outcome is Outcome.WRONG
    if answer:
        assert verdicts["upgrade"].text.startswith(f"no HTTP answer at /mqtt: {text}")
    else:
        assert verdicts["upgrade"].text == "no answer to the upgrade request"


async def test_a_port_of_plain_mqtt_is_known() -> None:
    async with broker.serve(Config(listeners=[ListenerConfig(type="tcp", port=0)])) as server:
        port = server.listeners[0].port
        verdict = await only(parse(f"ws://127.0.0.1:{port}/mqtt"), "upgrade")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.advice == f"This port speaks MQTT without WebSocket: mqtt://127.0.0.1:{port}"


async def test_a_subprotocol_that_is_not_confirmed() -> None:
    async with web(lambda request: request.accepted()) as endpoint:
        verdicts, _ = await ask(endpoint, "subprotocol", "subprotocol-3.1", "no-subprotocol")
    assert (verdicts["subprotocol"].outcome, verdicts["subprotocol"].statement) == (Outcome.WRONG, "MQTT5-6.0.0-4")
    assert "Browsers refuse" in verdicts["subprotocol"].advice
    assert verdicts["subprotocol-3.1"].outcome is Outcome.NO
    assert verdicts["no-subprotocol"].outcome is Outcome.OK


async def test_subprotocols_that_are_refused() -> None:
    def strict(request: Request) -> bytes:
        return right(request) if "mqtt" in request.subprotocols else page("400 Bad Request", "offer mqtt")

    async with web(strict) as endpoint:
        verdicts, _ = await ask(endpoint, "subprotocol", "subprotocol-3.1", "no-subprotocol")
    assert verdicts["subprotocol"].outcome is Outcome.OK
    assert verdicts["subprotocol-3.1"].text == "mqttv3.1 is refused: HTTP 400 offer mqtt"
    assert verdicts["no-subprotocol"].text == "no subprotocol is refused: HTTP 400 offer mqtt"
    assert verdicts["no-subprotocol"].outcome is verdicts["subprotocol-3.1"].outcome is Outcome.NO


async def test_a_subprotocol_that_was_not_offered() -> None:
    async with web(lambda request: request.accepted("mqtt")) as endpoint:
        verdict = await only(endpoint, "no-subprotocol")
    assert (verdict.outcome, verdict.statement) == (Outcome.WRONG, "RFC6455-4.2.2")


def first_packet_only(opcode: int, payload: bytes) -> bytes | None:
    """A server that takes a message for a packet, and forgets what is behind the first one."""
    remaining, at = read_variable_byte_integer(payload, 1, len(payload))
    return payload[: at + remaining]


def whole_packets_only(opcode: int, payload: bytes) -> bytes | None:
    """A server that wants a packet in each message."""
    if payload[:1] == b"\x10":
        return payload
    decoder = Decoder(DecoderLimits(), MQTT_5_0)
    return payload if decoder.feed(payload) and decoder.error is None else None


async def test_packets_that_are_lost_in_a_frame() -> None:
    async with web(admit=first_packet_only) as endpoint:
        verdict = await only(endpoint, "joined")
    assert (verdict.outcome, verdict.statement) == (Outcome.WRONG, "MQTT5-6.0.0-2")
    assert verdict.expected == "the second message of one frame"
    assert "Node" in verdict.advice


async def test_packets_that_must_fill_a_message() -> None:
    async with web(admit=whole_packets_only) as endpoint:
        verdicts, _ = await ask(endpoint, "split", "joined")
    assert verdicts["joined"].outcome is Outcome.OK
    assert (verdicts["split"].outcome, verdicts["split"].statement) == (Outcome.WRONG, "MQTT5-6.0.0-2")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (lambda _: b"", "no Pong"),
        (lambda replies: replies.replace(b"probe", b"other"), "a Pong with another payload"),
    ],
)
async def test_a_ping_that_is_not_answered(reply: Callable[[bytes], bytes], text: str) -> None:
    async with web(reply=reply) as endpoint:
        verdict = await only(endpoint, "ping-frame")
    assert (verdict.outcome, verdict.text) == (Outcome.WRONG, text)


async def test_text_that_is_refused() -> None:
    async with web(admit=lambda opcode, payload: None if opcode == TEXT else payload) as endpoint:
        verdict = await only(endpoint, "text-frame")
    assert (verdict.outcome, verdict.text) == (Outcome.OK, "the Server closed the Network Connection")
