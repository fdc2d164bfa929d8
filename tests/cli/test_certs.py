"""`broker certs`."""

from __future__ import annotations

import json
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from broker.cli import authority, certs
from broker.config import load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.fixture
def folder(command: Command, tmp_path: Path) -> Path:
    """With a CA in it."""
    path = tmp_path / "a folder"
    result = command("certs", "init", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "for development only" in result.stderr
    return path


def test_a_server_with_its_lines_for_the_configuration(command: Command, folder: Path) -> None:
    result = command("certs", "server", str(folder))
    assert result.exit_code == 0
    (listener,) = tomllib.loads(result.stdout)["listeners"]
    assert (listener["type"], listener["port"]) == ("tcp", 8883)
    assert listener["tls"] == {
        "certificate": str(folder / "server.crt"),
        "key": str(folder / "server.key"),
        "client_ca": str(folder / "ca.crt"),
        "require_client_certificate": False,
    }
    file = folder / "broker.toml"
    file.write_text(result.stdout)
    assert load(file, {}).listeners[0].label == "mqtts://127.0.0.1:8883"
    (shown,) = authority.read_certificates(folder / "server.crt")
    assert shown.names == ("localhost", "127.0.0.1", "::1")
    assert "--force writes over it" in command("certs", "server", str(folder), "other").stderr
    assert command("certs", "server", str(folder), "b.test", "10.0.0.1", "--force").exit_code == 0
    (shown,) = authority.read_certificates(folder / "server.crt")
    assert shown.names == ("b.test", "10.0.0.1")


def test_a_client_with_a_command_to_run(command: Command, folder: Path) -> None:
    result = command("certs", "client", str(folder), "sensor 7")
    assert result.exit_code == 0
    assert f"--cert '{folder}/client-sensor 7.crt' --key '{folder}/client-sensor 7.key'" in result.stdout
    (shown,) = authority.read_certificates(folder / "client-sensor 7.crt")
    assert (shown.subject, shown.usage) == ("CN=sensor 7", ("client",))


def test_a_ca_is_not_written_over(command: Command, folder: Path) -> None:
    before = (folder / "ca.key").read_bytes()
    result = command("certs", "init", str(folder))
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {folder}/ca.crt is there already; --force writes over it.\n",
    )
    assert (folder / "ca.key").read_bytes() == before
    assert command("certs", "init", str(folder), "--force").exit_code == 0
    assert (folder / "ca.key").read_bytes() != before


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("server", "{}", "no name"), 2, "'no name' is neither a DNS name nor an IP address."),
        (("client", "{}", "a/b"), 2, "cannot have a / in it"),
        (("client", "{}", ""), 2, "1 to 64 printable characters"),
        (("client", "{}"), 2, "Missing argument 'NAME'"),
        (("server", "{}/other"), 1, "make a CA there first, with 'broker certs init"),
        (("init", "{}/ca.crt"), 2, "is a file"),
        (("init", "{}/ca.crt/x"), 1, "Not a directory"),
        (("show", "{}/ca.key"), 1, "holds a private key"),
        (("show", "{}/none"), 2, "does not exist"),
    ],
)
def test_mistakes(command: Command, folder: Path, words: tuple[str, ...], code: int, why: str) -> None:
    result = command("certs", *(word.format(folder) for word in words))
    assert result.exit_code == code
    assert why in " ".join(result.stderr.split())
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "ca.key"]


def test_a_broken_ca(command: Command, folder: Path) -> None:
    (folder / "ca.key").write_text("no key")
    result = command("certs", "server", str(folder))
    assert result.exit_code == 1
    assert "cannot be read as a CA's certificate" in result.stderr


def test_show(command: Command, folder: Path) -> None:
    command("certs", "server", str(folder))
    text = command("certs", "show", str(folder / "server.crt")).stdout
    (shown,) = authority.read_certificates(folder / "server.crt")
    assert "names    localhost, 127.0.0.1, ::1\nfor      server\n" in text
    assert "824 days left\n" in text
    assert text.splitlines()[-1].replace(":", "").lower() == f"sha-256  {shown.fingerprint}"
    (found,) = json.loads(command("certs", "show", "--json", str(folder / "server.crt")).stdout)
    assert found["subject"] == "CN=localhost"
    assert found["names"] == ["localhost", "127.0.0.1", "::1"]
    assert datetime.fromisoformat(found["not_after"]) == shown.not_after
    assert (found["days_left"], found["fingerprint"]) == (824, shown.fingerprint)
    assert "issuer   itself\n" in command("certs", "show", str(folder / "ca.crt")).stdout


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (0, "824 days left\n"),
        (810, "14 days left, renew it\n"),
        (900, "EXPIRED 76 days ago\n"),
        (-2, "NOT YET VALID\n"),
    ],
)
def test_how_long_it_is_good(tmp_path: Path, days: int, said: str) -> None:
    now = datetime.now(UTC)
    ca = authority.make_ca(now)
    path = tmp_path / "x.crt"
    authority.write_pair(authority.make_client(ca, "a", now), path, tmp_path / "x.key", force=False)
    assert said in certs._as_text(authority.read_certificates(path)[0], now + timedelta(days=days))


def test_without_the_package(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "broker.cli.authority")
    monkeypatch.delattr("broker.cli.authority")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    result = command("certs", "init", str(tmp_path / "new"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: this needs the package cryptography: pip install 'triomq[certs]'\n"
    assert not (tmp_path / "new").exists()
