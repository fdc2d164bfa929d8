"""A store made smaller, and copied."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from broker.store.folder import Folder, StoreError
from broker.store.inspection import check, locate
from broker.store.upkeep import backup, compact, size
from tests.store.stores import QUEUED, RETAINED, Builder, build, flip, rows_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return build(tmp_path / "data", messages=300)


@pytest.mark.parametrize("killed", [False, True])
def test_compact(builder: Builder, tmp_path: Path, killed: bool) -> None:
    for table, row in list(builder.rows):
        if table == RETAINED:
            builder.delete(table, row)
    builder.commit()
    path = builder.killed(tmp_path / "killed") if killed else tmp_path / "data"
    builder.close()
    before, after = compact(locate(path))
    assert after < before
    assert after == size(Folder(path)) == (path / "store.db").stat().st_size
    assert rows_of(path) == builder.rows
    assert check(locate(path)).findings == []


def test_compact_waits_for_no_broker(builder: Builder, tmp_path: Path) -> None:
    with closing(builder), pytest.raises(StoreError, match="a broker uses this store; stop it first"):
        compact(locate(tmp_path / "data"))


def test_compact_leaves_a_damaged_store_alone(builder: Builder, tmp_path: Path) -> None:
    record = builder.rows[QUEUED, 200]
    builder.close()
    database = tmp_path / "data" / "store.db"
    flip(database, database.read_bytes().index(record) + 3)
    before = database.read_bytes()
    with pytest.raises(StoreError, match=r"row 200 of table queued: .* names all that is damaged"):
        compact(locate(tmp_path / "data"))
    assert database.read_bytes() == before


@pytest.mark.parametrize("live", [False, True])
def test_backup(builder: Builder, tmp_path: Path, live: bool) -> None:
    if not live:
        builder.close()
    written = backup(locate(tmp_path / "data"), tmp_path / "backup")
    assert written == (tmp_path / "backup" / "store.db").stat().st_size
    assert check(locate(tmp_path / "backup")).findings == []
    assert sorted(path.name for path in (tmp_path / "backup").iterdir()) == ["lock", "store.db"]
    assert rows_of(tmp_path / "backup") == builder.rows
    if live:
        builder.close()


def test_a_copy_is_as_durable_as_its_original(builder: Builder, tmp_path: Path) -> None:
    with closing(builder):
        backup(locate(tmp_path / "data"), tmp_path / "backup")
    folder = Folder(tmp_path / "backup")
    header = folder.database.read_bytes()[:100]
    assert header[18:20] == b"\x02\x02"  # WAL
    assert header[68:72] == b"TRMQ"
    assert header[60:64] == b"\x00\x00\x00\x01"


def test_backup_takes_no_folder_with_a_store(builder: Builder, tmp_path: Path) -> None:
    with closing(builder), pytest.raises(StoreError, match="there is a store already; choose an empty folder"):
        backup(locate(tmp_path / "data"), tmp_path / "data")


def test_backup_of_a_damaged_store_leaves_nothing(builder: Builder, tmp_path: Path) -> None:
    builder.close()
    database = tmp_path / "data" / "store.db"
    content = bytearray(database.read_bytes())
    content[5 * 4096 : 12 * 4096] = bytes(7 * 4096)
    database.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        backup(locate(tmp_path / "data"), tmp_path / "backup")
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["lock"]
