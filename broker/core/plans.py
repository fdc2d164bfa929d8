"""Who gets the messages of a Topic Name, remembered until a Topic Filter that matches it changes.

A change costs the same however many topics are remembered: one to a filter without wildcards forgets the one plan that
it is about; one to a filter with wildcards is written down, and a plan that is asked for looks whether anything written
down since it last looked matches its topic. Where that would be more to look at than the plan is worth, it is made
anew. Each change also looks at a few plans that nobody may ask for any more, so that none holds on for long to a
Session that is gone. Nothing is ever cleared whole.

Each plan has a place in a ring; when there is no room they give way one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.packets.topics import matches

if TYPE_CHECKING:
    from broker.core.subscriptions import Delivery, ShareGroup

DELIVERIES_A_PLAN: Final = 256  # x plans is the number of Deliveries remembered in all plans together (a guess)
LOOKED_AT: Final = 32  # changes, and one for each Delivery, beyond which a plan is made anew and not checked (a guess)
VISITED: Final = 2  # plans that each change has a look at
WRITTEN_DOWN: Final = 4096  # changes of the past that are still known


class Plan:
    """Who gets the messages of one Topic Name. `seen` counts the changes that it takes into account.

    `messages` is how many it has routed and `last` when, in monotonic seconds: a plan that is made anew goes on from
    the one before, as long as that is remembered.
    """

    __slots__ = ("deliveries", "groups", "last", "messages", "no_local", "place", "seen")

    def __init__(self, deliveries: list[Delivery], groups: list[ShareGroup], no_local: bool) -> None:
        self.deliveries = deliveries
        self.groups = groups
        self.no_local = no_local
        self.seen = 0
        self.place = 0  # in the ring
        self.messages = 0
        self.last = 0.0


class Plans:
    """Those of at most `size` topics."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.deliveries = 0  # in all plans
        self._plans: dict[str, Plan] = {}
        self._ring: list[str] = []  # a topic, or "" where there is room
        self._free: list[int] = []  # places with room
        self._oldest = 0  # the place that gives way next
        self._visited = 0  # the place that the next change looks at
        self._changes: list[str] = []  # filters with wildcards, in the order in which they changed
        self._forgotten = 0  # changes that were written down before these

    def __len__(self) -> int:
        return len(self._plans)

    def get(self, topic: str) -> Plan | None:
        """The plan of that topic, if one is remembered that is still true."""
        plan = self._plans.get(topic)
        if plan is None or self._is_true(topic, plan):
            return plan
        return None

    def put(self, topic: str, plan: Plan) -> None:
        """Remember a plan just made."""
        plan.seen = self._forgotten + len(self._changes)
        count = len(plan.deliveries)
        before = self._plans.get(topic)
        if before is not None:
            plan.messages = before.messages
            self._drop(topic, before)
        most = self.size * DELIVERIES_A_PLAN
        while self._plans and (len(self._plans) >= self.size or self.deliveries + count > most):
            self._drop_oldest()
        if self._free:
            plan.place = self._free.pop()
            self._ring[plan.place] = topic
        else:
            plan.place = len(self._ring)
            self._ring.append(topic)
        self._plans[topic] = plan
        self.deliveries += count

    def remembered(self) -> list[tuple[str, Plan]]:
        """(Topic Name, plan) of each."""
        return list(self._plans.items())

    def changed(self, topic_filter: str) -> None:
        """A subscription with this filter has come, gone, or become another."""
        if not self._plans:
            return
        if "+" not in topic_filter and "#" not in topic_filter:
            plan = self._plans.get(topic_filter)
            if plan is not None:
                self._drop(topic_filter, plan)
            return
        self._changes.append(topic_filter)
        if len(self._changes) >= 2 * WRITTEN_DOWN:
            del self._changes[:WRITTEN_DOWN]
            self._forgotten += WRITTEN_DOWN
        for _ in range(VISITED):
            self._visited = self._visited + 1 if self._visited + 1 < len(self._ring) else 0
            topic = self._ring[self._visited]
            if topic:
                plan = self._plans[topic]
                if not self._is_true(topic, plan):
                    self._drop(topic, plan)

    def _is_true(self, topic: str, plan: Plan) -> bool:
        """Whether nothing that has changed since it last looked matches its topic."""
        changes = self._changes
        end = len(changes)
        begin = plan.seen - self._forgotten
        if begin == end:
            return True
        if begin < 0 or end - begin > LOOKED_AT + len(plan.deliveries):
            return False
        for number in range(begin, end):
            if matches(changes[number], topic):
                return False
        plan.seen = self._forgotten + end
        return True

    def _drop(self, topic: str, plan: Plan) -> None:
        del self._plans[topic]
        self._ring[plan.place] = ""
        self._free.append(plan.place)
        self.deliveries -= len(plan.deliveries)

    def _drop_oldest(self) -> None:
        while True:
            place = self._oldest
            self._oldest = place + 1 if place + 1 < len(self._ring) else 0
            topic = self._ring[place]
            if topic:
                self._drop(topic, self._plans[topic])
                return
