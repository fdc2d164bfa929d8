from __future__ import annotations

from broker.bench.engine.tally import KINDS_OF_TROUBLE, Tally


def test_complaints_are_counted_by_their_sentence() -> None:
    tally = Tally()
    for sentence in ("late", "late", "loud"):
        tally.complain(sentence)
    assert tally.trouble == {"late": 2, "loud": 1}


def test_there_is_an_end_to_kinds_of_trouble() -> None:
    tally = Tally()
    for number in range(1000):
        tally.complain(f"number {number}")
    tally.complain("number 0")
    assert len(tally.trouble) == KINDS_OF_TROUBLE
    assert tally.trouble["number 0"] == 2
