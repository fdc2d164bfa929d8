"""How a mistake is said."""

from __future__ import annotations

import pytest

from broker.config.errors import ConfigError, Mistake, did_you_mean, dotted, indent, nearest, shown, veiled


def test_a_mistake_with_everything() -> None:
    mistake = Mistake("broker.toml:1:1", "limits.x: wrong", "x = 1\n^", "    do this")
    assert str(mistake) == "broker.toml:1:1: limits.x: wrong\n    x = 1\n    ^\n    do this"


def test_a_mistake_without_a_place() -> None:
    assert str(Mistake("", "wrong")) == "wrong"


def test_the_error_is_the_list() -> None:
    error = ConfigError([Mistake("a", "one"), Mistake("b", "two")])
    assert str(error) == "a: one\nb: two"
    assert [mistake.where for mistake in error.mistakes] == ["a", "b"]


@pytest.mark.parametrize(
    ("loc", "text"),
    [((), ""), (("limits",), "limits"), (("listeners", 0, "port"), "listeners[0].port"), (("a", "b", 2), "a.b[2]")],
)
def test_dotted(loc: tuple[str | int, ...], text: str) -> None:
    assert dotted(loc) == text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('url = "http://ann:canary@host/x"', 'url = "http://**********@host/x"'),
        ("url = 'http://ann:can@ry@host/x'", "url = 'http://**********@host/x'"),
        ('password = "canary"', 'password = "******"'),
        ('"Api-Token" = "canary"  # mine', '"Api-Token" = "******"  # mine'),
        ("http = { secret='canary', url = 'x' }", "http = { secret='******', url = 'x' }"),
        ("jwt_secret=canary", "jwt_secret=******"),
        ('password = "canary', 'password = "******'),
        ('password_file = "users"', 'password_file = "users"'),
        ('key_password_file = "users"', 'key_password_file = "users"'),
        ("password_cache = 7", "password_cache = 7"),
        ('host = "a@b"', 'host = "a@b"'),
        ("port = 1883", "port = 1883"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(line: str, expected: str) -> None:
    assert veiled(line) == expected
    assert "canary" not in veiled(line)


def test_indent() -> None:
    assert indent("a\nb") == "    a\n    b"
    assert indent("") == ""


@pytest.mark.parametrize(
    ("value", "text"), [("a", '"a"'), (True, "true"), (1.5, "1.5"), ([1, "ä"], '[1, "ä"]'), ({1}, "{1}")]
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


def test_nearest() -> None:
    names = ["maximum_qos", "maximum_packet_size", "port"]
    assert nearest("max_packet_size", names) == "maximum_packet_size"
    assert nearest("Maximum-QoS", names) == "maximum_qos"
    assert nearest("colour", names) is None
    assert did_you_mean("prot", names) == "; did you mean 'port'?"
    assert did_you_mean("colour", names) == ""
