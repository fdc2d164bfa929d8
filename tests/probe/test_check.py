from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.types import MQTT_3_1, MQTT_5_0
from broker.probe.check import EVERY_SCHEME, Group, Stage

if TYPE_CHECKING:
    from broker.probe.trial import Trial


def test_a_decorated_function_becomes_a_check_of_the_group() -> None:
    group = Group("colours", "Everything is grey.")

    @group.check("red", "Red is red", "MQTT5-1.5.4-1")
    async def red(_: Trial) -> str:
        return "red"

    @group.check("blue", "Blue is blue", since=MQTT_5_0, stage=Stage.VERSION, schemes=("ws",), matters="Sad.", times=3)
    async def blue(_: Trial) -> str:
        return "blue"

    first, second = group.checks
    assert first.run is red
    assert (first.name, first.group, first.title) == ("red", "colours", "Red is red")
    assert (first.statements, first.since, first.stage) == (("MQTT5-1.5.4-1",), MQTT_3_1, Stage.FEATURE)
    assert (first.schemes, first.matters, first.times) == (EVERY_SCHEME, "Everything is grey.", 1)
    assert second.run is blue
    assert (second.since, second.stage, second.schemes) == (MQTT_5_0, Stage.VERSION, ("ws",))
    assert (second.matters, second.times) == ("Sad.", 3)
