"""URLs of Servers."""

from __future__ import annotations

import pytest

from broker.client.url import Endpoint, parse


def fields(endpoint: Endpoint) -> tuple[str, str, int, str]:
    return endpoint.scheme, endpoint.host, endpoint.port, endpoint.path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://host", ("mqtt", "host", 1883, "")),
        ("tcp://host:9", ("mqtt", "host", 9, "")),
        ("MQTT://Host:1884", ("mqtt", "host", 1884, "")),
        ("mqtt://[::1]:1883", ("mqtt", "::1", 1883, "")),
        ("mqtt://host/a/b", ("mqtt", "host", 1883, "/a/b")),
        ("ws://host", ("ws", "host", 80, "/mqtt")),
        ("ws://host:8080/", ("ws", "host", 8080, "/")),
        ("ws://host:8080/a/b?token=x%20y", ("ws", "host", 8080, "/a/b?token=x%20y")),
        ("mqtts://host", ("mqtts", "host", 8883, "")),
        ("wss://host/a?b", ("wss", "host", 443, "/a?b")),
        ("unix:/run/broker.sock", ("unix", "", 0, "/run/broker.sock")),
        ("unix:///run/a%20b.sock", ("unix", "", 0, "/run/a b.sock")),
    ],
)
def test_parts(url: str, expected: tuple[str, str, int, str]) -> None:
    assert fields(parse(url)) == expected


def test_user_information_is_decoded() -> None:
    endpoint = parse("mqtt://us%40er:p%3Ass@host")
    assert (endpoint.user_name, endpoint.password) == ("us@er", "p:ss")
    without = parse("mqtt://host")
    assert (without.user_name, without.password) == (None, None)


def test_text_may_be_logged() -> None:
    assert str(parse("mqtt://user:secret@host")) == "mqtt://host:1883"
    assert str(parse("ws://user:secret@[::1]:8080/mqtt?a=b")) == "ws://[::1]:8080/mqtt?a=b"
    assert str(parse("unix:/run/x")) == "unix:/run/x"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is none of"),
        ("host:1883", "is none of"),
        ("http://host", "is none of"),
        ("mqtt:host", "is none of"),
        ("mqtt://", "no host"),
        ("mqtt://host:port", "ort"),
        ("mqtt://host:70000", "ort"),
        ("mqtt://host?a=b", "query"),
        ("ws://host/mqtt#x", "fragment"),
        ("ws://host/a b", "percent-encode"),
        ("mqtts://host?a=b", "query, which mqtts:// does not know"),
        ("wss://host/a b", "percent-encode"),
        ("unix:run/x", "whole path"),
    ],
)
def test_what_names_no_server(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(url)


def test_an_error_shows_no_password() -> None:
    with pytest.raises(ValueError, match="ort") as caught:
        parse("mqtt://user:secret@host:port")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "secure", "websocket"),
    [
        ("mqtt://h", False, False),
        ("mqtts://h", True, False),
        ("ws://h", False, True),
        ("wss://h", True, True),
        ("unix:/h", False, False),
    ],
)
def test_what_lies_between(url: str, secure: bool, websocket: bool) -> None:
    endpoint = parse(url)
    assert (endpoint.secure, endpoint.websocket) == (secure, websocket)
