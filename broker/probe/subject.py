"""The Server under test: how it is reached, as whom, and what has been learnt of it."""

from __future__ import annotations

import secrets
from ssl import SSLError
from typing import TYPE_CHECKING, Final

import trio

from broker.client.announced import Announced
from broker.client.errors import CannotConnect
from broker.client.tls import Tls, explain
from broker.client.transport import connect_stream
from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, NO_PROPERTIES, Connack
from broker.probe import strangers
from broker.websocket.client_handshake import ClientHandshake, HandshakeRefused
from broker.websocket.frames import FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.client.url import Endpoint

PREFIX: Final = "triomq-probe"
HTTP_BEGINS: Final = b"HTTP/"
UNBOUNDED: Final = 1 << 40  # a message of frames is handed on as it comes, and MQTT bounds the packets
BEST_FIRST: Final = (MQTT_5_0, MQTT_3_1_1, MQTT_3_1)


class Subject:
    """What all checks share.

    Everything is published below `root`, which no other probe has: `prefix` and a random level. Client Identifiers
    begin with `identifier_prefix`. `tls` is for an endpoint that has it, and ValueError for files of it that are of no
    use. `versions` are those that the Server accepted, the best first.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        user_name: str | None = None,
        password: bytes | None = None,
        prefix: str = PREFIX,
        identifier_prefix: str = "probe",
        tls: Tls | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.tls = (tls or Tls()).ready(endpoint) if endpoint.secure else None
        self.user_name = user_name
        self.password = password
        self.root = f"{prefix}/{secrets.token_hex(4)}"
        self.identifier = f"{identifier_prefix}{secrets.token_hex(4)}"
        self.accepted: set[int] = set()
        self.refused: dict[str, str] = {}  # the check of a version -> what its CONNACK said
        self.strange = False  # whether what is spoken there is not what the URL says
        self.spoken = ""  # what it is, where the first bytes tell
        self.connack: Connack | None = None  # of 5.0
        self.announced = Announced(NO_PROPERTIES)
        self.name = ""  # what it calls itself
        self.gone = ""  # why it can no longer be reached
        self.left: list[str] = []  # what could not be cleaned up
        self._number = 0

    @property
    def versions(self) -> list[int]:
        return [version for version in BEST_FIRST if version in self.accepted]

    def client_identifier(self) -> str:
        """A fresh one; of letters and digits, and with the usual prefix short enough for 3.1 [MQTT-3.1.3-5]."""
        self._number += 1
        return f"{self.identifier}{self._number:03d}"

    def welcome(self, connack: Connack) -> None:
        """The CONNACK of 5.0: what it announces holds from now on."""
        self.connack = connack
        self.announced = Announced(connack.properties)


class Opened:
    """A stream ready for MQTT; `frames`, `received` and `subprotocol` are of a WebSocket."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        frames: FrameDecoder | None = None,
        received: bytes = b"",
        subprotocol: str | None = None,
    ) -> None:
        self.stream = stream
        self.frames = frames
        self.received = received
        self.subprotocol = subprotocol


async def open_stream(
    endpoint: Endpoint, path: str = "", subprotocols: Sequence[str] = ("mqtt",), *, tls: Tls | None = None
) -> Opened:
    """Connect, and open the WebSocket where the URL wants one, at `path` instead of the URL's where it is given.

    OSError when nobody listens or TLS fails, `HandshakeRefused` when no WebSocket is opened.
    """
    try:
        stream = await connect_stream(endpoint, *((tls.context, tls.server_name) if tls is not None else ()))
    except CannotConnect as error:
        raise OSError(str(error)) from error
    if not endpoint.websocket:
        return Opened(stream)
    handshake = ClientHandshake(
        endpoint.host, endpoint.port, path or endpoint.path, secure=endpoint.secure, subprotocols=subprotocols
    )
    try:
        await stream.send_all(handshake.request)
        began = b""
        while not handshake.done:
            data = bytes(await stream.receive_some())
            if len(began) < len(HTTP_BEGINS):
                began += data
                if not HTTP_BEGINS.startswith(began[: len(HTTP_BEGINS)]):
                    raise HandshakeRefused(0, f"the answer is not HTTP: {strangers.describe(began)}")
            handshake.feed(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await trio.aclose_forcefully(stream)
        cause = error.__cause__
        why = explain(cause) if isinstance(cause, SSLError) else "the connection broke off before the answer"
        raise HandshakeRefused(0, why) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    frames = FrameDecoder(UNBOUNDED, UNBOUNDED, server=False)
    return Opened(stream, frames, handshake.leftover, handshake.subprotocol)
