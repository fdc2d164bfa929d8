"""Where the API is, and who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from broker.cli import beacon
from broker.cli.admin.options import YEAR, SecondsType, here, place_of, token_of
from broker.cli.beacon import Told
from tests.cli.admin.conftest import TOKENS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.admin.conftest import Site
    from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://h", "http://h:80"),
        ("https://h/", "https://h:443"),
        ("ws://[::1]:8080/mqtt", "http://[::1]:8080"),
        ("wss://h:8443/mqtt", "https://h:8443"),
    ],
)
def test_a_url_of_http_or_of_websocket_says_where(url: str, place: str) -> None:
    assert place_of(url).url == place


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("mqtt://h", "no URL of the API"),
        ("unix:/x", "no URL of the API"),
        ("h:8080", "is none of"),
        ("", "is none of"),
        ("http://h:99999", "is no URL"),
        ("http://me:secret@h", "takes a token"),
        ("http://h/api/v1", "has a path"),
    ],
)
def test_any_other_is_a_mistake(url: str, text: str) -> None:
    with pytest.raises(click.UsageError, match=text) as raised:
        place_of(url)
    assert "secret" not in raised.value.message


def run_here(monkeypatch: pytest.MonkeyPatch, *brokers: list[tuple[str, str]]) -> None:
    told = {
        pid: Told(listeners=[{"type": kind, "url": url} for kind, url in listeners])
        for pid, listeners in enumerate(brokers, 1)
    }
    monkeypatch.setattr(beacon, "running", lambda: told)


def test_the_broker_that_runs_here_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(
        monkeypatch, [("tcp", "mqtt://127.0.0.1:1"), ("auto", "mqtts://127.0.0.1:2"), ("ws", "ws://127.0.0.1:3/m")]
    )
    assert here().url == "http://127.0.0.1:3"
    run_here(monkeypatch, [("tcp", "mqtt://127.0.0.1:1"), ("auto", "mqtts://127.0.0.1:2")])
    assert here().url == "https://127.0.0.1:2"
    run_here(monkeypatch)
    assert here().url == "http://127.0.0.1:8080"


def test_one_without_http_and_several_are_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch, [("tcp", "mqtt://127.0.0.1:1")])
    with pytest.raises(click.UsageError, match="no listener of type ws or auto"):
        here()
    run_here(monkeypatch, [("ws", "ws://127.0.0.1:3/m")], [("auto", "mqtt://127.0.0.1:4")])
    with pytest.raises(click.UsageError, match=r"--url: http://127\.0\.0\.1:3, http://127\.0\.0\.1:4"):
        here()


def test_a_token_comes_from_an_option_a_file_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("of-file\n")
    monkeypatch.setenv("BROKER_TOKEN", "of-environment")
    assert token_of("said", None) == "said"
    assert token_of(None, path) == "of-file"
    assert token_of(None, None) == "of-environment"
    monkeypatch.setenv("BROKER_TOKEN", " ")
    assert token_of(None, None) == ""
    with pytest.raises(click.UsageError, match="give one"):
        token_of("said", path)
    for bad in (b"", b"two words", b"a\nb", "ü".encode(), b"\xff"):
        path.write_bytes(bad)
        with pytest.raises(click.UsageError, match=r"--token-file .*(one word of ASCII|no text)"):
            token_of(None, path)


def test_who_asks_decides_what_may_be_done(guarded: Site, command: Command, token_file: str) -> None:
    result = command("clients", "--url", guarded.url)
    assert result.exit_code == 5
    assert "--token-file" in result.stderr
    result = command("clients", "--url", guarded.url, env={"BROKER_TOKEN": "wrong"})
    assert result.exit_code == 5
    assert "does not know this token" in result.stderr
    result = command("clients", "--url", guarded.url, "--token", TOKENS["viewer"], "-o", "json")
    assert (result.exit_code, result.stdout) == (0, "[]\n")
    result = command("clients", "kick", "nobody", "--url", guarded.url, "--token", TOKENS["viewer"])
    assert result.exit_code == 5
    assert "needs the role operator; yours is viewer" in result.stderr
    result = command("clients", "kick", "nobody", "--url", guarded.url, "--token-file", token_file)
    assert result.exit_code == 1
    assert "No such Client is connected." in result.stderr


def test_tls_is_verified(guarded: Site, command: Command, token_file: str) -> None:
    with_token = ("clients", "-o", "json", "--url", guarded.secure, "--token-file", token_file)
    assert command(*with_token, "--cafile", guarded.ca).stdout == "[]\n"
    assert command(*with_token, "--insecure").stdout == "[]\n"
    result = command(*with_token)
    assert result.exit_code == 4
    assert "certificate" in result.stderr
    result = command("clients", "--url", guarded.url, "--insecure")
    assert result.exit_code == 2
    assert "say https://" in result.stderr
    result = command("clients", "--url", guarded.secure.replace("https", "http"), "--token-file", token_file)
    assert result.exit_code == 4
    assert "https://" in result.stderr


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("366d", YEAR)])
def test_times(text: str, seconds: float) -> None:
    assert SecondsType().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "5 m", "367d", "1e3", "inf", "5w", "0.5"])
def test_no_times(text: str) -> None:
    with pytest.raises(click.UsageError, match="is no time"):
        SecondsType().convert(text, None, None)
