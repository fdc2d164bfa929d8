"""Readers that stop reading: bounded memory, cut in time, and nobody else waits for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker.packets.encode import encode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connect,
    Pingreq,
    Publish,
    Subscribe,
    SubscriptionRequest,
)
from tests.faults.brokers import HTTP_HEAD, MIB, frame, read_some, read_until_end, running

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.faults.brokers import BrokerProcess

V4 = MQTT_3_1_1
PAYLOAD = bytes(1000)


def connected(broker: BrokerProcess, name: str, receive_buffer: int = 0) -> socket.socket:
    made = broker.connect("tcp", receive_buffer)
    made.sendall(encode(Connect(name, V4, keep_alive=0), V4))
    assert read_some(made, 4) == b"\x20\x02\x00\x00"
    return made


def subscribed(
    broker: BrokerProcess, name: str, topic_filter: str, qos: int = 0, receive_buffer: int = 0
) -> socket.socket:
    made = connected(broker, name, receive_buffer)
    made.sendall(encode(Subscribe(1, [SubscriptionRequest(topic_filter, qos)]), V4))
    assert read_some(made, 5) == b"\x90\x03\x00\x01" + bytes((qos,))
    return made


def flood(publisher: socket.socket, topic: str, count: int, qos: int = 0) -> None:
    """`count` messages of 1,000 bytes, and the broker is through with all of them."""
    for start in range(0, count, 50):
        many = range(start, min(start + 50, count))
        packets = [
            Publish(topic, PAYLOAD, qos=qos, packet_identifier=number % 60_000 + 1 if qos else 0) for number in many
        ]
        publisher.sendall(b"".join(encode(packet, V4) for packet in packets))
        if qos:
            read_some(publisher, 4 * len(many))
    publisher.sendall(encode(Pingreq(), V4))
    assert read_some(publisher, 2) == b"\xd0\x00"


def received(subscriber: socket.socket, size: int) -> None:
    while size:
        size -= len(subscriber.recv(min(size, 262_144)))


def test_a_reader_that_stops_is_cut_and_others_are_not(tmp_path: Path) -> None:
    with running(
        tmp_path, ("tcp",), write_stall_timeout=2, outbox_soft_bytes=131_072, outbox_hard_bytes=524_288
    ) as broker:
        descriptors = broker.descriptors()
        stopped = [subscribed(broker, f"slow {n}", "a", receive_buffer=4096) for n in range(20)]
        healthy = subscribed(broker, "healthy", "a")
        publisher = connected(broker, "publisher")
        before = broker.memory()
        size = len(encode(Publish("a", PAYLOAD), V4))
        start = time.monotonic()
        for _ in range(100):
            flood(publisher, "a", 100)
            received(healthy, 100 * size)
        growth = broker.memory() - before
        print(f"20 readers that have stopped, 10 MB for each of them: {growth / MIB:+.1f} MiB")
        assert growth < 40 * MIB
        while time.monotonic() - start < 2.5:
            flood(publisher, "a", 10)
            received(healthy, 10 * size)
            time.sleep(0.05)
        assert broker.settled(descriptors + 2) == descriptors + 2, "who takes no byte for 2 s is cut"
        flood(publisher, "a", 10)
        received(healthy, 10 * size)
        for each in (*stopped, healthy, publisher):
            each.close()


def test_one_subscriber_that_stops_under_a_flood(tmp_path: Path) -> None:
    """With the settings that ship: 30 MB for it, of which it takes nothing, and another has them all."""
    with running(tmp_path, ("tcp",)) as broker:
        stopped = subscribed(broker, "stopped", "a", receive_buffer=4096)
        healthy = subscribed(broker, "healthy", "a")
        publisher = connected(broker, "publisher")
        before = most = broker.memory()
        size = len(encode(Publish("a", PAYLOAD), V4))
        for _ in range(30):
            flood(publisher, "a", 1000)
            received(healthy, 1000 * size)
            most = max(most, broker.memory())
        print(f"one reader that has stopped, 30 MB for it: {(most - before) / MIB:+.1f} MiB at the most")
        assert most - before < 12 * MIB, "the outbox has a soft limit of 1 MiB"
        for each in (stopped, healthy, publisher):
            each.close()


def test_a_reader_who_is_slow_but_reads_stays(tmp_path: Path) -> None:
    """Progress is what counts: a little now and then is enough."""
    with running(tmp_path, ("tcp",), write_stall_timeout=2, outbox_soft_bytes=65_536) as broker:
        slow = subscribed(broker, "slow", "a", receive_buffer=4096)
        publisher = connected(broker, "publisher")
        start = time.monotonic()
        while time.monotonic() - start < 5:
            flood(publisher, "a", 100)
            for _ in range(4):
                assert slow.recv(4096)
                time.sleep(0.05)
        publisher.close()
        slow.close()


def test_qos_1_waits_in_a_bounded_queue(tmp_path: Path) -> None:
    with running(tmp_path, ("tcp",), queue_messages=500, write_stall_timeout=60) as broker:
        slow = subscribed(broker, "slow", "a", qos=1, receive_buffer=4096)
        publisher = connected(broker, "publisher")
        flood(publisher, "a", 1000, qos=1)
        before = broker.memory()
        flood(publisher, "a", 4000, qos=1)
        assert broker.memory() - before < 6 * MIB
        slow.close()
        publisher.close()


def test_qos_2_identifiers_never_released(tmp_path: Path) -> None:
    """All 65,535 Packet Identifiers without a PUBREL, then one of them again and again: a set of numbers, no more."""
    with running(tmp_path, ("tcp",)) as broker:
        publisher = connected(broker, "publisher")
        before = broker.memory()
        for start in range(1, 65_536, 1000):
            many = range(start, min(start + 1000, 65_536))
            publisher.sendall(b"".join(encode(Publish("a", b"x", qos=2, packet_identifier=n), V4) for n in many))
            read_some(publisher, 4 * len(many))
        again = encode(Publish("a", b"x", qos=2, packet_identifier=7, dup=True), V4) * 1000
        for _ in range(30):
            publisher.sendall(again)
            assert read_some(publisher, 4000) == b"\x50\x02\x00\x07" * 1000
        assert broker.memory() - before < 12 * MIB
        publisher.close()


def test_a_websocket_reader_that_stops_is_cut(tmp_path: Path) -> None:
    with running(tmp_path, ("tcp", "ws"), write_stall_timeout=1.5, outbox_soft_bytes=65_536) as broker:
        slow = broker.connect("ws", 4096)
        slow.sendall(HTTP_HEAD + frame(encode(Connect("slow", MQTT_5_0, keep_alive=0), MQTT_5_0)))
        slow.sendall(frame(encode(Subscribe(1, [SubscriptionRequest("a")]), MQTT_5_0)))
        answers = b""
        while not answers.endswith(b"\x90\x04\x00\x01\x00\x00"):  # SUBACK
            answers += read_some(slow, 1)
        descriptors = broker.descriptors()
        publisher = connected(broker, "publisher")
        start = time.monotonic()
        flood(publisher, "a", 5000)
        assert broker.settled(descriptors) == descriptors, "the slow one has gone, the publisher has come"
        assert 1.3 < time.monotonic() - start < 15
        publisher.close()
        read_until_end(slow)
        slow.close()


def test_publishers_wait_while_slow_readers_hold_too_much(tmp_path: Path) -> None:
    """Above server.buffered_bytes who publishes is not read; it goes on when the readers have caught up or are cut."""
    with running(
        tmp_path,
        ("tcp",),
        "buffered_bytes = 2097152",
        write_stall_timeout=2,
        outbox_soft_bytes=1_048_576,
        outbox_hard_bytes=4_194_304,
    ) as broker:
        stopped = [subscribed(broker, f"slow {n}", "a", receive_buffer=4096) for n in range(10)]
        publisher = connected(broker, "publisher")
        bystander = connected(broker, "bystander")
        before = broker.memory()
        start = time.monotonic()
        flood(publisher, "a", 8000)
        assert time.monotonic() - start < 30
        assert broker.memory() - before < 30 * MIB
        bystander.sendall(encode(Pingreq(), V4))
        assert read_some(bystander, 2) == b"\xd0\x00"
        for each in (*stopped, publisher, bystander):
            each.close()


def test_large_snapshots_do_not_hold_up_others(tmp_path: Path) -> None:
    """20,000 retained topics go to three readers at once; whoever asks something meanwhile has his answer soon."""
    topics = 20_000
    with running(tmp_path, ("tcp",)) as broker:
        publisher = connected(broker, "publisher")
        packets = [encode(Publish(f"state/{number}", bytes(100), retain=True), V4) for number in range(topics)]
        publisher.sendall(b"".join(packets) + encode(Pingreq(), V4))
        assert read_some(publisher, 2) == b"\xd0\x00"
        readers = [connected(broker, f"reader {number}") for number in range(3)]
        left = {reader: sum(len(packet) for packet in packets) + 5 for reader in readers}
        for reader in readers:
            reader.sendall(encode(Subscribe(1, [SubscriptionRequest("#")]), V4))
        worst = 0.0
        while left:
            start = time.monotonic()
            publisher.sendall(encode(Pingreq(), V4))
            assert read_some(publisher, 2) == b"\xd0\x00"
            worst = max(worst, time.monotonic() - start)
            for reader in list(left):
                left[reader] -= len(reader.recv(100_000))
                if not left[reader]:
                    del left[reader]
        assert worst < 2, "a slice of a snapshot is a few milliseconds"
        for each in (publisher, *readers):
            each.close()
