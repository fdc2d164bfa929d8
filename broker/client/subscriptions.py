"""Who in the program gets which message.

A `Subscription` is what one iterator asked for, with the messages that wait for it. Messages of 5.0 say by their
Subscription Identifiers whose they are; where a Server knows none, and before 5.0, the Topic Filters are matched. An
identifier is believed only where its Topic Filters match, since a resumed Session may hold those of an earlier run.

A message that nobody asked for is dropped, unless the Session is older than this program's subscriptions: then one of
QoS 1 or 2 is held, without an acknowledgement, until a subscription claims it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from broker.client.requests import Request
from broker.packets.topics import matches, split_share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from broker.client.deliveries import Delivery
    from broker.client.errors import ClientError
    from broker.client.message import Message
    from broker.packets.reasons import ReasonCode
    from broker.packets.types import SubscriptionRequest

CACHED_ROUTES: Final = 4096


class Subscription(Request):
    """The Topic Filters of one iterator and what waits for it; settled by the first SUBACK.

    `limit` messages fill `buffer`; `arrived` is called, once, when a message or the end has come.
    """

    __slots__ = (
        "arrived",
        "buffer",
        "dropped",
        "ended",
        "filters",
        "granted",
        "identifier",
        "in_hand",
        "limit",
        "partly",
        "refused",
        "requests",
        "user_properties",
    )

    def __init__(
        self,
        requests: list[SubscriptionRequest],
        limit: int,
        user_properties: Sequence[tuple[str, str]] = (),
        partly: bool = False,
    ) -> None:
        super().__init__()
        self.requests = requests
        self.user_properties = list(user_properties)  # 5.0 only
        self.filters = [split_share(request.topic_filter)[1] for request in requests]
        self.limit = limit
        self.identifier = 0
        self.partly = partly  # one Topic Filter that is granted is enough
        self.granted: dict[str, int] = {}  # the QoS of each Topic Filter, from SUBACK
        self.refused: dict[str, ReasonCode] = {}
        self.buffer: deque[tuple[Message, Delivery | None]] = deque()
        self.in_hand: tuple[Message, Delivery | None] | None = None  # what the application works on
        self.dropped = 0
        self.ended: ClientError | None = None
        self.arrived: Callable[[], None] | None = None

    @property
    def topic_filters(self) -> list[str]:
        """As they are subscribed to, with `$share/...` where it is."""
        return [request.topic_filter for request in self.requests]

    def matches(self, topic: str) -> bool:
        return any(matches(topic_filter, topic) for topic_filter in self.filters)

    def put(self, message: Message, delivery: Delivery | None) -> None:
        self.buffer.append((message, delivery))
        if delivery is not None:
            delivery.holders += 1
        self.wake()

    def end(self, error: ClientError) -> None:
        """Nothing will come any more."""
        self.ended = error
        self.wake()

    def wake(self) -> None:
        arrived = self.arrived
        if arrived is not None:
            self.arrived = None
            arrived()

    def through(self) -> None:
        """The application is through with the message that it had in hand."""
        if self.in_hand is not None:
            _, delivery = self.in_hand
            if delivery is not None:
                delivery.holders -= 1
            self.in_hand = None


class Subscriptions:
    """All subscriptions of a Client, those of a lost Network Connection included."""

    def __init__(self) -> None:
        self.holding = False  # whether messages that nobody asked for are kept
        self._last_identifier = 0
        self._by_identifier: dict[int, Subscription] = {}
        self._by_filter: dict[str, Subscription] = {}
        self._routes: dict[tuple[str, tuple[int, ...]], list[Subscription]] = {}
        self._full: set[Subscription] = set()
        self._held: deque[tuple[Message, Delivery]] = deque()
        self._unwanted: set[str] = set()

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._by_identifier.values()))

    @property
    def full(self) -> bool:
        """Whether a buffer is full, and has not been half emptied since."""
        return bool(self._full)

    @property
    def held(self) -> int:
        """How many messages wait for a subscription that claims them."""
        return len(self._held)

    def add(self, subscription: Subscription) -> None:
        """From now on it takes part; ValueError for a Topic Filter that another one has, as a Session cannot."""
        if len(set(subscription.topic_filters)) < len(subscription.requests):
            raise ValueError("the same Topic Filter twice")
        for topic_filter in subscription.topic_filters:
            if topic_filter in self._by_filter:
                raise ValueError(f"this Client is subscribed to {topic_filter!r} already")
        self._last_identifier += 1
        subscription.identifier = self._last_identifier
        self._by_identifier[subscription.identifier] = subscription
        for topic_filter in subscription.topic_filters:
            self._by_filter[topic_filter] = subscription
        self._unwanted.difference_update(subscription.filters)
        self._routes.clear()
        for message, delivery in self._claim(subscription.matches):
            subscription.put(message, delivery)
            delivery.holders -= 1

    def remove(self, subscription: Subscription, keep: bool) -> None:
        """Its iterator was left. What it has not worked on is let go of, or with `keep` held for the next one."""
        if self._by_identifier.pop(subscription.identifier, None) is None:
            return
        for topic_filter in subscription.topic_filters:
            del self._by_filter[topic_filter]
        self._routes.clear()
        self._full.discard(subscription)
        if keep:
            self.holding = True
        else:
            self.forget(subscription.filters)
        if subscription.in_hand is not None:
            subscription.buffer.appendleft(subscription.in_hand)
            subscription.in_hand = None
        for message, delivery in subscription.buffer:
            if delivery is not None:
                if keep:
                    self._held.append((message, delivery))
                else:
                    delivery.holders -= 1
        subscription.buffer.clear()

    def forget(self, filters: Iterable[str]) -> None:
        """Messages that match `filters` (without `$share/...`) are not held any more."""
        if not self.holding:
            return
        gone = set(filters)
        self._unwanted |= gone
        for _, delivery in self._claim(lambda topic: any(matches(topic_filter, topic) for topic_filter in gone)):
            delivery.holders -= 1

    def deliver(self, message: Message, delivery: Delivery | None, spill: bool) -> None:
        """Hand a message to all who asked for it. With `spill`, one of QoS 0 is dropped where a buffer is full."""
        for subscription in self._route(message.topic, message.subscription_identifiers):
            if len(subscription.buffer) + 1 >= subscription.limit:
                if spill and delivery is None and len(subscription.buffer) >= subscription.limit:
                    subscription.dropped += 1
                    continue
                self._full.add(subscription)
            subscription.put(message, delivery)
        if delivery is not None and not delivery.holders and self._is_held(message.topic):
            delivery.holders = 1
            self._held.append((message, delivery))

    def take(self, subscription: Subscription) -> Message:
        """The next message of a buffer that is not empty; the application has it in hand until `through`."""
        subscription.in_hand = subscription.buffer.popleft()
        if subscription in self._full and len(subscription.buffer) <= subscription.limit // 2:
            self._full.discard(subscription)
        return subscription.in_hand[0]

    def _route(self, topic: str, identifiers: tuple[int, ...]) -> list[Subscription]:
        key = (topic, identifiers)
        route = self._routes.get(key)
        if route is None:
            known = [self._by_identifier[one] for one in identifiers if one in self._by_identifier]
            route = [one for one in known if one.matches(topic)]
            if not route:
                route = [one for one in self._by_identifier.values() if one.matches(topic)]
            if len(self._routes) >= CACHED_ROUTES:
                self._routes.clear()
            self._routes[key] = route
        return route

    def _is_held(self, topic: str) -> bool:
        return self.holding and not any(matches(topic_filter, topic) for topic_filter in self._unwanted)

    def _claim(self, wanted: Callable[[str], bool]) -> list[tuple[Message, Delivery]]:
        """Take those held whose topic is `wanted`, in their order."""
        claimed = [one for one in self._held if wanted(one[0].topic)]
        if claimed:
            self._held = deque(one for one in self._held if not wanted(one[0].topic))
        return claimed
