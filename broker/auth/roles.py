"""Roles: who may publish, subscribe and retain what. A Grant is made from them at CONNECT and asked ever after.

Laws. While there is no role, everything is allowed; once there is one, nothing is but what a role allows. Of all the
roles of a Client, one that denies goes before any that allows. A Topic Filter may be subscribed to if one single rule
allows every topic that it matches and none denies all of them; a rule that denies some of them is asked again, with the
topic, for each message, retained ones too. To publish with RETAIN needs a rule of its own beside that: `allow_retain`,
or, in a role that has none, what the role lets publish anyway.

Roles of a user name belong to who has proved that name: `*` is everybody who has proved one, `anonymous` whoever has
not, and neither is ever a user name.

Answers are remembered by topic, up to a number; then all of them are forgotten. Clients of the same roles share one
memory where no rule of those roles holds a `%c` or `%u`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from broker.auth.patterns import Extent, Pattern, PatternError
from broker.core.grants import Grant
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.auth.methods import Identity

EVERYBODY: Final = "*"
ANONYMOUS: Final = "anonymous"
REMEMBERED: Final = 4096  # topics in a memory that Clients share
REMEMBERED_ALONE: Final = 512  # topics in a memory that one Client has for itself
REMEMBERED_LENGTH: Final = 256  # characters of a topic beyond which it is judged anew each time

T = TypeVar("T")


class PolicyError(ValueError):
    """Roles that cannot be used; the message names every mistake, one a line."""


class RoleLike(Protocol):
    """A role as a configuration writes it; its lists hold patterns, `users` user names, `*` and `anonymous`."""

    @property
    def name(self) -> str: ...
    @property
    def users(self) -> Sequence[str]: ...
    @property
    def allow_publish(self) -> Sequence[str]: ...
    @property
    def deny_publish(self) -> Sequence[str]: ...
    @property
    def allow_subscribe(self) -> Sequence[str]: ...
    @property
    def deny_subscribe(self) -> Sequence[str]: ...
    @property
    def allow_retain(self) -> Sequence[str]: ...
    @property
    def deny_retain(self) -> Sequence[str]: ...


class Rules:
    """The patterns of a role for one kind of doing. Raises PatternError."""

    __slots__ = ("allow", "deny")

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self.allow = tuple(Pattern(text) for text in allow)
        self.deny = tuple(Pattern(text) for text in deny)


NO_RULES: Final = Rules()


class Role:
    """What whoever has it may do. `personal`: it holds a `%c` or `%u`."""

    __slots__ = ("name", "personal", "publish", "retain", "subscribe")

    def __init__(
        self, name: str, publish: Rules = NO_RULES, subscribe: Rules = NO_RULES, retain: Rules = NO_RULES
    ) -> None:
        self.name = name
        self.publish = publish
        self.subscribe = subscribe
        self.retain = retain
        self.personal = any(
            pattern.personal for rules in (publish, subscribe, retain) for pattern in (*rules.allow, *rules.deny)
        )


class Rule:
    """One pattern of a role, filled for a Client; `fault` says why that could not be done, or is ""."""

    __slots__ = ("extent", "fault", "index", "key", "pattern", "role")

    def __init__(self, role: str, key: str, index: int, pattern: Pattern, extent: Extent | None, fault: str) -> None:
        self.role = role
        self.key = key  # "allow_publish", as the configuration writes it
        self.index = index  # in that list, from 0
        self.pattern = pattern
        self.extent = extent
        self.fault = fault

    @property
    def name(self) -> str:
        """Where it stands, and what it says."""
        return f'role "{self.role}", {self.key}[{self.index}] = "{self.pattern.text}"'

    def told(self) -> str:
        """Its name and what it comes to for that Client."""
        if self.fault and self.extent is not None:
            return f'{self.name}, which denies all of "{self.extent.text}" here: {self.fault}'
        if self.extent is not None and self.extent.text != self.pattern.text:
            return f'{self.name}, here "{self.extent.text}"'
        return self.name


class Decision:
    """What was decided and by which rule; by none where nothing allows it."""

    __slots__ = ("allowed", "rule")

    def __init__(self, allowed: bool, rule: Rule | None) -> None:
        self.allowed = allowed
        self.rule = rule


UNMENTIONED: Final = Decision(False, None)


class RuleSet:
    """The rules of several roles for one kind of doing, filled for one Client."""

    __slots__ = ("_client_identifier", "_user_name", "allow", "deny")

    def __init__(self, client_identifier: str, user_name: str) -> None:
        self.allow: list[Rule] = []
        self.deny: list[Rule] = []
        self._client_identifier = client_identifier
        self._user_name = user_name

    def add(self, role: str, kind: str, allow: Iterable[Pattern], deny: Iterable[Pattern] = ()) -> None:
        """Take in what `role` says; `kind` is "publish", "subscribe" or "retain"."""
        for key, patterns, rules in (("allow", allow, self.allow), ("deny", deny, self.deny)):
            for index, pattern in enumerate(patterns):
                extent, fault = pattern.fill(self._client_identifier, self._user_name, key == "deny")
                rules.append(Rule(role, f"{key}_{kind}", index, pattern, extent, fault))

    def judge(self, topic: str) -> Decision:
        """Say whether it may be done with that Topic Name."""
        names = topic.split("/")
        for rule in self.deny:
            if rule.extent is not None and rule.extent.holds(names):
                return Decision(False, rule)
        for rule in self.allow:
            if rule.extent is not None and rule.extent.holds(names):
                return Decision(True, rule)
        return UNMENTIONED

    def judge_filter(self, topic_filter: str) -> Decision:
        """Say whether it may be done with that Topic Filter, which has no `$share` prefix."""
        asked = topic_filter.split("/")
        for rule in self.deny:
            if rule.extent is not None and rule.extent.covers(asked):
                return Decision(False, rule)
        for rule in self.allow:
            if rule.extent is not None and rule.extent.covers(asked):
                return Decision(True, rule)
        return UNMENTIONED


class Answers(dict[str, T], Generic[T]):
    """What was decided, by topic: `yes` where all of `sets` allow it. A topic that is not in here is judged."""

    def __init__(self, sets: tuple[RuleSet, ...], yes: T, no: T, size: int) -> None:
        self._sets = sets
        self._yes = yes
        self._no = no
        self._size = size

    def __missing__(self, topic: str) -> T:
        answer = self._yes
        for rules in self._sets:
            if not rules.judge(topic).allowed:
                answer = self._no
                break
        if len(topic) <= REMEMBERED_LENGTH:
            if len(self) >= self._size:
                self.clear()
            self[topic] = answer
        return answer


class Permissions:
    """What several roles allow one Client, or all Clients that have them where none of the roles is personal."""

    def __init__(self, roles: Sequence[Role], client_identifier: str, user_name: str) -> None:
        self.roles = tuple(role.name for role in roles)
        self.publish = publish = RuleSet(client_identifier, user_name)
        self.subscribe = subscribe = RuleSet(client_identifier, user_name)
        self.retain = retain = RuleSet(client_identifier, user_name)
        for role in roles:
            publish.add(role.name, "publish", role.publish.allow, role.publish.deny)
            subscribe.add(role.name, "subscribe", role.subscribe.allow, role.subscribe.deny)
            retain.add(role.name, "retain", role.retain.allow, role.retain.deny)
            if not role.retain.allow:
                retain.add(role.name, "publish", role.publish.allow)
        size = REMEMBERED_ALONE if any(role.personal for role in roles) else REMEMBERED
        yes, no = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED
        self.published = Answers((publish,), yes, no, size)
        self.published_retained = Answers((publish, retain), yes, no, size)
        self.delivered = Answers((subscribe,), True, False, size)

    def may_publish(self, topic: str, retain: bool) -> Decision:
        """Say whether, and by which rule; nothing is remembered, as in all three."""
        decision = self.publish.judge(topic)
        return self.retain.judge(topic) if retain and decision.allowed else decision

    def may_subscribe(self, topic_filter: str) -> Decision:
        return self.subscribe.judge_filter(topic_filter)

    def may_receive(self, topic: str) -> Decision:
        return self.subscribe.judge(topic)


class RoleGrant(Grant):
    """What the roles of a Client allow it."""

    def __init__(
        self,
        permissions: Permissions,
        user_name: str = "",
        principal: str = "",
        expires_at: float = math.inf,
        data: bytes = b"",
    ) -> None:
        super().__init__(user_name, False, principal, expires_at, data)
        self.permissions = permissions
        self._published = permissions.published
        self._published_retained = permissions.published_retained
        self._delivered = permissions.delivered

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        return self._published_retained[topic] if retain else self._published[topic]

    def subscribe(self, topic_filter: str, qos: int) -> ReasonCode:
        if self.permissions.may_subscribe(topic_filter).allowed:
            return ReasonCode.SUCCESS
        return ReasonCode.NOT_AUTHORIZED

    def may_deliver(self, topic: str) -> bool:
        return self._delivered[topic]

    def delivery_rule(self, topic: str) -> str:
        rule = self.permissions.may_receive(topic).rule
        if rule is not None:
            return rule.told()
        held = self.permissions.roles
        if not held:
            return "it has no role, and once there are roles nothing else allows anything"
        return f"none of its roles ({', '.join(held)}) has a rule that allows it"


class Roles:
    """The policy: all roles, and which of them the users have. Raises PolicyError.

    `users` maps a user name, `*` or `anonymous` to names of roles.
    """

    def __init__(self, roles: Iterable[Role] = (), users: Mapping[str, Iterable[str]] | None = None) -> None:
        self.roles: dict[str, Role] = {}
        self._users: dict[str, frozenset[str]] = {}
        self._shared: WeakValueDictionary[tuple[str, ...], Permissions] = WeakValueDictionary()
        mistakes: list[str] = []
        for role in roles:
            if not role.name:
                mistakes.append("a role needs a name")
            elif role.name in self.roles:
                mistakes.append(f'role "{role.name}" is there twice: give one of them another name')
            self.roles[role.name] = role
        for user, names in (users or {}).items():
            self._users[user] = frozenset(names)
            missing = sorted(self._users[user] - self.roles.keys())
            mistakes += [f'user "{user}" has the role "{name}", which is not there' for name in missing]
        if mistakes:
            raise PolicyError("\n".join(mistakes))

    def roles_of(self, user_name: str, extra_roles: Iterable[str] = ()) -> tuple[Role, ...]:
        """The roles of a user, in the policy's order; `user_name` "" is whoever has proved none.

        A name in `extra_roles` that the policy does not have gives nothing.
        """
        names = set(extra_roles)
        if not user_name:
            names |= self._users.get(ANONYMOUS, frozenset())
        else:
            names |= self._users.get(EVERYBODY, frozenset())
            if user_name not in (EVERYBODY, ANONYMOUS):
                names |= self._users.get(user_name, frozenset())
        return tuple(role for role in self.roles.values() if role.name in names)

    def permissions(self, user_name: str, client_identifier: str, extra_roles: Iterable[str] = ()) -> Permissions:
        """What that user may do as that Client; made once for all who have the same roles, where none is personal."""
        roles = self.roles_of(user_name, extra_roles)
        if any(role.personal for role in roles):
            return Permissions(roles, client_identifier, user_name)
        names = tuple(role.name for role in roles)
        found = self._shared.get(names)
        if found is None:
            found = self._shared[names] = Permissions(roles, "", "")
        return found

    def grant(
        self,
        user_name: str,
        client_identifier: str,
        extra_roles: Iterable[str] = (),
        principal: str = "",
        expires_at: float = math.inf,
        data: bytes = b"",
    ) -> Grant:
        """What whoever has proved `user_name` ("" for nobody) may do. The other arguments are those of Grant.

        `extra_roles` are those that the proof itself names. The Client Identifier is the one in the CONNECT: one that
        the Server assigns is not known yet, and fills no `%c`.
        """
        if not self.roles:
            return Grant(user_name, True, principal, expires_at, data)
        permissions = self.permissions(user_name, client_identifier, extra_roles)
        return RoleGrant(permissions, user_name, principal, expires_at, data)

    def grant_to(self, identity: Identity | None, client_identifier: str, data: bytes = b"") -> Grant:
        """What somebody may do who has proved that, or None for nothing; principal and end are left to the caller."""
        if identity is None:
            return self.grant("", client_identifier, data=data)
        return self.grant(identity.user_name, client_identifier, identity.roles, data=data)


def policy(roles: Iterable[RoleLike]) -> Roles:
    """The policy that a configuration writes. Raises PolicyError, which names every mistake."""
    made: list[Role] = []
    users: dict[str, list[str]] = {}
    mistakes: list[str] = []
    for role in roles:
        name = role.name
        publish = _read(name, "publish", role.allow_publish, role.deny_publish, mistakes)
        subscribe = _read(name, "subscribe", role.allow_subscribe, role.deny_subscribe, mistakes)
        retain = _read(name, "retain", role.allow_retain, role.deny_retain, mistakes)
        made.append(Role(name, publish, subscribe, retain))
        for user in role.users:
            if user:
                users.setdefault(user, []).append(name)
            else:
                mistakes.append(f'role "{name}": a user name of no character; who has none is "{ANONYMOUS}"')
    found = Roles()
    try:
        found = Roles(made, users)
    except PolicyError as error:
        mistakes.append(str(error))
    if mistakes:
        raise PolicyError("\n".join(mistakes))
    return found


def _read(role: str, kind: str, allow: Sequence[str], deny: Sequence[str], mistakes: list[str]) -> Rules:
    """These rules; or none, and the mistakes in them."""
    count = len(mistakes)
    for key, patterns in (("allow", allow), ("deny", deny)):
        for index, text in enumerate(patterns):
            try:
                Pattern(text)
            except PatternError as error:
                mistakes.append(f'role "{role}": {key}_{kind}[{index}] "{text}": {error}')
    return Rules(allow, deny) if len(mistakes) == count else NO_RULES
