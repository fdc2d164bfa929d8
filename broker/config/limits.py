"""`[limits]` and `[server]`: what bounds a connection, and what bounds the whole broker.

Names and defaults are those of `broker.core.limits`, whose plain objects `build` fills.
"""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from broker.config import kinds
from broker.config.checks import ORDERED
from broker.config.kinds import Count, Number, Seconds, Size, WholeSeconds
from broker.config.table import Table
from broker.core.limits import DROP_NEWEST, REJECT, STRICT, Limits, ServerLimits

_LIMITS: Final = Limits()
_SERVER: Final = ServerLimits()

MAXIMUM_PACKET: Final = 268_435_455  # what Remaining Length can say (MQTT 5.0 section 2.1.4)
FOUR_BYTES: Final = 0xFFFF_FFFF
TWO_BYTES: Final = 0xFFFF


class LimitsConfig(Table):
    """`[limits]`, and `[listeners.limits]` for one listener: what CONNACK announces, and what bounds a connection."""

    versions: kinds.Versions = Field(
        default=_LIMITS.versions,
        description="MQTT versions that are let in.",
        json_schema_extra={"default": list(kinds.VERSIONS)},
    )
    maximum_qos: Count = Field(
        default=_LIMITS.maximum_qos,
        ge=0,
        le=2,
        description="Highest QoS that Clients may publish with and are granted.",
    )
    retain_available: bool = Field(
        default=_LIMITS.retain_available, description="Whether retained messages may be published."
    )
    wildcard_subscription_available: bool = Field(
        default=_LIMITS.wildcard_subscription_available, description="Whether Topic Filters may hold + and #."
    )
    shared_subscription_available: bool = Field(
        default=_LIMITS.shared_subscription_available, description="Whether $share/group/filter may be subscribed to."
    )
    subscription_identifier_available: bool = Field(
        default=_LIMITS.subscription_identifier_available,
        description="Whether 5.0 Subscriptions may carry an identifier.",
    )
    receive_maximum: Count = Field(
        default=_LIMITS.receive_maximum,
        ge=1,
        le=TWO_BYTES,
        description="QoS 1 and 2 messages that a 5.0 Client may have in flight to the broker at a time.",
    )
    maximum_packet_size: Size = Field(
        default=_LIMITS.maximum_packet_size,
        ge=128,
        le=MAXIMUM_PACKET,
        description="Largest packet that a connected Client may send.",
    )
    topic_alias_maximum: Count = Field(
        default=_LIMITS.topic_alias_maximum,
        ge=0,
        le=TWO_BYTES,
        description="Topic Aliases that a 5.0 Client may set; 0 = none.",
    )
    server_keep_alive_maximum: WholeSeconds = Field(
        default=_LIMITS.server_keep_alive_maximum,
        ge=0,
        le=TWO_BYTES,
        description="Longest Keep Alive: a 5.0 Client that asks for more, or for none, is told this; 0 = no cap.",
    )
    keep_alive: Literal["strict", "lenient"] = Field(
        default=STRICT,
        description="What shows that a Client lives: Control Packets, as the standard has it (`strict`), or the Pongs "
        "of its WebSocket as well (`lenient`), for pages in hidden tabs, whose timers browsers slow down.",
    )
    keep_alive_grace: Number = Field(
        default=_LIMITS.keep_alive_grace,
        ge=1,
        le=10,
        description="A connection ends when this many times its Keep Alive has passed without a packet; "
        "the standard says 1.5.",
    )
    session_expiry_maximum: WholeSeconds = Field(
        default=_LIMITS.session_expiry_maximum,
        ge=0,
        le=FOUR_BYTES,
        description="Longest life of a Session without a connection, and that of a 3.x Session with Clean Session 0.",
    )
    message_expiry_maximum: WholeSeconds = Field(
        default=_LIMITS.message_expiry_maximum,
        ge=0,
        le=FOUR_BYTES,
        description="Longest life of a message that waits or is retained; 0 = as long as its publisher says.",
    )
    zero_length_client_identifiers: bool = Field(
        default=_LIMITS.zero_length_client_identifiers,
        description="Whether a Client may leave its identifier empty and have one assigned.",
    )
    client_identifier_prefix: kinds.IdentifierPrefix = Field(
        default=_LIMITS.client_identifier_prefix, description="What the identifiers that the broker assigns begin with."
    )
    client_identifier_maximum: Count = Field(
        default=_LIMITS.client_identifier_maximum,
        ge=23,
        le=TWO_BYTES,
        description="Longest Client Identifier in bytes of UTF-8; the standard asks for 23 at least.",
    )
    response_information: kinds.ResponseInformation = Field(
        default=_LIMITS.response_information,
        description='Topic prefix told to 5.0 Clients that ask for Response Information; "" = none.',
    )
    handshake_timeout: Seconds = Field(
        default=_LIMITS.handshake_timeout,
        gt=0,
        le=3600,
        description="Time from accept to CONNACK, with everything between: HTTP, WebSocket upgrade and CONNECT. "
        "What a CONNACK waits for the disk does not count.",
    )
    connect_packet_size: Size = Field(
        default=_LIMITS.connect_packet_size,
        ge=128,
        le=MAXIMUM_PACKET,
        description="Largest CONNECT; when not set, no more than maximum_packet_size.",
    )
    topic_bytes: Size = Field(
        default=_LIMITS.topic_bytes, ge=1, le=TWO_BYTES, description="Longest Topic Name or Topic Filter, in UTF-8."
    )
    topic_levels: Count = Field(
        default=_LIMITS.topic_levels, ge=1, le=TWO_BYTES, description="Most levels of a Topic Name or Topic Filter."
    )
    properties_bytes: Size = Field(
        default=_LIMITS.properties_bytes, ge=1, le=MAXIMUM_PACKET, description="Most bytes of properties in one packet."
    )
    user_properties: Count = Field(
        default=_LIMITS.user_properties, ge=0, description="Most User Properties in one packet; 0 = none."
    )
    acknowledgement_bytes: Size = Field(
        default=_LIMITS.acknowledgement_bytes,
        ge=16,
        le=MAXIMUM_PACKET,
        description="Largest PUBACK, PUBREC, PUBREL or PUBCOMP from a 5.0 Client.",
    )
    subscriptions_per_packet: Count = Field(
        default=_LIMITS.subscriptions_per_packet,
        ge=1,
        description="Most Topic Filters in one SUBSCRIBE or UNSUBSCRIBE.",
    )
    subscriptions_per_session: Count = Field(
        default=_LIMITS.subscriptions_per_session, ge=1, description="Most Subscriptions of one Session."
    )
    messages_per_second: Count = Field(
        default=_LIMITS.messages_per_second,
        ge=0,
        description="Messages per second that one Client may publish, after a burst of one second's worth; one who "
        "sends more is read later and loses nothing; 0 = no bound.",
    )
    bytes_per_second: Size = Field(
        default=_LIMITS.bytes_per_second,
        ge=0,
        description="Bytes per second that one Client may send, in whatever packets, kept in the same way; 0 = no "
        "bound.",
    )
    subscription_bytes_per_session: Size = Field(
        default=_LIMITS.subscription_bytes_per_session,
        ge=1024,
        description="Most memory for the Subscriptions of one Session, a level of a Topic Filter counted with 360 "
        "bytes; more are refused with 0x97 Quota exceeded.",
    )
    max_inflight: Count = Field(
        default=_LIMITS.max_inflight,
        ge=1,
        le=TWO_BYTES,
        description="QoS 1 and 2 messages on their way to a Client at a time, or its Receive Maximum if that is less.",
    )
    outgoing_topic_alias_maximum: Count = Field(
        default=_LIMITS.outgoing_topic_alias_maximum,
        ge=0,
        le=TWO_BYTES,
        description="Topic Aliases that the broker sets for a 5.0 Client, or as many as it takes if that is less.",
    )
    queue_messages: Count = Field(
        default=_LIMITS.queue_messages,
        ge=1,
        description="QoS 1 and 2 messages that wait in one Session while its Client is away, and QoS 0 messages kept "
        "for a slow one under `drop-oldest` and `latest`.",
    )
    queue_bytes: Size = Field(
        default=_LIMITS.queue_bytes,
        ge=1,
        description="Bytes of messages that wait in one Session, its Client away or slow.",
    )
    queue_overflow: Literal["reject", "drop-oldest"] = Field(
        default=REJECT,
        description="What becomes of a QoS 1 or 2 message for a Session whose queue is full: its publisher is told "
        "0x97 Quota exceeded (`reject`), or the oldest one makes room (`drop-oldest`).",
    )
    outbox_hard_bytes: Size = Field(
        default=_LIMITS.outbox_hard_bytes,
        ge=1024,
        description="Bytes waiting for one connection at which it is ended with 0x97 Quota exceeded.",
    )
    outbox_soft_bytes: Size = Field(
        default=_LIMITS.outbox_soft_bytes,
        ge=1,
        description="Bytes waiting for one connection above which QoS 0 follows `overflow` and QoS 1 and 2 wait in the "
        "Session; when not set, no more than outbox_hard_bytes.",
    )
    overflow: Literal["drop-newest", "drop-oldest", "latest", "disconnect"] = Field(
        default=DROP_NEWEST,
        description="What becomes of QoS 0 messages to a Client that reads too slowly; "
        "`latest` keeps the newest of each topic.",
    )
    write_stall_timeout: Seconds = Field(
        default=_LIMITS.write_stall_timeout,
        gt=0,
        description="A connection ends when bytes wait and none leaves for this time.",
    )
    websocket_paths: kinds.Paths = Field(
        default=_LIMITS.websocket_paths, description="Paths at which WebSocket is served."
    )
    websocket_subprotocols: kinds.Subprotocols = Field(
        default=_LIMITS.websocket_subprotocols, description="WebSocket subprotocols that are accepted."
    )
    require_subprotocol: bool = Field(
        default=_LIMITS.require_subprotocol,
        description="Whether a WebSocket Client that offers no subprotocol is refused.",
    )
    origins: kinds.Origins = Field(
        default=_LIMITS.origins,
        description='Web pages that may connect: "same-origin", exact origins such as "https://example.org", or "*"; '
        "a request without Origin comes from no page and is let in.",
    )
    websocket_ping_interval: Seconds = Field(
        default=_LIMITS.websocket_ping_interval,
        ge=0,
        description="Time without traffic after which a WebSocket Ping is sent; 0 = never.",
    )
    websocket_frame_bytes: Size = Field(
        default=_LIMITS.websocket_frame_bytes, ge=128, description="Largest payload of a WebSocket frame that is sent."
    )
    websocket_fragments: Count = Field(
        default=_LIMITS.websocket_fragments,
        ge=1,
        description="Most frames that one received WebSocket message may be cut into.",
    )
    websocket_compression: bool = Field(
        default=_LIMITS.websocket_compression,
        description="Whether WebSocket messages are compressed with Clients that offer permessage-deflate.",
    )
    websocket_context_takeover: bool = Field(
        default=_LIMITS.websocket_context_takeover,
        description="Whether compression remembers earlier messages: small ones shrink more, and each Client costs up "
        "to 80 KiB.",
    )
    tcp_nodelay: bool = Field(
        default=_LIMITS.tcp_nodelay, description="Whether TCP_NODELAY is set: small packets leave at once."
    )
    max_connections: Count = Field(
        default=_LIMITS.max_connections,
        ge=0,
        description="Most connections of one listener at a time; 0 = as many as there are file descriptors.",
    )

    @model_validator(mode="after")
    def _follow(self) -> Self:
        for lesser, greater in ORDERED:
            self._fill(**{lesser: min(getattr(self, lesser), getattr(self, greater))})
        return self

    def build(self) -> Limits:
        """The plain object that the core reads."""
        limits = Limits()
        for name in LimitsConfig.model_fields:
            setattr(limits, name, getattr(self, name))
        return limits

    def over(self, base: Self) -> Self:
        """These limits where they are set, else those of `base`. Only what is set here counts as set in the result."""
        set_values = {name: getattr(base, name) for name in base.model_fields_set}
        set_values |= {name: getattr(self, name) for name in self.model_fields_set}
        merged = type(self).model_validate(set_values)
        return type(self).model_construct(_fields_set=set(self.model_fields_set), **dict(merged))


class ServerConfig(Table):
    """`[server]`: bounds of the whole broker, shared by all listeners."""

    retained_messages: Count = Field(default=_SERVER.retained_messages, ge=0, description="Most retained messages.")
    retained_bytes: Size = Field(default=_SERVER.retained_bytes, ge=0, description="Most bytes of retained messages.")
    sessions: Count = Field(default=_SERVER.sessions, ge=1, description="Most Sessions, connected or not.")
    connections: Count = Field(
        default=_SERVER.connections,
        ge=0,
        description="Most connections at a time, of all listeners; 0 = as many as there are file descriptors.",
    )
    connections_per_address: Count = Field(
        default=_SERVER.connections_per_address,
        ge=0,
        description="Most connections of one IPv4 address, or of one /64 of IPv6; loopback, Unix sockets and trusted "
        "proxies are not counted; 0 = no bound.",
    )
    connects_per_second: Count = Field(
        default=_SERVER.connects_per_second,
        ge=0,
        description="Connections accepted each second, and twice as many at once; more wait until they have their "
        "turn; 0 = no bound.",
    )
    handshakes: Count = Field(
        default=_SERVER.handshakes,
        ge=0,
        description="Connections that have no CONNACK yet above which no more are accepted until some have it; "
        "0 = no bound.",
    )
    sessions_per_user: Count = Field(
        default=_SERVER.sessions_per_user,
        ge=0,
        description="Most Sessions of one user of [auth], connected or not; 0 = no bound.",
    )
    buffered_bytes: Size = Field(
        default=_SERVER.buffered_bytes,
        ge=1024,
        description="Bytes waiting for all Clients together above which publishers are not read.",
    )
    subscription_bytes: Size = Field(
        default=_SERVER.subscription_bytes,
        ge=1024,
        description="Most memory for the Subscriptions of all Sessions; more are refused with 0x97 Quota exceeded.",
    )
    flapping_connects: Count = Field(
        default=_SERVER.flapping_connects,
        ge=0,
        description="Connections of one Client, told by identifier, user and address, within `flapping_window` above "
        "which it is banned for `flapping_ban` (0x8A Banned); 0 = nobody is.",
    )
    flapping_window: Seconds = Field(
        default=_SERVER.flapping_window, gt=0, description="Time in which the connections of one Client are counted."
    )
    flapping_ban: Seconds = Field(
        default=_SERVER.flapping_ban, gt=0, description="Time for which a Client that flaps is banned."
    )
    takeover_storm: Count = Field(
        default=_SERVER.takeover_storm,
        ge=0,
        description="Takeovers of one Session within a minute from which on its Client Identifier and both addresses "
        "are named in the log and in $SYS; 0 = never.",
    )
    memory: kinds.OptionalSize = Field(
        default=_SERVER.memory,
        ge=0,
        description="Resident memory (Linux) above which publishers are not read and new Sessions refused with 0x89 "
        "Server busy; 0 = no bound; when not set, 80 % of what the control group allows.",
        examples=["1GiB"],
    )
    topic_cache: Count = Field(default=_SERVER.topic_cache, ge=1, description="Topics whose receivers are remembered.")
    sys_interval: Seconds = Field(
        default=_SERVER.sys_interval, ge=0, description="Time between updates of $SYS/broker/#; 0 = none."
    )
    shutdown_timeout: Seconds = Field(
        default=_SERVER.shutdown_timeout,
        ge=0,
        description="Time to send what is waiting when the broker is asked to stop.",
    )
    allow_readable_keys: bool = Field(
        default=False, description="Whether private keys may be used that every user of the machine can read."
    )

    def build(self) -> ServerLimits:
        """The plain object that the core reads."""
        limits = ServerLimits()
        for name in ServerConfig.model_fields.keys() - {"allow_readable_keys"}:
            setattr(limits, name, getattr(self, name))
        return limits
