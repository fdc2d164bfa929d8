"""A broker of a few lines that does wrong what a test wants: to see whether a load generator notices."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.topics import matches
from broker.packets.types import (
    MQTT_5_0,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Deliver = Callable[[int, Publish], list[Publish]]  # the number of the message, from 0; what is delivered of it


def faithful(number: int, message: Publish) -> list[Publish]:
    return [message]


class Toy:
    """`deliver` is asked what the subscribers get for each message; `hang_up_at` is the message that ends it all."""

    def __init__(self, deliver: Deliver = faithful, *, hang_up_at: int = -1) -> None:
        self.deliver = deliver
        self.hang_up_at = hang_up_at
        self.connack: Connack | None = Connack(ReasonCode.SUCCESS)  # None says nothing at all
        self.puback = 0  # Reason Code
        self.port = 0
        self.said_goodbye = 0
        self._goodbye = trio.Event()
        self._messages = 0
        self._subscriptions: list[tuple[str, trio.SocketStream]] = []
        self._locks: dict[trio.SocketStream, trio.Lock] = {}
        self._scopes: list[trio.CancelScope] = []

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def hang_up(self) -> None:
        """Close all connections at once."""
        for scope in self._scopes:
            scope.cancel()

    async def wait_for_goodbyes(self, number: int) -> None:
        """Until so many Clients have disconnected in order."""
        while self.said_goodbye < number:
            await self._goodbye.wait()

    async def serve(self, stream: trio.SocketStream) -> None:
        with trio.CancelScope() as scope, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._scopes.append(scope)
            async with stream:
                await self._serve(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        limits = DecoderLimits()
        limits.maximum_packet_size = 10_000_000
        decoder = Decoder(limits)
        async for data in stream:
            for packet in decoder.feed(bytes(data)):
                await self._answer(stream, packet)
                if isinstance(packet, Connect):
                    decoder.accept()
            assert decoder.error is None

    async def _answer(self, stream: trio.SocketStream, packet: ControlPacket) -> None:
        if isinstance(packet, Connect):
            if self.connack is not None:
                await self._send(stream, self.connack)
        elif isinstance(packet, Subscribe):
            self._subscriptions.append((packet.requests[0].topic_filter, stream))
            await self._send(stream, Suback(packet.packet_identifier, [packet.requests[0].maximum_qos]))
        elif isinstance(packet, Publish):
            await self._publish(stream, packet)
        elif isinstance(packet, Pubrel):
            await self._send(stream, Pubcomp(packet.packet_identifier))
        elif isinstance(packet, Pubrec):
            await self._send(stream, Pubrel(packet.packet_identifier))
        elif isinstance(packet, Disconnect):
            self.said_goodbye += 1
            self._goodbye.set()
            self._goodbye = trio.Event()

    async def _publish(self, stream: trio.SocketStream, message: Publish) -> None:
        number = self._messages
        self._messages += 1
        if number == self.hang_up_at:
            self.hang_up()
            return
        if message.qos == 1:
            await self._send(stream, Puback(message.packet_identifier, self.puback))
        elif message.qos == 2:
            await self._send(stream, Pubrec(message.packet_identifier))
        for delivered in self.deliver(number, message):
            for topic_filter, subscriber in self._subscriptions:
                if matches(topic_filter, delivered.topic):
                    await self._send(subscriber, delivered)

    async def _send(self, stream: trio.SocketStream, packet: ControlPacket) -> None:
        async with self._locks.setdefault(stream, trio.Lock()):
            await stream.send_all(encode(packet, MQTT_5_0))


@asynccontextmanager
async def serving(toy: Toy) -> AsyncIterator[Toy]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, toy.serve, 0)
        toy.port = listeners[0].socket.getsockname()[1]
        yield toy
        nursery.cancel_scope.cancel()
