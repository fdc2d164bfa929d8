"""`broker simulate`: a fleet of devices that publish, and a live table of what comes through the broker."""

from __future__ import annotations

import difflib
import math
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.connecting import VersionType, check_tls, tls_of, tls_options
from broker.cli.errors import ConfigurationMistake, Failure, Refused
from broker.simulation.scenarios import MIXED, SCENARIOS, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.simulation.devices import Scenario
    from broker.simulation.fleet import Fleet
    from broker.simulation.meter import Meter, Pace

REFRESH: Final = 0.5  # seconds between two pictures of the table
LINE_EVERY: Final = 5.0  # seconds between two lines where nobody watches
DEFAULT_URLS: Final = ("mqtt://127.0.0.1:1883", "ws://127.0.0.1:8080/mqtt")
MOST_DEVICES: Final = 100_000
MOST_RATE: Final = 1_000_000.0
SPARE_DESCRIPTORS: Final = 64  # file descriptors beside those of the devices

_VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}


class ScenarioType(click.ParamType[str]):
    """The name of a built-in scenario, or the path of a TOML file."""

    name = "scenario"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text == MIXED or text in SCENARIOS or is_file(text):
            return text
        near = difflib.get_close_matches(text.lower(), [MIXED, *SCENARIOS], n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        names = ", ".join((MIXED, *SCENARIOS))
        self.fail(f"'{text}' is none of {names}, and no file that ends in .toml.{hint}", param, ctx)


class FiniteRange(click.FloatRange):
    """A range that nan is not in: it is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = super().convert(value, param, ctx)
        assert isinstance(found, float)
        if not math.isfinite(found):
            self.fail(f"'{value}' is no number to reckon with.", param, ctx)
        return found


@click.command(
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    epilog="""\b
Examples:
  broker simulate
  broker simulate factory --devices 200 --rate 1000 --seed 7
  broker simulate vehicles --flaky 0.2 --format mixed --prefix lab
  broker simulate --url mqtt://127.0.0.1:1883 --url ws://127.0.0.1:8080/mqtt --duration 60 --no-table
  broker simulate --show home > my-plant.toml
  broker simulate my-plant.toml

\b
Exit codes: 0 ended by Ctrl-C, SIGTERM or --duration; 1 the broker was lost and did not come back, or another
failure; 2 usage, or mistakes in the file; 4 cannot connect; 5 refused; 130 a second Ctrl-C, or one before the start.
""",
)
@click.argument("scenario", type=ScenarioType(), default=MIXED, metavar="[SCENARIO|FILE.toml]")
@click.option("--list", "wants_list", is_flag=True, help="Say which scenarios there are, and what is in them.")
@click.option("--show", "wanted", type=click.Choice(list(SCENARIOS)), help="Print a scenario as TOML to start from.")
@click.option(
    "--devices", type=click.IntRange(1, MOST_DEVICES), metavar="N", help="How many; else as the scenario says."
)
@click.option(
    "--rate",
    type=FiniteRange(0, MOST_RATE, min_open=True),
    metavar="MSG/S",
    help="Of all devices together; else as the scenario says.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same devices and values.")
@click.option(
    "-L",
    "--url",
    "urls",
    multiple=True,
    metavar="URL",
    envvar="BROKER_URL",
    help=f"Devices are dealt out to these in turn; may be repeated. Else {' and '.join(DEFAULT_URLS)}.",
)
@tls_options
@click.option(
    "--flaky",
    type=FiniteRange(0, 1),
    metavar="SHARE",
    help="Share of devices (0 to 1) that lose their connection now and then; else as the scenario says.",
)
@click.option(
    "--format",
    "encoding",
    type=click.Choice(["json", "msgpack", "mixed"]),
    help="Of all payloads; else as the scenario says.",
)
@click.option("--qos", type=click.IntRange(0, 2), help="Of all messages; else as the scenario says.")
@click.option("--retain", is_flag=True, default=None, help="Retain all messages; they are cleared at the end.")
@click.option(
    "-V",
    "--protocol-version",
    "--version",
    "version",
    type=VersionType(),
    default="5",
    show_default=True,
    help="Of MQTT: 5, 3.1.1 or 3.1.",
)
@click.option("--prefix", default="", metavar="TOPIC", help="Put all topics below this; lets fleets live side by side.")
@click.option("--duration", type=FiniteRange(0, min_open=True), metavar="SECONDS", help="End after so long.")
@click.option("--no-watch", is_flag=True, help="Subscribe to nothing: count what is published, not what comes through.")
@click.option("--no-table", is_flag=True, help="A line every few seconds instead, as where stdout is no terminal.")
def simulate(
    scenario: str,
    wants_list: bool,
    wanted: str | None,
    devices: int | None,
    rate: float | None,
    seed: int,
    urls: Sequence[str],
    flaky: float | None,
    encoding: str | None,
    qos: int | None,
    retain: bool | None,
    version: int,
    prefix: str,
    duration: float | None,
    no_watch: bool,
    no_table: bool,
    cafile: Path | None,
    cert: Path | None,
    key: Path | None,
    key_password_file: Path | None,
    insecure: bool,
) -> None:
    """Let simulated devices publish telemetry, until Ctrl-C.

    SCENARIO is home, factory, vehicles, weather, or mixed: all of them, and the default; or a file of your own, see
    docs/guides/simulate.md. Each device has a retained state and a Will Message, and many obey commands on
    <device>/set. At the end all that is retained is cleared, and nothing is left behind.
    """
    if wants_list:
        for line in describe():
            click.echo(line)
        return
    if wanted is not None:
        click.echo(path_of(wanted).read_text("utf-8"), nl=False)
        return
    from broker.cli.running import run
    from broker.client import Tls, parse
    from broker.simulation.devices import Wishes, build_fleet
    from broker.simulation.fleet import Fleet

    said = tls_of(cafile=cafile, cert=cert, key=key, key_password_file=key_password_file, insecure=insecure)
    check_tls(said, *(urls or DEFAULT_URLS))
    tls: dict[str, Tls] = {}
    for url in urls:
        try:
            endpoint = parse(url)
            if endpoint.secure:
                tls[url] = (said or Tls()).ready(endpoint)
        except ValueError as error:
            raise click.UsageError(f"--url: {error}.") from error
    check_prefix(prefix)
    wishes = Wishes(encoding=encoding, qos=qos, retain=retain, rate=rate, flaky=flaky, prefix=prefix)
    try:
        built = build_fleet(load(scenario), devices, seed, wishes)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    allow_descriptors(len(built))

    async def work() -> int:
        fleet = Fleet(built, urls or await answering(DEFAULT_URLS), version=_VERSIONS[version], tls=tls)
        return await show(fleet, duration, not no_table and sys.stdout.isatty(), [], watch=not no_watch)

    run(work, signals=False)


def is_file(scenario: str) -> bool:
    """Whether the argument names a file and no built-in scenario."""
    return scenario.endswith(".toml")


def load(scenario: str) -> list[Scenario]:
    """The scenarios that the argument stands for. ConfigurationMistake, exit code 2, with all that is wrong."""
    from broker.config import ConfigError
    from broker.config.scenario import load_scenario

    if is_file(scenario):
        paths = [Path(scenario)]
    else:
        paths = [path_of(name) for name in (SCENARIOS if scenario == MIXED else [scenario])]
    try:
        return [load_scenario(path) for path in paths]
    except ConfigError as error:
        raise ConfigurationMistake(str(error)) from error


def check_prefix(prefix: str) -> None:
    """UsageError for what cannot be the beginning of a topic."""
    from broker.packets.topics import valid_topic_name

    if prefix and (not valid_topic_name(prefix) or prefix.startswith("$") or len(prefix) > 200):
        raise click.UsageError(f"--prefix: {prefix[:80]!r} cannot be the beginning of a topic.")


def allow_descriptors(devices: int) -> None:
    """Raise the limit of open files as far as we may. UsageError where that is not enough for so many connections."""
    import resource

    needed = devices + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise click.UsageError(
            f"--devices {devices}: so many connections need {needed} open files, and {hard} are allowed here "
            "(ulimit -n)."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def answering(urls: Sequence[str]) -> list[str]:
    """Of the URLs that nobody asked for by name, those where somebody listens; all of them where nobody does."""
    import trio

    from broker.client import parse

    found: list[str] = []
    for url in urls:
        endpoint = parse(url)
        try:
            stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
        except OSError:
            continue
        await trio.aclose_forcefully(stream)
        found.append(url)
    if found and len(found) < len(urls):
        missing = " and ".join(url for url in urls if url not in found)
        click.echo(f"Nobody answers at {missing}; all devices go to {' and '.join(found)}.", err=True)
    return found or list(urls)


def describe() -> list[str]:
    """The scenarios with their devices and channels."""
    lines = [f"{MIXED}: all of these"]
    for name in SCENARIOS:
        (scenario,) = load(name)
        lines.append(f"{name}: {scenario['description']}")
        for device in scenario["devices"]:
            channels = ", ".join(device["channels"])
            obeys = any(signal["type"] == "setting" for signal in device["signals"].values())
            also = f"; obeys {device['commands']}" if obeys else ""
            lines.append(f"  {device['kind']:<10} {channels} ({device['encoding']}{also})")
    return lines


async def show(fleet: Fleet, duration: float | None, live: bool, notes: Sequence[str], *, watch: bool = True) -> int:
    """Run the fleet and show what comes through the broker, until SIGINT, SIGTERM or the end of `duration`.

    All URLs are asked first: where nobody answers at one, its error is raised before any device is started. A second
    Ctrl-C does not wait for the devices. The exit code; Failure where the broker was lost and did not come back.
    """
    import trio

    from broker.cli import table
    from broker.client import SubscribeRefused
    from broker.simulation.meter import Meter, Pace
    from broker.simulation.watch import watching

    meter = Meter([(member.device, member.place) for member in fleet.members], len(fleet.urls))
    pace = Pace()
    alive = False
    stopped = 0

    async def listen(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        nonlocal stopped
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if not alive or fleet.is_ending:
                    stopped = 128 + number
                    scope.cancel()
                fleet.end()

    async def last() -> None:
        if duration is not None:
            await trio.sleep(duration)
            fleet.end()

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(listen, nursery.cancel_scope)
            async with watching(fleet, meter, fleet.urls, fleet.version) as watched:
                if watch:
                    await nursery.start(watched.run)
                else:
                    fleet.heard = meter.count
                nursery.start_soon(last)
                nursery.start_soon(_draw if live else _print, fleet, meter, pace, notes)
                alive = True
                await fleet.run()
                await watched.clear()
                nursery.cancel_scope.cancel()
    except* SubscribeRefused as group:
        refusal: BaseException = group
        while isinstance(refusal, BaseExceptionGroup):
            refusal = refusal.exceptions[0]
        raise Refused(f"the broker lets nobody watch ({refusal}); --no-watch does without.") from refusal
    click.echo(table.tail(fleet, meter, watch))
    if not stopped and not fleet.cleared:
        what = "The broker was lost and did not come back" if fleet.births else "No device could connect"
        raise Failure(f"{what}: {fleet.trouble or 'it does not answer any more'}.")
    return stopped


async def _draw(fleet: Fleet, meter: Meter, pace: Pace, notes: Sequence[str]) -> None:
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
            pace.look(now, fleet.published, fleet.missed, fleet.held_back)
            above = [table.head(fleet, meter, rates, now - started), *table.remarks(fleet, meter, pace)]
            below = [*notes, "Ctrl-C ends it; nothing is left behind."]
            live.update(
                Group(
                    *(
                        Text(line, style="yellow" if place else "bold", no_wrap=True, overflow="ellipsis")
                        for place, line in enumerate(above)
                    ),
                    table.table(fleet, meter, rates, console.height - len(above) - len(below) - 1),
                    Text("\n".join(below), style="dim", no_wrap=True, overflow="ellipsis"),
                ),
                refresh=True,
            )
            await trio.sleep(REFRESH)


async def _print(fleet: Fleet, meter: Meter, pace: Pace, notes: Sequence[str]) -> None:
    import trio

    from broker.cli import table

    for note in notes:
        click.echo(note)
    started = trio.current_time()
    meter.rates(started)
    while True:
        pace.look(trio.current_time(), fleet.published, fleet.missed, fleet.held_back)
        await trio.sleep(LINE_EVERY)
        now = trio.current_time()
        pace.look(now, fleet.published, fleet.missed, fleet.held_back)
        click.echo(table.head(fleet, meter, meter.rates(now), now - started))
        for line in table.remarks(fleet, meter, pace):
            click.echo(f"  {line}")
