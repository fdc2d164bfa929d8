"""The options of `broker bench`: where to, how much, and what is written down.

A number that no run could be made of is refused here, in one line that says what would do. What the options mean
together is said in `broker/cli/bench/workloads.py`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.bench.processes import check_cpus
from broker.bench.workload import LARGEST_PAYLOAD, SMALLEST_PAYLOAD
from broker.cli.connecting import TLS_OPTIONS, TLS_PARAMETERS, VersionType
from broker.packets.types import MQTT_3_1

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FASTEST: Final = 10_000_000  # messages or connections a second; above it no clock is fine enough
MOST: Final = 10_000_000  # Clients or workers that are worth counting
STDOUT: Final = "-"


class NumberType(click.ParamType[float]):
    """A number from `least` to `most`; `noun` is what it counts, for the message."""

    name = "number"

    def __init__(self, noun: str, least: float, most: float, *, above: bool = False, whole: bool = True) -> None:
        self.noun = noun
        self.least = least
        self.most = most
        self.above = above
        self.whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = int(value) if self.whole else float(value)
        except ValueError:
            number = float("nan")
        if not (self.least < number if self.above else self.least <= number) or number > self.most:
            bounds = f"{'more than' if self.above else 'from'} {self.least:,g} {'and at most' if self.above else 'to'}"
            self.fail(f"'{value}' {self.noun}: {bounds} {self.most:,.0f} will do.", param, ctx)
        return number


class PayloadType(click.ParamType[int]):
    """Bytes of a payload: 64, 1KiB, 2MB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from broker.config.units import SIZE

        try:
            size = SIZE.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        if not isinstance(size, int):
            self.fail(f"'{value}' is no whole number of bytes.", param, ctx)
        if size < SMALLEST_PAYLOAD:
            self.fail(
                f"'{value}' is too small: {SMALLEST_PAYLOAD} bytes say who sent a message, which one it is and when "
                "it was due; without them nothing could be checked.",
                param,
                ctx,
            )
        if size > LARGEST_PAYLOAD:
            self.fail(f"'{value}' is too large: an MQTT packet ends at 256 MiB, topic included.", param, ctx)
        return size


class DurationType(click.ParamType[float]):
    """Seconds, or 500ms, 10s, 5m, 1h; `zero` says whether none will do."""

    name = "duration"

    def __init__(self, *, zero: bool = False) -> None:
        self.zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from broker.config.units import DURATION

        try:
            seconds = DURATION.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        assert isinstance(seconds, int | float)
        if not seconds and not self.zero:
            self.fail(f"'{value}' is no time to measure anything in: 10, 500ms or 5m, say.", param, ctx)
        return float(seconds)


class ProcessType(click.ParamType[int]):
    """The id of a process that is there."""

    name = "pid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
            if number < 1:
                raise ValueError
            os.kill(number, 0)
        except ValueError:
            self.fail(f"'{value}' is no process id.", param, ctx)
        except (ProcessLookupError, OverflowError):
            self.fail(f"There is no process {value}. The broker's must run on this machine.", param, ctx)
        except PermissionError:  # there, and another's
            pass
        return number


class CpuType(click.ParamType[int]):
    """A CPU that a process of ours can be bound to."""

    name = "cpu"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not str(value).isdecimal():
            self.fail(f"'{value}' is no number of a CPU.", param, ctx)
        number = int(value)
        try:
            check_cpus({number})
        except ValueError as error:
            self.fail(f"{str(error)[0].upper()}{str(error)[1:]}.", param, ctx)
        return number


class OutputType(click.ParamType[str]):
    """A file that can be written, or - for stdout; found out before a run that might take hours."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == STDOUT:
            return STDOUT
        path = Path(value)
        if path.is_dir():
            self.fail(f"'{path}' is a folder.", param, ctx)
        if path.exists():
            if not os.access(path, os.W_OK):
                self.fail(f"'{path}' may not be written.", param, ctx)
        elif not path.parent.is_dir():
            self.fail(f"'{path}' cannot be written: there is no folder '{path.parent}'.", param, ctx)
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            self.fail(f"'{path}' cannot be written: nothing may be put into '{path.parent}'.", param, ctx)
        return str(value)


class _VersionType(VersionType):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        version = super().convert(value, param, ctx)
        if version == MQTT_3_1:
            self.fail(f"'{value}' is not measured here; 5.0 and 3.1.1 are.", param, ctx)
        return version


_COUNT: Final = NumberType("is no number of messages", 1, 1e12)
_CLIENTS: Final = NumberType("is no number of Clients", 1, MOST)
_NONE_OR_CLIENTS: Final = NumberType("is no number of Clients", 0, MOST)
_ROUNDS: Final = NumberType("is no number of rounds", 1, 1000)
_RATE: Final = NumberType("is no rate that can be kept", 0, FASTEST, above=True, whole=False)


def _clients(default: int | None, what: str) -> Callable[..., Any]:
    return click.option("-c", "--clients", type=_CLIENTS, default=default, show_default=True, metavar="N", help=what)


_URL: Final = click.option(
    "-L",
    "--url",
    "urls",
    multiple=True,
    metavar="URL",
    help="mqtt[s]://[user[:password]@]host[:port], ws[s]:// with a path, unix:PATH. Without one a broker of its own is "
    "started on free ports, and ended with the run.",
)
_LABELLED_URL: Final = click.option(
    "-L",
    "--url",
    "urls",
    multiple=True,
    metavar="[NAME=]URL",
    help="What is compared, in this order; the first is what the others are held against. May be repeated. Without "
    "one: a broker of its own, over TCP and over WebSocket.",
)
_ADDRESS: Final = (
    click.option("-h", "--host", metavar="HOST", help="Instead of a URL."),
    click.option("-p", "--port", type=click.IntRange(1, 65535), metavar="PORT"),
    click.option("--unix", metavar="PATH", help="A Unix domain socket."),
)
_IDENTITY: Final = (
    click.option("-u", "--username", metavar="NAME", envvar="BROKER_USERNAME", help="Of every Client."),
    click.option("-P", "--pw", metavar="PASSWORD", help="Others see it in the process list; better --password-file."),
    click.option("--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"),
    *TLS_OPTIONS,
    click.option(
        "-I", "--id-prefix", default="bench", show_default=True, metavar="PREFIX", help="Of all Client Identifiers."
    ),
    click.option("-k", "--keepalive", type=click.IntRange(0, 65535), default=60, show_default=True, metavar="SECONDS"),
    click.option(
        "-V",
        "--protocol-version",
        "--version",
        "version",
        type=_VersionType(),
        default="5.0",
        show_default=True,
        metavar="VERSION",
        help="5.0 or 3.1.1.",
    ),
)
CONNECTION_PARAMETERS: Final = frozenset(
    {
        *("urls", "host", "port", "unix", "username", "pw", "password_file", "id_prefix", "keepalive", "version"),
        *("connect_rate", "connecting", "timeout", *TLS_PARAMETERS),
    }
)
_CONNECTING: Final = (
    click.option("--connect-rate", type=_RATE, metavar="N/S", help="Connections a second; else all that it takes."),
    click.option("--connecting", type=_CLIENTS, default=64, show_default=True, metavar="N", help="Handshakes at once."),
    click.option(
        "--timeout",
        type=DurationType(),
        default="10",
        show_default=True,
        metavar="TIME",
        help="For a handshake, and for what is under way at the end.",
    ),
)
_DURATION: Final = click.option(
    "-d", "--duration", type=DurationType(), metavar="TIME", help="What is measured: 10, 500ms, 5m.  [default: 10]"
)
_HOLD: Final = click.option(
    "-d", "--duration", type=DurationType(), metavar="TIME", help="How long they are held.  [default: 2]"
)
_MESSAGES: Final = click.option(
    "-n", "--count", "--messages", type=_COUNT, metavar="N", help="End after so many messages, instead of -d."
)
_RECEIVED: Final = click.option(
    "-n", "--count", "--messages", type=_COUNT, metavar="N", help="End after so many messages, or -d if that is sooner."
)
_WARM_UP: Final = click.option(
    "--warm-up",
    type=DurationType(zero=True),
    metavar="TIME",
    help="Before what is measured.  [default: 1, or a fifth of a short -d]",
)
_PACE: Final = (
    click.option(
        "--rate",
        type=_RATE,
        metavar="MSG/S",
        help="Of all publishers: each message at its time, whatever the broker does; latency counts from that time.",
    ),
    click.option(
        "--inflight",
        type=NumberType("is no number of messages under way", 1, 65_535),
        metavar="N",
        help="As fast as the broker takes them: so many of a publisher under way at a time.  "
        "[default: 100; at QoS 1 and 2 20]",
    ),
)
_MESSAGE: Final = (
    click.option("-q", "--qos", type=click.IntRange(0, 2), default=0, show_default=True, metavar="QOS"),
    click.option(
        "-s",
        "--size",
        "--payload",
        "payload",
        type=PayloadType(),
        default="64",
        show_default=True,
        metavar="BYTES",
        help="Of a payload: 64, 1KiB, 2MB.",
    ),
)
_TOPICS: Final = (
    click.option(
        "-t",
        "--topic",
        metavar="TOPIC",
        help="Of the messages. %i is the Client's number, %c its Client Identifier, %u its user name.",
    ),
    click.option(
        "--filter",
        "topic_filter",
        metavar="FILTER",
        help="What the subscribers subscribe to, with the same placeholders; else what fits -t.",
    ),
)
_WORKERS: Final = (
    click.option(
        "--workers",
        type=NumberType("is no number of worker processes", 1, 256),
        metavar="N",
        help="Processes that make the load.  [default: one less than the cores]",
    ),
    click.option(
        "--pid",
        type=ProcessType(),
        metavar="PID",
        help="The broker's process, where it runs on this machine and is not found by itself: for its CPU and memory.",
    ),
)
_BROKER_CPU: Final = click.option(
    "--broker-cpu",
    type=CpuType(),
    metavar="CPU",
    help="For a broker of its own, with the load kept off it: 0, say.  [default: wherever the system puts both]",
)
_COMPARED: Final = (
    click.option(
        "--workload",
        "kind",
        type=click.Choice(("pub", "fanout", "rtt")),
        default="pub",
        show_default=True,
        help="As of the command of this name.",
    ),
    _clients(None, "As of that command; of fanout the publishers.  [default: of pub 10, else 1]"),
    click.option(
        "--subscribers", type=_NONE_OR_CLIENTS, metavar="N", help="Of pub as many as -c, of fanout 100, if not given."
    ),
    click.option("--rounds", type=_ROUNDS, metavar="N", help="Of each.  [default: 6; of a sweep 3]"),
    click.option(
        "--connections",
        type=_NONE_OR_CLIENTS,
        default=500,
        show_default=True,
        metavar="N",
        help="Opened for what a connect costs and a connection weighs; 0 leaves that out.",
    ),
    click.option(
        "--sweep",
        "sweeps",
        multiple=True,
        metavar="AXIS...",
        help="Compare at each value of payload, clients, publishers, subscribers, qos, rate or inflight: "
        "payload=16..65536 clients=1,10,100.",
    ),
    click.argument("more_axes", nargs=-1, metavar=""),
    click.option("-d", "--duration", type=DurationType(), metavar="TIME", help="Of a run.  [default: 5; of a sweep 2]"),
)
_PIDS: Final = click.option(
    "--pid",
    "pids",
    type=ProcessType(),
    multiple=True,
    metavar="PID",
    help="The broker's process, where it runs on this machine and is not found by itself; one for all, or one for each "
    "-L in their order.",
)
_PROGRESS: Final = click.option(
    "--json-progress", is_flag=True, help="How far it is as lines of JSON on stderr, twice a second, for a program."
)
_PAGE: Final = click.option("--html", "html_file", type=OutputType(), metavar="FILE", help="A page with charts.")
_OUTPUT: Final = (
    click.option(
        "--json",
        "json_file",
        is_flag=False,
        flag_value=STDOUT,
        type=OutputType(),
        metavar="[FILE]",
        help="All figures as JSON, to stdout without a FILE.",
    ),
    click.option("--csv", "csv_file", is_flag=False, flag_value=STDOUT, type=OutputType(), metavar="[FILE]"),
    click.option("--no-progress", is_flag=True, help="Say nothing until the end."),
    click.option(
        "--fail-if",
        "conditions",
        multiple=True,
        metavar="CONDITION",
        help="Exit with 3 if it holds: 'p99>50ms', 'throughput<10000'. May be repeated.",
    ),
)
OUTPUT_PARAMETERS: Final = frozenset(
    {"json_file", "csv_file", "html_file", "no_progress", "json_progress", "conditions"}
)


def _number(name: str, default: int | None, what: str, *, none: bool = False) -> Callable[..., Any]:
    kind = _NONE_OR_CLIENTS if none else _CLIENTS
    return click.option(name, type=kind, default=default, show_default=default is not None, metavar="N", help=what)


_EVERYWHERE: Final = (_URL, *_ADDRESS, *_IDENTITY, *_CONNECTING, *_WORKERS, *_OUTPUT)
_SUBSCRIBERS: Final = _number("--subscribers", None, "Else as many as -c; 0 only publishes.", none=True)

# command -> its options, in the order of its help
OPTIONS: Final[dict[str, Sequence[Callable[..., Any]]]] = {
    "conn": (_clients(100, "Connections."), _HOLD, _BROKER_CPU, *_EVERYWHERE),
    "pub": (
        _clients(1, "Publishers."),
        _SUBSCRIBERS,
        *(_DURATION, _MESSAGES, _WARM_UP, *_PACE, *_MESSAGE, *_TOPICS, _BROKER_CPU, *_EVERYWHERE),
    ),
    "sub": (
        _clients(1, "Subscribers."),
        click.option("-t", "--topic", metavar="FILTER", help="What they subscribe to.  [default: bench/#]"),
        *(_DURATION, _RECEIVED, _WARM_UP, _MESSAGE[0], *_EVERYWHERE),
    ),
    "fanout": (
        _number("--publishers", 1, "Each message of each of them goes to all subscribers."),
        _number("--subscribers", 100, "Who get it."),
        *(_DURATION, _MESSAGES, _WARM_UP, *_PACE, *_MESSAGE, *_TOPICS, _BROKER_CPU, *_EVERYWHERE),
    ),
    "rtt": (
        _clients(1, "Clients that publish to themselves."),
        *(_DURATION, _MESSAGES, _WARM_UP, *_MESSAGE, _TOPICS[0], _BROKER_CPU, *_EVERYWHERE),
    ),
    "compare": (
        *(*_COMPARED, _MESSAGES, _WARM_UP, *_PACE, *_MESSAGE, *_TOPICS),
        *(_LABELLED_URL, *_IDENTITY, *_CONNECTING, _WORKERS[0], _BROKER_CPU, _PIDS, _PAGE, *_OUTPUT, _PROGRESS),
    ),
}


def options_of(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of the command `name`."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(OPTIONS[name]):
            command = option(command)
        return command

    return add


_STRAY: Final = re.compile(r"extra arguments? \(.*?((?:mqtts?|wss?|unix):\S*)")


class BenchCommand(click.Command):
    """A command whose help has its options in sections, and that knows a URL that stands without its -L."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # -h is the host, as of pub and sub
        self.context_settings = {"help_option_names": ["--help"], "max_content_width": 100}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            stray = _STRAY.search(error.message)
            if stray is None:
                raise
            raise click.UsageError(f"A URL is given with -L: -L {stray[1].rstrip(')')}", ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Load": [], "Connection": [], "Results": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                kind = "Connection" if parameter.name in CONNECTION_PARAMETERS else "Load"
                sections["Results" if parameter.name in OUTPUT_PARAMETERS else kind].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
