"""Room on the disk, told by a fake statvfs: when it counts as full, and what becomes of the ballast."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from broker.store import space
from broker.store.space import Space

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


class Disk:
    """A file system with as much room as a test says."""

    def __init__(self, size: int, free: int) -> None:
        self.size = size
        self.free = free

    def statvfs(self, path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_blocks=self.size // 4096, f_frsize=4096, f_bavail=self.free // 4096)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(100 * 1024 * MIB, 50 * 1024 * MIB)
    monkeypatch.setattr(os, "statvfs", made.statvfs)
    return made


def test_defaults(disk: Disk, tmp_path: Path) -> None:
    found = Space(tmp_path, tmp_path / "ballast")
    assert (found.reserve, found.ballast, found.wal_maximum) == (64 * MIB, 16 * MIB, 32 * MIB)
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 16 * MIB, "it is there, not only promised"
    assert not found.full


def test_defaults_of_a_small_file_system(disk: Disk, tmp_path: Path) -> None:
    disk.size = 64 * MIB
    found = Space(tmp_path, tmp_path / "ballast")
    assert (found.reserve, found.ballast, found.wal_maximum) == (8 * MIB, 4 * MIB, 4 * MIB)


def test_it_is_full_below_the_reserve_and_not_again_until_there_is_more(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = Space(tmp_path, tmp_path / "ballast", reserve=10 * MIB, ballast=MIB)
    disk.free = 11 * MIB
    assert not found.check()
    disk.free = 9 * MIB
    assert found.check()
    assert found.check()
    disk.free = 11 * MIB
    assert found.check(), "not at once"
    disk.free = 13 * MIB
    assert not found.check()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"], "one line a change"
    assert "the disk is full (9 MiB left, the reserve is 10 MiB)" in caplog.messages[0]
    assert "there is room on the disk again (13 MiB)" in caplog.messages[1]


def test_a_disk_that_has_shown_to_be_full_is_full(disk: Disk, tmp_path: Path) -> None:
    """A quota is not in its figures."""
    found = Space(tmp_path, tmp_path / "ballast", reserve=10 * MIB, ballast=MIB)
    assert found.check(refused=True)
    assert found.check(refused=True)
    assert not found.check()


def test_the_ballast_comes_back_when_there_is_room_for_it_too(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    found = Space(tmp_path, path, reserve=10 * MIB, ballast=4 * MIB)
    assert found.drop_ballast()
    assert path.stat().st_blocks == 0
    assert not found.drop_ballast()
    disk.free = MIB
    assert found.check()
    disk.free = 15 * MIB  # enough for the reserve and its margin, but not for the ballast too
    assert found.check()
    assert path.stat().st_blocks == 0
    disk.free = 17 * MIB
    assert not found.check()
    assert path.stat().st_blocks * 512 >= 4 * MIB


def test_no_ballast_where_there_is_no_room_at_the_start(disk: Disk, tmp_path: Path) -> None:
    disk.free = 5 * MIB
    found = Space(tmp_path, tmp_path / "ballast", reserve=10 * MIB, ballast=MIB)
    assert found.full
    assert not (tmp_path / "ballast").exists()


def test_a_ballast_that_does_not_fit_is_none(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: int) -> None:
        def allocate(descriptor: int, size: int) -> None:
            os.write(descriptor, bytes(4096))
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(space, "allocate", allocate)

    refuse(errno.ENOSPC)
    Space(tmp_path, tmp_path / "ballast", reserve=MIB, ballast=MIB)
    assert (tmp_path / "ballast").stat().st_size == 0
    refuse(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        Space(tmp_path, tmp_path / "ballast", reserve=MIB, ballast=MIB)


def test_allocation_without_the_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    path = tmp_path / "ballast"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    space.allocate(descriptor, 100_000)
    os.close(descriptor)
    assert path.stat().st_size == 100_000
    assert path.stat().st_blocks * 512 >= 100_000


def test_a_look_is_due_when_much_of_the_reserve_is_spent(disk: Disk, tmp_path: Path) -> None:
    found = Space(tmp_path, tmp_path / "ballast", reserve=8 * MIB, ballast=0)
    assert not found.spend(MIB // 2)
    assert not found.spend(MIB // 2)
    assert found.spend(1)
    found.check()
    assert not found.spend(1)
