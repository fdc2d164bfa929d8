"""The pages of a database, read without SQLite, beside what SQLite reads."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from broker.store.pages import Pages, Place

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (10, 40, 300, 4000, 4061, 4062, 4200, 20_000)


class Written:
    """A table as ours, written in many transactions; `rows` is what it must hold."""

    def __init__(self, folder: Path, seed: int, checkpoints: bool) -> None:
        self.path = folder / "store.db"
        self.wal = folder / "store.db-wal"
        self.rows: dict[int, bytes] = {}
        chance = random.Random(seed)
        # A second connection keeps the WAL from being taken in and removed when the first one closes.
        self.connection = apsw.Connection(str(self.path))
        self.connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self.connection.execute("PRAGMA journal_mode=WAL").fetchall()
        self.connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
        self.connection.execute("CREATE TABLE q (id INTEGER PRIMARY KEY AUTOINCREMENT, rec BLOB NOT NULL)")
        self.connection.execute("CREATE TABLE meta (k TEXT PRIMARY KEY, v BLOB)")
        for number in range(12):
            with self.connection:
                for _ in range(40):
                    record = chance.randbytes(chance.choice(SIZES) if chance.random() < 0.1 else 40)
                    self.connection.execute("INSERT INTO q (rec) VALUES (?)", (record,))
                    self.rows[self.connection.last_insert_rowid()] = record
                for row in chance.sample(sorted(self.rows), 25):
                    self.connection.execute("DELETE FROM q WHERE id = ?", (row,))
                    del self.rows[row]
            if checkpoints and number in (3, 8):
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if checkpoints and number == 9:
                self.connection.execute("PRAGMA incremental_vacuum(5)").fetchall()


@pytest.fixture(params=[False, True])
def written(tmp_path: Path, request: pytest.FixtureRequest) -> Written:
    return Written(tmp_path, 7, request.param)


def rows_of(path: Path) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    with Pages(path) as pages:
        for cell in pages.cells():
            assert found.setdefault(cell.row, cell.record) == cell.record
    return found


def flip(path: Path, byte: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(byte)
        value = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([value ^ 1 << bit]))


def test_it_reads_what_sqlite_reads(written: Written) -> None:
    with closing(written.connection):
        assert rows_of(written.path) == written.rows
    assert not written.wal.exists()  # taken in when the last connection closed
    assert rows_of(written.path) == written.rows


def test_a_cell_has_its_place(written: Written) -> None:
    with closing(written.connection), Pages(written.path) as pages:
        row, record = sorted(written.rows.items())[-1]
        place = pages.find(row, record)
        assert place is not None
        assert place.file == "store.db-wal"
        assert str(place) == f"store.db-wal, byte {place.byte}"
        with written.wal.open("rb") as file:
            file.seek(place.byte)
            assert record[:20] in file.read(4096)
        assert pages.find(row, b"") is None


def test_the_end_of_the_log_is_no_damage(written: Written) -> None:
    with closing(written.connection):
        with Pages(written.path) as pages:
            assert pages.wal is not None
            assert pages.wal.damage is None
            whole = len(pages.wal.frames)
            last = pages.wal.frames[-1]
        with written.wal.open("r+b") as file:
            file.truncate(last.byte + 4000)
        with Pages(written.path) as pages:
            assert pages.wal is not None
            assert pages.wal.damage is None
            assert 0 < len(pages.wal.frames) < whole


def test_a_damaged_frame_before_others_is_seen_and_spoils_no_other(written: Written) -> None:
    with closing(written.connection):
        with Pages(written.path) as pages:
            assert pages.wal is not None
            frame = pages.wal.frames[len(pages.wal.frames) // 2]
        flip(written.wal, frame.byte + 4090)
        with Pages(written.path) as pages:
            assert pages.wal is not None
            assert pages.wal.damage == Place("store.db-wal", frame.byte)
            assert [each.byte for each in pages.wal.frames if not each.good] == [frame.byte]
            found = {(cell.row, cell.record) for cell in pages.cells()}
        lost = set(written.rows.items()) - found
        assert len(lost) <= 1


def test_a_damaged_head_of_the_log_is_seen(written: Written) -> None:
    with closing(written.connection):
        flip(written.wal, 17)  # in a salt
        with Pages(written.path) as pages:
            assert pages.wal is not None
            assert pages.wal.damage == Place("store.db-wal", 0)
        assert set(written.rows.items()) <= set(rows_of(written.path).items())


@pytest.mark.parametrize("byte", [0, 16, 17, 18, 28, 35, 36, 100, 4096, 8192])
def test_a_flipped_bit_in_the_head_of_the_file_hides_no_row(tmp_path: Path, byte: int) -> None:
    written = Written(tmp_path, 8, True)
    written.connection.close()
    flip(written.path, byte, 6)
    with Pages(written.path) as pages:  # what was free may come back, what is there stays
        assert set(written.rows.items()) <= {(cell.row, cell.record) for cell in pages.cells()}


def test_files_that_are_no_database(tmp_path: Path) -> None:
    for content in (b"", b"\0" * 10_000, b"\x0d" * 100_000, random.Random(1).randbytes(200_000)):
        path = tmp_path / "store.db"
        path.write_bytes(content)
        (tmp_path / "store.db-wal").write_bytes(content[::-1])
        with Pages(path) as pages:
            assert all(len(cell.record) <= len(content) for cell in pages.cells())
