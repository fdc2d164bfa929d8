"""Requests and Packet Identifiers."""

from __future__ import annotations

import pytest

from broker.client.errors import ClientError
from broker.client.requests import PacketIdentifiers, Request
from tests.statements import statement


def test_a_request_is_settled_once() -> None:
    request = Request()
    calls: list[bool] = []
    request.settled = lambda: calls.append(request.done)
    first = ClientError("first")
    request.settle(first)
    request.settle()
    assert calls == [True]
    assert request.error is first


@statement("MQTT5-2.2.1-3", "MQTT311-2.3.1-2")
def test_identifiers_in_use_are_not_given_again() -> None:
    identifiers = PacketIdentifiers()
    taken = [identifiers.take() for _ in range(65_535)]
    assert sorted(taken) == list(range(1, 65_536))
    with pytest.raises(RuntimeError):
        identifiers.take()
    identifiers.release(700, 9)
    assert {identifiers.take(), identifiers.take()} == {700, 9}


def test_identifiers_go_round() -> None:
    identifiers = PacketIdentifiers()
    first = identifiers.take()
    identifiers.release(first)
    assert identifiers.take() == first + 1
