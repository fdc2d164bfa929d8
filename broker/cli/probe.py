"""`broker probe`: puts any MQTT broker to the test as a client, and says what is wrong and why."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.connecting import target, tls_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.cli.connecting import Target
    from broker.probe.machine import Result
    from broker.probe.subject import Subject
    from broker.probe.verdict import Verdict

NAME_WIDTH: Final = 25
OUTCOME_WIDTH: Final = 8
WORTH_TELLING: Final = 0.0005  # seconds: less is no time of the network
SHORTEST: Final = 0.1  # seconds, of --timeout
LONGEST: Final = 30.0
UNBROKEN: Final = "\xa0"  # a space at which textwrap does not break
COLOURS: Final = {"ok": "green", "no": "yellow", "wrong": "red", "skipped": "bright_black"}
INDENT: Final = " " * (OUTCOME_WIDTH + NAME_WIDTH + 2)


def _seconds(_: click.Context, __: click.Parameter, value: float) -> float:
    """click's range lets NaN through."""
    if not SHORTEST <= value <= LONGEST:
        raise click.BadParameter(f"{value:g} is no number of seconds from {SHORTEST:g} to {LONGEST:g}.")
    return value


@click.command(
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    epilog="""\b
Examples:
  broker probe mqtt://test.example
  broker probe ws://127.0.0.1:8080/mqtt --only websocket
  broker probe mqtt://test.example -u meter --password-file secret -t site/meter
  broker probe mqtt://test.example --json | jq '.checks[] | select(.outcome == "wrong")'

\b
Exit codes: 0 all is well, 1 something is wrong, 2 usage, 4 cannot connect, 5 refused, 130 Ctrl-C.
""",
)
@click.argument("url", required=False)
@click.option("-u", "--username", metavar="NAME", envvar="BROKER_USERNAME")
@click.option("-P", "--pw", metavar="PASSWORD", help="Others see it in the process list; better --password-file.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@tls_options
@click.option("-I", "--id-prefix", metavar="PREFIX", help="What Client Identifiers begin with.  [default: probe]")
@click.option("-t", "--topic", metavar="TOPIC", help="Publish below this topic.  [default: triomq-probe]")
@click.option("--only", multiple=True, metavar="CHECK", help="Ask this, or this group; may be repeated: see --list.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave this out, or this group; may be repeated.")
@click.option("--list", "wants_list", is_flag=True, help="Say which checks there are.")
@click.option("--json", "as_json", is_flag=True, help="One object of JSON at the end, instead of lines.")
@click.option(
    "--timeout",
    type=float,
    callback=_seconds,
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="For each check; a few may take two or three times as long, and all together twelve times.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    metavar="N",
    help="Checks side by side, each of up to four connections: for brokers that take few.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only what is wrong, and the summary.")
def probe(
    url: str | None,
    username: str | None,
    pw: str | None,
    password_file: Path | None,
    cafile: Path | None,
    cert: Path | None,
    key: Path | None,
    key_password_file: Path | None,
    insecure: bool,
    id_prefix: str | None,
    topic: str | None,
    only: Sequence[str],
    skip: Sequence[str],
    wants_list: bool,
    as_json: bool,
    timeout: float,
    at_once: int,
    quiet: bool,
) -> None:
    """Put the broker at URL to the test, and say what is wrong with it and why.

    URL is mqtt[s]://, ws[s]:// or unix: and defaults to mqtt://127.0.0.1:1883 or $BROKER_URL. Each check ends as ok;
    no: not supported, which is legal; wrong: the standard is broken, with the statement of docs/conformance.md; or
    skipped. All is published below a topic of the probe's own, and taken away at the end.
    """
    if wants_list:
        for line in describe():
            click.echo(line)
        return
    where = target(
        url=url,
        username=username,
        pw=pw,
        password_file=password_file,
        cafile=cafile,
        cert=cert,
        key=key,
        key_password_file=key_password_file,
        insecure=insecure,
        **_NOT_SAID,
    )
    from broker.cli.running import run
    from broker.probe.checks import CHECKS, choose
    from broker.probe.machine import probe as put_to_the_test

    try:
        choice = choose(_split(only), _split(skip))
    except ValueError as error:
        raise click.UsageError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    subject = _subject(where, topic, id_prefix)
    if not any(check.name in choice.wanted and subject.endpoint.scheme in check.schemes for check in CHECKS):
        raise click.UsageError(f"What --only names is not for {subject.endpoint.scheme}: URLs.")
    told = _Lines(quiet=quiet) if not as_json else None
    if told is not None and not quiet:
        click.echo(click.style(str(subject.endpoint), bold=True))

    async def work() -> int:
        try:
            result = await put_to_the_test(
                subject,
                CHECKS,
                choice=choice,
                patience=timeout,
                report=told.verdict if told is not None else _nothing,
                at_once=at_once,
            )
        finally:
            for left in subject.left:
                click.echo(f"Warning: could not be taken away: {left}", err=True)
        if told is not None:
            told.summary(result, subject)
        else:
            click.echo(json.dumps(as_object(result, subject), ensure_ascii=False))
        return _end(result, subject)

    run(work)


# What the options of `pub` and `sub` that make no sense here would be: the probe makes its Clients itself
_NOT_SAID: Final[dict[str, Any]] = {
    "host": None,
    "port": None,
    "unix": None,
    "client_identifier": None,
    "id_prefix": None,
    "keepalive": 60,
    "version": 5,
    "keep_session": False,
    "session_expiry_interval": None,
    "will_topic": None,
    "will_payload": None,
    "will_qos": 0,
    "will_retain": False,
}


def describe() -> list[str]:
    """The checks, by group."""
    from broker.probe.checks import GROUPS

    lines: list[str] = []
    for group in GROUPS:
        lines += [group.name, *[f"  {check.name:<{NAME_WIDTH}}  {check.title}" for check in group.checks]]
    return lines


def as_object(result: Result, subject: Subject) -> dict[str, object]:
    """What `--json` prints."""
    from broker.probe.verdict import Outcome

    checks: list[dict[str, object]] = []
    for verdict in result.verdicts:
        told = dataclasses.asdict(verdict)
        seconds = told.pop("seconds")
        checks.append({**told, "milliseconds": round(seconds * 1000, 3)})
    return {
        "url": str(subject.endpoint),
        "broker": subject.name or None,
        "versions": [f"{version}" for version in _versions(subject)],
        "seconds": round(result.seconds, 3),
        "summary": {outcome.value: result.count(outcome) for outcome in Outcome},
        "left_behind": subject.left,
        "checks": checks,
    }


def _versions(subject: Subject) -> list[str]:
    from broker.probe.peer import VERSION_NAMES

    return [VERSION_NAMES[version] for version in subject.versions]


def _nothing(_: Verdict) -> None:
    """`--json` waits for the end."""


def _split(names: Sequence[str]) -> list[str]:
    """`--only a,b --only c` is three names."""
    return [name.strip() for entry in names for name in entry.split(",") if name.strip()]


def _subject(where: Target, topic: str | None, id_prefix: str | None) -> Subject:
    from broker.client import parse
    from broker.packets.topics import valid_topic_name
    from broker.probe.subject import PREFIX, Subject

    try:
        endpoint = parse(where.url)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    prefix = topic or where.topic or PREFIX
    if not valid_topic_name(prefix) or prefix.startswith("$") or len(prefix.encode()) > 1000:
        raise click.UsageError(
            f"'{prefix[:80]}' is no topic to publish below: no +, # or control characters, no $ first."
        )
    if id_prefix is not None and (not id_prefix.isprintable() or len(id_prefix.encode()) > 1000):
        raise click.UsageError("--id-prefix holds what a Client Identifier may not.")
    password = where.password.encode() if where.password is not None else None
    if password is not None and where.user_name is None:
        raise click.UsageError("A password needs a user name, at the latest with MQTT 3.1.1: -u.")
    try:
        return Subject(
            endpoint,
            user_name=where.user_name,
            password=password,
            prefix=prefix.rstrip("/"),
            identifier_prefix=id_prefix if id_prefix is not None else "probe",
            tls=where.tls,
        )
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


def _end(result: Result, subject: Subject) -> int:
    """The exit code; raises where nothing could be asked."""
    from broker.cli import errors
    from broker.cli.payloads import legible
    from broker.probe.verdict import Outcome

    barrier = result.barrier
    if barrier is not None:
        words = legible(f"{subject.endpoint}: {barrier.text}{'. ' + barrier.advice if barrier.advice else ''}")
        if result.refused:
            raise errors.Refused(f"the broker refused: {words}")
        if barrier.name == "permission":
            return errors.FAILURE
        raise errors.CannotConnect(f"cannot connect: {words}")
    return errors.FAILURE if result.count(Outcome.WRONG) else 0


class _Lines:
    """Prints verdicts for people; what was left out for one and the same reason is counted in one line."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._group = ""
        self._width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 140))
        self._left_out: dict[str, int] = {}
        self._echo: Callable[[str], None] = click.echo

    def verdict(self, verdict: Verdict) -> None:
        from broker.cli.payloads import legible

        outcome = verdict.outcome.value
        if outcome != "wrong" and self._quiet:
            return
        if verdict.because not in ("", "version"):
            self._left_out[verdict.text] = self._left_out.get(verdict.text, 0) + 1
            return
        if verdict.group != self._group and not self._quiet:
            self._group = verdict.group
            self._echo(click.style(verdict.group, bold=True))
        head = f"{click.style(f'{outcome:<{OUTCOME_WIDTH}}', fg=COLOURS[outcome])}{verdict.name:<{NAME_WIDTH}}  "
        text = legible(verdict.text)
        if verdict.seconds >= WORTH_TELLING:
            text += f"  ({_duration(verdict.seconds)})"
        self._echo(head + self._wrapped(text))
        if verdict.expected:
            words = f"expected: {verdict.expected}"
            if verdict.statement:
                words += f" ({verdict.statement})"
            self._echo(INDENT + self._wrapped(legible(words)))
        elif verdict.statement:
            self._echo(INDENT + verdict.statement)
        if verdict.advice:
            self._echo(INDENT + self._wrapped(legible(verdict.advice)))
        sys.stdout.flush()

    def summary(self, result: Result, subject: Subject) -> None:
        from broker.probe.verdict import Outcome

        for why, count in self._left_out.items():
            self._echo(f"{count} more {'check was' if count == 1 else 'checks were'} left out: {why}")
        wrong = [verdict.name for verdict in result.verdicts if verdict.outcome is Outcome.WRONG]
        which = {Outcome.WRONG: f" ({', '.join(wrong)})" if wrong else ""}
        counts = ", ".join(f"{result.count(one)} {one.value}{which.get(one, '')}" for one in Outcome)
        name = f"{subject.name}: " if subject.name else ""
        colour = "red" if wrong or result.barrier is not None else "green"
        self._echo(click.style(f"{name}{counts}, in {result.seconds:.1f} s", fg=colour, bold=True))

    def _wrapped(self, text: str) -> str:
        room = self._width - len(INDENT)
        lines = textwrap.wrap(text, room, break_on_hyphens=False)
        return f"\n{INDENT}".join(lines).replace(UNBROKEN, " ")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f}{UNBROKEN}ms" if seconds < 1 else f"{seconds:.1f}{UNBROKEN}s"
