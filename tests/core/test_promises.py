"""What waits for the Store leaves when that has committed, in order; nothing else waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.journal import EXCHANGES, QUEUED, SESSIONS, SUBSCRIPTIONS
from broker.core.limits import DROP_OLDEST
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    Connack,
    Disconnect,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from tests.core.parts import (
    LateStore,
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
    from typing import Any

    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.core.session import Session


def durable(broker: Broker, name: str, *filters: str, qos: int = 2, **values: Any) -> Connection:
    """A Client whose Session is kept, with these subscriptions, all of it committed."""
    connection = connect(broker, name, session_expiry_interval=600, **values)
    for topic_filter in filters:
        assert subscribe(connection, topic_filter, qos) == qos
    return connection


def away(broker: Broker, name: str, *filters: str, **values: Any) -> Session:
    """The Session of one who has left."""
    connection = durable(broker, name, *filters, **values)
    connection.lost(0.0)
    assert isinstance(broker.store, LateStore)
    broker.store.catch_up()
    return session_of(connection)


def publish(connection: Connection, identifier: int, qos: int, topic: str = "a", payload: bytes = b"x") -> None:
    send(connection, Publish(topic, payload, qos=qos, packet_identifier=identifier))


def hears(connection: Connection) -> list[tuple[str, int]]:
    """Kinds of what is said, with Packet Identifiers."""
    return [(type(each).__name__, each.packet_identifier) for each in said(connection)]


@pytest.fixture
def store() -> LateStore:
    return LateStore()


@pytest.fixture
def broker(store: LateStore) -> Broker:
    return new_broker(store=store)


def flush(broker: Broker) -> None:
    """The end of a round: what has been recorded is handed over, and not written yet."""
    broker.flush(0.0)


# -- Acknowledgements of a message


@pytest.mark.parametrize(("qos", "answer"), [(1, "Puback"), (2, "Pubrec")])
@pytest.mark.parametrize("version", [4, 5])
def test_a_message_that_is_kept_is_acknowledged_when_it_is_safe(
    store: LateStore, broker: Broker, version: int, qos: int, answer: str
) -> None:
    away(broker, "receiver", "a")
    sender = connect(broker, "sender", version)
    publish(sender, 7, qos)
    flush(broker)
    assert said(sender) == []
    assert list(broker.staging) == [sender]
    store.write()
    assert hears(sender) == [(answer, 7)]
    assert not broker.staging


def test_a_message_of_qos_1_that_nobody_keeps_is_acknowledged_at_once(store: LateStore, broker: Broker) -> None:
    receiver = connect(broker, "receiver")
    subscribe(receiver, "a", 1)
    for sender in (connect(broker, "clean"), durable(broker, "kept")):
        publish(sender, 7, 1)
        assert hears(sender) == [("Puback", 7)]
        assert payloads(receiver) == [b"x"]
    assert store.writing is None


def test_a_message_of_qos_2_between_clean_sessions_waits_for_nothing(store: LateStore, broker: Broker) -> None:
    receiver, sender = connect(broker, "receiver"), connect(broker, "sender")
    subscribe(receiver, "a", 2)
    publish(sender, 7, 2)
    send(sender, Pubrel(7))
    assert hears(sender) == [("Pubrec", 7), ("Pubcomp", 7)]
    (sent,) = publishes(receiver)
    send(receiver, Pubrec(sent.packet_identifier))
    assert hears(receiver) == [("Pubrel", sent.packet_identifier)]
    flush(broker)
    assert store.writing is None


def test_a_retained_message_is_acknowledged_when_it_is_safe(store: LateStore, broker: Broker) -> None:
    sender = connect(broker, "sender")
    send(sender, Publish("a", b"x", qos=1, packet_identifier=7, retain=True))
    assert said(sender) == []
    store.catch_up()
    assert hears(sender) == [("Puback", 7)]
    send(sender, Publish("a", b"", qos=1, packet_identifier=8, retain=True))
    assert said(sender) == []
    store.catch_up()
    assert hears(sender) == [("Puback", 8)]


def test_a_quick_receiver_costs_no_write(store: LateStore, broker: Broker) -> None:
    """Added and deleted within one round: the acknowledgement leaves with an empty batch."""
    receiver, sender = durable(broker, "receiver", "a", qos=1), connect(broker, "sender")
    flush(broker)
    batches = len(store.batches)
    publish(sender, 7, 1)
    (sent,) = publishes(receiver)
    send(receiver, Puback(sent.packet_identifier))
    flush(broker)
    assert store.writing is None
    assert len(store.batches) == batches + 1
    assert hears(sender) == [("Puback", 7)]


@statement("MQTT5-4.6.0-2", "MQTT5-4.6.0-3", "MQTT311-4.6.0-2", "MQTT311-4.6.0-3")
def test_no_acknowledgement_overtakes_one_that_waits(store: LateStore, broker: Broker) -> None:
    away(broker, "receiver", "a")
    sender = connect(broker, "sender")
    publish(sender, 1, 1)
    publish(sender, 2, 1, "nobody")
    publish(sender, 3, 2, "nobody")
    flush(broker)
    publish(sender, 4, 2)
    publish(sender, 5, 1, "nobody")
    send(sender, Pubrel(3), Pingreq())
    assert kinds(said(sender)) == ["Pingresp"], "others do not wait"
    store.write()
    assert hears(sender) == [("Puback", 1), ("Puback", 2), ("Pubrec", 3)]
    store.write()
    assert hears(sender) == [("Pubrec", 4), ("Puback", 5), ("Pubcomp", 3)]


def test_the_end_takes_staged_acknowledgements_along(store: LateStore, broker: Broker) -> None:
    away(broker, "receiver", "a")
    sender = connect(broker, "sender")
    publish(sender, 1, 1)
    sender.lost(0.0)
    assert not broker.staging
    store.catch_up()
    assert said(sender) == []


# -- The exchanges of durable Sessions


def test_incoming_qos_2_of_a_durable_session(store: LateStore, broker: Broker) -> None:
    """PUBREC waits for the identifier, PUBCOMP for its release, be there a receiver or not."""
    sender = durable(broker, "sender")
    publish(sender, 7, 2)
    assert said(sender) == []
    publish(sender, 7, 2)  # again, before it is safe
    assert said(sender) == []
    store.catch_up()
    assert hears(sender) == [("Pubrec", 7), ("Pubrec", 7)]
    publish(sender, 7, 2)
    assert hears(sender) == [("Pubrec", 7)]
    send(sender, Pubrel(7))
    send(sender, Pubrel(7))
    assert said(sender) == []
    flush(broker)
    store.write()
    assert hears(sender) == [("Pubcomp", 7), ("Pubcomp", 7)]


def test_outgoing_qos_2_of_a_durable_session(store: LateStore, broker: Broker) -> None:
    """PUBLISH waits for its identifier, PUBREL for what makes that it is not sent again."""
    receiver = durable(broker, "receiver", "a")
    sender = connect(broker, "sender")
    publish(sender, 7, 2)
    flush(broker)
    assert said(receiver) == []
    store.catch_up()
    (sent,) = publishes(receiver)
    assert (sent.qos, sent.dup) == (2, False)
    send(receiver, Pubrec(sent.packet_identifier))
    assert said(receiver) == []
    flush(broker)
    (exchange,) = store.batches[-1].added[EXCHANGES]
    number = exchange.row
    assert store.batches[-1].deleted[QUEUED], "in the same transaction"
    store.write()
    assert hears(receiver) == [("Pubrel", sent.packet_identifier)]
    send(receiver, Pubcomp(sent.packet_identifier))
    flush(broker)
    assert store.batches[-1].deleted[EXCHANGES] == [number]


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_qos_2_is_forwarded_when_it_is_safe(store: LateStore, broker: Broker, granted: int, clean: bool) -> None:
    """Whatever it leaves at: else a crash would have the sender send it again, and the receiver have it twice."""
    receiver = connect(broker, "receiver") if clean else durable(broker, "receiver")
    subscribe(receiver, "a", granted)
    sender = durable(broker, "sender")
    publish(sender, 1, 2, payload=b"1")
    publish(sender, 2, 2, payload=b"2")
    flush(broker)
    assert said(receiver) == []
    assert said(sender) == []
    store.catch_up()
    found = publishes(receiver)
    assert [(each.payload, each.qos) for each in found] == [(b"1", granted), (b"2", granted)]
    assert hears(sender) == [("Pubrec", 1), ("Pubrec", 2)]


def test_qos_2_keeps_its_place_before_later_messages(store: LateStore, broker: Broker) -> None:
    receiver = connect(broker, "receiver")
    subscribe(receiver, "a", 2)
    sender = durable(broker, "sender")
    publish(sender, 1, 2, payload=b"1")
    publish(sender, 2, 1, payload=b"2")
    assert said(receiver) == []
    store.catch_up()
    assert payloads(receiver) == [b"1", b"2"]


def test_qos_2_that_waits_and_whose_receiver_goes_is_sent_to_the_next_connection(
    store: LateStore, broker: Broker
) -> None:
    receiver = durable(broker, "receiver", "a")
    publish(connect(broker, "sender"), 7, 2)
    receiver.lost(0.0)
    again = accept(broker)
    request(again, "receiver", clean_start=False, session_expiry_interval=600)
    assert said(again) == []
    store.catch_up()
    connack, sent = said(again)
    assert isinstance(connack, Connack)
    assert connack.session_present
    assert (sent.payload, sent.qos) == (b"x", 2)
    assert said(receiver) == []


# -- SUBACK, UNSUBACK and the snapshot


def test_subscriptions_of_a_durable_session(store: LateStore, broker: Broker) -> None:
    broker.publish(message("a", b"old", 1, True), None, 0.0)
    store.catch_up()
    connection = durable(broker, "c")
    send(connection, Subscribe(3, [SubscriptionRequest("a", 1), SubscriptionRequest("b", 1)]))
    flush(broker)
    assert said(connection) == []
    assert len(store.batches[-1].added[SUBSCRIPTIONS]) == 2
    store.catch_up()
    suback, snapshot = said(connection)
    assert (suback.packet_identifier, suback.reasons) == (3, [1, 1])
    assert (snapshot.payload, snapshot.retain) == (b"old", True)
    send(connection, Subscribe(4, [SubscriptionRequest("b", 0)]), Unsubscribe(5, ["a", "x"]))
    flush(broker)
    assert said(connection) == []
    assert len(store.batches[-1].added[SUBSCRIPTIONS]) == 1
    assert len(store.batches[-1].deleted[SUBSCRIPTIONS]) == 2
    store.write()
    suback, unsuback = said(connection)
    assert (suback.packet_identifier, unsuback.packet_identifier) == (4, 5)
    assert unsuback.reasons == [0, ReasonCode.NO_SUBSCRIPTION_EXISTED]


def test_subscriptions_of_a_clean_session_wait_for_nothing(store: LateStore, broker: Broker) -> None:
    connection = connect(broker, "c")
    send(connection, Subscribe(3, [SubscriptionRequest("a", 1)]), Unsubscribe(4, ["a"]))
    assert hears(connection) == [("Suback", 3), ("Unsuback", 4)]
    flush(broker)
    assert not store.batches


# -- What is in flight


def test_a_pubcomp_that_waits_counts_as_long(store: LateStore, broker: Broker) -> None:
    sender = durable(broker, "sender", of=limits(receive_maximum=2))
    for identifier in (1, 2):
        publish(sender, identifier, 2)
    store.catch_up()
    send(sender, Pubrel(1))
    assert sender.in_flight() == 2
    store.catch_up()
    assert sender.in_flight() == 1


def test_an_identifier_of_an_older_connection_never_counts(store: LateStore, broker: Broker) -> None:
    """Nor while its PUBCOMP waits: a Client that uses its whole Receive Maximum is not ended with 0x93."""
    of = limits(receive_maximum=2)
    sender = durable(broker, "sender", of=of)
    publish(sender, 1, 2)
    publish(sender, 2, 2)
    sender.lost(0.0)
    sender = durable(broker, "sender", of=of, clean_start=False)
    send(sender, Pubrel(1))
    assert said(sender) == []
    assert sender.in_flight() == 0
    publish(sender, 3, 2)
    publish(sender, 4, 1, "nobody")
    assert not sender.ended
    assert sender.in_flight() == 2
    publish(sender, 5, 1)
    assert sender.ended
    assert "receive_maximum_exceeded" in sender.end_reason


def test_a_repeated_publish_does_not_count_twice(store: LateStore, broker: Broker) -> None:
    sender = durable(broker, "sender", of=limits(receive_maximum=2))
    publish(sender, 1, 2)
    for _ in range(3):
        publish(sender, 1, 2)
    assert sender.in_flight() == 1
    publish(sender, 2, 2)
    assert not sender.ended
    store.catch_up()
    assert [each for each, _ in hears(sender)] == ["Pubrec"] * 5
    assert sender.in_flight() == 2


# -- Full queues, full disk


def test_the_oldest_message_yields(store: LateStore, broker: Broker) -> None:
    session = away(broker, "receiver", "a", of=limits(queue_messages=2, queue_overflow=DROP_OLDEST))
    sender = connect(broker, "sender")
    for number in range(1, 5):
        publish(sender, number, 1, payload=b"%d" % number)
    store.catch_up()
    assert [each.reason for each in said(sender)] == [0, 0, 0, 0]
    assert [each.message.payload for each in session.pending] == [b"3", b"4"]
    assert broker.stats.publish_dropped == 2
    assert len(store.entries) == 2, "what was dropped in the same round is not written"
    publish(sender, 5, 1, payload=b"5")
    flush(broker)
    assert len(store.batches[-1].deleted[QUEUED]) == 1


def test_the_newest_message_is_refused_by_default(store: LateStore, broker: Broker) -> None:
    session = away(broker, "receiver", "a", of=limits(queue_messages=1))
    sender = connect(broker, "sender")
    publish(sender, 1, 1, payload=b"1")
    publish(sender, 2, 1, payload=b"2")
    store.catch_up()
    assert [each.reason for each in said(sender)] == [0, ReasonCode.QUOTA_EXCEEDED]
    assert [each.message.payload for each in session.pending] == [b"1"]


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", [4, 5])
def test_a_full_disk(store: LateStore, broker: Broker, version: int, qos: int) -> None:
    receiver, sender = connect(broker, "receiver"), connect(broker, "sender", version)
    subscribe(receiver, "a", 2)
    store.journal.full = True
    publish(sender, 7, qos)
    store.catch_up()
    if version == 5:
        (answer,) = said(sender)
        assert (answer.packet_identifier, answer.reason) == (7, ReasonCode.QUOTA_EXCEEDED)
    else:
        assert said(sender) == [], "it sends it again when there is room"
    assert broker.stats.publish_refused == 1
    assert not session_of(sender).received
    publish(sender, 0, 0, payload=b"0")
    assert payloads(receiver) == [b"0"], "QoS 0 goes on"
    store.journal.room_again()
    publish(sender, 7, qos)
    assert hears(sender) == [("Puback" if qos == 1 else "Pubrec", 7)]
    assert payloads(receiver) == [b"x"]


# -- CONNACK


def test_the_connack_of_a_durable_session(store: LateStore, broker: Broker) -> None:
    connection = accept(broker)
    request(connection, "c", session_expiry_interval=600)
    send(connection, Pingreq())  # behind the CONNECT
    flush(broker)
    assert said(connection) == []
    assert session_of(connection).connection is None
    assert broker.stats.clients_connected == 0
    store.write()
    assert kinds(said(connection)) == ["Connack", "Pingresp"]
    assert session_of(connection).connection is connection
    assert broker.stats.clients_connected == 1


def test_a_connack_that_waits_for_the_disk_has_more_than_the_time_of_a_handshake(
    store: LateStore, broker: Broker
) -> None:
    connection = accept(broker)
    request(connection, "c", session_expiry_interval=600)
    flush(broker)
    broker.tick(connection.limits.handshake_timeout + 60.0)
    assert not connection.ended
    store.catch_up()
    assert kinds(said(connection)) == ["Connack"]


def test_the_connack_of_a_clean_session_waits_for_nothing(store: LateStore, broker: Broker) -> None:
    connection = accept(broker)
    request(connection, "c")
    assert kinds(said(connection)) == ["Connack"]
    flush(broker)
    assert not store.batches


def test_the_connack_after_a_clean_start_waits_for_the_old_sessions_end(store: LateStore, broker: Broker) -> None:
    old = away(broker, "c", "a")
    connection = accept(broker)
    request(connection, "c")
    flush(broker)
    assert said(connection) == []
    assert store.batches[-1].deleted[SESSIONS]
    assert store.batches[-1].deleted[SUBSCRIPTIONS]
    store.write()
    (connack,) = said(connection)
    assert not connack.session_present
    assert session_of(connection) is not old


def test_a_connection_that_is_taken_over_before_its_connack(store: LateStore, broker: Broker) -> None:
    first, second = accept(broker), accept(broker)
    request(first, "c", session_expiry_interval=600)
    flush(broker)
    request(second, "c", clean_start=False, session_expiry_interval=600)
    assert first.ended
    store.catch_up()
    assert said(first) == [], "nothing comes before a CONNACK"
    (connack,) = said(second)
    assert (connack.reason, connack.session_present) == (0, True)
    assert session_of(second).connection is second
    assert broker.stats.clients_connected == 1
    assert not broker.arriving


@pytest.mark.parametrize("clean_start", [False, True])
def test_a_connection_is_taken_over(store: LateStore, broker: Broker, clean_start: bool) -> None:
    first = durable(broker, "c", "a")
    second = accept(broker)
    request(second, "c", clean_start=clean_start, session_expiry_interval=600)
    (bye,) = said(first)
    assert isinstance(bye, Disconnect)
    assert bye.reason == ReasonCode.SESSION_TAKEN_OVER
    assert said(second) == []
    store.catch_up()
    (connack,) = said(second)
    assert connack.session_present == (not clean_start)
    assert len(session_of(second).subscriptions) == (0 if clean_start else 1)


@pytest.mark.parametrize("interval", [0, 600])
def test_a_connection_that_is_lost_before_its_connack(store: LateStore, broker: Broker, interval: int) -> None:
    away(broker, "c", "a")
    connection = accept(broker)
    request(connection, "c", clean_start=False, session_expiry_interval=interval)
    flush(broker)
    connection.lost(5.0)
    assert not broker.arriving
    store.catch_up(5.0)
    assert said(connection) == []
    assert ("c" in broker.sessions) == bool(interval)
    assert broker.stats.clients_connected == 0
    if interval:
        session = broker.sessions["c"]
        assert (session.away_since, session.expires_at) == (5.0, 605.0)
        assert session.claimed_by is None
        again = connect(broker, "c", clean_start=False, session_expiry_interval=600, now=6.0)
        assert session_of(again) is session


@pytest.mark.parametrize("interval", [None, 0, 60])
def test_the_session_outlives_its_connection_or_not_as_disconnect_says(
    store: LateStore, broker: Broker, interval: int | None
) -> None:
    connection = durable(broker, "c", "a")
    values = {} if interval is None else {"session_expiry_interval": interval}
    send(connection, Disconnect(ReasonCode.SUCCESS, properties(**values)))
    flush(broker)
    batch = store.batches[-1]
    assert len(batch.deleted[SESSIONS]) == 1
    assert len(batch.added[SESSIONS]) == len(broker.sessions) == (0 if interval == 0 else 1)
    assert len(batch.deleted[SUBSCRIPTIONS]) == (1 if interval == 0 else 0)
    assert session_of(connection).durable == (interval != 0)
    assert session_of(connection).expiry_interval == (600 if interval is None else interval)


def test_a_clean_session_that_is_taken_over_ends_and_a_kept_one_begins(store: LateStore, broker: Broker) -> None:
    """Its Session Expiry Interval is 0: it ends with its Network Connection, whoever comes next."""
    first = connect(broker, "c")
    subscribe(first, "a", 1)
    second = accept(broker)
    request(second, "c", clean_start=False, session_expiry_interval=600)
    store.catch_up()
    (connack,) = said(second)
    assert not connack.session_present
    assert session_of(second).durable
    assert session_of(second).number == 1


def test_the_will_of_a_durable_session_is_kept_and_then_not(store: LateStore, broker: Broker) -> None:
    spy = connect(broker, "spy")
    subscribe(spy, "w", 1)
    connection = durable(broker, "c", will=Will("w", b"bye", 1))
    written = len(store.batches)
    connection.lost(0.0)
    assert payloads(spy) == [b"bye"]
    store.catch_up()
    assert store.batches[written].added[SESSIONS] == [session_of(connection)]
    assert session_of(connection).will is None
