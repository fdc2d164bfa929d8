"""An MQTT Client that does exactly what a test says, over any Trio stream.

Nothing happens by itself: no packet is acknowledged, no PINGREQ sent, unless the test asks. Packets are met strictly in
the order in which they came: `expect` fails when the next packet is of another type, `quiet` when anything came at all.

Nothing here sleeps to find out that nothing comes. The broker handles what one Network Connection sends in order, and
routes a message before it acknowledges it: once a publisher has its PUBACK, a PINGREQ of the subscriber is answered
behind everything that the message caused (`quiet`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

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
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE = 10.0  # seconds for an answer of a broker that has a busy machine to itself

Packet = TypeVar("Packet", bound=ControlPacket)


class Peer:
    """One Network Connection of a scripted Client; `version` is the protocol level that it speaks."""

    def __init__(self, stream: trio.abc.Stream, version: int = MQTT_5_0) -> None:
        self.stream = stream
        self.version = version
        self.ended = False  # the broker has closed its side
        self.topic_aliases: dict[int, str] = {}
        limits = DecoderLimits()
        limits.maximum_packet_size = 268_435_460
        limits.properties_bytes = 1024 * 1024
        self._decoder = Decoder(limits, version, server=False)
        self._arrived: deque[ControlPacket] = deque()
        self._packet_identifier = 0

    # -- the least that can be asked

    async def send(self, *packets: ControlPacket | bytes) -> None:
        """Send `packets` in one write; bytes go out as they are."""
        await self.stream.send_all(
            b"".join(packet if isinstance(packet, bytes) else encode(packet, self.version) for packet in packets)
        )

    async def next(self, within: float = PATIENCE) -> ControlPacket | None:
        """The next packet within so many seconds, or None at the end of the Network Connection."""
        with trio.move_on_after(within):
            while not self._arrived and not self.ended:
                await self._receive()
            return self._arrived.popleft() if self._arrived else None
        raise AssertionError(f"no packet within {within} s")

    async def expect(self, kind: type[Packet], within: float = PATIENCE) -> Packet:
        """The next packet, which must be of type `kind`."""
        packet = await self.next(within)
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {describe(packet)}"
        return packet

    async def quiet(self) -> None:
        """Nothing has been sent to this Client that was not asked for by `expect` yet."""
        await self.send(Pingreq())
        await self.expect(Pingresp)

    async def nothing(self, seconds: float) -> None:
        """Nothing comes for `seconds`, and the Network Connection stays open."""
        with trio.move_on_after(seconds):
            while not self._arrived and not self.ended:
                await self._receive()
        assert not self._arrived, f"expected nothing, got {describe(self._arrived[0])}"
        assert not self.ended, "expected nothing, got the end of the Network Connection"

    async def closed(self, within: float = PATIENCE) -> None:
        """The broker closes the Network Connection, and sends nothing before."""
        packet = await self.next(within)
        assert packet is None, f"expected the end of the Network Connection, got {describe(packet)}"

    async def disconnected(self, reason: ReasonCode, within: float = PATIENCE) -> Properties:
        """The broker ends the Network Connection for `reason`, which it tells to 5.0 alone."""
        properties = NO_PROPERTIES
        if self.version >= MQTT_5_0:
            disconnect = await self.expect(Disconnect, within)
            assert disconnect.reason == reason, f"expected {reason!r}, got {disconnect.reason!r}"
            properties = disconnect.properties
        await self.closed(within)
        return properties

    async def lose(self) -> None:
        """End the Network Connection without DISCONNECT."""
        await trio.aclose_forcefully(self.stream)

    async def leave(self, reason: ReasonCode = ReasonCode.SUCCESS, properties: Properties = NO_PROPERTIES) -> None:
        """DISCONNECT, and wait until the broker has closed."""
        await self.send(Disconnect(reason, properties))
        await self.closed()
        await self.stream.aclose()

    # -- exchanges

    async def connect(
        self,
        client_identifier: str,
        *,
        clean_start: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
        reason: ReasonCode = ReasonCode.SUCCESS,
    ) -> Connack:
        """CONNECT and its CONNACK, whose Reason Code must be `reason`."""
        connect = Connect(client_identifier, self.version, clean_start, keep_alive, will=will, properties=properties)
        await self.send(connect)
        connack = await self.expect(Connack)
        assert connack.reason == reason, f"expected {reason!r}, got {connack.reason!r}"
        return connack

    async def subscribe(
        self,
        *filters: str | SubscriptionRequest,
        qos: int = 0,
        identifier: int = 0,
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> list[int]:
        """SUBSCRIBE and its SUBACK; the Reason Codes."""
        requests = [SubscriptionRequest(entry, qos) if isinstance(entry, str) else entry for entry in filters]
        properties = Properties()
        properties.subscription_identifiers = [identifier] if identifier else []
        properties.user_properties = list(user_properties)
        packet_identifier = self.packet_identifier()
        await self.send(Subscribe(packet_identifier, requests, properties))
        suback = await self.expect(Suback)
        assert suback.packet_identifier == packet_identifier
        return suback.reasons

    async def unsubscribe(self, *filters: str) -> list[int]:
        """UNSUBSCRIBE and its UNSUBACK; the Reason Codes, which 3.x does not have."""
        packet_identifier = self.packet_identifier()
        await self.send(Unsubscribe(packet_identifier, list(filters)))
        unsuback = await self.expect(Unsuback)
        assert unsuback.packet_identifier == packet_identifier
        return unsuback.reasons

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        *,
        retain: bool = False,
        dup: bool = False,
        forwarded: bytes = b"",
        message_expiry_interval: int = -1,
        topic_alias: int = 0,
    ) -> int:
        """PUBLISH and the whole exchange of its QoS; the Reason Code of PUBACK or PUBREC.

        At QoS 0 the broker is asked by a PINGREQ whether it is through with the message.
        """
        packet_identifier = self.packet_identifier() if qos else 0
        await self.send(
            Publish(
                topic,
                payload,
                qos=qos,
                retain=retain,
                dup=dup,
                packet_identifier=packet_identifier,
                forwarded=forwarded,
                message_expiry_interval=message_expiry_interval,
                topic_alias=topic_alias,
            )
        )
        if qos == 0:
            await self.quiet()
            return 0
        answer: Puback | Pubrec = await self.expect(Puback if qos == 1 else Pubrec)
        assert answer.packet_identifier == packet_identifier
        if isinstance(answer, Pubrec) and answer.reason < 0x80:
            await self.send(Pubrel(packet_identifier))
            pubcomp = await self.expect(Pubcomp)
            assert (pubcomp.packet_identifier, pubcomp.reason) == (packet_identifier, 0)
        return answer.reason

    async def message(self, within: float = PATIENCE) -> Publish:
        """The next packet, which must be a PUBLISH; its exchange is completed."""
        publish = await self.expect(Publish, within)
        await self.acknowledge(publish)
        return publish

    async def messages(self, count: int) -> list[Publish]:
        return [await self.message() for _ in range(count)]

    async def acknowledge(self, publish: Publish) -> None:
        if publish.qos == 1:
            await self.send(Puback(publish.packet_identifier))
        elif publish.qos == 2:
            await self.send(Pubrec(publish.packet_identifier))
            await self._pubrel(publish.packet_identifier)
            await self.send(Pubcomp(publish.packet_identifier))

    def packet_identifier(self) -> int:
        """A fresh Packet Identifier of this Client's."""
        self._packet_identifier = self._packet_identifier % 65_535 + 1
        return self._packet_identifier

    async def _pubrel(self, packet_identifier: int) -> None:
        """Take the PUBREL out of what has come and comes: other messages may have been under way before it."""
        with trio.fail_after(PATIENCE):
            while not self.ended:
                for packet in self._arrived:
                    if isinstance(packet, Pubrel):
                        assert packet.packet_identifier == packet_identifier
                        self._arrived.remove(packet)
                        return
                await self._receive()
        raise AssertionError("expected Pubrel, got the end of the Network Connection")

    async def _receive(self) -> None:
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self.ended = True
            return
        self._arrived.extend(self._decoder.feed(bytes(data)))
        assert self._decoder.error is None, f"the broker sent a packet that no Client accepts: {self._decoder.error}"


def describe(packet: ControlPacket | None) -> str:
    """`packet` for the message of a failed assertion."""
    if packet is None:
        return "the end of the Network Connection"
    name = type(packet).__name__
    if isinstance(packet, Disconnect | Connack):
        return f"{name}({packet.reason!r}, {packet.properties!r})"
    return repr(packet) if isinstance(packet, Publish | Puback | Pubrec | Pubrel | Pubcomp) else name


def texts(publishes: Sequence[Publish]) -> list[tuple[str, bytes]]:
    """Topic Name and payload of each."""
    return [(publish.topic, publish.payload) for publish in publishes]


def properties(**values: object) -> Properties:
    """Properties with `values`, by the attribute names of `Properties`."""
    made = Properties()
    for name, value in values.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


# -- Properties that a Server forwards unaltered, written here once more from the standard's table 2-4


def _string(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def forwarded(
    *,
    payload_format_indicator: int | None = None,
    content_type: str | None = None,
    response_topic: str | None = None,
    correlation_data: bytes | None = None,
    user_properties: Sequence[tuple[str, str]] = (),
) -> bytes:
    """`Publish.forwarded` and `Will.forwarded`, in this order of properties."""
    data = b""
    if payload_format_indicator is not None:
        data += bytes((0x01, payload_format_indicator))
    if content_type is not None:
        data += b"\x03" + _string(content_type)
    if response_topic is not None:
        data += b"\x08" + _string(response_topic)
    if correlation_data is not None:
        data += b"\x09" + len(correlation_data).to_bytes(2, "big") + correlation_data
    for name, value in user_properties:
        data += b"\x26" + _string(name) + _string(value)
    return data


# -- Streams


class Dripping(trio.abc.HalfCloseableStream):
    """Hands out what comes from `stream` one byte a call, so that its reader meets every boundary."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(1))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


class WebSocketStream(trio.abc.Stream):
    """The Client's end of a WebSocket connection as a byte stream, by the `websockets` package: one frame a write."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        uri: str,
        subprotocols: Sequence[str] = ("mqtt",),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.stream = stream
        self.headers = headers or {}  # of the opening handshake, beside those that it has by itself
        self.protocol = ClientProtocol(
            parse_uri(uri), subprotocols=[Subprotocol(name) for name in subprotocols], max_size=None
        )
        self.response: Response | None = None
        self.pings = 0  # that the Server has sent; they are answered
        self._payloads: deque[bytes] = deque()
        self._ended = False

    async def open(self) -> None:
        """The opening handshake; AssertionError when the Server refuses."""
        request = self.protocol.connect()
        for name, value in self.headers.items():
            request.headers[name] = value
        self.protocol.send_request(request)
        await self._flush()
        while self.response is None and not self._ended:
            await self._read()
        assert self.protocol.handshake_exc is None, self.protocol.handshake_exc

    @property
    def close_code(self) -> int | None:
        """The code of the Server's Close frame."""
        return self.protocol.close_rcvd.code if self.protocol.close_rcvd is not None else None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not self._payloads and not self._ended:
            await self._read()
        return self._payloads.popleft() if self._payloads else b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.protocol.send_binary(bytes(data))
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()

    async def _flush(self) -> None:
        await self.stream.send_all(b"".join(self.protocol.data_to_send()))

    async def _read(self) -> None:
        data = await self.stream.receive_some(65_536)
        if data:
            self.protocol.receive_data(data)
        else:
            self._ended = True
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._payloads.append(bytes(event.data))
            elif isinstance(event, Frame):
                assert event.opcode != Opcode.TEXT, "MQTT travels in binary frames [MQTT-6.0.0-1]"
                self.pings += event.opcode == Opcode.PING
                self._ended |= event.opcode == Opcode.CLOSE
        answer = b"".join(self.protocol.data_to_send())
        if answer and not self._ended:
            await self.stream.send_all(answer)
