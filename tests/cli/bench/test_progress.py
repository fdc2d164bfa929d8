from __future__ import annotations

import io
import json
import sys
from collections import deque
from dataclasses import dataclass, replace

import pytest

from broker.cli.bench import progress
from broker.cli.bench.progress import Display, Lines, Live, Rates, Records, display, line, picture, sparkline


@dataclass(frozen=True)
class State:
    phase: str = "measuring"
    connected: int = 100
    of: int = 1000
    sent: int = 0
    received: int = 0
    elapsed: float = 15.0
    seconds: float = 30.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_rates_are_of_the_time_between() -> None:
    rates = Rates()
    rates.tell(State(sent=100, received=50, elapsed=2.0))
    assert (rates.sent, rates.received, list(rates.history)) == (50.0, 25.0, [25.0])
    rates.tell(State(sent=200, received=60, elapsed=2.5))
    assert (rates.sent, rates.received, list(rates.history)) == (200.0, 20.0, [25.0, 20.0])
    rates.tell(State(sent=300, received=60, elapsed=3.5))
    assert (rates.sent, rates.received, list(rates.history)) == (100.0, 0.0, [25.0, 20.0, 100.0])
    rates.tell(State(sent=300, received=60, elapsed=3.5))  # at once: no time to divide by
    assert (rates.sent, len(rates.history)) == (100.0, 3)
    rates.tell(State(sent=10, received=8, elapsed=1.0))  # the next run
    assert (rates.sent, rates.received) == (10.0, 8.0)
    rates.tell(State(phase="draining", sent=0, received=6, elapsed=2.0))
    assert (rates.sent, rates.received) == (0.0, 3.0)
    rates.tell(State(phase="connecting", elapsed=0.0))
    assert (rates.sent, rates.received) == (0.0, 0.0)


def test_a_line_says_all() -> None:
    rates = Rates()
    state = State(sent=24_690, received=20_000, elapsed=2.0)
    rates.tell(state)
    assert line(state, rates, "round 1 of 5, ws") == (
        "round 1 of 5, ws · measuring 2 of 30 s · 100 of 1,000 connected · sent 12,345/s · received 10,000/s"
    )
    assert line(State(phase="connecting", seconds=0), rates, "") == "connecting 15 s · 100 of 1,000 connected"


def test_a_picture_has_a_bar_and_a_curve() -> None:
    rates = Rates()
    for number, received in enumerate((0, 100, 300, 700)):
        rates.tell(State(received=received, elapsed=float(number)))
    text = picture(State(received=700), rates, "round 1 of 5").plain.splitlines()
    assert text[0] == "round 1 of 5"
    assert text[1] == "measuring   " + "━" * 15 + "─" * 15 + " 15 of 30 s"
    assert text[2] == "connected   100 of 1,000"
    assert text[3].split() == ["sent", "0/s", "received", "400/s"]
    assert text[4].strip() == "▃▅█"
    assert picture(State(seconds=0.0), rates, "").plain.startswith("measuring   15 s\n")
    assert "━" * progress.BAR + " " in picture(State(elapsed=99), rates, "").plain


def test_sparkline() -> None:
    assert sparkline(deque()) == ""
    assert sparkline(deque([0.0, 0.0])) == "▁▁"
    assert sparkline(deque([0.0, 1.0, 4.0, 8.0])) == "▁▂▅█"


def test_lines_come_every_few_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as lines:
        for _ in range(21):
            clock.now += 0.5
            lines.show(State(phase="connecting"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["connecting 15 of 30 s · 100 of 1,000 connected"] * 2


def test_records_come_twice_a_second(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with display(True, records=True) as records:
        assert type(records) is Records
        for number in range(5):
            clock.now += 0.25
            records.show(State(), f"round {number} of 5, “ws”", number / 7)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(each) for each in captured.err.splitlines()] == [
        {"done": 0.0, "text": "round 0 of 5, “ws”"},
        {"done": 0.2857, "text": "round 2 of 5, “ws”"},
        {"done": 0.5714, "text": "round 4 of 5, “ws”"},
    ]


def test_pictures_come_four_times_a_second_and_go(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Live() as live:
        for number in range(5):
            live.show(State(phase=f"phase-{number}"))
            clock.now += 0.125
    drawn = terminal.getvalue()
    assert [number for number in range(5) if f"phase-{number}" in drawn] == [0, 2, 4]
    assert drawn.rindex("\x1b[2K") > drawn.rindex("phase-4")  # erased


def test_the_display_fits_the_stream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert type(display(True)) is Lines
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert type(display(True)) is Live
    silent = display(False)
    assert type(silent) is Display
    with silent:
        silent.show(replace(State(), sent=5), "heading")
    assert capsys.readouterr() == ("", "")
