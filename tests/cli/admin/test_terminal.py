"""Keys, and a terminal that is left as it was."""

from __future__ import annotations

import os
import pty
import signal
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from broker.cli.admin.terminal import Terminal, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("aü", ["a", "ü"]),
        ("\x1b", ["escape"]),
        ("\x1b[A\x1bOB", ["up", "down"]),
        ("\x1b[5~x\x1b[6~", ["pgup", "x", "pgdn"]),
        ("\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
        ("\x1b[1;5Dq", ["q"]),
        ("\x1b[", []),
        ("\x1b[12", []),
        ("\x1bx", ["escape", "x"]),
        ("", []),
    ],
)
def test_keys(text: str, keys: list[str]) -> None:
    assert keys_of(text) == keys


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Two ends of a terminal; the second is stdin."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours, theirs
    os.close(ours)


def test_keys_are_heard_as_they_are_pressed_and_all_is_as_it_was(keyboard: tuple[int, int]) -> None:
    ours, theirs = keyboard
    before = termios.tcgetattr(theirs)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGTSTP, signal.SIGWINCH)]
    with Terminal() as terminal:
        assert termios.tcgetattr(theirs) != before
        os.write(ours, "ä\x1b[A".encode())
        assert terminal.wait(5) == ["ä", "up"]
        assert terminal.wait(0) == []
        terminal.wake()
        assert terminal.wait(5) == []
        os.kill(os.getpid(), signal.SIGWINCH)
        assert terminal.wait(5) == []
        assert [terminal.ending, terminal.stopping] == [0, False]
        os.kill(os.getpid(), signal.SIGTSTP)
        assert terminal.wait(5) == []
        assert terminal.stopping
        os.kill(os.getpid(), signal.SIGTERM)
        assert terminal.wait(5) == []
        assert int(signal.SIGTERM) == terminal.ending
    assert termios.tcgetattr(theirs) == before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGTSTP, signal.SIGWINCH)] == handlers


def test_it_is_as_it_was_behind_an_error(keyboard: tuple[int, int]) -> None:
    before = termios.tcgetattr(keyboard[1])
    with pytest.raises(KeyboardInterrupt), Terminal():
        raise KeyboardInterrupt
    assert termios.tcgetattr(keyboard[1]) == before


def test_a_terminal_that_is_gone_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Terminal() as terminal:
            os.close(ours)
            assert terminal.wait(5) == ["q"]
