"""How fast a Client may publish: through every door, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.packets.types import MQTT_3_1_1, Pingreq, Pingresp, Puback, Pubcomp, Publish, Pubrec, Pubrel

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door
    from tests.scripted import Peer


@pytest.fixture
def patient(mock_clock: MockClock) -> MockClock:
    """Time passes when nobody has had anything to do for some real milliseconds: what is in a socket has arrived."""
    mock_clock.autojump_threshold = 0.005
    return mock_clock


async def acknowledged(peer: Peer, count: int, qos: int) -> None:
    """All that was published is acknowledged, in order, and so is the PINGREQ behind it; QoS 2 is seen through."""
    if qos:
        for identifier in range(1, count + 1):
            answer: Puback | Pubrec = await peer.expect(Puback if qos == 1 else Pubrec)
            assert answer.packet_identifier == identifier
    await peer.expect(Pingresp)
    if qos == 2:
        for start in range(1, count + 1, 100):
            identifiers = range(start, min(start + 100, count + 1))
            await peer.send(*(Pubrel(identifier) for identifier in identifiers))
            for identifier in identifiers:
                assert (await peer.expect(Pubcomp)).packet_identifier == identifier


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_five_seconds_worth_at_once_takes_four(door: Door, qos: int, patient: MockClock) -> None:
    rate = 20 if door.name == "drip" else 200
    count = 5 * rate
    door.settings["messages_per_second"] = rate
    subscriber = await door.connect("s")
    await subscriber.subscribe("a")
    publisher = await door.connect("p", MQTT_3_1_1, keep_alive=1)
    other = await door.connect("other")
    start = trio.current_time()
    slowest = 0.0
    numbers = range(1, count + 1)
    many = [Publish("a", b"%d" % number, qos=qos, packet_identifier=number if qos else 0) for number in numbers]

    async def send() -> None:
        for at in range(0, count, 20):  # each is a frame, or a record of TLS
            await publisher.send(*many[at : at + 20])
        await publisher.send(Pingreq())

    async def ask() -> None:
        nonlocal slowest
        for _ in range(8):
            await trio.sleep(0.4)
            asked = trio.current_time()
            await other.publish("b", qos=1)
            slowest = max(slowest, trio.current_time() - asked)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(ask)
        assert [int(message.payload) for message in await subscriber.messages(count)] == list(numbers)
        assert trio.current_time() - start == pytest.approx(4.0, abs=1.0)
        await acknowledged(publisher, count, qos)
    assert slowest < 0.1, "another Client does not notice"
    assert door.server is not None
    assert door.server.broker.stats.over_rate >= 3
