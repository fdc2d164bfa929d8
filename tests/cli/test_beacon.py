from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from broker.cli.beacon import NAME, Beacon, Told, read, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc to look into")


@pytest.fixture
def beacon() -> Iterator[Beacon]:
    lit = Beacon()
    yield lit
    lit.close()


def test_what_is_shown_is_read(beacon: Beacon) -> None:
    assert read(os.getpid()) is None, "nothing is shown yet"
    beacon.told.listeners = [{"type": "tcp", "url": "mqtt://127.0.0.1:1"}]
    beacon.show()
    assert read(os.getpid()) == beacon.told
    assert running()[os.getpid()] == beacon.told
    beacon.told.mistakes = "a mistake — ünïcode"
    assert read(os.getpid()) != beacon.told, "it is not shown yet"
    beacon.show()
    assert read(os.getpid()) == beacon.told
    beacon.close()
    assert read(os.getpid()) is None


def test_showing_again_takes_no_descriptor_more_and_is_not_inherited(beacon: Beacon) -> None:
    beacon.show()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        beacon.show()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not os.get_inheritable(beacon._descriptor)


def test_without_a_descriptor_the_broker_goes_on(beacon: Beacon, monkeypatch: pytest.MonkeyPatch) -> None:
    def memfd_create(name: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    beacon.show()
    before = read(os.getpid())
    beacon.told.mistakes = "some"
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", memfd_create)
        beacon.show()
    assert read(os.getpid()) == before != beacon.told
    beacon.show()
    assert read(os.getpid()) == beacon.told


def test_nobody_runs(tmp_path: Path) -> None:
    assert running(tmp_path / "none") == {}
    assert read(2**22 + 1) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        b'{"unknown": 1}',
        b'{"begun": "1"}',
        b'{"begun": true}',
        b'{"listeners": [7]}',
        b'{"listeners": [{"url": "mqtt://a"}]}',
        b'{"changes": [7]}',
        b'{"config": null}',
    ],
)
def test_what_is_of_another_shape_is_nothing(content: bytes) -> None:
    def read_back(told: bytes) -> Told | None:
        made = os.memfd_create(NAME)
        try:
            os.write(made, told)
            return read(os.getpid())
        finally:
            os.close(made)

    assert read_back(content) is None
    assert read_back(json.dumps(asdict(Told(version="1"))).encode()) == Told(version="1")
