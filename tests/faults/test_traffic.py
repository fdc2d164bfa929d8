"""The Clients that the other tests trust: they remember, and send again under the identifiers of the first time."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

import pytest

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connack,
    Connect,
    ControlPacket,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from tests.faults.ledger import Ledger
from tests.faults.traffic import Durable, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server:
    """The other side, which says what the test says. Each `accept` is a new Network Connection."""

    def __init__(self, client: Durable, listening: socket.socket) -> None:
        self.client = client
        self.fleet = Fleet([client])
        self.listening = listening
        self.addresses = {"tcp": listening.getsockname()}
        self.arrived: list[ControlPacket] = []

    def accept(self, session_present: bool) -> None:
        self.client.connect(self.addresses)
        self.socket, _ = self.listening.accept()
        self.socket.settimeout(5)
        self.decoder = Decoder(DecoderLimits(), 0)
        self.arrived = []
        connect = self.expect()
        assert isinstance(connect, Connect)
        assert not connect.clean_start
        self.send(Connack(ReasonCode.SUCCESS, session_present))
        assert self.fleet.until(lambda: self.client.ready, 5)

    def send(self, *packets: ControlPacket) -> None:
        self.socket.sendall(b"".join(encode(packet, self.client.version) for packet in packets))

    def expect(self) -> ControlPacket:
        """The next packet of the Client."""
        while not self.arrived:
            self.fleet.turn(0)
            self.arrived = self.decoder.feed(self.socket.recv(65_536))
            if self.arrived and isinstance(self.arrived[0], Connect):
                self.decoder.accept()
        return self.arrived.pop(0)

    def end(self) -> None:
        self.socket.close()
        assert self.fleet.until(lambda: not self.fleet.here(), 5)


@pytest.fixture(params=[MQTT_5_0, MQTT_3_1_1], ids=["5.0", "3.1.1"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    ledger = Ledger()
    client = Durable("c", ledger, random.Random(1), version=request.param)
    client.receiver = ledger.receiver("c", True, lambda _: True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Server(client, listening)
        yield made
        made.socket.close()
        made.fleet.close()


def publish(server: Server, qos: int) -> None:
    stream = server.client.ledger.stream("c", "t", qos)
    server.client.publishes = [stream]
    number = server.client.ledger.sending(stream)
    server.client.publish("t", stream.payload(number), qos, stream=stream, number=number)


def test_a_publisher_sends_again_in_order_under_the_old_identifiers(server: Server) -> None:
    server.accept(False)
    for qos in (1, 2, 2, 1):
        publish(server, qos)
    before = [server.expect() for _ in range(4)]
    server.send(Pubrec(2))
    assert isinstance(server.expect(), Pubrel)
    server.end()
    server.accept(True)
    again = [server.expect() for _ in range(4)]
    assert [type(packet) for packet in again] == [Publish, Pubrel, Publish, Publish]
    for old, new in zip(before, again, strict=True):
        assert isinstance(old, Publish)
        assert isinstance(new, (Publish, Pubrel))
        assert old.packet_identifier == new.packet_identifier
        assert not isinstance(new, Publish) or (new.dup and not old.dup and new.payload == old.payload)
    verdict = server.client.ledger.verdict()
    assert (verdict.acknowledged, verdict.uncertain) == (1, 3), "PUBREC is the promise"
    server.send(Puback(1), Pubcomp(2), Pubrec(3), Puback(4))
    assert isinstance(server.expect(), Pubrel)
    server.send(Pubcomp(3))
    assert server.fleet.until(lambda: server.client.idle, 5)
    assert server.client.ledger.verdict().acknowledged == 4


def test_a_session_that_is_gone(server: Server) -> None:
    server.accept(False)
    publish(server, 1)
    server.expect()
    server.end()
    server.accept(False)
    assert server.client.idle
    assert server.client.ledger.verdict().forgotten == ["the Session of c"]


def test_a_receiver_remembers_identifiers(server: Server) -> None:
    """A PUBLISH that comes again before its PUBREL is answered, not delivered; behind it, it is another message."""
    ledger = server.client.ledger
    stream = ledger.stream("p", "t", 2)
    for _ in range(2):
        ledger.sending(stream)
    first = Publish("t", stream.payload(1), qos=2, packet_identifier=7)
    server.accept(False)
    server.send(first)
    assert isinstance(server.expect(), Pubrec)
    server.end()
    server.accept(True)
    first.dup = True
    server.send(first)
    assert isinstance(server.expect(), Pubrec)
    assert ledger.receivers[0].count == 1
    server.send(Pubrel(7), Pubrel(7))
    comps = [server.expect(), server.expect()]
    assert all(isinstance(packet, Pubcomp) for packet in comps)
    server.send(Publish("t", stream.payload(2), qos=2, packet_identifier=7))
    assert isinstance(server.expect(), Pubrec)
    assert ledger.receivers[0].count == 2
    assert ledger.verdict().clean


@pytest.mark.parametrize("dup", [False, True])
def test_an_identifier_in_use_must_not_come_anew(server: Server, dup: bool) -> None:
    stream = server.client.ledger.stream("p", "t", 2)
    for _ in range(2):
        server.client.ledger.sending(stream)
    server.accept(False)
    server.send(Publish("t", stream.payload(1), qos=2, packet_identifier=7))
    server.send(Publish("t", stream.payload(1 + dup), qos=2, packet_identifier=7, dup=dup))
    assert isinstance(server.expect(), Pubrec)
    assert isinstance(server.expect(), Pubrec)
    assert len(server.client.ledger.verdict().unexpected) == 1


def test_an_unknown_pubrec_gets_an_answer(server: Server) -> None:
    server.accept(False)
    server.send(Pubrec(9))
    packet = server.expect()
    assert isinstance(packet, Pubrel)
    assert packet.reason == (ReasonCode.PACKET_IDENTIFIER_NOT_FOUND if server.client.version == MQTT_5_0 else 0)
