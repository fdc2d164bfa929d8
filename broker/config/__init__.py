"""The configuration: `config/broker.toml`, `BROKER_…` variables and `--bind`, read, judged and explained.

`load` reads and tells all mistakes at once; `Config(listeners=[ListenerConfig(type="tcp", port=0)])` builds the same by
hand. The configuration lives at start-up: `listener.build_limits()` and `config.server_limits()` make the plain objects
that the core reads.

    settings          every setting, its default, range and sentence; with limits, auth, roles, store, tls, web
    table             what tables of settings share
    kinds, units      how values are read
    sources           file, environment, command line
    positions         where in the file a key stands
    checks, files     settings seen together, and the files that they name
    load, errors      all mistakes at once, each with its place
    changes           what differs from another configuration, and what of that needs a restart
    effective         what is in force, for programs
    text              samples and tables, written from `settings`
    scenario          files of `broker simulate`, by the same means
"""

from broker.config.auth import AuthConfig, HttpConfig, JwtConfig, JwtKeyConfig
from broker.config.errors import ConfigError, Mistake
from broker.config.limits import LimitsConfig, ServerConfig
from broker.config.load import load, load_with_sources, parse_bind
from broker.config.roles import RoleConfig
from broker.config.settings import Config, ListenerConfig, LogConfig, schema
from broker.config.sources import COMMAND_LINE_VARIABLES
from broker.config.store import StoreConfig
from broker.config.tls import TlsConfig, TlsHostConfig
from broker.config.web import WebConfig

__all__ = [
    "COMMAND_LINE_VARIABLES",
    "AuthConfig",
    "Config",
    "ConfigError",
    "HttpConfig",
    "JwtConfig",
    "JwtKeyConfig",
    "LimitsConfig",
    "ListenerConfig",
    "LogConfig",
    "Mistake",
    "RoleConfig",
    "ServerConfig",
    "StoreConfig",
    "TlsConfig",
    "TlsHostConfig",
    "WebConfig",
    "load",
    "load_with_sources",
    "parse_bind",
    "schema",
]
