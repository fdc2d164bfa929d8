"""The broker in five lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.cli.admin.figures import count, head, number, rate

if TYPE_CHECKING:
    from broker.cli.admin.api import Item


def overview(now: float, **more: object) -> Item:
    return {"version": "1.2", "build": "compiled", "started": 1.0, "now": now, "uptime_s": now - 1} | more


@pytest.mark.parametrize("said", [None, 5, {}, {"a": None}, {"a": {"b": True}}, {"a": {"b": "5"}}, {"a": [5]}])
def test_what_is_no_number_is_none(said: object) -> None:
    assert number(said, "a", "b") is None


def test_a_rate_is_what_a_counter_grew_in_the_brokers_own_time() -> None:
    old, new = overview(10.0, n={"x": 100}), overview(12.0, n={"x": 150})
    assert rate(new, old, "n", "x") == 25.0
    assert rate(new, None, "n", "x") is None
    assert rate(new, old, "n", "y") is None
    assert rate(old, old, "n", "x") is None


def test_a_broker_that_was_started_again_has_no_rates() -> None:
    old = overview(10.0, n=5)
    assert rate(overview(12.0, n=9, started=11.0), old, "n") is None
    assert rate(overview(12.0, n=1), old, "n") is None


def test_all_of_it() -> None:
    old = overview(
        10.0,
        cpu_seconds=1.0,
        messages={"publish_received": 0, "publish_sent": 0, "publish_dropped": 1},
        bytes={"received": 0, "sent": 0},
    )
    new = overview(
        3662.0,
        cpu_seconds=1.0 + 3652 / 2,
        messages={"publish_received": 3652, "publish_sent": 36520, "publish_dropped": 1},
        bytes={"received": 365200, "sent": 3652000},
        clients={"connected": 1200, "by_transport": {"tcp": 1000, "unix": 0, "ws": 200}},
        sessions_disconnected=3,
        subscriptions=7,
        retained={"messages": 4, "bytes": 1500},
        queue={"messages": 9, "bytes": 2048},
        memory_bytes=81_000_000,
        loop_lag={"p99_ms": 0.44},
        latency={"tcp": {"0": {"p99_ms": 0.5}, "1": {"p99_ms": 1.26}, "2": None}, "ws": {}},
        store={"state": "ok"},
    )
    lines = head(new, old, "http://h:1")
    assert lines[0].startswith("TrioMQ 1.2 (compiled) · http://h:1 · up 1h 1m · ")
    assert lines[1:] == [
        "Clients 1,200, 3 away · tcp 1,000, ws 200 · subscriptions 7 · retained 4 (1.5 kB)",
        "Messages in 1/s 100 B/s, out 10/s 1.0 kB/s · dropped 0/s (1)",
        "Queue 9 (2.0 kB) · latency p99 tcp 1.3 ms",
        "Process CPU 50 % · memory 81.0 MB · loop lag p99 0.4 ms · store ok",
    ]


@pytest.mark.parametrize("said", [{}, {"clients": 5, "latency": 5, "store": 5}, {"latency": {"tcp": 5}}])
def test_a_broker_that_tells_less_leaves_gaps(said: Item) -> None:
    lines = head(said, None, "http://h:1")
    assert len(lines) == 5
    assert lines[1] == "Clients -, - away · subscriptions - · retained - (0 B)"
    assert lines[4] == "Process CPU - % · memory -"


def test_counts() -> None:
    assert [count(None), count(0.0), count(1234.4)] == ["-", "0", "1,234"]
