"""Who the Client is: from CONNECT through any number of AUTH packets to a Grant or a refusal (sections 3.1 and 4.12).

An Authenticator answers at once or is awaited by the transport, which then calls `Connection.authenticated`. What it
answers is met here: before the CONNACK, and again where a 5.0 Client re-authenticates (section 4.12.1), during which
everything else goes on under the old Grant.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from broker.core.deadlines import GRANT_EXPIRY
from broker.core.grants import Grant
from broker.core.ports import Challenge, Refusal
from broker.packets.encode import encode
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import Auth, Properties

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.core.connection import Connection
    from broker.core.ports import Answer
    from broker.packets.types import Connect


def ask(connection: Connection, connect: Connect, now: float) -> None:
    """Put a CONNECT that is right in itself before the Authenticator."""
    authenticator = connection.broker.authenticator
    method = connect.properties.authentication_method
    if method is not None:
        if method not in getattr(authenticator, "methods", ()):
            connection.refuse(ReasonCode.BAD_AUTHENTICATION_METHOD, method, now)
            return
        connection.method = method
    heard(connection, authenticator.authenticate(connect, connection.peer), now)


def heard(connection: Connection, answer: Answer | Awaitable[Answer], now: float) -> None:
    """An Authenticator has answered, or wants to be awaited."""
    if isinstance(answer, Grant | Refusal | Challenge):
        connection.authenticated(answer, now)
    else:
        connection.waiting = answer


def on_auth(connection: Connection, packet: Auth, now: float) -> None:
    """AUTH (section 3.15)."""
    properties = packet.properties
    if not connection.method:
        # Without an Authentication Method in CONNECT the Client must not send AUTH [MQTT-4.12.0-7].
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "AUTH without an Authentication Method")
    if properties.authentication_method != connection.method:
        raise ProtocolError(
            ReasonCode.PROTOCOL_ERROR, "another Authentication Method"
        )  # [MQTT-4.12.0-5, MQTT-4.12.1-1]
    if connection.waiting is not None:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "AUTH before the answer to the last one")
    data = properties.authentication_data or b""
    exchange = connection.exchange
    if packet.reason == ReasonCode.RE_AUTHENTICATE:
        if connection.connect is not None or exchange is not None:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "re-authentication in an authentication")
        again = getattr(connection.broker.authenticator, "reauthenticate", None)
        if again is None:
            raise ProtocolError(ReasonCode.NOT_AUTHORIZED, "the method can't authenticate again")
        heard(connection, again(connection.grant, connection.method, data, connection.peer), now)
        return
    if exchange is None:
        raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "AUTH without a challenge")
    connection.exchange = None
    heard(connection, exchange.go_on(data), now)


def answered(connection: Connection, answer: Answer, now: float) -> None:
    """What the Authenticator said of a Client that has no CONNACK yet."""
    connect = connection.connect
    if connect is None:
        return
    if isinstance(answer, Refusal):
        connection.refuse(answer.reason, answer.detail, now)
        return
    if isinstance(answer, Challenge):
        if not connection.method:
            connection.refuse(ReasonCode.NOT_AUTHORIZED, "a challenge without an Authentication Method", now)
            return
        if _challenge(connection, answer, now):
            connection.decoder.challenge()
        return
    connection.grant = answer
    connection.may_publish_anything = answer.everything
    will = connect.will
    if will is not None and not answer.everything:
        reason = answer.publish(will.topic, will.qos, will.retain)
        if reason >= 0x80:
            connection.refuse(ReasonCode.NOT_AUTHORIZED, f"Will Message to {will.topic}", now)
            return
    refusal = connection.broker.connect(connection, connect, now)
    if refusal is not None:
        connection.refuse(refusal.reason, refusal.detail, now)
        return
    _remember_expiry(connection, answer)


def answered_again(connection: Connection, answer: Answer, now: float) -> None:
    """What it said of one that is connected. A refusal ends the connection [MQTT-4.12.1-2]."""
    if isinstance(answer, Challenge):
        _challenge(connection, answer, now)
        return
    if isinstance(answer, Refusal):
        connection.end(answer.reason, answer.detail, now)
        return
    if answer.principal != connection.grant.principal:
        connection.end(ReasonCode.NOT_AUTHORIZED, "authenticated as somebody else", now)
        return
    if _say(connection, Auth(ReasonCode.SUCCESS, success(connection.method, answer)), now):
        regrant(connection, answer)


def regrant(connection: Connection, grant: Grant) -> None:
    """From now on the Client may do what `grant` says, and has delivered to it what that lets through."""
    connection.grant = grant
    connection.may_publish_anything = grant.everything
    session = connection.session
    if session is not None:
        session.guard = None if grant.everything else grant
    _remember_expiry(connection, grant)


def success(method: str, grant: Grant) -> Properties:
    """The properties that a successful enhanced authentication ends with."""
    properties = Properties()
    properties.authentication_method = method
    if grant.data:
        properties.authentication_data = grant.data
    return properties


def _challenge(connection: Connection, challenge: Challenge, now: float) -> bool:
    connection.exchange = challenge.exchange
    properties = Properties()
    properties.authentication_method = connection.method
    if challenge.data:
        properties.authentication_data = challenge.data
    return _say(connection, Auth(ReasonCode.CONTINUE_AUTHENTICATION, properties), now)


def _say(connection: Connection, packet: Auth, now: float) -> bool:
    """Send an AUTH; where it is larger than the Client can take, the connection ends."""
    data = encode(packet, 5)
    if connection.maximum_packet_size and len(data) > connection.maximum_packet_size:  # [MQTT-3.1.2-24]
        connection.fail(ProtocolError(ReasonCode.PACKET_TOO_LARGE, f"AUTH takes {len(data)} bytes"), now)
        return False
    connection.outbox.put(data)
    return True


def _remember_expiry(connection: Connection, grant: Grant) -> None:
    if grant.expires_at != math.inf:
        connection.broker.remember(grant.expires_at, GRANT_EXPIRY, connection)
