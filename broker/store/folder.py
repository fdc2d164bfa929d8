"""The data folder: its files, who may use it, and where it may not be.

    store.db (-wal, -shm)   the database
    lock                    held with flock by the broker that uses the folder; its process id is inside
    clock                   what time it was, and which commit was the newest (`broker.store.clock`)
    ballast                 room kept for a full disk (`broker.store.space`)

Everything that is wrong with a folder is a StoreError, one line that names the file and what to do, before anything is
written. SQLite's WAL wants shared memory and locks that network file systems do not give: those are refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

# As the kernel names them. fuse.* are those of FUSE that stand for something remote.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "glusterfs", "lustre", "beegfs"}
    | {"gpfs", "coda", "orangefs", "pvfs2", "davfs", "acfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse"}
    | {"fuse.davfs2", "fuse.curlftpfs", "fuse.smbnetfs", "fuse.juicefs", "fuse.mount-s3", "fuse.goofys"}
    | {"fuse.beegfs", "fuse.moosefs", "fuse.lizardfs", "fuse.blobfuse", "fuse.blobfuse2"}
)
MOUNTS: Final = "/proc/self/mountinfo"


class StoreError(Exception):
    """The data folder cannot be used; the text is one line that names the file and what to do."""


class StoreFailed(Exception):
    """A write, an fsync or a commit failed: nothing is written any more, and the process has to end."""


def explain(error: OSError, path: Path) -> StoreError:
    """What an error of the operating system with `path` means to who started the broker."""
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = f"no permission; let user {os.getuid()} read and write it, or choose another folder"
    elif error.errno == errno.EROFS:
        advice = "the file system is read-only; choose a folder that can be written"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        advice = "not a folder; choose another path"
    elif error.errno == errno.ENOSPC:
        advice = "no space is left on the device; make room and start again"
    else:
        advice = f"{error.strerror or error}; see to the disk, or choose another folder"
    return StoreError(f"{path}: {advice}.")


class Folder:
    """See the module. Use `open` first and `close` last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "store.db"
        self.wal = path / "store.db-wal"
        self.lock = path / "lock"
        self.clock = path / "clock"
        self.ballast = path / "ballast"
        self._descriptor = -1

    def open(self) -> None:
        """Make the folder where there is none, and lock it: StoreError where it cannot be used."""
        try:
            if not self.path.exists():
                self.path.mkdir(parents=True, mode=0o700)
                sync_folder(self.path.parent)
            elif not self.path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        except OSError as error:
            raise explain(error, self.path) from None
        self.refuse_network()
        self._take_lock()

    def refuse_network(self, mounts: str = MOUNTS) -> None:
        """StoreError where the folder is on a network file system; `mounts` is the kernel's list of mounts."""
        kind = file_system(self.path, mounts)
        if kind in NETWORK_FILE_SYSTEMS:
            raise StoreError(
                f"{self.path}: this is a network file system ({kind}), on which a store would not be safe; "
                "choose a folder on a local disk."
            )

    def _take_lock(self) -> None:
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise explain(error, self.lock) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"the broker with process id {holder}" if holder.isdigit() else "another broker"
            raise StoreError(f"{self.lock}: {who} uses this folder; stop it, or choose another folder.") from None
        except OSError as error:
            os.close(descriptor)
            raise explain(error, self.lock) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # on a full disk the process id is what can be missed
                os.close(descriptor)
                raise explain(error, self.lock) from None
        self._descriptor = descriptor

    def traces(self) -> list[str]:
        """Names of files here that only a broker which kept something has left, beside the database itself."""
        return [path.name for path in (self.wal, self.clock, self.ballast) if path.exists()]

    def sync(self) -> None:
        """Make what was created or renamed in here last."""
        try:
            sync_folder(self.path)
        except OSError as error:
            raise explain(error, self.path) from None

    def close(self) -> None:
        """Let others have the folder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_system(path: Path, mounts: str = MOUNTS) -> str:
    """The kind of file system that `path` is on, as the kernel names it; "" where that cannot be told."""
    try:
        lines = Path(mounts).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    best = -1
    found = ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        words = fields.split(" ")
        if len(words) < 5 or not rest:
            continue
        point = unescape(words[4])
        below = real == point or real.startswith(point.rstrip("/") + "/")
        if below and len(point) >= best:  # of two mounts on one point the later one is seen
            best = len(point)
            found = rest.split(" ")[0]
    return found


def unescape(text: str) -> str:
    """A path as mountinfo writes it: space, tab, newline and backslash are octal."""
    for octal in ("040", "011", "012", "134"):
        text = text.replace(f"\\{octal}", chr(int(octal, 8)))
    return text
