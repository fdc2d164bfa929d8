"""Plain counters, incremented where things happen, one set a transport.

Nothing here is a metric object: an integer attribute costs a tenth of one. Floor 3 turns these into `$SYS`, Prometheus
or JSON when somebody asks.
"""

from __future__ import annotations

from broker.core.latency import Histogram, Latency


class Traffic:
    """What has come and gone over one Network Connection, as TransportStats count it."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent", "round_trip")

    def __init__(self) -> None:
        self.messages_received = 0
        self.messages_sent = 0  # PUBLISH packets too
        self.bytes_received = 0
        self.bytes_sent = 0
        self.round_trip = -1.0  # seconds that the last WebSocket Ping and its Pong took; below 0 where there was none


class TransportStats:
    """What has come and gone over one kind of transport ("tcp", "ws", ...). Bytes are MQTT bytes, without framing."""

    def __init__(self) -> None:
        self.connections = 0  # Network Connections open now, connected or not
        self.connected = 0  # of them, those with a CONNACK
        self.accepted = 0  # Network Connections ever
        self.connects = 0  # CONNACKs with success
        self.refused = 0  # CONNACKs with a refusal, and connections that never sent a good CONNECT
        self.messages_received = 0  # Control Packets
        self.messages_sent = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.publish_received = 0
        self.publish_sent = 0
        self.publish_bytes_received = 0  # payload bytes
        self.publish_bytes_sent = 0
        self.latency = Latency()


class Stats:
    """Counters of the whole broker. `by_transport` holds a TransportStats for each transport ever seen."""

    def __init__(self) -> None:
        self.by_transport: dict[str, TransportStats] = {}
        self.transports: list[TransportStats] = []  # the same
        self.loop_lag = Histogram()  # how late what was due had its turn
        self.handshakes = 0  # Network Connections open that have no CONNACK yet
        # Network Connections closed at once, by the setting that says so
        self.turned_away = dict.fromkeys(
            ("connections", "connections_per_address", "max_connections", "trusted_proxies"), 0
        )
        # How often accepting has stopped for a while, and why
        self.kept_waiting = dict.fromkeys(("connects_per_second", "descriptors", "handshakes"), 0)
        self.clients_connected = 0
        self.clients_maximum = 0
        self.clients_expired = 0
        self.publish_dropped = 0  # messages dropped for one receiver, whatever the reason
        self.publish_refused = 0  # messages that a queue had no room for
        self.subscriptions = 0
        self.shared_subscriptions = 0
        self.subscriptions_refused = 0  # for want of room
        self.takeovers = 0
        self.owners_refused = 0  # CONNECTs, for a bound on the Sessions of one user
        self.clients_expelled = 0  # whose users are gone
        self.retained_taken_out = 0  # whose authors may not retain them any more
        self.over_rate = 0  # reads after which a Client was not read for a while, for it had sent too much
        self.queued_messages = 0  # waiting in Sessions
        self.queued_bytes = 0

    def transport(self, name: str) -> TransportStats:
        found = self.by_transport.get(name)
        if found is None:
            found = self.by_transport[name] = TransportStats()
            self.transports.append(found)
        return found

    def total(self) -> TransportStats:
        """The sum of the counters over all transports, as a new object."""
        result = TransportStats()
        for each in self.by_transport.values():
            result.connections += each.connections
            result.connected += each.connected
            result.accepted += each.accepted
            result.connects += each.connects
            result.refused += each.refused
            result.messages_received += each.messages_received
            result.messages_sent += each.messages_sent
            result.bytes_received += each.bytes_received
            result.bytes_sent += each.bytes_sent
            result.publish_received += each.publish_received
            result.publish_sent += each.publish_sent
            result.publish_bytes_received += each.publish_bytes_received
            result.publish_bytes_sent += each.publish_bytes_sent
        return result
