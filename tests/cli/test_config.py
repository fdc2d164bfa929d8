"""`broker config` and `broker check-config`."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest
import trustme
from click.testing import CliRunner, Result

from broker.cli.config import check_config, config
from broker.cli.page import NO_LISTENER, NOT_BUILT, OFF
from broker.config import load, schema
from broker.config.text import sample

if TYPE_CHECKING:
    from pathlib import Path

    import click

BROKEN = "[limits]\nmax_inflght = 20\nmaximum_qos = 3\n"


def run(command: click.Command, *arguments: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner(env={"BROKER_CONFIG": None, **(environ or {})}).invoke(command, arguments)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broker.toml"
    path.write_text(BROKEN)
    return path


def test_show_without_a_file() -> None:
    result = run(config, "show")
    assert result.exit_code == 0
    data = tomllib.loads(result.stdout)
    assert data["limits"]["maximum_qos"] == 2
    assert [listener["type"] for listener in data["listeners"]] == ["tcp", "ws"]


def test_show_with_everything(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text("[limits]\nmaximum_qos = 1\n")
    environ = {"BROKER_LIMITS__TOPIC_LEVELS": "9"}
    result = run(config, "show", "-c", str(path), "--bind", "unix:/x", "--changed", environ=environ)
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout) == {
        "limits": {"maximum_qos": 1, "topic_levels": 9},
        "listeners": [
            {"type": "unix", "name": "", "path": "/x", "mode": 0o660, "proxy_protocol": False, "trusted_proxies": []}
        ],
    }
    assert f"# {path}:2" in result.stdout
    assert "# BROKER_LIMITS__TOPIC_LEVELS" in result.stdout


def test_show_of_a_secure_bind_says_where_the_key_is_and_not_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    path.touch(0o600)
    path.write_bytes(trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
    result = run(config, "show", "--bind", f"mqtts://127.0.0.1?certificate={path}")
    assert result.exit_code == 0
    (listener,) = tomllib.loads(result.stdout)["listeners"]
    assert (listener["port"], listener["tls"]["key"]) == (8883, str(path))
    assert "PRIVATE" not in result.stdout


def test_show_of_a_bind_without_its_certificate() -> None:
    result = run(config, "show", "--bind", "wss://127.0.0.1?certificate=/no/such")
    assert result.exit_code == 2
    assert "--bind wss://127.0.0.1?certificate=/no/such: /no/such cannot be read" in result.stderr


def test_show_with_a_data_folder() -> None:
    result = run(config, "show", "--data", "/x", "--changed")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["store"] == {"path": "/x"}
    assert "# --data /x" in result.stdout


def test_show_takes_the_file_of_the_environment(broken: Path) -> None:
    result = run(config, "show", environ={"BROKER_CONFIG": str(broken)})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{broken}:2:1: limits.max_inflght" in result.stderr


def test_schema() -> None:
    result = run(config, "schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == schema()


def test_init_to_stdout() -> None:
    assert run(config, "init").stdout == sample()


def test_init_writes_a_file_that_can_be_used_and_never_over_one(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    result = run(config, "init", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"broker serve -c {path}" in result.stderr
    load(path, {})
    path.write_text("mine")
    result = run(config, "init", str(path))
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert path.read_text() == "mine"
    assert run(config, "init", "--force", str(path)).exit_code == 0
    assert path.read_text() == sample()


def test_init_where_nothing_can_be_written(tmp_path: Path) -> None:
    result = run(config, "init", str(tmp_path / "no" / "broker.toml"))
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


def test_check_of_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(sample())
    result = run(check_config, str(path))
    assert result.exit_code == 0
    good, page = result.stdout.splitlines()
    assert good == f"{path}: good (tcp://127.0.0.1:1883, ws://127.0.0.1:8080)"
    assert page in ("  dashboard: http://127.0.0.1:8080/", f"  dashboard: {NOT_BUILT}")


def test_check_of_a_file_without_listeners(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text("listeners = []")
    assert run(check_config, str(path)).stdout == f"{path}: good (no listener)\n  dashboard: {NO_LISTENER}\n"


def test_check_says_where_the_dashboard_would_be(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text("[web]\ndashboard = false\n")
    assert run(check_config, str(path)).stdout.splitlines()[1] == f"  dashboard: {OFF}"


def test_check_names_every_mistake(broken: Path) -> None:
    result = run(check_config, str(broken), environ={"BROKER_LOG_LEVEL": "debug"})
    assert result.exit_code == 2
    assert result.stdout == ""
    for words in ("2:1: limits.max_inflght", "3:15: limits.maximum_qos", "BROKER_LOG_LEVEL: unknown setting"):
        assert words in result.stderr


def test_check_without_a_file() -> None:
    result = run(check_config)
    assert result.exit_code == 2
    assert "FILE" in result.stderr


def test_check_takes_the_file_of_the_environment(broken: Path) -> None:
    assert run(check_config, environ={"BROKER_CONFIG": str(broken)}).exit_code == 2
