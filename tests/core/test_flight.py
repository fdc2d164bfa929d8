"""Flight records: what is noted of a Client, of whom, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core import flight as module
from broker.core.flight import DECISION, DECISIONS, IN, NOTED, OUT, PACKETS, Flight, Flights, described, some
from broker.core.grants import Grant
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect, Pingreq, Publish
from tests.core.parts import connect, limits, message, new_broker, said, send, subscribe
from tests.packets.table import CASES, Case

if TYPE_CHECKING:
    from broker.core.broker import Broker


def details(broker: Broker, name: str) -> list[str]:
    found = broker.flights.find(name)
    assert found is not None
    return [event.detail for event in found.events]


def test_coming_subscribing_and_going_are_noted() -> None:
    broker = new_broker()
    client = connect(broker, "c", now=1.0)
    subscribe(client, "a/#", now=2.0)
    client.lost(3.0, "closed by the peer")
    found = broker.flights.find("c")
    assert found is not None
    assert [(event.at, event.direction) for event in found.events] == [
        (1.0, DECISION),
        (2.0, DECISION),
        (3.0, DECISION),
    ]
    came, subscribed, gone = details(broker, "c")
    assert came.endswith("MQTT 5.0, with a new Session")
    assert subscribed == "subscribed: a/# at QoS 0"
    assert gone == "disconnected: closed by the peer"


def test_what_repeats_is_counted_in_one_event() -> None:
    flight = Flight()
    for at in range(1000):
        flight.decide(float(at), "the queue is full", f"a/{at}", 1)
    flight.decide(2000.0, "connected")
    first, second = flight.events
    assert (first.at, first.last, first.times, first.topic, first.qos) == (0.0, 999.0, 1000, "a/999", 1)
    assert (second.times, second.detail) == (1, "connected")


def test_the_oldest_events_go() -> None:
    flight = Flight()
    for number in range(DECISIONS + 10):
        flight.decide(float(number), f"{number}")
    assert [event.detail for event in flight.events] == [str(number) for number in range(10, DECISIONS + 10)]


def test_the_newest_event_about_a_topic() -> None:
    flight = Flight()
    flight.decide(1.0, "one", "a")
    flight.decide(2.0, "two", "b")
    flight.decide(3.0, "three", "a")
    found = flight.last_about("a")
    assert found is not None
    assert found.detail == "three"
    assert flight.last_about("c") is None


def test_of_too_many_clients_those_go_of_whom_nothing_was_heard() -> None:
    flights = Flights()
    for number in range(module.CLIENTS):
        flights.of(str(number))
    flights.of("0")
    flights.of("one more")
    assert flights.find("0") is not None
    assert flights.find("1") is None
    assert flights.find("one more") is not None


def test_only_who_is_watched_has_packets_noted() -> None:
    broker = new_broker()
    watched, other = connect(broker, "w"), connect(broker, "o")
    assert broker.flights.watch("w", watched)
    for client in (watched, other):
        client.receive(encode(Publish("a", b"secret", qos=1, packet_identifier=7), 5), 5.0)
        said(client)
    broker.flights.now = 6.0
    found = broker.flights.find("w")
    assert found is not None
    packets = [event for event in found.events if event.packet]
    assert [(each.direction, each.packet, each.at) for each in packets[:1]] == [(IN, "PUBLISH", 5.0)]
    assert (packets[0].topic, packets[0].qos, packets[0].identifier, packets[0].size) == ("a", 1, 7, 6)
    assert (packets[1].direction, packets[1].packet, packets[1].identifier) == (OUT, "PUBACK", 7)
    assert not any("secret" in event.topic + event.detail for event in packets)
    unwatched = broker.flights.find("o")
    assert unwatched is not None
    assert not any(event.packet for event in unwatched.events)


def test_who_comes_back_is_still_watched_until_it_is_enough() -> None:
    broker = new_broker()
    assert broker.flights.watch("c", None)
    assert broker.flights.watched("c")
    client = connect(broker, "c")
    client.receive(encode(Pingreq(), 5), 1.0)
    said(client)
    found = broker.flights.find("c")
    assert found is not None
    assert [event.packet for event in found.events if event.packet][-2:] == ["PINGREQ", "PINGRESP"]
    assert found.most == PACKETS
    broker.flights.unwatch("c", client)
    before = len(found.events)
    client.receive(encode(Pingreq(), 5), 2.0)
    said(client)
    assert len(found.events) == before
    assert (found.most, broker.flights.watched("c")) == (DECISIONS, False)


def test_only_so_many_are_watched() -> None:
    flights = Flights()
    assert all(flights.watch(str(number), None) for number in range(module.WATCHED))
    assert not flights.watch("one more", None)
    assert flights.watch("0", None)  # that one is watched already


def test_what_a_slow_reader_loses_is_noted_and_a_flood_of_it_seldom() -> None:
    of = limits(outbox_soft_bytes=100, outbox_hard_bytes=1 << 20)
    broker = new_broker()
    client = connect(broker, "slow", of=of)
    subscribe(client, "a")
    source = connect(broker, "source")
    for _ in range(3 * NOTED + 20):
        send(source, Publish("a", bytes(50)))
    found = broker.flights.find("slow")
    assert found is not None
    last = found.events[-1]
    assert last.detail == "QoS 0 was dropped for a slow reader (overflow drop-newest)"
    assert last.topic == "a"
    assert client.dropped - NOTED < last.times <= client.dropped


def test_a_full_queue_is_noted() -> None:
    broker = new_broker()
    of = limits(queue_messages=1)
    client = connect(broker, "away", of=of, clean_start=False, session_expiry_interval=60)
    subscribe(client, "a", 1)
    client.lost(1.0)
    for _ in range(2):
        broker.publish(message("a", b"x", 1), None, 2.0)
    assert details(broker, "away")[-1].startswith("a message was refused: the queue is full")


class Mute(Grant):
    def __init__(self) -> None:
        super().__init__(everything=False)

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        return ReasonCode.NOT_AUTHORIZED


class Muting:
    def authenticate(self, connect: Connect, peer: object) -> Grant:
        return Mute()


def test_a_message_that_may_not_be_published_is_noted() -> None:
    broker = new_broker(Muting())
    send(connect(broker, "c"), Publish("a", b"x"))
    found = broker.flights.find("c")
    assert found is not None
    assert (found.events[-1].detail, found.events[-1].topic) == ("publishing to a topic is not allowed", "a")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_packet_can_be_described(case: Case) -> None:
    event = described(case.packet, IN, 1.0)
    assert event.packet == type(case.packet).__name__.upper()


@pytest.mark.parametrize(
    ("items", "count", "text"),
    [
        ([], 0, ""),
        (["a"], 0, "a"),
        (["a", "b"], 0, "a, b"),
        (["a"] * 9, 0, ", ".join("a" * 8) + " and 1 more"),
        (["a"] * 8, 100, ", ".join("a" * 8) + " and 92 more"),
        (["x" * 500], 0, "x" * 128),
    ],
)
def test_lists_are_not_longer_than_need_be(items: list[str], count: int, text: str) -> None:
    assert some(items, count) == text
