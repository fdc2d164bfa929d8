"""`broker top`: a snapshot, and live at a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, cast

import click
import pytest

from broker.cli.admin.top import Answer, Asker, ask, drawn
from broker.cli.admin.view import Line, Query
from tests.cli.admin.conftest import Answering, answer, failure

if TYPE_CHECKING:
    from broker.cli.admin.api import Api, Item
    from tests.cli.admin.conftest import Site
    from tests.cli.conftest import Command


def test_without_a_terminal_there_is_one_snapshot(site: Site, command: Command) -> None:
    with site.device("snap/1", "a/#"), site.device("snap/2"):
        result = command("top", "--filter", "snap", "--sort", "-subscriptions", "--interval", "0.1", "--url", site.url)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("TrioMQ ")
    assert lines[2].startswith("Messages in ")
    assert "-/s" not in lines[2]
    assert [line.split()[0] for line in lines[6:]] == ["CLIENT", "snap/1", "snap/2"]
    assert "\x1b" not in result.stdout


def test_a_snapshot_as_json(site: Site, command: Command) -> None:
    with site.device("json/1"):
        result = command("top", "-o", "json", "--filter", "json/", "--interval", "0.1", "--url", site.url)
    said = json.loads(result.stdout)
    assert said["overview"]["clients"]["connected"] >= 1
    assert [each["client_identifier"] for each in said["clients"]] == ["json/1"]


def test_a_snapshot_says_that_there_are_more(command: Command) -> None:
    pages = [answer(200, {"version": "1", "now": 1}), answer(200, {"total": 9, "items": [{"client_identifier": "a"}]})]
    with Answering(*pages, *pages) as there:
        result = command("top", "--interval", "0.1", "--url", there.url)
    assert result.stdout.splitlines()[-1] == "… and 8 more: 'broker clients' lists all."


@pytest.mark.parametrize("words", [("--interval", "0"), ("--sort", "age"), ("-o", "yaml"), ("extra",)])
def test_mistakes_are_usage_errors(command: Command, words: tuple[str, ...]) -> None:
    assert command("top", *words).exit_code == 2


def test_who_may_not_look_is_told_so_at_once(command: Command) -> None:
    with Answering(failure(401, "no")) as there:
        result = command("top", "--url", there.url)
    assert result.exit_code == 5
    assert "--token-file" in result.stderr


class Fake:
    """Stands in for the Api."""

    url = "http://h:1"

    def __init__(self) -> None:
        self.kicked: list[str] = []
        self.broken = False

    def get(self, path: str, query: object = None) -> Item:
        if self.broken:
            raise click.ClickException("it is gone")
        return {"total": 1, "items": [{"path": path}]} if query is not None else {"now": 1}

    def change(self, method: str, *path: str) -> Item:
        if path[-1] == "nobody":
            raise click.ClickException("No such Client is connected.")
        self.kicked.append(path[-1])
        return {}


def test_the_asker_asks_kicks_and_tells_what_goes_wrong() -> None:
    fake = Fake()
    api = cast("Api", fake)
    told: list[int] = []
    query = Query("clients", {"limit": 1})
    assert ask(api, query)[1:4] == ({"now": 1}, 1, [{"path": "clients"}])
    asker = Asker(api, lambda: told.append(1))
    try:
        for kick in ("", "a\nb", "nobody"):
            asker.ask(query, kick)
        assert asker.busy == 3
        found = collected(asker, 3)
        assert [each.note for each in found] == [
            "",
            "The connection of a\\nb has ended.",
            "No such Client is connected.",
        ]
        assert fake.kicked == ["a\nb"]
        fake.broken = True
        asker.ask(query)
        assert [each.trouble for each in collected(asker, 1)] == ["it is gone"]
        assert asker.busy == 0
    finally:
        asker.close()
    assert len(told) >= 3


def collected(asker: Asker, wanted: int) -> list[Answer]:
    found = asker.answers()
    end = time.monotonic() + 10
    while len(found) < wanted and time.monotonic() < end:
        time.sleep(0.005)
        found += asker.answers()
    return found


def test_lines_are_drawn_as_text_and_not_as_markup() -> None:
    from rich.console import Console

    console = Console(width=10, force_terminal=False)
    with console.capture() as captured:
        console.print(drawn([Line("[red]x[/]", "bold"), Line("0123456789abc")]))
    assert [line.rstrip() for line in captured.get().splitlines()] == ["[red]x[/]", "012345678…"]


class Seated:
    """`broker top` at a terminal of 80x24; use it in a `with`."""

    def __init__(self, url: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.theirs)
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("BROKER_", "COLUMNS", "LINES"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "broker", "top", "--url", url, "--interval", "0.2", "--filter", "seat"],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=subprocess.PIPE,
            env=clean | {"TERM": "xterm-256color"},
        )
        self.complaints = self.process.stderr
        self.gone = False
        self.seen = b""

    def __enter__(self) -> Seated:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.complaints is not None:
            self.complaints.close()
        for end in () if self.gone else (self.ours, self.theirs):
            os.close(end)

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def until(self, text: str) -> None:
        """Wait until it is said; what was said before it is forgotten."""
        end = time.monotonic() + 30
        while text.encode() not in self.seen:
            assert time.monotonic() < end, (text, self.seen)
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 65_536)
        self.seen = self.seen.partition(text.encode())[2]

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def hang_up(self) -> int:
        """Take the terminal away; the exit code."""
        for end in (self.theirs, self.ours):
            os.close(end)
        self.gone = True
        return self.process.wait(20)

    def left(self) -> int:
        """The exit code; the terminal is as it was."""
        self.until("\x1b[?1049l")
        code = self.process.wait(20)
        assert termios.tcgetattr(self.theirs) == self.before
        return code


def test_at_a_terminal_it_lives_kicks_and_leaves_all_as_it_was(site: Site) -> None:
    with site.device("seat/1") as device, Seated(site.url) as seated:
        seated.until("\x1b[?1049h")
        seated.until("seat/1")
        seated.press("k")
        seated.until("End the connection of seat/1? y/N")
        seated.press("y")
        assert device.ended()
        seated.until("The connection of seat/1 has ended.")
        seated.resize(10, 40)
        seated.process.send_signal(signal.SIGWINCH)
        seated.press("?")
        seated.until("Keys of broker top")
        seated.press("xq")
        assert seated.left() == 0


def test_ctrl_c_leaves_all_as_it_was(site: Site) -> None:
    with Seated(site.url) as seated:
        seated.until("by queue messages")
        seated.process.send_signal(signal.SIGINT)
        assert seated.left() == 130


def test_a_terminal_that_goes_away_ends_it_with_a_line_at_most(site: Site) -> None:
    with Seated(site.url) as seated:
        seated.until("by queue messages")
        assert seated.hang_up() in (0, 1)
        assert seated.complaints is not None
        assert b"Traceback" not in seated.complaints.read()
