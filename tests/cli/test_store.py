"""`broker store`: what its commands print, and their exit codes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Process
from tests.store.stores import MESSAGES, QUEUED, RETAINED, Builder, build, flip, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return build(tmp_path / "data")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(tmp_path / "data")


def damage(builder: Builder, *keys: tuple[int, int]) -> None:
    builder.close()
    content = builder.folder.database.read_bytes()
    for key in keys:
        flip(builder.folder.database, content.index(builder.rows[key]) + 6)


# -- check


def test_check_of_a_whole_store(builder: Builder, command: Command, data: str) -> None:
    with closing(builder):
        live = command("store", "check", data)
    assert (live.exit_code, live.stderr) == (0, "")
    assert live.stdout.endswith("A broker is using it; its log was not looked at.\n")
    result = command("store", "check", data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "Whole: 4 sessions, 6 subscriptions, 58 messages, 115 queued, 2 exchanges, 12 retained are good.\n"
    )
    told = json.loads(command("store", "check", "--json", data + "/store.db").stdout)
    assert told == {
        "whole": True,
        "live": False,
        "rows": {"sessions": 4, "subscriptions": 6, "messages": 58, "queued": 115, "exchanges": 2, "retained": 12},
        "left_over": 0,
        "findings": [],
    }


def test_check_names_file_byte_table_and_row(builder: Builder, command: Command, data: str) -> None:
    damage(builder, (RETAINED, 14), (MESSAGES, 50))
    result = command("store", "check", data)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert any(line.endswith(": row 14 of table retained: the checksum is wrong") for line in lines)
    assert all(line.startswith("store.db, byte ") for line in lines if "checksum" in line)
    assert lines[-1].startswith("Damaged: ")
    assert "broker store salvage" in result.stderr
    found = command("store", "check", "--json", data)
    assert found.exit_code == 1
    told = json.loads(found.stdout)
    assert not told["whole"]
    finding = next(each for each in told["findings"] if each["table"] == "retained")
    assert finding["byte"] % 4096 == 0
    assert finding == {
        "file": "store.db",
        "byte": finding["byte"],
        "table": "retained",
        "row": 14,
        "detail": "the checksum is wrong",
    }


def test_check_says_some_of_many(builder: Builder, command: Command, data: str) -> None:
    damage(builder, *[key for key in builder.rows if key[0] == QUEUED][:40])
    result = command("store", "check", data)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 22
    assert "more (--json has them)" in result.stdout
    assert len(json.loads(command("store", "check", "--json", data).stdout)["findings"]) >= 40


@pytest.mark.parametrize("name", ["check", "info", "export", "compact"])
@pytest.mark.parametrize("path", ["nowhere", "text.db"])
def test_where_there_is_no_store(command: Command, tmp_path: Path, name: str, path: str) -> None:
    (tmp_path / "text.db").write_text("no database, however long this text may be" * 100)
    result = command("store", name, str(tmp_path / path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {tmp_path / path}")
    assert len(result.stderr.splitlines()) == 1


# -- info and export


def test_info(builder: Builder, command: Command, data: str) -> None:
    with closing(builder):
        live = command("store", "info", data)
        assert live.exit_code == 0
        assert "in use, or ended by a kill or a power cut" in live.stdout
    result = command("store", "info", data, "-n", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{data}/store.db: format 1, {builder.state.commits} commits"
    assert "and a log of 0 B; closed in order" in lines[1]
    assert "queued                115" in result.stdout
    assert "the oldest message that waits: 'a/2', 20 B" in result.stdout
    assert "'client-0' (away for 00:01:00)" in result.stdout
    assert lines[-1] == "  and 3 Sessions more (-n)"
    assert json.loads(command("store", "info", "--json", data).stdout)["tables"]["queued"][0] == 115


def test_export(builder: Builder, command: Command, data: str, tmp_path: Path) -> None:
    with closing(builder):
        live = command("store", "export", data)
    result = command("store", "export", data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert live.stdout.splitlines()[1:] == result.stdout.splitlines()[1:]
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 1 + 4 + 6 + 115 + 2 + 12
    output = tmp_path / "out.jsonl"
    written = command("store", "export", data, "-o", str(output))
    assert (written.exit_code, written.output) == (0, "")
    assert output.read_text() == result.stdout


def test_an_export_that_fails_leaves_no_file(builder: Builder, command: Command, data: str, tmp_path: Path) -> None:
    damage(builder, (RETAINED, 14))
    output = tmp_path / "out" / "out.jsonl"
    result = command("store", "export", data, "-o", str(output))
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
    output.parent.mkdir()
    result = command("store", "export", data, "-o", str(output))
    assert result.exit_code == 1
    assert "row 14 of table retained" in result.stderr
    assert list(output.parent.iterdir()) == []


def test_the_schema_of_an_export_is_documented(builder: Builder, command: Command, data: str) -> None:
    text = command("store", "export", "--help").stdout
    builder.close()
    for line in command("store", "export", data).stdout.splitlines():
        for name in json.loads(line):
            assert name in text


# -- compact, backup and salvage


def test_compact(builder: Builder, command: Command, data: str) -> None:
    with closing(builder):
        busy = command("store", "compact", data)
    assert busy.exit_code == 1
    assert busy.stderr == f"Error: {data}/lock: a broker uses this store; stop it first.\n"
    result = command("store", "compact", data)
    assert (result.exit_code, result.stdout) == (0, "60.0 KiB before, 60.0 KiB after\n")


def test_backup(builder: Builder, command: Command, data: str, tmp_path: Path) -> None:
    into = str(tmp_path / "monday")
    with closing(builder):
        result = command("store", "backup", data, "--into", into)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{into}: 60.0 KiB; start with it: broker serve --data {into}\n"
    assert rows_of(tmp_path / "monday") == builder.rows
    again = command("store", "backup", data, "--into", into)
    assert (again.exit_code, again.stderr) == (
        1,
        f"Error: {into}/store.db: there is a store already; choose an empty folder.\n",
    )


def test_salvage(builder: Builder, command: Command, data: str, tmp_path: Path) -> None:
    into = str(tmp_path / "new")
    with closing(builder):
        busy = command("store", "salvage", data, "--into", into)
    assert (busy.exit_code, busy.stderr) == (1, f"Error: {data}/lock: a broker uses this store; stop it first.\n")
    content = builder.folder.database.read_bytes()
    flip(builder.folder.database, content.index(builder.rows[RETAINED, 14]) + 6)
    result = command("store", "salvage", data, "--into", into)
    assert result.exit_code == 0
    assert "retained               11           1           0\n" in result.stdout
    assert "queued                115           0           0\n" in result.stdout
    assert result.stderr.endswith(f"Start with it: broker serve --data {into}\n")
    assert command("store", "check", into).exit_code == 0
    assert rows_of(tmp_path / "new") == {key: row for key, row in builder.rows.items() if key != (RETAINED, 14)}
    again = command("store", "salvage", data, "--into", into)
    assert again.exit_code == 1
    assert "there is a store already" in again.stderr


@pytest.mark.parametrize("name", ["salvage", "backup"])
def test_where_to_is_to_be_said(command: Command, data: str, name: str) -> None:
    result = command("store", name, data)
    assert result.exit_code == 2
    assert "Missing option '--into'" in result.stderr


# -- In a process


def test_an_export_into_a_pipe_that_closes(builder: Builder, data: str) -> None:
    builder.close()
    with Process("store", "export", data) as process:
        assert process.popen.stdout is not None
        process.popen.stdout.close()
        process.popen.stdout = None
        assert process.popen.stderr is not None
        errors = process.popen.stderr.read()
        assert process.popen.wait(20) in (0, 1)
    assert b"Traceback" not in errors


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "data")
    number = builder.session("one")
    for _ in range(20_000):
        builder.queued(number, builder.message("t", b"x" * 20))
    # Damaged, so that all pages are looked through, which takes its time.
    builder.commit()
    builder.connection.execute("INSERT INTO messages (rec) VALUES (x'00')")
    builder.close()
    for _ in range(5):  # where the signal comes so late that all is done, once more
        with Process("store", "salvage", str(tmp_path / "data"), "--into", str(tmp_path / "new")) as process:
            process.error_lines(b"looking for")
            process.popen.send_signal(signal.SIGINT)
            code, out, err = process.wait()
        if code:
            break
        shutil.rmtree(tmp_path / "new")
    assert (code, out) == (130, b"")
    assert b"Traceback" not in err
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["lock", "store.db"]


def test_help_imports_no_database(command: Command) -> None:
    assert "salvage" in command("store", "--help").stdout
    code = "import sys, broker.cli.store; print('apsw' in sys.modules, 'trio' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False False\n"
