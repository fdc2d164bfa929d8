"""Takeover storms: who is named, how often, and what it may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core import takeovers
from broker.core.limits import ServerLimits
from broker.core.ports import Peer
from broker.core.takeovers import MINUTE, NAMED, Takeovers
from tests.core.parts import limits, new_broker, request, said
from tests.core.test_flapping import Noticing

if TYPE_CHECKING:
    from broker.core.broker import Broker


def storms(**values: int) -> Takeovers:
    bounds = ServerLimits()
    for name, value in values.items():
        setattr(bounds, name, value)
    return Takeovers(bounds)


def fight(of: Takeovers, client_identifier: str, times: int, *addresses: str) -> None:
    for at in range(times):
        of.count(client_identifier, addresses[at % len(addresses)], addresses[(at + 1) % len(addresses)])


def test_the_sentence() -> None:
    of = storms()
    fight(of, "x", 41, "10.0.0.1:5", "10.0.0.2:6")
    assert of.minute() == ["client id 'x' taken over 41 times a minute from 10.0.0.1 and 10.0.0.2"]
    assert of.named == "client id 'x' taken over 41 times a minute from 10.0.0.1 and 10.0.0.2"
    assert of.minute() == []
    assert of.named == ""


@pytest.mark.parametrize(
    ("addresses", "said_"),
    [
        (("a:1", "a:2"), "from a"),
        (("a:1", "b:1", "c:1", "d:1"), "from a and b and others"),
    ],
)
def test_hosts(addresses: tuple[str, ...], said_: str) -> None:
    of = storms()
    fight(of, "x", 20, *addresses)
    (text,) = of.minute()
    assert text.endswith(said_)


def test_a_few_are_no_storm() -> None:
    of = storms(takeover_storm=10)
    fight(of, "x", 9, "a:1", "b:1")
    assert of.minute() == []
    fight(of, "x", 10, "a:1", "b:1")
    assert len(of.minute()) == 1


def test_off() -> None:
    of = storms(takeover_storm=0)
    assert not of.count("x", "a:1", "b:1")
    fight(of, "x", 100, "a:1", "b:1")
    assert of.minute() == []


def test_the_worst_are_named_and_the_others_counted() -> None:
    of = storms(takeover_storm=1)
    for number in range(NAMED + 3):
        fight(of, f"c{number}", number + 1, "a:1", "b:1")
    named = of.minute()
    assert len(named) == NAMED + 1
    assert f"'c{NAMED + 2}' taken over {NAMED + 3} times" in named[0]
    assert named[-1].startswith("3 more client ids")


def test_memory_and_words_are_bounded() -> None:
    of = storms(takeover_storm=1)
    for number in range(takeovers.COUNTED + 5):
        of.count(f"{number:05}" + "\n" * 1000, "a:1", "b:1")
    named = of.minute()
    assert named[-1].startswith(f"{takeovers.COUNTED - NAMED} more")
    assert max(map(len, named)) < 500
    assert "\n" not in "".join(named)


def take_over(broker: Broker, address: str, now: float) -> None:
    connection = broker.accept(Peer(address, "tcp"), limits(), now)
    request(connection, "x", now=now)
    assert said(connection)[0].reason == 0


def test_a_storm_is_named_once_a_minute_in_the_log_and_in_sys() -> None:
    broker = new_broker()
    told = Noticing()
    broker.watchers = (told,)
    start = 1000.0
    for second in range(130):
        take_over(broker, f"10.0.0.{second % 2}:{second}", start + second)
        broker.tick(start + second)
    assert len(told.noticed_) == 2
    for kind, text in told.noticed_:
        assert kind == "takeovers 0"
        assert "client id 'x' taken over 61 times a minute from 10.0.0." in text
        assert "takeover_storm" in text
    values = broker.sys_topics.values(start + 130)
    assert values["clients/takeovers"] == "129"
    assert "client id 'x' taken over" in values["clients/takeover storm"]
    broker.tick(start + 1 + MINUTE * 3)
    broker.tick(start + 1 + MINUTE * 4)
    told.noticed_.clear()
    take_over(broker, "10.0.0.9:1", start + 300)
    broker.tick(start + 300 + MINUTE)
    assert told.noticed_ == []
    assert broker.sys_topics.values(start + 400)["clients/takeover storm"] == ""
