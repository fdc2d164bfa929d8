"""A web server with a WebSocket and a broker behind it, that does one thing wrong."""

from __future__ import annotations

import base64
import hashlib
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio
from trio.testing import memory_stream_pair

import broker
from broker.config import Config
from broker.websocket.frames import FrameDecoder, binary_frames
from tests.probe.servers import BROKEN, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.client import Endpoint

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Request:
    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.path = lines[0].split(" ")[1]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    @property
    def subprotocols(self) -> list[str]:
        return [name.strip() for name in self.headers.get("sec-websocket-protocol", "").split(",") if name.strip()]

    def accepted(self, subprotocol: str | None = None, accept: str | None = None) -> bytes:
        """101, with the right key unless another `accept` is given."""
        digest = hashlib.sha1((self.headers["sec-websocket-key"] + GUID).encode()).digest()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}")
        if subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        return "\r\n".join([*lines, "", ""]).encode()


def right(request: Request) -> bytes:
    """The answer of a good server."""
    return request.accepted(request.subprotocols[0] if request.subprotocols else None)


def page(status: str, body: str = "", *headers: str) -> bytes:
    """Any other answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", body]).encode()


@asynccontextmanager
async def web(
    answer: Callable[[Request], bytes] = right,
    admit: Callable[[int, bytes], bytes | None] = lambda _, payload: payload,
    reply: Callable[[bytes], bytes] = lambda replies: replies,
    path: str = "/mqtt",
) -> AsyncIterator[Endpoint]:
    """`answer` meets the upgrade; `admit` sees each message (None closes), `reply` what answers Pings and Closes."""
    async with broker.serve(Config(listeners=[])) as server:

        async def serve(stream: trio.SocketStream) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                data = bytes(await stream.receive_some())
                if not data:
                    return
                head += data
            said = answer(Request(head))
            await stream.send_all(said)
            if not said.startswith(b"HTTP/1.1 101"):
                return
            ours, theirs = memory_stream_pair()
            async with ours, trio.open_nursery() as nursery:
                nursery.start_soon(server.serve_stream, theirs)
                nursery.start_soon(down, stream, ours, nursery.cancel_scope)
                await up(stream, ours)
                nursery.cancel_scope.cancel()

        async def up(stream: trio.SocketStream, ours: trio.abc.Stream) -> None:
            frames = FrameDecoder(1 << 24, 1000, messages=True)
            while data := bytes(await stream.receive_some()):
                frames.feed(data)
                for opcode, payload in frames.take_messages():
                    admitted = admit(opcode, payload)
                    if admitted is None:
                        return
                    await ours.send_all(admitted)
                replies = reply(frames.take_replies())
                if replies:
                    await stream.send_all(replies)
                if frames.closed:
                    return

        async def down(stream: trio.SocketStream, ours: trio.abc.Stream, scope: trio.CancelScope) -> None:
            with suppress(*BROKEN):
                while data := bytes(await ours.receive_some()):
                    await stream.send_all(binary_frames(data, 65_536))
            scope.cancel()

        async with scripted(serve, "ws", path) as endpoint:
            yield endpoint
