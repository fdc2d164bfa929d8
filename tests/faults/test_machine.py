"""A machine that runs short or asks the broker to end, and a log that nobody fills."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connect,
    Pingreq,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from tests.faults.brokers import HTTP_HEAD, frame, read_some, read_until_end, running

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.faults.brokers import BrokerProcess

V4 = MQTT_3_1_1
PING, PONG = encode(Pingreq(), V4), b"\xd0\x00"


def connected(broker: BrokerProcess, name: str) -> socket.socket:
    made = broker.connect()
    made.sendall(encode(Connect(name, V4, keep_alive=0), V4))
    assert read_some(made, 4) == b"\x20\x02\x00\x00"
    return made


def test_out_of_file_descriptors(tmp_path: Path) -> None:
    """Those who are connected notice nothing, the others wait in the backlog, the log has a line, no core burns."""
    with running(tmp_path, ("tcp",), handshake_timeout=60) as broker:
        old = [connected(broker, f"old {number}") for number in range(5)]
        broker.limit_descriptors(20)
        crowd = [broker.connect() for _ in range(60)]
        time.sleep(0.3)
        before = broker.cpu_seconds()
        for _ in range(10):
            for each in old:
                each.sendall(PING)
                assert read_some(each, 2) == PONG
            time.sleep(0.1)
        assert broker.cpu_seconds() - before < 0.5
        told = [record for record in broker.records() if "cannot accept" in record["message"]]
        assert len(told) == 1
        assert told[0]["level"] == "error"
        for each in crowd:
            each.close()
        start = time.monotonic()
        late = connected(broker, "late")
        assert time.monotonic() - start < 10
        for each in (*old, late):
            each.sendall(PING)
            assert read_some(each, 2) == PONG
            each.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end(tmp_path: Path, number: int) -> None:
    """5.0 Clients are told 0x8B, all sockets are closed, the exit status is 0."""
    with running(tmp_path) as broker:
        old = connected(broker, "old")
        new, web, silent = broker.connect("auto"), broker.connect("ws"), broker.connect("unix")
        new.sendall(encode(Connect("new", MQTT_5_0), MQTT_5_0))
        assert read_some(new, 2)[0] == 0x20
        web.sendall(HTTP_HEAD + frame(encode(Connect("web", MQTT_5_0), MQTT_5_0)))
        while b"\x20" not in web.recv(10_000).rpartition(b"\r\n\r\n")[2]:
            pass
        broker.ask_to_end(number)
        told = read_until_end(new)
        assert b"\xe0" in told
        assert told[told.index(b"\xe0") + 2] == 0x8B
        told = read_until_end(web)
        assert told[told.index(b"\xe0") + 2] == 0x8B
        assert b"\x88\x02\x03\xe9" in told, "WebSocket Close 1001, going away"
        assert read_until_end(old) == b""
        assert read_until_end(silent) == b""
        for each in (old, new, web, silent):
            each.close()
        assert broker.process.wait(20) == 0
        with pytest.raises(OSError):  # noqa: PT011  # refused, or no such file
            broker.connect("unix")


def test_the_end_under_load_is_bounded(tmp_path: Path) -> None:
    """Publishers that go on, and readers that have stopped, do not hold it up."""
    with running(tmp_path, ("tcp",), "shutdown_timeout = 1", outbox_soft_bytes=1_000_000) as broker:
        publisher = connected(broker, "publisher")
        stopped = [broker.connect("tcp", 4096) for _ in range(5)]
        for number, each in enumerate(stopped):
            each.sendall(encode(Connect(f"slow {number}", V4), V4))
            each.sendall(encode(Subscribe(1, [SubscriptionRequest("a")]), V4))
            read_some(each, 9)
        many = encode(Publish("a", bytes(1000)), V4) * 1000
        publisher.sendall(many * 3)
        start = time.monotonic()
        broker.ask_to_end()
        publisher.settimeout(0.5)
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 10:
                publisher.sendall(many)
        assert broker.process.wait(20) == 0
        assert time.monotonic() - start < 15
        for each in (*stopped, publisher):
            each.close()


def test_what_was_waiting_is_sent_before_the_end(tmp_path: Path) -> None:
    with running(tmp_path, ("tcp",)) as broker:
        subscriber, publisher = connected(broker, "s"), connected(broker, "p")
        subscriber.sendall(encode(Subscribe(1, [SubscriptionRequest("a")]), V4))
        read_some(subscriber, 5)
        message = encode(Publish("a", bytes(10_000)), V4)
        publisher.sendall(message * 50 + PING)
        read_some(publisher, 2)
        broker.ask_to_end()
        assert read_until_end(subscriber) == message * 50
        subscriber.close()
        publisher.close()


def test_malformed_packets_do_not_fill_the_log(tmp_path: Path) -> None:
    """Thousands of faults before and after CONNACK, of clients that do not even wait for the answer."""
    bad = [
        encode(Connect("c", MQTT_5_0), MQTT_5_0) + b"\x00\x00",
        encode(Connect("c", V4, will=Will("a", b"")), V4) + b"\x36\x00",
        b"\x10\x02\x00\x00",
        b"\x00" * 100,
        b"GET /mqtt HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff\xff",
    ]
    with running(tmp_path, ("tcp", "ws", "auto"), handshake_timeout=1) as broker:
        for number in range(3000):
            with broker.connect(("tcp", "ws", "auto")[number % 3]) as made:
                made.sendall(bad[number % len(bad)])
        with connected(broker, "good") as good:
            good.sendall(PING)
            assert read_some(good, 2) == PONG
        assert len(broker.log.read_text().splitlines()) < 50
