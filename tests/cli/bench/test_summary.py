from __future__ import annotations

from dataclasses import replace

import pytest

from broker.bench.comparison import Comparison, Connections, Memory, Round, Subject
from broker.bench.histogram import Histogram
from broker.bench.measured import Measured
from broker.bench.workload import Workload
from broker.cli.bench.summary import limits, percentiles, right, summary, title, wrong

URL = "mqtt://127.0.0.1:1883"
PAIR = Workload(url=URL, publishers=1, subscribers=1)


def histogram(*milliseconds: float) -> Histogram:
    made = Histogram()
    for value in milliseconds:
        made.record(int(value * 1e6))
    return made


def sound(**more: object) -> Measured:
    measured = Measured(
        seconds=10.0,
        sent=1_000_000,
        received=1_000_000,
        bytes_sent=80_000_000,
        bytes_received=84_000_000,
        mqtt_bytes_sent=74_000_000,
        mqtt_bytes_received=84_000_000,
        latency=histogram(2.5),
        connected=2,
        connect=histogram(1),
        connect_seconds=0.02,
        expected=1_234_567,
        workers=1,
        busiest=0.634,
    )
    for name, value in more.items():
        setattr(measured, name, value)
    return measured


def one(measured: Measured, cpu: float | None = None, rss: int | None = None) -> Round:
    return Round(subject="tcp", number=1, measured=measured, cpu=cpu, rss=rss)


def told(run: Round, workload: Workload = PAIR) -> list[str]:
    return summary(Comparison(subjects=[Subject(label="tcp", url=workload.url)], workload=workload, rounds=[run]))


def test_all_that_users_ask_for() -> None:
    assert told(one(sound(), cpu=9.2, rss=30 * 2**20)) == [
        f"{title(PAIR)}",
        "  duration      10 s, after 1 s of warm-up",
        "  sent          1,000,000 messages, 100,000/s, 8.00 MB/s",
        "  received      1,000,000 messages, 100,000/s, 8.40 MB/s",
        "  latency       p50 2.50 ms, p90 2.50 ms, p99 2.50 ms, p99.9 2.50 ms, max 2.50 ms",
        "  on the wire   80.0 bytes a message sent, 6.0 of them WebSocket framing",
        "                84.0 bytes a message received, no framing beside MQTT's own",
        "  connected     2 connections in 20 ms, the slowest 1 ms",
        "  broker        92% of a core, 9.20 µs of CPU a message, 30 MiB of memory",
        "  generator     1 worker, the busiest at 63% of a core",
        "  checks        all 1,234,567 messages arrived once, in order and whole",
    ]


def test_acknowledgements() -> None:
    lines = told(one(sound(acknowledged=500, acknowledgement=histogram(3))), replace(PAIR, qos=1, warm_up=0.0))
    assert "  duration      10 s" in lines
    assert any(line.startswith("  acknowledged  500 messages, p50 3 ms,") for line in lines)


def test_idle_connections() -> None:
    measured = Measured(seconds=2.0, connected=5000, connect_seconds=2.5, workers=1, busiest=0.1)
    measured.connect = histogram(*[5] * 5000)
    workload = Workload(url="ws://u:p@127.0.0.1:8080/mqtt", idle=5000, version=4)
    run = Round(subject="ws", number=1, measured=measured, cpu=0.0, rss=50 * 2**20)
    run.connections = Connections(measured=measured, cpu=1.0)
    comparison = Comparison(
        subjects=[Subject(label="ws", url=workload.url)],
        workload=workload,
        rounds=[run],
        memory={"ws": Memory(connections=5000, growth=5000 * 6000)},
    )
    assert summary(comparison) == [
        "5,000 idle connections, MQTT 3.1.1, 10 s measured, at ws://127.0.0.1:8080/mqtt",
        "  connected     5,000 connections in 2.50 s, 2,000/s, p50 5 ms, p90 5 ms, p99 5 ms, p99.9 5 ms, max 5 ms",
        "  broker        50 MiB of memory, 6,000 B a connection, 200 µs of CPU a connect",
        "  generator     1 worker, the busiest at 10% of a core",
        "  checks        all 5,000 connections stood to the end",
    ]


def test_a_run_that_was_ended() -> None:
    comparison = Comparison(
        subjects=[Subject(label="tcp", url=URL)],
        workload=PAIR,
        rounds=[Round(subject="tcp", number=1, measured=Measured(seconds=2.0, sent=200, received=190, connected=2))],
        notes=["Ended early."],
    )
    assert summary(comparison)[1:] == [
        "  duration      2 s, after 1 s of warm-up",
        "  sent          200 messages, 100/s",
        "  received      190 messages, 95/s",
        "  connected     2 connections",
        "  note          Ended early.",
    ]


def test_the_title_says_what_and_where_and_no_password() -> None:
    assert title(Workload(url="mqtt://me:secret@h", publishers=1, subscribers=2, payload=2048)) == (
        "1 publisher to 2 subscribers, QoS 0, 2,048 bytes of payload, MQTT 5.0, as fast as it goes with 20 of a "
        "publisher under way (closed loop), 10 s measured, at mqtt://h:1883"
    )


def test_what_qos_allows_is_told_and_no_fault() -> None:
    lossy = sound(lost=12)
    assert wrong(lossy) == []
    assert right(lossy, PAIR) == [
        "12 of 1,234,567 messages were lost, which QoS 0 allows",
        "the others arrived once, in order and whole",
    ]
    again = sound(repeated=3)
    assert wrong(again) == []
    assert right(again, replace(PAIR, qos=1))[0] == "3 messages came again, which QoS 1 allows"
    nobody = right(Measured(sent=5, workers=1), replace(PAIR, subscribers=0))
    assert nobody == ["every connection stood, and nothing was refused; nobody was there to check what arrives"]
    others = right(Measured(received=5, workers=1), Workload(url=URL, subscribers=1))
    assert others == ["every connection stood; whether all arrived that was sent, only its sender could know"]
    assert right(Measured(received=5), PAIR) == []  # ended before anybody reported


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"disordered": 2}, ["2 of 1,234,567 messages came out of order"]),
        ({"corrupted": 3}, ["3 of 1,234,567 messages came corrupted"]),
        ({"corrupted": 2_000_000}, ["2,000,000 messages came corrupted"]),
        (
            {"received": 0, "lost": 1_234_567},
            ["not one of 1,234,567 messages arrived: may these Clients publish and subscribe to these topics?"],
        ),
        ({"refused": 4, "expected": 0}, ["4 messages were refused by the broker"]),
        ({"disconnected": 1}, ["1 connection ended unasked"]),
        ({"disconnected": 2, "lost": 7}, ["2 connections ended unasked", "7 of 1,234,567 messages never arrived"]),
        ({"trouble": {"a message lost at QoS 1": 2, "once": 1}}, ["a message lost at QoS 1 (2 times)", "once"]),
    ],
)
def test_what_must_not_happen(fault: dict[str, object], said: list[str]) -> None:
    measured = sound(**fault)
    assert wrong(measured) == said
    lines = told(one(measured))
    assert f"  checks        {said[0]}" in lines
    assert not any("arrived once" in line for line in lines)


def test_what_limited_is_told() -> None:
    assert limits(one(sound()), PAIR) == []  # the broker was not seen
    (busy,) = limits(one(sound(busiest=0.97)), PAIR)
    assert busy.startswith("The generator was the bottleneck: a worker used 97% of a core")
    assert told(one(sound(busiest=0.97)))[-1] == f"  note          {busy}"
    (nobody,) = limits(one(sound(), cpu=5.0), PAIR)
    assert nobody.startswith("Neither the broker (50% of a core) nor the generator (63%) was at its limit")
    assert limits(one(sound(), cpu=9.5), PAIR) == []
    assert limits(one(sound(disconnected=1, busiest=0.97)), PAIR) == []  # it ended before there was anything to limit
    assert limits(one(sound(lost=1_234_567), cpu=0.1), PAIR) == []
    for workload in (replace(PAIR, rate=1.0), replace(PAIR, count=5), replace(PAIR, echo=True)):
        assert limits(one(sound(), cpu=5.0), workload) == []


def test_a_rate_that_was_not_kept_is_told() -> None:
    assert limits(one(sound()), replace(PAIR, rate=120_000.0)) == [
        "100,000 messages a second were sent, of 120,000 asked for; latency counts from when each was due."
    ]
    assert limits(one(sound(latest=0.05)), replace(PAIR, rate=100_000.0)) == [
        "The generator was up to 50 ms late in sending; latency includes it."
    ]


def test_others_on_the_same_machine_are_told() -> None:
    assert limits(one(sound(starved=0.24)), PAIR) == [
        "The generator waited for a core that others had for 24% of the time; latency includes it."
    ]
    assert limits(one(sound(starved=0.05)), PAIR) == []


def test_one_message_and_no_time() -> None:
    lines = told(one(sound(sent=1, seconds=0.01)))
    assert any(line.startswith("  sent          1 message, 100/s") for line in lines)
    assert "  generator     1 worker" in lines


def test_percentiles() -> None:
    exact = histogram(*(number / 1e6 for number in range(1, 201)))  # 1 to 200 ns
    assert percentiles(exact) == "p50 100 ns, p90 180 ns, p99 198 ns, p99.9 200 ns, max 200 ns"
