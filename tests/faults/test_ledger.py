"""Each verdict of the ledger, provoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.ledger import Ledger

if TYPE_CHECKING:
    from tests.faults.ledger import Receiver, Stream


class Run:
    """A ledger with one publisher and one receiver that wants all of it."""

    def __init__(self, qos: int = 1, durable: bool = True) -> None:
        self.ledger = Ledger("s")
        self.receiver: Receiver = self.ledger.receiver("r", durable, lambda _: True)
        self.stream: Stream = self.ledger.stream("p", "t", qos)
        self.ledger.subscribed(self.receiver)

    def send(self, *numbers: int, acknowledged: bool = True) -> None:
        for number in numbers:
            assert self.ledger.sending(self.stream) == number
            if acknowledged:
                self.ledger.acknowledged(self.stream, number)

    def come(self, *numbers: int, dup: bool = False) -> None:
        for number in numbers:
            self.ledger.delivered(self.receiver, "t", self.stream.qos, dup, self.stream.payload(number))

    def faults(self) -> dict[str, int]:
        verdict = self.ledger.verdict()
        kinds = ("lost", "unexpected", "duplicated", "reordered", "forgotten")
        found = {kind: len(getattr(verdict, kind)) for kind in kinds}
        assert verdict.clean == (not any(found.values()))
        return {kind: count for kind, count in found.items() if count}


@pytest.mark.parametrize("qos", [1, 2])
def test_all_is_well(qos: int) -> None:
    run = Run(qos)
    run.send(1, 2, 3)
    run.come(1, 2, 3)
    verdict = run.ledger.verdict()
    assert verdict.clean
    assert (verdict.sent, verdict.acknowledged, verdict.uncertain, verdict.delivered) == (3, 3, 0, 3)
    assert run.ledger.missing(run.receiver) == 0


@pytest.mark.parametrize("qos", [1, 2])
def test_lost(qos: int) -> None:
    run = Run(qos)
    run.send(1, 2, 3)
    run.come(1, 3)
    assert run.faults() == {"lost": 1}
    assert run.ledger.missing(run.receiver) == 1
    assert run.ledger.verdict().lost == [f"2 of p on t at QoS {qos} for r"]


def test_uncertain_may_come_or_not() -> None:
    run = Run()
    run.send(1)
    run.send(2, 3, acknowledged=False)
    run.come(1, 3)
    assert run.faults() == {}
    assert run.ledger.verdict().uncertain == 2


def test_refused_is_not_owed() -> None:
    run = Run()
    run.send(1, acknowledged=False)
    run.ledger.refused(run.stream, 1)
    verdict = run.ledger.verdict()
    assert verdict.clean
    assert (verdict.refused, verdict.uncertain) == (1, 0)


@pytest.mark.parametrize(
    ("topic", "qos", "payload"),
    [
        ("t", 1, b"p t 1 2 00000000"),
        ("t", 1, b"x t 1 1 00000000"),
        ("t", 1, b""),
        ("u", 1, None),
        ("t", 0, None),
        ("t", 1, b"p t 1 9 "),
    ],
    ids=["damaged", "of nobody", "empty", "other topic", "other QoS", "cut"],
)
def test_unexpected(topic: str, qos: int, payload: bytes | None) -> None:
    run = Run()
    run.send(1)
    run.come(1)
    run.ledger.delivered(run.receiver, topic, qos, True, run.stream.payload(1) if payload is None else payload)
    assert run.faults() == {"unexpected": 1}


def test_never_sent() -> None:
    run = Run()
    run.send(1)
    run.come(1, 2)
    assert run.faults() == {"unexpected": 1}


def test_not_subscribed_to() -> None:
    run = Run()
    other = run.ledger.receiver("other", True, lambda stream: stream.qos == 2)
    run.send(1)
    run.come(1)
    run.ledger.delivered(other, "t", 1, False, run.stream.payload(1))
    assert run.faults() == {"unexpected": 1}


def test_qos_2_twice() -> None:
    run = Run(2)
    run.send(1)
    run.come(1)
    run.come(1, dup=True)
    assert run.faults() == {"duplicated": 1}


def test_qos_1_again_with_dup() -> None:
    run = Run()
    run.send(1, 2)
    run.come(1, 2)
    run.come(1, 2, dup=True)
    assert run.faults() == {}
    assert run.ledger.verdict().repeated == 2


def test_qos_1_again_without_dup() -> None:
    """It may come with DUP 0 as often as its publisher has sent it."""
    run = Run()
    run.send(1)
    run.come(1, 1)
    assert run.faults() == {"duplicated": 1}
    run.ledger.sending_again(run.stream, 1)
    assert run.faults() == {}


def test_reordered() -> None:
    run = Run()
    run.send(1, 2, 3)
    run.come(1, 3, 2)
    assert run.faults() == {"reordered": 1}


def test_who_share_a_subscription_share_the_order() -> None:
    run = Run(2)
    group = run.ledger.receiver("group", True, lambda _: True, ordered=False)
    run.ledger.subscribed(group)
    run.send(1, 2, 3)
    run.come(1, 2, 3)
    for number in (2, 1):
        run.ledger.delivered(group, "t", 2, False, run.stream.payload(number))
    assert run.faults() == {"lost": 1}
    run.ledger.delivered(group, "t", 2, False, run.stream.payload(3))
    assert run.faults() == {}
    run.ledger.delivered(group, "t", 2, False, run.stream.payload(3))
    assert run.faults() == {"duplicated": 1}


def test_repeats_are_not_reordered() -> None:
    run = Run()
    run.send(1, 2, 3)
    run.come(1, 2)
    run.come(1, 2, dup=True)
    run.come(3)
    assert run.faults() == {}


def test_streams_have_no_order_between_them() -> None:
    run = Run()
    run.send(1)
    other = run.ledger.stream("p", "t", 2)
    run.ledger.sending(other)
    run.ledger.delivered(run.receiver, "t", 2, False, other.payload(1))
    run.come(1)
    assert run.faults() == {}


def test_forgotten() -> None:
    run = Run()
    run.ledger.forgotten("the Session of r")
    assert run.faults() == {"forgotten": 1}
    assert "s: 0 sent" in str(run.ledger.verdict())
    assert "forgotten: the Session of r" in str(run.ledger.verdict())


def test_before_it_subscribed_nothing_is_owed() -> None:
    run = Run()
    run.send(1)
    late = run.ledger.receiver("late", True, lambda _: True)
    run.ledger.subscribed(late)
    run.send(2)
    run.come(1, 2)
    assert run.faults() == {"lost": 1}
    run.ledger.delivered(late, "t", 1, False, run.stream.payload(2))
    assert run.faults() == {}


def test_who_is_not_durable_is_owed_a_connection_without_holes() -> None:
    run = Run(durable=False)
    run.send(1, 2, 3)
    run.come(1, 2)
    run.ledger.subscribed(run.receiver)  # what else came to the first connection is lost with it
    run.send(4, 5, 6)
    run.come(5)
    assert run.faults() == {}, "4 may have come before the first message"
    run = Run(durable=False)
    run.send(1, 2, 3)
    run.come(1, 3)
    assert run.faults() == {"lost": 1}
