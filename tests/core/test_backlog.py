"""What is kept of QoS 0 for a reader who is too slow."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.backlog import Backlog
from broker.core.limits import DROP_OLDEST, LATEST, Limits
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Delivery
from tests.core.parts import message

DELIVERY = Delivery(Session("reader", Limits(), Stats(), 0), 0)
PLENTY = 1 << 30


def drained(backlog: Backlog) -> list[tuple[str, bytes]]:
    result = []
    while len(backlog):
        one, delivery = backlog.pop()
        assert delivery is DELIVERY
        result.append((one.topic, one.payload))
    assert backlog.bytes == 0
    return result


def test_drop_oldest_keeps_the_last_ones_in_order() -> None:
    backlog = Backlog(3, PLENTY)
    dropped = [backlog.add(message("a", b"%d" % number), DELIVERY, DROP_OLDEST) for number in range(5)]
    assert dropped == [0, 0, 0, 1, 1]
    assert drained(backlog) == [("a", b"2"), ("a", b"3"), ("a", b"4")]


def test_latest_keeps_one_of_each_topic() -> None:
    backlog = Backlog(3, PLENTY)
    dropped = [
        backlog.add(message(topic, payload), DELIVERY, LATEST)
        for topic, payload in [("a", b"1"), ("b", b"1"), ("a", b"2"), ("c", b"1"), ("a", b"3")]
    ]
    assert dropped == [0, 0, 1, 0, 1]
    assert drained(backlog) == [("a", b"3"), ("b", b"1"), ("c", b"1")]


def test_latest_is_bounded_in_topics() -> None:
    backlog = Backlog(2, PLENTY)
    assert [backlog.add(message(topic), DELIVERY, LATEST) for topic in "abc"] == [0, 0, 1]
    assert [topic for topic, _ in drained(backlog)] == ["b", "c"]


def test_bytes_are_bounded() -> None:
    one = message("a", bytes(100))
    backlog = Backlog(1000, 2 * one.size)
    assert [backlog.add(message("a", bytes(100)), DELIVERY, DROP_OLDEST) for _ in range(4)] == [0, 0, 1, 1]
    assert backlog.add(message("a", bytes(150)), DELIVERY, DROP_OLDEST) == 2
    assert [len(payload) for _, payload in drained(backlog)] == [150]


def test_one_message_stays_even_if_it_alone_is_too_large() -> None:
    backlog = Backlog(1000, 10)
    assert backlog.add(message("a", bytes(100)), DELIVERY, LATEST) == 0
    assert backlog.add(message("b", bytes(100)), DELIVERY, LATEST) == 1
    assert backlog.add(message("b", bytes(200)), DELIVERY, LATEST) == 1
    assert [(topic, len(payload)) for topic, payload in drained(backlog)] == [("b", 200)]


def test_no_room_at_all() -> None:
    backlog = Backlog(0, PLENTY)
    assert backlog.add(message(), DELIVERY, DROP_OLDEST) == 1
    assert len(backlog) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 50), st.sampled_from([DROP_OLDEST, LATEST]))))
def test_nothing_is_lost_unsaid(adds: list[tuple[str, int, str]]) -> None:
    """What was added is there or was counted as dropped, within the bounds at all times."""
    backlog = Backlog(4, 400)
    dropped = 0
    for topic, size, policy in adds:
        dropped += backlog.add(message(topic, bytes(size)), DELIVERY, policy)
        assert len(backlog) <= 4
        assert backlog.bytes <= 400 or len(backlog) == 1
    assert len(drained(backlog)) + dropped == len(adds)
