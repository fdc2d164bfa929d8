"""Lines without a broker below: one in memory that remembers, and one over a socket for real clients."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from broker.transport.http import HttpLine
from broker.web.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.transport.http import HttpApplication
    from broker.web.exchange import AsgiApp
    from broker.websocket.forwarded import Networks


class MemoryLine(HttpLine):
    """Remembers what was said. While `slow`, nothing leaves."""

    __slots__ = ("finished", "paused", "said", "slow")

    def __init__(
        self, address: str = "127.0.0.1:4711", secure: bool = False, loopback: bool = True, proxies: Networks = ()
    ) -> None:
        self.peer_address = self.address = address
        self.listener = "ws://127.0.0.1:8080/mqtt"
        self.secure = secure
        self.loopback = loopback
        self.trusted_proxies = proxies
        self.said = b""
        self.slow = False
        self.finished = False
        self.paused = False

    def send(self, data: bytes) -> bool:
        assert not self.finished
        self.said += data
        return not self.slow

    def finish(self) -> None:
        assert not self.finished
        self.finished = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class SocketLine(MemoryLine):
    """Carries what is said to a stream, and to the application what the stream brings."""

    __slots__ = ("_go", "_news", "_stream")

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__()
        self._stream = stream
        self._news = trio.Event()
        self._go = trio.Event()
        self._go.set()

    def send(self, data: bytes) -> bool:
        super().send(data)
        self._news.set()
        return False

    def finish(self) -> None:
        super().finish()
        self._news.set()

    def pause(self) -> None:
        self._go = trio.Event()

    def resume(self) -> None:
        self._go.set()

    async def serve(self, application: HttpApplication) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._read, application)
                while not self.finished or self.said:
                    await self._news.wait()
                    self._news = trio.Event()
                    while self.said:
                        said, self.said = self.said[:65536], self.said[65536:]
                        await self._stream.send_all(said)
                    application.drained()
                nursery.cancel_scope.cancel()
        application.closed()

    async def _read(self, application: HttpApplication) -> None:
        while data := await self._stream.receive_some(65536):
            application.receive(data)
            await self._go.wait()
        application.eof()


@asynccontextmanager
async def web_server(app: AsgiApp, body_bytes: int = 1024 * 1024) -> AsyncIterator[int]:
    """A web server on a free port of 127.0.0.1."""
    async with trio.open_nursery() as nursery:
        bridge = Bridge(app, nursery, body_bytes)

        async def serve(stream: trio.SocketStream) -> None:
            line = SocketLine(stream)
            with suppress(BaseExceptionGroup):
                await line.serve(bridge(line))

        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
