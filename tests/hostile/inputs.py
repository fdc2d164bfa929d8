"""What a row of the tables says: an input, the one answer to it, and the words of a standard that ask for it.

A packet is written in the notation of `tests.packets.table.octets`; `[]` (no properties) is left out before 5.0, so
that one row serves every version. `because` is a normative statement, a section, or the setting whose bound was
exceeded.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.packets.table import octets

VERSIONS = (3, 4, 5)
CONNECTS = {  # without a Client Identifier, so that nobody takes over another's Session
    3: '10 .. "MQIsdp" 03 02 0000 ""',
    4: '10 .. "MQTT" 04 02 0000 ""',
    5: '10 .. "MQTT" 05 02 0000 [] ""',
}


class FirstBytes(NamedTuple):
    """What comes first on a Network Connection. `answer` are the bytes of 3.x, or empty; `reason` is the Reason Code of
    a 5.0 CONNACK that comes instead."""

    name: str
    data: bytes
    because: str
    answer: bytes = b""
    reason: int = 0


class Packets(NamedTuple):
    """What a connected Client sends. Exactly `answers[version]` comes back. Then, with a `reason`, the end: in 5.0 a
    DISCONNECT with that Reason Code and a close, before 5.0 the close alone. Without one the connection stays."""

    name: str
    data: dict[int, bytes]  # by protocol version
    because: str
    reason: int
    answers: dict[int, bytes]


class Frames(NamedTuple):
    """What comes behind the 101 of a WebSocket, `fresh` as it is or `connected`, behind a CONNACK. `answer` is the code
    of the Close frame that ends it, or, where the connection `stays`, the frames that come back."""

    name: str
    data: bytes
    because: str
    answer: bytes
    connected: bool = True
    fresh: bool = True
    stays: bool = False


class Head(NamedTuple):
    """An HTTP head, and the status of the response. `behind`: the code of the Close frame that ends what 101 has
    opened; empty where it stays open. `then`: the statuses of the responses to what stands behind the head."""

    name: str
    data: bytes
    because: str
    status: int
    listeners: tuple[str, ...] = ("ws", "auto")
    behind: bytes = b""
    then: tuple[int, ...] = ()


def first(name: str, notation: str, because: str, answer: str = "", reason: int = 0) -> FirstBytes:
    return FirstBytes(name, spoken(notation, 5), because, spoken(answer, 5), reason)


def broken(
    name: str, notation: str, because: str, reason: int, versions: tuple[int, ...] = VERSIONS, before: str = ""
) -> Packets:
    """An input that ends the connection; `before` is answered first."""
    data = {version: spoken(notation, version) for version in versions}
    return Packets(name, data, because, reason, {version: spoken(before, version) for version in versions})


def borne(name: str, notation: str, because: str, answer: str = "", versions: tuple[int, ...] = VERSIONS) -> Packets:
    """An input that is answered and leaves the connection as it is."""
    data = {version: spoken(notation, version) for version in versions}
    return Packets(name, data, because, 0, {version: spoken(answer, version) for version in versions})


def spoken(notation: str, version: int) -> bytes:
    """`notation` in a version; several packets are separated by a semicolon."""
    text = notation if version == 5 else notation.replace("[]", "")
    if version < 5 and "[" in text:
        raise ValueError(f"properties before 5.0: {notation}")
    return b"".join(octets(packet) for packet in text.split(";") if packet.strip())
