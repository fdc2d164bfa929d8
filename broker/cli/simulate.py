"""`broker simulate`: a fleet of devices that publish, and a live table of what comes through the broker."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Final

import click

from broker.simulation.devices import MIXED, SCENARIOS, build_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.client import Messages
    from broker.simulation.fleet import Fleet
    from broker.simulation.meter import Meter

REFRESH: Final = 0.5  # seconds between two pictures of the table
LINE_EVERY: Final = 5.0  # seconds between two lines where nobody watches
DEFAULT_URLS: Final = ("mqtt://127.0.0.1:1883", "ws://127.0.0.1:8080/mqtt")


@click.command(
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    epilog="""\b
Examples:
  broker simulate
  broker simulate factory --devices 200 --rate 1000 --seed 7
  broker simulate --url mqtt://127.0.0.1:1883 --duration 60 --no-table

\b
Exit codes: 0 ended by Ctrl-C, SIGTERM or --duration, 1 failure, 2 usage, 4 cannot connect, 5 refused.
""",
)
@click.argument("scenario", type=click.Choice([MIXED, *SCENARIOS]), default=MIXED, metavar="[SCENARIO]")
@click.option("--list", "wants_list", is_flag=True, help="Say which scenarios there are, and what is in them.")
@click.option("--devices", type=click.IntRange(1), default=36, show_default=True, metavar="N")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), metavar="MSG/S", help="Of all together; else one a device."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same devices and values.")
@click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="URL",
    help=f"Devices are dealt out to these in turn; may be repeated. Else {' and '.join(DEFAULT_URLS)}.",
)
@click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="End after so long.")
@click.option("--no-table", is_flag=True, help="A line every few seconds instead, as where stdout is no terminal.")
def simulate(
    scenario: str,
    wants_list: bool,
    devices: int,
    rate: float | None,
    seed: int,
    urls: Sequence[str],
    duration: float | None,
    no_table: bool,
) -> None:
    """Let simulated devices publish telemetry, until Ctrl-C.

    SCENARIO is home, factory, tracker, weather, or mixed: all of them, and the default. Each device has a retained
    <device>/state that says online, and 'offline' as its Will Message; at the end all states are cleared, and nothing
    is left behind.
    """
    if wants_list:
        for line in describe():
            click.echo(line)
        return
    from broker.cli.running import run
    from broker.client import parse
    from broker.simulation.fleet import Fleet

    for url in urls:
        try:
            parse(url)
        except ValueError as error:
            raise click.UsageError(f"--url: {error}.") from error

    async def work() -> int:
        fleet = Fleet(build_fleet(scenario, devices, seed), urls or DEFAULT_URLS, rate or float(devices))
        await show(fleet, duration, not no_table and sys.stdout.isatty(), [])
        return 0

    run(work, signals=False)


def describe() -> list[str]:
    """The scenarios with their devices and channels."""
    lines = [f"{MIXED}: all of these"]
    for name, kinds in SCENARIOS.items():
        lines.append(f"{name}:")
        for kind in kinds:
            channels = ", ".join(reading.channel for reading in kind(name, 1, 1).sweep())
            lines.append(f"  {kind.kind:<10} {channels} ({kind.encoding})")
    return lines


async def show(fleet: Fleet, duration: float | None, live: bool, notes: Sequence[str]) -> None:
    """Run the fleet and show what comes through the broker, until SIGINT, SIGTERM or the end of `duration`.

    The first URL is asked first: where nobody answers there, its error is raised before any device is started. A second
    Ctrl-C does not wait for the devices.
    """
    import trio

    from broker.cli import table
    from broker.client import connect
    from broker.simulation.meter import Meter

    meter = Meter(fleet.transport_of)
    roots = dict.fromkeys(device.topic.split("/")[0] for device in fleet.devices)
    first = fleet.url_of[fleet.devices[0].topic]
    alive = False

    async def listen(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if not alive or fleet.is_ending:
                    scope.cancel()
                fleet.end()

    async def last() -> None:
        if duration is not None:
            await trio.sleep(duration)
            fleet.end()

    async with trio.open_nursery() as nursery:
        await nursery.start(listen, nursery.cancel_scope)
        async with (
            connect(first) as client,
            client.subscribe(*(f"{root}/#" for root in roots), buffer=10_000) as messages,
        ):
            nursery.start_soon(_count, messages, meter)
            nursery.start_soon(last)
            nursery.start_soon(_draw if live else _print, fleet, meter, notes)
            alive = True
            await fleet.run()
        nursery.cancel_scope.cancel()
    click.echo(table.tail(fleet, meter))


async def _count(messages: Messages, meter: Meter) -> None:
    import trio

    try:
        async for message in messages:
            meter.count(message.topic, message.payload)
    except trio.ClosedResourceError:  # left, at the end
        pass


async def _draw(fleet: Fleet, meter: Meter, notes: Sequence[str]) -> None:
    import trio
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from broker.cli import table

    started = trio.current_time()
    # Drawn by us and not by rich's thread: a picture costs some milliseconds, which the broker may want for itself
    console = Console()
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            now = trio.current_time()
            rates = meter.rates(now)
            lines = [*notes, "Ctrl-C ends it; nothing is left behind."]
            head = Text(table.head(fleet, meter, rates, now - started), style="bold", no_wrap=True, overflow="ellipsis")
            picture = table.table(fleet, meter, rates, console.height - len(lines) - 2)
            foot = Text("\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis")
            live.update(Group(head, picture, foot), refresh=True)
            await trio.sleep(REFRESH)


async def _print(fleet: Fleet, meter: Meter, notes: Sequence[str]) -> None:
    import trio

    from broker.cli import table

    for note in notes:
        click.echo(note)
    started = trio.current_time()
    meter.rates(started)
    while True:
        await trio.sleep(LINE_EVERY)
        now = trio.current_time()
        click.echo(table.head(fleet, meter, meter.rates(now), now - started))
