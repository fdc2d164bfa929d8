"""What is in a store, told to people and programs: a summary, and everything as JSON Lines.

The first line of an export describes the store, the others one thing each; `type` says which. A thing is told with its
Client Identifier and not with our numbers, and times are seconds of store time (`broker.store.clock`), which is wall
time unless the clock was set. A payload is text where it is UTF-8, else base64.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, Final

from broker.core.journal import EXCHANGES, MESSAGES, QUEUED, RETAINED, SESSIONS, SUBSCRIPTIONS
from broker.packets.properties import publish_properties
from broker.packets.reasons import ProtocolError
from broker.store.database import FORMAT, READ_STATE
from broker.store.folder import StoreError
from broker.store.inspection import reading
from broker.store.records import (
    BLOB,
    TABLE_NAMES,
    DamagedRecord,
    MessageRecord,
    SessionRecord,
    decode_exchange,
    decode_message,
    decode_queued,
    decode_session,
    decode_subscription,
    split_queued,
)
from broker.store.state import decode_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from broker.store.folder import Folder
    from broker.store.state import State

Told = dict[str, Any]

_FORWARDED: Final = ("payload_format_indicator", "content_type", "response_topic", "user_properties")


def info(folder: Folder, most: int = 10) -> Told:
    """Format, sizes in bytes, rows by table, the `most` longest queues, and the message that waits the longest.

    StoreError where the store is damaged.
    """
    with reading(folder) as connection:
        state = _state(connection)
        sessions = _sessions(connection)
        queues: dict[int, list[int]] = {}
        for row, record in _rows(connection, QUEUED):
            _, number, _, _, size = split_queued(row, record)
            queue = queues.setdefault(number, [0, 0])
            queue[0] += 1
            queue[1] += size
        told = sorted(
            (
                {
                    "client_identifier": session.client_identifier,
                    "messages": queues.get(number, (0, 0))[0],
                    "bytes": queues.get(number, (0, 0))[1],
                    "expiry_interval": session.expiry_interval,
                    "away_since": _time(session.away_since),
                }
                for number, session in sessions.items()
            ),
            key=lambda session: (-session["messages"], session["client_identifier"]),  # type: ignore[operator]
        )
        return {
            "database": str(folder.database),
            "format": FORMAT,
            "commits": state.commits,
            "closed": not state.running,
            "store_time": state.store_time,
            "sizes": {
                "database": folder.database.stat().st_size,
                "log": folder.wal.stat().st_size if folder.wal.exists() else 0,
                "free": int(connection.pragma("freelist_count")) * int(connection.pragma("page_size")),
            },
            "tables": {
                name: connection.execute(f"SELECT count(*), ifnull(sum(length(rec)), 0) FROM {name}").fetchone()
                for name in TABLE_NAMES
            },
            "sessions": told[:most],
            "more_sessions": max(0, len(told) - most),
            "oldest_message": _oldest(connection),
        }


def export(folder: Folder) -> Iterator[Told]:
    """All that is in the store. StoreError where it is damaged, if only in the middle."""
    with reading(folder) as connection:
        state = _state(connection)
        yield {"type": "store", "format": FORMAT, "commits": state.commits, "store_time": state.store_time}
        sessions = _sessions(connection)
        for session in sessions.values():
            yield _session(session)
        for row, record in _rows(connection, SUBSCRIPTIONS):
            subscription = decode_subscription(row, record)
            if subscription.number in sessions:
                yield {
                    "type": "subscription",
                    "session": sessions[subscription.number].client_identifier,
                    "topic_filter": subscription.topic_filter,
                    "maximum_qos": subscription.maximum_qos,
                    "no_local": subscription.no_local,
                    "retain_as_published": subscription.retain_as_published,
                    "identifier": subscription.identifier,
                    "overflow": subscription.overflow,
                }
        yield from _queued(connection, sessions)
        for row, record in _rows(connection, EXCHANGES):
            exchange = decode_exchange(row, record)
            if exchange.number in sessions:
                yield {
                    "type": "exchange",
                    "session": sessions[exchange.number].client_identifier,
                    "packet_identifier": exchange.identifier,
                    "incoming": exchange.incoming,
                }
        for row, record in _rows(connection, RETAINED):
            found = decode_message(RETAINED, row, record)
            told = {"type": "retained", "row": row, **_message(found)}
            if found.author is not None:
                told["author"] = found.author._asdict()
            yield told


def _rows(connection: apsw.Connection, table: int) -> Iterator[tuple[int, bytes]]:
    for row, record in connection.execute(f"SELECT id, {BLOB} FROM {TABLE_NAMES[table]} ORDER BY id"):
        if not isinstance(record, bytes):
            raise DamagedRecord(table, row, "it is no BLOB")
        yield row, record


def _state(connection: apsw.Connection) -> State:
    row = connection.execute(READ_STATE).fetchone()
    state = decode_state(row[0]) if row else None
    if state is None:
        raise StoreError("row state of table meta is damaged; `broker store check` names all that is damaged.")
    return state


def _sessions(connection: apsw.Connection) -> dict[int, SessionRecord]:
    found: dict[int, SessionRecord] = {}
    for row, record in _rows(connection, SESSIONS):
        session = decode_session(row, record)
        found[session.number] = session
    return found


def _session(session: SessionRecord) -> Told:
    will = session.will
    return {
        "type": "session",
        "client_identifier": session.client_identifier,
        "principal": session.principal,
        "expiry_interval": session.expiry_interval,
        "away_since": _time(session.away_since),
        "will": None
        if will is None
        else {
            "topic": will.topic,
            **_payload(will.payload),
            "qos": will.qos,
            "retain": will.retain,
            "delay_interval": will.delay_interval,
            "message_expiry_interval": will.message_expiry_interval if will.message_expiry_interval >= 0 else None,
            **_properties(will.forwarded),
        },
        "will_at": _time(session.will_at),
    }


def _queued(connection: apsw.Connection, sessions: dict[int, SessionRecord]) -> Iterator[Told]:
    for row, record in _rows(connection, QUEUED):
        queued = decode_queued(row, record)
        if queued.number not in sessions:
            continue
        found = connection.execute(f"SELECT {BLOB} FROM messages WHERE id = ?", (queued.message,)).fetchone()
        if found is None or not isinstance(found[0], bytes):
            raise DamagedRecord(QUEUED, row, f"its message, row {queued.message} of table messages, is not there")
        message = decode_message(MESSAGES, queued.message, found[0])
        told = {
            "type": "queued",
            "session": sessions[queued.number].client_identifier,
            "row": row,
            "message": queued.message,
            **_message(message),
            "granted_qos": queued.maximum_qos,
            "packet_identifier": queued.identifier,
            "subscription_identifiers": list(queued.identifiers),
        }
        if queued.share_filter:
            told["shared"] = f"$share/{queued.share_name}/{queued.share_filter}"
        yield told


def _message(message: MessageRecord) -> Told:
    return {
        "topic": message.topic,
        **_payload(message.payload),
        "qos": message.qos,
        "retain": message.retain,
        "expires_at": _time(message.expires_at),
        **_properties(message.forwarded),
    }


def _payload(payload: bytes) -> Told:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode()}


def _properties(forwarded: bytes) -> Told:
    if not forwarded:
        return {}
    try:
        found = publish_properties(forwarded)
    except ProtocolError:  # written by a broker that took more than this one
        return {"properties_base64": base64.b64encode(forwarded).decode()}
    properties = {name: value for name in _FORWARDED if (value := getattr(found, name)) not in (None, [])}
    if found.correlation_data is not None:
        properties["correlation_data_base64"] = base64.b64encode(found.correlation_data).decode()
    return {"properties": properties}


def _time(time: float) -> float | None:
    return None if time == math.inf else time


def _oldest(connection: apsw.Connection) -> Told | None:
    for row, record in _rows(connection, MESSAGES):
        message = decode_message(MESSAGES, row, record)
        return {"row": row, "topic": message.topic, "bytes": len(message.payload), "qos": message.qos}
    return None
