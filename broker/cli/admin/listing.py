"""Items of the API as a table of text or as JSON.

At a terminal a line is cut to its width; anywhere else it is whole. What a Client named itself, or put into a topic, is
shown so that it cannot move the cursor.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from broker.cli.payloads import legible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.cli.admin.api import Item

_STEPS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class Column(NamedTuple):
    """`show` makes the text of a cell. An `optional` one is left out where no item has a text for it."""

    title: str
    show: Callable[[Item], str]
    right: bool = False
    optional: bool = False


def shown(value: Any) -> str:
    """One value as the text of a cell; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return one_line(str(value))


def one_line(text: str) -> str:
    return legible(text).replace("\t", "\\t").replace("\n", "\\n")


def field(name: str) -> Callable[[Item], str]:
    """Shows the member of this name."""
    return lambda item: shown(item.get(name))


def lines(columns: Sequence[Column], items: Sequence[Item]) -> list[str]:
    """A head and a line for each item, aligned by the cells that a terminal gives to each character."""
    from rich.cells import cell_len

    rows = [[column.show(item) for column in columns] for item in items]
    kept = [place for place, column in enumerate(columns) if not column.optional or any(row[place] for row in rows)]
    grid = [[columns[place].title for place in kept], *([row[place] for place in kept] for row in rows)]
    widths = [max(cell_len(row[place]) for row in grid) for place in range(len(kept))]

    def line(row: list[str]) -> str:
        cells = []
        for place, width, text in zip(kept, widths, row, strict=True):
            gap = " " * (width - cell_len(text))
            cells.append(gap + text if columns[place].right else text + gap)
        return "  ".join(cells).rstrip()

    return [line(row) for row in grid]


def fit(text: str, width: int) -> str:
    """`text` in at most so many cells."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def say(text: str) -> None:
    """A line on stdout."""
    if sys.stdout.isatty():
        import shutil

        text = fit(text, shutil.get_terminal_size().columns)
    click.echo(text)


def show(output: str, columns: Sequence[Column], items: Sequence[Item], nothing: str) -> None:
    """The items as the option -o says; `nothing` is what to say on stderr where there are none."""
    if output == "json":
        document(items)
    elif items:
        for line in lines(columns, items):
            say(line)
    else:
        click.echo(nothing, err=True)


def document(value: object) -> None:
    """One document of JSON; a list has a line for each item."""
    if isinstance(value, list) and value:
        click.echo("[\n" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in value) + "\n]")
    else:
        click.echo(json.dumps(value, ensure_ascii=False))


def members(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and texts, one below the other; those without a text are left out."""
    kept = [(name, text) for name, text in pairs if text]
    width = max((len(name) for name, _ in kept), default=0)
    for name, text in kept:
        say(f"{name:<{width}}  {text}")


def span(seconds: float) -> str:
    """A time in its two largest units: 45s, 3m 5s, 2h 10m."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in _STEPS:
        count, left = divmod(left, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count}{unit}")
        if len(parts) == 2:
            break
    return " ".join(part for place, part in enumerate(parts) if not place or part[0] != "0") or "0s"


def size(count: float) -> str:
    """So many bytes."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
