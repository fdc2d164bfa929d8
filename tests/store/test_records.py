"""Each row comes back as it was; nothing else does."""

from __future__ import annotations

import contextlib
import math
from struct import pack
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.journal import (
    EXCHANGES,
    MESSAGES,
    QUEUED,
    RETAINED,
    SESSIONS,
    SUBSCRIPTIONS,
    TABLES,
    Exchange,
    Queued,
    RetainedRow,
)
from broker.core.message import ApplicationMessage
from broker.core.retained import Author
from broker.core.subscriptions import ShareGroup, Subscription
from broker.packets.types import Will
from broker.store.records import (
    TABLE_NAMES,
    DamagedRecord,
    decode,
    decode_exchange,
    decode_message,
    decode_queued,
    decode_session,
    decode_subscription,
    delivery_key,
    encode_exchange,
    encode_message,
    encode_queued,
    encode_retained,
    encode_session,
    encode_subscription,
    split_queued,
)
from tests.store.parts import delivery, entry, message, session
from tests.store.stores import packed, sealed

NUMBERS = st.integers(1, 2**40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TIMES = st.floats(0, 1e9) | st.just(math.inf)
OFFSETS = st.floats(-1e9, 1e9)
QOS = st.integers(0, 2)


@given(
    st.sampled_from([MESSAGES, RETAINED]), NUMBERS, TEXTS, st.binary(), QOS, st.booleans(), st.binary(), TIMES, OFFSETS
)
def test_a_message(
    table: int,
    row: int,
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    forwarded: bytes,
    expires_at: float,
    offset: float,
) -> None:
    given = ApplicationMessage(topic, b"\x30\x00" + payload, 2, qos, retain, forwarded, expires_at)
    fields = (topic, payload, qos, retain, forwarded, expires_at + offset)
    if table == MESSAGES:
        assert decode_message(table, row, encode_message(row, given, offset)) == (*fields, None)
        return
    assert decode_message(table, row, encode_retained(row, RetainedRow(given), offset)) == (*fields, None)
    author = Author(topic, payload.hex(), ("one", "two")[:qos])
    found = decode_message(table, row, encode_retained(row, RetainedRow(given, author), offset))
    assert found == (*fields, (author.principal, author.client_identifier, author.roles))


@pytest.mark.parametrize(
    ("author", "retained", "waiting"),
    [
        ([], True, True),
        ([["user:ann", "c", []]], True, False),
        ([["user:ann", "c", ["r"]], 1], False, False),
        (["user:ann"], False, False),
        ([["user:ann", "c"]], False, False),
        ([["user:ann", "c", [1]]], False, False),
        ([None], False, False),
    ],
)
def test_an_author_may_stand_with_a_retained_message(author: list[Any], retained: bool, waiting: bool) -> None:
    for table, good in ((RETAINED, retained), (MESSAGES, waiting)):
        record = packed(table, 7, "a", b"x", 1, True, b"", None, *author)
        if good:
            assert decode_message(table, 7, record).author == (("user:ann", "c", ()) if author else None)
        else:
            with pytest.raises(DamagedRecord):
                decode_message(table, 7, record)


@given(
    NUMBERS,
    NUMBERS,
    st.integers(0, 65535),
    st.integers(1, 2**32 - 1),
    st.booleans(),
    st.booleans(),
    QOS,
    st.lists(st.integers(1, 268435455), max_size=4),
    st.sampled_from(["", "reject", "drop-oldest"]),
    st.none() | st.tuples(TEXTS, TEXTS).filter(lambda names: names[0] != ""),
)
def test_an_entry_of_a_queue(
    row: int,
    message_row: int,
    identifier: int,
    number: int,
    retain_as_published: bool,
    retained: bool,
    maximum_qos: int,
    identifiers: list[int],
    overflow: str,
    share: tuple[str, str] | None,
) -> None:
    sent = message()
    sent.row = message_row
    group = None if share is None else ShareGroup(*share)
    how = delivery(
        session(number=number), maximum_qos, retain_as_published, tuple(identifiers), overflow, group, retained
    )
    queued = Queued(sent, how)
    queued.identifier = identifier
    record = encode_queued(row, queued)
    found = decode_queued(row, record)
    name, topic_filter = share or ("", "")
    assert found == (
        number,
        message_row,
        identifier,
        sent.size,
        maximum_qos,
        retain_as_published,
        retained,
        tuple(identifiers),
        overflow,
        name,
        topic_filter,
    )
    assert split_queued(row, record)[1:] == (number, message_row, identifier, sent.size)


@given(NUMBERS, NUMBERS, TEXTS, st.integers(0, 2**32 - 1), TIMES, TIMES, st.booleans(), OFFSETS, TEXTS)
def test_a_session(
    row: int,
    number: int,
    client_identifier: str,
    expiry_interval: int,
    away_since: float,
    will_at: float,
    has_will: bool,
    offset: float,
    principal: str,
) -> None:
    given = session(client_identifier, number)
    given.principal = principal
    given.expiry_interval = expiry_interval
    given.away_since = away_since
    given.will_at = will_at
    if has_will:
        given.will = Will("last/words", b"\xff\x00", 2, True, 30, -1, b"\x01\x01")
    found = decode_session(row, encode_session(row, given, offset))
    will = ("last/words", b"\xff\x00", 2, True, 30, -1, b"\x01\x01") if has_will else None
    assert found == (number, client_identifier, expiry_interval, away_since + offset, will, will_at + offset, principal)


@given(NUMBERS, NUMBERS, QOS, st.booleans(), st.booleans(), st.integers(0, 268435455), st.sampled_from(["", "group"]))
def test_a_subscription(
    row: int, number: int, qos: int, no_local: bool, as_published: bool, identifier: int, share_name: str
) -> None:
    given = Subscription(session(number=number), "a/+/#", share_name, qos, no_local, as_published, identifier, "reject")
    found = decode_subscription(row, encode_subscription(row, given))
    as_subscribed = "$share/group/a/+/#" if share_name else "a/+/#"
    assert found == (number, as_subscribed, qos, no_local, as_published, identifier, "reject")


@given(NUMBERS, NUMBERS, st.integers(1, 65535), st.booleans())
def test_an_exchange(row: int, number: int, identifier: int, incoming: bool) -> None:
    given = Exchange(session(number=number), identifier, incoming)
    assert decode_exchange(row, encode_exchange(row, given)) == (number, identifier, incoming)


def one_of_each() -> list[tuple[int, bytes]]:
    """A record of each table for row 7."""
    receiver = session(number=3)
    sent = message()
    sent.row = 5
    queued = Queued(sent, delivery(receiver, 2, False, (1, 300)))
    return [
        (SESSIONS, encode_session(7, receiver, 0.0)),
        (SUBSCRIPTIONS, encode_subscription(7, Subscription(receiver, "a", "", 1))),
        (MESSAGES, encode_message(7, sent, 0.0)),
        (QUEUED, encode_queued(7, queued)),
        (EXCHANGES, encode_exchange(7, Exchange(receiver, 9, True))),
        (RETAINED, encode_retained(7, RetainedRow(sent, Author("user:ann", "c", ("r",))), 0.0)),
    ]


EACH = pytest.mark.parametrize(("table", "record"), one_of_each(), ids=TABLE_NAMES)


@EACH
def test_no_flipped_bit_goes_unseen(table: int, record: bytes) -> None:
    decode(table, 7, record)
    for bit in range(len(record) * 8):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedRecord):
            decode(table, 7, bytes(damaged))


@EACH
def test_a_record_belongs_to_its_row_and_table(table: int, record: bytes) -> None:
    for row in (6, 8, 7 + 2**32, 0):
        with pytest.raises(DamagedRecord, match=f"row {row} of table {TABLE_NAMES[table]}: the checksum is wrong"):
            decode(table, row, record)
    for other in set(range(TABLES)) - {table}:
        with pytest.raises(DamagedRecord):
            decode(other, 7, record)


@EACH
def test_a_record_that_is_cut_off(table: int, record: bytes) -> None:
    for size in range(len(record)):
        with pytest.raises(DamagedRecord):
            decode(table, 7, record[:size])


@given(st.integers(0, TABLES - 1), st.binary(max_size=60))
def test_bytes_that_were_never_a_record(table: int, data: bytes) -> None:
    """With the right checksum they may happen to be one; nothing but DamagedRecord is raised."""
    with pytest.raises(DamagedRecord):
        decode(table, 7, data)
    with contextlib.suppress(DamagedRecord):
        decode(table, 7, sealed(table, 7, data))


def test_a_version_that_is_not_known() -> None:
    data = b"\x02whatever"
    record = data + pack("<I", crc32(bytes([MESSAGES]) + data) ^ 7)
    with pytest.raises(DamagedRecord, match="version 2 is not known"):
        decode(MESSAGES, 7, record)


def test_entries_that_are_delivered_alike_have_one_key() -> None:
    receiver = session(number=3)
    first, second = entry(receiver), entry(receiver, message("x", b"other"), 77)
    assert delivery_key(encode_queued(1, first)) == delivery_key(encode_queued(2, second))
    others = [
        delivery(receiver, 2),
        delivery(receiver, 1, True),
        delivery(receiver, 1, retained=True),
        delivery(receiver, 1, identifiers=(5,)),
        delivery(receiver, 1, identifiers=(6,)),
        delivery(receiver, 1, overflow="reject"),
    ]
    keys = {delivery_key(encode_queued(3, Queued(message(), each))) for each in others}
    assert len(keys | {delivery_key(encode_queued(1, first))}) == len(others) + 1
