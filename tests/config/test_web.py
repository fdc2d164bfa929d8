"""What is answered over HTTP, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from broker.config import AuthConfig, Config, ConfigError, WebConfig, load
from broker.config.changes import changes

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_word_all_is_answered_and_nobody_is_named() -> None:
    web = Config().web
    assert all((web.health, web.metrics, web.api, web.dashboard, web.publish, web.events, web.wanted))
    assert not web.metrics_anonymous
    assert (web.roles, web.tokens_file, web.anonymous) == ({}, None, None)


def test_roles(tmp_path: Path) -> None:
    passwords = AuthConfig(password_file=tmp_path / "passwd")
    web = WebConfig(admins=("ann",), operators=("ben",), viewers=("cleo", "dan"))
    assert Config(auth=passwords, web=web).web.roles == {
        "ann": "admin",
        "ben": "operator",
        "cleo": "viewer",
        "dan": "viewer",
    }


def test_whoever_is_named_must_be_able_to_log_in() -> None:
    with pytest.raises(ValidationError, match=r"web\.admins: admins could not log in.*`password_file` in \[auth\]"):
        Config(web=WebConfig(admins=("ann",)))


def test_nobody_has_two_roles(tmp_path: Path) -> None:
    passwords = AuthConfig(password_file=tmp_path / "passwd")
    with pytest.raises(ValidationError, match=r'web\.viewers: admins has "ann" already'):
        Config(auth=passwords, web=WebConfig(admins=("ann",), viewers=("ben", "ann")))


@pytest.mark.parametrize("given", ['anonymous = "root"', "admins = [5]", 'session_idle = "1s"', "helth = true"])
def test_mistakes(given: str, tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(f"[web]\n{given}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert len(caught.value.mistakes) == 1
    assert str(caught.value).startswith(f"{path}:2:")


def test_tokens_must_be_there_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    tokens = tmp_path / "tokens"
    path.write_text(f'[web]\ntokens_file = "{tokens}"\n')
    with pytest.raises(ConfigError, match=r"web\.tokens_file: .* cannot be read"):
        load(path, {})
    tokens.touch(0o644)
    with pytest.raises(ConfigError, match=r"web\.tokens_file: .* holds a secret"):
        load(path, {})
    tokens.chmod(0o600)
    assert load(path, {}).web.tokens_file == tokens


def test_who_may_do_what_changes_at_once_and_parts_by_a_restart(tmp_path: Path) -> None:
    passwords = AuthConfig(password_file=tmp_path / "passwd")
    old = Config(auth=passwords)
    new = Config(
        auth=passwords,
        web=WebConfig(
            api=False,
            admins=("ann",),
            operators=("ben",),
            viewers=("cleo",),
            tokens_file=tmp_path / "tokens",
            anonymous="none",
            metrics_anonymous=True,
            session_idle=60.0,
        ),
    )
    assert {change.path: change.restart for change in changes(old, new)} == {
        "web.api": True,
        "web.admins": False,
        "web.operators": False,
        "web.viewers": False,
        "web.tokens_file": False,
        "web.anonymous": False,
        "web.metrics_anonymous": False,
        "web.session_idle": False,
    }
