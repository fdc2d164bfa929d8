"""Pages of long lists: the right ones, and nobody waits for long."""

from __future__ import annotations

import random
import time

import pytest
import trio

from broker.web.slices import CHUNK, Page, collect, select, select_sorted

THINGS = list(range(5000))
random.Random(4).shuffle(THINGS)


@pytest.mark.parametrize(("offset", "limit"), [(0, 10), (7, 3), (2495, 100), (2500, 5), (9999, 1)])
async def test_a_page(offset: int, limit: int) -> None:
    kept = [each for each in THINGS if each % 2]
    assert await select(THINGS, lambda each: each % 2 == 1, Page(offset, limit)) == (
        2500,
        kept[offset : offset + limit],
    )


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("offset", "limit"), [(0, 10), (1, CHUNK), (3990, 50), (4990, 100), (9999, 1)])
async def test_a_sorted_page(offset: int, limit: int, descending: bool) -> None:
    def key(each: int) -> int | None:
        return each // 10 if each >= 1000 else None

    keyed = [each for each in THINGS if each >= 1000]
    expected = sorted(keyed, key=lambda each: each // 10, reverse=descending)
    expected += [each for each in THINGS if each < 1000]
    found = await select_sorted(THINGS, lambda _: True, Page(offset, limit), key, descending)
    assert found == (5000, expected[offset : offset + limit])


async def test_nobody_waits_for_long() -> None:
    gaps: list[float] = []

    async def look_on() -> None:
        last = time.thread_time()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.thread_time()
            gaps.append(now - last)
            last = now

    things = [(each * 7919) % 100_003 for each in range(100_000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_on)
        await select_sorted(things, lambda each: each % 3 > 0, Page(50_000, 100), lambda each: each, False)
        nursery.cancel_scope.cancel()
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.01  # of this thread alone; SLICE is 2 ms


async def test_all_of_them_come() -> None:
    assert await collect(THINGS, lambda each: each + 1) == [each + 1 for each in THINGS]
