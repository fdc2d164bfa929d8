"""TLS for a Line, from the socket to what can be read and written."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from broker.client import CannotConnect, Tls, parse
from broker.simulation.secured import secure
from tests.secured import Papers, secured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Listening = Callable[[Callable[..., Awaitable[None]]], Awaitable[int]]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"), ["a.test"])


@pytest.fixture
async def listening(nursery: trio.Nursery) -> AsyncIterator[Listening]:
    """Starts a server of a function that gets each connection; its port."""

    async def listen(answer: Callable[..., Awaitable[None]]) -> int:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port: int = listeners[0].socket.getsockname()[1]
        return port

    yield listen
    nursery.cancel_scope.cancel()


async def test_bytes_go_both_ways_and_wait_for_each_other(papers: Papers, listening: Listening) -> None:
    async def echo(stream: trio.SocketStream) -> None:
        wrapped = trio.SSLStream(stream, papers.context(), server_side=True, https_compatible=True)
        data = b""
        while len(data) < 3_000_000:
            data += await wrapped.receive_some(65_536)
        await wrapped.send_all(data)
        await wrapped.aclose()

    port = await listening(echo)
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    tls = Tls(ca_file=papers.ca, server_name="a.test")
    stream = await secure(plain, parse(f"mqtts://127.0.0.1:{port}"), tls)
    sent = bytes(range(256)) * 12_000
    with trio.fail_after(20):
        await stream.wait_send_all_might_not_block()
        await stream.send_all(sent)
        received = b""
        while data := await stream.receive_some():
            assert len(data) <= 16_384
            received += data
    assert received == sent[: len(received)]
    assert len(received) >= 3_000_000
    await stream.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")


async def test_a_certificate_that_is_not_taken(papers: Papers) -> None:
    async with secured(papers.context()) as (mqtts, _):
        endpoint = parse(f"mqtts://127.0.0.1:{mqtts.port}")
        plain = await trio.open_tcp_stream("127.0.0.1", mqtts.port)
        with pytest.raises(CannotConnect, match=r"mqtts://127\.0\.0\.1:\d+: the Server's certificate is for another"):
            await secure(plain, endpoint, Tls(ca_file=papers.ca))
        assert plain.socket.fileno() == -1


async def test_no_tls_at_the_other_end(papers: Papers, listening: Listening) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    port = await listening(hang_up)
    with pytest.raises(CannotConnect, match="does it speak TLS at this port"):
        await secure(await trio.open_tcp_stream("127.0.0.1", port), parse("mqtts://a.test"), Tls(ca_file=papers.ca))


async def test_a_handshake_may_be_cancelled(papers: Papers, listening: Listening) -> None:
    closed = trio.Event()

    async def keep_silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass
        closed.set()

    port = await listening(keep_silent)
    with trio.move_on_after(0.05) as scope:
        await secure(await trio.open_tcp_stream("127.0.0.1", port), parse("mqtts://a.test"), Tls(ca_file=papers.ca))
    assert scope.cancelled_caught
    with trio.fail_after(5):
        await closed.wait()


async def test_a_connection_that_is_gone_already(papers: Papers) -> None:
    context = ssl.create_default_context(cafile=papers.ca)
    one, other = trio.socket.socketpair()
    other.close()
    with pytest.raises(CannotConnect):
        await secure(trio.SocketStream(one), parse("mqtts://a.test"), Tls(context=context))
