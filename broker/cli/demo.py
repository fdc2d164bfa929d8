"""`broker demo`: a broker, a fleet and the live table in one terminal."""

from __future__ import annotations

import socket
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import click

from broker.cli import version_text
from broker.cli.simulate import MOST_DEVICES, MOST_RATE, FiniteRange, allow_descriptors, load, show
from broker.simulation.scenarios import MIXED

if TYPE_CHECKING:
    from broker.server import Server

PORTS: Final = {"tcp": 1883, "ws": 8080}


@click.command(context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100})
@click.option("--devices", type=click.IntRange(1, MOST_DEVICES), default=36, show_default=True, metavar="N")
@click.option("--rate", type=FiniteRange(0, MOST_RATE, min_open=True), default=60.0, show_default=True, metavar="MSG/S")
@click.option("--duration", type=FiniteRange(0, min_open=True), metavar="SECONDS", help="End after so long.")
@click.option("--no-table", is_flag=True, help="A line every few seconds instead.")
def demo(devices: int, rate: float, duration: float | None, no_table: bool) -> None:
    """Show it: a broker, devices over TCP and over WebSocket, and a table of what they say, until Ctrl-C.

    Nothing is written to the disk, and nothing is left running. Where a port is taken, a free one is used.
    """
    from broker.cli.running import run
    from broker.simulation.devices import Wishes, build_fleet
    from broker.simulation.fleet import Fleet

    built = build_fleet(load(MIXED), devices, 1, Wishes(rate=rate))
    allow_descriptors(2 * devices)

    async def work() -> int:
        async with AsyncExitStack() as leaving:
            server = await _serve(leaving)
            urls = [listener.url for listener in server.listeners]
            return await show(Fleet(built, urls), duration, not no_table and sys.stdout.isatty(), _notes(server))

    run(work, signals=False)


async def _serve(leaving: AsyncExitStack) -> Server:
    from broker.config import Config, ListenerConfig
    from broker.server import serve
    from broker.transport.listeners import ListenError

    async def serve_at(ports: dict[str, int]) -> Server:
        listeners = [ListenerConfig(type="tcp", port=ports["tcp"]), ListenerConfig(type="ws", port=ports["ws"])]
        return await leaving.enter_async_context(serve(Config(listeners=listeners)))

    ports = {kind: port if _is_free(port) else 0 for kind, port in PORTS.items()}
    for kind, port in ports.items():
        if not port:
            click.echo(f"Port {PORTS[kind]} is taken; {kind} listens on another one.", file=sys.stderr)
    try:
        return await serve_at(ports)
    except ListenError as error:  # somebody was quicker
        click.echo(f"Cannot listen on {error}; taking free ports.", file=sys.stderr)
        return await serve_at(dict.fromkeys(PORTS, 0))


def _notes(server: Server) -> list[str]:
    """Which broker this is, and what to paste into another terminal, or a page."""
    tcp, ws = server.listeners
    return [
        version_text(),
        f"Broker at {tcp.url} and {ws.url}, for this machine only. Try in another terminal:",
        f"  broker sub -L {ws.url} -t 'home/#' -o pretty",
        f"  mosquitto_sub -p {tcp.port} -t '#' -v",
        f"  in a page with MQTT.js: mqtt.connect('{ws.url}').subscribe('weather/#')",
    ]


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
