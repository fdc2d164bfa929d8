"""One Network Connection of a simulated device: the Client's Protocol over a socket that nobody waits for.

`broker.client.Client` has two tasks for each Network Connection, which is right for a program and too much for five
thousand devices. A Line is opened in a task (`open_line`) and then belongs to the Fleet's loop, which calls `readable`
and `writable` as the poller says, and `flush` after it asked for something. Messages of QoS 0 go past the Protocol's
books straight to the socket; those of QoS 1 and 2 are the Protocol's.
"""

from __future__ import annotations

import socket
from ssl import SSLError
from typing import TYPE_CHECKING, Final

import trio

from broker.client import CannotConnect, ClientError, Tls
from broker.client.protocol import Protocol, Settings
from broker.client.publications import Publication
from broker.client.subscriptions import Subscription
from broker.client.tls import explain
from broker.client.transport import FRAGMENTS, FRAME_BYTES, MESSAGE_BYTES
from broker.packets.encode import encode_publish, publish_parts
from broker.packets.types import MQTT_3_1, SubscriptionRequest
from broker.simulation.secured import STALLED, SecureStream, secure
from broker.transport.poller import READ, WRITE
from broker.websocket.client_handshake import ClientHandshake, HandshakeRefused
from broker.websocket.frames import FrameDecoder, binary_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.client.url import Endpoint
    from broker.packets.types import Publish

READ_BYTES: Final = 64 * 1024
KEEP_ALIVE: Final = 60  # seconds
WAITING: Final = 64  # messages of QoS 1 and 2 that may be on their way


class Sent(Publication):
    """A message of QoS 1 or 2 that tells its Line when it is done."""

    __slots__ = ("_line",)

    def __init__(self, line: Line, head: bytes, tail: bytes, qos: int, retain: bool) -> None:
        super().__init__(head, tail, qos, retain)
        self._line = line

    def settle(self, error: ClientError | None = None) -> None:
        if not self.done:
            super().settle(error)
            self._line.settled(error)


class Ear(Protocol):
    """The Protocol of one who listens to everything: what comes at QoS 0 goes straight to `heard`, past the books."""

    def __init__(self, settings: Settings, heard: Callable[[Publish], None]) -> None:
        settings.topic_alias_maximum = 0
        super().__init__(settings)
        self._heard = heard

    def _publish(self, packet: Publish) -> None:
        if packet.qos:
            super()._publish(packet)
        else:
            self._heard(packet)


class Line:
    """See the module. `interest` is what the poller is to watch for, `watched` what it does watch for."""

    __slots__ = (
        *("closed", "ending", "fd", "frames", "interest", "maximum_qos", "protocol", "refused", "retains"),
        *("_commands", "_outbox", "_socket", "_unsent", "trouble", "waiting", "watched"),
    )

    def __init__(self, connected: socket.socket, frames: FrameDecoder | None, protocol: Protocol) -> None:
        self.protocol = protocol
        self.frames = frames
        self.fd = connected.fileno()
        self.interest = self.watched = READ
        self.closed = False
        self.ending = False  # it has said its DISCONNECT
        self.waiting = 0  # messages of QoS 1 and 2 without their answer
        self.refused = 0  # messages that the Server refused
        self.trouble: ClientError | None = None  # why it ended, or what was refused last
        connack = protocol.connack
        assert connack is not None
        maximum_qos = connack.properties.maximum_qos
        self.maximum_qos = 2 if maximum_qos is None else maximum_qos
        self.retains = connack.properties.retain_available != 0
        self._socket = connected
        self._unsent: memoryview | None = None
        self._outbox: list[bytes] = []
        self._commands: Subscription | None = None

    @property
    def stuffed(self) -> bool:
        """Whether the Server takes no more at the moment."""
        return self._unsent is not None or self.waiting >= WAITING

    # -- what the device asks for; it leaves with `flush`

    def publish(self, topic: bytes, payload: bytes, qos: int, retain: bool, forwarded: bytes) -> None:
        """Send a message, at the highest QoS up to `qos` that the Server takes; retained if it retains at all."""
        qos = min(qos, self.maximum_qos)
        retain = retain and self.retains
        version = self.protocol.version
        if qos == 0:
            self._outbox.append(encode_publish(topic, payload, 0, retain, version=version, forwarded=forwarded))
            return
        head, tail = publish_parts(topic, payload, qos, retain, False, version, forwarded)
        self.waiting += 1
        self.protocol.publish(Sent(self, head, tail, qos, retain))

    def listen(self, topic: str) -> None:
        """Subscribe to the topic of commands."""
        self._commands = Subscription([SubscriptionRequest(topic, min(1, self.maximum_qos))], 64)
        self.protocol.subscribe(self._commands)

    def command(self) -> tuple[bytes, str, bytes | None] | None:
        """The next command: its payload, its Response Topic and its Correlation Data."""
        commands = self._commands
        if commands is None or not commands.buffer:
            return None
        message = self.protocol.subscriptions.take(commands)
        properties = message.properties
        answer = (message.payload, properties.response_topic or "", properties.correlation_data)
        self.protocol.through(commands)
        return answer

    def settled(self, error: ClientError | None) -> None:
        """A message has its answer."""
        self.waiting -= 1
        if error is not None and not self.closed:
            self.refused += 1
            self.trouble = error

    def disconnect(self) -> None:
        """Leave in order: behind all that was asked for, and then the Server closes."""
        self.ending = True
        self._outbox.append(self.protocol.take())
        self.protocol.close()
        self._outbox.append(self.protocol.take())

    # -- the loop

    def readable(self, now: float) -> None:
        """Take what has come; `closed` afterwards where it is over."""
        try:
            data = self._socket.recv(READ_BYTES)
        except STALLED:
            return
        except OSError as error:
            self._over(f"the Network Connection broke off ({_told(error)})")
            return
        if not data:
            self._over("the Server closed the Network Connection")
            return
        if self.frames is not None:
            data = self.frames.feed(data)
        self.protocol.receive(data, now)
        if self.protocol.error is not None:
            self.trouble = self.protocol.error
            self.flush(now)
            self.close()

    def writable(self, now: float) -> None:
        """There is room in the socket."""
        unsent, self._unsent = self._unsent, None
        self.interest = READ
        if unsent is not None:
            self._send(unsent)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Send what was asked for, as far as the socket takes it; the rest leaves when it is `writable`."""
        if self._unsent is not None or self.closed:
            return
        outbox = self._outbox
        if self.protocol.pending:
            outbox.append(self.protocol.take())
        data = b""
        if outbox:
            data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
            outbox.clear()
        if self.frames is not None:
            data = self.frames.take_replies() + binary_frames(data, FRAME_BYTES, masked=True)  # [MQTT-6.0.0-1]
        if data:
            self.protocol.handed(now)
            self._send(data)

    def tick(self, now: float) -> None:
        """Keep Alive."""
        if not self.ending and self.protocol.deadline() <= now:
            self.protocol.tick(now)
            if self.protocol.error is not None:
                self.trouble = self.protocol.error
                self.close()
            else:
                self.flush(now)

    def close(self) -> None:
        """Close the socket, without a word: a device whose battery fell out."""
        if not self.closed:
            self.closed = True
            self._socket.close()

    def _send(self, data: bytes | memoryview) -> None:
        try:
            sent = self._socket.send(data)
        except STALLED:
            sent = 0
        except OSError as error:
            self._over(f"the Network Connection broke off ({_told(error)})")
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self.interest = READ | WRITE

    def _over(self, why: str) -> None:
        if self.trouble is None or not self.ending:
            self.trouble = self.protocol.gone(why)
        self.close()


def settings_for(endpoint: Endpoint, version: int, client_identifier: str = "") -> Settings:
    """What to ask of the Server at `endpoint`, as the user whom the URL names."""
    settings = Settings()
    settings.version = version
    settings.client_identifier = client_identifier
    settings.keep_alive = KEEP_ALIVE
    settings.user_name = endpoint.user_name
    settings.password = None if endpoint.password is None else endpoint.password.encode()
    return settings


def _told(error: OSError) -> str:
    return explain(error) if isinstance(error, SSLError) else error.strerror or str(error)


async def open_line(endpoint: Endpoint, protocol: Protocol, tls: Tls | None = None) -> Line:
    """A Line with its CONNACK; `tls` is for an endpoint that has it. CannotConnect or ConnectRefused where there will
    be none."""
    settings = protocol.settings
    try:
        with trio.fail_after(settings.connect_timeout):
            try:
                stream = await _connect(endpoint, tls)
            except OSError as error:
                raise CannotConnect(f"{endpoint}: {error}") from error
            try:
                frames = await _shake_hands(stream, endpoint, protocol)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except trio.TooSlowError:
        raise CannotConnect(f"{endpoint}: no CONNACK within {settings.connect_timeout:g} s") from None
    if isinstance(stream, SecureStream):
        return Line(stream.socket, frames, protocol)
    connected = socket.socket(fileno=stream.socket.detach())
    connected.setblocking(False)
    return Line(connected, frames, protocol)


async def _connect(endpoint: Endpoint, tls: Tls | None) -> trio.SocketStream | SecureStream:
    if endpoint.scheme == "unix":
        return await trio.open_unix_socket(endpoint.path)
    stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    return await secure(stream, endpoint, tls or Tls()) if endpoint.secure else stream


async def _shake_hands(stream: trio.abc.Stream, endpoint: Endpoint, protocol: Protocol) -> FrameDecoder | None:
    """From an open stream to CONNACK, with a WebSocket between where the URL says so."""
    frames: FrameDecoder | None = None
    data = b""
    try:
        if endpoint.websocket:
            subprotocol = "mqttv3.1" if protocol.version == MQTT_3_1 else "mqtt"  # [MQTT-6.0.0-3]
            handshake = ClientHandshake(
                endpoint.host, endpoint.port, endpoint.path, secure=endpoint.secure, subprotocols=[subprotocol]
            )
            await stream.send_all(handshake.request)
            while not handshake.done:
                handshake.feed(bytes(await stream.receive_some()))
            frames = FrameDecoder(MESSAGE_BYTES, FRAGMENTS, server=False)
            data = frames.feed(handshake.leftover)
        protocol.open(trio.current_time())
        packet = protocol.take()
        await stream.send_all(packet if frames is None else binary_frames(packet, FRAME_BYTES, masked=True))
        protocol.receive(data, trio.current_time())
        while not protocol.connected and protocol.error is None:
            data = bytes(await stream.receive_some())
            if not data:
                raise CannotConnect(f"{endpoint}: the Server closed the Network Connection before CONNACK")
            protocol.receive(data if frames is None else frames.feed(data), trio.current_time())
    except (trio.BrokenResourceError, HandshakeRefused) as error:
        raise CannotConnect(f"{endpoint}: {error}") from error
    if protocol.error is not None:
        raise protocol.error
    return frames
