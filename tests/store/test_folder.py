"""The data folder: who may use it, and what is said where nobody may."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.store.folder import NETWORK_FILE_SYSTEMS, Folder, StoreError, explain, file_system, unescape

if TYPE_CHECKING:
    from pathlib import Path

AS_ROOT = os.geteuid() == 0

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /proc rw - proc proc rw
40 22 0:40 / /mnt/far rw shared:5 - nfs4 server:/export rw
41 40 0:41 / /mnt/far/near rw - xfs /dev/vdb rw
42 22 0:42 / /mnt/with\\040space rw - cifs //server/share rw
43 22 0:43 / /mnt/twice rw - ext4 /dev/vdc rw
44 22 0:44 / /mnt/twice rw - fuse.sshfs user@host: rw
45 22 0:45 / /mnt/container rw - overlay overlay rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/broker", "ext4"),
        ("/mnt/far", "nfs4"),
        ("/mnt/far/data", "nfs4"),
        ("/mnt/farther/data", "ext4"),
        ("/mnt/far/near/data", "xfs"),
        ("/mnt/with space/data", "cifs"),
        ("/mnt/twice/data", "fuse.sshfs"),
        ("/mnt/container/data", "overlay"),
    ],
)
def test_the_kind_of_file_system(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert file_system(type(tmp_path)(path), str(mounts)) == kind


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    for kind in sorted(NETWORK_FILE_SYSTEMS):
        mounts.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n40 22 0:40 / {tmp_path} rw - {kind} far rw\n")
        with pytest.raises(StoreError, match=f"^{tmp_path}: this is a network file system .{kind}.*on a local disk.$"):
            Folder(tmp_path).refuse_network(str(mounts))
    mounts.write_text(f"22 1 254:0 / / rw - nfs far rw\n40 22 0:40 / {tmp_path} rw - overlay overlay rw\n")
    Folder(tmp_path).refuse_network(str(mounts))


def test_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert file_system(tmp_path, str(tmp_path / "nothing")) == ""
    assert unescape("a\\040b\\011c\\134d") == "a b\tc\\d"


def test_it_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data" / "deep")
    folder.open()
    try:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.lock.stat().st_mode) == 0o600
        assert folder.lock.read_text() == f"{os.getpid()}\n"
        assert folder.traces() == []
    finally:
        folder.close()


def test_one_broker_at_a_time(tmp_path: Path) -> None:
    """The lock ends with the process, however that ends."""
    program = (
        "import sys, pathlib; from broker.store.folder import Folder; f = Folder(pathlib.Path(sys.argv[1])); f.open(); "
        "print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdin is not None
    with other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(StoreError, match=f"lock: the broker with process id {other.pid} uses this folder; stop it"):
            Folder(tmp_path).open()
        other.kill()
    folder = Folder(tmp_path)
    folder.open()
    folder.close()


def test_a_lock_file_without_a_process_id(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    first.open()
    first.lock.write_text("")
    with pytest.raises(StoreError, match="another broker uses this folder"):
        Folder(tmp_path).open()
    first.close()


def test_a_file_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("")
    with pytest.raises(StoreError, match=f"^{path}: not a folder; choose another path.$"):
        Folder(path).open()
    with pytest.raises(StoreError, match="not a folder"):
        Folder(path / "below").open()


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="no permission; let user"):
        Folder(tmp_path).open()
    with pytest.raises(StoreError, match="no permission; let user"):
        Folder(tmp_path / "below").open()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (PermissionError(13, "Permission denied"), "no permission"),
        (OSError(30, "Read-only file system"), "the file system is read-only"),
        (OSError(28, "No space left on device"), "make room"),
        (OSError(5, "Input/output error"), "Input/output error; see to the disk"),
    ],
)
def test_what_an_error_means(tmp_path: Path, error: OSError, advice: str) -> None:
    text = str(explain(error, tmp_path))
    assert text.startswith(f"{tmp_path}: ")
    assert advice in text
    assert "\n" not in text
