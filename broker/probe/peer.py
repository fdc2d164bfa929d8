"""One Network Connection on which nothing happens by itself: a check says each byte, and sees each packet.

`broker.client` does what a Client should, and so hides what a Server does wrong. Here no packet is acknowledged and no
PINGREQ sent unless a check asks, and what the Server does amiss becomes a `Wrong` that says what was waited for.

Packets are looked at in the order in which they came. `take` passes over those of another type, which wait for who asks
for them: a PUBLISH may well come before the PUBACK that is waited for.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from broker.client.errors import describe as describe_reason
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode, connect_return_code
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
)
from broker.probe import strangers
from broker.probe.verdict import Lacking, Wrong, statement_for
from broker.websocket.frames import FrameDecoder, binary_frames

if TYPE_CHECKING:
    from collections.abc import Callable

CONNACK_BYTE: Final = 0x20  # with which a CONNACK begins
KEPT: Final = 4096  # of the first bytes that come, to be looked at as they are
FRAME_BYTES: Final = 64 * 1024
LARGEST: Final = 268_435_460  # bytes of a packet
LEAVE_SECONDS: Final = 0.5  # for the Server to close after our DISCONNECT

Packet = TypeVar("Packet", bound=ControlPacket)


class Peer:
    """A Client's end of `stream`, which speaks `version`. No wait goes beyond `deadline`, a time of Trio's clock.

    `frames` are those of a WebSocket, `received` what was read behind its handshake. `began` are the first bytes that
    the Server sent, `connack` is what `connect` got.
    """

    connack: Connack

    def __init__(
        self,
        stream: trio.abc.Stream,
        version: int,
        deadline: float,
        frames: FrameDecoder | None = None,
        received: bytes = b"",
    ) -> None:
        self.stream = stream
        self.version = version
        self.deadline = deadline
        self.frames = frames
        self.began = b""
        self.ended = ""  # how the Server ended the Network Connection, in words
        self.reason: ReasonCode | None = None  # of its DISCONNECT
        self.fault = False  # whether what it sent was no packet that a Client takes
        limits = DecoderLimits()
        limits.maximum_packet_size = LARGEST
        limits.properties_bytes = LARGEST
        limits.acknowledgement_bytes = LARGEST
        limits.user_properties = 0  # any number
        limits.topic_levels = 0
        limits.topic_bytes = 65_535
        self._decoder = Decoder(limits, version, server=False)
        self._arrived: deque[ControlPacket] = deque()
        self._packet_identifier = 0
        self._read_behind = received
        self._began_at = trio.current_time()

    # -- bytes

    async def send(self, *packets: ControlPacket | bytes) -> None:
        """All of `packets` in one write, and one WebSocket frame; bytes go out as they are."""
        data = b"".join(packet if isinstance(packet, bytes) else encode(packet, self.version) for packet in packets)
        if self.frames is not None:
            data = binary_frames(data, FRAME_BYTES, masked=True)
        await self.send_raw(data)

    async def send_raw(self, data: bytes) -> None:
        """Bytes of the transport. That the Server is gone is no error here: the next wait tells how it went."""
        ended = contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError)
        with trio.CancelScope(deadline=self.deadline) as scope, ended:
            await self.stream.send_all(data)
        if scope.cancelled_caught:
            raise Wrong(f"the Server does not read: {len(data)} bytes could not be sent", expected="that it reads")

    async def read(self, deadline: float = float("inf")) -> bool:
        """Take what comes next into `arrived` or `ended`; False when nothing came until the deadline."""
        if self.ended:
            return True
        data, self._read_behind = self._read_behind, b""
        if not data:
            with trio.CancelScope(deadline=min(deadline, self.deadline)) as scope:
                try:
                    data = bytes(await self.stream.receive_some(65_536))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
            if scope.cancelled_caught:
                return False
        if len(self.began) < KEPT:
            self.began += data[: KEPT - len(self.began)]
        if not data:
            self.ended = "the Server closed the Network Connection"
        elif self.frames is None:
            self._decode(data)
        else:
            self._decode(self.frames.feed(data))
            replies = self.frames.take_replies()
            if replies:
                await self.send_raw(replies)
            if self.frames.closed and not self.ended:
                words = self.frames.violation or f"{self.frames.close_code} {self.frames.close_reason}".strip()
                self.fault = bool(self.frames.violation)
                self.ended = f"the WebSocket was closed: {words}"
        return True

    def _decode(self, data: bytes) -> None:
        for packet in self._decoder.feed(data):
            if isinstance(packet, Disconnect):
                self.reason = packet.reason
                self.ended = f"DISCONNECT {describe_reason(packet.reason, packet.properties.reason_string or '')}"
                return
            self._arrived.append(packet)
        if self._decoder.error is not None:
            self.fault = True
            self.ended = f"what the Server sent is no packet that a Client takes: {self._decoder.error.detail}"

    # -- packets

    def wrong(self, seen: str, expected: str, *statements: str, advice: str = "") -> Wrong:
        """To be raised: the statement is the one that holds for the version spoken here."""
        return Wrong(seen, expected=expected, statement=statement_for(self.version, statements), advice=advice)

    async def take(
        self,
        kind: type[Packet],
        expected: str,
        *statements: str,
        where: Callable[[Packet], bool] | None = None,
    ) -> Packet:
        """The first packet of type `kind` (that is so); `Wrong` when it does not come."""
        while True:
            for packet in self._arrived:
                if isinstance(packet, kind) and (where is None or where(packet)):
                    self._arrived.remove(packet)
                    return packet
            if self.ended:
                raise self.wrong(self.ended, expected, *statements)
            if not await self.read():
                raise self.wrong(self._nothing(), expected, *statements)

    async def next(self, expected: str, *statements: str) -> ControlPacket:
        """The next packet, whatever its type; `Wrong` when none comes."""
        while not self._arrived:
            if self.ended:
                raise self.wrong(self.ended, expected, *statements)
            if not await self.read():
                raise self.wrong(self._nothing(), expected, *statements)
        return self._arrived.popleft()

    def _nothing(self) -> str:
        waited = f"nothing within {trio.current_time() - self._began_at:.1f} s"
        if not self._arrived:
            return waited
        others = ", ".join(dict.fromkeys(describe(packet) for packet in list(self._arrived)[:3]))
        return f"{waited} but {others}"

    async def arriving(self, seconds: float, count: int = 0) -> list[Publish]:
        """The messages that come within so many seconds behind the first `count`; they are not acknowledged."""
        while sum(isinstance(packet, Publish) for packet in self._arrived) < count and not self.ended:
            if not await self.read():
                break
        until = trio.current_time() + seconds
        while not self.ended and await self.read(until):
            pass
        publishes = [packet for packet in self._arrived if isinstance(packet, Publish)]
        for publish in publishes:
            self._arrived.remove(publish)
        return publishes

    async def closing(self, patience: float, expected: str, *statements: str) -> str:
        """How the Server ends the Network Connection; `Wrong` when it does not.

        When it is not closed within `patience` seconds the Server is asked by a PINGREQ whether it is still served.
        """
        until = trio.current_time() + patience
        while not self.ended and await self.read(until):
            pass
        if not self.ended:
            await self.send(Pingreq())
            while not self.ended:
                if any(isinstance(packet, Pingresp) for packet in self._arrived):
                    raise self.wrong("the Network Connection stays open", expected, *statements)
                if not await self.read():
                    raise self.wrong(self._nothing(), expected, *statements)
        if self.fault:
            raise self.wrong(self.ended, expected, *statements)
        return self.ended

    # -- exchanges

    async def connect(self, connect: Connect) -> Connack:
        """CONNECT, and the CONNACK that must be the first packet to come, whatever it says."""
        await self.send(connect)
        try:
            first = await self.next("CONNACK", "MQTT5-3.1.4-5", "MQTT311-3.1.4-4")
        except Wrong:
            strange = self.began and self.began[0] != CONNACK_BYTE and self.reason is None
            if self.frames is None and strange:
                raise self.wrong(f"the answer is not MQTT: {strangers.describe(self.began)}", "CONNACK") from None
            raise
        if not isinstance(first, Connack):
            raise self.wrong(describe(first), "CONNACK as the first packet", "MQTT5-3.2.0-1", "MQTT311-3.2.0-1")
        self.connack = first
        return first

    async def subscribe(
        self, *filters: str | SubscriptionRequest, qos: int = 0, identifier: int = 0, refusable: bool = True
    ) -> list[int]:
        """SUBSCRIBE and its SUBACK; the Reason Codes. `Lacking` when one is a refusal, unless not `refusable`."""
        requests = [SubscriptionRequest(entry, qos) if isinstance(entry, str) else entry for entry in filters]
        properties = NO_PROPERTIES
        if identifier:
            properties = Properties()
            properties.subscription_identifiers = [identifier]
        packet_identifier = self.packet_identifier()
        await self.send(Subscribe(packet_identifier, requests, properties))
        suback = await self.take(Suback, "SUBACK", "MQTT5-3.8.4-1", "MQTT311-3.8.4-1")
        if suback.packet_identifier != packet_identifier:
            seen = f"SUBACK for Packet Identifier {suback.packet_identifier}"
            raise self.wrong(seen, f"for {packet_identifier}", "MQTT5-3.8.4-2", "MQTT311-3.8.4-2")
        if len(suback.reasons) != len(requests):
            seen = f"SUBACK with {len(suback.reasons)} Reason Codes"
            raise self.wrong(seen, f"{len(requests)}", "MQTT5-3.8.4-6", "MQTT311-3.8.4-5")
        for request, reason in zip(requests, suback.reasons, strict=True):
            if reason >= 0x80 and refusable:
                raise Lacking(f"SUBSCRIBE to {request.topic_filter!r} is refused: {describe_reason(reason)}")
        return suback.reasons

    async def unsubscribe(self, topic_filter: str) -> None:
        """UNSUBSCRIBE and its UNSUBACK."""
        packet_identifier = self.packet_identifier()
        await self.send(Unsubscribe(packet_identifier, [topic_filter]))
        unsuback = await self.take(Unsuback, "UNSUBACK", "MQTT5-3.10.4-4", "MQTT311-3.10.4-4")
        if unsuback.packet_identifier != packet_identifier:
            seen = f"UNSUBACK for Packet Identifier {unsuback.packet_identifier}"
            raise self.wrong(seen, f"for {packet_identifier}", "MQTT5-3.10.4-5", "MQTT311-3.10.4-4")

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        *,
        retain: bool = False,
        forwarded: bytes = b"",
        message_expiry_interval: int = -1,
        topic_alias: int = 0,
    ) -> ReasonCode:
        """PUBLISH and the whole exchange of its QoS; the Reason Code. `Lacking` where it is refused."""
        packet_identifier = self.packet_identifier() if qos else 0
        await self.send(
            Publish(
                topic,
                payload,
                qos=qos,
                retain=retain,
                packet_identifier=packet_identifier,
                forwarded=forwarded,
                message_expiry_interval=message_expiry_interval,
                topic_alias=topic_alias,
            )
        )
        return await self.acknowledged(packet_identifier, qos)

    async def acknowledged(self, packet_identifier: int, qos: int) -> ReasonCode:
        """The rest of the exchange for a PUBLISH that was sent."""
        if qos == 0:
            return ReasonCode.SUCCESS

        def same(packet: Puback | Pubrec | Pubcomp) -> bool:
            return packet.packet_identifier == packet_identifier

        answer: Puback | Pubrec
        if qos == 1:
            answer = await self.take(
                Puback, f"PUBACK {packet_identifier}", "MQTT5-4.3.2-4", "MQTT311-4.3.2-2", where=same
            )
        else:
            answer = await self.take(
                Pubrec, f"PUBREC {packet_identifier}", "MQTT5-4.3.3-8", "MQTT311-4.3.3-2", where=same
            )
        if answer.reason >= 0x80:
            raise Lacking(
                f"PUBLISH is refused: {describe_reason(answer.reason, answer.properties.reason_string or '')}"
            )
        if qos == 2:
            await self.send(Pubrel(packet_identifier))
            expected = f"PUBCOMP {packet_identifier}"
            await self.take(Pubcomp, expected, "MQTT5-4.3.3-11", "MQTT311-4.3.3-2", where=same)
        return ReasonCode(answer.reason)

    async def message(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        *statements: str,
        retain: bool = False,
        expected: str = "",
        acknowledge: bool = True,
    ) -> Publish:
        """The next message, which must be this one; its exchange is completed."""
        if not statements:
            statements = ("MQTT5-4.5.0-1", "MQTT311-4.5.0-1")
        publish = await self.take(Publish, expected or f"the message on {topic!r}", *statements)
        self._compare(publish, topic, payload, qos, retain, *statements)
        if acknowledge:
            await self.acknowledge(publish)
        return publish

    def _compare(self, publish: Publish, topic: str, payload: bytes, qos: int, retain: bool, *statements: str) -> None:
        if publish.topic != topic:
            raise self.wrong(f"a message on {publish.topic!r}", f"the message on {topic!r}", *statements)
        if publish.payload != payload:
            seen = f"a payload of {len(publish.payload)} bytes that is not the one published"
            raise self.wrong(seen, f"the {len(payload)} bytes as published", "MQTT5-4.2.0-1", "MQTT311-7.1.1-1")
        if publish.qos != qos:
            raise self.wrong(f"delivered at QoS {publish.qos}", f"QoS {qos}", "MQTT5-3.8.4-8", "MQTT311-3.8.4-6")
        if publish.retain != retain:
            why = "a new Subscription" if retain else "an established Subscription"
            ids = ("MQTT5 section 3.3.1.3", "MQTT311-3.3.1-8") if retain else ("MQTT5-3.3.1-12", "MQTT311-3.3.1-9")
            raise self.wrong(f"RETAIN {publish.retain:d} in a message for {why}", f"RETAIN {retain:d}", *ids)

    async def acknowledge(self, publish: Publish) -> None:
        """Our half of the exchange for a message that came."""
        packet_identifier = publish.packet_identifier
        if publish.qos == 1:
            await self.send(Puback(packet_identifier))
        elif publish.qos == 2:
            await self.send(Pubrec(packet_identifier))
            await self.take(
                Pubrel,
                f"PUBREL {packet_identifier}",
                "MQTT5-4.3.3-4",
                "MQTT311-4.3.3-1",
                where=lambda pubrel: pubrel.packet_identifier == packet_identifier,
            )
            await self.send(Pubcomp(packet_identifier))

    async def ping(self) -> float:
        """PINGREQ and its PINGRESP; how long that took, in seconds."""
        began = trio.current_time()
        await self.send(Pingreq())
        await self.take(Pingresp, "PINGRESP", "MQTT5-3.12.4-1", "MQTT311-3.12.4-1")
        return trio.current_time() - began

    def packet_identifier(self) -> int:
        """A fresh one."""
        self._packet_identifier = self._packet_identifier % 65_535 + 1
        return self._packet_identifier

    # -- the end

    async def lose(self) -> None:
        """End the Network Connection without a DISCONNECT."""
        await trio.aclose_forcefully(self.stream)

    async def leave(self) -> None:
        """DISCONNECT, wait a moment for the Server to close, and close. Never fails, and is not cancelled from outside.

        What is unread when we close would turn the close into a reset, and a DISCONNECT into an abnormal end.
        """
        with trio.CancelScope(shield=True, deadline=trio.current_time() + LEAVE_SECONDS):
            self.deadline = trio.current_time() + LEAVE_SECONDS
            try:
                if not self.ended:
                    goodbye = encode(Disconnect(), self.version)
                    if self.frames is not None:
                        goodbye = binary_frames(goodbye, FRAME_BYTES, masked=True) + self.frames.close()
                    await self.send_raw(goodbye)
                while not self.ended and await self.read():
                    pass
            except Wrong:  # it does not read
                pass
        await trio.aclose_forcefully(self.stream)


def describe(packet: ControlPacket) -> str:
    """`packet` in a few words."""
    name = type(packet).__name__.upper()
    if isinstance(packet, Publish):
        return f"PUBLISH on {packet.topic[:60]!r} at QoS {packet.qos}"
    if isinstance(packet, Puback | Pubrec | Pubrel | Pubcomp):
        return f"{name} {packet.packet_identifier} {describe_reason(packet.reason)}"
    return name


def refusal(connack: Connack, version: int) -> str:
    """What a CONNACK that refuses says; before 5.0 it is the Connect Return Code that came."""
    if version == MQTT_5_0:
        return describe_reason(connack.reason, connack.properties.reason_string or "")
    name = connack.reason.name.replace("_", " ").lower()
    return f"Connect Return Code {connect_return_code(connack.reason)}, {name}"


def is_refusal_of_credentials(reason: int) -> bool:
    """Whether a CONNACK says that it is about who we are, and so that others might be let in."""
    return reason in (
        ReasonCode.BAD_USER_NAME_OR_PASSWORD,
        ReasonCode.NOT_AUTHORIZED,
        ReasonCode.BANNED,
        ReasonCode.BAD_AUTHENTICATION_METHOD,
    )


VERSION_NAMES: Final = {3: "3.1", 4: "3.1.1", MQTT_5_0: "5.0"}
