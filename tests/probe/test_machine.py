from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.client import parse
from broker.probe.check import Check, Group, Stage
from broker.probe.checks import CHECKS, Choice, choose
from broker.probe.machine import LATE_SECONDS, TOTAL_FACTOR, Result, probe
from broker.probe.subject import Subject
from broker.probe.verdict import Lacking, Outcome, Skipped, Verdict, Wrong
from tests.probe.servers import Tampered, ask

if TYPE_CHECKING:
    from broker.probe.trial import Trial


class Probed:
    """Checks of a test's own, in virtual time and without a Server; the versions are there already."""

    def __init__(self, group: Group, *, patience: float = 5.0, scheme: str = "mqtt") -> None:
        self.subject = Subject(parse(f"{scheme}://127.0.0.1:1"))
        self.subject.accepted.add(5)
        self.group = group
        self.patience = patience
        self.reported: list[Verdict] = []

    async def run(self, *wanted: str) -> Result:
        checks: list[Check] = self.group.checks
        choice = Choice(frozenset(wanted or [check.name for check in checks]))
        return await probe(self.subject, checks, choice=choice, patience=self.patience, report=self.reported.append)


async def test_findings_become_verdicts(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g", "It matters.")

    @group.check("fine", "Fine")
    async def fine(trial: Trial) -> str:
        trial.advice.append("Though slow.")
        await trio.sleep(0.5)
        return "so it is"

    @group.check("lacking", "Lacking")
    async def lacking(_: Trial) -> str:
        raise Lacking("not here", advice="Ask elsewhere.")

    @group.check("wrong", "Wrong")
    async def wrong(_: Trial) -> str:
        raise Wrong("seen", expected="wanted", statement="MQTT5-1.5.4-1")

    @group.check("left", "Left out")
    async def left(_: Trial) -> str:
        raise Skipped("no time")

    result = await Probed(group).run()
    told = [(verdict.name, verdict.outcome.value, verdict.text, verdict.advice) for verdict in result.verdicts]
    assert told == [
        ("fine", "ok", "so it is", "Though slow."),
        ("lacking", "no", "not here", "Ask elsewhere."),
        ("wrong", "wrong", "seen", "It matters."),
        ("left", "skipped", "no time", ""),
    ]
    first, _, third, _ = result.verdicts
    assert first.seconds == pytest.approx(0.5)
    assert (third.expected, third.statement, third.title, third.group) == ("wanted", "MQTT5-1.5.4-1", "Wrong", "g")
    assert [result.count(outcome) for outcome in Outcome] == [1, 1, 1, 1]
    assert result.seconds == pytest.approx(0.5)


async def test_verdicts_are_told_in_their_order_and_as_soon_as_can_be(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g")
    told: list[tuple[str, float]] = []

    def sleeping(seconds: float) -> None:
        @group.check(f"for-{seconds}", "Sleeps")
        async def run(_: Trial) -> str:
            await trio.sleep(seconds)
            return ""

    for seconds in (2.0, 1.0, 3.0):
        sleeping(seconds)
    probed = Probed(group)
    await probe(
        probed.subject,
        group.checks,
        choice=Choice(frozenset(check.name for check in group.checks)),
        patience=5,
        report=lambda verdict: told.append((verdict.name, trio.current_time())),
    )
    assert told == [("for-2.0", 2.0), ("for-1.0", 2.0), ("for-3.0", 3.0)]


async def test_a_check_that_does_not_end_is_ended(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g")

    @group.check("endless", "Endless", times=2)
    async def endless(_: Trial) -> str:
        await trio.sleep_forever()
        raise AssertionError

    result = await Probed(group, patience=3).run()
    (verdict,) = result.verdicts
    assert (verdict.outcome, verdict.text) == (Outcome.WRONG, "no end within 6 s")
    assert result.seconds == pytest.approx(6 + LATE_SECONDS)


async def test_the_whole_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g")

    def slow(number: int) -> None:
        @group.check(f"c{number:03d}", "Slow", stage=Stage.MEASURED)
        async def run(_: Trial) -> str:
            await trio.sleep(1)
            return ""

    for number in range(TOTAL_FACTOR + 5):
        slow(number)
    result = await Probed(group, patience=1).run()
    assert result.count(Outcome.OK) == TOTAL_FACTOR
    late = [verdict for verdict in result.verdicts if verdict.outcome is Outcome.SKIPPED]
    assert len(late) == 5
    assert {verdict.because for verdict in late} == {"time"}


async def test_measured_checks_run_alone(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g")
    at_once: list[int] = []
    most: dict[str, int] = {}

    def counted(name: str, stage: Stage) -> None:
        @group.check(name, "Counted", stage=stage)
        async def run(_: Trial) -> str:
            at_once.append(1)
            most[stage.name] = max(most.get(stage.name, 0), len(at_once))
            await trio.sleep(1)
            at_once.pop()
            return ""

    for number in range(20):
        counted(f"m{number}", Stage.MEASURED)
        counted(f"f{number}", Stage.FEATURE)
    probed = Probed(group, patience=30)
    await probed.run()
    assert most == {"MEASURED": 1, "FEATURE": 8}
    most.clear()
    choice = Choice(frozenset(check.name for check in group.checks))
    await probe(probed.subject, group.checks, choice=choice, patience=30, report=probed.reported.append, at_once=2)
    assert most == {"MEASURED": 1, "FEATURE": 2}


async def test_a_check_for_another_kind_of_url_is_not_there(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g")

    @group.check("webby", "Of WebSocket", schemes=("ws",))
    async def webby(_: Trial) -> str:
        return ""

    @group.check("any", "Of all")
    async def any_(_: Trial) -> str:
        return ""

    assert [verdict.name for verdict in (await Probed(group).run()).verdicts] == ["any"]
    assert [verdict.name for verdict in (await Probed(group, scheme="ws").run()).verdicts] == ["webby", "any"]


async def test_what_others_need_is_shown_where_it_fails(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g")
    runs: list[str] = []

    @group.check("gate", "The gate", stage=Stage.CONNECT)
    async def gate(_: Trial) -> str:
        runs.append("gate")
        if len(runs) > 1:
            raise Wrong("shut")
        return ""

    @group.check("behind", "Behind it")
    async def behind(_: Trial) -> str:
        return ""

    probed = Probed(group)
    assert [verdict.name for verdict in (await probed.run("behind")).verdicts] == ["behind"]
    result = await probed.run("behind")
    assert [(verdict.name, verdict.outcome.value) for verdict in result.verdicts] == [
        ("gate", "wrong"),
        ("behind", "skipped"),
    ]
    assert result.barrier == result.verdicts[0]
    assert result.verdicts[1].because == "gate"


async def test_a_mistake_of_our_own_is_no_verdict(autojump_clock: trio.testing.MockClock) -> None:
    group = Group("g")

    @group.check("mistaken", "Mistaken")
    async def mistaken(_: Trial) -> str:
        raise KeyError("ours")

    with pytest.raises(ExceptionGroup):
        await Probed(group).run()


async def test_a_server_that_dies_in_the_midst() -> None:
    tampered = Tampered(last=30)
    async with tampered.serving() as endpoint:
        subject = Subject(endpoint)
        with trio.fail_after(20):
            verdicts, result = await ask(endpoint, subject=subject)
    assert verdicts["mqtt-5.0"].outcome is verdicts["permission"].outcome is Outcome.OK
    assert result.count(Outcome.WRONG) >= 1
    assert subject.gone.startswith(f"{endpoint} can be reached no more")
    gone = [verdict for verdict in verdicts.values() if verdict.because == "gone"]
    assert gone
    assert {verdict.text for verdict in gone} == {subject.gone}


async def test_versions_that_are_left_out_are_not_spoken() -> None:
    async with Tampered().serving() as endpoint:
        subject = Subject(endpoint)
        reported: list[Verdict] = []
        await probe(
            subject,
            CHECKS,
            choice=choose(["qos-0", "properties"], ["mqtt-5.0", "mqtt-3.1"]),
            patience=5,
            report=reported.append,
        )
    assert subject.versions == [4]
    assert [(verdict.name, verdict.outcome.value) for verdict in reported] == [
        ("qos-0", "ok"),
        ("properties", "skipped"),
    ]
    assert reported[1].text == "of MQTT 5.0, which is not spoken"
