"""An open loop, in a time that only the test knows."""

from __future__ import annotations

from random import Random

import pytest

from broker.bench.engine.pacing import AT_ONCE, Schedule
from broker.bench.engine.payload import STAMP
from broker.bench.engine.publisher import UNBOUNDED
from broker.bench.engine.tally import NEVER
from tests.bench.engine.parts import NOW, SECOND, published, publisher


def test_publishers_take_turns_each_at_its_time() -> None:
    crowd = [publisher(number=number, of=3, spacing=1000.0) for number in range(3)]
    schedule = Schedule(crowd, 3, 1000.0, UNBOUNDED)
    schedule.begin(NOW, NEVER)
    seen = []
    for now in range(NOW, NOW + 6000, 1000):
        assert schedule.hand_out(now) == 1000
        seen.append([one.backlog for one in crowd])
    assert seen == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2]]


def test_a_share_of_the_publishers_keeps_the_times_of_all() -> None:
    mine = [publisher(number=number, of=4, spacing=1000.0) for number in (1, 3)]
    schedule = Schedule(mine, 4, 1000.0, UNBOUNDED)
    schedule.begin(NOW, NEVER)
    assert schedule.hand_out(NOW) == 1000
    assert schedule.hand_out(NOW + 1000) == 2000
    assert schedule.hand_out(NOW + 3500) == 1500
    assert [one.backlog for one in mine] == [1, 1]


@pytest.mark.parametrize("rate", [3.0, 1000.0, 7777.7, 250_000.0])
def test_no_message_is_missing_however_unsteady_the_looks(rate: float) -> None:
    random = Random(1)
    spacing = SECOND / rate
    one = publisher(number=0, of=1, spacing=spacing)
    schedule = Schedule([one], 1, spacing, UNBOUNDED)
    schedule.begin(NOW, NEVER)
    now = NOW
    dues: list[int] = []
    while now < NOW + SECOND // 10:
        now += int(random.expovariate(1 / 2_000_000))
        wait = schedule.hand_out(now)
        assert 0 < wait <= spacing + 1
        if one.backlog:
            dues += [STAMP.unpack_from(packet.payload)[2] for packet in published(one.messages(one.backlog, now))]
    assert dues == [NOW + int(number * spacing) for number in range(len(dues))]
    assert len(dues) == int((now - NOW) / spacing) + 1


def test_after_a_stall_all_that_was_due_is_there_at_once() -> None:
    one = publisher(number=0, of=1, spacing=1000.0)
    schedule = Schedule([one], 1, 1000.0, UNBOUNDED)
    schedule.begin(NOW, NEVER)
    schedule.hand_out(NOW + 50_000)
    assert one.backlog == 51


def test_nothing_is_due_after_the_end_or_the_count() -> None:
    one = publisher(number=0, of=1, spacing=1000.0)
    schedule = Schedule([one], 1, 1000.0, UNBOUNDED)
    schedule.begin(NOW, NOW + 3000)
    assert schedule.hand_out(NOW + SECOND) == NEVER
    assert one.backlog == 3
    counted = publisher(number=0, of=1, spacing=1000.0)
    schedule = Schedule([counted], 1, 1000.0, 5)
    schedule.begin(NOW, NEVER)
    assert schedule.hand_out(NOW + SECOND) == NEVER
    assert counted.backlog == 5


def test_an_absurd_rate_does_not_hold_up_the_loop() -> None:
    one = publisher(number=0, of=1, spacing=0.001)
    schedule = Schedule([one], 1, 0.001, UNBOUNDED)
    schedule.begin(NOW, NEVER)
    assert schedule.hand_out(NOW + SECOND) == 0
    assert one.backlog == AT_ONCE


def test_a_worker_without_publishers_has_nothing_to_hand_out() -> None:
    schedule = Schedule([], 3, 1000.0, UNBOUNDED)
    schedule.begin(NOW, NEVER)
    assert schedule.hand_out(NOW) == NEVER
