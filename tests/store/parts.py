"""Rows for the tests of the store, made with the core's own classes."""

from __future__ import annotations

from typing import Final

from broker.core.journal import Queued
from broker.core.limits import Limits
from broker.core.message import NEVER, ApplicationMessage
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Delivery, ShareGroup

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
