"""Settings seen together."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config import Config, LimitsConfig, ListenerConfig
from broker.config.checks import access_problems, config_problems, shape_problems
from broker.config.errors import dotted
from broker.config.settings import DEFERRED


def found(data: dict[str, Any]) -> list[tuple[str, str]]:
    config = Config.model_validate(data, context=DEFERRED)
    return [(dotted(problem.involves[0]), problem.message) for problem in config_problems(config)]


def test_the_default_has_none() -> None:
    assert found({}) == []
    assert access_problems(Config(), authenticated=False) == []


@pytest.mark.parametrize(
    ("listener", "place", "words"),
    [
        ({"type": "unix"}, "listeners[0].path", "needs `path`"),
        ({"type": "unix", "path": "/x", "host": "::1"}, "listeners[0].host", "has no host"),
        ({"type": "unix", "path": "/x", "port": 1}, "listeners[0].port", "has no port"),
        ({"type": "tcp", "path": "/x"}, "listeners[0].path", "only a unix listener has a path"),
        ({"type": "ws", "path": "/x"}, "listeners[0].path", "websocket_paths"),
        ({"type": "auto", "mode": 0}, "listeners[0].mode", "only a unix listener has a mode"),
        ({"type": "unix", "path": "/x", "tls": {"certificate": "c"}}, "listeners[0].tls", "a unix listener has no TLS"),
        ({"type": "tcp", "proxy_protocol": True}, "listeners[0].proxy_protocol", "needs `trusted_proxies`"),
        ({"type": "tcp", "tls": {"certificate": "c", "user_name": "cn"}}, "listeners[0].tls.user_name", "`client_ca`"),
        ({"type": "ws", "tls": {"certificate": "c", "client_crl": "l"}}, "listeners[0].tls.client_crl", "`client_ca`"),
        (
            {"type": "tcp", "tls": {"certificate": "c", "require_client_certificate": True}},
            "listeners[0].tls.require_client_certificate",
            "needs `client_ca`",
        ),
        (
            {
                "type": "ws",
                "tls": {
                    "certificate": "c",
                    "hosts": [{"names": ["a", "b"], "certificate": "a"}, {"names": ["B"], "certificate": "b"}],
                },
            },
            "listeners[0].tls.hosts[1].names",
            'tls.hosts[0] has the name "b" already',
        ),
    ],
)
def test_shape(listener: dict[str, Any], place: str, words: str) -> None:
    ((where, message),) = found({"listeners": [listener]})
    assert where == place
    assert words in message


def test_several_wrong_keys_are_all_named() -> None:
    data = {"listeners": [{"type": "unix", "host": "::1", "port": 1}]}
    assert [where for where, _ in found(data)] == ["listeners[0].path", "listeners[0].host", "listeners[0].port"]


def test_paths_of_shape_problems_begin_at_the_listener() -> None:
    listener = ListenerConfig.model_validate({"type": "tcp", "mode": 0}, context=DEFERRED)
    assert shape_problems(listener)[0].involves == (("mode",), ("type",))


def test_lesser_limits_must_not_exceed_greater() -> None:
    assert found({"limits": {"connect_packet_size": "2MiB", "outbox_soft_bytes": "5MiB"}}) == [
        ("limits.connect_packet_size", "connect_packet_size (2MiB) must not exceed maximum_packet_size (1MiB)"),
        ("limits.outbox_soft_bytes", "outbox_soft_bytes (5MiB) must not exceed outbox_hard_bytes (4MiB)"),
    ]
    assert found({"limits": {"connect_packet_size": "1MiB", "outbox_soft_bytes": "4MiB"}}) == []


def test_a_listener_answers_for_its_own_limits_only() -> None:
    wrong = {"outbox_soft_bytes": "5MiB"}
    data = {"limits": wrong, "listeners": [{"type": "tcp"}, {"type": "ws", "limits": {"maximum_qos": 1}}]}
    assert [where for where, _ in found(data)] == ["limits.outbox_soft_bytes"]
    data = {
        "limits": {"outbox_soft_bytes": "3MiB"},
        "listeners": [{"type": "tcp", "limits": {"outbox_hard_bytes": "2MiB"}}],
    }
    assert [where for where, _ in found(data)] == ["listeners[0].limits.outbox_soft_bytes"]


def test_a_required_subprotocol_must_exist() -> None:
    wrong = {"require_subprotocol": True, "websocket_subprotocols": []}
    assert [where for where, _ in found({"limits": wrong})] == ["limits.require_subprotocol"]
    assert found({"limits": {"require_subprotocol": True}}) == []
    assert found({"limits": {"websocket_subprotocols": []}}) == []


@pytest.mark.parametrize("second", [{"type": "tcp"}, {"type": "auto"}, {"type": "ws", "port": 1883}])
def test_an_address_can_be_had_once(second: dict[str, Any]) -> None:
    data = {"listeners": [{"type": "tcp"}, second]}
    assert found(data) == [("listeners[1].port", "listeners[0] has the address 127.0.0.1:1883 already")]


def test_a_socket_path_can_be_had_once() -> None:
    unix = {"type": "unix", "path": "/x"}
    assert found({"listeners": [unix, unix]}) == [
        ("listeners[1].path", "listeners[0] has the address unix:/x already"),
    ]


@pytest.mark.parametrize(
    "second", [{"type": "tcp", "port": 0}, {"type": "tcp", "port": 1884}, {"type": "tcp", "host": "127.0.0.2"}]
)
def test_other_addresses_are_others(second: dict[str, Any]) -> None:
    first = second if second.get("port") == 0 else {"type": "tcp"}
    assert found({"listeners": [first, second]}) == []


def test_names_are_distinct() -> None:
    data = {"listeners": [{"type": "tcp", "name": "a"}, {"type": "ws", "name": "a"}, {"type": "ws", "port": 0}]}
    assert found(data) == [("listeners[1].name", 'listeners[0] is called "a" already')]


@pytest.mark.parametrize("durability", ["written", "fsync"])
def test_a_level_of_durability_needs_a_folder(durability: str) -> None:
    assert found({"store": {"durability": durability}}) == [
        (
            "store.durability",
            f"there is no folder to keep anything in; {durability} needs `path` in [store], or --data DIR",
        )
    ]
    assert found({"store": {"durability": durability, "path": "/x"}}) == []


def test_a_folder_needs_no_durability() -> None:
    assert found({"store": {"durability": "none", "path": "/x"}}) == []
    assert found({"store": {"durability": "none"}}) == []


def test_access_names_the_listener_and_the_cure() -> None:
    config = Config(listeners=[ListenerConfig(type="tcp"), ListenerConfig(type="ws", host="0.0.0.0")])
    (problem,) = access_problems(config, authenticated=False)
    assert dotted(problem.involves[0]) == "listeners[1].host"
    assert [(cure.loc, cure.value) for cure in problem.cures] == [
        (("auth", "password_file"), '"/etc/triomq/passwd"'),
        (("listeners", 1, "allow_anonymous"), "true"),
    ]
    assert access_problems(config, authenticated=True) == []


def test_a_listener_that_asks_for_certificates_may_take_names_from_them() -> None:
    tls = {"certificate": "c", "client_ca": "a"}
    config = Config.model_validate({"listeners": [{"type": "tcp", "host": "::", "tls": tls}]})
    (problem,) = access_problems(config, authenticated=False)
    assert [dotted(cure.loc) for cure in problem.cures] == [
        "listeners[0].tls.user_name",
        "auth.password_file",
        "listeners[0].allow_anonymous",
    ]


def test_problems_found_by_hand_built_configurations_are_raised() -> None:
    with pytest.raises(ValueError, match=r"listeners\[1\]\.port: listeners\[0\] has the address"):
        Config(listeners=[ListenerConfig(type="tcp"), ListenerConfig(type="auto")])
    with pytest.raises(ValueError, match="must not exceed"):
        Config(limits=LimitsConfig(connect_packet_size=2 << 20))
