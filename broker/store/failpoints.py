"""Places where a test can have the process killed: BROKER_FAILPOINT, read once when a store is opened.

    before-commit:N                 at the Nth commit, when all its rows are in the transaction
    after-commit:N                  behind the Nth commit, before anybody is told
    before-commit@queued:N          the same, of the commits that add rows to the table `queued`
    after-commit@queued-deleted:N   ... or that delete some of it

It dies of SIGKILL, as in a real crash: nothing is flushed, nothing is closed. The thread that writes stays there for a
moment before, so that a packet that should have waited for the commit has left, and is seen.
"""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Final

from broker.store.folder import StoreError
from broker.store.records import TABLE_NAMES

VARIABLE: Final = "BROKER_FAILPOINT"
MOMENT: Final = 0.1  # seconds
_PATTERN: Final = re.compile(r"(before-commit|after-commit)(?:@(\w+?)(-deleted)?)?:(\d+)")


class Failpoint:
    """One of them, armed."""

    def __init__(self, name: str, table: int, deleted: bool, count: int) -> None:
        self.name = name
        self.table = table  # -1 for any
        self.deleted = deleted
        self.left = count

    def pass_by(self, name: str, added: list[int], deleted: list[int]) -> None:
        """The place `name` of a commit that adds to and deletes from the tables with these numbers."""
        if name != self.name or (self.table >= 0 and self.table not in (deleted if self.deleted else added)):
            return
        self.left -= 1
        if self.left == 0:
            time.sleep(MOMENT)
            os.kill(os.getpid(), signal.SIGKILL)


def armed(text: str | None) -> Failpoint | None:
    """What BROKER_FAILPOINT asks for; StoreError where it is no such place."""
    if not text:
        return None
    found = _PATTERN.fullmatch(text)
    if found is None or (found[2] and found[2] not in TABLE_NAMES) or int(found[4]) < 1:
        raise StoreError(
            f"{VARIABLE} is '{text}'; it may be before-commit:N or after-commit:N, with @TABLE or @TABLE-deleted "
            f"before the colon, and a table is one of {', '.join(TABLE_NAMES)}."
        )
    table = TABLE_NAMES.index(found[2]) if found[2] else -1
    return Failpoint(found[1], table, found[3] is not None, int(found[4]))
