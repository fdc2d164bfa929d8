"""The database is made, opened, or refused with a line that names the file; never overwritten, never begun anew."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING

import apsw
import pytest

from broker.store import database
from broker.store.database import APPLICATION_ID, FORMAT, create, open_database, position
from broker.store.folder import Folder, StoreError
from tests.store.stores import MESSAGES, QUEUED, build, flip, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "data")
    made.open()
    yield made
    made.close()


def refusal(folder: Folder, read_only: bool = False) -> str:
    """What is said when `folder` is opened, which changes nothing in it."""
    before = {path.name: path.read_bytes() for path in (folder.database, folder.wal) if path.exists()}
    with pytest.raises(StoreError) as caught:
        open_database(folder, read_only=read_only)
    after = {path.name: path.read_bytes() for path in (folder.database, folder.wal) if path.exists()}
    after = {name: data for name, data in after.items() if data or name in before}  # SQLite makes an empty WAL
    assert after == before
    text = str(caught.value)
    assert str(folder.path) in text
    assert "\n" not in text
    return text


def test_a_new_one(folder: Folder) -> None:
    connection, state = open_database(folder)
    try:
        assert connection.pragma("application_id") == APPLICATION_ID
        assert connection.pragma("user_version") == FORMAT
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("auto_vacuum") == 2
        assert not state.running
        assert state.commits == 0
    finally:
        connection.close()
    assert stat.S_IMODE(folder.database.stat().st_mode) == 0o600
    assert not (folder.path / "store.db.new").exists()
    connection, _ = open_database(folder)  # and now an old one
    connection.close()


def test_what_an_interrupted_beginning_has_left_is_no_hindrance(folder: Folder) -> None:
    (folder.path / "store.db.new").write_bytes(b"half of it")
    connection, _ = open_database(folder)
    connection.close()
    assert not (folder.path / "store.db.new").exists()


def test_a_text_file(folder: Folder) -> None:
    folder.database.write_text("these are my notes " * 20)
    assert "not a database of this broker" in refusal(folder)


def test_a_database_of_another_program(folder: Folder) -> None:
    with sqlite3.connect(folder.database) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    assert "another program (application id 0x00000000)" in refusal(folder)


def test_a_newer_format(folder: Folder) -> None:
    create(folder)
    with folder.database.open("r+b") as file:
        file.seek(60)
        file.write((FORMAT + 1).to_bytes(4, "big"))
    assert f"its format is {FORMAT + 1}, and this broker knows up to {FORMAT}; start a newer version" in refusal(folder)


def test_an_older_format_is_brought_up_to_date(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    create(folder)
    with folder.database.open("r+b") as file:
        file.seek(60)
        file.write((FORMAT - 1).to_bytes(4, "big"))
    assert f"its format is {FORMAT - 1}, which no broker ever wrote" in refusal(folder)
    monkeypatch.setitem(database.MIGRATIONS, FORMAT - 1, "CREATE TABLE more (id INTEGER PRIMARY KEY)")
    assert f"start the broker once to bring it to {FORMAT}" in refusal(folder, read_only=True)
    connection, _ = open_database(folder)
    assert connection.table_exists("main", "more")
    assert connection.pragma("user_version") == FORMAT
    connection.close()


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("trace", ["store.db-wal", "clock", "ballast"])
def test_a_database_that_was_lost_is_not_begun_anew(folder: Folder, trace: str, empty: bool) -> None:
    (folder.path / trace).write_bytes(b"something")
    if empty:
        folder.database.touch()
    text = refusal(folder)
    assert f"the database is {'empty' if empty else 'missing'}, though {trace} beside it" in text
    assert "put a backup of the whole folder in its place, or empty the folder to begin anew" in text


def test_an_empty_file_alone(folder: Folder) -> None:
    folder.database.touch()
    assert "the database is empty; put a backup" in refusal(folder)


def test_there_must_be_one_to_read(folder: Folder) -> None:
    assert "there is no database here" in refusal(folder, read_only=True)


def test_a_missing_wal(tmp_path: Path) -> None:
    path = build(tmp_path / "running").killed(tmp_path / "data")
    (path / "store.db-wal").unlink()
    text = refusal(Folder(path))
    assert "store.db-wal: the write-ahead log is missing" in text
    assert "broker store salvage" in text
    assert "write-ahead log is missing" in refusal(Folder(path)), (
        "the empty one that SQLite has made is not taken for it"
    )


def test_after_a_clean_end_there_need_be_no_wal(tmp_path: Path) -> None:
    builder = build(tmp_path / "data")
    rows = dict(builder.rows)
    builder.close()
    assert not builder.folder.wal.exists()
    connection, state = open_database(Folder(tmp_path / "data"))
    connection.close()
    assert not state.running
    assert rows_of(tmp_path / "data") == rows


def test_a_killed_one_is_opened_whole(tmp_path: Path) -> None:
    builder = build(tmp_path / "running")
    path = builder.killed(tmp_path / "data")
    connection, state = open_database(Folder(path))
    connection.close()
    assert state.running
    assert state.counts == builder.state.counts
    assert rows_of(path) == builder.rows


@pytest.mark.parametrize("offset", [16, 36, 100, 4096, 4096 * 3 + 1])
def test_a_damaged_page_is_refused(tmp_path: Path, offset: int) -> None:
    build(tmp_path / "data").close()
    flip(tmp_path / "data" / "store.db", offset, 6)
    text = refusal(Folder(tmp_path / "data"))
    assert "damaged" in text or "no database" in text
    assert "broker store salvage" in text


def test_a_damaged_page_is_named_by_its_place(tmp_path: Path) -> None:
    build(tmp_path / "data").close()
    path = tmp_path / "data" / "store.db"
    with apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'exchanges'").get
    connection.close()
    flip(path, (root - 1) * 4096 + 4, 3)  # the count of cells of a leaf
    assert f"the database is damaged at byte {(root - 1) * 4096} (" in refusal(Folder(tmp_path / "data"))


def test_a_database_that_is_cut_off(tmp_path: Path) -> None:
    build(tmp_path / "data").close()
    path = tmp_path / "data" / "store.db"
    whole = path.stat().st_size
    for size in (50, 4096, whole // 2, whole - 1):
        os.truncate(path, size)
        refusal(Folder(tmp_path / "data"))


def test_a_missing_table(folder: Folder) -> None:
    create(folder)
    connection = apsw.Connection(str(folder.database))
    connection.execute("DROP TABLE queued")
    connection.close()
    assert "table queued is missing" in refusal(folder)


def test_a_state_row_that_is_damaged_or_missing(folder: Folder) -> None:
    create(folder)
    for statement in ("UPDATE meta SET v = x'0123'", "UPDATE meta SET v = 5", "DELETE FROM meta"):
        connection = apsw.Connection(str(folder.database))
        connection.execute(statement)
        connection.close()
        assert "row state of table meta is damaged" in refusal(folder)


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_no_permission(folder: Folder) -> None:
    create(folder)
    folder.database.chmod(0o400)
    assert "no permission; let user" in refusal(folder)


def test_another_program_that_holds_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 1)
    create(folder)
    other = apsw.Connection(str(folder.database))
    other.pragma("locking_mode", "EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE; UPDATE meta SET v = v")
    assert "another program has it locked" in refusal(folder)
    other.execute("ROLLBACK")
    other.close()


def test_rows_are_counted_and_their_numbers_summed(tmp_path: Path) -> None:
    builder = build(tmp_path / "data")
    connection = builder.connection
    for table in (MESSAGES, QUEUED):
        count, total = database.count_rows(connection, table)
        assert (count, total) == (builder.state.counts[table], builder.state.sums[table])
        database.check_count(builder.folder.database, builder.state, table, count, total)
        for wrong in ((count - 1, total), (count, total + 1)):
            with pytest.raises(StoreError, match=r"has \d+ rows and should have \d+, or not the right ones"):
                database.check_count(builder.folder.database, builder.state, table, *wrong)
    connection.execute("INSERT INTO sessions (id, rec) VALUES (4294967296000, x'00')")
    count, total = database.count_rows(connection, 0)
    assert total == builder.state.sums[0] + 4294967296000
    builder.state.last[QUEUED] += 1
    with pytest.raises(StoreError, match="the newest number of table"):
        database.check_newest(connection, builder.state, builder.folder.database)


def test_where_a_record_stands(tmp_path: Path) -> None:
    builder = build(tmp_path / "data")
    record = builder.rows[QUEUED, 9]
    rows = builder.rows
    builder.close()
    at = position(tmp_path / "data" / "store.db", record)
    assert (tmp_path / "data" / "store.db").read_bytes()[at : at + len(record)] == record
    text = str(database.damaged_record(builder.folder, QUEUED, 9, "wrong", record))
    assert text.startswith(f"{builder.folder.database}: row 9 of table queued, at byte {at}, is damaged (wrong); ")
    assert ", at byte" not in str(database.damaged_record(builder.folder, QUEUED, 9, "gone", b""))
    assert position(tmp_path / "nothing", rows[QUEUED, 9]) == -1
