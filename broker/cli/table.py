"""The live table of `broker simulate` and `broker demo`, and the plain lines where nobody watches a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.cli.payloads import decode, legible, to_json

if TYPE_CHECKING:
    from rich.table import Table

    from broker.simulation.fleet import Fleet
    from broker.simulation.meter import Meter

SHOWN = 48  # characters of a last value


def transports(fleet: Fleet) -> list[str]:
    """Those that the fleet uses, in the order of its devices."""
    return list(dict.fromkeys(fleet.transport_of(device.topic) for device in fleet.devices))


def head(fleet: Fleet, meter: Meter, rates: dict[str, dict[str, float]], elapsed: float) -> str:
    """How it goes, in one line."""
    parts = [f"{fleet.connected} of {len(fleet.devices)} devices connected"]
    total = 0.0
    for name in transports(fleet):
        rate = sum(row.get(name, 0.0) for row in rates.values())
        total += rate
        parts.append(f"{name} {rate:.1f}/s")
    parts += [f"all {total:.1f}/s", f"{meter.messages} messages", f"{_bytes(meter.bytes)}", _clock(elapsed)]
    if fleet.lost:
        parts.append(f"{fleet.lost} connections lost ({fleet.trouble})")
    return " · ".join(parts)


def table(fleet: Fleet, meter: Meter, rates: dict[str, dict[str, float]], height: int) -> Table:
    """A row a kind of topic, a column of rates a transport; in at most `height` lines."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = transports(fleet)
    drawn = Table(expand=True, header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    drawn.add_column("topic", no_wrap=True)
    drawn.add_column("last value", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in names:
        drawn.add_column(f"{name}/s", justify="right", no_wrap=True)
    drawn.add_column("messages", justify="right", no_wrap=True)
    drawn.add_column("bytes", justify="right", no_wrap=True)
    # Births and wills are in the count of devices; what does not fit is counted and not cut off
    kinds = sorted(kind for kind in meter.rows if not kind.endswith("/state"))
    room = max(1, height - 2)
    shown = kinds if len(kinds) <= room else kinds[: max(0, room - 1)]
    for kind in shown:
        row = meter.rows[kind]
        drawn.add_row(
            Text(legible(kind)),
            Text(_shown(row.last), style="dim"),
            *(f"{rates.get(kind, {}).get(name, 0.0):.1f}" for name in names),
            str(row.messages),
            _bytes(row.bytes),
        )
    if len(shown) < len(kinds):
        drawn.add_row(Text(f"… and {len(kinds) - len(shown)} more", style="dim"))
    return drawn


def tail(fleet: Fleet, meter: Meter) -> str:
    """How it ended, in one line."""
    return (
        f"Ended: {len(fleet.devices)} devices published {fleet.published} messages, {meter.messages} came through the "
        f"broker; {fleet.cleared} of {len(fleet.devices)} states cleared."
    )


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
