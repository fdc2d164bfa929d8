"""Clients that come and go too often, and who is not banned for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker.core import flapping
from broker.core.flapping import Flapping, host_of
from broker.core.grants import Grant
from broker.core.limits import ServerLimits
from broker.core.ports import Peer, Refusal
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, Connect
from tests.core.parts import limits, new_broker, request, said

if TYPE_CHECKING:
    from broker.core.broker import Broker


def bounds(**values: Any) -> ServerLimits:
    result = ServerLimits()
    result.flapping_connects = 3
    for name, value in values.items():
        setattr(result, name, value)
    return result


def come(
    of: Flapping, times: int, now: float = 0.0, who: tuple[str, str, str] = ("c", "ann", "1.2.3.4:1")
) -> list[bool]:
    return [of.banned(*who, now) for _ in range(times)]


def test_off_unless_asked_for() -> None:
    of = Flapping(ServerLimits())
    assert not any(come(of, 10_000))


def test_one_more_than_allowed_is_banned_and_let_in_again_later() -> None:
    of = Flapping(bounds())
    assert come(of, 5) == [False, False, False, True, True]
    assert (of.bans, of.refused, of.now_banned(0.0)) == (1, 2, 1)
    assert come(of, 1, 299.9) == [True]
    assert of.now_banned(300.0) == 0
    assert come(of, 4, 300.0) == [False, False, False, True]
    assert of.bans == 2


def test_knocking_does_not_make_a_ban_longer() -> None:
    of = Flapping(bounds())
    come(of, 4)
    for second in range(1, 300):
        assert come(of, 1, float(second)) == [True]
    assert come(of, 1, 300.0) == [False]


def test_windows_do_not_add_up() -> None:
    of = Flapping(bounds())
    for minute in range(100):
        assert come(of, 3, minute * 60.0) == [False] * 3


@pytest.mark.parametrize(
    "other", [("d", "ann", "1.2.3.4:1"), ("c", "bob", "1.2.3.4:1"), ("c", "", "1.2.3.4:1"), ("c", "ann", "1.2.3.5:1")]
)
def test_nobody_is_banned_for_another(other: tuple[str, str, str]) -> None:
    of = Flapping(bounds())
    come(of, 100, who=other)
    assert come(of, 1) == [False]


def test_another_port_is_the_same_address() -> None:
    of = Flapping(bounds())
    assert [of.banned("c", "", f"[2001:db8::1]:{port}", 0.0) for port in range(4)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("1.2.3.4:80", "1.2.3.4"),
        ("[::1]:80", "[::1]"),
        ("unix", "unix"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::1]", "[::1]"),
    ],
)
def test_hosts(address: str, host: str) -> None:
    assert host_of(address) == host


def test_both_memories_are_bounded() -> None:
    of = Flapping(bounds(flapping_connects=1))
    kept = flapping.KEPT
    for number in range(kept + 10):
        for _ in range(2):
            of.banned(str(number), "", "unix", 0.0)
    assert of.now_banned(0.0) == kept
    assert of.banned(str(kept + 9), "", "unix", 0.0), "the newest bans are kept"
    for number in range(kept + 10):
        of.banned(f"once {number}", "", "unix", 0.0)
    assert not of.banned("once 0", "", "unix", 0.0), "forgotten, and so counted anew"
    assert of.banned(f"once {kept + 9}", "", "unix", 0.0)


class Password:
    """Whoever says the password is ann."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal:
        if connect.password == b"right":
            return Grant("ann", principal="user:ann")
        return Refusal(ReasonCode.BAD_USER_NAME_OR_PASSWORD)


def knock(broker: Broker, password: bytes, address: str, version: int = MQTT_5_0) -> int:
    connection = broker.accept(Peer(address, "tcp"), limits(), 0.0)
    packet = Connect("device", version, True, 0, "ann", password)
    connection.receive(encode(packet, version), 0.0)
    connack = said(connection)[0]
    assert isinstance(connack, Connack)
    connection.lost(0.0)
    return connack.reason


@pytest.mark.parametrize(
    ("version", "reason"), [(MQTT_3_1_1, ReasonCode.NOT_AUTHORIZED), (MQTT_5_0, ReasonCode.BANNED)]
)
def test_who_knows_no_password_bans_nobody_from_the_very_same_address(version: int, reason: int) -> None:
    broker = new_broker(Password(), flapping_connects=3)
    for _ in range(20):
        assert knock(broker, b"wrong", "1.2.3.4:1") == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert [knock(broker, b"right", "1.2.3.4:1", version) for _ in range(3)] == [0, 0, 0]
    assert knock(broker, b"right", "1.2.3.4:2", version) == reason
    assert knock(broker, b"right", "1.2.3.5:1", version) == 0, "the owner from elsewhere"


def test_a_refused_one_leaves_the_connected_one_alone() -> None:
    broker = new_broker(flapping_connects=2)
    first = broker.accept(Peer("a:1", "tcp"), limits(), 0.0)
    request(first, "c")
    said(first)
    broker.flapping.banned("c", "", "a:9", 0.0)
    second = broker.accept(Peer("a:2", "tcp"), limits(), 0.0)
    request(second, "c")
    assert said(second)[0].reason == ReasonCode.BANNED
    assert second.ended
    assert not first.ended
    assert said(first) == []


def test_assigned_identifiers_are_not_counted() -> None:
    broker = new_broker(flapping_connects=1)
    for _ in range(5):
        connection = broker.accept(Peer("a:1", "tcp"), limits(), 0.0)
        request(connection, "")
        assert said(connection)[0].reason == 0


def test_whoever_looks_is_told_and_can_count() -> None:
    broker = new_broker(flapping_connects=1)
    told = Noticing()
    broker.watchers = (told,)
    for _ in range(2):
        request(broker.accept(Peer("10.0.0.1:1", "tcp"), limits(), 0.0), "c")
    ((kind, text),) = told.noticed_
    assert kind == "flapping"
    for word in ("'c'", "10.0.0.1", "flapping_connects"):
        assert word in text
    values = broker.sys_topics.values(0.0)
    assert values["clients/banned"] == values["connections/refused/flapping"] == "1"


class Noticing:
    def __init__(self) -> None:
        self.noticed_: list[tuple[str, str]] = []

    def connected(self, client_identifier: str, peer: Peer) -> None:
        return

    def disconnected(self, client_identifier: str, peer: Peer, reason: str) -> None:
        return

    def refused(self, client_identifier: str, peer: Peer, reason: str) -> None:
        return

    def noticed(self, kind: str, text: str) -> None:
        self.noticed_.append((kind, text))
