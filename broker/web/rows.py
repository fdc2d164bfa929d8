"""Clients, subscriptions and messages as JSON says them. Names and payloads are data: nothing here is markup.

A time is seconds since the epoch; what is not known, or not counted, is null.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, Final

from broker.core.connection import CONNECTED
from broker.core.message import NEVER
from broker.packets.properties import publish_properties

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.core.explaining import Account
    from broker.core.flight import Event
    from broker.core.message import ApplicationMessage
    from broker.core.session import Session
    from broker.core.subscriptions import Subscription
    from broker.packets.types import Will
    from broker.web.system import System

PREVIEW: Final = 4096  # bytes of a payload in a list
FOR_EVER: Final = 0xFFFFFFFF  # a Session Expiry Interval without end

_VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}
_USER: Final = "user:"  # begins the principal of whoever has proved who it is


def client(system: System, session: Session, now: float) -> dict[str, Any]:
    """One Session, with its connection if there is one; `now` is the time of the core."""
    connection = session.connection
    there = connection is not None and connection.state == CONNECTED
    subscriptions = session.subscriptions
    traffic = connection.traffic if connection is not None else None
    return {
        "client_identifier": session.client_identifier,
        "connected": there,
        "user": user_of(session),
        "address": connection.peer.address if connection is not None else None,
        "transport": connection.peer.transport if connection is not None else None,
        "listener": _listener(system, connection) if connection is not None else None,
        "version": _VERSIONS.get(connection.version) if connection is not None else None,
        "keep_alive_s": _keep_alive(connection) if connection is not None else None,
        "clean_start": connection.clean_start if connection is not None else None,
        "session_expiry_s": session.expiry_interval if session.expiry_interval != FOR_EVER else None,
        "connected_since": _wall(system, connection.accepted_at, now) if connection is not None else None,
        "disconnected_since": _wall(system, session.away_since, now) if connection is None else None,
        "subscriptions": len(subscriptions),
        "inflight": len(session.outgoing.unacknowledged) + len(session.outgoing.released),
        "queue_messages": session.queued_messages(),
        "queue_bytes": session.pending_bytes,
        "messages_received": traffic.messages_received if traffic is not None else None,
        "messages_sent": traffic.messages_sent if traffic is not None else None,
        "bytes_received": traffic.bytes_received if traffic is not None else None,
        "bytes_sent": traffic.bytes_sent if traffic is not None else None,
        "outbox_bytes": connection.outbox.size if connection is not None else 0,
        "dropped": session.dropped + (connection.dropped if connection is not None else 0),
        "rtt_ms": round_trip(connection),
    }


def round_trip(connection: Connection | None) -> float | None:
    """Milliseconds that the last WebSocket Ping and its Pong took."""
    seconds = connection.traffic.round_trip if connection is not None else -1.0
    return round(seconds * 1000, 3) if seconds >= 0 else None


def user_of(session: Session) -> str | None:
    """Who has proved to own the Session; where nobody has to, whom its CONNECT named."""
    if session.principal:
        return session.principal.removeprefix(_USER)
    connection = session.connection
    return (connection.grant.user_name or None) if connection is not None else None


def subscription(held: Subscription) -> dict[str, Any]:
    return {
        "client_identifier": held.session.client_identifier,
        "topic_filter": held.topic_filter,
        "share_name": held.share_name or None,
        "qos": held.maximum_qos,
        "no_local": held.no_local,
        "retain_as_published": held.retain_as_published,
        "subscription_identifier": held.identifier or None,
    }


def event(system: System, found: Event, now: float) -> dict[str, Any]:
    """An event of a flight record; `times` in a row, the last at `until`."""
    return {
        "time": _wall(system, found.at, now),
        "until": _wall(system, found.last, now),
        "times": found.times,
        "direction": found.direction,
        "packet": found.packet or None,
        "topic": found.topic or None,
        "qos": found.qos if found.qos >= 0 else None,
        "packet_identifier": found.identifier or None,
        "bytes": found.size if found.size >= 0 else None,
        "detail": found.detail,
    }


def account(system: System, found: Account, now: float) -> dict[str, Any]:
    """Why a message does or does not reach a Client."""
    return {
        "client_identifier": found.client_identifier,
        "topic": found.topic,
        "verdict": found.verdict,
        "text": found.text,
        "steps": [
            {"what": step.what, "outcome": "ok" if step.passed else "stop", "detail": step.detail}
            for step in found.steps
        ],
        "last": event(system, found.last, now) if found.last is not None else None,
    }


def will(message: Will) -> dict[str, Any]:
    return {
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "delay_s": message.delay_interval,
        "bytes": len(message.payload),
    }


def retained(system: System, message: ApplicationMessage, now: float, most: int = PREVIEW) -> dict[str, Any]:
    """A retained message with the first `most` bytes of its payload."""
    payload = message.payload
    return {
        "topic": message.topic,
        "qos": message.qos,
        "bytes": len(payload),
        "payload_base64": base64.b64encode(payload[:most]).decode("ascii"),
        "truncated": len(payload) > most,
        "stored_at": _wall(system, system.broker.retained.since(message.topic), now),
        "expires_at": _wall(system, message.expires_at, now) if message.expires_at != NEVER else None,
        "properties": _properties(message.forwarded),
    }


def _properties(forwarded: bytes) -> dict[str, Any]:
    found = publish_properties(forwarded)
    data = found.correlation_data
    said = {
        "payload_format_indicator": found.payload_format_indicator,
        "content_type": found.content_type,
        "response_topic": found.response_topic,
        "correlation_data_base64": base64.b64encode(data).decode("ascii") if data is not None else None,
        "user_properties": [list(pair) for pair in found.user_properties] or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _keep_alive(connection: Connection) -> int:
    return round(connection.keep_alive_seconds / connection.limits.keep_alive_grace)


def _listener(system: System, connection: Connection) -> str:
    return system.names.get(connection.peer.listener) or connection.peer.listener


def _wall(system: System, at: float, now: float) -> float | None:
    return round(system.clock() - now + at, 3) if math.isfinite(at) else None
