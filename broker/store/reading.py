"""Entries of queues and their messages, read back from the database: at a start, and a page at a time while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import apsw

from broker.core.journal import MESSAGES, QUEUED, Queued
from broker.core.message import ApplicationMessage
from broker.core.subscriptions import Delivery, ShareGroup
from broker.store.records import SOUND, DamagedRecord, decode_message, decode_queued, delivery_key

if TYPE_CHECKING:
    from array import array

    from broker.core.journal import Journal
    from broker.core.session import Session
    from broker.core.subscriptions import SubscriptionTree

AT_ONCE: Final = 1000  # rows fetched with one statement

_MESSAGES: Final = f"SELECT id, {SOUND} FROM messages WHERE id IN (SELECT value FROM carray(?))"
_QUEUED: Final = f"SELECT id, {SOUND} FROM queued WHERE id IN (SELECT value FROM carray(?))"


class Reader:
    """Reads through `connection`, from which nothing is written. `offset` makes store time of monotonic seconds."""

    def __init__(self, connection: Any, journal: Journal, tree: SubscriptionTree, offset: float) -> None:
        self.connection = connection
        self._journal = journal
        self._tree = tree
        self._offset = offset

    def messages(self, numbers: array[int]) -> dict[int, ApplicationMessage]:
        """The messages with these numbers; DamagedRecord where one is missing."""
        found: dict[int, ApplicationMessage] = {}
        shared = self._journal.shared
        number: int
        record: bytes
        for number, record in self._rows(_MESSAGES, numbers):
            stored = decode_message(MESSAGES, number, record)
            message = ApplicationMessage(
                stored.topic,
                stored.payload,
                0,
                stored.qos,
                stored.retain,
                stored.forwarded,
                stored.expires_at - self._offset,
            )
            message.row = number
            message.holders = -1 if number in shared else 1
            found[number] = message
        for number in numbers:
            if number not in found:
                raise DamagedRecord(MESSAGES, number, "it is missing")
        return found

    def page(self, session: Session, queued: array[int], messages: array[int]) -> list[Queued]:
        """Entries of one queue, in the order of `queued`, with the messages that `messages` names."""
        records = dict(self._rows(_QUEUED, queued))
        by_number = self.messages(messages)
        deliveries: dict[bytes, Delivery] = {}
        page: list[Queued] = []
        number: int
        for at in range(len(queued)):
            number = queued[at]
            found = records.get(number)
            if found is None:
                raise DamagedRecord(QUEUED, number, "it is missing")
            page.append(self.entry(session, number, found, by_number[messages[at]], deliveries))
        return page

    def entry(
        self,
        session: Session,
        number: int,
        record: bytes,
        message: ApplicationMessage,
        deliveries: dict[bytes, Delivery],
    ) -> Queued:
        """The entry in row `number`. Those of one Session that are delivered alike share a Delivery: `deliveries`."""
        stored = decode_queued(number, record)
        if stored.message != message.row or stored.number != session.number:
            raise DamagedRecord(QUEUED, number, "it belongs to another queue")
        delivery: Delivery | None = None
        key = delivery_key(record)
        if not stored.share_name:
            delivery = deliveries.get(key)
        if delivery is None:
            group: ShareGroup | None = None
            if stored.share_name:
                group = self._group(message.topic, stored.share_name, stored.share_filter)
            delivery = Delivery(
                session,
                stored.maximum_qos,
                stored.retain_as_published,
                stored.identifiers,
                stored.overflow,
                group,
                stored.retained,
            )
            deliveries[key] = delivery
        entry = Queued(message, delivery)
        entry.row = number
        entry.identifier = stored.identifier
        return entry

    def _group(self, topic: str, name: str, topic_filter: str) -> ShareGroup | None:
        """The shared subscription as whose member the Session has the message; None where it is no more."""
        for group in self._tree.plan(topic).groups:
            if group.name == name and group.topic_filter == topic_filter:
                return group
        return None

    def _rows(self, statement: str, numbers: array[int]) -> list[tuple[int, bytes]]:
        rows: list[tuple[int, bytes]] = []
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            rows += self.connection.execute(statement, (apsw.carray(part),)).fetchall()
        return rows
