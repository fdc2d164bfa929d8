"""What is good of a damaged store, in a new one."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from broker.store.clock import ClockFile
from broker.store.folder import Folder, StoreError
from broker.store.inspection import check, locate
from broker.store.pages import Pages
from broker.store.salvage import Salvaged, salvage
from broker.store.state import Witness, decode_state
from tests.store.stores import (
    MESSAGES,
    QUEUED,
    RETAINED,
    SESSIONS,
    STORE_TIME,
    TABLES,
    Builder,
    Rows,
    build,
    flip,
    packed,
    rows_of,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW = STORE_TIME + 500.0


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return build(tmp_path / "data")


def saved(path: Path, into: Path) -> tuple[Salvaged, Rows]:
    """What comes of a salvage, which must be a whole store."""
    told: list[str] = []
    found = salvage(locate(path), into, told.append, NOW)
    assert check(locate(into)).findings == []
    rows = rows_of(into)
    assert found.kept == [sum(1 for table, _ in rows if table == each) for each in range(len(TABLES))]
    assert told[-1].endswith("rows are good")
    return found, rows


@pytest.mark.parametrize("killed", [False, True])
def test_a_whole_store_is_copied(builder: Builder, tmp_path: Path, killed: bool) -> None:
    path = builder.killed(tmp_path / "killed") if killed else tmp_path / "data"
    builder.close()
    found, rows = saved(path, tmp_path / "new")
    assert rows == builder.rows
    assert (found.searched, found.dangling, found.lost_commits) == ([], [0] * 6, 0)
    assert [found.lost(table) for table in range(6)] == [0] * 6


def test_numbers_and_time_go_on(builder: Builder, tmp_path: Path) -> None:
    builder.close()
    saved(tmp_path / "data", tmp_path / "new")
    old, new = (decode_state(row[0]) for folder in ("data", "new") for row in rows_of_meta(tmp_path / folder))
    assert old is not None
    assert new is not None
    assert (new.last, new.store_time, new.running) == (old.last, old.store_time, False)


def rows_of_meta(path: Path) -> list[tuple[bytes]]:
    from broker.store.database import connect

    connection = connect(Folder(path).database, read_only=True)
    try:
        return [(value,) for _, value in connection.execute("SELECT k, v FROM meta")]
    finally:
        connection.close()


def test_a_damaged_record_is_lost_and_what_belongs_to_it(builder: Builder, tmp_path: Path) -> None:
    builder.close()
    database = tmp_path / "data" / "store.db"
    flip(database, database.read_bytes().index(builder.rows[MESSAGES, 42]) + 7)
    found, rows = saved(tmp_path / "data", tmp_path / "new")
    gone = builder.rows.keys() - rows.keys()
    assert rows.items() <= builder.rows.items()
    assert (MESSAGES, 42) in gone
    assert {table for table, _ in gone} == {MESSAGES, QUEUED}
    assert (found.lost(MESSAGES), found.lost(QUEUED)) == (1, len(gone) - 1)
    assert found.dangling[QUEUED] == len(gone) - 1


def test_a_damaged_session_costs_what_is_its_own(builder: Builder, tmp_path: Path) -> None:
    builder.close()
    database = tmp_path / "data" / "store.db"
    flip(database, database.read_bytes().index(builder.rows[SESSIONS, 3]) + 7)
    found, rows = saved(tmp_path / "data", tmp_path / "new")
    assert rows.items() <= builder.rows.items()
    assert [found.lost(table) for table in range(6)][:2] == [1, 2]
    assert found.lost(RETAINED) == 0
    assert found.lost(MESSAGES) == 1  # the one that no other Session wanted


@pytest.mark.parametrize("page", range(15))
def test_a_zeroed_page_costs_what_was_on_it(builder: Builder, tmp_path: Path, page: int) -> None:
    builder.close()
    database = tmp_path / "data" / "store.db"
    with Pages(database) as pages:
        begin = {cell.record for cell in pages.cells() if cell.page == page + 1}
    content = bytearray(database.read_bytes())
    assert len(content) == 15 * 4096
    lost = bytes(content[page * 4096 : (page + 1) * 4096])
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    if page == 0:
        content[:100] = lost[:100]  # a file without its head is refused by name
    database.write_bytes(content)
    _, rows = saved(tmp_path / "data", tmp_path / "new")
    assert rows.items() <= builder.rows.items()
    # A long record goes on on other pages, behind four bytes.
    on_it = {
        key for key, record in builder.rows.items() if record in begin or (len(record) > 4096 and lost[4:104] in record)
    }
    tables = {table for table, _ in on_it}
    gone = builder.rows.keys() - rows.keys()
    if SESSIONS in tables:
        assert RETAINED not in {table for table, _ in gone}
    elif tables & {MESSAGES, QUEUED}:  # what waits is no use without its message, and no message without who wants it
        assert {table for table, _ in gone} == {MESSAGES, QUEUED}
    else:
        assert gone == on_it


def test_a_log_with_a_damaged_frame_gives_all_others(builder: Builder, tmp_path: Path) -> None:
    killed = builder.killed(tmp_path / "killed")
    builder.close()
    flip(killed / "store.db-wal", 32 + 24 + 4000)
    found, rows = saved(killed, tmp_path / "new")
    assert rows == builder.rows
    assert found.searched == [0, 1, 2, 3, 4, 5]


def test_commits_that_are_lost_are_counted(builder: Builder, tmp_path: Path) -> None:
    killed = builder.killed(tmp_path / "killed")
    builder.close()
    clock = ClockFile(killed / "clock")
    clock.open()
    clock.write_witness(Witness(builder.state.commits, True, b"").encode())
    clock.close()
    os.truncate(killed / "store.db-wal", 32 + 3 * (4096 + 24))
    found, rows = saved(killed, tmp_path / "new")
    assert found.lost_commits > 0
    assert len(rows) < len(builder.rows)


def test_a_damaged_state_row_leaves_the_rows(builder: Builder, tmp_path: Path) -> None:
    builder.connection.execute("UPDATE meta SET v = x'00'")
    killed = builder.killed(tmp_path / "killed")
    builder.close()
    found, rows = saved(killed, tmp_path / "new")
    assert rows == builder.rows
    assert found.expected is None
    assert found.lost(QUEUED) is None
    (row,) = rows_of_meta(tmp_path / "new")
    state = decode_state(row[0])
    assert state is not None
    assert state.store_time == NOW


def test_of_two_that_cannot_both_be_the_newer_one_is_taken(builder: Builder, tmp_path: Path) -> None:
    number = 1
    row = builder.number(SESSIONS)
    builder.add(SESSIONS, packed(SESSIONS, row, number, "client-0", 99, None, None, None, ""))
    builder.retained("a/56", b"newer")
    builder.commit()
    builder.close()
    _, rows = saved(tmp_path / "data", tmp_path / "new")
    assert (SESSIONS, number) not in rows
    assert (SESSIONS, row) in rows
    topics = [record for (table, _), record in rows.items() if table == RETAINED and b"a/56" in record]
    assert len(topics) == 1
    assert b"newer" in topics[0]


def test_what_is_left_of_an_ended_session_is_left(builder: Builder, tmp_path: Path) -> None:
    builder.delete(SESSIONS, 1)
    builder.commit()
    builder.close()
    found, rows = saved(tmp_path / "data", tmp_path / "new")
    assert rows.items() < builder.rows.items()
    assert found.dangling[QUEUED] > 10
    assert found.dangling[MESSAGES] > 10  # that waited for it alone


# -- Refused


def test_a_store_in_use_is_left_alone(builder: Builder, tmp_path: Path) -> None:
    with closing(builder), pytest.raises(StoreError, match="a broker uses this store; stop it first"):
        salvage(locate(tmp_path / "data"), tmp_path / "new", print, NOW)
    assert not (tmp_path / "new").exists()


def test_a_store_is_never_written_over(builder: Builder, tmp_path: Path) -> None:
    builder.close()
    Builder(tmp_path / "other").close()
    before = (tmp_path / "other" / "store.db").read_bytes()
    for into in (tmp_path / "data", tmp_path / "other"):
        with pytest.raises(StoreError, match="there is a store already; choose an empty folder"):
            salvage(locate(tmp_path / "data"), into, print, NOW)
    assert (tmp_path / "other" / "store.db").read_bytes() == before


def test_an_end_in_the_middle_leaves_no_store(builder: Builder, tmp_path: Path) -> None:
    builder.close()

    def told(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        salvage(locate(tmp_path / "data"), tmp_path / "new", told, NOW)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


def test_what_was_no_store_gives_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "store.db").write_bytes(bytes(range(256)) * 200)
    with pytest.raises(StoreError, match="there is nothing of a store of this broker in it"):
        salvage(locate(tmp_path / "data"), tmp_path / "new", print, NOW)
    assert not (tmp_path / "new" / "store.db").exists()
