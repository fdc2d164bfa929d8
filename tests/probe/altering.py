"""What `Tampered` may do to the packets of a good broker, one wrong thing each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.encode import encode_publish
from broker.packets.types import MQTT_5_0, Connack, ControlPacket, Properties, Publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.probe.servers import Alter


def dropping(*kinds: type[ControlPacket], on: str = "") -> Alter:
    """Packets of these types are never sent; of PUBLISH those on a topic that holds `on`."""

    def alter(packet: ControlPacket, _: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, kinds) and (not isinstance(packet, Publish) or on in packet.topic):
            return []
        return [packet]

    return alter


def publishing(change: Callable[[Publish, int], bytes], on: str) -> Alter:
    """Messages of the check `on` are sent as `change` writes them."""

    def alter(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Publish) and f"/{on}" in packet.topic:
            return [change(packet, version)]
        return [packet]

    return alter


def changing(on: str, **changes: object) -> Alter:
    """Messages of the check `on` are sent with these fields instead of their own."""
    return publishing(lambda packet, version: written(packet, version, **changes), on)


def written(packet: Publish, version: int, **changes: object) -> bytes:
    """A PUBLISH of the same kind with some of its fields changed."""
    fields: dict[str, object] = {
        "topic": packet.topic.encode(),
        "payload": packet.payload,
        "qos": packet.qos,
        "retain": packet.retain,
        "dup": packet.dup,
        "packet_identifier": packet.packet_identifier,
        "version": version,
        "forwarded": packet.forwarded,
        "message_expiry": packet.message_expiry_interval,
        "subscription_identifiers": packet.subscription_identifiers,
    }
    return encode_publish(**(fields | changes))  # type: ignore[arg-type]  # written by name


def announcing(**properties: object) -> Alter:
    """A CONNACK of 5.0 that says this and nothing else."""

    def alter(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Connack) and version == MQTT_5_0:
            said = Properties()
            for name, value in properties.items():
                setattr(said, name, value)
            return [Connack(packet.reason, packet.session_present, said)]
        return [packet]

    return alter


def answering_connect(answer: bytes | ControlPacket, *versions: int) -> Alter:
    """A CONNACK of `versions`, or of all, is sent as this."""

    def alter(packet: ControlPacket, version: int) -> list[ControlPacket | bytes]:
        if isinstance(packet, Connack) and (not versions or version in versions):
            return [answer]
        return [packet]

    return alter
