from __future__ import annotations

import pytest

from broker.bench.engine.payload import OLDEST, STAMP, due_of, filler

NOW = 10 * OLDEST


def payload(size: int, due: int = NOW - 5) -> bytes:
    return STAMP.pack(3, 4, due) + filler(size)


def test_a_filler_begins_like_any_longer_one() -> None:
    assert filler(100) == filler(5000)[:84]
    assert filler(16) == b""
    assert len(set(filler(1016))) > 200  # no row of the same byte, in which a shift would not be seen


@pytest.mark.parametrize("size", [16, 17, 64, 4096, 100_000])
def test_a_payload_of_ours_tells_when_it_was_due(size: int) -> None:
    assert due_of(payload(size), filler(1000), NOW) == NOW - 5


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"21.5",
        payload(64)[:15],
        payload(64)[:-1] + b"\0",
        payload(64, NOW + 1),
        payload(64, NOW - OLDEST - 1),
        payload(64) + b"x",
        b'{"temperature": 21.5, "humidity": 60}',
    ],
)
def test_any_other_payload_does_not(foreign: bytes) -> None:
    assert due_of(foreign, filler(1000), NOW) == -1
