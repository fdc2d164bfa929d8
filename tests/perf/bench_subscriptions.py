"""What subscriptions cost when there are many: `python -m tests.perf.bench_subscriptions [SUBSCRIPTIONS]`.

So many Sessions, 100,000 unless told, each with one filter of its own, `site/<n>/device/<m>/#`; then as many topics as
are remembered are published to, and single operations are timed: microseconds each, the mean and the most.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from broker.core.limits import Limits, ServerLimits
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Subscription, SubscriptionTree

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS = 2000


def timed(name: str, work: Callable[[int], object], operations: int = OPERATIONS) -> None:
    most = 0
    begun = time.perf_counter_ns()
    for number in range(operations):
        before = time.perf_counter_ns()
        work(number)
        most = max(most, time.perf_counter_ns() - before)
    mean = (time.perf_counter_ns() - begun) / operations
    print(f"{name:<58} {mean / 1000:9.2f} {most / 1000:9.2f}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    limits, stats = Limits(), Stats()
    tree = SubscriptionTree(ServerLimits().topic_cache)
    session = Session("watcher", limits, stats, 1 << 30)
    kept: list[Subscription] = []
    print(f"{'us each, with ' + str(count) + ' subscriptions':<58} {'mean':>9} {'most':>9}")

    def subscribe(number: int) -> None:
        one = Session(f"c{number}", limits, stats, 1 << 30)
        kept.append(Subscription(one, f"site/{number % 100}/device/{number}/#", "", 0))
        tree.add(kept[-1])

    timed("subscribe, nothing remembered", subscribe, count)
    topics = [f"site/{number % 100}/device/{number}/state" for number in range(min(count, tree.plans.size))]
    timed("publish to a topic for the first time", lambda number: tree.plan(topics[number]), len(topics))
    timed("publish again", lambda number: tree.plan(topics[number % len(topics)]))

    made = [Subscription(session, f"site/{number % 100}/device/{number}/+", "", 0) for number in range(OPERATIONS)]
    timed(f"subscribe with a wildcard, {len(tree.plans)} topics remembered", lambda number: tree.add(made[number]))

    def publish_and_subscribe(number: int) -> None:
        tree.plan(topics[number])
        tree.add(made[number])

    timed("publish again, while others subscribe", publish_and_subscribe)
    timed("unsubscribe", lambda number: tree.remove(made[number]))
    wide = [Subscription(session, f"+/{number}/#", "", 0) for number in range(OPERATIONS)]
    timed("subscribe to +/<n>/#", lambda number: tree.add(wide[number]))
    timed("disconnect of one of them all", lambda number: tree.remove(kept[number]))
    timed("publish afterwards", lambda number: tree.plan(topics[-number - 1]))


if __name__ == "__main__":
    main()
