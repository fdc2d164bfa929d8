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
from broker.config.checks import access_problems, config_problems, shape_problems
from broker.config.errors import ConfigError, Mistake, Problem, dotted, indent
from broker.config.kinds import Count
from broker.config.limits import TWO_BYTES, LimitsConfig, ServerConfig
from broker.config.roles import RoleConfig
from broker.config.store import StoreConfig
from broker.config.table import Path, Table, walk
from broker.config.tls import TlsConfig
from broker.config.web import WebConfig
from broker.core.limits import Limits, ServerLimits

SECURE_SCHEMES: Final = {"tcp": "mqtts", "ws": "wss"}  # type of a listener with TLS -> how a URL of it begins

# Given as validation context, it leaves the checks of settings seen together to whoever validates: `load` wants to
# report them beside the other mistakes, with their places.
DEFERRED: Final = {"checks": "deferred"}


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
    web: WebConfig = Field(
        default_factory=WebConfig,
        description="What is answered over HTTP on the listeners `ws` and `auto`, and to whom.",
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
