from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from broker.cli.bench import COMMANDS, bench

if TYPE_CHECKING:
    from tests.cli.conftest import Command


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_is_there_and_teaches(command: Command, name: str) -> None:
    found = bench.get_command(click.Context(bench), name)
    assert found is not None
    assert found.name == name
    result = command("bench", name, "--help")
    assert result.exit_code == 0
    assert f"  broker bench {name} " in result.stdout
    assert "Exit codes: 0 done" in result.stdout


def test_help_answers_the_three_questions(command: Command) -> None:
    text = command("bench", "--help").stdout
    for question in (
        "How many messages can my broker take?",
        "How long does a message take at my rate?",
        "What does WebSocket cost me?",
    ):
        assert question in text
    for name in COMMANDS:
        assert f"\n  {name} " in text


def test_help_imports_no_load() -> None:
    script = (
        "import sys; from broker.cli import run; run(['bench', '--help']);"
        "assert not {'trio', 'rich', 'pydantic', 'broker.bench'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=20)


def test_a_command_that_there_is_not(command: Command) -> None:
    result = command("bench", "fan-out")
    assert result.exit_code == 2
    assert "No such command 'fan-out'. Did you mean 'fanout'?" in result.stderr
