"""Figures over rounds, ratios inside rounds, and that all of it survives a file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from broker.bench.comparison import (
    Subject,
    from_dict,
    single,
    subjects_of,
    to_dict,
)
from broker.bench.metrics import METRICS
from tests.bench.parts import TCP, WORKLOAD, WS, comparison, measured


def test_a_figure_is_the_median_of_its_rounds() -> None:
    found = comparison(6)
    figure = found.figure("tcp", "cpu")
    assert figure is not None
    assert figure.value == pytest.approx(4e-6 * 1.1)
    assert figure.spread.minimum == pytest.approx(4e-6)
    assert figure.spread.maximum == pytest.approx(4e-6 * 1.2)
    assert len(figure.rounds) == 6


def test_the_longest_is_the_longest_of_all_and_checks_are_added_up() -> None:
    found = comparison(3)
    for run, lost in zip(found.rounds_of("ws"), (1, 0, 4), strict=True):
        run.measured.lost = lost
    figure = found.figure("ws", "lost")
    assert figure is not None
    assert figure.value == 5
    longest = found.figure("ws", "max")
    assert longest is not None
    assert longest.value == max(run.measured.latency.maximum for run in found.rounds_of("ws")) / 1e9
    assert found.ratio("ws", "lost") is None


def test_a_ratio_is_that_of_the_rounds() -> None:
    ratio = comparison(6, ratio=1.3).ratio("ws", "cpu")
    assert ratio is not None
    assert ratio.value == pytest.approx(1.3, rel=0.003)
    assert ratio.high - ratio.low < 0.01  # the drift of a fifth is that of both
    assert ratio.clear


def test_a_round_that_one_of_them_lacks_does_not_count() -> None:
    found = comparison(6)
    found.rounds_of("tcp")[0].cpu = None
    found.rounds_of("ws")[1].cpu = None
    ratio = found.ratio("ws", "cpu")
    assert ratio is not None
    assert ratio.rounds == 4


def test_memory() -> None:
    found = comparison(2)
    figure, ratio = found.figure("ws", "memory"), found.ratio("ws", "memory")
    assert figure is not None
    assert ratio is not None
    assert figure.value == 8000
    assert ratio.value == pytest.approx(4 / 3)
    assert not ratio.clear  # measured once
    found.memory.clear()
    assert found.figure("ws", "memory") is None
    assert found.ratio("ws", "memory") is None


def test_what_decides() -> None:
    found = comparison(2)
    assert found.headline == "cpu"
    for run in found.rounds_of("ws"):
        run.cpu = None
    assert found.headline == "throughput"


def test_figures_for_conditions() -> None:
    figures = comparison(6).figures()
    assert set(figures) == {"tcp", "ws"}
    assert not any("ratio" in name for name in figures["tcp"])
    row = figures["ws"]
    assert row["cpu_ratio_low"] <= row["cpu_ratio"] <= row["cpu_ratio_high"]
    assert row["lost"] == 0
    assert set(row) >= {name for name in METRICS if not name.startswith("ack_")}


def test_latency_of_all_rounds_together() -> None:
    found = comparison(4)
    assert found.latency("tcp").count == sum(run.measured.latency.count for run in found.rounds_of("tcp"))
    assert found.acknowledgement("tcp").count == 0


def test_one_run_by_itself() -> None:
    found = single(replace(WORKLOAD, url=WS.url), measured(websocket=True), cpu=0.5)
    assert [each.label for each in found.subjects] == ["ws"]
    figure = found.figure("ws", "cpu")
    assert figure is not None
    assert figure.value == 0.5 / 100_000
    assert found.figures()["ws"]["throughput"] == 50_000


@pytest.mark.parametrize(
    ("urls", "labels"),
    [
        (["mqtt://localhost", "ws://localhost:8080/mqtt", "unix:/run/b.sock"], ["tcp", "ws", "unix"]),
        (["tcp://a:1", "mqtt://b:2", "ws://c:3"], ["tcp a:1", "tcp b:2", "ws"]),
        (["unix:/a", "unix:/b"], ["unix /a", "unix /b"]),
        (["mqtt://a", "mqtts://a", "wss://a"], ["tcp", "tls", "wss"]),
    ],
)
def test_names_of_subjects(urls: list[str], labels: list[str]) -> None:
    assert [each.label for each in subjects_of(urls)] == labels


def test_names_that_are_given() -> None:
    made = subjects_of(["mqtt://a", "mqtt://b"], pids=[None, 7], labels=["mosquitto", None])
    assert made == [
        Subject(label="mosquitto", url="mqtt://a"),
        Subject(label="tcp b:1883", url="mqtt://b", pid=7),
    ]
    with pytest.raises(ValueError, match="two subjects are called 'x'"):
        subjects_of(["mqtt://a", "mqtt://b"], labels=["x", "x"])
    with pytest.raises(ValueError, match="two subjects are called 'tcp a:1883'"):
        subjects_of(["mqtt://a", "mqtt://a"])
    with pytest.raises(ValueError, match="none of mqtt://"):
        subjects_of(["http://a"])


def test_where_certificates_lie_is_nobodys_business() -> None:
    found = comparison(1)
    found.workload = replace(found.workload, ca_file="/a", certificate="/b", key="/c", password="d")
    told = to_dict(found)["workload"]
    assert [told[name] for name in ("ca_file", "certificate", "key", "password")] == [None] * 4


def test_all_of_it_survives_a_file() -> None:
    found = comparison(3)
    found.notes.append("a note")
    again = from_dict(json.loads(json.dumps(to_dict(found))))
    assert to_dict(again) == to_dict(found)
    assert again.figures() == found.figures()
    assert again.latency("ws").curve() == found.latency("ws").curve()


def test_no_secret_gets_into_a_file() -> None:
    found = comparison(1)
    found.subjects = [replace(TCP, url="mqtt://anna:s3cret@host", username="anna", password="s3cret"), WS]
    found.workload = replace(WORKLOAD, url="mqtt://anna:s3cret@host", username="anna", password="s3cret")
    text = json.dumps(to_dict(found))
    assert "s3cret" not in text
    assert "anna" not in text
