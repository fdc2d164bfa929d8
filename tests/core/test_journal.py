"""What is recorded, taken and safe; and that a message is kept as long as somebody holds it."""

from __future__ import annotations

import pytest

from broker.core.journal import (
    EXCHANGES,
    GARBAGE_AT_ONCE,
    MESSAGES,
    QUEUED,
    RECORDED,
    RETAINED,
    SESSIONS,
    SUBSCRIPTIONS,
    TABLES,
    Batch,
    Exchange,
    Journal,
    Queued,
    RetainedRow,
)
from broker.core.limits import Limits
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Delivery
from tests.core.parts import message

SESSION = Session("c", Limits(), Stats(), 0)
DELIVERY = Delivery(SESSION, 2)


def entries(count: int) -> list[Queued]:
    """Of one message."""
    one = message(qos=1)
    return [Queued(one, DELIVERY) for _ in range(count)]


def kept(journal: Journal, count: int) -> list[Queued]:
    """Entries of one message, written."""
    result = entries(count)
    for each in result:
        journal.keep(each)
    written(journal)
    return result


def written(journal: Journal) -> Batch:
    batch = journal.take()
    journal.written(batch)
    return batch


def deleted(batch: Batch) -> dict[int, list[int]]:
    return {table: batch.deleted[table] for table in range(TABLES) if batch.deleted[table]}


def added(batch: Batch) -> dict[int, list[int]]:
    return {table: [row.row for row in batch.added[table]] for table in range(TABLES) if batch.added[table]}


# -- Rows


def test_what_is_added_and_deleted_in_between_costs_nothing() -> None:
    journal = Journal()
    exchange = Exchange(SESSION, 7, True)
    journal.add(EXCHANGES, exchange)
    assert exchange.row == RECORDED
    journal.delete(EXCHANGES, exchange)
    assert exchange.row == 0
    (entry,) = entries(1)
    journal.keep(entry)
    journal.release(entry)
    assert (journal.bytes, journal.changes) == (0, 6)
    batch = journal.take()
    assert batch.empty()
    assert journal.last == [0] * TABLES


def test_rows_have_the_numbers_of_their_order() -> None:
    journal = Journal()
    rows = [Exchange(SESSION, identifier, False) for identifier in range(1, 6)]
    for row in rows[:3]:
        journal.add(EXCHANGES, row)
    journal.delete(EXCHANGES, rows[1])
    assert added(journal.take()) == {EXCHANGES: [1, 2]}
    for row in rows[3:]:
        journal.add(EXCHANGES, row)
    journal.delete(EXCHANGES, rows[0])
    batch = journal.take()
    assert added(batch) == {EXCHANGES: [3, 4]}
    assert deleted(batch) == {EXCHANGES: [1]}
    assert [row.row for row in rows] == [0, 0, 2, 3, 4]


def test_a_session_has_its_first_number_for_ever() -> None:
    journal = Journal()
    one, other = (Session(name, Limits(), Stats(), 0) for name in ("one", "other"))
    for session in (one, other, one):
        journal.change(SESSIONS, session)
    assert added(journal.take()) == {SESSIONS: [1, 2]}
    journal.change(SESSIONS, one)
    batch = journal.take()
    assert added(batch) == {SESSIONS: [3]}
    assert deleted(batch) == {SESSIONS: [one.number]}
    assert sorted([one.number, other.number]) == [1, 2]
    assert one.row == 3


def test_deleting_what_is_not_kept_is_no_change() -> None:
    journal = Journal()
    journal.delete(EXCHANGES, Exchange(SESSION, 1, True))
    (entry,) = entries(1)
    journal.release(entry)
    journal.discard(entry)
    assert not journal.pending()
    assert journal.changes == 0


def test_a_row_known_by_its_number_only() -> None:
    journal = Journal()
    journal.forget(SUBSCRIPTIONS, 17)
    assert journal.pending()
    assert deleted(journal.take()) == {SUBSCRIPTIONS: [17]}


# -- Messages


@pytest.mark.parametrize("discards", [False, True])
def test_a_message_goes_with_the_last_who_holds_it(discards: bool) -> None:
    journal = Journal()
    first, second = kept(journal, 2)
    done = journal.discard if discards else journal.release
    number = first.message.row
    done(first)
    assert deleted(written(journal)) == {QUEUED: [1]}
    done(second)
    assert deleted(written(journal)) == {QUEUED: [2], MESSAGES: [number]}
    assert (first.row, second.row, first.message.row) == (0, 0, 0)


@pytest.mark.parametrize("discards", [False, True])
def test_a_message_that_was_let_go_may_be_kept_anew(discards: bool) -> None:
    journal = Journal()
    (entry,) = kept(journal, 1)
    (journal.discard if discards else journal.release)(entry)
    journal.keep(entry)
    batch = written(journal)
    assert added(batch) == {MESSAGES: [2], QUEUED: [2]}
    assert deleted(batch) == {MESSAGES: [1], QUEUED: [1]}


def test_the_queue_entry_changes_and_the_message_stays() -> None:
    journal = Journal()
    (entry,) = kept(journal, 1)
    entry.identifier = 9
    journal.change(QUEUED, entry)
    batch = written(journal)
    assert added(batch) == {QUEUED: [2]}
    assert deleted(batch) == {QUEUED: [1]}


def test_bytes_that_are_not_safe() -> None:
    journal = Journal()
    one, other = entries(1)[0], entries(1)[0]
    journal.keep(one)
    journal.keep(other)
    size = one.message.size
    assert journal.bytes == 2 * size
    journal.release(other)
    assert journal.bytes == size
    batch = journal.take()
    assert (journal.bytes, journal.taken_bytes) == (0, size)
    journal.release(one)
    assert (journal.bytes, journal.taken_bytes) == (0, size)
    journal.written(batch)
    assert journal.taken_bytes == 0


# -- Messages that are known by their numbers


@pytest.mark.parametrize("last", ["discard_paged", "release"])
def test_a_message_that_memory_and_the_store_share(last: str) -> None:
    journal = Journal()
    paged, other = kept(journal, 2)
    number = paged.message.row
    journal.share(paged.message)
    assert journal.shared == {number: 2}
    if last == "discard_paged":
        journal.release(other)
        assert MESSAGES not in deleted(written(journal))
        journal.discard_paged(paged.row, number)
    else:
        journal.discard_paged(paged.row, number)
        assert deleted(written(journal)) == {QUEUED: [paged.row]}
        journal.release(other)
    assert deleted(written(journal))[MESSAGES] == [number]
    assert not journal.shared


def test_a_shared_message_has_another_receiver() -> None:
    journal = Journal()
    paged, other = kept(journal, 2)
    journal.share(paged.message)
    more = Queued(paged.message, DELIVERY)
    journal.keep(more)
    assert journal.shared == {1: 3}
    assert added(written(journal)) == {QUEUED: [3]}
    for each in (other, more):
        journal.discard(each)
    journal.discard_paged(paged.row, 1)
    assert deleted(written(journal)) == {QUEUED: [2, 3, 1], MESSAGES: [1]}


def test_a_message_that_only_the_store_holds() -> None:
    journal = Journal()
    (paged,) = kept(journal, 1)
    journal.share(paged.message)
    assert not journal.shared, "the usual case takes no memory"
    journal.discard_paged(1, 1)
    assert deleted(written(journal)) == {QUEUED: [1], MESSAGES: [1]}


@pytest.mark.parametrize("holders", [1, 2])
def test_a_retained_message_goes_on_when_the_store_alone_held_it(holders: int) -> None:
    """Who has it from the snapshot afterwards holds it for himself: what the others let go is not his."""
    journal = Journal()
    paged = kept(journal, holders)
    one = paged[0].message
    for _ in paged:
        journal.share(one)
    if holders == 2:
        for each in paged:
            journal.discard_paged(each.row, 1)
    late = Queued(one, DELIVERY)
    journal.keep(late)
    assert added(written(journal)) == {MESSAGES: [2], QUEUED: [holders + 1]}
    if holders == 1:
        journal.discard_paged(1, 1)
        assert deleted(written(journal)) == {QUEUED: [1], MESSAGES: [1]}
    journal.release(late)
    assert deleted(written(journal)) == {QUEUED: [holders + 1], MESSAGES: [2]}


# -- Ended Sessions


def test_a_long_queue_is_deleted_some_at_a_time() -> None:
    journal = Journal()
    many = [kept(journal, 1)[0] for _ in range(GARBAGE_AT_ONCE + 1)]
    (fresh,) = entries(1)
    journal.keep(fresh)
    for each in (*many, fresh):
        journal.discard(each)
    batch = written(journal)
    assert not any(batch.added), "what was recorded and not taken is gone at once"
    assert len(batch.deleted[QUEUED]) == len(batch.deleted[MESSAGES]) == GARBAGE_AT_ONCE
    assert journal.pending()
    batch = written(journal)
    assert len(batch.deleted[QUEUED]) == len(batch.deleted[MESSAGES]) == 1
    assert not journal.pending()


# -- Retained messages


def retained(qos: int) -> RetainedRow:
    return RetainedRow(message(qos=qos, retain=True))


def test_retained_messages() -> None:
    journal = Journal()
    row = retained(0)
    journal.retain(row)
    journal.retain(row)
    assert added(written(journal)) == {RETAINED: [1]}
    journal.retain(row)
    batch = written(journal)
    assert (added(batch), deleted(batch)) == ({RETAINED: [2]}, {RETAINED: [1]})
    journal.unretain(row)
    assert deleted(written(journal)) == {RETAINED: [2]}


def test_retained_messages_of_qos_0_wait_while_the_disk_is_full() -> None:
    journal = Journal()
    old, new, gone, one = retained(0), retained(0), retained(0), retained(1)
    journal.retain(old)
    written(journal)
    journal.full = True
    for row in (old, new, gone, one):
        journal.retain(row)
    journal.unretain(gone)
    batch = written(journal)
    assert batch.added[RETAINED] == [one]
    assert deleted(batch) == {RETAINED: [1]}, "what is no longer true must not come back"
    journal.room_again()
    assert not journal.full
    assert written(journal).added[RETAINED] == [old, new]
    journal.room_again()
    assert not journal.pending()


# -- Positions


def test_positions() -> None:
    journal = Journal()
    assert (journal.position, journal.committed, journal.latest()) == (1, 0, 0)
    first = entries(2)
    journal.keep(first[0])
    assert journal.latest() == 1
    batch = journal.take()
    assert (batch.position, journal.position, journal.latest(), journal.committed) == (1, 2, 1, 0)
    journal.keep(first[1])
    assert journal.latest() == 2
    assert (journal.safe_queued, journal.safe_message) == (0, 0)
    journal.written(batch)
    assert (journal.committed, journal.safe_queued, journal.safe_message) == (1, 1, 1)
    written(journal)
    assert (journal.committed, journal.safe_queued, journal.safe_message) == (2, 2, 1)


def test_who_waits_has_a_batch_taken_though_it_is_empty() -> None:
    journal = Journal()
    assert not journal.pending()
    journal.waiting[SESSION] = None
    assert journal.pending()
    journal.waiting.clear()
    journal.held.append((1, SESSION, message(), DELIVERY))
    assert journal.pending()
