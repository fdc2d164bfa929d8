from __future__ import annotations

import json
import re
import signal
import socket
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.cli import version_text
from broker.cli.page import NO_LISTENER, NOT_BUILT
from broker.cli.serve import durability, where_it_is_kept, who_may_connect
from broker.config import StoreConfig, parse_bind
from broker.store.folder import StoreError, StoreFailed
from tests.cli.conftest import Process

if TYPE_CHECKING:
    from tests.cli.conftest import Command

URL = re.compile(rb"(mqtt://|ws://|unix:)\S+")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_banner_with_urls_to_paste_then_an_orderly_stop(command: Command, tmp_path: Path, number: int) -> None:
    path = tmp_path / "b.sock"
    binds = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/here", "auto://127.0.0.1:0", f"unix:{path}"]
    words = [word for bind in binds for word in ("--bind", bind)]
    with Process("serve", "--log-format", "text", *words) as process:
        lines = process.error_lines(b"Ctrl-C stops it")
        urls = [found[0].decode() for line in lines if (found := URL.search(line))]
        assert lines[0].decode() == f"{version_text()}\n"
        assert [re.sub(r":\d+", ":0", url) for url in urls] == [
            "mqtt://127.0.0.1:0",
            "ws://127.0.0.1:0/here",
            "mqtt://127.0.0.1:0",
            "ws://127.0.0.1:0/mqtt",
            f"unix:{path}",
        ]
        assert all(b"anybody on this machine, without a password" in line for line in lines[1:6])
        assert b"configuration: built-in defaults" in lines[6]
        assert b"data: none: acknowledged = in memory, gone when the broker stops ('--data DIR' keeps it)" in lines[7]
        places = re.sub(rb":\d+", b":0", lines[8])
        assert places == b"  dashboard: http://127.0.0.1:0/, http://127.0.0.1:0/\n" or NOT_BUILT.encode() in places
        for url in urls:
            result = command("pub", "-L", url, "-t", "a", "-m", "x", "-q", "1")
            assert (result.exit_code, result.output) == (0, "")
        process.popen.send_signal(number)
        code, out, err = process.wait()
    assert (code, out) == (0, b"")
    assert signal.Signals(number).name.encode() in err
    assert not path.exists()


def test_json_says_which_it_is_and_where_it_listens_too() -> None:
    with Process("serve", "--bind", "tcp://127.0.0.1:0") as process:
        started, told = map(json.loads, process.error_lines(b"listening"))
        assert started["message"] == "started"
        assert started["version"] == version_text()
        assert (started["data"], started["durability"]) == (None, "none")
        assert started["meaning"] == "acknowledged = in memory, gone when the broker stops"
        assert (started["dashboard"], started["no_dashboard"]) == ([], NO_LISTENER)
        assert told["level"] == "info"
        assert re.fullmatch(r"mqtt://127\.0\.0\.1:\d+", told["url"])


def test_a_file_named_by_option_or_environment(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text('[log]\nformat = "text"\n[[listeners]]\ntype = "tcp"\nport = 0\n')
    with Process("serve", env={"BROKER_CONFIG": str(file)}) as process:
        lines = process.error_lines(b"Ctrl-C stops it")
    assert f"  configuration: {file}\n".encode() in lines


def test_a_taken_port_is_named_with_what_to_do(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = command("serve", "--bind", f"tcp://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert f"tcp://127.0.0.1:{port}" in result.stderr
    assert "take another port" in result.stderr


def test_all_mistakes_in_the_configuration_at_once(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text("[limits]\nmax_inflght = 20\nmaximum_qos = 3\n")
    result = command("serve", "-c", str(file))
    assert result.exit_code == 2
    assert f"{file}:2:1" in result.stderr
    assert "did you mean 'max_inflight'?" in result.stderr
    assert f"{file}:3:" in result.stderr
    assert command("serve", "-c", str(tmp_path / "none.toml")).exit_code == 2
    assert command("serve", "--bind", "tpc://127.0.0.1:0").exit_code == 2


def test_strangers_are_let_in_only_when_it_is_said(command: Command) -> None:
    result = command("serve", "--bind", "tcp://0.0.0.0:0")
    assert result.exit_code == 2
    assert "allow_anonymous=true" in result.stderr
    assert command("serve", "--allow-anonymous").exit_code == 2
    words = ["--bind", "tcp://0.0.0.0:0", "--bind", "ws://0.0.0.0:0?name=x"]
    with Process("serve", "--allow-anonymous", "--log-format", "text", *words) as process:
        lines = process.error_lines(b"Ctrl-C stops it")
    assert sum(b"anybody who can reach it, without a password" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (StoreConfig(), "none: acknowledged = in memory, gone when the broker stops ('--data DIR' keeps it)"),
        (StoreConfig(path=Path("/x")), "/x (fsync: acknowledged = on the disk, survives power loss)"),
        (
            StoreConfig(path=Path("/x"), durability="written"),
            "/x (written: acknowledged = handed to the system, survives kill -9)",
        ),
        (
            StoreConfig(path=Path("/x"), durability="none"),
            "none: acknowledged = in memory, gone when the broker stops (nothing is written to /x)",
        ),
    ],
)
def test_where_it_is_kept(store: StoreConfig, expected: str) -> None:
    assert where_it_is_kept(store) == expected
    told = durability(store)
    assert told["data"] == (str(store.path) if store.path else None)
    assert f"{told['durability']}: {told['meaning']}" in expected


def test_a_data_folder_that_is_none(command: Command) -> None:
    result = command("serve", "--data", "")
    assert result.exit_code == 2
    assert result.stderr == "Error: --data: must name a folder; without one leave the setting out\n"


@pytest.mark.parametrize(
    ("error", "form", "code", "words"),
    [
        (StoreError("/x/store.db: it is damaged."), "text", 2, "Error: /x/store.db: it is damaged.\n"),
        (StoreError("/x/store.db: it is damaged."), "json", 2, '"message": "/x/store.db: it is damaged."'),
        (
            StoreFailed("the store cannot be written"),
            "text",
            74,
            "Error: the store cannot be written; nothing that was",
        ),
        (StoreFailed("the store cannot be written"), "json", 74, '"message": "the store cannot be written; nothing'),
    ],
)
def test_what_a_store_ends_the_broker_with(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, form: str, code: int, words: str
) -> None:
    async def run(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("broker.server.run", run)
    result = command("serve", "--data", "/x", "--log-format", form)
    assert result.exit_code == code
    assert words in result.stderr
    (line,) = result.stderr.splitlines()
    assert form == "text" or json.loads(line)["level"] == "critical"


@pytest.mark.parametrize(
    "words",
    [
        ("-c", "/none/broker.toml"),
        ("--bind", "tcp://0.0.0.0:0"),
        ("--bind", "tpc://a\nb"),
        ("--bind", "tcp://127.0.0.1:0", "--pid-file", "/none/pid"),
        ("--bind", "tcp://127.0.0.1:0", "--data", "/dev/null/x"),
    ],
)
def test_errors_are_lines_too_where_the_log_is_in_json(command: Command, words: tuple[str, ...]) -> None:
    """Each of several lines, as pydantic's mistakes have, is one object all the same."""
    for result in (
        command("serve", "--log-format", "json", *words),
        command("serve", *words, env={"BROKER_LOG__FORMAT": "JSON"}),
    ):
        told = [json.loads(line) for line in result.stderr.splitlines()]
        assert result.exit_code == 2
        assert told[-1]["level"] == "critical"
        assert told[-1]["message"]
    assert command("serve", "--log-format", "text", *words).stderr.splitlines()[-1][:1] != "{"


def test_a_bug_is_a_line_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: object, **__: object) -> None:
        warnings.warn("an old way", DeprecationWarning, stacklevel=1)
        raise ExceptionGroup("several", [KeyError("one"), ValueError("two\nlines")])

    monkeypatch.setattr("broker.server.run", run)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = command("serve", "--log-format", "json")
    warned, ended = map(json.loads, result.stderr.splitlines())
    assert "an old way" in warned["message"]
    assert (result.exit_code, ended["level"]) == (1, "critical")
    assert "KeyError: 'one'" in ended["exception"]


def test_who_may_connect() -> None:
    assert who_may_connect(parse_bind("tcp://127.0.0.1:1?allow_anonymous=false")) == "those who authenticate"
    assert who_may_connect(parse_bind("unix:/run/b.sock")) == "anybody on this machine, without a password"
