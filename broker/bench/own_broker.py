"""A broker of our own for one comparison: a child process on free ports, with the settings that ship.

It is ended in every case: when the block is left, when it is cancelled, when it does not end by itself; and it ends
itself when we are gone without a word, which it knows by its stdin. `broker health` and `broker reload` do not find it:
they ask for the broker that others use. Settings in the environment (`BROKER_...`) are kept from it, as a report should
say the same on every machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

import trio

from broker.bench.comparison import Subject, subjects_of
from broker.bench.errors import BenchError
from broker.bench.processes import pin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

BINDS: Final = ("tcp://127.0.0.1:0", "ws://127.0.0.1:0/mqtt")
_START: Final = 20.0  # seconds until it must listen
_LOOK_AGAIN: Final = 0.02  # seconds
_STOP: Final = 5.0  # seconds until it is killed
_WATCHED: Final = """
import os, signal, threading

def watch():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=watch, daemon=True).start()
from broker.cli import beacon, main
beacon.NAME = "triomq-bench"
main()
"""
_SOURCE: Final = Path(__file__).parents[2]  # this program's, wherever the child is started


@dataclass(frozen=True, slots=True)
class OwnBroker:
    """`urls` in the order of the binds."""

    pid: int
    urls: tuple[str, ...]

    def subjects(self) -> list[Subject]:
        """`tcp` and `ws`, or whatever it listens on."""
        return subjects_of(self.urls, pids=[self.pid] * len(self.urls))


@asynccontextmanager
async def own_broker(
    binds: Sequence[str] = BINDS, *, cpu: int | None = None, command: Sequence[str] | None = None
) -> AsyncIterator[OwnBroker]:
    """Run a broker as long as the block lasts, bound to one CPU where `cpu` says so.

    BenchError, with what it said last, where it does not come to listen; ValueError for a CPU that cannot be had.
    """
    started = command or (sys.executable, "-P", "-c", _WATCHED)
    arguments = [*started, "serve", "--log-level", "info", "--log-format", "json"]
    for bind in binds:
        arguments += ["--bind", bind]
    with TemporaryFile() as log:  # a pipe would have to be read for as long as it runs
        process = await trio.lowlevel.open_process(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_environment(os.environ),
            start_new_session=True,  # Ctrl-C is for us to hear: we end it
        )
        try:
            if cpu is not None:
                pin(process.pid, {cpu})
            yield OwnBroker(process.pid, await _urls(process, log, len(binds)))
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)


async def _urls(process: trio.Process, log: IO[bytes], count: int) -> tuple[str, ...]:
    """Where it listens, as soon as it does."""
    for _ in range(round(_START / _LOOK_AGAIN)):
        ended = process.poll() is not None
        log.seek(0)
        urls, last = read_log(log.read().decode(errors="replace"))
        if len(urls) == count:
            return urls
        if ended:
            break
        await trio.sleep(_LOOK_AGAIN)
    raise BenchError(f"a broker of our own did not start: {last or 'it said nothing'}")


def read_log(text: str) -> tuple[tuple[str, ...], str]:
    """The URLs that a broker's log in JSON tells, and what it says last."""
    urls: list[str] = []
    last = ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            last = str(entry["message"])
            if last == "listening":
                urls.append(str(entry["url"]))
        except (ValueError, TypeError, KeyError):
            last = line.strip() or last
    return tuple(urls), last


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if not name.startswith("BROKER_")}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_SOURCE), environment.get("PYTHONPATH", ""))))
    return kept


async def _end(process: trio.Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(_STOP):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
