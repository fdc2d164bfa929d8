"""`broker explain`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.auth.patterns import Pattern
from broker.config import RoleConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Command

ROLES = """\
[[roles]]
name = "sensor"
users = ["s1"]
allow_publish = ["home/%c/#"]
deny_publish = ["home/%c/secret"]
allow_retain = ["home/+/state"]

[[roles]]
name = "reader"
users = ["*", "anonymous"]
allow_subscribe = ["home/#"]
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "broker.toml"
    file.write_text(ROLES)
    return str(file)


def test_allowed(command: Command, path: str) -> None:
    result = command("explain", "-c", path, "--client", "c1", "--user", "s1", "publish", "home/c1/t")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "allowed: publish 'home/c1/t', Client 'c1' of user 's1'",
        '  because: role "sensor", allow_publish[0] = "home/%c/#", here "home/c1/#"',
        "  roles:   sensor, reader",
    ]
    assert result.stderr == ""


def test_refused(command: Command, path: str) -> None:
    result = command("explain", "--client", "c1", "publish", "home/c1/t", env={"BROKER_CONFIG": path})
    assert result.exit_code == 5
    assert result.stdout.splitlines()[0] == "refused: publish 'home/c1/t', Client 'c1' of nobody (anonymous)"
    assert "none of the roles has a rule that allows it" in result.stdout


def test_for_programs(command: Command, path: str) -> None:
    words = ("explain", "-c", path, "--client", "c1", "--role", "sensor", "--json")
    result = command(*words, "publish", "home/c1/x", "--retain")
    assert result.exit_code == 5
    found = json.loads(result.stdout)
    assert (found["allowed"], found["retain"], found["roles"]) == (False, True, ["sensor", "reader"])
    result = command(*words, "publish", "home/c1/state", "--retain")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["rule"]["list"] == "allow_retain"
    result = command("explain", "-c", path, "--client", "c1", "publish", "a", "-o", "json")
    assert json.loads(result.stdout)["allowed"] is False


def test_subscribe_and_receive(command: Command, path: str) -> None:
    words = ("explain", "-c", path, "--client", "c1")
    assert command(*words, "subscribe", "$share/g/home/+").exit_code == 0
    assert command(*words, "subscribe", "#").exit_code == 5
    assert command(*words, "receive", "home/x").exit_code == 0
    assert command(*words, "receive", "$SYS/x").exit_code == 5


@pytest.mark.parametrize("words", [("--retain",), ("--user", "u"), ("--role", "r")])
def test_a_running_broker_knows_the_client_itself(command: Command, words: tuple[str, ...]) -> None:
    result = command("explain", "--client", "c1", "--topic", "a", *words)
    assert result.exit_code == 2
    assert f"{words[0]} asks a configuration" in result.stderr


def test_the_file_of_the_environment_is_no_hindrance(command: Command, path: str) -> None:
    url = ("--url", "http://127.0.0.1:1")
    result = command("explain", "--client", "c1", "--topic", "a", *url, env={"BROKER_CONFIG": path})
    assert result.exit_code == 4
    assert "connection refused" in result.stderr


def test_without_roles(command: Command) -> None:
    result = command("explain", "--client", "c1", "publish", "a")
    assert result.exit_code == 0
    assert "there are no roles" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--client", "c1", "publish", "a/#"), "'a/#' is no Topic Name: a wildcard in a Topic Name"),
        (("--client", "c1", "subscribe", "a#"), "'a#' is no Topic Filter: # does not occupy a whole level"),
        (("--client", "c1", "subscribe", "a", "--retain"), "--retain goes with publish only"),
        (("--client", "c1", "--role", "sensr", "publish", "a"), "there is no role 'sensr'. Did you mean 'sensor'?"),
        (("--client", "c1", "--role", "x", "publish", "a"), "there is no role 'x'. There are: sensor, reader."),
        (("--client", "c1", "eat", "a"), "'eat' is not one of 'publish', 'subscribe', 'receive'"),
        (("publish", "a"), "--client"),
        (("--client", "c1"), "Say --topic TOPIC to ask a running broker"),
        (("--client", "c1", "publish"), "Say --topic TOPIC to ask a running broker"),
        (("--client", "c1", "publish", "a", "--url", "http://x"), "--url asks a running broker, which needs --topic"),
        (("--client", "c1", "publish", "a", "--watch", "5"), "--watch asks a running broker"),
        (("--client", "c1", "--topic", "a"), "--config asks a configuration, and --topic a running broker"),
        (("--client", "c1", "--topic", "a", "publish", "a"), "'publish' a configuration: give one of them"),
    ],
)
def test_usage(command: Command, path: str, words: tuple[str, ...], message: str) -> None:
    result = command("explain", "-c", path, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_file_that_cannot_be_used(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text('[[roles]]\nname = "a"\nallow_publish = ["ok", "a/#/b"]\nusers = ["ann"]\n')
    result = command("explain", "-c", str(file), "--client", "c1", "publish", "a")
    assert result.exit_code == 2
    assert "allow_publish" in result.stderr
    assert "a/#/b" in result.stderr
    missing = command("explain", "-c", str(tmp_path / "none.toml"), "--client", "c1", "publish", "a")
    assert missing.exit_code == 2
    assert "none.toml" in missing.stderr


def test_help(command: Command) -> None:
    result = command("explain", "--help")
    assert result.exit_code == 0
    assert "broker explain -c broker.toml" in result.stdout
    assert "broker explain --client panel-3 --topic building/3/temperature" in result.stdout


def test_the_guide_is_true(command: Command, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "permissions.md").read_text("utf-8")
    file = tmp_path / "broker.toml"
    file.write_text(guide.partition("```toml\n")[2].partition("```")[0])
    console = guide.partition("```console\n")[2].partition("```")[0]
    examples = [example.split("\n", 1) for example in f"\n{console}".split("\n$ broker ")[1:]]
    assert len(examples) == 2
    for words, output in examples:
        result = command(*[str(file) if word == "broker.toml" else word for word in shlex.split(words)])
        assert result.exit_code == 5
        assert result.stdout.strip() == output.strip()


@given(st.text("%cua/+#$\n\x7fü", max_size=7))
@example("$share/g/a")
@example("a/" + "%c/" * 9)
def test_the_configuration_takes_what_is_a_pattern(text: str) -> None:
    assert taken(lambda: RoleConfig(name="a", allow_publish=(text,))) == taken(lambda: Pattern(text))


def taken(make: Callable[[], object]) -> bool:
    try:
        make()
    except ValueError:
        return False
    return True
