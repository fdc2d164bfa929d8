"""Staying connected: what is lost with a Network Connection, and what is not."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from broker.client import (
    Acknowledgement,
    Backoff,
    CannotConnect,
    Client,
    ClientError,
    ConnectRefused,
    Disconnected,
    connect,
)
from broker.client.keeper import FINAL_REASONS
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connack,
    Connect,
    Disconnect,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
)
from tests.client.server import Peer, Server, message
from tests.statements import statement

if TYPE_CHECKING:
    from broker.client.client import Connecting

BACKOFF = Backoff(1, 8, random_number=lambda: 1.0)  # 1, 2, 4, 8, 8 ...


@pytest.fixture
async def server() -> Server:
    return Server()


def connecting(server: Server, **settings: Any) -> Connecting:
    return connect(stream=server.open, reconnect=BACKOFF, **settings)


class Publishing:
    """A `publish` in a task of its own, and how it ends."""

    def __init__(self, nursery: trio.Nursery, client: Client, qos: int, payload: bytes = b"") -> None:
        self.answer: Acknowledgement | None = None
        self.error: ClientError | None = None
        self.done = trio.Event()
        nursery.start_soon(self._run, client, qos, payload)

    async def _run(self, client: Client, qos: int, payload: bytes) -> None:
        try:
            self.answer = await client.publish("a", payload, qos)
        except ClientError as error:
            self.error = error
        self.done.set()


async def test_it_comes_back(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    async def serve() -> None:
        for _ in range(3):
            peer = await server.accept()
            await peer.cut()
        await (await server.accept()).leave()

    nursery.start_soon(serve)
    async with connecting(server) as client:
        await trio.sleep(3.5)
        assert client.connected
        assert server.opened == 4


async def test_delays_grow_and_begin_anew(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    times: list[float] = []

    async def opening() -> trio.abc.Stream:
        times.append(trio.current_time())
        if 1 < len(times) < 7:
            raise OSError("nobody listens")
        return await server.open()

    async def serve() -> None:
        for _ in range(2):
            await (await server.accept()).cut()
        await (await server.accept()).leave()

    nursery.start_soon(serve)
    async with connect(stream=opening, reconnect=BACKOFF):
        await trio.sleep(40)
    assert [later - earlier for earlier, later in pairwise(times)] == [1, 2, 4, 8, 8, 8, 1]


async def test_the_first_attempt_must_succeed(autojump_clock: MockClock, server: Server) -> None:
    server.refusing = True
    with pytest.raises(CannotConnect, match="nobody listens"):
        async with connecting(server):
            raise AssertionError("entered")
    assert server.opened == 1


async def test_without_waiting_the_first_attempt_may_fail(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    server.refusing = True
    async with connecting(server, wait=False) as client:
        assert client.connack is None
        publishing = Publishing(nursery, client, 1)
        await trio.sleep(2)
        assert not client.connected
        server.refusing = False
        nursery.start_soon(client.wait_connected)
        peer = await server.accept()
        await peer.acknowledge(await peer.expect(Publish))
        await publishing.done.wait()
        assert client.connected
        nursery.start_soon(peer.leave)
    assert publishing.answer is not None


async def test_an_opening_that_takes_too_long(autojump_clock: MockClock, server: Server) -> None:
    with pytest.raises(CannotConnect, match="within 4 s"):
        async with connect(stream=trio.sleep_forever, connect_timeout=4):
            raise AssertionError("entered")
    assert trio.current_time() == 4


@pytest.mark.parametrize("reason", sorted(FINAL_REASONS & {0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x95, 0x9C, 0x9D}))
async def test_refusals_that_are_final(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery, reason: int
) -> None:
    async def serve() -> None:
        peer = Peer(await server.stream())
        await peer.expect(Connect)
        await peer.send(Connack(ReasonCode(reason)))
        await peer.closed()

    nursery.start_soon(serve)
    with pytest.raises(ConnectRefused) as caught:
        async with connecting(server, wait=False) as client:
            await client.wait_connected()
    assert caught.value.reason == reason
    assert server.opened == 1


async def test_a_server_that_closes_before_connack(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async def serve() -> None:
        await (await server.stream()).aclose()
        await (await server.accept()).cut()
        await (await server.stream()).aclose()
        await (await server.accept()).leave()

    nursery.start_soon(serve)
    with pytest.raises(CannotConnect, match="before CONNACK"):
        async with connecting(server):
            raise AssertionError("entered")
    async with connecting(server) as client:
        await trio.sleep(10)
        assert client.connected
    assert server.opened == 4


async def test_a_busy_server_is_tried_again(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    async def serve() -> None:
        await (await server.accept()).cut()
        busy = Peer(await server.stream())
        await busy.expect(Connect)
        await busy.send(Connack(ReasonCode.SERVER_BUSY))
        await busy.closed()
        await (await server.accept()).leave()

    nursery.start_soon(serve)
    async with connecting(server) as client:
        await trio.sleep(10)
        assert client.connected


async def test_taken_over_is_the_end(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        publishing = Publishing(nursery, client, 1)
        await peer.expect(Publish)
        await peer.send(Disconnect(ReasonCode.SESSION_TAKEN_OVER))
        await publishing.done.wait()
        assert isinstance(publishing.error, Disconnected)
        assert publishing.error.reason == ReasonCode.SESSION_TAKEN_OVER
        for attempt in (client.publish("a"), client.wait_connected(), client.subscribe("a").receive()):
            with pytest.raises(Disconnected):
                await attempt
    assert server.opened == 1


AT_FAULT = [
    ReasonCode(value) for value in (0x81, 0x82, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x99, 0x9A, 0x9B, 0x9E, 0xA1, 0xA2)
]


@pytest.mark.parametrize("reason", AT_FAULT)
async def test_what_the_server_does_not_take_is_not_sent_again(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery, reason: ReasonCode
) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        said = Properties()
        said.reason_string = "too deep"

        async def serve() -> None:
            await peer.expect(Subscribe)
            await peer.send(Disconnect(reason, said))

        nursery.start_soon(serve)
        with pytest.raises(Disconnected, match="too deep") as caught:
            await client.subscribe("a").receive()
        assert (caught.value.reason, caught.value.detail, caught.value.by_server) == (reason, "too deep", True)
    assert server.opened == 1


async def test_a_fault_of_the_server_may_be_gone_next_time(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        await peer.send(b"\x00\x00")
        assert (await peer.expect(Disconnect)).reason == ReasonCode.MALFORMED_PACKET
        await peer.stream.aclose()
        nursery.start_soon(accept_and_leave, server)
        await trio.sleep(2)
        assert client.connected


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0])
async def test_a_subscribe_behind_which_the_server_always_closes(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery, version: int
) -> None:
    times: list[float] = []

    async def serve() -> None:
        while True:
            peer = await server.accept(version=version)
            times.append(trio.current_time())
            await peer.expect(Subscribe)
            await peer.stream.aclose()

    nursery.start_soon(serve)
    async with connecting(server, version="5.0" if version == MQTT_5_0 else "3.1.1") as client:
        with pytest.raises(Disconnected, match="5 times in a row, right behind the SUBSCRIBE of 'a'") as caught:
            await client.subscribe("a").receive()
        assert caught.value.reason is None
    assert [later - earlier for earlier, later in pairwise(times)] == [1, 2, 4, 8]
    nursery.cancel_scope.cancel()


async def test_an_answer_in_between_keeps_it_coming_back(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async def serve() -> None:
        for number in range(12):
            peer = await server.accept()
            await peer.expect(Subscribe)
            if number % 3 == 0:
                await peer.send(message("b"))
            await peer.stream.aclose()
        await (await server.accept()).grant()

    nursery.start_soon(serve)
    async with connecting(server) as client, client.subscribe("a") as messages:
        assert messages.granted == {"a": 0}
    assert server.opened == 13


@pytest.mark.parametrize("reconnect", [False, True])
async def test_a_single_stream_is_not_opened_again(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery, reconnect: bool
) -> None:
    stream = await server.open()

    async def serve() -> None:
        peer = await server.accept()
        await peer.expect(Publish)
        await peer.cut()

    nursery.start_soon(serve)
    async with connect(stream=stream, reconnect=reconnect) as client:
        with pytest.raises(Disconnected):
            await client.publish("a", qos=1)


# -- a Network Connection that breaks in the middle of an exchange


class connecting_to:
    """A Client and the Server's end of its first Network Connection."""

    def __init__(self, server: Server, nursery: trio.Nursery, **settings: Any) -> None:
        self._server = server
        self._nursery = nursery
        self._connecting = connecting(server, **settings)

    async def __aenter__(self) -> tuple[Client, Peer]:
        peers: list[Peer] = []

        async def accept() -> None:
            peers.append(await self._server.accept())

        self._nursery.start_soon(accept)
        client = await self._connecting.__aenter__()
        await wait_all_tasks_blocked()
        return client, peers[0]

    async def __aexit__(self, *error: object) -> None:
        await self._connecting.__aexit__(None, None, None)


@statement("MQTT5-4.4.0-1", "MQTT311-4.4.0-1")
@pytest.mark.parametrize("session_present", [False, True])
@pytest.mark.parametrize("received", [False, True])
async def test_qos_1_cut_before_puback(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery, received: bool, session_present: bool
) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        publishing = Publishing(nursery, client, 1, b"1")
        if received:
            await peer.expect(Publish)
        await peer.cut()
        peer = await server.accept(session_present)
        assert peer.connect.clean_start is False
        again = await peer.expect(Publish)
        assert (again.payload, again.dup) == (b"1", session_present)
        await peer.send(Puback(again.packet_identifier, ReasonCode.NO_MATCHING_SUBSCRIBERS))
        await publishing.done.wait()
        assert publishing.answer is not None
        assert publishing.answer.reason == ReasonCode.NO_MATCHING_SUBSCRIBERS


@statement("MQTT5-4.3.3-6", "MQTT5-4.4.0-1", "MQTT311-4.3.3-1")
@pytest.mark.parametrize("cut_after", ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"])
async def test_qos_2_cut_at_each_point(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery, cut_after: str
) -> None:
    """A Server that keeps the Session publishes the message exactly once."""
    async with connecting_to(server, nursery) as (client, peer):
        publishing = Publishing(nursery, client, 2)
        published = 0
        sent = await peer.expect(Publish)
        identifier = sent.packet_identifier
        if cut_after != "PUBLISH":
            published += 1
            await peer.send(Pubrec(identifier))
        if cut_after in ("PUBREL", "PUBCOMP"):
            await peer.expect(Pubrel)
        if cut_after == "PUBCOMP":
            await peer.send(Pubcomp(identifier))
        await wait_all_tasks_blocked()
        await peer.cut()
        assert publishing.done.is_set() is (cut_after == "PUBCOMP")
        peer = await server.accept(session_present=True)
        if cut_after == "PUBLISH":
            again = await peer.expect(Publish)
            assert (again.dup, again.packet_identifier) == (True, identifier)
            published += 1
            await peer.send(Pubrec(identifier))
        if cut_after != "PUBCOMP":
            assert (await peer.expect(Pubrel)).packet_identifier == identifier
            await peer.send(Pubcomp(identifier))
        await publishing.done.wait()
        assert publishing.answer is not None
        assert published == 1
        await peer.nothing(1)


@statement("MQTT5-4.6.0-1", "MQTT5-4.6.0-4")
async def test_the_order_survives(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        for number in range(6):
            Publishing(nursery, client, 1 + number % 2, bytes([number]))
            await wait_all_tasks_blocked()
        sent = [await peer.expect(Publish) for _ in range(6)]
        for late in (5, 1):
            await peer.send(Pubrec(sent[late].packet_identifier))
            await peer.expect(Pubrel)
        await peer.send(Puback(sent[2].packet_identifier))
        await wait_all_tasks_blocked()
        await peer.cut()
        peer = await server.accept(session_present=True)
        released = [(await peer.expect(Pubrel)).packet_identifier for _ in range(2)]
        assert released == [sent[5].packet_identifier, sent[1].packet_identifier]
        again = [(await peer.expect(Publish)).payload for _ in range(3)]
        assert again == [b"\x00", b"\x03", b"\x04"]
        await peer.send(Disconnect(ReasonCode.SESSION_TAKEN_OVER))


@statement("MQTT5-4.3.3-10", "MQTT5-4.3.3-11")
@pytest.mark.parametrize("cut_after", ["PUBLISH", "taken", "PUBREC", "PUBREL"])
async def test_receiving_at_qos_2_cut_at_each_point(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery, cut_after: str
) -> None:
    """The application meets the message once."""
    async with connecting_to(server, nursery) as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("#", qos=2) as messages:
            received: list[bytes] = []

            async def consume() -> None:
                while True:
                    received.append((await messages.receive()).payload)

            await peer.send(message("a", b"1", 2, 9))
            if cut_after != "PUBLISH":
                nursery.start_soon(consume)
                await peer.expect(Pubrec)
            if cut_after == "PUBREL":
                await peer.send(Pubrel(9))
                await peer.expect(Pubcomp)
            await wait_all_tasks_blocked()
            await peer.cut()
            peer = await server.accept(session_present=True)
            if cut_after == "PUBLISH":
                nursery.start_soon(consume)
            if cut_after in ("PUBLISH", "taken"):
                await peer.send(message("a", b"1", 2, 9, dup=True))
                await peer.expect(Pubrec)
            await peer.send(Pubrel(9))
            pubcomp = await peer.expect(Pubcomp)
            assert (pubcomp.reason == 0) is (cut_after != "PUBREL")
            await peer.send(message("a", b"2", 0))
            await wait_all_tasks_blocked()
            assert received == [b"1", b"2"]
            nursery.cancel_scope.cancel()


async def test_receiving_at_qos_1_without_a_duplicate(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("#", qos=1) as messages:
            await peer.send(message("a", b"1", 1, 9), message("a", b"2", 1, 10))
            assert (await messages.receive()).payload == b"1"
            await peer.cut()
            peer = await server.accept(session_present=True)
            await peer.send(message("a", b"1", 1, 9, dup=True), message("a", b"2", 1, 10, dup=True))
            assert (await messages.receive()).payload == b"2"
            assert (await peer.expect(Puback)).packet_identifier == 9
            await peer.nothing(1)
            assert messages.buffered == 0


async def test_subscriptions_are_renewed(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        nursery.start_soon(peer.grant)
        async with client.subscribe("a/#", "b", qos=1, no_local=True) as messages:
            await peer.cut()
            peer = await server.accept()
            renewed = await peer.grant()
            assert [request.topic_filter for request in renewed.requests] == ["a/#", "b"]
            assert all(request.no_local for request in renewed.requests)
            await peer.send(message("b", b"after"))
            assert (await messages.receive()).payload == b"after"
            await peer.cut()
            peer = await server.accept(session_present=True)
            await peer.send(message("b", b"again"))
            assert (await messages.receive()).payload == b"again"


async def test_a_subscribe_that_was_cut_is_sent_again(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async with connecting_to(server, nursery) as (client, peer):

        async def serve() -> None:
            await peer.expect(Subscribe)
            await peer.cut()
            await (await server.accept(session_present=True)).grant()

        nursery.start_soon(serve)
        async with client.subscribe("a", qos=1) as messages:
            assert messages.granted == {"a": 1}


async def test_qos_0_waits_for_the_next_network_connection(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        await peer.cut()
        await wait_all_tasks_blocked()
        assert not client.connected
        publishing = Publishing(nursery, client, 0, b"0")
        peer = await server.accept()
        assert (await peer.expect(Publish)).payload == b"0"
        await publishing.done.wait()
        assert publishing.error is None


async def test_a_cancelled_publish_is_not_sent_later(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        await peer.cut()
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.1) as scope:
            await client.publish("a", b"cancelled", qos=1)
        assert scope.cancelled_caught
        peer = await server.accept()
        await client.wait_connected()
        publishing = Publishing(nursery, client, 1, b"later")
        sent = await peer.expect(Publish)
        assert sent.payload == b"later"
        await peer.send(Puback(sent.packet_identifier))
        await publishing.done.wait()


async def test_a_cancelled_publish_that_was_sent_goes_its_way(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        with trio.move_on_after(0.1):
            await client.publish("a", b"once", qos=2)
        await peer.cut()
        peer = await server.accept(session_present=True)
        again = await peer.expect(Publish)
        assert again.dup
        await peer.acknowledge(again)


# -- leaving


async def test_leaving_while_reconnecting(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    async with connecting_to(server, nursery) as (client, peer):
        await peer.cut()
        await wait_all_tasks_blocked()
        server.refusing = True
        await trio.sleep(5)
        publishing = Publishing(nursery, client, 1)
        await wait_all_tasks_blocked()
        start = trio.current_time()
    assert trio.current_time() == start
    await publishing.done.wait()
    assert isinstance(publishing.error, Disconnected)


async def test_a_server_that_does_not_close(autojump_clock: MockClock, server: Server, nursery: trio.Nursery) -> None:
    async with connecting_to(server, nursery) as (_, peer):
        pass
    assert trio.current_time() == 1
    disconnect = await peer.expect(Disconnect)
    assert disconnect.properties.session_expiry_interval == 0
    await peer.closed()


async def test_a_cancelled_block_still_says_goodbye(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    nursery.start_soon(accept_and_leave, server)
    with trio.move_on_after(5) as scope:
        async with connecting(server):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 5


async def accept_and_leave(server: Server) -> None:
    await (await server.accept()).leave()


async def test_cancelled_while_connecting(autojump_clock: MockClock, server: Server) -> None:
    with trio.move_on_after(1) as scope:
        async with connecting(server):
            raise AssertionError("entered")
    assert scope.cancelled_caught
    peer = Peer(await server.stream())
    await peer.expect(Connect)
    await peer.closed()


async def test_what_the_block_raises_comes_out_as_it_is(
    autojump_clock: MockClock, server: Server, nursery: trio.Nursery
) -> None:
    nursery.start_soon(accept_and_leave, server)
    with pytest.raises(KeyError, match="mine"):
        async with connecting(server):
            raise KeyError("mine")
