"""`explain`: the rule that decides, in words and for programs, and never another answer than the Grant's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.auth.explaining import ACTIONS, Explanation, explain
from broker.auth.roles import Role, Roles, Rules
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import valid_topic_filter, valid_topic_name
from tests.auth.test_patterns import FILTERS, TOPICS
from tests.auth.test_roles import acls, grant_of

if TYPE_CHECKING:
    from broker.auth.explaining import Action
    from tests.auth.test_roles import Acl

POLICY = Roles(
    [
        Role(
            "sensor",
            Rules(["s/%c/#"], ["s/%c/secret"]),
            Rules(["s/%c/cmd/#", "all/+"], ["all/no"]),
            Rules(["s/+/state"]),
        ),
        Role("reader", subscribe=Rules(["s/#", "news/+/today"], ["s/+/secret/#"])),
        Role("admin", Rules(["#"]), Rules(["#", "$SYS/#"])),
    ],
    {"ann": ["sensor"], "*": ["reader"]},
)


def asked(
    action: Action,
    topic: str,
    user: str = "ann",
    client: str = "c1",
    retain: bool = False,
    extra_roles: tuple[str, ...] = (),
) -> Explanation:
    return explain(POLICY, user, client, action, topic, retain, extra_roles)


def test_the_rule_that_allows() -> None:
    found = asked("publish", "s/c1/t")
    assert found.text().splitlines() == [
        "allowed: publish 's/c1/t', Client 'c1' of user 'ann'",
        '  because: role "sensor", allow_publish[0] = "s/%c/#", here "s/c1/#"',
        "  roles:   sensor, reader",
    ]
    assert json.loads(json.dumps(found.as_json())) == {
        "allowed": True,
        "reason_code": 0,
        "action": "publish",
        "topic": "s/c1/t",
        "retain": False,
        "client": "c1",
        "user": "ann",
        "roles": ["sensor", "reader"],
        "rule": {
            "role": "sensor",
            "list": "allow_publish",
            "index": 0,
            "pattern": "s/%c/#",
            "stands_for": "s/c1/#",
        },
        "because": 'role "sensor", allow_publish[0] = "s/%c/#", here "s/c1/#"',
        "notes": [],
    }


def test_the_rule_that_denies() -> None:
    found = asked("publish", "s/c1/secret")
    assert not found.allowed
    assert found.reason_code == ReasonCode.NOT_AUTHORIZED
    assert found.because == 'role "sensor", deny_publish[0] = "s/%c/secret", here "s/c1/secret"'
    assert found.text().startswith("refused: publish 's/c1/secret'")


def test_no_rule() -> None:
    found = asked("publish", "other")
    assert found.because == "none of the roles has a rule that allows it"
    assert found.as_json()["rule"] is None
    nobody = asked("publish", "other", user="")
    assert nobody.because == "nobody (anonymous) has no role, and once there are roles nothing else allows anything"
    assert nobody.text().splitlines()[2] == "  roles:   none"
    assert nobody.as_json()["user"] is None


def test_no_roles() -> None:
    found = explain(Roles(), "", "c1", "subscribe", "#")
    assert found.allowed
    assert found.because == "there are no roles, and without any everything is allowed"
    refused = explain(Roles(), "", "c1", "publish", "$SYS/x")
    assert not refused.allowed
    assert refused.because == "no Client may publish into $SYS, whatever its roles"


def test_what_the_broker_refuses_whatever_the_roles_say() -> None:
    found = asked("publish", "$SYS/x", extra_roles=("admin",))
    assert not found.allowed
    assert found.roles == ("sensor", "reader", "admin")
    assert found.as_json()["rule"] is None


def test_retain() -> None:
    assert asked("publish", "s/c1/state", retain=True).because == 'role "sensor", allow_retain[0] = "s/+/state"'
    found = asked("publish", "s/c1/t", retain=True)
    assert not found.allowed
    assert "with RETAIN" in found.text()
    assert asked("receive", "s/c1/t").because == 'role "reader", allow_subscribe[0] = "s/#"'


def test_a_filter_that_is_too_wide() -> None:
    found = asked("subscribe", "news/#")
    assert not found.allowed
    assert found.notes == ['role "reader", allow_subscribe[1] = "news/+/today" allows a part of it only']


def test_a_filter_that_a_rule_denies_a_part_of() -> None:
    found = asked("subscribe", "s/#")
    assert found.allowed
    assert found.notes == ['role "reader", deny_subscribe[0] = "s/+/secret/#" keeps back a part of its messages']
    inside = asked("subscribe", "s/1/secret/x")
    assert not inside.allowed
    assert inside.because == 'role "reader", deny_subscribe[0] = "s/+/secret/#"'
    assert inside.notes == []
    assert not asked("receive", "s/1/secret/x").allowed


def test_a_shared_subscription_is_judged_by_its_filter() -> None:
    assert asked("subscribe", "$share/g/s/#").allowed
    assert not asked("subscribe", "$share/g/#").allowed
    assert not asked("subscribe", "$share/g/news/#").allowed


def test_topics_with_a_dollar_sign() -> None:
    found = asked("receive", "$app/x", extra_roles=("admin",))
    assert not found.allowed
    assert found.notes == [
        "a + or # at the beginning of a rule that allows does not stand for topics that begin with $"
    ]
    assert asked("subscribe", "$SYS/#", extra_roles=("admin",)).allowed


def test_names_that_fit_nowhere_are_told() -> None:
    found = asked("publish", "s/a/b/t", client="a/b")
    assert found.because == (
        'role "sensor", deny_publish[0] = "s/%c/secret", which denies all of "s/#" here: '
        "the Client Identifier holds '/'"
    )
    assert found.notes == [
        'role "sensor", allow_publish[0] = "s/%c/#" allows nothing here: the Client Identifier holds \'/\''
    ]
    elsewhere = asked("publish", "x", client="a/b")
    assert elsewhere.because == "none of the roles has a rule that allows it"
    assert (
        'role "sensor", deny_publish[0] = "s/%c/secret" denies all of "s/#" here: the Client Identifier holds \'/\''
    ) in elsewhere.notes


@pytest.mark.parametrize(
    ("action", "topic"), [("publish", "a/#"), ("receive", "+"), ("subscribe", "a#"), ("publish", "")]
)
def test_topics_that_are_none(action: Action, topic: str) -> None:
    with pytest.raises(ProtocolError):
        asked(action, topic)


@given(acls, st.sampled_from(ACTIONS), st.sampled_from(TOPICS + FILTERS), st.booleans())
def test_it_says_what_the_grant_says(acl: Acl, action: Action, topic: str, retain: bool) -> None:
    roles = [Role(str(index), *(Rules(*pair) for pair in role)) for index, role in enumerate(acl)]
    policy = Roles(roles, {"*": [role.name for role in roles]})
    grant = grant_of(acl)
    if not (valid_topic_filter(topic) if action == "subscribe" else valid_topic_name(topic)):
        return
    found = explain(policy, "ann", "c1", action, topic, retain)
    if action == "publish":
        assert found.reason_code == grant.publish(topic, 0, retain)
    elif action == "subscribe":
        assert found.reason_code == grant.subscribe(topic, 0)
    else:
        assert found.allowed == grant.may_deliver(topic)
    if found.rule is not None:
        assert found.allowed == found.rule.key.startswith("allow")
        role = roles[int(found.rule.role)]
        rules = {"publish": role.publish, "subscribe": role.subscribe, "retain": role.retain}
        effect, kind = found.rule.key.split("_")
        patterns = rules[kind].allow if effect == "allow" else rules[kind].deny
        assert patterns[found.rule.index] is found.rule.pattern
