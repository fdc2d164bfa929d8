from __future__ import annotations

from broker.bench.engine.flow import LATE, NEW, REMEMBERED, REPEATED, Arrivals, Flow


def flow(shared: bool = False) -> Flow:
    return Flow(b"", 0, Arrivals(1, 10), shared)


def verdicts(sequences: list[int], shared: bool = False) -> list[int]:
    made = flow(shared)
    return [made.judge(sequence) for sequence in sequences]


def test_in_order() -> None:
    assert verdicts([0, 1, 2]) == [NEW, NEW, NEW]


def test_a_gap_is_new_and_what_fills_it_late() -> None:
    assert verdicts([0, 3, 1, 2, 4]) == [NEW, NEW, LATE, LATE, NEW]


def test_twice_is_repeated_whether_it_was_late_or_not() -> None:
    assert verdicts([0, 0, 2, 1, 1, 2]) == [NEW, REPEATED, NEW, LATE, REPEATED, REPEATED]


def test_others_get_what_is_missing_in_a_shared_subscription() -> None:
    assert verdicts([0, 5, 9], shared=True) == [NEW, NEW, NEW]
    assert verdicts([5, 4], shared=True) == [NEW, REPEATED]


def test_memory_of_what_is_missing_is_bounded() -> None:
    made = flow()
    made.judge(10 * REMEMBERED)
    assert made.judge(0) == REPEATED  # forgotten
    assert made.judge(10 * REMEMBERED - 1) == LATE
    for step in range(1, 10):
        made.judge(10 * REMEMBERED + 2000 * step)
    remembered = [made.judge(sequence) for sequence in range(made.next)].count(LATE)
    assert remembered == REMEMBERED


def test_arrivals_at_one_subscriber_are_a_count() -> None:
    arrivals = Arrivals(1, 4)
    for sequence in (0, 5, 3):
        arrivals.take(sequence)
    assert arrivals.completed == 3


def test_a_message_has_arrived_when_the_last_subscriber_has_it() -> None:
    arrivals = Arrivals(3, 4)
    for sequence in (0, 0, 1, 1):
        arrivals.take(sequence)
    assert arrivals.completed == 0
    arrivals.take(1)
    assert arrivals.completed == 1
    arrivals.take(0)
    assert arrivals.completed == 2


def test_a_message_that_one_never_gets_is_never_complete() -> None:
    arrivals = Arrivals(2, 4)
    arrivals.take(0)
    for sequence in range(1, 100):
        arrivals.take(sequence)
        arrivals.take(sequence)
    assert arrivals.completed == 99
    arrivals.take(0)  # long after its place was given to others
    assert arrivals.completed == 99
