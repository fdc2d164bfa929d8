"""A disk below SQLite that loses its power, fails, is slow or has no room, as a test tells it: a VFS of apsw.

The files themselves are real and hold what was written; beside them a `Disk` keeps of each what has reached the platter
(the content at its last sync) and, in order, what was written since. When the power is cut every later operation fails,
and `leave` writes the files as they may be found afterwards: the content at the last sync, and of each later write all,
nothing, or some of its sectors. The fsync that the cut interrupts has done nothing.

What is assumed of the disk: a sector is written whole or not at all, and bytes beside those written stay as they were
(SQLite's SQLITE_IOCAP_POWERSAFE_OVERWRITE). Of the file system: that a file was made or deleted is safe with the next
sync of any file, as on a journalling one. The -shm file is memory and is left out.
"""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import apsw

if TYPE_CHECKING:
    from random import Random
    from types import TracebackType

SECTOR: Final = 512
WRITE: Final = "write"
SYNC: Final = "sync"
CUT: Final = -1

_numbers = itertools.count(1)


class _Image:
    """One file: its content at the last sync, whether it was there at all, and what came since."""

    def __init__(self, content: bytes | None) -> None:
        self.there = content is not None
        self.content = bytearray(content or b"")
        self.since: list[tuple[int, bytes] | int] = []  # a write at its offset, or a truncation to a size

    def sync(self) -> None:
        for each in self.since:
            _apply(self.content, each)
        self.since.clear()
        self.there = True

    def after_cut(self, random: Random) -> bytes | None:
        """What may be found; None where the file may not be there."""
        if not self.there and random.random() < 0.5:
            return None
        content = bytearray(self.content)
        kept = random.choice((0.0, 1.0, random.random()))  # of what came since the last sync
        for each in self.since:
            if random.random() >= kept:
                continue
            if isinstance(each, tuple) and kept < 1.0 and random.random() < 0.3:
                offset, data = each
                first = SECTOR - offset % SECTOR  # up to the next border of a sector
                borders = [0, *range(first, len(data), SECTOR), len(data)]
                for start, end in itertools.pairwise(borders):
                    if random.random() < 0.5:
                        _apply(content, (offset + start, data[start:end]))
            else:
                _apply(content, each)
        return bytes(content)


def _apply(content: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del content[change:]
        return
    offset, data = change
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class Fault:
    """The `nth` operation of its kind from now on, on files whose name ends as given, fails with `code`: once, or from
    then on. Of a write, `part` of the bytes are written before."""

    def __init__(
        self, operation: str, code: int, nth: int = 1, ending: str = "", lasting: bool = False, part: float = 0.0
    ) -> None:
        self.operation = operation
        self.code = code
        self.left = nth
        self.ending = ending
        self.lasting = lasting
        self.part = part
        self.happened = 0

    def strikes(self, operation: str, path: str) -> bool:
        if operation != self.operation or not path.endswith(self.ending) or (self.happened and not self.lasting):
            return False
        self.left -= 1
        if self.left > 0:
            return False
        self.happened += 1
        return True


class Disk:
    """See the module. A context manager: within it `name` is a VFS of apsw, or the default one where `default`."""

    def __init__(self, default: bool = False) -> None:
        self.name = f"disk-{next(_numbers)}"
        self.base = apsw.vfs_names()[0]  # the default one
        self.operations = 0  # writes, syncs and truncations so far
        self.syncs = 0
        self.sync_seconds = 0.0  # how long each takes
        self.room: int | None = None  # bytes that all files together may have
        self.dead = False
        self.faults: list[Fault] = []
        self._cut_at = 0
        self._images: dict[str, _Image] = {}
        self._deleted: dict[str, _Image] = {}
        self._sizes: dict[str, int] = {}
        self._part = 0.0
        self._lock = threading.Lock()
        self._vfs: _DiskVFS | None = _DiskVFS(self, default)

    def __enter__(self) -> Disk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if self._vfs is not None:
            self._vfs.unregister()
            self._vfs = None
        return False

    # -- What a test tells

    def cut(self, after: int = 0) -> None:
        """Cut the power: now, or during the operation that comes `after` so many others."""
        with self._lock:
            if after:
                self._cut_at = self.operations + after
            else:
                self.dead = True

    def fail(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def leave(self, folder: Path, random: Random) -> None:
        """Write the files into `folder` as they may be found when the power is back."""
        assert self.dead, "the power is on"
        for path, image in self._images.items():
            content = image.after_cut(random)
            if content is not None:
                (folder / Path(path).name).write_bytes(content)
        for path, image in self._deleted.items():
            if path not in self._images and image.there and random.random() < 0.5:
                (folder / Path(path).name).write_bytes(image.content)

    def used(self) -> int:
        """Bytes of all files."""
        return sum(self._sizes.values())

    # -- What SQLite does

    def opened(self, path: str) -> None:
        with self._lock:
            if path not in self._images:
                file = Path(path)
                content = file.read_bytes() if file.exists() else b""
                self._images[path] = _Image(content or None)
                self._sizes[path] = len(content)

    def deleted(self, path: str) -> None:
        with self._lock:
            image = self._images.pop(path, None)
            if image is not None and not self.dead:
                self._deleted[path] = image
            self._sizes.pop(path, None)

    def write(self, path: str, data: bytes, offset: int) -> tuple[int, int]:
        """Gives how many bytes are to be written, and the code of the error behind them, or 0."""
        with self._lock:
            code, kept = self._operation(WRITE, path), len(data)
            image = self._images[path]
            if self.dead:
                if code == CUT:
                    image.since.append((offset, data))
                return 0, apsw.SQLITE_IOERR_WRITE
            if code:
                kept = int(kept * self._part)
            elif self.room is not None:
                over = self.used() + max(0, offset + kept - self._sizes[path]) - self.room
                if over > 0 and offset + kept > self._sizes[path]:
                    code, kept = apsw.SQLITE_FULL, max(0, kept - over)
            if kept:
                image.since.append((offset, data[:kept]))
                self._sizes[path] = max(self._sizes[path], offset + kept)
            return kept, code

    def truncate(self, path: str, size: int) -> int:
        """Gives the code of an error, or 0."""
        with self._lock:
            code = self._operation(WRITE, path)
            if code == CUT or not code:
                self._images[path].since.append(size)
                self._sizes[path] = min(self._sizes[path], size)
            return apsw.SQLITE_IOERR_TRUNCATE if self.dead else code

    def sync(self, path: str) -> int:
        """Gives the code of an error, or 0."""
        if self.sync_seconds:
            time.sleep(self.sync_seconds)
        with self._lock:
            code = self._operation(SYNC, path)
            if self.dead:
                return apsw.SQLITE_IOERR_FSYNC
            if not code:
                self.syncs += 1
                self._images[path].sync()
                for image in self._images.values():
                    image.there = True
                self._deleted.clear()
            return code

    def _operation(self, operation: str, path: str) -> int:
        """Count it; gives CUT where the power goes with it, the code of a fault that strikes, else 0."""
        if self.dead:
            return apsw.SQLITE_IOERR
        self.operations += 1
        if self.operations == self._cut_at:
            self.dead = True
            return CUT
        for fault in self.faults:
            if fault.strikes(operation, path):
                self._part = fault.part
                return fault.code
        return 0


class _DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        path = name if isinstance(name, str) else name.filename() if name is not None else ""
        self._path = path
        super().__init__(disk.base, name, flags)
        disk.opened(path)

    def xWrite(self, data: bytes, offset: int) -> None:
        whole = bytes(data)
        kept, code = self._disk.write(self._path, whole, offset)
        if kept:
            super().xWrite(whole[:kept], offset)
        if code:
            raise apsw.exception_for(code)

    def xTruncate(self, newsize: int) -> None:
        if code := self._disk.truncate(self._path, newsize):
            raise apsw.exception_for(code)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        if code := self._disk.sync(self._path):
            raise apsw.exception_for(code)


class _DiskVFS(apsw.VFS):
    """Its files are those of the system's own VFS."""

    def __init__(self, disk: Disk, default: bool) -> None:
        self._disk = disk
        super().__init__(disk.name, disk.base, makedefault=default)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _DiskFile(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.deleted(filename)
        super().xDelete(filename, syncdir)
