"""How a run is going, on stderr: a live picture at a terminal, a plain line every few seconds elsewhere, or nothing.
For a program there are lines of JSON.

It is drawn in this process while the load runs in others, and at most four times a second, so that it costs the load
nothing that would be seen in the figures.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, Self

import click

if TYPE_CHECKING:
    from rich.text import Text

REDRAW: Final = 0.25  # seconds between two pictures
LINE_EVERY: Final = 5.0  # seconds between two lines where nobody watches
RECORD_EVERY: Final = 0.5  # seconds between two lines for a program
BAR: Final = 30  # characters
_BLOCKS: Final = "▁▂▃▄▅▆▇█"


class State(Protocol):
    """What is told of a run; `sent` and `received` are counts, `elapsed` and `seconds` those of the phase."""

    @property
    def phase(self) -> str: ...
    @property
    def connected(self) -> int: ...
    @property
    def of(self) -> int: ...
    @property
    def sent(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def elapsed(self) -> float: ...
    @property
    def seconds(self) -> float: ...


class Display:
    """Tells nothing; the others tell more. Use it in a `with`, and hand each state to `show`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, state: State, heading: str = "", done: float = 0.0) -> None:
        """`heading` names the run where there are several, `done` is the share of them all that is behind us."""


class Rates:
    """Messages a second between two states; those of a phase's first state are of the time since it began."""

    def __init__(self, kept: int = 40) -> None:
        self.sent = 0.0
        self.received = 0.0
        self.history: deque[float] = deque(maxlen=kept)  # received, or sent where nothing is received
        self._phase = ""
        self._last = (0.0, 0, 0)

    def tell(self, state: State) -> None:
        if state.phase != self._phase or state.elapsed < self._last[0]:
            self._phase = state.phase
            self._last = (0.0, 0, 0)
            self.sent = self.received = 0.0
        elapsed, sent, received = self._last
        if state.elapsed > elapsed:
            self.sent = (state.sent - sent) / (state.elapsed - elapsed)
            self.received = (state.received - received) / (state.elapsed - elapsed)
            self.history.append(self.received or self.sent)
            self._last = (state.elapsed, state.sent, state.received)


class Lines(Display):
    """A plain line every LINE_EVERY seconds."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._next = time.monotonic() + LINE_EVERY

    def show(self, state: State, heading: str = "", done: float = 0.0) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LINE_EVERY
        self._rates.tell(state)
        click.echo(line(state, self._rates, heading), file=sys.stderr)


class Records(Display):
    """A JSON object every RECORD_EVERY seconds: `done` from 0 to 1, and the same as `text`."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, state: State, heading: str = "", done: float = 0.0) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + RECORD_EVERY
        click.echo(json.dumps({"done": round(done, 4), "text": heading}), file=sys.stderr)


class Live(Display):
    """A picture of four lines, gone when the run is over."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as Drawn

        # Drawn by us and not by rich's thread: nothing needs it when nothing has changed
        self._drawn = Drawn(
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._rates = Rates()
        self._next = 0.0

    def __enter__(self) -> Self:
        self._drawn.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._drawn.stop()

    def show(self, state: State, heading: str = "", done: float = 0.0) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REDRAW
        self._rates.tell(state)
        self._drawn.update(picture(state, self._rates, heading), refresh=True)


def display(wanted: bool, *, records: bool = False) -> Display:
    """What fits where stderr goes, or `records` for a program."""
    if records:
        return Records()
    if not wanted:
        return Display()
    return Live() if sys.stderr.isatty() else Lines()


def line(state: State, rates: Rates, heading: str) -> str:
    """All of it in one line."""
    parts = [heading] if heading else []
    parts.append(f"{state.phase} {_time(state)}".rstrip())
    parts.append(f"{state.connected:,} of {state.of:,} connected")
    if state.sent:
        parts.append(f"sent {rates.sent:,.0f}/s")
    if state.received:
        parts.append(f"received {rates.received:,.0f}/s")
    return " · ".join(parts)


def picture(state: State, rates: Rates, heading: str) -> Text:
    """Phase and bar, Clients, rates, and the rates of the last ten seconds as a curve."""
    from rich.text import Text

    drawn = Text(no_wrap=True, overflow="ellipsis")
    if heading:
        drawn.append(f"{heading}\n", style="bold")
    full = round(BAR * min(1.0, state.elapsed / state.seconds)) if state.seconds else 0
    drawn.append(f"{state.phase:<12}", style="bold cyan")
    if state.seconds:
        drawn.append("━" * full, style="cyan").append("─" * (BAR - full), style="dim").append(" ")
    drawn.append(f"{_time(state)}\n")
    drawn.append(f"{'connected':<12}{state.connected:,} of {state.of:,}\n")
    drawn.append(f"{'sent':<12}{rates.sent:>11,.0f}/s    received{rates.received:>11,.0f}/s\n")
    drawn.append(f"{'':<12}{sparkline(rates.history)}", style="green")
    return drawn


def sparkline(values: deque[float]) -> str:
    """A character a value, from none to the greatest of them."""
    top = max(values, default=0.0)
    if not top:
        return _BLOCKS[0] * len(values)
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(value / top * len(_BLOCKS)))] for value in values)


def _time(state: State) -> str:
    return f"{state.elapsed:.0f} of {state.seconds:g} s" if state.seconds else f"{state.elapsed:.0f} s"
