"""The terminal while `broker top` has it: keys as they are pressed, and everything as it was at the end.

Ctrl-C stays a signal. One pipe wakes whoever waits: signals write into it, and so does whoever has something to tell.
"""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_NAMED: Final = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[5~": "pgup",
    "\x1b[6~": "pgdn",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x04": "q",
}


def keys_of(text: str) -> list[str]:
    """The keys that a terminal says in this text: a character each, or a name. Sequences of no use are left out."""
    found: list[str] = []
    place = 0
    while place < len(text):
        if text[place] != "\x1b":
            found.append(_NAMED.get(text[place], text[place]))
            place += 1
            continue
        end = place + 1
        if text[end : end + 1] in ("[", "O"):
            end += 1
            while end < len(text) and not "@" <= text[end] <= "~":
                end += 1
            end += 1
            found += filter(None, (_NAMED.get(text[place:end], ""),))
        else:
            found.append("escape")
        place = end
    return found


class Terminal:
    """Use it in a `with`, on the main thread. `ending` is the signal that ends us, `stopping` that we are to rest."""

    def __init__(self) -> None:
        self.ending = 0
        self.stopping = False
        self._input = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._attributes = termios.tcgetattr(self._input)
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGTSTP, signal.SIGWINCH):
            self._before[number] = signal.signal(number, self._heard)
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._reading)
        os.close(self._writing)

    def take(self) -> None:
        """Hear each key, and show none."""
        with suppress(termios.error):
            tty.setcbreak(self._input, termios.TCSADRAIN)

    def give_back(self) -> None:
        """Leave it as it was found."""
        with suppress(termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._attributes)

    def wake(self) -> None:
        """Let whoever waits go on; from any thread."""
        with suppress(OSError):
            os.write(self._writing, b"\0")

    def wait(self, seconds: float) -> list[str]:
        """The keys that were pressed; none where the time is up, a signal came or somebody said `wake`."""
        ready, _, _ = select.select([self._input, self._reading], [], [], max(0.0, seconds))
        if self._reading in ready:
            with suppress(BlockingIOError):
                os.read(self._reading, 4096)
        if self._input not in ready:
            return []
        try:
            data = os.read(self._input, 1024)
        except OSError:  # the terminal is gone
            data = b""
        return keys_of(self._decoder.decode(data)) if data else ["q"]

    def _heard(self, number: int, _: FrameType | None) -> None:
        if number in ENDING:
            self.ending = number
        elif number == signal.SIGTSTP:
            self.stopping = True
