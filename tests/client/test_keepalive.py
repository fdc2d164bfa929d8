"""PINGREQ: when idle, and never otherwise."""

from __future__ import annotations

from math import inf

import pytest

from broker.client.errors import Disconnected
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Disconnect, Pingreq, Pingresp, Puback, Publish
from tests.client.line import Line, kinds
from tests.client.server import message
from tests.statements import statement


@statement("MQTT5-3.1.2-20", "MQTT311-3.1.2-23")
def test_pings_only_when_idle() -> None:
    line = Line(keep_alive=100)
    line.connect()
    assert line.wait(74) == []
    assert kinds(line.wait(2)) == [Pingreq]
    line.send(Pingresp())
    for _ in range(10):
        line.now += 50
        line.publish(1)
        (sent,) = line.out()
        assert isinstance(sent, Publish)
        line.send(Puback(sent.packet_identifier))
        assert line.wait(0) == []
    assert kinds(line.wait(76)) == [Pingreq]


def test_one_who_only_hears_pings_too() -> None:
    line = Line(keep_alive=100)
    line.connect()
    pings = 0
    for _ in range(20):
        line.send(message("a"))
        for packet in line.wait(10):
            assert isinstance(packet, Pingreq)
            pings += 1
            line.send(Pingresp())
    assert pings == 2


def test_one_who_only_speaks_finds_out_that_nobody_hears() -> None:
    line = Line(keep_alive=100, ping_timeout=5.0)
    line.connect()
    while line.error is None:
        line.publish(0)
        line.out()
        line.wait(10)
        assert line.now < 1100
    assert isinstance(line.error, Disconnected)


@statement("MQTT5-3.1.2-21", "MQTT5-3.2.2-21")
@pytest.mark.parametrize(("server", "pings"), [(20, 6), (0, 0), (65_535, 0)])
def test_the_server_decides_about_keep_alive(server: int, pings: int) -> None:
    line = Line(keep_alive=10)
    line.connect(server_keep_alive=server)
    count = 0
    for _ in range(100):
        for packet in line.wait(1):
            assert isinstance(packet, Pingreq)
            count += 1
            line.send(Pingresp())
    assert count == pings


def test_no_keep_alive() -> None:
    line = Line(keep_alive=0)
    line.connect()
    assert line.protocol.deadline() == inf


def test_no_answer_to_a_ping() -> None:
    line = Line(keep_alive=100, ping_timeout=5.0)
    line.connect()
    assert kinds(line.wait(76)) == [Pingreq]
    (disconnect,) = line.wait(5)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.UNSPECIFIED_ERROR  # 0x8D is for a Server alone to say
    assert isinstance(line.error, Disconnected)
    assert line.error.reason == ReasonCode.KEEP_ALIVE_TIMEOUT


def test_a_large_packet_on_its_way_is_a_sign_of_life() -> None:
    line = Line(keep_alive=100, ping_timeout=5.0)
    line.connect()
    line.wait(75)
    data = encode(message("a", b"x" * 200), MQTT_5_0)
    for byte in data:
        line.protocol.receive(bytes([byte]), line.now)
        line.wait(4)
    assert line.error is None


def test_while_nothing_is_read_no_answer_is_missed() -> None:
    line = Line(keep_alive=100, ping_timeout=5.0)
    line.connect()
    line.protocol.keep_alive.reading = False
    assert kinds(line.wait(226)) == [Pingreq] * 3
    line.protocol.keep_alive.read_again(line.now)
    assert line.wait(4) == []
    line.send(Pingresp())
    assert line.wait(10) == []
    assert line.error is None
