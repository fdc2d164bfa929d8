"""Patterns: what they stand for, what a name may do to them, and what a walk costs."""

from __future__ import annotations

import itertools
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.auth.patterns import Extent, Pattern, PatternError, misfit
from broker.packets.topics import STRING_BYTES, matches, valid_topic_filter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# Every topic of up to four levels out of these: enough to tell apart what filters of up to three levels match. The one
# of no character is there as well: a rule is the stricter for it, as `/#` has it as its parent level.
NAMES: Final = ("a", "b", "$x", "")
TOPICS: Final = [
    "/".join(names)
    for depth in range(1, 5)
    for names in itertools.product(NAMES, repeat=depth)
    if "$x" not in names[1:]
]

FILTERS: Final = [
    topic_filter
    for depth in range(4)
    for names in itertools.product(("a", "b", "+", "$x", ""), repeat=depth)
    for last in ((), ("#",))
    if valid_topic_filter(topic_filter := "/".join((*names, *last))) and "$x" not in names[1:]
]
filters = st.sampled_from(FILTERS)

# Names that would widen a rule if they were put into its text as they are
HOSTILE: Final = ("+", "#", "a/b", "/", "", "$share/x", "a+", "#a", "a\0b", "a\nb", "\x7f", "\ufffe")


@cache
def everything(topic_filter: str, everywhere: bool) -> frozenset[str]:
    """By brute force: the topics that an Extent should hold."""
    found = {topic for topic in TOPICS if matches(topic_filter, topic)}
    if everywhere and topic_filter.startswith(("+", "#")):
        found |= {topic for topic in TOPICS if topic.startswith("$") and matches(topic_filter, "a" + topic[2:])}
    return frozenset(found)


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_extent_holds_what_its_filter_matches(everywhere: bool) -> None:
    for topic_filter in FILTERS:
        extent = Extent(topic_filter, everywhere)
        assert {topic for topic in TOPICS if extent.holds(topic.split("/"))} == everything(topic_filter, everywhere)


@pytest.mark.parametrize("everywhere", [False, True])
def test_covering_is_inclusion_and_meeting_is_having_a_topic_in_common(everywhere: bool) -> None:
    assert len(FILTERS) > 150
    for rule in FILTERS:
        extent = Extent(rule, everywhere)
        held = everything(rule, everywhere)
        for asked in FILTERS:
            levels = asked.split("/")
            assert extent.covers(levels) == (everything(asked, False) <= held), (rule, asked)
            assert extent.meets(levels) == bool(everything(asked, False) & held), (rule, asked)


@pytest.mark.parametrize(
    ("allowed", "asked", "covered"),
    [
        ("a/#", "a", True),
        ("a/#", "a/+", True),
        ("a/#", "#", False),
        ("a/+", "a/#", False),
        ("a/+", "a", False),
        ("+/#", "#", True),
        ("a/+/#", "a/#", False),
        ("#", "$SYS/#", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/broker/+", True),
        ("$SYS/#", "#", False),
    ],
)
def test_covering(allowed: str, asked: str, covered: bool) -> None:
    assert Extent(allowed).covers(asked.split("/")) is covered


def test_what_denies_all_denies_topics_with_a_dollar_sign() -> None:
    assert Extent("#", True).holds(["$SYS", "x"])
    assert Extent("#", True).covers(["$SYS", "#"])
    assert Extent("+/x", True).holds(["$SYS", "x"])
    assert not Extent("#").holds(["$SYS", "x"])


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("dev/%c/#", "dev/c1/#"),
        ("dev/%u/+", "dev/ann/+"),
        ("%u", "ann"),
        ("dev/x-%c.json", "dev/x-c1.json"),
        ("%u/%c", "ann/c1"),
        ("100%%/%%c", "100%/%c"),
        ("%%%c%%", "%c1%"),
        ("home/+/t", "home/+/t"),
        ("$app/%c", "$app/c1"),
    ],
)
@pytest.mark.parametrize("deny", [False, True])
def test_places_are_filled(text: str, filled: str, deny: bool) -> None:
    pattern = Pattern(text)
    extent, fault = pattern.fill("c1", "ann", deny)
    assert extent is not None
    assert extent.text == filled
    assert fault == ""
    assert pattern.personal == ("%c" in text.replace("%%", "") or "%u" in text.replace("%%", ""))


def test_what_is_filled_in_is_not_read_again() -> None:
    extent, fault = Pattern("dev/%c").fill("%u", "ann")
    assert extent is not None
    assert (extent.text, fault) == ("dev/%u", "")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("place", ["%c", "%u"])
def test_a_name_never_becomes_syntax(place: str, name: str) -> None:
    client_identifier, user_name = (name, "ann") if place == "%c" else ("c1", name)
    pattern = Pattern(f"dev/x-{place}/#")
    extent, fault = pattern.fill(client_identifier, user_name)
    assert extent is None
    assert ("Client Identifier" if place == "%c" else "user name") in fault
    widened, same = pattern.fill(client_identifier, user_name, deny=True)
    assert widened is not None
    assert widened.text == "dev/#"
    assert same == fault
    assert misfit(name)


@pytest.mark.parametrize("name", [".*", "a.b", "%c", "*", "ann@example.org", "ü", "a b", "$x", "^a$", "[a-z]"])
def test_names_without_syntax_fit_and_stand_for_themselves(name: str) -> None:
    extent, fault = Pattern("dev/%c").fill(name, "")
    assert fault == ""
    assert extent is not None
    assert extent.holds(["dev", name])
    assert not extent.holds(["dev", "other"])


@pytest.mark.parametrize("name", ["$SYS", "$share", "$"])
def test_a_name_does_not_lead_into_topics_with_a_dollar_sign(name: str) -> None:
    extent, fault = Pattern("%c/#").fill(name, "")
    assert extent is None
    assert fault == "the Client Identifier begins with '$'"
    widened, _ = Pattern("%c/x").fill(name, "", deny=True)
    assert widened is not None
    assert widened.holds([name, "x"])
    assert Pattern("x%c/#").fill(name, "")[1] == ""


@given(st.text(max_size=6) | st.sampled_from(HOSTILE), st.sampled_from(["%c/#", "a/%c", "a/x%c/+", "%c"]))
def test_no_name_widens_what_is_allowed(name: str, text: str) -> None:
    extent, _ = Pattern(text).fill(name, "")
    for other in ("a/b/c", "a", "b", "$SYS/x", "a/xx/c", "a/b"):
        names = other.split("/")
        if extent is not None and extent.holds(names):
            assert matches(text.replace("%c", name), other)
            assert name in names or f"x{name}" in names


@given(st.text(max_size=4) | st.sampled_from(HOSTILE), st.sampled_from(["%c/#", "a/%c", "a/x%c/+", "%c"]))
def test_no_name_slips_out_of_what_is_denied(name: str, text: str) -> None:
    denied, _ = Pattern(text).fill(name, "", deny=True)
    assert denied is not None
    topic = text.replace("%c", name).replace("#", "y").replace("+", "y")
    assert denied.holds(topic.split("/"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no character"),
        ("a/#/b", "# is not the last character"),
        ("a#", "# does not occupy a whole level"),
        ("a/b+", "+ does not occupy a whole level"),
        ("+%c", "+ does not occupy a whole level"),
        ("a\0b", "control character"),
        ("a/%x", "%x stands for nothing"),
        ("a/50%", "% stands for nothing"),
        ("a/50%/b", "% stands for nothing"),
        ("%u%c", "at most one place"),
        ("a/%c-%c", "at most one place"),
        ("$share/g/a", "leave $share/name/ out"),
        ("$%c/a", "has to be written out"),
        ("a" * (STRING_BYTES + 1), "longer than"),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    with pytest.raises(PatternError) as caught:
        Pattern(text)
    assert words in str(caught.value)


def steps(work: Callable[[], object]) -> int:
    """How many lines of Python it takes."""
    count = 0

    def trace(_: FrameType, event: str, __: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def walk(levels_of_each: int) -> None:
    """Everything that can be done, with a deep rule and a topic as deep."""
    topic = "/".join(["a"] * levels_of_each)
    extent, _ = Pattern("/".join(["+"] * (levels_of_each - 1)) + "/a").fill("c", "u")
    assert extent is not None
    assert extent.holds(topic.split("/"))
    assert extent.covers(topic.split("/"))
    assert extent.meets(topic.split("/"))
    assert not Extent("a/#").covers(["+"] * levels_of_each)


def test_a_walk_is_linear() -> None:
    few, many = steps(lambda: walk(128)), steps(lambda: walk(1280))
    assert few > 128
    assert many <= 10 * few


def test_the_deepest_topic_there_is() -> None:
    walk(STRING_BYTES // 2)
    slashes = "/" * STRING_BYTES
    extent, fault = Pattern(slashes).fill("c", "u")
    assert extent is not None
    assert fault == ""
    assert extent.holds(slashes.split("/"))
    assert not extent.holds(slashes[1:].split("/"))
    assert Extent("#").covers(slashes.split("/"))
