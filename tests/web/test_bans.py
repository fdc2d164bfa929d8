"""Whom an operator has banned does not come back until it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.limits import Limits
from broker.core.ports import Peer
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connect
from broker.web import bans as module
from broker.web.bans import Bans
from tests.web.systems import Bench

if TYPE_CHECKING:
    import pytest


def test_whoever_is_banned_does_not_come_back_until_it_is_over() -> None:
    bench = Bench()
    bans = Bans(bench.broker)
    connection = bench.client("wild")
    other = bench.client("tame")
    assert bans.add("wild", 60.0, "why", bench.now) is not None
    assert not connection.ended
    assert bans.end("wild", "banned")
    bench.broker.flush(bench.now)
    assert connection.ended
    assert f"0x{int(ReasonCode.ADMINISTRATIVE_ACTION):02X}" in connection.end_reason
    for version, reason in ((MQTT_5_0, ReasonCode.BANNED), (MQTT_3_1_1, 5)):
        again = bench.broker.accept(Peer("192.0.2.1:5000", "tcp"), Limits(), bench.now)
        again.receive(encode(Connect("wild", version), version), bench.now)
        assert (again.ended, again.session) == (True, None)
        assert again.outbox.take()[3] == reason, "CONNACK"
    bench.broker.flush(bench.now)
    assert not other.ended
    bench.now += 61
    once_more = bench.client("wild")
    bench.broker.flush(bench.now)
    assert not once_more.ended
    assert bans.held(bench.now) == []
    assert bench.broker.banned == {}


def test_a_ban_can_be_taken_back() -> None:
    bench = Bench()
    bans = Bans(bench.broker)
    bans.add("wild", 60.0, "why", bench.now)
    assert [(each.client_identifier, each.until, each.reason) for each in bans.held(bench.now)] == [
        ("wild", bench.now + 60, "why")
    ]
    assert bans.remove("wild", bench.now)
    assert not bans.remove("wild", bench.now)
    connection = bench.client("wild")
    bench.broker.flush(bench.now)
    assert not connection.ended
    assert not bans.end("nobody", "x")


def test_bans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    bans = Bans(Bench().broker)
    assert bans.add("a", 1.0, "", 0.0) is not None
    assert bans.add("b", 9.0, "x" * 500, 0.0) is not None
    assert len(bans.held(0.0)[1].reason) == module.REASON_CHARACTERS
    assert bans.add("c", 9.0, "", 0.0) is None
    assert bans.add("b", 99.0, "", 0.0) is not None
    assert bans.add("c", 9.0, "", 2.0) is not None
