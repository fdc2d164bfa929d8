"""What a CONNACK tells a 5.0 Client: everything that is not the standard's default (section 3.2.2.3); and the Keep
Alive that comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.authenticating import success
from broker.packets.types import Properties

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.packets.types import Connect


def connack_properties(connection: Connection, connect: Connect, assigned: str, expiry_interval: int) -> Properties:
    """The properties of a CONNACK with success. `assigned` is the Client Identifier that the Server has chosen, or "";
    `expiry_interval` the Session Expiry Interval in force, in seconds."""
    limits = connection.limits
    asked = connect.properties
    properties = Properties()
    if expiry_interval != connection.session_expiry_interval:
        properties.session_expiry_interval = expiry_interval
    if limits.receive_maximum != 65535:
        properties.receive_maximum = limits.receive_maximum
    if limits.maximum_qos < 2:
        properties.maximum_qos = limits.maximum_qos
    if not limits.retain_available:
        properties.retain_available = 0
    properties.maximum_packet_size = limits.maximum_packet_size
    if assigned:
        properties.assigned_client_identifier = assigned  # [MQTT-3.2.2-16]
    if limits.topic_alias_maximum:
        properties.topic_alias_maximum = limits.topic_alias_maximum
    if not limits.wildcard_subscription_available:
        properties.wildcard_subscription_available = 0
    if not limits.subscription_identifier_available:
        properties.subscription_identifier_available = 0
    if not limits.shared_subscription_available:
        properties.shared_subscription_available = 0
    maximum = limits.server_keep_alive_maximum
    if maximum and (connect.keep_alive == 0 or connect.keep_alive > maximum):
        properties.server_keep_alive = maximum
    if connection.method:
        enhanced = success(connection.method, connection.grant)
        properties.authentication_method = enhanced.authentication_method
        properties.authentication_data = enhanced.authentication_data
    if asked.request_response_information == 1 and limits.response_information:
        properties.response_information = limits.response_information
    return properties


def settle_keep_alive(connection: Connection, connect: Connect, now: float) -> None:
    """Keep Alive as asked, or as the Server tells a 5.0 Client [MQTT-3.2.2-21]."""
    seconds = connect.keep_alive
    maximum = connection.limits.server_keep_alive_maximum
    if connect.version == 5 and maximum and (seconds == 0 or seconds > maximum):
        seconds = maximum
    connection.keep_alive_seconds = seconds * connection.limits.keep_alive_grace
    if connection.keep_alive_seconds:
        connection.broker.keep_alive.add(connection, now + connection.keep_alive_seconds)
