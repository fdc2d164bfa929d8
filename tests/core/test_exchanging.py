"""The second halves of the exchanges: what they end, and what they are answered with."""

from __future__ import annotations

import pytest

from broker.core.journal import EXCHANGES, MESSAGES, QUEUED
from broker.packets.reasons import ReasonCode
from broker.packets.types import Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.core.parts import (
    LateStore,
    connect,
    message,
    new_broker,
    payloads,
    publishes,
    said,
    send,
    session_of,
    subscribe,
)
from tests.statements import statement


def test_a_puback_lets_the_next_message_go() -> None:
    broker = new_broker()
    connection = connect(broker, "c", receive_maximum=1)
    subscribe(connection, "a", 1)
    for payload in (b"1", b"2"):
        broker.publish(message("a", payload, 1), None, 0.0)
    (first,) = publishes(connection)
    send(connection, Puback(first.packet_identifier + 1))
    assert said(connection) == [], "that one is not known"
    send(connection, Puback(first.packet_identifier))
    assert payloads(connection) == [b"2"]


@pytest.mark.parametrize("refused", [False, True])
def test_qos_2_holds_its_place_until_it_is_over(refused: bool) -> None:
    broker = new_broker()
    connection = connect(broker, "c", receive_maximum=1)
    subscribe(connection, "a", 2)
    for payload in (b"1", b"2"):
        broker.publish(message("a", payload, 2), None, 0.0)
    (first,) = publishes(connection)
    identifier = first.packet_identifier
    if refused:
        send(connection, Pubrec(identifier, ReasonCode.UNSPECIFIED_ERROR))
    else:
        send(connection, Pubrec(identifier))
        (release,) = said(connection)
        assert isinstance(release, Pubrel)
        assert release.packet_identifier == identifier
        send(connection, Pubcomp(identifier))
    assert payloads(connection) == [b"2"]


@statement("MQTT5-4.3.3-4")
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("version", "reason"), [(4, 0), (5, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)])
def test_identifiers_that_are_not_known(version: int, reason: int, kept: bool) -> None:
    connection = connect(new_broker(store=LateStore()), "c", version, clean_start=not kept or version == 5)
    assert session_of(connection).durable == (kept and version == 4)
    send(connection, Pubrec(7), Pubrel(8), Pubcomp(9), Puback(10))
    release, complete = said(connection)
    assert (type(release), release.packet_identifier, release.reason) == (Pubrel, 7, reason)
    assert (type(complete), complete.packet_identifier, complete.reason) == (Pubcomp, 8, reason)


def test_what_a_clean_session_exchanges_is_not_kept() -> None:
    store = LateStore()
    broker = new_broker(store=store)
    connection = connect(broker, "c")
    subscribe(connection, "a", 2)
    send(connection, Publish("a", b"x", qos=2, packet_identifier=7), Pubrel(7))
    sent = next(each for each in said(connection) if isinstance(each, Publish))
    send(connection, Pubrec(sent.packet_identifier), Pubcomp(sent.packet_identifier))
    broker.flush(0.0)
    assert store.batches == []
    assert not session_of(connection).received
    assert not session_of(connection).outgoing.released


def test_what_an_exchange_kept_is_deleted_with_its_end() -> None:
    store = LateStore()
    broker = new_broker(store=store)
    connection = connect(broker, "c", session_expiry_interval=60)
    subscribe(connection, "a", 2)
    for qos in (1, 2):
        send(connection, Publish("a", b"x", qos=qos, packet_identifier=qos))
        store.catch_up()
    send(connection, Pubrel(2))
    one, two = sorted((each for each in said(connection) if isinstance(each, Publish)), key=lambda each: each.qos)
    send(connection, Puback(one.packet_identifier), Pubrec(two.packet_identifier))
    store.catch_up()
    send(connection, Pubcomp(two.packet_identifier))
    store.catch_up()
    for table in (MESSAGES, QUEUED, EXCHANGES):
        deleted = [number for batch in store.batches for number in batch.deleted[table]]
        assert sorted(deleted) == list(range(1, store.journal.last[table] + 1)), table
    assert store.journal.last[EXCHANGES] == 2
