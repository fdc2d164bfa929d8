"""What the API answers, as JSON Schema: for the OpenAPI document, and for the tests, which hold answers to it."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer"}
_NUMBER: Final = {"type": "number"}
_YES: Final = {"type": "boolean"}
_ANY: Final[dict[str, Any]] = {}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


def _record(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _map(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": item}


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _page(name: str) -> dict[str, Any]:
    return _record(total=_WHOLE, offset=_WHOLE, items=_list(_named(name)))


_CLIENT: Final = {
    "client_identifier": _TEXT,
    "connected": _YES,
    "user": _or_null(_TEXT),
    "address": _or_null(_TEXT),
    "transport": _or_null(_TEXT),
    "listener": _or_null(_TEXT),
    "version": _or_null(_TEXT),
    "keep_alive_s": _or_null(_WHOLE),
    "clean_start": _or_null(_YES),
    "session_expiry_s": _or_null(_WHOLE),
    "connected_since": _or_null(_NUMBER),
    "disconnected_since": _or_null(_NUMBER),
    "subscriptions": _WHOLE,
    "inflight": _WHOLE,
    "queue_messages": _WHOLE,
    "queue_bytes": _WHOLE,
    "messages_received": _or_null(_WHOLE),
    "messages_sent": _or_null(_WHOLE),
    "bytes_received": _or_null(_WHOLE),
    "bytes_sent": _or_null(_WHOLE),
    "outbox_bytes": _WHOLE,
    "dropped": _WHOLE,
    "rtt_ms": _or_null(_NUMBER),
}

_BENCH: Final = {
    "id": _TEXT,
    "state": _TEXT,
    "progress": _NUMBER,
    "workload": _TEXT,
    "seconds": _NUMBER,
    "rounds": _WHOLE,
    "connections": _WHOLE,
    "started": _NUMBER,
    "error": _or_null(_TEXT),
}

# Of each transport.
_LATENCY: Final = _record(p50_ms=_NUMBER, p90_ms=_NUMBER, p99_ms=_NUMBER, max_ms=_NUMBER, count=_WHOLE)
_FIGURES: Final = (
    "connections",
    "connects",
    "messages_received",
    "messages_sent",
    "bytes_received",
    "bytes_sent",
    "publish_received",
    "publish_sent",
    "publish_bytes_received",
    "publish_bytes_sent",
)

SCHEMAS: Final[dict[str, Any]] = {
    "Failure": {
        "type": "object",
        "properties": {
            "error": _record(code=_TEXT, message=_TEXT),
            "count": _WHOLE,
            "mistakes": _list(_TEXT),
        },
        "required": ["error"],
        "additionalProperties": False,
    },
    "Session": _record(
        user=_or_null(_TEXT),
        role=_TEXT,
        csrf=_or_null(_TEXT),
        login=_YES,
        version=_TEXT,
        features=_record(api=_YES, publish=_YES, events=_YES, bench=_YES, mqtt_path=_or_null(_TEXT)),
    ),
    "Overview": _record(
        version=_TEXT,
        build=_TEXT,
        started=_NUMBER,
        uptime_s=_NUMBER,
        now=_NUMBER,
        listeners=_list(_record(name=_TEXT, type=_TEXT, url=_TEXT, tls=_YES, connections=_WHOLE)),
        clients=_record(connected=_WHOLE, total_sessions=_WHOLE, by_transport=_map(_WHOLE)),
        sessions_disconnected=_WHOLE,
        messages=_record(
            received=_WHOLE, sent=_WHOLE, publish_received=_WHOLE, publish_sent=_WHOLE, publish_dropped=_WHOLE
        ),
        bytes=_record(received=_WHOLE, sent=_WHOLE),
        transports=_map(_record(**dict.fromkeys(_FIGURES, _WHOLE))),
        latency=_map(_map(_LATENCY)),
        acknowledge=_map(_map(_LATENCY)),
        loop_lag={"anyOf": [{"type": "null"}, _record(p50_ms=_NUMBER, p99_ms=_NUMBER, max_ms=_NUMBER)]},
        queue=_record(messages=_WHOLE, bytes=_WHOLE),
        retained=_record(messages=_WHOLE, bytes=_WHOLE),
        subscriptions=_WHOLE,
        memory_bytes=_WHOLE,
        cpu_seconds=_NUMBER,
        store={"type": ["object", "null"]},
        limits=_record(buffered_bytes=_WHOLE),
    ),
    "History": _record(interval_s=_NUMBER, columns=_list(_TEXT), rows=_list(_list(_NUMBER))),
    "Client": _record(**_CLIENT),
    "Clients": _page("Client"),
    "OneClient": _record(
        **_CLIENT,
        subscriptions_list=_list(_named("Subscription")),
        record=_list(_named("Event")),
        watched=_YES,
        will={"anyOf": [{"type": "null"}, _named("Will")]},
    ),
    "Event": _record(
        time=_NUMBER,
        until=_NUMBER,
        times=_WHOLE,
        direction=_TEXT,
        packet=_or_null(_TEXT),
        topic=_or_null(_TEXT),
        qos=_or_null(_WHOLE),
        packet_identifier=_or_null(_WHOLE),
        bytes=_or_null(_WHOLE),
        detail=_TEXT,
    ),
    "Account": _record(
        client_identifier=_TEXT,
        topic=_TEXT,
        verdict=_TEXT,
        text=_TEXT,
        steps=_list(_record(what=_TEXT, outcome=_TEXT, detail=_TEXT)),
        last={"anyOf": [{"type": "null"}, _named("Event")]},
    ),
    "Will": _record(topic=_TEXT, qos=_WHOLE, retain=_YES, delay_s=_WHOLE, bytes=_WHOLE),
    "Subscription": _record(
        client_identifier=_TEXT,
        topic_filter=_TEXT,
        share_name=_or_null(_TEXT),
        qos=_WHOLE,
        no_local=_YES,
        retain_as_published=_YES,
        subscription_identifier=_or_null(_WHOLE),
    ),
    "Subscriptions": _page("Subscription"),
    "Ban": _record(client_identifier=_TEXT, until=_NUMBER, reason=_TEXT),
    "Bans": _page("Ban"),
    "RetainedMessage": _record(
        topic=_TEXT,
        qos=_WHOLE,
        bytes=_WHOLE,
        payload_base64=_TEXT,
        truncated=_YES,
        stored_at=_or_null(_NUMBER),
        expires_at=_or_null(_NUMBER),
        properties=_map(_ANY),
    ),
    "RetainedMessages": _page("RetainedMessage"),
    "Deleted": _record(deleted=_WHOLE),
    "Topic": _record(
        level=_TEXT,
        topic=_or_null(_TEXT),
        children=_WHOLE,
        retained=_YES,
        messages=_or_null(_WHOLE),
        last=_or_null(_NUMBER),
    ),
    "Topics": {
        **_page("Topic"),
        "description": "Topics of retained messages, and those that messages have lately gone to, a bounded sample: "
        "how many `messages` since it is remembered, and when the `last`. `children` counts the topics below.",
    },
    "Published": _record(reason=_WHOLE, name=_TEXT),
    "Benches": _record(workloads=_list(_record(name=_TEXT, text=_TEXT)), items=_list(_record(**_BENCH))),
    "OneBench": _record(**_BENCH, report={"type": ["object", "null"]}),
    "Started": _record(id=_TEXT),
    "Settings": _map(_record(value=_ANY, source=_TEXT)),
    "Reloaded": _record(changes=_list(_TEXT)),
    "Document": {"type": "object"},
}
