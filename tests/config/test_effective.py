"""All settings in force by their names, without any secret."""

from __future__ import annotations

import json
from pathlib import Path

from broker.config import AuthConfig, Config, LimitsConfig, ListenerConfig, RoleConfig, StoreConfig, WebConfig
from broker.config.effective import effective


def test_what_is_set_and_what_is_not() -> None:
    config = Config(
        listeners=[
            ListenerConfig.model_validate({"type": "tcp", "port": 0, "trusted_proxies": ["10.0.0.0/8"]}),
            ListenerConfig(type="ws", limits=LimitsConfig(maximum_qos=1)),
        ],
        limits=LimitsConfig(max_inflight=7),
        store=StoreConfig(path=Path("/data")),
        auth=AuthConfig(password_file=Path("/etc/passwd-of-mqtt")),
        roles=[RoleConfig(name="r", allow_publish=("a/#",))],
        web=WebConfig(viewers=("ann",)),
    )
    found = effective(config)
    json.dumps(found)
    assert found["listeners[0].port"] == (0, "configuration")
    assert found["listeners[0].trusted_proxies"] == (["10.0.0.0/8"], "configuration")
    assert found["listeners[1].port"] == (8080, "default")
    assert found["listeners[1].limits.maximum_qos"] == (1, "configuration")
    assert "listeners[1].limits.max_inflight" not in found
    assert found["limits.max_inflight"] == (7, "configuration")
    assert found["limits.maximum_qos"] == (2, "default")
    assert found["store.path"] == ("/data", "configuration")
    assert found["store.durability"] == ("fsync", "default")
    assert found["auth.password_file"] == ("/etc/passwd-of-mqtt", "configuration")
    assert found["roles[0].allow_publish"] == (["a/#"], "configuration")
    assert found["web.viewers"] == (["ann"], "configuration")
    assert found["web.anonymous"] == (None, "default")
    assert "auth.jwt" not in found


def test_every_plain_setting_is_there() -> None:
    found = effective(Config())
    for table in ("log", "limits", "server", "store", "web"):
        model = type(getattr(Config(), table))
        assert {f"{table}.{name}" for name in model.model_fields} <= set(found)
