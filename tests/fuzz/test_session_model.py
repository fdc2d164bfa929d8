"""QoS 1 and 2 whatever the network does: nothing lost, nothing twice at QoS 2, everything in order.

Two publishers and two subscribers with durable Sessions are played against the core, byte for byte and in virtual time.
Acknowledgements are withheld and sent in any interleaving, connections are lost and taken over at any point with
packets still under way in both directions, readers stop reading. At the end everybody reconnects, goes through all
exchanges that are open, and what was received is held against what was published.

Each device is the Client that the standard asks for (section 4.4): what was not acknowledged is sent again on a new
connection, in order, a QoS 2 message is known by its Packet Identifier until PUBREL.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from broker.core.limits import Limits, ServerLimits
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connack,
    ControlPacket,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from tests.pair import Pair
from tests.statements import statement

if TYPE_CHECKING:
    from tests.pair import Client

WINDOW = 4  # Receive Maximum of the broker
TOPICS = ("a/x", "a/y")


class Device:
    """A Client with a durable Session; `client` is its present Network Connection."""

    def __init__(self, pair: Pair, name: str, version: int) -> None:
        self.pair = pair
        self.name = name
        self.version = version
        self.client: Client | None = None
        self.connected_before = False
        self.inbox: deque[ControlPacket] = deque()
        self._decoder = Decoder(DecoderLimits(), version, server=False)

    def connect(self) -> None:
        """A new Network Connection; one that is still there is taken over."""
        old = self.client
        if old is not None:
            self.fetch()
            self.forget_connection()
        client = self.client = self.pair.client(self.version)
        self._decoder = Decoder(DecoderLimits(), self.version, server=False)
        values: dict[str, Any] = {}
        if self.version == MQTT_5_0:
            values = {"session_expiry_interval": 3600, "receive_maximum": 3}
        connack = client.connect(self.name, clean_start=False, **values)
        assert isinstance(connack, Connack)
        assert connack.reason == ReasonCode.SUCCESS
        assert connack.session_present is self.connected_before
        self.connected_before = True
        if old is not None:
            assert old.closed
            while (data := old.next()) is not None:
                self.arrived_too_late(data)
        self.resume()

    def lose(self) -> None:
        """The Network Connection breaks; what the broker had sent and was not read is gone."""
        client = self.client
        assert client is not None
        if client.stalled:
            client.stalled = False
            client.flush()
        self.fetch()
        client.drop()
        self.forget_connection()
        self.client = None

    def fetch(self) -> None:
        """What has arrived since the last time becomes `inbox`: it has been sent, but not yet read."""
        client = self.client
        assert client is not None
        while (data := client.next()) is not None:
            packets = self._decoder.feed(data)
            assert self._decoder.error is None
            self.inbox.extend(packets)
            for packet in packets:
                assert not isinstance(packet, Disconnect), f"{self.name} is disconnected: {packet.reason!r}"
                self.sent_by_broker(packet)
        assert not client.closed, f"{self.name} is disconnected"

    def send(self, packet: ControlPacket) -> None:
        assert self.client is not None
        self.client.send(packet)

    def forget_connection(self) -> None:
        """The connection is gone, and with it what was not read."""
        self.inbox.clear()

    def arrived_too_late(self, data: bytes) -> None:
        """The last words of a connection that was taken over."""
        packets = self._decoder_for_last_words(data)
        assert all(isinstance(packet, Disconnect) for packet in packets)

    def _decoder_for_last_words(self, data: bytes) -> list[ControlPacket]:
        return Decoder(DecoderLimits(), self.version, server=False).feed(data)

    def sent_by_broker(self, packet: ControlPacket) -> None:
        """The broker has sent `packet`, whether or not it will be read."""

    def resume(self) -> None:
        """Go on with what was open, on a new connection."""

    def read(self) -> bool:
        """Read one packet and do what it asks for; whether there was one. A Publisher and a Subscriber differ here."""
        raise NotImplementedError


class Publisher(Device):
    """`open` is what is not acknowledged yet, in the order of sending: Packet Identifier -> PUBLISH or PUBREL."""

    def __init__(self, pair: Pair, name: str, version: int) -> None:
        super().__init__(pair, name, version)
        self.open: dict[int, Publish | Pubrel] = {}
        self.published: dict[tuple[str, int], list[bytes]] = {}
        self.number = 0
        self._packet_identifier = 0

    def publish(self, topic: str, qos: int) -> None:
        self.number += 1
        payload = f"{self.name}:{self.number}".encode()
        self.published.setdefault((topic, qos), []).append(payload)
        if qos == 0:
            self.send(Publish(topic, payload))
            return
        while True:
            self._packet_identifier = self._packet_identifier % 6 + 1
            if self._packet_identifier not in self.open:
                break
        publish = Publish(topic, payload, qos=qos, packet_identifier=self._packet_identifier)
        self.open[self._packet_identifier] = publish
        self.send(publish)

    def resume(self) -> None:
        for packet in list(self.open.values()):
            if isinstance(packet, Publish):
                packet.dup = True
            self.send(packet)

    def read(self) -> bool:
        self.fetch()
        if not self.inbox:
            return False
        packet = self.inbox.popleft()
        assert isinstance(packet, Puback | Pubrec | Pubcomp)
        if isinstance(packet, Pubcomp):
            # A PUBREL sent again, whose PUBCOMP was lost
            assert packet.reason in (ReasonCode.SUCCESS, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)
        else:
            assert packet.reason in (ReasonCode.SUCCESS, ReasonCode.NO_MATCHING_SUBSCRIBERS)
        waiting = self.open[packet.packet_identifier]
        if isinstance(packet, Pubrec):
            assert isinstance(waiting, Pubrel) or waiting.qos == 2
            pubrel = Pubrel(packet.packet_identifier)
            self.open[packet.packet_identifier] = pubrel
            self.send(pubrel)
        else:
            assert isinstance(packet, Puback) == isinstance(waiting, Publish)
            del self.open[packet.packet_identifier]
        return True


class Subscriber(Device):
    """`sent` is what the broker has sent and not seen acknowledged, `known` the QoS 2 messages not yet released."""

    def __init__(self, pair: Pair, name: str, version: int, topic_filter: str, qos: int) -> None:
        super().__init__(pair, name, version)
        self.topic_filter = topic_filter
        self.qos = qos
        self.sent: dict[int, Publish] = {}
        self.released: set[int] = set()
        self.now_in_flight: set[int] = set()  # on this Network Connection
        self.known: set[int] = set()
        self.acknowledgements: deque[Puback | Pubrec | Pubcomp] = deque()
        self.received: list[Publish] = []

    def subscribe(self) -> None:
        self.send(Subscribe(1, [SubscriptionRequest(self.topic_filter, self.qos)]))
        assert self.client is not None
        self.client.receive(Suback)

    def sent_by_broker(self, packet: ControlPacket) -> None:
        if isinstance(packet, Publish) and packet.qos:
            identifier = packet.packet_identifier
            earlier = self.sent.get(identifier)
            assert packet.dup == (earlier is not None), "DUP on a first delivery, or none on another"
            if earlier is not None:
                assert (earlier.topic, earlier.payload, earlier.qos) == (packet.topic, packet.payload, packet.qos)
            assert identifier not in self.released, "PUBLISH behind its PUBREL"
            assert identifier not in self.now_in_flight, "sent again on the same connection"
            self.now_in_flight.add(identifier)
            assert len(self.now_in_flight) <= 3, "beyond Receive Maximum"
            self.sent[identifier] = packet
        elif isinstance(packet, Pubrel):
            assert self.sent[packet.packet_identifier].qos == 2
            assert packet.packet_identifier in self.released, "PUBREL before PUBREC"

    def forget_connection(self) -> None:
        super().forget_connection()
        self.acknowledgements.clear()
        self.now_in_flight.clear()

    def read(self) -> bool:
        self.fetch()
        if not self.inbox:
            return False
        packet = self.inbox.popleft()
        if isinstance(packet, Publish):
            if packet.qos < 2 or packet.packet_identifier not in self.known:
                self.received.append(packet)
            if packet.qos == 1:
                self.acknowledgements.append(Puback(packet.packet_identifier))
            elif packet.qos == 2:
                self.known.add(packet.packet_identifier)
                self.acknowledgements.append(Pubrec(packet.packet_identifier))
        else:
            assert isinstance(packet, Pubrel)
            self.known.discard(packet.packet_identifier)
            self.acknowledgements.append(Pubcomp(packet.packet_identifier))
        return True

    def acknowledge(self) -> bool:
        """Send the oldest acknowledgement that is due; whether there was one."""
        if not self.acknowledgements:
            return False
        packet = self.acknowledgements.popleft()
        identifier = packet.packet_identifier
        if isinstance(packet, Pubrec):
            self.released.add(identifier)
        else:
            del self.sent[identifier]
            self.released.discard(identifier)
            self.now_in_flight.discard(identifier)
        self.send(packet)
        return True


devices = st.integers(0, 1)


class SessionMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.pair: Pair

    @initialize(
        cuts=st.sampled_from((None, 1, 7)),
        versions=st.lists(st.sampled_from((MQTT_3_1_1, MQTT_5_0)), min_size=4, max_size=4),
        soft=st.sampled_from((40, 1024 * 1024)),
    )
    def begin(self, cuts: int | None, versions: list[int], soft: int) -> None:
        limits = Limits()
        limits.server_keep_alive_maximum = 0
        limits.receive_maximum = WINDOW
        limits.max_inflight = 3
        limits.queue_messages = 10_000
        limits.outbox_soft_bytes = soft
        server_limits = ServerLimits()
        server_limits.sys_interval = 0.0
        server_limits.topic_cache = 1
        self.pair = Pair(limits, server_limits, cuts=cuts)
        self.publishers = [Publisher(self.pair, f"p{n}", versions[n]) for n in range(2)]
        self.subscribers = [
            Subscriber(self.pair, "s0", versions[2], "a/#", 2),
            Subscriber(self.pair, "s1", versions[3], "a/+", 1),
        ]
        for subscriber in self.subscribers:
            subscriber.connect()
            subscriber.subscribe()
        for publisher in self.publishers:
            publisher.connect()

    @rule(which=devices, topic=st.sampled_from(TOPICS), qos=st.integers(0, 2), count=st.integers(1, 4))
    def publish(self, which: int, topic: str, qos: int, count: int) -> None:
        publisher = self.publishers[which]
        for _ in range(count):
            if publisher.client is not None and len(publisher.open) < WINDOW:
                publisher.publish(topic, qos)

    @rule(which=devices, count=st.integers(1, 5))
    def publisher_reads(self, which: int, count: int) -> None:
        publisher = self.publishers[which]
        for _ in range(count):
            if publisher.client is None or not publisher.read():
                break

    @rule(which=devices, count=st.integers(1, 5))
    def subscriber_reads(self, which: int, count: int) -> None:
        subscriber = self.subscribers[which]
        for _ in range(count):
            if subscriber.client is None or not subscriber.read():
                break

    @rule(which=devices, count=st.integers(1, 5))
    def subscriber_acknowledges(self, which: int, count: int) -> None:
        subscriber = self.subscribers[which]
        for _ in range(count):
            if subscriber.client is None or not subscriber.acknowledge():
                break

    @rule(which=devices)
    def subscriber_stops_reading(self, which: int) -> None:
        client = self.subscribers[which].client
        if client is not None:
            client.stalled = True

    @rule(which=devices)
    def subscriber_reads_again(self, which: int) -> None:
        client = self.subscribers[which].client
        if client is not None and client.stalled:
            client.resume()

    @rule(which=st.integers(0, 3))
    def lose(self, which: int) -> None:
        device = (*self.publishers, *self.subscribers)[which]
        if device.client is not None:
            device.lose()

    @rule(which=st.integers(0, 3))
    def connect(self, which: int) -> None:
        """Reconnect, or take over a connection that is still there."""
        device = (*self.publishers, *self.subscribers)[which]
        if device.client is not None and device.client.stalled:
            device.client.resume()
        device.connect()

    @precondition(lambda self: hasattr(self, "pair"))
    @rule(seconds=st.integers(1, 100))
    def time_passes(self, seconds: int) -> None:
        self.pair.advance(seconds)

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        everybody = (*self.publishers, *self.subscribers)
        for device in everybody:
            if device.client is None:
                device.connect()
            elif device.client.stalled:
                device.client.resume()
        busy = True
        while busy:
            busy = False
            for device in everybody:
                while device.read():
                    busy = True
            for subscriber in self.subscribers:
                while subscriber.acknowledge():
                    busy = True
        self.judge()

    def judge(self) -> None:
        for publisher in self.publishers:
            assert not publisher.open
        for subscriber in self.subscribers:
            assert not subscriber.sent
            for publisher in self.publishers:
                for (topic, qos), published in publisher.published.items():
                    granted = min(qos, subscriber.qos)
                    prefix = publisher.name.encode() + b":"
                    mine = [
                        publish.payload
                        for publish in subscriber.received
                        if publish.topic == topic
                        and publish.payload in published
                        and publish.payload.startswith(prefix)
                    ]
                    first = list(dict.fromkeys(mine))
                    assert first == [payload for payload in published if payload in mine], "out of order"
                    assert granted == 0 or first == published, "lost"
                    assert granted == 1 or mine == first, f"twice at QoS {granted}"


@statement("MQTT5-4.3.2-1", "MQTT5-4.3.3-1", "MQTT5-4.3.3-6", "MQTT5-4.3.3-10", "MQTT5-4.4.0-1", "MQTT5-4.6.0-5")
@statement("MQTT5-3.3.1-1", "MQTT5-3.3.4-9", "MQTT5-4.5.0-1", "MQTT5-2.2.1-4")
@statement("MQTT311-4.3.2-1", "MQTT311-4.3.3-1", "MQTT311-4.3.3-2", "MQTT311-4.4.0-1", "MQTT311-4.6.0-6")
@statement("MQTT311-3.3.1-1", "MQTT311-4.5.0-1", "MQTT311-2.3.1-4")
def test_sessions_keep_their_promises() -> None:
    run_state_machine_as_test(
        SessionMachine, settings=settings(max_examples=200, stateful_step_count=50, deadline=None, database=None)
    )
