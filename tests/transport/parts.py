"""Parts for the tests of the transport: bytes that a Client sends, layers without a door, a pump in virtual time.

A `Bench` is a Broker with a Pump that no task runs: the test makes its rounds over real sockets, and says what time
it is. So whatever takes seconds in life takes none here.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Final

import trio

from broker.core.grants import Grant
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Connect,
    ControlPacket,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from broker.transport.layers import MQTT, Layers
from broker.transport.listeners import Listener, listen
from broker.transport.pump import Pump
from broker.websocket.frames import BINARY, message_frame
from tests.core.parts import limits, new_broker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from broker.core.broker import Broker
    from broker.core.limits import Limits
    from broker.core.ports import Authenticator, Peer, Refusal
    from broker.transport.link import Link
    from broker.websocket.forwarded import Networks

PATIENCE: Final = 5.0  # real seconds for what a busy machine does at once

UPGRADE: Final = (
    b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


# -- What a Client sends and gets


def connect(
    client_identifier: str = "c",
    version: int = MQTT_5_0,
    keep_alive: int = 0,
    will: Will | None = None,
    clean_start: bool = True,
) -> bytes:
    return encode(Connect(client_identifier, version, clean_start, keep_alive, will=will), version)


def subscribe(topic_filter: str, qos: int = 0, version: int = MQTT_5_0) -> bytes:
    return encode(Subscribe(1, [SubscriptionRequest(topic_filter, qos)]), version)


def publish(topic: str, payload: bytes = b"", qos: int = 0, version: int = MQTT_5_0) -> bytes:
    return encode(Publish(topic, payload, qos=qos, packet_identifier=1 if qos else 0), version)


def complete(data: bytes, version: int = MQTT_5_0) -> list[ControlPacket]:
    """What a Client reads out of `data`, without what is still under way."""
    of_client = DecoderLimits()
    of_client.maximum_packet_size = 268_435_455
    decoder = Decoder(of_client, version, server=False)
    result = decoder.feed(data)
    assert decoder.error is None, decoder.error
    return result


def packets(data: bytes, version: int = MQTT_5_0) -> list[ControlPacket]:
    """What a Client reads out of `data`, which must be whole packets."""
    result = complete(data, version)
    assert sum(len(encode(each, version)) for each in result) == len(data), "a packet that is not whole"
    return result


def names(data: bytes, version: int = MQTT_5_0) -> list[str]:
    """The types of the packets in `data`."""
    return [type(packet).__name__ for packet in packets(data, version)]


def frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """A frame of a Client's."""
    return message_frame(opcode, payload, True)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """(opcode, payload) of a Server's frames, none of them cut off."""
    result = []
    while data:
        length, start = data[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        assert len(data) >= start + length
        result.append((data[0] & 0x0F, data[start : start + length]))
        data = data[start + length :]
    return result


# -- Layers without a door


class Wire:
    """The layers of one Network Connection; `feed` is its peer, `out` what goes to it."""

    def __init__(
        self,
        kind: str = MQTT,
        of: Limits | None = None,
        broker: Broker | None = None,
        loopback: bool = True,
        proxy_protocol: bool = False,
        trusted_proxies: Networks = (),
        address: str = "10.0.0.1:4",
    ) -> None:
        self.broker = broker or new_broker()
        self.layers = Layers(
            self.broker,
            of or limits(),
            kind,
            address,
            kind,
            "here",
            loopback,
            0.0,
            None,
            proxy_protocol,
            trusted_proxies,
        )
        self.connection = self.layers.connection

    def feed(self, *data: bytes) -> bytes:
        """Each of `data` is read at a time; what is written then."""
        for each in data:
            self.layers.receive(each, 0.0)
        return self.out()

    def out(self) -> bytes:
        return b"".join(self.takes())

    def takes(self) -> list[bytes]:
        """What goes to the peer, one element a write."""
        result = []
        while data := self.layers.take():
            result.append(data)
            self.layers.outbox.sent()
        return result

    def upgraded(self) -> Wire:
        """With the opening handshake behind it."""
        assert self.feed(UPGRADE).startswith(b"HTTP/1.1 101 ")
        return self


# -- A pump in virtual time


class Client:
    """The peer's end of a socket; never blocks. `ended`: the broker has closed its half; `reset`: it was a reset."""

    def __init__(self, bench: Bench, connected: socket.socket) -> None:
        self.bench = bench
        self.socket = connected
        self.socket.setblocking(False)
        self.data = b""  # received and not yet taken
        self.ended = False
        self.reset = False

    def send(self, *data: bytes) -> None:
        """Send, and let the broker handle it."""
        for each in data:
            self.socket.sendall(each)
            self.bench.settle()

    def read(self) -> bytes:
        """All that has come."""
        while not self.ended:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError:
                self.ended = self.reset = True
                break
            self.ended = not data
            self.data += data
        data, self.data = self.data, b""
        return data

    def expect(self, *kinds: str) -> list[ControlPacket]:
        """The packets that come next, which must be of these types."""
        data = b""

        def arrived() -> bool:
            nonlocal data
            data += self.read()
            return self.ended or len(complete(data)) >= len(kinds)

        self.bench.until(arrived)
        assert names(data) == list(kinds)
        return packets(data)

    def end(self) -> bytes:
        """Read until the broker has closed its half."""
        data = b""

        def ended() -> bool:
            nonlocal data
            data += self.read()
            return self.ended

        self.bench.until(ended)
        return data

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)
        self.bench.settle()

    def abort(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.socket.close()
        self.bench.settle()


class Bench:
    """See the module. Needs Trio to run, for its clock alone. `close` it."""

    def __init__(self, authenticator: Authenticator | None = None, of: Limits | None = None, **server: Any) -> None:
        self.limits = of or limits()
        self.broker = new_broker(authenticator, **server)
        self.pump = Pump(self.broker)
        self.now = self.pump.now
        self.wakes = 0  # rounds that had something ready
        self._clients: list[Client] = []

    # -- Time

    def round(self, seconds: float = 0.0) -> bool:
        """One round of the pump; whether there was anything to do."""
        ready = self.pump.poller.poll(seconds, 256)
        if not ready and not self.broker.dirty:
            return False
        self.wakes += 1
        self.pump.round(ready, self.now)
        return True

    def settle(self) -> None:
        """Rounds until there is nothing to do; what was sent over loopback has arrived by then."""
        for _ in range(10_000):
            if not self.round(0.002):
                return
        raise AssertionError("the pump is never done")

    def until(self, condition: Callable[[], bool]) -> None:
        """Rounds until `condition`."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it never happened"
            self.round(0.005)

    def advance(self, seconds: float) -> None:
        """Let time pass, and happen what falls due."""
        end = self.now + seconds
        while (due := min(self.pump.next_deadline(), self.broker.next_deadline())) <= end:
            self.now = max(self.now, due)
            self.tick()
        self.now = end
        self.tick()

    def tick(self) -> None:
        self.pump.tick(self.now)
        self.broker.tick(self.now)
        self.pump.flush(self.now)
        self.settle()

    # -- Clients

    def listen(self, kind: str = "tcp", of: Limits | None = None, path: str = "") -> Listener:
        listener = listen(kind, of or self.limits, "127.0.0.1" if not path else "", 0, path)
        self.pump.listen(listener)
        return listener

    def client(self, listener: Listener, receive_buffer: int = 0) -> Client:
        """A Network Connection through `listener`; a `receive_buffer` in bytes makes it stall soon."""
        family = socket.AF_UNIX if listener.path else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.connect(listener.path or (listener.host, listener.port))
        self.settle()
        client = Client(self, raw)
        self._clients.append(client)
        return client

    def connected(self, listener: Listener, client_identifier: str = "c", receive_buffer: int = 0) -> Client:
        """A Client with its CONNACK."""
        client = self.client(listener, receive_buffer)
        client.send(connect(client_identifier))
        client.expect("Connack")
        return client

    @property
    def link(self) -> Link:
        """The newest one."""
        return list(self.pump.links.values())[-1]

    def fill(self, client_identifier: str = "c") -> Link:
        """Give a Client that does not read more than its socket takes; the link has bytes that wait."""
        link = next(each for each in self.pump.links.values() if each.layers.connection.name == client_identifier)
        outbox = link.layers.outbox
        link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while link.unsent is None:
            outbox.put(publish("fill", b"x" * 32_768))
            self.pump.flush(self.now)
            self.settle()
        return link

    def close(self) -> None:
        for client in self._clients:
            client.socket.close()
        self.pump.close()


# -- Whom a pump has to do with


class Broken(Grant):
    """Fails when asked about "boom"."""

    def __init__(self) -> None:
        super().__init__(everything=False)

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        if topic == "boom":
            raise RuntimeError("out of order")
        return ReasonCode.SUCCESS


class Grants:
    def __init__(self, answer: Grant | Refusal | Exception) -> None:
        self.answer = answer

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Exhausted(socket.socket):
    """A listening socket whose process has no file descriptor left."""

    failures = 1_000_000  # still to come
    error = errno.EMFILE

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


def exhaust(listener: Listener, error: int = errno.EMFILE) -> Exhausted:
    listener.socket = exhausted = Exhausted(fileno=listener.socket.detach())
    exhausted.setblocking(False)
    exhausted.error = error
    return exhausted


class Unfit(socket.socket):
    """An accepted socket that cannot be made ready."""

    error: Exception

    def setblocking(self, flag: bool) -> None:
        raise self.error


class Unfortunate(socket.socket):
    """A listening socket whose connections are all of that kind."""

    error: Exception

    def accept(self) -> tuple[socket.socket, object]:
        accepted, address = super().accept()
        unfit = Unfit(fileno=accepted.detach())
        unfit.error = self.error
        return unfit, address


def accept_unfit(listener: Listener, error: Exception) -> None:
    """From now on."""
    listener.socket = unfortunate = Unfortunate(fileno=listener.socket.detach())
    unfortunate.setblocking(False)
    unfortunate.error = error


class Running:
    """A Pump that runs, and Clients as Trio sockets."""

    def __init__(self, bench: Bench, nursery: trio.Nursery) -> None:
        self.bench = bench
        self.pump = bench.pump
        self.woken = 0
        self.listener = bench.listen()
        nursery.start_soon(self.pump.run, nursery, self.wake)

    def wake(self) -> None:
        self.woken += 1

    async def client(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.listener.host, self.listener.port)

    async def connected(self, client_identifier: str = "c") -> trio.SocketStream:
        client = await self.client()
        await client.send_all(connect(client_identifier))
        assert names(bytes(await client.receive_some())) == ["Connack"]
        return client


class Waiting:
    """An authenticator that thinks."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.answer: Grant | Refusal | Exception = Grant()
        self.asked = 0
        self.gone = 0

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal | Awaitable[Grant | Refusal]:
        if connect.client_identifier == "quick":
            return Grant()
        return self._think()

    async def _think(self) -> Grant | Refusal:
        self.asked += 1
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.gone += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def soon(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - seen from outside: nobody there would set an Event
            await trio.sleep(0.002)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the broker logged as errors."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
