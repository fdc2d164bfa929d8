"""The Client without input or output: packets in, packets out, time passed in."""

from __future__ import annotations

from math import inf

import pytest

from broker.client.errors import (
    CannotConnect,
    ConnectRefused,
    Disconnected,
    SubscribeRefused,
)
from broker.client.message import Will
from broker.client.protocol import Unsubscription
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5_0,
    NO_PROPERTIES,
    Auth,
    Connack,
    ControlPacket,
    Disconnect,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from tests.client.line import Line, kinds, of
from tests.client.server import message
from tests.statements import statement

VERSIONS = (MQTT_3_1, MQTT_3_1_1, MQTT_5_0)


# -- CONNECT and CONNACK


@statement("MQTT5-3.1.0-1", "MQTT5-3.1.2-17", "MQTT5-3.1.2-19")
@pytest.mark.parametrize("version", VERSIONS)
def test_connect_says_what_is_wanted(version: int) -> None:
    will = Will("w", b"gone", qos=1, retain=True, delay_interval=7).packet()
    line = Line(
        version,
        clean_start=False,
        keep_alive=30,
        user_name="u",
        password=b"p",
        will=will,
        session_expiry_interval=60,
        receive_maximum=10,
        maximum_packet_size=5000,
        topic_alias_maximum=3,
        user_properties=[("a", "b")],
    )
    connect = line.open()
    assert (connect.version, connect.client_identifier, connect.clean_start) == (version, "c", False)
    assert (connect.keep_alive, connect.user_name, connect.password) == (30, "u", b"p")
    assert connect.will is not None
    assert (connect.will.topic, connect.will.payload, connect.will.qos, connect.will.retain) == ("w", b"gone", 1, True)
    expected = of(
        session_expiry_interval=60,
        receive_maximum=10,
        maximum_packet_size=5000,
        topic_alias_maximum=3,
        user_properties=[("a", "b")],
    )
    assert connect.properties == (expected if version == MQTT_5_0 else NO_PROPERTIES)
    assert connect.will.delay_interval == (7 if version == MQTT_5_0 else 0)


def test_what_is_asked_for_beside_the_session() -> None:
    connect = Line(request_response_information=True, request_problem_information=False).open()
    assert connect.properties.request_response_information == 1
    assert connect.properties.request_problem_information == 0


def test_what_connect_cannot_express() -> None:
    line = Line(MQTT_3_1_1, password=b"p")
    with pytest.raises(ValueError, match="User Name"):
        line.protocol.connect_packet()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal(version: int) -> None:
    line = Line(version)
    line.open()
    line.send(Connack(ReasonCode.NOT_AUTHORIZED, False, of(reason_string="no", server_reference="x")))
    assert isinstance(line.error, ConnectRefused)
    assert line.error.reason == ReasonCode.NOT_AUTHORIZED
    assert line.error.detail == ("no" if version == MQTT_5_0 else "")
    assert not line.protocol.connected
    assert line.protocol.deadline() == inf


def test_no_connack_in_time() -> None:
    line = Line(connect_timeout=3.0)
    line.open()
    assert line.wait(2.9) == []
    assert line.error is None
    line.wait(0.2)
    assert isinstance(line.error, CannotConnect)


def test_connack_must_come_first_and_once() -> None:
    line = Line()
    line.open()
    assert line.send(Pingresp()) == []
    assert isinstance(line.error, CannotConnect)
    assert str(line.error) == "0x82 protocol error: the first packet is not a CONNACK"
    other = Line()
    other.connect()
    (disconnect,) = other.send(Connack(ReasonCode.SUCCESS))
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.PROTOCOL_ERROR


@statement("MQTT5-3.2.2-4")
def test_a_session_that_we_never_had() -> None:
    line = Line()
    line.connect(session_present=True)
    assert isinstance(line.error, CannotConnect)
    assert str(line.error).startswith("0x82 protocol error: Session Present")
    assert not line.protocol.connected


def test_the_assigned_client_identifier_is_kept() -> None:
    line = Line(client_identifier="", session_expiry_interval=60)
    assert line.open().client_identifier == ""
    line.send(Connack(ReasonCode.SUCCESS, False, of(assigned_client_identifier="auto-1")))
    assert line.protocol.client_identifier == "auto-1"
    line.lose()
    connect = line.open()
    assert (connect.client_identifier, connect.clean_start) == ("auto-1", False)


@pytest.mark.parametrize(
    ("version", "clean_start", "expiry", "later"),
    [
        (MQTT_5_0, True, 60, False),
        (MQTT_5_0, True, 0, True),
        (MQTT_5_0, False, 0, False),
        (MQTT_3_1_1, True, 60, True),
        (MQTT_3_1_1, False, 0, False),
    ],
)
def test_clean_start_after_reconnecting(version: int, clean_start: bool, expiry: int, later: bool) -> None:
    line = Line(version, clean_start=clean_start, session_expiry_interval=expiry)
    assert line.open().clean_start is clean_start
    line.lose()
    assert line.open().clean_start is clean_start  # it never had a Session
    line.send(Connack(ReasonCode.SUCCESS))
    line.lose()
    assert line.open().clean_start is later


# -- publishing


@pytest.mark.parametrize("version", VERSIONS)
def test_exchanges(version: int) -> None:
    line = Line(version)
    line.connect()
    zero, one, two = (line.publish(qos) for qos in (0, 1, 2))
    packets = line.out()
    assert [packet.qos for packet in packets if isinstance(packet, Publish)] == [0, 1, 2]
    assert (zero.done, one.done, two.done) == (True, False, False)
    assert line.send(Puback(one.packet_identifier)) == []
    (pubrel,) = line.send(Pubrec(two.packet_identifier))
    assert isinstance(pubrel, Pubrel)
    assert line.send(Pubcomp(pubrel.packet_identifier)) == []
    assert one.done
    assert two.done


def test_qos_0_is_done_when_it_is_handed_over() -> None:
    line = Line()
    line.connect()
    first = line.publish(0)
    assert line.protocol.take()
    second = line.publish(0)
    line.protocol.handed(line.now)
    assert (first.done, second.done) == (True, False)
    assert line.protocol.take()
    line.protocol.handed(line.now)
    assert second.done


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0])
def test_publishing_waits_for_the_network_connection(version: int) -> None:
    line = Line(version)
    ones = [line.publish(qos) for qos in (0, 1, 2)]
    assert not line.protocol.pending
    packets = line.connect()
    assert [packet.qos for packet in packets if isinstance(packet, Publish)] == [0, 1, 2]
    assert ones[0].done


def test_half_a_connack_lets_nothing_out() -> None:
    line = Line()
    line.publish(1)
    line.open()
    connack = encode(Connack(ReasonCode.SUCCESS), MQTT_5_0)
    line.protocol.receive(connack[:-1], line.now)
    assert not line.protocol.pending
    line.protocol.receive(connack[-1:], line.now)
    assert kinds(line.out()) == [Publish]


def test_qos_0_is_sent_at_most_once() -> None:
    line = Line()
    line.connect()
    taken = line.publish(0, b"taken")
    assert line.protocol.take()
    waiting = line.publish(0, b"waiting")
    line.lose()
    assert (taken.done, waiting.done) == (True, False)
    (again,) = line.connect()
    assert isinstance(again, Publish)
    assert again.payload == b"waiting"


@statement("MQTT5-3.3.4-8", "MQTT5-4.9.0-3")
def test_only_publishing_waits_for_the_quota() -> None:
    line = Line()
    line.connect(receive_maximum=1)
    first, second = line.publish(1), line.publish(1)
    assert kinds(line.out()) == [Publish]
    line.subscribe("a")
    assert kinds(line.out()) == [Subscribe]
    answers = line.send(message("q", qos=1, packet_identifier=1), message("q", qos=2, packet_identifier=2))
    assert kinds(answers) == [Puback, Pubrec]
    (sent,) = line.send(Puback(first.packet_identifier))
    assert isinstance(sent, Publish)
    assert sent.packet_identifier == second.packet_identifier


@statement("MQTT5-4.4.0-1", "MQTT5-3.3.1-1")
def test_a_resumed_session_goes_on() -> None:
    line = Line(session_expiry_interval=60)
    line.connect()
    one, two, released = line.publish(1, b"1"), line.publish(2, b"2"), line.publish(2, b"3")
    line.out()
    line.send(Pubrec(released.packet_identifier))
    line.lose()
    packets = line.connect(session_present=True)
    assert kinds(packets) == [Pubrel, Publish, Publish]
    assert [packet.dup for packet in packets if isinstance(packet, Publish)] == [True, True]
    line.send(Puback(one.packet_identifier), Pubcomp(released.packet_identifier))
    assert kinds(line.send(Pubrec(two.packet_identifier))) == [Pubrel]


def test_3_1_keeps_a_session_without_saying_so() -> None:
    line = Line(MQTT_3_1, clean_start=False)
    line.connect()
    line.subscribed("s")
    one = line.publish(1)
    line.out()
    line.lose()
    packets = line.connect()
    assert kinds(packets) == [Subscribe, Publish]
    again = packets[1]
    assert isinstance(again, Publish)
    assert (again.dup, again.packet_identifier) == (True, one.packet_identifier)


# -- receiving


@statement("MQTT5-4.5.0-2", "MQTT311-4.5.0-2")
@pytest.mark.parametrize("version", VERSIONS)
def test_what_nobody_wants_is_acknowledged(version: int) -> None:
    line = Line(version)
    line.connect()
    answers = line.send(
        message("a"), message("a", qos=1, packet_identifier=5), message("a", qos=2, packet_identifier=6)
    )
    assert kinds(answers) == [Puback, Pubrec]
    assert kinds(line.send(Pubrel(6))) == [Pubcomp]


def test_the_application_must_be_through_with_it() -> None:
    line = Line()
    line.connect()
    subscription = line.subscribed("a")
    assert line.send(message("a", qos=1, packet_identifier=5)) == []
    assert line.protocol.subscriptions.take(subscription).topic == "a"
    assert line.out() == []
    line.protocol.through(subscription)
    assert kinds(line.out()) == [Puback]
    line.protocol.through(subscription)
    assert line.out() == []


def test_without_a_network_connection_an_acknowledgement_waits_for_the_repeat() -> None:
    line = Line(session_expiry_interval=60)
    line.connect()
    subscription = line.subscribed("a")
    line.send(message("a", qos=2, packet_identifier=5))
    line.protocol.subscriptions.take(subscription)
    line.lose()
    line.protocol.through(subscription)
    assert not line.protocol.pending
    assert line.connect(session_present=True) == []
    assert kinds(line.send(message("a", qos=2, packet_identifier=5, dup=True))) == [Pubrec]
    assert not subscription.buffer


@statement("MQTT5-3.3.2-7", "MQTT5-3.3.2-10")
def test_topic_aliases() -> None:
    def aliased(topic: str, alias: int) -> Publish:
        return Publish(topic, b"", topic_alias=alias)

    line = Line(topic_alias_maximum=2)
    line.connect()
    subscription = line.subscribed("#")
    line.send(aliased("a", 1), aliased("b", 2), aliased("", 1), aliased("c", 1), aliased("", 1), aliased("", 2))
    topics = [line.protocol.subscriptions.take(subscription).topic for _ in range(6)]
    assert topics == ["a", "b", "a", "c", "c", "b"]
    line.lose()
    line.connect()
    line.out()
    (disconnect,) = line.send(aliased("", 1))
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.PROTOCOL_ERROR


@statement("MQTT5-3.1.2-26")
def test_a_topic_alias_above_our_maximum() -> None:
    line = Line(topic_alias_maximum=2)
    line.connect()
    (disconnect,) = line.send(Publish("a", b"", topic_alias=3))
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.TOPIC_ALIAS_INVALID


@statement("MQTT5-3.1.2-24")
def test_a_packet_above_our_maximum() -> None:
    line = Line(maximum_packet_size=50)
    line.connect()
    (disconnect,) = line.send(message("a", b"x" * 60))
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.PACKET_TOO_LARGE
    assert isinstance(line.error, Disconnected)


def test_more_than_our_receive_maximum() -> None:
    line = Line(receive_maximum=1)
    line.connect()
    line.subscribed("a")
    (disconnect,) = line.send(message("a", qos=1, packet_identifier=1), message("a", qos=1, packet_identifier=2))
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


def test_nothing_after_a_fault_is_read() -> None:
    line = Line()
    line.connect()
    one = line.publish(1)
    line.out()
    packets = line.send(Auth(), Puback(one.packet_identifier))
    assert kinds(packets) == [Disconnect]
    assert not one.done
    assert line.send(Puback(one.packet_identifier)) == []
    assert not one.done


# -- subscribing


def test_a_subscription_is_granted() -> None:
    line = Line()
    line.connect()
    subscription = line.subscribe("a", "b")
    (packet,) = line.out()
    assert isinstance(packet, Subscribe)
    assert packet.properties.subscription_identifiers == [subscription.identifier]
    assert not subscription.done
    line.send(Suback(packet.packet_identifier, [0, 2]))
    assert (subscription.done, subscription.error, subscription.granted) == (True, None, {"a": 0, "b": 2})


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0])
def test_a_refused_filter_refuses_all(version: int) -> None:
    line = Line(version)
    line.connect()
    subscription = line.subscribe("a", "b")
    (packet,) = line.out()
    assert isinstance(packet, Subscribe)
    assert packet.properties == (of(subscription_identifiers=[1]) if version == MQTT_5_0 else NO_PROPERTIES)
    reason = ReasonCode.NOT_AUTHORIZED if version == MQTT_5_0 else ReasonCode.UNSPECIFIED_ERROR
    (unsubscribe,) = line.send(Suback(packet.packet_identifier, [1, reason], of(reason_string="no")))
    assert isinstance(unsubscribe, Unsubscribe)
    assert unsubscribe.topic_filters == ["a"]
    assert isinstance(subscription.error, SubscribeRefused)
    assert subscription.error.reasons == {"b": reason}
    line.subscribe("a", "b")  # both are free again


def test_subscriptions_are_renewed_when_the_session_is_lost() -> None:
    line = Line(session_expiry_interval=60)
    early = line.subscribe("early")
    assert kinds(line.connect()) == [Subscribe]
    line.lose()
    assert kinds(line.connect(session_present=True)) == [Subscribe]  # its SUBACK never came
    assert not early.done
    line.subscribed("late")
    line.lose()
    packets = line.connect(session_present=False)
    renewed = [packet for packet in packets if isinstance(packet, Subscribe)]
    assert [packet.requests[0].topic_filter for packet in renewed] == ["early", "late"]
    for packet in renewed:
        line.send(Suback(packet.packet_identifier, [2]))
    line.lose()
    assert line.connect(session_present=True) == []


def test_a_renewal_may_be_refused() -> None:
    line = Line()
    line.connect()
    subscription = line.subscribed("a")
    line.lose()
    (packet,) = line.connect()
    assert isinstance(packet, Subscribe)
    line.send(Suback(packet.packet_identifier, [ReasonCode.NOT_AUTHORIZED]))
    assert subscription.error is None
    assert isinstance(subscription.ended, SubscribeRefused)
    line.protocol.leave(subscription, keep=False)
    assert line.out() == []


def test_leaving_unsubscribes() -> None:
    line = Line()
    line.connect()
    subscription = line.subscribed("a", "b")
    line.protocol.leave(subscription, keep=False)
    (packet,) = line.out()
    assert isinstance(packet, Unsubscribe)
    assert packet.topic_filters == ["a", "b"]
    assert line.send(Unsuback(packet.packet_identifier, [0, 0])) == []
    line.protocol.leave(line.subscribed("a"), keep=True)
    assert line.out() == []


@pytest.mark.parametrize("session_present", [False, True])
def test_leaving_without_a_network_connection(session_present: bool) -> None:
    line = Line(session_expiry_interval=60)
    line.connect()
    asked, later = line.subscribed("asked"), line.subscribed("later")
    line.protocol.leave(asked, keep=False)
    assert kinds(line.out()) == [Unsubscribe]
    line.lose()
    line.protocol.leave(later, keep=False)
    packets = line.connect(session_present=session_present)
    filters = [packet.topic_filters for packet in packets if isinstance(packet, Unsubscribe)]
    assert filters == ([["asked"], ["later"]] if session_present else [])


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0])
def test_unsubscribing(version: int) -> None:
    line = Line(version)
    line.connect()
    unsubscription = Unsubscription(["a", "b"])
    line.protocol.unsubscribe(unsubscription)
    (packet,) = line.out()
    assert isinstance(packet, Unsubscribe)
    line.send(Unsuback(packet.packet_identifier, [0, ReasonCode.NO_SUBSCRIPTION_EXISTED]))
    assert unsubscription.done
    expected = {"a": ReasonCode.SUCCESS, "b": ReasonCode.NO_SUBSCRIPTION_EXISTED}
    assert unsubscription.reasons == (expected if version == MQTT_5_0 else {})


def test_messages_of_an_old_session_wait_for_their_iterator() -> None:
    line = Line(clean_start=False, session_expiry_interval=60)
    line.connect(session_present=True)
    messages = [message(topic, qos=1, packet_identifier=number) for number, topic in enumerate("aba", 1)]
    assert line.send(*messages) == []
    assert line.protocol.subscriptions.held == 3
    subscription = line.subscribe("a")
    assert len(subscription.buffer) == 2
    line.protocol.unsubscribe(Unsubscription(["b"]))
    line.out()
    for _ in range(2):
        line.protocol.subscriptions.take(subscription)
        line.protocol.through(subscription)
    assert [packet.packet_identifier for packet in line.out() if isinstance(packet, Puback)] == [1, 2, 3]


@pytest.mark.parametrize("answer", [Suback(9, [0]), Unsuback(9, [0])], ids=["SUBACK", "UNSUBACK"])
def test_an_answer_to_nothing(answer: ControlPacket) -> None:
    line = Line()
    line.connect()
    assert kinds(line.send(answer)) == [Disconnect]


def test_another_number_of_reason_codes() -> None:
    line = Line()
    line.connect()
    line.subscribe("a", "b")
    (packet,) = line.out()
    assert isinstance(packet, Subscribe)
    assert kinds(line.send(Suback(packet.packet_identifier, [0]))) == [Disconnect]


# -- the end


@statement("MQTT5-3.14.4-1", "MQTT311-3.14.4-2")
@pytest.mark.parametrize("version", VERSIONS)
def test_leaving_in_order(version: int) -> None:
    line = Line(version)
    line.connect()
    line.publish(0)
    line.protocol.close()
    line.publish(0)
    line.subscribe("a")
    line.protocol.close()
    packets = line.out()
    assert kinds(packets) == [Publish, Disconnect]
    assert not line.protocol.connected
    assert line.protocol.deadline() == inf


@pytest.mark.parametrize(("end_session", "told"), [(True, 0), (False, None)])
def test_leaving_may_end_the_session(end_session: bool, told: int | None) -> None:
    line = Line(session_expiry_interval=60, end_session=end_session)
    line.connect()
    line.protocol.close()
    (packet,) = line.out()
    assert isinstance(packet, Disconnect)
    assert packet.properties.session_expiry_interval == told


def test_the_server_disconnects() -> None:
    line = Line()
    line.connect()
    line.publish(1)
    properties = of(reason_string="bye", server_reference="other")
    assert line.send(Disconnect(ReasonCode.SERVER_SHUTTING_DOWN, properties)) == []
    assert isinstance(line.error, Disconnected)
    assert (line.error.reason, line.error.detail) == (ReasonCode.SERVER_SHUTTING_DOWN, "bye")
    assert line.error.server_reference == "other"


def test_failing_tells_everybody() -> None:
    line = Line()
    line.connect()
    subscribed, asked, waiting = line.subscribed("a"), line.subscribe("b"), line.publish(1)
    unsubscription = Unsubscription(["c"])
    line.protocol.unsubscribe(unsubscription)
    error = Disconnected(None, "over")
    line.protocol.fail(error)
    assert [waiting.error, asked.error, unsubscription.error] == [error] * 3
    assert [subscribed.error, subscribed.ended, asked.ended] == [None, error, error]


def test_identifiers_are_free_again_after_a_loss() -> None:
    line = Line()
    line.connect()
    line.subscribe("a")
    line.protocol.unsubscribe(Unsubscription(["b"]))
    line.out()
    line.lose()
    taken = {line.protocol.identifiers.take() for _ in range(65_535)}
    assert len(taken) == 65_535


def test_byte_at_a_time() -> None:
    line = Line()
    line.connect()
    subscription = line.subscribed("#")
    packets = [message("a", b"1", 1, 1), message("b", b"2" * 200), message("c", b"3", 2, 2)]
    for byte in b"".join(encode(packet, MQTT_5_0) for packet in packets):
        line.protocol.receive(bytes([byte]), line.now)
    assert [waiting.payload for waiting, _ in subscription.buffer] == [b"1", b"2" * 200, b"3"]
