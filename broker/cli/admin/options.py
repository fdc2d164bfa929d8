"""Where the API is and who asks: the options of all commands that use it, and the default of a group.

Without --url it is the broker that runs here (Linux shows it, `broker.cli.beacon`), else http://127.0.0.1:8080. The
certificate of a listener that our own machine's broker names is not verified, unless an option says how.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from broker.cli.connecting import tls_of, tls_options
from broker.cli.health import Place, make_context, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.cli.admin.api import Api

DEFAULT: Final = "http://127.0.0.1:8080"
EXIT_CODES: Final = """\b
Exit codes: 0 done, 1 failure (no such Client or message), 2 usage, 4 nobody answers or it has no API, 5 refused: a
token or another role is needed, 130 Ctrl-C.
"""
YEAR: Final = 366 * 86400  # seconds
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https", "mqtt": "http", "mqtts": "https"}
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS: Final = (
    click.option("--url", metavar="URL", help=f"Where its HTTP is; else the broker that runs here, or {DEFAULT}."),
    click.option("--token", metavar="TOKEN", help="Others see it in the process list; better --token-file."),
    click.option("--token-file", type=_FILE, metavar="FILE", help="It holds the token; or the variable BROKER_TOKEN."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, max=86400, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="How long the broker may be silent.",
    ),
)
AS_TABLE_OR_JSON: Final = click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="json: what the API says, as one document.",
)


class SecondsType(click.ParamType[float]):
    """A time in seconds, or with a unit: 90, 30s, 5m, 2h, 1d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)", str(value))
        seconds = float(found[1]) * _UNITS[found[2]] if found is not None else 0.0
        if not 1 <= seconds <= YEAR:
            self.fail(f"'{value}' is no time from 1s to 366d, such as 90, 5m or 2h.", param, ctx)
        return seconds


class Defaulting(click.Group):
    """A group whose command "list" is meant where the first word is an option, or there is none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def api_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them; `connected` takes what they collect."""
    command = tls_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextmanager
def connected(
    *,
    url: str | None,
    token: str | None,
    token_file: Path | None,
    timeout: float,
    cafile: Path | None,
    cert: Path | None,
    key: Path | None,
    key_password_file: Path | None,
    insecure: bool,
) -> Iterator[Api]:
    """The API that the options name. Raises click.UsageError where they contradict each other."""
    from broker.cli.admin.api import Api

    tls = tls_of(cafile=cafile, cert=cert, key=key, key_password_file=key_password_file, insecure=insecure)
    place = place_of(url) if url is not None else here()
    secure = place.scheme == "https"
    if tls is not None and not secure:
        raise click.UsageError(f"Options of TLS were given, and {place.url} is without it: say https://.")
    context = make_context(tls, place, verified=url is not None) if secure else None
    api = Api(place, token_of(token, token_file), context, timeout)
    try:
        yield api
    finally:
        api.close()


def place_of(url: str) -> Place:
    """Raises click.UsageError."""
    place = parse(url)
    parts = urlsplit(url)
    if place.scheme not in ("http", "https", "ws", "wss"):
        raise click.UsageError(f"'{place.url}' is no URL of the API: it is where HTTP is, such as {DEFAULT}.")
    if parts.username is not None:
        raise click.UsageError("The API takes a token and no user in the URL: --token-file, or BROKER_TOKEN.")
    if place.scheme.startswith("http") and parts.path not in ("", "/"):
        raise click.UsageError(f"The URL has a path; say {place.url}, behind which the API is expected.")
    return in_http(place)


def here() -> Place:
    """Where the broker that runs here answers HTTP. Raises click.UsageError where there are several, or it does not."""
    from broker.cli import beacon
    from broker.cli.reload import plain

    found: list[Place] = []
    running = beacon.running()
    for told in running.values():
        urls = [(kind, each["url"]) for kind in ("ws", "auto") for each in told.listeners if each["type"] == kind]
        found += [in_http(parse(plain(url))) for _, url in urls[:1]]
    if len(running) > 1:
        raise click.UsageError(
            "Several brokers run here; say which with --url: " + ", ".join(each.url for each in found)
        )
    if running and not found:
        raise click.UsageError("The broker that runs here has no listener of type ws or auto, and so no API.")
    return found[0] if found else parse(DEFAULT)


def in_http(place: Place) -> Place:
    """The same, asked in HTTP."""
    scheme = _SCHEMES[place.scheme]
    return place._replace(scheme=scheme, url=f"{scheme}{place.url[len(place.scheme) :]}")


def token_of(token: str | None, path: Path | None) -> str:
    """Of the options, else of the environment; empty for none. Raises click.UsageError."""
    if token is not None and path is not None:
        raise click.UsageError("--token and --token-file each give a token; give one.")
    source = "--token"
    if path is not None:
        source = f"--token-file {path}"
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise click.UsageError(f"{source}: {said}.") from None
    elif token is None:
        source, token = "BROKER_TOKEN", os.environ.get("BROKER_TOKEN", "")
        if not token.strip():
            return ""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise click.UsageError(f"{source}: a token is one word of ASCII.")
    return token
