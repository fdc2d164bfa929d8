"""Sessions, Will Messages and Keep Alive: what happens while a Client is away, and how the Server notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, Publish, Will
from broker.probe.check import Group
from broker.probe.verdict import Skipped, Wrong

if TYPE_CHECKING:
    from broker.probe.peer import Peer
    from broker.probe.trial import Trial

SESSIONS: Final = Group("sessions")
SHORT_KEEP_ALIVE: Final = 1  # second
LATE: Final = 1.5 * SHORT_KEEP_ALIVE + 1  # seconds, for a Server that looks once a second


def _check_present(peer: Peer, present: bool) -> None:
    """3.1 has no such flag."""
    if peer.version != MQTT_3_1 and peer.connack.session_present is not present:
        ids = ("MQTT5-3.2.2-3", "MQTT311-3.2.2-2" if present else "MQTT311-3.2.2-3")
        raise peer.wrong(f"Session Present {not present:d}", f"Session Present {present:d}", *ids)


async def _message_for_one_away(trial: Trial, version: int) -> str:
    trial.want_qos(1)
    topic = trial.topic(str(version))
    identifier = trial.subject.client_identifier()
    first = await trial.durable(identifier, version)
    _check_present(first, False)
    await first.subscribe(topic, qos=1)
    await first.leave()
    publisher = await trial.connect(version)
    await publisher.publish(topic, b"while away", 1)
    back = await trial.durable(identifier, version)
    _check_present(back, True)
    ids = ("MQTT5-4.5.0-1", "MQTT311-3.1.2-5")
    await back.message(topic, b"while away", 1, *ids, expected="the message of the time away")
    return identifier


@SESSIONS.check(
    "session",
    "A Session is resumed",
    "MQTT5-3.1.2-5",
    "MQTT311-3.1.2-4",
    matters="What is sent while a Client is away is lost to it.",
)
async def session(trial: Trial) -> str:
    """Is a Client that was away known again, and does it get what it missed?"""
    versions = [version for version in (MQTT_5_0, MQTT_3_1_1) if version in trial.subject.versions]
    for version in versions or trial.subject.versions:
        await _message_for_one_away(trial, version)
    return "Session Present, and the message that was missed"


@SESSIONS.check("clean-start", "Clean Start forgets the Session", "MQTT5-3.1.2-4", "MQTT311-3.1.2-6")
async def clean_start(trial: Trial) -> str:
    """Can a Client begin anew, without what was there before?"""
    topic, other = trial.topic("old"), trial.topic("new")
    identifier = trial.subject.client_identifier()
    first = await trial.durable(identifier)
    await first.subscribe(topic)
    await first.leave()
    again = await trial.connect(client_identifier=identifier)
    await again.subscribe(other)
    await again.publish(topic, b"old")
    await again.publish(other, b"new")
    message = await again.take(Publish, "the message of the new Subscription", "MQTT5-4.5.0-1", "MQTT311-4.5.0-1")
    if message.topic == topic or await again.arriving(trial.grace):
        raise trial.wrong("the old Subscription is there still", "none", "MQTT5-3.1.2-4", "MQTT311-3.1.2-6")
    return "no Subscription is left"


@SESSIONS.check("redelivery", "What was not acknowledged comes again", "MQTT5-4.4.0-1", "MQTT311-4.4.0-1")
async def redelivery(trial: Trial) -> str:
    """Is a message lost when the connection is, before we have acknowledged it?"""
    trial.want_qos(1)
    topic = trial.topic()
    identifier = trial.subject.client_identifier()
    first = await trial.durable(identifier)
    await first.subscribe(topic, qos=1)
    publisher = await trial.connect()
    await publisher.publish(topic, b"again", 1)
    once = await first.message(topic, b"again", 1, acknowledge=False)
    await first.lose()
    back = await trial.durable(identifier)
    _check_present(back, True)
    ids = ("MQTT5-4.4.0-1", "MQTT311-4.4.0-1")
    twice = await back.message(topic, b"again", 1, *ids, expected="the message again")
    if not twice.dup:
        raise trial.wrong("DUP 0 in a PUBLISH that is sent again", "DUP 1", "MQTT5-3.3.1-1", "MQTT311-3.3.1-1")
    if twice.packet_identifier != once.packet_identifier:
        seen = f"Packet Identifier {twice.packet_identifier}"
        raise trial.wrong(seen, f"{once.packet_identifier}, as the first time", *ids)
    return "with DUP 1"


@SESSIONS.check(
    "takeover",
    "The same Client Identifier again",
    "MQTT5-3.1.4-3",
    "MQTT311-3.1.4-2",
    matters="A Client that is not told takes it for a lost network and comes back, and two of one name fight for ever.",
)
async def takeover(trial: Trial) -> str:
    """Does a Client that comes back before its old connection is noticed to be dead get in?"""
    identifier = trial.subject.client_identifier()
    first = await trial.connect(client_identifier=identifier)
    second = await trial.connect(client_identifier=identifier)
    ids = ("MQTT5-3.1.4-3", "MQTT311-3.1.4-2")
    words = await first.closing(trial.grace, "that the older connection is closed", *ids)
    if first.version == MQTT_5_0 and first.reason != ReasonCode.SESSION_TAKEN_OVER:
        raise trial.wrong(f"the older one: {words}", "DISCONNECT 0x8E session taken over", *ids)
    await second.ping()
    return f"the older one: {words}"


@SESSIONS.check(
    "will",
    "The Will Message is sent when a Client vanishes",
    "MQTT5-3.1.2-8",
    "MQTT311-3.1.2-8",
    matters="Nobody hears that a device has vanished.",
)
async def will(trial: Trial) -> str:
    """Do others hear that a device has vanished?"""
    topic = trial.topic()
    qos = trial.qos(1)
    watcher = await trial.connect()
    await watcher.subscribe(topic, qos=qos)
    device = await trial.connect(will=Will(topic, b"vanished", qos))
    await device.lose()
    ids = ("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
    began = trio.current_time()
    await watcher.message(topic, b"vanished", qos, *ids, expected="the Will Message")
    return f"after {(trio.current_time() - began) * 1000:.1f} ms"


@SESSIONS.check("will-discarded", "No Will Message behind a DISCONNECT", "MQTT5-3.1.2-10", "MQTT311-3.1.2-10")
async def will_discarded(trial: Trial) -> str:
    """May a device leave without an alarm?"""
    topic = trial.topic()
    watcher = await trial.connect()
    await watcher.subscribe(topic)
    device = await trial.connect(will=Will(topic, b"left"))
    await device.leave()
    if await watcher.arriving(trial.grace):
        ids = ("MQTT5-3.1.2-10", "MQTT311-3.1.2-10")
        raise trial.wrong("the Will Message was sent", "nothing", *ids)
    return "none is sent"


@SESSIONS.check("ping", "PINGREQ is answered", "MQTT5-3.12.4-1", "MQTT311-3.12.4-1")
async def ping(trial: Trial) -> str:
    """Does a quiet Client get its PINGRESP, and how soon?"""
    peer = await trial.connect()
    return f"{min([await peer.ping() for _ in range(5)]) * 1000:.2f} ms, the best of 5"


@SESSIONS.check(
    "keep-alive",
    "A silent Client is noticed",
    "MQTT5-3.1.2-22",
    "MQTT311-3.1.2-24",
    times=2,
    matters="Devices that vanish stay connected for the Server, and their Will Messages come late or never.",
)
async def keep_alive(trial: Trial) -> str:
    """Is a connection closed that has been silent for one and a half times its Keep Alive?"""
    trial.want_seconds(SHORT_KEEP_ALIVE * 3)
    began = trio.current_time()
    peer = await trial.connect(keep_alive=SHORT_KEEP_ALIVE)
    told = peer.connack.properties.server_keep_alive
    if told is not None and told != SHORT_KEEP_ALIVE:
        raise Skipped(f"the Server wants a Keep Alive of {told} s")
    while not peer.ended:
        if not await peer.read():
            raise peer.wrong(
                f"open still after {trio.current_time() - began:.1f} s of silence, with a Keep Alive of 1 s",
                "that it is closed after 1.5 s",
                "MQTT5-3.1.2-22",
                "MQTT311-3.1.2-24",
            )
    seconds = trio.current_time() - began
    if seconds < SHORT_KEEP_ALIVE:
        raise Wrong(f"closed after {seconds:.1f} s: {peer.ended}", expected="1.5 s", statement="MQTT5-3.2.2-22")
    if seconds > LATE:
        trial.advice.append("That is late: 1.5 s would be right. The Server looks now and then only.")
    return f"closed after {seconds:.1f} s, with a Keep Alive of {SHORT_KEEP_ALIVE} s"
