"""Connections of many requests: what is pipelined, what is idle, what ends, and what real clients make of it."""

from __future__ import annotations

import http.client
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import pytest
import trio
import trio.testing

from broker.web.bridge import HEAD, IDLE, IN_A_ROW, LINGER, Bridge, HttpConnection
from tests.web.lines import MemoryLine, web_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.web.exchange import Receive, Scope, Send

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Say what came; /slow and /stream take their time."""
    path = scope["path"]
    if path == "/slow":
        await trio.sleep(5)
    if path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for each in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % each, "more_body": True})
            await trio.sleep(0.05)
        await send({"type": "http.response.body"})
        return
    taken = 0
    while path != "/unread":
        message = await receive()
        if message["type"] != "http.request":
            return
        taken += len(message["body"])
        if not message["more_body"]:
            break
    said = f"{scope['method']} {path} {taken}\n".encode()
    fields = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": said})


class Opened:
    """A connection in memory."""

    def __init__(self, bridge: Bridge) -> None:
        self.line = MemoryLine()
        self.connection = bridge(self.line)

    async def say(self, data: bytes) -> bytes:
        """Send, and give what has been answered when all is quiet."""
        self.connection.receive(data)
        await trio.testing.wait_all_tasks_blocked()
        said, self.line.said = self.line.said, b""
        return said

    def status(self) -> int:
        return int(self.line.said.split(b" ", 2)[1]) if self.line.said else 0


@pytest.fixture
async def bridge(nursery: trio.Nursery) -> Bridge:
    return Bridge(app, nursery, body_bytes=1000)


async def test_one_request_after_the_other(bridge: Bridge) -> None:
    peer = Opened(bridge)
    for number in range(3):
        assert (await peer.say(GET % number)).endswith(b"\r\n\r\nGET /%d 0\n" % number)
    assert not peer.line.finished
    assert bridge.answered == 3
    assert bridge.busy == 0
    assert list(bridge.open) == [peer.connection]
    peer.connection.closed()
    assert not bridge.open


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_pipelined_requests_are_answered_in_their_order(bridge: Bridge, cut: int) -> None:
    peer = Opened(bridge)
    all_ = GET % 1 + b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + b"\r\n" + GET % 3
    said = await peer.say(all_[:cut]) + await peer.say(all_[cut:])
    places = [said.index(each) for each in (b"GET /1 0", b"POST /2 3", b"GET /3 0")]
    assert places == sorted(places)


async def test_a_pipeline_without_end_has_one(bridge: Bridge, autojump_clock: trio.testing.MockClock) -> None:
    peer = Opened(bridge)
    said = await peer.say(b"".join(GET % number for number in range(2 * IN_A_ROW)))
    await trio.sleep(2 * LINGER)
    said += peer.line.said
    assert said.count(b"HTTP/1.1 200 ") == IN_A_ROW
    assert said.lower().count(b"connection: close") == 1
    assert peer.line.finished


async def test_what_is_pipelined_waits_and_is_bounded(bridge: Bridge, autojump_clock: trio.testing.MockClock) -> None:
    peer = Opened(bridge)
    peer.connection.receive(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    for number in range(100):
        peer.connection.receive(GET[:-2] % number + b"X: " + b"y" * 1000 + b"\r\n\r\n")
        if peer.line.paused:
            break
    assert 50 < number < 99
    await trio.sleep(6)
    assert peer.line.said.count(b"HTTP/1.1 200 ") == number + 2
    assert not peer.line.paused


async def test_whoever_has_sent_all_gets_all_answers(bridge: Bridge) -> None:
    peer = Opened(bridge)
    peer.connection.receive(GET % 1 + GET % 2)
    peer.connection.eof()
    await trio.testing.wait_all_tasks_blocked()
    assert peer.line.said.count(b"HTTP/1.1 200 ") == 2
    assert peer.line.finished
    assert not bridge.open


@pytest.mark.parametrize("said", [b"", b"GET / HT", GET % 1])
async def test_the_end_of_the_peer_ends_the_connection(bridge: Bridge, said: bytes) -> None:
    peer = Opened(bridge)
    if said:
        await peer.say(said)
    peer.connection.eof()
    await trio.testing.wait_all_tasks_blocked()
    assert peer.line.finished
    assert not bridge.open


async def test_an_idle_connection_is_closed(bridge: Bridge, autojump_clock: trio.testing.MockClock) -> None:
    peer = Opened(bridge)
    await peer.say(GET % 1)
    await trio.sleep(IDLE - 2)
    assert not peer.line.finished
    await peer.say(GET % 2)
    await trio.sleep(IDLE - 2)
    assert not peer.line.finished
    await trio.sleep(4)
    assert peer.line.finished
    assert peer.line.said == b""


async def test_a_head_has_to_come_in_time(bridge: Bridge, autojump_clock: trio.testing.MockClock) -> None:
    peer = Opened(bridge)
    await peer.say(GET % 1)
    for _ in range(20):
        if not peer.line.said:
            peer.connection.receive(b"G")
        await trio.sleep(HEAD / 8)
    assert peer.status() == 408
    await trio.sleep(LINGER + 1)
    assert peer.line.finished


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + GET % 666,
            400,
        ),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 17_000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01", 408),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
@pytest.mark.parametrize("first", [b"", GET % 1])
async def test_a_bad_request_is_the_last_one(
    bridge: Bridge, autojump_clock: trio.testing.MockClock, first: bytes, said: bytes, status: int
) -> None:
    peer = Opened(bridge)
    if first:
        await peer.say(first)
    peer.connection.receive(said)
    await trio.sleep(HEAD + 2)
    assert peer.status() == status
    assert b"connection: close" in peer.line.said.lower()
    peer.connection.receive(GET % 7)  # is not heard any more
    await trio.sleep(LINGER + 2)
    assert peer.line.said.count(b"HTTP/1.1 ") == 1
    assert b"GET /" not in peer.line.said
    assert peer.line.finished


async def test_a_body_that_nobody_reads_ends_the_connection_in_a_moment(
    bridge: Bridge, autojump_clock: trio.testing.MockClock
) -> None:
    peer = Opened(bridge)
    said = await peer.say(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nabc")
    assert b"connection: close" in said.lower()
    assert not peer.line.finished
    assert await peer.say(b"x" * 897 + GET % 1) == b""
    await trio.sleep(LINGER + 2)
    assert peer.line.finished


async def test_a_last_response_is_followed_by_the_end_at_once(bridge: Bridge) -> None:
    peer = Opened(bridge)
    await peer.say(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert peer.line.finished
    other = Opened(bridge)
    await other.say(b"GET /1 HTTP/1.0\r\n\r\n")
    assert other.line.finished


async def test_too_many_requests_at_once_are_refused(bridge: Bridge, autojump_clock: trio.testing.MockClock) -> None:
    bridge.requests = 2
    peers = [Opened(bridge) for _ in range(3)]
    for peer in peers:
        peer.connection.receive(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await trio.sleep(6)
    assert [peer.status() for peer in peers] == [200, 200, 503]
    assert b"Retry-After: 1" in peers[2].line.said
    assert bridge.refused == 1
    assert b" 200 " in await Opened(bridge).say(GET % 1)


async def test_one_connection_too_many_ends_an_idle_one(bridge: Bridge) -> None:
    bridge.connections = 2
    peers = [Opened(bridge) for _ in range(2)]
    for peer in peers:
        await peer.say(GET % 1)
    assert b" 200 " in await Opened(bridge).say(GET % 2)
    assert [peer.line.finished for peer in peers] == [True, False]


async def test_the_end_of_the_broker(bridge: Bridge, autojump_clock: trio.testing.MockClock) -> None:
    idle, half, busy, late = (Opened(bridge) for _ in range(4))
    await idle.say(GET % 1)
    await half.say(b"GET / HT")
    busy.connection.receive(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    bridge.stop()
    assert (idle.line.finished, half.line.finished, busy.line.finished) == (True, True, False)
    await late.say(GET % 2)
    await trio.sleep(6)
    for each in (busy, late):
        assert each.line.finished
    assert b"connection: close" in busy.line.said.lower()
    assert not bridge.open


async def test_a_peer_that_goes_away_leaves_nothing_behind(bridge: Bridge) -> None:
    for said in (b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"):
        peer = Opened(bridge)
        peer.connection.receive(said)
        peer.connection.closed()
        other = Opened(bridge)
        await other.say(said)
        assert bridge.busy == 1
        other.connection.closed()
        await trio.testing.wait_all_tasks_blocked()
        assert bridge.busy == 0
        assert not bridge.open
        assert not peer.line.said


async def test_an_idle_connection_is_small(bridge: Bridge) -> None:
    peer = Opened(bridge)
    await peer.say(GET % 1)
    held = [getattr(peer.connection, name) for name in HttpConnection.__slots__ if name not in ("_bridge", "_line")]
    assert sys.getsizeof(peer.connection) + sum(map(sys.getsizeof, held)) < 500


# -- Real clients


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with web_server(app) as port:
        yield port


async def test_httpx2_over_one_connection(port: int) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 10_000

        assert (await client.get("/a b")).text == "GET /a b 0\n"
        assert (await client.post("/p", content=pieces())).text == "POST /p 200000\n"
        assert (await client.put("/q", content=b"y" * 70_000)).text == "PUT /q 70000\n"
        assert (await client.head("/h")).headers["content-length"] == "10"
        assert (await client.post("/big", content=b"x" * 1_100_000)).status_code == 413
        async with client.stream("GET", "/stream") as response:
            assert [line async for line in response.aiter_lines() if line] == ["data: 0", "data: 1", "data: 2"]


def _with_http_client(port: int) -> list[tuple[int, bytes]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    found: list[tuple[int, bytes]] = []
    for method, path, body in (("GET", "/1", None), ("POST", "/2", b"abc"), ("HEAD", "/3", None), ("GET", "/4", None)):
        connection.request(method, path, body)
        response = connection.getresponse()
        found.append((response.status, response.read()))
    connection.close()
    return found


async def test_http_client_over_one_connection(port: int) -> None:
    found = await trio.to_thread.run_sync(partial(_with_http_client, port))
    assert found == [(200, b"GET /1 0\n"), (200, b"POST /2 3\n"), (200, b""), (200, b"GET /4 0\n")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_curl_over_one_connection(port: int) -> None:
    where = f"http://127.0.0.1:{port}"
    command = ["curl", "-sv", "--max-time", "10", "-T", "-", f"{where}/up", "--next", "-s", f"{where}/down"]
    done = await trio.run_process(command, stdin=b"z" * 300_000, capture_stdout=True, capture_stderr=True)
    assert done.stdout == b"PUT /up 300000\nGET /down 0\n"
    assert b"HTTP/1.1 100 Continue" in done.stderr
    assert b"Re-using existing connection" in done.stderr
