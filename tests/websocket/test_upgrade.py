"""What is recognised as an ordinary opening handshake, and that the libraries agree."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.websocket.handshake import UPGRADED, HttpDoor
from broker.websocket.upgrade import ordinary_upgrade
from tests.statements import statement

FIELDS: Final = {
    "Host": "broker.example:8080",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}


def head(request: str = "GET /mqtt HTTP/1.1", without: str = "", **more: str) -> bytes:
    fields = {name: value for name, value in FIELDS.items() if name != without}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return "".join([f"{request}\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]).encode()


@statement("RFC6455-4.2.2")
def test_the_sample_of_the_standard() -> None:
    upgrade = ordinary_upgrade(head(Connection="keep-alive, Upgrade", Sec_WebSocket_Protocol="mqttv3.1, mqtt"))
    assert upgrade is not None
    assert (upgrade.path, upgrade.query, upgrade.offered) == ("/mqtt", "", ["mqttv3.1", "mqtt"])
    assert upgrade.headers["host"] == "broker.example:8080"
    assert upgrade.response("mqtt") == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    assert b"Sec-WebSocket-Protocol" not in upgrade.response("")


def test_a_query_and_whatever_else_a_browser_says() -> None:
    upgrade = ordinary_upgrade(
        head(
            "GET /mqtt?token=a%20b HTTP/1.1",
            Pragma="no-cache",
            Cookie="a=b; c=d",
            User_Agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
        )
    )
    assert upgrade is not None
    assert (upgrade.path, upgrade.query) == ("/mqtt", "token=a%20b")
    assert upgrade.headers["cookie"] == "a=b; c=d"


@statement("RFC6455-4.2.1")
@pytest.mark.parametrize(
    "doubtful",
    [
        head("POST /mqtt HTTP/1.1"),
        head("GET /mqtt HTTP/1.0"),
        head("GET http://broker.example/mqtt HTTP/1.1"),
        head("GET  /mqtt HTTP/1.1"),
        *(head(without=name) for name in FIELDS if name != "Sec-WebSocket-Protocol"),
        head(Upgrade="h2c"),
        head(Connection="close"),
        head(Connection="keep-alive; Upgrade"),
        head(Sec_WebSocket_Version="8"),
        head(Sec_WebSocket_Key="c2hvcnQ="),
        head(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZR=="),
        head(Sec_WebSocket_Protocol="mqtt,,"),
        head(Sec_WebSocket_Protocol=""),
        head(Content_Length="0"),
        head(Transfer_Encoding="chunked"),
        head(Expect="100-continue"),
        head(host="another.example"),
        head(Folded="one\r\n two"),
        head(Control="a\x01b"),
        head(Tab="a\tb"),
        head(Latin="caf\xe9"),
        head().replace(b"\r\n", b"\n"),
        head().replace(b"Host:", b"Host :"),
        head() + b"\x82",
        head(**{f"X{number}": "y" for number in range(65)}),
    ],
)
def test_what_is_doubtful_is_left_to_others(doubtful: bytes) -> None:
    assert ordinary_upgrade(doubtful) is None


def judge(data: bytes, alone: bool) -> tuple[object, ...]:
    """What comes of a head; with `alone` the libraries judge it, as a tab in some field is nothing ordinary."""
    door = HttpDoor()
    door.feed(data.replace(b"\r\n\r\n", b"\r\nX-Tab: a\tb\r\n\r\n", 1) if alone else data)
    door.headers.pop("x-tab", None)
    answer = sorted(line for line in door.response.split(b"\r\n") if not line.startswith((b"Date:", b"Server:")))
    return door.outcome, door.reason, door.path, door.query, door.headers, door.subprotocol, door.leftover, answer


LINES: Final = st.sampled_from(
    [
        *(f"{name}: {value}" for name, value in FIELDS.items()),
        *("Upgrade: WebSocket", "Connection: keep-alive,upgrade", "Connection: Upgrade, ", "connection: upgrade"),
        *("Sec-WebSocket-Protocol: mqttv3.1", "Sec-WebSocket-Protocol: soap", "Sec-WebSocket-Protocol: a,mqtt"),
        *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", "Sec-WebSocket-Version: 12", "Host:", "Host: b:x", "X"),
        *("Origin: http://broker.example:8080", "Origin: http://evil.example", "Origin: null", "Cookie:  a=b ; c=d "),
        *("Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked", "Expect: 100-continue", " folded"),
        *("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "X-\x00: a", "X: \x7f", "X: \xe9"),
    ]
)


@given(
    st.sampled_from(
        ["GET /mqtt HTTP/1.1", "GET /?a=b HTTP/1.1", "GET /x HTTP/1.1", "POST / HTTP/1.1", "GET / HTTP/1.0"]
    ),
    st.lists(LINES, max_size=3),
    st.sets(st.sampled_from(sorted(FIELDS)), max_size=1),
    st.sampled_from([b"", b"\x82\x80"]),
)
def test_the_libraries_agree(request: str, more: list[str], without: set[str], behind: bytes) -> None:
    lines = [request, *(f"{name}: {value}" for name, value in FIELDS.items() if name not in without), *more, "", ""]
    data = "\r\n".join(lines).encode("latin-1") + behind
    assert judge(data, False) == judge(data, True)


def test_what_the_libraries_agree_on_is_an_opening() -> None:
    assert judge(head(), False)[0] == judge(head(), True)[0] == UPGRADED
