from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgpack
import pytest
from rich.console import Console

from broker.cli.table import columns, head, remarks, some, table, tail, transport
from broker.client import Disconnected
from broker.packets.reasons import ReasonCode
from broker.simulation.fleet import Fleet
from broker.simulation.meter import Meter, Pace
from tests.simulation.parts import NOON, fleet_of

if TYPE_CHECKING:
    from broker.cli.table import Rates

URLS = ["mqtt://127.0.0.1:1", "ws://127.0.0.1:2/mqtt"]


def fed(urls: list[str] = URLS, count: int = 10) -> tuple[Fleet, Meter, Rates]:
    fleet = Fleet(fleet_of("home", count), urls)
    meter = Meter([(member.device, member.place) for member in fleet.members], len(urls))
    meter.rates(0.0)
    for device in fleet.devices:
        for channel in device.channels:
            for _ in range(4):
                channel.forget()
                meter.count(channel.topic, channel.payload(NOON) or b"")
        meter.count(device.state_topic, b"online")
    return fleet, meter, meter.rates(2.0)


def drawn(height: int, width: int = 110, urls: list[str] = URLS) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table(*fed(urls), height=height))
    return out.getvalue().rstrip("\n").split("\n")


def test_a_row_a_kind_of_topic_and_a_rate_a_transport() -> None:
    lines = drawn(height=30)
    assert lines[0].split() == ["topic", "last", "value", "tcp/s", "ws/s", "messages", "bytes"]
    rows = {line.split()[0]: line for line in lines[2:]}
    assert list(rows) == [
        "home/door/battery",
        "home/door/open",
        "home/lamp/light",
        "home/lamp/power",
        "home/meter/energy",
        "home/meter/power",
        "home/motion/ambient",
        "home/motion/presence",
        "home/thermostat/climate",
        "home/thermostat/heating",
    ]
    assert rows["home/lamp/light"].split()[-5:-2] == ["2.0", "2.0", "8"]
    assert '{"kilowatt_hours":' in rows["home/meter/energy"]
    assert "time" not in rows["home/meter/energy"]


def test_what_does_not_fit_is_counted() -> None:
    lines = drawn(height=5)
    assert len(lines) == 5
    assert lines[-1].strip() == "… and 8 more"
    assert len(drawn(height=12)) == 12
    assert "more" not in drawn(height=12)[-1]


def test_a_narrow_terminal_keeps_the_numbers() -> None:
    lines = drawn(height=30, width=70)
    assert all(len(line) <= 70 for line in lines)
    assert lines[2].split()[-2] == "B" or lines[2].split()[-1] == "B"


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["mqtt://h:1"], {"tcp": [0]}),
        (["mqtt://h:1", "ws://h:2/mqtt", "unix:/x"], {"tcp": [0], "ws": [1], "unix": [2]}),
        (
            ["mqtt://a:1", "mqtt://me:secret@b:1", "ws://a:2/mqtt"],
            {"tcp a:1": [0], "tcp b:1": [1], "ws a:2": [2]},
        ),
        (["unix:/x", "unix:/y"], {"unix /x": [0], "unix /y": [1]}),
        ([f"mqtt://h:{port}" for port in range(1, 6)], {"tcp": [0, 1, 2, 3, 4]}),
        (["mqtt://a:1", "mqtt://a:1"], {"tcp": [0, 1]}),
    ],
)
def test_columns_name_what_tells_urls_apart(urls: list[str], expected: dict[str, list[int]]) -> None:
    assert columns(urls) == expected


def test_transports_have_the_brokers_names() -> None:
    assert [transport(url) for url in ("mqtt://h", "TCP://h", "ws://h", "unix:/x")] == ["tcp", "tcp", "ws", "unix"]
    assert [transport(url) for url in ("mqtts://h", "wss://h")] == ["tls", "wss"]


def test_rates_of_several_brokers_stand_side_by_side() -> None:
    urls = ["mqtt://a:1", "mqtt://b:1"]
    assert "tcp a:1/s" in drawn(30, urls=urls)[0]
    fleet, meter, rates = fed(urls)
    assert " · tcp a:1 24.0/s · tcp b:1 16.0/s · all 40.0/s · " in head(fleet, meter, rates, 0.0)


def test_the_line_above_and_the_last_one() -> None:
    fleet, meter, rates = fed()
    assert head(fleet, meter, rates, 65.0) == (
        f"0 of 10 devices connected · tcp 24.0/s · ws 16.0/s · all 40.0/s · 80 messages · "
        f"{meter.bytes // 1000} kB · 1:05"
    )
    fleet.published = 24
    for member in fleet.members:
        member.cleared = True
    assert tail(fleet, meter) == (
        "Ended: 10 devices published 24 messages, 80 came through the broker; 10 of 10 states cleared."
    )
    fleet.missed, fleet.held_back, fleet.dropped, fleet.lost = 1000, 1, 2, 3
    assert tail(fleet, meter, watched=False) == (
        "Ended: 10 devices published 24 messages, 1,001 were not said in time, 2 connections dropped by flaky devices, "
        "3 connections lost; 10 of 10 states cleared."
    )


def test_nothing_is_remarked_while_all_goes_well() -> None:
    fleet, meter, _ = fed()
    pace = Pace()
    pace.said, pace.missed = 99.0, 1.0
    assert remarks(fleet, meter, pace) == []


def test_a_rate_that_cannot_be_held_is_said_plainly() -> None:
    fleet, meter, _ = fed()
    fleet.asked = 20_000.0
    pace = Pace()
    pace.said, pace.missed, pace.held_back = 9000.0, 11_000.0, 10.0
    slow = "Cannot hold the rate: 20,000/s asked, 9,000/s said; this machine is too slow."
    assert remarks(fleet, meter, pace) == [slow]
    pace.missed, pace.held_back = 0.0, 500.0
    (line,) = remarks(fleet, meter, pace)
    assert line.endswith("9,000/s said; the broker takes no more.")


def test_what_befell_the_devices_is_remarked() -> None:
    fleet, meter, _ = fed()
    fleet.dropped, fleet.obeyed, fleet.disobeyed, fleet.lost, fleet.failed = 3, 5, 1, 2, 7
    fleet.trouble = Disconnected(ReasonCode.SERVER_BUSY, "\x1b[2Jmuch to do", by_server=True)
    meter.wills = 3
    assert remarks(fleet, meter, Pace()) == [
        "3 connections dropped by flaky devices, 3 wills seen · 5 commands obeyed, 1 made no sense · "
        "2 connections lost, 7 attempts to connect failed (0x89 server busy: \\x1b[2Jmuch to do)"
    ]


def test_one_is_no_plural() -> None:
    assert [some(count, "will") for count in (0, 1, 2000)] == ["0 wills", "1 will", "2,000 wills"]


def test_any_payload_can_be_shown() -> None:
    fleet, meter, _ = fed()
    topic = fleet.devices[0].channels[0].topic
    for payload in (b"\xff\x00", b"[1,2]", msgpack.packb({"x": "y" * 100}), "[red]ä".encode(), b'"\\u001b[2J"'):
        meter.count(topic, payload)
        out = io.StringIO()
        Console(file=out, width=110).print(table(fleet, meter, {}, 30))
        assert "home/thermostat/climate" in out.getvalue()
        assert "\x1b" not in out.getvalue()
    meter.bytes = 5_000_000_000
    assert "5 GB" in head(fleet, meter, {}, 0.0)


def test_a_large_fleet_is_as_short() -> None:
    fleet, meter, rates = fed(count=2000)
    assert head(fleet, meter, rates, 0.0).startswith("0 of 2,000 devices connected · tcp ")
    out = io.StringIO()
    Console(file=out, width=110).print(table(fleet, meter, rates, 30))
    assert len(out.getvalue().splitlines()) == 12
