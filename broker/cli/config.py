"""`broker config` and `broker check-config`: the configuration, shown, explained and judged, without starting anything.

The broker's modules are imported when a command runs, so that `--help` stays quick.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from broker.cli.errors import ConfigurationMistake, Failure

_FILE = click.Path(dir_okay=False, path_type=Path)

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=_FILE,
    envvar="BROKER_CONFIG",
    show_envvar=True,
    help="The configuration file; without one, the defaults.",
)
bind_option = click.option(
    "--bind",
    "binds",
    multiple=True,
    metavar="URL",
    help="Listen here and nowhere else: tcp://, ws://, auto://, mqtts://, wss://HOST:PORT, unix:PATH. May be repeated.",
)

data_option = click.option("--data", metavar="DIR", help="The data folder, as for broker serve.")


@click.group()
def config() -> None:
    """Show, explain and start a configuration."""


@config.command()
@config_option
@bind_option
@data_option
@click.option("--changed", is_flag=True, help="Leave out the limits that have their default.")
def show(path: Path | None, binds: tuple[str, ...], data: str | None, changed: bool) -> None:
    """Print what is in force, each setting with its source.

    It is what `broker serve` with the same options, file and environment would run with, and is itself a
    configuration file.
    """
    from broker.config import ConfigError, load_with_sources
    from broker.config.text import in_force

    try:
        settings, sources = load_with_sources(path, os.environ, binds, data)
    except ConfigError as error:
        raise ConfigurationMistake(str(error)) from error
    click.echo(in_force(settings, sources, changed), nl=False)


@config.command("schema")
def schema_command() -> None:
    """Print the JSON schema of the file, for editors."""
    from broker.config.text import schema_text

    click.echo(schema_text(), nl=False)


@config.command(short_help="Write a file with every setting and its default.")
@click.argument("path", type=_FILE, metavar="[FILE]", required=False)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(path: Path | None, force: bool) -> None:
    """Write a configuration file that names every setting with its default; without FILE, to stdout."""
    from broker.config.text import sample

    if path is None:
        click.echo(sample(), nl=False)
        return
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(sample())
    except FileExistsError:
        raise Failure(f"{path} is there already; --force writes over it.") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    click.echo(f"{path} written; run it with: broker serve -c {path}", err=True)


@click.command("check-config")
@click.argument("path", type=_FILE, envvar="BROKER_CONFIG", metavar="FILE")
def check_config(path: Path) -> None:
    """Read FILE as `broker serve -c FILE` would, environment included, and name every mistake.

    Of a good one it says where the listeners and the dashboard will be.

    Exit code 0: it can be used. 2: it cannot.
    """
    from broker.cli.page import where_the_page_is
    from broker.config import ConfigError, load

    try:
        settings = load(path, os.environ)
    except ConfigError as error:
        raise ConfigurationMistake(str(error)) from error
    listeners = ", ".join(listener.label for listener in settings.listeners) or "no listener"
    click.echo(f"{path}: good ({listeners})\n  dashboard: {where_the_page_is(settings.web, settings.listeners)}")
