"""One request and its response: what applications see, and what peers do, whatever either does wrong."""

from __future__ import annotations

import gc
import logging
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from broker.web.exchange import BODY_SILENCE, BODY_WHOLE, BUFFERED, CALLER, Caller, Exchange
from broker.web.heads import read_head
from tests.web.lines import MemoryLine

if TYPE_CHECKING:
    from broker.web.exchange import AsgiApp, Message, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"


def exchange(head: bytes, line: MemoryLine | None = None, limit: int = 1000) -> tuple[Exchange, MemoryLine]:
    line = line or MemoryLine()
    parser, read = read_head(head)
    return Exchange(line, parser, read, limit), line


async def body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


def saying(*messages: Message) -> AsgiApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, /, **headers: str) -> Message:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": fields}


def body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    taken = await body_of(receive)
    await send(start(content_length=str(len(taken))))
    await send(body(taken))


async def test_a_response_has_the_headers_that_keep_a_browser_from_guessing() -> None:
    asked, line = exchange(GET)
    assert await asked.run(saying(start(content_length="2"), body(b"ok")))
    head, _, content = line.said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert content == b"ok"
    for field in (b"cache-control: no-store", b"x-content-type-options: nosniff", b"content-security-policy: default-"):
        assert b"\r\n" + field in head
    assert b"strict-transport" not in head
    assert not line.finished


async def test_what_the_application_says_itself_is_not_said_twice() -> None:
    asked, line = exchange(GET, MemoryLine(secure=True))
    own = {"Content_Security_Policy": "default-src 'self'", "Cache_Control": "max-age=60", "Date": "never"}
    await asked.run(saying(start(**own, transfer_encoding="identity"), body(b"ok")))
    assert line.said.count(b"content-security-policy:") == line.said.count(b"cache-control:") == 1
    assert line.said.count(b"date: ") == 1
    assert b"never" not in line.said
    assert b"identity" not in line.said
    assert b"strict-transport-security: max-age=86400" in line.said


async def test_the_scope() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        assert await body_of(receive) == b""
        await send(start(204))
        await send(body())

    asked, line = exchange(
        b"PUT /a%2Fb%20c?d=%20 HTTP/1.1\r\nHost: example.org\r\nX-Y: z\r\n\r\n", MemoryLine(secure=True)
    )
    assert await asked.run(app)
    scope = seen[0]
    assert (scope["type"], scope["http_version"], scope["method"], scope["scheme"]) == ("http", "1.1", "PUT", "https")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a/b c", b"/a%2Fb%20c", b"d=%20")
    assert scope["headers"] == [(b"host", b"example.org"), (b"x-y", b"z")]
    assert scope["client"] == ("127.0.0.1", 4711)
    assert scope[CALLER].host == "example.org"
    assert line.said.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"transfer-encoding" not in line.said


@pytest.mark.parametrize("cut", range(1, 6))
async def test_a_body_comes_in_pieces(cut: int) -> None:
    asked, line = exchange(POST)
    asked.receive(b"hello"[:cut])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, echo)
        await trio.testing.wait_all_tasks_blocked()
        asked.receive(b"hello"[cut:] + b"GET /next")
    assert line.said.endswith(b"\r\n\r\nhello")
    assert asked.rest == b"GET /next"


async def test_chunks_both_ways() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        taken = await body_of(receive)
        await send(start())
        assert line.said.endswith(b"\r\n\r\n")  # a stream has begun
        await send(body(taken, more=True))
        assert line.said.endswith(b"5\r\nhello\r\n")
        await send(body(b"", more=True))
        assert line.said.endswith(b"5\r\nhello\r\n")
        await send(body())

    asked, line = exchange(CHUNKED)
    asked.receive(b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: a\r\n\r\n")
    assert await asked.run(app)
    assert b"transfer-encoding: chunked" in line.said.lower()
    assert line.said.endswith(b"\r\n0\r\n\r\n")


async def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    asked, line = exchange(b"GET / HTTP/1.0\r\n\r\n")
    assert not await asked.run(saying(start(), body(b"a", more=True), body(b"b")))
    assert b"connection: close" in line.said.lower()
    assert b"chunked" not in line.said
    assert line.said.endswith(b"\r\n\r\nab")


@pytest.mark.parametrize("fields", [{}, {"content_length": "2"}])
async def test_head_is_answered_without_a_body(fields: dict[str, str]) -> None:
    asked, line = exchange(GET.replace(b"GET", b"HEAD"))
    assert await asked.run(saying(start(**fields), body(b"o", more=True), body(b"k")))
    assert line.said.endswith(b"\r\n\r\n")
    assert line.said.count(b"\r\n\r\n") == 1
    assert (b"content-length: 2" in line.said) is bool(fields)


async def test_the_body_is_asked_for_when_it_is_wanted() -> None:
    asked, line = exchange(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, echo)
        await trio.testing.wait_all_tasks_blocked()
        assert line.said == b"HTTP/1.1 100 Continue\r\n\r\n"
        asked.receive(b"hello")
    assert line.said.endswith(b"\r\n\r\nhello")


async def test_the_body_is_not_asked_for_when_nobody_wants_it() -> None:
    asked, line = exchange(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert not await asked.run(saying(start(401, content_length="0"), body()))
    assert line.said.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in line.said.lower()


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
async def test_too_much_is_refused_by_its_length(expect: bytes) -> None:
    asked, line = exchange(b"POST / HTTP/1.1\r\nHost: a\r\n" + expect + b"Content-Length: 1001\r\n\r\n")
    assert not await asked.run(echo)
    assert line.said.startswith(b"HTTP/1.1 413 ")
    assert b"1000 bytes" in line.said


async def test_too_much_is_refused_when_it_has_come() -> None:
    asked, line = exchange(CHUNKED)
    asked.receive(b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\ny\r\n")
    assert not await asked.run(echo)
    assert line.said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "bad",
    [b"x\r\n", b"-1\r\n", b"5\r\nhello5\r\n", b"5\nhello\r\n", b"\r\n\r\n", b"0x5\r\nhello\r\n", b"f" * 30 + b"\r\n"],
)
async def test_malformed_chunks_are_refused(bad: bytes) -> None:
    asked, line = exchange(CHUNKED)
    asked.receive(bad + b"0\r\n\r\n")
    assert not await asked.run(echo)
    assert line.said.startswith(b"HTTP/1.1 400 ")


async def test_an_endless_chunk_size_is_refused() -> None:
    asked, line = exchange(CHUNKED)
    asked.receive(b"5;" + b"x" * 20_000)
    assert not await asked.run(echo)
    assert line.said.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


async def test_a_body_that_stops_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    asked, line = exchange(POST)
    asked.receive(b"hel")
    began = trio.current_time()
    assert not await asked.run(echo)
    assert trio.current_time() - began == pytest.approx(BODY_SILENCE)
    assert line.said.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_trickles_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    asked, line = exchange(POST.replace(b" 5", b" 900"))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def trickle() -> None:
            while True:
                await trio.sleep(BODY_SILENCE - 1)
                asked.receive(b"x")

        nursery.start_soon(trickle)
        assert not await asked.run(echo)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(BODY_WHOLE)
    assert line.said.startswith(b"HTTP/1.1 408 ")


async def test_a_fast_peer_waits_for_a_slow_application() -> None:
    go_on = trio.Event()
    taken: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        taken.append(await body_of(receive))
        await send(start(204))
        await send(body())

    size = BUFFERED + 1
    head = POST.replace(b" 5", b" %d" % (size + 1))
    asked, line = exchange(head, limit=2 * size)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, app)
        await trio.testing.wait_all_tasks_blocked()
        asked.receive(b"x" * size)
        assert line.paused
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not line.paused
        asked.receive(b"y")
    assert taken == [b"x" * size + b"y"]


async def test_a_fast_application_waits_for_a_slow_peer() -> None:
    sent: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for each in range(3):
            await send(body(b"x" * 1000, more=True))
            sent.append(each)
        await send(body())

    line = MemoryLine()
    line.slow = True
    asked, _ = exchange(GET, line)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, app)
        for expected in ([], [0], [0, 1]):
            await trio.testing.wait_all_tasks_blocked()
            assert sent == expected
            asked.drained()
        await trio.testing.wait_all_tasks_blocked()
    assert line.said.endswith(b"\r\n0\r\n\r\n")


async def test_the_application_ends_when_the_peer_goes_away() -> None:
    ended: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    asked, line = exchange(GET)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, app)
        await trio.testing.wait_all_tasks_blocked()
        asked.closed()
    assert ended == [True]
    assert line.said == b""


@pytest.mark.parametrize("how", ["eof", "closed"])
async def test_half_a_body_is_no_request(how: str, caplog: pytest.LogCaptureFixture) -> None:
    asked, line = exchange(POST)
    asked.receive(b"hel")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, echo)
        await trio.testing.wait_all_tasks_blocked()
        getattr(asked, how)()
    assert line.said == b""
    assert not caplog.records


async def test_whoever_has_said_all_still_gets_an_answer_and_a_stream_hears_of_it() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await body_of(receive) == b""
        heard.append((await receive())["type"])
        await send(start(content_length="2"))
        await send(body(b"ok"))

    asked, line = exchange(GET)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, app)
        await trio.testing.wait_all_tasks_blocked()
        assert not heard
        asked.eof()
    assert heard == ["http.disconnect"]
    assert line.said.endswith(b"\r\n\r\nok")


async def test_after_the_response_there_is_nothing_to_receive() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        await send(start(204))
        await send(body())
        heard.append((await receive())["type"])

    asked, _ = exchange(GET)
    assert await asked.run(app)
    assert heard == ["http.disconnect"]


async def _raises(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("the inside")


async def _raises_together(scope: Scope, receive: Receive, send: Send) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(_raises, scope, receive, send)


async def _raises_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(content_length="5"))
    await send(body(b"he", more=True))
    raise ValueError("the inside")


@pytest.mark.parametrize(
    "app",
    [
        _raises,
        _raises_together,
        saying(),
        saying(start(content_length="5")),
        saying(body(b"before the start")),
        saying(start(content_length="5"), start()),
        saying(start(content_length="3"), body(b"hello")),
        saying(start(x="a\r\nSet-Cookie: b"), body()),
        saying(start(content_length="five"), body()),
        saying(start(99), body()),
        saying({"type": "http.response.start"}),
        saying({"type": "websocket.accept"}),
    ],
)
async def test_a_wrong_application_is_nobodys_business(app: AsgiApp, caplog: pytest.LogCaptureFixture) -> None:
    asked, line = exchange(GET)
    assert not await asked.run(app)
    assert line.said.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert line.said.count(b"HTTP/1.1") == 1
    assert b"inside" not in line.said
    assert b"Set-Cookie" not in line.said
    assert [(each.levelno, each.name) for each in caplog.records] == [(logging.ERROR, "broker")]
    assert "GET /" in caplog.text


@pytest.mark.parametrize(
    "app", [_raises_late, saying(start(), body(b"a", more=True)), saying(start(content_length="3"), body(b"a"))]
)
async def test_a_response_that_cannot_be_finished_is_cut_off(app: AsgiApp, caplog: pytest.LogCaptureFixture) -> None:
    asked, line = exchange(GET)
    assert not await asked.run(app)
    assert line.said.count(b"HTTP/1.1") <= 1
    assert not line.said.endswith(b"0\r\n\r\n")
    assert len(caplog.records) == 1


async def test_closing_is_the_applications_to_ask_for() -> None:
    asked, line = exchange(GET)
    assert not await asked.run(saying(start(content_length="0", connection="close"), body()))
    assert line.said.lower().count(b"connection: close") == 1


def test_whom_a_request_comes_from_is_told_for_each_by_a_proxy() -> None:
    proxies = (ip_network("10.0.0.0/8"),)
    line = MemoryLine("10.0.0.1:99", loopback=True, proxies=proxies)

    def caller(fields: str) -> Caller:
        return Caller(line, read_head(f"GET / HTTP/1.1\r\nHost: inner\r\n{fields}\r\n".encode())[1])

    one = caller("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.org\r\n")
    assert (one.address, one.secure, one.loopback, one.host) == ("192.0.2.1:0", True, False, "example.org")
    two = caller("X-Forwarded-For: 192.0.2.2\r\n")
    assert (two.address, two.secure, two.host, two.proxied) == ("192.0.2.2:0", False, "inner", True)
    line.trusted_proxies = ()
    three = caller("X-Forwarded-For: 192.0.2.3\r\nX-Forwarded-Proto: https\r\n")
    assert (three.address, three.secure, three.loopback, three.proxied) == ("10.0.0.1:99", False, True, False)


async def test_nothing_is_left_of_an_exchange() -> None:
    asked, _ = exchange(GET)
    await asked.run(saying(start(204), body()))
    del asked
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Exchange)]
