"""What a role keeps from a Client never reaches it: by every way that a message can take, through every door.

The matrix is made of WAYS, doors and versions. Each way is gone with two topics at a time, of which one is barred: from
the beginning, or (`later`) by a change of the policy after the message was on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from broker.auth.roles import Role, Roles, Rules
from broker.packets.reasons import ReasonCode
from broker.packets.types import Publish, Will
from tests.scripted import texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.core.grants import Grant
    from broker.core.ports import Peer as From
    from broker.packets.types import Connect
    from tests.doors import Door
    from tests.scripted import Peer

OPEN: Final = "site/open"
BARRED: Final = "site/barred"


class Guard:
    """Lets everybody in by the Client Identifier: "reader" may receive the site but for what is `denied`, all others
    may do everything."""

    def __init__(self) -> None:
        self.denied: list[str] = []

    def authenticate(self, connect: Connect, peer: From) -> Grant:
        return self.grant(connect.client_identifier)

    def grant(self, name: str) -> Grant:
        reader = Role("reader", subscribe=Rules(["site/#"], self.denied))
        writer = Role("writer", Rules(["#"]), Rules(["#"]))
        roles = Roles([reader, writer], {"reader": ["reader"], "writer": ["writer"]})
        return roles.grant("reader" if name == "reader" else "writer", name)


class House:
    """A broker with its Guard, and a Client that publishes."""

    def __init__(self, door: Door, version: int, guard: Guard, publisher: Peer) -> None:
        self.door = door
        self.version = version
        self.guard = guard
        self.publisher = publisher
        self.barring = True

    async def reader(self) -> Peer:
        return await self.door.durable("reader", self.version)

    async def both(self, qos: int = 1, retain: bool = False) -> None:
        """A message to each topic, the barred one first."""
        for topic in (BARRED, OPEN):
            await self.publisher.publish(topic, b"x", qos, retain=retain)

    def bar(self) -> None:
        """From now on."""
        if not self.barring:
            return
        self.guard.denied = [BARRED]
        server = self.door.server
        assert server is not None
        session = server.broker.sessions.get("reader")
        if session is not None:
            server.broker.regrant(session, self.guard.grant("reader"))


async def live(house: House, later: bool) -> Peer:
    reader = await house.reader()
    await reader.subscribe("site/#", qos=1)
    if later:
        house.bar()
    await house.both()
    return reader


async def live_at_qos_0(house: House, later: bool) -> Peer:
    reader = await house.reader()
    await reader.subscribe("site/#", qos=0)
    if later:
        house.bar()
    await house.both(0)
    return reader


async def retained(house: House, later: bool) -> Peer:
    await house.both(retain=True)
    reader = await house.reader()
    if later:
        house.bar()
    await reader.subscribe("site/#", qos=1)
    return reader


async def queued(house: House, later: bool) -> Peer:
    reader = await house.reader()
    await reader.subscribe("site/#", qos=1)
    await reader.leave()
    await house.both()
    if later:
        house.bar()
    return await house.reader()


async def resumed(house: House, later: bool) -> Peer:
    """Sent, not acknowledged, and due again on the next Network Connection."""
    reader = await house.reader()
    await reader.subscribe("site/#", qos=1)
    await house.both()
    for topic in (BARRED, OPEN) if later else (OPEN,):
        assert (await reader.expect(Publish)).topic == topic
    await reader.lose()
    if later:
        house.bar()
    return await house.reader()


async def shared(house: House, later: bool) -> Peer:
    reader = await house.reader()
    await reader.subscribe("$share/group/site/#", qos=1)
    if later:
        house.bar()
    await house.both()
    return reader


async def will(house: House, later: bool) -> Peer:
    reader = await house.reader()
    await reader.subscribe("site/#", qos=1)
    doomed = [
        await house.door.connect(f"doomed at {topic}", house.version, will=Will(topic, b"x", qos=1))
        for topic in (BARRED, OPEN)
    ]
    if later:
        house.bar()
    for peer in doomed:
        await peer.lose()
    return reader


WAYS: Final[list[Callable[[House, bool], Awaitable[Peer]]]] = [
    live,
    live_at_qos_0,
    retained,
    queued,
    resumed,
    shared,
    will,
]


@pytest.mark.parametrize("later", [False, True], ids=["barred", "barred later"])
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
async def test_what_is_barred_arrives_by_no_way(
    door: Door, version: int, way: Callable[[House, bool], Awaitable[Peer]], later: bool
) -> None:
    guard = Guard()
    if not later:
        guard.denied = [BARRED]
    await door.start(guard)
    house = House(door, version, guard, await door.connect("publisher", version))
    reader = await way(house, later)
    assert texts([await reader.message()]) == [(OPEN, b"x")]
    await reader.quiet()


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
async def test_without_a_bar_both_arrive(
    memory: Door, version: int, way: Callable[[House, bool], Awaitable[Peer]]
) -> None:
    """So the test above is no blindness."""
    guard = Guard()
    await memory.start(guard)
    house = House(memory, version, guard, await memory.connect("publisher", version))
    house.barring = False
    reader = await way(house, True)
    assert sorted(texts([await reader.message(), await reader.message()])) == [(BARRED, b"x"), (OPEN, b"x")]


async def test_what_may_not_be_received_is_not_subscribed_to(door: Door, version: int) -> None:
    await door.start(Guard())
    reader = await door.connect("reader", version)
    refused = ReasonCode.NOT_AUTHORIZED if version == 5 else 0x80
    assert await reader.subscribe("site/+", "other/#", "#", "$share/g/other", qos=1) == [1, refused, refused, refused]
