from __future__ import annotations

import json
import os
import struct
import time
from typing import TYPE_CHECKING

import pytest

from broker.cli.formats import Format, FormatError, Received
from broker.cli.payloads import PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterator

NS = 1_795_299_198_118_276_813  # 2026-11-21T22:13:18.118276813Z


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


HELLO = Received(topic="a/b", payload=b"hello", received_ns=NS)
HELLO_1 = Received(topic="a/b", payload=b"hello", qos=1, packet_identifier=1, received_ns=NS)
DEEP = Received(topic="a/b/c", payload=b"hello", received_ns=NS)
BARE = Received(topic="a/b", payload=b"hi", received_ns=NS)
FULL = Received(
    topic="a/b",
    payload=b"hi",
    qos=1,
    packet_identifier=1,
    received_ns=NS,
    content_type="text/plain",
    response_topic="r/t",
    correlation_data=b"cd",
    message_expiry_interval=60,
    payload_format_indicator=1,
    user_properties=(("k", "v"), ("k", "v2")),
)

# What mosquitto_sub 2.0.11 printed for the same messages, with -F and -V mqttv5, without its line end.
MOSQUITTO = [
    (HELLO, "%t|%p|%q|%r|%l|%m", b"a/b|hello|0|0|5|0"),
    (HELLO_1, "%t|%p|%q|%r|%l|%m", b"a/b|hello|1|0|5|1"),
    (DEEP, "%10t|%-10t|%10.2t|%-10.2t|%.2t|%3.3t", b"     a/b/c|a/b/c     |        a/|a/        |a/|a/b"),
    (HELLO, "%x|%X", b"68656c6c6f|68656C6C6F"),
    (HELLO, "%4x", b"6865"),
    (HELLO, "%p|%8p|%-8p|%08p|%3p|%-3p", b"hello|   hello|hello   |000hello|hel|hel"),
    (BARE, "%%%t|%05l|%-05l", b"%a/b|00002|2    "),
    (
        FULL,
        "%C|%20C|%-20C|%.4C|%D|%E|%5E|%05E|%F|%R|%10R|%P|%S|%A",
        b"text/plain|          text/plain|text/plain          |text|cd|60|   60|00060|1|r/t|       r/t|k:v k:v2||",
    ),
    (
        BARE,
        "%C|%20C|%-20C|%.4C|%D|%E|%5E|%05E|%F|%R|%10R|%P|%5S|%5A|%3q",
        b"|                    |                    ||||     |00000|||||     |     |0",
    ),
    (
        BARE,
        "%I|%30I|%U|@Y-@m|@@|@N|@H:@M|",
        b"2026-11-21T22:13:18+0000|      2026-11-21T22:13:18+0000|1795299198.118276813|2026-11|@|118276813|22:13|",
    ),
    (BARE, "a\\n\\\\\\t\\r\\0\\a\\e\\v", b"a\n\\\t\r\0\a\x1b\v"),
    (
        HELLO,
        "%j",
        b'{"tst":"2026-11-21T22:13:18.118276Z+0000","topic":"a/b","qos":0,"retain":0,"payloadlen":5,"payload":"hello"}',
    ),
    (
        Received(topic="a/b", payload='h"\\é€'.encode(), received_ns=NS),
        "%j",
        '{"tst":"2026-11-21T22:13:18.118276Z+0000","topic":"a/b","qos":0,"retain":0,"payloadlen":8,'
        '"payload":"h\\"\\\\é€"}'.encode(),
    ),
    (
        Received(topic="a/b", payload=b"", received_ns=NS),
        "%j",
        b'{"tst":"2026-11-21T22:13:18.118276Z+0000","topic":"a/b","qos":0,"retain":0,"payloadlen":0,"payload":null}',
    ),
    (
        Received(topic="a/b", payload=b'{"a":1.50, "b":[1,2]}', received_ns=NS),
        "%J",
        b'{"tst":"2026-11-21T22:13:18.118276Z+0000","topic":"a/b","qos":0,"retain":0,"payloadlen":21,'
        b'"payload":{"a":1.5,"b":[1,2]}}',
    ),
    (
        Received(topic="a/b", payload=b"", retain=True, received_ns=NS),
        "%J",
        b'{"tst":"2026-11-21T22:13:18.118276Z+0000","topic":"a/b","qos":0,"retain":1,"payloadlen":0,"payload":null}',
    ),
]


@pytest.mark.parametrize(("message", "text", "printed"), MOSQUITTO)
def test_prints_what_mosquitto_sub_prints(message: Received, text: str, printed: bytes) -> None:
    assert Format(text)(message) == printed


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("%", "incomplete format specifier"),
        ("%10", "incomplete format specifier"),
        ("%-", "incomplete format specifier"),
        ("%5.3", "incomplete format specifier"),
        ("@", "incomplete format specifier"),
        ("\\", "incomplete escape specifier"),
        ("%z", "invalid format specifier 'z'"),
        ("%0-5l", "invalid format specifier '-'"),
        ("\\q", "invalid escape specifier 'q'"),
    ],
)
def test_refuses_what_mosquitto_sub_refuses(text: str, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        Format(text)
    assert str(caught.value) == fault


def test_j_tells_the_properties_under_mosquittos_names() -> None:
    told = json.loads(Format("%j")(FULL))
    assert list(told) == ["tst", "topic", "qos", "retain", "payloadlen", "mid", "properties", "payload"]
    assert told["mid"] == 1
    assert told["properties"] == {
        "user-properties": {"k": ["v", "v2"]},
        "content-type": "text/plain",
        "response-topic": "r/t",
        "correlation-data": "cd",
        "payload-format-indicator": 1,
        "message-expiry-interval": 60,
    }


def test_j_with_a_payload_that_is_no_text_is_an_array_of_its_bytes() -> None:
    assert json.loads(Format("%j")(Received(topic="a", payload=b"\xff\x00\x01")))["payload"] == [255, 0, 1]


def test_unquoted_json_refuses_a_payload_that_is_none() -> None:
    with pytest.raises(PayloadError, match="not valid JSON on topic a/b"):
        Format("%J")(HELLO)


def test_pretty_json_has_lines() -> None:
    assert Format("%j", pretty=True)(HELLO).count(b"\n") == 7


@pytest.mark.parametrize(
    ("payload", "text", "printed"),
    [
        (struct.pack("<f", 1.5), "%f", b"1.500000"),
        (struct.pack("<d", -2.25), "%d", b"-2.250000"),
        (struct.pack("<f", 1.5), "%8.2f|%-8.2f|%08.2f", b"    1.50|1.50    |00001.50"),
        (struct.pack("<f", 1.5), "%d|%5d", b"|     "),
    ],
)
def test_a_payload_of_four_or_eight_bytes_as_a_float(payload: bytes, text: str, printed: bytes) -> None:
    assert Format(text)(Received(topic="t", payload=payload)) == printed


def test_a_width_counts_characters_and_cuts_hex_at_whole_bytes() -> None:
    assert Format("%3t|%.2t")(Received(topic="äöü/x", payload=b"")) == "äöü/x|äö".encode()
    assert Format("%9x|%12x")(HELLO) == b" 68656c6c|  68656c6c6f"


def test_all_subscription_identifiers_are_shown() -> None:
    message = Received(topic="t", payload=b"", subscription_identifiers=(3, 7))
    assert Format("%S")(message) == b"3 7"
    assert Format("%4S")(Received(topic="t", payload=b"", subscription_identifiers=(3,))) == b"   3"
