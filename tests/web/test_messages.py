"""Messages from JSON, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.message import NEVER
from broker.packets.properties import publish_properties
from broker.web.messages import BadMessage, message_of


def given(**members: Any) -> dict[str, Any]:
    nothing = {"topic": "a/b", "payload": None, "payload_base64": None, "qos": 0, "retain": False, "properties": None}
    return {**nothing, **members}


def test_a_message() -> None:
    message = message_of(given(payload="hällo", qos=1, retain=True), 5.0)
    assert (message.topic, message.payload, message.qos, message.retain) == ("a/b", "hällo".encode(), 1, True)
    assert message.expires_at == NEVER
    assert message_of(given(payload=""), 5.0).payload == b""
    assert message_of(given(payload_base64="AP8="), 5.0).payload == b"\x00\xff"


def test_properties() -> None:
    properties = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 60,
        "content_type": "text/plain",
        "response_topic": "r",
        "correlation_data_base64": "AP8=",
        "user_properties": [["a", "b"], ["a", "c"]],
    }
    message = message_of(given(payload="x", properties=properties), 5.0)
    found = publish_properties(message.forwarded)
    assert message.expires_at == 65.0
    assert (found.payload_format_indicator, found.content_type, found.response_topic) == (1, "text/plain", "r")
    assert (found.correlation_data, found.user_properties) == (b"\x00\xff", [("a", "b"), ("a", "c")])


@pytest.mark.parametrize(
    "members",
    [
        {"topic": "a/+", "payload": ""},
        {"topic": "a\0", "payload": ""},
        {"topic": "\ud800", "payload": ""},
        {},
        {"payload": "", "payload_base64": ""},
        {"payload": "\ud800"},
        {"payload_base64": "!"},
        {"payload_base64": "AP8"},
        {"payload_base64": "ä"},
        *(
            {"payload": "", "properties": each}
            for each in (
                {"topic_alias": 5},
                {"payload_format_indicator": 2},
                {"payload_format_indicator": True},
                {"payload_format_indicator": 1.0},
                {"message_expiry_interval": -1},
                {"message_expiry_interval": 1 << 32},
                {"content_type": 5},
                {"content_type": "\0"},
                {"content_type": "\ud800"},
                {"content_type": "x" * 65536},
                {"response_topic": "a/#"},
                {"correlation_data_base64": "!"},
                {"user_properties": {"a": "b"}},
                {"user_properties": [["a"]]},
                {"user_properties": [["a", 5]]},
                {"user_properties": ["ab"]},
            )
        ),
    ],
)
def test_what_is_no_message(members: dict[str, Any]) -> None:
    with pytest.raises(BadMessage) as caught:
        message_of(given(**members), 5.0)
    assert len(str(caught.value)) < 250
