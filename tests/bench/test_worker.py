"""The worker's two pipes, and how it ends; what it does between is tested with the driver."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from broker.bench.engine.tally import Tally
from broker.bench.worker import COUNTERS, Parent, Snapshot
from broker.bench.workload import Workload
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connack, Publish, Suback

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipes:
    """A Parent, and the ends of its pipes that the real parent has."""

    def __init__(self) -> None:
        reading, self.writing = os.pipe()
        self.reading, writing = os.pipe()
        self.parent = Parent(reading, writing)
        self.ends = [reading, writing, self.reading, self.writing]

    def close(self, end: int) -> None:
        self.ends.remove(end)
        os.close(end)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    for end in list(made.ends):
        made.close(end)


def test_words_come_one_by_one_however_they_were_cut(pipes: Pipes) -> None:
    data = msgpack.packb({"first": 1}) + msgpack.packb({"second": 2}) + msgpack.packb({"third": 3})
    os.write(pipes.writing, data[:11])
    assert pipes.parent.hear() == {"first": 1}
    assert not pipes.parent.speaks
    os.write(pipes.writing, data[11:])
    assert pipes.parent.hear() == {"second": 2}
    assert pipes.parent.speaks  # read already: the pipe is empty
    assert pipes.parent.hear() == {"third": 3}


def test_no_parent_is_the_end(pipes: Pipes) -> None:
    pipes.close(pipes.writing)
    with pytest.raises(EOFError):
        pipes.parent.hear()
    pipes.close(pipes.reading)
    with pytest.raises(EOFError):
        pipes.parent.say(connected=1)


def test_what_is_said_is_heard(pipes: Pipes) -> None:
    pipes.parent.say(connected=3, ready=True)
    assert msgpack.unpackb(os.read(pipes.reading, 1000)) == {"connected": 3, "ready": True}


def test_a_snapshot_has_all_counters_of_a_window() -> None:
    tally = Tally()
    tally.sent, tally.frames_received = 5, 7
    snapshot = Snapshot(tally)
    assert (snapshot.sent, snapshot.frames_received) == (5, 7)
    assert {"sent", "received", "acknowledged", "bytes_sent", "mqtt_bytes_received"} <= set(COUNTERS)
    assert not {"at", "cpu", "waited"} & set(COUNTERS)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "broker.bench.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        yield running
        running.kill()


def order(address: tuple[str, int], **fields: Any) -> bytes:
    word = {
        "workload": Workload(url="", **fields).to_dict(),
        "worker": 0,
        "workers": 1,
        "token": "t",
        "first_source": 7,
        "family": int(socket.AF_INET),
        "address": address,
        "shown": "mqtt://there",
        "sources": [],
        "websocket": False,
        "secure": False,
        "host": "",
        "port": 0,
        "path": "",
        "user_name": None,
        "password": None,
        "counters": -1,
    }
    data: bytes = msgpack.packb(word)
    return data


def test_a_worker_ends_with_its_stdin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stderr is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process.stdin.write(order(listener.getsockname(), idle=1, timeout=60.0))
        process.stdin.flush()
        listener.settimeout(20)
        connection = listener.accept()[0]
        with connection:
            assert connection.recv(100)[0] == 0x10  # CONNECT, which is not answered
            process.stdin.close()
            started = time.monotonic()
            assert process.wait(20) == 0
            assert time.monotonic() - started < 10
    assert process.stderr.read() == b""


def test_of_a_count_all_is_counted_that_others_sent_before_a_late_worker_began(
    process: subprocess.Popen[bytes],
) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    words = msgpack.Unpacker()

    def until(name: str) -> dict[str, Any]:
        assert process.stdout is not None
        while True:
            for word in words:
                if word.get(name):
                    assert isinstance(word, dict)
                    return word
            data = os.read(process.stdout.fileno(), 65_536)
            assert data, f"it never said {name}"
            words.feed(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        process.stdin.write(order(listener.getsockname(), subscribers=1, count=3, topic_filter="a"))
        process.stdin.flush()
        listener.settimeout(20)
        with listener.accept()[0] as connection:
            connection.settimeout(20)
            assert connection.recv(100)[0] == 0x10
            connection.sendall(encode(Connack(ReasonCode.SUCCESS), 5))
            identifier = int.from_bytes(connection.recv(100)[2:4], "big")
            connection.sendall(encode(Suback(identifier, [0]), 5))
            until("ready")
            connection.sendall(encode(Publish("a", bytes(64)), 5) * 3)
            until("received")
            now = time.monotonic_ns()
            process.stdin.write(msgpack.packb({"start": now, "window_start": now, "window_end": 0}))
            process.stdin.flush()
            until("counted")
            process.stdin.write(msgpack.packb({"end": True}) + msgpack.packb({"finish": True}))
            process.stdin.flush()
            assert until("report")["report"]["received"] == 3


def test_an_error_is_the_last_word(process: subprocess.Popen[bytes]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    output, complaint = process.communicate(order(address, idle=1))
    unpacker = msgpack.Unpacker()
    unpacker.feed(output)
    last = list(unpacker)[-1]
    assert last["error"] == "cannot connect"
    assert "mqtt://there: Connection refused" in last["text"]
    assert (process.returncode, complaint) == (0, b"")
