"""The plans that are remembered: never one that is not true, never more than there is room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.core.limits import Limits
from broker.core.plans import DELIVERIES_A_PLAN, LOOKED_AT, VISITED, WRITTEN_DOWN, Plan, Plans
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Delivery, Subscription, SubscriptionTree
from broker.packets.topics import matches


def plan(deliveries: int = 0) -> Plan:
    one = Session("s", Limits(), Stats(), 1 << 30)
    return Plan([Delivery(one, 0)] * deliveries, [], False)


def remembered(plans: Plans, *topics: str) -> list[Plan]:
    made = [plan() for _ in topics]
    for topic, each in zip(topics, made, strict=True):
        plans.put(topic, each)
    return made


def test_a_wildcard_change_ends_those_that_it_matches() -> None:
    plans = Plans(10)
    first, second, third = remembered(plans, "a/b", "a/c", "b")
    plans.changed("a/+")
    assert plans.get("a/b") is None
    assert plans.get("a/c") is None
    assert plans.get("b") is third
    assert first is not second


def test_a_change_without_wildcards_ends_one_at_once() -> None:
    plans = Plans(10)
    _, other = remembered(plans, "a/b", "a/c")
    plans.changed("a/b")
    assert len(plans) == 1
    assert plans.get("a/c") is other


def test_who_has_looked_need_not_look_again() -> None:
    plans = Plans(10)
    (known,) = remembered(plans, "a")
    for _ in range(100):
        for _ in range(LOOKED_AT):
            plans.changed("b/#")
        assert plans.get("a") is known


def test_too_many_changes_are_not_looked_through() -> None:
    plans = Plans(1000)
    topics = [f"t/{number}" for number in range(1000)]
    remembered(plans, *topics)
    for _ in range(LOOKED_AT + 1):
        plans.changed("b/#")
    assert plans.get(topics[-1]) is None, "it is made anew, though nothing concerned it"
    held = len(plans)
    plans.changed("b/#")
    assert held - VISITED <= len(plans) <= held, "a change costs the same whatever is remembered"


def test_what_nobody_asks_for_goes_after_a_while() -> None:
    tree = SubscriptionTree(1000)
    held = Subscription(Session("s", Limits(), Stats(), 1 << 30), "a/+", "", 0)
    tree.add(held)
    assert len(tree.plan("a/b").deliveries) == 1
    for number in range(99):
        tree.plan(f"other/{number}")
    tree.remove(held)
    assert tree.plans.deliveries == 1
    for _ in range(100):
        tree.plans.changed("x/#")
    assert tree.plans.deliveries == 0, "nothing holds on to a Session that is gone"


def test_changes_long_past_are_forgotten_and_known_to_be() -> None:
    plans = Plans(10)
    remembered(plans, "a", *(f"t/{number}" for number in range(5)))
    plans.changed("+")
    for _ in range(3 * WRITTEN_DOWN):
        plans.changed("b/#")
    assert plans.get("a") is None


def test_the_oldest_gives_way() -> None:
    plans = Plans(3)
    remembered(plans, "a", "b", "c", "d")
    assert [topic for topic in "abcd" if plans.get(topic) is not None] == ["b", "c", "d"]
    plans.changed("c")
    remembered(plans, "e")
    assert [topic for topic in "abcde" if plans.get(topic) is not None] == ["b", "d", "e"]


def test_a_plan_made_anew_goes_on_counting() -> None:
    plans = Plans(4)
    remembered(plans, "a", "b", "c", "d")
    for topic, held in plans.remembered():
        held.messages = ord(topic)
    plans.changed("a/b/+")
    plans.changed("+")  # has looked at two of them, which are forgotten
    for topic in "abcd":
        assert plans.get(topic) is None
        plans.put(topic, plan(1))
    counts = {topic: held.messages for topic, held in plans.remembered()}
    assert sorted(counts) == ["a", "b", "c", "d"]
    kept = [topic for topic in "abcd" if counts[topic]]
    assert len(kept) == 2
    assert [counts[topic] for topic in kept] == list(map(ord, kept))


def test_a_large_plan_takes_the_room_of_many() -> None:
    plans = Plans(4)
    remembered(plans, "a", "b")
    plans.put("c", plan(4 * DELIVERIES_A_PLAN))
    assert len(plans) == 3
    plans.put("d", plan(1))
    assert plans.deliveries <= 4 * DELIVERIES_A_PLAN
    assert plans.get("c") is None
    assert plans.get("d") is not None


TOPICS = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a"])
FILTERS = st.sampled_from(["a", "+", "#", "a/+", "+/a", "a/#", "b/#", "+/+/+", "a/b"])


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), TOPICS, FILTERS), max_size=120))
def test_what_is_remembered_is_true(size: int, steps: list[tuple[bool, str, str]]) -> None:
    plans = Plans(size)
    true: dict[str, Plan] = {}
    for asks, topic, topic_filter in steps:
        if asks:
            found = plans.get(topic)
            assert found is None or found is true.get(topic)
            if found is None:
                found = true[topic] = plan(len(topic))
                plans.put(topic, found)
            assert plans.get(topic) is found
        else:
            plans.changed(topic_filter)
            true = {each: kept for each, kept in true.items() if not matches(topic_filter, each)}
        assert len(plans) <= size
        assert plans.deliveries == sum(len(each.deliveries) for each in plans._plans.values())
        assert sorted(filter(None, plans._ring)) == sorted(plans._plans)
        assert len(plans._ring) == len(plans._plans) + len(plans._free)
