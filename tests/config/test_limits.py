"""Every limit, by hand and by introspection against the core's plain objects."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from broker.config import (
    Config,
    LimitsConfig,
    ServerConfig,
)
from broker.core.limits import DROP_OLDEST, LENIENT, OVERFLOW_POLICIES, REJECT, STRICT, Limits, ServerLimits
from tests.core.parts import values_of

LIMITS = values_of(Limits())
SERVER = values_of(ServerLimits())


# -- The same names, defaults and types as the core's


def test_every_limit_of_the_core_is_a_setting() -> None:
    assert set(LimitsConfig.model_fields) == set(LIMITS)
    assert set(ServerConfig.model_fields) == {*SERVER, "allow_readable_keys"}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_by_default(name: str) -> None:
    value = getattr(LimitsConfig().build(), name)
    assert value == LIMITS[name]
    assert type(value) is type(LIMITS[name])


@pytest.mark.parametrize("name", SERVER)
def test_server_limits_by_default(name: str) -> None:
    value = getattr(Config().server_limits(), name)
    assert value == SERVER[name]
    assert type(value) is type(SERVER[name])


def test_the_plain_objects_are_the_cores() -> None:
    assert type(Config().listeners[0].build_limits()) is Limits
    assert type(Config().server_limits()) is ServerLimits


def test_overflow_has_the_cores_policies() -> None:
    assert set(get_args(LimitsConfig.model_fields["overflow"].annotation)) == set(OVERFLOW_POLICIES)


def test_a_full_queue_has_the_cores_policies() -> None:
    assert get_args(LimitsConfig.model_fields["queue_overflow"].annotation) == (REJECT, DROP_OLDEST)
    assert LimitsConfig(queue_overflow="drop-oldest").build().queue_overflow == DROP_OLDEST


def test_keep_alive_has_the_cores_words() -> None:
    assert get_args(LimitsConfig.model_fields["keep_alive"].annotation) == (STRICT, LENIENT)


def test_types_of_values_stay_what_the_core_expects() -> None:
    limits = LimitsConfig.model_validate(
        {
            "versions": ["5.0"],
            "maximum_packet_size": "2MB",
            "session_expiry_maximum": "1d",
            "handshake_timeout": 3,
            "keep_alive_grace": 2,
            "websocket_paths": "/a,/b",
        }
    ).build()
    assert limits.versions == (5,)
    assert (limits.maximum_packet_size, type(limits.maximum_packet_size)) == (2_000_000, int)
    assert (limits.session_expiry_maximum, type(limits.session_expiry_maximum)) == (86400, int)
    assert (limits.handshake_timeout, type(limits.handshake_timeout)) == (3.0, float)
    assert (limits.keep_alive_grace, type(limits.keep_alive_grace)) == (2.0, float)
    assert limits.websocket_paths == ("/a", "/b")


# -- Ranges

RANGES: dict[str, tuple[Any, ...]] = {
    "maximum_qos": (0, 2, -1, 3),
    "receive_maximum": (1, 65535, 0, 65536),
    "maximum_packet_size": (128, 268_435_455, 127, 268_435_456),
    "topic_alias_maximum": (0, 65535, -1, 65536),
    "server_keep_alive_maximum": (0, 65535, -1, 65536),
    "keep_alive_grace": (1, 10, 0.9, 10.1),
    "session_expiry_maximum": (0, 0xFFFFFFFF, -1, 0x100000000),
    "message_expiry_maximum": (0, 0xFFFFFFFF, -1, 0x100000000),
    "client_identifier_maximum": (23, 65535, 22, 65536),
    "handshake_timeout": (0.001, 3600, 0, 3601),
    "connect_packet_size": (128, 268_435_455, 127, 268_435_456),
    "topic_bytes": (1, 65535, 0, 65536),
    "topic_levels": (1, 65535, 0, 65536),
    "properties_bytes": (1, 268_435_455, 0, 268_435_456),
    "user_properties": (0, 1, -1, -2),
    "acknowledgement_bytes": (16, 268_435_455, 15, 268_435_456),
    "subscriptions_per_packet": (1, 2, 0, -1),
    "subscriptions_per_session": (1, 2, 0, -1),
    "messages_per_second": (0, 1, -1, -2),
    "bytes_per_second": (0, 1, -1, -2),
    "subscription_bytes_per_session": (1024, 2048, 1023, 0),
    "max_inflight": (1, 65535, 0, 65536),
    "outgoing_topic_alias_maximum": (0, 65535, -1, 65536),
    "queue_messages": (1, 2, 0, -1),
    "queue_bytes": (1, 2, 0, -1),
    "outbox_soft_bytes": (1, 2, 0, -1),
    "outbox_hard_bytes": (1024, 2048, 1023, -1),
    "write_stall_timeout": (0.1, 60, 0, -1),
    "websocket_ping_interval": (0, 60, -1, -0.5),
    "websocket_frame_bytes": (128, 1 << 20, 127, 0),
    "websocket_fragments": (1, 2, 0, -1),
    "max_connections": (0, 1, -1, -2),
}


def test_every_number_has_a_range() -> None:
    numbers = {name for name, value in LIMITS.items() if type(value) in (int, float)}
    assert set(RANGES) == numbers


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_a_range_are_in_it(name: str) -> None:
    low, high, _, _ = RANGES[name]
    for value in (low, high):
        assert getattr(LimitsConfig.model_validate({name: value}), name) == value


@pytest.mark.parametrize("name", RANGES)
def test_beyond_the_range_is_refused(name: str) -> None:
    for value in RANGES[name][2:]:
        with pytest.raises(ValidationError) as caught:
            LimitsConfig.model_validate({name: value})
        assert [detail["loc"] for detail in caught.value.errors()] == [(name,)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retained_messages", -1),
        ("retained_bytes", -1),
        ("sessions", 0),
        ("sessions_per_user", -1),
        ("connections", -1),
        ("connections_per_address", -1),
        ("connects_per_second", -1),
        ("handshakes", -1),
        ("buffered_bytes", 1023),
        ("memory", -1),
        ("topic_cache", 0),
        ("subscription_bytes", 1023),
        ("flapping_connects", -1),
        ("flapping_window", 0),
        ("flapping_ban", 0),
        ("takeover_storm", -1),
        ("sys_interval", -1),
        ("shutdown_timeout", -0.1),
    ],
)
def test_ranges_of_the_server(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        ServerConfig.model_validate({name: value})
