"""A Broker's state put back from a Store: once, before the first connection, table by table.

Rows that belong to nothing any more (of a Session whose deletion was under way) are given to the Journal to delete.
Times are monotonic seconds; what was due while the broker was down is due at the first tick. Of the messages that wait
only the numbers are put back: their Sessions read them when their Clients come (`broker.core.queue`).
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING

from broker.core.broker import NO_LIMIT
from broker.core.deadlines import RETAINED_EXPIRY, SESSION_EXPIRY, WILL
from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, SESSIONS, SUBSCRIPTIONS, Exchange, RetainedRow
from broker.core.message import NEVER
from broker.core.queue import Paged
from broker.core.retained import Author
from broker.core.session import Session
from broker.core.subscriptions import Subscription, bytes_alone
from broker.packets.topics import split_share

if TYPE_CHECKING:
    from array import array

    from broker.core.broker import Broker
    from broker.core.journal import Queued
    from broker.core.limits import Limits
    from broker.core.message import ApplicationMessage
    from broker.packets.types import Will


class Restorer:
    """See the module. `limits` are those of Sessions until their Clients come back."""

    def __init__(self, broker: Broker, limits: Limits, now: float) -> None:
        assert broker.journal is not None
        self.broker = broker
        self.journal = broker.journal
        self.limits = limits
        self.now = now
        self.by_number: dict[int, Session] = {}
        self._connected: list[Session] = []
        self._authors: dict[tuple[str, str, tuple[str, ...]], Author] = {}

    def session(
        self,
        row: int,
        number: int,
        client_identifier: str,
        expiry_interval: int,
        away_since: float,
        will: Will | None,
        will_at: float,
        connected: bool,
        principal: str = "",
    ) -> Session:
        """A Session. `away_since` is when its last Network Connection ended, as far as is known; where it was still
        `connected`, that ended with the broker, and `will_at` is infinity."""
        broker = self.broker
        session = Session(client_identifier, self.limits, broker.stats, broker.limits.buffered_bytes)
        session.principal = principal
        broker.owners.move("", principal)
        session.gate = self.journal
        session.store = broker.store
        session.flights = broker.flights
        session.durable = True
        session.row = row
        session.number = number
        session.expiry_interval = expiry_interval
        # Identifiers in use at a crash are not all known: begin far from where most Clients' connections begin.
        session.outgoing.last_identifier = secrets.randbelow(65535)
        session.away_since = away_since
        session.will = will
        if will is not None:
            session.will_at = will_at if will_at != math.inf else away_since + will.delay_interval
            broker.remember(session.will_at, WILL, session)
        if expiry_interval != NO_LIMIT:
            session.expires_at = away_since + expiry_interval
            broker.remember(session.expires_at, SESSION_EXPIRY, session)
        broker.sessions[client_identifier] = session
        self.by_number[number] = session
        if connected:
            self._connected.append(session)
        return session

    def subscription(
        self,
        row: int,
        number: int,
        topic_filter: str,
        maximum_qos: int,
        no_local: bool,
        retain_as_published: bool,
        identifier: int,
        overflow: str,
    ) -> None:
        """A subscription of the Session `number`; `topic_filter` as it was subscribed, `$share/...` included."""
        session = self.by_number.get(number)
        if session is None:
            self.journal.forget(SUBSCRIPTIONS, row)
            return
        share_name, plain_filter = split_share(topic_filter)
        subscription = Subscription(
            session,
            plain_filter,
            share_name or "",
            maximum_qos,
            no_local,
            retain_as_published,
            identifier,
            overflow,
        )
        subscription.row = row
        session.subscriptions[topic_filter] = subscription
        session.subscription_bytes += bytes_alone(plain_filter, subscription.share_name)
        broker = self.broker
        broker.subscriptions.add(subscription)
        broker.stats.subscriptions += 1
        if share_name:
            broker.stats.shared_subscriptions += 1

    def exchange(self, row: int, number: int, identifier: int, incoming: bool) -> None:
        """A Packet Identifier in the second half of a QoS 2 exchange."""
        session = self.by_number.get(number)
        if session is None:
            self.journal.forget(EXCHANGES, row)
            return
        exchange = Exchange(session, identifier, incoming)
        exchange.row = row
        if incoming:
            session.received[identifier] = exchange
        else:
            session.outgoing.released[identifier] = exchange

    def shared(self, counts: dict[int, int]) -> None:
        """Messages that more than one entry holds: how many, by number."""
        self.journal.shared = counts

    def sent(self, number: int, entries: list[Queued]) -> None:
        """What was sent to the Client of the Session `number` and not acknowledged, in the order of sending."""
        unacknowledged = self.by_number[number].outgoing.unacknowledged
        for queued in entries:
            unacknowledged[queued.identifier] = queued

    def waiting(self, number: int, rows: array[int], messages: array[int], sizes: array[int]) -> None:
        """The queue of the Session `number`: numbers of its entries, of their messages, and their bytes."""
        session = self.by_number[number]
        session.paged = Paged(rows, messages, sizes)
        size = sum(sizes)
        session.pending_bytes = size
        stats = self.broker.stats
        stats.queued_bytes += size
        stats.queued_messages += len(rows)
        # Between two commits more is sent than is ever in flight at a time, and who was away in the last run may have
        # been there in an older one.
        session.maybe_sent = len(rows)

    def author(self, principal: str, client_identifier: str, roles: tuple[str, ...]) -> Author:
        """Who has published retained messages: one object for all of them."""
        key = (principal, client_identifier, roles)
        found = self._authors.get(key)
        if found is None:
            found = self._authors[key] = Author(principal, client_identifier, roles)
        return found

    def retained(self, row: int, message: ApplicationMessage, author: Author | None = None) -> None:
        """The retained message of a topic; what has expired meanwhile is deleted."""
        retained = RetainedRow(message, author)
        retained.row = row
        if message.expires_at <= self.now:
            self.journal.unretain(retained)
            return
        self.broker.retained.restore(retained)
        if message.expires_at != NEVER:
            self.broker.remember(message.expires_at, RETAINED_EXPIRY, message)

    def orphans(self, rows: array[int], messages: array[int]) -> None:
        """Entries of Sessions that were ended, by their numbers and those of their messages."""
        for queued, message in zip(rows, messages, strict=True):
            self.journal.discard_paged(queued, message)

    def finish(self, last: list[int]) -> None:
        """All is told. `last` are the newest numbers ever given, by table."""
        self.journal.last = list(last)
        self.journal.safe_queued = last[QUEUED]
        self.journal.safe_message = last[MESSAGES]
        for session in self._connected:
            # With the time since when it is away: else it would be away since each next crash only.
            self.journal.change(SESSIONS, session)
