"""One Client over WebSocket; what is the same without frames is tested with the loop."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import pytest

from broker.bench.engine.client import READY, SECURING, Client, CountingFrames, Network
from broker.bench.engine.tally import Tally
from broker.bench.engine.upgrade import Opening
from broker.bench.errors import CannotConnect, Refused
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connack, Connect, Disconnect, Pingreq
from broker.transport.poller import Poller
from broker.websocket.frames import NORMAL_CLOSURE, FrameDecoder, binary_frames, close_frame, ping_frame
from tests.bench.engine.parts import decoded
from tests.bench.engine.test_upgrade import answer_to
from tests.secured import Papers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Session:
    """A Client and the Server's end of its connection."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.network = Network(Tally(), Poller(), socket.AF_INET, self.listener.getsockname(), "ws://here/mqtt", 5, 60)
        self.network.opening = Opening("127.0.0.1", 1, "/mqtt", "mqtt")
        self.client = Client(self.network, "connection", 0, "me")
        self.client.connect(monotonic_ns())
        self.server = self.listener.accept()[0]
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.settimeout(20.0)
        self.frames = FrameDecoder(1 << 20)

    def close(self) -> None:
        self.client.abandon()
        self.network.poller.close()
        self.server.close()
        self.listener.close()

    def turn(self) -> None:
        """What the loop does, once."""
        for fd, mask in self.network.poller.poll(0.2, 64):
            client = self.network.clients[fd]
            if client is not None:
                client.happened(mask)
        for client in self.network.dirty:
            client.flush(monotonic_ns())
        self.network.dirty.clear()

    def upgrade(self) -> None:
        self.turn()
        self.server.sendall(answer_to(self.server.recv(10_000)))
        self.turn()

    def read(self) -> Any:
        """The packets that the Client sent, in frames."""
        return decoded(self.frames.feed(self.server.recv(10_000)))

    def connect(self) -> None:
        self.upgrade()
        self.server.recv(10_000)
        self.server.sendall(binary_frames(encode(Connack(ReasonCode.SUCCESS), 5), 1000))
        self.turn()
        assert self.client.state == READY
        self.frames = FrameDecoder(1 << 20)


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    yield made
    made.close()


def test_upgrade_then_connect_in_one_masked_frame(session: Session) -> None:
    session.upgrade()
    data = session.server.recv(10_000)
    assert data[0] == 0x82
    assert data[1] & 0x80
    (packet,) = decoded(session.frames.feed(data), 0)
    assert isinstance(packet, Connect)
    assert (packet.client_identifier, packet.clean_start, packet.keep_alive) == ("me", True, 60)
    tally = session.network.tally
    assert tally.connect_bytes_sent > len(data)
    assert tally.connect_bytes_received > 0


def test_bytes_and_frames_are_counted_apart_from_mqtt(session: Session) -> None:
    session.connect()
    tally = session.network.tally
    assert (tally.bytes_received, tally.frames_received) == (0, 0)
    session.client.ping()
    session.turn()
    (packet,) = session.read()
    assert isinstance(packet, Pingreq)
    assert (tally.bytes_sent, tally.mqtt_bytes_sent) == (8, 2)
    session.server.sendall(binary_frames(b"\xd0\x00\xd0\x00", 3))
    session.turn()
    assert (tally.bytes_received, tally.mqtt_bytes_received, tally.frames_received) == (8, 4, 2)


def test_a_ping_is_answered(session: Session) -> None:
    session.connect()
    session.server.sendall(ping_frame(b"there?"))
    session.turn()
    session.turn()
    session.frames.feed(session.server.recv(100))
    assert session.frames.pongs_received == 1


def test_a_close_is_a_disconnection(session: Session) -> None:
    session.connect()
    session.server.sendall(close_frame(1001, "going down"))
    session.turn()
    assert session.network.ended == [session.client]
    assert session.network.tally.trouble == {"the broker closed the WebSocket: 1001 going down": 1}


def test_a_masked_frame_is_a_violation(session: Session) -> None:
    session.connect()
    session.server.sendall(binary_frames(b"\xd0\x00", 10, masked=True))
    session.turn()
    assert list(session.network.tally.trouble) == ["the broker closed the WebSocket: the frame is masked"]


def test_goodbye_is_disconnect_and_close(session: Session) -> None:
    session.connect()
    session.client.say_goodbye()
    (packet,) = session.read()
    assert isinstance(packet, Disconnect)
    assert session.frames.close_code == NORMAL_CLOSURE
    assert session.network.ended == []


def test_a_refused_upgrade(session: Session) -> None:
    session.turn()
    session.server.recv(10_000)
    session.server.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nwho? me")
    with pytest.raises(Refused, match=r"ws://here/mqtt: .* 403: who\? me \(check the path\)"):
        session.turn()


def test_no_http_at_all(session: Session) -> None:
    session.turn()
    session.server.recv(10_000)
    session.server.sendall(b"\x20\x02\x00\x00\r\n\r\n")
    with pytest.raises(CannotConnect, match="no WebSocket there"):
        session.turn()


def test_frames_are_counted_however_they_are_cut() -> None:
    frames = CountingFrames()
    data = binary_frames(bytes(1000), 100) + ping_frame(b"x")
    got = b"".join(frames.feed(data[at : at + 7]) for at in range(0, len(data), 7))
    assert (got, frames.count) == (bytes(1000), 11)


# -- TLS


class Secured(Session):
    """The same with TLS and without WebSocket; `shake_hands` does what the Server does in it."""

    def __init__(self, papers: Papers, name: str = "localhost") -> None:
        super().__init__()
        self.network.opening = None
        self.network.shown = "mqtts://here"
        self.network.context = ssl.create_default_context(cafile=papers.ca)
        self.network.server_name = name
        self._context = papers.context()

    def shake_hands(self) -> None:
        def serve() -> None:
            with suppress(ssl.SSLError):
                self.server = self._context.wrap_socket(self.server, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            while self.client.state <= SECURING:
                self.turn()
            self.turn()
        finally:
            thread.join()


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


@pytest.fixture
def secured(papers: Papers) -> Iterator[Secured]:
    made = Secured(papers)
    yield made
    made.close()


def test_connect_inside_tls(secured: Secured) -> None:
    secured.shake_hands()
    (packet,) = decoded(secured.server.recv(10_000), 0)
    assert isinstance(packet, Connect)
    secured.server.sendall(encode(Connack(ReasonCode.SUCCESS), 5))
    while secured.client.state != READY:
        secured.turn()
    assert secured.network.tally.connected == 1


def test_what_tls_does_not_take_at_once_waits(secured: Secured) -> None:
    secured.shake_hands()
    secured.server.recv(10_000)
    secured.server.sendall(encode(Connack(ReasonCode.SUCCESS), 5))
    while secured.client.state != READY:
        secured.turn()
    sent = bytes(range(256)) * 40_000
    secured.client.publish(sent)
    secured.turn()
    assert secured.client.full
    received = bytearray()

    def read() -> None:
        while len(received) < len(sent):
            received.extend(secured.server.recv(65_536))

    thread = threading.Thread(target=read)
    thread.start()
    while secured.client.full:
        secured.turn()
    thread.join(20)
    assert received == sent


def test_a_server_that_closes_is_told_as_without_tls(secured: Secured) -> None:
    secured.shake_hands()
    secured.server.recv(10_000)
    secured.server.close()
    with pytest.raises(CannotConnect, match="mqtts://here: connection 0: the broker closed the connection before CONN"):
        secured.turn()


def test_a_certificate_for_another(papers: Papers) -> None:
    made = Secured(papers, "elsewhere.test")
    try:
        with pytest.raises(CannotConnect, match=r"mqtts://here: the Server's certificate is for another name"):
            made.shake_hands()
    finally:
        made.close()


def test_no_tls_at_the_other_end(secured: Secured) -> None:
    secured.turn()
    assert secured.client.state == SECURING
    assert str(secured.client.late()).endswith("no answer to the TLS handshake of connection 0 in time")
    secured.server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(CannotConnect, match="what answers does not speak TLS"):
        secured.turn()


def test_the_end_in_the_middle_of_the_handshake(secured: Secured) -> None:
    secured.turn()
    secured.server.recv(10_000)
    secured.server.close()
    with pytest.raises(CannotConnect, match="broke off the TLS handshake: does it speak TLS"):
        secured.turn()
