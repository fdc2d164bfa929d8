"""`broker serve`: the broker, from its configuration to SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broker.cli import version_text
from broker.cli.errors import FAILURE, ConfigurationMistake, Failure, StoreLost
from broker.cli.leaving import PROCESS
from broker.cli.logs import FORMATS, LEVELS, chosen_format, set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.config import Config, ListenerConfig, StoreConfig
    from broker.server import Overseer, Server

# What each level of durability means, in one sentence.
LEVELS_OF_DURABILITY: Final = {
    "fsync": "acknowledged = on the disk, survives power loss",
    "written": "acknowledged = handed to the system, survives kill -9",
    "none": "acknowledged = in memory, gone when the broker stops",
}


@click.command(
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    epilog="""\b
Examples:
  broker serve
  broker serve -c broker.toml
  broker serve --bind auto://127.0.0.1:1883               (MQTT and WebSocket on one port)
  broker serve --bind tcp://0.0.0.0:1883 --bind ws://0.0.0.0:8080/mqtt --allow-anonymous
  broker serve --bind 'mqtts://0.0.0.0:8883?certificate=server.crt&key=server.key' --allow-anonymous
  broker serve --data /var/lib/triomq                     (Sessions and messages survive a restart)

\b
With a data folder (--data, BROKER_STORE__PATH or `path` in [store]) an acknowledgement says, by [store] durability:
  fsync     the message is on the disk and survives power loss (the default)
  written   it is handed to the system and survives kill -9
Without one everything is in memory and gone when the broker stops. `broker store --help` looks into a folder.

\b
Exit codes: 0 stopped in order by SIGTERM or Ctrl-C, 1 failure (a port is taken), 2 usage or configuration, or a data
folder that cannot be used, 74 the disk failed while the broker ran: nothing of what had failed was acknowledged, and
a restart goes on from what is on the disk.
""",
)
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar="BROKER_CONFIG",
    help="Configuration file (TOML); else the one that BROKER_CONFIG names, else none.",
)
@click.option(
    "-b",
    "--bind",
    "binds",
    multiple=True,
    metavar="URL",
    help="Listen here: tcp://, ws://, auto://, mqtts://, wss:// host:port, or unix:/path; mqtts and wss with "
    "?certificate=FILE&key=FILE. May be repeated; instead of all other listeners.",
)
@click.option("--allow-anonymous", is_flag=True, help="Let anybody connect to the --bind listeners.")
@click.option(
    "--data",
    metavar="DIR",
    help="Keep Sessions, their messages and retained messages in this folder, on a local disk; made if it is missing.",
)
@click.option(
    "--pid-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the process id here once all listen; taken away at the end.",
)
@click.option("--log-level", type=click.Choice(LEVELS), help="Least important level that is written.")
@click.option("--log-format", type=click.Choice(FORMATS), help="auto is text on a terminal and json elsewhere.")
def serve(
    file: Path | None,
    binds: Sequence[str],
    allow_anonymous: bool,
    data: str | None,
    pid_file: Path | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Run the broker until SIGTERM or Ctrl-C.

    Without any option it listens on mqtt://127.0.0.1:1883 and ws://127.0.0.1:8080/mqtt, for this machine only.
    `broker health` asks whether it serves; `broker reload` has it read its configuration again.
    """
    if allow_anonymous and not binds:
        raise click.UsageError(
            "--allow-anonymous goes with --bind; for listeners in a file write allow_anonymous = true there."
        )
    given = [_anonymous(bind) for bind in binds] if allow_anonymous else binds
    with _errors_as_lines() as lines:
        lines.wanted = (log_format or os.environ.get("BROKER_LOG__FORMAT", "").lower()) == "json"
        config = read_config(file, given, data)
        form = chosen_format(log_format or config.log.format, sys.stderr)
        lines.wanted = form == "json"
        _serve(config, form, log_level or config.log.level, file, pid_file, lambda: load_config(file, given, data))


class _Lines:
    """Whether errors are to be lines of the log."""

    wanted = False


@contextmanager
def _errors_as_lines() -> Iterator[_Lines]:
    """Where the log is in JSON, what ends the command is a line of it too, for who reads them by program."""
    lines = _Lines()
    try:
        yield lines
    except Exception as error:
        if not lines.wanted or isinstance(error, (click.exceptions.Exit, click.Abort)):
            raise
        handler = set_up("info", "json")
        try:
            if isinstance(error, click.ClickException):
                logging.getLogger("broker").critical(error.format_message())
            else:
                logging.getLogger("broker").critical("a bug has ended the broker", exc_info=error)
        finally:
            logging.getLogger().removeHandler(handler)
        code = error.exit_code if isinstance(error, click.ClickException) else FAILURE
        raise click.exceptions.Exit(code) from None


def _serve(
    config: Config, form: str, level: str, file: Path | None, pid_file: Path | None, reread: Callable[[], Config]
) -> None:
    from broker.cli.overseeing import Overseer

    handler = set_up(level, form)
    logging.captureWarnings(form == "json")

    def started(server: Server) -> None:
        PROCESS.keep(server)
        if form == "text":
            click.echo("\n".join(banner(server, file)), file=sys.stderr)
        else:
            told = {"version": version_text(), **durability(config.store), **dashboard(server)}
            logging.getLogger("broker").info("started", extra=told)
            for listener in server.listeners:
                logging.getLogger("broker").info("listening", extra={"url": listener.url, "type": listener.type})

    overseer = Overseer(os.environ, file, pid_file)
    try:
        run_server(config, started, reread, overseer)
    finally:
        overseer.close()
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(handler)


def read_config(file: Path | None, binds: Sequence[str] = (), data: str | None = None) -> Config:
    """The configuration; ConfigurationMistake, exit code 2, with all that is wrong with it."""
    from broker.config import ConfigError

    try:
        return load_config(file, binds, data)
    except ConfigError as error:
        raise ConfigurationMistake(str(error)) from error


def load_config(file: Path | None, binds: Sequence[str] = (), data: str | None = None) -> Config:
    """The same, with ConfigError."""
    from broker.config import load

    return load(file, os.environ, binds, data)


def run_server(
    config: Config,
    started: Callable[[Server], None],
    reread: Callable[[], Config] | None = None,
    overseer: Overseer | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; Failure, exit code 1, when a listener cannot be opened.

    ConfigurationMistake, exit code 2, when the data folder cannot be used; StoreLost, exit code 74, when it could not
    be written.
    """
    import trio

    from broker.auth.methods import AccessError
    from broker.server import run
    from broker.store.folder import StoreError, StoreFailed
    from broker.transport.listeners import ListenError
    from broker.transport.tls import TlsError

    try:
        trio.run(partial(run, config, started=started, reread=reread, overseer=overseer))
    except ListenError as error:
        raise Failure(f"cannot listen on {error}") from error
    except (AccessError, StoreError, TlsError) as error:
        raise ConfigurationMistake(str(error)) from error
    except StoreFailed as error:
        raise StoreLost(
            f"{error}; nothing that was not written was acknowledged: see to the disk and restart."
        ) from error


def banner(server: Server, file: Path | None) -> list[str]:
    """What a person wants to know who has just started it."""
    from broker.cli.page import where_the_page_is

    rows: list[tuple[str, str]] = []
    for listener, config in zip(server.listeners, server.config.listeners, strict=True):
        who = who_may_connect(config)
        rows.append((listener.url, who))
        if listener.type == "auto":
            path = (listener.limits.websocket_paths or ("/",))[0]
            rows.append((f"ws{listener.url.removeprefix('mqtt')}{path}", who))
    width = max(len(url) for url, _ in rows)
    lines = [version_text(), *(f"  {url:<{width}}   {who}" for url, who in rows)]
    where = str(file) if file else "built-in defaults ('broker config init' writes a file to begin with)"
    return [
        *lines,
        f"  configuration: {where}",
        f"  data: {where_it_is_kept(server.config.store)}",
        f"  dashboard: {where_the_page_is(server.config.web, server.listeners)}",
        "  Ctrl-C stops it.",
    ]


def where_it_is_kept(store: StoreConfig) -> str:
    sentence = f"{store.durability}: {LEVELS_OF_DURABILITY[store.durability]}"
    if store.path is None:
        return f"{sentence} ('--data DIR' keeps it)"
    if store.durability == "none":
        return f"{sentence} (nothing is written to {store.path})"
    return f"{store.path} ({sentence})"


def durability(store: StoreConfig) -> dict[str, str | None]:
    """The same for programs."""
    return {
        "data": str(store.path) if store.path else None,
        "durability": store.durability,
        "meaning": LEVELS_OF_DURABILITY[store.durability],
    }


def dashboard(server: Server) -> dict[str, object]:
    """The URLs of the dashboard for programs; without any, why."""
    from broker.cli.page import page_urls, why_absent

    web, listeners = server.config.web, server.listeners
    urls = page_urls(web, listeners)
    return {"dashboard": urls} if urls else {"dashboard": urls, "no_dashboard": why_absent(web, listeners)}


def who_may_connect(listener: ListenerConfig) -> str:
    reach = "on this machine" if listener.is_local else "who can reach it"
    return f"anybody {reach}, without a password" if listener.anonymous_allowed else "those who authenticate"


def _anonymous(bind: str) -> str:
    if "allow_anonymous=" in bind:
        return bind
    return f"{bind}{'&' if '?' in bind else '?'}allow_anonymous=true"
