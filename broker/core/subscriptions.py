"""Who gets a message: Topic Filters to subscribers.

The tree has one node a filter level; `+` and `#` are fields of a node, not keys, and filters that begin with `$` stand
under a root of their own, so that the rule of section 4.7.2 [MQTT-4.7.2-1] costs nothing. Walking it for each message
costs microseconds, and a topic that is published once is mostly published again: so the result for a Topic Name, its
`Plan`, is remembered (`broker.core.plans`). A plan holds one Delivery for each Session, however many of its filters
match: the highest QoS, all Subscription Identifiers [MQTT-3.3.4-2, -4].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.journal import Row
from broker.core.plans import Plan, Plans

if TYPE_CHECKING:
    from broker.core.message import ApplicationMessage
    from broker.core.session import Session


class Subscription(Row):
    """One entry of a Session's subscriptions. `topic_filter` is without the `$share` prefix, whose name is `share_name`
    ("" where it is not shared); `identifier` 0 is none."""

    __slots__ = (
        "delivery",
        "identifier",
        "maximum_qos",
        "no_local",
        "overflow",
        "retain_as_published",
        "session",
        "share_name",
        "topic_filter",
    )

    def __init__(
        self,
        session: Session,
        topic_filter: str,
        share_name: str,
        maximum_qos: int,
        no_local: bool = False,
        retain_as_published: bool = False,
        identifier: int = 0,
        overflow: str = "",
    ) -> None:
        self.row = 0
        self.session = session
        self.topic_filter = topic_filter
        self.share_name = share_name
        self.maximum_qos = maximum_qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier
        self.overflow = overflow
        self.delivery: Delivery | None = None  # shared by the plans where its Session has no other one that matches


class Delivery:
    """How one Session gets a message: what its matching subscriptions add up to.

    Of messages that it published itself the Session gets nothing with `skip_own`, where all its subscriptions are No
    Local, and `own`, where only some are [MQTT-3.8.3-3]. `plain` says that nothing in here changes the bytes of a
    message of QoS 0. `group` is set where this is the turn of a member of a shared subscription.
    """

    __slots__ = (
        "group",
        "identifiers",
        "maximum_qos",
        "overflow",
        "own",
        "plain",
        "retain_as_published",
        "retained",
        "session",
        "skip_own",
    )

    def __init__(
        self,
        session: Session,
        maximum_qos: int,
        retain_as_published: bool = False,
        identifiers: tuple[int, ...] = (),
        overflow: str = "",
        group: ShareGroup | None = None,
        retained: bool = False,
    ) -> None:
        self.session = session
        self.maximum_qos = maximum_qos
        self.retain_as_published = retain_as_published
        self.identifiers = identifiers
        self.overflow = overflow
        self.group = group
        self.retained = retained  # sent because of a new subscription: RETAIN is 1 [MQTT-3.3.1-8]
        self.plain = not identifiers and not retain_as_published and not retained
        self.own: Delivery | None = None
        self.skip_own = False


class ShareGroup:
    """A shared subscription: one Share Name and Topic Filter, its members, and whose turn it is (section 4.8.2).

    `asked` is the Session that was given a message last: whose fault it is when `deliver` raises.
    """

    __slots__ = ("asked", "members", "name", "topic_filter", "turn")

    def __init__(self, name: str, topic_filter: str) -> None:
        self.name = name
        self.topic_filter = topic_filter
        self.members: list[Delivery] = []
        self.turn = 0
        self.asked: Session | None = None

    def deliver(self, message: ApplicationMessage, now: float) -> int:
        """Give the message to one member; the outcome is the Session's (see `session.deliver`).

        The first in turn who can send it at once has it; if none can, the first, connected or not, whose queue
        has room: a message that one member refuses goes to another.
        """
        members = self.members
        count = len(members)
        start = self.turn
        for step in range(count):
            at = (start + step) % count
            member = members[at]
            if member.session.can_send(message, member):
                self.turn = at + 1
                self.asked = member.session
                return member.session.deliver(message, member, now)
        best = NOBODY
        for connected in (True, False):
            for step in range(count):
                at = (start + step) % count
                member = members[at]
                if (member.session.connection is not None) is connected:
                    self.asked = member.session
                    outcome = member.session.deliver(message, member, now)
                    if outcome == ACCEPTED:
                        self.turn = at + 1
                        return ACCEPTED
                    best = max(best, outcome)
        return best


# Of memory, rounded up (measured): a level of a filter with its text, a subscription, a member of a shared one.
LEVEL_BYTES: Final = 360
SUBSCRIPTION_BYTES: Final = 600
SHARE_BYTES: Final = 400

NOBODY = 0  # nobody was there to take it
ACCEPTED = 1  # sent, or kept for the Session
REFUSED = 2  # a limit was in the way


class Takers:
    """The subscriptions that end at one place of the tree: those of Sessions, and shared ones by Share Name."""

    __slots__ = ("groups", "sessions")

    def __init__(self) -> None:
        self.sessions: dict[Session, Subscription] = {}
        self.groups: dict[str, ShareGroup] = {}


class Node:
    """One level of the tree. `here` has the filters that end at this level, `hash` those that go on with `#`.

    Most levels have neither, and a filter may have many levels: what is empty is not made.
    """

    __slots__ = ("children", "hash", "here", "plus")

    def __init__(self) -> None:
        self.children: dict[str, Node] | None = None
        self.plus: Node | None = None
        self.here: Takers | None = None
        self.hash: Takers | None = None

    def empty(self) -> bool:
        return not self.children and self.plus is None and self.here is None and self.hash is None


def bytes_of(topic_filter: str, share_name: str) -> int:
    """About how much memory a subscription takes beside the levels of its filter."""
    characters = len(topic_filter) + len(share_name)
    text = 2 * characters if topic_filter.isascii() else 8 * characters
    return SUBSCRIPTION_BYTES + text + (SHARE_BYTES if share_name else 0)


def bytes_alone(topic_filter: str, share_name: str) -> int:
    """About how much memory a subscription takes where no other one has a level in common with it."""
    return bytes_of(topic_filter, share_name) + (topic_filter.count("/") + 1) * LEVEL_BYTES


class SubscriptionTree:
    """All subscriptions of the broker. `bytes` says about how much memory they take."""

    def __init__(self, cache_size: int = 16384) -> None:
        self._root = Node()
        self._dollar_root = Node()
        self.levels = 0
        self.bytes = 0
        self.plans = Plans(cache_size)

    def plan(self, topic: str) -> Plan:
        """Who gets a message to `topic`; remembered until a matching filter changes."""
        found = self.plans.get(topic)
        if found is None:
            found = self._make_plan(topic)
            self.plans.put(topic, found)
        return found

    def add(self, subscription: Subscription) -> None:
        """Put a subscription in, in place of the one that its Session may hold with the same filter [MQTT-3.8.4-3]."""
        topic_filter = subscription.topic_filter
        levels = topic_filter.split("/")
        node = self._dollar_root if topic_filter.startswith("$") else self._root
        multi = levels[-1] == "#"
        made = 0
        for level in levels[:-1] if multi else levels:
            if level == "+":
                child = node.plus
                if child is None:
                    child = node.plus = Node()
                    made += 1
            else:
                children = node.children
                if children is None:
                    children = node.children = {}
                child = children.get(level)
                if child is None:
                    child = children[level] = Node()
                    made += 1
            node = child
        if multi:
            takers = node.hash
            if takers is None:
                takers = node.hash = Takers()
        else:
            takers = node.here
            if takers is None:
                takers = node.here = Takers()
        if subscription.share_name:
            new = self._join(takers.groups, subscription)
        else:
            new = subscription.session not in takers.sessions
            takers.sessions[subscription.session] = subscription
        self.levels += made
        self.bytes += made * LEVEL_BYTES
        if new:
            self.bytes += bytes_of(topic_filter, subscription.share_name)
        self.plans.changed(topic_filter)

    def remove(self, subscription: Subscription) -> None:
        """Take a subscription out; empty branches go with it. Its not being there is no error."""
        topic_filter = subscription.topic_filter
        levels = topic_filter.split("/")
        node = self._dollar_root if topic_filter.startswith("$") else self._root
        multi = levels[-1] == "#"
        path: list[tuple[Node, str]] = []
        for level in levels[:-1] if multi else levels:
            child = _child(node, level)
            if child is None:
                return
            path.append((node, level))
            node = child
        takers = node.hash if multi else node.here
        if takers is None:
            return
        if subscription.share_name:
            gone = self._leave(takers.groups, subscription)
        else:
            gone = takers.sessions.pop(subscription.session, None) is not None
        if not takers.sessions and not takers.groups:
            if multi:
                node.hash = None
            else:
                node.here = None
        while path and node.empty():
            parent, level = path.pop()
            if level == "+":
                parent.plus = None
            else:
                children = parent.children
                assert children is not None
                del children[level]
            self.levels -= 1
            self.bytes -= LEVEL_BYTES
            node = parent
        if gone:
            self.bytes -= bytes_of(topic_filter, subscription.share_name)
        self.plans.changed(topic_filter)

    def more(self, topic_filter: str, share_name: str) -> int:
        """By how much `bytes` would grow with such a subscription of a Session that has not got it."""
        levels = topic_filter.split("/")
        if levels[-1] == "#":
            levels.pop()
        missing = len(levels)
        node = self._dollar_root if topic_filter.startswith("$") else self._root
        for level in levels:
            child = _child(node, level)
            if child is None:
                break
            missing -= 1
            node = child
        return missing * LEVEL_BYTES + bytes_of(topic_filter, share_name)

    @staticmethod
    def _join(groups: dict[str, ShareGroup], subscription: Subscription) -> bool:
        """Make its Session a member; whether it was none."""
        group = groups.get(subscription.share_name)
        if group is None:
            group = groups[subscription.share_name] = ShareGroup(subscription.share_name, subscription.topic_filter)
        delivery = Delivery(
            subscription.session,
            subscription.maximum_qos,
            subscription.retain_as_published,
            (subscription.identifier,) if subscription.identifier else (),
            subscription.overflow,
            group,
        )
        for at, member in enumerate(group.members):
            if member.session is subscription.session:
                group.members[at] = delivery
                return False
        group.members.append(delivery)
        return True

    @staticmethod
    def _leave(groups: dict[str, ShareGroup], subscription: Subscription) -> bool:
        """Let its Session be a member no more; whether it was one."""
        group = groups.get(subscription.share_name)
        if group is None:
            return False
        before = len(group.members)
        group.members = [each for each in group.members if each.session is not subscription.session]
        if not group.members:
            del groups[subscription.share_name]
        return len(group.members) < before

    def _make_plan(self, topic: str) -> Plan:
        found: list[Subscription] = []
        groups: list[ShareGroup] = []
        levels = topic.split("/")
        nodes = [self._dollar_root if topic.startswith("$") else self._root]
        for level in levels:
            below: list[Node] = []
            for node in nodes:
                if node.hash is not None:
                    _take(node.hash, found, groups)
                children = node.children
                if children is not None:
                    child = children.get(level)
                    if child is not None:
                        below.append(child)
                if node.plus is not None:
                    below.append(node.plus)
            nodes = below
            if not nodes:
                break
        for node in nodes:
            # `a/#` matches `a` too (section 4.7.1.2)
            if node.hash is not None:
                _take(node.hash, found, groups)
            if node.here is not None:
                _take(node.here, found, groups)
        no_local = any(each.no_local for each in found)
        return Plan(self._combine(found, no_local), groups, no_local)

    @staticmethod
    def _combine(found: list[Subscription], no_local: bool) -> list[Delivery]:
        """One Delivery a Session."""
        by_session: dict[Session, list[Subscription]] = {}
        for each in found:
            by_session.setdefault(each.session, []).append(each)
        result: list[Delivery] = []
        for session, subscriptions in by_session.items():
            if len(subscriptions) == 1:
                result.append(_alone(subscriptions[0]))
                continue
            delivery = _add_up(session, subscriptions)
            if no_local:
                others = [each for each in subscriptions if not each.no_local]
                if not others:
                    delivery.skip_own = True
                elif len(others) < len(subscriptions):
                    delivery.own = _add_up(session, others)
            result.append(delivery)
        return result


def _child(node: Node, level: str) -> Node | None:
    """The node below for one level of a Topic Filter, which is not `#`."""
    if level == "+":
        return node.plus
    children = node.children
    return None if children is None else children.get(level)


def _take(takers: Takers, found: list[Subscription], groups: list[ShareGroup]) -> None:
    found.extend(takers.sessions.values())
    groups.extend(takers.groups.values())


def _alone(subscription: Subscription) -> Delivery:
    """That of a subscription which alone matches: one object, however many topics it is remembered for."""
    delivery = subscription.delivery
    if delivery is None:
        delivery = subscription.delivery = _add_up(subscription.session, [subscription])
        if subscription.no_local:
            delivery.skip_own = True
    return delivery


def _add_up(session: Session, subscriptions: list[Subscription]) -> Delivery:
    return Delivery(
        session,
        max([each.maximum_qos for each in subscriptions]),
        any(each.retain_as_published for each in subscriptions),
        tuple([each.identifier for each in subscriptions if each.identifier]),
        next((each.overflow for each in subscriptions if each.overflow), ""),
    )
