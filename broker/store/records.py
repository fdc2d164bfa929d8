"""The rows of the six tables as bytes, and back.

A record is a version byte, a body, and the CRC-32 of the table's tag, the version and the body, XORed with the number
of its row: so a record that turns up in another row or another table is as damaged as one with a flipped bit. The body
is msgpack; that of a Queued, of which a million are read at a start, is a struct.

    sessions       [number, Client Identifier, Session Expiry Interval, away since | nil, Will | nil, Will due | nil,
                   principal]
    subscriptions  [Session's number, Topic Filter as subscribed, maximum QoS, No Local, Retain As Published,
                    Subscription Identifier, overflow]
    messages       [topic, payload, QoS, RETAIN, forwarded properties, expires | nil], and so is `retained`, where
                   [principal, Client Identifier, [role]] of the author may follow
    queued         flags u8, Session's number u32, message's row u64, Packet Identifier u16, size u32, and where there
                   is more, msgpack [Subscription Identifiers, overflow, Share Name, shared Topic Filter]
    exchanges      [Session's number, Packet Identifier, incoming]

Times are store time (`broker.store.clock`): what is given here is monotonic, and `offset` is added when it is encoded.
"""

from __future__ import annotations

import math
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

import msgpack

from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, RETAINED, SESSIONS, SUBSCRIPTIONS

if TYPE_CHECKING:
    from broker.core.journal import Exchange, Queued, RetainedRow
    from broker.core.message import ApplicationMessage
    from broker.core.session import Session
    from broker.core.subscriptions import Subscription

TABLE_NAMES: Final = ("sessions", "subscriptions", "messages", "queued", "exchanges", "retained")
VERSION: Final = 1
NEVER: Final = math.inf

_VERSION_BYTE: Final = b"\x01"
_CRC_BYTES: Final = 4
_LOW: Final = 0xFFFFFFFF

# The CRC-32 of the tag byte alone, from which that of a record goes on. A table's tag is its number in the Journal.
_SEEDS: Final = [crc32(bytes([table])) for table in range(len(TABLE_NAMES))]

_QUEUED: Final = Struct("<BBIQHI")  # the version byte included
_QUEUED_BYTES: Final = _QUEUED.size
_WHOLE_QUEUED: Final = Struct("<BBIQHII")  # without a tail, with its checksum
_WHOLE_QUEUED_BYTES: Final = _WHOLE_QUEUED.size
_CRC: Final = Struct("<I")
_RETAIN_AS_PUBLISHED: Final = 4
_RETAINED: Final = 8
_TAIL: Final = 16

_pack_queued = _QUEUED.pack
_unpack_queued = _QUEUED.unpack_from
_unpack_whole_queued = _WHOLE_QUEUED.unpack
_pack_crc = _CRC.pack
_pack = msgpack.Packer(autoreset=True).pack


# Where a flipped bit makes a record text, SQLite would have it decoded, and that would fail beyond our reach.
BLOB: Final = "iif(typeof(rec) = 'blob', rec, NULL)"  # for who looks whether it is one
SOUND: Final = "iif(typeof(rec) = 'blob', rec, x'')"  # for who decodes it: an empty one is damaged like any other


class DamagedRecord(Exception):
    """A record that is not what was written into its row."""

    def __init__(self, table: int, row: int, detail: str) -> None:
        super().__init__(f"row {row} of table {TABLE_NAMES[table]}: {detail}")
        self.table = table
        self.row = row
        self.detail = detail


class WillRecord(NamedTuple):
    """`delay_interval` and `message_expiry_interval` in seconds, -1 for no expiry."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    delay_interval: int
    message_expiry_interval: int
    forwarded: bytes


class SessionRecord(NamedTuple):
    """`away_since` and `will_at` in store time; infinity for a Session that was connected, and for a Will not due."""

    number: int
    client_identifier: str
    expiry_interval: int
    away_since: float
    will: WillRecord | None
    will_at: float
    principal: str


class SubscriptionRecord(NamedTuple):
    number: int
    topic_filter: str
    maximum_qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int
    overflow: str


class AuthorRecord(NamedTuple):
    principal: str
    client_identifier: str
    roles: tuple[str, ...]


class MessageRecord(NamedTuple):
    """`expires_at` in store time, infinity for never. `author` is of a retained message, None where it is not known."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    forwarded: bytes
    expires_at: float
    author: AuthorRecord | None = None


class QueuedRecord(NamedTuple):
    """`size` in bytes, for the accounting of queues; `share_name` "" where the subscription is not shared."""

    number: int
    message: int
    identifier: int
    size: int
    maximum_qos: int
    retain_as_published: bool
    retained: bool
    identifiers: tuple[int, ...]
    overflow: str
    share_name: str
    share_filter: str


class ExchangeRecord(NamedTuple):
    number: int
    identifier: int
    incoming: bool


# -- Writing


def _sealed(table: int, row: int, data: bytes) -> bytes:
    """`data`, a version and a body, with its checksum."""
    seed: int = _SEEDS[table]
    checksum: int = crc32(data, seed)
    return data + _pack_crc((checksum ^ row ^ (row >> 32)) & _LOW)  # type: ignore[no-any-return, unused-ignore]


def _stored(time: float, offset: float) -> float | None:
    return None if time == NEVER else time + offset


def encode_message(row: int, message: ApplicationMessage, offset: float) -> bytes:
    """An Application Message that waits."""
    body: bytes = _pack(_fields(message, offset))
    return _sealed(MESSAGES, row, _VERSION_BYTE + body)


def encode_retained(row: int, retained: RetainedRow, offset: float) -> bytes:
    fields = _fields(retained.message, offset)
    author = retained.author
    if author is None:
        body: bytes = _pack(fields)
    else:
        body = _pack((*fields, (author.principal, author.client_identifier, author.roles)))
    return _sealed(RETAINED, row, _VERSION_BYTE + body)


def _fields(message: ApplicationMessage, offset: float) -> tuple[str, bytes, int, bool, bytes, float | None]:
    expires_at = message.expires_at
    return (
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        message.forwarded,
        None if expires_at == NEVER else expires_at + offset,
    )


def encode_queued(row: int, queued: Queued) -> bytes:
    """An entry of a queue. Its message and its Session have their numbers."""
    delivery = queued.delivery
    message = queued.message
    flags = delivery.maximum_qos
    if delivery.retain_as_published:
        flags |= _RETAIN_AS_PUBLISHED
    if delivery.retained:
        flags |= _RETAINED
    group = delivery.group
    tail = b""
    if delivery.identifiers or delivery.overflow or group is not None:
        flags |= _TAIL
        share_name = ""
        share_filter = ""
        if group is not None:
            share_name = group.name
            share_filter = group.topic_filter
        tail = _pack((delivery.identifiers, delivery.overflow, share_name, share_filter))
    number = delivery.session.number
    data: bytes = _pack_queued(VERSION, flags, number, message.row, queued.identifier, message.size)
    if tail:
        data += tail
    return _sealed(QUEUED, row, data)


def encode_session(row: int, session: Session, offset: float) -> bytes:
    will = session.will
    stored_will = None
    if will is not None:
        stored_will = (
            will.topic,
            will.payload,
            will.qos,
            will.retain,
            will.delay_interval,
            will.message_expiry_interval,
            will.forwarded,
        )
    body: bytes = _pack(
        (
            session.number,
            session.client_identifier,
            session.expiry_interval,
            _stored(session.away_since, offset),
            stored_will,
            _stored(session.will_at, offset),
            session.principal,
        )
    )
    return _sealed(SESSIONS, row, _VERSION_BYTE + body)


def encode_subscription(row: int, subscription: Subscription) -> bytes:
    topic_filter = subscription.topic_filter
    if subscription.share_name:
        topic_filter = f"$share/{subscription.share_name}/{topic_filter}"
    body: bytes = _pack(
        (
            subscription.session.number,
            topic_filter,
            subscription.maximum_qos,
            subscription.no_local,
            subscription.retain_as_published,
            subscription.identifier,
            subscription.overflow,
        )
    )
    return _sealed(SUBSCRIPTIONS, row, _VERSION_BYTE + body)


def encode_exchange(row: int, exchange: Exchange) -> bytes:
    body: bytes = _pack((exchange.session.number, exchange.identifier, exchange.incoming))
    return _sealed(EXCHANGES, row, _VERSION_BYTE + body)


# -- Reading


def _opened(table: int, row: int, record: bytes) -> None:
    """See that `record` is what was written into this row: DamagedRecord if not."""
    size = len(record) - _CRC_BYTES
    if size < 1:
        raise DamagedRecord(table, row, f"only {len(record)} bytes")
    seed: int = _SEEDS[table]
    checksum: int = crc32(record[:size], seed)
    stored = record[size] | record[size + 1] << 8 | record[size + 2] << 16 | record[size + 3] << 24
    if stored != (checksum ^ row ^ (row >> 32)) & _LOW:
        raise DamagedRecord(table, row, "the checksum is wrong")
    if record[0] != VERSION:
        raise DamagedRecord(table, row, f"version {record[0]} is not known to this broker")


def _body(table: int, row: int, record: bytes, fields: int, more: int = 0) -> list[Any]:
    """The fields of a msgpack record, which may be up to `more` than `fields`."""
    _opened(table, row, record)
    return _unpacked(table, row, record[1:-_CRC_BYTES], fields, more)


def _unpacked(table: int, row: int, body: bytes, fields: int, more: int = 0) -> list[Any]:
    try:
        found = msgpack.unpackb(body)
    except Exception as error:
        raise DamagedRecord(table, row, f"not msgpack ({error})") from None
    if not isinstance(found, list) or not fields <= len(found) <= fields + more:
        raise DamagedRecord(table, row, f"not a list of {fields} fields")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not text")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r:.40} is not bytes")
    return value


def _int(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r:.40} is not an integer")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is neither true nor false")
    return value


def _time(value: Any) -> float:
    if value is None:
        return NEVER
    if not isinstance(value, float):
        raise TypeError(f"{value!r:.40} is not a time")
    return value


def decode_message(table: int, row: int, record: bytes) -> MessageRecord:
    fields = _body(table, row, record, 6, 1 if table == RETAINED else 0)
    topic, payload, qos, retain, forwarded, expires = fields[:6]
    author = None
    try:
        if len(fields) > 6:
            principal, client_identifier, roles = fields[6]
            author = AuthorRecord(_text(principal), _text(client_identifier), tuple([_text(role) for role in roles]))
        return MessageRecord(
            _text(topic), _bytes(payload), _int(qos), _bool(retain), _bytes(forwarded), _time(expires), author
        )
    except (TypeError, ValueError) as error:
        raise DamagedRecord(table, row, str(error)) from None


def decode_queued(row: int, record: bytes) -> QueuedRecord:
    flags, number, message, identifier, size = split_queued(row, record)
    identifiers: tuple[int, ...] = ()
    overflow = share_name = share_filter = ""
    if flags & _TAIL:
        tail = _unpacked(QUEUED, row, record[_QUEUED_BYTES:-_CRC_BYTES], 4)
        try:
            identifiers = tuple([_int(each) for each in tail[0]])
            overflow = _text(tail[1])
            share_name = _text(tail[2])
            share_filter = _text(tail[3])
        except TypeError as error:
            raise DamagedRecord(QUEUED, row, str(error)) from None
    return QueuedRecord(
        number,
        message,
        identifier,
        size,
        flags & 3,
        bool(flags & _RETAIN_AS_PUBLISHED),
        bool(flags & _RETAINED),
        identifiers,
        overflow,
        share_name,
        share_filter,
    )


def split_queued(row: int, record: bytes) -> tuple[int, int, int, int, int]:
    """Flags, Session's number, message's row, Packet Identifier and size of a Queued: what a start wants to know.

    A start does this a million times: what is ordinary takes one step, and whatever is not is looked at again.
    """
    if len(record) == _WHOLE_QUEUED_BYTES:
        whole: tuple[int, int, int, int, int, int, int] = _unpack_whole_queued(record)
        seed: int = _SEEDS[QUEUED]
        checksum: int = crc32(record[:_QUEUED_BYTES], seed)
        if whole[6] == (checksum ^ row ^ (row >> 32)) & _LOW and whole[0] == VERSION:
            return whole[1], whole[2], whole[3], whole[4], whole[5]
    _opened(QUEUED, row, record)
    if len(record) < _QUEUED_BYTES + _CRC_BYTES:
        raise DamagedRecord(QUEUED, row, f"only {len(record)} bytes")
    found: tuple[int, int, int, int, int, int] = _unpack_queued(record)
    return found[1], found[2], found[3], found[4], found[5]


def delivery_key(record: bytes) -> bytes:
    """The same for two entries of one Session exactly where their Deliveries are equal."""
    if record[1] & _TAIL:
        return record[1:2] + record[_QUEUED_BYTES:-_CRC_BYTES]
    return record[1:2]


def decode_session(row: int, record: bytes) -> SessionRecord:
    number, client_identifier, expiry_interval, away_since, will, will_at, principal = _body(SESSIONS, row, record, 7)
    try:
        found = None
        if will is not None:
            topic, payload, qos, retain, delay_interval, message_expiry_interval, forwarded = will
            found = WillRecord(
                _text(topic),
                _bytes(payload),
                _int(qos),
                _bool(retain),
                _int(delay_interval),
                _int(message_expiry_interval),
                _bytes(forwarded),
            )
        return SessionRecord(
            _int(number),
            _text(client_identifier),
            _int(expiry_interval),
            _time(away_since),
            found,
            _time(will_at),
            _text(principal),
        )
    except (TypeError, ValueError) as error:
        raise DamagedRecord(SESSIONS, row, str(error)) from None


def decode_subscription(row: int, record: bytes) -> SubscriptionRecord:
    fields = _body(SUBSCRIPTIONS, row, record, 7)
    number, topic_filter, maximum_qos, no_local, retain_as_published, identifier, overflow = fields
    try:
        return SubscriptionRecord(
            _int(number),
            _text(topic_filter),
            _int(maximum_qos),
            _bool(no_local),
            _bool(retain_as_published),
            _int(identifier),
            _text(overflow),
        )
    except TypeError as error:
        raise DamagedRecord(SUBSCRIPTIONS, row, str(error)) from None


def decode_exchange(row: int, record: bytes) -> ExchangeRecord:
    number, identifier, incoming = _body(EXCHANGES, row, record, 3)
    try:
        return ExchangeRecord(_int(number), _int(identifier), _bool(incoming))
    except TypeError as error:
        raise DamagedRecord(EXCHANGES, row, str(error)) from None


def decode(
    table: int, row: int, record: bytes
) -> SessionRecord | SubscriptionRecord | MessageRecord | QueuedRecord | ExchangeRecord:
    """The record of any table; DamagedRecord where it is not what was written."""
    if table == SESSIONS:
        return decode_session(row, record)
    if table == SUBSCRIPTIONS:
        return decode_subscription(row, record)
    if table == QUEUED:
        return decode_queued(row, record)
    if table == EXCHANGES:
        return decode_exchange(row, record)
    assert table in (MESSAGES, RETAINED)
    return decode_message(table, row, record)
