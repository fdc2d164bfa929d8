"""Every bound and every announced ability of the broker, as one plain object a listener.

`broker.config` fills it from the configuration file (same names, table `[limits]` and `[listeners.limits]`); the hot
path reads attributes. Units are bytes, seconds and counts. The defaults are those that ship; where a number is a
judgement and not the standard's, `docs/decisions/` says whose.
"""

from __future__ import annotations

from typing import Final

from broker.packets.decode import DecoderLimits

DROP_NEWEST: Final = "drop-newest"
DROP_OLDEST: Final = "drop-oldest"
LATEST: Final = "latest"
DISCONNECT: Final = "disconnect"
REJECT: Final = "reject"

STRICT: Final = "strict"
LENIENT: Final = "lenient"

OVERFLOW_POLICIES: Final = (DROP_NEWEST, DROP_OLDEST, LATEST, DISCONNECT)


class Limits:
    """Settings of one listener; see each attribute's comment. A fresh `Limits()` holds the defaults."""

    def __init__(self) -> None:
        # -- What CONNACK announces (MQTT 5.0 section 3.2.2.3), and 3.x obeys silently
        self.versions: tuple[int, ...] = (3, 4, 5)  # protocol levels accepted: 3 = 3.1, 4 = 3.1.1, 5 = 5.0
        self.maximum_qos = 2
        self.retain_available = True
        self.wildcard_subscription_available = True
        self.shared_subscription_available = True
        self.subscription_identifier_available = True
        self.receive_maximum = 32  # QoS 1/2 messages a 5.0 Client may have in flight to us
        self.maximum_packet_size = 1024 * 1024  # bytes, once connected
        self.topic_alias_maximum = 16  # aliases a Client may set
        self.server_keep_alive_maximum = (
            3600  # seconds; 5.0 Clients asking for more, or for 0, are told this; 0 = no cap
        )
        self.keep_alive = STRICT  # what is a sign of life: Control Packets, or WebSocket Pongs too: lenient
        self.keep_alive_grace = 1.5  # x Keep Alive without a packet ends the connection [MQTT-3.1.2-22]
        self.session_expiry_maximum = 7 * 86400  # seconds; also the life of a 3.x Session with Clean Session 0
        self.message_expiry_maximum = 0  # seconds; 0 = messages without an expiry live for ever
        self.zero_length_client_identifiers = True
        self.client_identifier_prefix = "auto-"  # of identifiers that the Server assigns
        self.client_identifier_maximum = 256  # bytes of UTF-8
        self.response_information = ""  # a topic prefix told to Clients that ask for Response Information; "" = none

        # -- Before CONNACK
        self.handshake_timeout = 5.0  # seconds from accept to CONNACK: TLS, HTTP, upgrade and CONNECT together
        self.connect_packet_size = 64 * 1024  # bytes, before CONNACK

        # -- Sizes of what a packet may hold
        self.topic_bytes = 4096
        self.topic_levels = 128
        self.properties_bytes = 8 * 1024  # of one packet
        self.user_properties = 64  # of one packet
        self.acknowledgement_bytes = 8 * 1024  # a PUBACK, PUBREC, PUBREL, PUBCOMP with properties
        self.subscriptions_per_packet = 1000  # Home Assistant sends 500 at once
        self.subscriptions_per_session = 10_000
        self.subscription_bytes_per_session = 64 * 1024 * 1024  # of memory, of which a level takes 360

        # -- How fast; above it a Client is not read for a while
        self.messages_per_second = 0  # PUBLISH packets of one Client; 0 = no bound
        self.bytes_per_second = 0  # of all that one Client sends; 0 = no bound

        # -- To the Client
        self.max_inflight = 32  # QoS 1/2 messages unacknowledged by a Client; its Receive Maximum if that is less
        self.outgoing_topic_alias_maximum = 16  # aliases that we set; the Client's Topic Alias Maximum if that is less
        self.queue_messages = 1000  # QoS 1/2 messages waiting in a Session whose Client is away
        self.queue_bytes = 16 * 1024 * 1024  # of such messages, whether the Client is away or slow
        self.queue_overflow = REJECT  # a full queue refuses the new message (0x97), or drops the oldest: drop-oldest
        self.outbox_soft_bytes = 1024 * 1024  # above it QoS 0 follows `overflow`, QoS 1/2 waits in the Session
        self.outbox_hard_bytes = 4 * 1024 * 1024  # above it the Connection ends with 0x97
        self.overflow = DROP_NEWEST  # of QoS 0: drop-newest, drop-oldest, latest, disconnect
        self.write_stall_timeout = 15.0  # seconds in which no byte leaves, with bytes waiting

        # -- WebSocket
        self.websocket_paths: tuple[str, ...] = ("/mqtt", "/")
        self.websocket_subprotocols: tuple[str, ...] = ("mqtt", "mqttv3.1")
        self.require_subprotocol = False
        self.origins: tuple[str, ...] = (
            "same-origin",
        )  # also "*" and exact origins; a request without Origin is let in
        self.websocket_ping_interval = 25.0  # seconds without traffic before the Server pings; 0 = never
        self.websocket_frame_bytes = 64 * 1024  # a flush is cut into frames of at most this payload
        self.websocket_fragments = 64  # of one message
        self.websocket_compression = False  # permessage-deflate (RFC 7692) with Clients that offer it
        self.websocket_context_takeover = False  # windows kept between messages: smaller, up to 80 KiB a Client

        # -- Sockets
        self.tcp_nodelay = True
        self.max_connections = 0  # of this listener; 0 = as many as file descriptors allow

    def of_decoder(self) -> DecoderLimits:
        """Those of them that the decoder has to know."""
        result = DecoderLimits()
        result.versions = self.versions
        result.connect_packet_size = self.connect_packet_size
        result.maximum_packet_size = self.maximum_packet_size
        result.topic_bytes = self.topic_bytes
        result.topic_levels = self.topic_levels
        result.properties_bytes = self.properties_bytes
        result.user_properties = self.user_properties
        result.acknowledgement_bytes = self.acknowledgement_bytes
        result.subscriptions_per_packet = self.subscriptions_per_packet
        result.client_identifier_maximum = self.client_identifier_maximum
        return result


class ServerLimits:
    """Bounds of the whole broker, shared by all listeners."""

    def __init__(self) -> None:
        self.retained_messages = 1_000_000
        self.retained_bytes = 1024 * 1024 * 1024
        self.sessions = 1_000_000
        self.connections = 0  # in all; 0 = as many as file descriptors allow
        self.connections_per_address = 2000  # an IPv4 address, or the /64 of an IPv6 one; 0 = no bound
        self.connects_per_second = 5000  # accepted on all listeners, twice as many at once; 0 = no bound
        self.handshakes = 4000  # accepted and without CONNACK yet; 0 = no bound
        self.sessions_per_user = 0  # of those that belong to one who has proved to be somebody; 0 = no bound
        self.buffered_bytes = 512 * 1024 * 1024  # in all outboxes and queues; above it publishers are not read
        self.subscription_bytes = 1024 * 1024 * 1024  # of memory, for the subscriptions of all Sessions
        self.flapping_connects = 0  # of one Client in a window, above which it is banned; 0 = nobody is
        self.flapping_window = 60.0  # seconds
        self.flapping_ban = 300.0  # seconds
        self.takeover_storm = 10  # takeovers of a Session in a minute from which on it is named; 0 = never
        # Resident bytes of the process; above them publishers are not read and nobody gets a new Session. 0 = no bound,
        # None = as the control group suggests.
        self.memory: int | None = None
        self.topic_cache = 16_384  # topics whose delivery plan is remembered
        self.sys_interval = 10.0  # seconds between updates of $SYS/broker/#; 0 = none
        self.shutdown_timeout = 5.0  # seconds to flush what is waiting at SIGTERM
