"""Topic Names, Topic Filters and Shared Subscriptions as text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import (
    check_topic_filter,
    check_topic_name,
    levels,
    matches,
    split_share,
    valid_topic_filter,
    valid_topic_name,
)
from tests.statements import statement

LEVEL = st.sampled_from(["", "a", "b", "A", "$", "$SYS", "é", " "])
TOPIC_NAME = st.lists(LEVEL, min_size=1, max_size=6).map("/".join).filter(bool)
TOPIC_FILTER = (
    st.tuples(st.lists(LEVEL | st.just("+"), max_size=6), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join(parts[0] + parts[1]))
    .filter(bool)
)


def naive(pattern: list[str], names: list[str]) -> bool:
    """Section 4.7.1, word for word and recursive."""
    if not pattern:
        return not names
    if pattern == ["#"]:
        return True
    return bool(names) and pattern[0] in ("+", names[0]) and naive(pattern[1:], names[1:])


@pytest.mark.parametrize(
    "topic", ["a", "/", "//", "a/b", " a ", "a//b/", "$SYS/x", "é", "\ufeff", "\U0001f525", "$share/g/a"]
)
def test_topic_names(topic: str) -> None:
    assert valid_topic_name(topic)
    check_topic_name(topic)


@statement("MQTT5-4.7.0-1", "MQTT311-4.7.1-1", "MQTT5-3.3.2-2", "MQTT311-3.3.2-2")
@pytest.mark.parametrize("topic", ["+", "#", "a/+", "a/#", "a+b", "a#", "+/+"])
def test_topic_name_has_no_wildcard(topic: str) -> None:
    assert not valid_topic_name(topic)
    with pytest.raises(ProtocolError) as refused:
        check_topic_name(topic)
    assert refused.value.reason == ReasonCode.TOPIC_NAME_INVALID


@statement("MQTT5-4.7.3-1", "MQTT311-4.7.3-1")
def test_at_least_one_character() -> None:
    for check, reason in (
        (check_topic_name, ReasonCode.TOPIC_NAME_INVALID),
        (check_topic_filter, ReasonCode.TOPIC_FILTER_INVALID),
    ):
        with pytest.raises(ProtocolError) as refused:
            check("")
        assert refused.value.reason == reason


@statement("MQTT5-4.7.3-2", "MQTT311-4.7.3-2")
@pytest.mark.parametrize(
    "character", ["\0", "\x01", "\n", "\x1f", "\x7f", "\x80", "\x9f", "\ufdd0", "\ufffe", "\U0010ffff", "\ud800"]
)
def test_no_null_nor_other_disallowed_character(character: str) -> None:
    for check in (check_topic_name, check_topic_filter):
        with pytest.raises(ProtocolError) as refused:
            check(f"a/{character}b")
        assert refused.value.reason == ReasonCode.MALFORMED_PACKET


@statement("MQTT5-4.7.3-3", "MQTT311-4.7.3-3")
@pytest.mark.parametrize("topic", ["a" * 65_535, "é" * 32_767, "/" * 65_535])
def test_at_most_65535_bytes(topic: str) -> None:
    assert valid_topic_name(topic)
    assert valid_topic_filter(topic)
    assert not valid_topic_name(topic + "é")
    assert not valid_topic_filter(topic + "é")


def test_bounds_of_the_broker() -> None:
    check_topic_name("é/é", 5, 2)
    check_topic_filter("é/#", 4, 2)
    for topic, bytes_limit, levels_limit in (("é/é", 4, 2), ("é/é", 5, 1), ("////", 5, 4)):
        with pytest.raises(ProtocolError) as refused:
            check_topic_name(topic, bytes_limit, levels_limit)
        assert refused.value.reason == ReasonCode.TOPIC_NAME_INVALID
        with pytest.raises(ProtocolError) as refused:
            check_topic_filter(topic, bytes_limit, levels_limit)
        assert refused.value.reason == ReasonCode.TOPIC_FILTER_INVALID


@statement("MQTT5-4.7.1-1", "MQTT311-4.7.1-2")
@pytest.mark.parametrize(
    ("topic_filter", "valid"),
    [("#", True), ("/#", True), ("a/#", True), ("a//#", True), ("$SYS/#", True)]
    + [(text, False) for text in ("a#", "#/", "#/a", "a/#/b", "##", "a/#b", "a/b#", "+#", "/##")],
)
def test_multi_level_wildcard(topic_filter: str, valid: bool) -> None:
    assert valid_topic_filter(topic_filter) is valid


@statement("MQTT5-4.7.1-2", "MQTT311-4.7.1-3")
@pytest.mark.parametrize(
    ("topic_filter", "valid"),
    [(text, True) for text in ("+", "/+", "+/", "a/+", "+/a/+", "+/+", "+/#", "a/+/#")]
    + [(text, False) for text in ("a+", "+a", "++", "a/b+", "a/+b/c", "+a/#")],
)
def test_single_level_wildcard(topic_filter: str, valid: bool) -> None:
    assert valid_topic_filter(topic_filter) is valid


@statement("MQTT5-4.8.2-1", "MQTT5-4.8.2-2")
@pytest.mark.parametrize(
    "topic_filter",
    ["$share/", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/#/a", "$share/g#/a", "$share/g/a#"],
)
def test_shared_subscription_of_another_form(topic_filter: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        check_topic_filter(topic_filter)
    assert refused.value.reason == ReasonCode.TOPIC_FILTER_INVALID


@statement("MQTT5-4.8.2-1", "MQTT5-4.8.2-2")
@pytest.mark.parametrize(
    ("topic_filter", "share_name", "shared"),
    [
        ("$share/g/a/+", "g", "a/+"),
        ("$share/g//", "g", "/"),
        ("$share/g//finance", "g", "/finance"),
        ("$share/g/$share/h/a", "g", "$share/h/a"),
        ("$share/é x/#", "é x", "#"),
        ("$share", None, "$share"),
        ("$shared/g/a", None, "$shared/g/a"),
        ("$SHARE/g/a", None, "$SHARE/g/a"),
        ("a/$share/g/a", None, "a/$share/g/a"),
        ("+/g/a", None, "+/g/a"),
    ],
)
def test_split_share(topic_filter: str, share_name: str | None, shared: str) -> None:
    assert valid_topic_filter(topic_filter)
    assert split_share(topic_filter) == (share_name, shared)


def test_levels() -> None:
    assert levels("a") == ["a"]
    assert levels("/") == ["", ""]
    assert levels("/a//b/") == ["", "a", "", "b", ""]


# Non-normative examples of sections 4.7.1 to 4.7.3, and a few more
@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/player1/#", "sport/tennis/player2", False),
        ("sport/tennis/player1/#", "sport/tennis", False),
        ("sport/#", "sport", True),
        ("#", "sport/tennis", True),
        ("#", "/", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/#", "finance", True),
        ("/", "/", True),
        ("a", "a/", False),
        ("a/", "a", False),
        ("a//b", "a/b", False),
        ("a/+/b", "a//b", True),
        ("a/+/#", "a", False),
        ("a/+/#", "a/b", True),
        ("//#", "/", True),
        ("//#", "", False),
    ],
)
def test_matching(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


@statement("MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("#", "$SYS/broker", False),
        ("+/broker", "$SYS/broker", False),
        ("+", "$SYS", False),
        ("+/#", "$", False),
        ("$SYS/#", "$SYS/broker", True),
        ("$SYS/#", "$SYS", True),
        ("$SYS/+", "$SYS/broker", True),
        ("$SYS/broker", "$SYS/broker", True),
        ("/#", "/$SYS", True),
        ("+/+", "a/$SYS", True),
    ],
)
def test_topics_that_begin_with_a_dollar(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


@statement("MQTT5-4.7.3-4", "MQTT311-4.7.3-4")
@pytest.mark.parametrize(
    ("topic_filter", "topic"), [("ACCOUNTS", "Accounts"), ("a", " a"), ("é", "e\u0301"), ("a", "\ufeffa"), ("ﬁ", "fi")]
)
def test_nothing_is_normalised(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic_filter)
    assert not matches(topic_filter, topic)
    assert not matches(topic, topic_filter)


@given(TOPIC_FILTER, TOPIC_NAME)
@example("a/#", "a")
@example("+/#", "$")
def test_matching_agrees_with_the_naive_walk(topic_filter: str, topic: str) -> None:
    expected = naive(topic_filter.split("/"), topic.split("/"))
    if topic.startswith("$") and topic_filter[0] in "+#":
        expected = False
    assert valid_topic_filter(topic_filter)
    assert valid_topic_name(topic)
    assert matches(topic_filter, topic) is expected


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    """A valid Topic Name is a valid Topic Filter that matches itself, unless it reads as a Shared Subscription."""
    if valid_topic_name(text) and not text.startswith("$share/"):
        assert valid_topic_filter(text)
        assert matches(text, text)


def test_the_deepest_topics_need_no_stack() -> None:
    deep = "/" * 65_535
    assert matches(deep, deep)
    assert matches("+/" * 32_767 + "#", deep)
    assert not matches(deep + "/a", deep)
