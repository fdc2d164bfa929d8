"""`$SYS/broker/#`: values, averages, and that only what changed is published."""

from __future__ import annotations

import math

import pytest

from broker.core.broker import Broker
from broker.core.limits import ServerLimits
from broker.core.sys_topics import PROCESS_INTERVAL, ROOT, Load, SysTopics
from broker.packets.types import Publish, Subscribe, SubscriptionRequest
from tests.core.parts import connect, limits, message, new_broker, publishes, said, send, subscribe


def value(broker: Broker, topic: str) -> str:
    found = broker.retained.get(ROOT + topic, 0.0)
    assert found is not None, topic
    return found.payload.decode()


def test_a_load_is_an_exponential_moving_average() -> None:
    """As mosquitto has it: rate + exp(-seconds / 60 minutes) * (average - rate), a rate being per minute."""
    load = Load()
    expected = [0.0, 0.0, 0.0]
    count = 0
    for seconds, more in [(10.0, 100), (10.0, 0), (7.5, 33), (60.0, 1000), (0.5, 1)]:
        count += more
        load.update(count, seconds)
        rate = more * 60 / seconds
        for at, minutes in enumerate((1, 5, 15)):
            expected[at] = rate + math.exp(-seconds / 60 / minutes) * (expected[at] - rate)
    assert load.averages == pytest.approx(expected)


def test_a_steady_rate_is_reached_by_and_by() -> None:
    load = Load()
    for step in range(1, 1001):
        load.update(step * 5, 10.0)
        assert load.averages[0] >= load.averages[1] >= load.averages[2]
    assert load.averages == pytest.approx([30.0, 30.0, 30.0], rel=1e-3)
    assert Load().averages == [0.0, 0.0, 0.0]


def test_one_minute_of_a_rate_has_the_weight_of_its_window() -> None:
    load = Load()
    load.update(60, 60.0)
    assert load.averages == pytest.approx([60 * (1 - math.exp(-1 / minutes)) for minutes in (1, 5, 15)])


def test_values() -> None:
    broker = new_broker()
    reader = connect(broker, "reader", session_expiry_interval=100)
    subscribe(reader, "a", 1)
    subscribe(reader, "$share/g/a", 1)
    publisher = connect(broker, "publisher")
    for qos in (0, 1):
        send(publisher, Publish("a", b"12345", qos=qos, packet_identifier=qos))
    broker.retained.set(message("kept", b"x", retain=True))
    reader.lost(0.0)
    send(publisher, Publish("a", b"12345", qos=1, packet_identifier=2))
    sys_topics = SysTopics(broker)
    sys_topics.started_at = 100.0
    values = sys_topics.values(175.9)
    expected = {
        "version": "TrioMQ version",
        "uptime": "75 seconds",
        "clients/total": 2,
        "clients/connected": 1,
        "clients/active": 1,
        "clients/disconnected": 1,
        "clients/inactive": 1,
        "clients/maximum": 2,
        "clients/expired": 0,
        "clients/over rate": 0,
        "subscriptions/count": 2,
        "shared_subscriptions/count": 1,
        "retained messages/count": 1,
        "messages/stored": 3,
        "store/messages/count": 3,
        "publish/messages/received": 3,
        "publish/bytes/received": 15,
        "publish/messages/dropped": 0,
        "transport/memory/connections": 2,
        "transport/memory/publish/messages/received": 3,
    }
    assert {topic: values[topic] for topic in expected} == {topic: str(one) for topic, one in expected.items()}
    assert int(values["store/messages/bytes"]) == broker.retained.bytes + broker.stats.queued_bytes
    assert values["messages/received"] == values["transport/memory/messages/received"]


def test_messages_sent_are_all_packets_sent() -> None:
    broker = new_broker()
    reader = connect(broker, "reader")
    send(reader, Subscribe(1, [SubscriptionRequest("a")]))
    said(reader)
    before = SysTopics(broker).values(1.0)
    broker.publish(message(), None, 0.0)
    publishes(reader)
    after = SysTopics(broker).values(1.0)
    for name in ("messages/sent", "publish/messages/sent", "publish/bytes/sent"):
        assert int(after[name]) == int(before[name]) + 1, name


def test_the_split_by_transport() -> None:
    broker = new_broker()
    for name, count in (("tcp", 3), ("ws", 4)):
        broker.stats.transport(name).publish_received = count
    values = SysTopics(broker).values(1.0)
    assert values["transport/tcp/publish/messages/received"] == "3"
    assert values["transport/ws/publish/messages/received"] == "4"
    assert values["publish/messages/received"] == "7"


def started(interval: float = 10.0, now: float = 1000.0) -> Broker:
    server_limits = ServerLimits()
    server_limits.sys_interval = interval
    broker = Broker(server_limits, version="1.2")
    broker.start(now)
    return broker


def test_published_at_the_start_and_at_each_interval() -> None:
    broker = started()
    assert value(broker, "version") == "TrioMQ version 1.2"
    assert value(broker, "uptime") == "0 seconds"
    assert broker.next_deadline() == 1010.0
    broker.tick(1009.0)
    assert value(broker, "uptime") == "0 seconds"
    broker.tick(1010.0)
    assert value(broker, "uptime") == "10 seconds"
    assert broker.next_deadline() == 1020.0


def test_not_at_all() -> None:
    broker = started(0.0)
    assert broker.retained.count == 0
    assert broker.next_deadline() == math.inf


def test_only_what_has_changed_is_published() -> None:
    broker = started()
    reader = connect(broker, "reader", of=limits(outbox_soft_bytes=1 << 20), now=1001.0)
    subscribe(reader, "$SYS/#", now=1001.0, retain_handling=2)
    wild = connect(broker, "wild", now=1001.0)
    subscribe(wild, "#", now=1001.0)
    broker.tick(1010.0)
    first = {each.topic for each in publishes(reader)}
    assert ROOT + "uptime" in first
    assert ROOT + "clients/connected" in first
    assert ROOT + "version" not in first
    assert publishes(wild) == []
    broker.tick(1020.0)
    second = {each.topic: each for each in publishes(reader)}
    assert ROOT + "clients/connected" not in second
    assert all(each.qos == 0 and not each.retain for each in second.values())


def test_loads_from_the_second_update_on() -> None:
    broker = started()
    assert value(broker, "load/publish/received/1min") == "0.00"
    publisher = connect(broker, "publisher", now=1001.0)
    send(publisher, *[Publish("a", b"x")] * 50, now=1001.0)
    broker.tick(1010.0)
    for minutes in (1, 5, 15):
        expected = 300 * (1 - math.exp(-10 / 60 / minutes))
        assert value(broker, f"load/publish/received/{minutes}min") == f"{expected:.2f}"
    assert value(broker, "load/sockets/1min") == f"{6 * (1 - math.exp(-1 / 6)):.2f}"
    assert value(broker, "load/connections/1min") == value(broker, "load/sockets/1min")
    broker.tick(1020.0)
    assert 0 < float(value(broker, "load/sockets/1min")) < 6 * (1 - math.exp(-1 / 6))


class Process:
    """One that uses a tenth of a core and grows; it counts how often it was asked."""

    def __init__(self, memory: int = 4096) -> None:
        self.asked = 0
        self.memory = memory

    def __call__(self) -> tuple[float, int]:
        self.asked += 1
        return 0.1234567 * self.asked, self.memory * self.asked


def watched(process: Process, interval: float = 10.0) -> Broker:
    server_limits = ServerLimits()
    server_limits.sys_interval = interval
    broker = Broker(server_limits)
    broker.process = process
    broker.start(1000.0)
    return broker


def test_what_the_process_uses_is_told_every_second() -> None:
    process = Process()
    broker = watched(process)
    assert value(broker, "process/cpu") == "0.123457"
    assert value(broker, "process/memory") == "4096"
    assert broker.next_deadline() == 1000.0 + PROCESS_INTERVAL
    broker.tick(1000.5)
    assert process.asked == 1
    for second in range(1, 11):
        broker.tick(1000.0 + second)
        assert process.asked == second + 1
    assert value(broker, "process/cpu") == "1.358024"
    assert value(broker, "process/memory") == str(11 * 4096)
    assert value(broker, "uptime") == "10 seconds"


def test_what_the_process_uses_is_told_changed_or_not_the_memory_first() -> None:
    broker = watched(Process())
    broker.process = lambda: (2.5, 8192)
    reader = connect(broker, "reader", now=1000.5)
    subscribe(reader, "$SYS/broker/process/+", now=1000.5, retain_handling=2)
    for now in (1001.0, 1002.0):
        broker.tick(now)
        assert [(each.topic, each.payload, each.qos, each.retain) for each in publishes(reader)] == [
            (ROOT + "process/memory", b"8192", 0, False),
            (ROOT + "process/cpu", b"2.500000", 0, False),
        ]


def test_memory_that_is_not_known_is_not_told() -> None:
    broker = watched(Process(memory=0))
    assert value(broker, "process/cpu") == "0.123457"
    assert broker.retained.get(ROOT + "process/memory", 0.0) is None


def test_nobody_is_asked_where_nothing_is_published() -> None:
    process = Process()
    broker = watched(process, interval=0.0)
    assert process.asked == 0
    assert broker.next_deadline() == math.inf
    silent = started()
    assert silent.retained.get(ROOT + "process/cpu", 0.0) is None
    assert silent.next_deadline() == 1010.0


def test_a_process_that_cannot_be_asked_is_a_fault_each_time_and_no_more() -> None:
    def broken() -> tuple[float, int]:
        raise OSError("no such file")

    broker = watched(Process())
    broker.process = broken
    for number, now in enumerate((1001.0, 1002.0), 1):
        broker.tick(now)
        assert [str(error) for _, error in broker.faults] == ["no such file"] * number


def test_latencies_of_the_last_minute_are_told_by_transport_and_qos() -> None:
    broker = new_broker()
    latency = broker.stats.transport("tcp").latency
    prefixes = ("latency/", "acknowledge/")
    assert not [topic for topic in SysTopics(broker).values(100.0) if topic.startswith(prefixes)]
    latency.written[0].record(0.002, 99, 100.0)
    latency.written[0].record(0.5, 1, 100.0)
    latency.acknowledged[1].record(0.001, 1, 100.0)
    broker.stats.loop_lag.record(0.25, 1, 100.0)
    values = SysTopics(broker).values(110.0)
    told = {topic: float(value) for topic, value in values.items() if topic.startswith(prefixes)}
    assert told == {
        "latency/tcp/0/p50": pytest.approx(2.0, rel=0.016),
        "latency/tcp/0/p99": pytest.approx(2.0, rel=0.016),
        "latency/tcp/0/max": 500.0,
        "acknowledge/tcp/1/p50": 1.0,
        "acknowledge/tcp/1/p99": 1.0,
        "acknowledge/tcp/1/max": 1.0,
        "latency/loop/p50": 250.0,
        "latency/loop/p99": 250.0,
        "latency/loop/max": 250.0,
    }
    assert SysTopics(broker).values(300.0)["latency/tcp/0/max"] == "0.000"
