"""The database in its file: made, opened, or refused with one clear line; never overwritten, never silently begun anew.

Six tables and `meta`. All tables are alike, append-only and without an index: memory is the authority while the broker
runs, so rows are only added, deleted by number, and read in the order of their numbers. AUTOINCREMENT never gives a
number twice. `meta` holds one row, `state` (`broker.store.state`).

A database is first made under another name and gets its own when it is whole. So a file that is empty or missing where
traces of a store are left was lost, not just begun. Where a WAL must be and is not, what it held is lost: the database
was marked as running when it was opened, and is not when it was closed well.

A check on opening costs little: the header, the state row, and up to SMALL bytes SQLite's own quick_check. The rest is
found when the rows are read: by their checksums, and by their counts and sums.
"""

from __future__ import annotations

import mmap
import os
import re
from struct import Struct
from typing import TYPE_CHECKING, Final

import apsw

from broker.store.folder import StoreError, explain
from broker.store.records import TABLE_NAMES
from broker.store.state import State, decode_state

if TYPE_CHECKING:
    from pathlib import Path

    from broker.store.folder import Folder

APPLICATION_ID: Final = 0x54524D51  # "TRMQ"
FORMAT: Final = 1
SMALL: Final = 32 * 1024 * 1024  # bytes of database and WAL that quick_check may read at a start: some 0.1 s
LOCAL: Final = 400  # bytes of a row that SQLite has in one place, and somewhat more
BUSY_MILLISECONDS: Final = 1000

READ_STATE: Final = "SELECT iif(typeof(v) = 'blob', v, NULL) FROM meta WHERE k = 'state'"  # as records.BLOB says
SCHEMA: Final = "".join(
    [f"CREATE TABLE {name} (id INTEGER PRIMARY KEY AUTOINCREMENT, rec BLOB NOT NULL);\n" for name in TABLE_NAMES]
)

# SQL that turns the format by whose number it stands into the next one.
MIGRATIONS: Final[dict[int, str]] = {}

_HEADER: Final = Struct(">16s44xII")  # of a database file: magic, then at 60 user_version, reserved
_APPLICATION_ID_AT: Final = 68
_MAGIC: Final = b"SQLite format 3\0"
_SALVAGE: Final = "export what is good with `broker store salvage`, or put a backup of the whole folder in its place"


def connect(path: Path, vfs: str = "", read_only: bool = False) -> apsw.Connection:
    """A connection that never touches the WAL when it is closed. apsw.Error where SQLite cannot open the file."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs or None)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    return connection


def create(folder: Folder, vfs: str = "") -> None:
    """Make a new, empty database. StoreError or apsw.Error where it cannot be made; nothing is left behind then."""
    unfinished = folder.path / "store.db.new"
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection = connect(unfinished, vfs)
        try:
            connection.pragma("auto_vacuum", "INCREMENTAL")
            connection.pragma("journal_mode", "WAL")
            connection.pragma("synchronous", "FULL")
            connection.execute("BEGIN IMMEDIATE")
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", FORMAT)
            connection.execute(f"{SCHEMA} CREATE TABLE meta (k TEXT PRIMARY KEY, v BLOB)")
            connection.execute("INSERT INTO meta VALUES ('state', ?)", (State().encode(),))
            connection.execute("COMMIT")
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            close(connection)
        unfinished.rename(folder.database)
        folder.sync()
    except OSError as error:
        raise explain(error, folder.database) from None


def close(connection: apsw.Connection) -> None:
    """Close a connection whose commits are all in the database: the WAL goes too."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    connection.close()


def open_database(folder: Folder, vfs: str = "", read_only: bool = False) -> tuple[apsw.Connection, State]:
    """The database of `folder`, nothing written yet, and what it says of itself. StoreError where it is not to be used.

    With `read_only` a database must be there.
    """
    path = folder.database
    try:
        found = path.exists()
        if not found or path.stat().st_size == 0:
            traces = folder.traces()
            if traces or found:
                what = "is empty" if found else "is missing"
                beside = f", though {' and '.join(traces)} beside it say that there was a store" if traces else ""
                raise StoreError(
                    f"{path}: the database {what}{beside}; put a backup of the whole folder in its place, or empty "
                    "the folder to begin anew."
                )
            if read_only:
                raise StoreError(f"{path}: there is no database here; name the folder that was given to `--data`.")
            create(folder, vfs)
        check_header(path)
        wal_bytes = folder.wal.stat().st_size if folder.wal.exists() else 0
        for writable in () if read_only else (path, folder.wal):
            if writable.exists() and not os.access(writable, os.W_OK):
                raise StoreError(
                    f"{writable}: no permission; let user {os.getuid()} read and write it, or choose another folder."
                )
    except OSError as error:
        raise explain(error, path) from None
    except apsw.Error as error:
        raise explain_sqlite(error, folder) from None
    connection: apsw.Connection | None = None
    try:
        connection = connect(path, vfs, read_only)
        check_format(connection, path, read_only)
        if path.stat().st_size + wal_bytes <= SMALL:
            check_pages(connection, path)
        state = read_state(connection, path)
        if state.running and wal_bytes == 0:
            raise StoreError(
                f"{folder.wal}: the write-ahead log is missing, and with it the newest commits; put it back, "
                f"or {_SALVAGE}."
            )
    except (apsw.Error, StoreError) as error:
        refusal = error if isinstance(error, StoreError) else explain_sqlite(error, folder, connection)
        if connection is not None:
            connection.close()
        raise refusal from None
    return connection, state


def check_header(path: Path) -> None:
    """Refuse what is no database of ours by its first bytes, before SQLite touches anything."""
    with path.open("rb") as file:  # SQLite holds no lock yet that this could take away
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise StoreError(f"{path}: this is not a database of this broker, or a damaged one; {_SALVAGE}.")
    _, version, _ = _HEADER.unpack_from(header)
    application = int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4], "big")
    if application != APPLICATION_ID:
        raise StoreError(
            f"{path}: this is a database of another program (application id 0x{application:08X}); choose another "
            "folder."
        )
    refuse_newer(path, version)


def refuse_newer(path: Path, version: int) -> None:
    if version > FORMAT:
        raise StoreError(
            f"{path}: its format is {version}, and this broker knows up to {FORMAT}; start a newer version of the "
            "broker, or choose another folder."
        )


def check_format(connection: apsw.Connection, path: Path, read_only: bool) -> None:
    """Bring the database to today's format, and see that the tables are there."""
    version = int(connection.pragma("user_version"))
    refuse_newer(path, version)
    if version < FORMAT:
        if any(step not in MIGRATIONS for step in range(version, FORMAT)):
            raise StoreError(f"{path}: its format is {version}, which no broker ever wrote: it is damaged; {_SALVAGE}.")
        if read_only:
            raise StoreError(f"{path}: its format is {version}; start the broker once to bring it to {FORMAT}.")
        connection.execute("BEGIN IMMEDIATE")
        for step in range(version, FORMAT):
            connection.execute(MIGRATIONS[step])
        connection.pragma("user_version", FORMAT)
        connection.execute("COMMIT")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    missing = {*TABLE_NAMES, "meta"} - tables
    if missing:
        raise StoreError(f"{path}: table {min(missing)} is missing: the database is damaged; {_SALVAGE}.")


def check_pages(connection: apsw.Connection, path: Path) -> None:
    """Have SQLite look at the structure of each page."""
    found = connection.execute("PRAGMA quick_check(1)").get
    if found != "ok":
        raise damaged_page(path, found)


def damaged_page(path: Path, found: str) -> StoreError:
    """The refusal for what quick_check has found."""
    detail = " ".join(found.removeprefix("*** in database main ***").split())
    page = re.search(r"[Pp]age (\d+)", detail)
    where = f" at byte {(int(page[1]) - 1) * 4096}" if page else ""
    return StoreError(f"{path}: the database is damaged{where} ({detail}); {_SALVAGE}.")


def read_state(connection: apsw.Connection, path: Path) -> State:
    row = connection.execute(READ_STATE).fetchone()
    state = decode_state(row[0]) if row and isinstance(row[0], bytes) else None
    if state is None:
        raise StoreError(f"{path}: row state of table meta is damaged; {_SALVAGE}.")
    return state


def check_newest(connection: apsw.Connection, state: State, path: Path) -> None:
    """See that the newest number of each table is the one that the last commit gave."""
    newest = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    for table, name in enumerate(TABLE_NAMES):
        if newest.get(name, 0) != state.last[table]:
            raise StoreError(
                f"{path}: the newest number of table {name} is {newest.get(name, 0)} and should be "
                f"{state.last[table]}: the database is damaged; {_SALVAGE}."
            )


def count_rows(connection: apsw.Connection, table: int) -> tuple[int, int]:
    """How many rows a table has, and the sum of their numbers."""
    count, low, high = connection.execute(
        f"SELECT count(*), ifnull(sum(id & 4294967295), 0), ifnull(sum(id >> 32), 0) FROM {TABLE_NAMES[table]}"
    ).get
    return count, low + (high << 32)


def check_count(path: Path, state: State, table: int, count: int, total: int) -> None:
    """`count` rows were found in `table`, and `total` is the sum of their numbers."""
    if count != state.counts[table] or total & 0xFFFFFFFFFFFFFFFF != state.sums[table]:
        raise StoreError(
            f"{path}: table {TABLE_NAMES[table]} has {count} rows and should have {state.counts[table]}, or not the "
            f"right ones: the database is damaged; {_SALVAGE}."
        )


def damaged_record(folder: Folder, table: int, row: int, detail: str, record: bytes) -> StoreError:
    """The refusal for a record; to be called when the database is closed, as it looks for the record in the files."""
    for path in (folder.wal, folder.database):
        at = position(path, record)
        if at >= 0:
            return StoreError(
                f"{path}: row {row} of table {TABLE_NAMES[table]}, at byte {at}, is damaged ({detail}); {_SALVAGE}."
            )
    return StoreError(f"{folder.database}: row {row} of table {TABLE_NAMES[table]} is damaged ({detail}); {_SALVAGE}.")


def position(path: Path, record: bytes) -> int:
    """Where `record`, or the first of its bytes, stands in a file; -1 where it does not."""
    if not path.exists() or path.stat().st_size == 0 or not record:
        return -1
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = data.rfind(record)
        # A long one has its end on other pages.
        return found if found >= 0 else data.rfind(record[:LOCAL])


def explain_sqlite(error: apsw.Error, folder: Folder, connection: apsw.Connection | None = None) -> StoreError:
    """What an error of SQLite at a start means to who started the broker."""
    path = folder.database
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.FormatError):
        if connection is not None:
            try:
                check_pages(connection, path)
            except StoreError as found:
                return found
            except apsw.Error:
                pass
        return StoreError(f"{path}: the database is damaged ({error}); {_SALVAGE}.")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreError(f"{path}: another program has it locked; close that program and start again.")
    if isinstance(error, apsw.FullError):
        return StoreError(f"{path}: no space is left on the device; make room and start again.")
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError | apsw.CantOpenError):
        return StoreError(
            f"{path}: it cannot be opened to read and write ({error}); let user {os.getuid()} read and write "
            "the folder and all files in it."
        )
    return StoreError(f"{path}: {error}; see to the disk, or {_SALVAGE}.")
