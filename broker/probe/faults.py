"""What no Client may send: a Server that lets it pass hides the mistakes of its Clients, and may trip over them.

Each is sent behind a good CONNECT, by hand, since our own encoder refuses it. Closing is the right answer to all of
them; 5.0 says why with a DISCONNECT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.client.errors import describe as describe_reason
from broker.packets.encode import encode, encode_publish
from broker.packets.types import MQTT_5_0, Publish, Suback
from broker.packets.wire import string, variable_byte_integer
from broker.probe.check import Group
from broker.probe.verdict import Wrong

if TYPE_CHECKING:
    from broker.probe.trial import Trial

FAULTS: Final = Group("faults", "Good Clients notice nothing of it; the mistakes of others stay hidden.")
CLOSED: Final = "that the connection is closed"


@FAULTS.check("wildcard-topic", "PUBLISH to a topic with a wildcard", "MQTT5-3.3.2-2", "MQTT311-3.3.2-2")
async def wildcard_topic(trial: Trial) -> str:
    """Is a message to all topics at once refused?"""
    peer = await trial.connect()
    await peer.send(encode_publish(trial.topic("+").encode(), b"x", version=peer.version))
    return await peer.closing(trial.grace, CLOSED, "MQTT5-3.3.2-2", "MQTT311-3.3.2-2")


@FAULTS.check("empty-topic", "PUBLISH without a topic", "MQTT5-4.7.3-1", "MQTT311-4.7.3-1")
async def empty_topic(trial: Trial) -> str:
    """Is a message to nowhere refused?"""
    peer = await trial.connect()
    await peer.send(encode_publish(b"", b"x", version=peer.version))
    return await peer.closing(trial.grace, CLOSED, "MQTT5-4.7.3-1", "MQTT311-4.7.3-1")


@FAULTS.check("wrong-filter", "SUBSCRIBE with # in the middle", "MQTT5-4.7.1-1", "MQTT311-4.7.1-2")
async def wrong_filter(trial: Trial) -> str:
    """Is a Topic Filter that is none refused, by a Reason Code or a close?"""
    peer = await trial.connect()
    body = peer.packet_identifier().to_bytes(2, "big") + (b"\0" if peer.version == MQTT_5_0 else b"")
    body += string(trial.topic("#", "b")) + b"\0"
    await peer.send(b"\x82" + variable_byte_integer(len(body)) + body)
    ids = ("MQTT5-4.7.1-1", "MQTT311-4.7.1-2")
    expected = "a refusal or a close"
    try:
        suback = await peer.take(Suback, expected, *ids)
    except Wrong:
        if not peer.ended:
            raise
        return await peer.closing(trial.grace, expected, *ids)
    if any(reason < 0x80 for reason in suback.reasons):
        raise peer.wrong("it is granted", expected, *ids)
    return f"SUBACK {describe_reason(suback.reasons[0])}"


@FAULTS.check("qos-3", "PUBLISH at QoS 3", "MQTT5-3.3.1-4", "MQTT311-3.3.1-4")
async def qos_3(trial: Trial) -> str:
    """Is a malformed packet recognized?"""
    peer = await trial.connect()
    packet = bytearray(encode(Publish(trial.topic(), b"x", qos=2, packet_identifier=1), peer.version))
    packet[0] |= 0x06
    await peer.send(bytes(packet))
    return await peer.closing(trial.grace, CLOSED, "MQTT5-3.3.1-4", "MQTT311-3.3.1-4")


@FAULTS.check("reserved-flags", "PINGREQ with flags that are reserved", "MQTT5-2.1.3-1", "MQTT311-2.2.2-2")
async def reserved_flags(trial: Trial) -> str:
    """Is the fixed header looked at?"""
    peer = await trial.connect()
    await peer.send(b"\xc5\x00")
    return await peer.closing(trial.grace, CLOSED, "MQTT5-2.1.3-1", "MQTT311-2.2.2-2")


@FAULTS.check("not-connect", "A first packet that is no CONNECT", "MQTT5-3.1.0-1", "MQTT311-3.1.0-1")
async def not_connect(trial: Trial) -> str:
    """Is a Client that has not said who it is kept out?"""
    peer = await trial.open()
    await peer.send(encode_publish(trial.topic().encode(), b"x", version=peer.version))
    return await peer.closing(trial.grace, CLOSED, "MQTT5-3.1.0-1", "MQTT311-3.1.0-1")


@FAULTS.check("second-connect", "A second CONNECT", "MQTT5-3.1.0-2", "MQTT311-3.1.0-2")
async def second_connect(trial: Trial) -> str:
    """Is a Client that says who it is twice shown the door?"""
    peer = await trial.connect()
    await peer.send(trial.packet(peer.version))
    return await peer.closing(trial.grace, CLOSED, "MQTT5-3.1.0-2", "MQTT311-3.1.0-2")
