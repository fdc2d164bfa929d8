"""The loop, with a Server of the test's own in the same thread: the loop runs, then the Server answers, in turns."""

from __future__ import annotations

import os
import socket
import time
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import pytest

from broker.bench.engine.client import Network
from broker.bench.engine.loop import BROKEN, CONNECTED, CONTROL, SECOND, TIME, Loop
from broker.bench.engine.plan import Plan
from broker.bench.engine.tally import Tally
from broker.bench.errors import CannotConnect, Refused
from broker.bench.workload import Workload
from broker.packets.decode import Decoder
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
)
from broker.transport.poller import Poller
from tests.bench.engine.parts import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = SECOND // 500  # of the loop between two looks of the Server


class Peer:
    """One connection at the Server."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.decoder = Decoder(limits())
        self.packets: list[ControlPacket] = []
        self.closed = False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> list[ControlPacket]:
        """What came since the last look."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return []
        self.closed = not data
        new = self.decoder.feed(data)
        if any(isinstance(packet, Connect) for packet in new):
            self.decoder.accept()
            new += self.decoder.feed(b"")
        assert self.decoder.error is None
        self.packets += new
        return new

    def send(self, *packets: ControlPacket) -> None:
        self.socket.sendall(b"".join(encode(packet, 5) for packet in packets))

    @property
    def name(self) -> str:
        first = self.packets[0]
        assert isinstance(first, Connect)
        return first.client_identifier


class Served:
    """A Loop and its Server. `answer` gives what the Server says to a packet."""

    def __init__(self, **fields: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        address = self.listener.getsockname()
        self.workload = Workload(url="", **{"timeout": 0.2, "topic_filter": "bench/%m", **fields})
        network = Network(Tally(), Poller(), socket.AF_INET, address, "mqtt://here", 5, self.workload.keep_alive)
        network.qos = self.workload.qos
        self.control, self.word = os.pipe()
        self.loop = Loop(self.workload, network, Plan(self.workload, "", "t", 1), 0, 1, None, self.control)
        self.tally = network.tally
        self.peers: list[Peer] = []
        self.connack = Connack(ReasonCode.SUCCESS)
        self.granted = self.workload.qos
        self.relaying = True

    def close(self) -> None:
        self.loop.end()
        self.listener.close()
        self.loop.network.poller.close()
        self.hang_up()
        os.close(self.control)
        os.close(self.word)

    def hang_up(self) -> None:
        for peer in self.peers:
            peer.socket.close()
        self.peers.clear()

    def accept(self) -> None:
        while True:
            try:
                self.peers.append(Peer(self.listener.accept()[0]))
            except BlockingIOError:
                return

    def answer(self) -> None:
        """One look of the Server at all its connections."""
        self.accept()
        for peer in self.peers:
            for packet in [] if peer.closed else peer.read():
                if isinstance(packet, Connect):
                    peer.send(self.connack)
                elif isinstance(packet, Subscribe):
                    peer.send(Suback(packet.packet_identifier, [self.granted]))
                elif isinstance(packet, Pingreq):
                    peer.send(Pingresp())
                elif isinstance(packet, Publish) and self.relaying:
                    self.relay(peer, packet)

    def relay(self, peer: Peer, packet: Publish) -> None:
        if packet.qos == 1:
            peer.send(Puback(packet.packet_identifier))
        for other in self.peers:
            if any(isinstance(each, Subscribe) for each in other.packets):
                other.send(packet)

    def run(self, seconds: float = 1.0) -> int:
        """Why the loop came back, of what is not TIME; TIME after `seconds`."""
        end = monotonic_ns() + int(seconds * SECOND)
        while monotonic_ns() < end:
            why = self.loop.run(monotonic_ns() + STEP)
            self.answer()
            if why != TIME:
                return why
        return TIME

    def start(self, window: float = 10.0) -> None:
        assert self.run() == CONNECTED
        now = monotonic_ns()
        self.loop.start(now, now, now + int(window * SECOND))

    def published(self) -> list[Publish]:
        return [packet for peer in self.peers for packet in peer.packets if isinstance(packet, Publish)]


@pytest.fixture
def serve() -> Iterator[Any]:
    made: list[Served] = []

    def make(**fields: Any) -> Served:
        made.append(Served(**fields))
        return made[-1]

    yield make
    for each in made:
        each.close()


# -- Connecting


def test_subscribers_come_before_publishers_and_the_others(serve: Any) -> None:
    served = serve(publishers=2, subscribers=1, idle=1)
    assert served.run() == CONNECTED
    assert [peer.name for peer in served.peers] == ["bench-t-s0", "bench-t-p0", "bench-t-p1", "bench-t-i0"]
    assert (served.tally.connected, served.tally.connect.count, served.loop.network.ready) == (4, 4, 4)
    assert served.tally.first_connect < served.tally.last_connect <= monotonic_ns()
    assert (served.tally.connect_bytes_received, served.tally.connect_bytes_sent) == (
        4 * 5,
        4 * (15 + len("bench-t-s0")),
    )


def test_no_more_connect_at_a_time_than_they_may(serve: Any) -> None:
    served = serve(idle=10, connecting=3, timeout=5.0)
    served.loop.run(monotonic_ns() + STEP)
    served.accept()
    assert len(served.peers) == 3
    assert served.run() == CONNECTED
    assert len(served.peers) == 10


def test_a_connect_rate_is_kept(serve: Any) -> None:
    served = serve(idle=6, connect_rate=100.0)
    start = monotonic_ns()
    assert served.run() == CONNECTED
    assert 0.05 <= (monotonic_ns() - start) / SECOND < 0.2


def test_nobody_there(serve: Any) -> None:
    served = serve(idle=1)
    served.listener.close()
    with pytest.raises(CannotConnect, match=r"mqtt://here: Connection refused\. Is a broker running there\?"):
        served.run()


def test_somebody_who_says_nothing(serve: Any) -> None:
    served = serve(idle=1)
    with pytest.raises(CannotConnect, match="no answer to CONNECT of connection 0 in time"):
        served.loop.run(monotonic_ns() + SECOND)


def test_somebody_who_hangs_up(serve: Any) -> None:
    served = serve(idle=1)
    served.loop.run(monotonic_ns() + STEP)
    served.accept()
    served.peers[0].socket.close()
    with pytest.raises(CannotConnect, match=r"connection 0: .* before CONNACK"):
        served.loop.run(monotonic_ns() + SECOND)


def test_somebody_who_speaks_something_else(serve: Any) -> None:
    served = serve(idle=1)
    served.loop.run(monotonic_ns() + STEP)
    served.accept()
    served.peers[0].socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100))
    with pytest.raises(CannotConnect, match="what is no MQTT"):
        served.loop.run(monotonic_ns() + SECOND)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (ReasonCode.NOT_AUTHORIZED, "user name"),
        (ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "another version"),
        (ReasonCode.QUOTA_EXCEEDED, "fewer clients"),
        (ReasonCode.BANNED, "0x8A banned: no words"),
    ],
)
def test_a_refusal_is_told_with_advice(serve: Any, reason: ReasonCode, advice: str) -> None:
    served = serve(idle=1)
    properties = Properties()
    properties.reason_string = "no words"
    served.connack = Connack(reason, properties=properties)
    with pytest.raises(Refused, match=f"refused the connection of connection 0: .*{advice}"):
        served.run()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("maximum_qos", 0, "no message above QoS 0"), ("maximum_packet_size", 50, "at most 50 bytes")],
)
def test_what_the_server_cannot_take_is_told_before_it_is_sent(serve: Any, name: str, value: int, words: str) -> None:
    served = serve(publishers=1, qos=1)
    properties = Properties()
    setattr(properties, name, value)
    served.connack = Connack(ReasonCode.SUCCESS, properties=properties)
    with pytest.raises(Refused, match=words):
        served.run()


def test_a_filter_that_is_refused_is_told(serve: Any) -> None:
    served = serve(subscribers=1)
    served.granted = 0x87
    with pytest.raises(Refused, match="Topic Filter 'bench/0' of subscriber 0: 0x87 not authorized"):
        served.run()


@pytest.mark.parametrize(
    ("reason", "error", "words"),
    [
        (
            ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
            Refused,
            "Topic Filter 'bench/0' of subscriber 0: 0x9E shared subscriptions not supported: no words",
        ),
        (ReasonCode.SERVER_SHUTTING_DOWN, CannotConnect, "0x8B server shutting down: no words before SUBACK"),
    ],
)
def test_a_disconnect_instead_of_suback(serve: Any, reason: ReasonCode, error: type[Exception], words: str) -> None:
    served = serve(subscribers=1)
    properties = Properties()
    properties.reason_string = "no words"
    served.loop.run(monotonic_ns() + STEP)
    served.accept()
    disconnect = encode(Disconnect(reason, properties), 5)
    served.peers[0].socket.sendall(encode(Connack(ReasonCode.SUCCESS), 5) + disconnect)
    with pytest.raises(error, match=words):
        served.loop.run(monotonic_ns() + SECOND)


def test_who_is_turned_away_when_others_are_connected_may_be_one_too_many(serve: Any) -> None:
    served = serve(idle=2, connect_rate=50.0)
    served.loop.run(monotonic_ns() + STEP)
    served.accept()
    served.peers[0].socket.sendall(encode(Connack(ReasonCode.SUCCESS), 5))
    served.loop.run(monotonic_ns() + SECOND // 25)
    served.accept()
    served.peers[1].socket.close()
    with pytest.raises(CannotConnect, match="before CONNACK, when 1 were connected: it may take no more"):
        served.loop.run(monotonic_ns() + SECOND)


def test_a_lower_qos_than_asked_for_is_trouble(serve: Any) -> None:
    served = serve(subscribers=1, qos=2)
    served.granted = 1
    assert served.run() == CONNECTED
    assert served.tally.trouble == {"QoS 1 granted where 2 was asked for": 1}


# -- Sending and receiving


def test_a_closed_loop_goes_on_with_what_arrives(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, inflight=3)
    served.start()
    served.relaying = False
    served.run(0.02)
    assert len(served.published()) == 3
    served.relaying = True
    for packet in served.published():
        served.relay(served.peers[1], packet)
    served.run(0.05)
    tally = served.tally
    assert tally.received >= 6
    assert tally.sent - tally.unique <= 3
    assert tally.latency.count == tally.unique


def test_a_closed_loop_gives_up_what_does_not_arrive(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, inflight=3, timeout=0.1)
    served.relaying = False
    served.start()
    served.run(0.3)
    assert served.tally.sent >= 6
    assert served.tally.expected == served.tally.sent


def test_an_open_loop_does_not_wait_for_what_arrives(serve: Any) -> None:
    served = serve(publishers=2, subscribers=2, rate=1000.0, inflight=1)
    served.relaying = False
    served.start(0.05)
    served.run(0.1)
    assert len(served.published()) == 50
    assert served.loop.unsent == 0


def test_what_is_due_when_the_time_is_up_is_sent_though_late(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, rate=1000.0)
    served.start(0.02)
    time.sleep(0.03)
    served.loop.drain()
    served.run(0.05)
    assert (served.tally.sent, served.tally.unique, served.tally.latency.count) == (20, 20, 20)
    assert served.tally.latest > SECOND // 100


def test_a_count_is_sent_and_no_more(serve: Any) -> None:
    served = serve(publishers=3, subscribers=3, count=10, qos=1)
    served.start()
    assert served.loop.unsent == 10
    served.run(0.1)
    assert (served.tally.sent, served.tally.unique, served.tally.acknowledged, served.loop.unsent) == (10, 10, 10, 0)
    assert served.loop.unacknowledged == 0


def test_draining_sends_nothing_new(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, inflight=3)
    served.start()
    served.run(0.02)
    served.loop.drain()
    sent = served.tally.sent
    while served.tally.unique < sent:
        served.run(0.01)
    served.run(0.01)
    assert served.tally.sent == sent


def test_a_packet_in_pieces_is_one_packet(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, inflight=1, payload=100_000)
    served.relaying = False
    served.start()
    while not served.published():
        served.run(0.005)
    data = served.published()[0].packet
    for at in range(0, len(data), 9999):
        served.peers[0].socket.sendall(data[at : at + 9999])
        served.run(0.001)
    served.run(0.01)
    assert (served.tally.received, served.tally.unique, served.tally.corrupted) == (1, 1, 0)


def test_a_server_that_does_not_read_holds_up_and_loses_nothing(serve: Any) -> None:
    served = serve(publishers=1, payload=100_000, count=300)
    served.start()
    served.loop.run(monotonic_ns() + SECOND // 20)
    assert 0 < served.tally.sent < 300
    while len(served.published()) < 300:
        served.run(0.01)
    assert {len(packet.payload) for packet in served.published()} == {100_000}


def test_silent_clients_send_pingreq_within_the_keep_alive(serve: Any) -> None:
    served = serve(idle=3, keep_alive=1)
    assert served.run() == CONNECTED
    served.run(0.8)
    for peer in served.peers:
        assert 1 <= sum(isinstance(packet, Pingreq) for packet in peer.packets) <= 2


def test_the_keep_alive_of_the_server_is_honoured(serve: Any) -> None:
    served = serve(idle=1, keep_alive=600)
    properties = Properties()
    properties.server_keep_alive = 1
    served.connack = Connack(ReasonCode.SUCCESS, properties=properties)
    assert served.run() == CONNECTED
    served.run(0.8)
    assert any(isinstance(packet, Pingreq) for packet in served.peers[0].packets)


# -- The end


def test_the_control_descriptor_is_told_of(serve: Any) -> None:
    served = serve(idle=1)
    assert served.run() == CONNECTED
    os.write(served.word, b"x")
    assert served.run() == CONTROL


def test_a_broker_that_dies_breaks_the_run(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1)
    served.start()
    served.run(0.01)
    served.hang_up()
    assert served.run() == BROKEN
    assert 1 <= served.tally.disconnected <= 2
    assert sum(served.tally.trouble.values()) == served.tally.disconnected


def test_one_of_several_that_is_thrown_out_is_counted(serve: Any) -> None:
    served = serve(idle=3)
    assert served.run() == CONNECTED
    served.peers[1].send(Disconnect(ReasonCode.ADMINISTRATIVE_ACTION))
    assert served.run(0.05) == TIME
    assert served.tally.disconnected == 1
    assert served.tally.trouble == {"the broker sent DISCONNECT: 0x98 administrative action": 1}
    served.hang_up()
    assert served.run() == BROKEN


def test_nonsense_ends_the_connection(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1)
    served.relaying = False
    served.start()
    served.peers[0].socket.sendall(b"\x36\x05\x00\x01a\x00\x01")
    assert served.run() == BROKEN
    assert "no MQTT" in next(iter(served.tally.trouble))


def test_at_the_end_all_disconnect_in_order(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1)
    served.start()
    served.run(0.01)
    served.loop.drain()
    served.run(0.01)
    served.loop.end()
    served.answer()
    assert all(isinstance(peer.packets[-1], Disconnect) for peer in served.peers)
    assert served.tally.disconnected == 0
