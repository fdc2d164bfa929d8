"""What a run leaves: the summary, the files that were asked for, and whether a --fail-if condition held.

stdout is for one of them: where JSON or CSV goes there, the summary goes to stderr.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.bench import conditions
from broker.bench.environment import command_line, gather
from broker.bench.results import to_csv, to_json
from broker.bench.tables import text_of
from broker.cli import errors, version_text
from broker.cli.bench.options import STDOUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.bench.comparison import Comparison
    from broker.bench.environment import Environment
    from broker.bench.results import Results
    from broker.cli.bench.workloads import Place

CONDITION_HELD: Final = 3
WIDE: Final = 160  # characters of a line in a file
_USER_INFORMATION: Final = re.compile(r"//([^/]*)@")


class Report:
    """What becomes of the results; made before the run, so that what cannot be done is refused then.

    Raises click.UsageError for a condition that nobody can judge, and for two things that want stdout.
    """

    def __init__(self, options: Mapping[str, Any], places: Sequence[Place], labels: Sequence[str] = ()) -> None:
        self.json_file: str | None = options["json_file"]
        self.csv_file: str | None = options["csv_file"]
        try:
            self.conditions = [conditions.parse(text, tuple(labels)) for text in options["conditions"]]
        except conditions.BadCondition as error:
            raise click.UsageError(f"--fail-if {error}") from error
        self.html_file: str | None = options.get("html_file")
        if self.html_file is not None:
            from broker.bench.drawing import ChartsMissing
            from broker.bench.page import check

            try:
                check()
            except ChartsMissing as error:
                raise click.UsageError(str(error)) from error
        taken = [name for name in ("json_file", "csv_file", "html_file") if options.get(name) == STDOUT]
        if len(taken) > 1:
            both = " and ".join(f"--{name.removesuffix('_file')}" for name in taken)
            raise click.UsageError(f"{both} cannot all go to stdout: give each a file, but for one.")
        self._stream = sys.stderr if taken else sys.stdout
        self.environment = environment(places, options.get("pw"))

    def say(self, lines: Sequence[str]) -> None:
        """Print the summary."""
        click.echo("\n".join(lines), file=self._stream)

    def show(self, results: Results) -> None:
        """Print a comparison; where nobody watches, as wide as it is."""
        from rich.console import Console

        if self._stream.isatty():
            Console(file=self._stream).print(text_of(results))
            return
        console = Console(file=io.StringIO(), width=WIDE)
        with console.capture() as captured:
            console.print(text_of(results))
        self.say([line.rstrip() for line in captured.get().splitlines()])

    def write(self, results: Results) -> None:
        """Write what was asked for; Failure where a file cannot be written."""
        if self.json_file is not None:
            write(self.json_file, to_json(results))
        if self.csv_file is not None:
            write(self.csv_file, to_csv(results))
        if self.html_file is not None:
            from broker.bench.page import render

            write(self.html_file, render(results))

    def judge(self, comparisons: Sequence[Comparison]) -> int:
        """The exit code that the conditions call for; those that hold are told, and those that nobody can judge."""
        held = unknown = False
        for condition in self.conditions:
            verdicts = [verdict for each in comparisons for verdict in conditions.judge(condition, each)]
            for verdict in verdicts:
                if verdict.holds or verdict.value is None:
                    click.echo(f"--fail-if {verdict}", file=sys.stderr)
            held = held or any(verdict.holds for verdict in verdicts)
            unknown = unknown or any(verdict.value is None for verdict in verdicts)
        if held:
            return CONDITION_HELD
        return errors.FAILURE if unknown else 0


def environment(places: Sequence[Place], password: str | None) -> Environment:
    """Machine, software and command line, without passwords."""
    secret = [password, *(place.password for place in places)]
    for word in sys.argv[1:]:
        user = _USER_INFORMATION.search(word)
        if user is not None:
            secret.append(user[1].partition(":")[2])
    return gather(version_text(), command_line(["broker", *sys.argv[1:]], [each for each in secret if each]))


def write(file: str, text: str) -> None:
    """To a file, or stdout for `-`. Failure where that cannot be done."""
    try:
        if file == STDOUT:
            click.echo(text, nl=False)
        else:
            Path(file).write_text(text, "utf-8")
    except OSError as error:
        raise errors.Failure(f"'{file}' could not be written: {error.strerror}.") from error
