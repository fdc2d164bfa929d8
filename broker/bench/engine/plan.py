"""Who is who in a run: topics and filters of all Clients, who must receive whose messages, and which worker has whom.

It follows from the Workload alone, so that each worker works it out for itself. Filters that are the same are one here:
a thousand subscribers of `#` cost one comparison for each topic, not a thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.topics import matches, split_share

if TYPE_CHECKING:
    from broker.bench.workload import Workload


class Audience:
    """The subscribers of one Topic Filter; of a Shared Subscription one of them gets each message."""

    def __init__(self, topic_filter: str) -> None:
        share_name, self.topic_filter = split_share(topic_filter)
        self.shared = share_name is not None
        self.members: list[int] = []
        self.sizes: list[int] = []  # by worker: deliveries of one message to members there

    def count(self, workers: int, worker_of: list[int]) -> None:
        """Fill in `sizes`."""
        self.sizes = [0] * workers
        for member in self.members:
            if not self.shared or not self.sizes[worker_of[member]]:
                self.sizes[worker_of[member]] += 1


def expand(template: str, number: int, others: int, client_identifier: str, user_name: str) -> str:
    """`template` with its `%i`, `%m`, `%c` and `%u` filled in; any other `%` stays."""
    filled = template.replace("%i", str(number)).replace("%m", str(number % others if others else 0))
    return filled.replace("%c", client_identifier).replace("%u", user_name)


class Plan:
    """All Clients of `workload` by kind and number.

    `receivers` has the audiences of each publisher. With `echo` the subscribers are the publishers themselves. In
    payloads the publishers are numbered from `first_source` on, which is another in each run: whoever measures at the
    same topics at the same time is told apart.
    """

    def __init__(self, workload: Workload, user_name: str, token: str, workers: int, first_source: int = 0) -> None:
        self.first_source = first_source
        self._prefix = f"{workload.client_prefix}-{token}-"
        subscribers = workload.publishers if workload.echo else workload.subscribers
        subscriber_kind = "p" if workload.echo else "s"
        self.topics = [
            expand(workload.topic, number, subscribers, self.identifier("p", number), user_name)
            for number in range(workload.publishers)
        ]
        self.filters = [
            expand(
                workload.topic_filter, number, workload.publishers, self.identifier(subscriber_kind, number), user_name
            )
            for number in range(subscribers)
        ]
        audiences: dict[str, Audience] = {}
        for number, topic_filter in enumerate(self.filters):
            audience = audiences.get(topic_filter)
            if audience is None:
                audience = audiences[topic_filter] = Audience(topic_filter)
            audience.members.append(number)
        self.receivers = _receivers(self.topics, list(audiences.values()))
        self.publisher_worker: list[int] = []
        self.subscriber_worker: list[int] = []
        self._deal(list(audiences.values()), workers, workload.echo)
        for audience in audiences.values():
            audience.count(workers, self.subscriber_worker)

    def identifier(self, kind: str, number: int) -> str:
        """The Client Identifier of a publisher ("p"), subscriber ("s") or idle Client ("i")."""
        return f"{self._prefix}{kind}{number}"

    def _deal(self, audiences: list[Audience], workers: int, echo: bool) -> None:
        """Keep together who has to do with each other, where that leaves nobody without work."""
        groups = _groups(len(self.topics), self.receivers, audiences, len(self.filters) if echo else 0)
        publisher_group, audience_group = groups
        names = sorted({*publisher_group, *audience_group})
        together = len(names) >= workers or any(audience.shared for audience in audiences)
        if not together:
            self.publisher_worker = [number % workers for number in range(len(self.topics))]
            self.subscriber_worker = [number % workers for number in range(len(self.filters))]
            return
        worker_of = {name: place % workers for place, name in enumerate(names)}
        self.publisher_worker = [worker_of[group] for group in publisher_group]
        self.subscriber_worker = [0] * len(self.filters)
        for audience, group in zip(audiences, audience_group, strict=True):
            for member in audience.members:
                self.subscriber_worker[member] = worker_of[group]


def _receivers(topics: list[str], audiences: list[Audience]) -> list[list[Audience]]:
    literal: dict[str, list[Audience]] = {}
    wild: list[Audience] = []
    for audience in audiences:
        if "+" in audience.topic_filter or "#" in audience.topic_filter:
            wild.append(audience)
        else:
            literal.setdefault(audience.topic_filter, []).append(audience)
    found: dict[str, list[Audience]] = {}
    for topic in topics:
        if topic not in found:
            matching = [audience for audience in wild if matches(audience.topic_filter, topic)]
            found[topic] = literal.get(topic, []) + matching
    return [found[topic] for topic in topics]


def _groups(
    publishers: int, receivers: list[list[Audience]], audiences: list[Audience], themselves: int
) -> tuple[list[int], list[int]]:
    """A number for each publisher and for each audience; the same one where messages go between them.

    The first `themselves` subscribers are publishers too.
    """
    place = {id(audience): publishers + index for index, audience in enumerate(audiences)}
    leader = list(range(publishers + len(audiences)))
    for publisher, matching in enumerate(receivers):
        for audience in matching:
            _join(leader, publisher, place[id(audience)])
    if themselves:
        for audience in audiences:
            for member in audience.members:
                _join(leader, member, place[id(audience)])
    found = [_find(leader, each) for each in range(len(leader))]
    return found[:publishers], found[publishers:]


def _find(leader: list[int], each: int) -> int:
    while leader[each] != each:
        leader[each] = leader[leader[each]]
        each = leader[each]
    return each


def _join(leader: list[int], one: int, other: int) -> None:
    first = _find(leader, one)
    second = _find(leader, other)
    leader[max(first, second)] = min(first, second)
