from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

import broker
from broker.client import CannotConnect, Client, ConnectRefused, connect
from broker.config import Config, LimitsConfig, ListenerConfig
from broker.packets.types import Properties
from broker.simulation.devices import Device, build_fleet
from broker.simulation.fleet import Fleet
from tests.simulation.parts import LAMPS, NOON, fleet_of, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


def anywhere(**limits: Any) -> Config:
    return Config(
        listeners=[
            ListenerConfig(type="tcp", port=0, limits=LimitsConfig(**limits)),
            ListenerConfig(type="ws", port=0, limits=LimitsConfig(**limits)),
        ]
    )


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(15):
        while not true():  # noqa: ASYNC110  # a fleet tells nobody
            await trio.sleep(0.005)


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[None]:
    """The fleet lives while the block runs, and is ended behind it."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fleet.run)
            yield
            fleet.end()


async def left_over(client: Client) -> list[str]:
    """The topics of what is retained."""
    found = []
    async with client.subscribe("#") as messages:
        with trio.move_on_after(0.3):
            while True:
                found.append((await messages.receive()).topic)
    return found


@pytest.mark.parametrize("version", ["5.0", "3.1.1", "3.1"])
async def test_devices_are_born_publish_and_leave_nothing_behind(version: str) -> None:
    async with broker.serve(anywhere()) as server:
        urls = [listener.url for listener in server.listeners]
        fleet = Fleet(fleet_of("home", 7, rate=300.0, flaky=0.0), urls, version=version, clock=lambda: NOON)
        seen: dict[str, list[bytes]] = {}
        types: set[str | None] = set()
        with trio.fail_after(20):
            async with connect(urls[0]) as client, client.subscribe("home/#", qos=1, buffer=5000) as messages:
                async with running(fleet):
                    await until(lambda: fleet.published > 100 and fleet.connected == 7)
                assert (fleet.connected, fleet.cleared, fleet.lost, fleet.refused) == (0, 7, 0, 0)
                states = {device.state_topic for device in fleet.devices}
                while not all(seen.get(state, [b"?"])[-1] == b"" for state in states):
                    message = await messages.receive()
                    seen.setdefault(message.topic, []).append(message.payload)
                    types.add(message.properties.content_type)
            async with connect(urls[1]) as client:
                assert await left_over(client) == []
    for device in fleet.devices:
        assert seen[device.state_topic] == [b"online", b""]
    if version == "5.0":
        assert types == {None, "application/json", "application/msgpack", "text/plain"}
    said = [payload for topic, payloads in seen.items() if topic not in states for payload in payloads if payload]
    assert len(said) == fleet.published
    assert {int(json.loads(payload)["time"]) // 100_000 for payload in said if payload.startswith(b"{")} == {
        int(NOON * 1000) // 100_000
    }


async def test_the_rate_is_that_of_all_together() -> None:
    async with broker.serve(anywhere()) as server:
        fleet = Fleet(fleet_of("weather", 8, rate=400.0, flaky=0.0), [server.listeners[0].url])
        assert fleet.asked == pytest.approx(400.0)
        async with running(fleet):
            await until(lambda: fleet.connected == 8)
            before, began = fleet.published, trio.current_time()
            await trio.sleep(1.0)
            rate = (fleet.published - before) / (trio.current_time() - began)
    assert 100.0 < rate < 1000.0  # nor that of each, nor an eighth of it


async def test_what_cannot_be_said_in_time_is_counted_and_not_made_up_for() -> None:
    async with broker.serve(anywhere()) as server:
        fleet = Fleet(fleet_of("weather", 8, rate=1_000_000.0, flaky=0.0), [server.listeners[0].url])
        async with running(fleet):
            await until(lambda: fleet.missed > 100_000)
        assert fleet.published < fleet.missed
        assert fleet.cleared == 8


async def test_a_connection_that_takes_no_more_holds_messages_back() -> None:
    async with broker.serve(anywhere(receive_maximum=1)) as server:
        fleet = Fleet(fleet_of("weather", 1, rate=50_000.0, qos=1, flaky=0.0), [server.listeners[0].url])
        async with running(fleet):
            await until(lambda: fleet.held_back > 100)
    assert fleet.cleared == 1


async def test_a_flaky_device_has_its_will_and_comes_back() -> None:
    devices = fleet_of("vehicles", 3, flaky=1.0)
    for device in devices:
        device.uptime = 0.3
    async with broker.serve(anywhere()) as server:
        urls = [listener.url for listener in server.listeners]
        fleet = Fleet(devices, urls)
        states: dict[str, list[bytes]] = {device.state_topic: [] for device in devices}
        with trio.fail_after(25):
            async with (
                connect(urls[0]) as client,
                client.subscribe("vehicles/+/+/state", qos=1) as messages,
                running(fleet),
            ):
                while not all(len(said) >= 3 for said in states.values()):
                    message = await messages.receive()
                    states[message.topic].append(message.payload)
    assert all(said[:3] == [b"online", b"offline", b"online"] for said in states.values())
    assert fleet.dropped >= 3
    assert (fleet.lost, fleet.trouble) == (0, None)


async def test_flakiness_has_a_seed() -> None:
    def uptimes(seed: int) -> list[float]:
        devices = fleet_of("vehicles", 6, seed, flaky=0.5)
        return [device.connection_chance.expovariate(1.0) for device in devices if device.flaky]

    assert len(uptimes(1)) == 3
    assert uptimes(1) == uptimes(1) != uptimes(2)


async def test_a_device_that_is_thrown_out_is_born_again() -> None:
    async with broker.serve(anywhere()) as server:
        url = server.listeners[0].url
        fleet = Fleet(fleet_of("home", 1, flaky=0.0), [url])
        device = fleet.devices[0]
        with trio.fail_after(20):
            async with connect(url) as client, client.subscribe(device.state_topic) as messages:
                async with running(fleet):
                    assert (await messages.receive()).payload == b"online"
                    # Another Client of the same identifier takes its Session, and its Will Message is published
                    async with connect(url, client_identifier=device.name, reconnect=False):
                        assert (await messages.receive()).payload == b"offline"
                    assert (await messages.receive()).payload == b"online"
                    assert fleet.lost >= 1
                    assert fleet.trouble is not None
                    assert "taken over" in str(fleet.trouble)
                assert (await messages.receive()).payload == b""


async def test_lamps_obey_and_answer(tmp_path: Path) -> None:
    scenario = written(tmp_path, LAMPS)
    async with broker.serve(anywhere()) as server:
        urls = [listener.url for listener in server.listeners]
        fleet = Fleet(build_fleet([scenario], 2, 1), urls)
        light = fleet.devices[1].channels[0].topic
        with trio.fail_after(20):
            async with connect(urls[0]) as client, client.subscribe(light, qos=1) as messages, running(fleet):
                assert json.loads((await messages.receive()).payload)["on"] is False
                answer = await client.request("den/lamp-0002/set", '{"on": true, "level": 7}')
                assert json.loads(answer.payload) == {"ok": True}
                said = json.loads((await messages.receive()).payload)
                assert (said["on"], said["level"]) == (True, 7)
                answer = await client.request("den/lamp-0002/set", '{"level": 700}')
                assert json.loads(answer.payload) == {"ok": False, "error": "level: a number from 1 to 100 is wanted"}
                properties = Properties()
                properties.response_topic = "answers/nobody/reads"
                await client.publish("den/lamp-0001/set", b"\xff", qos=1, properties=properties)
                await until(lambda: fleet.disobeyed == 2)
    assert fleet.obeyed == 1
    assert fleet.cleared == 2


async def test_a_broker_that_is_not_there_is_asked_again_until_the_end() -> None:
    fleet = Fleet(fleet_of("home", 3), ["mqtt://127.0.0.1:1"])
    async with running(fleet):
        await until(lambda: fleet.failed >= 3)
        assert isinstance(fleet.trouble, CannotConnect)
    assert (fleet.lost, fleet.published, fleet.cleared, fleet.births) == (0, 0, 0, 0)


async def test_a_broker_that_dies_and_comes_back_has_its_fleet_again() -> None:
    with trio.fail_after(25):
        async with trio.open_nursery() as nursery:
            async with broker.serve(anywhere()) as server:
                port = server.listeners[0].port
                fleet = Fleet(fleet_of("home", 5, rate=100.0, flaky=0.0), [f"mqtt://127.0.0.1:{port}"])
                nursery.start_soon(fleet.run)
                await until(lambda: fleet.connected == 5)
            await until(lambda: fleet.connected == 0)
            before = fleet.published
            async with broker.serve(Config(listeners=[ListenerConfig(type="tcp", port=port)])):
                await until(lambda: fleet.connected == 5 and fleet.published > before + 20)
                fleet.end()
                await until(lambda: fleet.cleared == 5)
    assert fleet.lost >= 5
    assert fleet.births >= 10


async def test_a_broker_that_refuses_every_device_ends_it() -> None:
    config = anywhere(versions=(3, 4))
    async with broker.serve(config) as server:
        fleet = Fleet(fleet_of("home", 3), [server.listeners[0].url])
        with trio.fail_after(20), pytest.raises(ConnectRefused):
            await fleet.run()
    assert fleet.hopeless == 3


async def test_a_broker_that_retains_nothing_and_knows_qos_0_only_is_spoken_to_so() -> None:
    async with broker.serve(anywhere(maximum_qos=0, retain_available=False)) as server:
        url = server.listeners[0].url
        fleet = Fleet(fleet_of("home", 4, rate=200.0, qos=2, retain=True, flaky=0.0), [url])
        async with connect(url) as client, client.subscribe("home/#") as messages, running(fleet):
            await until(lambda: fleet.published > 20)
            assert {(await messages.receive()).qos for _ in range(10)} == {0}
    # Its Will Message is retained and of QoS 1, which such a broker refuses at first [MQTT-3.2.2-12]
    assert (fleet.hopeless, fleet.refused, fleet.cleared) == (0, 0, 4)


def test_each_kind_is_dealt_out_to_all_urls() -> None:
    urls = ["mqtt://h:1", "ws://h:2/mqtt", "unix:/x"]
    fleet = Fleet(fleet_of("factory", 24), urls)
    for kind, each in (("press", 4), ("motor", 2), ("oven", 2)):
        places = [member.place for member in fleet.members if member.device.kind == kind]
        assert [places.count(place) for place in range(3)] == [each] * 3
    assert {str(member.endpoint) for member in fleet.members} == set(urls)


def test_user_and_password_of_the_url_are_each_devices() -> None:
    (member,) = Fleet(fleet_of("home", 1), ["mqtt://me:secret@h:1"]).members
    assert (member.settings.user_name, member.settings.password) == ("me", b"secret")
    assert member.settings.client_identifier == "thermostat-0001"


@pytest.mark.parametrize(("devices", "urls"), [([], ["mqtt://h"]), (None, [])])
def test_a_fleet_without_anything_to_do(devices: list[Device] | None, urls: list[str]) -> None:
    with pytest.raises(ValueError, match="a fleet needs"):
        Fleet(fleet_of("home", 1) if devices is None else devices, urls)
