"""Why a Client may or may not do something: the very rules that decide, asked once more and told in words.

Nothing is decided here. `explain` asks the same Permissions as a RoleGrant does, and adds what stands near the answer:
rules that could not be filled, rules that match only a part of a Topic Filter, and what the Broker itself refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from broker.packets.reasons import ReasonCode
from broker.packets.topics import check_topic_filter, check_topic_name, split_share

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from broker.auth.roles import Decision, Permissions, Roles, Rule, RuleSet

    Action: TypeAlias = Literal["publish", "subscribe", "receive"]

ACTIONS: Final[tuple[Action, ...]] = ("publish", "subscribe", "receive")


class Explanation:
    """The answer. `rule` has decided it; with None it was no rule, and `because` says what."""

    __slots__ = (
        "action",
        "allowed",
        "because",
        "client_identifier",
        "notes",
        "retain",
        "roles",
        "rule",
        "topic",
        "user",
    )

    def __init__(self, action: Action, topic: str, retain: bool, client_identifier: str, user: str) -> None:
        self.action = action
        self.topic = topic
        self.retain = retain
        self.client_identifier = client_identifier
        self.user = user  # "" for whoever has proved nothing
        self.allowed = False
        self.because = ""
        self.roles: tuple[str, ...] = ()
        self.rule: Rule | None = None
        self.notes: list[str] = []

    @property
    def reason_code(self) -> ReasonCode:
        return ReasonCode.SUCCESS if self.allowed else ReasonCode.NOT_AUTHORIZED

    def text(self) -> str:
        """Lines for people."""
        what = f"{self.action} '{self.topic}'" + (" with RETAIN" if self.retain else "")
        who = f"Client '{self.client_identifier}' of {_user(self.user)}"
        lines = [
            f"{'allowed' if self.allowed else 'refused'}: {what}, {who}",
            f"  because: {self.because}",
            f"  roles:   {', '.join(self.roles) or 'none'}",
            *(f"  note:    {note}" for note in self.notes),
        ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        rule = self.rule
        return {
            "allowed": self.allowed,
            "reason_code": int(self.reason_code),
            "action": self.action,
            "topic": self.topic,
            "retain": self.retain,
            "client": self.client_identifier,
            "user": self.user or None,
            "roles": list(self.roles),
            "rule": None
            if rule is None
            else {
                "role": rule.role,
                "list": rule.key,
                "index": rule.index,
                "pattern": rule.pattern.text,
                "stands_for": None if rule.extent is None else rule.extent.text,
            },
            "because": self.because,
            "notes": self.notes,
        }


def explain(
    policy: Roles,
    user_name: str,
    client_identifier: str,
    action: Action,
    topic: str,
    retain: bool = False,
    extra_roles: Iterable[str] = (),
) -> Explanation:
    """Say whether that Client may do it and which rule decides.

    `topic` is a Topic Name, for "subscribe" a Topic Filter, shared or not; `retain` counts for "publish" only.
    `extra_roles` are those that a token or a web service would name. Raises ProtocolError for a topic that is none.
    """
    if action == "subscribe":
        check_topic_filter(topic)
    else:
        check_topic_name(topic)
    found = Explanation(action, topic, retain, client_identifier, user_name)
    if action == "publish" and topic.startswith("$SYS/"):
        found.roles = tuple(role.name for role in policy.roles_of(user_name, extra_roles))
        found.because = "no Client may publish into $SYS, whatever its roles"
        return found
    if not policy.roles:
        found.allowed = True
        found.because = "there are no roles, and without any everything is allowed"
        return found
    permissions = policy.permissions(user_name, client_identifier, extra_roles)
    found.roles = permissions.roles
    decision = _decide(permissions, found)
    found.allowed = decision.allowed
    found.rule = decision.rule
    if decision.rule is not None:
        found.because = decision.rule.told()
    elif not found.roles:
        found.because = f"{_user(user_name)} has no role, and once there are roles nothing else allows anything"
    else:
        found.because = "none of the roles has a rule that allows it"
    for rules in _asked(permissions, found):
        _note(found, rules)
    return found


def _decide(permissions: Permissions, found: Explanation) -> Decision:
    if found.action == "publish":
        return permissions.may_publish(found.topic, found.retain)
    if found.action == "receive":
        return permissions.may_receive(found.topic)
    return permissions.may_subscribe(split_share(found.topic)[1])


def _asked(permissions: Permissions, found: Explanation) -> list[RuleSet]:
    if found.action == "publish":
        return [permissions.publish, permissions.retain] if found.retain else [permissions.publish]
    return [permissions.subscribe]


def _note(found: Explanation, rules: RuleSet) -> None:
    """What is worth knowing beside the rule that decided."""
    notes = [f"{rule.name} allows nothing here: {rule.fault}" for rule in rules.allow if rule.fault]
    notes += [
        f'{rule.name} denies all of "{rule.extent.text}" here: {rule.fault}'
        for rule in rules.deny
        if rule.fault and rule is not found.rule and rule.extent is not None
    ]
    if found.action == "subscribe":
        asked = split_share(found.topic)[1].split("/")
        if found.allowed:
            notes += [f"{rule.name} keeps back a part of its messages" for rule in _meeting(rules.deny, asked)]
        elif found.rule is None:
            notes += [f"{rule.name} allows a part of it only" for rule in _meeting(rules.allow, asked)]
    if found.rule is None and split_share(found.topic)[1].startswith("$"):
        notes.append("a + or # at the beginning of a rule that allows does not stand for topics that begin with $")
    found.notes += [note for note in notes if note not in found.notes]


def _meeting(rules: list[Rule], asked: list[str]) -> list[Rule]:
    return [rule for rule in rules if rule.extent is not None and rule.extent.meets(asked)]


def _user(user_name: str) -> str:
    return f"user '{user_name}'" if user_name else "nobody (anonymous)"
