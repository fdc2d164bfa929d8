from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from broker.bench.engine.plan import Plan, expand
from broker.bench.workload import Workload


def plan(workers: int = 1, user_name: str = "", **fields: Any) -> Plan:
    return Plan(Workload(url="", **fields), user_name, "tok", workers)


def fans(made: Plan, worker: int) -> list[int]:
    """Deliveries of one message of each publisher to the subscribers of `worker`."""
    return [sum(audience.sizes[worker] for audience in audiences) for audiences in made.receivers]


def test_templates_are_filled_in() -> None:
    assert expand("a/%i/%m/%c/%u/%x", 7, 3, "me", "you") == "a/7/1/me/you/%x"
    assert expand("%m", 7, 0, "", "") == "0"


def test_names_of_the_clients() -> None:
    made = plan(publishers=1, subscribers=1, client_prefix="load", topic="%c/%u", topic_filter="%c", user_name="u")
    assert made.topics == ["load-tok-p0/u"]
    assert made.filters == ["load-tok-s0"]
    assert made.identifier("i", 9) == "load-tok-i9"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"publishers": 3, "subscribers": 3}, [1, 1, 1]),
        ({"publishers": 3, "subscribers": 2}, [1, 1, 0]),
        ({"publishers": 2, "subscribers": 5, "topic_filter": "bench/%m"}, [3, 2]),
        ({"publishers": 3, "subscribers": 4, "topic_filter": "bench/#"}, [4, 4, 4]),
        ({"publishers": 2, "subscribers": 4, "topic_filter": "bench/+"}, [4, 4]),
        ({"publishers": 2, "subscribers": 4, "topic_filter": "$share/g/bench/+"}, [1, 1]),
        ({"publishers": 2, "subscribers": 0}, [0, 0]),
        ({"publishers": 2, "echo": True}, [1, 1]),
        ({"publishers": 3, "echo": True, "topic": "a", "topic_filter": "a"}, [3, 3, 3]),
        ({"publishers": 1, "subscribers": 3, "topic": "a", "topic_filter": "a"}, [3]),
        ({"publishers": 1, "subscribers": 1, "topic": "$x/a", "topic_filter": "#"}, [0]),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_who_gets_what(fields: dict[str, Any], expected: list[int], workers: int) -> None:
    made = plan(workers, **fields)
    assert [sum(column) for column in zip(*(fans(made, worker) for worker in range(workers)), strict=True)] == expected


def test_a_publisher_is_with_its_subscribers_where_that_leaves_nobody_without_work() -> None:
    made = plan(4, publishers=10, subscribers=20, topic_filter="bench/%m")
    for subscriber in range(20):
        assert made.subscriber_worker[subscriber] == made.publisher_worker[subscriber % 10]
    assert max(Counter(made.publisher_worker).values()) <= 3


def test_one_big_group_is_dealt_out_in_turn() -> None:
    made = plan(4, publishers=8, subscribers=8, topic_filter="bench/#")
    assert Counter(made.publisher_worker) == Counter(made.subscriber_worker) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert [fans(made, worker) for worker in range(4)] == [[2] * 8] * 4


def test_members_of_a_shared_subscription_stay_together() -> None:
    made = plan(3, publishers=4, subscribers=6, topic_filter="$share/g/bench/#")
    assert len({*made.subscriber_worker, *made.publisher_worker}) == 1


def test_with_echo_a_client_is_in_one_place() -> None:
    made = plan(3, publishers=9, echo=True, topic="t/%i", topic_filter="t/%m")
    assert made.publisher_worker == made.subscriber_worker
    crowd = plan(3, publishers=9, echo=True, topic="t/%i", topic_filter="t/#")
    assert crowd.publisher_worker == crowd.subscriber_worker


def test_a_thousand_subscribers_of_one_filter_are_one_audience() -> None:
    made = plan(publishers=1000, subscribers=1000, topic_filter="#")
    assert len({id(audience) for audiences in made.receivers for audience in audiences}) == 1
