"""The subscription tree and its cache against a list that is searched from end to end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.limits import Limits
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Subscription, SubscriptionTree
from tests.statements import statement

LEVELS = ("", "a", "b", "$x", "ä")
SESSIONS = 4

topics = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4).map("/".join).filter(bool)


@st.composite
def topic_filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.sampled_from((*LEVELS, "+", "+")), max_size=4))
    if not levels or draw(st.booleans()):
        levels.append("#")
    return "/".join(levels) or "+"


class Wanted:
    """One subscription as the model keeps it."""

    def __init__(self, subscription: Subscription, number: int) -> None:
        self.subscription = subscription
        self.number = number


def matches(topic_filter: str, topic: str) -> bool:
    """Section 4.7, read aloud."""
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    wanted, given_ = topic_filter.split("/"), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at == len(given_) or level not in ("+", given_[at]):
            return False
    return len(wanted) == len(given_)


def check(
    tree: SubscriptionTree, model: dict[tuple[int, str, str], Wanted], sessions: list[Session], topic: str
) -> None:
    plan = tree.plan(topic)
    mine: dict[int, list[Subscription]] = {}
    groups: dict[tuple[str, str], list[Wanted]] = {}
    for (number, share_name, topic_filter), wanted in model.items():
        if matches(topic_filter, topic):
            if share_name:
                groups.setdefault((share_name, topic_filter), []).append(wanted)
            else:
                mine.setdefault(number, []).append(wanted.subscription)
    found = {sessions.index(delivery.session): delivery for delivery in plan.deliveries}
    assert len(found) == len(plan.deliveries), "two copies for one Session"
    assert set(found) == set(mine)
    for number, subscriptions in mine.items():
        delivery = found[number]
        assert delivery.maximum_qos == max(each.maximum_qos for each in subscriptions)
        assert delivery.retain_as_published == any(each.retain_as_published for each in subscriptions)
        assert sorted(delivery.identifiers) == sorted(each.identifier for each in subscriptions if each.identifier)
        others = [each for each in subscriptions if not each.no_local]
        assert delivery.skip_own == (not others)
        if not delivery.skip_own:
            assert (delivery.own is None) == (len(others) == len(subscriptions))
        if delivery.own is not None:
            assert delivery.own.maximum_qos == max(each.maximum_qos for each in others)
            assert sorted(delivery.own.identifiers) == sorted(each.identifier for each in others if each.identifier)
    assert {(group.name, group.topic_filter) for group in plan.groups} == set(groups)
    assert len(plan.groups) == len(groups)
    for group in plan.groups:
        expected = {wanted.number: wanted.subscription for wanted in groups[group.name, group.topic_filter]}
        members = {sessions.index(member.session): member for member in group.members}
        assert len(members) == len(group.members)
        assert {number: member.maximum_qos for number, member in members.items()} == {
            number: subscription.maximum_qos for number, subscription in expected.items()
        }


steps = st.one_of(
    st.tuples(st.just("ask"), topics),
    st.tuples(
        st.just("add"),
        st.integers(0, SESSIONS - 1),
        topic_filters(),
        st.sampled_from(("", "", "g", "h")),
        st.integers(0, 2),
        st.booleans(),
        st.booleans(),
        st.integers(0, 3),
    ),
    st.tuples(st.just("remove"), st.integers(0, 50)),
    st.tuples(st.just("stray"), st.integers(0, SESSIONS - 1), topic_filters(), st.sampled_from(("", "g"))),
)


@statement("MQTT5-4.7.1-1", "MQTT5-4.7.1-2", "MQTT5-4.7.2-1", "MQTT5-3.3.4-2", "MQTT5-3.3.4-4", "MQTT5-3.8.4-3")
@statement("MQTT311-4.7.1-2", "MQTT311-4.7.1-3", "MQTT311-4.7.2-1", "MQTT311-3.3.5-1", "MQTT311-3.8.4-3")
@settings(max_examples=150, deadline=None, database=None)
@given(
    known=st.lists(topics, min_size=1, max_size=6, unique=True),
    history=st.lists(steps, max_size=40),
    cache_size=st.sampled_from((1, 3, 1000)),
)
def test_the_tree_agrees_with_a_list(known: list[str], history: list[tuple[object, ...]], cache_size: int) -> None:
    tree = SubscriptionTree(cache_size)
    sessions = [Session(f"s{number}", Limits(), Stats(), 1 << 30) for number in range(SESSIONS)]
    model: dict[tuple[int, str, str], Wanted] = {}
    for step in history:
        match step:
            case ("ask", str(topic)):
                check(tree, model, sessions, topic)
            case ("add", int(n), str(topic_filter), str(share), int(qos), bool(local), bool(rap), int(identifier)):
                no_local = local and not share
                subscription = Subscription(sessions[n], topic_filter, share, qos, no_local, rap, identifier)
                tree.add(subscription)
                model[n, share, topic_filter] = Wanted(subscription, n)
            case ("remove", int(which)) if model:
                key = list(model)[which % len(model)]
                tree.remove(model.pop(key).subscription)
            case ("stray", int(n), str(topic_filter), str(share)) if (n, share, topic_filter) not in model:
                tree.remove(Subscription(sessions[n], topic_filter, share, 0))
        for topic in known:
            check(tree, model, sessions, topic)
    for wanted in model.values():
        tree.remove(wanted.subscription)
    for topic in known:
        check(tree, {}, sessions, topic)
