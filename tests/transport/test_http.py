"""Plain HTTP within the layers: what an application hears, and that what it says leaves by every door."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from broker.transport.complaints import Complaints
from broker.transport.layers import AUTO, HTTP, Layers
from broker.transport.link import LINGER
from broker.transport.stream import serve_stream
from broker.transport.watermark import Watermark
from tests.core.parts import limits, new_broker
from tests.transport.parts import UPGRADE, Bench, Wire, connect, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.transport.http import HttpLine

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"
MORE = b"POST /more HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nok"


class Heard:
    """An application that notes what it is told."""

    def __init__(self, line: HttpLine) -> None:
        self.line = line
        self.data = b""
        self.told: list[str] = []

    def receive(self, data: bytes) -> None:
        self.data += data

    def eof(self) -> None:
        self.told.append("eof")

    def drained(self) -> None:
        self.told.append("drained")

    def closed(self) -> None:
        self.told.append("closed")


class Service:
    """Begins one for each connection."""

    def __init__(self) -> None:
        self.all: list[Heard] = []

    def __call__(self, line: HttpLine) -> Heard:
        self.all.append(Heard(line))
        return self.all[-1]

    @property
    def only(self) -> Heard:
        (one,) = self.all
        return one


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def bench(service: Service) -> AsyncIterator[Bench]:
    bench = Bench()
    bench.pump.http = service
    yield bench
    bench.close()


@pytest.mark.parametrize("kind", [HTTP, AUTO])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_application_hears_all_bytes_whatever_the_reads(service: Service, kind: str, size: int) -> None:
    wire = Wire(kind)
    wire.layers.service = service
    data = REQUEST + MORE
    assert wire.feed(*[data[start : start + size] for start in range(0, len(data), size)]) == b""
    heard = service.only
    assert heard.data == data
    assert not heard.line.send(b"HTTP/1.1 200 OK\r\n\r\n")  # here nobody has taken it
    assert wire.out() == b"HTTP/1.1 200 OK\r\n\r\n"
    assert not wire.layers.over
    heard.line.finish()
    assert wire.layers.over
    assert heard.line.send(b"late")
    assert wire.out() == b""


def test_whom_a_request_comes_from(service: Service) -> None:
    wire = Wire(HTTP, loopback=True, trusted_proxies=(ip_network("10.0.0.0/8"),))
    wire.layers.service = service
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n")
    line = service.only.line
    assert (line.peer_address, line.listener) == ("10.0.0.1:4", "here")
    assert line.address.startswith("192.0.2.7")
    assert line.secure
    assert not line.loopback


def test_a_websocket_is_no_request(service: Service) -> None:
    wire = Wire(HTTP)
    wire.layers.service = service
    assert wire.feed(UPGRADE + frame(connect())).startswith(b"HTTP/1.1 101 ")
    assert wire.layers.websocket
    assert not service.all


def test_a_refusal_needs_no_application(service: Service) -> None:
    wire = Wire(HTTP)
    wire.layers.service = service
    assert wire.feed(b"GET / HTTP/1.1\r\nHost: a\x01b\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert wire.layers.over
    assert not service.all


async def test_two_requests_over_one_socket(bench: Bench, service: Service) -> None:
    client = bench.client(bench.listen("ws"))
    client.send(REQUEST)
    heard = service.only
    assert heard.line.send(b"one")
    bench.settle()
    client.send(MORE)
    assert heard.data == REQUEST + MORE
    heard.line.send(b"two")
    heard.line.finish()
    assert client.end() == b"onetwo"
    client.close()
    bench.until(lambda: not bench.pump.links)
    assert heard.told[-1] == "closed"


async def test_a_request_may_wait_longer_than_a_handshake(bench: Bench, service: Service) -> None:
    client = bench.client(bench.listen("ws"))
    client.send(REQUEST)
    bench.advance(10 * bench.limits.handshake_timeout + LINGER)
    service.only.line.send(b"patience")
    bench.settle()
    assert client.read() == b"patience"


async def test_the_end_of_the_peer_is_told_and_it_is_answered_still(bench: Bench, service: Service) -> None:
    client = bench.client(bench.listen("ws"))
    client.send(REQUEST)
    heard = service.only
    client.half_close()
    assert heard.told == ["eof"]
    wakes = bench.wakes
    heard.line.pause()
    heard.line.resume()  # there is nothing more to read: its end must not be met in every round
    bench.settle()
    assert bench.wakes <= wakes + 1
    heard.line.send(b"bye")
    heard.line.finish()
    assert client.end() == b"bye"
    assert heard.told[-1] == "closed"


async def test_a_reset_is_told(bench: Bench, service: Service) -> None:
    client = bench.client(bench.listen("ws"))
    client.send(REQUEST)
    client.abort()
    bench.until(lambda: not bench.pump.links)
    assert service.only.told[-1] == "closed"
    assert service.only.line.send(b"late")  # nothing waits for a Client who is gone


async def test_who_reads_slowly_is_waited_for(bench: Bench, service: Service) -> None:
    client = bench.client(bench.listen("ws"), receive_buffer=4096)
    client.send(REQUEST)
    heard = service.only
    bench.link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    body = bytes(1 << 20)
    assert not heard.line.send(body)
    assert "drained" not in heard.told
    received = 0

    def all_there() -> bool:
        nonlocal received
        received += len(client.read())
        return received == len(body)

    bench.until(all_there)
    bench.settle()
    assert heard.told == ["drained"]


async def test_who_reads_nothing_is_given_up(bench: Bench, service: Service) -> None:
    client = bench.client(bench.listen("ws"), receive_buffer=4096)
    client.send(REQUEST)
    heard = service.only
    bench.link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    assert not heard.line.send(bytes(1 << 20))
    bench.advance(2 * bench.limits.write_stall_timeout + 1)
    assert heard.told == ["closed"]
    assert not bench.pump.links


async def test_a_body_that_is_not_wanted_yet_stays_in_the_socket(bench: Bench, service: Service) -> None:
    client = bench.client(bench.listen("ws"))
    client.send(REQUEST)
    heard = service.only
    heard.line.pause()
    client.send(MORE)
    assert heard.data == REQUEST
    heard.line.resume()
    bench.settle()
    assert heard.data == REQUEST + MORE


async def test_over_a_stream(service: Service, autojump_clock: trio.testing.MockClock) -> None:
    broker = new_broker()
    ours, theirs = trio.testing.memory_stream_pair()
    layers = Layers(broker, limits(), HTTP, "memory", "ws", "memory", True, trio.current_time())
    layers.service = service

    def settle(now: float) -> None:
        broker.flush(now)

    watermark = Watermark(broker, Complaints(), settle)

    layers.settle = lambda: settle(trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, ours, layers, broker, settle, watermark)
        await theirs.send_all(REQUEST)
        await trio.sleep(100)
        heard = service.only
        assert heard.data == REQUEST
        heard.line.send(b"one")
        assert await theirs.receive_some() == b"one"
        await trio.sleep(1)
        assert heard.told == ["drained"]
        heard.line.pause()
        await theirs.send_all(MORE)
        await theirs.send_all(MORE)
        await trio.sleep(1)
        assert heard.data == REQUEST + MORE  # that it had begun to read
        heard.line.resume()
        await trio.sleep(1)
        assert heard.data == REQUEST + MORE + MORE
        heard.line.send(b"two")
        heard.line.finish()
        assert await theirs.receive_some() == b"two"
        assert await theirs.receive_some() == b""
    assert heard.told[-1] == "closed"
