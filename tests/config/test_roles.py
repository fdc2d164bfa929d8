"""Roles as a configuration writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from broker.auth.patterns import Pattern, PatternError
from broker.auth.roles import policy
from broker.config import Config, ConfigError, RoleConfig, load

if TYPE_CHECKING:
    from pathlib import Path

GOOD = ["a", "a/b", "/", "+", "#", "+/a/#", "%c/x", "a/%u", "x%cy/z-%u", "100%%", "%%c", "%%%c", "$SYS/#", "$SYS/%u"]
GOOD += ["a" * 65535, "$share", "$sharex/a", "a//b"]
BAD = ["", "a/#/b", "a+", "#a", "%", "%x", "a%", "%c%u", "%u/%c%c", "$%c/a", "$share/g/a", "a\x00b", "a" * 65536, "%%%"]


@pytest.mark.parametrize("text", GOOD, ids=lambda text: text[:20])
def test_patterns(text: str) -> None:
    assert RoleConfig(name="r", allow_publish=(text,)).allow_publish == (text,)
    assert Pattern(text).text == text


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:20])
def test_what_is_no_pattern_is_none_to_those_who_use_it(text: str) -> None:
    with pytest.raises(ValidationError):
        RoleConfig(name="r", deny_subscribe=(text,))
    with pytest.raises(PatternError):
        Pattern(text)


def test_a_pattern_without_a_meaning_is_refused() -> None:
    with pytest.raises(ValidationError, match="control characters"):
        RoleConfig(name="r", allow_publish=("a\nb",))


@pytest.mark.parametrize("name", ["", " ", " a", "a\n"])
def test_a_role_has_a_name(name: str) -> None:
    with pytest.raises(ValidationError):
        RoleConfig(name=name)


def test_without_a_word_there_is_no_role() -> None:
    assert Config().roles == []


def test_roles_of_a_file_and_of_variables(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('[[roles]]\nname = "a"\nusers = ["*", "ann"]\nallow_publish = ["x/%u/#"]\n')
    environ = {"BROKER_ROLES__1__NAME": "b", "BROKER_ROLES__1__ALLOW_SUBSCRIBE": "x/#,y/%c"}
    roles = load(path, environ).roles
    assert [(role.name, role.users, role.allow_publish, role.allow_subscribe) for role in roles] == [
        ("a", ("*", "ann"), ("x/%u/#",), ()),
        ("b", (), (), ("x/#", "y/%c")),
    ]
    assert policy(roles) is not None


def test_mistakes_of_roles_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(
        '[[roles]]\nname = "a"\nallow_publsh = ["x"]\n[[roles]]\nallow_publish = ["a/#/b"]\n[[roles]]\nname = 5\n'
        "[limits]\noutbox_soft_bytes = '5MiB'\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [str(mistake).removeprefix(f"{path}:").split("\n")[0] for mistake in caught.value.mistakes] == [
        "3:1: roles[0].allow_publsh: unknown setting 'allow_publsh'; did you mean 'allow_publish'?",
        "4:3: roles[1].name: is missing; [[roles]] needs its name",
        '5:18: roles[1].allow_publish[0]: "a/#/b": # is the last level',
        "7:8: roles[2].name: must be a string, not 5",
        "9:21: limits.outbox_soft_bytes: outbox_soft_bytes (5MiB) must not exceed outbox_hard_bytes (4MiB)",
    ]


def test_two_roles_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('[[roles]]\nname = "a"\n[[roles]]\nname = "a"\n')
    with pytest.raises(ConfigError, match=r'4:8: roles\[1\]\.name: roles\[0\] is called "a" already'):
        load(path, {})


def test_roles_are_lists_of_tables(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text("roles = 5\n")
    with pytest.raises(ConfigError, match=r"roles: must be an array of tables: write \[\[roles\]\]"):
        load(path, {})
