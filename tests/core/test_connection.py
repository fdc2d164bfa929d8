"""One Network Connection's protocol: CONNECT and who decides, acknowledgements and when they leave, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker.core.connection import AUTHENTICATING, CONNECTED
from broker.core.grants import Grant
from broker.core.ports import Peer, Refusal
from broker.core.session import Snapshot
from broker.core.subscriptions import Delivery
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Will,
)
from tests.core.parts import (
    LateStore,
    Strict,
    accept,
    connect,
    kinds,
    limits,
    message,
    new_broker,
    payloads,
    publishes,
    request,
    said,
    send,
    session_of,
    subscribe,
)
from tests.pair import properties
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator


# -- Who may connect


class Never:
    """An awaitable that a test answers itself."""

    def __await__(self) -> Generator[None, None, Grant | Refusal]:
        raise AssertionError("awaited")
        yield


class Judge:
    """An Authenticator that answers with what it was given."""

    def __init__(self, answer: Grant | Refusal | Awaitable[Grant | Refusal]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal | Awaitable[Grant | Refusal]:
        self.asked.append((connect.client_identifier, peer.address))
        return self.answer


@statement("MQTT5-3.1.4-2", "MQTT311-3.1.4-2", "MQTT5-3.2.2-7")
@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_authenticator_refuses(version: int) -> None:
    judge = Judge(Refusal(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "who are you?"))
    broker = new_broker(judge)
    connection = accept(broker)
    request(connection, "c", version)
    (connack,) = said(connection)
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    if version == 5:
        assert connack.properties.reason_string == "who are you?"
    assert connection.ended
    assert judge.asked == [("c", "memory")]
    assert not broker.sessions
    assert connection.stats.refused == 1


def test_a_reason_that_3_1_1_does_not_know_is_a_plain_close() -> None:
    connection = accept(new_broker(Judge(Refusal(ReasonCode.USE_ANOTHER_SERVER))))
    request(connection, "c", 4)
    assert said(connection) == []
    assert connection.ended


def test_a_reason_that_belongs_into_no_connack_is_unspecified() -> None:
    connection = accept(new_broker(Judge(Refusal(ReasonCode.TOPIC_FILTER_INVALID))))
    request(connection, "c")
    (connack,) = said(connection)
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.UNSPECIFIED_ERROR


@pytest.mark.parametrize("answer", [Grant("ann"), Refusal(ReasonCode.NOT_AUTHORIZED)])
def test_an_answer_that_comes_later(answer: Grant | Refusal) -> None:
    waiting = Never()
    connection = accept(new_broker(Judge(waiting)))
    request(connection, "c")
    send(connection, Pingreq())
    assert connection.state == AUTHENTICATING
    assert connection.waiting is waiting
    assert said(connection) == []
    connection.authenticated(answer, 1.0)
    connection.receive(b"", 1.0)
    if isinstance(answer, Grant):
        assert kinds(said(connection)) == ["Connack", "Pingresp"]
        assert connection.grant is answer
        assert connection.state == CONNECTED
    else:
        assert kinds(said(connection)) == ["Connack"]
        assert connection.ended
    assert connection.waiting is None


@pytest.mark.parametrize("lost", [True, False])
def test_an_answer_that_comes_too_late(lost: bool) -> None:
    broker = new_broker(Judge(Never()))
    connection = accept(broker)
    request(connection, "c", will=Will("w", b""))
    if lost:
        connection.lost(0.0)
    else:
        broker.tick(limits().handshake_timeout)
        assert connection.stats.refused == 1
    assert connection.ended
    connection.authenticated(Grant(), 10.0)
    assert said(connection) == []
    assert not broker.sessions
    assert broker.stats.clients_connected == 0


def test_a_handshake_has_its_time() -> None:
    broker = new_broker()
    connection = accept(broker, limits(handshake_timeout=3.0), 10.0)
    assert broker.next_deadline() == 13.0
    broker.tick(12.9)
    assert not connection.ended
    broker.tick(13.0)
    assert connection.ended
    assert said(connection) == []
    other = accept(broker, None, 13.0)
    request(other, "c", now=13.0)
    broker.tick(100.0)
    assert not other.ended


@statement("MQTT5-3.1.3-11")
def test_grants_are_asked() -> None:
    broker = new_broker(Judge(Strict()))
    connection = accept(broker)
    request(connection, "c", will=Will("other/w", b""))
    (connack,) = said(connection)
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.NOT_AUTHORIZED
    connection = connect(broker, "c", will=Will("own/w", b""))
    assert subscribe(connection, "other/#") == ReasonCode.NOT_AUTHORIZED
    assert subscribe(connection, "other/+") == 0
    for qos, kind in ((1, Puback), (2, Pubrec)):
        send(connection, Publish("other/x", b"", qos=qos, packet_identifier=5))
        (answer,) = said(connection)
        assert isinstance(answer, kind)
        assert answer.reason == ReasonCode.NOT_AUTHORIZED
    assert not session_of(connection).received
    send(connection, Publish("own/x", b"", qos=1, packet_identifier=5))
    (answer,) = said(connection)
    assert isinstance(answer, Puback)
    assert answer.reason == ReasonCode.NO_MATCHING_SUBSCRIBERS


@statement("MQTT311-3.3.5-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_3_1_1_client_is_not_told(qos: int) -> None:
    broker = new_broker(Judge(Strict()))
    spy = connect(broker, "spy")
    subscribe(spy, "+/x")
    connection = connect(broker, "c", 4)
    send(connection, Publish("other/x", b"", qos=qos, packet_identifier=5))
    if qos == 2:
        send(connection, Pubrel(5))
    assert kinds(said(connection)) == (["Puback"] if qos == 1 else ["Pubrec", "Pubcomp"])
    assert publishes(spy) == []


@pytest.mark.parametrize("topic", ["$SYS/broker/uptime", "$SYS/x"])
def test_nobody_publishes_into_sys(topic: str) -> None:
    broker = new_broker()
    connection = connect(broker, "c")
    send(connection, Publish(topic, b"x", retain=True))
    send(connection, Publish(topic, b"x", qos=1, packet_identifier=1, retain=True))
    (answer,) = said(connection)
    assert isinstance(answer, Puback)
    assert answer.reason == ReasonCode.NOT_AUTHORIZED
    assert broker.retained.count == 0
    other = accept(broker)
    request(other, "other", will=Will(topic, b""))
    assert other.ended
    (connack,) = said(other)
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("values", "will", "reason"),
    [
        ({"maximum_qos": 1}, Will("w", b"", 2), ReasonCode.QOS_NOT_SUPPORTED),
        ({"retain_available": False}, Will("w", b"", 0, True), ReasonCode.RETAIN_NOT_SUPPORTED),
    ],
)
@statement("MQTT5-3.2.2-12", "MQTT5-3.2.2-13")
def test_a_will_that_cannot_be(values: dict[str, object], will: Will, reason: ReasonCode) -> None:
    for version in (4, 5):
        connection = accept(new_broker(), limits(**values))
        request(connection, "c", version, will=will)
        found = said(connection)
        assert connection.ended
        if version == 5:
            (connack,) = found
            assert isinstance(connack, Connack)
            assert connack.reason == reason
        else:
            assert found == []


@pytest.mark.parametrize(("version", "clean_start", "allowed"), [(4, True, True), (4, False, False), (5, False, True)])
def test_a_client_identifier_of_no_length(version: int, clean_start: bool, allowed: bool) -> None:
    for switched_on in (True, False):
        broker = new_broker()
        connection = accept(broker, limits(zero_length_client_identifiers=switched_on))
        request(connection, "", version, clean_start=clean_start)
        (connack,) = said(connection)
        assert isinstance(connack, Connack)
        if allowed and switched_on:
            assert connack.reason == 0
            assert next(iter(broker.sessions)).startswith("auto-")
            assert connection.name == next(iter(broker.sessions))
        else:
            assert connack.reason == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
            assert connection.name == "memory"


@statement("MQTT5-4.12.0-1")
def test_an_authentication_method_is_not_known() -> None:
    connection = accept(new_broker())
    request(connection, "c", authentication_method="SCRAM", authentication_data=b"")
    (connack,) = said(connection)
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.BAD_AUTHENTICATION_METHOD
    connection = connect(new_broker(), "c")
    send(connection, Auth(ReasonCode.RE_AUTHENTICATE, properties(authentication_method="SCRAM")))
    (disconnect,) = said(connection)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.PROTOCOL_ERROR


# -- Acknowledgements


@statement("MQTT5-3.3.4-7")
def test_a_message_in_flight_is_counted_once_while_the_store_lags() -> None:
    connection = connect(new_broker(store=LateStore()), "c", of=limits(receive_maximum=4), session_expiry_interval=60)
    subscribe(connection, "a", 2)
    for identifier in (1, 2, 3):
        send(connection, Publish("a", b"", qos=2, packet_identifier=identifier))
    send(connection, Publish("a", b"", qos=2, packet_identifier=1))  # again
    send(connection, Publish("a", b"", qos=1, packet_identifier=4))
    assert not connection.ended
    assert connection.in_flight() == 4
    send(connection, Publish("a", b"", qos=1, packet_identifier=5))
    assert connection.ended
    assert "receive_maximum_exceeded" in connection.end_reason


@statement("MQTT5-3.3.4-7")
@pytest.mark.parametrize("version", [4, 5])
def test_receive_maximum(version: int) -> None:
    connection = connect(new_broker(), "c", version, limits(receive_maximum=2))
    send(connection, *[Publish("a", b"", qos=2, packet_identifier=each) for each in (1, 2)])
    send(connection, Publish("a", b"", qos=0), Pubrel(1), Publish("a", b"", qos=2, packet_identifier=3))
    assert not connection.ended
    send(connection, Publish("a", b"", qos=1, packet_identifier=4))
    assert connection.ended == (version == 5)
    if version == 5:
        disconnect = said(connection)[-1]
        assert isinstance(disconnect, Disconnect)
        assert disconnect.reason == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


def test_what_an_older_connection_left_counts_when_it_is_sent_again() -> None:
    broker = new_broker()
    of = limits(receive_maximum=2)
    old = connect(broker, "c", of=of, session_expiry_interval=60)
    messages = [Publish("a", b"", qos=2, packet_identifier=each) for each in range(1, 5)]
    send(old, *messages[:2])
    old.lost(0.0)
    connection = connect(broker, "c", of=of, clean_start=False)
    send(connection, messages[2], messages[0])
    assert connection.in_flight() == 2
    send(connection, messages[3])
    assert connection.ended


def test_refusals_of_qos_2_that_wait_are_in_flight() -> None:
    broker = new_broker(Judge(Strict()), LateStore())
    connection = connect(broker, "c", of=limits(receive_maximum=3), session_expiry_interval=60)
    send(connection, Publish("own/a", b"", qos=2, packet_identifier=1))
    for identifier in (2, 3, 4):
        assert not connection.ended
        send(connection, Publish("other", b"", qos=2, packet_identifier=identifier))
    assert connection.ended


@statement("MQTT5-4.3.3-10", "MQTT311-4.3.3-2", "MQTT5-4.3.3-12", "MQTT5-4.3.3-11")
def test_qos_2_is_routed_once_and_answered_as_often_as_asked() -> None:
    broker = new_broker()
    spy = connect(broker, "spy")
    subscribe(spy, "#")
    connection = connect(broker, "c")
    for dup in (False, True, True):
        send(connection, Publish("a", b"1", qos=2, packet_identifier=7, dup=dup))
    send(connection, Pubrel(7), Pubrel(7))
    send(connection, Publish("a", b"2", qos=2, packet_identifier=7))
    found = said(connection)
    assert kinds(found) == ["Pubrec", "Pubrec", "Pubrec", "Pubcomp", "Pubcomp", "Pubrec"]
    assert [each.reason for each in found if isinstance(each, Pubcomp)] == [0, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND]
    assert payloads(spy) == [b"1", b"2"]


@statement("MQTT5-4.3.3-9")
def test_a_refused_qos_2_message_may_come_again() -> None:
    class Fickle(Grant):
        def __init__(self) -> None:
            super().__init__("ann", everything=False)
            self.answers = [ReasonCode.QUOTA_EXCEEDED, ReasonCode.SUCCESS]

        def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
            return self.answers.pop(0)

    broker = new_broker(Judge(Fickle()))
    spy = connect(broker, "spy")
    subscribe(spy, "a")
    connection = connect(broker, "c")
    for _ in range(2):
        send(connection, Publish("a", b"1", qos=2, packet_identifier=7))
    assert [each.reason for each in said(connection)] == [ReasonCode.QUOTA_EXCEEDED, 0]
    assert payloads(spy) == [b"1"]


@pytest.mark.parametrize("version", [4, 5])
def test_acknowledgements_of_what_nobody_sent(version: int) -> None:
    connection = connect(new_broker(), "c", version)
    send(connection, Puback(5), Pubcomp(6), Pubrec(7), Pubrel(8), Pubrec(9, 0x97 if version == 5 else 0))
    found = said(connection)
    expected = ["Pubrel", "Pubcomp"] if version == 5 else ["Pubrel", "Pubcomp", "Pubrel"]
    assert kinds(found) == expected
    if version == 5:
        assert [each.reason for each in found] == [ReasonCode.PACKET_IDENTIFIER_NOT_FOUND] * 2
    assert not connection.ended


# -- Topic Aliases


@statement("MQTT5-3.1.2-29", "MQTT5-3.4.2-2", "MQTT5-3.5.2-2")
@pytest.mark.parametrize(("qos", "kind"), [(1, Puback), (2, Pubrec)])
@pytest.mark.parametrize(
    ("values", "told"),
    [({}, True), ({"request_problem_information": 0}, False), ({"maximum_packet_size": 40}, False)],
)
def test_a_refusal_says_why(qos: int, kind: type[Puback] | type[Pubrec], values: dict[str, Any], told: bool) -> None:
    connection = connect(new_broker(), "c", **values)
    send(connection, Publish("$SYS/broker/uptime", b"x", qos=qos, packet_identifier=7))
    (packet,) = said(connection)
    assert isinstance(packet, kind)
    assert (packet.packet_identifier, packet.reason) == (7, ReasonCode.NOT_AUTHORIZED)
    assert (packet.properties.reason_string is not None) is told


def test_topic_aliases_both_ways() -> None:
    broker = new_broker()
    reader = connect(broker, "reader", topic_alias_maximum=1)
    subscribe(reader, "#")
    assert not reader.simple
    connection = connect(broker, "c", of=limits(topic_alias_maximum=2))
    send(
        connection,
        Publish("a/b", b"1", topic_alias=2),
        Publish("", b"2", topic_alias=2),
        Publish("", b"3", topic_alias=2),
    )
    found = publishes(reader)
    assert [(each.topic, each.topic_alias, each.payload) for each in found] == [
        ("a/b", 1, b"1"),
        ("", 1, b"2"),
        ("", 1, b"3"),
    ]


@statement("MQTT5-3.3.2-7")
def test_aliases_die_with_the_connection() -> None:
    broker = new_broker()
    connection = connect(broker, "c")
    send(connection, Publish("a", b"", topic_alias=1))
    connection = connect(broker, "c", clean_start=False)
    send(connection, Publish("", b"", topic_alias=1))
    assert connection.ended
    assert "protocol_error" in connection.end_reason


def test_aliases_that_are_off() -> None:
    connection = connect(new_broker(), "c", of=limits(topic_alias_maximum=0))
    send(connection, Publish("a", b"", topic_alias=1))
    assert "topic_alias_invalid" in connection.end_reason
    connection = connect(new_broker(), "c", of=limits(outgoing_topic_alias_maximum=0), topic_alias_maximum=9)
    assert connection.outgoing_aliases is None
    assert connection.simple


def test_an_alias_that_did_not_leave_is_forgotten() -> None:
    """Its packet was too large for the Client, so the next one must set it anew."""
    broker = new_broker()
    reader = connect(broker, "reader", topic_alias_maximum=4, maximum_packet_size=60)
    subscribe(reader, "#")
    for payload in (bytes(100), b"1", b"2"):
        broker.publish(message("a/b", payload), None, 0.0)
    found = publishes(reader)
    assert [(each.topic, each.topic_alias, each.payload) for each in found] == [("a/b", 1, b"1"), ("", 1, b"2")]


# -- The end


@pytest.mark.parametrize(
    ("values", "packet", "reason"),
    [
        ({"retain_available": False}, Publish("a", b"", retain=True), ReasonCode.RETAIN_NOT_SUPPORTED),
        ({"maximum_qos": 0}, Publish("a", b"", qos=1, packet_identifier=1), ReasonCode.QOS_NOT_SUPPORTED),
        ({"maximum_qos": 1}, Publish("a", b"", qos=2, packet_identifier=1), ReasonCode.QOS_NOT_SUPPORTED),
    ],
)
@statement("MQTT5-4.13.2-1", "MQTT5-3.14.0-1")
def test_what_connack_said_is_not_there(values: dict[str, object], packet: Publish, reason: ReasonCode) -> None:
    for version in (4, 5):
        connection = connect(new_broker(), "c", version, limits(**values))
        send(connection, packet, Pingreq())
        found = said(connection)
        assert connection.ended
        assert [each.reason for each in found if isinstance(each, Disconnect)] == ([reason] if version == 5 else [])
        assert not any(isinstance(each, Pingresp) for each in found)


@statement("MQTT5-3.14.2-3", "MQTT5-3.1.2-24")
@pytest.mark.parametrize(("size", "expected"), [(1000, "detail"), (12, None), (2, "nothing")])
def test_a_disconnect_is_no_larger_than_the_client_can_take(size: int, expected: str | None) -> None:
    connection = connect(new_broker(), "c")
    connection.maximum_packet_size = size
    connection.end(ReasonCode.QUOTA_EXCEEDED, "detail", 0.0)
    found = said(connection)
    assert len(found) == (expected != "nothing")
    for each in found:
        assert isinstance(each, Disconnect)
        assert each.reason == ReasonCode.QUOTA_EXCEEDED
        assert each.properties.reason_string == expected


def test_a_code_that_no_server_sends_becomes_unspecified() -> None:
    connection = connect(new_broker(), "c")
    connection.end(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "", 0.0)
    (disconnect,) = said(connection)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.UNSPECIFIED_ERROR
    assert disconnect.properties.reason_string is None


@statement("MQTT5-3.14.4-1")
def test_the_end_comes_once() -> None:
    broker = new_broker()
    connection = connect(broker, "c")
    connection.end(ReasonCode.QUOTA_EXCEEDED, "first", 0.0)
    connection.end(ReasonCode.SERVER_BUSY, "second", 0.0)
    connection.lost(0.0)
    connection.receive(encode(Pingreq(), 5), 0.0)
    assert kinds(said(connection)) == ["Disconnect"]
    assert connection.end_reason == "0x97 quota_exceeded: first"
    assert broker.stats.clients_connected == 0
    broker.gone(connection)
    broker.gone(connection)
    assert connection.stats.connections == 0


@statement("MQTT5-3.14.4-3", "MQTT5-3.1.2-10", "MQTT311-3.1.2-10", "MQTT311-3.14.4-3", "MQTT5-3.1.2-8")
@pytest.mark.parametrize(
    ("reason", "published"),
    [
        (ReasonCode.SUCCESS, False),
        (ReasonCode.DISCONNECT_WITH_WILL_MESSAGE, True),
        (ReasonCode.UNSPECIFIED_ERROR, True),
    ],
)
def test_the_will_at_disconnect(reason: ReasonCode, published: bool) -> None:
    broker = new_broker()
    spy = connect(broker, "spy")
    subscribe(spy, "w")
    connection = connect(broker, "c", will=Will("w", b"bye"))
    send(connection, Disconnect(reason))
    assert connection.ended
    assert connection.peer_is_done
    assert connection.outbox.dirty
    assert payloads(spy) == ([b"bye"] if published else [])


def test_session_expiry_at_disconnect() -> None:
    broker = new_broker()
    connection = connect(broker, "c", session_expiry_interval=10)
    send(connection, Disconnect(ReasonCode.SUCCESS, properties(session_expiry_interval=1 << 31)))
    assert broker.sessions["c"].expires_at == limits().session_expiry_maximum
    connection = connect(broker, "c", session_expiry_interval=10)
    send(connection, Disconnect(ReasonCode.SUCCESS, properties(session_expiry_interval=0)))
    assert not broker.sessions
    connection = connect(broker, "c")
    send(connection, Disconnect(ReasonCode.SUCCESS, properties(session_expiry_interval=5)))
    assert "protocol_error" in connection.end_reason
    assert not broker.sessions


def test_a_client_that_asks_and_does_not_read_ends() -> None:
    connection = connect(new_broker(), "c", of=limits(outbox_hard_bytes=100))
    send(connection, *[Pingreq()] * 50)
    assert not connection.ended
    send(connection, Pingreq())
    assert connection.ended
    assert "quota_exceeded" in connection.end_reason


def test_what_is_received_is_counted() -> None:
    connection = connect(new_broker(), "c")
    before = connection.stats.bytes_received
    data = encode(Publish("a", b"12345"), 5)
    connection.receive(data[:3], 1.0)
    assert connection.last_received == 0.0, "no whole packet"
    connection.receive(data[3:] + encode(Pingreq(), 5), 2.0)
    stats = connection.stats
    assert stats.bytes_received == before + len(data) + 2
    assert (stats.messages_received, stats.publish_received, stats.publish_bytes_received) == (3, 1, 5)
    assert connection.last_received == connection.last_published == 2.0


# -- Bugs


class Broken:
    """Retained messages that cannot be read."""

    def __iter__(self) -> Broken:
        return self

    def __next__(self) -> None:
        raise RuntimeError("a bug")


def test_a_bug_met_while_draining_ends_that_connection_only() -> None:
    broker = new_broker()
    connection = connect(broker, "c")
    session = session_of(connection)
    session.add_snapshots([Snapshot("#", Broken(), Delivery(session, 0))])
    connection.outbox.dirty = False
    broker.dirty.clear()
    connection.drained(0.0)
    assert [(each, str(error)) for each, error in broker.faults] == [(connection, "a bug")]
    assert broker.dirty == [connection.outbox], "there is a next round"
    broker.flush(0.0)
    assert connection.ended
    disconnect = said(connection)[-1]
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
