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
    from collections.abc import Callable, Iterator

STEP = SECOND // 500  # of the loop between two looks of the Server
PATIENCE = 20 * SECOND  # for what must happen, however busy the machine is


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
        self.workload = Workload(url="", **{"timeout": 20.0, "topic_filter": "bench/%m", **fields})
        network = Network(Tally(), Poller(), socket.AF_INET, address, "mqtt://here", 5, self.workload.keep_alive)
        network.qos = self.workload.qos
        self.control, self.word = os.pipe()
        self.loop = Loop(self.workload, network, Plan(self.workload, "", "t", 1), 0, 1, None, self.control)
        self.tally = network.tally
        self.peers: list[Peer] = []
        self.connack = Connack(ReasonCode.SUCCESS)
        self.granted = self.workload.qos
        self.relaying = True
        self.held_up = 0  # nanoseconds that turns took beyond their time, as others had the core

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

    def run(self, seconds: float = 20.0) -> int:
        """Why the loop came back, of what is not TIME; TIME after `seconds`."""
        end = monotonic_ns() + int(seconds * SECOND)
        while monotonic_ns() < end:
            why = self.turn()
            if why != TIME:
                return why
        return TIME

    def turn(self) -> int:
        """One turn of the loop, then one of the Server; why the loop came back."""
        begun = monotonic_ns()
        why = self.loop.run(begun + STEP)
        self.answer()
        self.held_up += max(0, monotonic_ns() - begun - STEP)
        return why

    def meet(self, connections: int, ready: int = 0) -> None:
        """Run the loop until so many connections are here and so many ready; the Server says nothing."""
        end = monotonic_ns() + PATIENCE
        while len(self.peers) < connections or self.loop.network.ready < ready:
            assert monotonic_ns() < end, "they did not come"
            assert self.loop.run(monotonic_ns() + STEP) == TIME
            self.accept()

    def until(self, happened: Callable[[], bool]) -> None:
        """Run until that has happened."""
        end = monotonic_ns() + PATIENCE
        while not happened():
            assert monotonic_ns() < end, "it never happened"
            assert self.turn() == TIME

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
    served.meet(3)
    served.loop.run(monotonic_ns() + 5 * STEP)
    served.accept()
    assert len(served.peers) == 3
    assert served.run() == CONNECTED
    assert len(served.peers) == 10


def test_a_connect_rate_is_kept(serve: Any) -> None:
    served = serve(idle=6, connect_rate=100.0)
    start = monotonic_ns()
    assert served.run() == CONNECTED
    taken = monotonic_ns() - start
    assert taken >= 0.05 * SECOND
    assert taken - served.held_up < 0.2 * SECOND


def test_nobody_there(serve: Any) -> None:
    served = serve(idle=1)
    served.listener.close()
    with pytest.raises(CannotConnect, match=r"mqtt://here: Connection refused\. Is a broker running there\?"):
        served.run()


def test_somebody_who_says_nothing(serve: Any) -> None:
    served = serve(idle=1, timeout=0.2)
    with pytest.raises(CannotConnect, match="no answer to CONNECT of connection 0 in time"):
        served.loop.run(monotonic_ns() + PATIENCE)


def test_somebody_who_hangs_up(serve: Any) -> None:
    served = serve(idle=1)
    served.meet(1)
    served.peers[0].socket.close()
    with pytest.raises(CannotConnect, match=r"connection 0: .* before CONNACK"):
        served.loop.run(monotonic_ns() + PATIENCE)


def test_somebody_who_speaks_something_else(serve: Any) -> None:
    served = serve(idle=1)
    served.meet(1)
    served.peers[0].socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100))
    with pytest.raises(CannotConnect, match="what is no MQTT"):
        served.loop.run(monotonic_ns() + PATIENCE)


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
    served.meet(1)
    disconnect = encode(Disconnect(reason, properties), 5)
    served.peers[0].socket.sendall(encode(Connack(ReasonCode.SUCCESS), 5) + disconnect)
    with pytest.raises(error, match=words):
        served.loop.run(monotonic_ns() + PATIENCE)


def test_who_is_turned_away_when_others_are_connected_may_be_one_too_many(serve: Any) -> None:
    served = serve(idle=2, connect_rate=50.0)
    served.meet(1)
    served.peers[0].socket.sendall(encode(Connack(ReasonCode.SUCCESS), 5))
    served.meet(2, ready=1)
    served.peers[1].socket.close()
    with pytest.raises(CannotConnect, match="before CONNACK, when 1 were connected: it may take no more"):
        served.loop.run(monotonic_ns() + PATIENCE)


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
    served.until(lambda: len(served.published()) >= 3)
    served.run(0.02)
    assert len(served.published()) == 3
    served.relaying = True
    for packet in served.published():
        served.relay(served.peers[1], packet)
    tally = served.tally
    served.until(lambda: tally.received >= 6)
    assert tally.sent - tally.unique <= 3
    assert tally.latency.count == tally.unique


def test_a_closed_loop_gives_up_what_does_not_arrive(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, inflight=3, timeout=0.1)
    served.relaying = False
    served.start()
    served.until(lambda: served.tally.sent >= 6)
    assert served.tally.expected == served.tally.sent


def test_an_open_loop_does_not_wait_for_what_arrives(serve: Any) -> None:
    served = serve(publishers=2, subscribers=2, rate=1000.0, inflight=1)
    served.relaying = False
    served.start(0.05)
    served.until(lambda: len(served.published()) >= 50)
    served.run(0.02)
    assert len(served.published()) == 50
    assert served.loop.unsent == 0


def test_what_is_due_when_the_time_is_up_is_sent_though_late(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, rate=1000.0)
    served.start(0.02)
    time.sleep(0.03)
    served.loop.drain()
    served.until(lambda: served.tally.unique >= 20)
    served.run(0.01)
    assert (served.tally.sent, served.tally.unique, served.tally.latency.count) == (20, 20, 20)
    assert served.tally.latest > SECOND // 100


def test_a_count_is_sent_and_no_more(serve: Any) -> None:
    served = serve(publishers=3, subscribers=3, count=10, qos=1)
    served.start()
    assert served.loop.unsent == 10
    served.until(lambda: served.tally.acknowledged >= 10 and served.tally.unique >= 10)
    served.run(0.02)
    assert (served.tally.sent, served.tally.unique, served.tally.acknowledged, served.loop.unsent) == (10, 10, 10, 0)
    assert served.loop.unacknowledged == 0


def test_draining_sends_nothing_new(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, inflight=3)
    served.start()
    served.until(lambda: served.tally.unique > 3)
    served.loop.drain()
    sent = served.tally.sent
    served.until(lambda: served.tally.unique >= sent)
    served.run(0.01)
    assert served.tally.sent == sent


def test_a_packet_in_pieces_is_one_packet(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1, inflight=1, payload=100_000)
    served.relaying = False
    served.start()
    served.until(lambda: bool(served.published()))
    data = served.published()[0].packet
    for at in range(0, len(data), 9999):
        served.peers[0].socket.sendall(data[at : at + 9999])
        served.turn()
    served.until(lambda: served.tally.received >= 1)
    assert (served.tally.received, served.tally.unique, served.tally.corrupted) == (1, 1, 0)


def test_a_server_that_does_not_read_holds_up_and_loses_nothing(serve: Any) -> None:
    served = serve(publishers=1, payload=100_000, count=300)
    served.start()
    while not served.tally.sent:
        assert served.loop.run(monotonic_ns() + SECOND // 20) == TIME
    assert served.loop.run(monotonic_ns() + SECOND // 20) == TIME
    assert served.tally.sent < 300
    served.until(lambda: len(served.published()) >= 300)
    assert {len(packet.payload) for packet in served.published()} == {100_000}


def pings(peer: Peer) -> int:
    return sum(isinstance(packet, Pingreq) for packet in peer.packets)


def test_silent_clients_send_pingreq_within_the_keep_alive(serve: Any) -> None:
    served = serve(idle=3, keep_alive=1)
    assert served.run() == CONNECTED
    served.held_up, start = 0, monotonic_ns()
    served.until(lambda: all(pings(peer) for peer in served.peers))
    assert monotonic_ns() - start - served.held_up < SECOND
    served.run(0.3)
    halves = (monotonic_ns() - start) // (SECOND // 2)
    assert all(1 <= pings(peer) <= halves + 1 for peer in served.peers)


def test_the_keep_alive_of_the_server_is_honoured(serve: Any) -> None:
    served = serve(idle=1, keep_alive=600)
    properties = Properties()
    properties.server_keep_alive = 1
    served.connack = Connack(ReasonCode.SUCCESS, properties=properties)
    assert served.run() == CONNECTED
    served.held_up, start = 0, monotonic_ns()
    served.until(lambda: pings(served.peers[0]) > 0)
    assert monotonic_ns() - start - served.held_up < SECOND


# -- The end


def test_the_control_descriptor_is_told_of(serve: Any) -> None:
    served = serve(idle=1)
    assert served.run() == CONNECTED
    os.write(served.word, b"x")
    assert served.run() == CONTROL


def test_a_broker_that_dies_breaks_the_run(serve: Any) -> None:
    served = serve(publishers=1, subscribers=1)
    served.start()
    served.until(lambda: served.tally.received > 0)
    served.hang_up()
    assert served.run() == BROKEN
    assert 1 <= served.tally.disconnected <= 2
    assert sum(served.tally.trouble.values()) == served.tally.disconnected


def test_one_of_several_that_is_thrown_out_is_counted(serve: Any) -> None:
    served = serve(idle=3)
    assert served.run() == CONNECTED
    served.peers[1].send(Disconnect(ReasonCode.ADMINISTRATIVE_ACTION))
    served.until(lambda: served.tally.disconnected > 0)
    assert served.run(0.02) == TIME
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
    served.until(lambda: served.tally.unique > 0)
    served.loop.drain()
    served.until(lambda: served.tally.unique >= served.tally.sent)
    served.loop.end()
    served.answer()
    assert all(isinstance(peer.packets[-1], Disconnect) for peer in served.peers)
    assert served.tally.disconnected == 0
