"""What a stranger may make the broker spend: time by the filters that there are, never by their combinations."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from broker.packets.topics import matches
from tests.core.parts import connect, new_broker, session_of, subscribe

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.build("plain")  # two walks are compared, which a compiler speeds up unequally

DEPTH = 11


def least(work: Callable[[], object]) -> float:
    """The least of five times, in seconds of this thread."""
    times = []
    for _ in range(5):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def test_a_topic_that_fits_everywhere_is_matched_in_linear_time() -> None:
    """Two thousand filters, `a` or `+` at each level, all of which match: no slower than asking each of them alone."""
    broker = new_broker()
    client = connect(broker, "c")
    filters = ["/".join(levels) for levels in itertools.product("a+", repeat=DEPTH)]
    for topic_filter in filters:
        subscribe(client, topic_filter)
    assert len(session_of(client).subscriptions) == 2**DEPTH
    topic = "/".join("a" * DEPTH)
    tree = least(lambda: broker.subscriptions._make_plan(topic))
    alone = least(lambda: [matches(topic_filter, topic) for topic_filter in filters])
    assert tree < 2 * alone, (tree, alone)


def test_a_topic_that_nearly_fits_costs_no_more_than_its_levels() -> None:
    """Wildcards in front of what is not there: the filters differ in their last level only."""
    broker = new_broker()
    client = connect(broker, "c")
    for number in range(1000):
        subscribe(client, "+/" * 100 + str(number))
    topic = "/".join("a" * 100) + "/none"
    assert least(lambda: broker.subscriptions._make_plan(topic)) < 0.01
