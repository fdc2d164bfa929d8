"""Rows for the tests of the store, made with the core's own classes, and a store with something in place of a core."""

from __future__ import annotations

import select
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from broker.core.journal import MESSAGES, QUEUED, SESSIONS, Journal, Queued
from broker.core.limits import Limits
from broker.core.message import NEVER, ApplicationMessage
from broker.core.retained import Author
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Delivery, ShareGroup, SubscriptionTree
from broker.store.store import FSYNC, SqliteStore

if TYPE_CHECKING:
    from array import array
    from pathlib import Path

BUDGET: Final = 1 << 40


def session(client_identifier: str = "c", number: int = 0) -> Session:
    made = Session(client_identifier, Limits(), Stats(), BUDGET)
    made.durable = True
    made.number = number
    made.expiry_interval = 3600
    return made


def message(
    topic: str = "a/b", payload: bytes = b"payload", qos: int = 1, expires_at: float = NEVER
) -> ApplicationMessage:
    return ApplicationMessage(topic, payload, 0, qos, False, b"", expires_at)


def delivery(
    receiver: Session,
    maximum_qos: int = 1,
    retain_as_published: bool = False,
    identifiers: tuple[int, ...] = (),
    overflow: str = "",
    group: ShareGroup | None = None,
    retained: bool = False,
) -> Delivery:
    return Delivery(receiver, maximum_qos, retain_as_published, identifiers, overflow, group, retained)


def entry(receiver: Session, sent: ApplicationMessage | None = None, identifier: int = 0) -> Queued:
    made = Queued(message() if sent is None else sent, delivery(receiver))
    made.identifier = identifier
    return made


class Kept:
    """In place of a Restorer: what it was given."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.broker = SimpleNamespace(journal=self.journal, subscriptions=SubscriptionTree())
        self.by_number: dict[int, Session] = {}
        self.sessions: dict[str, tuple[Any, ...]] = {}
        self.subscriptions: list[tuple[Any, ...]] = []
        self.exchanges: list[tuple[Any, ...]] = []
        self.waits: dict[int, tuple[list[int], list[int], list[int]]] = {}
        self.was_sent: dict[int, list[Queued]] = {}
        self.retained_messages: dict[str, tuple[int, ApplicationMessage]] = {}
        self.authors: dict[str, Author] = {}  # of retained messages
        self.lost: list[tuple[int, int]] = []
        self.last: list[int] = []

    def session(self, row: int, number: int, client_identifier: str, *rest: Any) -> None:
        self.by_number[number] = made = session(client_identifier, number)
        made.row = row
        self.sessions[client_identifier] = rest

    def subscription(self, *fields: Any) -> None:
        self.subscriptions.append(fields)

    def exchange(self, *fields: Any) -> None:
        self.exchanges.append(fields)

    def waiting(self, number: int, rows: array[int], messages: array[int], sizes: array[int]) -> None:
        self.waits[number] = list(rows), list(messages), list(sizes)

    def sent(self, number: int, entries: list[Queued]) -> None:
        self.was_sent[number] = entries

    def author(self, *fields: Any) -> Author:
        return Author(*fields)

    def retained(self, row: int, kept: ApplicationMessage, author: Author | None = None) -> None:
        self.retained_messages[kept.topic] = row, kept
        if author is not None:
            self.authors[kept.topic] = author

    def shared(self, counts: dict[int, int]) -> None:
        self.journal.shared = counts

    def orphans(self, rows: array[int], messages: array[int]) -> None:
        for row, number in zip(rows, messages, strict=True):
            self.lost.append((row, number))
            self.journal.discard_paged(row, number)

    def finish(self, last: list[int]) -> None:
        self.last = list(last)
        self.journal.last = last
        self.journal.safe_queued = last[QUEUED]
        self.journal.safe_message = last[MESSAGES]


class Running:
    """A store that is open, with what it gave at its start in `kept`. A context manager; `now` is the test's clock."""

    def __init__(self, path: Path, durability: str = FSYNC, now: float = 1000.0, **settings: Any) -> None:
        self.now = now
        self.kept = Kept()
        self.journal = self.kept.journal
        self.store = SqliteStore(path, durability, **settings)
        self.store.open(now)
        self.store.load(self.kept)  # type: ignore[arg-type]
        self.store.start(now)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close(self.now)

    def commit(self, seconds: float = 10.0) -> None:
        """Have everything that was recorded written."""
        self.store.hand_over(self.now)
        self.settle(seconds)

    def settle(self, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while self.store.busy:
            assert time.monotonic() < deadline, "the commit takes too long"
            select.select([self.store.fileno()], [], [], 0.05)
            self.store.collect(self.now)

    def session(self, client_identifier: str = "c") -> Session:
        """A new one, committed."""
        made = session(client_identifier)
        self.journal.add(SESSIONS, made)
        self.commit()
        return made

    def keep(self, receiver: Session, sent: ApplicationMessage | None = None, identifier: int = 0) -> Queued:
        queued = entry(receiver, sent, identifier)
        self.journal.keep(queued)
        return queued
