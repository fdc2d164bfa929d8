"""What `broker.config` offers."""

from __future__ import annotations

import subprocess
import sys

import broker.config


def test_every_promised_name_is_there() -> None:
    assert set(broker.config.__all__) == {
        "COMMAND_LINE_VARIABLES",
        "Config",
        "ConfigError",
        "AuthConfig",
        "HttpConfig",
        "JwtConfig",
        "JwtKeyConfig",
        "RoleConfig",
        "LimitsConfig",
        "ListenerConfig",
        "LogConfig",
        "Mistake",
        "ServerConfig",
        "StoreConfig",
        "TlsConfig",
        "TlsHostConfig",
        "WebConfig",
        "load",
        "load_with_sources",
        "parse_bind",
        "schema",
    }
    for name in broker.config.__all__:
        assert getattr(broker.config, name) is not None


def test_no_network_is_imported() -> None:
    code = "import sys, broker.config; print('trio' in sys.modules, 'click' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False False\n"
