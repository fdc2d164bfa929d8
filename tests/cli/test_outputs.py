from __future__ import annotations

import json
import re

import msgpack
import pytest

from broker.cli.formats import Received
from broker.cli.outputs import OUTPUTS, Output
from broker.cli.payloads import PayloadError

PACKED = Received(topic="home/meter", payload=msgpack.packb({"watts": 12.5}), qos=1, retain=True, packet_identifier=9)
EMPTY = Received(topic="home/meter", payload=b"")


@pytest.mark.parametrize(
    ("name", "verbose", "printed"),
    [
        ("raw", False, b"\x81\xa5watts\xcb@)\x00\x00\x00\x00\x00\x00"),
        ("raw", True, b"home/meter \x81\xa5watts\xcb@)\x00\x00\x00\x00\x00\x00"),
        ("hex", False, b"81a57761747473cb4029000000000000"),
        ("json", False, b'{"watts":12.5}'),
        ("json", True, b'home/meter {"watts":12.5}'),
    ],
)
def test_the_payload_in_one_line(name: str, verbose: bool, printed: bytes) -> None:
    assert Output(name, verbose=verbose)(PACKED) == printed


@pytest.mark.parametrize("name", ["raw", "hex", "json"])
def test_no_payload_is_nothing_or_null_after_the_topic(name: str) -> None:
    assert Output(name)(EMPTY) == b""
    assert Output(name, verbose=True)(EMPTY) == b"home/meter (null)"


def test_jsonl_is_the_message_with_its_payload_decoded() -> None:
    told = json.loads(Output("jsonl")(PACKED))
    assert told.pop("tst")
    assert told == {
        "topic": "home/meter",
        "qos": 1,
        "retain": 1,
        "payloadlen": 16,
        "mid": 9,
        "payload": {"watts": 12.5},
    }


def test_pretty_shows_topic_marks_and_an_indented_payload() -> None:
    lines = Output("pretty")(PACKED).decode().split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.000 home/meter q1 retained", lines[0])
    assert lines[1:] == ["{", '  "watts": 12.5', "}"]
    assert Output("pretty")(EMPTY).endswith(b"home/meter q0 (empty)")


def test_colour_only_when_asked() -> None:
    assert b"\x1b[" in Output("pretty", colour=True)(PACKED)
    for name in OUTPUTS:
        assert b"\x1b[" not in Output(name)(PACKED)


def test_a_payload_that_is_not_as_told() -> None:
    with pytest.raises(PayloadError):
        Output("json", decoding="json")(PACKED)


def test_pretty_does_not_let_a_message_write_on_the_terminal() -> None:
    message = Received(topic="a\x1b[31m", payload=b'"\\u001b[2J"')
    assert Output("pretty")(message).endswith(b"a\\x1b[31m q0 \\x1b[2J")
