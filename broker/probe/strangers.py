"""Who answers where no MQTT Server does: told by the first bytes of an answer, and by two questions in other tongues.

The usual mistakes are a port that speaks TLS, a web server, and a WebSocket URL for a port of plain MQTT.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Final

import trio

from broker.client.transport import connect_stream
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.types import MQTT_3_1_1, Connack, Connect

if TYPE_CHECKING:
    from broker.client.url import Endpoint

SHOWN: Final = 16  # bytes of an answer that nobody knows
HTTP: Final = "HTTP"
TLS: Final = "TLS"
MQTT: Final = "MQTT"


def language(answer: bytes) -> str:
    """`HTTP`, `TLS`, or "" for what begins like neither."""
    if answer.startswith(b"HTTP/"):
        return HTTP
    if answer[:2] in (b"\x15\x03", b"\x16\x03"):  # an alert, a handshake (RFC 8446 section 5.1)
        return TLS
    return ""


def describe(answer: bytes) -> str:
    """The beginning of an answer that is not MQTT, for a person."""
    first, _, _ = answer.partition(b"\n")
    if language(answer) == TLS:
        return "a TLS record"
    text = first[:60].decode("ascii", "replace").strip()
    if text and text.isprintable() and text.isascii():
        return f"{text!r}"
    return f"bytes {answer[:SHOWN].hex(' ')}"


def advice(spoken: str, endpoint: Endpoint) -> str:
    """What to do where `spoken` is spoken and the URL says otherwise; "" where none is known."""
    if spoken == TLS:
        scheme, path = ("wss", endpoint.path) if endpoint.websocket else ("mqtts", "")
        return f"This port speaks TLS: {scheme}://{endpoint.authority}{path}"
    if spoken == HTTP:
        return f"This port speaks HTTP; MQTT over WebSocket would be ws://{endpoint.authority}/mqtt."
    if spoken == MQTT:
        return f"This port speaks MQTT without WebSocket: mqtt://{endpoint.authority}"
    return "Another program may have this port, or the Server takes connections of certain addresses only."


async def find_out(endpoint: Endpoint, deadline: float) -> str:
    """Ask in other tongues, one connection each: `TLS`, `HTTP`, `MQTT` (of a ws URL), or "" for no answer known."""
    questions = [(TLS, _client_hello(endpoint.host))]
    if endpoint.scheme == "ws":
        questions.append((MQTT, encode(Connect("probe", MQTT_3_1_1), MQTT_3_1_1)))
    else:
        host = endpoint.authority if endpoint.scheme != "unix" else "localhost"
        questions.append((HTTP, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()))
    found: list[str] = []

    async def ask(name: str, question: bytes) -> None:
        answer = await _answer(endpoint, question, deadline)
        if language(answer) == name or (name == MQTT and _is_connack(answer)):
            found.append(name)

    async with trio.open_nursery() as nursery:
        for name, question in questions:
            nursery.start_soon(ask, name, question)
    return found[0] if found else ""


async def _answer(endpoint: Endpoint, question: bytes, deadline: float) -> bytes:
    with trio.CancelScope(deadline=deadline):
        try:
            stream = await connect_stream(endpoint)
            async with stream:
                await stream.send_all(question)
                return bytes(await stream.receive_some(4096))
        except (OSError, trio.BrokenResourceError):
            pass
    return b""


def _is_connack(answer: bytes) -> bool:
    packets = Decoder(DecoderLimits(), MQTT_3_1_1, server=False).feed(answer)
    return bool(packets) and isinstance(packets[0], Connack)


def _client_hello(host: str) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=host or None).do_handshake()
    return sent.read()
