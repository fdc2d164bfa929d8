"""Finding a store, and everything in it that is damaged."""

from __future__ import annotations

import fcntl
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from broker.store.clock import WITNESS_AT, ClockFile
from broker.store.database import connect
from broker.store.folder import StoreError
from broker.store.inspection import check, held, locate, reading
from broker.store.state import Witness
from tests.store.stores import (
    EXCHANGES,
    MESSAGES,
    QUEUED,
    RETAINED,
    SESSIONS,
    SUBSCRIPTIONS,
    TABLES,
    Builder,
    build,
    flip,
    packed,
    queued,
)

if TYPE_CHECKING:
    from pathlib import Path

    from broker.store.inspection import Finding


def findings(path: Path) -> list[Finding]:
    return check(locate(path)).findings


def details(path: Path) -> list[str]:
    return [str(finding) for finding in findings(path)]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return build(tmp_path / "data")


# -- Found, and held


def test_a_store_is_named_by_its_folder_or_its_file(builder: Builder, tmp_path: Path) -> None:
    with closing(builder):
        for path in (tmp_path / "data", tmp_path / "data" / "store.db"):
            assert locate(path).database == tmp_path / "data" / "store.db"
    copy = tmp_path / "data" / "monday.db"
    copy.write_bytes((tmp_path / "data" / "store.db").read_bytes())
    found = locate(copy)
    assert (found.database, found.wal.name, found.clock.exists(), found.lock.exists()) == (
        copy,
        "monday.db-wal",
        False,
        False,
    )
    assert check(found).findings == []


@pytest.mark.parametrize("name", ["", "nowhere", "nowhere/store.db", "text"])
def test_where_there_is_no_store(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_text("no database")
    with pytest.raises(StoreError, match=r"no store here; name the data folder|not a database of this broker"):
        check(locate(tmp_path / name))


def test_a_store_is_held_against_a_broker(builder: Builder) -> None:
    with held(builder.folder) as free:
        assert not free  # the builder has it
    builder.close()
    with held(builder.folder) as free:
        assert free
        descriptor = os.open(builder.folder.lock, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_reading_writes_nothing(builder: Builder, tmp_path: Path) -> None:
    killed = builder.killed(tmp_path / "killed")
    builder.close()
    before = {path.name: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")}
    with reading(locate(killed)) as connection:
        assert connection.execute("SELECT count(*) FROM queued").fetchone() == (builder.state.counts[QUEUED],)
    assert findings(killed) == []
    assert {path.name: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")} == before
    assert findings(tmp_path / "data") == []
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["lock", "store.db"]


# -- Whole


def test_a_whole_store(builder: Builder, tmp_path: Path) -> None:
    killed = builder.killed(tmp_path / "killed")
    with closing(builder):
        live = check(locate(tmp_path / "data"))
    for result in (live, check(locate(killed)), check(locate(tmp_path / "data"))):
        assert result.findings == []
        assert list(result.rows.values()) == builder.state.counts
        assert result.left_over == 0
    assert live.live


def test_rows_of_ended_sessions_are_left_over(builder: Builder, tmp_path: Path) -> None:
    builder.delete(SESSIONS, 1)
    builder.commit()
    builder.close()
    result = check(locate(tmp_path / "data"))
    assert result.findings == []
    mine = sum(1 for table, _ in builder.rows if table == QUEUED)
    assert 10 < result.left_over < 3 * mine


# -- Damaged


def test_a_damaged_record_is_named_with_its_page(builder: Builder, tmp_path: Path) -> None:
    record = builder.rows[RETAINED, 14]
    builder.close()
    database = tmp_path / "data" / "store.db"
    at = database.read_bytes().index(record)
    flip(database, at + 5)
    (finding,) = findings(tmp_path / "data")
    assert finding == ("store.db", at // 4096 * 4096, "retained", 14, "the checksum is wrong")
    assert str(finding) == f"store.db, byte {finding.byte}: row 14 of table retained: the checksum is wrong"


def test_a_damaged_record_beside_a_broker_has_no_page(builder: Builder, tmp_path: Path) -> None:
    with closing(builder):
        builder.connection.execute("UPDATE retained SET rec = x'0102030405' WHERE id = 14")
        (finding,) = findings(tmp_path / "data")
    assert finding == ("store.db", -1, "retained", 14, "the checksum is wrong")


def test_a_damaged_log_is_named_with_its_byte(builder: Builder, tmp_path: Path) -> None:
    killed = builder.killed(tmp_path / "killed")
    builder.close()
    flip(killed / "store.db-wal", 32 + 24 + 100)
    assert "store.db-wal, byte 56: the write-ahead log is damaged here, and good commits follow" in details(killed)


def test_a_log_that_is_missing_or_cut_off(builder: Builder, tmp_path: Path) -> None:
    for cut in (0, None):
        killed = builder.killed(tmp_path / f"killed-{cut}")
        clock = ClockFile(killed / "clock")
        clock.open()
        clock.write_witness(Witness(builder.state.commits, True, b"").encode())
        clock.close()
        assert (killed / "clock").stat().st_size > WITNESS_AT
        assert findings(killed) == []
        wal = killed / "store.db-wal"
        if cut is None:
            wal.unlink()
        else:
            os.truncate(wal, wal.stat().st_size // 2)
        found = details(killed)
        assert any(f"of {builder.state.commits} commits are missing" in line for line in found)
        assert any("the write-ahead log is missing" in line for line in found) == (cut is None)
    builder.close()


def test_commits_that_a_power_cut_may_take_are_no_damage(builder: Builder, tmp_path: Path) -> None:
    killed = builder.killed(tmp_path / "killed")
    builder.close()
    clock = ClockFile(killed / "clock")
    clock.open()
    clock.write_witness(Witness(builder.state.commits + 3, False, b"another run").encode())
    clock.close()
    assert findings(killed) == []


@pytest.mark.parametrize(
    ("table", "record", "words"),
    [
        (SESSIONS, packed(SESSIONS, 5, 5, "client-0", 1, None, None, None, ""), "not the only one of its Session"),
        (SESSIONS, packed(SESSIONS, 5, 9, "other", 1, None, None, None, ""), "a number it cannot have"),
        (SESSIONS, packed(SESSIONS, 5, 5, b"other", 1, None, None, None, ""), "is not text"),
        (SUBSCRIPTIONS, packed(SUBSCRIPTIONS, 7, 1, "a/#", 2, False, False, 0, ""), "the second one of its kind"),
        (QUEUED, queued(121, 1, 999), "its message, row 999 of table messages, is not there"),
        (QUEUED, b"", "only 0 bytes"),
        (EXCHANGES, packed(EXCHANGES, 3, 1, 7, True), "the second one of its kind"),
        (RETAINED, packed(RETAINED, 16, "a/56", b"", 1, True, b"", None), "the second one of its kind"),
        (RETAINED, packed(RETAINED, 16, "a/999", b"", 1, True), "not a list of 6 fields"),
        (RETAINED, packed(RETAINED, 17, "a/999", b"", 1, True, b"", None), "the checksum is wrong"),
    ],
)
def test_a_record_that_cannot_be(builder: Builder, tmp_path: Path, table: int, record: bytes, words: str) -> None:
    row = builder.add(table, record)
    builder.commit()
    builder.close()
    (finding,) = findings(tmp_path / "data")
    assert (finding.table, finding.row) == (TABLES[table], row)
    assert words in finding.detail


@pytest.mark.parametrize("value", ["NULL", "'text'", "7"])
def test_a_record_that_is_no_blob(builder: Builder, tmp_path: Path, value: str) -> None:
    builder.connection.execute("PRAGMA ignore_check_constraints=ON")
    builder.connection.execute("PRAGMA writable_schema=ON")
    builder.connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'queued'")
    builder.connection.close()
    builder.connection = connect(builder.folder.database)
    builder.connection.execute(f"UPDATE queued SET rec = {value} WHERE id = 100")
    builder.close()
    assert "store.db: row 100 of table queued: is no BLOB" in details(tmp_path / "data")


def test_a_row_that_is_missing(builder: Builder, tmp_path: Path) -> None:
    builder.connection.execute("DELETE FROM messages WHERE id = 40")
    builder.close()
    found = details(tmp_path / "data")
    count = builder.state.counts[MESSAGES]
    assert f"store.db: table messages: has {count - 1} rows and should have {count}, or not the right ones" in found
    assert any("its message, row 40 of table messages, is not there" in line for line in found)


def test_numbers_that_would_be_given_again(builder: Builder, tmp_path: Path) -> None:
    builder.connection.execute("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'queued'")
    last = builder.state.last[QUEUED]
    builder.close()
    assert details(tmp_path / "data") == [f"store.db: table queued: its newest number is 3 and should be {last}"]


def test_a_table_that_is_not_ours(builder: Builder, tmp_path: Path) -> None:
    builder.connection.execute("DROP TABLE exchanges")
    builder.connection.execute("CREATE TABLE exchanges (id INTEGER PRIMARY KEY, rec BLOB)")
    builder.close()
    assert "store.db: table exchanges: is not the table that a broker makes" in details(tmp_path / "data")


def test_a_zeroed_page_is_named(builder: Builder, tmp_path: Path) -> None:
    builder.close()
    database = tmp_path / "data" / "store.db"
    content = bytearray(database.read_bytes())
    content[8 * 4096 : 9 * 4096] = bytes(4096)
    database.write_bytes(content)
    assert any(finding.file == "store.db" and finding.byte == 8 * 4096 for finding in findings(tmp_path / "data"))


def test_a_damaged_state_row(builder: Builder, tmp_path: Path) -> None:
    builder.connection.execute("UPDATE meta SET v = x'00'")
    builder.commit = lambda: None  # type: ignore[method-assign]
    builder.close()
    assert details(tmp_path / "data") == ["store.db: table meta: the row 'state' is damaged"]
