"""`broker reload`: have a running broker read its configuration again, and say what came of it.

Which process that is, and what became of the reload, the broker itself tells (`broker.cli.beacon`): no process is
signalled that is no broker, and nothing is called done before it is.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broker.cli.errors import TIME_IS_UP, ConfigurationMistake, Failure

if TYPE_CHECKING:
    from broker.cli.beacon import Told

LOOK: Final = 0.02  # seconds between two looks at what the broker says


class TimeIsUp(click.ClickException):
    """The broker has not said yet what became of it."""

    exit_code = TIME_IS_UP


@click.command(
    epilog="""\b
Examples:
  broker reload                            (the one broker that runs here)
  broker reload -c /etc/triomq/broker.toml
  broker reload --data /var/lib/triomq
  broker reload --pid "$(cat /run/triomq.pid)"

\b
It is SIGHUP, whose outcome is waited for. The broker reads its file, environment variables and options again, and all
files that they name: certificates, keys, users. With a single mistake in them everything stays as it is. Present
connections go on in either case; what needs a restart is named.

\b
Exit codes: 0 taken over, 1 no such broker, or it has ended, 2 there are mistakes, which are named, and everything is as
it was, 27 no outcome within --timeout. For Linux, and for brokers of the same user; root reaches all. Elsewhere:
kill -HUP, and read the broker's log.
""",
)
@click.option("--pid", type=click.IntRange(1), metavar="N", help="The broker with this process id.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The broker that keeps its data in this folder.",
)
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The broker that was started with this file; it is checked first, as by broker check-config.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the outcome.",
)
def reload(pid: int | None, data: Path | None, path: Path | None, timeout: float) -> None:
    """Have a running broker read its configuration again, and say what came of it."""
    from broker.cli import beacon

    if sys.platform != "linux":
        raise Failure("only Linux lets the outcome be seen; use kill -HUP, and read the broker's log.")
    found = choose(beacon.running() if pid is None else _only(pid), pid, data, path)
    if path is not None:
        _check(path)
    try:
        process = os.pidfd_open(found)
    except ProcessLookupError:
        raise Failure(f"the broker with process id {found} has ended.") from None
    try:
        told = _reload(found, process, timeout)
    finally:
        os.close(process)
    if told.mistakes:
        raise ConfigurationMistake(
            f"the broker with process id {found} goes on as it was, for there are mistakes:\n{plain(told.mistakes)}"
        )
    for change in told.changes:
        click.echo(plain(change))
    for change in told.restart:
        click.echo(plain(change))
    again = "certificates, keys and users are read again"
    click.echo(f"Process {found}: {again}. Settings taken over: {len(told.changes)}.", err=True)
    if told.restart:
        click.echo(f"Settings that need a restart: {len(told.restart)}.", err=True)


def choose(brokers: dict[int, Told], pid: int | None, data: Path | None, path: Path | None) -> int:
    """The process id of the one that is meant. Raises Failure where there is none, UsageError where there are more."""
    wanted = {
        each: told
        for each, told in brokers.items()
        if (data is None or same_file(told.data, data)) and (path is None or same_file(told.config, path))
    }
    if len(wanted) == 1:
        return next(iter(wanted))
    if wanted:
        rows = [
            f"  --pid {each}   {plain(' '.join(one['url'] for one in told.listeners))}" for each, told in wanted.items()
        ]
        raise click.UsageError("Several brokers run here; say which:\n" + "\n".join(rows))
    which = "" if pid is None else f" with process id {pid}"
    which += "" if data is None else f" on data folder {data}"
    which += "" if path is None else f" that was started with {path}"
    whose = "" if os.geteuid() == 0 else " of this user (root sees those of others)"
    raise Failure(f"no running broker{whose} was found{which}. 'broker serve' starts one.")


def plain(text: str) -> str:
    """What another process says, fit for a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else f"\\x{ord(each):02x}" for each in text)


def _only(pid: int) -> dict[int, Told]:
    from broker.cli import beacon

    told = beacon.read(pid)
    return {} if told is None else {pid: told}


def same_file(told: str, path: Path) -> bool:
    """Whether a broker that says `told` means `path`."""
    return bool(told) and os.path.realpath(told) == os.path.realpath(path)


def _check(path: Path) -> None:
    """ConfigurationMistake, and nobody has been signalled."""
    from broker.config import ConfigError, load

    try:
        load(path, os.environ)
    except ConfigError as error:
        raise ConfigurationMistake(f"{error}\nThe broker was not told to reload.") from error


def _reload(pid: int, process: int, timeout: float) -> Told:
    """SIGHUP to the process behind the descriptor `process`; what it says once a reload is done that began later."""
    from broker.cli import beacon

    before = beacon.read(pid)  # of that very process, now that the descriptor holds its id
    if before is None:
        raise Failure(f"the broker with process id {pid} has ended.")
    try:
        signal.pidfd_send_signal(process, signal.SIGHUP)
    except PermissionError:
        raise Failure(f"the broker with process id {pid} may not be signalled by this user.") from None
    except ProcessLookupError:
        raise Failure(f"the broker with process id {pid} has ended.") from None
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        told = beacon.read(pid)
        if told is None:
            raise Failure(f"the broker with process id {pid} ended before it had reloaded; its log says more.")
        if told.done > before.begun:
            return told
        time.sleep(LOOK)
    raise TimeIsUp(f"the broker with process id {pid} has not said within {timeout:g} s what became of the reload.")
