from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0
from broker.probe.verdict import Lacking, Outcome, Skipped, Verdict, Wrong, statement_for

BOTH = ("MQTT5-3.3.1-12", "MQTT311-3.3.1-9")


@pytest.mark.parametrize(
    ("version", "statements", "statement"),
    [
        (MQTT_5_0, BOTH, "MQTT5-3.3.1-12"),
        (MQTT_3_1_1, BOTH, "MQTT311-3.3.1-9"),
        (MQTT_3_1, BOTH, "MQTT311-3.3.1-9"),
        (MQTT_5_0, ("MQTT5 section 3.3.1.3", "MQTT311-3.3.1-8"), "MQTT5 section 3.3.1.3"),
        (MQTT_3_1_1, ("RFC6455-5.5.2",), "RFC6455-5.5.2"),
        (MQTT_3_1_1, ("MQTT5-4.8.2-1",), "MQTT5-4.8.2-1"),  # better one of the other standard than none
        (MQTT_5_0, (), ""),
    ],
)
def test_the_statement_is_of_the_version_spoken(version: int, statements: tuple[str, ...], statement: str) -> None:
    assert statement_for(version, statements) == statement


def test_findings_know_their_outcome() -> None:
    assert [kind.outcome.value for kind in (Lacking, Wrong, Skipped)] == ["no", "wrong", "skipped"]
    wrong = Wrong("seen", expected="this", statement="MQTT5-1.5.4-1", advice="do that")
    assert str(wrong) == wrong.text == "seen"
    assert (wrong.expected, wrong.statement, wrong.advice) == ("this", "MQTT5-1.5.4-1", "do that")


def test_a_verdict_is_a_value() -> None:
    verdict = Verdict(name="a", group="g", title="t", outcome=Outcome.OK, text="")
    assert verdict == Verdict(name="a", group="g", title="t", outcome=Outcome.OK, text="")
    with pytest.raises(FrozenInstanceError):
        verdict.text = "x"  # type: ignore[misc]  # that is the test
