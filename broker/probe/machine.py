"""Runs the checks: stage by stage, those of one stage side by side, each with its time and cleaned up behind.

What a stage finds decides whether the next can run at all: without a connection nothing else is asked, and the checks
left out say so. Verdicts are reported in the order of the checks, each as soon as those before it are there.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import trio

from broker.packets.types import MQTT_5_0
from broker.probe import strangers
from broker.probe.check import GATES, Stage
from broker.probe.checks import VERSIONS
from broker.probe.trial import Trial
from broker.probe.verdict import Finding, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.probe.check import Check
    from broker.probe.checks import Choice
    from broker.probe.subject import Subject

AT_ONCE: Final = 8  # checks side by side, of up to four connections each: a foreign Server is not to be flooded
LATE_SECONDS: Final = 2.0  # over its time a check is ended from outside
FIND_OUT_SECONDS: Final = 2.0
TOTAL_FACTOR: Final = 12  # the whole may take so many times the time of one check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """`barrier` kept most from being asked, where there is one; `refused`: the Server did answer, and said no."""

    verdicts: Sequence[Verdict]
    seconds: float
    barrier: Verdict | None = None
    refused: bool = False

    def count(self, outcome: Outcome) -> int:
        return sum(verdict.outcome is outcome for verdict in self.verdicts)


async def probe(
    subject: Subject,
    checks: Sequence[Check],
    *,
    choice: Choice,
    patience: float,
    report: Callable[[Verdict], None],
    at_once: int = AT_ONCE,
) -> Result:
    """Put `subject` to the chosen ones of `checks`, each of which may take `patience` seconds, or `times` as long.

    `at_once` of them run side by side. What others need is asked too, and reported where it was not wanted only if
    it fails.
    """
    return await _Machine(subject, checks, choice, patience, report, at_once).run()


class _Machine:
    def __init__(
        self,
        subject: Subject,
        checks: Sequence[Check],
        choice: Choice,
        patience: float,
        report: Callable[[Verdict], None],
        at_once: int,
    ) -> None:
        self._subject = subject
        self._checks = [check for check in checks if subject.endpoint.scheme in check.schemes]
        self._wanted = choice.wanted
        self._skipped = choice.skipped
        self._last = max((check.stage for check in self._checks if check.name in self._wanted), default=Stage.CONNECT)
        self._patience = patience
        self._report = report
        self._deadline = 0.0  # of the whole
        self._verdicts: dict[str, Verdict] = {}
        self._reported = 0
        self._limiter = trio.CapacityLimiter(at_once)
        self._barrier: Verdict | None = None  # what keeps everything else from being asked
        self._refused = False
        self._found_out = False

    async def run(self) -> Result:
        began = trio.current_time()
        self._deadline = began + TOTAL_FACTOR * self._patience
        for stage in Stage:
            async with trio.open_nursery() as nursery:
                for check in self._checks:
                    if check.stage is not stage:
                        continue
                    if not self._is_asked(check):
                        self._verdicts[check.name] = self._left_out(check, "not asked for", "")
                    elif stage is Stage.MEASURED:
                        await self._ask(check)
                    else:
                        nursery.start_soon(self._ask, check)
            self._look_back(stage)
            if stage in (Stage.UPGRADE, Stage.VERSION):
                await self._find_out()
            self._tell()
        return Result(
            verdicts=[verdict for verdict in map(self._shown, self._checks) if verdict is not None],
            seconds=trio.current_time() - began,
            barrier=self._barrier,
            refused=self._refused,
        )

    def _is_asked(self, check: Check) -> bool:
        """Whether it is wanted, or wanted ones need it. A version that is left out by name is not spoken at all."""
        if check.name in self._wanted:
            return True
        if check.name in VERSIONS:
            return check.name not in self._skipped and check.stage < self._last
        return check.stage in GATES and check.stage < self._last

    def _shown(self, check: Check) -> Verdict | None:
        verdict = self._verdicts[check.name]
        if check.name in self._wanted or verdict.outcome is Outcome.WRONG:
            return verdict
        return None

    async def _ask(self, check: Check) -> None:
        async with self._limiter:
            why = self._why_not(check)
            if why is not None:
                self._verdicts[check.name] = why
            else:
                self._verdicts[check.name] = await self._run(check)
        self._tell()

    def _why_not(self, check: Check) -> Verdict | None:
        subject = self._subject
        if self._barrier is not None:
            words = "no version is accepted" if self._barrier.name in VERSIONS else f"{self._barrier.name} failed"
            return self._left_out(check, words, self._barrier.name)
        if subject.gone:
            return self._left_out(check, subject.gone, "gone")
        if trio.current_time() >= self._deadline:
            return self._left_out(check, f"the whole took {TOTAL_FACTOR * self._patience:g} s already", "time")
        if check.stage > Stage.VERSION and check.since == MQTT_5_0 and MQTT_5_0 not in subject.versions:
            return self._left_out(check, "of MQTT 5.0, which is not spoken", "version")
        return None

    async def _run(self, check: Check) -> Verdict:
        began = trio.current_time()
        patience = self._patience * check.times
        trial = Trial(self._subject, check.name, patience)
        expected = statement = ""
        advice: list[str] = []
        with trio.CancelScope(deadline=began + patience + LATE_SECONDS) as scope:
            try:
                text = await check.run(trial)
                outcome = Outcome.OK
            except Finding as finding:
                outcome, text = finding.outcome, finding.text
                expected, statement = finding.expected, finding.statement
                advice = [finding.advice] if finding.advice else []
            finally:
                seconds = trio.current_time() - began
                await trial.clean()
        if scope.cancelled_caught:
            outcome, text = Outcome.WRONG, f"no end within {patience:g} s"
        return Verdict(
            name=check.name,
            group=check.group,
            title=check.title,
            outcome=outcome,
            text=text,
            expected=expected,
            statement=statement,
            advice=" ".join([*trial.advice, *(advice or [check.matters] * (outcome is Outcome.WRONG))]),
            seconds=seconds,
        )

    def _left_out(self, check: Check, why: str, because: str) -> Verdict:
        return Verdict(
            name=check.name,
            group=check.group,
            title=check.title,
            outcome=Outcome.SKIPPED,
            text=why,
            because=because,
        )

    def _look_back(self, stage: Stage) -> None:
        """Whether the next stage can be asked anything."""
        if self._barrier is not None:
            return
        subject = self._subject
        if stage is Stage.VERSION:
            if not subject.versions:
                tried = [check.name for check in self._checks if check.name in VERSIONS and self._is_asked(check)]
                if not tried:  # what was asked for speaks no MQTT
                    return
                refusing = [name for name in tried if name in subject.refused]
                self._barrier = self._verdicts[(refusing or tried)[0]]
                self._refused = bool(refusing)
            return
        for check in self._checks:
            if check.stage is stage and stage in GATES and self._is_asked(check):
                verdict = self._verdicts[check.name]
                if verdict.outcome is not Outcome.OK:
                    self._barrier = verdict
                    self._refused = stage is Stage.PERMISSION and verdict.outcome is Outcome.NO

    async def _find_out(self) -> None:
        """Who answers, where it is no MQTT Server and nothing else is known to advise."""
        barrier, subject = self._barrier, self._subject
        if barrier is None or barrier.advice or not subject.strange or self._found_out or subject.endpoint.secure:
            return
        self._found_out = True
        spoken = subject.spoken
        if not spoken:
            spoken = await strangers.find_out(
                subject.endpoint, trio.current_time() + min(FIND_OUT_SECONDS, self._patience)
            )
        self._barrier = dataclasses.replace(barrier, advice=strangers.advice(spoken, subject.endpoint))
        self._verdicts[barrier.name] = self._barrier

    def _tell(self) -> None:
        """Report what is there, up to the first check that is not."""
        while self._reported < len(self._checks):
            check = self._checks[self._reported]
            if check.name not in self._verdicts:
                return
            self._reported += 1
            verdict = self._shown(check)
            if verdict is not None:
                self._report(verdict)
