"""The Session of one Client: section 4.1 and nothing else.

    The Client's subscriptions.
    QoS 1 and QoS 2 messages sent to the Client and not completely acknowledged; those pending transmission.
    QoS 2 messages received from the Client and not completely acknowledged.
    The Will Message and its Delay Interval.
    If the Session is not connected, the time at which it ends.

It may outlive many Network Connections; `connection` is the present one. One that is `durable` outlives the process
too: all of it stands in a Store, told of through the Journal. Then a QoS 2 message leaves when it and its Packet
Identifier are committed, so that after a crash it is not sent twice under two of them; one of QoS 1 leaves at once.
Methods by who calls them:

    the broker's routing       deliver, can_send
    its Connection             refill, waiting, forget
    the Broker                 opened, page_in, take_orphans
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from broker.core.flight import BARRED, EXPIRED, MADE_ROOM, QUEUE_FULL
from broker.core.inflight import Outgoing
from broker.core.journal import QUEUED, Numbered, Queued
from broker.core.limits import DROP_OLDEST
from broker.core.queue import IN_MEMORY, Paged, no_page
from broker.core.retained import Author
from broker.core.subscriptions import ACCEPTED, NOBODY, REFUSED, Delivery, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.connection import Connection
    from broker.core.flight import Flights
    from broker.core.grants import Grant
    from broker.core.journal import Exchange, Journal
    from broker.core.limits import Limits
    from broker.core.message import ApplicationMessage
    from broker.core.ports import Store
    from broker.core.stats import Stats
    from broker.packets.types import Will

SLICE: Final = 512  # messages sent from queues and snapshots before other connections have their turn (a guess)


class Snapshot:
    """Retained messages on their way to a new subscription: read lazily, as the receiver can take them, and not before
    the subscription is committed, which is `position`."""

    __slots__ = ("delivery", "messages", "position", "topic_filter")

    def __init__(self, topic_filter: str, messages: Iterator[ApplicationMessage | None], delivery: Delivery) -> None:
        self.topic_filter = topic_filter
        self.messages = messages
        self.delivery = delivery
        self.position = 0


# What a queue is until something is put into it: an empty deque takes 600 bytes, and most Sessions never fill one.
NO_MESSAGES: Final[deque[Queued]] = deque(maxlen=0)
NO_SNAPSHOTS: Final[deque[Snapshot]] = deque(maxlen=0)
NO_UNSENT: Final[deque[tuple[int, int]]] = deque(maxlen=0)


class Session(Numbered):
    """See the module. Times are monotonic seconds."""

    def __init__(self, client_identifier: str, limits: Limits, stats: Stats, budget_bytes: int) -> None:
        self.row = 0
        self.number = 0
        self.durable = False  # kept in the Store
        self.gate: Journal | None = None  # what is recorded and committed; None where there is no Store
        self.store: Store | None = None
        self.flights: Flights | None = None  # where what becomes of its messages is noted
        self.client_identifier = client_identifier
        self.principal = ""  # who it belongs to; nobody else is let in
        self.known_author: Author | None = None  # as which it has retained a message
        self.guard: Grant | None = None  # is asked about each message on its way to the Client; None lets all through
        self.limits = limits
        self.stats = stats
        self.budget_bytes = budget_bytes  # of all Sessions' queues together
        self.connection: Connection | None = None
        self.claimed_by: Connection | None = None  # the next one, whose CONNACK waits for a commit
        self.subscriptions: dict[str, Subscription] = {}  # by Topic Filter as subscribed, `$share/...` included
        self.subscription_bytes = 0  # of them, as if no other Session had a level in common with them
        self.outgoing = Outgoing()
        self.received: dict[int, Exchange | None] = {}  # Packet Identifiers of QoS 2 messages routed and not released
        self.pending: deque[Queued] = NO_MESSAGES  # the front of the queue; where it is empty nothing waits
        self.paged: Paged | None = None  # the rest of a long one
        self.pending_bytes = 0  # of all of it
        self.maybe_sent = 0  # of its front, messages of QoS 1 that may have been sent before a crash
        self.unsent: deque[tuple[int, int]] = NO_UNSENT  # position to wait for, Packet Identifier
        self.snapshots: deque[Snapshot] = NO_SNAPSHOTS
        self.queue_first = False  # whose turn it is where the send quota has room for one
        self.will: Will | None = None
        self.will_at = math.inf  # when the Will is due, if the connection is gone
        self.expiry_interval = 0
        self.expires_at = math.inf
        self.away_since = math.inf  # when the last connection ended; infinity while there is one
        self.dropped = 0

    # -- Routing

    def deliver(self, message: ApplicationMessage, delivery: Delivery, now: float) -> int:
        """Send or keep one message; NOBODY, ACCEPTED or REFUSED. The one call a delivery costs."""
        guard = self.guard
        if guard is not None and not guard.may_deliver(message.topic):
            return NOBODY
        qos = message.qos
        if qos > delivery.maximum_qos:
            qos = delivery.maximum_qos
            if qos == 0 and message.position and self._hold(message, delivery):
                return ACCEPTED
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
        queued = Queued(message, delivery)
        if connection is not None:
            outgoing = self.outgoing
            if outgoing.quota > 0 and not self.pending and not outgoing.resend:
                outbox = connection.outbox
                if outbox.size < outbox.soft and not outgoing.full():
                    if self.durable:
                        if qos == 2 or not message.position:
                            return self._send_kept(connection, queued, qos, now)
                    elif not message.position:
                        return connection.send_new(queued, qos, now)
        return self._enqueue(queued, now)

    def can_send(self, message: ApplicationMessage, delivery: Delivery) -> bool:
        """Whether the message would leave for the Client at once."""
        connection = self.connection
        if connection is None or connection.outbox.size >= connection.outbox.soft or self.barred(message):
            return False
        if message.qos == 0 or delivery.maximum_qos == 0:
            return True
        return self.outgoing.quota > 0 and not self.pending and not self.outgoing.resend

    def barred(self, message: ApplicationMessage) -> bool:
        """Whether the Client may not have the message, be it that it was allowed to when it was queued."""
        guard = self.guard
        return guard is not None and not guard.may_deliver(message.topic)

    def _hold(self, message: ApplicationMessage, delivery: Delivery) -> bool:
        """Let a QoS 2 message that goes on at QoS 0 wait for its commit; False where that is done."""
        gate = self.gate
        if gate is None or self.connection is None or gate.committed >= message.position:
            return False
        gate.held.append((message.position, self, message, delivery))
        return True

    def _send_kept(self, connection: Connection, queued: Queued, qos: int, now: float) -> int:
        """Begin the exchange of a message of QoS 1 or 2 with a durable Session; the quota allows it."""
        gate = self.gate
        assert gate is not None
        if qos == 1:
            outcome = connection.send_new(queued, 1, now)
            if outcome != ACCEPTED:
                return outcome
            queued.identifier = self.outgoing.last_identifier
        else:
            queued.identifier = self.outgoing.start(queued)
            if self.unsent is NO_UNSENT:
                self.unsent = deque()
            self.unsent.append((gate.position, queued.identifier))
            gate.waiting[self] = None
        if queued.row:
            gate.change(QUEUED, queued)
        else:
            gate.keep(queued)
        return ACCEPTED

    def _enqueue(self, queued: Queued, now: float) -> int:
        size = queued.message.size
        stats = self.stats
        while self._full(size):
            if not self.pending and self.paged is not None:
                self.page_in(now)
            if self.pending:
                oldest = self.pending[0]
                if oldest.message.expires_at <= now or self._makes_room(size):  # [MQTT-3.3.2-5]
                    self._note(now, EXPIRED if oldest.message.expires_at <= now else MADE_ROOM, oldest.message)
                    self._dequeue(now)
                    self.forget(oldest)
                    stats.publish_dropped += 1
                    continue
            self._note(now, QUEUE_FULL, queued.message)
            self.dropped += 1
            stats.publish_refused += 1
            stats.publish_dropped += 1
            return REFUSED
        if self.paged is not None:
            self.paged.tail.append(queued)
        else:
            if self.pending is NO_MESSAGES:
                self.pending = deque()
            self.pending.append(queued)
        self.pending_bytes += size
        stats.queued_messages += 1
        stats.queued_bytes += size
        gate = self.gate
        if gate is not None:
            if self.durable:
                gate.keep(queued)
                self._put_away(gate)
            if self.connection is not None and queued.message.position:
                gate.waiting[self] = None
        return ACCEPTED

    def _note(self, now: float, what: str, message: ApplicationMessage) -> None:
        """In the flight record: what has become of a message that is not sent."""
        if self.flights is not None:
            self.flights.of(self.client_identifier).decide(now, what, message.topic, message.qos)

    def _full(self, size: int) -> bool:
        """Whether a message of `size` bytes has no room. A Client who is there may have a burst waiting, in bytes."""
        limits = self.limits
        return (
            (self.connection is None and self.queued_messages() >= limits.queue_messages)
            or self.pending_bytes + size > limits.queue_bytes
            or self.stats.queued_bytes + size > self.budget_bytes
        )

    def _makes_room(self, size: int) -> bool:
        """Whether the oldest message yields to a new one."""
        return self.limits.queue_overflow == DROP_OLDEST and size <= self.limits.queue_bytes

    def queued_messages(self) -> int:
        """Messages that wait to be sent."""
        paged = self.paged
        return len(self.pending) if paged is None else len(self.pending) + len(paged) + len(paged.tail)

    def _dequeue(self, now: float) -> Queued:
        queued = self.pending.popleft()
        size = queued.message.size
        self.pending_bytes -= size
        self.stats.queued_messages -= 1
        self.stats.queued_bytes -= size
        if not self.pending and self.paged is not None:
            self.page_in(now)
        return queued

    def _put_away(self, gate: Journal) -> None:
        """Have a long queue take no memory but for its front, once it is written."""
        paged = self.paged
        if paged is not None:
            if len(paged.tail) > IN_MEMORY:
                gate.long_queues[self] = None
        elif len(self.pending) > 2 * IN_MEMORY:
            paged = self.paged = no_page()
            front: deque[Queued] = deque()
            for _ in range(IN_MEMORY):
                front.append(self.pending.popleft())
            paged.tail = self.pending
            self.pending = front
            gate.long_queues[self] = None

    def page_in(self, now: float) -> None:
        """Nothing is left in memory at the front of a long queue: read more of it."""
        while not self.pending:
            paged = self.paged
            store = self.store
            if paged is None or store is None:
                return
            if len(paged):
                queued, messages, size = paged.next_page()
                entries = store.page(self, queued, messages, now)
                if self.pending is NO_MESSAGES:
                    self.pending = deque()
                for entry in entries:
                    if self.maybe_sent > 0:
                        self.maybe_sent -= 1
                        entry.maybe_sent = min(entry.message.qos, entry.delivery.maximum_qos) == 1
                    self.pending.append(entry)
                # In memory it may be counted with a few bytes more or less than it was written with.
                difference = sum([entry.message.size for entry in entries]) - size
                self.pending_bytes += difference
                self.stats.queued_bytes += difference
                self.stats.queued_messages += len(entries) - len(queued)
            else:
                self.paged = None
                self.pending = paged.tail

    # -- Its Connection

    def refill(self, now: float) -> None:
        """Send what waits, as far as the outbox's soft limit and the send quota let it.

        Called when the Client has acknowledged or its outbox has drained. Retransmissions go first and alone, so that
        order is kept [MQTT-4.6.0-1]; then a snapshot and the queue take turns.
        """
        connection = self.connection
        if connection is not None:
            connection.outbox.mark()
            self._refill(connection, now)
            connection.outbox.waited(-1.0, now)

    def _refill(self, connection: Connection, now: float) -> None:
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
            if self.pending and outgoing.quota > 0 and not outgoing.full() and self._open(self.pending[0].message):
                queued = self._dequeue(now)
                message = queued.message
                self.queue_first = False
                progress = True
                if message.expires_at <= now or self.barred(message):  # [MQTT5-3.3.2-5]
                    self._note(now, EXPIRED if message.expires_at <= now else BARRED, message)
                    self.stats.publish_dropped += 1
                    self.forget(queued)
                elif self.durable:
                    self._send_kept(connection, queued, min(message.qos, queued.delivery.maximum_qos), now)
                else:
                    connection.send_new(queued, min(message.qos, queued.delivery.maximum_qos), now)
            if connection.backlog is not None and connection.send_backlog(now):
                progress = True
        if left == 0 and outbox.size < outbox.soft:
            outbox.touch()  # more in the next round

    def _open(self, message: ApplicationMessage) -> bool:
        """Whether the message may be forwarded already; else the queue waits for the commit."""
        gate = self.gate
        if not message.position or gate is None or gate.committed >= message.position:
            return True
        gate.waiting[self] = None
        return False

    def forget(self, queued: Queued) -> None:
        """The message needs not be kept for this Session any more."""
        if queued.row and self.gate is not None:
            self.gate.release(queued)

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
        gate = self.gate
        if snapshot.position and gate is not None and gate.committed < snapshot.position:
            gate.waiting[self] = None
            return False
        if delivery.maximum_qos and (self.outgoing.quota <= 0 or self.outgoing.full()):
            return False
        try:
            message = next(snapshot.messages)
        except StopIteration:
            self.snapshots.popleft()
            return True
        if message is None or message.expires_at <= now or self.barred(message):
            return True
        qos = min(message.qos, delivery.maximum_qos)
        if qos == 0:
            connection.send_retained(message, delivery, now)
        elif self.durable:
            self._send_kept(connection, Queued(message, delivery), qos, now)
        else:
            connection.send_new(Queued(message, delivery), qos, now)
        return True

    # -- The Broker

    def is_anybodys(self) -> bool:
        """Whether whoever proves to be somebody may have it: nobody's Session, but not from under its Client."""
        return not self.principal and self.connection is None and self.claimed_by is None

    def holder(self) -> Connection | None:
        """The Client's connection, be it that its CONNACK waits."""
        return self.connection or self.claimed_by

    def author(self) -> Author:
        """The Client, as the author of a retained message; one object for all of them."""
        holder = self.holder()
        found = self.known_author
        grant = holder.grant if holder is not None else self.guard
        if found is not None and found.principal == self.principal and (grant is None or found.roles == grant.roles):
            return found
        roles = grant.roles if grant is not None else ()
        found = self.known_author = Author(self.principal, self.client_identifier, roles)
        return found

    def opened(self, committed: int, now: float) -> None:
        """More is committed: send what waited for that."""
        unsent = self.unsent
        connection = self.connection
        if connection is None:
            unsent.clear()
            return
        gate = self.gate
        assert gate is not None
        outbox = connection.outbox
        outbox.mark()
        while unsent and unsent[0][0] <= committed:
            connection.send_started(unsent.popleft()[1], now)
        if unsent:
            gate.waiting[self] = None
        if self.waiting():
            self._refill(connection, now)
        outbox.waited(now - gate.committed_since, now)

    def take_orphans(self, now: float, shared: bool) -> list[Queued]:
        """The Session ends: what it still held of shared subscriptions and another member must have (section 4.8.2).

        Never a QoS 2 message that was sent once [MQTT5-4.8.2-5]. The Store keeps nothing of it any more. `shared` says
        whether it had shared subscriptions at all.
        """
        gate = self.gate if self.durable else None
        held: list[Queued] = []
        for queued in self.outgoing.unacknowledged.values():
            if queued.delivery.group is not None and min(queued.message.qos, queued.delivery.maximum_qos) == 1:
                held.append(queued)
            if gate is not None:
                gate.discard(queued)
        paged = self.paged
        if paged is not None and gate is not None and not shared:
            numbers, messages, size = paged.rest()
            for number, message in zip(numbers, messages, strict=True):
                gate.discard_paged(number, message)
            self.pending_bytes -= size
            self.stats.queued_bytes -= size
            self.stats.queued_messages -= len(numbers)
        while True:
            if not self.pending:
                self.page_in(now)
                if not self.pending:
                    return held
            queued = self._dequeue(now)
            if queued.delivery.group is not None:
                held.append(queued)
            if gate is not None:
                gate.discard(queued)
