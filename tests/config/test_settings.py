"""Every setting, by hand and by introspection against the core's plain objects."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from broker.config import (
    AuthConfig,
    Config,
    ConfigError,
    LimitsConfig,
    ListenerConfig,
    LogConfig,
    RoleConfig,
    ServerConfig,
    StoreConfig,
    TlsConfig,
    schema,
)
from broker.config.settings import TABLES
from broker.core.limits import Limits

# -- Listeners


def test_without_a_word_it_listens_on_loopback_only() -> None:
    assert [listener.bind for listener in Config().listeners] == ["tcp://127.0.0.1:1883", "ws://127.0.0.1:8080"]
    assert [listener.bind for listener in Config.default().listeners] == [
        "tcp://127.0.0.1:1883",
        "ws://127.0.0.1:8080",
    ]
    Config.default().check_access()


@pytest.mark.parametrize(("kind", "port", "secure"), [("tcp", 1883, 8883), ("ws", 8080, 8443), ("auto", 1883, 8883)])
def test_ports_by_default(kind: Any, port: int, secure: int) -> None:
    assert (ListenerConfig(type=kind).host, ListenerConfig(type=kind).port) == ("127.0.0.1", port)
    assert not ListenerConfig(type=kind).secure
    tls = TlsConfig(certificate=Path("c"))
    assert ListenerConfig(type=kind, tls=tls).port == secure
    assert ListenerConfig(type=kind, tls=tls, port=5).port == 5
    assert ListenerConfig(type=kind, tls=tls).secure


def test_a_listener_behind_a_proxy_is_not_local() -> None:
    networks = (ip_network("127.0.0.0/8"),)
    listener = ListenerConfig(type="tcp", proxy_protocol=True, trusted_proxies=networks)
    assert not listener.is_local
    assert not ListenerConfig(type="ws", trusted_proxies=networks).is_local
    with pytest.raises(ConfigError, match=r"listeners\[0\]\.host: a proxy leads here, and there is no authentication"):
        Config(listeners=[listener]).check_access()


def test_embedding_is_short() -> None:
    config = Config(listeners=[ListenerConfig(type="tcp", port=0)], limits=LimitsConfig(maximum_qos=1))
    assert config.listeners[0].port == 0
    assert config.listeners[0].build_limits().maximum_qos == 1


def test_the_callers_list_and_listeners_are_left_alone() -> None:
    listener = ListenerConfig(type="tcp")
    listeners = [listener]
    config = Config(listeners=listeners, limits=LimitsConfig(maximum_qos=0))
    assert listeners[0] is listener
    assert listener.limits.maximum_qos == 2
    assert config.listeners[0].limits.maximum_qos == 0


def test_no_listener_at_all_is_possible() -> None:
    assert Config(listeners=[]).listeners == []


def test_unix_listener() -> None:
    listener = ListenerConfig(type="unix", path="/run/broker.sock")
    assert listener.bind == "unix:/run/broker.sock"
    assert (listener.mode, listener.host, listener.port) == (0o660, "", 0)


def test_label() -> None:
    assert ListenerConfig(type="tcp", name="factory").label == "factory"
    assert ListenerConfig(type="ws", host="::1").label == "ws://[::1]:8080"
    tls = TlsConfig(certificate=Path("c"))
    assert ListenerConfig(type="ws", tls=tls).label == "wss://127.0.0.1:8443"
    assert ListenerConfig(type="tcp", tls=tls).label == "mqtts://127.0.0.1:8883"


def test_a_configuration_does_not_change_under_the_broker() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().limits.maximum_qos = 1


# -- Limits of a listener over those of all


def test_a_listener_takes_the_limits_of_all_and_keeps_its_own() -> None:
    config = Config(
        limits=LimitsConfig(maximum_qos=1, receive_maximum=5),
        listeners=[
            ListenerConfig(type="tcp", limits=LimitsConfig(receive_maximum=7)),
            ListenerConfig(type="ws"),
        ],
    )
    first, second = (listener.build_limits() for listener in config.listeners)
    assert (first.maximum_qos, first.receive_maximum) == (1, 7)
    assert (second.maximum_qos, second.receive_maximum) == (1, 5)


def test_a_listener_may_set_back_to_the_default() -> None:
    config = Config(
        limits=LimitsConfig(maximum_qos=0),
        listeners=[ListenerConfig(type="tcp", limits=LimitsConfig(maximum_qos=2))],
    )
    assert config.listeners[0].build_limits().maximum_qos == 2


def test_listeners_of_one_configuration_serve_another() -> None:
    first = Config(limits=LimitsConfig(maximum_qos=0, receive_maximum=5))
    second = Config(listeners=first.listeners, limits=LimitsConfig(receive_maximum=9))
    assert second.listeners[0].build_limits().maximum_qos == 2
    assert second.listeners[0].build_limits().receive_maximum == 9


@pytest.mark.parametrize(
    ("lesser", "greater", "value"),
    [("connect_packet_size", "maximum_packet_size", 4096), ("outbox_soft_bytes", "outbox_hard_bytes", 4096)],
)
def test_a_lesser_limit_that_is_not_set_follows_the_greater(lesser: str, greater: str, value: int) -> None:
    config = Config.model_validate(
        {"limits": {greater: value}, "listeners": [{"type": "tcp"}, {"type": "ws", "limits": {greater: 2 * value}}]}
    )
    assert getattr(config.limits, lesser) == value
    assert getattr(config.listeners[0].build_limits(), lesser) == value
    assert getattr(config.listeners[1].build_limits(), lesser) == 2 * value
    assert getattr(LimitsConfig.model_validate({greater: 1 << 27}), lesser) == getattr(Limits(), lesser)


# -- Loopback


LOCAL = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "localhost", "LOCALHOST", "localhost.", "::ffff:127.0.0.1"]
BEYOND = ["0.0.0.0", "::", "192.168.1.10", "10.0.0.1", "fe80::1", "fe80::1%eth0", "2001:db8::1", "::ffff:10.0.0.1"]
BEYOND += ["broker.example.org", "localhost.example.org", "127.1", "0", "128.0.0.1"]


@pytest.mark.parametrize("kind", ["tcp", "ws", "auto"])
@pytest.mark.parametrize("host", LOCAL)
def test_on_loopback_anybody_may_connect(host: str, kind: Any) -> None:
    listener = ListenerConfig(type=kind, host=host)
    assert listener.is_local
    assert listener.anonymous_allowed
    Config(listeners=[listener]).check_access()


@pytest.mark.parametrize("kind", ["tcp", "ws", "auto"])
@pytest.mark.parametrize("host", BEYOND)
def test_beyond_loopback_somebody_has_to_say_so(host: str, kind: Any) -> None:
    listener = ListenerConfig(type=kind, host=host)
    assert not listener.is_local
    assert not listener.anonymous_allowed
    with pytest.raises(ConfigError) as caught:
        Config(listeners=[listener]).check_access()
    assert str(caught.value).startswith(f"listeners[0].host: {host} is reached from other machines")
    assert "allow_anonymous=True" in str(caught.value)
    Config(listeners=[ListenerConfig(type=kind, host=host, allow_anonymous=True)]).check_access()
    Config(listeners=[listener]).check_access(authenticated=True)


def test_a_unix_socket_is_local() -> None:
    listener = ListenerConfig(type="unix", path="/run/broker.sock")
    assert listener.is_local
    Config(listeners=[listener]).check_access()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_nobody_could_connect(host: str) -> None:
    config = Config(listeners=[ListenerConfig(type="tcp", host=host, allow_anonymous=False)])
    assert not config.listeners[0].anonymous_allowed
    with pytest.raises(ConfigError, match="nobody could connect"):
        config.check_access()
    config.check_access(authenticated=True)


# -- Built by hand, contradictions are refused at once


@pytest.mark.parametrize(
    "arguments",
    [
        {"type": "unix"},
        {"type": "unix", "path": "/x", "port": 1},
        {"type": "tcp", "path": "/x"},
        {"type": "tcp", "mode": 0o600},
    ],
)
def test_a_listener_of_the_wrong_shape(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="unix listener"):
        ListenerConfig(**arguments)


def test_contradicting_limits() -> None:
    with pytest.raises(ValidationError, match=r"limits\.outbox_soft_bytes: .* must not exceed"):
        Config(limits=LimitsConfig(outbox_soft_bytes=8 << 20))


def test_log_settings() -> None:
    assert (Config().log.level, Config().log.format) == ("info", "auto")
    assert LogConfig.model_validate({"level": "DEBUG"}).level == "debug"
    with pytest.raises(ValidationError):
        LogConfig.model_validate({"format": "xml"})


# -- Descriptions and schema


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table, model in TABLES.items() for name in model.model_fields]
)
def test_every_setting_has_one_sentence(table: tuple[str, ...], name: str) -> None:
    sentence = TABLES[table].model_fields[name].description
    assert sentence is not None
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert 20 < len(sentence) < 200


def test_tables_are_all_tables() -> None:
    def walk(path: tuple[str, ...], model: type[BaseModel]) -> None:
        found[path] = model
        for name, field in model.model_fields.items():
            for kind in (field.annotation, *get_args(field.annotation)):
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    walk((*path, name), kind)

    found: dict[tuple[str, ...], type[BaseModel]] = {}
    walk((), Config)
    assert found == TABLES


def test_schema_names_every_setting() -> None:
    document = schema()
    assert document["additionalProperties"] is False
    definitions = document["$defs"]
    for model in (
        ListenerConfig,
        LimitsConfig,
        ServerConfig,
        StoreConfig,
        LogConfig,
        TlsConfig,
        AuthConfig,
        RoleConfig,
    ):
        properties = definitions[model.__name__]["properties"]
        assert set(properties) == set(model.model_fields)
        assert definitions[model.__name__]["additionalProperties"] is False
        for name, one in properties.items():
            assert one["description"] == model.model_fields[name].description
    assert definitions["ListenerConfig"]["required"] == ["type"]
    assert definitions["LimitsConfig"]["properties"]["connect_packet_size"]["default"] == Limits().connect_packet_size
    assert definitions["LimitsConfig"]["properties"]["receive_maximum"]["maximum"] == 65535
    assert "null" not in str(definitions["StoreConfig"]["properties"]["reserve"])
    assert "null" not in str(definitions["TlsConfig"])
