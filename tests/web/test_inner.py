"""A Client without a network is there for as long as its block lasts."""

from __future__ import annotations

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import Connack, Connect, Puback, Publish
from broker.web.exchange import Caller
from broker.web.heads import read_head
from broker.web.inner import Ended, Inner
from tests.web.lines import MemoryLine
from tests.web.systems import Bench


def caller() -> Caller:
    return Caller(MemoryLine(), read_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[1])


async def test_it_is_a_client_like_any_other() -> None:
    bench = Bench()
    async with Inner(bench.system, caller(), {"x": "y"}) as client:
        assert client.connection.peer.headers == {"x": "y"}
        await client.say(Connect("me"))
        assert (await client.hear(Connack)).reason == ReasonCode.SUCCESS
        assert list(bench.broker.sessions) == ["me"]
        await client.say(Publish("a", b"x", qos=1, packet_identifier=7))
        assert (await client.hear(Puback)).packet_identifier == 7
    assert bench.broker.sessions == {}
    assert bench.broker.connections == {}


async def test_the_end_is_heard() -> None:
    bench = Bench()
    async with Inner(bench.system, caller(), {}) as client:
        await client.say(Connect("me"))
        bench.broker.shut_down(bench.now)
        bench.broker.flush(bench.now)
        with pytest.raises(Ended) as caught:
            await client.hear(Puback)
        assert caught.value.reason == ReasonCode.SERVER_SHUTTING_DOWN
        with pytest.raises(Ended):
            await client.hear(Puback)


async def test_a_block_that_is_left_early_leaves_nothing() -> None:
    bench = Bench()

    async def leave() -> None:
        async with Inner(bench.system, caller(), {}) as client:
            await client.say(Connect("me"))
            raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        await leave()
    assert bench.broker.connections == {}
    assert bench.broker.stats.clients_connected == 0
