from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from broker.bench.workload import Workload

GOOD = Workload(url="mqtt://localhost", publishers=1, subscribers=1)


def test_it_survives_the_way_to_a_worker() -> None:
    workload = replace(GOOD, rate=12.5, username="me", qos=2)
    assert Workload.from_dict(msgpack.unpackb(msgpack.packb(workload.to_dict()))) == workload


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(TypeError, match="has no colour"):
        Workload.from_dict({"url": "x", "colour": "red"})


def test_what_makes_sense_is_let_through() -> None:
    GOOD.check()
    Workload(url="", idle=50_000).check()
    Workload(url="", subscribers=1, payload=0).check()  # of a payload that is never sent nothing is asked


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"publishers": 0, "subscribers": 0}, "at least one client"),
        ({"payload": 15}, "16 to"),
        ({"payload": 268_435_455}, "16 to"),
        ({"qos": 3}, "no version 5 of MQTT with QoS 3"),
        ({"version": 6}, "no version 6"),
        ({"echo": True}, "echo"),
        ({"publishers": -1, "subscribers": 3}, "publishers is 0 to"),
        ({"rate": -1.0}, "rate is 0 to"),
        ({"rate": float("nan")}, "rate is 0 to"),
        ({"seconds": 0.0}, "seconds is above 0"),
        ({"seconds": float("inf")}, "seconds is above 0"),
        ({"inflight": 0}, "inflight is above 0"),
        ({"inflight": 65_536}, "inflight is at most"),
        ({"timeout": 0.0}, "timeout is above 0"),
        ({"keep_alive": 70_000}, "65,535"),
    ],
)
def test_what_has_no_sense_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(GOOD, **changed).check()
