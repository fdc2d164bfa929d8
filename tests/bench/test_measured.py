from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import msgpack
import pytest

from broker.bench.histogram import Histogram
from broker.bench.measured import Measured


def full(factor: int = 1) -> Measured:
    """One in which every field says something."""
    measured = Measured(trouble={"odd": factor}, series=[(1 * factor, 2), (3, 4)])
    for number, field in enumerate(fields(measured)):
        value = getattr(measured, field.name)
        if isinstance(value, Histogram):
            value.record(1000 * factor)
        elif not isinstance(value, list | dict):
            setattr(measured, field.name, type(value)(number * factor))
    return measured


@pytest.mark.parametrize("library", [msgpack, json])
def test_it_survives_the_way_to_the_parent(library: Any) -> None:
    measured = full()
    again = Measured.from_dict(library.loads(library.dumps(measured.to_dict())))
    assert again.to_dict() == measured.to_dict()
    assert again.latency.percentile(50) == 1000
    assert again.series == [(1, 2), (3, 4)]


def test_workers_add_up() -> None:
    one, other = full(), full(2)
    one.add(other)
    twice = full()
    assert one.sent == twice.sent * 3
    assert one.generator_cpu == twice.generator_cpu * 3
    assert one.latency.count == 2
    assert one.trouble == {"odd": 3}
    assert one.series == [(3, 4), (6, 8)]


@pytest.mark.parametrize("name", ["seconds", "connect_seconds", "connect_busiest", "busiest", "starved", "latest"])
def test_what_workers_do_side_by_side_is_the_greatest(name: str) -> None:
    one, other = full(), full(2)
    greatest = getattr(other, name)
    one.add(other)
    assert getattr(one, name) == greatest


def test_the_longer_series_keeps_its_tail() -> None:
    one, other = Measured(series=[(1, 1)]), Measured(series=[(2, 2), (3, 3)])
    one.add(other)
    assert one.series == [(3, 3), (3, 3)]


@pytest.mark.parametrize("name", ["corrupted", "disordered", "refused", "disconnected"])
def test_a_fault_is_not_ok(name: str) -> None:
    measured = Measured()
    assert measured.ok
    setattr(measured, name, 1)
    assert not measured.ok


def test_trouble_is_not_ok_but_a_loss_alone_is() -> None:
    assert Measured(lost=3, repeated=1).ok
    assert not Measured(trouble={"a message lost at QoS 1": 3}).ok
