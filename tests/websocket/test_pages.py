"""`broker.websocket.pages`: every plain answer is a whole response that a browser may not misread."""

from __future__ import annotations

import h11
import pytest

from broker.websocket.pages import HttpRequest, answer, content, respond, strict_transport

PATHS = ("/mqtt", "/")


def read(response: bytes, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Status, header fields and body, as h11 understands them; the response must end there."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(response)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", False)
    fields: dict[str, str] = {}
    for name, value in head.headers:
        key = name.decode()
        fields[key] = f"{fields[key]}, {value.decode()}" if key in fields else value.decode()
    return head.status_code, fields, body.decode()


def ask(
    method: str, path: str, host: str = "broker.example:8080", secure: bool = False
) -> tuple[int, dict[str, str], str]:
    return read(respond(HttpRequest(method, path, "", {"host": host}), PATHS, secure), method)


def test_health() -> None:
    status, headers, body = ask("GET", "/healthz")
    assert (status, body, headers["content-type"]) == (200, "ok\n", "text/plain; charset=utf-8")


def test_the_page_names_the_address_and_needs_no_script() -> None:
    status, headers, body = ask("GET", "/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "TrioMQ" in body
    assert "ws://broker.example:8080/mqtt" in body
    assert "<script" not in body
    assert "wss://broker.example:8080/mqtt" in ask("GET", "/", secure=True)[2]


@pytest.mark.parametrize("host", ['"><script>alert(1)</script>', "a b", "", "h/../x", "h\u00e9"])
def test_a_host_that_is_none_does_not_reach_the_page(host: str) -> None:
    body = ask("GET", "/", host)[2]
    assert "ws://this-host/mqtt" in body
    assert "<script" not in body


@pytest.mark.parametrize("path", ["/", "/healthz", "/mqtt", "/nothing"])
def test_head_has_the_head_of_get_and_no_body(path: str) -> None:
    status, headers, body = ask("HEAD", path)
    expected, fields, text = ask("GET", path)
    assert body == ""
    assert (status, headers["content-length"]) == (expected, str(len(text.encode())))
    assert {**headers, "date": ""} == {**fields, "date": ""}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/mqtt"])
def test_other_methods(method: str, path: str) -> None:
    status, headers, _ = ask(method, path)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/favicon.ico", "/mqtt/", "/healthz/", "//", "", "*", "/../healthz"])
def test_everything_else_is_not_found(path: str) -> None:
    assert ask("GET", path)[0] == 404
    assert ask("POST", path)[0] == 404


def test_the_websocket_endpoint_says_what_it_is() -> None:
    status, headers, body = ask("GET", "/mqtt")
    assert status == 426
    assert headers["upgrade"] == "websocket"
    assert "upgrade" in headers["connection"].lower()
    assert "ws://broker.example:8080/mqtt" in body


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/healthz"), ("GET", "/nothing"), ("POST", "/"), ("GET", "/mqtt")]
)
def test_every_answer_closes_and_forbids_to_guess(method: str, path: str) -> None:
    headers = ask(method, path)[1]
    assert headers["connection"].lower().startswith("close")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert "date" in headers


@pytest.mark.parametrize(
    ("host", "secure", "expected"),
    [
        ("broker.example", True, True),
        ("broker.example:8443", True, True),
        ("notlocalhost", True, True),
        ("broker.example", False, False),
        ("localhost:8443", True, False),
        ("a.localhost", True, False),
        ("LOCALHOST", True, False),
        ("", True, False),
        ("a b", True, False),
    ],
)
def test_a_browser_is_kept_to_tls_where_there_is_some(host: str, secure: bool, expected: bool) -> None:
    assert (strict_transport(host, secure) != ()) is expected
    for method, path in (("GET", "/"), ("GET", "/nothing"), ("POST", "/"), ("GET", "/mqtt"), ("HEAD", "/healthz")):
        assert ("strict-transport-security" in ask(method, path, host, secure)[1]) is expected


def test_an_answer_counts_bytes_and_not_characters() -> None:
    assert read(answer(400, "é\n"))[1]["content-length"] == "3"


def test_the_page_may_say_something_more() -> None:
    status, page, media, _ = content(HttpRequest("GET", "/", "", {"host": "h"}), PATHS, note="<b> & more")
    assert (status, media) == (200, "text/html; charset=utf-8")
    assert "<p>&lt;b&gt; &amp; more</p>" in page
    assert "<p>&lt;b" not in content(HttpRequest("GET", "/", "", {"host": "h"}), PATHS)[1]
