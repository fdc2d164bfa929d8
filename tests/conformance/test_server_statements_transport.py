"""What the standards ask of the transport below MQTT, over real sockets."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import trio
from websockets.frames import Close, Frame, Opcode

import broker
from broker.config import Config, ListenerConfig
from broker.core.grants import Grant
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Publish
from tests.conformance.scripts import VERSIONS, Gate
from tests.conformance.scripts import publish as publish_bytes
from tests.scripted import Peer, WebSocketStream
from tests.statements import statement

if TYPE_CHECKING:
    from pathlib import Path

    from broker.transport.listeners import Listener

TRANSPORTS = pytest.mark.parametrize("transport", ["tcp", "ws", "unix", "auto"])


def config(transport: str, folder: Path) -> Config:
    if transport == "unix":
        return Config(listeners=[ListenerConfig(type="unix", path=str(folder / "socket"))])
    return Config(listeners=[ListenerConfig.model_validate({"type": transport, "host": "127.0.0.1", "port": 0})])


async def peer(listener: Listener, version: int, client_identifier: str) -> Peer:
    """A connected Client through that listener; over WebSocket too, where it speaks it."""
    stream: trio.abc.Stream
    if listener.type == "unix":
        stream = await trio.open_unix_socket(listener.url.removeprefix("unix:"))
    else:
        stream = await trio.open_tcp_stream(listener.host, listener.port)
    if listener.type == "ws":
        stream = WebSocketStream(stream, listener.url)
        await stream.open()
    client = Peer(stream, version)
    await client.connect(client_identifier)
    return client


@statement("MQTT5-4.2.0-1", "MQTT5-4.2-1", "MQTT311-7.1.1-1")
@VERSIONS
@TRANSPORTS
async def test_a_stream_of_bytes_comes_through_whole_and_in_order(transport: str, version: int, tmp_path: Path) -> None:
    async with broker.serve(config(transport, tmp_path)) as server:
        subscriber = await peer(server.listeners[0], version, "s")
        publisher = await peer(server.listeners[0], version, "p")
        await subscriber.subscribe("a", qos=1)
        sent, received = hashlib.sha256(), hashlib.sha256()

        async def publish_all() -> None:
            for number in range(40):
                payload = bytes([number]) * (number * 997 % 20_011)
                sent.update(payload)
                await publisher.publish("a", payload, qos=1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_all)
            for _ in range(40):
                received.update((await subscriber.message()).payload)
        assert sent.digest() == received.digest()
        await subscriber.leave()
        await publisher.leave()


class Faulty(Grant):
    """Meets an error of its own when asked about "boom"."""

    def __init__(self) -> None:
        super().__init__(everything=False)

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        if topic == "boom":
            raise RuntimeError("out of order today")
        return ReasonCode.SUCCESS


@statement("MQTT311-4.8.0-2", "MQTT5-4.13.2-1")
@VERSIONS
@TRANSPORTS
async def test_an_error_of_ours_ends_the_connection_that_met_it(
    transport: str, version: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker.serve(config(transport, tmp_path), authenticator=Gate(Faulty())) as server:
        other = await peer(server.listeners[0], version, "other")
        await other.subscribe("a")
        client = await peer(server.listeners[0], version, "c")
        await client.send(Publish("boom", b"x", qos=1, packet_identifier=1))
        await client.disconnected(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)
        await client.lose()
        await other.publish("b", b"x", qos=1)
        await other.lose()
    assert "out of order today" in caplog.text


@statement("RFC6455-7.1.1", "RFC6455-7.1.2", "RFC6455-5.5.1")
@pytest.mark.parametrize("code", [1000, 1001, 4999])
async def test_the_server_answers_a_close_and_closes_the_socket_first(code: int, tmp_path: Path) -> None:
    async with broker.serve(config("ws", tmp_path)) as server:
        client = await peer(server.listeners[0], MQTT_5_0, "c")
        stream = client.stream
        assert isinstance(stream, WebSocketStream)
        socket = stream.stream
        close = Frame(Opcode.CLOSE, Close(code, "bye").serialize())
        await socket.send_all(close.serialize(mask=True))
        answer = b""
        with trio.fail_after(5):
            while data := await socket.receive_some():
                answer += data
        assert answer[:2] == bytes([0x88, len(answer) - 2])
        assert int.from_bytes(answer[2:4], "big") == code
        await socket.aclose()


@statement("RFC6455-7.1.1", "RFC6455-7.1.7", "RFC6455-5.1", "MQTT5-6.0.0-1", "MQTT311-6.0.0-1")
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(Opcode.TEXT, b"hello").serialize(mask=True), 1003),
        (Frame(Opcode.BINARY, b"\xc0\x00").serialize(mask=False), 1002),
    ],
    ids=["text", "unmasked"],
)
async def test_a_frame_that_is_not_taken_ends_both_layers(frame: bytes, code: int, tmp_path: Path) -> None:
    async with broker.serve(config("ws", tmp_path)) as server:
        watcher = await peer(server.listeners[0], MQTT_5_0, "w")
        await watcher.subscribe("#")
        client = await peer(server.listeners[0], MQTT_5_0, "c")
        stream = client.stream
        assert isinstance(stream, WebSocketStream)
        await stream.stream.send_all(frame + Frame(Opcode.BINARY, publish_bytes(MQTT_5_0, "a")).serialize(mask=True))
        await client.closed()
        assert stream.close_code == code
        assert await stream.stream.receive_some() == b""
        await watcher.quiet()
        await client.lose()
        await watcher.lose()


@statement("MQTT5-6.0.0-2", "MQTT311-6.0.0-2")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_frames_and_packets_need_not_be_aligned(size: int, tmp_path: Path) -> None:
    async with broker.serve(config("ws", tmp_path)) as server:
        client = await peer(server.listeners[0], MQTT_3_1_1, "c")
        await client.subscribe("a")
        data = b"".join(publish_bytes(MQTT_3_1_1, "a", b"%d" % number) for number in range(20))
        for start in range(0, len(data), size):
            await client.send(data[start : start + size])
        assert [message.payload for message in await client.messages(20)] == [b"%d" % number for number in range(20)]
        await client.leave()


@statement("MQTT5-6.0.0-4", "MQTT311-6.0.0-4", "MQTT5-6.0.0-3", "MQTT311-6.0.0-3", "RFC6455-4.2.2")
@pytest.mark.parametrize("offered", [("mqtt",), ("mqttv3.1", "mqtt"), ("chat", "mqtt")])
async def test_the_subprotocol_is_mqtt(offered: tuple[str, ...], tmp_path: Path) -> None:
    async with broker.serve(config("ws", tmp_path)) as server:
        listener = server.listeners[0]
        tcp = await trio.open_tcp_stream(listener.host, listener.port)
        stream = WebSocketStream(tcp, listener.url, offered)
        await stream.open()
        assert stream.protocol.subprotocol == "mqtt"
        await stream.aclose()
