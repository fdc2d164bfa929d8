"""TrioMQ: an MQTT 3.1, 3.1.1 and 5.0 broker on Trio, over WebSocket and TCP.

    async with broker.serve() as server:
        print([listener.url for listener in server.listeners])

Names are loaded when they are first used: `import broker` alone imports nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.config import Config, ConfigError, ListenerConfig
    from broker.server import Server, serve

__version__ = "0.1.0"

__all__ = ["Config", "ConfigError", "ListenerConfig", "Server", "__version__", "serve"]

_HOMES = {
    "Config": "broker.config",
    "ConfigError": "broker.config",
    "ListenerConfig": "broker.config",
    "Server": "broker.server",
    "serve": "broker.server",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
