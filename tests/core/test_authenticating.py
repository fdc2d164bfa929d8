"""From CONNECT through AUTH to a Grant, and again; who owns a Session; and what a Grant keeps from its Client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.grants import Grant
from broker.core.ports import Challenge, Refusal
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Properties,
    Puback,
    Publish,
    Pubrec,
    Will,
)
from tests.core.parts import (
    LateStore,
    accept,
    connect,
    kinds,
    message,
    new_broker,
    payloads,
    request,
    said,
    send,
    session_of,
    subscribe,
)
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.core.ports import Answer, Peer

METHOD = "ECHO"


class Echo:
    """An enhanced authentication: each challenge wants its own words back, and the last one grants."""

    methods = (METHOD,)

    def __init__(self, challenges: int = 2, grant: Grant | None = None) -> None:
        self.challenges = challenges
        self.grant = grant or Grant("ann", principal="ann", data=b"welcome")
        self.again: Answer | None = None  # to a re-authentication

    def authenticate(self, connect: Connect, peer: Peer) -> Answer | Awaitable[Answer]:
        if connect.properties.authentication_method is None:
            return Grant("", principal=connect.user_name or "")
        return self._next(self.challenges)

    def reauthenticate(self, grant: Grant, method: str, data: bytes, peer: Peer) -> Answer:
        assert (grant, method, data) == (self.grant, METHOD, b"again")
        return self.again or self._next(1)

    def _next(self, left: int) -> Answer:
        if left == 0:
            return self.grant
        return Challenge(b"%d" % left, Expected(self, left))


class Expected:
    def __init__(self, echo: Echo, left: int) -> None:
        self.echo = echo
        self.left = left

    def go_on(self, data: bytes) -> Answer:
        if data != b"%d" % self.left:
            return Refusal(ReasonCode.NOT_AUTHORIZED, "no echo")
        return self.echo._next(self.left - 1)


def auth(data: bytes | None = None, reason: int = 0x18, method: str = METHOD) -> Auth:
    values = Properties()
    values.authentication_method = method
    values.authentication_data = data
    return Auth(ReasonCode(reason), values)


def begun(broker: Broker, **values: Any) -> Connection:
    connection = accept(broker)
    request(connection, "c", authentication_method=METHOD, **values)
    return connection


def authenticated(broker: Broker) -> Connection:
    connection = begun(broker)
    send(connection, auth(b"2"), auth(b"1"))
    assert kinds(said(connection)) == ["Auth", "Auth", "Connack"]
    return connection


# -- Before the CONNACK


@statement("MQTT5-4.12.0-2", "MQTT5-4.12.0-5")
def test_challenges_up_to_the_connack() -> None:
    connection = begun(new_broker(Echo()))
    (first,) = said(connection)
    assert (first.reason, first.properties.authentication_data) == (0x18, b"2")
    assert first.properties.authentication_method == METHOD
    send(connection, auth(b"2"))
    (second,) = said(connection)
    assert (second.reason, second.properties.authentication_data) == (0x18, b"1")
    send(connection, auth(b"1"))
    (connack,) = said(connection)
    assert isinstance(connack, Connack)
    assert connack.reason == 0
    assert connack.properties.authentication_method == METHOD
    assert connack.properties.authentication_data == b"welcome"
    send(connection, Pingreq())
    assert kinds(said(connection)) == ["Pingresp"]
    assert session_of(connection).principal == "ann"


def test_a_method_that_needs_no_challenge() -> None:
    connection = begun(new_broker(Echo(0)))
    (connack,) = said(connection)
    assert connack.properties.authentication_data == b"welcome"


@statement("MQTT5-4.12.0-4")
def test_a_wrong_answer_is_refused() -> None:
    connection = begun(new_broker(Echo()))
    said(connection)
    send(connection, auth(b"two"))
    (connack,) = said(connection)
    assert (connack.reason, connack.properties.authentication_method) == (ReasonCode.NOT_AUTHORIZED, None)
    assert connection.ended


@statement("MQTT5-3.1.2-30")
@pytest.mark.parametrize("packet", [Pingreq(), Publish("a", b"x"), Connect("c", 5)])
def test_nothing_but_auth_comes_before_the_connack(packet: Pingreq | Publish | Connect) -> None:
    broker = new_broker(Echo())
    connection = begun(broker)
    said(connection)
    send(connection, packet)
    (connack,) = said(connection)
    assert connack.reason == ReasonCode.PROTOCOL_ERROR
    assert connection.ended
    assert not broker.sessions


def test_a_disconnect_may_come_instead() -> None:
    broker = new_broker(Echo())
    connection = begun(broker)
    said(connection)
    send(connection, Disconnect())
    assert connection.ended
    assert said(connection) == []
    assert not broker.sessions


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (auth(b"2", method="OTHER"), ReasonCode.PROTOCOL_ERROR),
        (auth(b"2", reason=0x19), ReasonCode.PROTOCOL_ERROR),
    ],
)
def test_another_method_or_a_re_authentication_is_an_error(packet: Auth, reason: ReasonCode) -> None:
    connection = begun(new_broker(Echo()))
    said(connection)
    send(connection, packet)
    (connack,) = said(connection)
    assert connack.reason == reason
    assert connection.ended


def test_a_method_that_is_not_known_is_refused() -> None:
    connection = accept(new_broker(Echo()))
    request(connection, "c", authentication_method="OTHER")
    (connack,) = said(connection)
    assert connack.reason == ReasonCode.BAD_AUTHENTICATION_METHOD


def test_a_challenge_without_a_method_lets_nobody_in() -> None:
    class Confused(Echo):
        def authenticate(self, connect: Connect, peer: Peer) -> Answer:
            return Challenge(b"", Expected(self, 1))

    connection = accept(new_broker(Confused()))
    request(connection, "c")
    (connack,) = said(connection)
    assert connack.reason == ReasonCode.NOT_AUTHORIZED


def test_a_challenge_that_the_client_cannot_take_ends_it() -> None:
    connection = begun(new_broker(Echo()), maximum_packet_size=10)
    (connack,) = said(connection)
    assert connack.reason == ReasonCode.PACKET_TOO_LARGE
    assert connection.ended


def test_bytes_of_an_auth_may_come_one_by_one() -> None:
    connection = begun(new_broker(Echo()))
    said(connection)
    for byte in encode(auth(b"2"), 5) + encode(auth(b"1"), 5):
        connection.receive(bytes([byte]), 0.0)
    assert kinds(said(connection)) == ["Auth", "Connack"]


# -- Again


@statement("MQTT5-4.12.0-5")
def test_re_authentication() -> None:
    echo = Echo()
    connection = authenticated(new_broker(echo))
    send(connection, auth(b"again", 0x19))
    (challenge,) = said(connection)
    assert (challenge.reason, challenge.properties.authentication_data) == (0x18, b"1")
    send(connection, Pingreq())
    assert kinds(said(connection)) == ["Pingresp"], "everything else goes on"
    send(connection, auth(b"1"))
    (done,) = said(connection)
    assert (done.reason, done.properties.authentication_method) == (0, METHOD)
    assert done.properties.authentication_data == b"welcome"
    assert not connection.ended


@statement("MQTT5-4.12.1-2")
@pytest.mark.parametrize("answer", [Refusal(ReasonCode.NOT_AUTHORIZED, "no"), Grant("bob", principal="bob")])
def test_a_failed_re_authentication_ends_the_connection(answer: Answer) -> None:
    echo = Echo()
    connection = authenticated(new_broker(echo))
    echo.again = answer
    send(connection, auth(b"again", 0x19))
    (disconnect,) = said(connection)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.NOT_AUTHORIZED
    assert connection.ended


@statement("MQTT5-4.12.1-1")
@pytest.mark.parametrize("packet", [auth(b"again", 0x19, "OTHER"), auth(b"1", 0x18)])
def test_re_authentication_out_of_order_is_an_error(packet: Auth) -> None:
    connection = authenticated(new_broker(Echo()))
    send(connection, packet)
    (disconnect,) = said(connection)
    assert disconnect.reason == ReasonCode.PROTOCOL_ERROR


# -- How long it is worth something


def test_a_grant_that_expires_ends_the_connection() -> None:
    echo = Echo(0, Grant("ann", principal="ann", expires_at=100.0))
    broker = new_broker(echo)
    connection = begun(broker)
    said(connection)
    assert broker.next_deadline() <= 100.0
    broker.tick(99.9)
    assert not connection.ended
    broker.tick(100.0)
    (disconnect,) = said(connection)
    assert disconnect.reason == ReasonCode.NOT_AUTHORIZED


def test_re_authentication_puts_the_end_off() -> None:
    echo = Echo(0, Grant("ann", principal="ann", expires_at=100.0))
    broker = new_broker(echo)
    connection = begun(broker)
    said(connection)
    echo.again = Grant("ann", principal="ann", expires_at=200.0)
    send(connection, auth(b"again", 0x19))
    assert kinds(said(connection)) == ["Auth"]
    broker.tick(150.0)
    assert not connection.ended
    broker.tick(200.0)
    assert connection.ended


# -- Whose Session it is


class Owners:
    """Everybody is whom its listener's name says."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant:
        return Grant(peer.listener, principal=peer.listener)


def of(broker: Broker, owner: str, clean_start: bool = False) -> Connection:
    connection = accept(broker)
    connection.peer.listener = owner
    request(connection, "c", clean_start=clean_start, session_expiry_interval=600)
    return connection


@pytest.mark.parametrize("clean_start", [False, True])
@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("other", ["bob", ""])
def test_a_session_belongs_to_its_owner(clean_start: bool, here: bool, other: str) -> None:
    broker = new_broker(Owners())
    first = of(broker, "ann")
    assert said(first)[0].reason == 0
    session = session_of(first)
    subscribe(first, "a", 1)
    if not here:
        first.lost(0.0)
    second = of(broker, other, clean_start)
    (connack,) = said(second)
    assert connack.reason == ReasonCode.NOT_AUTHORIZED
    assert broker.sessions["c"] is session
    assert (session.connection is first) is here
    assert said(first) == []
    assert list(session.subscriptions) == ["a"]
    again = of(broker, "ann")
    assert said(again)[0].session_present


def test_nobodys_session_goes_to_somebody_but_not_from_under_its_client() -> None:
    broker = new_broker(Owners())
    first = of(broker, "")
    said(first)
    second = of(broker, "ann")
    assert said(second)[0].reason == ReasonCode.NOT_AUTHORIZED
    first.lost(0.0)
    third = of(broker, "ann")
    assert said(third)[0].session_present
    assert session_of(third).principal == "ann"


# -- What a Grant keeps from its Client


class Open(Grant):
    """Delivers what is in `topics`."""

    def __init__(self, *topics: str) -> None:
        super().__init__("ann", everything=False, principal="ann")
        self.topics = set(topics)

    def may_deliver(self, topic: str) -> bool:
        return topic in self.topics

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        return ReasonCode.SUCCESS if topic in self.topics else ReasonCode.NOT_AUTHORIZED


class One:
    """Everybody has this grant."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant

    def authenticate(self, connect: Connect, peer: Peer) -> Grant:
        return self.grant


def to_all(broker: Broker, qos: int, retain: bool = False) -> None:
    for topic in ("a", "b"):
        broker.publish(message(topic, topic.encode(), qos, retain=retain), None, 0.0)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [3, 4, 5])
def test_live_messages(qos: int, version: int) -> None:
    broker = new_broker(One(Open("a")))
    connection = connect(broker, "c", version)
    subscribe(connection, "#", qos)
    to_all(broker, qos)
    assert payloads(connection) == [b"a"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_messages(qos: int) -> None:
    broker = new_broker(One(Open("a")))
    to_all(broker, qos, retain=True)
    connection = connect(broker, "c")
    subscribe(connection, "#", qos)
    assert payloads(connection) == [b"a"]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_queued_before_it_was_forbidden(qos: int) -> None:
    grant = Open("a", "b")
    broker = new_broker(One(grant))
    connection = connect(broker, "c", session_expiry_interval=600)
    subscribe(connection, "#", qos)
    connection.lost(0.0)
    to_all(broker, qos)
    grant.topics.discard("b")
    again = accept(broker)
    request(again, "c", clean_start=False, session_expiry_interval=600)
    assert [each.payload for each in said(again) if isinstance(each, Publish)] == [b"a"]
    assert session_of(again).queued_messages() == 0


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_sent_before_it_was_forbidden_is_not_sent_again(qos: int) -> None:
    grant = Open("a", "b")
    broker = new_broker(One(grant))
    connection = connect(broker, "c", session_expiry_interval=600)
    subscribe(connection, "#", qos)
    to_all(broker, qos)
    assert payloads(connection) == [b"a", b"b"]
    connection.lost(0.0)
    grant.topics.discard("b")
    again = accept(broker)
    request(again, "c", clean_start=False, session_expiry_interval=600)
    sent = [each for each in said(again) if isinstance(each, Publish)]
    assert [(each.payload, each.dup) for each in sent] == [(b"a", True)]
    assert list(session_of(again).outgoing.unacknowledged) == [sent[0].packet_identifier]


def test_a_shared_message_goes_to_the_member_who_may_have_it() -> None:
    class ByName:
        def authenticate(self, connect: Connect, peer: Peer) -> Grant:
            return Open("a") if connect.client_identifier == "little" else Open("a", "b")

    broker = new_broker(ByName())
    little, much = connect(broker, "little"), connect(broker, "much")
    for each in (little, much):
        subscribe(each, "$share/g/#", 1)
    for _ in range(4):
        broker.publish(message("b", b"b", 1), None, 0.0)
    assert payloads(little) == []
    assert len(payloads(much)) == 4


def test_a_will_is_looked_at_again_when_it_is_due() -> None:
    grant = Open("a", "b")
    broker = new_broker(One(grant))
    spy = connect(broker, "spy")
    subscribe(spy, "#")
    for topic in ("a", "b"):
        connect(broker, topic, will=Will(topic, topic.encode()))
    grant.topics.discard("b")
    for topic in ("a", "b"):
        holder = broker.sessions[topic].connection
        assert holder is not None
        holder.lost(0.0)
    assert payloads(spy) == [b"a"]


def test_a_new_grant_is_for_the_one_whose_connack_waits_too() -> None:
    store = LateStore()
    broker = new_broker(One(Grant("ann", principal="ann")), store)
    connection = accept(broker)
    request(connection, "c", session_expiry_interval=600)
    session = broker.sessions["c"]
    assert session.connection is None
    assert session.holder() is connection
    broker.regrant(session, Open("a"))
    store.catch_up()
    assert kinds(said(connection)) == ["Connack"]
    send(connection, Publish("b", b"", qos=1, packet_identifier=1), Publish("a", b"", qos=1, packet_identifier=2))
    broker.flush(0.0)
    store.catch_up()
    assert [each.reason for each in said(connection)] == [
        ReasonCode.NOT_AUTHORIZED,
        ReasonCode.NO_MATCHING_SUBSCRIBERS,
    ]
    subscribe(connection, "#")
    to_all(broker, 0)
    assert payloads(connection) == [b"a"]


@pytest.mark.parametrize("here", [False, True])
def test_a_new_grant_holds_at_once(here: bool) -> None:
    broker = new_broker(One(Grant("ann", principal="ann")))
    connection = connect(broker, "c", session_expiry_interval=600)
    subscribe(connection, "#", 1)
    session = session_of(connection)
    if not here:
        connection.lost(0.0)
    broker.regrant(session, Open("a"))
    to_all(broker, 1)
    assert session.queued_messages() == (0 if here else 1)
    if here:
        assert payloads(connection) == [b"a"]
        send(connection, Publish("b", b"", qos=1, packet_identifier=1))
        send(connection, Publish("b", b"", qos=2, packet_identifier=2))
        first, second = said(connection)
        assert isinstance(first, Puback)
        assert isinstance(second, Pubrec)
        assert first.reason == second.reason == ReasonCode.NOT_AUTHORIZED
        broker.regrant(session, Grant("ann", principal="ann"))
        to_all(broker, 1)
        assert payloads(connection) == [b"a", b"b"]
