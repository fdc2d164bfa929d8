"""The iterator over messages."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from broker.client import Client, Disconnected, SubscribeRefused, connect
from broker.packets.reasons import ReasonCode
from broker.packets.types import Disconnect, Puback, Publish, Pubrec, Subscribe, Unsubscribe
from tests.client.server import Peer, Server, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def connected(session_present: bool = False, **settings: Any) -> AsyncIterator[tuple[Client, Peer]]:
    """A Client and its Server, who leave each other in order."""
    server = Server()
    peers: list[Peer] = []

    async def accept() -> None:
        peers.append(await server.accept(session_present))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        async with connect(stream=server.open, **settings) as client:
            await wait_all_tasks_blocked()
            yield client, peers[0]
            nursery.start_soon(peers[0].stream.aclose)


async def test_the_server_is_asked_when_it_is_entered(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected() as (client, peer):
        unused = client.subscribe("unused")
        messages = client.subscribe("a", "b", qos=2, no_local=True, retain_as_published=True, retain_handling=2)
        await peer.nothing(1)
        await unused.aclose()
        asked: list[Subscribe] = []

        async def grant() -> None:
            asked.append(await peer.grant(1, 2))

        nursery.start_soon(grant)
        async with messages:
            assert messages.granted == {"a": 1, "b": 2}
        request = asked[0].requests[1]
        assert (request.topic_filter, request.maximum_qos, request.retain_handling) == ("b", 2, 2)
        assert (request.no_local, request.retain_as_published) == (True, True)
        assert (await peer.expect(Unsubscribe)).topic_filters == ["a", "b"]


async def test_a_bare_loop(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async def serve(peer: Peer) -> None:
        await peer.grant()
        await peer.send(*(message("a", bytes([number]), 1, number + 1) for number in range(3)))
        for number in range(2):
            assert (await peer.expect(Puback)).packet_identifier == number + 1
        assert (await peer.expect(Puback)).packet_identifier == 3  # let go of when the loop was left
        await peer.expect(Unsubscribe)
        served.set()

    served = trio.Event()
    async with connected() as (client, peer):
        nursery.start_soon(serve, peer)
        received = []
        async for one in client.subscribe("a", qos=1):
            received.append(one.payload)
            if len(received) == 2:
                break
        assert received == [b"\x00", b"\x01"]
        await served.wait()


@pytest.mark.parametrize("how", ["receive", "enter"])
async def test_refused(autojump_clock: MockClock, nursery: trio.Nursery, how: str) -> None:
    async with connected() as (client, peer):
        nursery.start_soon(peer.grant, ReasonCode.NOT_AUTHORIZED)
        messages = client.subscribe("a")
        with pytest.raises(SubscribeRefused) as caught:
            await (messages.receive() if how == "receive" else messages.__aenter__())
        assert caught.value.reasons == {"a": ReasonCode.NOT_AUTHORIZED}
        with pytest.raises(trio.ClosedResourceError):
            await messages.receive()
        await peer.nothing(1)


async def test_partly_refused(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected() as (client, peer):
        nursery.start_soon(peer.grant, 1, ReasonCode.NOT_AUTHORIZED)
        async with client.subscribe("a", "b", qos=1, partly=True) as messages:
            assert (messages.granted, messages.refused) == ({"a": 1}, {"b": ReasonCode.NOT_AUTHORIZED})
            await peer.send(message("a", b"x"))
            assert (await messages.receive()).payload == b"x"


async def test_acknowledged_when_the_next_is_asked_for(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected() as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("#", qos=2) as messages:
            await peer.send(message("a", b"1", 1, 1), message("a", b"2", 2, 2), message("a", b"3"))
            assert (await messages.receive()).payload == b"1"
            await peer.nothing(1)
            assert (await messages.receive()).payload == b"2"
            await peer.expect(Puback)
            await peer.nothing(1)
            assert (await messages.receive()).payload == b"3"
            await peer.expect(Pubrec)


async def test_two_iterators_of_one_message(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected() as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("a", qos=1) as first:
            nursery.start_soon(peer.grant)
            async with client.subscribe("+", qos=1) as second:
                await peer.send(message("a", b"", 1, 1, identifiers=(1, 2)))
                await first.receive()
                with trio.move_on_after(1):
                    await first.receive()
                await peer.nothing(1)  # the second has not had it
                await second.receive()
                with trio.move_on_after(1):
                    await second.receive()
                await peer.expect(Puback)


async def test_a_failed_one_is_left_to_the_session_that_is_kept(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with connected(session_expiry_interval=60) as (client, peer):
        nursery.start_soon(peer.grant)

        async def fail() -> None:
            async with client.subscribe("#", qos=1, unsubscribe=False) as messages:
                await peer.send(message("a", b"1", 1, 1), message("a", b"2", 1, 2))
                await messages.receive()
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        await peer.nothing(1)
        assert client.held == 2
        nursery.start_soon(peer.grant)
        async with client.subscribe("#", qos=1, unsubscribe=False) as messages:
            assert [(await messages.receive()).payload for _ in range(2)] == [b"1", b"2"]
        for identifier in (1, 2):
            assert (await peer.expect(Puback)).packet_identifier == identifier
        await peer.nothing(1)


async def test_messages_of_a_resumed_session_come_first(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected(True, clean_start=False, client_identifier="c") as (client, peer):
        await peer.send(message("a", b"old", 1, 1), message("stale", b"", 1, 2))
        await wait_all_tasks_blocked()
        assert client.held == 2
        nursery.start_soon(peer.grant)
        async with client.subscribe("a", qos=1) as messages:
            assert (await messages.receive()).payload == b"old"
        await peer.expect(Puback)


async def test_one_task_at_a_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected() as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("a") as messages, trio.open_nursery() as inner:
            inner.start_soon(messages.receive)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await messages.receive()
            await peer.send(message("a"))


async def test_closing_wakes_the_one_who_waits(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await messages.receive()
        woken.set()

    woken = trio.Event()
    async with connected() as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("a") as messages:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            await messages.aclose()
            await woken.wait()
        await peer.expect(Unsubscribe)
        await peer.nothing(1)


async def test_cancelled_while_it_waits(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected() as (client, peer):
        with trio.move_on_after(1):
            await client.subscribe("a").receive()
        await peer.expect(Subscribe)
        await peer.expect(Unsubscribe)
        nursery.start_soon(peer.grant)
        async with client.subscribe("a") as messages:
            with trio.move_on_after(1):
                await messages.receive()
            await peer.send(message("a", b"1"))
            assert (await messages.receive()).payload == b"1"


async def test_the_end_comes_after_the_messages(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected(reconnect=False) as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("a") as messages:
            await peer.send(message("a", b"1"), message("a", b"2"), Disconnect(ReasonCode.SERVER_SHUTTING_DOWN))
            await wait_all_tasks_blocked()
            assert messages.buffered == 2
            assert [(await messages.receive()).payload for _ in range(2)] == [b"1", b"2"]
            with pytest.raises(Disconnected) as caught:
                await messages.receive()
            assert caught.value.reason == ReasonCode.SERVER_SHUTTING_DOWN


async def test_publishing_in_the_loop_that_empties_a_full_buffer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def serve() -> None:
        await peer.grant()
        for number in range(100):
            await peer.send(message("in", bytes([number])))
        while True:
            await peer.acknowledge(await peer.expect(Publish))

    async with connected() as (client, peer), trio.open_nursery() as inner:
        inner.start_soon(serve)
        async with client.subscribe("in", buffer=4) as messages:
            received = 0
            while received + messages.dropped < 100:
                await messages.receive()
                await client.publish("out", qos=2)
                received += 1
        assert received >= 4
        inner.cancel_scope.cancel()


async def test_a_request_in_a_loop_with_a_full_buffer(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async def serve() -> None:
        await peer.grant()
        for number in range(9):
            await peer.send(message("in", bytes([number])))
        subscribe = await peer.grant()
        asked = await peer.expect(Publish)
        await peer.send(Puback(asked.packet_identifier))
        await peer.nothing(5)
        answer = message(subscribe.requests[0].topic_filter, b"answer")
        answer.forwarded = asked.forwarded[asked.forwarded.index(b"\x09") :]
        await peer.send(answer)

    async with connected() as (client, peer):
        nursery.start_soon(serve)
        async with client.subscribe("in", buffer=2) as messages:
            await messages.receive()
            with trio.fail_after(60):
                assert (await client.request("service")).payload == b"answer"


async def test_a_slow_consumer_stops_the_server(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async with connected() as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("a", buffer=2) as messages:
            for number in range(50):
                await peer.send(message("a", bytes([number])))
                await wait_all_tasks_blocked()
            assert messages.buffered == 2
            assert [(await messages.receive()).payload for _ in range(50)] == [bytes([number]) for number in range(50)]
            assert messages.dropped == 0
