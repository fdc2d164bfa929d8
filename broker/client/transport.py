"""From an `Endpoint` to bytes: TCP, TLS, Unix sockets, and MQTT over WebSocket (section 6) on any Trio stream.

A `Wire` is what a Network Connection reads and writes. The frames of a WebSocket are a layer of it and no stream of
their own: an answer to a Ping leaves with the next write, so that one task writes and no lock is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from broker.client.errors import CannotConnect
from broker.client.tls import Tls, explain, secure
from broker.packets.types import MQTT_3_1
from broker.websocket.client_handshake import ClientHandshake, HandshakeRefused
from broker.websocket.frames import FrameDecoder, binary_frames

if TYPE_CHECKING:
    import ssl

    from broker.client.url import Endpoint

FRAME_BYTES: Final = 64 * 1024  # payload of one frame that we send
MESSAGE_BYTES: Final = 1 << 40  # of a message that we receive: it is handed on as it comes, and MQTT bounds the packets
FRAGMENTS: Final = 1 << 40


class Wire:
    """One Network Connection: any stream, with WebSocket frames or without.

    `replies` are frames that wait for the next `send`.
    """

    def __init__(self, stream: trio.abc.Stream, frames: FrameDecoder | None = None, received: bytes = b"") -> None:
        self.stream = stream
        self.replies = b""
        self._frames = frames
        self._received = received  # read together with the answer to the upgrade

    async def receive(self) -> bytes | None:
        """Bytes of MQTT, which may be none; None at the end. Trio's errors for a broken stream."""
        frames = self._frames
        if frames is None:
            return bytes(await self.stream.receive_some()) or None
        if frames.closed:
            return None
        data = self._received or bytes(await self.stream.receive_some())
        self._received = b""
        payload = frames.feed(data)
        self.replies += frames.take_replies()
        return payload if data else None

    async def send(self, data: bytes) -> None:
        if self._frames is not None:
            data = self.replies + binary_frames(data, FRAME_BYTES, masked=True)  # [MQTT-6.0.0-1]
            self.replies = b""
        await self.stream.send_all(data)

    def close_frame(self) -> None:
        """Let the next `send` be the last."""
        if self._frames is not None:
            self.replies += self._frames.close()


async def connect_stream(
    endpoint: Endpoint, context: ssl.SSLContext | None = None, server_name: str = ""
) -> trio.abc.Stream:
    """A stream to a listening socket; OSError when there is none, CannotConnect when TLS fails.

    `context` and `server_name` are those of `secure`; where TLS is spoken and there is none, the default of `Tls`.
    """
    if endpoint.scheme == "unix":
        return await trio.open_unix_socket(endpoint.path)
    stream: trio.abc.Stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    if endpoint.secure:
        return await secure(stream, endpoint, context or Tls().make_context(endpoint), server_name)
    return stream


async def upgrade(stream: trio.abc.Stream, endpoint: Endpoint, version: int) -> Wire:
    """Open a WebSocket on `stream`; `CannotConnect` when that fails."""
    subprotocol = "mqttv3.1" if version == MQTT_3_1 else "mqtt"  # [MQTT-6.0.0-3]
    handshake = ClientHandshake(
        endpoint.host, endpoint.port, endpoint.path, secure=endpoint.secure, subprotocols=[subprotocol]
    )
    try:
        await stream.send_all(handshake.request)
        while not handshake.done:
            handshake.feed(bytes(await stream.receive_some()))
    except HandshakeRefused as error:
        raise CannotConnect(f"{endpoint}: {error}") from error
    except trio.BrokenResourceError as error:
        raise CannotConnect(f"{endpoint}: {explain(error.__cause__ or error)}") from error
    return Wire(stream, FrameDecoder(MESSAGE_BYTES, FRAGMENTS, server=False), handshake.leftover)
