"""HTTP heads: what is not HTTP, what two parsers could read differently, and what no WebSocket may be opened with.

`because` names a section of RFC 9112 (HTTP/1.1), 9110 (semantics) or 6455 (WebSocket), or a bound of the door's.
"""

from __future__ import annotations

from typing import Final

from tests.hostile.inputs import Head

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS: Final = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}
BOTH: Final = ("ws", "auto")
WS: Final = ("ws",)  # an auto listener takes for MQTT what begins with no capital letter


def line(request: str, *fields: str) -> bytes:
    return "\r\n".join((request, *fields, "", "")).encode("latin-1")


def get(name: str, fields: tuple[str, ...], because: str, status: int, target: str = "/healthz") -> Head:
    """A GET with these field lines behind its Host."""
    return Head(name, line(f"GET {target} HTTP/1.1", "Host: localhost", *fields), because, status)


def target(name: str, target: str, because: str, status: int) -> Head:
    return Head(name, line(f"GET {target} HTTP/1.1", "Host: localhost"), because, status)


def method(name: str, status: int, because: str = "9110 section 15.5.6", listeners: tuple[str, ...] = BOTH) -> Head:
    return Head(f"method {name}", line(f"{name} /healthz HTTP/1.1", "Host: localhost"), because, status, listeners)


def upgrade(
    name: str,
    changes: dict[str, str | None],
    because: str,
    status: int,
    *more: str,
    request: str = "GET /mqtt HTTP/1.1",
    behind: bytes = b"",
) -> Head:
    """A handshake with fields changed, left out (None), or added."""
    fields = {**FIELDS, **changes}
    given = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return Head(name, line(request, *given, *more) + behind, because, status)


STRANGERS: Final[list[Head]] = [
    Head("MQTT without WebSocket", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a", "9112 section 3: 400", 400, WS),
    Head("a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "9112 section 3: 400", 400, WS),
    Head("a NUL", b"\x00", "9112 section 3: 400", 400, WS),
    Head("SOCKS 5", b"\x05\x01\x00", "9112 section 3: 400", 400, WS),
    Head("PROXY protocol 2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), "no proxy is trusted", 400, WS),
    Head("PROXY protocol 1", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nHost: localhost\r\n\r\n", "no proxy is trusted", 400),
    Head("the greeting of SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "9112 section 3: 400", 400),
    Head("the greeting of SMTP", b"EHLO localhost\r\n\r\n", "9112 section 3: 400", 400),
    Head("Redis", b"*1\r\n$4\r\nPING\r\n\r\n", "9112 section 3: 400", 400, WS),
    Head("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "9110 section 15.6.6: 505", 505),
    Head("JSON", b'{"jsonrpc": "2.0"}\r\n\r\n', "9112 section 3: 400", 400, WS),
    Head("a head of blanks", b" " * 100 + b"\r\n\r\n", "9112 section 3: 400", 400, WS),
]

REQUEST_LINES: Final[list[Head]] = [
    Head("HTTP/0.9", b"GET /\r\n\r\n", "9112 section 3: 400", 400),
    Head("HTTP/2.0", line("GET / HTTP/2.0", "Host: a"), "9110 section 15.6.6: 505", 505),
    Head("HTTP/3.0", line("GET / HTTP/3.0", "Host: a"), "9110 section 15.6.6: 505", 505),
    Head("HTTP/0.1", line("GET / HTTP/0.1", "Host: a"), "9110 section 15.6.6: 505", 505),
    Head("HTTP/11", line("GET / HTTP/11", "Host: a"), "9112 section 2.3", 400),
    Head("HTTP/1.10", line("GET / HTTP/1.10", "Host: a"), "9112 section 2.3: one digit each", 400),
    Head("HTTP/1.", line("GET / HTTP/1.", "Host: a"), "9112 section 2.3", 400),
    Head("http/1.1", line("GET / http/1.1", "Host: a"), "9112 section 2.3: case-sensitive", 400),
    Head("ICY/1.1", line("GET / ICY/1.1", "Host: a"), "9112 section 2.3", 400),
    Head("no target", line("GET  HTTP/1.1", "Host: a"), "9112 section 3", 400),
    Head("no method", line("/ HTTP/1.1", "Host: a"), "9112 section 3", 400, WS),
    Head("a word too many", line("GET / / HTTP/1.1", "Host: a"), "9112 section 3.2: no whitespace", 400),
    Head("a tab in between", line("GET\t/\tHTTP/1.1", "Host: a"), "9112 section 3: SP", 400),
    Head("a NUL in the target", line("GET /\x00 HTTP/1.1", "Host: a"), "9112 section 3.2", 400),
    Head("an ESC in the target", line("GET /\x1b[2J HTTP/1.1", "Host: a"), "9112 section 3.2", 400),
    Head("a byte above 127 in the target", line("GET /\xe9 HTTP/1.1", "Host: a"), "9112 section 3.2", 400),
    Head("a method with a control", line("G\x01T / HTTP/1.1", "Host: a"), "9110 section 5.6.2: token", 400),
    Head("a method with a bracket", line("GET(/) / HTTP/1.1", "Host: a"), "9110 section 5.6.2: token", 400),
    Head("a request line of 8 KiB", line(f"GET /{'a' * 8192} HTTP/1.1"), "the door's bound; 9112 section 3: 414", 414),
    Head("a request line without an end", b"G" * 9000, "the door's bound; 9112 section 3: 414", 414),
    method("POST", 405),
    method("PUT", 405),
    method("DELETE", 405),
    method("PATCH", 405),
    method("OPTIONS", 405),
    method("TRACE", 405),
    method("BREW", 405),
    method("get", 405, "9110 section 9.1: case-sensitive", WS),
    Head(
        "method CONNECT",
        line("CONNECT localhost:22 HTTP/1.1", "Host: localhost:22"),
        "9112 section 3.2: no target of an origin server",
        400,
    ),
]

TARGETS: Final[list[Head]] = [
    target("an absolute URI", "http://localhost/healthz", "9112 section 3.2.2: MUST accept", 200),
    target("an absolute URI of another host", "http://evil.example/healthz", "9112 section 3.2.2", 200),
    target(
        "an absolute URI of another scheme",
        "ftp://localhost/healthz",
        "9112 section 3.2: no target of an origin server",
        400,
    ),
    target(
        "an absolute URI that is broken", "http://[::1/healthz", "9112 section 3.2: no target of an origin server", 400
    ),
    target("a file", "file:///etc/passwd", "9112 section 3.2: no target of an origin server", 400),
    target("*", "*", "9112 section 3.2.4: for OPTIONS only", 400),
    target("two slashes", "//healthz", "9110 section 15.5.5", 404),
    target("dot segments", "/../../etc/passwd", "9110 section 15.5.5", 404),
    target("dot segments within", "/x/../healthz", "9110 section 15.5.5: nothing is normalised", 404),
    target("percent-encoded dots", "/%2e%2e/%2e%2e/etc/passwd", "9110 section 15.5.5", 404),
    target("a percent-encoded NUL", "/healthz%00", "9110 section 15.5.5", 404),
    target("backslashes", "/..\\..\\windows\\win.ini", "9110 section 15.5.5", 404),
    target("a slash behind", "/healthz/", "9110 section 15.5.5: nothing is normalised", 404),
    target("another case", "/HEALTHZ", "9110 section 15.5.5: nothing is normalised", 404),
    target("a matrix parameter", "/healthz;a=b", "9110 section 15.5.5: nothing is normalised", 404),
    target("markup in the target", "/<script>alert(1)</script>", "9110 section 15.5.5", 404),
    target("$SYS over HTTP", "/$SYS/broker/version", "9110 section 15.5.5", 404),
]

FIELD_LINES: Final[list[Head]] = [
    get("no colon", ("nonsense",), "9112 section 5", 400),
    get("a blank before the colon", ("X-A : b",), "9112 section 5.1: MUST 400", 400),
    get("a field without a name", (": b",), "9112 section 5", 400),
    get("a name with a blank", ("X A: b",), "9112 section 5", 400),
    get("a name with a control", ("X\x7fA: b",), "9110 section 5.6.2", 400),
    get("a name above 127", ("X\xe9: b",), "9110 section 5.6.2", 400),
    get("a NUL in a value", ("X-A: a\x00b",), "9110 section 5.5", 400),
    get("a CR in a value", ("X-A: a\rb: c",), "9112 section 2.2: bare CR", 400),
    get("an ESC in a value", ("X-A: \x1b[2J",), "9110 section 5.5", 400),
    get("a folded value", ("X-A: a", " b"), "9112 section 5.2: 400, or read as a blank", 200),
    get("a fold behind the Host", (" evil.example",), "9112 sections 5.2, 3.2: not a Host", 400),
    Head("a fold before all fields", line("GET / HTTP/1.1", " X: y", "Host: a"), "9112 section 2.2", 400),
    Head("lines that end in LF", b"GET /healthz HTTP/1.1\nHost: a\n\n", "9112 section 2.2: MAY", 200),
    get("bytes above 127 in a value", ("X-A: \xff\xfe",), "9110 section 5.5: obs-text", 200),
    get("65 fields", tuple(f"X-{n}: {n}" for n in range(65)), "the door's bound: 431", 431),
    get("10,000 fields", ("a:b",) * 10_000, "the door's bound: 431", 431),
    get("a field of 16 KiB", ("X-A: " + "a" * 16_384,), "the door's bound: 431", 431),
    Head("16 KiB without an end", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000, "the door's bound: 431", 431),
    get("4,000 folds", ("X-A: a", *(" b",) * 4000), "the door's bound: 431", 431),
]

HOSTS: Final[list[Head]] = [
    Head("no Host", line("GET / HTTP/1.1"), "9112 section 3.2: MUST 400", 400),
    Head("two Hosts", line("GET / HTTP/1.1", "Host: a", "Host: b"), "9112 section 3.2: MUST 400", 400),
    Head("the same Host twice", line("GET / HTTP/1.1", "Host: a", "Host: a"), "9112 section 3.2: MUST 400", 400),
    Head("a Host with a blank", line("GET / HTTP/1.1", "Host: a b"), "9112 section 3.2: MUST 400", 400),
    Head("a Host with markup", line("GET / HTTP/1.1", "Host: <script>"), "9112 section 3.2: MUST 400", 400),
    Head(
        "a Host with a user", line("GET / HTTP/1.1", "Host: a@b"), "9110 section 7.2; 9112 section 3.2: MUST 400", 400
    ),
    Head("a Host with a path", line("GET / HTTP/1.1", "Host: a/b"), "9112 section 3.2: MUST 400", 400),
    Head("a Host with a port of letters", line("GET / HTTP/1.1", "Host: a:b"), "9112 section 3.2: MUST 400", 400),
    Head("a Host with two ports", line("GET / HTTP/1.1", "Host: a:1:2"), "9112 section 3.2: MUST 400", 400),
    Head("a Host of half a byte", line("GET / HTTP/1.1", "Host: a%4"), "9112 section 3.2: MUST 400", 400),
    Head("a Host above 127", line("GET / HTTP/1.1", "Host: \xe9"), "9112 section 3.2: MUST 400", 400),
    Head("a Host without its bracket", line("GET / HTTP/1.1", "Host: [::1"), "9112 section 3.2: MUST 400", 400),
    Head("a Host of 5 colons", line("GET / HTTP/1.1", "Host: [:::::]"), "9112 section 3.2: MUST 400", 400),
    Head(
        "a Host with a zone", line("GET / HTTP/1.1", "Host: [fe80::1%25lo]"), "3986 section 3.2.2; 9112: MUST 400", 400
    ),
    Head("an empty Host", line("GET /healthz HTTP/1.1", "Host:"), "9112 section 3.2: where the target has none", 200),
    Head("a Host in brackets", line("GET /healthz HTTP/1.1", "Host: [::1]:80"), "9110 section 7.2", 200),
    Head("a Host with a bare colon", line("GET /healthz HTTP/1.1", "Host: a:"), "3986 section 3.2.3: *DIGIT", 200),
    upgrade("an upgrade with a Host with markup", {"Host": "<script>"}, "9112 section 3.2: MUST 400", 400),
    upgrade("an upgrade with a Host with a user", {"Host": "a@b"}, "9112 section 3.2: MUST 400", 400),
    Head("a HEAD without a Host", line("HEAD /healthz HTTP/1.1"), "9110 section 9.3.2: no body", 400),
    Head("a HEAD with a control", line("HEAD /\x01 HTTP/1.1", "Host: a"), "9110 section 9.3.2: no body", 400),
    Head("a HEAD of 8 KiB", line(f"HEAD /{'a' * 8192} HTTP/1.1"), "9110 section 9.3.2: no body", 414),
    Head("HTTP/1.0 without a Host", line("GET /healthz HTTP/1.0"), "9112 section 3.2: for 1.1 only", 200),
]

BODIES: Final[list[Head]] = [
    get(
        "both lengths",
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        "9112 section 6.3: ought to be an error",
        400,
    ),
    get("both lengths, the other way", ("Content-Length: 5", "Transfer-Encoding: chunked"), "9112 section 6.3", 400),
    get("two lengths", ("Content-Length: 5", "Content-Length: 6"), "9112 section 6.3: MUST 400", 400),
    get("a list of lengths", ("Content-Length: 5, 6",), "9112 section 6.3: MUST 400", 400),
    get("a length below 0", ("Content-Length: -1",), "9112 section 6.3: MUST 400", 400),
    get("a length with a sign", ("Content-Length: +5",), "9112 section 6.3: MUST 400", 400),
    get("a length in hexadecimal", ("Content-Length: 0x10",), "9112 section 6.3: MUST 400", 400),
    get("a length of no digit", ("Content-Length:",), "9112 section 6.3: MUST 400", 400),
    get("a length of 5,000 digits", ("Content-Length: " + "9" * 5000,), "9112 section 6.3: MUST 400", 400),
    get("another Transfer-Encoding", ("Transfer-Encoding: xchunked",), "9112 section 6.1: 501", 501),
    get("chunked twice", ("Transfer-Encoding: chunked, chunked",), "9112 section 6.1: MUST NOT", 501),
    get("chunked and identity", ("Transfer-Encoding: chunked, identity",), "9112 section 6.1: 501", 501),
    get("a body that never comes", ("Content-Length: 1000000",), "9112 section 9.6: answered and closed", 200),
    Head(
        "a request in the body",
        line("GET /healthz HTTP/1.1", "Host: a", "Content-Length: 40") + line("GET / HTTP/1.1"),
        "9112 section 9.3: one answer",
        200,
    ),
    get("Expect", ("Expect: 100-continue", "Content-Length: 10"), "9110 section 10.1.1: the final status", 200),
]

PIPELINES: Final[list[Head]] = [
    Head("two requests", line("GET /healthz HTTP/1.1", "Host: a") * 2, "9112 section 9.3.2", 200, then=(200,)),
    Head(
        "1,000 requests",
        line("GET /healthz HTTP/1.1", "Host: a") * 1000,
        "9112 section 9.3.2: one after the other; the bound of a connection",
        200,
        then=(200,) * 99,
    ),
    Head(
        "MQTT behind a request",
        line("GET /healthz HTTP/1.1", "Host: a") + b"\x10\x0c\x00\x04MQTT\r\n\r\n",
        "9112 section 3: 400",
        200,
        then=(400,),
    ),
    Head(
        "an upgrade behind a request",
        line("GET /healthz HTTP/1.1", "Host: a") + upgrade("", {}, "", 0).data,
        "6455 section 4.2.2: a WebSocket begins with its connection",
        200,
        then=(426,),
    ),
    get(
        "an upgrade to HTTP/2",
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
        "9110 section 7.8: ignored",
        200,
    ),
]

KEYS_AND_VERSIONS: Final[list[Head]] = [
    upgrade("no Key", {"Sec-WebSocket-Key": None}, "6455 section 4.2.1", 400),
    upgrade("a Key of no character", {"Sec-WebSocket-Key": ""}, "6455 section 4.2.1", 400),
    upgrade("a Key that is not base64", {"Sec-WebSocket-Key": "!" * 24}, "6455 section 4.2.1", 400),
    upgrade("a Key of 15 bytes", {"Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1"}, "6455 section 4.2.1: 16 bytes", 400),
    upgrade("a Key of 17 bytes", {"Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Njc="}, "6455 section 4.2.1", 400),
    upgrade("a Key of 4,000 characters", {"Sec-WebSocket-Key": "A" * 4000}, "6455 section 4.2.1", 400),
    upgrade("two Keys", {}, "6455 section 11.3.1: MUST NOT", 400, f"Sec-WebSocket-Key: {KEY}"),
    upgrade("no Version", {"Sec-WebSocket-Version": None}, "6455 section 4.2.1", 400),
    upgrade("Version 8", {"Sec-WebSocket-Version": "8"}, "6455 section 4.2.2: 426", 426),
    upgrade("Version 0", {"Sec-WebSocket-Version": "0"}, "6455 section 4.2.2: 426", 426),
    upgrade("Version 14", {"Sec-WebSocket-Version": "14"}, "6455 section 4.2.2: 426", 426),
    upgrade("Version 256", {"Sec-WebSocket-Version": "256"}, "6455 section 4.2.2: 426", 426),
    upgrade("Version 13x", {"Sec-WebSocket-Version": "13x"}, "6455 section 4.2.2: 426", 426),
    upgrade("a list of Versions", {"Sec-WebSocket-Version": "13, 8"}, "6455 section 11.3.5: one", 426),
    upgrade("two Versions", {}, "6455 section 11.3.5: MUST NOT", 426, "Sec-WebSocket-Version: 8"),
]

TOKENS: Final[list[Head]] = [
    upgrade("no Upgrade", {"Upgrade": None}, "6455 section 4.2.1; 9110 section 15.5.22", 426),
    upgrade("Upgrade: websockets", {"Upgrade": "websockets"}, "6455 section 4.2.1; 9110 section 15.5.22", 426),
    upgrade("Upgrade: notwebsocket", {"Upgrade": "notwebsocket"}, "6455 section 4.2.1", 426),
    upgrade("Upgrade: h2c", {"Upgrade": "h2c"}, "6455 section 4.2.1", 426),
    upgrade("no Connection", {"Connection": None}, "6455 section 4.2.1", 426),
    upgrade("Connection: close", {"Connection": "close"}, "6455 section 4.2.1", 426),
    upgrade("Connection: keep-alive", {"Connection": "keep-alive"}, "6455 section 4.2.1", 426),
    upgrade("Connection: notupgrade", {"Connection": "notupgrade"}, "6455 section 4.2.1: a token", 426),
    upgrade("Connection: Upgraded", {"Connection": "Upgraded"}, "6455 section 4.2.1: a token", 426),
    upgrade("a POST", {}, "6455 section 4.1: GET", 405, request="POST /mqtt HTTP/1.1"),
    upgrade("a HEAD", {}, "6455 section 4.1: GET", 405, request="HEAD /mqtt HTTP/1.1"),
    upgrade("HTTP/1.0", {}, "6455 section 4.1: 1.1 or higher", 505, request="GET /mqtt HTTP/1.0"),
    upgrade("a body", {"Content-Length": "5"}, "6455 section 4.1; 9112 section 6.3", 400),
    upgrade("a chunked body", {"Transfer-Encoding": "chunked"}, "6455 section 4.1; 9112 section 6.3", 400),
]

PATHS_AND_SUBPROTOCOLS: Final[list[Head]] = [
    upgrade("another path", {}, "6455 section 4.2.2: 404", 404, request="GET /chat HTTP/1.1"),
    upgrade("a slash behind the path", {}, "6455 section 4.2.2: 404", 404, request="GET /mqtt/ HTTP/1.1"),
    upgrade("two slashes before the path", {}, "6455 section 4.2.2: 404", 404, request="GET //mqtt HTTP/1.1"),
    upgrade("another case of the path", {}, "6455 section 4.2.2: 404", 404, request="GET /MQTT HTTP/1.1"),
    upgrade("a percent-encoded path", {}, "6455 section 4.2.2: 404", 404, request="GET /%6dqtt HTTP/1.1"),
    upgrade("dot segments to the path", {}, "6455 section 4.2.2: 404", 404, request="GET /x/../mqtt HTTP/1.1"),
    upgrade("subprotocol stomp", {"Sec-WebSocket-Protocol": "v12.stomp"}, "MQTT-6.0.0-4", 400),
    upgrade("subprotocol MQTT", {"Sec-WebSocket-Protocol": "MQTT"}, "6455 section 4.2.2: compared as it is", 400),
    upgrade("subprotocol mqttx", {"Sec-WebSocket-Protocol": "mqttx"}, "MQTT-6.0.0-4", 400),
    upgrade(
        "subprotocols without a comma", {"Sec-WebSocket-Protocol": "mqtt mqttv3.1"}, "6455 section 4.1: a list", 400
    ),
    upgrade("subprotocols with a quote", {"Sec-WebSocket-Protocol": '"mqtt"'}, "6455 section 4.1: tokens", 400),
    upgrade("64 subprotocols", {"Sec-WebSocket-Protocol": ", ".join(f"p{n}" for n in range(64))}, "MQTT-6.0.0-4", 400),
    upgrade(
        "999 subprotocols",
        {"Sec-WebSocket-Protocol": ", ".join(f"p{n}" for n in range(999))},
        "the door's bound: 431",
        431,
    ),
    upgrade("7,000 words of Connection", {"Connection": "a," * 7000 + "Upgrade"}, "the door's bound: 431", 431),
    upgrade("7,000 words of Upgrade", {"Upgrade": "a," * 7000 + "websocket"}, "the door's bound: 431", 431),
]


def origin(value: str) -> Head:
    return upgrade(f"Origin {value}", {"Origin": value}, "6455 section 10.2, 4.2.2: 403", 403)


ORIGINS: Final[list[Head]] = [
    *(
        origin(value)
        for value in (
            "http://evil.example",
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
            "http://evil.example/localhost",
            "http://evil.example#localhost",
            "http://localhost@evil.example",
            "http://evil-localhost",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.2",
            "http://2130706433",
            "http://0x7f.1",
            "http://localhost.",
            "file://",
            "javascript:alert(1)",
            "ws://localhost",
            "chrome-extension://abcdef",
            "http://[::1",
            "http://localhost, http://evil.example",
            "http://localhost http://evil.example",
            "*",
            "same-origin",
        )
    ),
    upgrade("an Origin of no character", {"Origin": ""}, "6455 section 10.2", 403),
    upgrade("two Origins", {"Origin": "http://localhost"}, "6454 section 7.3: one", 403, "Origin: http://evil.example"),
    upgrade(
        "a name rebound to 127.0.0.1",
        {"Origin": "http://evil.example", "Host": "evil.example"},
        "6455 section 10.2: same Host, and yet a stranger",
        403,
    ),
]


def extension(name: str, value: str, status: int = 400) -> Head:
    because = "6455 section 9.1: MUST fail" if status >= 400 else "6455 section 9.1: an extension unknown is ignored"
    return upgrade(f"extensions: {name}", {"Sec-WebSocket-Extensions": value}, because, status)


EXTENSIONS: Final[list[Head]] = [
    extension("nonsense", "x-evil; a=1, ;;,"),
    extension("nothing", ""),
    extension("commas", ",,,"),
    extension("a parameter without a name", "permessage-deflate; =15"),
    extension("a parameter without a value", "permessage-deflate; client_max_window_bits="),
    extension("a quote without an end", 'x; a="b'),
    extension("a quoted blank", 'x; a="b c"'),
    extension("two words", "permessage deflate"),
    extension("markup", "<script>"),
    extension("a byte above 127", "permessage-d\xe9flate"),
    extension("a name of 1,025 bytes", "a" * 1025),
    extension("8,000 names", "a," * 7999 + "a", 431),
    extension("unknown", "x-evil; a=1", 101),
    extension("of an old WebKit", "x-webkit-deflate-frame", 101),
    extension("of Chromium", "permessage-deflate; client_max_window_bits", 101),
    extension("a quoted token", 'x; a="b", permessage-deflate', 101),
    extension("empty elements", "x,, ,permessage-deflate,", 101),
]

UPGRADED: Final[list[Head]] = [
    upgrade(
        "a query of 4,000 bytes",
        {},
        "6455 section 4.2.1: any resource name",
        101,
        request=f"GET /mqtt?{'q' * 4000} HTTP/1.1",
    ),
    upgrade("a Cookie of 8,000 bytes", {"Cookie": "a=" + "b" * 8000}, "6455 section 4.1: allowed, and ignored", 101),
    upgrade("an Authorization that is nonsense", {"Authorization": "Basic %%%"}, "6455 section 10.5", 101),
    upgrade("X-Forwarded-For of a stranger", {"X-Forwarded-For": "10.0.0.1"}, "no proxy is trusted", 101),
    Head(
        "a request behind an upgrade",
        upgrade("", {}, "", 0).data + line("GET / HTTP/1.1", "Host: a"),
        "6455 section 5.2: opcode 7",
        101,
        BOTH,
        b"\x03\xea",
    ),
]

TABLE: Final = [
    *STRANGERS,
    *REQUEST_LINES,
    *TARGETS,
    *FIELD_LINES,
    *HOSTS,
    *BODIES,
    *PIPELINES,
    *KEYS_AND_VERSIONS,
    *TOKENS,
    *PATHS_AND_SUBPROTOCOLS,
    *ORIGINS,
    *EXTENSIONS,
    *UPGRADED,
]
