"""The pages of `store.db` and of its WAL as they lie in the files, read without SQLite: for files that it refuses.

SQLite stops at the first page that makes no sense, and says no place; what it ships to recover files is not in apsw. As
every record of ours carries a checksum over its table and its row, no tree is needed to know what a cell is: all pages
that are not known to be free are looked through, and what bears out its checksum is a row.

File format: https://www.sqlite.org/fileformat2.html (header 1.3, free pages 1.5, leaves 1.6, pointer map 1.8, WAL 4).
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Self

MAGIC: Final = b"SQLite format 3\x00"
PAGE_SIZES: Final = tuple(1 << power for power in range(9, 17))
DEFAULT_PAGE_SIZE: Final = 4096

_WAL_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_WAL_MAGIC: Final = 0x377F0682  # the last bit says that checksums are big-endian
_LEAF: Final = 0x0D  # a leaf of a table
_HEADER: Final = 100
_POINTER_MAP_ENTRY: Final = 5
_FREE: Final = 2  # in the pointer map
_STATE: Final = b"state"

_U32: Final = Struct(">I")
_U16: Final = Struct(">H")


class Place(NamedTuple):
    """Where a page stands: the name of the file and the byte at which the page begins in it."""

    file: str
    byte: int

    def __str__(self) -> str:
        return f"{self.file}, byte {self.byte}"


class Cell(NamedTuple):
    """A cell of a leaf: a row's number and its record, the second column of our tables."""

    row: int
    record: bytes
    page: int


class Frame(NamedTuple):
    """A frame of the WAL; `pages` is the size of the database where it ends a transaction, else 0."""

    page: int
    pages: int
    byte: int  # at which its page begins
    good: bool  # it bears out its checksum, and belongs to this run through the file


class Wal:
    """The WAL: all frames up to the last good one that ends a transaction.

    `damage` is the first frame among them that is not good. SQLite would take it for the end and forget the rest.
    """

    def __init__(self, path: Path, page_size: int) -> None:
        self.name = path.name
        self.frames: list[Frame] = []
        self.page_size = page_size
        self.damage: Place | None = None
        self._whole_header = True
        with path.open("rb") as file:
            header = file.read(_WAL_HEADER)
            if len(header) == _WAL_HEADER:
                self._read(file, header)
        while self.frames and not (self.frames[-1].good and self.frames[-1].pages):
            self.frames.pop()
        bad = next((frame for frame in self.frames if not frame.good), None)
        if bad is not None and self._whole_header:
            self.damage = Place(self.name, bad.byte)
        elif self.frames and not self._whole_header:
            self.damage = Place(self.name, 0)

    def _read(self, file: BinaryIO, header: bytes) -> None:
        magic, _, size, _, salt_1, salt_2, sum_1, sum_2 = Struct(">8I").unpack(header)
        words = Struct(">2I" if magic & 1 else "<2I")
        whole = magic & ~1 == _WAL_MAGIC and _summed(words, header[:24], 0, 0) == (sum_1, sum_2)
        if size in PAGE_SIZES and whole:
            self.page_size = size
        self._whole_header = whole
        if not whole:
            salt_1 = salt_2 = -1
        at = _WAL_HEADER
        while len(frame := file.read(_FRAME_HEADER + self.page_size)) == _FRAME_HEADER + self.page_size:
            page, pages, first, second, after_1, after_2 = Struct(">6I").unpack_from(frame)
            if salt_1 < 0:
                salt_1, salt_2 = first, second  # those of the first frame, as the header is not to be believed
            sums = _summed(words, frame[_FRAME_HEADER:], *_summed(words, frame[:8], sum_1, sum_2))
            good = (first, second) == (salt_1, salt_2) and sums == (after_1, after_2) and page > 0
            self.frames.append(Frame(page, pages, at + _FRAME_HEADER, good))
            # What the next one goes on from is written here: so one damaged frame spoils no other.
            sum_1, sum_2 = after_1, after_2
            at += len(frame)


def _summed(words: Struct, data: bytes, first: int, second: int) -> tuple[int, int]:
    """The checksum of a WAL, gone on from (first, second) over `data`."""
    for one, two in words.iter_unpack(data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second


class Pages:
    """The pages of a database at its last commit. A context manager; OSError where the file cannot be read."""

    def __init__(self, database: Path) -> None:
        self.name = database.name
        self._file = database.open("rb")
        header = self._file.read(_HEADER).ljust(_HEADER, b"\0")
        size: int = _U16.unpack_from(header, 16)[0]
        size = 65536 if size == 1 else size
        # A reserve at the end of pages is not ours; nothing but damage makes one.
        self.size = size if header.startswith(MAGIC) and size in PAGE_SIZES else DEFAULT_PAGE_SIZE
        self._file.seek(0, 2)
        self.count = self._file.tell() // self.size
        wal = database.with_name(f"{database.name}-wal")
        self.wal = Wal(wal, self.size) if wal.exists() else None
        # Where a damaged frame claims a page, that page has two versions, of which neither can be ruled out.
        self._newest: dict[int, int] = {}
        self._doubtful: dict[int, list[int]] = {}
        self._wal_file = wal.open("rb") if self.wal else None
        if self.wal and self.wal.frames:
            self.size = self.wal.page_size
            self.count = self.wal.frames[-1].pages
            for frame in self.wal.frames:
                if frame.good:
                    self._newest[frame.page] = frame.byte
                    self._doubtful.pop(frame.page, None)
                else:
                    self._doubtful.setdefault(frame.page, []).append(frame.byte)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        if self._wal_file:
            self._wal_file.close()

    def page(self, number: int) -> bytes:
        """A page at the last commit; shorter than `size`, or empty, where the file ends before."""
        at = self._newest.get(number)
        if at is not None and self._wal_file:
            return _at(self._wal_file, at, self.size)
        return _at(self._file, (number - 1) * self.size, self.size)

    def place(self, number: int) -> Place:
        """Where `page(number)` stands."""
        at = self._newest.get(number)
        if at is not None and self.wal:
            return Place(self.wal.name, at)
        return Place(self.name, (number - 1) * self.size)

    def cells(self) -> Iterator[Cell]:
        """All cells of leaves that may be in use, of whatever table; nothing says that their records are whole."""
        free = self._free()
        for number in range(1, self.count + 1):
            if number not in free:
                yield from self._cells_of(number, self.page(number))
        if self._wal_file:
            for number, places in self._doubtful.items():
                for at in places:
                    yield from self._cells_of(number, _at(self._wal_file, at, self.size))

    def states(self) -> Iterator[bytes]:
        """What may be the BLOB of the row 'state' of table meta; more than one where it is not known which counts."""
        for number in range(1, self.count + 1):
            yield from self._states_on(self.page(number), 0)
        if self._wal_file:
            for places in self._doubtful.values():
                for at in places:
                    yield from self._states_on(_at(self._wal_file, at, self.size), 0)

    def _states_on(self, page: bytes, start: int) -> Iterator[bytes]:
        if len(page) == self.size and page[start] == _LEAF:
            for payload, _ in self._payloads(page, start):
                with suppress(IndexError):
                    header, at = _varint(payload, 0)
                    text, at = _varint(payload, at)
                    kind, at = _varint(payload, at)
                    name = payload[header : header + len(_STATE)]
                    if text == 2 * len(_STATE) + 13 and name == _STATE and kind >= 12 and at == header:
                        yield payload[header + len(_STATE) : header + len(_STATE) + (kind - 12) // 2]

    def find(self, row: int, record: bytes) -> Place | None:
        """The page on which a cell begins that SQLite reads as this."""
        return next((self.place(cell.page) for cell in self.cells() if cell[:2] == (row, record)), None)

    def _cells_of(self, number: int, page: bytes) -> Iterator[Cell]:
        start = _HEADER if number == 1 else 0
        if len(page) < self.size or page[start] != _LEAF:
            return
        for payload, row in self._payloads(page, start):
            with suppress(IndexError, ValueError):
                yield Cell(row, _second_column(payload), number)

    def _payloads(self, page: bytes, start: int) -> Iterator[tuple[bytes, int]]:
        """The payloads of a leaf's cells, and their rows."""
        count = _U16.unpack_from(page, start + 3)[0]
        for index in range(min(count, (self.size - start - 8) // 2)):
            at = _U16.unpack_from(page, start + 8 + 2 * index)[0]
            try:
                length, at = _varint(page, at)
                row, at = _varint(page, at)
                payload = self._payload(page, at, length)
            except (IndexError, ValueError):
                continue
            yield payload, row

    def _payload(self, page: bytes, at: int, length: int) -> bytes:
        """`length` bytes of payload that begin at `at` and go on on overflow pages. ValueError where they do not."""
        usable = self.size
        most = usable - 35
        if length <= most:
            return page[at : at + length]
        if length > self.count * usable:
            raise ValueError("longer than the file")
        least = (usable - 12) * 32 // 255 - 23
        here = least + (length - least) % (usable - 4)
        here = here if here <= most else least
        parts = [page[at : at + here]]
        left = length - here
        following = _u32(page, at + here)
        while left > 0:
            overflow = self.page(following)
            if len(overflow) < usable:
                raise ValueError("an overflow page is missing")
            parts.append(overflow[4 : 4 + min(left, usable - 4)])
            left -= usable - 4
            following = _u32(overflow, 0)
        return b"".join(parts)

    def _free(self) -> set[int]:
        """Pages that both lists of free pages, which SQLite keeps apart, call free: a damaged one hides no row."""
        in_list: set[int] = set()
        head = self.page(1)
        trunk = _u32(head, 32) if len(head) == self.size else 0
        while 0 < trunk <= self.count and trunk not in in_list:
            in_list.add(trunk)
            page = self.page(trunk)
            if len(page) < self.size:
                break
            count = min(_u32(page, 4), self.size // 4 - 2)
            in_list.update(_u32(page, 8 + 4 * index) for index in range(count))
            trunk = _u32(page, 0)
        return {number for number in in_list if self._in_pointer_map(number) == _FREE}

    def _in_pointer_map(self, number: int) -> int:
        """What the pointer map says of a page; 0 where it says nothing."""
        if number < 3:
            return 0
        each = self.size // _POINTER_MAP_ENTRY + 1
        index = (number - 2) % each
        entries = self.page(number - index)
        at = (index - 1) * _POINTER_MAP_ENTRY
        return entries[at] if index and at < len(entries) else 0


def _at(file: BinaryIO, at: int, size: int) -> bytes:
    if at < 0:
        return b""
    file.seek(at)
    return file.read(size)


def _u32(data: bytes, at: int) -> int:
    found: int = _U32.unpack_from(data, at)[0] if 0 <= at <= len(data) - 4 else 0
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends. IndexError at the end of `data`."""
    number = 0
    for index in range(8):
        byte = data[at + index]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at + index + 1
    number = number << 8 | data[at + 8]
    return number, at + 9


def _second_column(payload: bytes) -> bytes:
    """The BLOB behind the NULL that stands for the row's number. ValueError where these are not the columns."""
    header, at = _varint(payload, 0)
    first, at = _varint(payload, at)
    kind, at = _varint(payload, at)
    length = (kind - 12) // 2
    if first != 0 or kind < 12 or kind % 2 or at != header or header + length > len(payload):
        raise ValueError("not a row of ours")
    return payload[header : header + length]
