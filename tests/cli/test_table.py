from __future__ import annotations

import io

import msgpack
from rich.console import Console

from broker.cli.table import head, table, tail, transports
from broker.simulation.devices import build_fleet
from broker.simulation.fleet import Fleet
from broker.simulation.meter import Meter

URLS = ["mqtt://127.0.0.1:1", "ws://127.0.0.1:2/mqtt"]


def fed() -> tuple[Fleet, Meter, dict[str, dict[str, float]]]:
    fleet = Fleet(build_fleet("home", 6, 1), URLS, rate=6.0)
    meter = Meter(fleet.transport_of)
    meter.rates(0.0)
    for device in fleet.devices:
        for _ in range(4):
            topic, payload, _ = device.next_message(1e9)
            meter.count(topic, payload)
        meter.count(f"{device.topic}/state", b"online")
    return fleet, meter, meter.rates(2.0)


def drawn(height: int, width: int = 110) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table(*fed(), height=height))
    return out.getvalue().rstrip("\n").split("\n")


def test_a_row_a_kind_of_topic_and_a_rate_a_transport() -> None:
    lines = drawn(height=30)
    assert lines[0].split() == ["topic", "last", "value", "tcp/s", "ws/s", "messages", "bytes"]
    rows = {line.split()[0]: line for line in lines[2:]}
    assert list(rows) == [
        "home/door/contact",
        "home/meter/energy",
        "home/meter/power",
        "home/thermostat/climate",
        "home/thermostat/heating",
    ]
    assert rows["home/door/contact"].split()[-5:-2] == ["2.0", "2.0", "8"]
    assert '{"kilowatt_hours":' in rows["home/meter/energy"]
    assert "time" not in rows["home/meter/energy"]


def test_what_does_not_fit_is_counted() -> None:
    lines = drawn(height=5)
    assert len(lines) == 5
    assert lines[-1].strip() == "… and 3 more"
    assert len(drawn(height=7)) == 7
    assert "more" not in drawn(height=7)[-1]


def test_a_narrow_terminal_keeps_the_numbers() -> None:
    lines = drawn(height=30, width=70)
    assert all(len(line) <= 70 for line in lines)
    assert lines[2].split()[-2] == "B" or lines[2].split()[-1] == "B"


def test_the_line_above_and_the_last_one() -> None:
    fleet, meter, rates = fed()
    assert transports(fleet) == ["tcp", "ws"]
    assert head(fleet, meter, rates, 65.0) == (
        f"0 of 6 devices connected · tcp 7.5/s · ws 7.5/s · all 15.0/s · 30 messages · {meter.bytes // 1000} kB · 1:05"
    )
    fleet.lost = 2
    assert "2 connections lost" in head(fleet, meter, rates, 65.0)
    fleet.published, fleet.cleared = 24, 6
    assert tail(fleet, meter) == (
        "Ended: 6 devices published 24 messages, 30 came through the broker; 6 of 6 states cleared."
    )


def test_any_payload_can_be_shown() -> None:
    fleet, meter, _ = fed()
    for payload in (b"", b"\xff\x00", b"[1,2]", msgpack.packb({"x": "y" * 100}), "[red]ä".encode(), b'"\\u001b[2J"'):
        meter.count("home/x/y", payload)
        meter.count("home/\x1b[2J", payload)
        out = io.StringIO()
        Console(file=out, width=110).print(table(fleet, meter, {}, 30))
        assert "home/x/y" in out.getvalue()
        assert "\x1b" not in out.getvalue()
    meter.bytes = 5_000_000_000
    assert "5 GB" in head(fleet, meter, {}, 0.0)
