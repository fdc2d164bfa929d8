"""The two sides of the test: a peer who says what he likes, and a pair of good Clients who must not notice.

What the broker sends to the hostile one is taken apart here by hand, so that no code of ours judges itself.
"""

from __future__ import annotations

import socket
import ssl
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tests.authority import authority
from tests.faults.brokers import HTTP_HEAD, SECURE, frame, read_some
from tests.hostile.inputs import CONNECTS
from tests.packets.table import octets

if TYPE_CHECKING:
    from types import TracebackType

    from tests.faults.brokers import BrokerProcess

PATIENCE = 10.0  # seconds for an answer on a busy machine
WEBSOCKETS = ("ws", "wss")
NO_CLOSE = b"-"  # instead of the code of a Close frame


class Said(NamedTuple):
    """All that came: payloads of binary frames (or the bytes of TCP), whole Pings and Pongs, the close code."""

    payload: bytes
    control: bytes
    close: bytes
    ended: bool


@cache
def trusting() -> ssl.SSLContext:
    """What a Client needs for the certificate of these tests."""
    return authority().trusting()


class Stranger:
    """One Network Connection to a listener, behind the handshake of its TLS if it has one (before it: `clear`), and
    over WebSocket behind that one too (before it: not `upgraded`), where each `say` is a frame."""

    def __init__(self, broker: BrokerProcess, door: str, upgraded: bool = True, clear: bool = False) -> None:
        self.websocket = False
        self.socket = broker.connect(door)
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not clear:
            self.enter(door, upgraded)

    def __enter__(self) -> Stranger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def enter(self, door: str, upgraded: bool = True) -> None:
        """The handshakes that come first at a listener."""
        if door in SECURE:
            self.socket = trusting().wrap_socket(self.socket, server_hostname="localhost")
        if door in WEBSOCKETS and upgraded:
            self.throw(HTTP_HEAD)
            assert self.head().startswith(b"HTTP/1.1 101 ")

    def head(self) -> bytes:
        """Up to the blank line; behind it come frames."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += read_some(self.socket, 1)
        self.websocket = True
        return data

    def say(self, data: bytes) -> None:
        self.throw(frame(data) if self.websocket else data)

    def throw(self, data: bytes) -> None:
        """Bytes as they are; who has already been refused need not take them."""
        try:
            self.socket.sendall(data)
        except (ConnectionError, ssl.SSLError):
            return

    def throw_beside(self, data: bytes, last: bool = False) -> None:
        """Bytes past the TLS of the socket; with `last` nothing is said behind them."""
        socket.socket.sendall(self.socket, data)
        if last:
            socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def leave(self) -> None:
        """Nothing more is said."""
        try:
            socket.socket.shutdown(self.socket, socket.SHUT_WR)  # past its TLS: what comes is still to be read
        except OSError:
            return

    def greet(self, version: int) -> None:
        """A CONNECT that is good, and the CONNACK that it gets."""
        self.say(octets(CONNECTS[version]))
        said = b""
        while len(said) < 4 or len(said) < 2 + said[1]:
            said += self.listen(1).payload
        assert (said[0], said[3], len(said)) == (0x20, 0, 2 + said[1])

    def listen(self, size: int = -1) -> Said:
        """Until the end; or until `size` bytes of payload have come."""
        raw = b""
        while True:
            said = taken_apart(raw) if self.websocket else Said(raw, b"", NO_CLOSE, False)
            if 0 <= size <= len(said.payload):
                return said
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                return said._replace(ended=True)
            raw += data

    def listen_to_answer(self, bodiless: bool) -> bytes:
        """One whole HTTP response; or all that came, where there was none before the end."""
        raw = b""
        while True:
            head, found, body = raw.partition(b"\r\n\r\n")
            size = length_of(head) if found and not bodiless else 0
            if found and len(body) >= size >= 0:
                return raw[: len(head) + 4 + size]
            data = self.socket.recv(size - len(body) if found and size > 0 else 1)  # no byte of the next one
            if not data:
                return raw
            raw += data


def length_of(head: bytes) -> int:
    """The Content-Length of a response; -1 where it names none."""
    for field in head.lower().split(b"\r\n"):
        if field.startswith(b"content-length:"):
            return int(field.partition(b":")[2])
    return -1


def taken_apart(raw: bytes) -> Said:
    """The frames of a Server (RFC 6455 section 5.2)."""
    payload, control, close, at = b"", b"", NO_CLOSE, 0
    while len(raw) - at >= 2:
        size, start = raw[at + 1], at + 2
        assert size < 128, "a Server does not mask"
        if size > 125:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(raw[start : start + width], "big"), start + width
        if start + size > len(raw):
            break
        data = raw[start : start + size]
        assert close == NO_CLOSE, "a frame behind a Close"
        if raw[at] == 0x82:
            payload += data
        elif raw[at] == 0x88:
            data[2:].decode("utf-8")  # RFC 6455 section 5.5.1
            close = data[:2]
        else:
            assert raw[at] in (0x89, 0x8A), f"a frame that begins with {raw[at]:02x}"
            control += raw[at : start + size]
        at = start + size
    return Said(payload, control, close, False)


class GoodPair:
    """A subscriber over TCP and a publisher over WebSocket, of 5.0, at QoS 1; each message is different."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.subscriber = Stranger(broker, "tcp")
        self.publisher = Stranger(broker, "ws")
        self.count = 0
        for name, one in ((b"s", self.subscriber), (b"p", self.publisher)):
            one.say(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01" + name)
            assert one.listen(4).payload[0] == 0x20
        self.subscriber.say(b"\x82\x0a\x00\x01\x00\x00\x04good\x01")
        assert self.subscriber.listen(6).payload == b"\x90\x04\x00\x01\x00\x01"

    def exchange(self) -> None:
        """One message from the one to the other, and both acknowledgements."""
        self.count += 1
        number = self.count.to_bytes(2, "big")
        self.publisher.say(b"\x32\x0b\x00\x04good" + number + b"\x00" + number)
        assert self.publisher.listen(4).payload == b"\x40\x02" + number
        data = self.subscriber.listen(13).payload
        assert (data[:8], data[11:]) == (b"\x32\x0b\x00\x04good", number)
        self.subscriber.say(b"\x40\x02" + data[8:10])

    def __enter__(self) -> GoodPair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self.subscriber, self.publisher):
            one.say(b"\xe0\x00")
            one.socket.close()
