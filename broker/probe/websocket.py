"""WebSocket: does the door open, at which path, with which subprotocol, and do frames and packets go their own ways?"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import trio

from broker.packets.encode import PINGREQ_PACKET, encode
from broker.packets.types import Pingresp, Publish
from broker.probe.check import Group, Stage
from broker.probe.subject import open_stream
from broker.probe.verdict import Lacking, Skipped, Wrong
from broker.websocket.client_handshake import HandshakeRefused
from broker.websocket.frames import BINARY, TEXT, message_frame, ping_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.probe.trial import Trial

WEBSOCKET: Final = Group("websocket")
ONLY_WS: Final = ("ws", "wss")
USUAL_PATHS: Final = ("/mqtt", "/", "/ws")

_ADVICE: Final = {
    400: "A proxy that takes the Upgrade header away answers so; it must pass on Upgrade and Connection.",
    401: "The web server in front wants a login of its own.",
    403: "Refused by a rule: of the Origin, of the address, or of a proxy.",
    426: "A proxy that takes the Upgrade header away answers so; it must pass on Upgrade and Connection.",
    502: "The proxy does not reach the Server behind it.",
    503: "The proxy does not reach the Server behind it.",
    504: "The Server behind the proxy does not answer.",
}
_ORDINARY: Final = "An ordinary web page: another port or path, or a proxy that does not pass on Upgrade."
_CUT: Final = "Clients that cut their bytes otherwise, those for Node among them, lose messages or their connection."
_REDIRECT: Final = "The web server sends Clients elsewhere, to https perhaps; MQTT Clients do not follow."


@WEBSOCKET.check(
    "upgrade", "HTTP opens a WebSocket", "RFC6455-4.2.2", "RFC6455-4.2.1", stage=Stage.UPGRADE, schemes=ONLY_WS
)
async def upgrade(trial: Trial) -> str:
    """Does the path of the URL open a WebSocket with the subprotocol mqtt?"""
    path = trial.subject.endpoint.path
    trial.subject.strange = True
    refused = await _refusal(trial, path, ("mqtt",))
    trial.subject.strange = refused is not None and refused.status == 0
    if refused is None:
        return f"101 at {path}"
    if refused.status == 101:
        raise Wrong(refused.text, expected="an answer as RFC 6455 has it", statement="RFC6455-4.2.2")
    if refused.status == 0:
        raise Wrong(f"no HTTP answer at {path}: {refused.text}", expected="101 Switching Protocols")
    others = await _open_paths(trial, [other for other in USUAL_PATHS if other != path])
    if others:
        host = trial.subject.endpoint.authority
        advice = f"A WebSocket opens at {' and at '.join(f'ws://{host}{other}' for other in others)}"
    elif 200 <= refused.status < 300:
        advice = _ORDINARY
    elif 300 <= refused.status < 400:
        advice = _REDIRECT
    else:
        tried = ", ".join(other for other in USUAL_PATHS if other != path)
        advice = _ADVICE.get(refused.status, f"Not at {tried} either: ask for the path, or try another port.")
    raise Wrong(
        f"HTTP {status_name(refused.status)} at {path}: {refused.text}",
        expected="101 Switching Protocols",
        advice=advice,
    )


@WEBSOCKET.check("paths", "The other usual paths", stage=Stage.VERSION, schemes=ONLY_WS)
async def paths(trial: Trial) -> str:
    """Where else does it open? Many Clients have a path of their own set."""
    path = trial.subject.endpoint.path
    opened = await _open_paths(trial, [other for other in USUAL_PATHS if other != path])
    closed = [other for other in USUAL_PATHS if other not in opened and other != path]
    if not opened:
        return f"{path} alone"
    return f"{', '.join(opened)} open too" + (f", not {', '.join(closed)}" if closed else "")


@WEBSOCKET.check(
    "subprotocol", "The subprotocol mqtt is confirmed", "MQTT5-6.0.0-4", stage=Stage.VERSION, schemes=ONLY_WS
)
async def subprotocol(trial: Trial) -> str:
    """Does the answer name the subprotocol? A browser closes a WebSocket that it offered one for and got none."""
    opened = await _open(trial, "", ("mqtt",))
    if opened != "mqtt":
        raise Wrong(
            "the answer names no subprotocol",
            expected="Sec-WebSocket-Protocol: mqtt",
            statement="MQTT5-6.0.0-4",
            advice="Browsers refuse such an answer; perhaps a proxy drops the header.",
        )
    return "mqtt"


@WEBSOCKET.check("subprotocol-3.1", "The subprotocol mqttv3.1 of old Clients", stage=Stage.VERSION, schemes=ONLY_WS)
async def subprotocol_3_1(trial: Trial) -> str:
    """Are old Clients, which offer mqttv3.1, let in?"""
    if await _open(trial, "", ("mqttv3.1",), "mqttv3.1") != "mqttv3.1":
        raise Lacking("accepted, and not confirmed", advice="Browsers refuse such an answer.")
    return "mqttv3.1"


@WEBSOCKET.check(
    "no-subprotocol", "A Client that offers no subprotocol", "MQTT5-6.0.0-3", stage=Stage.VERSION, schemes=ONLY_WS
)
async def no_subprotocol(trial: Trial) -> str:
    """Are Clients that offer none let in? The standard obliges them to offer it; small ones do not."""
    found = await _open(trial, "", (), "no subprotocol")
    if found is not None:
        raise Wrong(
            f"the answer names the subprotocol {found!r}, which was not offered",
            expected="none",
            statement="RFC6455-4.2.2",
        )
    return "let in"


@WEBSOCKET.check(
    "joined",
    "Several packets in one frame",
    "MQTT5-6.0.0-2",
    "MQTT311-6.0.0-2",
    schemes=ONLY_WS,
    matters=_CUT,
)
async def joined(trial: Trial) -> str:
    """Are all packets of one frame read?"""
    peer = await trial.connect()
    topic = trial.topic()
    await peer.subscribe(topic)
    packet = encode(Publish(topic, b"joined"), peer.version)
    await peer.send(packet, PINGREQ_PACKET, packet)
    for place in ("first", "second"):
        await peer.message(
            topic, b"joined", 0, "MQTT5-6.0.0-2", "MQTT311-6.0.0-2", expected=f"the {place} message of one frame"
        )
    await peer.take(Pingresp, "PINGRESP for the PINGREQ between them", "MQTT5-6.0.0-2", "MQTT311-6.0.0-2")
    return "3 packets in a frame"


@WEBSOCKET.check(
    "split",
    "One packet across several frames",
    "MQTT5-6.0.0-2",
    "MQTT311-6.0.0-2",
    schemes=ONLY_WS,
    matters=_CUT,
)
async def split(trial: Trial) -> str:
    """Is a packet put together whose bytes come in messages and fragments of their own? Node's Clients send so."""
    peer = await trial.connect()
    topic = trial.topic()
    await peer.subscribe(topic)
    packet = encode(Publish(topic, b"split"), peer.version)
    head, rest = packet[:1], packet[1:]
    frames = [message_frame(BINARY, head, masked=True)]
    frames += [message_frame(BINARY, rest[at : at + 1], masked=True) for at in range(4)]
    # What remains is one message in two fragments
    first = bytearray(message_frame(BINARY, rest[4:8], masked=True))
    first[0] &= 0x7F
    frames += [bytes(first), message_frame(0, rest[8:], masked=True)]
    for frame in frames:
        await peer.send_raw(frame)
    await peer.message(topic, b"split", 0, "MQTT5-6.0.0-2", "MQTT311-6.0.0-2", expected="the message put together")
    return f"1 packet in {len(frames)} frames"


@WEBSOCKET.check("ping-frame", "A Ping frame is answered", "RFC6455-5.5.2", schemes=ONLY_WS)
async def ping_frame_answered(trial: Trial) -> str:
    """Do WebSocket's own pings pass? Proxies and Clients keep connections open by them."""
    peer = await trial.connect()
    await peer.send_raw(ping_frame(b"probe", masked=True))
    assert peer.frames is not None
    while not peer.frames.pongs_received:
        if peer.ended or not await peer.read():
            seen = peer.ended or "no Pong"
            raise Wrong(seen, expected="a Pong frame", statement="RFC6455-5.5.2")
    if b"\x8a\x05probe" not in peer.began:
        raise Wrong("a Pong with another payload", expected="the Ping's payload", statement="RFC6455-5.5.3")
    return "answered with its Pong"


@WEBSOCKET.check(
    "text-frame",
    "A text frame ends the connection",
    "MQTT5-6.0.0-1",
    "MQTT311-6.0.0-1",
    schemes=ONLY_WS,
    matters="Good Clients notice nothing of it; the mistakes of others stay hidden.",
)
async def text_frame(trial: Trial) -> str:
    """Is a text frame, which MQTT forbids, refused?"""
    peer = await trial.connect()
    packet = encode(Publish(trial.topic(), b"text"), peer.version)
    if not packet.isascii():
        raise Skipped("no packet of ours is text", advice="A shorter topic makes one: -t.")
    await peer.send_raw(message_frame(TEXT, packet, masked=True))
    return await peer.closing(trial.grace, "that the connection is closed", "MQTT5-6.0.0-1", "MQTT311-6.0.0-1")


def status_name(status: int) -> str:
    """ "404 Not Found"."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


async def _refusal(trial: Trial, path: str, subprotocols: Sequence[str]) -> HandshakeRefused | None:
    """How the upgrade is refused; None when it is not. `Wrong` when there is no answer."""
    with trio.CancelScope(deadline=trial.deadline) as scope:
        try:
            opened = await open_stream(trial.subject.endpoint, path, subprotocols, tls=trial.subject.tls)
        except HandshakeRefused as refused:
            return refused
        except OSError as error:
            raise Wrong(f"cannot connect: {error}") from error
        await trio.aclose_forcefully(opened.stream)
        return None
    assert scope.cancelled_caught
    raise Wrong("no answer to the upgrade request", expected="an HTTP answer", statement="RFC6455-4.2.2")


async def _open_paths(trial: Trial, tried: Sequence[str]) -> list[str]:
    opened: list[str] = []

    async def one(path: str) -> None:
        try:
            if await _refusal(trial, path, ("mqtt",)) is None:
                opened.append(path)
        except Wrong:  # no answer is no open path
            pass

    async with trio.open_nursery() as nursery:
        for path in tried:
            nursery.start_soon(one, path)
    return [path for path in tried if path in opened]


async def _open(trial: Trial, path: str, subprotocols: Sequence[str], offered: str = "") -> str | None:
    """The subprotocol that the answer names; `Lacking` where `offered` is refused."""
    with trio.CancelScope(deadline=trial.deadline):
        try:
            opened = await open_stream(trial.subject.endpoint, path, subprotocols, tls=trial.subject.tls)
        except HandshakeRefused as refused:
            if refused.status == 101:
                raise Wrong(
                    refused.text, expected="an offered subprotocol or none", statement="RFC6455-4.2.2"
                ) from refused
            raise Lacking(f"{offered or subprotocols[0]} is refused: HTTP {refused.status} {refused.text}") from refused
        except OSError as error:
            raise Wrong(f"cannot connect: {error}") from error
        await trio.aclose_forcefully(opened.stream)
        return opened.subprotocol
    raise Wrong("no answer to the upgrade request", expected="an HTTP answer", statement="RFC6455-4.2.2")
