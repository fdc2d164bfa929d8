"""Subscriptions: what a Topic Filter matches, at which QoS, for whom, and what may be asked with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.client.errors import describe as describe_reason
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Publish, SubscriptionRequest
from broker.probe.check import Group
from broker.probe.verdict import Lacking, Skipped, Wrong

if TYPE_CHECKING:
    from broker.probe.peer import Peer
    from broker.probe.trial import Trial

SUBSCRIPTIONS: Final = Group("subscriptions")
SHARED_MESSAGES: Final = 20
NAMED_AT: Final = (  # topics with which Servers say who they are
    "$SYS/broker/version",
    "$SYS/broker/uptime",
    "$SYS/brokers/+/version",
    "$SYS/brokers/+/sysdescr",
)
SYS_SECONDS: Final = 1.0


async def _behind(publisher: Peer, *peers: Peer, topic: str) -> None:
    """Publish a last message to `topic`, and wait until each of `peers` has it: what came before it has come."""
    await publisher.publish(topic, b"behind")
    for peer in peers:
        await peer.take(
            Publish,
            f"the message on {topic!r}",
            "MQTT5-4.5.0-1",
            "MQTT311-4.5.0-1",
            where=lambda publish: publish.topic == topic,
        )


@SUBSCRIPTIONS.check("granted-qos", "The lesser QoS counts", "MQTT5-3.8.4-8", "MQTT311-3.8.4-6")
async def granted_qos(trial: Trial) -> str:
    """Is a message delivered at the lesser of the QoS published and the QoS granted?"""
    publisher = await trial.connect()
    tried: list[str] = []
    for wanted in (0, 1, 2):
        subscriber = await trial.connect()
        topic = trial.topic(str(wanted))
        granted = (await subscriber.subscribe(topic, qos=wanted))[0]
        if granted > wanted:
            raise trial.wrong(
                f"SUBACK grants QoS {granted} where {wanted} is asked for",
                f"{wanted} or less",
                "MQTT5-3.8.4-7",
                "MQTT311-3.8.4-5",
            )
        for qos in (0, trial.qos(2)):
            await publisher.publish(topic, b"x", qos)
            await subscriber.message(topic, b"x", min(qos, granted))
        tried.append(f"{trial.qos(2)}→{min(granted, trial.qos(2))}")
    return ", ".join(tried)


@SUBSCRIPTIONS.check("plus", "The wildcard +", "MQTT5-4.7.1-2", "MQTT311-4.7.1-3")
async def plus(trial: Trial) -> str:
    """Does + stand for one level, and no more and no fewer?"""
    if not trial.subject.announced.wildcard_subscription_available:
        raise Lacking("wildcards are announced as not available")
    matching = [trial.topic("a", "b"), trial.topic("", "b")]
    others = [trial.topic("b"), trial.topic("a", "c"), trial.topic("a", "b", "c")]
    return await _match(trial, trial.topic("+", "b"), matching, others)


@SUBSCRIPTIONS.check("hash", "The wildcard #", "MQTT5-4.7.1-1", "MQTT311-4.7.1-2")
async def hash_(trial: Trial) -> str:
    """Does # stand for all levels below, and for their parent?"""
    if not trial.subject.announced.wildcard_subscription_available:
        raise Lacking("wildcards are announced as not available")
    matching = [trial.topic("a"), trial.topic("a", "b"), trial.topic("a", "b", "c")]
    return await _match(trial, trial.topic("a", "#"), matching, [trial.topic("b"), trial.topic("ab")])


async def _match(trial: Trial, topic_filter: str, matching: list[str], others: list[str]) -> str:
    subscriber, publisher = await trial.clients(0, 0)
    await subscriber.subscribe(topic_filter)
    end = trial.topic("end")
    await subscriber.subscribe(end)
    for topic in (*others, *matching):
        await publisher.publish(topic, topic.encode())
    await _behind(publisher, subscriber, topic=end)
    ids = ("MQTT5-3.3.2-3", "MQTT311-3.3.2-3")
    came = {message.topic for message in await subscriber.arriving(trial.grace)}
    for topic in others:
        if topic in came:
            raise trial.wrong(f"{topic_filter!r} matches {topic!r}", "that it does not", *ids)
    for topic in matching:
        if topic not in came:
            raise trial.wrong(f"{topic_filter!r} does not match {topic!r}", "that it does", *ids)
    return f"{len(matching)} topics match, {len(others)} do not"


@SUBSCRIPTIONS.check(
    "dollar",
    "Wildcards do not match $ topics",
    "MQTT5-4.7.2-1",
    "MQTT311-4.7.2-1",
    matters="Who subscribes to # gets the Server's own figures among the messages of others.",
)
async def dollar(trial: Trial) -> str:
    """Are $ topics kept from who subscribes to everything?

    A filter that begins with + shows it. With 5.0 the filter # is tried too, for a moment and without retained
    messages: on a busy Server it gets everything there is.
    """
    if not trial.subject.announced.wildcard_subscription_available:
        raise Skipped("wildcards are announced as not available")
    topic = f"${trial.topic()}"
    below = topic.partition("/")[2]
    watcher, greedy, publisher = await trial.clients(0, 0, 0)
    seen_directly = False
    requests: list[str | SubscriptionRequest] = [f"+/{below}"]
    if trial.version == MQTT_5_0:
        requests.append(SubscriptionRequest("#", retain_handling=2))
    try:
        await watcher.subscribe(topic)
        seen_directly = True
    except Lacking:  # then only $SYS is left to be looked for
        pass
    reasons = await greedy.subscribe(*requests, refusable=False)
    if all(reason >= 0x80 for reason in reasons):
        raise Lacking(f"such a SUBSCRIBE is refused: {describe_reason(reasons[0])}")
    try:
        await publisher.publish(topic, b"x")
    except Lacking:
        seen_directly = False
    came = [message.topic for message in await greedy.arriving(trial.grace) if message.topic.startswith("$")]
    if came:
        raise trial.wrong(f"a message on {came[0]!r}", "none that begins with $", "MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
    tried = "+ and #" if len(reasons) > 1 and reasons[-1] < 0x80 else "+"
    reached = seen_directly and bool(await watcher.arriving(0.05))
    return (
        f"{tried}: no match"
        if reached
        else f"{tried}: no match, as far as can be seen: this Server takes no $ topics of ours"
    )


@SUBSCRIPTIONS.check("unsubscribe", "UNSUBSCRIBE ends a Subscription", "MQTT5-3.10.4-2", "MQTT311-3.10.4-2")
async def unsubscribe(trial: Trial) -> str:
    """Does nothing come after UNSUBACK, and everything again after the next SUBSCRIBE?"""
    topic, other = trial.topic("ended"), trial.topic("other")
    subscriber, publisher = await trial.clients(0, 0)
    await subscriber.subscribe(topic)
    await subscriber.subscribe(other)
    await subscriber.unsubscribe(topic)
    await publisher.publish(topic, b"late")
    await _behind(publisher, subscriber, topic=other)
    if await subscriber.arriving(trial.grace):
        raise trial.wrong("a message after UNSUBACK", "nothing", "MQTT5-3.10.4-2", "MQTT311-3.10.4-2")
    await subscriber.subscribe(topic)
    await publisher.publish(topic, b"again")
    await subscriber.message(topic, b"again")
    return "nothing comes behind it, and everything after the next SUBSCRIBE"


@SUBSCRIPTIONS.check("no-local", "No Local keeps our own messages from us", "MQTT5-3.8.3-3", since=MQTT_5_0)
async def no_local(trial: Trial) -> str:
    """Can a bridge keep its own messages from coming back?"""
    topic = trial.topic()
    ours, other = await trial.clients(0, 0)
    await ours.subscribe(SubscriptionRequest(topic, no_local=True))
    await ours.publish(topic, b"ours")
    await ours.ping()
    await other.publish(topic, b"another's")
    message = await ours.take(Publish, "the message of another Client", "MQTT5-4.5.0-1")
    if message.payload == b"ours":
        raise Wrong("our own message came back", expected="those of others alone", statement="MQTT5-3.8.3-3")
    return "those of others alone"


@SUBSCRIPTIONS.check("subscription-identifiers", "Subscription Identifiers come back", "MQTT5-3.3.4-3", since=MQTT_5_0)
async def subscription_identifiers(trial: Trial) -> str:
    """Does each message say which Subscriptions it came for?"""
    if not trial.subject.announced.subscription_identifier_available:
        raise Lacking("announced as not available")
    topic = trial.topic("a")
    peer = await trial.connect()
    await peer.subscribe(topic, identifier=268_435_455)
    wanted = [268_435_455]
    if trial.subject.announced.wildcard_subscription_available:
        await peer.subscribe(trial.topic("#"), identifier=7)
        wanted = [7, 268_435_455]
    told = " and ".join(str(each) for each in wanted)
    await peer.publish(topic, b"x")
    # One copy with both of them, or two with one each: both are allowed [MQTT-3.3.4-4] [MQTT-3.3.4-5]
    found: list[int] = []
    while len(found) < len(wanted):
        message = await peer.take(Publish, f"a message with Subscription Identifiers {told}", "MQTT5-3.3.4-3")
        if not message.subscription_identifiers:
            raise Wrong(
                "a message without a Subscription Identifier",
                expected="those of the matching Subscriptions",
                statement="MQTT5-3.3.4-3",
            )
        found += message.subscription_identifiers
    if sorted(found) != wanted:
        raise Wrong(f"Subscription Identifiers {found}", expected=told, statement="MQTT5-3.3.4-3")
    return "of overlapping Subscriptions too" if len(wanted) > 1 else "those of one Subscription"


@SUBSCRIPTIONS.check("shared", "Shared Subscriptions", "MQTT5-4.8.2-1")
async def shared(trial: Trial) -> str:
    """Does each message go to one member of a group, and to all others as ever?"""
    group = f"$share/probe/{trial.topic()}"
    first = await trial.connect()
    if not trial.subject.announced.shared_subscription_available:
        return await _shared_refused(first, group)
    second, outsider, publisher = await trial.clients(0, 0, 0)
    for member in (first, second):
        await member.subscribe(group)
    await outsider.subscribe(trial.topic())
    for number in range(SHARED_MESSAGES):
        await publisher.publish(trial.topic(), str(number).encode())
    everything = await outsider.arriving(trial.grace, SHARED_MESSAGES)
    shares = [len(await member.arriving(trial.grace if member is first else 0.05)) for member in (first, second)]
    if len(everything) != SHARED_MESSAGES:
        raise trial.wrong(
            f"{len(everything)} of {SHARED_MESSAGES} messages for an ordinary Subscription",
            "all of them",
            "MQTT5-4.5.0-1",
            "MQTT311-4.5.0-1",
        )
    told = f"{SHARED_MESSAGES} messages, {shares[0]} and {shares[1]} to the two members"
    if trial.version != MQTT_5_0 and not any(shares):
        raise Lacking("$share is an ordinary topic here, as it is before 5.0")
    if sum(shares) != SHARED_MESSAGES:
        raise trial.wrong(told, f"{SHARED_MESSAGES} in all", "MQTT5 section 4.8.2")
    if not all(shares):
        trial.advice.append("One member got everything, which is legal: the Server prefers one while it can.")
    return told


async def _shared_refused(peer: Peer, group: str) -> str:
    """What is announced as not available must be refused when asked for."""
    try:
        reasons = await peer.subscribe(group, refusable=False)
    except Wrong as wrong:
        if peer.reason == ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED or peer.ended:
            raise Lacking(f"not available; asking for one: {wrong.text}") from wrong
        raise
    if reasons[0] < 0x80:
        raise Wrong(
            "announced as not available, and granted",
            expected="0x9E shared subscriptions not supported",
            statement="MQTT5 section 3.2.2.3.13",
        )
    raise Lacking(f"not available, and refused: {describe_reason(reasons[0])}")


@SUBSCRIPTIONS.check("system-topics", "$SYS tells who the Server is")
async def system_topics(trial: Trial) -> str:
    """Which Server is it, and for how long has it been running?"""
    peer = await trial.connect()
    wild = trial.subject.announced.wildcard_subscription_available
    reasons = await peer.subscribe(*(topic for topic in NAMED_AT if wild or "+" not in topic), refusable=False)
    if all(reason >= 0x80 for reason in reasons):
        raise Lacking(f"not readable: {describe_reason(reasons[0])}")
    came: dict[str, str] = {}
    seconds = trial.grace
    for _ in range(2):  # what is retained comes at once; others publish now and then
        for message in await peer.arriving(min(seconds, max(0.0, trial.remaining - 0.1))):
            came[message.topic] = message.payload[:200].decode("utf-8", "replace")
        if came:
            break
        seconds = SYS_SECONDS
    versions = [text for topic, text in sorted(came.items()) if topic.endswith(("/sysdescr", "/version"))]
    if not versions:
        raise Lacking("no version there")
    trial.subject.name = " ".join(versions)
    uptime = came.get("$SYS/broker/uptime")
    return trial.subject.name + (f", up for {uptime}" if uptime else "")
