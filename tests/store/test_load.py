"""A start gives back what was there, and notices what is not."""

from __future__ import annotations

import math
import re
import shutil
from array import array
from typing import TYPE_CHECKING

import apsw
import pytest

from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, RETAINED, SUBSCRIPTIONS, TABLES, Exchange, RetainedRow
from broker.core.subscriptions import Subscription
from broker.packets.types import Will
from broker.store import load
from broker.store.folder import Folder, StoreError
from broker.store.records import TABLE_NAMES
from broker.store.store import SqliteStore
from tests.store.parts import Kept, Running, entry, message
from tests.store.stores import build, flip

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.build("plain")  # what stands in for a Restorer is no compiled class


def loaded(path: Path, now: float = 2000.0) -> Kept:
    """What a start gives back; nothing is written."""
    kept = Kept()
    store = SqliteStore(path, "fsync")
    store.open(now)
    store.load(kept)  # type: ignore[arg-type]
    store.close(now)
    return kept


def refusal(path: Path) -> str:
    before = (path / "store.db").read_bytes(), (path / "store.db-wal").read_bytes()
    with pytest.raises(StoreError) as caught:
        loaded(path)
    assert ((path / "store.db").read_bytes(), (path / "store.db-wal").read_bytes()) == before
    folder = Folder(path)
    folder.open()  # it is not locked any more
    folder.close()
    return str(caught.value)


def test_everything_comes_back(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        journal = running.journal
        receiver = running.session("receiver")
        receiver.away_since = running.now - 10.0
        receiver.will = Will("last/words", b"bye", 1, True, 30, 60, b"")
        receiver.will_at = running.now + 20.0
        receiver.principal = "user:ann"
        journal.change(0, receiver)
        other = running.session("other")
        journal.add(SUBSCRIPTIONS, Subscription(receiver, "a/#", "", 2, True, True, 7, "reject"))
        journal.add(SUBSCRIPTIONS, Subscription(other, "b", "group", 1))
        shared = message("a/b", b"for both")
        journal.keep(entry(receiver, shared))
        journal.keep(entry(other, shared))
        journal.keep(entry(receiver, message("a/c", b"sent"), 9))
        journal.add(EXCHANGES, Exchange(receiver, 5, True))
        journal.add(EXCHANGES, Exchange(receiver, 6, False))
        journal.add(RETAINED, RetainedRow(message("r", b"kept", expires_at=running.now + 100.0)))
        running.commit()
        clock = running.store.clock
        offset = clock.offset
    store = SqliteStore(tmp_path / "data", "fsync")
    store.open(5000.0)
    kept = Kept()
    store.load(kept)  # type: ignore[arg-type]
    shift = offset - store.clock.offset  # of the monotonic clock
    store.close(5000.0)

    expiry_interval, away_since, will, will_at, connected, principal = kept.sessions["receiver"]
    assert not connected
    assert principal == "user:ann"
    assert expiry_interval == 3600
    assert away_since == pytest.approx(990.0 + shift)
    assert will_at == pytest.approx(1020.0 + shift)
    assert (will.topic, will.payload, will.qos, will.retain) == ("last/words", b"bye", 1, True)
    assert (will.delay_interval, will.message_expiry_interval, will.forwarded) == (30, 60, b"")
    assert kept.by_number[1].row == 2, "its newest row"
    _, away_since, will, will_at, connected, _ = kept.sessions["other"]
    assert connected
    assert away_since == pytest.approx(1000.0 + shift), "it was connected when the broker was last alive"
    assert (will, will_at) == (None, math.inf)
    assert kept.subscriptions == [
        (1, 1, "a/#", 2, True, True, 7, "reject"),
        (2, other.number, "$share/group/b", 1, False, False, 0, ""),
    ]
    assert kept.exchanges == [(1, 1, 5, True), (2, 1, 6, False)]
    assert kept.waits == {1: ([1], [1], [shared.size]), other.number: ([2], [1], [shared.size])}
    assert kept.journal.shared == {1: 2}
    (sent,) = kept.was_sent[1]
    assert (sent.row, sent.identifier, sent.message.payload, sent.message.row) == (3, 9, b"sent", 2)
    assert sent.delivery.session is kept.by_number[1]
    row, retained = kept.retained_messages["r"]
    assert (row, retained.payload) == (1, b"kept")
    assert retained.expires_at == pytest.approx(1100.0 + shift)
    assert kept.last == [3, 2, 2, 3, 2, 1]


def test_a_message_that_is_sent_here_and_waits_there(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        first, second = running.session("first"), running.session("second")
        sent = message()
        running.journal.keep(entry(first, sent, 3))
        running.journal.keep(entry(second, sent))
        running.commit()
    kept = loaded(tmp_path / "data")
    assert kept.journal.shared == {1: 2}
    assert kept.was_sent[first.number][0].message.holders == -1


def test_entries_whose_numbers_are_out_of_order(tmp_path: Path) -> None:
    """A newer row for an older message: it was sent meanwhile."""
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        entries = [running.keep(receiver) for _ in range(5)]
        running.commit()
        for each in (entries[3], entries[0]):
            each.identifier = each.row
            running.journal.change(QUEUED, each)
        running.commit()
    kept = loaded(tmp_path / "data")
    assert kept.waits[1][:2] == ([2, 3, 5], [2, 3, 5])
    assert [(each.row, each.message.row, each.identifier) for each in kept.was_sent[1]] == [(6, 4, 4), (7, 1, 1)]
    assert kept.journal.shared == {}


def test_what_an_ended_session_has_left(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        first, second = running.session("first"), running.session("second")
        sent = message()
        running.journal.keep(entry(first, sent))
        running.journal.keep(entry(first))
        running.journal.keep(entry(first, None, 7))
        running.journal.keep(entry(second, sent))
        running.journal.delete(0, first)
        running.commit()
    with Running(tmp_path / "data") as running:
        assert running.kept.lost == [(1, 1), (2, 2), (3, 3)]
        running.commit()
    kept = loaded(tmp_path / "data")
    assert kept.lost == []
    assert kept.waits == {2: ([4], [1], [sent.size])}


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = build(tmp_path / "data", messages=30)
    total = sum(builder.state.counts) - builder.state.counts[MESSAGES]
    builder.close()
    monkeypatch.setattr(load, "STEP", 10)
    monkeypatch.setattr(load, "PROGRESS", 0.0)
    told: list[tuple[int, int]] = []
    store = SqliteStore(tmp_path / "data", "fsync")
    store.open(0.0)
    store.load(Kept(), lambda done, whole: told.append((done, whole)))  # type: ignore[arg-type]
    store.close(0.0)
    assert len(told) >= 3
    assert told == sorted(told)
    assert {whole for _, whole in told} == {total}
    assert told[-1][0] <= total


@pytest.mark.parametrize("table", range(TABLES))
def test_a_damaged_record_is_refused_with_its_place(tmp_path: Path, table: int) -> None:
    builder = build(tmp_path / "running")
    path = builder.killed(tmp_path / "data")
    row, record = max((row, record) for (other, row), record in builder.rows.items() if other == table)
    # In the database, without SQLite's knowing: nothing of it is left in the WAL.
    connection = apsw.Connection(str(path / "store.db"))
    connection.execute("UPDATE meta SET v = v")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.execute("INSERT INTO meta VALUES ('x', 1); DELETE FROM meta WHERE k = 'x'")
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
    data = (path / "store.db").read_bytes()
    places = [found.start() for found in re.finditer(re.escape(record), data)]  # pages have remains of rows that moved
    assert places
    for at in places:
        flip(path / "store.db", at + len(record) - 2)
    text = refusal(path)
    assert f"store.db: row {row} of table {TABLE_NAMES[table]}, " in text
    assert any(f"at byte {at}, is damaged (the checksum is wrong)" in text for at in places)
    assert "broker store salvage" in text


@pytest.mark.parametrize("table", range(TABLES))
def test_a_record_that_a_flipped_bit_made_text_is_refused(tmp_path: Path, table: int) -> None:
    """SQLite would have it decoded, which it cannot be."""
    builder = build(tmp_path / "running")
    path = builder.killed(tmp_path / "data")
    row = max(row for other, row in builder.rows if other == table)
    connection = apsw.Connection(str(path / "store.db"))
    connection.execute(f"UPDATE {TABLE_NAMES[table]} SET rec = CAST(x'c196ff' AS TEXT) WHERE id = ?", (row,))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
    assert f"row {row} of table {TABLE_NAMES[table]}" in refusal(path)


@pytest.mark.parametrize("table", ["sessions", "subscriptions", "messages", "queued", "exchanges", "retained"])
def test_a_row_that_is_missing_is_noticed(tmp_path: Path, table: str) -> None:
    path = build(tmp_path / "running").killed(tmp_path / "data")
    connection = apsw.Connection(str(path / "store.db"))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute(f"DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})")
    connection.close()
    text = refusal(path)
    assert f"table {table}" in text
    assert "missing" in text or "should have" in text


def test_a_message_that_no_queue_holds_is_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    builder = build(tmp_path / "running")
    left = builder.message("nobody", b"wants it")
    builder.commit()
    kept = loaded(builder.killed(tmp_path / "data"))
    assert "1 messages that no queue holds are deleted" in caplog.text
    assert kept.journal.deleted[MESSAGES] == [left]


def test_a_wal_that_is_cut_off_is_noticed_by_the_witness(tmp_path: Path) -> None:
    running = Running(tmp_path / "running", "written")
    receiver = running.session()
    for _ in range(5):
        running.keep(receiver)
        running.commit()
    path = tmp_path / "data"
    shutil.copytree(tmp_path / "running", path)
    running.store.close(running.now)
    assert loaded(path).waits[1][0] == [1, 2, 3, 4, 5]
    wal = path / "store.db-wal"
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - 100)
    text = refusal(path)
    assert "store.db-wal: the newest 1 commits are missing, of which" in text
    assert "or delete that file to go on without them" in text
    (path / "clock").unlink()
    assert loaded(path).waits[1][0] == [1, 2, 3, 4]


@pytest.mark.parametrize("durability", ["written", "fsync"])
def test_commits_that_a_power_cut_took(
    tmp_path: Path, durability: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The machine has started anew since: that is what `written` does not promise, and `fsync` does."""
    running = Running(tmp_path / "running", durability)
    receiver = running.session()
    for _ in range(3):
        running.keep(receiver)
        running.commit()
    path = tmp_path / "data"
    shutil.copytree(tmp_path / "running", path)
    running.store.close(running.now)
    wal = path / "store.db-wal"
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - 100)
    monkeypatch.setattr("broker.store.store.boot", lambda: b"another run")
    if durability == "fsync":
        assert "the newest 1 commits are missing" in refusal(path)
    else:
        assert loaded(path).waits[1][0] == [1, 2]
        assert "the newest 1 commits did not survive that the machine stopped" in caplog.text


def test_arrays_hold_any_number() -> None:
    waiting = load.Waiting()
    waiting.rows.append(2**62)
    waiting.messages.append(2**62)
    waiting.sizes.append(2**28)
    assert waiting.rows == array("q", [2**62])
