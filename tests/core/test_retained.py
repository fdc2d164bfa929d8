"""Retained messages: against a plain dict, under their bounds, and read while they change."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.core.message import ApplicationMessage
from broker.core.retained import LEVEL_BYTES, STRETCH, RetainedMessages, TopicNode
from broker.packets.topics import matches
from tests.core.parts import message, new_broker
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

PLENTY = 1 << 40
LEVEL = st.sampled_from(["", "a", "b", "$", "$SYS", "é"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = (
    st.tuples(st.lists(LEVEL | st.just("+"), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join(parts[0] + parts[1]))
    .filter(bool)
)
CHANGES = st.lists(st.tuples(TOPIC, st.booleans()), max_size=25)


def new(messages: int = 1000, size: int = PLENTY) -> RetainedMessages:
    return RetainedMessages(messages, size)


def kept(topic: str, payload: bytes = b"x", expires_at: float = 1e12) -> ApplicationMessage:
    return message(topic, payload, 0, True, expires_at)


def read(retained: RetainedMessages, topic_filter: str) -> list[ApplicationMessage]:
    return [one for one in retained.read(topic_filter) if one is not None]


def nodes(node: TopicNode) -> Iterator[TopicNode]:
    yield node
    for child in node.children.values():
        yield from nodes(child)


def change(retained: RetainedMessages, model: dict[str, ApplicationMessage], topic: str, put: bool) -> None:
    if put:
        one = kept(topic, topic.encode())
        assert retained.set(one)
        model[topic] = one
    else:
        assert retained.remove(topic) == (topic in model)
        model.pop(topic, None)


def check(retained: RetainedMessages, model: dict[str, ApplicationMessage]) -> None:
    assert retained.count == len(model)
    assert retained.bytes == sum(one.size for one in model.values())


@statement("MQTT5-3.3.1-5", "MQTT311-3.3.1-5", "MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
@settings(deadline=None)
@given(CHANGES, st.lists(FILTER, min_size=1, max_size=5))
@example([("$SYS/a", True), ("a", True), ("/", True)], ["#", "+/#", "$SYS/#", "/+", "+"])
@example([("a/b", True), ("a", True), ("a/b", False)], ["a/#", "a/+", "a"])
def test_against_a_dict(changes: list[tuple[str, bool]], topic_filters: list[str]) -> None:
    retained, model = new(), dict[str, ApplicationMessage]()
    for topic, put in changes:
        change(retained, model, topic, put)
        check(retained, model)
        assert retained.get(topic, 0.0) is model.get(topic)
    for topic_filter in topic_filters:
        expected = {id(one) for topic, one in model.items() if matches(topic_filter, topic)}
        found = [id(one) for one in read(retained, topic_filter)]
        assert len(found) == len(expected)
        assert set(found) == expected
    for root in (retained._root, retained._dollar_root):
        assert all(node.message or node.children for node in nodes(root) if node is not root), "an empty branch"


@settings(deadline=None)
@given(CHANGES, FILTER, CHANGES)
@example([("a/a", True), ("a/b", True)], "#", [("a/a", False), ("a/a", True), ("b", True)])
def test_read_while_the_tree_changes(
    before: list[tuple[str, bool]], topic_filter: str, meanwhile: list[tuple[str, bool]]
) -> None:
    """What is there all the time comes once; whatever comes is what was retained at that moment."""
    retained, model = new(), dict[str, ApplicationMessage]()
    for topic, put in before:
        change(retained, model, topic, put)
    there_all_the_time = dict(model)
    reader = retained.read(topic_filter)
    came: list[str] = []
    for topic, put in [*meanwhile, *[("", False)] * 50]:
        if topic:
            change(retained, model, topic, put)
            if not put:
                there_all_the_time.pop(topic, None)
        one = next(reader, None)
        if one is not None:
            assert model[one.topic] is one
            assert matches(topic_filter, one.topic)
            came.append(one.topic)
    assert next(reader, None) is None
    for topic in there_all_the_time:
        assert came.count(topic) == matches(topic_filter, topic), topic
    check(retained, model)


def test_the_number_of_messages_is_bounded() -> None:
    retained = new(messages=2)
    assert retained.set(kept("a"))
    assert retained.set(kept("b"))
    assert not retained.set(kept("c/d/e"))
    assert "c" not in retained._root.children
    assert retained.set(kept("a", b"another")), "one in place of an older one is none more"
    assert retained.remove("b")
    assert retained.set(kept("c/d/e"))
    assert retained.count == 2


def test_the_bytes_are_bounded() -> None:
    size = kept("a", bytes(100)).size
    retained = new(size=2 * size)
    assert retained.set(kept("a", bytes(100)))
    assert retained.set(kept("b", bytes(100)))
    assert not retained.set(kept("c", b""))
    larger = kept("a", bytes(101))
    assert not retained.set(larger)
    assert read(retained, "a") == [], "the older one is no longer true"
    assert retained.bytes == size
    assert retained.set(kept("a", bytes(50)))
    assert retained.bytes == 2 * size - 50
    assert retained.set(kept("b", bytes(150)))
    assert retained.bytes == 2 * size


def test_levels_of_topics_count_as_bytes() -> None:
    """One message under so many levels takes their room too, whatever it weighs itself; what they share counts once."""
    size = kept("a/b/c").size
    assert not new(size=size + 2 * LEVEL_BYTES - 1).set(kept("a/b/c"))
    retained = new(size=2 * size + 2 * LEVEL_BYTES)
    assert retained.set(kept("a/b/c"))
    assert not retained.set(kept("a/x/y"))
    assert retained.levels == 3
    assert retained.set(kept("a/b/d"))
    assert retained.set(kept("a/b/d")), "in place of the older one"
    assert (retained.levels, retained.bytes) == (4, 2 * size)
    assert retained.remove("a/b/c")
    assert retained.remove("a/b/d")
    assert (retained.levels, retained.bytes) == (0, 0)


def test_a_level_between_may_hold_a_message_of_its_own() -> None:
    both = kept("a").size + kept("a/b").size
    retained = new(size=max(both, kept("a/b").size + LEVEL_BYTES))
    assert retained.set(kept("a/b"))
    assert retained.set(kept("a")), "its level is counted with its message from now on"
    assert (retained.levels, retained.bytes) == (2, both)


def test_the_memory_of_deep_topics_is_what_is_counted() -> None:
    """No less than two thirds of what Python has allocated."""
    retained = new()
    made = [kept(str(number) + "/" * 127) for number in range(1000)]
    tracemalloc.start()
    for one in made:
        assert retained.set(one)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 1.5 * (retained.bytes + (retained.levels - retained.count) * LEVEL_BYTES)


def test_removing_what_is_not_there() -> None:
    retained = new()
    retained.set(kept("a/b"))
    for topic in ("a", "a/b/c", "b", "$a"):
        assert not retained.remove(topic)
    assert retained.count == 1


@statement("MQTT5-3.3.1-6", "MQTT311-3.3.1-6")
def test_removing_leaves_the_others_on_its_branch() -> None:
    retained = new()
    for topic in ("a", "a/b", "a/b/c"):
        retained.set(kept(topic))
    assert retained.remove("a/b")
    assert [one.topic for one in read(retained, "#")] == ["a", "a/b/c"]
    assert retained.remove("a/b/c")
    assert retained.remove("a")
    assert not retained._root.children


def test_an_expired_message_is_not_given_and_goes_when_its_time_comes() -> None:
    retained = new()
    old, present = kept("a", b"old", 10.0), kept("a", b"new", 20.0)
    retained.set(old)
    assert retained.get("a", 9.9) is old
    assert retained.get("a", 10.0) is None
    retained.set(present)
    assert not retained.holds(old)
    assert not retained.expire(old)
    assert retained.holds(present)
    assert retained.expire(present)
    assert not retained.expire(present)
    assert retained.count == 0
    assert not retained.holds(kept("b"))


@pytest.mark.parametrize("width", [STRETCH - 1, 10 * STRETCH])
def test_a_long_way_without_a_match_is_cut_into_stretches(width: int) -> None:
    retained = new()
    for number in range(width):
        retained.set(kept(f"{number}/a"))
    retained.set(kept("b/c"))
    answers = list(retained.read("+/c"))
    assert [one.topic for one in answers if one is not None] == ["b/c"]
    assert answers.count(None) == (width + 3) // STRETCH


def test_a_reader_that_stops_has_read_no_further() -> None:
    retained = new()
    for number in range(1000):
        retained.set(kept(f"a/{number}"))
    reader = retained.read("a/#")
    first = [next(reader) for _ in range(3)]
    assert [one.topic for one in first if one is not None] == ["a/0", "a/1", "a/2"]
    for number in range(3, 1000):
        retained.remove(f"a/{number}")
    assert [one for one in reader if one is not None] == []


def test_deep_topics_are_no_trouble() -> None:
    retained = new()
    topic = "/".join(["a"] * 30_000)
    retained.set(kept(topic))
    assert len(read(retained, "#")) == 1
    assert len(read(retained, topic)) == 1
    assert retained.remove(topic)
    assert not retained._root.children


@statement("MQTT5-3.3.1-5", "MQTT5-3.3.1-6", "MQTT5-3.3.1-8", "MQTT311-3.3.1-5", "MQTT311-3.3.1-12")
def test_retaining() -> None:
    broker = new_broker()
    for payload, retain, kept in ((b"1", True, b"1"), (b"2", False, b"1"), (b"3", True, b"3"), (b"", False, b"3")):
        broker.publish(message("a", payload, retain=retain), None, 0.0)
        found = broker.retained.get("a", 0.0)
        assert found is not None
        assert found.payload == kept
    broker.publish(message("a", b"", retain=True), None, 0.0)
    assert broker.retained.count == 0


def test_a_retained_message_goes_when_it_expires() -> None:
    broker = new_broker()
    broker.publish(message("a", retain=True, expires_at=10.0), None, 0.0)
    broker.publish(message("b", retain=True, expires_at=5.0), None, 0.0)
    broker.publish(message("b", retain=True), None, 1.0)
    broker.tick(9.0)
    assert broker.retained.count == 2
    broker.tick(10.0)
    assert broker.retained.get("b", 1e9) is not None
    assert broker.retained.count == 1
    broker.publish(message("b", retain=True, expires_at=20.0), None, 20.0)
    assert broker.retained.count == 0, "what expires at once replaces too"
