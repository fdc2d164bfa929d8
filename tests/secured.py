"""A broker behind TLS, for our own clients: its certificates, and doors that speak `mqtts` and `wss`.

TLS is Trio's, over `Server.serve_stream`, so that the clients are tested against another implementation than the
listeners'.
"""

from __future__ import annotations

import ssl
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import trio

import broker
from broker.cli import authority
from broker.config import Config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from broker.cli.authority import Pair
    from broker.server import Server


class Papers:
    """A CA in `folder` and what it made: `ca`, `server`, `client` name the files, without .crt and .key."""

    def __init__(self, folder: Path, names: Sequence[str] = ("127.0.0.1", "localhost"), aged: datetime | None = None):
        now = aged or datetime.now(UTC)
        self._folder = folder
        self._ca = authority.make_ca(now)
        self.ca = self._write("ca", self._ca)[0]
        self.certificate, self.key = self._write("server", authority.make_server(self._ca, names, now))
        self.client_certificate, self.client_key = self._write("client", authority.make_client(self._ca, "me", now))

    def context(self, *, client_ca: Path | None = None) -> ssl.SSLContext:
        """The Server's; with `client_ca` it wants a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["mqtt", "http/1.1"])
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _write(self, stem: str, pair: Pair) -> tuple[Path, Path]:
        certificate, key = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        authority.write_pair(pair, certificate, key, force=False)
        return certificate, key


class Seen:
    """What a Client showed and agreed to."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.version = stream.version()
        self.alpn = stream.selected_alpn_protocol()
        self.certificate = stream.getpeercert()


class Door:
    """A port of `server` with TLS. `seen` are the handshakes that were done, in their order."""

    def __init__(self, server: Server, context: ssl.SSLContext, websocket: bool) -> None:
        self.port = 0
        self.seen: list[Seen] = []
        self._server = server
        self._context = context
        self._websocket = websocket

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, self._handle, 0, host="127.0.0.1"))
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()

    async def _handle(self, stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError:
            await _refuse(stream, secured._outgoing.read())
            return
        self.seen.append(Seen(secured))
        await self._server.serve_stream(secured, websocket=self._websocket)


async def _refuse(stream: trio.SocketStream, alert: bytes) -> None:
    """Trio keeps the alert that says why to itself. Unread bytes would turn the close into a reset, which loses it."""
    with trio.move_on_after(1), suppress(trio.BrokenResourceError):
        await stream.send_all(alert)
        await stream.send_eof()
        while await stream.receive_some():
            pass


@asynccontextmanager
async def secured(context: ssl.SSLContext) -> AsyncIterator[tuple[Door, Door]]:
    """A broker in this loop, and its doors for mqtts and wss."""
    async with broker.serve(Config(listeners=[])) as server, trio.open_nursery() as nursery:
        mqtts, wss = Door(server, context, False), Door(server, context, True)
        await nursery.start(mqtts.serve)
        await nursery.start(wss.serve)
        yield mqtts, wss
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Secured:
    """A broker in a thread of its own."""

    papers: Papers
    mqtts: str
    wss: str


@contextmanager
def secured_in_a_thread(papers: Papers, *, client_ca: Path | None = None) -> Iterator[Secured]:
    """For commands that run in this process or in others."""
    ready = threading.Event()
    stop = trio.Event()
    found: list[Secured] = []
    tokens: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        async with secured(papers.context(client_ca=client_ca)) as (mqtts, wss):
            urls = f"mqtts://127.0.0.1:{mqtts.port}", f"wss://127.0.0.1:{wss.port}/mqtt"
            found.append(Secured(papers, *urls))
            tokens.append(trio.lowlevel.current_trio_token())
            ready.set()
            await stop.wait()

    def body() -> None:
        try:
            trio.run(main)
        finally:
            ready.set()

    thread = threading.Thread(target=body)
    thread.start()
    ready.wait(10)
    try:
        yield found[0]
    finally:
        tokens[0].run_sync_soon(stop.set)
        thread.join(10)
        assert not thread.is_alive()
