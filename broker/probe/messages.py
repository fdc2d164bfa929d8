"""Messages on their way: each QoS there and back, and what must not be changed under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from broker.client.errors import describe as describe_reason
from broker.packets.encode import encode_publish
from broker.packets.properties import forwarded_properties, publish_properties
from broker.packets.types import MQTT_5_0, Properties, Puback, Publish
from broker.probe.check import Group, Stage
from broker.probe.peer import VERSION_NAMES
from broker.probe.verdict import Lacking, Skipped, Wrong

if TYPE_CHECKING:
    from broker.probe.trial import Trial

MESSAGES: Final = Group("messages")
PAYLOAD: Final = bytes(range(256))  # every byte there is
LARGE: Final = 256 * 1024  # bytes
IN_ORDER: Final = 20  # messages
SMALL: Final = 128  # bytes, as Maximum Packet Size
EXPIRES: Final = 1  # second
EXPIRED: Final = 2.3  # seconds after which a Server that counts in whole ones must have noticed


@MESSAGES.check("permission", "We may publish and subscribe", stage=Stage.PERMISSION)
async def permission(trial: Trial) -> str:
    """May we? An access list that shuts us out would make everything else look wrong."""
    advice = "An access list may forbid it: name a topic below which this user may publish and subscribe with -t."
    topic = trial.topic()
    peer = await trial.connect()
    qos = trial.qos(1)
    try:
        await peer.subscribe(topic, qos=qos)
        await peer.send(Publish(topic, PAYLOAD, qos=qos, packet_identifier=qos))
        packet: object = None
        while not isinstance(packet, Publish):  # what is not acknowledged is for others to find out
            packet = await peer.next(f"the message on {topic!r}", "MQTT5-4.5.0-1", "MQTT311-4.5.0-1")
            if isinstance(packet, Puback) and packet.reason >= 0x80:
                raise Lacking(f"PUBLISH is refused: {describe_reason(packet.reason)}")
    except Lacking as lacking:
        lacking.advice = advice
        raise
    except Wrong as wrong:
        wrong.advice = wrong.advice or advice
        raise
    return f"below {trial.subject.root}/"


async def _round_trip(trial: Trial, qos: int) -> str:
    trial.want_qos(qos)
    told: list[str] = []
    for version in trial.subject.versions:
        topic = trial.topic(VERSION_NAMES[version])
        subscriber, publisher = await trial.clients(version, version)
        granted = (await subscriber.subscribe(topic, qos=qos))[0]
        if granted < qos:
            raise Lacking(f"SUBACK grants QoS {granted} where {qos} is asked for")
        began = trio.current_time()
        await publisher.publish(topic, PAYLOAD, qos)
        await subscriber.message(topic, PAYLOAD, qos)
        told.append(f"{VERSION_NAMES[version]}: {(trio.current_time() - began) * 1000:.1f} ms")
    return ", ".join(told)


@MESSAGES.check("qos-0", "QoS 0 there and back", "MQTT5-4.3.1-1", "MQTT311-4.3.1-1", stage=Stage.MEASURED)
async def qos_0(trial: Trial) -> str:
    """Does a message arrive unchanged, in every version?"""
    return await _round_trip(trial, 0)


@MESSAGES.check(
    "qos-1",
    "QoS 1 there and back",
    "MQTT5-4.3.2-4",
    "MQTT311-4.3.2-2",
    stage=Stage.MEASURED,
    matters="Clients keep such messages, send them again, and come to a stop when they may have no more unanswered.",
)
async def qos_1(trial: Trial) -> str:
    """Is it acknowledged and does it arrive, in every version?"""
    return await _round_trip(trial, 1)


@MESSAGES.check(
    "qos-2",
    "QoS 2 there and back",
    "MQTT5-4.3.3-8",
    "MQTT311-4.3.3-2",
    stage=Stage.MEASURED,
    matters="Clients keep such messages, send them again, and come to a stop when they may have no more unanswered.",
)
async def qos_2(trial: Trial) -> str:
    """Are both exchanges of four packets whole, in every version?"""
    return await _round_trip(trial, 2)


@MESSAGES.check("crossing", "From one version to another", "MQTT5-4.5.0-1", "MQTT311-4.5.0-1")
async def crossing(trial: Trial) -> str:
    """Do Clients of different versions hear each other?"""
    versions = trial.subject.versions
    if len(versions) < 2:
        raise Skipped(f"{VERSION_NAMES[versions[0]]} is all that this Server speaks")
    topic = trial.topic()
    qos = trial.qos(1)
    peers = await trial.clients(*versions)
    for peer in peers:
        await peer.subscribe(topic, qos=qos)
    for publisher in peers:
        payload = VERSION_NAMES[publisher.version].encode()
        await publisher.publish(topic, payload, qos)
        for peer in peers:
            words = f"at {VERSION_NAMES[peer.version]} what was published at {VERSION_NAMES[publisher.version]}"
            await peer.message(topic, payload, qos, expected=words)
    return f"{len(versions) ** 2} ways"


@MESSAGES.check("order", "Messages keep their order", "MQTT5-4.6.0-5", "MQTT311-4.6.0-6")
async def order(trial: Trial) -> str:
    """Do messages that are published in one go arrive in their order, and all of them?"""
    qos = trial.qos(1)
    count = min(IN_ORDER, trial.subject.announced.receive_maximum)
    topic = trial.topic()
    subscriber, publisher = await trial.clients(0, 0)
    await subscriber.subscribe(topic, qos=qos)
    identifiers = [publisher.packet_identifier() if qos else 0 for _ in range(count)]
    await publisher.send(
        *[
            Publish(topic, str(number).encode(), qos=qos, packet_identifier=identifier)
            for number, identifier in enumerate(identifiers)
        ]
    )
    for identifier in identifiers:
        await publisher.acknowledged(identifier, qos)
    came: list[bytes] = []
    for number in range(count):
        what = f"message {number + 1} of {count}"
        message = await subscriber.take(Publish, what, "MQTT5-4.5.0-1", "MQTT311-4.5.0-1")
        await subscriber.acknowledge(message)
        came.append(message.payload)
    if came != [str(number).encode() for number in range(count)]:
        seen = f"the order {' '.join(payload[:8].decode('ascii', 'replace') for payload in came)}"
        raise trial.wrong(seen, "as published", "MQTT5-4.6.0-5", "MQTT311-4.6.0-6")
    return f"{count} messages at QoS {qos}"


@MESSAGES.check("large", "A large payload", "MQTT5-4.2.0-1", "MQTT311-7.1.1-1", stage=Stage.MEASURED, times=3)
async def large(trial: Trial) -> str:
    """Does a payload of 256 KiB pass, or one of Maximum Packet Size where that is less?"""
    topic = trial.topic()
    qos = trial.qos(1)
    maximum = trial.subject.announced.maximum_packet_size
    size = min(LARGE, maximum - len(topic.encode()) - 16)  # fixed header, lengths, Packet Identifier, properties
    if size <= len(PAYLOAD):
        raise Lacking(f"the Server's Maximum Packet Size is {maximum}")
    payload = (PAYLOAD * (size // 256 + 1))[:size]
    subscriber, publisher = await trial.clients(0, 0)
    await subscriber.subscribe(topic, qos=qos)
    began = trio.current_time()
    try:
        await publisher.publish(topic, payload, qos)
        await subscriber.message(topic, payload, qos)
    except Wrong as wrong:
        limit = "a limit that it did not announce" if trial.version == MQTT_5_0 else "a limit of its own"
        wrong.advice = f"The Server may have {limit}; it said nothing against {size:,} bytes."
        raise
    kilobytes = 2 * size / 1000 / max(trio.current_time() - began, 1e-6)
    speed = f"{kilobytes:.0f} kB/s" if kilobytes < 1000 else f"{kilobytes / 1000:.0f} MB/s"
    return f"{size:,} bytes, {speed} there and back"


@MESSAGES.check(
    "properties",
    "Properties are passed on unaltered",
    "MQTT5-3.3.2-17",
    "MQTT5-3.3.2-18",
    "MQTT5-3.3.2-20",
    since=MQTT_5_0,
)
async def properties(trial: Trial) -> str:
    """Do User Properties, Content Type and what requests need come out as they went in?"""
    sent = Properties()
    sent.payload_format_indicator = 1
    sent.content_type = "text/plain"
    sent.response_topic = trial.topic("answers")
    sent.correlation_data = b"\x00\x01probe"
    sent.user_properties = [("b", "2"), ("a", "1"), ("b", "3")]
    topic = trial.topic()
    peer = await trial.connect()
    await peer.subscribe(topic)
    await peer.publish(topic, b"text", forwarded=forwarded_properties(sent))
    message = await peer.message(topic, b"text")
    came = publish_properties(message.forwarded)
    for name, statement in (
        ("user_properties", "MQTT5-3.3.2-17"),
        ("content_type", "MQTT5-3.3.2-20"),
        ("response_topic", "MQTT5-3.3.2-15"),
        ("correlation_data", "MQTT5-3.3.2-16"),
        ("payload_format_indicator", "MQTT5-3.3.2-4"),
    ):
        if getattr(came, name) != getattr(sent, name):
            title = name.replace("_", " ").title()
            if name == "user_properties" and sorted(came.user_properties) == sorted(sent.user_properties):
                statement = "MQTT5-3.3.2-18"
            raise Wrong(f"{title} {getattr(came, name)!r}", expected=f"{getattr(sent, name)!r}", statement=statement)
    return "User Properties in their order, Content Type, Response Topic, Correlation Data"


@MESSAGES.check("topic-alias", "Topic Aliases of ours are understood", "MQTT5-3.3.2-12", since=MQTT_5_0)
async def topic_alias(trial: Trial) -> str:
    """May we leave the topic out, from the first alias to the last that is allowed?"""
    maximum = trial.subject.announced.topic_alias_maximum
    if not maximum:
        raise Lacking("the Server's Topic Alias Maximum is 0")
    peer = await trial.connect()
    aliases = list(dict.fromkeys((1, maximum)))
    await peer.subscribe(*[trial.topic(str(alias)) for alias in aliases])
    for alias in aliases:
        topic = trial.topic(str(alias))
        for name in (topic, ""):
            payload = f"alias {alias}".encode()
            await peer.publish(name, payload, topic_alias=alias)
            await peer.message(topic, payload, 0, "MQTT5-3.3.2-12", expected=f"the message of Topic Alias {alias}")
    return f"1 and {maximum:,}" if maximum > 1 else "1"


@MESSAGES.check("unknown-alias", "A Topic Alias never set is refused", "MQTT5-4.13.1-1", since=MQTT_5_0)
async def unknown_alias(trial: Trial) -> str:
    """Is a PUBLISH without a topic, and with an alias that nothing is known of, a Protocol Error?"""
    if not trial.subject.announced.topic_alias_maximum:
        raise Skipped("the Server's Topic Alias Maximum is 0")
    peer = await trial.connect()
    await peer.send(encode_publish(b"", b"x", topic_alias=1))
    return await peer.closing(trial.grace, "that the connection is closed", "MQTT5-4.13.1-1")


@MESSAGES.check("message-expiry", "Messages expire", "MQTT5-3.3.2-5", "MQTT5-3.3.2-6", since=MQTT_5_0)
async def message_expiry(trial: Trial) -> str:
    """Is a message dropped that nobody fetched in time, and is the time it waited taken off the others?"""
    trial.want_seconds(EXPIRED + 1)
    trial.want_qos(1)
    topic = trial.topic()
    identifier = trial.subject.client_identifier()
    away = await trial.durable(identifier)
    await away.subscribe(topic, qos=1)
    await away.leave()
    publisher = await trial.connect()
    await publisher.publish(topic, b"short", 1, message_expiry_interval=EXPIRES)
    await publisher.publish(topic, b"long", 1, message_expiry_interval=1000)
    await trio.sleep(EXPIRED)
    back = await trial.durable(identifier)
    message = await back.take(Publish, "the message that has not expired", "MQTT5-4.5.0-1")
    await back.acknowledge(message)
    if message.payload == b"short":
        raise Wrong(
            f"a message with a Message Expiry Interval of {EXPIRES} s came after {EXPIRED} s",
            expected="that it is dropped",
            statement="MQTT5-3.3.2-5",
        )
    left = message.message_expiry_interval
    if not 990 <= left < 1000:
        seen = f"Message Expiry Interval {left}" if left >= 0 else "no Message Expiry Interval"
        raise Wrong(seen, expected="997 or 998: 1000 less the time waited", statement="MQTT5-3.3.2-6")
    return f"dropped after {EXPIRES} s; 1000 s became {left} s"


@MESSAGES.check("receive-maximum-kept", "Our Receive Maximum is kept to", "MQTT5-3.3.4-9", since=MQTT_5_0)
async def receive_maximum(trial: Trial) -> str:
    """Does the Server wait for our acknowledgement when we say that we take one message at a time?"""
    trial.want_qos(1)
    announced = Properties()
    announced.receive_maximum = 1
    topic = trial.topic()
    subscriber = await trial.connect(properties=announced)
    publisher = await trial.connect()
    await subscriber.subscribe(topic, qos=1)
    for payload in (b"1", b"2"):
        await publisher.publish(topic, payload, 1)
    first = await subscriber.message(topic, b"1", 1, acknowledge=False)
    early = await subscriber.arriving(trial.grace)
    if early:
        raise Wrong(
            f"{1 + len(early)} messages unacknowledged", expected="1, our Receive Maximum", statement="MQTT5-3.3.4-9"
        )
    await subscriber.acknowledge(first)
    await subscriber.message(topic, b"2", 1, expected="the second message, behind our PUBACK")
    return "one message at a time"


@MESSAGES.check(
    "packet-size-kept", "Our Maximum Packet Size is kept to", "MQTT5-3.1.2-24", "MQTT5-3.1.2-25", since=MQTT_5_0
)
async def packet_size(trial: Trial) -> str:
    """Is a message that is too large for us dropped, and do we get the next one?"""
    announced = Properties()
    announced.maximum_packet_size = SMALL
    topic = trial.topic()
    subscriber = await trial.connect(properties=announced)
    publisher = await trial.connect()
    qos = trial.qos(1)
    await subscriber.subscribe(topic, qos=qos)
    await publisher.publish(topic, bytes(SMALL), qos)
    await publisher.publish(topic, b"small", qos)
    message = await subscriber.take(Publish, "the message that fits", "MQTT5-3.1.2-25")
    size = len(message.packet)
    if size > SMALL:
        raise Wrong(f"a packet of {size} bytes", expected=f"{SMALL} at most", statement="MQTT5-3.1.2-24")
    await subscriber.acknowledge(message)
    return f"{SMALL} bytes"
