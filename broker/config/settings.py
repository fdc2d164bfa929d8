"""Every setting: its name, type, default, range and one sentence.

The sentence stands here and nowhere else; `config/broker.toml`, `config/broker.schema.json` and the tables in
`docs/guides/configuration.md` are written from it. Names and defaults of limits are those of `broker.core.limits`.
These objects live at start-up only: `build_limits` and `server_limits` copy them into the plain objects of the core.

Built by hand (`Config(listeners=[ListenerConfig(type="tcp", port=0)])`), a mistake raises pydantic's ValidationError,
which is a ValueError; read by `broker.config.load`, all mistakes together raise a ConfigError.
"""

import ipaddress
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from broker.config import kinds
from broker.config.auth import METHODS, AuthConfig
from broker.config.checks import ORDERED, access_problems, config_problems, shape_problems
from broker.config.errors import ConfigError, Mistake, Problem, dotted, indent
from broker.config.kinds import Count, Number, Seconds, Size, WholeSeconds
from broker.config.roles import RoleConfig
from broker.config.store import StoreConfig
from broker.config.table import Path, Table, walk
from broker.config.tls import TlsConfig
from broker.core.limits import DROP_NEWEST, REJECT, Limits, ServerLimits

_LIMITS: Final = Limits()
_SERVER: Final = ServerLimits()

MAXIMUM_PACKET: Final = 268_435_455  # what Remaining Length can say (MQTT 5.0 section 2.1.4)
FOUR_BYTES: Final = 0xFFFF_FFFF
TWO_BYTES: Final = 0xFFFF

SECURE_SCHEMES: Final = {"tcp": "mqtts", "ws": "wss"}  # type of a listener with TLS -> how a URL of it begins

# Given as validation context, it leaves the checks of settings seen together to whoever validates: `load` wants to
# report them beside the other mistakes, with their places.
DEFERRED: Final = {"checks": "deferred"}


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


class ListenerConfig(Table):
    """`[[listeners]]`: one place where Clients connect."""

    TYPES: ClassVar[tuple[str, ...]] = ("tcp", "ws", "unix", "auto")

    type: Literal["tcp", "ws", "unix", "auto"] = Field(
        description="What is spoken: MQTT (`tcp`), HTTP and WebSocket (`ws`), MQTT on a Unix socket (`unix`), "
        "or whichever of MQTT and HTTP the first byte tells (`auto`)."
    )
    name: kinds.Name = Field(
        default="", max_length=64, description='What logs and statistics call it; "" = its type and address.'
    )
    host: kinds.Host = Field(
        default="127.0.0.1",
        description='Address or name to listen on; "0.0.0.0" or "::" for every address of the machine.',
    )
    port: Count = Field(
        default=1883,
        ge=0,
        le=TWO_BYTES,
        description="TCP port: 1883 when not set, 8080 for `ws`; with tls 8883, 8443 for `ws`; 0 = any free one.",
        json_schema_extra=kinds.without_default,
    )
    path: kinds.SocketPath = Field(
        default="", description="Path of the Unix socket, for `unix` only.", examples=["/run/broker.sock"]
    )
    mode: kinds.Mode = Field(
        default=0o660,
        description="Permissions of the Unix socket in octal, for `unix` only.",
        ge=0,
        le=0o777,
        examples=[0o660],
    )
    allow_anonymous: bool | None = Field(
        default=None,
        description="Whether Clients may connect without authentication; when not set, only from this machine, and "
        "only while no method of [auth] is set up.",
        examples=[True],
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Whether each connection begins with a header of the PROXY protocol that tells whence it comes.",
    )
    trusted_proxies: kinds.Networks = Field(
        default=(),
        description="Networks whose proxies are believed about the address of a Client, by the PROXY protocol or by "
        "X-Forwarded-For.",
        examples=[["10.0.0.0/8"]],
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig, description="Keys of [limits] that differ for this listener."
    )
    tls: TlsConfig | None = Field(
        default=None,
        description="With it the listener is a secure one: `mqtts`, `wss`.",
        json_schema_extra=kinds.without_null,
    )

    @model_validator(mode="after")
    def _shape(self, info: ValidationInfo) -> Self:
        if self.type == "ws":
            self._fill(port=8443 if self.secure else 8080)
        elif self.type != "unix":
            self._fill(port=8883 if self.secure else 1883)
        else:
            self._fill(host="", port=0)
        if info.context is not DEFERRED:
            _refuse(shape_problems(self))
        return self

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken here."""
        return self.tls is not None

    @property
    def names_clients(self) -> bool:
        """Whether a certificate says here who a Client is."""
        return self.tls is not None and bool(self.tls.user_name)

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine reach it: a Unix socket or a loopback address, without a proxy."""
        if self.proxy_protocol or self.trusted_proxies:
            return False
        if self.type == "unix" or self.host.rstrip(".").lower() == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)

    @property
    def anonymous_allowed(self) -> bool:
        """What `allow_anonymous` comes to."""
        return self.is_local if self.allow_anonymous is None else self.allow_anonymous

    @property
    def bind(self) -> str:
        """The listener as `--bind` begins: "tcp://127.0.0.1:1883", "wss://[::1]:8443", "unix:/run/broker.sock"."""
        if self.type == "unix":
            return f"unix:{self.path}"
        scheme = SECURE_SCHEMES.get(self.type, self.type) if self.secure else self.type
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def label(self) -> str:
        """`name`, or what stands for it."""
        return self.name or self.bind

    def build_limits(self) -> Limits:
        """The limits in force here, as the plain object that the core reads."""
        return self.limits.build()


class ServerConfig(Table):
    """`[server]`: bounds of the whole broker, shared by all listeners."""

    retained_messages: Count = Field(default=_SERVER.retained_messages, ge=0, description="Most retained messages.")
    retained_bytes: Size = Field(default=_SERVER.retained_bytes, ge=0, description="Most bytes of retained messages.")
    sessions: Count = Field(default=_SERVER.sessions, ge=1, description="Most Sessions, connected or not.")
    buffered_bytes: Size = Field(
        default=_SERVER.buffered_bytes,
        ge=1024,
        description="Bytes waiting for all Clients together above which publishers are not read.",
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


class LogConfig(Table):
    """`[log]`: what the broker says about itself, on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(kinds.lower)] = Field(
        default="info", description="Least important level that is written."
    )
    format: Annotated[Literal["auto", "text", "json"], BeforeValidator(kinds.lower)] = Field(
        default="auto", description="Lines for people (`text`) or for programs (`json`); `auto` = text on a terminal."
    )


def default_listeners() -> list[ListenerConfig]:
    """What the broker listens on when nobody says: this machine only."""
    return [ListenerConfig(type="tcp"), ListenerConfig(type="ws")]


class Config(Table):
    """The whole configuration. `Config()` is the one in force without any file."""

    log: LogConfig = Field(default_factory=LogConfig, description="What the broker says about itself, on stderr.")
    listeners: list[ListenerConfig] = Field(
        default_factory=default_listeners,
        description="Places where Clients connect; without any, tcp on 127.0.0.1:1883 and ws on 127.0.0.1:8080.",
    )
    auth: AuthConfig = Field(
        default_factory=AuthConfig,
        description="How Clients prove who they are; once one method is set up, nobody gets in unasked.",
    )
    roles: list[RoleConfig] = Field(
        default_factory=list,
        description="What Clients may do; once there is one, nothing is allowed but what a role allows.",
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig,
        description="What CONNACK announces, and what bounds a connection; [listeners.limits] goes before it.",
    )
    server: ServerConfig = Field(
        default_factory=ServerConfig, description="Bounds of the whole broker, shared by all listeners."
    )

    store: StoreConfig = Field(
        default_factory=StoreConfig,
        description="What survives a restart, and where it is kept; without a path, nothing.",
    )

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Self:
        """Give every listener the limits in force for it; where there is a method, nobody gets in unasked."""
        self.listeners[:] = [
            listener.model_copy(update={"limits": listener.limits.over(self.limits)}) for listener in self.listeners
        ]
        for listener in self.listeners:
            listener._fill(allow_anonymous=False if self.auth_methods else None)
        if info.context is not DEFERRED:
            _refuse(config_problems(self))
        return self

    @classmethod
    def default(cls) -> Self:
        """The configuration in force without any file."""
        return cls()

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """The methods of authentication in force, in the order in which they are asked."""
        if self.auth.methods is not None:
            return self.auth.methods
        ready = self.ready_methods
        return tuple(method for method in METHODS if method in ready)

    @property
    def ready_methods(self) -> frozenset[str]:
        """The methods that have all that they need."""
        ready = {
            "certificate": any(listener.names_clients for listener in self.listeners),
            "password": self.auth.password_file is not None,
            "jwt": self.auth.jwt is not None,
            "http": self.auth.http is not None,
        }
        return frozenset(method for method, is_ready in ready.items() if is_ready)

    def asks(self, listener: ListenerConfig) -> bool:
        """Whether Clients of `listener` can prove who they are."""
        return any(method != "certificate" or listener.names_clients for method in self.auth_methods)

    def server_limits(self) -> ServerLimits:
        """`[server]` as the plain object that the core reads."""
        return self.server.build()

    def check_access(self, authenticated: bool = False) -> None:
        """Raise ConfigError when a listener would let in strangers unasked, or nobody at all.

        `load` has done it; whoever starts a broker from a Config built by hand calls it, with `authenticated` true when
        an Authenticator of its own decides.
        """
        found = access_problems(self, authenticated)
        if found:
            raise ConfigError([_unplaced(problem) for problem in found])


def _unplaced(problem: Problem) -> Mistake:
    """A mistake in a Config that was built by hand: there is no file to point into."""
    remedy = "\n".join(indent(f"{cure.purpose}, give it {cure.loc[-1]}={cure.value.title()}") for cure in problem.cures)
    return Mistake(dotted(problem.involves[0]), problem.message, remedy=remedy)


def _refuse(found: list[Problem]) -> None:
    if found:
        raise ValueError("; ".join(f"{dotted(problem.involves[0])}: {problem.message}" for problem in found))


# Path of a table in the file, without indices -> its keys, for messages, samples and the environment.
TABLES: Final[dict[Path, type[Table]]] = {(): Config, **{path: held.model for path, held in walk(Config)}}

# Those of which there may be several: [[listeners]].
LISTS: Final[frozenset[Path]] = frozenset(path for path, held in walk(Config) if held.many)


def title(path: Path) -> str:
    """A table as the file writes it: "[[listeners]]", "[listeners.tls]"."""
    name = ".".join(path)
    return f"[[{name}]]" if path in LISTS else f"[{name}]"


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TrioMQ configuration (broker.toml)",
        **{key: value for key, value in Config.model_json_schema().items() if key != "title"},
    }
