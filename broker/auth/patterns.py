"""Patterns of roles: Topic Filters with places for `%c`, the Client Identifier, and `%u`, the user name.

Laws. No regular expression, no recursion, and no walk that takes more than one pass over its levels. What a Client
chooses never becomes syntax: a name that is empty or holds `+`, `#`, `/`, a control character or a noncharacter fills
no place, and a place at the very beginning is not filled by what begins with `$`. A rule that allows then allows
nothing; a rule that denies then denies everything under the levels before that place.

A level has at most one place. With two, `an` could connect as `nb` and be in `%u%c` whom `ann` is as `b`.
"""

from __future__ import annotations

from typing import Final

from broker.packets.reasons import ProtocolError
from broker.packets.topics import SHARE_PREFIX, check_topic_filter
from broker.packets.wire import holds_disallowed_characters

PLACES: Final = {"c": "Client Identifier", "u": "user name"}


class PatternError(ValueError):
    """A text that is no pattern; the message says what is wrong with it."""


class Extent:
    """The topics that a Topic Filter matches.

    With `everywhere` its wildcards stand for topics that begin with `$` as well, so that what denies `#` denies
    everything. Otherwise those have to be written out [MQTT-4.7.2-1].
    """

    __slots__ = ("_guarded", "_levels", "_open", "text")

    def __init__(self, topic_filter: str, everywhere: bool = False) -> None:
        levels = topic_filter.split("/")
        self.text = topic_filter
        self._guarded = not everywhere and levels[0] in ("+", "#")
        self._open = levels[-1] == "#"
        if self._open:
            levels.pop()
        self._levels = levels

    def holds(self, names: list[str]) -> bool:
        """Whether the topic of these levels is one of them."""
        levels = self._levels
        if len(names) != len(levels) and (not self._open or len(names) < len(levels)):
            return False
        if self._guarded and names[0].startswith("$"):
            return False
        for level, name in zip(levels, names, strict=False):  # a generator in all() takes longer
            if level != name and level != "+":
                break
        else:
            return True
        return False

    def covers(self, asked: list[str]) -> bool:
        """Whether every topic that the Topic Filter of these levels matches is one of them."""
        levels = self._levels
        asked_open = asked[-1] == "#"
        count = len(asked) - asked_open  # of levels that every topic has
        if self._guarded and asked[0].startswith("$"):
            return False
        if count < len(levels):
            # A filter with `#` matches its parent level too, which is shorter; but no topic has no level at all.
            return not count and asked_open and self._open and levels == ["+"]
        if not self._open and (asked_open or count > len(levels)):
            return False
        return all(level in ("+", name) for level, name in zip(levels, asked, strict=False))

    def meets(self, asked: list[str]) -> bool:
        """Whether some topic that the Topic Filter of these levels matches is one of them."""
        levels = self._levels
        asked_open = asked[-1] == "#"
        count = len(asked) - asked_open
        if (count < len(levels) and not asked_open) or (len(levels) < count and not self._open):
            return False
        if self._guarded and asked[0].startswith("$"):
            return False
        if asked[0] in ("+", "#") and self.text.startswith("$"):
            return False
        return all(level in ("+", name) or name in ("+", "#") for level, name in zip(levels, asked, strict=False))


class Pattern:
    """The text of one rule, read once. Raises PatternError."""

    __slots__ = ("_levels", "personal", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # (what stands before the place, "c", "u" or "" for no place, what stands behind it), a level each
        self._levels = [_read_level(level) for level in text.split("/")]
        self.personal = any(place for _, place, _ in self._levels)
        if text.startswith(SHARE_PREFIX):
            raise PatternError("a Shared Subscription is judged by its Topic Filter: leave $share/name/ out")
        if text.startswith("$") and self._levels[0][1]:
            raise PatternError("a first level that begins with $ has to be written out, without %c and %u")
        try:
            check_topic_filter("/".join(f"{before}{place}{behind}" for before, place, behind in self._levels))
        except ProtocolError as error:
            raise PatternError(error.detail) from None

    def fill(self, client_identifier: str, user_name: str, deny: bool = False) -> tuple[Extent | None, str]:
        """The topics that it stands for, for that Client; and why a place could not be filled, or "".

        Then there is no Extent, or with `deny` one of everything under the levels before the place.
        """
        filled: list[str] = []
        for before, place, behind in self._levels:
            if place:
                name = client_identifier if place == "c" else user_name
                fault = misfit(name)
                if not fault and not filled and not before and name.startswith("$"):
                    fault = "begins with '$'"
                if fault:
                    extent = Extent("/".join([*filled, "#"]), True) if deny else None
                    return extent, f"the {PLACES[place]} {fault}"
                filled.append(f"{before}{name}{behind}")
            else:
                filled.append(before)
        return Extent("/".join(filled), deny), ""


def misfit(name: str) -> str:
    """What keeps a name out of a place, in words; "" for one that fits."""
    if not name:
        return "is empty"
    for character in "+#/":
        if character in name:
            return f"holds '{character}'"
    if holds_disallowed_characters(name):
        return "holds a control character or noncharacter"
    return ""


def _read_level(level: str) -> tuple[str, str, str]:
    """Take `%%`, `%c` and `%u` out of one level."""
    if "%" not in level:
        return level, "", ""
    before = ""
    place = ""
    text = ""
    first, *rest = level.split("%%")
    for index, part in enumerate([first, *rest]):
        if index:
            text += "%"
        literal, *marked = part.split("%")
        text += literal
        for piece in marked:
            if piece[:1] not in PLACES:
                raise PatternError(f"%{piece[:1]} stands for nothing: there are %c and %u, and %% for a percent sign")
            if place:
                raise PatternError("a level has at most one place: either %c or %u")
            place = piece[0]
            before = text
            text = piece[1:]
    return (before, place, text) if place else (text, "", "")
