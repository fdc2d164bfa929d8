"""Leaving the process without taking it apart.

A broker of millions of Topic Filters or messages takes seconds to be freed, object by object, at the end of a process
that the system takes away in one piece anyway. Whatever had to be ended in order has been by then: `serve` has closed
its connections, its sockets and its data folder. So what is told to be kept is never freed: what Python does at its
end (functions of `atexit`, last words on the standard streams) is done, and the process is gone.

That is for a process of its own: where a program or a test runs the command within itself, nothing is kept.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


class Process:
    """This process. `own` says that the command is all that it is for; `kept` are what is not freed at its end."""

    def __init__(self) -> None:
        self.own = False
        self.kept: list[object] = []

    def keep(self, large: object) -> None:
        """Do not free this while the process lives, nor at its end."""
        if self.own:
            self.kept.append(large)

    def leave(self, code: int) -> NoReturn:
        """End the process, with all that is done at its end."""
        if not self.kept:
            sys.exit(code)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(code)


PROCESS = Process()
