"""paho-mqtt: MQTT 3.1.1 and 5.0, over TCP, WebSocket and a Unix socket, and with both on one port."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.interop.paho_client import PahoClient

if TYPE_CHECKING:
    from tests.interop.brokers import Door, RunningBroker


@pytest.fixture(params=["tcp", "ws", "unix", "auto-tcp", "auto-ws"])
def door(request: pytest.FixtureRequest, served: RunningBroker) -> Door:
    return served.doors[request.param]


both_versions = pytest.mark.parametrize(
    "version", [pytest.param(paho.MQTTv311, id="3.1.1"), pytest.param(paho.MQTTv5, id="5.0")]
)


@both_versions
def test_messages_of_every_qos_arrive_once_and_in_order(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version) as subscriber, PahoClient(door, version) as publisher:
        assert subscriber.subscribe(f"{root}/#", qos=2) == 2
        for qos in (0, 1, 2):
            for number in range(5):
                assert publisher.publish(f"{root}/{qos}", str(number).encode(), qos) == 0
        assert publisher.publish(f"{root}/end", qos=2) == 0
        received = [subscriber.receive() for _ in range(16)]
    for qos in (0, 1, 2):
        arrived = [message for message in received if message.topic == f"{root}/{qos}"]
        assert [message.payload for message in arrived] == [b"0", b"1", b"2", b"3", b"4"]
        assert {message.qos for message in arrived} == {qos}
    assert subscriber.messages.empty()


@both_versions
def test_the_lower_qos_counts(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version) as client:
        assert client.subscribe(root, qos=1) == 1
        client.publish(root, b"2", qos=2)
        client.publish(root, b"0", qos=0)
        assert [client.receive().qos for _ in range(2)] == [1, 0]


@both_versions
def test_a_retained_message_is_sent_first_replaced_and_cleared(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version) as publisher:
        publisher.publish(f"{root}/state", b"old", qos=1, retain=True)
        publisher.publish(f"{root}/state", b"new", qos=1, retain=True)
        with PahoClient(door, version) as subscriber:
            subscriber.subscribe(f"{root}/+", qos=1)
            stored = subscriber.receive()
            publisher.publish(f"{root}/state", b"live", qos=1, retain=True)
            live = subscriber.receive()
        publisher.publish(f"{root}/state", b"", qos=1, retain=True)
        with PahoClient(door, version) as subscriber:
            subscriber.subscribe(f"{root}/+", qos=1)
            publisher.publish(f"{root}/end", b"end", qos=1)
            assert subscriber.receive().payload == b"end"
    assert (stored.payload, stored.retain) == (b"new", True)
    assert (live.payload, live.retain) == (b"live", False)


@both_versions
def test_a_lost_connection_publishes_the_will(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version) as watcher:
        watcher.subscribe(f"{root}/#", qos=1)
        dying = PahoClient(door, version, will=(f"{root}/gone", b"without a word", 1, False))
        dying.connect()
        dying.vanish()
        message = watcher.receive()
    assert (message.topic, message.payload, message.qos) == (f"{root}/gone", b"without a word", 1)


@both_versions
def test_a_disconnect_publishes_no_will(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version) as watcher:
        watcher.subscribe(f"{root}/#", qos=1)
        with PahoClient(door, version, will=(f"{root}/gone", b"", 1, False)):
            pass
        watcher.publish(f"{root}/end", qos=1)
        assert watcher.receive().topic == f"{root}/end"


@both_versions
def test_a_session_keeps_subscriptions_and_messages(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version, root, clean=False, session_expiry=60) as first:
        assert not first.session_present
        first.subscribe(f"{root}/#", qos=1)
    with PahoClient(door, version) as publisher:
        for number in range(10):
            publisher.publish(f"{root}/x", str(number).encode(), qos=1)
    with PahoClient(door, version, root, clean=False, session_expiry=60) as second:
        assert second.session_present
        assert [second.receive().payload for _ in range(10)] == [str(number).encode() for number in range(10)]
    with PahoClient(door, version, root, clean=True) as third:
        assert not third.session_present


@both_versions
def test_the_newer_connection_takes_over(door: Door, version: int, root: str) -> None:
    older = PahoClient(door, version, root)
    older.connect()
    with PahoClient(door, version, root):
        reason = older.wait_disconnected()
    if version == paho.MQTTv5:
        assert reason.value == 0x8E


@both_versions
def test_unsubscribe_ends_delivery(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version) as client:
        client.subscribe(f"{root}/a")
        client.subscribe(f"{root}/b")
        client.unsubscribe(f"{root}/a")
        client.publish(f"{root}/a", qos=1)
        client.publish(f"{root}/b", qos=1)
        assert client.receive().topic == f"{root}/b"


@both_versions
def test_large_payloads_pass_whole(door: Door, version: int, root: str) -> None:
    payload = bytes(range(256)) * 2048
    with PahoClient(door, version) as client:
        client.subscribe(root, qos=2)
        for qos in (0, 1, 2):
            client.publish(root, payload, qos)
        assert [client.receive().payload for _ in range(3)] == [payload] * 3


@both_versions
def test_a_silent_client_is_kept_by_its_pings(door: Door, version: int, root: str) -> None:
    with PahoClient(door, version, keepalive=1) as client:
        client.subscribe(root, qos=1)
        with pytest.raises(queue.Empty):
            client.messages.get(timeout=3.0)
        client.publish(root, b"still here", qos=1)
        assert client.receive().payload == b"still here"


def test_clients_of_both_versions_and_doors_meet(served: RunningBroker, root: str) -> None:
    with (
        PahoClient(served.tcp, paho.MQTTv311) as old_tcp,
        PahoClient(served.ws, paho.MQTTv311) as old_ws,
        PahoClient(served.tcp, paho.MQTTv5) as new_tcp,
        PahoClient(served.ws, paho.MQTTv5) as new_ws,
    ):
        clients = [old_tcp, old_ws, new_tcp, new_ws]
        for client in clients:
            client.subscribe(f"{root}/#", qos=1)
        for number, client in enumerate(clients):
            client.publish(f"{root}/{number}", qos=1)
        for client in clients:
            assert {client.receive().topic for _ in clients} == {f"{root}/{number}" for number in range(4)}


def test_properties_are_forwarded(door: Door, root: str) -> None:
    with PahoClient(door) as client:
        client.subscribe(root, qos=1, SubscriptionIdentifier=77)
        client.publish(
            root,
            b"{}",
            qos=1,
            ContentType="application/json",
            ResponseTopic="answers",
            CorrelationData=b"\x00\x01",
            PayloadFormatIndicator=1,
            MessageExpiryInterval=60,
            UserProperty=[("a", "1"), ("a", "2")],
        )
        received: Any = client.receive().properties
    assert received.ContentType == "application/json"
    assert received.ResponseTopic == "answers"
    assert received.CorrelationData == b"\x00\x01"
    assert received.PayloadFormatIndicator == 1
    assert 50 < received.MessageExpiryInterval <= 60
    assert received.UserProperty == [("a", "1"), ("a", "2")]
    assert received.SubscriptionIdentifier == [77]


def test_subscription_options_are_obeyed(door: Door, root: str) -> None:
    with PahoClient(door) as client:
        client.publish(f"{root}/kept", b"kept", qos=1, retain=True)
        client.subscribe(f"{root}/#", options=SubscribeOptions(qos=1, noLocal=True))
        assert client.receive().payload == b"kept"
        client.publish(f"{root}/own", qos=1)
        client.subscribe(f"{root}/#", options=SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=2))
        client.publish(f"{root}/kept", b"", qos=1, retain=True)
        message = client.receive()
    assert (message.topic, message.retain) == (f"{root}/kept", True)


def test_an_acknowledgement_tells_that_nobody_listens(door: Door, root: str) -> None:
    with PahoClient(door) as client:
        assert client.publish(root, qos=1) == 0x10
        client.subscribe(root)
        assert client.publish(root, qos=1) == 0


def test_topic_aliases_are_resolved(door: Door, root: str) -> None:
    with PahoClient(door) as client:
        client.subscribe(root, qos=1)
        client.publish(root, b"named", qos=1, TopicAlias=1)
        client.publish("", b"by its alias", qos=1, TopicAlias=1)
        received = [client.receive() for _ in range(2)]
    assert [(message.topic, message.payload) for message in received] == [(root, b"named"), (root, b"by its alias")]


def test_a_shared_subscription_gives_each_message_to_one(door: Door, root: str) -> None:
    with PahoClient(door) as one, PahoClient(door) as other, PahoClient(door) as publisher:
        one.subscribe(f"$share/group/{root}", qos=1)
        other.subscribe(f"$share/group/{root}", qos=1)
        for number in range(10):
            publisher.publish(root, str(number).encode(), qos=1)
        for client in (one, other):
            client.subscribe(f"{root}/end", qos=1)
        publisher.publish(f"{root}/end", b"end", qos=1)
        received = []
        for client in (one, other):
            while (payload := client.receive().payload) != b"end":
                received.append(int(payload))
    assert sorted(received) == list(range(10))


def test_a_client_without_identifier_is_given_one(door: Door) -> None:
    with PahoClient(door) as client:
        assert client.connack.AssignedClientIdentifier != ""
