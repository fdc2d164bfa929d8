"""What the statement-by-statement tests share: bytes of common packets, limits, an Authenticator under orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker.core.grants import Grant
from broker.core.limits import Limits
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0
from tests.pair import Client, Pair, raw, string

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.core.ports import Peer, Refusal
    from broker.packets.types import Connect

VERSIONS = pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0], ids=["3.1.1", "5.0"])


def none(version: int) -> bytes:
    """The Property Length of no properties, where the version has one."""
    return b"\x00" if version == MQTT_5_0 else b""


def connect(version: int, flags: int, *payload: bytes, name: str = "MQTT", level: int = 0) -> bytes:
    """CONNECT with these Connect Flags and payload fields, Keep Alive 0, no properties."""
    return raw(0x10, string(name), bytes([level or version, flags, 0, 0]), none(version), *payload)


def publish(version: int, topic: str | bytes, payload: bytes = b"x", flags: int = 0, identifier: int = 0) -> bytes:
    """PUBLISH with these fixed header flags and no properties."""
    two = identifier.to_bytes(2, "big") if flags & 6 else b""
    return raw(0x30 | flags, string(topic), two, none(version), payload)


def limits(**values: object) -> Limits:
    """Limits that ship but for `values`, and without a Server Keep Alive."""
    result = Limits()
    result.server_keep_alive_maximum = 0
    for name, value in values.items():
        assert hasattr(result, name)
        setattr(result, name, value)
    return result


class Gate:
    """An Authenticator that remembers what it was asked and answers as told."""

    def __init__(self, answer: Grant | Refusal | None = None) -> None:
        self.answer = answer or Grant()
        self.asked: list[Connect] = []

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal | Awaitable[Grant | Refusal]:
        self.asked.append(connect)
        return self.answer


class Reader(Grant):
    """May not publish anything, nor subscribe to "no"."""

    def __init__(self) -> None:
        super().__init__(everything=False)

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        return ReasonCode.NOT_AUTHORIZED

    def subscribe(self, topic_filter: str, qos: int) -> ReasonCode:
        return ReasonCode.NOT_AUTHORIZED if topic_filter == "no" else ReasonCode.SUCCESS


def two(pair: Pair, version: int, qos: int, **values: Any) -> tuple[Client, Client]:
    """A publisher, and a subscriber to "a" with a Session that stays."""
    subscriber = pair.connected("s", version, clean_start=False, session_expiry_interval=1000, **values)
    subscriber.subscribe("a", qos=qos)
    return pair.connected("p", version), subscriber


def again(pair: Pair, client: Client, **values: Any) -> Client:
    """The network of `client` fails, and it connects again to its Session."""
    client.drop()
    new = pair.client(client.version)
    assert new.connect("s", clean_start=False, session_expiry_interval=1000, **values).session_present
    return new
