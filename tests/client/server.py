"""A Server that does exactly what a test says, for Clients over memory streams.

`Server.open` is what `connect(stream=...)` wants; every Network Connection that a Client opens is met by `accept`.
Packets are met strictly in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

import trio
from trio.testing import memory_stream_pair

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    NO_PROPERTIES,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
)

Packet = TypeVar("Packet", bound=ControlPacket)


class Server:
    """Waits for Network Connections."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](16)
        self.refusing = False  # whether opening fails
        self.opened = 0

    async def open(self) -> trio.abc.Stream:
        """The Client's end of a new stream."""
        self.opened += 1
        if self.refusing:
            raise OSError("nobody listens")
        ours, theirs = memory_stream_pair()
        await self._send.send(ours)
        return theirs

    async def stream(self) -> trio.abc.Stream:
        """The Server's end of the next stream."""
        return await self._receive.receive()

    async def accept(
        self, session_present: bool = False, properties: Properties = NO_PROPERTIES, version: int = MQTT_5_0
    ) -> Peer:
        """The next Network Connection, its CONNECT answered."""
        peer = Peer(await self.stream())
        peer.connect = await peer.expect(Connect)
        assert peer.connect.version == version
        await peer.send(Connack(ReasonCode.SUCCESS, session_present, properties))
        return peer


class Peer:
    """The Server's end of one Network Connection; `connect` is the CONNECT that came."""

    connect: Connect

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        limits = DecoderLimits()
        limits.maximum_packet_size = 268_435_460
        self._decoder = Decoder(limits)
        self._arrived: deque[ControlPacket] = deque()

    @property
    def version(self) -> int:
        return self._decoder.version

    async def send(self, *packets: ControlPacket | bytes) -> None:
        """All of `packets` in one write."""
        await self.stream.send_all(
            b"".join(packet if isinstance(packet, bytes) else encode(packet, self.version) for packet in packets)
        )

    async def next(self) -> ControlPacket | None:
        """The next packet, or None at the end of the Network Connection."""
        while not self._arrived:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._feed(bytes(data))
        return self._arrived.popleft()

    async def expect(self, kind: type[Packet]) -> Packet:
        with trio.fail_after(100):
            packet = await self.next()
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet!r}"
        return packet

    async def nothing(self, seconds: float) -> None:
        """Nothing comes for so long."""
        with trio.move_on_after(seconds):
            packet = await self.next()
            raise AssertionError(f"expected nothing, got {packet!r}")

    async def closed(self) -> None:
        """The Client has ended the Network Connection, without a packet before."""
        with trio.fail_after(100):
            packet = await self.next()
        assert packet is None, f"expected the end, got {packet!r}"

    async def cut(self) -> None:
        """The network fails."""
        await trio.aclose_forcefully(self.stream)

    async def leave(self) -> None:
        """The Client disconnects, and we close as a Server does [MQTT-3.14.4-2]."""
        await self.expect(Disconnect)
        await self.stream.aclose()

    async def grant(self, *reasons: int) -> Subscribe:
        """Meet a SUBSCRIBE, and grant what it asks for or answer with `reasons`."""
        subscribe = await self.expect(Subscribe)
        granted = list(reasons) or [request.maximum_qos for request in subscribe.requests]
        await self.send(Suback(subscribe.packet_identifier, granted))
        return subscribe

    async def acknowledge(self, publish: Publish) -> None:
        """Our half of the exchange for a message that the Client published."""
        if publish.qos == 1:
            await self.send(Puback(publish.packet_identifier))
        elif publish.qos == 2:
            await self.send(Pubrec(publish.packet_identifier))
            pubrel = await self.expect(Pubrel)
            assert pubrel.packet_identifier == publish.packet_identifier
            await self.send(Pubcomp(publish.packet_identifier))

    def _feed(self, data: bytes) -> None:
        packets = self._decoder.feed(data)
        while True:
            self._arrived.extend(packets)
            assert self._decoder.error is None, f"the Client sent what no Server accepts: {self._decoder.error}"
            if not any(isinstance(packet, Connect) for packet in packets):
                return
            self._decoder.accept()
            packets = self._decoder.feed(b"")


def message(
    topic: str,
    payload: bytes = b"",
    qos: int = 0,
    packet_identifier: int = 0,
    identifiers: tuple[int, ...] = (),
    dup: bool = False,
    retain: bool = False,
) -> Publish:
    """A PUBLISH of the Server's."""
    return Publish(
        topic,
        payload,
        qos=qos,
        packet_identifier=packet_identifier,
        subscription_identifiers=identifiers,
        dup=dup,
        retain=retain,
    )
