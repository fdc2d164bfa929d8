"""At the door of a whole broker: who drips, who comes and goes ten thousand times, and no descriptor left for anybody.

The figures are printed: `pytest -s` shows them.
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

from broker.packets.encode import encode
from broker.packets.types import MQTT_3_1_1, Connect, Disconnect, Pingreq, Publish, Subscribe, SubscriptionRequest
from tests.authority import NAME, authority
from tests.faults.brokers import HTTP_HEAD, MIB, frame, read_some, read_until_end, reset, running

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.brokers import BrokerProcess

V4 = MQTT_3_1_1
CONNECT = encode(Connect("c" * 40, V4, keep_alive=30, user_name="u" * 40), V4)
CONNACK = b"\x20\x02\x00\x00"
PING, PONG = encode(Pingreq(), V4), b"\xd0\x00"


def connected(broker: BrokerProcess, name: str) -> socket.socket:
    made = broker.connect()
    made.sendall(encode(Connect(name, V4, keep_alive=0), V4))
    assert read_some(made, 4) == CONNACK
    return made


class Pair:
    """A healthy publisher and its subscriber."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.publisher, self.subscriber = connected(broker, "publisher"), connected(broker, "subscriber")
        self.subscriber.sendall(encode(Subscribe(1, [SubscriptionRequest("healthy")]), V4))
        assert read_some(self.subscriber, 5) == b"\x90\x03\x00\x01\x00"
        self.slowest = 0.0
        self.messages = 0

    def exchange(self) -> None:
        """A message through the broker."""
        message = encode(Publish("healthy", str(self.messages).encode()), V4)
        start = time.monotonic()
        self.publisher.sendall(message)
        assert read_some(self.subscriber, len(message)) == message
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.messages += 1

    def close(self) -> None:
        self.publisher.close()
        self.subscriber.close()


# -- A byte at a time


def client_hello() -> bytes:
    """The first flight of a TLS Client."""
    outgoing = ssl.MemoryBIO()
    begun = authority().trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    try:
        begun.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("nobody was asked")


def upgraded(connected: socket.socket) -> socket.socket:
    connected.sendall(HTTP_HEAD)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connected.recv(1000)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return connected


def secured(connected: socket.socket) -> socket.socket:
    return authority().trusting().wrap_socket(connected, server_hostname=NAME)


def strangers(broker: BrokerProcess) -> Iterator[tuple[str, socket.socket, bytes]]:
    """What drips, over which socket, and of what."""
    hello = client_hello()
    for door in ("tcp", "auto", "unix"):
        yield f"CONNECT on {door}", broker.connect(door), CONNECT
    for door in ("ws", "auto"):
        yield f"HTTP head on {door}", broker.connect(door), HTTP_HEAD
        yield f"frames on {door}", upgraded(broker.connect(door)), frame(CONNECT)
    for door in ("mqtts", "wss"):
        yield f"ClientHello on {door}", broker.connect(door), hello
    yield "CONNECT in TLS", secured(broker.connect("mqtts")), CONNECT
    yield "HTTP head in TLS", secured(broker.connect("wss")), HTTP_HEAD
    yield "frames in TLS", upgraded(secured(broker.connect("wss"))), frame(CONNECT)


def still_there(drip: socket.socket, byte: bytes) -> bool:
    """Send one byte; whether the broker has not ended that connection."""
    try:
        drip.sendall(byte)
        while drip.recv(1000):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False


def test_whoever_drips_is_ended_in_time(tmp_path: Path) -> None:
    """Slow loris in each layer: the time counts from accept, whatever still comes, and nobody else waits."""
    patience = 1.5
    types = ("tcp", "ws", "auto", "unix", "mqtts", "wss")
    certificate = (authority().certificate, authority().key)
    with running(tmp_path, types, certificate=certificate, handshake_timeout=patience) as broker:
        pair = Pair(broker)
        start = time.monotonic()
        dripping = {name: (each, data) for name, each, data in strangers(broker)}
        begun = time.monotonic() - start
        for each, _ in dripping.values():
            each.setblocking(False)
        ended: dict[str, float] = {}
        step = 0
        while len(ended) < len(dripping) and time.monotonic() - start < 15:
            for name, (each, data) in dripping.items():
                assert step < len(data), "nobody says all that he has to say"
                if name not in ended and not still_there(each, data[step : step + 1]):
                    ended[name] = time.monotonic() - start
            pair.exchange()
            step += 1
            time.sleep(0.05)
        print(
            f"{len(ended)} kinds of drip ended within {max(ended.values()):.2f} s, the pair's slowest of "
            f"{pair.messages} messages took {1000 * pair.slowest:.1f} ms"
        )
        assert set(ended) == set(dripping)
        assert all(patience - 0.1 < seconds < patience + begun + 5 for seconds in ended.values()), ended
        assert pair.messages > 10
        assert pair.slowest < 1
        pair.close()
        for each, _ in dripping.values():
            each.close()


# -- Churn


def churn(broker: BrokerProcess, count: int) -> None:
    """`count` connects, a hundred at a time: good ones, silent ones, and such as vanish before the answer or after."""
    good = [encode(Connect(f"churn {number}", V4, keep_alive=60), V4) for number in range(100)]
    bye = encode(Disconnect(), V4)
    for _ in range(count // 100):
        made = [broker.connect() for _ in range(100)]
        for number, each in enumerate(made):
            if number % 10:
                each.sendall(good[number])
        for number, each in enumerate(made):
            kind = number % 10
            if kind > 2:
                assert read_some(each, 4) == CONNACK
            if kind > 5:
                each.sendall(bye)
            if kind in (2, 3):
                reset(each)
            else:
                each.close()


def test_ten_thousand_connects_leave_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path, ("tcp",), handshake_timeout=1) as broker:
        pair = Pair(broker)
        churn(broker, 1000)
        time.sleep(1.1)  # what deadlines still hold
        descriptors, before = broker.descriptors(), broker.memory()
        start = time.monotonic()
        for _ in range(20):
            churn(broker, 500)
            pair.exchange()
        seconds = time.monotonic() - start
        left = broker.settled(descriptors)
        growth = broker.memory() - before
        print(
            f"10,000 connects in {seconds:.1f} s, {growth / 1024:+.0f} KiB, {left - descriptors:+d} descriptors, "
            f"the pair's slowest message took {1000 * pair.slowest:.1f} ms"
        )
        assert left <= descriptors
        assert growth < 6 * MIB
        assert seconds < 60
        pair.exchange()
        pair.close()


# -- No descriptors


def test_who_waits_for_a_descriptor_comes_in_when_another_leaves(tmp_path: Path) -> None:
    with running(tmp_path, ("tcp",), handshake_timeout=30) as broker:
        broker.limit_descriptors(12)
        inside = [connected(broker, f"inside {number}") for number in range(10)]
        crowd = [broker.connect() for _ in range(20)]
        for number, each in enumerate(crowd):
            each.sendall(encode(Connect(f"crowd {number}", V4), V4))
        for each in crowd[:2]:
            assert read_some(each, 4) == CONNACK
        time.sleep(0.1)
        for each in inside:
            each.sendall(PING)
            assert read_some(each, 2) == PONG
        (told,) = [record for record in broker.records() if "cannot accept" in record["message"]]
        assert "Too many open files" in told["message"]
        assert "ulimit -n" in told["message"]
        for each in inside[2:]:
            each.sendall(encode(Disconnect(), V4))
            assert read_until_end(each) == b""
            each.close()
        start = time.monotonic()
        for each in crowd[2:10]:
            assert read_some(each, 4) == CONNACK
        print(f"those who waited came in after {time.monotonic() - start:.2f} s")
        for each in inside[:2]:
            each.sendall(PING)
            assert read_some(each, 2) == PONG
        for each in (*inside, *crowd):
            each.close()
