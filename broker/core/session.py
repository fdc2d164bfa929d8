"""The Session of one Client: section 4.1 and nothing else.

    The Client's subscriptions.
    QoS 1 and QoS 2 messages sent to the Client and not completely acknowledged; those pending transmission.
    QoS 2 messages received from the Client and not completely acknowledged.
    The Will Message and its Delay Interval.
    If the Session is not connected, the time at which it ends.

It may outlive many Network Connections; `connection` is the present one. Methods by who calls them:

    the broker's routing       deliver, can_send
    its Connection             refill, waiting
    the Broker                 take_orphans when the Session ends
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from broker.core.inflight import Outgoing
from broker.core.subscriptions import ACCEPTED, NOBODY, REFUSED, Delivery, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.connection import Connection
    from broker.core.limits import Limits
    from broker.core.message import ApplicationMessage
    from broker.core.stats import Stats
    from broker.packets.types import Will

SLICE: Final = 512  # messages sent from queues and snapshots before other connections have their turn (a guess)


class Snapshot:
    """Retained messages on their way to a new subscription: read lazily, as the receiver can take them."""

    __slots__ = ("delivery", "messages", "topic_filter")

    def __init__(self, topic_filter: str, messages: Iterator[ApplicationMessage | None], delivery: Delivery) -> None:
        self.topic_filter = topic_filter
        self.messages = messages
        self.delivery = delivery


# What a queue is until something is put into it: an empty deque takes 600 bytes, and most Sessions never fill one.
NO_MESSAGES: Final[deque[tuple[ApplicationMessage, Delivery]]] = deque(maxlen=0)
NO_SNAPSHOTS: Final[deque[Snapshot]] = deque(maxlen=0)


class Session:
    """See the module. Times are monotonic seconds."""

    def __init__(self, client_identifier: str, limits: Limits, stats: Stats, budget_bytes: int) -> None:
        self.client_identifier = client_identifier
        self.limits = limits
        self.stats = stats
        self.budget_bytes = budget_bytes  # of all Sessions' queues together
        self.connection: Connection | None = None
        self.subscriptions: dict[str, Subscription] = {}  # by Topic Filter as subscribed, `$share/...` included
        self.outgoing = Outgoing()
        self.received: dict[int, None] = {}  # Packet Identifiers of QoS 2 messages routed and not yet released
        self.pending: deque[tuple[ApplicationMessage, Delivery]] = NO_MESSAGES
        self.pending_bytes = 0
        self.snapshots: deque[Snapshot] = NO_SNAPSHOTS
        self.queue_first = False  # whose turn it is where the send quota has room for one
        self.will: Will | None = None
        self.will_at = math.inf  # when the Will is due, if the connection is gone
        self.expiry_interval = 0
        self.expires_at = math.inf
        self.dropped = 0

    # -- Routing

    def deliver(self, message: ApplicationMessage, delivery: Delivery, now: float) -> int:
        """Send or keep one message; NOBODY, ACCEPTED or REFUSED. The one call a delivery costs."""
        qos = message.qos
        if qos > delivery.maximum_qos:
            qos = delivery.maximum_qos
        connection = self.connection
        if qos == 0:
            if connection is None:
                return NOBODY
            outbox = connection.outbox
            if connection.simple and delivery.plain and outbox.size < outbox.soft:
                data = message.plain_5 if connection.version == 5 else message.plain_3
                if data is None:
                    data = message.plain(connection.version, now)
                outbox.put_publish(data, message.payload_bytes)
                return ACCEPTED
            return connection.send_at_most_once(message, delivery, now)
        if connection is not None:
            outgoing = self.outgoing
            if outgoing.quota > 0 and not self.pending and not outgoing.resend:
                outbox = connection.outbox
                if outbox.size < outbox.soft and not outgoing.full():
                    return connection.send_new(message, delivery, qos, now)
        return self._enqueue(message, delivery, now)

    def can_send(self, message: ApplicationMessage, delivery: Delivery) -> bool:
        """Whether the message would leave for the Client at once."""
        connection = self.connection
        if connection is None or connection.outbox.size >= connection.outbox.soft:
            return False
        if message.qos == 0 or delivery.maximum_qos == 0:
            return True
        return self.outgoing.quota > 0 and not self.pending and not self.outgoing.resend

    def _enqueue(self, message: ApplicationMessage, delivery: Delivery, now: float) -> int:
        size = message.size
        stats = self.stats
        while self._full(size):
            if self.pending and self.pending[0][0].expires_at <= now:  # [MQTT-3.3.2-5]
                self._dequeue()
                stats.publish_dropped += 1
                continue
            self.dropped += 1
            stats.publish_refused += 1
            stats.publish_dropped += 1
            return REFUSED
        if self.pending is NO_MESSAGES:
            self.pending = deque()
        self.pending.append((message, delivery))
        self.pending_bytes += size
        stats.queued_messages += 1
        stats.queued_bytes += size
        return ACCEPTED

    def _full(self, size: int) -> bool:
        """Whether a message of `size` bytes has no room. A Client who is there may have a burst waiting, in bytes."""
        limits = self.limits
        return (
            (self.connection is None and len(self.pending) >= limits.queue_messages)
            or self.pending_bytes + size > limits.queue_bytes
            or self.stats.queued_bytes + size > self.budget_bytes
        )

    def _dequeue(self) -> tuple[ApplicationMessage, Delivery]:
        entry = self.pending.popleft()
        size = entry[0].size
        self.pending_bytes -= size
        self.stats.queued_messages -= 1
        self.stats.queued_bytes -= size
        return entry

    # -- Its Connection

    def refill(self, now: float) -> None:
        """Send what waits, as far as the outbox's soft limit and the send quota let it.

        Called when the Client has acknowledged or its outbox has drained. Retransmissions go first and alone, so that
        order is kept [MQTT-4.6.0-1]; then a snapshot and the queue take turns.
        """
        connection = self.connection
        if connection is None:
            return
        outbox = connection.outbox
        outgoing = self.outgoing
        left = SLICE
        progress = True
        while progress and left > 0 and outbox.size < outbox.soft:
            progress = False
            left -= 1
            if outgoing.resend:
                if outgoing.quota > 0:
                    identifier = outgoing.resend.popleft()
                    outgoing.quota -= 1
                    connection.send_again(identifier, now)
                    progress = True
                continue
            others_turn = self.queue_first and self.pending and outgoing.quota > 0
            if self.snapshots and not others_turn and self._send_snapshot(connection, now):
                self.queue_first = progress = True
            if self.pending and outgoing.quota > 0 and not outgoing.full():
                message, delivery = self._dequeue()
                self.queue_first = False
                progress = True
                if message.expires_at <= now:  # [MQTT5-3.3.2-5]
                    self.stats.publish_dropped += 1
                else:
                    connection.send_new(message, delivery, min(message.qos, delivery.maximum_qos), now)
            if connection.backlog is not None and connection.send_backlog(now):
                progress = True
        if left == 0 and outbox.size < outbox.soft:
            outbox.touch()  # more in the next round

    def waiting(self) -> bool:
        """Whether there is something that `refill` could send."""
        return bool(self.pending or self.snapshots or self.outgoing.resend)

    def add_snapshots(self, snapshots: list[Snapshot]) -> None:
        """Subscriptions were made: the retained messages that match them are due."""
        if self.snapshots is NO_SNAPSHOTS:
            self.snapshots = deque()
        self.snapshots.extend(snapshots)

    def drop_snapshot(self, topic_filter: str) -> None:
        """The filter is subscribed anew or not at all any more: what is left of its snapshot is not sent."""
        if self.snapshots:
            self.snapshots = deque(each for each in self.snapshots if each.topic_filter != topic_filter)

    def _send_snapshot(self, connection: Connection, now: float) -> bool:
        """Send the next retained message; whether a step was made.

        It is read no sooner than it can be sent, so that nothing which a live message has replaced comes after that.
        """
        snapshot = self.snapshots[0]
        delivery = snapshot.delivery
        if delivery.maximum_qos and (self.outgoing.quota <= 0 or self.outgoing.full()):
            return False
        try:
            message = next(snapshot.messages)
        except StopIteration:
            self.snapshots.popleft()
            return True
        if message is None or message.expires_at <= now:
            return True
        qos = min(message.qos, delivery.maximum_qos)
        if qos == 0:
            connection.send_retained(message, delivery, now)
        else:
            connection.send_new(message, delivery, qos, now)
        return True

    # -- The Broker

    def take_orphans(self) -> list[tuple[ApplicationMessage, Delivery]]:
        """The Session ends: what it still held of shared subscriptions and another member must have (section 4.8.2).

        Never a QoS 2 message that was sent once [MQTT5-4.8.2-5].
        """
        held = [
            entry
            for entry in self.outgoing.unacknowledged.values()
            if entry[1].group is not None and min(entry[0].qos, entry[1].maximum_qos) == 1
        ]
        while self.pending:
            entry = self._dequeue()
            if entry[1].group is not None:
                held.append(entry)
        return held
