"""A store made smaller while nobody uses it, and a copy of one that may be in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from broker.store.database import close, connect, open_database, read_state
from broker.store.folder import Folder, StoreError, explain
from broker.store.inspection import check_held, held, interruptible, reading

if TYPE_CHECKING:
    from pathlib import Path

    from broker.store.state import State


def compact(folder: Folder) -> tuple[int, int]:
    """Take the WAL in and give free pages back to the disk; bytes of all files before and after.

    StoreError where a broker uses the store, where it is damaged, or where there is no room for a second copy.
    """
    with held(folder) as free:
        if not free:
            raise StoreError(f"{folder.lock}: a broker uses this store; stop it first.")
        findings = check_held(folder, True).findings
        if findings:
            raise StoreError(f"{findings[0]}; `broker store check` names all that is damaged.")
        before = size(folder)
        connection, state = open_database(folder)
        try:
            interruptible(connection)
            connection.execute("VACUUM")
            _close_well(connection, state)
        except apsw.Error as error:
            connection.close()
            raise StoreError(f"{folder.database}: {error}; nothing was changed.") from None
        except BaseException:
            connection.close()
            raise
        return before, size(folder)


def backup(folder: Folder, into: Path) -> int:
    """Copy the store as its last commit left it into a new data folder, whether a broker uses it or not; its bytes.

    StoreError where either cannot be used; no store is left in `into` then.
    """
    target = Folder(into)
    if target.database.exists() or target.traces():
        raise StoreError(f"{target.database}: there is a store already; choose an empty folder.")
    target.open()
    try:
        with reading(folder) as connection:
            interruptible(connection)
            connection.execute("COMMIT")  # VACUUM wants a transaction of its own
            connection.execute("VACUUM INTO ?", (str(target.database),))
        copy = connect(target.database)
        try:
            copy.pragma("journal_mode", "WAL")
            _close_well(copy, read_state(copy, target.database))
        except BaseException:
            copy.close()
            raise
        target.sync()
        return size(target)
    except BaseException as error:
        for path in (target.database, target.wal, target.path / "store.db-shm", target.path / "store.db-journal"):
            path.unlink(missing_ok=True)
        if isinstance(error, apsw.Error):
            raise StoreError(f"{target.database}: {error}; choose another folder.") from None
        if isinstance(error, OSError):
            raise explain(error, target.database) from None
        raise
    finally:
        target.close()


def size(folder: Folder) -> int:
    """Bytes of the database and its WAL."""
    return sum(path.stat().st_size for path in (folder.database, folder.wal) if path.exists())


def _close_well(connection: apsw.Connection, state: State) -> None:
    """Leave the database as a broker does that was asked to stop: all in one file."""
    state.running = False
    connection.execute("UPDATE meta SET v = ? WHERE k = 'state'", (state.encode(),))
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    close(connection)
