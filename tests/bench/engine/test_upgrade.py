from __future__ import annotations

import pytest
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from broker.bench.engine.upgrade import Opening, Upgrade
from broker.websocket.client_handshake import HandshakeRefused

OPENING = Opening("broker.example", 8080, "/mqtt?x=1", "mqtt")


def answer_to(request: bytes, subprotocol: str = "mqtt") -> bytes:
    """What the `websockets` package answers."""
    server = ServerProtocol(subprotocols=[Subprotocol(subprotocol)])
    server.receive_data(request)
    (event,) = server.events_received()
    server.send_response(server.accept(event))  # type: ignore[arg-type]  # one event is the request
    return b"".join(server.data_to_send())


def test_a_server_of_the_websockets_package_lets_us_in() -> None:
    upgrade = Upgrade(OPENING)
    assert upgrade.request.startswith(b"GET /mqtt?x=1 HTTP/1.1\r\nHost: broker.example:8080\r\n")
    answer = answer_to(upgrade.request)
    assert upgrade.feed(answer + b"\x82\x00") == b"\x82\x00"


def test_an_answer_in_single_bytes_is_one_too() -> None:
    upgrade = Upgrade(OPENING)
    answer = answer_to(upgrade.request)
    assert [upgrade.feed(answer[at : at + 1]) for at in range(len(answer))] == [None] * (len(answer) - 1) + [b""]


def test_each_request_has_a_key_of_its_own() -> None:
    one, other = Upgrade(OPENING), Upgrade(OPENING)
    assert one.request != other.request
    with pytest.raises(HandshakeRefused, match="not the one for our key"):
        other.feed(answer_to(one.request))


def test_other_capitals_and_spaces_mean_the_same() -> None:
    upgrade = Upgrade(OPENING)
    answer = answer_to(upgrade.request).replace(b"Upgrade: websocket", b"UPGRADE:WebSocket  ")
    answer = answer.replace(b"Connection: Upgrade", b"connection: keep-alive, UPGRADE")
    assert upgrade.feed(answer) == b""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"Upgrade: websocket", b"Upgrade: h2c", "no Upgrade to websocket"),
        (b"Connection: Upgrade", b"Connection: close", "no Upgrade in Connection"),
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x", "not the one for our key"),
        (b"Sec-WebSocket-Protocol: mqtt", b"X: y", "subprotocol mqtt was not chosen"),
        (b"Connection: Upgrade", b"Connection: Upgrade\r\nSec-WebSocket-Extensions: x", "extension"),
    ],
)
def test_an_answer_that_breaks_the_protocol_is_told(old: bytes, new: bytes, words: str) -> None:
    upgrade = Upgrade(OPENING)
    answer = answer_to(upgrade.request)
    assert old in answer
    with pytest.raises(HandshakeRefused, match=words):
        upgrade.feed(answer.replace(old, new))


def test_a_refusal_is_told_with_its_status_and_words() -> None:
    upgrade = Upgrade(OPENING)
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nnothing here"
    assert [upgrade.feed(refusal[at : at + 1]) for at in range(len(refusal) - 1)] == [None] * (len(refusal) - 1)
    with pytest.raises(HandshakeRefused, match="404: nothing here") as caught:
        upgrade.feed(refusal[-1:])
    assert caught.value.status == 404


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x00", b"HTTP/1.1 101 x\r\n" + b"a: b\r\n" * 4000])
def test_what_is_no_answer_is_told(answer: bytes) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        Upgrade(OPENING).feed(answer)
    assert caught.value.status in (0, 101)
