"""Hostile and careless WebSocket peers, over a real socket: what the frame layer promises holds in the whole broker."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.types import (
    MQTT_5_0,
    Connect,
    Disconnect,
    Pingreq,
    Publish,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
)
from tests.faults.brokers import HTTP_HEAD, MIB, frame, read_some, read_until_end, running
from tests.statements import statement

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.faults.brokers import BrokerProcess

CONNECT = encode(Connect("c", MQTT_5_0, keep_alive=30), MQTT_5_0)
BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with running(tmp_path_factory.mktemp("broker"), ("tcp", "ws", "auto"), handshake_timeout=20) as process:
        yield process


def upgraded(broker: BrokerProcess, head: bytes = HTTP_HEAD) -> socket.socket:
    made = broker.connect("ws")
    made.sendall(head)
    answer = read_head(made)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return made


def read_head(made: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += read_some(made, 1)
    return answer


def read_frame(made: socket.socket) -> tuple[int, bytes]:
    """Opcode and payload of a frame from the Server."""
    first, size = read_some(made, 2)
    assert first & 0x70 == 0
    assert size < 128, "a Server does not mask"
    if size == 126:
        size = int.from_bytes(read_some(made, 2), "big")
    elif size == 127:
        size = int.from_bytes(read_some(made, 8), "big")
    return first & 0x0F, read_some(made, size)


def greeted(made: socket.socket) -> None:
    made.sendall(frame(CONNECT))
    opcode, payload = read_frame(made)
    assert (opcode, payload[0]) == (BINARY, 0x20)


def close_code(made: socket.socket) -> int:
    """The code of the Close frame that comes next, behind which comes nothing."""
    while True:
        opcode, payload = read_frame(made)
        if opcode == CLOSE:
            break
    assert read_until_end(made) == b""
    return int.from_bytes(payload[:2], "big")


VIOLATIONS = {
    "a text frame": (frame(b"x", TEXT), 1003),
    "an unmasked frame": (frame(b"\xc0\x00", masked=False), 1002),
    "a reserved opcode": (frame(b"", 3), 1002),
    "a reserved bit": (b"\xc2\x80\x00\x00\x00\x00", 1002),
    "a continuation of nothing": (frame(b"x", 0), 1002),
    "a ping in fragments": (frame(b"", PING, fin=False), 1002),
    "a ping of 126 bytes": (frame(bytes(126), PING), 1002),
    "a message within a message": (frame(b"\xc0", fin=False) + frame(b"\x00"), 1002),
    "a close of one byte": (frame(b"x", CLOSE), 1002),
}


@statement("MQTT5-6.0.0-1", "MQTT311-6.0.0-1", "RFC6455-5.1")
@pytest.mark.parametrize("violation", list(VIOLATIONS))
@pytest.mark.parametrize("before", [True, False], ids=["before CONNECT", "after CONNACK"])
def test_violations(broker: BrokerProcess, violation: str, before: bool) -> None:
    data, code = VIOLATIONS[violation]
    with upgraded(broker) as made:
        if not before:
            greeted(made)
        made.sendall(data)
        assert close_code(made) == code


def test_a_frame_too_large_before_connack(broker: BrokerProcess) -> None:
    """Judged by its header: nothing of it is waited for."""
    with upgraded(broker) as made:
        made.sendall(frame(bytes(65_537))[:14])
        assert close_code(made) == 1009


@pytest.mark.parametrize("size", [0, 1], ids=["empty", "of one byte"])
def test_a_message_in_endless_fragments(broker: BrokerProcess, size: int) -> None:
    before = broker.memory()
    with upgraded(broker) as made:
        greeted(made)
        many = frame(b"\x30"[:size], BINARY, fin=False) + frame(b"\xff"[:size], 0, fin=False) * 2000
        try:
            for _ in range(50):
                made.sendall(many)
        except OSError:
            pass
        read_until_end(made)
    assert broker.memory() - before < 4 * MIB


def test_a_million_bytes_of_nothing(broker: BrokerProcess) -> None:
    """Empty frames and pings are cheap, answered once they matter, and hold no memory."""
    before, cpu = broker.memory(), broker.cpu_seconds()
    with upgraded(broker) as made:
        greeted(made)
        for _ in range(20):
            made.sendall(frame(b"") * 5000)
        made.sendall(frame(b"hello", PING))
        while read_frame(made) != (PONG, b"hello"):
            pass
    assert broker.memory() - before < 4 * MIB
    assert broker.cpu_seconds() - cpu < 3


def session_of_many_packets() -> bytes:
    return b"".join(
        encode(packet, MQTT_5_0)
        for packet in (
            Connect("reframed", MQTT_5_0, keep_alive=30),
            Subscribe(1, [SubscriptionRequest("r/#", 2)]),
            Publish("r/a", bytes(300)),
            Publish("r/b", b"x" * 50_000, qos=1, packet_identifier=2),
            Publish("r/c", b"y", qos=2, packet_identifier=3),
            Pubrel(3),
            Pingreq(),
            Unsubscribe(4, ["r/#"]),
            Publish("r/a", b"nobody"),
            Pingreq(),
            Disconnect(),
        )
    )


def replies(broker: BrokerProcess, frames: list[bytes]) -> bytes:
    """All that MQTT answers, out of its frames."""
    with upgraded(broker) as made:
        made.sendall(b"".join(frames))
        result = b""
        while True:
            opcode, payload = read_frame(made)
            if opcode == CLOSE:
                return result
            if opcode == BINARY:
                result += payload


@statement("MQTT5-6.0.0-2", "MQTT311-6.0.0-2")
def test_frames_are_no_packets(broker: BrokerProcess) -> None:
    """However the same bytes are cut into messages and fragments, with pings between: the answer is the same."""
    data = session_of_many_packets()
    expected = replies(broker, [frame(data)])
    assert expected.count(b"\xd0\x00") >= 2
    for seed in range(15):
        chance = random.Random(seed)
        frames: list[bytes] = []
        at = 0
        inside = False
        fragments = 0
        while at < len(data):
            size = chance.choice((0, 1, 2, 3, 10, 1000, 60_000))
            piece = data[at : at + size]
            at += size
            fin = chance.random() < 0.6 or at >= len(data) or fragments > 30
            frames.append(frame(piece, 0 if inside else BINARY, fin))
            fragments = 0 if fin else fragments + 1
            inside = not fin
            if chance.random() < 0.1:
                frames.append(frame(b"p", PING))
        assert replies(broker, frames) == expected, f"seed {seed}"


@statement("MQTT5-6.0.0-4", "MQTT311-6.0.0-4")
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (b"mqtt", b"mqtt"),
        (b"mqttv3.1", b"mqttv3.1"),
        (b"soap, mqtt", b"mqtt"),
        (b"mqtt , mqttv3.1", b"mqtt"),
        (b"a\r\nSec-WebSocket-Protocol: mqtt", b"mqtt"),
    ],
)
def test_subprotocols_are_a_list(broker: BrokerProcess, offered: bytes, chosen: bytes) -> None:
    with broker.connect("ws") as made:
        made.sendall(HTTP_HEAD.replace(b"Sec-WebSocket-Protocol: mqtt", b"Sec-WebSocket-Protocol: " + offered))
        head = read_head(made)
        assert head.startswith(b"HTTP/1.1 101 ")
        lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"sec-websocket-protocol:")]
        assert [line.partition(b":")[2].strip() for line in lines] == [chosen]
        greeted(made)


def test_no_subprotocol_at_all(broker: BrokerProcess) -> None:
    with upgraded(broker, HTTP_HEAD.replace(b"Sec-WebSocket-Protocol: mqtt\r\n", b"")) as made:
        greeted(made)


def refused(broker: BrokerProcess, head: bytes, *statuses: int) -> None:
    """Answered with one of `statuses`, or with the end."""
    with broker.connect("ws") as made:
        try:
            made.sendall(head)
        except OSError:
            return
        answer = read_until_end(made)
        assert not answer or int(answer.split(b" ", 2)[1]) in statuses, answer[:200]


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        (b"http://localhost", True),
        (b"http://localhost:81", True),
        (b"http://127.0.0.1:3000", True),
        (b"http://localhost.evil", False),
        (b"http://evil@localhost", False),
        (b"http://LOCALHOST", True),
        (b"null", False),
        (b"https://good.evil", False),
    ],
)
def test_origins(broker: BrokerProcess, origin: bytes, welcome: bool) -> None:
    """By default pages of this machine may connect to a broker on it, and no others."""
    head = HTTP_HEAD.replace(b"\r\n\r\n", b"\r\nOrigin: " + origin + b"\r\n\r\n")
    if welcome:
        with upgraded(broker, head) as made:
            greeted(made)
    else:
        refused(broker, head, 403)


BAD_HEADS = {
    "no upgrade, but a wrong one": HTTP_HEAD.replace(b"Upgrade: websocket", b"Upgrade: notwebsocket"),
    "a version of the past": HTTP_HEAD.replace(b"Version: 13", b"Version: 8"),
    "no key": HTTP_HEAD.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
    "a path that is not served": HTTP_HEAD.replace(b"GET /mqtt ", b"GET /admin "),
    "another method": HTTP_HEAD.replace(b"GET ", b"POST "),
    "a header of 20 kB": HTTP_HEAD.replace(b"\r\n\r\n", b"\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"),
    "1,000 headers": HTTP_HEAD.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 1000 + b"\r\n"),
    "an endless line": b"GET /" + b"a" * 100_000,
    "a body as well": HTTP_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "bytes that are no HTTP": b"\x00\x01\x02\r\n\r\n",
    "a header cut by a null": HTTP_HEAD.replace(b"Host: ", b"Host:\x00 "),
}


@pytest.mark.parametrize("name", list(BAD_HEADS))
def test_bad_requests(broker: BrokerProcess, name: str) -> None:
    refused(broker, BAD_HEADS[name], 400, 403, 404, 405, 413, 414, 426, 431, 501)


def test_plain_http_is_answered(broker: BrokerProcess) -> None:
    for type_ in ("ws", "auto"):
        for path, status in ((b"/healthz", 200), (b"/", 200), (b"/nothing", 404)):
            with broker.connect(type_) as made:
                made.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = read_until_end(made)
                assert int(answer.split(b" ", 2)[1]) == status, (type_, path)


def test_pipelined_requests_cost_little(broker: BrokerProcess) -> None:
    cpu = broker.cpu_seconds()
    with broker.connect("ws") as made:
        try:
            for _ in range(100):
                made.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        except OSError:
            pass
        read_until_end(made)
    assert broker.cpu_seconds() - cpu < 2


def test_a_packet_in_single_bytes_is_read_in_linear_time(broker: BrokerProcess) -> None:
    """A frame a byte: ten times the packet may take ten times the time, not a hundred times."""

    def seconds(size: int) -> float:
        publish = encode(Publish("nobody/listens", bytes(size)), MQTT_5_0)
        start = broker.cpu_seconds()
        with upgraded(broker) as made:
            greeted(made)
            made.sendall(b"".join(frame(publish[at : at + 1]) for at in range(len(publish))))
            made.sendall(frame(encode(Pingreq(), MQTT_5_0)))
            assert read_frame(made) == (BINARY, b"\xd0\x00")
        return broker.cpu_seconds() - start

    seconds(1000)
    short, long = seconds(10_000), seconds(100_000)
    assert long < 30 * max(short, 0.03), (short, long)


def test_the_broker_is_well_after_all_this(broker: BrokerProcess) -> None:
    start = time.monotonic()
    with upgraded(broker) as made:
        greeted(made)
    assert time.monotonic() - start < 10
    assert len(broker.records()) < 100
