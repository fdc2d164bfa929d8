"""One Network Connection of the load generator: from the socket to the last byte, without ever waiting.

Until it is `READY` whatever goes wrong is an exception (`broker.bench.errors`), for then there is no run; afterwards it
is counted, and the Client has `ENDED`.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from broker.bench.engine.receiver import packet_end
from broker.bench.engine.upgrade import Opening, Upgrade
from broker.bench.engine.words import in_words, refusal
from broker.bench.errors import BenchError, CannotConnect, Refused
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import PINGREQ_PACKET, encode
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import (
    PUBLISH,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Pingresp,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from broker.packets.wire import INCOMPLETE, VARIABLE_BYTE_INTEGER_MAXIMUM
from broker.transport.poller import READ, WRITE, Poller
from broker.websocket.client_handshake import HandshakeRefused
from broker.websocket.frames import FrameDecoder, binary_frames

if TYPE_CHECKING:
    from broker.bench.engine.publisher import Publisher
    from broker.bench.engine.receiver import Receiver
    from broker.bench.engine.tally import Tally

WAITING: Final = 0  # for its turn to connect
CONNECTING: Final = 1
SECURING: Final = 2  # the handshake of TLS
UPGRADING: Final = 3  # to WebSocket
INTRODUCED: Final = 4  # CONNECT is sent
SUBSCRIBING: Final = 5
READY: Final = 6
ENDED: Final = 7

STALLED: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)  # it is to be tried again later

READ_BYTES: Final = 64 * 1024  # more costs a page fault for each 4 KiB of it, at every read
READ_MORE_BYTES: Final = 256 * 1024  # where a packet is longer than that
ANY: Final = 1 << 40  # bytes or fragments of a WebSocket message: MQTT bounds its packets itself
SUBSCRIBE_IDENTIFIER: Final = 1


class CountingFrames(FrameDecoder):
    """The frames of a Server, counted."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        super().__init__(ANY, ANY, False)
        self.count: int = 0

    def _frame(self, data: bytes, position: int, end: int) -> int:
        stop = super()._frame(data, position, end)
        if stop >= 0:
            self.count += 1
        return stop


class Network:
    """What all Clients of a worker share: where the Server is, who they are to it, and the loop's lists.

    `family` and `address` are for `socket.connect`; `sources` are the addresses to connect from, none for the
    system's choice. `dirty` Clients have something to send; `ended` ones ended unasked.
    """

    def __init__(
        self,
        tally: Tally,
        poller: Poller,
        family: int,
        address: str | tuple[str, int] | tuple[str, int, int, int],
        shown: str,
        version: int,
        keep_alive: int,
    ) -> None:
        self.tally = tally
        self.poller = poller
        self.family = family
        self.address = address
        self.shown = shown  # the URL, for texts
        self.version = version
        self.keep_alive = keep_alive  # seconds
        self.sources: list[str] = []
        self.opening: Opening | None = None  # of a WebSocket
        self.context: ssl.SSLContext | None = None  # of TLS
        self.server_name = ""  # that a certificate must hold
        self.user_name: str | None = None
        self.password: bytes | None = None
        self.qos = 0
        self.read_bytes = READ_BYTES

        limits = DecoderLimits()
        limits.maximum_packet_size = VARIABLE_BYTE_INTEGER_MAXIMUM + 5
        limits.topic_levels = 0
        limits.topic_bytes = 65_535
        limits.properties_bytes = limits.acknowledgement_bytes = limits.maximum_packet_size
        limits.user_properties = limits.maximum_packet_size
        self.decoder = Decoder(limits, version, False)  # for whole packets, so that all Clients can share it

        self.ready = 0  # Clients that have come to be READY
        self.clients: list[Client | None] = []  # by file descriptor
        self.dirty: list[Client] = []
        self.ended: list[Client] = []


class Client:
    """`kind` is "publisher", "subscriber" or "connection", and `number` its own among its kind."""

    __slots__ = (
        "_client_identifier",
        "_frames",
        "_held",
        "_held_bytes",
        "_interest",
        "_needed",
        "_network",
        "_socket",
        "_topic_filter",
        "_unsent",
        "_upgrade",
        "dirty",
        "fd",
        "kind",
        "last_sent",
        "number",
        "out",
        "publisher",
        "receiver",
        "started",
        "state",
    )

    def __init__(self, network: Network, kind: str, number: int, client_identifier: str) -> None:
        self.kind: str = kind
        self.number: int = number
        self.publisher: Publisher | None = None
        self.receiver: Receiver | None = None
        self.state: int = WAITING
        self.fd: int = -1
        self.started: int = 0  # ns: when it began to connect
        self.last_sent: int = 0  # ns
        self.dirty: bool = False
        self.out: list[bytes] = []
        self._network: Network = network
        self._client_identifier: str = client_identifier
        self._topic_filter: str = ""
        self._socket: socket.socket | None = None
        self._interest: int = 0
        self._upgrade: Upgrade | None = None
        self._frames: CountingFrames | None = None
        self._held: list[bytes] = []  # the beginning of a packet
        self._held_bytes: int = 0
        self._needed: int = 0  # bytes that must be held before looking at them again can pay
        self._unsent: memoryview | None = None

    def subscribe_to(self, topic_filter: str, receiver: Receiver) -> None:
        """Subscribe as soon as it is connected."""
        self._topic_filter = topic_filter
        self.receiver = receiver

    @property
    def name(self) -> str:
        return f"{self.kind} {self.number}"

    @property
    def full(self) -> bool:
        """Whether the socket takes nothing more at present."""
        return self._unsent is not None

    # -- To the Network Connection

    def connect(self, now: int) -> bool:
        """Begin; False where the Server's queue is full and it must be tried again."""
        network = self._network
        if self._socket is None:
            try:
                connecting = socket.socket(network.family, socket.SOCK_STREAM)
            except OSError as error:
                raise BenchError(f"no socket for {self.name}: {os.strerror(error.errno or 0)}") from error
            self._socket = connecting
            connecting.setblocking(False)
            if network.family != socket.AF_UNIX:
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._bind(connecting)
            self.fd = connecting.fileno()
            self.started = monotonic_ns()
            if not network.tally.first_connect:
                network.tally.first_connect = self.started
        code = self._socket.connect_ex(network.address)
        if code == errno.EAGAIN and network.family == socket.AF_UNIX:
            return False
        if code == errno.EADDRNOTAVAIL:
            raise BenchError(f"no free port for {self.name}: use fewer clients, or several machines")
        if code not in (0, errno.EINPROGRESS):
            raise self._unreachable(code)
        self.state = CONNECTING
        clients = network.clients
        while len(clients) <= self.fd:
            clients.append(None)
        clients[self.fd] = self
        self._interest = READ | WRITE
        network.poller.add(self.fd, self._interest)
        return True

    def _bind(self, connecting: socket.socket) -> None:
        sources = self._network.sources
        if sources:
            no_port = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # of Linux: a port is free for each destination
            connecting.setsockopt(socket.IPPROTO_IP, no_port, 1)
            connecting.bind((sources[self.number % len(sources)], 0))

    def _unreachable(self, code: int) -> CannotConnect:
        hint = ". Is a broker running there?" if code in (errno.ECONNREFUSED, errno.ENOENT) else ""
        return CannotConnect(f"{self._network.shown}: {os.strerror(code)}{hint}")

    def late(self) -> CannotConnect:
        """The error for a handshake that takes too long."""
        step = {
            CONNECTING: "the connection",
            SECURING: "the TLS handshake",
            UPGRADING: "the upgrade to WebSocket",
            INTRODUCED: "CONNECT",
        }
        asked = step.get(self.state, "SUBSCRIBE")
        return CannotConnect(f"{self._network.shown}: no answer to {asked} of {self.name} in time")

    def _connected(self) -> None:
        network = self._network
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise self._unreachable(code)
        if network.context is not None:
            self.state = SECURING
            try:
                self._socket = network.context.wrap_socket(
                    self._socket, server_hostname=network.server_name, do_handshake_on_connect=False
                )
            except OSError as error:
                raise self._unreachable(error.errno or 0) from error
            self._secure()
        else:
            self._open()

    def _secure(self) -> None:
        """Go on with the handshake of TLS."""
        secured = self._socket
        assert isinstance(secured, ssl.SSLSocket)
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(READ)
        except ssl.SSLWantWriteError:
            self._watch(READ | WRITE)
        except OSError as error:
            from broker.client.tls import handshake_failed

            raise CannotConnect(f"{self._network.shown}: {handshake_failed(error)}") from error
        else:
            self._open()

    def _open(self) -> None:
        """From an open stream to the next step."""
        network = self._network
        self._watch(READ)
        if network.opening is not None:
            self.state = UPGRADING
            self._upgrade = Upgrade(network.opening)
            self._put(self._upgrade.request)
            network.tally.connect_bytes_sent += len(self._upgrade.request)
        else:
            self._introduce()

    def _introduce(self) -> None:
        network = self._network
        self.state = INTRODUCED
        packet = Connect(
            self._client_identifier, network.version, True, network.keep_alive, network.user_name, network.password
        )
        network.tally.connect_bytes_sent += self._send(encode(packet, network.version))

    def _answered(self, data: bytes) -> bytes:
        """Take the answer to the opening handshake; what follows it is returned."""
        assert self._upgrade is not None
        shown = self._network.shown
        try:
            leftover = self._upgrade.feed(data)
        except HandshakeRefused as error:
            if error.status:
                raise Refused(f"{shown}: the broker refused the WebSocket: {error} (check the path)") from error
            raise CannotConnect(f"{shown}: no WebSocket there: {error}") from error
        if leftover is None:
            return b""
        self._upgrade = None
        self._frames = CountingFrames()
        self._introduce()
        return leftover

    # -- Events

    def happened(self, mask: int) -> None:
        """The poller's word."""
        if self.state <= SECURING:
            if self.state == CONNECTING:
                self._connected()
            else:
                self._secure()
            return
        if mask & WRITE:
            self._writable()
        if mask & ~WRITE and self.state != ENDED:
            self._readable()

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(self._network.read_bytes)
        except STALLED:
            return
        except OSError as error:
            self._lost(f"the connection broke: {in_words(error)}")
            return
        now = monotonic_ns()
        if not data:
            self._lost("the broker closed the connection")
            return
        tally = self._network.tally
        if self.state <= INTRODUCED:
            tally.connect_bytes_received += len(data)
        else:
            tally.bytes_received += len(data)
        if self.state == UPGRADING:
            data = self._answered(data)
        frames = self._frames
        if frames is not None and data:
            before = frames.count
            data = frames.feed(data)
            if self.state > INTRODUCED:
                tally.frames_received += frames.count - before
            if frames.replying:
                self._put(frames.take_replies())
        if data:
            if self.state > INTRODUCED:
                tally.mqtt_bytes_received += len(data)
            try:
                self._take(data, now)
            except ProtocolError as error:
                self._lost(f"the broker sent what is no MQTT: {error}")
        if frames is not None and frames.closed and self.state != ENDED:
            why = frames.violation or f"{frames.close_code} {frames.close_reason}".rstrip()
            self._lost(f"the broker closed the WebSocket: {why}")

    def _take(self, data: bytes, now: int) -> None:
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed:
                return
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        size = len(data)
        at = 0
        receiver = self.receiver
        publisher = self.publisher
        while size - at >= 2:
            before = at
            kind = data[at] >> 4
            if kind == PUBLISH and receiver is not None:
                at = receiver.take(data, at, size, now)
                if receiver.violation:
                    self._lost(f"the broker sent what is no MQTT: {receiver.violation}")
                    return
            elif publisher is not None:
                at = publisher.acknowledge(data, at, size, now)
            if at == before:
                end = packet_end(data, at, size)
                if end == INCOMPLETE or end > size:
                    break
                self._rare(data[at:end], now)
                if self.state == ENDED:
                    return
                at = end
        if at < size:
            self._held.append(data[at:] if at else data)
            self._held_bytes = size - at
            end = packet_end(data, at, size)
            self._needed = 0 if end == INCOMPLETE else end - at
        if receiver is not None and receiver.replies:
            self._answer(receiver.replies)
        if publisher is not None and publisher.replies:
            self._answer(publisher.replies)

    def _answer(self, replies: list[bytes]) -> None:
        tally = self._network.tally
        if self._frames is None:
            data = b"".join(replies)
            tally.mqtt_bytes_sent += len(data)
            tally.bytes_sent += len(data)
            self._put(data)
        else:
            for reply in replies:
                tally.mqtt_bytes_sent += len(reply)
                tally.bytes_sent += self._send(reply)
        replies.clear()

    def _rare(self, packet: bytes, now: int) -> None:
        """Any packet that is not met by the thousand."""
        decoded = self._network.decoder.feed(packet)
        if len(decoded) != 1:
            error = self._network.decoder.error
            raise error if error is not None else ProtocolError(ReasonCode.MALFORMED_PACKET)
        one: ControlPacket = decoded[0]
        if isinstance(one, Connack) and self.state == INTRODUCED:
            self._connack(one, now)
        elif isinstance(one, Suback) and self.state == SUBSCRIBING:
            self._suback(one)
        elif isinstance(one, Pubrel) and self.receiver is not None:
            self.receiver.release(one.packet_identifier)
        elif isinstance(one, Disconnect):
            if self.state == SUBSCRIBING and one.reason >= 0x80 and one.reason != ReasonCode.SERVER_SHUTTING_DOWN:
                raise self._not_subscribed(one.reason, one.properties.reason_string or "")
            self._lost(f"the broker sent DISCONNECT: {ProtocolError(one.reason, one.properties.reason_string or '')}")
        elif not isinstance(one, Pingresp):
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"a {type(one).__name__.upper()} out of turn")

    def _connack(self, connack: Connack, now: int) -> None:
        network = self._network
        properties = connack.properties
        if connack.reason >= 0x80:
            raise refusal(f"the connection of {self.name}", connack.reason, properties.reason_string or "")
        tally = network.tally
        tally.connected += 1
        tally.connect.record(now - self.started)
        tally.last_connect = now
        if properties.server_keep_alive is not None:  # [MQTT-3.1.2-21]
            network.keep_alive = properties.server_keep_alive
        publisher = self.publisher
        if publisher is not None:
            if properties.maximum_qos is not None and properties.maximum_qos < network.qos:
                raise Refused(f"the broker takes no message above QoS {properties.maximum_qos}")
            maximum = properties.maximum_packet_size
            if maximum is not None and maximum < publisher.packet_bytes:
                raise Refused(f"the broker takes packets of at most {maximum} bytes: use a smaller payload")
            if properties.receive_maximum is not None:
                publisher.limit(properties.receive_maximum)
        if self.receiver is None:
            self._is_ready()
            return
        self.state = SUBSCRIBING
        request = SubscriptionRequest(self._topic_filter, network.qos)
        self._send(encode(Subscribe(SUBSCRIBE_IDENTIFIER, [request]), network.version))

    def _suback(self, suback: Suback) -> None:
        assert self.receiver is not None
        granted = suback.reasons[0]
        if granted >= 0x80:
            raise self._not_subscribed(granted, suback.properties.reason_string or "")
        if granted < self._network.qos:
            self._network.tally.complain(f"QoS {granted} granted where {self._network.qos} was asked for")
        self.receiver.granted = granted
        self._is_ready()

    def _not_subscribed(self, reason: int, detail: str) -> Refused:
        return refusal(f"the Topic Filter {self._topic_filter!r} of {self.name}", reason, detail)

    def _is_ready(self) -> None:
        self.state = READY
        self._network.ready += 1

    # -- Sending

    def _send(self, packet: bytes) -> int:
        """Send one packet, over WebSocket in a frame of its own; how many bytes that are."""
        data = packet if self._frames is None else binary_frames(packet, ANY, True)
        self._put(data)
        return len(data)

    def _put(self, data: bytes) -> None:
        """Send `data`, as it goes on the wire, when this turn of the loop ends."""
        self.out.append(data)
        if not self.dirty:
            self.dirty = True
            self._network.dirty.append(self)

    def publish(self, data: bytes) -> None:
        """Send what `Publisher.messages` made."""
        self._put(data)

    def ping(self) -> None:
        tally = self._network.tally
        tally.mqtt_bytes_sent += len(PINGREQ_PACKET)
        tally.bytes_sent += self._send(PINGREQ_PACKET)

    def flush(self, now: int) -> None:
        """Send what was put, as far as the socket takes it."""
        self.dirty = False
        if self._unsent is not None or self.state == ENDED or not self.out:
            return
        out = self.out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self.last_sent = now
        sent = self._write(data)
        if 0 <= sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._watch(READ | WRITE)

    def _writable(self) -> None:
        unsent = self._unsent
        if unsent is not None:
            sent = self._write(unsent)
            if sent < 0:
                return
            if sent < len(unsent):
                self._unsent = unsent[sent:]
                return
            self._unsent = None
            if self.publisher is not None:
                self.publisher.wake()
        self._watch(READ)
        if self.out and not self.dirty:
            self.dirty = True
            self._network.dirty.append(self)

    def _write(self, data: bytes | memoryview) -> int:
        """Bytes that the socket took; -1 where it takes none any more."""
        assert self._socket is not None
        try:
            return self._socket.send(data)
        except STALLED:
            return 0
        except OSError as error:
            self._lost(f"the connection broke: {in_words(error)}")
            return -1

    def _watch(self, interest: int) -> None:
        if interest != self._interest:
            self._network.poller.change(self.fd, self._interest, interest)
            self._interest = interest

    # -- The end

    def _lost(self, why: str) -> None:
        """It ended unasked."""
        before = self.state
        if before < READY:
            where = {CONNECTING: "while connecting", UPGRADING: "during the upgrade", INTRODUCED: "before CONNACK"}
            others = self._network.tally.connected
            hint = f", when {others:,} were connected: it may take no more" if others and before < SUBSCRIBING else ""
            told = f"{why} {where.get(before, 'before SUBACK')}{hint}"
            raise CannotConnect(f"{self._network.shown}: {self.name}: {told}")
        tally = self._network.tally
        tally.disconnected += 1
        tally.complain(why)
        self._network.ended.append(self)
        self.abandon()

    def say_goodbye(self) -> None:
        """Disconnect in order, without waiting for what the Server says to it."""
        if self.state == READY:
            self._send(encode(Disconnect(), self._network.version))
            if self._frames is not None:
                self._put(self._frames.close())
            self.flush(0)
        self.abandon()

    def abandon(self) -> None:
        """Close the socket."""
        if self._socket is not None and self.state != ENDED:
            if self._interest:
                self._network.poller.remove(self.fd, self._interest)
                self._network.clients[self.fd] = None
            self._socket.close()
        self.state = ENDED
        self._unsent = None
        self.out.clear()
