"""Going over a hundred thousand things without keeping the others waiting.

The broker has one thread. Whoever goes over all Sessions yields every so often, so that no Client waits for longer
than a slice takes; what comes or goes meanwhile may be missed, or seen though it is gone.
"""

from __future__ import annotations

import heapq
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")

SLICE: Final = 0.002  # seconds
LOOKS: Final = 32  # things between two looks at the clock
CHUNK: Final = 512  # things that are sorted at once


class Pace:
    """For a long loop: `if pace.due(): await pace.rest()` in each round lets the others go on every `SLICE` seconds.
    What is gone over must not change meanwhile: take a copy."""

    __slots__ = ("_left", "_until")

    def __init__(self) -> None:
        self._left = LOOKS
        self._until = time.perf_counter() + SLICE

    def due(self) -> bool:
        """Whether it is time to rest."""
        self._left -= 1
        if self._left > 0:
            return False
        self._left = LOOKS
        return time.perf_counter() >= self._until

    async def rest(self) -> None:
        await trio.lowlevel.checkpoint()
        self._until = time.perf_counter() + SLICE


async def collect(things: Iterable[T], make: Callable[[T], R]) -> list[R]:
    """What `make` makes of each."""
    pace = Pace()
    found: list[R] = []
    for thing in things:
        if pace.due():
            await pace.rest()
        found.append(make(thing))
    return found


class Page:
    """Which part of a list is asked for."""

    __slots__ = ("limit", "offset")

    def __init__(self, offset: int, limit: int) -> None:
        self.offset = offset
        self.limit = limit


async def select(things: Iterable[T], keep: Callable[[T], bool], page: Page) -> tuple[int, list[T]]:
    """How many of `things` there are to `keep`, and those on the page."""
    found: list[T] = []
    total = 0
    last = page.offset + page.limit
    pace = Pace()
    for thing in things:
        if pace.due():
            await pace.rest()
        if keep(thing):
            if page.offset <= total < last:
                found.append(thing)
            total += 1
    return total, found


async def select_sorted(
    things: Iterable[T], keep: Callable[[T], bool], page: Page, key: Callable[[T], Any], descending: bool
) -> tuple[int, list[T]]:
    """The same, by the `key`; whose key is None stands last in either direction."""
    some: list[tuple[Any, int, T]] = []
    none: list[T] = []
    chunks: list[list[tuple[Any, int, T]]] = []
    sign = -1 if descending else 1
    pace = Pace()
    for thing in things:
        if pace.due():
            await pace.rest()
        if not keep(thing):
            continue
        value = key(thing)
        if value is None:
            none.append(thing)
            continue
        some.append((value, sign * (len(chunks) * CHUNK + len(some)), thing))
        if len(some) == CHUNK:
            some.sort(reverse=descending)
            chunks.append(some)
            some = []
    some.sort(reverse=descending)
    chunks.append(some)
    total = sum(map(len, chunks)) + len(none)
    merged = islice(heapq.merge(*chunks, reverse=descending), page.offset + page.limit)
    found = (await collect(merged, _thing))[page.offset :]
    start = max(0, page.offset - (total - len(none)))
    found += none[start : start + page.limit - len(found)]
    return total, found


def _thing(entry: tuple[Any, int, T]) -> T:
    return entry[2]
