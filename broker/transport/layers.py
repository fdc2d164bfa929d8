"""From bytes on the wire to a Connection and back: the layers of one Network Connection, without any I/O.

    [PROXY header] -> [TLS] -> [first bytes: MQTT | HTTP] -> [HTTP head -> WebSocket frames] -> Connection

A door (`link`, over a socket; `stream`, over a Trio stream) hands what it has read to `receive` and writes what `take`
gives.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from broker.core.connection import CONNECTED
from broker.core.limits import LENIENT
from broker.core.ports import Peer
from broker.packets.reasons import ReasonCode
from broker.transport.http import HttpLine
from broker.transport.proxy import KNOWN, ProxyReader
from broker.transport.proxy import READING as PROXY_READING
from broker.transport.rates import Rates, rates_of
from broker.transport.tls import TlsLayer
from broker.websocket.forwarded import is_loopback
from broker.websocket.frames import (
    GOING_AWAY,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    FrameDecoder,
    binary_frames,
    ping_frame,
)
from broker.websocket.handshake import READING, REFUSED, UPGRADED, HttpDoor
from broker.websocket.pages import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.core.limits import Limits
    from broker.transport.admission import Place
    from broker.transport.http import Door, HttpService
    from broker.transport.tls import Tls
    from broker.websocket.deflate import Deflater
    from broker.websocket.forwarded import Networks

MQTT: Final = "mqtt"
HTTP: Final = "http"
AUTO: Final = "auto"

TAKE_BYTES: Final = 256 * 1024  # taken from an outbox at once, so that a short write keeps little
MEASURED: Final = 5.0  # seconds from one Ping to the next that is sent for its round trip alone
TLS_HANDSHAKE: Final = 0x16

_FIRST_LETTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Layers:
    """See the module. `kind` is what may come: MQTT, HTTP (and WebSocket in it), or AUTO for either by its first byte.

    With `tls` it comes in TLS; where `kind` is AUTO it may come without. `loopback` says that the connection came in at
    a loopback address. `transport` names it for MQTT without a WebSocket; with one it is "ws", and in TLS "tls", "wss".
    With `proxy_protocol` a PROXY header comes before everything else. What `trusted_proxies` say in the head of an HTTP
    request is believed.
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
        proxy_protocol: bool = False,
        trusted_proxies: Networks = (),
    ) -> None:
        self.connection = broker.accept(Peer(address, transport, listener), limits, now)
        self.outbox = self.connection.outbox
        self.limits = limits
        self.rates = rates_of(limits, now)  # a door that finds some calls `receive_counted`
        self._loopback = loopback
        self._http: HttpDoor | None = None
        self._frames: FrameDecoder | None = None
        self._deflater: Deflater | None = None
        self._pongs = 0  # of them, those that were looked at
        self._pinged_at = -math.inf  # when the Ping was sent whose Pong tells the round trip
        self._unanswered = False  # its Pong has not come
        self._eof = False
        self._control = bytearray()  # goes out as it is
        self._offered = tls  # where the first byte has not told yet whether the peer wants it
        self._tls: TlsLayer | None = None
        self._proxy = ProxyReader() if proxy_protocol else None
        self._proxy_is_secure = False  # the Client came to the proxy over TLS
        self._trusted_proxies = trusted_proxies
        self._mqtt = kind == MQTT  # neither HTTP nor WebSocket
        self.place: Place | None = None  # at the door that counts; a stream has none
        self.plain = (
            kind == MQTT and tls is None and not proxy_protocol
        )  # nothing but MQTT: the outbox goes out as it is
        self._deaf = False  # what comes is no longer looked at
        self.service: HttpService | None = None  # answers plain HTTP; without it a page of ours does
        self.settle: Callable[[], None] = _nothing  # what a task has put out leaves
        self.door: Door | None = None
        self.line: HttpLine | None = None  # of plain HTTP that `service` answers
        if tls is not None and kind != AUTO:
            self._begin_tls(tls)
        self._http_is_due = kind == HTTP
        if kind == HTTP and not proxy_protocol:
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
        if self._proxy is not None:
            data = self._read_proxy(self._proxy, data, now)
            if not data:
                return
        tls = self._tls
        if tls is not None:
            data = self._decrypt(tls, data, now)
            if data:
                self._receive(data, now)
            if tls.closed and not (self._eof or (self.connection.ended and self.line is None)):
                self.eof(now)
        else:
            self._receive(data, now)

    def receive_counted(self, rates: Rates, data: bytes, now: float) -> None:
        """The same, counted: then `rates` say when to read again. Only who is connected is counted."""
        connection = self.connection
        stats = connection.stats
        messages, size = stats.publish_received, stats.bytes_received
        if data:
            self.receive(data, now)
        else:
            self._go_on(now)
        if connection.state == CONNECTED:
            if connection.stats is not stats:  # the first bytes told what it is: what came with them is let pass
                stats = connection.stats
                messages, size = stats.publish_received, stats.bytes_received
            rates.take(stats.publish_received - messages, max(stats.bytes_received - size, len(data)), now)
            if rates.until > now:
                # It is not silent, we do not listen: until then its Keep Alive does not run.
                connection.last_received = rates.until
                connection.broker.stats.over_rate += 1

    def _receive(self, data: bytes, now: float) -> None:
        """The same after TLS."""
        if self._mqtt:
            self.connection.receive(data, now)
        elif self._frames is not None:
            self._receive_frames(data, now)
        elif self._http is not None:
            self._receive_http(data, now)
        elif self.line is not None:
            if self.line.application is not None:
                self.line.application.receive(data)
        elif not self._deaf:
            self._receive_first(data, now)

    def go_on(self, now: float) -> None:
        """What held the Connection up is over: take what came behind that."""
        if self.rates is None:
            self._go_on(now)
        else:
            self.receive_counted(self.rates, b"", now)

    def _go_on(self, now: float) -> None:
        self.connection.receive(b"", now)
        if self._frames is not None and self._frames.pending:
            self._receive_frames(b"", now)

    def eof(self, now: float, reason: str = "closed by the peer") -> None:
        """The peer will send no more: what it has sent is processed, the connection is over."""
        self._eof = self.connection.peer_is_done = True
        self.connection.lost(now, reason)
        if self.line is not None and self.line.application is not None:
            self.line.application.eof()
        self.outbox.touch()

    def close(self) -> None:
        """The door has closed."""
        self.door = None
        if self.line is not None:
            self.line.gone()
        if self.place is not None:
            self.place.leave()

    def _read_proxy(self, proxy: ProxyReader, data: bytes, now: float) -> bytes:
        """What comes behind the PROXY header, once that is there."""
        proxy.feed(data)
        if proxy.outcome == PROXY_READING:
            return b""
        self._proxy = None
        connection = self.connection
        header = proxy.header
        if proxy.outcome != KNOWN or header is None:
            self._deaf = True
            connection.lost(now, f"PROXY protocol: {proxy.reason}")
            self.outbox.touch()
            return b""
        if header.source:
            if not self._may_stay(header.source, now):
                return b""
            connection.peer.address = header.source
            self._loopback = is_loopback(header.source)
            self._proxy_is_secure = header.secure
        if self._http_is_due:
            self._begin_http()
        self.plain = self._mqtt and self._tls is None
        if self.plain and proxy.rest:
            connection.receive(proxy.rest, now)
            return b""
        return proxy.rest

    def _may_stay(self, address: str, now: float) -> bool:
        """Whether the peer, which is at `address` as a proxy says, may stay; the connection is over where not."""
        if self.place is None or address == self.connection.peer.address or self.place.moved(address, now):
            return True
        self._deaf = True
        self.connection.lost(now, f"too many connections from the address of {address}")
        self.outbox.touch()
        return False

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
            secure=self._tls is not None or self._proxy_is_secure,
            loopback=self._loopback,
            compression=limits.websocket_compression,
            context_takeover=limits.websocket_context_takeover,
            peer_address=self.connection.peer.address,
            trusted_proxies=self._trusted_proxies,
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
            if not self._may_stay(http.client_address, now):
                self._control += answer(429, "There are too many connections from this address.\n")
                return
            self._control += http.response
            connection.peer.headers = http.headers
            connection.peer.target = http.target
            connection.peer.address = http.client_address
            self._frames = FrameDecoder(self.limits.connect_packet_size, self.limits.websocket_fragments)
            if http.compression is not None:
                self._frames.inflater = http.compression.inflater()
                self._deflater = http.compression.deflater()
            if http.leftover:
                self._receive_frames(http.leftover, now)
        elif http.outcome == REFUSED:
            self._control += http.response
            connection.lost(now, f"HTTP request refused: {http.reason}")
        elif self.service is None:
            self._control += http.respond()
            connection.lost(now, "plain HTTP request answered")
        else:
            connection.lost(now, "plain HTTP request")
            self._serve(http, self.service)

    def _serve(self, http: HttpDoor, service: HttpService) -> None:
        """Have a plain HTTP request answered, and those that follow it."""
        peer = self.connection.peer
        line = HttpLine(
            self,
            self.settle,
            http.client_address,
            peer.address,
            peer.listener,
            http.secure,
            http.loopback,
            self._trusted_proxies,
        )
        self.line = line
        line.application = application = service(line)
        application.receive(http.received)

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
        if frames.pongs_received != self._pongs:
            self._pongs = frames.pongs_received
            if self._unanswered:
                self._unanswered = False
                connection.traffic.round_trip = now - self._pinged_at
            if self.limits.keep_alive == LENIENT:
                connection.last_received = now
        # What is compressed can be a thousand times as large: no more of it comes out than the Connection can handle.
        while frames.pending and connection.waiting is None and not connection.arriving and not connection.ended:
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

    def ping(self, now: float) -> None:
        """Keep a silent WebSocket alive through proxies that cut idle sockets."""
        if not self._unanswered:
            self._unanswered = True
            self._pinged_at = now
        self._control += ping_frame()
        self.outbox.touch()

    def measure(self, now: float) -> None:
        """For the outbox: a WebSocket's Pong tells the round trip. Not more often than anybody reads it."""
        if self.websocket and not self._unanswered and now >= self._pinged_at + MEASURED:
            self.ping(now)

    def say(self, data: bytes) -> None:
        """Bytes of plain HTTP."""
        self._control += data
        self.outbox.touch()

    @property
    def over(self) -> bool:
        """Nothing more is to be said, once what is there has left."""
        return self.connection.ended and (self.line is None or self.line.over)

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
            elif self.over:
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
