"""Clients and messages as JSON."""

from __future__ import annotations

import base64
import json
import math

from broker.core.grants import Grant
from broker.core.message import ApplicationMessage
from broker.packets.properties import forwarded_properties
from broker.packets.types import Properties, Will
from broker.web import rows
from tests.web.holding import assert_holds
from tests.web.systems import NOW, WS, Bench, subscribe


def test_a_client_that_is_connected() -> None:
    bench = Bench(names={WS: "web"})
    connection = bench.client("a", subscribe("x", "y"), transport="ws", keep_alive=30, user_name="ann")
    assert connection.session is not None
    connection.outbox.take()
    found = rows.client(bench.system, connection.session, bench.now + 5)
    assert_holds(found, "Client")
    assert (found["client_identifier"], found["connected"], found["user"]) == ("a", True, "ann")
    assert (found["transport"], found["listener"], found["version"]) == ("ws", "web", "5.0")
    assert (found["keep_alive_s"], found["subscriptions"], found["connected_since"]) == (30, 2, NOW - 5)
    assert found["disconnected_since"] is None
    assert (found["clean_start"], found["messages_received"], found["messages_sent"]) == (True, 2, 2)
    assert found["bytes_received"] > found["bytes_sent"] > 0
    assert found["rtt_ms"] is None
    connection.traffic.round_trip = 0.0125
    assert rows.client(bench.system, connection.session, bench.now)["rtt_ms"] == 12.5
    connection.session.principal = "user:ben"
    assert rows.user_of(connection.session) == "ben"


def test_a_client_that_is_away() -> None:
    bench = Bench()
    properties = Properties()
    properties.session_expiry_interval = 100
    connection = bench.client("a", subscribe("x", qos=1), properties=properties)
    session = connection.session
    assert session is not None
    connection.lost(bench.now)
    bench.broker.publish(ApplicationMessage("x", b"12345", 0, 1), None, bench.now)
    found = rows.client(bench.system, session, bench.now + 5)
    assert_holds(found, "Client")
    assert (found["connected"], found["address"], found["transport"], found["listener"]) == (False, None, None, None)
    assert (found["disconnected_since"], found["session_expiry_s"]) == (NOW - 5, 100)
    assert (found["clean_start"], found["bytes_sent"], found["rtt_ms"]) == (None, None, None)
    assert found["queue_messages"] == 1
    assert found["queue_bytes"] > 5
    session.expiry_interval = rows.FOR_EVER
    assert rows.client(bench.system, session, bench.now)["session_expiry_s"] is None


def test_a_will_and_a_subscription() -> None:
    bench = Bench()
    connection = bench.client("a", subscribe("$share/g/x/+", qos=2), will=Will("w", b"123", 1, True, 7))
    session = connection.session
    assert session is not None
    assert session.will is not None
    found = rows.will(session.will)
    assert_holds(found, "Will")
    assert found == {"topic": "w", "qos": 1, "retain": True, "delay_s": 7, "bytes": 3}
    held = rows.subscription(next(iter(session.subscriptions.values())))
    assert_holds(held, "Subscription")
    assert (held["topic_filter"], held["share_name"], held["qos"]) == ("x/+", "g", 2)


def test_a_retained_message() -> None:
    bench = Bench()
    properties = Properties()
    properties.content_type = "text/plain"
    properties.correlation_data = b"\xff"
    properties.user_properties = [("a", "<script>")]
    forwarded = forwarded_properties(properties)
    payload = bytes(range(256)) * 20
    message = ApplicationMessage("<b>", payload, 0, 1, True, forwarded, bench.now + 60)
    found = rows.retained(bench.system, message, bench.now)
    assert_holds(found, "RetainedMessage")
    json.dumps(found)
    assert base64.b64decode(found["payload_base64"]) == payload[: rows.PREVIEW]
    assert (found["topic"], found["truncated"], found["bytes"], found["expires_at"]) == ("<b>", True, 5120, NOW + 60)
    assert found["properties"] == {
        "content_type": "text/plain",
        "correlation_data_base64": "/w==",
        "user_properties": [["a", "<script>"]],
    }
    assert found["stored_at"] is None
    bench.broker.publish(message, None, bench.now + 1)
    assert rows.retained(bench.system, message, bench.now + 3)["stored_at"] == NOW - 2
    whole = rows.retained(bench.system, ApplicationMessage("a", b"x", expires_at=math.inf), bench.now)
    assert (whole["truncated"], whole["expires_at"], whole["properties"]) == (False, None, {})


def test_whoever_proves_nothing_is_whom_he_names() -> None:
    bench = Bench()
    connection = bench.client("a")
    assert connection.session is not None
    assert rows.user_of(connection.session) is None
    connection.grant = Grant("claimed")
    assert rows.user_of(connection.session) == "claimed"
