"""Why a message does or does not reach a Client: each verdict, and that the broker then does just that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker.core.explaining import (
    DELIVERED,
    NO_SESSION,
    NOT_ALLOWED,
    NOT_SUBSCRIBED,
    OFFLINE,
    QUEUE_FULL,
    SHARED,
    SLOW,
    WAITING,
    Account,
    explain,
)
from broker.core.grants import Grant
from broker.packets.reasons import ProtocolError
from tests.core.parts import connect, limits, message, new_broker, said, subscribe

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.packets.types import Connect


def durable(broker: Broker, name: str = "c", **of: Any) -> Connection:
    return connect(broker, name, of=limits(**of), clean_start=False, session_expiry_interval=600)


def delivered(broker: Broker, topic: str = "a", qos: int = 1) -> bool:
    """Whether somebody takes a message."""
    return broker.publish(message(topic, b"x", qos), None, 5.0) == 0


def checked(account: Account, verdict: str, *words: str) -> Account:
    assert account.verdict == verdict, account.text
    assert all(word in account.text for word in words), account.text
    assert account.steps[-1].detail == account.text
    return account


def test_nobody_of_that_name() -> None:
    checked(explain(new_broker(), "c", "a"), NO_SESSION, "'c'")


def test_it_would_be_delivered() -> None:
    broker = new_broker()
    subscribe(durable(broker), "a/#", 1)
    account = checked(explain(broker, "c", "a/b"), DELIVERED, "at QoS 1")
    assert [step.what for step in account.steps] == ["session", "subscription", "permission", "connection"]
    assert all(step.passed for step in account.steps)
    assert delivered(broker, "a/b")


def test_a_client_without_subscriptions() -> None:
    broker = new_broker()
    durable(broker)
    checked(explain(broker, "c", "a"), NOT_SUBSCRIBED, "subscribed to nothing")


@pytest.mark.parametrize(
    ("topic_filter", "topic", "near"),
    [
        ("a/b", "a/c", False),
        ("a/b", "A/b", True),
        ("/a/b", "a/b", True),
        ("a/+/", "a/b", True),
        ("#", "$SYS/broker/uptime", True),
        ("+/x", "y/z/x", False),
    ],
)
def test_what_nearly_matches_is_named(topic_filter: str, topic: str, near: bool) -> None:
    broker = new_broker()
    subscribe(durable(broker), topic_filter)
    account = checked(explain(broker, "c", topic), NOT_SUBSCRIBED, "Its only Topic Filter does not match")
    assert (f"Nearly: '{topic_filter}'" in account.text) == near
    other = durable(broker, "d")
    subscribe(other, "x")
    subscribe(other, "z")
    checked(explain(broker, "d", topic), NOT_SUBSCRIBED, "None of its 2 Topic Filters matches")


class Deaf(Grant):
    def __init__(self) -> None:
        super().__init__(everything=False)

    def may_deliver(self, topic: str) -> bool:
        return topic != "secret"

    def delivery_rule(self, topic: str) -> str:
        return "nobody tells secrets" if topic == "secret" else ""


class Deafening:
    def authenticate(self, connect: Connect, peer: object) -> Grant:
        return Deaf()


def test_what_may_not_be_received() -> None:
    broker = new_broker(Deafening())
    subscribe(durable(broker), "#", 1)
    checked(explain(broker, "c", "secret"), NOT_ALLOWED, "'secret'", ": nobody tells secrets.")
    assert not delivered(broker, "secret")
    account = checked(explain(broker, "c", "news"), DELIVERED)
    assert account.steps[2].detail == "It may receive this topic."


def test_that_a_subscription_would_not_help_is_told() -> None:
    broker = new_broker(Deafening())
    durable(broker)
    checked(
        explain(broker, "c", "secret"),
        NOT_SUBSCRIBED,
        "subscribed to nothing. Nor may it receive that topic: nobody tells secrets.",
    )
    assert "Nor" not in explain(broker, "c", "news").text


@pytest.mark.parametrize(("qos", "verdict"), [(0, OFFLINE), (1, WAITING), (2, WAITING)])
def test_a_client_that_is_away(qos: int, verdict: str) -> None:
    broker = new_broker()
    client = durable(broker)
    subscribe(client, "a", qos)
    client.lost(1.0)
    checked(explain(broker, "c", "a"), verdict, "away")
    assert delivered(broker) == (verdict == WAITING)


def test_a_full_queue() -> None:
    broker = new_broker()
    client = durable(broker, queue_messages=1)
    subscribe(client, "a", 1)
    client.lost(1.0)
    assert delivered(broker)
    checked(explain(broker, "c", "a"), QUEUE_FULL, "1 messages wait", "reject")
    assert not delivered(broker)
    last = explain(broker, "c", "a").last
    assert last is not None
    assert "the queue is full" in last.detail


def test_a_client_that_acknowledges_nothing() -> None:
    broker = new_broker()
    client = durable(broker, max_inflight=2)
    subscribe(client, "a", 1)
    for _ in range(3):
        assert delivered(broker)
    checked(explain(broker, "c", "a"), WAITING, "2 messages are sent and not acknowledged", "1 messages wait")
    said(client)


@pytest.mark.parametrize(("overflow", "verdict"), [("drop-newest", SLOW), ("drop-oldest", WAITING)])
def test_a_client_that_reads_too_slowly(overflow: str, verdict: str) -> None:
    broker = new_broker()
    client = durable(broker, outbox_soft_bytes=100, overflow=overflow)
    subscribe(client, "a", 0)
    for _ in range(3):
        broker.publish(message("a", bytes(100)), None, 5.0)
    checked(explain(broker, "c", "a"), verdict, "reads too slowly", overflow)


def test_no_local_is_said() -> None:
    broker = new_broker()
    subscribe(durable(broker), "a", 1, no_local=True)
    account = checked(explain(broker, "c", "a"), DELIVERED)
    assert "no local" in [step.what for step in account.steps]


def test_members_of_a_shared_subscription() -> None:
    broker = new_broker()
    subscribe(durable(broker, "one"), "$share/g/a", 1)
    checked(explain(broker, "one", "a"), DELIVERED)
    subscribe(durable(broker, "two"), "$share/g/a", 1)
    account = checked(explain(broker, "one", "a"), SHARED, "one of 2 members")
    assert "'$share/g/a' at QoS 1" in account.steps[1].detail
    assert delivered(broker)


def test_many_filters_are_not_all_named() -> None:
    broker = new_broker()
    client = durable(broker)
    for topic_filter in ("a/b", "a/+", "+/b", "+/+", "#"):
        subscribe(client, topic_filter, 1)
    account = explain(broker, "c", "a/b")
    assert account.steps[1].detail.endswith("and 2 more.")


def test_a_topic_that_is_none() -> None:
    with pytest.raises(ProtocolError):
        explain(new_broker(), "c", "a/#")
