"""Whatever packets Clients send in whatever order: no exception leaves the core, and its books balance.

Well-formed packets with small numbers, so that identifiers, aliases, topics and Clients meet: acknowledgements for
nothing, aliases never set, second CONNECTs, takeovers by other versions, wills that set off wills. A peer's fault may
end his connection; it never ends another's, and never the broker. A history follows from its seed.
"""

from __future__ import annotations

from random import Random

import pytest

from broker.core.limits import Limits, ServerLimits
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    PUBLISH,
    PUBREL,
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

TOPICS = ("a", "a/b", "$x/y", "will")
FILTERS = ("a", "a/+", "#", "#", "+", "$share/g/a", "$share/g/#", "$share/h/a", "$x/#")
CLIENTS = 3
STEPS = 120


def yes(chance: Random) -> bool:
    return chance.random() < 0.5


def some_connect(chance: Random) -> Connect:
    version = chance.choice((3, 4, 5, 5))
    made = Connect(chance.choice(("x", "y", "z")), version, chance.random() < 0.3, chance.choice((0, 0, 0, 10)))
    if yes(chance):
        delay = chance.choice((0, 0, 5, 50)) if version == MQTT_5_0 else 0
        payload = chance.choice((b"", b"gone"))
        made.will = Will(chance.choice(TOPICS), payload, chance.randrange(3), yes(chance), delay)
    if version == MQTT_5_0:
        values: dict[str, object] = {"session_expiry_interval": chance.choice((0, 20, 1000, 0xFFFFFFFF))}
        values["receive_maximum"] = chance.randint(1, 3)
        if yes(chance):
            values["topic_alias_maximum"] = chance.randint(0, 2)
        if chance.random() < 0.3:
            values["maximum_packet_size"] = chance.choice((60, 70, 1000))
        made.properties = properties(**values)
        if chance.random() < 0.1:
            made.client_identifier = ""
    return made


def some_publish(chance: Random) -> Publish:
    made = Publish(
        chance.choice(TOPICS), chance.choice((b"", b"x", bytes(40))), qos=chance.randrange(3), retain=yes(chance)
    )
    made.message_expiry_interval = chance.choice((-1, -1, 0, 5))
    if made.qos:
        made.packet_identifier = chance.randint(1, 4)
        made.dup = yes(chance)
    if chance.random() < 0.2:
        made.topic_alias = chance.randint(1, 2)
        if chance.random() < 0.3:
            made.topic = ""
    return made


def some_subscribe(chance: Random) -> Subscribe:
    requests = []
    for _ in range(chance.randint(1, 3)):
        one = chance.choice(FILTERS)
        no_local = not one.startswith("$share") and yes(chance)
        requests.append(SubscriptionRequest(one, chance.randrange(3), no_local, yes(chance), chance.randrange(3)))
    values: dict[str, object] = {}
    if yes(chance):
        values["subscription_identifiers"] = [chance.randint(1, 3)]
    if yes(chance):
        values["user_properties"] = [("overflow", chance.choice(("latest", "drop-oldest", "disconnect")))]
    return Subscribe(chance.randint(1, 4), requests, properties(**values))


def some_packet(chance: Random) -> ControlPacket:
    number = chance.randint(1, 4)
    refusal = chance.choice((0, 0, 0, ReasonCode.UNSPECIFIED_ERROR, ReasonCode.QUOTA_EXCEEDED))
    kind = chance.random()
    if kind < 0.5:
        return some_publish(chance)
    if kind < 0.7:
        return some_subscribe(chance)
    if kind < 0.85:
        return chance.choice((Puback(number, refusal), Pubrec(number, refusal), Pubrel(number), Pubcomp(number)))
    if kind < 0.9:
        return Unsubscribe(number, chance.sample(FILTERS, 2))
    if kind < 0.97:
        return Pingreq()
    late = Disconnect(ReasonCode.SUCCESS, properties(session_expiry_interval=7))
    ends = (Disconnect(), Disconnect(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE), late)
    return chance.choice((*ends, Auth(ReasonCode.RE_AUTHENTICATE), some_connect(chance)))


def obey(client: Client) -> None:
    """Acknowledge all that has come, as the standard asks."""
    while (data := client.next()) is not None and not client.closed:
        kind = data[0] >> 4
        if kind not in (PUBLISH, PUBREL):
            continue
        limits = DecoderLimits()
        decoder = Decoder(limits, client.version, server=False)
        (packet,) = decoder.feed(data)
        if isinstance(packet, Publish) and packet.qos == 1:
            client.send(Puback(packet.packet_identifier))
        elif isinstance(packet, Publish) and packet.qos == 2:
            client.send(Pubrec(packet.packet_identifier))
        elif isinstance(packet, Pubrel):
            client.send(Pubcomp(packet.packet_identifier))


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


@pytest.mark.parametrize("seed", range(60))
def test_the_core_keeps_its_books(seed: int) -> None:
    chance = Random(seed)
    limits = Limits()
    limits.outbox_soft_bytes = chance.choice((1, 50, 100_000))
    limits.queue_messages = chance.choice((1, 5, 100))
    limits.receive_maximum = 3
    limits.topic_alias_maximum = 2
    limits.session_expiry_maximum = 1500
    server_limits = ServerLimits()
    server_limits.sys_interval = 30.0
    server_limits.topic_cache = 2
    pair = Pair(limits, server_limits)
    pair.broker.start(pair.now)
    clients: dict[int, Client] = {}
    for _ in range(STEPS):
        which = chance.randrange(CLIENTS)
        client = clients.get(which)
        action = chance.random()
        if client is None or client.closed or action < 0.03:
            if client is not None and not client.closed:
                client.drop()
            connect = some_connect(chance)
            client = clients[which] = pair.client(connect.version)
            client.send(connect)
        elif action < 0.6:
            sent = [some_packet(chance) for _ in range(chance.randint(1, 4))]
            client.send(*for_version(sent, client.version))
        elif action < 0.85:
            obey(client)
        elif action < 0.87:
            client.drop()
        elif action < 0.92:
            client.stalled = True
        elif action < 0.97:
            client.resume()
        else:
            pair.advance(chance.randint(1, 100))
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
