"""The checks of retained messages and subscriptions see what is wrong."""

from __future__ import annotations

import socket
from random import Random
from typing import TYPE_CHECKING

import pytest

from broker.packets.types import MQTT_3_1_1, Puback, Pubcomp, Pubrec, Suback, Unsuback
from tests.faults.killing import Retaining, Subscribing
from tests.faults.ledger import Ledger
from tests.faults.traffic import Durable, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


def begin(client: Durable, address: tuple[str, int]) -> None:
    client.wire = Wire(address, False, client.version)
    client.ready = True


def acknowledge(client: Retaining) -> None:
    for identifier, sent in list(client.outgoing.items()):
        for packet in (Puback(identifier),) if sent.packet.qos == 1 else (Pubrec(identifier), Pubcomp(identifier)):
            client.handle(packet)


def test_retained_messages(address: tuple[str, int]) -> None:
    ledger = Ledger()
    client = Retaining("c", ledger, Random(3), MQTT_3_1_1, False)
    begin(client, address)
    client.change_one()
    topic, payload = client.changing, client.possible[client.changing][-1]
    assert payload
    client.check({})
    client.check({topic: payload})
    assert not ledger.verdict().forgotten, "it is not acknowledged yet"
    acknowledge(client)
    client.check({topic: payload})
    assert not ledger.verdict().forgotten
    for wrong in ({}, {topic: b"other"}, {topic: payload, f"r/c/{(int(topic[-1]) + 1) % 4}": b"other"}):
        before = len(ledger.verdict().forgotten)
        client.check(wrong)
        assert len(ledger.verdict().forgotten) == before + 1
    client.close()


def test_subscriptions(address: tuple[str, int]) -> None:
    ledger = Ledger()
    client = Subscribing("c", ledger, Random(1), MQTT_3_1_1, False)
    begin(client, address)
    while client.wanted < 0:
        client.change_one()
        client.handle(Suback(1, [client.wanted]) if client.wanted >= 0 else Unsuback(1, []))
    topic, wanted = client.changing, client.wanted
    client.check({topic: wanted})
    assert not ledger.verdict().forgotten
    client.check({})
    assert len(ledger.verdict().forgotten) == 1, "it was acknowledged"
    client.change_one()
    topic, possible = client.changing, client.possible[client.changing]
    assert len(possible) == 2 or client.wanted == -1
    client.check({} if client.wanted == -1 else {topic: client.wanted})
    assert len(ledger.verdict().forgotten) == 1, "it was under way"
    client.check({topic: 0})
    assert len(ledger.verdict().forgotten) == 2
    client.close()
