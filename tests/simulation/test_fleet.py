from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import broker
from broker.client import CannotConnect, connect
from broker.config import Config, ListenerConfig
from broker.simulation.devices import build_fleet
from broker.simulation.fleet import Fleet, transport

NOON = 1_763_726_400.0


def anywhere() -> Config:
    return Config(listeners=[ListenerConfig(type="tcp", port=0), ListenerConfig(type="ws", port=0)])


async def test_devices_are_born_publish_and_leave_nothing_behind() -> None:
    async with broker.serve(anywhere()) as server:
        urls = [listener.url for listener in server.listeners]
        fleet = Fleet(build_fleet("home", 6, 1), urls, rate=300.0, clock=lambda: NOON)
        seen: dict[str, list[bytes]] = {}
        types: set[str | None] = set()
        with trio.fail_after(20):
            async with connect(urls[0]) as client, client.subscribe("home/#", qos=1) as messages:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fleet.run)
                    async for message in messages:
                        seen.setdefault(message.topic, []).append(message.payload)
                        types.add(message.properties.content_type)
                        if fleet.published > 60 and fleet.connected == 6:
                            break
                    fleet.end()
                async for message in messages:
                    seen.setdefault(message.topic, []).append(message.payload)
                    if sum(said[-1] == b"" for said in seen.values()) == 6:
                        break
            async with connect(urls[1]) as client, client.subscribe("#") as messages:
                with trio.move_on_after(0.3) as late:
                    await messages.receive()
        assert late.cancelled_caught, "something is left in the broker"
    for device in fleet.devices:
        assert seen[f"{device.topic}/state"] == [b"online", b""]
        assert len([topic for topic in seen if topic.startswith(f"{device.topic}/")]) == 1 + len(device.sweep())
    assert types == {None, "application/json", "application/msgpack"}
    assert (fleet.connected, fleet.cleared, fleet.lost) == (0, 6, 0)
    assert fleet.published == sum(len(said) for topic, said in seen.items() if not topic.endswith("/state"))


async def test_the_rate_is_that_of_all_together() -> None:
    async with broker.serve(anywhere()) as server:
        fleet = Fleet(build_fleet("weather", 4, 1), [server.listeners[0].url], rate=100.0)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fleet.run)
                while fleet.connected < 4:  # noqa: ASYNC110  # a fleet tells nobody
                    await trio.sleep(0.01)
                before, began = fleet.published, trio.current_time()
                await trio.sleep(1.0)
                rate = (fleet.published - before) / (trio.current_time() - began)
                fleet.end()
    assert 50.0 < rate <= 115.0


async def test_a_device_that_vanishes_has_its_will_and_one_that_comes_back_is_born_again() -> None:
    async with broker.serve(anywhere()) as server:
        url = server.listeners[0].url
        fleet = Fleet(build_fleet("home", 1, 1), [url], rate=50.0)
        device = fleet.devices[0]
        with trio.fail_after(20):
            async with connect(url) as client, client.subscribe(f"{device.topic}/state") as messages:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fleet.run)
                    assert (await messages.receive()).payload == b"online"
                    # Another Client of the same identifier takes its Session, and its Will is published
                    async with connect(url, client_identifier=device.name, reconnect=False):
                        assert (await messages.receive()).payload == b"offline"
                    assert (await messages.receive()).payload == b"online"
                    assert fleet.lost >= 1
                    assert fleet.trouble is not None
                    fleet.end()
                assert (await messages.receive()).payload == b""


async def test_a_broker_that_is_not_there_is_asked_again_until_the_end() -> None:
    fleet = Fleet(build_fleet("home", 3, 1), ["mqtt://127.0.0.1:1"], rate=50.0)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fleet.run)
            while fleet.lost < 3:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert isinstance(fleet.trouble, CannotConnect)
            await wait_all_tasks_blocked()
            fleet.end()
    assert (fleet.connected, fleet.published, fleet.cleared) == (0, 0, 0)


def test_each_kind_is_dealt_out_to_all_urls() -> None:
    urls = ["mqtt://h:1", "ws://h:2/mqtt", "unix:/x"]
    fleet = Fleet(build_fleet("factory", 12, 1), urls, rate=1.0)
    for kind in ("press", "motor"):
        found = [fleet.url_of[device.topic] for device in fleet.devices if device.kind == kind]
        assert {url: found.count(url) for url in urls} == dict.fromkeys(urls, 2)
    assert fleet.transport_of(f"{fleet.devices[0].topic}/count") == "tcp"
    assert fleet.transport_of(f"{fleet.devices[1].topic}/shaft") == "ws"
    assert fleet.transport_of("factory/somebody-else/x") == ""
    assert [transport(url) for url in urls] == ["tcp", "ws", "unix"]


@pytest.mark.parametrize(("devices", "urls", "rate"), [(0, ["mqtt://h"], 1.0), (1, [], 1.0), (1, ["mqtt://h"], 0.0)])
def test_a_fleet_without_anything_to_do(devices: int, urls: list[str], rate: float) -> None:
    with pytest.raises(ValueError, match="a fleet needs"):
        Fleet(build_fleet("home", devices, 1), urls, rate)
