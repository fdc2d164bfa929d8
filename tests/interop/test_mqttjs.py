"""MQTT.js in Node, over TCP and WebSocket, and in a page of a headless Chromium.

In Node a Control Packet comes as six to nine WebSocket frames; in a page several come in one. A page is of another
origin than the broker, but both are of this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop import brokers, mqttjs
from tests.interop.mqttjs import Message
from tests.interop.paho_client import PahoClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.brokers import Door, RunningBroker
    from tests.interop.mqttjs import MqttJs

VERSIONS = {"3.1": 3, "3.1.1": 4, "5.0": 5}

once = pytest.mark.build("plain")  # a browser takes long
every_version = pytest.mark.parametrize("version", list(VERSIONS))
bytes_of_all_values = bytes(range(256))


@pytest.fixture(scope="module")
def node() -> Iterator[MqttJs]:
    with mqttjs.in_node() as client:
        yield client


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MqttJs]:
    profile = tmp_path_factory.mktemp("chromium") / "profile"
    with mqttjs.page_server() as server, mqttjs.in_chromium(server, profile) as client:
        yield client


@pytest.fixture(params=["node-tcp", "node-ws", pytest.param("chromium-ws", marks=once)])
def place(request: pytest.FixtureRequest) -> str:
    """Where MQTT.js runs, and by which door it comes."""
    text: str = request.param
    return text


@pytest.fixture
def client(request: pytest.FixtureRequest, place: str) -> MqttJs:
    found: MqttJs = request.getfixturevalue(place.split("-")[0])
    return found


@pytest.fixture
def door(served: RunningBroker, place: str) -> Door:
    return served.doors[place.split("-")[1]]


def session_options(version: str) -> dict[str, object]:
    """MQTT.js's options for a Session that outlives its connection."""
    return {"clean": False, **({"properties": {"sessionExpiryInterval": 60}} if version == "5.0" else {})}


@every_version
def test_messages_of_every_qos(client: MqttJs, door: Door, version: str, root: str) -> None:
    assert client.connect(door.url, version, root)["event"] == "connect"
    assert client.subscribe(f"{root}/+", qos=2) == [2]
    for qos in (0, 1, 2):
        client.publish(f"{root}/{qos}", bytes_of_all_values, qos)
        assert client.receive() == Message(f"{root}/{qos}", bytes_of_all_values, qos, False)
    client.unsubscribe(f"{root}/+")
    client.end()


@every_version
def test_retained_messages_come_first_then_live_ones(client: MqttJs, door: Door, version: str, root: str) -> None:
    with PahoClient(door, VERSIONS[version]) as publisher:
        states = {f"{root}/{number}/state" for number in range(20)}
        for topic in states:
            publisher.publish(topic, b"kept", qos=1, retain=True)
        client.connect(door.url, version, root)
        client.subscribe(f"{root}/+/state", qos=1)
        first = [client.receive() for _ in states]
        publisher.publish(f"{root}/0/state", b"live", qos=1, retain=True)
        then = client.receive()
    assert {message.topic for message in first} == states
    assert {(message.payload, message.qos, message.retain) for message in first} == {(b"kept", 1, True)}
    assert then == Message(f"{root}/0/state", b"live", 1, False)
    client.end()


@every_version
def test_a_large_payload_passes_whole(client: MqttJs, door: Door, version: str, root: str) -> None:
    payload = bytes_of_all_values * 1200
    client.connect(door.url, version, root)
    client.subscribe(root, qos=2)
    for qos in (0, 2):
        client.publish(root, payload, qos)
        assert client.receive().payload == payload
    client.end()


@every_version
def test_the_broker_closes_soon_after_disconnect(client: MqttJs, door: Door, version: str, root: str) -> None:
    client.connect(door.url, version, root)
    assert client.end() < 10.0


@every_version
def test_a_dropped_client_comes_back_to_its_session(client: MqttJs, door: Door, version: str, root: str) -> None:
    options = {"reconnectPeriod": 100, "resubscribe": False, **session_options(version)}
    assert client.connect(door.url, version, root, **options)["sessionPresent"] is False
    client.subscribe(f"{root}/#", qos=2)
    usurper = PahoClient(door, VERSIONS[version], root, clean=False, session_expiry=60)
    usurper.connect()
    client.wait("close")
    assert client.wait("connect")["sessionPresent"] is (version != "3.1")
    usurper.wait_disconnected()
    with PahoClient(door, VERSIONS[version]) as publisher:
        publisher.publish(f"{root}/x", b"after the return", qos=2)
    assert client.receive() == Message(f"{root}/x", b"after the return", 2, False)
    client.end()


@pytest.mark.parametrize("version", ["3.1.1", "5.0"])
def test_a_client_survives_a_restart_of_the_broker(
    client: MqttJs, place: str, version: str, root: str, tmp_path: Path
) -> None:
    door_type = place.split("-")[1]
    with brokers.served(tmp_path) as first:
        client.connect(first.doors[door_type].url, version, root, reconnectPeriod=200)
        client.subscribe(f"{root}/#", qos=1)
    client.wait("close")
    with brokers.served(tmp_path, tcp_port=first.tcp.port, ws_port=first.ws.port) as second:
        assert client.wait("connect")["sessionPresent"] is False
        client.subscribe(f"{root}/again", qos=1)
        with PahoClient(second.tcp) as publisher:
            publisher.publish(f"{root}/x", b"after the restart", qos=1)
        assert client.receive() == Message(f"{root}/x", b"after the restart", 1, False)
        client.end()


def test_properties_are_forwarded(client: MqttJs, door: Door, root: str) -> None:
    client.connect(door.url, "5.0", root)
    client.subscribe(root)
    client.publish(root, b"{}", contentType="application/json", userProperties={"colour": "red"})
    event = client.receive_event()
    assert event["contentType"] == "application/json"
    assert event["userProperties"] == {"colour": "red"}
    client.end()


@once
@every_version
def test_a_closed_page_publishes_its_will(served: RunningBroker, version: str, root: str, tmp_path: Path) -> None:
    with PahoClient(served.tcp, VERSIONS[version]) as watcher:
        watcher.subscribe(f"{root}/gone", qos=1)
        with mqttjs.page_server() as server, mqttjs.in_chromium(server, tmp_path / "profile") as page:
            will = {"topic": f"{root}/gone", "payload": "closed", "qos": 1, "retain": False}
            page.connect(served.ws.url, version, root, will=will)
        message = watcher.receive()
    assert (message.topic, message.payload, message.qos) == (f"{root}/gone", b"closed", 1)


@once
def test_a_page_of_a_foreign_origin_is_refused(chromium: MqttJs, root: str, tmp_path: Path) -> None:
    configuration = tmp_path / "broker.toml"
    configuration.write_text('[limits]\norigins = ["https://dashboard.example"]\n')
    with brokers.served(tmp_path, "-c", str(configuration)) as strict:
        assert chromium.connect(strict.ws.url, "3.1.1", root)["event"] != "connect"


@pytest.mark.parametrize("path", ["/mqtt", "/", ""])
def test_both_paths_are_open(node: MqttJs, served: RunningBroker, path: str, root: str) -> None:
    url = f"ws://{served.ws.host}:{served.ws.port}{path}"
    assert node.connect(url, "3.1.1", root)["event"] == "connect"
    node.end()
