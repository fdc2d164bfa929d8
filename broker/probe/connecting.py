"""CONNECT: which versions are spoken, who is let in, and what the CONNACK of 5.0 announces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, Connack, Properties
from broker.probe import strangers
from broker.probe.check import Group, Stage
from broker.probe.peer import VERSION_NAMES, is_refusal_of_credentials, refusal
from broker.probe.trial import EXPIRY, KEEP_ALIVE, Trial
from broker.probe.verdict import Lacking, Skipped, Wrong

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTING: Final = Group("connect")
LIMITS: Final = Group("limits")
_CREDENTIALS: Final = "The Server wants to know who it is: give -u and --password-file, or others than these."


async def _accepted(trial: Trial, version: int) -> str:
    subject = trial.subject
    peer = await trial.open(version)
    try:
        properties = Properties()
        if version == MQTT_5_0:
            properties.session_expiry_interval = EXPIRY
            properties.request_response_information = 1
        # 5.0 lets the Server name us, and so tell whether it does
        identifier = "" if version == MQTT_5_0 and subject.identifier.startswith("probe") else None
        connect = trial.packet(version, client_identifier=identifier, properties=properties)
        connack = await peer.connect(connect)
        if connack.reason == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID and identifier == "":
            peer = await trial.open(version)
            connack = await peer.connect(trial.packet(version, properties=properties))
    except Wrong as wrong:
        if peer.frames is None and peer.began[:1] != b"\x20":
            subject.strange = True
            subject.spoken = strangers.language(peer.began)
        if peer.ended and not peer.fault and peer.reason is None:  # [MQTT-3.1.2-2]: an answer is not asked for
            raise Lacking(f"no CONNACK: {peer.ended}") from wrong
        raise
    if connack.reason == ReasonCode.SUCCESS:
        subject.accepted.add(version)
        if version == MQTT_5_0:
            subject.welcome(connack)
        if connack.session_present:
            seen = "Session Present 1 for a Client that wanted a new Session"
            raise peer.wrong(seen, "Session Present 0", "MQTT5-3.2.2-2", "MQTT311-3.2.2-1")
        return "accepted"
    subject.refused[f"mqtt-{VERSION_NAMES[version]}"] = refusal(connack, version)
    advice = ""
    if is_refusal_of_credentials(connack.reason):
        advice = _CREDENTIALS
    elif connack.properties.server_reference:
        advice = f"The Server names another: {connack.properties.server_reference}"
    raise Lacking(f"refused: {refusal(connack, version)}", advice=advice)


@CONNECTING.check("mqtt-5.0", "MQTT 5.0 is spoken", "MQTT5-3.1.4-5", since=MQTT_5_0, stage=Stage.VERSION)
async def mqtt_5_0(trial: Trial) -> str:
    """Does 5.0 get in?"""
    return await _accepted(trial, MQTT_5_0)


@CONNECTING.check("mqtt-3.1.1", "MQTT 3.1.1 is spoken", "MQTT311-3.1.4-4", stage=Stage.VERSION)
async def mqtt_3_1_1(trial: Trial) -> str:
    """Does 3.1.1, which most devices speak, get in?"""
    return await _accepted(trial, MQTT_3_1_1)


@CONNECTING.check("mqtt-3.1", "MQTT 3.1 is spoken", stage=Stage.VERSION)
async def mqtt_3_1(trial: Trial) -> str:
    """Does 3.1, which old devices speak, get in?"""
    try:
        return await _accepted(trial, MQTT_3_1)
    except Wrong as wrong:
        raise Lacking(wrong.text) from wrong  # no standard asks for 3.1


@CONNECTING.check("anonymous", "A Client without credentials")
async def anonymous(trial: Trial) -> str:
    """Is everybody let in?"""
    if trial.subject.user_name is None and trial.subject.password is None:
        return "let in"
    peer = await trial.open()
    connack = await peer.connect(trial.packet(peer.version, anonymous=True))
    if connack.reason == ReasonCode.SUCCESS:
        return "let in too: the credentials given here are not needed"
    if is_refusal_of_credentials(connack.reason):
        return f"refused, as it should be: {refusal(connack, peer.version)}"
    raise Lacking(f"refused: {refusal(connack, peer.version)}")


@CONNECTING.check("no-client-id", "A Client without a Client Identifier", "MQTT5-3.1.3-6", "MQTT311-3.1.3-6")
async def no_client_identifier(trial: Trial) -> str:
    """Does the Server name a Client that has no name?"""
    version = MQTT_3_1_1 if trial.version == MQTT_3_1 else trial.version
    if version not in trial.subject.versions:
        raise Skipped("of MQTT 3.1.1, which this Server does not speak")
    peer = await trial.connect(version, client_identifier="")
    if version != MQTT_5_0:
        return "accepted"
    assigned = peer.connack.properties.assigned_client_identifier
    if not assigned:
        raise Wrong(
            "accepted, and no Assigned Client Identifier",
            expected="an Assigned Client Identifier in CONNACK",
            statement="MQTT5-3.2.2-16",
        )
    return f"named {assigned}"


@CONNECTING.check("unknown-version", "A version that nobody speaks is refused", "MQTT5-3.1.2-2", "MQTT311-3.1.2-2")
async def unknown_version(trial: Trial) -> str:
    """Is a Protocol Version of the future refused, and the connection closed?"""
    peer = await trial.open(MQTT_5_0)  # whose decoder reads the refusals of earlier ones too
    packet = bytearray(encode(trial.packet(MQTT_3_1_1), MQTT_3_1_1))
    packet[packet.index(b"MQTT") + 4] = 9
    await peer.send(bytes(packet))
    ids = ("MQTT5-3.1.2-2", "MQTT311-3.1.2-2")
    try:
        connack = await peer.take(Connack, "a refusal or a close", *ids)
    except Wrong:
        if not peer.ended or peer.fault:
            raise
        return peer.ended
    if connack.reason == ReasonCode.SUCCESS:
        raise trial.wrong("accepted", "a refusal or a close", *ids)
    return refusal(connack, MQTT_5_0)


# -- What CONNACK announces


def _limit(name: str, title: str, read: Callable[[Properties], str], *statements: str) -> None:
    async def run(trial: Trial) -> str:
        connack = trial.subject.connack
        assert isinstance(connack, Connack)
        return read(connack.properties)

    LIMITS.check(name, title, *statements, since=MQTT_5_0)(run)


def _number(value: int | None, otherwise: str, unit: str = "") -> str:
    return otherwise if value is None else f"{value:,}{unit}"


def _availability(value: int | None) -> str:
    if value == 0:
        raise Lacking("announced as not available")
    return "available"


def _maximum_qos(properties: Properties) -> str:
    if properties.maximum_qos is not None:
        raise Lacking(f"QoS {properties.maximum_qos} at most")
    return "2"


def _topic_alias_maximum(properties: Properties) -> str:
    if not properties.topic_alias_maximum:
        raise Lacking("the Server takes no Topic Aliases")
    return f"{properties.topic_alias_maximum:,}"


def _session_expiry(properties: Properties) -> str:
    value = properties.session_expiry_interval
    if value is None:
        return f"as asked for ({EXPIRY} s)"
    if value < EXPIRY:
        raise Lacking(f"{value} s, where {EXPIRY} s were asked for")
    return f"{value:,} s, where {EXPIRY} s were asked for"


def _keep_alive(properties: Properties) -> str:
    value = properties.server_keep_alive
    return f"as asked for ({KEEP_ALIVE} s)" if value is None else f"{value:,} s, which Clients must use"


def _response_information(properties: Properties) -> str:
    if not properties.response_information:
        raise Lacking("none, though asked for")
    return properties.response_information


def _user_properties(properties: Properties) -> str:
    if not properties.user_properties:
        return "none"
    return ", ".join(f"{name}: {value}" for name, value in properties.user_properties)


def _assigned(properties: Properties) -> str:
    return properties.assigned_client_identifier or "none was asked for"


_limit("receive-maximum", "Receive Maximum", lambda said: _number(said.receive_maximum, "65,535 (not announced)"))
_limit("maximum-qos", "Maximum QoS", _maximum_qos)
_limit("retain-available", "Retain Available", lambda said: _availability(said.retain_available))
_limit(
    "maximum-packet-size",
    "Maximum Packet Size",
    lambda said: _number(said.maximum_packet_size, "no limit announced", " bytes"),
)
_limit("topic-alias-maximum", "Topic Alias Maximum", _topic_alias_maximum)
_limit(
    "wildcards-available",
    "Wildcard Subscription Available",
    lambda said: _availability(said.wildcard_subscription_available),
)
_limit(
    "identifiers-available",
    "Subscription Identifiers Available",
    lambda said: _availability(said.subscription_identifier_available),
)
_limit(
    "shared-available",
    "Shared Subscription Available",
    lambda said: _availability(said.shared_subscription_available),
)
_limit("session-expiry", "Session Expiry Interval", _session_expiry)
_limit("server-keep-alive", "Server Keep Alive", _keep_alive)
_limit("assigned-client-id", "Assigned Client Identifier", _assigned)
_limit("response-information", "Response Information", _response_information)
_limit("server-properties", "User Properties of the CONNACK", _user_properties)
