"""What differs, and what of that needs a restart."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config import Config
from broker.config.changes import AT_ONCE, KNOWN_BY, Change, changes
from broker.config.settings import LISTS, TABLES
from broker.config.table import plain

TCP = {"type": "tcp"}
TLS = {"certificate": "c"}


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [str(change) for change in changes(Config.model_validate(old), Config.model_validate(new))]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"listeners": []},
        {"listeners": [{"type": "tcp", "port": 0}, {"type": "tcp", "port": 0, "tls": TLS}], "roles": [{"name": "a"}]},
    ],
)
def test_of_the_same_nothing_differs(data: dict[str, Any]) -> None:
    assert told(data, data) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ({}, {"log": {"level": "debug"}}, 'log.level: "info" -> "debug"'),
        ({}, {"log": {"format": "json"}}, 'log.format: "auto" -> "json" (needs a restart)'),
        ({}, {"limits": {"maximum_qos": 1}}, "limits.maximum_qos: 2 -> 1"),
        ({}, {"limits": {"versions": ["5.0"]}}, 'limits.versions: ["3.1", "3.1.1", "5.0"] -> ["5.0"]'),
        ({}, {"server": {"sessions": 5}}, "server.sessions: 1000000 -> 5"),
        ({}, {"server": {"topic_cache": 5}}, "server.topic_cache: 16384 -> 5 (needs a restart)"),
        ({"store": {"path": "/x"}}, {"store": {"path": "/y"}}, 'store.path: "/x" -> "/y" (needs a restart)'),
        ({}, {"store": {"reserve": "1GiB"}}, 'store.reserve: not set -> "1GiB" (needs a restart)'),
        ({}, {"roles": [{"name": "a"}]}, 'roles[0]: not set -> { name = "a" }'),
        ({"roles": [{"name": "a"}]}, {}, 'roles[0]: { name = "a" } -> not set'),
        (
            {"roles": [{"name": "a"}, {"name": "b"}]},
            {"roles": [{"name": "b", "users": ["x"]}, {"name": "a"}]},
            'roles[0].users: [] -> ["x"]',
        ),
        (
            {"auth": {"jwt": {"keys": [{"algorithm": "ES256", "key_file": "/a"}]}}},
            {"auth": {"jwt": {"keys": [{"algorithm": "ES256", "key_file": "/b"}]}}},
            'auth.jwt.keys[0].key_file: "/a" -> "/b"',
        ),
    ],
)
def test_one_change(old: dict[str, Any], new: dict[str, Any], line: str) -> None:
    assert told(old, new) == [line]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ({}, {"name": "a"}, 'listeners[0].name: "" -> "a" (needs a restart)'),
        ({}, {"type": "auto"}, 'listeners[0].type: "tcp" -> "auto" (needs a restart)'),
        ({}, {"allow_anonymous": True}, "listeners[0].allow_anonymous: not set -> true"),
        ({}, {"trusted_proxies": ["::1"]}, 'listeners[0].trusted_proxies: [] -> ["::1/128"] (needs a restart)'),
        ({}, {"limits": {"topic_levels": 5}}, "listeners[0].limits.topic_levels: 128 -> 5"),
        ({}, {"tls": TLS}, 'listeners[0].tls: not set -> { certificate = "c" } (needs a restart)'),
        ({"tls": TLS}, {}, 'listeners[0].tls: { certificate = "c" } -> not set (needs a restart)'),
        ({"tls": TLS}, {"tls": {**TLS, "minimum_version": "1.3"}}, 'listeners[0].tls.minimum_version: "1.2" -> "1.3"'),
        (
            {"tls": TLS},
            {"tls": {**TLS, "hosts": [{"names": ["a"], "certificate": "d"}]}},
            'listeners[0].tls.hosts[0]: not set -> { names = ["a"], certificate = "d" }',
        ),
    ],
)
def test_one_change_of_a_listener(old: dict[str, Any], new: dict[str, Any], line: str) -> None:
    port = {"type": "tcp", "port": 5}
    assert told({"listeners": [{**port, **old}]}, {"listeners": [{**port, **new}]}) == [line]


def test_a_setting_that_others_follow_takes_them_along() -> None:
    assert told({"listeners": [TCP]}, {"listeners": [TCP], "auth": {"password_file": "p"}}) == [
        "listeners[0].allow_anonymous: not set -> false",
        'auth.password_file: not set -> "p"',
    ]


def test_listeners_are_known_by_their_addresses() -> None:
    old = {"listeners": [{"type": "tcp", "port": 1}, {"type": "ws", "port": 2}]}
    new = {"listeners": [{"type": "ws", "port": 2, "limits": {"maximum_qos": 0}}, {"type": "tcp", "port": 3}]}
    assert told(old, new) == [
        "listeners[0].limits.maximum_qos: 2 -> 0",
        'listeners[1]: not set -> { type = "tcp", port = 3 } (needs a restart)',
        'listeners[0]: { type = "tcp", port = 1 } -> not set (needs a restart)',
    ]


def test_limits_of_all_are_told_once() -> None:
    own = [{"type": "tcp", "limits": {"topic_levels": 3}}, {"type": "ws"}]
    old = {"listeners": own}
    assert told(old, {"listeners": own, "limits": {"topic_levels": 4, "maximum_qos": 1}}) == [
        "limits.maximum_qos: 2 -> 1",
        "limits.topic_levels: 128 -> 4",
    ]
    assert told(old, {"listeners": [TCP, {"type": "ws"}]}) == ["listeners[0].limits.topic_levels: 3 -> 128"]


def test_a_change_has_its_parts() -> None:
    (change,) = changes(Config(), Config.model_validate({"log": {"level": "debug"}}))
    assert change == Change("log.level", '"info"', '"debug"', restart=False)


def test_what_is_taken_over_exists() -> None:
    for path in AT_ONCE:
        assert path in TABLES or path[-1] in plain(TABLES[path[:-1]])


def test_every_list_of_tables_is_known_by_something() -> None:
    assert set(KNOWN_BY) == LISTS
    for path, names in KNOWN_BY.items():
        assert set(names) <= set(plain(TABLES[path]))
