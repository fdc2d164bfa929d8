"""Who gets a message: the tree, the plans that it remembers, and shared subscriptions."""

from __future__ import annotations

import tracemalloc
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.limits import DISCONNECT, LATEST, Limits
from broker.core.message import NEVER
from broker.core.plans import DELIVERIES_A_PLAN, Plan
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import (
    ACCEPTED,
    LEVEL_BYTES,
    NOBODY,
    REFUSED,
    Delivery,
    Node,
    ShareGroup,
    Subscription,
    SubscriptionTree,
    Takers,
    bytes_alone,
    bytes_of,
)
from broker.packets.topics import matches
from broker.packets.types import Publish
from tests.core.parts import (
    connect,
    kinds,
    limits,
    message,
    new_broker,
    payloads,
    publishes,
    said,
    send,
    session_of,
    subscribe,
)
from tests.pair import raw
from tests.statements import statement

if TYPE_CHECKING:
    from broker.core.broker import Broker

LEVEL = st.sampled_from(["", "a", "b", "$", "$SYS", "é"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = (
    st.tuples(st.lists(LEVEL | st.just("+"), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join(parts[0] + parts[1]))
    .filter(bool)
)


def session(name: str = "s") -> Session:
    return Session(name, Limits(), Stats(), 1 << 30)


def of(plan: Plan) -> set[tuple[str, int, tuple[int, ...]]]:
    return {
        (each.session.client_identifier, each.maximum_qos, tuple(sorted(each.identifiers))) for each in plan.deliveries
    }


# -- Against a list of subscriptions


@statement("MQTT5-3.3.2-3", "MQTT5-3.3.4-2", "MQTT5-3.3.4-4", "MQTT311-3.3.5-1", "MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), FILTER, st.integers(0, 2), st.booleans(), st.booleans()), max_size=25),
    st.lists(TOPIC, min_size=1, max_size=4),
)
def test_plans_follow_every_change(changes: list[tuple[int, str, int, bool, bool]], topics: list[str]) -> None:
    """Remembered or not, a plan holds those whose filters match now, once each, with the highest QoS and all
    identifiers."""
    sessions = [session(f"s{number}") for number in range(3)]
    tree = SubscriptionTree(3)
    held: dict[tuple[int, str], Subscription] = {}
    for number, (who, topic_filter, qos, shared, put) in enumerate(changes, 1):
        key = (who, ("$share/g/" if shared else "") + topic_filter)
        if put:
            held[key] = Subscription(sessions[who], topic_filter, "g" if shared else "", qos, identifier=number)
            tree.add(held[key])
        elif key in held:
            tree.remove(held.pop(key))
        for topic in topics:
            expected: dict[str, tuple[int, tuple[int, ...]]] = {}
            groups: dict[str, set[str]] = {}
            for each in held.values():
                if matches(each.topic_filter, topic):
                    name = each.session.client_identifier
                    if each.share_name:
                        groups.setdefault(each.topic_filter, set()).add(name)
                    else:
                        best, identifiers = expected.get(name, (0, ()))
                        expected[name] = (max(best, each.maximum_qos), (*identifiers, each.identifier))
            plan = tree.plan(topic)
            assert of(plan) == {(name, best, tuple(sorted(ids))) for name, (best, ids) in expected.items()}
            assert len(plan.deliveries) == len(expected)
            found = {each.topic_filter: {m.session.client_identifier for m in each.members} for each in plan.groups}
            assert found == groups
            assert tree.plan(topic) is plan
        assert len(tree.plans) <= 3
    for each in held.values():
        tree.remove(each)
    assert tree._root.empty()
    assert tree._dollar_root.empty()


@pytest.mark.parametrize("topic_filter", ["a/b", "a/+", "+/b", "#", "a/#", "+/+"])
def test_a_change_forgets_the_plan(topic_filter: str) -> None:
    tree = SubscriptionTree()
    empty = tree.plan("a/b")
    other = tree.plan("$x/y")
    subscription = Subscription(session(), topic_filter, "", 1)
    tree.add(subscription)
    assert len(tree.plan("a/b").deliveries) == 1
    assert tree.plan("$x/y") is other
    tree.remove(subscription)
    assert tree.plan("a/b").deliveries == []
    assert tree.plan("a/b") is not empty


@pytest.mark.parametrize("topic_filter", ["a/c", "b/+", "+", "a/b/+", "b/#", "+/+/+", "$a/#"])
def test_a_change_elsewhere_leaves_it(topic_filter: str) -> None:
    tree = SubscriptionTree()
    plan = tree.plan("a/b")
    tree.add(Subscription(session(), topic_filter, "", 1))
    assert tree.plan("a/b") is plan


def test_deliveries_remembered_are_bounded_and_shared() -> None:
    """A thousand dashboards that see every device are no thousand objects a device."""
    tree = SubscriptionTree(4)
    wide = [Subscription(session(f"s{number}"), "#", "", 1, number == 0) for number in range(2 * DELIVERIES_A_PLAN)]
    for each in wide:
        tree.add(each)
    plans = [tree.plan(f"f/{number}") for number in range(2)]
    assert all(one is other for one, other in zip(plans[0].deliveries, plans[1].deliveries, strict=True))
    assert [each.skip_own for each in plans[0].deliveries[:2]] == [True, False]
    assert tree.plans.deliveries == 4 * DELIVERIES_A_PLAN
    assert tree.plan("f/1") is plans[1]
    tree.plan("f/2")
    assert tree.plan("f/1") is plans[1]
    assert tree.plan("f/0") is not plans[0], "it gave way"
    assert tree.plans.deliveries == 4 * DELIVERIES_A_PLAN


def test_topics_that_come_and_go_leave_nothing() -> None:
    """As the reply topics of requests do."""
    tree = SubscriptionTree()
    one = session()
    for number in range(100):
        subscription = Subscription(one, f"reply-{number}", "", 0)
        tree.add(subscription)
        tree.plan(f"reply-{number}")
        tree.remove(subscription)
    assert len(tree.plans) == 0
    assert tree._root.empty()


def test_removing_what_is_not_there() -> None:
    tree = SubscriptionTree()
    one, other = session("one"), session("other")
    tree.add(Subscription(one, "a/b", "", 0))
    tree.add(Subscription(one, "a/#", "g", 0))
    for topic_filter, share_name in [
        ("a/b", ""),
        ("a", ""),
        ("x/y", ""),
        ("a/+", ""),
        ("a/#", ""),
        ("a/#", "g"),
        ("a/#", "h"),
    ]:
        tree.remove(Subscription(other, topic_filter, share_name, 0))
    plan = tree.plan("a/b")
    assert [each.session for each in plan.deliveries] == [one]
    assert [each.members[0].session for each in plan.groups] == [one]


@statement("MQTT5-3.8.4-3", "MQTT311-3.8.4-3")
def test_the_same_filter_again_replaces() -> None:
    tree = SubscriptionTree()
    one, other = session("one"), session("other")
    for share_name in ("", "g"):
        for qos, identifier in ((0, 1), (2, 7)):
            tree.add(Subscription(one, "a/#", share_name, qos, identifier=identifier))
        tree.add(Subscription(other, "a/#", share_name, 0))
    plan = tree.plan("a")
    assert of(plan) == {("one", 2, (7,)), ("other", 0, ())}
    (group,) = plan.groups
    assert [(each.session, each.maximum_qos, each.identifiers) for each in group.members] == [
        (one, 2, (7,)),
        (other, 0, ()),
    ]


# -- What a Delivery adds up to


def added_up(*subscriptions: tuple[str, int, dict[str, Any]]) -> tuple[Plan, Delivery]:
    tree = SubscriptionTree()
    one = session()
    for topic_filter, qos, options in subscriptions:
        tree.add(Subscription(one, topic_filter, "", qos, **options))
    plan = tree.plan("a")
    return plan, plan.deliveries[0]


def test_plain_is_what_changes_no_bytes() -> None:
    assert added_up(("a", 1, {}), ("#", 0, {}))[1].plain
    assert added_up(("a", 1, {"overflow": LATEST}))[1].plain
    assert not added_up(("a", 1, {}), ("#", 0, {"identifier": 1}))[1].plain
    assert not added_up(("a", 1, {}), ("#", 0, {"retain_as_published": True}))[1].plain
    assert not Delivery(session(), 0, retained=True).plain


def test_overflow_is_that_of_any_subscription_that_says_so() -> None:
    assert added_up(("a", 0, {}), ("#", 0, {"overflow": DISCONNECT}))[1].overflow == DISCONNECT
    assert added_up(("a", 0, {}), ("#", 0, {}))[1].overflow == ""


@statement("MQTT5-3.8.3-3")
def test_no_local() -> None:
    plan, delivery = added_up(("a", 2, {}), ("#", 0, {}))
    assert not plan.no_local
    assert (delivery.skip_own, delivery.own) == (False, None)
    plan, delivery = added_up(("a", 2, {"no_local": True}))
    assert plan.no_local
    assert delivery.skip_own
    plan, delivery = added_up(("a", 2, {"no_local": True, "identifier": 1}), ("#", 1, {"identifier": 2}))
    assert delivery.maximum_qos == 2
    assert set(delivery.identifiers) == {1, 2}
    assert not delivery.skip_own
    assert delivery.own is not None
    assert (delivery.own.maximum_qos, delivery.own.identifiers) == (1, (2,))


def test_no_local_of_one_is_not_that_of_others() -> None:
    tree = SubscriptionTree()
    one, other = session("one"), session("other")
    tree.add(Subscription(one, "a", "", 0, no_local=True))
    tree.add(Subscription(other, "a", "", 0))
    skipped = {each.session.client_identifier: each.skip_own for each in tree.plan("a").deliveries}
    assert skipped == {"one": True, "other": False}


def test_a_node_is_empty_without_any_of_its_parts() -> None:
    assert Node().empty()
    for name, value in [("plus", Node()), ("children", {"a": Node()}), ("here", Takers()), ("hash", Takers())]:
        node = Node()
        setattr(node, name, value)
        assert not node.empty()


# -- Memory


def test_bytes_grow_as_foretold_and_go_with_the_last_one() -> None:
    random = Random(1)
    tree = SubscriptionTree()
    sessions = [session(str(number)) for number in range(4)]
    held: dict[tuple[Session, str, str], Subscription] = {}
    names = ("a", "b", "+", "")
    for _ in range(3000):
        of = random.choice(sessions)
        levels = [random.choice(names) for _ in range(random.randrange(1, 5))]
        topic_filter = ("$" if random.random() < 0.1 else "") + "/".join([*levels, "#"][: random.randrange(1, 6)])
        share_name = random.choice(("", "", "g", "h"))
        key = (of, topic_filter, share_name)
        subscription = Subscription(of, topic_filter, share_name, 0)
        before = tree.bytes
        more = tree.more(topic_filter, share_name)
        if random.random() < 0.5:
            tree.add(subscription)
            assert tree.bytes - before == (0 if key in held else more)
            held[key] = subscription
        else:
            tree.remove(held.pop(key, subscription))
        expected = sum(bytes_of(topic_filter, share_name) for _, topic_filter, share_name in held)
        assert tree.bytes == expected + tree.levels * LEVEL_BYTES
    for one in held.values():
        tree.remove(one)
    assert (tree.bytes, tree.levels) == (0, 0)


def test_what_a_level_takes_is_not_more_than_it_is_counted_with() -> None:
    tree = SubscriptionTree()
    of = session()
    tracemalloc.start()
    for number in range(100):
        topic_filter = "/".join([f"level{number}"] * 100)
        subscription = of.subscriptions[topic_filter] = Subscription(of, topic_filter, "", 0)
        tree.add(subscription)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.levels == 10_000
    assert 0.5 * tree.bytes < taken < 1.1 * tree.bytes


def test_alone_it_counts_whole() -> None:
    tree = SubscriptionTree()
    tree.add(Subscription(session(), "a/b/c", "", 0))
    assert tree.bytes == bytes_alone("a/b/c", "")
    assert tree.more("a/b/d", "") == bytes_of("a/b/d", "") + LEVEL_BYTES
    assert bytes_of("\N{GRINNING FACE}", "") > bytes_of("a", "")
    assert bytes_of("a", "g") > bytes_of("a", "")


# -- Shared subscriptions


def group_of(broker: Broker, topic: str = "a") -> ShareGroup:
    (group,) = broker.subscriptions.plan(topic).groups
    return group


def members(broker: Broker, count: int, qos: int = 0, of_limits: Limits | None = None, **values: Any) -> list[Session]:
    result = []
    for number in range(count):
        connection = connect(broker, f"m{number}", of=of_limits, session_expiry_interval=60, **values)
        assert subscribe(connection, "$share/g/a", qos) == qos
        result.append(session_of(connection))
    return result


def got(one: Session) -> list[bytes]:
    assert one.connection is not None
    return payloads(one.connection)


@statement("MQTT5-4.8.2-4")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_turns(qos: int) -> None:
    broker = new_broker()
    sessions = members(broker, 3, qos)
    for number in range(7):
        assert broker.publish(message(payload=b"%d" % number, qos=qos), None, 0.0) == 0
    assert [got(one) for one in sessions] == [[b"0", b"3", b"6"], [b"1", b"4"], [b"2", b"5"]]


def test_each_member_has_the_qos_that_it_was_granted() -> None:
    broker = new_broker()
    one, other = connect(broker, "one"), connect(broker, "other")
    subscribe(one, "$share/g/a", 0)
    subscribe(other, "$share/g/a", 1)
    for _ in range(2):
        broker.publish(message(qos=2), None, 0.0)
    assert len(session_of(one).outgoing.unacknowledged) == 0
    assert len(session_of(other).outgoing.unacknowledged) == 1
    assert len(payloads(one)) == len(payloads(other)) == 1


@pytest.mark.parametrize("qos", [0, 1])
def test_an_offline_member_is_passed_over(qos: int) -> None:
    broker = new_broker()
    first, second, third = members(broker, 3, qos)
    assert second.connection is not None
    second.connection.lost(0.0)
    for number in range(4):
        assert broker.publish(message(payload=b"%d" % number, qos=qos), None, 0.0) == 0
    assert got(first) == [b"0", b"2"]
    assert got(third) == [b"1", b"3"]
    assert not second.pending


def test_when_all_are_offline_the_message_is_kept_by_one_in_turn() -> None:
    broker = new_broker()
    sessions = members(broker, 2, 1)
    for one in sessions:
        assert one.connection is not None
        one.connection.lost(0.0)
    assert [broker.publish(message(qos=1), None, 0.0) for _ in range(4)] == [0, 0, 0, 0]
    assert [len(one.pending) for one in sessions] == [2, 2]
    assert broker.publish(message(qos=0), None, 0.0) == 0x10


def test_a_member_whose_quota_is_spent_is_passed_over() -> None:
    broker = new_broker()
    sessions = members(broker, 2, 1, receive_maximum=1)
    for number in range(5):
        assert broker.publish(message(payload=b"%d" % number, qos=1), None, 0.0) == 0
    assert [got(one) for one in sessions] == [[b"0"], [b"1"]]
    assert [len(one.pending) for one in sessions] == [2, 1], "the rest is shared out in turn"


def test_a_member_whose_outbox_is_full_is_passed_over() -> None:
    broker = new_broker()
    first, second = members(broker, 2, 0, limits(outbox_soft_bytes=100))
    assert first.connection is not None
    first.connection.outbox.put(bytes(100))
    for number in range(3):
        assert broker.publish(message(payload=b"%d" % number), None, 0.0) == 0
    assert got(second) == [b"0", b"1", b"2"]


def test_what_one_member_refuses_goes_to_another() -> None:
    broker = new_broker()
    first, second = members(broker, 2, 1, limits(queue_messages=2))
    for one in (first, second):
        assert one.connection is not None
        one.connection.lost(0.0)
    first.limits = limits(queue_messages=0)
    group = group_of(broker)
    assert [group.deliver(message(qos=1), 0.0) for _ in range(3)] == [ACCEPTED, ACCEPTED, REFUSED]
    assert len(second.pending) == 2


def test_a_connected_member_that_must_queue_goes_before_an_offline_one() -> None:
    broker = new_broker()
    first, second = members(broker, 2, 1, receive_maximum=1)
    assert first.connection is not None
    first.connection.lost(0.0)
    for _ in range(3):
        assert broker.publish(message(qos=1), None, 0.0) == 0
    assert (len(first.pending), len(second.pending)) == (0, 2)


def test_nobody() -> None:
    assert ShareGroup("g", "a").deliver(message(qos=1), 0.0) == NOBODY


def test_turns_go_on_when_members_leave() -> None:
    broker = new_broker()
    sessions = members(broker, 4)
    for number in range(3):
        broker.publish(message(payload=b"%d" % number), None, 0.0)
    assert group_of(broker).turn == 3
    for one in sessions[2:]:
        broker.unsubscribe(one, "$share/g/a")
        got(one)
    for one in sessions[:2]:
        got(one)
    for number in range(4):
        broker.publish(message(payload=b"%d" % number), None, 0.0)
    assert sorted(got(sessions[0]) + got(sessions[1])) == [b"0", b"1", b"2", b"3"]
    assert broker.stats.shared_subscriptions == 2


def test_two_groups_and_an_ordinary_subscriber_have_one_each() -> None:
    broker = new_broker()
    connections = [connect(broker, name) for name in ("g1", "g2", "h", "plain")]
    for connection, topic_filter in zip(connections, ("$share/g/a", "$share/g/a", "$share/h/+", "#"), strict=True):
        subscribe(connection, topic_filter)
    broker.publish(message(), None, 0.0)
    assert [len(payloads(each)) for each in connections] == [1, 0, 1, 1]


def test_a_subscription_identifier_goes_along_with_a_turn() -> None:
    broker = new_broker()
    connection = connect(broker, "c")
    subscribe(connection, "$share/g/a", subscription_identifiers=[9])
    broker.publish(message(payload=b"x"), None, 0.0)
    assert connection.outbox.take() == raw(0x30, b"\x00\x01a", b"\x02\x0b\x09", b"x")


@pytest.mark.parametrize("seed", range(5))
def test_random_members_coming_and_going(seed: int) -> None:
    """Every message goes to exactly one of those who are there."""
    random = Random(seed)
    broker = new_broker()
    connections = [connect(broker, f"m{number}") for number in range(4)]
    present: set[int] = set()
    for number in range(60):
        who = random.randrange(4)
        if who in present:
            broker.unsubscribe(session_of(connections[who]), "$share/g/a")
            present.discard(who)
        else:
            subscribe(connections[who], "$share/g/a", 1)
            present.add(who)
        reason = broker.publish(message(payload=b"%d" % number, qos=1), None, 0.0)
        assert reason == (0 if present else 0x10)
        found = [(at, payload) for at, each in enumerate(connections) for payload in payloads(each)]
        assert [payload for _, payload in found] == ([b"%d" % number] if present else [])
        assert {at for at, _ in found} <= present
        assert broker.stats.shared_subscriptions == len(present)


@statement("MQTT5-4.8.2-4", "MQTT5-4.8.2-5")
def test_what_a_member_leaves_goes_to_another() -> None:
    broker = new_broker()
    one = connect(broker, "one", receive_maximum=2)
    subscribe(one, "$share/g/a", 2)
    for payload, qos, expires_at in ((b"1", 1, NEVER), (b"2", 2, NEVER), (b"old", 1, 5.0), (b"3", 2, NEVER)):
        broker.publish(message(payload=payload, qos=qos, expires_at=expires_at), None, 0.0)
    other = connect(broker, "other")
    subscribe(other, "$share/g/a", 2)
    one.lost(6.0)
    found = publishes(other)
    assert [(each.payload, each.dup) for each in found] == [(b"1", False), (b"3", False)]


def test_what_the_last_member_leaves_is_gone() -> None:
    broker = new_broker()
    one = connect(broker, "one")
    subscribe(one, "$share/g/a", 1)
    broker.publish(message(qos=1), None, 0.0)
    one.lost(0.0)
    assert not broker.sessions
    assert broker.faults == []


@statement("MQTT5-3.8.3-3")
def test_no_local_on_the_way() -> None:
    broker = new_broker()
    one, other = connect(broker, "one"), connect(broker, "other")
    subscribe(one, "a", 1, no_local=True)
    subscribe(other, "a", 1, no_local=True)
    send(one, Publish("a", b"x", qos=1, packet_identifier=1))
    assert kinds(said(one)) == ["Puback"]
    assert payloads(other) == [b"x"]
    subscribe(one, "#", 0)
    send(one, Publish("a", b"y", qos=1, packet_identifier=2))
    own = next(each for each in said(one) if isinstance(each, Publish))
    assert (own.payload, own.qos) == (b"y", 0)
