"""A dashboard is right in the end: whatever happens while it reads a snapshot, its last word on a topic is the last.

Subscribers come while retained messages are set, replaced and cleared; they stop reading, withhold acknowledgements,
and subscribe again in the middle. All is published and subscribed at QoS 1, so nothing may be dropped.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.limits import Limits, ServerLimits
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.types import Puback, Publish, Subscribe, SubscriptionRequest
from tests.pair import Client, Pair
from tests.statements import statement

TOPICS = ("a/1", "a/2", "a/2/x", "a", "b/1", "b//1", "b")
FILTERS = {"a/#": TOPICS[:4], "+/1": ("a/1", "b/1"), "#": TOPICS, "b//1": ("b//1",)}


class Dashboard:
    """A subscriber; `shown` is the last that it was told of each topic."""

    def __init__(self, pair: Pair, name: str) -> None:
        self.client: Client = pair.connected(name, receive_maximum=2)
        self.filters: set[str] = set()
        self.shown: dict[str, bytes] = {}
        self.acknowledgements: list[int] = []
        self.subacks = 0

    def subscribe(self, topic_filter: str) -> None:
        self.filters.add(topic_filter)
        self.client.send(Subscribe(1, [SubscriptionRequest(topic_filter, 1)]))

    def read(self, most: int = 1000) -> int:
        """Read up to `most` packets; how many there were."""
        for count in range(most):
            data = self.client.next()
            if data is None:
                return count
            if data[0] & 0xF0 == 0x90:
                self.subacks += 1
                continue
            packet = decoded(data)
            assert packet.qos == 1
            self.shown[packet.topic] = packet.payload
            self.acknowledgements.append(packet.packet_identifier)
        return most

    def acknowledge(self, most: int = 1000) -> int:
        due, self.acknowledgements = self.acknowledgements[:most], self.acknowledgements[most:]
        for identifier in due:
            self.client.send(Puback(identifier))
        return len(due)


def decoded(data: bytes) -> Publish:
    (packet,) = Decoder(DecoderLimits(), 5, server=False).feed(data)
    assert isinstance(packet, Publish), packet
    return packet


steps = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(TOPICS)),
    st.tuples(st.just("clear"), st.sampled_from(TOPICS)),
    st.tuples(st.just("subscribe"), st.integers(0, 1), st.sampled_from(list(FILTERS))),
    st.tuples(st.just("read"), st.integers(0, 1), st.integers(1, 5)),
    st.tuples(st.just("acknowledge"), st.integers(0, 1), st.integers(1, 3)),
    st.tuples(st.just("stop"), st.integers(0, 1)),
    st.tuples(st.just("go on"), st.integers(0, 1)),
)


@statement("MQTT5-3.3.1-5", "MQTT5-3.3.1-6", "MQTT5-3.3.1-9", "MQTT5-3.8.4-4", "MQTT311-3.3.1-5", "MQTT311-3.3.1-6")
@statement("MQTT311-3.3.1-10", "MQTT311-3.8.4-3")
@settings(max_examples=150, deadline=None, database=None)
@given(history=st.lists(steps, max_size=50), soft=st.sampled_from((1, 30, 100_000)))
def test_the_last_word_is_the_last_word(history: list[tuple[object, ...]], soft: int) -> None:
    limits = Limits()
    limits.server_keep_alive_maximum = 0
    limits.outbox_soft_bytes = soft
    server_limits = ServerLimits()
    server_limits.sys_interval = 0.0
    pair = Pair(limits, server_limits)
    publisher = pair.connected("publisher")
    dashboards = [Dashboard(pair, f"d{number}") for number in range(2)]
    retained = dict.fromkeys(TOPICS, b"at first")
    for topic, payload in retained.items():
        publisher.publish(topic, payload, qos=1, retain=True)
    for number, step in enumerate(history):
        match step:
            case ("set", str(topic)):
                retained[topic] = b"%d" % number
                publisher.publish(topic, retained[topic], qos=1, retain=True)
            case ("clear", str(topic)):
                retained.pop(topic, None)
                publisher.publish(topic, b"", qos=1, retain=True)
            case ("subscribe", int(which), str(topic_filter)):
                dashboards[which].subscribe(topic_filter)
            case ("read", int(which), int(most)):
                dashboards[which].read(most)
            case ("acknowledge", int(which), int(most)):
                dashboards[which].acknowledge(most)
            case ("stop", int(which)):
                dashboards[which].client.stalled = True
            case ("go on", int(which)):
                dashboards[which].client.resume()
    for dashboard in dashboards:
        dashboard.client.resume()
        while dashboard.read() or dashboard.acknowledge():
            pass
        watched = {topic for topic_filter in dashboard.filters for topic in FILTERS[topic_filter]}
        assert {topic: payload for topic, payload in dashboard.shown.items() if payload} == {
            topic: payload for topic, payload in retained.items() if topic in watched
        }
        assert dashboard.subacks == sum(
            1 for step in history if step[0] == "subscribe" and dashboards[int(str(step[1]))] is dashboard
        )
