from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import broker
from broker.client import CannotConnect, SubscribeRefused, Tls, connect, parse
from broker.config import Config, LimitsConfig, ListenerConfig
from broker.simulation.fleet import Fleet
from broker.simulation.meter import Meter
from broker.simulation.watch import ROOTS, leads_to, topic_filters, watching
from tests.secured import Papers, secured
from tests.simulation.parts import fleet_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def brokers(count: int, **limits: object) -> AsyncIterator[list[str]]:
    """Two URLs for each broker: TCP and WebSocket."""
    urls: list[str] = []
    given = LimitsConfig.model_validate(limits)
    async with AsyncExitStack() as leaving:
        for _ in range(count):
            listeners = [ListenerConfig(type=kind, port=0, limits=given) for kind in ("tcp", "ws")]
            server = await leaving.enter_async_context(broker.serve(Config(listeners=listeners)))
            urls += [listener.url for listener in server.listeners]
        yield urls


def metered(fleet: Fleet) -> Meter:
    return Meter([(member.device, member.place) for member in fleet.members], len(fleet.urls))


async def test_each_broker_is_watched_once() -> None:
    async with brokers(2) as urls:
        fleet = Fleet(fleet_of("home", 8, rate=200.0, flaky=0.0), urls)
        meter = metered(fleet)
        with trio.fail_after(20):
            async with watching(fleet, meter, urls, "5.0") as watch:
                assert watch.groups == [[0, 1], [2, 3]]
                async with trio.open_nursery() as nursery:
                    await nursery.start(watch.run)
                    nursery.start_soon(fleet.run)
                    while fleet.published < 100:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                    fleet.end()
                    while fleet.cleared < 8 or meter.messages < fleet.published:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()
    assert meter.messages == fleet.published
    assert meter.births == 8
    by_place = [sum(row.by_place[place] for row in meter.rows.values()) for place in range(4)]
    assert all(count > 0 for count in by_place)


async def test_a_fleet_over_tls_is_watched_over_tls(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    async with secured(papers.context()) as (mqtts, wss):
        urls = [f"mqtts://127.0.0.1:{mqtts.port}", f"wss://127.0.0.1:{wss.port}/mqtt"]
        tls = {url: Tls(ca_file=papers.ca).ready(parse(url)) for url in urls}
        fleet = Fleet(fleet_of("home", 8, rate=200.0, flaky=0.0), urls, tls=tls)
        meter = metered(fleet)
        with trio.fail_after(20):
            async with watching(fleet, meter, urls, "5.0") as watch:
                assert watch.groups == [[0, 1]]
                async with trio.open_nursery() as nursery:
                    await nursery.start(watch.run)
                    nursery.start_soon(fleet.run)
                    while fleet.published < 100:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                    fleet.end()
                    while fleet.cleared < 8 or meter.messages < fleet.published:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()
        assert (len(mqtts.seen), len(wss.seen)) == (6, 5)
    assert (meter.births, fleet.failed, fleet.lost) == (8, 0, 0)


async def test_what_those_left_who_were_away_is_cleared() -> None:
    async with brokers(1) as urls:
        fleet = Fleet(fleet_of("home", 4), urls)
        fleet.members[0].cleared = True
        async with connect(urls[0]) as client:
            for device in fleet.devices:
                await client.publish(device.state_topic, b"offline", qos=1, retain=True)
            async with watching(fleet, metered(fleet), urls, "5.0") as watch:
                await watch.clear()
            assert fleet.cleared == 4
            async with client.subscribe("#") as messages:
                assert (await messages.receive()).topic == fleet.devices[0].state_topic
                with trio.move_on_after(0.2) as late:
                    await messages.receive()
                assert late.cancelled_caught


async def test_all_urls_are_asked_before_anything_begins() -> None:
    async with brokers(1) as urls:
        urls = [*urls, "mqtt://127.0.0.1:1"]
        fleet = Fleet(fleet_of("home", 3), urls)
        with pytest.raises(CannotConnect, match=r"127\.0\.0\.1:1"):
            async with watching(fleet, metered(fleet), urls, "5.0"):
                raise AssertionError("nobody is there")


async def test_a_url_where_nobody_speaks_mqtt_is_named() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, hang_up, 0)
        url = f"mqtt://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        fleet = Fleet(fleet_of("home", 1), [url])
        with pytest.raises(CannotConnect, match=f"^{url}: .* before CONNACK"):
            async with watching(fleet, metered(fleet), [url], "5.0"):
                raise AssertionError("nobody answers")
        nursery.cancel_scope.cancel()


async def test_two_doors_or_two_brokers() -> None:
    async with brokers(2) as urls, AsyncExitStack() as leaving:
        here, here_too, there = [await leaving.enter_async_context(connect(url)) for url in urls[:3]]
        assert await leads_to(here_too, here)
        assert not await leads_to(there, here)


async def test_a_broker_that_lets_nobody_watch_says_so() -> None:
    async with brokers(1, wildcard_subscription_available=False) as urls:
        fleet = Fleet(fleet_of("home", 1), urls)
        with pytest.RaisesGroup(SubscribeRefused):
            async with watching(fleet, metered(fleet), urls, "5.0") as watch:
                await watch.run()


def test_filters() -> None:
    urls = ["mqtt://h"]
    assert topic_filters(Fleet(fleet_of("home", 9), urls)) == ["home/#"]
    assert topic_filters(Fleet(fleet_of("home", 9, prefix="lab"), urls)) == ["lab/home/#"]
    devices = fleet_of("home", ROOTS + 1, prefix="lab")
    for place, device in enumerate(devices):
        device.root = f"lab/{place}"
    assert topic_filters(Fleet(devices, urls)) == ["lab/#"]
