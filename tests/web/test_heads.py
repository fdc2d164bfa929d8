"""What may be answered of what comes, and where a head ends."""

from __future__ import annotations

import h11
import pytest

from broker.web.heads import HEAD_BYTES, BadHead, Head, end_of_head, read_head


def head(text: str) -> Head:
    return read_head(text.encode("latin-1"))[1]


def test_a_head_is_read() -> None:
    found = head("GET /a%20b/%C3%A4?x=%20 HTTP/1.1\r\nHost: example.org\r\nAccept: a\r\nAccept: b\r\n\r\n")
    assert (found.method, found.version, found.length, found.chunked) == ("GET", "1.1", -1, False)
    assert (found.path, found.raw_path, found.query) == ("/a b/ä", b"/a%20b/%C3%A4", b"x=%20")
    assert found.fields == {"host": "example.org", "accept": "a, b"}
    assert found.headers == [(b"host", b"example.org"), (b"accept", b"a"), (b"accept", b"b")]


def test_the_absolute_form_is_taken_too() -> None:
    found = head("GET http://example.org:8080/x?y HTTP/1.1\r\nHost: example.org\r\n\r\n")
    assert (found.path, found.query) == ("/x", b"y")
    assert head("GET http://example.org HTTP/1.1\r\nHost: example.org\r\n\r\n").path == "/"


def test_the_parser_waits_for_the_body() -> None:
    parser, found = read_head(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    assert found.length == 3
    parser.receive_data(b"abc")
    event = parser.next_event()
    assert isinstance(event, h11.Data)
    assert bytes(event.data) == b"abc"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
        ("Content-Length: 3\r\nContent-Length: 4", 400),
        ("Content-Length: 3, 4", 400),
        ("Content-Length: +3", 400),
        ("Content-Length: 0x3", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: " + "9" * 40, 400),
        ("Content-Length: \xb2", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: chunked, identity", 501),
        ("Transfer-Encoding: xchunked", 501),
        ("Transfer-Encoding : chunked", 400),
        ("Transfer-Encoding\t: chunked", 400),
        ("X: a\rTransfer-Encoding: chunked", 400),
        ("X: a\0b", 400),
        ("X: a\x0bb", 400),
        ("X\r\n", 400),
        (": a", 400),
        ("X Y: a", 400),
        ("Host: b", 400),
        ("X: y\r\n" * 80 + "Z: z", 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(fields: str, status: int) -> None:
    with pytest.raises(BadHead) as caught:
        head(f"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
    assert caught.value.status == status
    assert len(caught.value.text) < 300


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "\n\n",
    ],
)
def test_malformed_heads_are_refused(text: str) -> None:
    with pytest.raises(BadHead) as caught:
        head(text)
    assert caught.value.status == 400


def test_another_version_is_refused() -> None:
    with pytest.raises(BadHead) as caught:
        head("GET / HTTP/2.0\r\nHost: a\r\n\r\n")
    assert caught.value.status == 505


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n"])
def test_the_end_is_found_wherever_reads_were_cut(text: bytes) -> None:
    for cut in range(len(text)):
        assert end_of_head(text[:cut]) == 0
        assert end_of_head(text + b"GET /next", cut) == len(text)


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * HEAD_BYTES + b"\r\n\r\n", 431),
    ],
)
def test_heads_are_bounded(received: bytes, status: int) -> None:
    with pytest.raises(BadHead) as caught:
        end_of_head(received)
    assert caught.value.status == status
