"""Retained messages: kept, given to who comes later, marked as such, replaced, and gone when told so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.packets.types import MQTT_5_0, SubscriptionRequest
from broker.probe.check import Group
from broker.probe.verdict import Lacking, Wrong

if TYPE_CHECKING:
    from broker.probe.peer import Peer
    from broker.probe.trial import Trial

RETAINED: Final = Group(
    "retained", "Who starts late or starts again sees no state, an old one, or takes an old one for new."
)


async def _fresh(trial: Trial, topic: str) -> Peer:
    """A Client that has just subscribed."""
    peer = await trial.connect()
    await peer.subscribe(topic, qos=trial.qos(1))
    return peer


@RETAINED.check("retained-kept", "Kept, and given to who comes later", "MQTT5-3.3.1-5", "MQTT311-3.3.1-6")
async def retained_kept(trial: Trial) -> str:
    """Does a new subscriber get the last message, and only the last, with RETAIN 1?"""
    if not trial.subject.announced.retain_available:
        raise Lacking("announced as not available")
    topic = trial.topic()
    qos = trial.qos(1)
    publisher = await trial.connect()
    await trial.retain(publisher, topic, b"first")
    await trial.retain(publisher, topic, b"last")
    subscriber = await _fresh(trial, topic)
    await subscriber.message(
        topic,
        b"last",
        qos,
        "MQTT5-3.3.1-9",
        "MQTT311-3.3.1-6",
        retain=True,
        expected="the retained message for a new Subscription",
    )
    more = await subscriber.arriving(trial.grace)
    if more:
        seen = f"{1 + len(more)} retained messages for one topic"
        raise trial.wrong(seen, "the last one alone", "MQTT5-3.3.1-5", "MQTT311-3.3.1-5")
    return "the last one, with RETAIN 1"


@RETAINED.check("retained-live", "RETAIN 0 for those already there", "MQTT5-3.3.1-12", "MQTT311-3.3.1-9")
async def retained_live(trial: Trial) -> str:
    """Does who was there before get it as what it is, a new message?"""
    trial.want_retained()
    topic = trial.topic()
    subscriber = await _fresh(trial, topic)
    await trial.retain(await trial.connect(), topic, b"live")
    await subscriber.message(topic, b"live", trial.qos(1))
    return "RETAIN 0"


@RETAINED.check("retained-cleared", "An empty payload clears it", "MQTT5-3.3.1-6", "MQTT311-3.3.1-10")
async def retained_cleared(trial: Trial) -> str:
    """Can a retained message be taken away?"""
    trial.want_retained()
    topic, behind = trial.topic("gone"), trial.topic("there")
    publisher = await trial.connect()
    await trial.retain(publisher, topic, b"to go")
    await trial.retain(publisher, topic, b"")
    await trial.retain(publisher, behind, b"to stay")
    subscriber = await trial.connect()
    await subscriber.subscribe(topic, behind, qos=trial.qos(1))
    came = await subscriber.arriving(trial.grace, count=1)
    if any(message.topic == topic for message in came):
        empty = all(not message.payload for message in came if message.topic == topic)
        seen = "an empty retained message" if empty else "the message is retained still"
        ids = ("MQTT5-3.3.1-7", "MQTT311-3.3.1-11") if empty else ("MQTT5-3.3.1-6", "MQTT311-3.3.1-10")
        raise trial.wrong(seen, "nothing", *ids)
    if not came:
        raise trial.wrong(
            "another topic's retained message is gone too", "that it stays", "MQTT5-3.3.1-9", "MQTT311-3.3.1-6"
        )
    return "gone, and no other is"


@RETAINED.check(
    "retain-handling",
    "Retain Handling 1 and 2 are kept to",
    "MQTT5-3.3.1-10",
    "MQTT5-3.3.1-11",
    since=MQTT_5_0,
)
async def retain_handling(trial: Trial) -> str:
    """Can a subscriber say that it wants no retained messages, or only at first?"""
    trial.want_retained()
    topic = trial.topic()
    await trial.retain(await trial.connect(), topic, b"kept")
    never = await trial.connect()
    await never.subscribe(SubscriptionRequest(topic, retain_handling=2))
    once = await trial.connect()
    await once.subscribe(SubscriptionRequest(topic, retain_handling=1))
    await once.message(
        topic, b"kept", 0, "MQTT5-3.3.1-10", retain=True, expected="it for a new Subscription with Retain Handling 1"
    )
    await once.subscribe(SubscriptionRequest(topic, retain_handling=1))
    if await never.arriving(trial.grace):
        raise Wrong("it came with Retain Handling 2", expected="nothing", statement="MQTT5-3.3.1-11")
    if await once.arriving(trial.grace):
        raise Wrong(
            "it came again for the same Subscription, with Retain Handling 1",
            expected="nothing",
            statement="MQTT5-3.3.1-10",
        )
    return "never with 2, once with 1"


@RETAINED.check("retain-as-published", "Retain As Published is kept to", "MQTT5-3.3.1-13", since=MQTT_5_0)
async def retain_as_published(trial: Trial) -> str:
    """Can a bridge see which messages were published with RETAIN?"""
    trial.want_retained()
    topic = trial.topic()
    subscriber = await trial.connect()
    await subscriber.subscribe(SubscriptionRequest(topic, retain_as_published=True))
    await trial.retain(await trial.connect(), topic, b"with")
    message = await subscriber.message(topic, b"with", 0, "MQTT5-3.3.1-13", retain=True)
    assert message.retain
    return "RETAIN 1 stays 1"
