"""What is wrong with a configuration, said so that a person can mend it.

A mistake has a place (a file with line and column, an environment variable, a `--bind`), a sentence, the source line
with a caret, and where there is one a remedy. `ConfigError` carries all of them at once: nobody should have to start
the broker five times to learn of five mistakes.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.config.positions import Loc


# What may be a secret in a line of a file: a user and password in a URL, and the value of a key that is called like one
# and names no file. No setting holds a secret, but people try, and what is said goes into logs.
_IN_URL: Final = re.compile(r"(?<=://)[^\s\"']*(?=@)")
_OF_KEY: Final = re.compile(
    r"(\b[\w-]*(?:password|passwd|secret|token|authorization|credential)[\w-]*\b(?<!_file)(?<!_cache)[\"']?\s*=\s*)"
    r"(\"[^\"]*|'[^']*|[^\s,#}\]]+)",
    re.IGNORECASE,
)


class Mistake(NamedTuple):
    """One thing to mend. `where` begins the line; `excerpt` and `remedy` may be empty and may have several lines."""

    where: str
    message: str
    excerpt: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        first = f"{self.where}: {self.message}" if self.where else self.message
        return "\n".join(part for part in (first, indent(self.excerpt), self.remedy) if part)


class ConfigError(Exception):
    """The configuration cannot be used. `str()` of it is the whole list, one paragraph a mistake."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class Cure(NamedTuple):
    """A setting that would mend a problem: "to let in everybody", its path, its value as TOML writes it."""

    purpose: str
    loc: Loc
    value: str


class Problem(NamedTuple):
    """A mistake that only shows when settings are seen together; all paths in `involves` have a part in it."""

    involves: tuple[Loc, ...]
    message: str
    cures: tuple[Cure, ...] = ()


def dotted(loc: Loc) -> str:
    """("listeners", 0, "port") -> "listeners[0].port"."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def veiled(line: str) -> str:
    """A line of a file, with an asterisk for each character of what may be a secret."""

    def value(found: re.Match[str]) -> str:
        first = found[2][0]
        quote = first if first in "\"'" else ""
        return found[1] + quote + "*" * (len(found[2]) - len(quote))

    return _OF_KEY.sub(value, _IN_URL.sub(lambda found: "*" * len(found[0]), line))


def indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n")) if text else ""


def shown(value: object) -> str:
    """A value as TOML or JSON would write it."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return str(value)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a person who wrote `name` probably meant."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), list(candidates), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """The end of a sentence: "; did you mean 'port'?", or nothing."""
    near = nearest(name, candidates)
    return f"; did you mean '{near}'?" if near else ""
