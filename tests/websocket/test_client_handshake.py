"""`broker.websocket.client_handshake`: against our own door, and against answers that are wrong."""

from __future__ import annotations

import pytest
from websockets.utils import accept_key

from broker.websocket.client_handshake import ClientHandshake, HandshakeRefused
from broker.websocket.handshake import REFUSED, REQUEST, UPGRADED, HttpDoor
from tests.statements import statement


def field(request: bytes, name: str) -> str:
    """The value of a header field of `request`."""
    values = [
        line.partition(b":")[2].strip()
        for line in request.split(b"\r\n")
        if line.partition(b":")[0].lower() == name.encode()
    ]
    assert len(values) == 1
    return values[0].decode()


def answer_to(client: ClientHandshake, *lines: str, status: str = "101 Switching Protocols") -> bytes:
    """A right answer with `lines` added."""
    key = accept_key(field(client.request, "sec-websocket-key"))
    right = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {key}"]
    return "\r\n".join([f"HTTP/1.1 {status}", *right, *lines, "", ""]).encode()


def feed_all(client: ClientHandshake, *reads: bytes) -> None:
    for data in reads:
        client.feed(data)


@statement("MQTT5-6.0.0-3", "MQTT311-6.0.0-3", "MQTT5-6.0.0-4", "MQTT311-6.0.0-4", "RFC6455-4.1")
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_client_and_door_open_a_websocket(step: int) -> None:
    client = ClientHandshake("broker.example", 8080, "/mqtt?token=a%20b", headers=[("Authorization", "Bearer x")])
    door = HttpDoor()
    for start in range(0, len(client.request), step):
        door.feed(client.request[start : start + step])
    assert door.outcome == UPGRADED
    assert (door.path, door.query) == ("/mqtt", "token=a%20b")
    assert door.headers["host"] == "broker.example:8080"
    assert door.headers["sec-websocket-protocol"] == "mqtt"
    assert door.headers["authorization"] == "Bearer x"
    answered = door.response + b"\x82\x00"
    for start in range(0, len(answered), step):
        client.feed(answered[start : start + step])
    assert client.done
    assert client.subprotocol == "mqtt"
    assert client.leftover == b"\x82\x00"


@statement("RFC6455-4.1")
def test_two_handshakes_have_different_keys() -> None:
    keys = {field(ClientHandshake("h", 80).request, "sec-websocket-key") for _ in range(10)}
    assert len(keys) == 10


def test_a_server_that_chooses_no_subprotocol_is_told() -> None:
    client = ClientHandshake("h", 80)
    assert client.feed(answer_to(client))
    assert client.subprotocol is None


def test_an_answer_may_be_announced() -> None:
    client = ClientHandshake("h", 80)
    assert not client.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.feed(answer_to(client))


def test_the_end_of_the_stream_before_the_answer_is_told() -> None:
    client = ClientHandshake("h", 80)
    client.feed(b"HTTP/1.1 101 Switch")
    with pytest.raises(HandshakeRefused, match="closed before the answer"):
        client.feed(b"")


def test_what_comes_behind_the_answer_is_left_over() -> None:
    client = ClientHandshake("h", 80)
    client.feed(answer_to(client) + b"a")
    assert client.feed(b"b")
    assert client.leftover == b"ab"


def test_an_ipv6_address_and_a_default_port_make_the_right_host() -> None:
    assert field(ClientHandshake("::1", 8080).request, "host") == "[::1]:8080"
    assert field(ClientHandshake("h", 443, secure=True).request, "host") == "h"


@statement("RFC6455-4.1")
def test_a_wrong_accept_is_refused() -> None:
    client = ClientHandshake("h", 80)
    answered = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"
    with pytest.raises(HandshakeRefused, match="Sec-WebSocket-Accept"):
        client.feed(answered)


@statement("RFC6455-4.1")
@pytest.mark.parametrize(
    "lines", ["Sec-WebSocket-Protocol: amqp", "Sec-WebSocket-Protocol: mqtt, amqp", "Sec-WebSocket-Extensions: x"]
)
def test_what_was_not_offered_is_refused(lines: str) -> None:
    client = ClientHandshake("h", 80)
    with pytest.raises(HandshakeRefused, match="breaks the WebSocket protocol") as caught:
        client.feed(answer_to(client, lines))
    assert caught.value.status == 101


def test_a_refusal_carries_the_status_and_the_servers_words() -> None:
    client = ClientHandshake("h", 80, "/elsewhere")
    door = HttpDoor(paths=("/mqtt",))
    door.feed(client.request)
    assert door.outcome == REFUSED
    with pytest.raises(HandshakeRefused) as caught:
        client.feed(door.response)
    assert caught.value.status == 404
    assert "/mqtt" in caught.value.text


def test_a_refusal_without_a_body_carries_the_reason_phrase() -> None:
    client = ClientHandshake("h", 80)
    with pytest.raises(HandshakeRefused, match="503") as caught:
        client.feed(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    assert caught.value.text == "Busy"


def test_an_endless_refusal_is_not_read_to_its_end() -> None:
    client = ClientHandshake("h", 80)
    assert not client.feed(b"HTTP/1.1 500 Oops\r\n\r\n")
    with pytest.raises(HandshakeRefused, match="500"):
        feed_all(client, *[b"x" * 1000] * 100)


def test_a_refusal_cut_short_is_still_told() -> None:
    client = ClientHandshake("h", 80)
    client.feed(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf")
    with pytest.raises(HandshakeRefused, match="half") as caught:
        client.feed(b"")
    assert caught.value.status == 500


@pytest.mark.parametrize("data", [b"\x20\x02\x00\x00", b"SSH-2.0-x\r\n\r\n", b"", b"HTTP/1.1 101\r\nbad\r\n\r\n"])
def test_what_is_not_http_is_refused(data: bytes) -> None:
    client = ClientHandshake("h", 80)
    with pytest.raises(HandshakeRefused) as caught:
        feed_all(client, data, b"")
    assert caught.value.status == 0


def test_an_answer_of_200_opens_nothing() -> None:
    door = HttpDoor()
    door.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert door.outcome == REQUEST
    client = ClientHandshake("h", 80)
    with pytest.raises(HandshakeRefused, match="200"):
        client.feed(door.respond())


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain", "plain"),
        ("two\r\n lines", "two lines"),
        ("<html><head><TITLE>\n404 </TITLE></head><body>x</body>", "404"),
        ("<h1>Not <b>Found</b></h1>", "Not Found"),
        ("x" * 300, "x" * 239 + "…"),
    ],
)
def test_a_refusal_is_told_in_one_line(said: str, shown: str) -> None:
    assert HandshakeRefused(404, said).text == shown
