"""Sizes and durations as a person writes them: "64KiB", "1MB", "500ms", "7d".

A plain number is bytes or seconds. kB, MB, GB are powers of 1000, KiB, MiB, GiB powers of 1024; a bare K or M, which
programs read either way, is refused. What `show` writes, `parse` reads back as the same number.
"""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


class Unit:
    """A way of writing one kind of number; `noun` and `example` are for messages."""

    def __init__(self, noun: str, example: str, base: str, factors: dict[str, float]) -> None:
        self.noun = noun
        self.example = example
        self.base = base
        self.factors = factors
        self._spellings = {name.lower(): factor for name, factor in factors.items()}

    @property
    def pattern(self) -> str:
        """A regular expression (ECMA 262, for the JSON schema) of what `parse` takes as a string."""
        names = "|".join("".join(f"[{letter.upper()}{letter.lower()}]" for letter in name) for name in self.factors)
        return rf"^\s*[0-9]+(\.[0-9]+)?\s*({names})?\s*$"

    def parse(self, value: object) -> object:
        """The number that a string stands for; anything but a string comes back as it is. Raises ValueError."""
        if not isinstance(value, str):
            return value
        match = _NUMBER.fullmatch(value)
        factor = self._spellings.get((match[2] or self.base).lower()) if match else None
        if match is None or factor is None:
            raise ValueError(f'must be a {self.noun} such as {self.example}, not "{value}"')
        # Rounded, so that "0.7s" or "1.1kB" does not carry the error of a binary fraction.
        number = round(float(match[1]) * factor, 9)
        return int(number) if number.is_integer() else number

    def show(self, number: float) -> int | float | str:
        """The shortest exact spelling: a string with the greatest unit that divides `number`, else the number."""
        if number:
            for name, factor in sorted(self.factors.items(), key=lambda item: -item[1]):
                count = number / factor
                if count.is_integer():
                    return int(count) if name == "B" else f"{int(count)}{name}"
        return number if number else 0


SIZE: Final = Unit(
    noun="size",
    example='4096, "64KiB" or "1MB"',
    base="B",
    factors={"GiB": 1024.0**3, "MiB": 1024.0**2, "KiB": 1024.0, "GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0},
)

DURATION: Final = Unit(
    noun="duration",
    example='2.5, "500ms", "15s", "10m", "1h" or "7d"',
    base="s",
    factors={"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001},
)
