from __future__ import annotations

import resource
import socket
from typing import TYPE_CHECKING, Any

import pytest

from broker.bench import limits
from broker.bench.errors import BenchError
from broker.bench.limits import SPARE_DESCRIPTORS, check_descriptors, sources_for

if TYPE_CHECKING:
    from pathlib import Path


class Descriptors:
    """The limit of open files of a process that is not ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, may_raise: bool = False) -> None:
        self.soft, self.hard, self.may_raise = soft, hard, may_raise
        monkeypatch.setattr(resource, "getrlimit", lambda which: (self.soft, self.hard))
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, which: int, wanted: tuple[int, int]) -> None:
        if wanted[1] > self.hard and not self.may_raise:
            raise ValueError("not allowed to raise maximum limit")
        self.soft, self.hard = wanted


def test_enough_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = Descriptors(monkeypatch, 1024, 4096)
    check_descriptors(100)
    assert (descriptors.soft, descriptors.hard) == (1024, 4096)


def test_the_soft_limit_is_raised_as_far_as_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = Descriptors(monkeypatch, 1024, 100_000)
    check_descriptors(5000)
    assert (descriptors.soft, descriptors.hard) == (5000 + SPARE_DESCRIPTORS, 100_000)


def test_the_hard_limit_too_for_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = Descriptors(monkeypatch, 1024, 4096, may_raise=True)
    check_descriptors(5000)
    assert descriptors.hard == 5000 + SPARE_DESCRIPTORS


def test_a_limit_that_stays_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Descriptors(monkeypatch, 1024, 4096)
    with pytest.raises(BenchError, match=r"5000 connections .* 5064 open files, and the limit is 4096 \(ulimit -Hn\)"):
        check_descriptors(5000)


@pytest.fixture
def thousand_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "range"
    file.write_text("30000\t30999\n")
    monkeypatch.setattr(limits, "PORT_RANGE", file)


@pytest.mark.usefixtures("thousand_ports")
@pytest.mark.parametrize(
    ("clients", "family", "address", "sources"),
    [
        (800, socket.AF_INET, ("127.0.0.1", 1883), []),
        (801, socket.AF_INET, ("127.0.0.1", 1883), ["127.0.0.1", "127.0.0.2"]),
        (800, socket.AF_INET, ("192.0.2.1", 1883), []),
        (50_000, socket.AF_UNIX, "/run/broker.sock", []),
    ],
)
def test_loopback_has_more_addresses_where_one_has_too_few_ports(
    clients: int, family: int, address: Any, sources: list[str]
) -> None:
    assert sources_for(clients, family, address) == sources


@pytest.mark.usefixtures("thousand_ports")
def test_many_addresses_are_different() -> None:
    sources = sources_for(500_000, socket.AF_INET, ("127.0.0.1", 1883))
    assert len(sources) == len(set(sources)) == 625
    for source in sources:
        socket.inet_aton(source)


@pytest.mark.usefixtures("thousand_ports")
@pytest.mark.parametrize("address", [("192.0.2.1", 1883), ("::1", 1883, 0, 0)])
def test_too_few_ports_towards_another_machine_are_named(address: Any) -> None:
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with pytest.raises(BenchError, match="more than the 1000 ports"):
        sources_for(801, family, address)


def test_an_unknown_range_is_the_usual_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "PORT_RANGE", tmp_path / "nothing")
    assert limits.ports() == 16_384
