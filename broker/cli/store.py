"""`broker store`: what is in a data folder, whether it is whole, and what to do where it is not.

Only the database's library is imported here, and no broker is started. PATH is the data folder or a database file. Data
goes to stdout, what is said meanwhile to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from broker.cli.errors import FAILURE, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN: Final = 20  # findings that `check` prints

_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["--help", "-h"], "max_content_width": 100}
_PATH = click.argument("path", type=click.Path(path_type=Path), metavar="PATH")
_INTO = click.option(
    "--into", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The new data folder."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for people.")


@click.group(
    context_settings=_SETTINGS,
    epilog="""\b
Examples:
  broker store info /var/lib/triomq
  broker store backup /var/lib/triomq --into /backup/monday      (also while the broker runs)
  broker store check /backup/monday && broker serve --data /backup/monday

\b
A broker refuses to start and names a damaged file?
  broker store check /var/lib/triomq                             (all that is damaged, with its place)
  broker store salvage /var/lib/triomq --into /var/lib/triomq-2  (what is good, in a new folder)
  broker serve --data /var/lib/triomq-2

\b
Exit codes: 0 done, 1 failure: damaged, in use, or not to be read or written, 2 usage, 130 Ctrl-C.
""",
)
def store() -> None:
    """Look into the data folder of `broker serve --data`: check, copy, compact and rescue it.

    PATH is that folder, or a database file in it.
    """


@store.command(context_settings=_SETTINGS, short_help="Read all of it and name what is damaged.")
@_PATH
@_JSON
def check(path: Path, as_json: bool) -> None:
    """Read all of the store and name what is damaged: the file, the byte at which the page begins, table and row.

    The structure of the database, each record's checksum, that no row is missing, that what belongs together is there.
    Beside a running broker it checks the last commit, but not the log's file.

    Exit code 0: whole. 1: damaged, or no store.
    """
    from broker.store import inspection

    with _told():
        found = inspection.check(inspection.locate(path))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "whole": not found.findings,
                    "live": found.live,
                    "rows": found.rows,
                    "left_over": found.left_over,
                    "findings": [
                        finding._asdict() | {"byte": finding.byte if finding.byte >= 0 else None}
                        for finding in found.findings
                    ],
                }
            )
        )
    else:
        for finding in found.findings[:SHOWN]:
            click.echo(str(finding))
        if len(found.findings) > SHOWN:
            click.echo(f"and {len(found.findings) - SHOWN} more (--json has them)")
        rows = ", ".join(f"{count} {name}" for name, count in found.rows.items())
        live = " A broker is using it; its log was not looked at." if found.live else ""
        click.echo(f"{'Damaged' if found.findings else 'Whole'}: {rows} are good.{live}")
        if found.findings:
            click.echo("`broker store salvage` puts what is good into a new folder.", err=True)
    if found.findings:
        click.get_current_context().exit(FAILURE)


@store.command(context_settings=_SETTINGS, short_help="Say how much is in it, and for whom.")
@_PATH
@click.option("-n", "--sessions", "most", type=click.IntRange(0), default=10, show_default=True, metavar="N")
@_JSON
def info(path: Path, most: int, as_json: bool) -> None:
    """Say how large the store is, what is in it, and which Sessions have the longest queues.

    It may be asked beside a running broker: what is told is the last commit.
    """
    from broker.store import inspection, telling

    with _told():
        found = telling.info(inspection.locate(path), most)
    if as_json:
        click.echo(json.dumps(found))
        return
    sizes = found["sizes"]
    click.echo(f"{found['database']}: format {found['format']}, {found['commits']} commits")
    click.echo(
        f"  {_bytes(sizes['database'])} ({_bytes(sizes['free'])} of it free), and a log of {_bytes(sizes['log'])}; "
        f"{'closed in order' if found['closed'] else 'in use, or ended by a kill or a power cut'}"
    )
    for name, (rows, size) in found["tables"].items():
        click.echo(f"  {name:<14} {rows:>10}  {_bytes(size):>10}")
    oldest = found["oldest_message"]
    if oldest:
        click.echo(f"  the oldest message that waits: {oldest['topic']!r}, {_bytes(oldest['bytes'])}")
    if found["sessions"]:
        click.echo(f"  {'waiting':>10}  {'bytes':>10}  Session")
    for session in found["sessions"]:
        away = _ago(session["away_since"], found["store_time"])
        click.echo(
            f"  {session['messages']:>10}  {_bytes(session['bytes']):>10}  {session['client_identifier']!r} ({away})"
        )
    if found["more_sessions"]:
        click.echo(f"  and {found['more_sessions']} Sessions more (-n)")


@store.command(
    context_settings=_SETTINGS,
    short_help="Write all of it as JSON Lines.",
    epilog="""\b
Each line is an object with a `type`; null is never, or none. Times are seconds since 1970 by the store's clock.
  store         format, commits, store_time
  session       client_identifier, principal (who it belongs to, "" for nobody), expiry_interval (s), away_since,
                will, will_at; `will` has topic, payload, qos, retain, delay_interval (s),
                message_expiry_interval (s), properties
  subscription  session (a Client Identifier), topic_filter ($share included), maximum_qos, no_local,
                retain_as_published, identifier (0 = none), overflow
  queued        session, row (the order), message (the same for all queues that it waits in), topic, payload, qos,
                retain, expires_at, properties, granted_qos, packet_identifier (0 = not sent yet),
                subscription_identifiers, shared ($share/group/filter, where it came by one)
  exchange      session, packet_identifier, incoming (true: PUBREL is awaited; false: PUBCOMP is)
  retained      row, topic, payload, qos, retain, expires_at, properties
`payload` is text; where it is not UTF-8, `payload_base64` stands there instead. `properties` may have
payload_format_indicator, content_type, response_topic, correlation_data_base64, user_properties ([name, value] each).

\b
Examples:
  broker store export /var/lib/triomq | jq -r 'select(.type == "retained") | .topic'
  broker store export /var/lib/triomq -o store.jsonl
""",
)
@_PATH
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="To a file, not stdout."
)
def export(path: Path, output: Path | None) -> None:
    """Write all that is in the store as JSON Lines, to stdout or a new file.

    It may run beside a broker: what is written is one commit, whatever happens meanwhile.
    """
    from broker.store import inspection, telling

    with _told(), _writing(output) as file:
        for told in telling.export(inspection.locate(path)):
            file.write(json.dumps(told) + "\n")


@store.command(context_settings=_SETTINGS, short_help="Give free space back to the disk.")
@_PATH
def compact(path: Path) -> None:
    """Give the free space in the files back to the disk. The broker must be stopped; a running one does so by itself.

    It takes as much room again as the store while it works. Ended early, it leaves the store as it was.
    """
    from broker.store import inspection, upkeep

    with _told():
        before, after = upkeep.compact(inspection.locate(path))
    click.echo(f"{_bytes(before)} before, {_bytes(after)} after")


@store.command(context_settings=_SETTINGS, short_help="Copy it into a new folder, also while the broker runs.")
@_PATH
@_INTO
def backup(path: Path, into: Path) -> None:
    """Copy the store as its last commit left it into a new data folder, whether a broker uses it or not.

    A folder that is copied file by file while a broker runs is none: its files are of different moments.
    """
    from broker.store import inspection, upkeep

    with _told():
        size = upkeep.backup(inspection.locate(path), into)
    click.echo(f"{into}: {_bytes(size)}; start with it: broker serve --data {into}", err=True)


@store.command(context_settings=_SETTINGS, short_help="Put what is good of a damaged one into a new folder.")
@_PATH
@_INTO
def salvage(path: Path, into: Path) -> None:
    """Put what is good of a damaged store into a new data folder, and say by table what is lost.

    The damaged one is only read, and no broker may use it. Messages that had been delivered may come back where the
    damage has hit the lists of free pages.

    Exit code 0: done, whatever was lost. 1: no new store was made.
    """
    from broker.store import inspection
    from broker.store import salvage as salvaging
    from broker.store.records import TABLE_NAMES

    with _told():
        found = salvaging.salvage(
            inspection.locate(path), into, lambda line: click.echo(line, err=True), wall_time=time.time()
        )
    click.echo(f"{'':<14} {'kept':>10}  {'lost':>10}  of which belong to something lost")
    for table, name in enumerate(TABLE_NAMES):
        lost = found.lost(table)
        words = "unknown" if lost is None else str(lost)
        click.echo(f"{name:<14} {found.kept[table]:>10}  {words:>10}  {found.dangling[table]:>10}")
    if found.lost_commits:
        click.echo(f"The newest {found.lost_commits} commits are lost with the log: what they brought is not counted.")
    click.echo(f"Start with it: broker serve --data {into}", err=True)


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with a store, as click tells it."""
    from broker.store.folder import StoreError

    try:
        yield
    except StoreError as error:
        raise Failure(str(error)) from error


@contextmanager
def _writing(output: Path | None) -> Iterator[IO[str]]:
    """stdout, or a file that is there when it is whole and not before."""
    if output is None:
        yield sys.stdout
        return
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        try:
            with unfinished.open("x", encoding="utf-8") as file:
                yield file
            unfinished.rename(output)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise Failure(f"{output}: {error.strerror or error}") from error


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def _ago(away_since: float | None, now: float) -> str:
    if away_since is None:
        return "connected when it was written"
    seconds = max(0, int(now - away_since))
    days, rest = divmod(seconds, 86_400)
    return f"away for {f'{days} d ' if days else ''}{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
