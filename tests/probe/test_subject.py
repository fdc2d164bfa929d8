from __future__ import annotations

import pytest

from broker.client import parse
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, Connack, Properties
from broker.probe.subject import Subject, open_stream
from broker.websocket.client_handshake import HandshakeRefused
from tests.probe.servers import answering, scripted
from tests.probe.webserver import page, web

ENDPOINT = parse("mqtt://127.0.0.1")


def test_no_two_probes_meet() -> None:
    one, other = Subject(ENDPOINT), Subject(ENDPOINT)
    assert one.root != other.root
    assert one.root.startswith("triomq-probe/")
    assert Subject(ENDPOINT, prefix="site/a").root.startswith("site/a/")
    names = {subject.client_identifier() for subject in (one, other) for _ in range(100)}
    assert len(names) == 200
    assert all(name.isalnum() and name.isascii() and len(name) <= 23 for name in names)  # what 3.1 takes
    assert Subject(ENDPOINT, identifier_prefix="meter-").client_identifier().startswith("meter-")


def test_the_best_version_is_first() -> None:
    subject = Subject(ENDPOINT)
    assert subject.versions == []
    subject.accepted |= {MQTT_3_1, MQTT_5_0, MQTT_3_1_1}
    assert subject.versions == [MQTT_5_0, MQTT_3_1_1, MQTT_3_1]


def test_what_a_connack_announces_holds() -> None:
    subject = Subject(ENDPOINT)
    assert subject.announced.maximum_qos == 2
    said = Properties()
    said.maximum_qos = 1
    subject.welcome(Connack(ReasonCode.SUCCESS, False, said))
    assert subject.announced.maximum_qos == 1


async def test_a_stream_is_opened() -> None:
    async with scripted(answering(b"x")) as endpoint:
        opened = await open_stream(endpoint)
        assert (opened.frames, opened.received, opened.subprotocol) == (None, b"", None)
        await opened.stream.aclose()
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await open_stream(endpoint)


async def test_a_websocket_is_opened() -> None:
    async with web(path="/elsewhere") as endpoint:
        opened = await open_stream(endpoint, "/here", ("mqttv3.1", "mqtt"))
        assert opened.frames is not None
        assert opened.subprotocol == "mqttv3.1"
        await opened.stream.aclose()


async def test_a_websocket_is_refused() -> None:
    async with web(lambda request: page("418 Teapot", request.path)) as endpoint:
        with pytest.raises(HandshakeRefused, match="HTTP status 418: /other"):
            await open_stream(endpoint, "/other")
    async with scripted(answering(b"SSH-2.0-x\r\n"), "ws", "/") as endpoint:
        with pytest.raises(HandshakeRefused, match=r"not HTTP: 'SSH-2\.0-x'"):
            await open_stream(endpoint)
