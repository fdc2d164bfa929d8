from __future__ import annotations

import pytest

from broker.simulation.meter import WINDOW, Meter, row_of


def transport_of(topic: str) -> str:
    return "ws" if "-0002/" in topic else "tcp"


def test_topics_of_one_kind_share_a_row() -> None:
    assert row_of("home/meter-0007/power") == "home/meter/power"
    assert row_of("home/semi-detached/power") == "home/semi-detached/power"
    assert row_of("a/-1") == "a/"
    meter = Meter(transport_of)
    meter.count("home/meter-0001/power", b"12345")
    meter.count("home/meter-0002/power", b"123")
    meter.count("home/door-0001/contact", b"")
    assert list(meter.rows) == ["home/meter/power", "home/door/contact"]
    row = meter.rows["home/meter/power"]
    assert (row.messages, row.bytes, row.last, row.by_transport) == (2, 8, b"123", {"tcp": 1, "ws": 1})
    assert (meter.messages, meter.bytes) == (3, 8)


def test_rates_by_transport_over_the_window() -> None:
    meter = Meter(transport_of)
    assert meter.rates(0.0) == {}
    for second in range(1, 11):
        for _ in range(4):
            meter.count("home/meter-0001/power", b"")
        meter.count("home/meter-0002/power", b"")
        rates = meter.rates(float(second))
        assert rates["home/meter/power"] == {"tcp": pytest.approx(4.0), "ws": pytest.approx(1.0)}
    # Silence: the rate falls to nothing within the window and stays there.
    for second in range(11, 11 + int(WINDOW) + 1):
        rates = meter.rates(float(second))
    assert rates["home/meter/power"] == {"tcp": 0.0, "ws": 0.0}


def test_the_first_look_has_no_rate_yet() -> None:
    meter = Meter(transport_of)
    meter.count("a/b-0001/c", b"")
    assert meter.rates(3.0) == {"a/b/c": {"tcp": 0.0}}


def test_samples_do_not_pile_up() -> None:
    meter = Meter(transport_of)
    for tick in range(1000):
        meter.rates(tick * 0.25)
    assert len(meter._samples) <= WINDOW / 0.25 + 2
