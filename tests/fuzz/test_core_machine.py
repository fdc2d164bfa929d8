"""Whatever packets Clients send in whatever order: no exception leaves the core, and its books balance.

Well-formed packets with small numbers, so that identifiers, aliases, topics and Clients meet: acknowledgements for
nothing, aliases never set, second CONNECTs, takeovers by other versions, wills that set off wills. A peer's fault may
end his connection; it never ends another's, and never the broker.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.limits import Limits, ServerLimits
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Auth,
    Connect,
    ControlPacket,
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
from tests.pair import Client, Pair, properties

NAMES = ("x", "y", "")
topics = st.sampled_from(("a", "a/b", "$x/y", "will"))
filters = st.sampled_from(("a", "a/+", "#", "+", "$share/g/a", "$share/g/#", "$share/h/a", "$x/#", "will"))
identifiers = st.integers(1, 4)
qos = st.integers(0, 2)
flags = st.booleans()
refusals = st.sampled_from((0, 0, 0, ReasonCode.UNSPECIFIED_ERROR, ReasonCode.QUOTA_EXCEEDED))


@st.composite
def wills(draw: st.DrawFn) -> Will | None:
    if draw(flags):
        return None
    delay = draw(st.sampled_from((0, 0, 5, 50)))
    return Will(draw(topics), draw(st.sampled_from((b"", b"gone"))), draw(qos), draw(flags), delay)


@st.composite
def connects(draw: st.DrawFn) -> Connect:
    version = draw(st.sampled_from((3, 4, 5, 5)))
    name = draw(st.sampled_from(NAMES))
    made = Connect(name, version, draw(flags), draw(st.sampled_from((0, 0, 10))), will=draw(wills()))
    if version < MQTT_5_0:
        if made.will is not None:
            made.will.delay_interval = 0
        made.client_identifier = name or "z"
    else:
        values: dict[str, object] = {"session_expiry_interval": draw(st.sampled_from((0, 20, 1000, 0xFFFFFFFF)))}
        values["receive_maximum"] = draw(st.integers(1, 3))
        if draw(flags):
            values["topic_alias_maximum"] = draw(st.integers(0, 2))
        if draw(flags):
            values["maximum_packet_size"] = draw(st.sampled_from((8, 30, 1000)))
        made.properties = properties(**values)
    return made


@st.composite
def publishes(draw: st.DrawFn) -> Publish:
    made = Publish(draw(topics), draw(st.sampled_from((b"", b"x", bytes(40)))), qos=draw(qos), retain=draw(flags))
    made.message_expiry_interval = draw(st.sampled_from((-1, -1, 0, 5)))
    if made.qos:
        made.packet_identifier = draw(identifiers)
        made.dup = draw(flags)
    alias = draw(st.integers(0, 4))
    made.topic_alias = alias if alias < 4 else 0
    if alias and draw(flags):
        made.topic = ""
        made.topic_alias = min(alias, 3)
    return made


@st.composite
def subscribes(draw: st.DrawFn) -> Subscribe:
    requests = [
        SubscriptionRequest(one, draw(qos), not one.startswith("$share") and draw(flags), draw(flags), draw(qos))
        for one in draw(st.lists(filters, min_size=1, max_size=3))
    ]
    values: dict[str, object] = {}
    if draw(flags):
        values["subscription_identifiers"] = [draw(st.integers(1, 3))]
    if draw(flags):
        values["user_properties"] = [("overflow", draw(st.sampled_from(("latest", "drop-oldest", "disconnect"))))]
    return Subscribe(draw(identifiers), requests, properties(**values))


packets: st.SearchStrategy[ControlPacket] = st.one_of(
    publishes(),
    publishes(),
    subscribes(),
    st.builds(Puback, identifiers, refusals),
    st.builds(Pubrec, identifiers, refusals),
    st.builds(Pubrel, identifiers),
    st.builds(Pubcomp, identifiers),
    st.builds(Unsubscribe, identifiers, st.lists(filters, min_size=1, max_size=2)),
    st.builds(Pingreq),
    st.sampled_from((Disconnect(), Disconnect(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE))),
    st.sampled_from((Disconnect(ReasonCode.SUCCESS, properties(session_expiry_interval=7)), Auth())),
    connects(),
)
slots = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("connect"), slots, connects()),
    st.tuples(st.just("send"), slots, st.lists(packets, min_size=1, max_size=4)),
    st.tuples(st.just("send"), slots, st.lists(packets, min_size=1, max_size=4)),
    st.tuples(st.just("drop"), slots, st.none()),
    st.tuples(st.just("stall"), slots, st.none()),
    st.tuples(st.just("resume"), slots, st.none()),
    st.tuples(st.just("wait"), st.integers(1, 100), st.none()),
)


def for_version(sent: list[ControlPacket], version: int) -> list[ControlPacket]:
    """Those of `sent` that a Client of this version can say, without what only 5.0 has."""
    if version >= MQTT_5_0:
        return sent
    result: list[ControlPacket] = []
    for packet in sent:
        if isinstance(packet, Auth) or (isinstance(packet, Publish) and not packet.topic):
            continue
        if isinstance(packet, Publish):
            result.append(
                Publish(
                    packet.topic,
                    packet.packet,
                    qos=packet.qos,
                    retain=packet.retain,
                    dup=packet.dup,
                    packet_identifier=packet.packet_identifier,
                )
            )
        elif isinstance(packet, Subscribe):
            requests = [SubscriptionRequest(one.topic_filter, one.maximum_qos) for one in packet.requests]
            result.append(Subscribe(packet.packet_identifier, requests))
        elif isinstance(packet, Puback):
            result.append(Puback(packet.packet_identifier))
        elif isinstance(packet, Pubrec):
            result.append(Pubrec(packet.packet_identifier))
        elif isinstance(packet, Disconnect):
            result.append(Disconnect())
        elif isinstance(packet, Connect):
            result.append(Connect("x", version))
        else:
            result.append(packet)
    return result


def balance(pair: Pair) -> None:
    """The counters are those of what is there."""
    broker = pair.broker
    stats = broker.stats
    assert not broker.faults, broker.faults
    sessions = list(broker.sessions.values())
    assert stats.clients_connected == sum(session.connection is not None for session in sessions)
    assert stats.subscriptions == sum(len(session.subscriptions) for session in sessions)
    assert stats.shared_subscriptions == sum(
        topic_filter.startswith("$share/") for session in sessions for topic_filter in session.subscriptions
    )
    assert stats.queued_messages == sum(len(session.pending) for session in sessions)
    assert stats.queued_bytes == sum(session.pending_bytes for session in sessions)
    for session in sessions:
        outgoing = session.outgoing
        assert 0 <= outgoing.quota <= outgoing.maximum
        assert not set(outgoing.unacknowledged) & set(outgoing.released)
        assert set(outgoing.resend) <= set(outgoing.unacknowledged)


@settings(max_examples=120, deadline=None, database=None)
@given(history=st.lists(steps, max_size=40), soft=st.sampled_from((1, 50, 100_000)), queue=st.sampled_from((1, 5, 100)))
def test_the_core_keeps_its_books(history: list[tuple[str, int, object]], soft: int, queue: int) -> None:
    limits = Limits()
    limits.outbox_soft_bytes = soft
    limits.queue_messages = queue
    limits.receive_maximum = 3
    limits.topic_alias_maximum = 2
    limits.session_expiry_maximum = 1500
    server_limits = ServerLimits()
    server_limits.sys_interval = 30.0
    server_limits.topic_cache = 2
    pair = Pair(limits, server_limits)
    pair.broker.start(pair.now)
    clients: dict[int, Client] = {}
    for action, which, given_ in history:
        client = clients.get(which)
        if action == "connect" and isinstance(given_, Connect):
            if client is not None and not client.closed:
                client.drop()
            client = clients[which] = pair.client(given_.version)
            client.send(given_)
        elif action == "wait":
            pair.advance(which)
        elif client is None or client.closed:
            continue
        elif action == "send" and isinstance(given_, list):
            client.send(*for_version(given_, client.version))
        elif action == "drop":
            client.drop()
        elif action == "stall":
            client.stalled = True
        elif action == "resume":
            client.resume()
        balance(pair)
    for client in clients.values():
        if not client.closed:
            client.resume()
        if not client.closed:
            client.drop()
    pair.advance(limits.session_expiry_maximum + 100)
    balance(pair)
    assert not pair.broker.sessions
    assert not pair.broker.stats.queued_messages
