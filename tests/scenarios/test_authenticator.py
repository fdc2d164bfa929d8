"""An Authenticator that answers at once, takes its time, says no, or breaks: nobody else notices."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from broker.core.grants import Grant
from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack, Connect, Pingreq, Pingresp, Publish, Will
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import pytest
    from trio.testing import MockClock

    from broker.core.ports import Peer
    from tests.doors import Door


class Doorman:
    """Answers by the Client Identifier: "slow..." waits for `decided`, "no..." is refused, "broken..." raises."""

    def __init__(self) -> None:
        self.decided = trio.Event()
        self.asked: list[str] = []

    def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal | Awaitable[Grant | Refusal]:
        self.asked.append(connect.client_identifier)
        if connect.client_identifier.startswith("slow"):
            return self._decide(connect.client_identifier)
        return self._answer(connect.client_identifier)

    async def _decide(self, name: str) -> Grant | Refusal:
        await self.decided.wait()
        return self._answer(name.removeprefix("slow "))

    @staticmethod
    def _answer(name: str) -> Grant | Refusal:
        if name.startswith("broken"):
            raise RuntimeError("the password file is on fire")
        if name.startswith("no"):
            return Refusal(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "not on the list")
        return Grant()


async def asked(doorman: Doorman, count: int) -> None:
    with trio.fail_after(10):
        while len(doorman.asked) < count:  # noqa: ASYNC110  # a Doorman has no event for it
            await trio.sleep(0.01)


@statement("MQTT5-3.1.4-2", "MQTT5-3.2.2-7", "MQTT311-3.2.2-5")
async def test_a_refusal_at_once_and_later(door: Door, version: int) -> None:
    doorman = Doorman()
    await door.start(doorman)
    peer = await door.peer(version)
    await peer.connect("no entry", reason=ReasonCode.BAD_USER_NAME_OR_PASSWORD)
    await peer.closed()
    peer = await door.peer(version)
    await peer.send(Connect("slow no entry", version), Publish("a", b"x"))
    await asked(doorman, 2)
    doorman.decided.set()
    assert (await peer.expect(Connack)).reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    await peer.closed()


async def test_while_one_waits_others_are_served(door: Door, version: int) -> None:
    doorman = Doorman()
    await door.start(doorman)
    waiting = await door.peer(version)
    await waiting.send(Connect("slow", version), Publish("a", b"sent before CONNACK"), Pingreq())
    await asked(doorman, 1)
    other = await door.connect("other", version)
    await other.subscribe("a")
    await other.quiet()
    doorman.decided.set()
    assert (await waiting.expect(Connack)).reason == ReasonCode.SUCCESS
    await waiting.expect(Pingresp)
    assert (await other.message()).payload == b"sent before CONNACK"
    await waiting.quiet()


async def test_who_leaves_while_he_waits(door: Door, version: int) -> None:
    """His link is not read meanwhile: he is let in, found to be gone, and his will is published. Unless the connection
    is reset, which is seen at once: a Client of TLS who leaves has not read the tickets for its next session."""
    doorman = Doorman()
    await door.start(doorman)
    witness = await door.connect("witness", version)
    await witness.subscribe("will")
    waiting = await door.peer(version)
    await waiting.send(Connect("slow", version, will=Will("will", b"gone")))
    assert door.server is not None
    await asked(doorman, 2)
    await waiting.lose()
    await witness.quiet()
    doorman.decided.set()
    if door.name != "tls":
        assert (await witness.message()).payload == b"gone"
    await witness.quiet()
    assert list(door.server.broker.sessions) == ["witness"]


async def test_a_broken_authenticator_lets_nobody_in(
    door: Door, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    doorman = Doorman()
    await door.start(doorman)
    good = await door.connect("good", version)
    for count, name in ((2, "broken"), (3, "slow broken")):
        peer = await door.peer(version)
        await peer.send(Connect(name, version), Publish("a", b"x"))
        await asked(doorman, count)
        doorman.decided.set()
        packet = await peer.next()
        if packet is not None:
            assert isinstance(packet, Connack)
            assert packet.reason >= 0x80
            await peer.closed()
        await good.quiet()
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 2, "a line for each"
    caplog.clear()


async def test_an_authenticator_that_never_answers(memory: Door, autojump_clock: MockClock) -> None:
    doorman = Doorman()
    await memory.start(doorman)
    start = trio.current_time()
    peer = await memory.peer(MQTT_5_0)
    await peer.send(Connect("slow", MQTT_5_0))
    while await peer.next() is not None:
        pass
    assert 4.9 <= trio.current_time() - start <= 6
    doorman.decided.set()
    late = await memory.connect("late")
    await late.quiet()
