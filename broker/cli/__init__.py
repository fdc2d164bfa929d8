"""The command `broker`.

A command's module is imported when that command runs, and at no other time: `broker --help` and `broker --version`
read the table `COMMANDS` and import nothing of the broker. That is why the one-line helps stand here and not beside
their commands.

Exit codes: 0 done, 1 failure, 2 usage or configuration, 3 a `--fail-if` condition held, 4 cannot connect, 5 refused by
the broker, 27 time is up (`sub -W`, as mosquitto_sub), 74 the disk under `serve --data` failed, 130 Ctrl-C. Data goes
to stdout; everything else to stderr.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import io
import platform
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from broker import __version__
from broker.cli.leaving import PROCESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# name -> (module, attribute, the line that `broker --help` shows)
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "serve": ("broker.cli.serve", "serve", "Run the broker."),
    "health": ("broker.cli.health", "health", "Say whether a broker lives, in one exit code."),
    "reload": ("broker.cli.reload", "reload", "Have a running broker read its configuration again."),
    "top": ("broker.cli.admin.top", "top", "Watch a running broker live, sort, filter and kick."),
    "clients": ("broker.cli.admin.clients", "clients", "List the Clients of a running broker, show one, end one."),
    "subs": ("broker.cli.admin.subs", "subs", "List the subscriptions of a running broker."),
    "retained": ("broker.cli.admin.retained", "retained", "List, get and delete retained messages."),
    "pub": ("broker.cli.pub", "pub", "Publish messages (flags as of mosquitto_pub)."),
    "sub": ("broker.cli.sub", "sub", "Subscribe and print messages (flags as of mosquitto_sub)."),
    "probe": ("broker.cli.probe", "probe", "Put any broker to the test, and say what is wrong."),
    "bench": ("broker.cli.bench", "bench", "Measure any broker: throughput, latency, TCP against WebSocket."),
    "simulate": ("broker.cli.simulate", "simulate", "Let a fleet of simulated devices publish."),
    "demo": ("broker.cli.demo", "demo", "A broker, a fleet and a live table in one terminal."),
    "store": ("broker.cli.store", "store", "Look into a data folder: check, export, copy, compact, salvage."),
    "passwd": ("broker.cli.passwd", "passwd", "Keep a password file: add, remove, check, import users."),
    "config": ("broker.cli.config", "config", "Show, explain and start a configuration."),
    "certs": ("broker.cli.certs", "certs", "Make a development CA and certificates for TLS."),
    "check-config": ("broker.cli.config", "check_config", "Read the configuration and name every mistake."),
    "explain": ("broker.cli.explain", "explain", "Say why a message does or does not reach a Client."),
}

_EXAMPLES = """\b
Examples:
  broker serve
  broker sub -v -t 'home/#'                      (in a second terminal)
  broker pub -t home/kitchen/lamp -m on -r -q 1  (in a third)

\b
The same over WebSocket:
  broker sub -v -L ws://127.0.0.1:8080/mqtt -t 'home/#'
"""


class LazyGroup(click.Group):
    """A group whose commands come out of a table, each imported when it is called."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.table[name][2]) for name in self.table])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.table and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.table, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{name}'.{hint}")
        return super().resolve_command(ctx, args)


def version_text() -> str:
    """Which TrioMQ, whether its packets run compiled, on which Python; found without importing them."""
    spec = importlib.util.find_spec("broker.packets.decode")
    compiled = spec is not None and spec.origin is not None and spec.origin.endswith((".so", ".pyd"))
    kind = "compiled," if compiled else "plain"
    return f"triomq {__version__} ({kind} Python {platform.python_version()})"


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(version_text())
        ctx.exit()


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Which one this is."
)
def cli() -> None:
    """TrioMQ, an MQTT 3.1, 3.1.1 and 5.0 broker: over WebSocket and over TCP.

    Without any configuration it listens on mqtt://127.0.0.1:1883 and ws://127.0.0.1:8080/mqtt.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no µ shows a ?
    PROCESS.own = arguments is None
    PROCESS.leave(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    try:
        code = cli.main(arguments, prog_name="broker", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0
