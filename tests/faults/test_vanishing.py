"""Peers that vanish at any point, and last words that arrive together with the end."""

from __future__ import annotations

import select
import signal
import time
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connect,
    Disconnect,
    Pingreq,
    Puback,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from tests.faults.brokers import HTTP_HEAD, frame, read_some, reset, running

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.faults.brokers import BrokerProcess

V4 = MQTT_3_1_1


def subscribed(broker: BrokerProcess, name: str, topic_filter: str) -> socket.socket:
    made = broker.connect()
    made.sendall(encode(Connect(name, V4, keep_alive=0), V4))
    assert read_some(made, 4) == b"\x20\x02\x00\x00"
    made.sendall(encode(Subscribe(1, [SubscriptionRequest(topic_filter)]), V4))
    read_some(made, 5)
    return made


@pytest.mark.parametrize("type_", ["tcp", "ws", "auto"])
def test_all_that_came_before_the_end_counts(tmp_path: Path, type_: str) -> None:
    """PUBLISH, PUBACK, DISCONNECT and FIN in one segment: everything is done, and there is no will."""
    with running(tmp_path) as broker:
        witness = subscribed(broker, "witness", "+/#")
        will = Will("will/x", b"gone")
        for number in range(20):
            made = broker.connect(type_)
            packets = (
                encode(Connect("c", MQTT_5_0, will=will), MQTT_5_0)
                + encode(Publish("a/b", b"%02d" % number), MQTT_5_0)
                + encode(Puback(9), MQTT_5_0)
                + encode(Publish("a/c", b"%02d" % number, qos=1, packet_identifier=1), MQTT_5_0)
                + encode(Disconnect(), MQTT_5_0)
            )
            made.sendall(HTTP_HEAD + frame(packets) if type_ == "ws" else packets)
            made.close()
            for topic in ("a/b", "a/c"):
                expected = encode(Publish(topic, b"%02d" % number), V4)
                assert read_some(witness, len(expected)) == expected
        witness.sendall(encode(Pingreq(), V4))
        assert read_some(witness, 2) == b"\xd0\x00"
        witness.close()


@pytest.mark.parametrize("qos", [0, 1])
def test_last_words_of_who_does_not_listen(tmp_path: Path, qos: int) -> None:
    """A Client sends more than is read at once, says DISCONNECT and is gone, answers unread: all of it counts.

    The broker is stopped meanwhile, so that it meets the broken connection with the answer to the first part.
    """
    count = 160
    with running(tmp_path) as broker:
        witness = subscribed(broker, "witness", "+/#")
        made = broker.connect("unix")
        made.sendall(encode(Connect("c", MQTT_5_0, will=Will("will/x", b"gone")), MQTT_5_0))
        select.select([made], [], [], 10)
        broker.process.send_signal(signal.SIGSTOP)
        packets = [
            Publish("a/b", b"%03d" % number + bytes(900), qos=qos, packet_identifier=qos and number + 1)
            for number in range(count)
        ]
        made.sendall(b"".join(encode(packet, MQTT_5_0) for packet in packets) + encode(Disconnect(), MQTT_5_0))
        made.close()
        broker.process.send_signal(signal.SIGCONT)
        expected = b"".join(encode(Publish("a/b", packet.payload), V4) for packet in packets)
        assert read_some(witness, len(expected)) == expected
        witness.sendall(encode(Pingreq(), V4))
        assert read_some(witness, 2) == b"\xd0\x00", "no will"
        witness.close()


def test_resets_at_any_point(tmp_path: Path) -> None:
    """Each of them has a will; whoever came as far as CONNACK has it published, once, and nothing is left behind."""
    connect = encode(Connect("c", MQTT_5_0, will=Will("will", b"x")), MQTT_5_0)
    subscribe = encode(Subscribe(1, [SubscriptionRequest("a")]), MQTT_5_0)
    publish = encode(Publish("a", bytes(50_000), qos=1, packet_identifier=1), MQTT_5_0)
    with running(tmp_path) as broker:
        witness = subscribed(broker, "witness", "will")
        descriptors = broker.descriptors()
        wills = 0
        for number in range(150):
            type_ = ("tcp", "ws", "auto", "unix")[number % 4]
            made = broker.connect(type_)
            stage = number // 4 % 6
            wrap = HTTP_HEAD if type_ == "ws" else b""
            data = connect + subscribe + publish * 3
            if stage == 0:
                pass
            elif stage == 1:
                made.sendall((wrap + frame(data) if wrap else data)[: len(wrap) + 5])
            elif stage == 2:
                made.sendall(wrap[: len(wrap) // 2])
            else:
                made.sendall(wrap + frame(connect) if wrap else connect)
                while b"\x20" not in made.recv(10_000).rpartition(b"\r\n\r\n")[2]:
                    pass
                wills += 1
                if stage == 4:
                    made.sendall(frame(subscribe + publish * 3) if wrap else subscribe + publish * 3)
                elif stage == 5:
                    made.sendall(frame(publish)[:100] if wrap else publish[:100])
            reset(made)
            time.sleep(0.001)
        expected = encode(Publish("will", b"x"), V4)
        assert read_some(witness, wills * len(expected)) == expected * wills
        witness.sendall(encode(Pingreq(), V4))
        assert read_some(witness, 2) == b"\xd0\x00"
        assert broker.settled(descriptors) <= descriptors
        witness.close()


def test_many_come_and_go(tmp_path: Path) -> None:
    with running(tmp_path, ("tcp",)) as broker:
        connect = encode(Connect("c", V4), V4)
        descriptors = broker.descriptors()
        start = time.monotonic()
        for number in range(1500):
            made = broker.connect()
            made.sendall(connect)
            assert read_some(made, 4) == b"\x20\x02\x00\x00"
            if number % 2:
                reset(made)
            else:
                made.close()
        assert time.monotonic() - start < 60
        assert broker.settled(descriptors) <= descriptors


def ended(readable: socket.socket) -> bool:
    try:
        return not readable.recv(65_536)
    except ConnectionError:
        return True


def test_a_race_for_one_identifier(tmp_path: Path) -> None:
    """200 connections of one Client, pell-mell in versions and transports: one is left, the others are closed."""
    with running(tmp_path) as broker:
        descriptors = broker.descriptors()
        made = []
        for number in range(200):
            type_ = ("tcp", "ws", "auto", "unix")[number % 4]
            version = (V4, MQTT_5_0)[number % 3 == 0]
            connect = encode(Connect("c", version, clean_start=False, keep_alive=0), version)
            each = broker.connect(type_)
            each.sendall(HTTP_HEAD + frame(connect) if type_ == "ws" else connect)
            made.append(each)
        alive = set(made)
        deadline = time.monotonic() + 20
        while len(alive) > 1 and time.monotonic() < deadline:
            alive -= {each for each in select.select(alive, [], [], 1)[0] if ended(each)}
        time.sleep(0.2)
        alive -= {each for each in select.select(alive, [], [], 0)[0] if ended(each)}
        assert len(alive) == 1
        for each in made:
            each.close()
        assert broker.settled(descriptors) <= descriptors
