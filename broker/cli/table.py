"""The live table of `broker simulate` and `broker demo`, and the plain lines where nobody watches a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.cli.payloads import decode, legible, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from broker.simulation.fleet import Fleet
    from broker.simulation.meter import Meter, Pace

SHOWN: Final = 48  # characters of a last value
COLUMNS: Final = 4  # of rates; where there are more URLs they are added up by transport
BEHIND: Final = 0.03  # the share of messages that may be left unsaid before it is worth a line

_TRANSPORTS: Final = {"mqtt": "tcp", "tcp": "tcp", "mqtts": "tls", "ws": "ws", "wss": "wss", "unix": "unix"}

Rates = dict[str, list[float]]


def transport(url: str) -> str:
    """How the broker names what a URL leads to."""
    return _TRANSPORTS[url.partition(":")[0].lower()]


def columns(urls: Sequence[str]) -> dict[str, list[int]]:
    """The columns of rates: a name, and the places of the URLs whose messages are added up in it."""
    by_transport: dict[str, list[int]] = {}
    by_address: dict[str, list[int]] = {}
    for place, url in enumerate(urls):
        by_transport.setdefault(transport(url), []).append(place)
        address = url.partition(":")[2].rpartition("@")[2].removeprefix("//")
        by_address.setdefault(f"{transport(url)} {address.partition('/')[0] or address}", []).append(place)
    crowded = len(by_transport) < len(by_address) <= COLUMNS
    return by_address if crowded else by_transport


def head(fleet: Fleet, meter: Meter, rates: Rates, elapsed: float) -> str:
    """How it goes, in one line."""
    parts = [f"{fleet.connected:,} of {len(fleet.devices):,} devices connected"]
    named = columns(fleet.urls)
    for name, places in named.items():
        parts.append(f"{name} {sum(row[place] for row in rates.values() for place in places):,.1f}/s")
    if len(named) > 1:
        parts.append(f"all {sum(sum(row) for row in rates.values()):,.1f}/s")
    parts += [f"{meter.messages:,} messages", _bytes(meter.bytes), _clock(elapsed)]
    return " · ".join(parts)


def remarks(fleet: Fleet, meter: Meter, pace: Pace) -> list[str]:
    """What else there is to say, a line each; nothing where all goes well and quietly."""
    lines: list[str] = []
    wanted = pace.said + pace.missed + pace.held_back
    if wanted and pace.missed + pace.held_back > BEHIND * wanted:
        why = "this machine is too slow" if pace.missed >= pace.held_back else "the broker takes no more"
        lines.append(f"Cannot hold the rate: {fleet.asked:,.0f}/s asked, {pace.said:,.0f}/s said; {why}.")
    parts: list[str] = []
    if fleet.dropped:
        parts.append(f"{some(fleet.dropped, 'connection')} dropped by flaky devices, {some(meter.wills, 'will')} seen")
    if fleet.obeyed or fleet.disobeyed:
        senseless = f", {fleet.disobeyed:,} made no sense" if fleet.disobeyed else ""
        parts.append(f"{some(fleet.obeyed, 'command')} obeyed{senseless}")
    if fleet.lost or fleet.failed:
        failed = f", {some(fleet.failed, 'attempt')} to connect failed" if fleet.failed else ""
        parts.append(f"{some(fleet.lost, 'connection')} lost{failed} ({fleet.trouble})")
    if fleet.refused:
        parts.append(f"{some(fleet.refused, 'message')} refused ({fleet.trouble})")
    if fleet.hopeless:
        parts.append(f"{some(fleet.hopeless, 'device')} refused for good")
    if parts:
        lines.append(legible(" · ".join(parts)))
    return lines


def table(fleet: Fleet, meter: Meter, rates: Rates, height: int) -> Table:
    """A row a kind of topic, a column of rates a URL; in at most `height` lines."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    named = columns(fleet.urls)
    drawn = Table(expand=True, header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    drawn.add_column("topic", no_wrap=True)
    drawn.add_column("last value", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in named:
        drawn.add_column(f"{name}/s", justify="right", no_wrap=True)
    drawn.add_column("messages", justify="right", no_wrap=True)
    drawn.add_column("bytes", justify="right", no_wrap=True)
    # What does not fit is counted and not cut off
    rows = sorted((row for row in meter.rows.values() if row.messages), key=lambda row: row.name)
    room = max(1, height - 2)
    shown = rows if len(rows) <= room else rows[: max(0, room - 1)]
    for row in shown:
        rate = rates.get(row.name, [0.0] * meter.places)
        drawn.add_row(
            Text(legible(row.name)),
            Text(_shown(row.last), style="dim"),
            *(f"{sum(rate[place] for place in places):,.1f}" for places in named.values()),
            f"{row.messages:,}",
            _bytes(row.bytes),
        )
    if len(shown) < len(rows):
        drawn.add_row(Text(f"… and {len(rows) - len(shown)} more", style="dim"))
    return drawn


def tail(fleet: Fleet, meter: Meter, watched: bool = True) -> str:
    """How it ended, in one line."""
    through = f", {meter.messages:,} came through the broker" if watched else ""
    unsaid = fleet.missed + fleet.held_back
    late = f", {unsaid:,} were not said in time" if unsaid else ""
    dropped = f", {some(fleet.dropped, 'connection')} dropped by flaky devices" if fleet.dropped else ""
    lost = f", {some(fleet.lost, 'connection')} lost" if fleet.lost else ""
    return (
        f"Ended: {some(len(fleet.devices), 'device')} published {some(fleet.published, 'message')}"
        f"{through}{late}{dropped}{lost}; {fleet.cleared:,} of {len(fleet.devices):,} states cleared."
    )


def some(count: int, noun: str) -> str:
    """ "1 will", "2,000 wills"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shown(payload: bytes) -> str:
    value = decode(payload)
    if isinstance(value, dict):
        value.pop("time", None)
    text = value if isinstance(value, str) else "" if value is None else to_json(value)
    text = legible(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _bytes(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count} {unit}"
        count //= 1000
    return f"{count} GB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
