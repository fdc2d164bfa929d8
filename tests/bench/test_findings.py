"""The answer in sentences, and what makes it less than it seems."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.bench.comparison import Subject, single
from broker.bench.findings import all_warnings, answers, describe, over, spoken, warnings
from tests.bench.parts import WORKLOAD, comparison, measured

if TYPE_CHECKING:
    from broker.bench.comparison import Comparison


def busy(found: Comparison) -> Comparison:
    """The same with a broker that used its whole core, which is how it should be in a closed loop."""
    for run in found.rounds:
        run.cpu = 0.99 * run.measured.seconds
    return found


def test_the_answer_comes_first() -> None:
    first, *rest = answers(comparison(6, ratio=1.3))
    assert first.startswith("Over WebSocket a message costs the broker 1.30 times the CPU that it costs over TCP (95")
    assert "(95\N{NO-BREAK SPACE}% CI 1.30 to 1.30)" in first
    assert first.endswith("): 5.73 µs against 4.40 µs.")
    text = " ".join(rest)
    assert (
        "A message sent is 82 B on the wire against 76 B; framing is 4.28 % of all bytes, as RFC 6455 has it." in text
    )
    assert "A connection weighs 8,000 B against 6,000 B, 1.33 times" in text
    assert "opening one costs the broker 300 µs of CPU against 100 µs, 3.00 times" in text


def test_what_was_not_shown_is_not_said() -> None:
    found = comparison(6)
    for run in found.rounds:
        run.cpu = 1.0 + 0.1 * (run.number % 2 if run.subject == "ws" else run.number % 3 == 0)
    first = answers(found)[0]
    assert first.startswith(
        "A message costs the broker as much CPU over WebSocket as over TCP, as far as these rounds can show"
    )
    assert any(
        text.startswith("No difference in messages a second was shown: 50,000 against 50,000")
        for text in answers(found)
    )


def test_of_several_only_what_decides() -> None:
    found = comparison(6)
    found.subjects.append(Subject(label="mosquitto", url="mqtt://127.0.0.1:3"))
    found.rounds += [replace(run, subject="mosquitto") for run in found.rounds_of("ws")]
    first, speed, second, speed_again = answers(found)
    assert first.startswith("Over WebSocket a message costs the broker 1.30 times the CPU that it costs over TCP")
    assert second.startswith("With mosquitto a message costs the broker 1.30 times the CPU that it costs over TCP")
    assert speed.startswith("No difference in messages a second was shown: 50,000 against 50,000")
    assert speed_again == speed


def test_throughput() -> None:
    found = comparison(6)
    for run in found.rounds_of("ws"):
        run.measured.received = 80_000
    interval = "95\N{NO-BREAK SPACE}% CI 0.8 to 0.8"
    text = f"Over WebSocket it carried 0.8 times as many messages a second ({interval}): 40,000 against 50,000."
    assert text in answers(found)
    found.workload = replace(found.workload, rate=40_000.0)
    assert "The load was 40,000 messages a second for all; 40,000 arrived over WebSocket." in answers(found)


def test_framing_that_is_not_as_the_standard_has_it() -> None:
    found = comparison(2)
    for run in found.rounds_of("ws"):
        run.measured.bytes_sent += run.measured.sent
    assert any("which is not what RFC 6455 lets expect" in text for text in answers(found))


def test_a_subject_by_itself() -> None:
    found = single(WORKLOAD, measured(), cpu=0.4)
    assert answers(found) == [
        "50,000 messages a second over TCP.",
        answers(found)[1],
        "A message costs the broker 4 µs of CPU.",
    ]
    assert answers(found)[1].startswith("Latency: median 1.0")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "10 publishers to 10 subscribers, QoS 0, 64 bytes of payload, MQTT 5.0, as fast as it goes with 20"),
        ({"rate": 5000.0, "version": 4}, "MQTT 3.1.1, 5,000 messages a second, each at its time (open loop), 2 s"),
        ({"count": 1000}, "1,000 messages"),
        ({"publishers": 1, "subscribers": 0, "echo": True}, "1 Client that publishes to itself"),
        ({"subscribers": 0}, "10 publishers to nobody"),
        ({"publishers": 0}, "10 subscribers, MQTT 5.0, 2 s measured"),
        ({"publishers": 0, "subscribers": 0, "idle": 1}, "1 idle connection, MQTT"),
    ],
)
def test_the_load_in_one_line(changes: dict[str, object], text: str) -> None:
    workload = type(WORKLOAD).from_dict({**WORKLOAD.to_dict(), **changes})
    assert text in describe(workload)


def test_the_load_of_a_sweep_in_one_line() -> None:
    points = [{"payload": 64.0, "qos": 0.0}, {"payload": 4096.0, "qos": 1.0}]
    assert describe(WORKLOAD, points).endswith("2 s measured; then payload from 64 to 4,096 and qos from 0 to 1")


def test_names() -> None:
    assert over("ws") == "over WebSocket"
    assert over("tcp 10.0.0.1:1883") == "over TCP 10.0.0.1:1883"
    assert spoken("mosquitto tcp") == "mosquitto tcp"
    assert over("mosquitto") == "with mosquitto"


def test_nothing_to_warn_of() -> None:
    assert warnings(busy(comparison(6))) == []


def test_the_generator_was_the_bottleneck() -> None:
    found = comparison(6)
    for run in found.rounds_of("tcp"):
        run.measured.busiest = 0.97
        run.cpu = 0.5 * run.measured.seconds
    (text, *_) = warnings(found)
    assert text.startswith(
        "tcp: the generator was the bottleneck (its busiest worker used 0.97 of a core; the broker used 0.50"
    )
    assert "lower bound" in text
    for run in found.rounds_of("tcp"):
        run.cpu = None
    assert "the generator was the bottleneck (its busiest worker used 0.97 of a core): " in warnings(found)[0]
    for run in found.rounds_of("tcp"):
        run.cpu = 0.98 * run.measured.seconds
    assert not any("bottleneck" in text for text in warnings(found))


def test_nobody_was_busy() -> None:
    texts = [text for text in warnings(comparison(6)) if "was busy" in text]
    assert len(texts) == 2
    assert texts[0].startswith("tcp: neither the broker (0.22 of a core) nor the generator (0.50) was busy")


def test_what_went_wrong_is_told_first() -> None:
    found = busy(comparison(6))
    run = found.rounds_of("ws")[2]
    run.measured.lost = 3
    run.measured.disconnected = 1
    run.measured.trouble["the broker closed the connection"] = 1
    found.notes.append("a note")
    assert warnings(found) == [
        "ws: 3 lost, 1 connections ended unasked.",
        "ws: the broker closed the connection (1 times).",
        "a note",
    ]


def test_an_open_loop_that_could_not_be_kept() -> None:
    found = busy(comparison(6))
    found.workload = replace(found.workload, rate=60_000.0)
    for run in found.rounds:
        run.measured.latest = 0.05
    texts = warnings(found)
    assert "tcp: 50,000 messages a second were sent of the 60,000 that were due: the rate could not be kept." in texts
    assert any(text.startswith("ws: the generator sent messages up to 50 ms after they were due") for text in texts)
    found.workload = replace(found.workload, rate=50_000.0)
    assert not any("due: the rate" in text for text in warnings(found))


def test_too_few_rounds() -> None:
    assert warnings(busy(comparison(1))) == [
        "One round says nothing about chance: six or more give an interval of 95 %."
    ]
    (text,) = warnings(busy(comparison(3)))
    assert text.startswith("3 rounds can promise no more than 75 %")


def test_a_sweep_says_each_reason_once() -> None:
    fine, few, fewer = busy(comparison(6)), busy(comparison(3)), busy(comparison(2))
    few.notes = fewer.notes = fine.notes = ["a note"]
    assert all_warnings([("payload 16", fine), ("payload 32", few), ("payload 64", fewer)]) == [
        "a note",
        "At payload 32 and 1 more: 3 rounds can promise no more than 75 %: the intervals are the range of all of them. "
        "Six or more give 95 %.",
    ]
    assert all_warnings([("qos 0", few), ("qos 1", fewer)])[0].startswith("At all points, as at qos 0: 3 rounds can")
    assert all_warnings([("", few)])[0].startswith("3 rounds can")


def test_rounds_that_lie_apart() -> None:
    found = busy(comparison(6))
    for run in found.rounds:
        run.cpu = (0.9 if run.number == 1 else 1.9) * run.measured.seconds
    assert any(
        text.startswith("tcp: rounds lie 53 % apart in broker's CPU per message; ratios are taken")
        for text in warnings(found)
    )
