from __future__ import annotations

import pytest

from broker.simulation.meter import WINDOW, Meter, Pace
from tests.simulation.parts import fleet_of


def test_topics_of_one_kind_share_a_row() -> None:
    devices = fleet_of("home", 12)
    meter = Meter([(device, index % 2) for index, device in enumerate(devices)], 2)
    first, second = [device for device in devices if device.kind == "meter"][:2]
    meter.count(f"{first.topic}/energy", b"12345")
    meter.count(f"{second.topic}/energy", b"123")
    row = meter.rows["home/meter/energy"]
    assert (row.messages, row.bytes, row.last) == (2, 8, b"123")
    assert sum(row.by_place) == 2
    assert (meter.messages, meter.bytes) == (2, 8)
    assert meter.place_of(f"{first.topic}/energy") == devices.index(first) % 2
    assert meter.place_of(f"{first.topic}/state") == devices.index(first) % 2
    assert meter.place_of("home/somebody-else") == -1


def test_births_wills_and_what_is_cleared_are_no_messages_of_channels() -> None:
    devices = fleet_of("home", 6)
    meter = Meter([(device, 0) for device in devices], 1)
    state = devices[0].state_topic
    for payload in (b"online", b"offline", b"online", b""):
        meter.count(state, payload)
    meter.count(devices[0].channels[0].topic, b"")
    meter.count("home/house-001/lamp-0001/set", b"{}")
    assert (meter.births, meter.wills, meter.messages) == (2, 1, 0)


def test_rates_by_place_over_the_window() -> None:
    devices = fleet_of("home", 12)
    first, second = [device for device in devices if device.kind == "meter"][:2]
    meter = Meter([(device, int(device is second)) for device in devices], 2)
    assert set(meter.rates(0.0)) == set(meter.rows)
    for now in range(1, 11):
        for _ in range(4):
            meter.count(f"{first.topic}/energy", b"x")
        meter.count(f"{second.topic}/energy", b"x")
        rates = meter.rates(float(now))
        assert rates["home/meter/energy"] == pytest.approx([4.0, 1.0])
    # Silence: the rate falls to nothing within the window and stays there.
    for now in range(11, 11 + int(WINDOW) + 1):
        rates = meter.rates(float(now))
    assert rates["home/meter/energy"] == [0.0, 0.0]


def test_samples_do_not_pile_up() -> None:
    meter = Meter([(device, 0) for device in fleet_of("home", 3)], 1)
    pace = Pace()
    for tick in range(1000):
        meter.rates(tick * 0.25)
        pace.look(tick * 0.25, tick, 0, 0)
    assert len(meter._samples) <= WINDOW / 0.25 + 2
    assert len(pace._samples) <= WINDOW / 0.25 + 2


def test_the_pace_is_that_of_the_window() -> None:
    pace = Pace()
    pace.look(0.0, 0, 0, 0)
    assert (pace.said, pace.missed, pace.held_back) == (0.0, 0.0, 0.0)
    for now in range(1, 20):
        pace.look(float(now), 100 * now, 10 * now if now < 10 else 100, 2 * now)
    assert (pace.said, pace.missed, pace.held_back) == (100.0, 0.0, 2.0)
