"""`broker.websocket.handshake`: the head of a request, good and bad, whole and in pieces."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.websocket.handshake import READING, REFUSED, REQUEST, UPGRADED, HttpDoor
from tests.statements import statement

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of that Key: RFC 6455 section 1.3

FIELDS = {
    "Host": "broker.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}


def head(line: str = "GET /mqtt HTTP/1.1", changes: dict[str, str | None] | None = None, *more: str) -> bytes:
    """An upgrade with fields changed, left out (None) and lines added."""
    fields = {**FIELDS, **(changes or {})}
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), *more, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def status(door: HttpDoor) -> int:
    """Of the response; which must be a whole one."""
    first, _, rest = door.response.partition(b"\r\n")
    assert rest.partition(b"\r\n\r\n")[1]
    return int(first.split(b" ")[1])


def body(door: HttpDoor) -> str:
    return door.response.partition(b"\r\n\r\n")[2].decode()


def fields(door: HttpDoor) -> list[bytes]:
    return door.response.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:]


def fed(data: bytes, door: HttpDoor | None = None) -> HttpDoor:
    door = door or HttpDoor()
    door.feed(data)
    return door


# -- Upgrades


@statement("RFC6455-4.2.1", "RFC6455-4.2.2", "MQTT5-6.0.0-4", "MQTT311-6.0.0-4")
def test_an_upgrade_is_answered_with_101_and_the_accept_of_its_key() -> None:
    door = fed(head() + b"\x82\x80")
    assert door.outcome == UPGRADED
    assert status(door) == 101
    assert f"sec-websocket-accept: {ACCEPT}".lower().encode() in fields(door)
    assert b"upgrade: websocket" in fields(door)
    assert b"connection: upgrade" in fields(door)
    assert b"sec-websocket-protocol: mqtt" in fields(door)
    assert door.subprotocol == "mqtt"
    assert door.leftover == b"\x82\x80"
    assert door.headers["host"] == "broker.example"


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 260), max_size=12))
def test_an_upgrade_in_pieces_is_the_same(cuts: list[int]) -> None:
    data = head() + b"\x82\x85later"
    door = HttpDoor()
    start = 0
    for cut in sorted({*cuts, len(data)}):
        door.feed(data[start:cut])
        start = max(start, cut)
    assert door.outcome == UPGRADED
    assert door.leftover == b"\x82\x85later"
    assert door.received == data


def test_every_byte_before_the_last_of_the_head_leaves_it_reading() -> None:
    door = HttpDoor()
    data = head()
    for index in range(len(data)):
        assert door.outcome == READING
        door.feed(data[index : index + 1])
    assert door.outcome == UPGRADED


@statement("RFC6455-4.2.1")
@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": "WebSocket"},
        {"Upgrade": "WEBSOCKET"},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "upgrade,keep-alive"},
        {"Content-Length": "0"},
        {"Origin": "http://broker.example"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        {"Sec-WebSocket-Protocol": None},
    ],
)
def test_what_clients_also_send_is_taken(changes: dict[str, str | None]) -> None:
    door = fed(head("GET /mqtt HTTP/1.1", changes))
    assert door.outcome == UPGRADED


@statement("RFC6455-9.1", "RFC6455-5.8")
def test_no_extension_is_promised() -> None:
    door = fed(head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Extensions": "permessage-deflate"}))
    assert b"sec-websocket-extensions" not in door.response.lower()


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive , Upgrade"])  # read at once, and by the libraries
@pytest.mark.parametrize(
    ("offer", "takeover", "answer"),
    [
        (None, False, None),
        ("permessage-bzip2", False, None),
        ("permessage-deflate; client_max_window_bits=3", False, None),
        (
            "permessage-deflate; client_max_window_bits",
            False,
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        ("permessage-deflate", True, b"permessage-deflate; server_max_window_bits=12"),
    ],
)
def test_compression_is_agreed_on_where_it_is_set(
    connection: str, offer: str | None, takeover: bool, answer: bytes | None
) -> None:
    data = head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Extensions": offer, "Connection": connection})
    door = fed(data, HttpDoor(compression=True, context_takeover=takeover))
    assert door.outcome == UPGRADED
    found = [field for field in fields(door) if field.startswith(b"sec-websocket-extensions")]
    assert found == ([] if answer is None else [b"sec-websocket-extensions: " + answer])
    assert (door.compression is None) is (answer is None)


@statement("RFC6455-9.1")
@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("offer", ["permessage-deflate;;", "", 'x; a="b c"', "a" * 1025])
def test_a_malformed_offer_fails_the_handshake(compression: bool, offer: str) -> None:
    data = head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Extensions": offer})
    door = fed(data, HttpDoor(compression=compression))
    assert (door.outcome, status(door)) == (REFUSED, 400)
    assert "Sec-WebSocket-Extensions" in door.reason


@pytest.mark.parametrize("request_line", ["GET /mqtt HTTP/1.1", "GET /healthz HTTP/1.1"])
@pytest.mark.parametrize(
    "host", ["a b", "<script>", "u@h", "h/p", "h:p", "h:1:2", "[::1", "[fe80::1%25lo]", "h%4", "\xe9"]
)
def test_a_host_that_is_none_is_refused(request_line: str, host: str) -> None:
    door = fed(head(request_line, {"Host": host}))
    assert (door.outcome, status(door)) == (REFUSED, 400)
    assert "Host" in door.reason


@pytest.mark.parametrize(
    "host", ["", "h", "H_1.example.", "h:", "127.0.0.1:80", "[::1]", "[2001:DB8::1]:443", "%C3%A9"]
)
def test_a_host_that_is_one_is_taken(host: str) -> None:
    assert fed(head("GET /mqtt HTTP/1.1", {"Host": host})).outcome == UPGRADED


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"HEAD /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", 405),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", 400),
        (b"HEAD /\x01 HTTP/1.1\r\n\r\n", 400),
        (b"HEAD /" + b"a" * 9000, 414),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n" + b"a:\r\n" * 64 + b"\r\n", 431),
    ],
)
def test_a_refusal_of_head_has_no_body(data: bytes, code: int) -> None:
    door = fed(data)
    assert (door.outcome, status(door)) == (REFUSED, code)
    assert door.response.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: 0\r\n" not in door.response


def test_offers_in_two_fields_are_one_list() -> None:
    more = "Sec-WebSocket-Extensions: permessage-deflate"
    data = head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Extensions": "permessage-bzip2"}, more)
    assert fed(data, HttpDoor(compression=True)).compression is not None


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive , Upgrade"])
@pytest.mark.parametrize("target", ["/mqtt", "/mqtt?", "/mqtt?token=a%20b&c=/?d", "/?access_token=x"])
def test_the_target_is_kept_and_its_path_decides(connection: str, target: str) -> None:
    door = fed(head(f"GET {target} HTTP/1.1", {"Connection": connection}))
    assert door.outcome == UPGRADED
    assert door.target == target
    assert (door.path, door.query) == (target.partition("?")[0], target.partition("?")[2])
    assert fed(head(f"GET /other?{target} HTTP/1.1", {"Connection": connection})).outcome == REFUSED


@statement("RFC6455-4.2.1", "RFC6455-4.2.2")
@pytest.mark.parametrize(
    ("line", "changes", "expected"),
    [
        ("POST /mqtt HTTP/1.1", {}, 405),
        ("GET /mqtt HTTP/1.0", {}, 505),
        ("GET /mqtt HTTP/1.1", {"Host": None}, 400),
        ("GET /mqtt HTTP/1.1", {"Upgrade": None}, 426),
        ("GET /mqtt HTTP/1.1", {"Upgrade": "notwebsocket"}, 426),
        ("GET /mqtt HTTP/1.1", {"Upgrade": "websocketx"}, 426),
        ("GET /mqtt HTTP/1.1", {"Connection": None}, 426),
        ("GET /mqtt HTTP/1.1", {"Connection": "notupgrade"}, 426),
        ("GET /mqtt HTTP/1.1", {"Connection": "keep-alive"}, 426),
        ("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Key": None}, 400),
        ("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Key": "short"}, 400),
        ("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"}, 400),
        ("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Key": "AAAA"}, 400),
        ("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Version": None}, 400),
        ("GET /mqtt HTTP/1.1", {"Content-Length": "5"}, 400),
        ("GET /mqtt HTTP/1.1", {"Transfer-Encoding": "chunked"}, 400),
    ],
)
def test_a_bad_upgrade_is_refused(line: str, changes: dict[str, str | None], expected: int) -> None:
    door = fed(head(line, changes))
    assert door.outcome == REFUSED
    assert status(door) == expected
    assert door.reason in body(door)
    assert b"connection: close" in fields(door)
    if expected == 426:
        assert b"upgrade: websocket" in fields(door)
    if expected == 405:
        assert b"allow: get" in fields(door)


@statement("RFC6455-4.4")
@pytest.mark.parametrize("version", ["8", "0", "14", "13, 8", "x"])
def test_another_version_is_told_ours(version: str) -> None:
    door = fed(head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Version": version}))
    assert status(door) == 426
    assert b"sec-websocket-version: 13" in fields(door)
    assert b"upgrade: websocket" in fields(door)


@pytest.mark.parametrize("name", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Host", "Origin"])
def test_fields_that_may_stand_once_may_not_stand_twice(name: str) -> None:
    door = fed(
        head("GET /mqtt HTTP/1.1", {"Origin": "http://broker.example"}, f"{name}: {FIELDS.get(name, 'http://x')}")
    )
    assert door.outcome == REFUSED


# -- Paths


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/mqtt", "/mqtt", ""),
        ("/", "/", ""),
        ("/mqtt?token=a/b?c", "/mqtt", "token=a/b?c"),
        ("http://broker.example/mqtt?x=1", "/mqtt", "x=1"),
        ("http://broker.example", "/", ""),
    ],
)
def test_paths_of_the_endpoint(target: str, path: str, query: str) -> None:
    door = fed(head(f"GET {target} HTTP/1.1"))
    assert door.outcome == UPGRADED
    assert (door.path, door.query) == (path, query)


@pytest.mark.parametrize(
    "target", ["/mqtt/", "/MQTT", "/mqtt2", "/x", "//mqtt", "/./mqtt", "/%6dqtt", "mqtt", "*", "http://["]
)
def test_another_path_is_told_the_right_ones(target: str) -> None:
    door = fed(head(f"GET {target} HTTP/1.1"), HttpDoor(paths=("/mqtt", "/ws")))
    assert door.outcome == REFUSED
    assert status(door) == 404
    assert "/mqtt, /ws" in body(door)


# -- Subprotocols


@statement("MQTT5-6.0.0-3", "MQTT311-6.0.0-3", "MQTT5-6.0.0-4", "MQTT311-6.0.0-4", "RFC6455-4.2.2")
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["mqtt"], "mqtt"),
        (["mqttv3.1"], "mqttv3.1"),
        (["mqttv3.1, mqtt"], "mqtt"),
        (["mqtt,mqttv3.1"], "mqtt"),
        (["wamp, mqtt, amqp"], "mqtt"),
        (["wamp", "mqttv3.1"], "mqttv3.1"),
        (["mqtt, mqtt"], "mqtt"),
        ([], None),
    ],
)
def test_one_of_the_subprotocols_offered_is_echoed(offered: list[str], chosen: str | None) -> None:
    more = [f"Sec-WebSocket-Protocol: {names}" for names in offered]
    door = fed(head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Protocol": None}, *more))
    assert door.outcome == UPGRADED
    assert door.subprotocol == chosen
    echoed = [line for line in fields(door) if line.startswith(b"sec-websocket-protocol")]
    assert echoed == ([] if chosen is None else [f"sec-websocket-protocol: {chosen}".encode()])


@statement("MQTT5-6.0.0-3", "MQTT311-6.0.0-3", "MQTT5-6.0.0-4", "MQTT311-6.0.0-4")
@pytest.mark.parametrize("offered", ["wamp", "MQTT", "mqtt5", "mqttv3.1.1, mqttv5"])
def test_unknown_subprotocols_are_told_the_known(offered: str) -> None:
    door = fed(head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Protocol": offered}))
    assert status(door) == 400
    assert "mqtt, mqttv3.1" in body(door)


@pytest.mark.parametrize("offered", ["", ",", "mqtt mqtt", "mqtt;x", '"mqtt"'])
def test_a_list_of_subprotocols_that_is_none_is_refused(offered: str) -> None:
    assert status(fed(head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Protocol": offered}))) == 400


@statement("MQTT5-6.0.0-3", "MQTT311-6.0.0-3")
def test_no_subprotocol_is_refused_when_one_is_required() -> None:
    door = fed(head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Protocol": None}), HttpDoor(require_subprotocol=True))
    assert status(door) == 400
    assert "mqtt, mqttv3.1" in body(door)
    assert fed(head(), HttpDoor(require_subprotocol=True)).outcome == UPGRADED


# -- Origins: the table is in test_origins


@statement("RFC6455-10.2", "RFC6455-4.2.2")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://broker.example.evil", "", "http://x" * 200])
def test_a_page_of_another_origin_is_refused_and_told_the_setting(origin: str) -> None:
    door = fed(head("GET /mqtt HTTP/1.1", {"Origin": origin}))
    assert status(door) == 403
    assert "`origins`" in body(door)
    assert len(body(door)) < 500


def test_origin_settings_reach_the_check() -> None:
    stranger: dict[str, str | None] = {"Origin": "https://broker.example"}
    data = head("GET /mqtt HTTP/1.1", stranger)
    assert fed(data).outcome == UPGRADED
    assert fed(data, HttpDoor(loopback=True)).outcome == REFUSED
    assert fed(data, HttpDoor(origins=("https://other.example",))).outcome == REFUSED
    assert fed(data, HttpDoor(origins=("*",), loopback=True)).outcome == UPGRADED
    assert (
        fed(head("GET /mqtt HTTP/1.1", {"Origin": "http://broker.example"}), HttpDoor(secure=True)).outcome == REFUSED
    )


# -- Plain HTTP


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("GET /healthz HTTP/1.1", {}),
        ("GET /healthz HTTP/1.0", {}),
        ("GET / HTTP/1.1", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}),
        ("GET / HTTP/1.1", {"Connection": "keep-alive"}),
    ],
)
def test_a_request_that_is_no_upgrade_is_a_request(line: str, changes: dict[str, str]) -> None:
    lines = [line, "Host: broker.example", *(f"{name}: {value}" for name, value in changes.items())]
    door = fed(("\r\n".join([*lines, "Accept: a", "Accept: b", "", ""]) + "next").encode())
    assert door.outcome == REQUEST
    assert door.request is not None
    assert door.request.method == "GET"
    assert door.request.path == line.split(" ")[1]
    assert door.request.headers["accept"] == "a, b"
    assert door.leftover == b"next"
    assert b" 200 OK\r\n" in door.respond()


def test_pipelined_requests_are_left_over_and_one_is_answered() -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
    door = fed(one * 10_000)
    assert door.leftover == one * 9_999
    assert door.respond().count(b"HTTP/1.1") == 1


def test_there_is_nothing_to_respond_to_an_upgrade() -> None:
    with pytest.raises(RuntimeError, match="no plain HTTP request"):
        fed(head()).respond()


def test_what_is_fed_later_is_left_over() -> None:
    door = fed(head() + b"a")
    door.feed(b"b")
    assert door.leftover == b"ab"


# -- Headers of the answers


GUARDS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"deny",
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: broker.example\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: broker.example\r\n\r\n", 200),
        (b"GET /mqtt HTTP/1.1\r\nHost: broker.example\r\n\r\n", 426),
        (b"GET /other HTTP/1.1\r\nHost: broker.example\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: broker.example\r\n\r\n", 405),
        (head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Key": "short"}), 400),
        (head("GET /mqtt HTTP/1.1", {"Origin": "https://evil.example"}), 403),
        (head("GET /other HTTP/1.1"), 404),
        (head("POST /mqtt HTTP/1.1"), 405),
        (head("GET /mqtt HTTP/1.1", {"Upgrade": None}), 426),
        (head("GET /mqtt HTTP/1.1", {"Sec-WebSocket-Version": "8"}), 426),
        (head("GET /mqtt HTTP/1.0"), 505),
    ],
)
def test_every_answer_but_101_guards_the_browser(data: bytes, expected: int, secure: bool) -> None:
    door = fed(data, HttpDoor(secure=secure))
    response = door.response or door.respond()
    lines = response.lower().partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert int(lines[0].split(b" ")[1]) == expected
    found = dict(line.split(b": ", 1) for line in lines[1:] if not line.startswith((b"upgrade", b"connection")))
    assert {name: found.get(name) for name in GUARDS} == GUARDS
    assert (b"strict-transport-security" in found) is secure


@pytest.mark.parametrize("data", [b"GET /" + b"x" * 9000, b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 4200, b"\x16\x03"])
def test_what_is_refused_before_its_host_is_known_is_guarded_too(data: bytes) -> None:
    found = fields(fed(data, HttpDoor(secure=True)))
    assert all(name + b": " + value in found for name, value in GUARDS.items())
    assert not any(line.startswith(b"strict-transport-security") for line in found)


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive , Upgrade"])
def test_101_has_what_belongs_there_and_no_more(connection: str) -> None:
    door = fed(head("GET /mqtt HTTP/1.1", {"Connection": connection}), HttpDoor(secure=True))
    names = {line.partition(b":")[0] for line in fields(door)}
    assert names - {b"date"} == {b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol"}


@pytest.mark.parametrize("more", [["Origin: http://broker.example"], ["Origin: null"], ["origin:"]])
def test_several_origins_are_none(more: list[str]) -> None:
    door = fed(head("GET /mqtt HTTP/1.1", {"Origin": "http://broker.example"}, *more))
    assert (door.outcome, status(door)) == (REFUSED, 403)


# -- Bounds and nonsense


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET /" + b"x" * 9000, 414),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 17_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 17_000 + b"\r\n\r\n", 431),
        (head("GET /mqtt HTTP/1.1", {}, *[f"X-{number}: y" for number in range(59)]), 431),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 4200, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a:\r\n" * 64 + b"\r\n", 431),
    ],
    ids=["endless line", "long line", "endless field", "long field", "65 fields", "endless fields", "65 short fields"],
)
def test_bombs_are_refused(data: bytes, expected: int) -> None:
    door = fed(data)
    assert door.outcome == REFUSED
    assert status(door) == expected
    piecemeal = HttpDoor()
    for start in range(0, len(data), 100):
        if piecemeal.outcome == READING:
            piecemeal.feed(data[start : start + 100])
    assert piecemeal.outcome == REFUSED
    assert status(piecemeal) == expected
    assert len(piecemeal.received) <= 16 * 1024 + 100


@pytest.mark.parametrize("name", ["Connection", "Upgrade", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"])
@pytest.mark.parametrize("comma", [",", " , "])  # read at once, and by the libraries
def test_a_list_has_at_most_64_elements(name: str, comma: str) -> None:
    """Each costs the library that reads it two microseconds: a head of 16 KiB would hold up everybody for 16 ms."""
    last = FIELDS.get(name, "a")
    assert "elements" not in fed(head("GET /mqtt HTTP/1.1", {name: f"a{comma}" * 63 + last})).reason
    door = fed(head("GET /mqtt HTTP/1.1", {name: f"a{comma}" * 64 + last}))
    assert (door.outcome, status(door)) == (REFUSED, 431)
    assert name.lower() in door.reason


def test_64_fields_are_taken() -> None:
    assert fed(head("GET /mqtt HTTP/1.1", {}, *[f"X-{number}: y" for number in range(58)])).outcome == UPGRADED


@pytest.mark.parametrize(
    "lines",
    [
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: -1"],
        ["Content-Length: 5, 6"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Bad Name: x"],
        ["Space : x"],
        ["NoColon"],
        ["Null: a\x00b"],
        ["Unit-Separator: a\x1fb"],
        ["Delete: a\x7fb"],
        ["Bare-Return: a\rb"],
        ["Host: twice"],
    ],
)
def test_requests_that_two_parsers_may_read_differently_are_refused(lines: list[str]) -> None:
    door = fed("\r\n".join(["POST / HTTP/1.1", "Host: h", *lines, "", ""]).encode())
    assert door.outcome == REFUSED
    assert status(door) in (400, 501)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "MQTT without WebSocket"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"\x00", "not HTTP"),
        (b"\r\n\r\n", "not HTTP"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"\xff\xff\n\n", "not HTTP"),
        (b"GET /mqtt HTTP/2.0\r\nHost: h\r\n\r\n", "not HTTP"),
        (b"GET /m\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", "not HTTP"),
    ],
)
def test_what_is_not_http_is_told_so(data: bytes, words: str) -> None:
    door = fed(data)
    assert door.outcome == REFUSED
    assert status(door) in (400, 505)
    assert words in body(door)


@settings(deadline=None)
@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda part: head() + part)))
def test_no_bytes_raise(data: bytes) -> None:
    assert fed(data).outcome in (READING, UPGRADED, REQUEST, REFUSED)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*FIELDS, "Origin", "Content-Length", "Transfer-Encoding"]),
            st.text(st.characters(max_codepoint=255), max_size=30),
        ),
        max_size=4,
    )
)
def test_no_field_raises(changed: list[tuple[str, str]]) -> None:
    door = fed(head("GET /mqtt HTTP/1.1", dict(changed)))
    assert door.outcome in (READING, UPGRADED, REQUEST, REFUSED)
    if door.outcome == REFUSED:
        assert status(door) >= 400
        assert door.reason.isprintable()


def test_an_upgrade_leaves_no_cycle_behind() -> None:
    fed(head())
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            assert fed(head()).outcome == UPGRADED
        assert gc.collect() == 0
    finally:
        gc.enable()
