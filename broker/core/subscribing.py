"""SUBSCRIBE and UNSUBSCRIBE: from the request to the Session, the tree and the snapshot (sections 3.8 to 3.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.flight import SHOWN, some
from broker.core.journal import SUBSCRIPTIONS
from broker.core.limits import OVERFLOW_POLICIES
from broker.core.session import Snapshot
from broker.core.subscriptions import Delivery, Subscription, bytes_alone
from broker.packets.encode import encode
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import split_share
from broker.packets.types import Suback, Unsuback

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.core.session import Session
    from broker.packets.types import Subscribe, SubscriptionRequest, Unsubscribe


def subscribe(connection: Connection, packet: Subscribe, now: float) -> None:
    """Answer with one Reason Code a Topic Filter, in order [MQTT-3.8.4-6], then send what is retained."""
    session = connection.session
    assert session is not None
    _check_room(connection, len(packet.requests))
    properties = packet.properties
    identifier = properties.subscription_identifiers[0] if properties.subscription_identifiers else 0
    if identifier and not connection.limits.subscription_identifier_available:
        raise ProtocolError(ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "Subscription Identifiers are off")
    overflow = ""
    for name, value in properties.user_properties:
        if name == "overflow":
            if value not in OVERFLOW_POLICIES:
                known = ", ".join(OVERFLOW_POLICIES)
                raise ProtocolError(
                    ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, f"overflow is one of {known}, not {value[:40]!r}"
                )
            overflow = value
    snapshots: list[Snapshot] = []
    reasons = [
        _subscribe_one(connection, session, request, identifier, overflow, snapshots) for request in packet.requests
    ]
    answers = [
        f"{request.topic_filter} at QoS {reason}" if reason < 0x80 else f"{request.topic_filter} refused 0x{reason:02X}"
        for request, reason in zip(packet.requests[:SHOWN], reasons, strict=False)
    ]
    connection.broker.flights.of(session.client_identifier).decide(
        now, f"subscribed: {some(answers, len(reasons))}", packet.requests[0].topic_filter, reasons[0]
    )
    position = _position(connection, session)
    connection.acknowledge(encode(Suback(packet.packet_identifier, reasons), connection.version), position)
    if snapshots:
        for snapshot in snapshots:
            snapshot.position = position
        session.add_snapshots(snapshots)
        session.refill(now)


def _subscribe_one(
    connection: Connection,
    session: Session,
    request: SubscriptionRequest,
    identifier: int,
    overflow: str,
    snapshots: list[Snapshot],
) -> int:
    limits = connection.limits
    broker = connection.broker
    share_name, topic_filter = split_share(request.topic_filter)
    if share_name and not limits.shared_subscription_available:
        return _unavailable(connection, ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
    if ("+" in topic_filter or "#" in topic_filter) and not limits.wildcard_subscription_available:
        return _unavailable(connection, ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED)
    if not connection.grant.everything:
        reason = connection.grant.subscribe(topic_filter, request.maximum_qos)
        if reason >= 0x80:
            return reason
    old = session.subscriptions.get(request.topic_filter)
    if old is None and len(session.subscriptions) >= limits.subscriptions_per_session:
        return ReasonCode.QUOTA_EXCEEDED
    if old is None and not _has_room(connection, session, topic_filter, share_name or ""):
        return ReasonCode.QUOTA_EXCEEDED
    granted = min(request.maximum_qos, limits.maximum_qos)
    subscription = Subscription(
        session,
        topic_filter,
        share_name or "",
        granted,
        request.no_local,
        request.retain_as_published,
        identifier,
        overflow,
    )
    session.subscriptions[request.topic_filter] = subscription
    broker.subscriptions.add(subscription)
    if session.durable and broker.journal is not None:
        if old is not None:
            broker.journal.delete(SUBSCRIPTIONS, old)
        broker.journal.add(SUBSCRIPTIONS, subscription)
    if old is None:
        session.subscription_bytes += bytes_alone(topic_filter, share_name or "")
        broker.stats.subscriptions += 1
        if share_name:
            broker.stats.shared_subscriptions += 1
    # Retain Handling [MQTT-3.3.1-9, -10, -11]; never for a shared subscription (section 4.8.2)
    if not share_name and (request.retain_handling == 0 or (request.retain_handling == 1 and old is None)):
        identifiers = (identifier,) if identifier else ()
        delivery = Delivery(session, granted, False, identifiers, overflow, None, True)
        session.drop_snapshot(request.topic_filter)
        snapshots.append(Snapshot(request.topic_filter, broker.retained.read(topic_filter), delivery))
    return granted


def _has_room(connection: Connection, session: Session, topic_filter: str, share_name: str) -> bool:
    """Whether one more subscription is within the bounds of memory."""
    broker = connection.broker
    limits = connection.limits
    if session.subscription_bytes + bytes_alone(topic_filter, share_name) > limits.subscription_bytes_per_session:
        who = f"client id {session.client_identifier[:64]!a}"
        broker.notice("subscription_bytes_per_session", f"{who}: subscription_bytes_per_session is reached")
    elif broker.subscriptions.bytes + broker.subscriptions.more(topic_filter, share_name) > (
        broker.limits.subscription_bytes
    ):
        broker.notice("subscription_bytes", "[server] subscription_bytes is reached: SUBSCRIBE is refused")
    else:
        return True
    broker.stats.subscriptions_refused += 1
    return False


def _check_room(connection: Connection, count: int) -> None:
    """Before anything is changed: the answer with `count` Reason Codes must not be too large for the Client."""
    if connection.maximum_packet_size:
        size = len(encode(Suback(1, [0] * count), connection.version))  # an UNSUBACK is as large
        if size > connection.maximum_packet_size:  # [MQTT-3.1.2-24]
            raise ProtocolError(ReasonCode.PACKET_TOO_LARGE, f"the answer takes {size} bytes")


def _unavailable(connection: Connection, reason: ReasonCode) -> int:
    """What CONNACK said is not there: a protocol error for 5.0, a failure for 3.x, which was not told."""
    if connection.version == 5:
        raise ProtocolError(reason, "CONNACK said so")
    return ReasonCode.UNSPECIFIED_ERROR


def unsubscribe(connection: Connection, packet: Unsubscribe) -> None:
    """Take filters out, compared character by character [MQTT-3.10.4-1]; messages already queued still go out."""
    session = connection.session
    assert session is not None
    _check_room(connection, len(packet.topic_filters))
    reasons: list[int] = []
    for topic_filter in packet.topic_filters:
        if connection.broker.unsubscribe(session, topic_filter):
            reasons.append(ReasonCode.SUCCESS)
        else:
            reasons.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
    connection.broker.flights.of(session.client_identifier).decide(
        connection.last_received, f"unsubscribed: {some(packet.topic_filters)}", packet.topic_filters[0]
    )
    answer = encode(Unsuback(packet.packet_identifier, reasons), connection.version)
    connection.acknowledge(answer, _position(connection, session))


def _position(connection: Connection, session: Session) -> int:
    """What an answer waits for that tells of a durable Session's subscriptions."""
    journal = connection.broker.journal
    return journal.latest() if session.durable and journal is not None else 0
