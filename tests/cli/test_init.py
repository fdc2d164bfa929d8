from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from broker.cli import COMMANDS, cli, run, version_text
from tests.conftest import BUILD

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]


def imported_by(*words: str) -> set[str]:
    """Modules that `broker …` imports."""
    code = f"import sys, broker.cli\nbroker.cli.run({list(words)!r})\nprint('\\nmodules', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("\nmodules ")[2].split())


@pytest.mark.parametrize("words", [("--version",), ("--help",)])
def test_version_and_help_import_nothing_of_the_broker(words: tuple[str, ...]) -> None:
    modules = imported_by(*words)
    assert {name for name in modules if name.partition(".")[0] == "broker"} == {
        "broker",
        "broker.cli",
        "broker.cli.leaving",
        "broker.packets",
    } & modules
    assert not modules & {"trio", "rich", "pydantic", "msgpack", "websockets"}


def test_version_says_which_and_how() -> None:
    text = version_text()
    python = ".".join(map(str, sys.version_info[:3]))
    assert text == f"triomq 0.1.0 ({'compiled,' if BUILD == 'compiled' else 'plain'} Python {python})"
    done = subprocess.run([sys.executable, "-m", "broker", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{text}\n"


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{project['name']} {project.get('version', '0.1.0')} (" in version_text()


def test_help_teaches_with_examples(command: Command) -> None:
    result = command("--help")
    assert result.exit_code == 0
    for name, (_, _, line) in COMMANDS.items():
        assert f"  {name}" in result.stdout
        assert line in result.stdout
    assert "broker pub -t" in result.stdout
    assert "broker sub -v -t" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_has_help(command: Command, name: str) -> None:
    module, attribute, line = COMMANDS[name]
    found = getattr(import_module(module), attribute)
    assert isinstance(found, click.Command)
    assert found.name == name
    result = command(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {name}")
    assert line.endswith(".")


def test_mistakes_in_the_command_are_usage_errors(command: Command) -> None:
    result = command("serv")
    assert result.exit_code == 2
    assert "No such command 'serv'. Did you mean 'serve'?" in result.stderr
    assert command("nothing-of-the-kind").exit_code == 2
    assert command("--frobnicate").exit_code == 2
    assert command().exit_code == 2


def test_run_gives_the_exit_code_and_shows_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert run(["serv"]) == 2
    assert "Did you mean 'serve'?" in capsys.readouterr().err


def test_a_terminal_that_lacks_a_character_shows_another() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import broker.cli as cli; cli.run = lambda _: print('7 µs') or 0; cli.main([])"],
        check=False,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, b"7 ?s\n", b"")


def test_run_gives_130_for_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert run([]) == 130
