"""What it costs to keep what is acknowledged: `python -m tests.perf.bench_store [pairs] [burst] [million] [OPTION...]`.

    pairs     10 publishers, each with a subscriber of its own who has a durable Session: QoS 1, 20 messages at a time;
              messages a second, with nothing on disk and at the levels `written` and `fsync`
    burst     100,000 messages for a Session whose Client is away, and their way to it when it is back
    million   1,000,000 of 256 bytes, then kill -9: seconds until the first CONNACK, and until all are drained in their
              order, while others are served

Without a name all three are run. `--seconds N` is for pairs, `--messages N` instead of the million, `--level LEVEL` for
the last two, `--folder PATH` where the store is to be (else where temporary files are), `--rounds N` repeats pairs in
turns and shows the best of each. The broker has a core of its own where there are two, and the load another.

Beside each figure stands the lag: how long a PINGREQ waits for its PINGRESP, one every 10 ms from a process of its own;
what a Client who has nothing to do with the load feels of it. Nothing but 127.0.0.1 is spoken to.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from broker.packets.encode import encode
from broker.packets.types import MQTT_3_1_1, Connect, Pingreq, Subscribe, SubscriptionRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection as Pipe

LEVELS: Final = ("none", "written", "fsync")
PINGREQ: Final = encode(Pingreq(), MQTT_3_1_1)
PATIENCE: Final = 120.0
CPUS: Final = sorted(os.sched_getaffinity(0))


class Served:
    """A broker under measurement."""

    def __init__(self, folder: Path, level: str) -> None:
        self.begun = time.perf_counter()
        lines = ["[server]", "buffered_bytes = 4_000_000_000", "[limits]", "queue_messages = 4_000_000"]
        lines += ["queue_bytes = 4_000_000_000", "[[listeners]]", 'type = "tcp"', "port = 0"]
        if level != "none":
            lines += ["[store]", f"path = {json.dumps(str(folder / 'data'))}", f'durability = "{level}"']
        configuration = folder / "broker.toml"
        configuration.write_text("\n".join(lines) + "\n")
        self.log = folder / "log"
        arguments = [sys.executable, "-m", "broker", "serve", "-c", str(configuration), "--log-format", "json"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=log)
        if len(CPUS) > 1:
            os.sched_setaffinity(self.process.pid, CPUS[:1])
        self.port = self._wait_for_port()

    def _wait_for_port(self) -> int:
        while self.process.poll() is None and time.perf_counter() - self.begun < PATIENCE:
            for line in self.log.read_text().splitlines():
                record = json.loads(line) if line.startswith("{") else {}
                if record.get("message") == "listening":
                    return urlsplit(record["url"]).port or 0
            time.sleep(0.002)
        raise SystemExit(f"the broker did not start:\n{self.log.read_text()}")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def served(folder: Path, level: str) -> Iterator[Served]:
    broker = Served(folder, level)
    try:
        yield broker
    finally:
        broker.end()


class Connection:
    """A Client of 3.1.1 in the loop of a `Load`."""

    def __init__(self, load: Load, name: str, clean_session: bool = True) -> None:
        self.load = load
        self.socket = socket.create_connection(("127.0.0.1", load.port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.send(encode(Connect(name, MQTT_3_1_1, clean_session, 0), MQTT_3_1_1))
        self.connack = self._exactly(4)
        assert self.connack[:1] == b"\x20", self.connack
        assert self.connack[3] == 0, self.connack

    def subscribe(self, topic_filter: str) -> None:
        self.send(encode(Subscribe(1, [SubscriptionRequest(topic_filter, 1)]), MQTT_3_1_1))
        assert self._exactly(5)[4] == 1

    def begin(self) -> None:
        """From now on `come` is called with what comes."""
        self.load.selector.register(self.socket, selectors.EVENT_READ, self)

    def read(self) -> None:
        more = self.socket.recv(1 << 18)
        if not more:
            raise SystemExit("the broker has closed a connection")
        self.data = self.data + more if self.data else more
        self.come()

    def come(self) -> None:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.load.selector.unregister(self.socket)
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, "the broker has closed the connection"
            data += more
        return data


class Format:
    """A PUBLISH of QoS 1 of a fixed size: a topic of five bytes, and a payload that begins with a number."""

    def __init__(self, topic: str, payload_bytes: int) -> None:
        assert len(topic) == 5
        remaining = 2 + 5 + 2 + payload_bytes
        size = bytes([remaining]) if remaining < 128 else bytes([remaining & 127 | 128, remaining >> 7])
        self.head = b"\x32" + size + b"\0\5" + topic.encode()
        self.filler = bytes(payload_bytes - 8)
        self.bytes = len(self.head) + 2 + payload_bytes
        self.packet = Struct(f">B{len(self.head) - 1}xHQ{len(self.filler)}x")
        self.number = Struct(">HQ").pack


class Publisher(Connection):
    """Keeps `window` messages under way, of `total` in all; `rate` a second where it is not 0."""

    def __init__(self, load: Load, topic: str, payload_bytes: int, window: int, total: int = 1 << 62) -> None:
        super().__init__(load, f"publisher {topic}")
        self.format = Format(topic, payload_bytes)
        self.window = window
        self.total = total
        self.sent = self.acknowledged = 0
        self.begin()

    def publish(self, count: int) -> None:
        form, first = self.format, self.sent
        head, filler, number = form.head, form.filler, form.number
        count = min(count, self.total - first)
        self.sent += count
        self.send(b"".join([head + number(each % 65_535 + 1, each) + filler for each in range(first, first + count)]))

    def come(self) -> None:
        count = len(self.data) // 4
        self.data = self.data[count * 4 :]
        self.acknowledged += count
        if self.sent - self.acknowledged <= self.window // 2 or self.window < 100:
            self.publish(self.window - (self.sent - self.acknowledged))


class Subscriber(Connection):
    """Acknowledges everything, and sees to the order; what comes again with DUP is counted."""

    def __init__(self, load: Load, topic: str, payload_bytes: int) -> None:
        super().__init__(load, f"subscriber {topic}", clean_session=False)
        self.format = Format(topic, payload_bytes)
        self.received = self.repeated = 0
        self.next = 0
        if not self.connack[2]:
            self.subscribe(topic)
        self.begin()

    def come(self) -> None:
        form = self.format
        whole = len(self.data) // form.bytes * form.bytes
        acknowledgements = []
        for first, identifier, number in form.packet.iter_unpack(self.data[:whole]):
            if number == self.next:
                self.next += 1
            elif first & 8 and number < self.next:
                self.repeated += 1
            else:
                raise SystemExit(f"message {number} came where {self.next} was due")
            acknowledgements.append(b"\x40\x02" + identifier.to_bytes(2, "big"))
        self.data = self.data[whole:]
        self.received += len(acknowledgements)
        self.send(b"".join(acknowledgements))


def ping(port: int, pipe: Pipe) -> None:
    """A process of its own, so that it feels the broker's lag and not the load's. It is told to clear or to tell."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connected:
        connected.settimeout(PATIENCE)
        connected.sendall(encode(Connect("pinger", MQTT_3_1_1, True, 0), MQTT_3_1_1))
        assert connected.recv(4, socket.MSG_WAITALL)[:2] == b"\x20\x02"
        lags: list[float] = []
        while True:
            if pipe.poll(0.01):
                told = pipe.recv()
                if told == "tell":
                    pipe.send(lags)
                elif told == "end":
                    return
                lags = []
            begun = time.perf_counter()
            connected.sendall(PINGREQ)
            connected.recv(2, socket.MSG_WAITALL)
            lags.append(time.perf_counter() - begun)


class Pinger:
    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=ping, args=(port, theirs), daemon=True)
        self.process.start()

    def clear(self) -> None:
        self.pipe.send("clear")

    def told(self) -> str:
        self.pipe.send("tell")
        lags = sorted(self.pipe.recv()) or [0.0]
        last = lags[min(len(lags) - 1, int(len(lags) * 0.99))]
        return f"lag p50 {statistics.median(lags) * 1e3:.1f}, p99 {last * 1e3:.1f}, max {lags[-1] * 1e3:.1f} ms"

    def close(self) -> None:
        self.pipe.send("end")
        self.process.join(PATIENCE)


class Load:
    """The loop of all Clients."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.pinger = Pinger(port)

    def until(self, done: Callable[[], bool], within: float = PATIENCE) -> float:
        """Turn until `done()`; gives the seconds that it took."""
        begun = time.perf_counter()
        while not done():
            if time.perf_counter() - begun > within:
                raise SystemExit(f"not done within {within:.0f} s")
            for key, _ in self.selector.select(0.005):
                key.data.read()
        return time.perf_counter() - begun

    def turn(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() >= end)

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.data.close()
        self.selector.close()
        self.pinger.close()


def pairs(folder: Path, level: str, seconds: float) -> tuple[float, str]:
    with served(folder, level) as broker:
        load = Load(broker.port)
        topics = [f"p/{number:03}" for number in range(10)]
        subscribers = [Subscriber(load, topic, 64) for topic in topics]
        publishers = [Publisher(load, topic, 64, 20) for topic in topics]
        for each in publishers:
            each.publish(20)
        load.turn(1.0)
        load.pinger.clear()
        before, cpu, begun = sum(each.received for each in subscribers), broker.cpu_seconds(), time.perf_counter()
        load.turn(seconds)
        count = sum(each.received for each in subscribers) - before
        rate = count / (time.perf_counter() - begun)
        cpu = (broker.cpu_seconds() - cpu) / count * 1e6
        for each in publishers:
            each.total = each.sent
        load.until(lambda: all(each.acknowledged == each.sent for each in publishers))
        load.until(lambda: [each.next for each in subscribers] == [each.sent for each in publishers])
        told = f"{rate:8.0f} messages/s, {cpu:5.1f} us of CPU each; {load.pinger.told()}"
        load.close()
        return rate, told


def fill(load: Load, topic: str, count: int, payload_bytes: int) -> None:
    """Publish so many messages to a Session whose Client goes away first."""
    Subscriber(load, topic, payload_bytes).close()
    publisher = Publisher(load, topic, payload_bytes, 2000, count)
    publisher.publish(2000)
    load.pinger.clear()
    seconds = load.until(lambda: publisher.acknowledged == count)
    print(f"  acknowledged in {seconds:.2f} s, {count / seconds:.0f} messages/s; {load.pinger.told()}")
    publisher.close()


def drain(load: Load, topic: str, count: int, payload_bytes: int) -> None:
    load.pinger.clear()
    begun = time.perf_counter()
    subscriber = Subscriber(load, topic, payload_bytes)
    assert subscriber.connack[2] == 1, "the Session is gone"
    connected = time.perf_counter() - begun
    load.until(lambda: subscriber.next == count)
    seconds = time.perf_counter() - begun
    again = f", {subscriber.repeated} of them twice" if subscriber.repeated else ""
    print(
        f"  drained in order in {seconds:.2f} s, {count / seconds:.0f} messages/s{again}, CONNACK after "
        f"{connected * 1e3:.0f} ms; {load.pinger.told()}"
    )
    subscriber.close()


def burst(folder: Path, level: str) -> None:
    print(f"burst of 100,000 messages of 256 bytes, {level}")
    with served(folder, level) as broker:
        load = Load(broker.port)
        fill(load, "b/000", 100_000, 256)
        drain(load, "b/000", 100_000, 256)
        load.close()


def million(folder: Path, level: str, count: int) -> None:
    print(f"{count:,} queued messages of 256 bytes, {level}")
    with served(folder, level) as broker:
        load = Load(broker.port)
        fill(load, "m/000", count, 256)
        print(f"  the broker has {broker.megabytes():.0f} MB in memory")
        load.close()
        broker.end(signal.SIGKILL)
    size = sum(file.stat().st_size for file in (folder / "data").iterdir())
    print(f"  kill -9; {size / 1e6:.0f} MB on disk")
    with served(folder, level) as broker:
        load = Load(broker.port)
        print(f"  first CONNACK {time.perf_counter() - broker.begun:.2f} s after exec, {broker.megabytes():.0f} MB")
        other = Subscriber(load, "o/000", 64), Publisher(load, "o/000", 64, 1)
        other[1].publish(1)
        drain(load, "m/000", count, 256)
        print(f"  meanwhile another pair, one message at a time: {other[0].received}; {broker.megabytes():.0f} MB")
        load.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_store", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", choices=["pairs", "burst", "million"])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--level", choices=LEVELS[1:], default="fsync")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    what = given.what or ["pairs", "burst", "million"]
    if len(CPUS) > 1:
        os.sched_setaffinity(0, CPUS[1:])

    @contextmanager
    def folder() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=given.folder) as made:
            yield Path(made)

    if "pairs" in what:
        best: dict[str, float] = {}
        for _ in range(given.rounds):
            for level in LEVELS:
                with folder() as made:
                    rate, told = pairs(made, level, given.seconds)
                best[level] = max(rate, best.get(level, 0.0))
                print(f"pairs, {level:<8} {told}, {best[level] / best['none']:.2f} of none")
    if "burst" in what:
        with folder() as made:
            burst(made, given.level)
    if "million" in what:
        with folder() as made:
            million(made, given.level, given.messages)


if __name__ == "__main__":
    main()
