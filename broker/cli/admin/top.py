"""`broker top`: a running broker, live.

One thread asks the broker, and this one draws and hears keys: a broker that does not answer stops neither. Where
stdin or stdout is no terminal, or with --once, there is one snapshot as text.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from broker.cli.admin.api import listed
from broker.cli.admin.clients import SORTS
from broker.cli.admin.listing import document, say, shown
from broker.cli.admin.options import EXIT_CODES, api_options, connected
from broker.cli.admin.view import Line, Query, View
from broker.cli.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.cli.admin.api import Api, Item
    from broker.cli.admin.terminal import Terminal

SNAPSHOT: Final = 20  # Clients in a snapshot
_EITHER: Final = tuple(sign + name for name in SORTS for sign in ("", "-"))


class Answer(NamedTuple):
    """What the broker said to `query`, or why it did not."""

    query: Query
    overview: Item
    total: int
    items: list[Item]
    trouble: str = ""
    note: str = ""


class Asker:
    """Asks on a thread of its own, one thing after the other; `tell` is called there when there is an answer.

    The thread ends with the process at the latest: nobody waits for a broker that does not answer.
    """

    def __init__(self, api: Api, tell: Callable[[], None]) -> None:
        self._api = api
        self._tell = tell
        self._wanted: queue.SimpleQueue[tuple[Query, str] | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.busy = 0
        threading.Thread(target=self._run, daemon=True).start()

    def ask(self, query: Query, kick: str = "") -> None:
        """Ask for it; before that end the connection of `kick`."""
        self.busy += 1
        self._wanted.put((query, kick))

    def answers(self) -> list[Answer]:
        """Those that are there."""
        found: list[Answer] = []
        with suppress(queue.Empty):
            while True:
                found.append(self._found.get_nowait())
        self.busy -= len(found)
        return found

    def close(self) -> None:
        self._wanted.put(None)

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            self._found.put(self._answer(*wanted))
            self._tell()

    def _answer(self, query: Query, kick: str) -> Answer:
        note = ""
        if kick:
            try:
                self._api.change("DELETE", "clients", kick)
                note = f"The connection of {shown(kick)} has ended."
            except click.ClickException as error:
                note = error.message
        try:
            return ask(self._api, query)._replace(note=note)
        except click.ClickException as error:
            return Answer(query, {}, 0, [], trouble=error.message, note=note)


def ask(api: Api, query: Query) -> Answer:
    """Figures and a list. Raises ClickException."""
    overview = api.get("overview")
    return Answer(query, overview, *listed(api.get(query.path, query=query.given), api.url))


@click.command(
    epilog=f"""\b
Examples:
  broker top                                     (the broker that runs here)
  broker top --sort -dropped --filter meter
  broker top --url https://broker.example:8443 --token-file token
  broker top --once > now.txt
  broker top -o json | jq .overview.messages

\b
Keys: arrows choose, s sorts, r turns it round, / filters, k kicks (and asks), t shows topics, space pauses, ? says it
all, q or Ctrl-C quits.

{EXIT_CODES}""",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks; in a snapshot rates are over so long.",
)
@click.option("--filter", "text", default="", metavar="TEXT", help="Part of a Client Identifier, a user or an address.")
@click.option(
    "--sort",
    type=click.Choice(_EITHER),
    default="-queue_messages",
    show_default=True,
    metavar="NAME",
    help=f"With - the largest first: {', '.join(SORTS)}.",
)
@click.option("--once", is_flag=True, help="One snapshot as text, at a terminal too.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="json: one snapshot, as the API says it.",
)
@api_options
def top(interval: float, text: str, sort: str, once: bool, output: str, **where: Any) -> None:
    """Watch a running broker: its Clients, rates, queues, CPU and memory; sort, filter and kick."""
    with connected(**where) as api:
        view = View(api.url, text, sort)
        if once or output == "json" or not _has_terminal():
            view.resize(SNAPSHOT + 8)
            _snapshot(api, view, interval, output)
        else:
            _watch(api, view, interval)


def _has_terminal() -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    try:
        import termios
    except ImportError:  # Windows
        return False
    return bool(termios)


def _snapshot(api: Api, view: View, interval: float, output: str) -> None:
    first = ask(api, view.query())
    view.take(*first[:4])
    time.sleep(interval)
    last = ask(api, view.query())
    view.take(*last[:4])
    if output == "json":
        document({"overview": last.overview, "clients": last.items})
        return
    for line in view.figures():
        say(line)
    say("")
    for line in view.table(sys.maxsize):
        say(line)
    if last.total > len(last.items):
        say(f"… and {last.total - len(last.items):,} more: 'broker clients' lists all.")


def _watch(api: Api, view: View, interval: float) -> None:
    """Until q, or a signal that ends us."""
    from rich.console import Console
    from rich.live import Live

    from broker.cli.admin.terminal import Terminal

    height = shutil.get_terminal_size().lines
    view.resize(height)
    first = ask(api, view.query())  # what goes wrong here is said as by any other command
    view.take(*first[:4])
    console = Console()
    with Terminal() as terminal:
        asker = Asker(api, terminal.wake)
        try:
            with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
                _loop(view, asker, terminal, live, interval)
        except OSError as error:
            raise Failure(f"the terminal is gone: {error.strerror}.") from None
        finally:
            asker.close()
    if terminal.ending:
        raise click.exceptions.Exit(128 + terminal.ending)


def _loop(view: View, asker: Asker, terminal: Terminal, live: Any, interval: float) -> None:
    due = time.monotonic() + interval
    while not terminal.ending:
        console = live.console
        if view.resize(console.height):
            due = 0.0
        live.update(drawn(view.screen(console.width, console.height)), refresh=True)
        now = time.monotonic()
        if now >= due and not asker.busy:
            if due == 0.0 or not view.paused:
                asker.ask(view.query())
            due = now + interval
        for key in terminal.wait(min(interval, max(0.0, due - now)) if not asker.busy else interval):
            done = view.press(key)
            if done == "quit":
                return
            if done == "kick":
                asker.ask(view.query(), view.subject)
            elif done == "ask":
                due = 0.0
        for answer in asker.answers():
            view.note = answer.note or view.note
            if answer.trouble:
                view.trouble = answer.trouble
            elif view.take(*answer[:4]):
                due = 0.0
        if terminal.stopping:
            terminal.stopping = False
            _rest(terminal, live)


def _rest(terminal: Terminal, live: Any) -> None:
    """Ctrl-Z: give the terminal back until we are told to go on."""
    live.stop()
    terminal.give_back()
    os.kill(os.getpid(), signal.SIGSTOP)
    terminal.take()
    live.start()


def drawn(screen: Sequence[Line]) -> Any:
    """The lines as rich draws them."""
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text(line.text, style=line.style, no_wrap=True, overflow="ellipsis") for line in screen))
