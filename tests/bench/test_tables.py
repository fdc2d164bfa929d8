"""What a terminal shows."""

from __future__ import annotations

from rich.console import Console

from broker.bench.comparison import single
from broker.bench.environment import Environment
from broker.bench.results import Results, of_comparison
from broker.bench.sweep import Point
from broker.bench.tables import rows, text_of
from tests.bench.parts import WORKLOAD, comparison, measured

HERE = Environment()


def printed(results: Results, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(text_of(results))
    return capture.get()


def row(text: str, title: str) -> str:
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(title))


def test_a_comparison() -> None:
    text = printed(of_comparison(comparison(6), HERE))
    assert text.startswith("10 publishers to 10 subscribers, QoS 0")
    assert row(text, "Messages a second") == "Messages a second 50,000/s 50,000/s 1"
    assert (
        row(text, "Broker's CPU per message") == "Broker's CPU per message 4.40 µs ±9 % 5.73 µs ±9 % 1.30 1.30 to 1.30"
    )
    assert row(text, "Lost") == "Lost 0 0"
    assert row(text, "Generator's busiest core") == "Generator's busiest core 50 % 50 %"
    assert "Repeated" not in text
    assert "ws: framing of a message sent: 6 B measured, 6 B by RFC 6455" in text
    assert "! tcp: neither the broker" in text


def test_what_nobody_has_is_left_out() -> None:
    found = comparison(2)
    assert "cpu" in rows(found)
    assert "ack_p50" not in rows(found)
    found.rounds_of("ws")[0].measured.corrupted = 2
    assert "corrupted" in rows(found)


def test_one_run() -> None:
    text = printed(of_comparison(single(WORKLOAD, measured()), HERE))
    assert "50,000 messages a second over TCP." in text
    assert "/ tcp" not in text
    assert "±" not in text


def test_a_sweep() -> None:
    points = [
        Point({"payload": float(size), "qos": 0.0}, comparison(2, ratio=ratio)) for size, ratio in ((16, 1.1), (64, 2))
    ]
    text = printed(Results(environment=HERE, points=points))
    lines = [line.split() for line in text.splitlines()]
    assert ["16", "0", "tcp"] in [line[:3] for line in lines]
    assert any(line[:1] == ["ws"] and "2.00" in line for line in lines)
    assert "! 2 rounds can promise no more than 50 %" in text


def test_a_narrow_terminal() -> None:
    text = printed(of_comparison(comparison(6), HERE), 60)
    assert max(len(line) for line in text.splitlines()) <= 60
