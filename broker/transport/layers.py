"""From bytes on the wire to a Connection and back: the layers of one Network Connection, without any I/O.

    [TLS] -> [first bytes: MQTT | HTTP] -> [HTTP head -> WebSocket frames] -> Connection

A door (`link`, over a socket; `stream`, over a Trio stream) hands what it has read to `receive` and writes what `take`
gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.connection import CONNECTED
from broker.core.ports import Peer
from broker.packets.reasons import ReasonCode
from broker.transport.tls import TlsLayer
from broker.websocket.frames import (
    GOING_AWAY,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    FrameDecoder,
    binary_frames,
    ping_frame,
)
from broker.websocket.handshake import READING, REFUSED, UPGRADED, HttpDoor

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.core.limits import Limits
    from broker.transport.tls import Tls
    from broker.websocket.deflate import Deflater

MQTT: Final = "mqtt"
HTTP: Final = "http"
AUTO: Final = "auto"

TAKE_BYTES: Final = 256 * 1024  # taken from an outbox at once, so that a short write keeps little
TLS_HANDSHAKE: Final = 0x16

_FIRST_LETTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Layers:
    """See the module. `kind` is what may come: MQTT, HTTP (and WebSocket in it), or AUTO for either by its first byte.

    With `tls` it comes in TLS; where `kind` is AUTO it may come without. `loopback` says that the connection came in at
    a loopback address. `transport` names it for MQTT without a WebSocket; with one it is "ws", and in TLS "tls", "wss".
    """

    def __init__(
        self,
        broker: Broker,
        limits: Limits,
        kind: str,
        address: str,
        transport: str,
        listener: str,
        loopback: bool,
        now: float,
        tls: Tls | None = None,
    ) -> None:
        self.connection = broker.accept(Peer(address, transport, listener), limits, now)
        self.outbox = self.connection.outbox
        self.limits = limits
        self._loopback = loopback
        self._http: HttpDoor | None = None
        self._frames: FrameDecoder | None = None
        self._deflater: Deflater | None = None
        self._eof = False
        self._control = bytearray()  # goes out as it is
        self._offered = tls  # where the first byte has not told yet whether the peer wants it
        self._tls: TlsLayer | None = None
        self._mqtt = kind == MQTT  # neither HTTP nor WebSocket
        self.on_close: Callable[[], None] = _nothing
        self.plain = kind == MQTT and tls is None  # nothing but MQTT: the outbox goes out as it is
        self._deaf = False  # what comes is no longer looked at
        if tls is not None and kind != AUTO:
            self._begin_tls(tls)
        if kind == HTTP:
            self._begin_http()

    @property
    def peer_is_done(self) -> bool:
        """Whether the peer has said its last word, so that nothing is lost by closing at once."""
        frames = self._frames
        if frames is None or self._eof:
            return self.connection.peer_is_done
        return frames.closed and not frames.violation

    # -- In

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the peer."""
        if self.plain:
            self.connection.receive(data, now)
            return
        tls = self._tls
        if tls is not None:
            data = self._decrypt(tls, data, now)
            if data:
                self._receive(data, now)
            if tls.closed and not self.connection.ended:
                self.eof(now)
        else:
            self._receive(data, now)

    def _receive(self, data: bytes, now: float) -> None:
        """The same after TLS."""
        if self._mqtt:
            self.connection.receive(data, now)
        elif self._frames is not None:
            self._receive_frames(data, now)
        elif self._http is not None:
            self._receive_http(data, now)
        elif not self._deaf:
            self._receive_first(data, now)

    def eof(self, now: float, reason: str = "closed by the peer") -> None:
        """The peer will send no more: what it has sent is processed, the connection is over."""
        self._eof = self.connection.peer_is_done = True
        self.connection.lost(now, reason)
        self.outbox.touch()

    def close(self) -> None:
        """The door has closed."""
        self.on_close()

    def _begin_tls(self, tls: Tls) -> None:
        self._offered = None
        self._tls = TlsLayer(tls)
        self.connection.identify("tls")

    def _decrypt(self, tls: TlsLayer, data: bytes, now: float) -> bytes:
        """What the peer said within TLS."""
        was_ready = tls.ready
        plain = tls.receive(data)
        if tls.ready and not was_ready:
            self.connection.peer.certificate = tls.certificate()
        self.outbox.touch()  # a handshake has to say something, and so has a fault
        if tls.fault:
            self.connection.lost(now, tls.fault)
        return plain

    def _receive_first(self, data: bytes, now: float) -> None:
        first = data[0]
        if first in _FIRST_LETTERS:
            self._begin_http()
            self._receive_http(data, now)
        elif first == TLS_HANDSHAKE and self._tls is None:
            if self._offered is None:
                self._deaf = True
                self.connection.lost(now, "TLS on a listener without TLS")
                self.outbox.touch()
                return
            self._begin_tls(self._offered)
            self.receive(data, now)
        else:
            self._mqtt = True
            self.plain = self._tls is None
            self.connection.identify("tcp" if self.plain else "tls")
            self.connection.receive(data, now)

    def _begin_http(self) -> None:
        limits = self.limits
        self._http = HttpDoor(
            limits.websocket_paths,
            limits.websocket_subprotocols,
            limits.require_subprotocol,
            limits.origins,
            secure=self._tls is not None,
            loopback=self._loopback,
            compression=limits.websocket_compression,
            context_takeover=limits.websocket_context_takeover,
        )
        self.connection.identify("ws" if self._tls is None else "wss")

    def _receive_http(self, data: bytes, now: float) -> None:
        http = self._http
        assert http is not None
        connection = self.connection
        http.feed(data)
        if http.outcome == READING:
            return
        self._http = None
        self._deaf = True
        self.outbox.touch()
        if http.outcome == UPGRADED:
            self._control += http.response
            connection.peer.headers = http.headers
            connection.peer.target = http.target
            self._frames = FrameDecoder(self.limits.connect_packet_size, self.limits.websocket_fragments)
            if http.compression is not None:
                self._frames.inflater = http.compression.inflater()
                self._deflater = http.compression.deflater()
            if http.leftover:
                self._receive_frames(http.leftover, now)
        elif http.outcome == REFUSED:
            self._control += http.response
            connection.lost(now, f"HTTP request refused: {http.reason}")
        else:
            self._control += http.respond()
            connection.lost(now, "plain HTTP request answered")

    def _receive_frames(self, data: bytes, now: float) -> None:
        frames = self._frames
        assert frames is not None
        connection = self.connection
        if frames.maximum == self.limits.connect_packet_size and connection.state == CONNECTED:
            # The decoder keeps no payload, and a message may hold many packets; each has its own limit.
            frames.maximum = 16 * self.limits.maximum_packet_size
        payload = frames.feed(data)
        if payload:
            connection.receive(payload, now)
        while frames.pending and not connection.ended:
            connection.receive(frames.more(), now)
        replies = frames.take_replies()
        if replies:
            self._control += replies
            self.outbox.touch()
            if len(self._control) > self.outbox.hard and not frames.closed:
                connection.end(ReasonCode.QUOTA_EXCEEDED, "the Client sends Pings and does not read the Pongs", now)
                self._control.clear()
        if frames.closed and not connection.ended:
            connection.lost(now, f"WebSocket: {frames.violation or 'closed by the peer'}")
            self.outbox.touch()

    # -- Out

    def ping(self) -> None:
        """Keep a silent WebSocket alive through proxies that cut idle sockets."""
        self._control += ping_frame()
        self.outbox.touch()

    @property
    def websocket(self) -> bool:
        return self._frames is not None

    def take(self, limit: int = TAKE_BYTES) -> bytes:
        """The next bytes for the wire; empty when there are none. `outbox.sent()` when they have been written.

        About `limit` bytes of the outbox. With `plain` it is the outbox's own `take`.
        """
        tls = self._tls
        if tls is None:
            return self._take(limit)
        if tls.ready:
            data = self._take(limit)
            if data:
                tls.send(data)
            elif self.connection.ended:
                tls.close()
        return tls.take()

    def _take(self, limit: int) -> bytes:
        """The same before TLS."""
        frames = self._frames
        control = self._control
        if frames is None:
            if not control:
                return self.outbox.take(limit)
            data = bytes(control)
        else:
            payload = self.outbox.take(limit)
            if self._deflater is not None:
                payload = self._deflater.frames(payload, self.limits.websocket_frame_bytes)
            else:
                payload = binary_frames(payload, self.limits.websocket_frame_bytes)
            if payload and frames.closed:
                return payload  # before our Close, which stands in `control`: RFC 6455 section 5.5.1
            data = bytes(control) + payload
            if not data and self.connection.ended:
                # After the last payload: the closing handshake begins from our side (RFC 6455 section 7.1.2).
                return frames.close(self._close_code())
        control.clear()
        return data

    def _close_code(self) -> int:
        reason = self.connection.end_reason
        if reason.startswith("0x8B"):
            return GOING_AWAY
        return POLICY_VIOLATION if reason.startswith("0x") else NORMAL_CLOSURE


def _nothing() -> None:
    return None
