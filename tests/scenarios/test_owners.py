"""A bound on the Sessions of one user, through every door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.grants import Grant
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0

if TYPE_CHECKING:
    from broker.core.ports import Peer
    from broker.packets.types import Connect
    from tests.doors import Door


class ByFirstLetter:
    def authenticate(self, connect: Connect, peer: Peer) -> Grant:
        return Grant(principal=f"user:{connect.client_identifier[0]}")


async def test_one_user_does_not_take_the_room_of_another(door: Door, version: int) -> None:
    door.server_settings["sessions_per_user"] = 2
    await door.start(ByFirstLetter())
    first = await door.durable("a1", version)
    second = await door.connect("a2", version)
    refused = await door.peer(version)
    await refused.connect(
        "a3", reason=ReasonCode.QUOTA_EXCEEDED if version == MQTT_5_0 else ReasonCode.SERVER_UNAVAILABLE
    )
    await refused.closed()
    await door.connect("b1", version)
    await first.lose()
    await door.durable("a1", version, session_present=True)
    await second.leave()
    await door.connect("a3", version)
