"""What a check finds, as values.

A check returns what it saw, in a few words, when all is well, and raises a `Finding` when not: `Lacking` where the
Server refuses or leaves out what the standard lets it, `Wrong` where it breaks the standard, `Skipped` where nothing
can be said. The machine makes a `Verdict` of either.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from broker.packets.types import MQTT_5_0


class Outcome(StrEnum):
    OK = "ok"
    NO = "no"
    WRONG = "wrong"
    SKIPPED = "skipped"


class Finding(Exception):
    """`text` is what was seen, `expected` what should have been, `statement` who says so, `advice` what to do."""

    outcome: ClassVar[Outcome]

    def __init__(self, text: str, *, expected: str = "", statement: str = "", advice: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.expected = expected
        self.statement = statement
        self.advice = advice


class Lacking(Finding):
    """The Server does without, and may."""

    outcome = Outcome.NO


class Wrong(Finding):
    """The Server does not do what it must, or cannot be used at all."""

    outcome = Outcome.WRONG


class Skipped(Finding):
    """There was no way to tell."""

    outcome = Outcome.SKIPPED


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one check went; `statement` is an id of `docs/conformance.md`, or a section, where something is wrong."""

    name: str
    group: str
    title: str
    outcome: Outcome
    text: str
    expected: str = ""
    statement: str = ""
    advice: str = ""
    seconds: float = 0.0
    because: str = ""  # what kept it from being asked: the name of a check, "version", "gone" or "time"


def statement_for(version: int, statements: tuple[str, ...]) -> str:
    """That of `statements` which binds a Server that speaks `version`: 3.1 is judged by 3.1.1, which explains it."""
    own = "MQTT5" if version == MQTT_5_0 else "MQTT311"
    for statement in statements:
        if statement.startswith((own, "RFC")):
            return statement
    return statements[0] if statements else ""
