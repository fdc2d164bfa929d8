"""Roles: against a reference that tries every rule on every topic, and each law by itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.auth.methods import Identity
from broker.auth.roles import (
    REMEMBERED,
    REMEMBERED_ALONE,
    REMEMBERED_LENGTH,
    PolicyError,
    Role,
    RoleGrant,
    Roles,
    Rules,
    policy,
)
from broker.packets.reasons import ReasonCode
from broker.packets.topics import STRING_BYTES
from broker.packets.types import Connack, Connect, Puback, Publish, Subscribe, SubscriptionRequest, Will
from tests.auth.test_patterns import HOSTILE, TOPICS, everything, filters, steps
from tests.core.parts import accept, connect, new_broker, publishes, request, said, send, session_of, subscribe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.core.grants import Grant
    from broker.core.ports import Peer

YES: Final = ReasonCode.SUCCESS
NO: Final = ReasonCode.NOT_AUTHORIZED


class Written:
    """A role as a configuration would write it."""

    def __init__(self, name: str, users: Sequence[str] = ("*",), **lists: Sequence[str]) -> None:
        self.name = name
        self.users = users
        self.allow_publish = lists.pop("allow_publish", ())
        self.deny_publish = lists.pop("deny_publish", ())
        self.allow_subscribe = lists.pop("allow_subscribe", ())
        self.deny_subscribe = lists.pop("deny_subscribe", ())
        self.allow_retain = lists.pop("allow_retain", ())
        self.deny_retain = lists.pop("deny_retain", ())
        assert not lists


def granted(*roles: Role, user: str = "ann", client: str = "c1") -> RoleGrant:
    """What somebody with all of these may do."""
    grant = Roles(roles, {"*": [role.name for role in roles]}).grant(user, client)
    assert isinstance(grant, RoleGrant)
    return grant


# The reference: no levels, no memory, no order of rules: sets of topics

Acl = list[tuple[tuple[list[str], list[str]], tuple[list[str], list[str]], tuple[list[str], list[str]]]]


def acl_of(written: list[tuple[int, str]]) -> Acl:
    """Three roles of two lists for each of publish, subscribe and retain; a filter goes into one of the 18."""
    acl: Acl = [(([], []), ([], []), ([], [])) for _ in range(3)]
    for place, topic_filter in written:
        acl[place % 3][place // 3 % 3][place // 9].append(topic_filter)
    return acl


acls = st.builds(acl_of, st.lists(st.tuples(st.integers(0, 17), filters), max_size=12))


def united(lists: list[list[str]], deny: bool) -> set[str]:
    return {topic for texts in lists for text in texts for topic in everything(text, deny)}


def allowed(acl: Acl, kind: int, retain: bool = False) -> set[str]:
    """All topics for which it may be done."""
    found = united([role[kind][0] for role in acl], False) - united([role[kind][1] for role in acl], True)
    if retain:
        found &= united([role[2][0] or role[kind][0] for role in acl], False)
        found -= united([role[2][1] for role in acl], True)
    return found


def may_subscribe(acl: Acl, topic_filter: str) -> bool:
    asked = everything(topic_filter, False)
    denied = any(asked <= everything(text, True) for role in acl for text in role[1][1])
    return not denied and any(asked <= everything(text, False) for role in acl for text in role[1][0])


def grant_of(acl: Acl) -> RoleGrant:
    return granted(*(Role(str(index), *(Rules(*pair) for pair in role)) for index, role in enumerate(acl)))


@given(acls, st.booleans())
def test_publishing_and_receiving_is_as_the_reference_says(acl: Acl, retain: bool) -> None:
    grant = grant_of(acl)
    may_publish, may_receive = allowed(acl, 0, retain), allowed(acl, 1)
    for _ in range(2):  # judged, then remembered
        for topic in TOPICS:
            assert grant.publish(topic, 1, retain) == (YES if topic in may_publish else NO)
            assert grant.may_deliver(topic) == (topic in may_receive)
    topic = max(may_publish | may_receive, default="a")
    assert grant.permissions.may_publish(topic, retain).allowed == (topic in may_publish)
    assert grant.permissions.may_receive(topic).allowed == (topic in may_receive)


@given(acls, filters)
def test_subscribing_is_as_the_reference_says(acl: Acl, topic_filter: str) -> None:
    assert grant_of(acl).subscribe(topic_filter, 1) == (YES if may_subscribe(acl, topic_filter) else NO)


@given(acls)
def test_nothing_denied_is_delivered_whatever_was_subscribed_to(acl: Acl) -> None:
    grant = grant_of(acl)
    for topic in united([role[1][1] for role in acl], True):
        assert not grant.may_deliver(topic)
        assert grant.subscribe(topic, 0) == NO


def test_without_a_role_everything_is_allowed() -> None:
    grant = Roles().grant("ann", "c1", ("nothing",), "principal", 7.0, b"data")
    assert not isinstance(grant, RoleGrant)
    assert grant.everything
    assert (grant.user_name, grant.principal, grant.expires_at, grant.data) == ("ann", "principal", 7.0, b"data")


def test_with_a_role_nothing_is_but_what_it_says() -> None:
    grant = Roles([Role("other", Rules(["#"]), Rules(["#"]))]).grant("ann", "c1", (), "principal", 7.0, b"data")
    assert isinstance(grant, RoleGrant)
    assert not grant.everything
    assert (grant.user_name, grant.principal, grant.expires_at, grant.data) == ("ann", "principal", 7.0, b"data")
    assert grant.publish("a", 0, False) == NO
    assert grant.subscribe("a", 0) == NO
    assert not grant.may_deliver("a")
    assert Roles([Role("other")]).grant("ann", "c1").expires_at == math.inf


def test_deny_goes_before_allow_in_all_roles_together() -> None:
    grant = granted(Role("reader", subscribe=Rules(["#"])), Role("but", subscribe=Rules((), ["secret/#"])))
    assert grant.subscribe("#", 0) == YES
    assert grant.subscribe("secret/+", 0) == NO
    assert grant.subscribe("secret/#", 0) == NO
    assert grant.subscribe("+/x", 0) == YES
    assert grant.may_deliver("open/x")
    assert not grant.may_deliver("secret/x")
    assert not grant.may_deliver("secret")


def test_a_filter_has_to_lie_within_one_rule() -> None:
    grant = granted(Role("reader", subscribe=Rules(["home/+/t", "home/+/h", "garden/#"])))
    assert grant.subscribe("home/+/t", 0) == YES
    assert grant.subscribe("home/kitchen/t", 0) == YES
    assert grant.subscribe("home/#", 0) == NO
    assert grant.subscribe("home/kitchen/+", 0) == NO
    assert grant.subscribe("#", 0) == NO
    assert grant.subscribe("+/kitchen/t", 0) == NO
    assert grant.subscribe("garden", 0) == YES


def test_retain_needs_more_than_publish() -> None:
    grant = granted(Role("sensor", Rules(["s/#"]), Rules(["s/#"]), Rules(["s/state/#", "x/#"], ["s/state/no"])))
    assert grant.publish("s/now", 0, False) == YES
    assert grant.publish("s/now", 0, True) == NO
    assert grant.publish("s/state/x", 0, True) == YES
    assert grant.publish("s/state/no", 0, True) == NO
    assert grant.publish("s/state/no", 0, False) == YES
    assert grant.publish("x/y", 0, True) == NO
    assert grant.may_deliver("s/now")
    assert grant.may_deliver("s/state/no")


def test_a_role_that_says_nothing_of_retain_allows_it_where_it_allows_the_rest() -> None:
    grant = granted(Role("a", Rules(["a/#"])), Role("few", Rules(["c/#"]), retain=Rules(["c/x"])))
    assert grant.publish("a/1", 0, True) == YES
    assert grant.publish("c/x", 0, True) == YES
    assert grant.publish("c/1", 0, True) == NO
    never = granted(Role("never", Rules(["a/#"]), Rules(["a/#"]), Rules((), ["#"])))
    assert never.publish("a/1", 0, False) == YES
    assert never.publish("a/1", 0, True) == NO
    assert never.may_deliver("a/1")


def test_topics_with_a_dollar_sign_have_to_be_written_out() -> None:
    grant = granted(Role("all", Rules(["#", "+/#"]), Rules(["#", "+/#"])))
    assert grant.subscribe("$SYS/#", 0) == NO
    assert grant.subscribe("$SYS/broker/uptime", 0) == NO
    assert not grant.may_deliver("$SYS/broker/uptime")
    assert grant.publish("$app/x", 0, False) == NO
    watcher = granted(Role("all", subscribe=Rules(["#"])), Role("watcher", subscribe=Rules(["$SYS/#"])))
    assert watcher.subscribe("$SYS/#", 0) == YES
    assert watcher.may_deliver("$SYS/broker/uptime")
    assert not granted(Role("no", subscribe=Rules(["$SYS/#"], ["#"]))).may_deliver("$SYS/broker/uptime")


def test_places() -> None:
    role = Role("own", Rules(["dev/%c/#"]), Rules(["user/%u/#"]))
    grant = granted(role)
    assert grant.publish("dev/c1/x", 0, False) == YES
    assert grant.publish("dev/c2/x", 0, False) == NO
    assert grant.subscribe("user/ann/#", 0) == YES
    assert grant.subscribe("user/bob/#", 0) == NO
    assert grant.subscribe("user/+/#", 0) == NO
    assert granted(role, client="c2").publish("dev/c2/x", 0, False) == YES


@pytest.mark.parametrize("client", [*HOSTILE, ".*", "$SYS", "%u", "c?", "[^x]*"])
def test_no_client_identifier_reaches_what_is_not_its_own(client: str) -> None:
    role = Role("own", Rules(["dev/%c/#", "%c/x", "log/all-%c"]), Rules(["dev/%c/#", "%c/x", "+/y/%c"]))
    grant = granted(role, client=client)
    for topic in ("dev/a/b", "dev/c2/x", "dev", "dev//x", "$SYS/x", "share/x", "log/all-a", "log/all", "a/y/b", "/x"):
        assert grant.publish(topic, 0, False) == NO
        assert not grant.may_deliver(topic)
    for topic_filter in ("#", "+/x", "dev/#", "dev/+/#", "$SYS/#", "$SYS/x", "+/y/#", "dev/+/b", "a/y/+"):
        assert grant.subscribe(topic_filter, 0) == NO


@pytest.mark.parametrize("client", HOSTILE)
def test_a_rule_that_denies_is_no_hole_for_a_client_identifier_that_fits_nowhere(client: str) -> None:
    grant = granted(Role("r", Rules(["#"], ["dev/%c/secret"]), Rules(["#"], ["dev/%c/secret"])), client=client)
    for topic in ("dev/x/secret", f"dev/{client}/secret", "dev/x/open", "dev"):
        assert grant.publish(topic, 0, False) == NO
        assert not grant.may_deliver(topic)
    assert grant.subscribe("dev/#", 0) == NO
    assert grant.publish("other/x", 0, False) == YES


def test_nobody_who_has_proved_nothing_is_somebody() -> None:
    roles = [Role(name, Rules([name])) for name in ("all", "none", "ann", "both")]
    users = {"*": ["all"], "anonymous": ["none", "both"], "ann": ["ann", "both"]}
    found = Roles(roles, users)

    def names(user: str, *extra: str) -> list[str]:
        return [role.name for role in found.roles_of(user, extra)]

    assert names("ann") == ["all", "ann", "both"]
    assert names("bob") == ["all"]
    assert names("") == ["none", "both"]
    assert names("anonymous") == ["all"]  # who has proved to be called so
    assert names("*") == ["all"]
    assert names("Ann") == ["all"]
    assert names("bob", "ann", "unknown") == ["all", "ann"]
    assert names("", "ann") == ["none", "ann", "both"]


def test_roles_that_the_proof_names_count() -> None:
    grant = Roles([Role("writer", Rules(["a"]))]).grant("ann", "c1", ("writer", "unknown"))
    assert grant.publish("a", 0, False) == YES
    assert Roles([Role("writer", Rules(["a"]))]).grant("ann", "c1", ("unknown",)).publish("a", 0, False) == NO


def test_an_identity_gets_what_its_user_name_and_its_roles_give() -> None:
    roles = [Role("own", Rules(["%u/#"])), Role("token", Rules(["t"])), Role("none", Rules(["n"]))]
    found = Roles(roles, {"*": ["own"], "anonymous": ["none"]})
    grant = found.grant_to(Identity("ann", "jwt", ("token",)), "c1", b"data")
    assert [grant.publish(topic, 0, False) for topic in ("ann/x", "t", "n")] == [YES, YES, NO]
    assert (grant.user_name, grant.data) == ("ann", b"data")
    nobody = found.grant_to(None, "c1", b"")
    assert [nobody.publish(topic, 0, False) for topic in ("ann/x", "t", "n")] == [NO, NO, YES]
    assert nobody.user_name == ""


def memory(grant: Grant) -> dict[str, bool]:
    assert isinstance(grant, RoleGrant)
    return grant.permissions.delivered


def test_clients_of_the_same_roles_share_a_memory_unless_a_role_is_personal() -> None:
    found = Roles(
        [Role("a", subscribe=Rules(["a/#"])), Role("own", subscribe=Rules(["b/%c"]))], {"*": ["a"], "x": ["own"]}
    )
    one, two = found.grant("ann", "c1"), found.grant("bob", "c2")
    assert memory(one) is memory(two)
    assert one.may_deliver("a/1")
    assert memory(two) == {"a/1": True}
    third, fourth = found.grant("x", "c1"), found.grant("x", "c2")
    assert memory(third) is not memory(fourth)
    assert third.may_deliver("b/c1")
    assert not fourth.may_deliver("b/c1")


def test_a_policy_keeps_no_permissions_of_clients_that_are_gone() -> None:
    found = Roles([Role("a", subscribe=Rules(["a/#"]))], {"*": ["a"]})
    grant = found.grant("ann", "c1")
    assert len(found._shared) == 1
    del grant
    assert len(found._shared) == 0


@pytest.mark.parametrize(("pattern", "size"), [("a/#", REMEMBERED), ("%c/#", REMEMBERED_ALONE)])
def test_memory_is_bounded(pattern: str, size: int) -> None:
    grant = granted(Role("r", subscribe=Rules([pattern])))
    for number in range(size):
        grant.may_deliver(f"a/{number}")
    assert len(memory(grant)) == size
    grant.may_deliver("one/more")
    assert memory(grant) == {"one/more": False}
    grant.may_deliver("x" * REMEMBERED_LENGTH)
    grant.may_deliver("x" * (REMEMBERED_LENGTH + 1))
    assert len(memory(grant)) == 2


def judge(levels: int) -> None:
    deep = "/".join(["a"] * levels)
    grant = granted(Role("r", Rules(["#"], [f"{deep}/x", "+/b/#"]), Rules(["a/#"], [f"{'+/' * levels}x"])))
    assert grant.publish(deep, 0, True) == YES
    assert grant.subscribe(deep, 0) == YES
    assert grant.subscribe("/".join(["a"] + ["+"] * (levels - 1)), 0) == YES
    assert grant.may_deliver(deep)


def test_judging_is_linear_in_the_levels() -> None:
    few, many = steps(lambda: judge(128)), steps(lambda: judge(1280))
    assert few > 128
    assert many <= 10 * few


def test_the_longest_topics_are_judged() -> None:
    judge((STRING_BYTES - 2) // 2)
    assert granted(Role("r", Rules(["#"]))).publish("/" * STRING_BYTES, 0, False) == YES
    assert granted(Role("r", subscribe=Rules(["a/#"]))).subscribe("+/" * 32_767 + "#", 0) == NO


def test_a_policy_as_it_is_written() -> None:
    found = policy(
        [
            Written("sensor", ["s1", "s2"], allow_publish=["s/%u/#"], deny_publish=["s/%u/no"], allow_retain=["s/+/r"]),
            Written(
                "reader", ["*", "anonymous"], allow_subscribe=["s/#"], deny_subscribe=["s/+/no"], deny_retain=["#"]
            ),
        ]
    )
    sensor = found.grant("s1", "c")
    assert sensor.publish("s/s1/x", 0, False) == YES
    assert sensor.publish("s/s1/no", 0, False) == NO
    assert sensor.publish("s/s1/x", 0, True) == NO
    assert sensor.publish("s/s1/r", 0, True) == NO  # deny_retain of the other role
    assert sensor.subscribe("s/#", 0) == YES
    anonymous = found.grant("", "c")
    assert anonymous.publish("s/s1/x", 0, False) == NO
    assert anonymous.subscribe("s/#", 0) == YES
    assert not anonymous.may_deliver("s/s1/no")
    assert policy([]).grant("ann", "c").everything


def test_all_mistakes_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        policy(
            [
                Written("a", ["ann", ""], allow_publish=["ok", "a/#/b"], deny_retain=["50%"]),
                Written("a", deny_subscribe=["%u%c"]),
                Written(""),
            ]
        )
    assert str(caught.value).splitlines() == [
        'role "a": allow_publish[1] "a/#/b": # is not the last character',
        'role "a": deny_retain[0] "50%": % stands for nothing: there are %c and %u, and %% for a percent sign',
        'role "a": a user name of no character; who has none is "anonymous"',
        'role "a": deny_subscribe[0] "%u%c": a level has at most one place: either %c or %u',
        'role "a" is there twice: give one of them another name',
        "a role needs a name",
    ]


def test_a_role_that_is_not_there() -> None:
    with pytest.raises(PolicyError, match='user "ann" has the role "b", which is not there'):
        Roles([Role("a")], {"ann": ["a", "b"]})


# In a Broker


class ByRoles:
    """An Authenticator that takes a Client Identifier for a proved user name."""

    def __init__(self, roles: Roles) -> None:
        self.roles = roles

    def authenticate(self, connect: Connect, peer: Peer) -> Grant:
        name = connect.client_identifier
        return self.roles.grant(name, name, (), name)


def put(connection: Connection, topic: str, retain: bool = False) -> None:
    """Publish with QoS 1, and take note of no answer."""
    send(connection, Publish(topic, b"x", qos=1, packet_identifier=9, retain=retain))
    said(connection)


def topics(connection: Connection) -> list[str]:
    """Those of the messages that have come, which are acknowledged."""
    found = publishes(connection)
    send(connection, *(Puback(each.packet_identifier) for each in found if each.qos))
    return [each.topic for each in found]


def keeping(version: int) -> dict[str, Any]:
    """How to connect with a Session that stays."""
    return {"clean_start": False} | ({"session_expiry_interval": 100} if version == 5 else {})


def resumed(broker: Broker, version: int) -> list[str]:
    """Topics that have waited for `r`, which comes back."""
    connection = accept(broker)
    request(connection, "r", version, **keeping(version))
    connack, *waiting = said(connection)
    assert isinstance(connack, Connack)
    assert connack.session_present
    return [each.topic for each in waiting]


@pytest.mark.parametrize("version", [4, 5])
def test_what_is_denied_arrives_on_no_way(version: int) -> None:
    reader = Role("reader", subscribe=Rules(["#"], ["s/+/no"]))
    writer = Role("writer", Rules(["#"]))
    found = Roles([reader, writer], {"r": ["reader"], "w": ["writer"]})
    broker = new_broker(ByRoles(found))
    pen = connect(broker, "w", version)
    put(pen, "s/1/no", retain=True)
    put(pen, "s/1/yes", retain=True)
    eye = connect(broker, "r", version, **keeping(version))
    assert subscribe(eye, "s/1/no", 1) >= 0x80
    assert subscribe(eye, "$share/g/s/1/no", 1) >= 0x80
    assert subscribe(eye, "$SYS/#", 1) >= 0x80
    send(eye, Subscribe(2, [SubscriptionRequest("#", 1)]))
    _, *retained = said(eye)
    assert [each.topic for each in retained] == ["s/1/yes"]
    send(eye, Puback(retained[0].packet_identifier))
    assert subscribe(eye, "$share/g/+/2/+", 1) == 1
    for topic in ("s/1/no", "s/1/yes", "s/2/no"):
        put(pen, topic)
    assert topics(eye) == ["s/1/yes"]
    for topic in ("s/1/no", "s/1/yes"):
        connect(broker, "w", version, will=Will(topic, b"")).lost(0.0)
    assert topics(eye) == ["s/1/yes"]
    pen = connect(broker, "w", version)
    eye.lost(0.0)
    for topic in ("s/1/no", "s/1/yes", "s/2/no"):
        put(pen, topic)
    assert resumed(broker, version) == ["s/1/yes"]


@pytest.mark.parametrize("version", [4, 5])
def test_what_is_denied_by_a_reload_arrives_no_more(version: int) -> None:
    before = Roles([Role("all", Rules(["#"]), Rules(["#"]))], {"*": ["all"]})
    broker = new_broker(ByRoles(before))
    pen = connect(broker, "w", version)
    eye = connect(broker, "r", version, **keeping(version))
    assert subscribe(eye, "#", 1) == 1
    put(pen, "a")
    assert topics(eye) == ["a"]
    after = Roles([Role("all", Rules(["#"]), Rules(["#"], ["a"]))], {"*": ["all"]})
    broker.regrant(session_of(eye), after.grant("r", "r", (), "r"))
    for topic in ("a", "b"):
        put(pen, topic)
    assert topics(eye) == ["b"]
    eye.lost(0.0)
    for topic in ("b", "c"):
        put(pen, topic)
    broker.authenticator = ByRoles(Roles([Role("all", subscribe=Rules(["#"], ["b"]))], {"*": ["all"]}))
    assert resumed(broker, version) == ["c"]


def test_a_client_is_told_what_it_may_not_do() -> None:
    found = Roles([Role("own", Rules(["%u/#"]), Rules(["%u/#"]), Rules(["%u/state"]))], {"*": ["own"]})
    broker = new_broker(ByRoles(found))
    refused = accept(broker)
    request(refused, "ann", will=Will("bob/w", b""))
    (connack,) = said(refused)
    assert isinstance(connack, Connack)
    assert connack.reason == NO
    connection = connect(broker, "ann", will=Will("ann/w", b""))
    assert subscribe(connection, "ann/#") == YES
    assert subscribe(connection, "bob/#") == NO
    for topic, retain, reason in (("bob/x", False, NO), ("ann/x", True, NO)):
        send(connection, Publish(topic, b"x", qos=1, packet_identifier=9, retain=retain))
        (answer,) = said(connection)
        assert isinstance(answer, Puback)
        assert answer.reason == reason
    assert broker.retained.count == 0
    put(connection, "ann/state", retain=True)
    assert broker.retained.count == 1


def test_what_lets_a_message_through_or_not_is_told() -> None:
    reader = Role("reader", subscribe=Rules(["home/%c/#", "news"], ["home/+/secret", "x/%c"]))
    grant = granted(reader, Role("guest"))
    assert grant.delivery_rule("news") == 'role "reader", allow_subscribe[1] = "news"'
    assert grant.delivery_rule("home/c1/t") == 'role "reader", allow_subscribe[0] = "home/%c/#", here "home/c1/#"'
    assert grant.delivery_rule("home/c1/secret") == 'role "reader", deny_subscribe[0] = "home/+/secret"'
    assert grant.delivery_rule("else") == "none of its roles (reader, guest) has a rule that allows it"
    assert granted(reader, client="a/+").delivery_rule("x/1") == (
        'role "reader", deny_subscribe[1] = "x/%c", which denies all of "x/#" here: the Client Identifier holds \'+\''
    )
    nobody = Roles([reader], {"ann": ["reader"]}).grant("", "c1")
    assert nobody.delivery_rule("news") == "it has no role, and once there are roles nothing else allows anything"
