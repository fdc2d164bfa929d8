"""How many Sessions somebody owns, and what a bound on that refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.grants import Grant
from broker.core.owners import Owners
from broker.core.restoring import Restorer
from broker.packets.reasons import ReasonCode
from tests.core.parts import LateStore, accept, limits, new_broker, request, said
from tests.core.test_flapping import Noticing

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.core.ports import Peer
    from broker.packets.types import Connect


def test_counting() -> None:
    owners = Owners()
    owners.move("", "ann")
    owners.move("", "ann")
    owners.move("", "")
    owners.move("ann", "ann")
    assert (owners.sessions_of("ann"), owners.sessions_of("")) == (2, 0)
    owners.move("ann", "bob")
    assert (owners.sessions_of("ann"), owners.sessions_of("bob")) == (1, 1)
    owners.move("ann", "")
    owners.move("bob", "")
    assert owners._sessions == {}, "nothing is left of who has none"


class ByPrefix:
    """ "ann/1" is a device of ann; without a slash it is nobody's."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant:
        owner, slash, _ = connect.client_identifier.partition("/")
        return Grant(principal=f"user:{owner}" if slash else "")


def reason(broker: Broker, name: str, expiry: int = 600, clean_start: bool = False) -> tuple[int, Connection]:
    connection = accept(broker)
    request(connection, name, clean_start=clean_start, session_expiry_interval=expiry)
    return said(connection)[0].reason, connection


def test_the_bound_is_of_each_owner() -> None:
    broker = new_broker(ByPrefix(), sessions_per_user=2)
    told = Noticing()
    broker.watchers = (told,)
    for name in ("ann/1", "ann/2", "bob/1", "bob/2", "1", "2", "3"):
        assert reason(broker, name)[0] == 0, name
    assert reason(broker, "ann/3")[0] == ReasonCode.QUOTA_EXCEEDED
    assert reason(broker, "ann/1")[0] == 0, "it is there already"
    assert reason(broker, "ann/1", clean_start=True)[0] == 0
    ((kind, text),) = told.noticed_
    assert kind == "sessions_per_user"
    assert "sessions_per_user" in text
    assert broker.sys_topics.values(0.0)["connections/refused/sessions_per_user"] == "1"


def test_what_has_ended_makes_room() -> None:
    broker = new_broker(ByPrefix(), sessions_per_user=1)
    _, connection = reason(broker, "ann/1", expiry=0)
    assert reason(broker, "ann/2")[0] == ReasonCode.QUOTA_EXCEEDED
    connection.lost(0.0)
    assert reason(broker, "ann/2")[0] == 0
    broker.end_session(broker.sessions["ann/2"], 0.0)
    assert broker.owners.sessions_of("user:ann") == 0


def test_off() -> None:
    broker = new_broker(ByPrefix())
    assert [reason(broker, f"ann/{number}")[0] for number in range(20)] == [0] * 20


def test_whose_session_becomes_somebodys_is_counted() -> None:
    grant = Grant()

    class One:
        def authenticate(self, connect: Connect, peer: Peer) -> Grant:
            return grant

    broker = new_broker(One(), sessions_per_user=1)
    for name in ("1", "2"):
        reason(broker, name)[1].lost(0.0)
    grant = Grant(principal="user:ann")
    assert reason(broker, "1")[0] == 0
    assert broker.owners.sessions_of("user:ann") == 1
    assert reason(broker, "2")[0] == ReasonCode.QUOTA_EXCEEDED
    assert not broker.sessions["2"].principal


def test_what_was_kept_counts_and_stays() -> None:
    store = LateStore()
    broker = new_broker(ByPrefix(), store, sessions_per_user=1)
    restorer = Restorer(broker, limits(), 0.0)
    for number in (1, 2):
        restorer.session(number, number, f"ann/{number}", 600, 0.0, None, 0.0, False, "user:ann")
    assert broker.owners.sessions_of("user:ann") == 2
    connection = accept(broker)
    request(connection, "ann/3")
    assert said(connection)[0].reason == ReasonCode.QUOTA_EXCEEDED
    connection = accept(broker)
    request(connection, "ann/2", clean_start=False)
    store.catch_up()
    assert said(connection)[0].session_present
