"""Stores with damaged files: what a start makes of them, compared with what had been acknowledged.

A start may do one of two things: refuse, with a line that names a file of the folder, or load everything that was
acknowledged. `Damage` holds the two states in which a folder can be found, closed in order and killed, and tries one
change of its files after the other on a copy.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Final

from broker.core.broker import Broker
from broker.core.limits import Limits, ServerLimits
from broker.core.restoring import Restorer
from broker.store.folder import StoreError
from broker.store.inspection import check, locate
from broker.store.salvage import salvage
from broker.store.store import FSYNC, SqliteStore
from tests.store.stores import MESSAGES, QUEUED, STORE_TIME, Rows, build, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

DATABASE: Final = "store.db"
LOG: Final = "store.db-wal"
CLOCK: Final = "clock"
NOW: Final = 1000.0  # monotonic seconds

ON_A_PAGE: Final = 200  # rows, more than fit on one page


def start(path: Path) -> Broker:
    """A Broker that has loaded the store, which is closed again as it was. StoreError where it is refused."""
    store = SqliteStore(path, FSYNC)
    store.open(NOW)
    broker = Broker(ServerLimits(), None, store)
    store.load(Restorer(broker, Limits(), NOW))
    store.close(NOW)
    return broker


class Damage:
    """See the module. `outcomes` counts what came of the changes, by kind and outcome."""

    def __init__(self, folder: Path, messages: int = 60) -> None:
        self.folder = folder
        self.outcomes: Counter[tuple[str, str]] = Counter()
        builder = build(folder / "built", messages=messages, clock=True)
        self.rows: Rows = dict(builder.rows)
        self.killed = _files(builder.killed(folder / "killed"))
        with closing(builder):
            # What stands in the database and in the log at other moments of its life.
            builder.connection.wal_checkpoint()
            self.carried = _files(builder.folder.path)
        self.closed = _files(folder / "built")
        self.older, self.older_log = self._older(messages)
        self.states = {"killed": self.killed, "closed": self.closed}
        self.tried = 0

    def _older(self, messages: int) -> tuple[bytes, bytes]:
        """The database and the log of the same store some commits before."""
        builder = build(self.folder / "again", messages=messages // 2, clock=True)
        with closing(builder):
            found = _files(builder.folder.path)
        return found[DATABASE], found[LOG]

    def fresh(self, state: str) -> Path:
        """A copy of the folder as it is found in `state`."""
        self.tried += 1
        path = self.folder / f"{self.tried}"
        path.mkdir()
        for name, content in self.states[state].items():
            (path / name).write_bytes(content)
        return path

    def judge(self, kind: str, path: Path, told: str) -> str:
        """What a start makes of the folder: "whole" or "refused"; AssertionError for anything between."""
        try:
            broker = start(path)
        except StoreError as refusal:
            text = str(refusal)
            assert "\n" not in text, told
            assert str(path) in text, f"{told}: no file is named: {text}"
            outcome = "refused"
        else:
            assert rows_of(path) == self.rows, f"{told}: it starts with something else than what was acknowledged"
            assert len(broker.sessions) == 4, told
            outcome = "whole"
        self.outcomes[kind, outcome] += 1
        return outcome

    def rescue(self, path: Path, told: str) -> tuple[Rows, Rows]:
        """Salvage the folder; what is kept of what was acknowledged, and what is lost of it. The new store starts."""
        into = path.with_name(f"{path.name}-new")
        try:
            salvage(locate(path), into, lambda line: None, STORE_TIME)
        except StoreError as nothing:
            if "no store here" not in str(nothing) and "nothing of a store" not in str(nothing):
                raise
            return {}, self.rows  # the database is not there, or not a row of it is
        assert check(locate(into)).findings == [], told
        start(into)
        kept = rows_of(into)
        shutil.rmtree(into)
        return (
            {key: record for key, record in kept.items() if self.rows.get(key) == record},
            {key: record for key, record in self.rows.items() if kept.get(key) != record},
        )

    def flips(self, chance: Random, count: int, rescue: int) -> None:
        """Single bits flipped at random places; of what is refused, each `rescue`-th is salvaged."""
        for number in range(count):
            state = chance.choice(list(self.states))
            name, at = self._place(chance, state)
            bit = chance.randrange(8)
            told = f"{state}, {name}, byte {at}, bit {bit}"
            path = self.fresh(state)
            content = bytearray((path / name).read_bytes())
            content[at] ^= 1 << bit
            (path / name).write_bytes(content)
            if self.judge("bit", path, told) == "refused":
                assert self._is_found(path), f"{told}: `broker store check` finds nothing"
                if number % rescue == 0:
                    self._rescue_most(path, told)
            shutil.rmtree(path)

    def truncations(self, chance: Random, count: int, rescue: int) -> None:
        """Files cut off at random places; of what is refused, each `rescue`-th is salvaged."""
        for number in range(count):
            state = chance.choice(list(self.states))
            name, at = self._place(chance, state)
            told = f"{state}, {name}, cut off at byte {at}"
            path = self.fresh(state)
            (path / name).write_bytes((path / name).read_bytes()[:at])
            if self.judge("cut", path, told) == "refused" and number % rescue == 0:
                self.rescue(path, told)
            shutil.rmtree(path)

    def change(self, kind: str, state: str, change: Callable[[Path], None], told: str = "") -> str:
        """One change of a folder in `state`, and what a start makes of it."""
        path = self.fresh(state)
        change(path)
        outcome = self.judge(kind, path, f"{kind}, {state} {told}")
        if outcome == "refused":
            self.rescue(path, f"{kind}, {state} {told}")
        shutil.rmtree(path)
        return outcome

    def _rescue_most(self, path: Path, told: str) -> None:
        """One bit costs no more than the rows of one page, and what belongs to them."""
        _, lost = self.rescue(path, told)
        assert len([key for key in lost if key[0] not in (MESSAGES, QUEUED)]) <= ON_A_PAGE, told

    @staticmethod
    def _is_found(path: Path) -> bool:
        """Whether `broker store check` finds damage, if only that it is no store of ours."""
        try:
            return bool(check(locate(path)).findings)
        except StoreError:
            return True

    def _place(self, chance: Random, state: str) -> tuple[str, int]:
        """A file and a byte of it, each byte of the folder as probable as any other; the small ones a little more."""
        files = self.states[state]
        names = [name for name in files if files[name]]
        name = chance.choices(names, [len(files[name]) + 4000 for name in names])[0]
        return name, chance.randrange(len(files[name]))


def _files(path: Path) -> dict[str, bytes]:
    """What of a folder counts; the -shm is made anew by whoever opens it."""
    return {name: (path / name).read_bytes() for name in (DATABASE, LOG, CLOCK) if (path / name).exists()}
