"""Kinds of value: what is read, and what is refused with which words."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from broker.config import kinds


def read(kind: Any, value: object) -> object:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (kinds.Count, 5, 5),
        (kinds.Count, "5", 5),
        (kinds.Number, "1.5", 1.5),
        (kinds.Number, 2, 2.0),
        (kinds.Size, "64KiB", 65536),
        (kinds.Size, 3.0, 3),
        (kinds.Seconds, "500ms", 0.5),
        (kinds.Seconds, 5, 5.0),
        (kinds.WholeSeconds, "7d", 604800),
        (kinds.Versions, ["3.1", "3.1.1", "5.0"], (3, 4, 5)),
        (kinds.Versions, [3.1, 5.0], (3, 5)),
        (kinds.Versions, [4, 5], (4, 5)),
        (kinds.Versions, "3.1.1, 5", (4, 5)),
        (kinds.Host, "127.0.0.1", "127.0.0.1"),
        (kinds.Host, "[::1]", "::1"),
        (kinds.Host, "fe80::1%eth0", "fe80::1%eth0"),
        (kinds.Host, "broker.example.org", "broker.example.org"),
        (kinds.SocketPath, "/run/broker.sock", "/run/broker.sock"),
        (kinds.Folder, "/var/lib/x", Path("/var/lib/x")),
        (kinds.Folder, Path("data"), Path("data")),
        (kinds.Folder, "~/data", Path.home() / "data"),
        (kinds.OptionalSize, "64KiB", 65536),
        (kinds.OptionalSize, None, None),
        (kinds.Mode, 0o640, 0o640),
        (kinds.Mode, "640", 0o640),
        (kinds.Mode, "0o600", 0o600),
        (kinds.Paths, ["/mqtt", "/"], ("/mqtt", "/")),
        (kinds.Paths, "/mqtt,/ws", ("/mqtt", "/ws")),
        (kinds.Subprotocols, "mqtt", ("mqtt",)),
        (kinds.Subprotocols, [], ()),
        (kinds.Origins, "*", ("*",)),
        (kinds.IdentifierPrefix, "auto-", "auto-"),
        (kinds.ResponseInformation, "reply/", "reply/"),
        (kinds.Name, "factory", "factory"),
    ],
)
def test_values_are_read(kind: Any, value: object, result: object) -> None:
    assert read(kind, value) == result
    assert type(read(kind, value)) is type(result)


def test_origins_are_compared_in_lower_case() -> None:
    assert read(kinds.Origins, ["https://Example.org:8443", "null"]) == ("https://example.org:8443", "null")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (kinds.Count, True, "must be a number, not true"),
        (kinds.Size, False, "must be a number, not false"),
        (kinds.Size, "0.5B", "must be whole bytes"),
        (kinds.Size, "1K", "must be a size such as"),
        (kinds.Seconds, "soon", "must be a duration such as"),
        (kinds.Seconds, float("inf"), "finite number"),
        (kinds.Seconds, float("nan"), "finite number"),
        (kinds.WholeSeconds, "500ms", 'must be whole seconds, not "500ms"'),
        (kinds.WholeSeconds, 1.5, "must be whole seconds, not 1.5"),
        (kinds.Versions, ["4.0"], 'there are "3.1", "3.1.1" and "5.0"'),
        (kinds.Versions, [True], "true is no version"),
        (kinds.Versions, ["5", "5.0"], "the same item twice"),
        (kinds.Versions, [], "at least 1 item"),
        (kinds.Host, "", 'every address of the machine is "0.0.0.0" or "::"'),
        (kinds.Host, "*", 'every address of the machine is "0.0.0.0" or "::"'),
        (kinds.Host, "localhost:1883", "an address or a name alone"),
        (kinds.Host, "tcp://localhost", "an address or a name alone"),
        (kinds.Host, "a b", "an address or a name alone"),
        (kinds.SocketPath, "/run/\x00", "control characters"),
        (kinds.SocketPath, "/" + "a" * 107, "is 108 bytes long"),
        (kinds.Folder, "", "must name a folder"),
        (kinds.Folder, 5, "not a valid path"),
        (kinds.Folder, "a\x00", "control characters"),
        (kinds.Folder, "~nobody-of-this-name/x", "names a home that is not known"),
        (kinds.File, "", "must name a file; without one leave the setting out"),
        (kinds.Networks, ["10.0.0.1/8"], 'the network of "10.0.0.1/8" is "10.0.0.0/8"'),
        (kinds.Networks, ["all"], 'must be a network such as "10.0.0.0/8" or an address, not "all"'),
        (kinds.Networks, ["::1", "::1/128"], "the same item twice"),
        (kinds.HostNames, ["*"], 'must be a name such as "mqtt.example.org"'),
        (kinds.OptionalSize, "1K", "must be a size such as"),
        (kinds.Mode, 660, "must be an octal number"),
        (kinds.Mode, "rw", "must be an octal number"),
        (kinds.Mode, True, "must be a number"),
        (kinds.Paths, ["mqtt"], 'must be a path such as "/mqtt", not "mqtt"'),
        (kinds.Paths, ["/a?b"], "must be a path"),
        (kinds.Paths, ["/a", "/a"], "the same item twice"),
        (kinds.Subprotocols, ["mqtt v5"], 'must be a name such as "mqtt"'),
        (kinds.Origins, ["https://example.org/"], 'an origin has no path: "https://example.org"'),
        (kinds.Origins, ["same_origin"], "did you mean 'same-origin'?"),
        (kinds.Origins, ["example.org"], 'must be "same-origin"'),
        (kinds.IdentifierPrefix, "a/", r"must not hold \+, # or /"),
        (kinds.IdentifierPrefix, "a" * 65, "at most 64 bytes"),
        (kinds.ResponseInformation, "reply/#", r"without \+ and #"),
        (kinds.ResponseInformation, "a\x00", "control characters"),
        (kinds.Name, "a\nb", "control characters"),
    ],
)
def test_values_are_refused(kind: Any, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read(kind, value)


@pytest.mark.parametrize("kind", [kinds.Size, kinds.Seconds, kinds.WholeSeconds])
def test_the_schema_takes_numbers_and_strings(kind: Any) -> None:
    schema = TypeAdapter(kind).json_schema()
    assert {one["type"] for one in schema["anyOf"]} & {"integer", "number"}
    assert "pattern" in schema["anyOf"][1]


def test_a_schema_may_lack_its_default() -> None:
    schema: dict[str, Any] = {"type": "integer", "default": 1}
    kinds.without_default(schema)
    assert schema == {"type": "integer"}


def test_networks_of_both_kinds() -> None:
    assert read(kinds.Networks, "10.0.0.0/8, 127.0.0.1,fd00::/8") == (
        ip_network("10.0.0.0/8"),
        ip_network("127.0.0.1/32"),
        ip_network("fd00::/8"),
    )


def test_a_schema_may_lack_null() -> None:
    schema: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    kinds.without_null(schema)
    assert schema == {"type": "string"}
