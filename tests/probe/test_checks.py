from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest

from broker.probe import checks
from broker.probe.check import EVERY_SCHEME, GATES, Check, Stage
from broker.probe.checks import CHECKS, GROUPS, VERSIONS, choose
from tests.conformance.statements import statements

SOURCES = sorted(Path(checks.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_check_says_what_it_asks(check: Check) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+", check.name)
    assert inspect.iscoroutinefunction(check.run)
    assert set(check.schemes) <= set(EVERY_SCHEME)
    assert check.title
    assert not check.title.endswith(".")
    if check.group != "limits":
        assert inspect.getdoc(check.run), check.name


def test_names_are_of_one_check_or_one_group() -> None:
    names = Counter([check.name for check in CHECKS] + [group.name for group in GROUPS])
    assert [name for name, count in names.items() if count > 1] == []
    assert {check.name for check in CHECKS} > VERSIONS


def test_what_others_need_is_one_check_a_stage() -> None:
    stages = Counter(check.stage for check in CHECKS)
    assert [stages[gate] for gate in GATES] == [1] * len(GATES)
    assert set(stages) == set(Stage)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_statement_that_is_named_is_one(source: Path) -> None:
    named = set(re.findall(r'"((?:MQTT5|MQTT311|RFC6455)-[\d.-]+)"', source.read_text("utf-8")))
    assert named - set(statements()) == set()


def test_statements_are_named() -> None:
    text = "".join(source.read_text("utf-8") for source in SOURCES)
    assert len(set(re.findall(r'"(MQTT5-[\d.-]+)"', text))) > 50


def test_the_guide_shows_every_group() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "probe.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE) == [group.name for group in GROUPS]


def test_choosing() -> None:
    everything = choose()
    assert everything.wanted == {check.name for check in CHECKS}
    assert everything.skipped == frozenset()
    assert choose(["ping", "qos-1"]).wanted == {"ping", "qos-1"}
    assert choose(["network"]).wanted == {"resolve", "port", "tls"}
    assert choose(["sessions"], ["will", "ping"]).wanted >= {"session", "takeover"}
    assert not choose(["sessions"], ["will", "ping"]).wanted & {"will", "ping"}
    assert choose([], ["mqtt-3.1"]).skipped == {"mqtt-3.1"}


@pytest.mark.parametrize(
    ("only", "skip", "words"),
    [
        (["qos-9"], [], r"there is no check 'qos-9': did you mean 'qos-\d'\?"),
        ([], ["retaned"], "did you mean 'retained'"),
        (["?"], [], "--list names them all"),
        (["ping"], ["sessions"], "nothing is left to be asked"),
        ([], ["mqtt-5.0", "mqtt-3.1.1", "mqtt-3.1"], "every version is left out"),
    ],
)
def test_a_choice_that_cannot_be(only: list[str], skip: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose(only, skip)
