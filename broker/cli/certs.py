"""`broker certs`: a CA and certificates to develop and test with, and a look into certificates.

What is to go into a file, or to be run, goes to stdout; what was done goes to stderr.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broker.cli.errors import Failure

if TYPE_CHECKING:
    from types import ModuleType

    from broker.cli.authority import Pair, Shown

LOCAL: Final = ("localhost", "127.0.0.1", "::1")
SOON: Final = 30  # days left, from which on it is said
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)

_force_option = click.option("--force", is_flag=True, help="Write over what is there.")


@click.group(
    epilog="""\b
Examples:
  broker certs init certs
  broker certs server certs localhost 192.168.1.20 broker.lan >> broker.toml
  broker certs client certs sensor-7
  broker certs show certs/server.crt

\b
They are for development: whoever has certs/ca.key can pass himself off as any broker and any
client that trusts certs/ca.crt. On the internet, use the certificates of a real CA.
"""
)
def certs() -> None:
    """Make a development CA and certificates; look into certificates."""


@certs.command(short_help="Make a development CA in a folder.")
@click.argument("folder", type=_FOLDER, metavar="DIR")
@_force_option
def init(folder: Path, force: bool) -> None:
    """Make a development CA: DIR/ca.crt, which clients get, and DIR/ca.key, which stays where it is.

    The folder is made where there is none. With --force all certificates of the old CA are worth nothing any more.
    """
    authority = _authority()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}") from error
    _write(authority, authority.make_ca(datetime.now(UTC)), folder, "ca", force)
    click.echo("It is for development only: whoever has its key can speak for any broker and client.", err=True)
    click.echo(f"Next: broker certs server {folder} NAME...", err=True)


@certs.command(short_help="Make a certificate for the broker.")
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_force_option
def server(folder: Path, names: tuple[str, ...], force: bool) -> None:
    """Make DIR/server.crt and DIR/server.key for a broker that clients reach as NAME: DNS names and IP addresses.

    Without a NAME: localhost, 127.0.0.1 and ::1. The lines for broker.toml go to stdout.
    """
    authority = _authority()
    ca = _ca(authority, folder)
    try:
        pair = authority.make_server(ca, names or LOCAL, datetime.now(UTC))
    except authority.AuthorityError as error:
        raise click.UsageError(f"{error}.") from error
    _write(authority, pair, folder, "server", force)
    click.echo("The lines for broker.toml:", err=True)
    here = folder.resolve()
    click.echo(
        "[[listeners]]\n"
        'type = "tcp"\n'
        "port = 8883\n\n"
        "[listeners.tls]\n"
        f"certificate = {_quoted(here / 'server.crt')}\n"
        f"key = {_quoted(here / 'server.key')}\n"
        f"client_ca = {_quoted(here / 'ca.crt')}  # whose client certificates are taken\n"
        "require_client_certificate = false  # true refuses whoever has none",
    )


@certs.command(short_help="Make a certificate for a client.")
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.argument("name")
@_force_option
def client(folder: Path, name: str, force: bool) -> None:
    """Make DIR/client-NAME.crt and DIR/client-NAME.key for the client NAME, which is the common name in it.

    A command that connects with them goes to stdout.
    """
    authority = _authority()
    if "/" in name:
        raise click.UsageError(f"'{name}' is to be part of the name of a file and cannot have a / in it.")
    ca = _ca(authority, folder)
    try:
        pair = authority.make_client(ca, name, datetime.now(UTC))
    except authority.AuthorityError as error:
        raise click.UsageError(f"{error}.") from error
    stem = f"client-{name}"
    _write(authority, pair, folder, stem, force)
    from shlex import quote

    files = {"--cafile": "ca.crt", "--cert": f"{stem}.crt", "--key": f"{stem}.key"}
    options = " ".join(f"{option} {quote(str(folder / file))}" for option, file in files.items())
    click.echo(f"broker sub -L mqtts://localhost:8883 {options} -v -t '#'")


@certs.command(short_help="Say what is in a certificate.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="A list with an object for each certificate in the file.")
def show(path: Path, as_json: bool) -> None:
    """Say whom each certificate in FILE (PEM or DER) is for, until when, and its fingerprint."""
    authority = _authority()
    try:
        found = authority.read_certificates(path)
    except authority.AuthorityError as error:
        raise Failure(f"{error}.") from error
    now = datetime.now(UTC)
    if as_json:
        click.echo(json.dumps([_as_object(shown, now) for shown in found], indent=2))
    else:
        click.echo("\n\n".join(_as_text(shown, now) for shown in found))


def _authority() -> ModuleType:
    try:
        from broker.cli import authority
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cryptography":
            raise
        raise Failure("this needs the package cryptography: pip install 'triomq[certs]'") from error
    return authority


def _ca(authority: ModuleType, folder: Path) -> Pair:
    if not (folder / "ca.crt").exists():
        raise Failure(f"{folder} has no ca.crt: make a CA there first, with 'broker certs init {folder}'.")
    try:
        pair: Pair = authority.read_ca(folder / "ca.crt", folder / "ca.key")
    except authority.AuthorityError as error:
        raise Failure(f"{error}.") from error
    return pair


def _write(authority: ModuleType, pair: Pair, folder: Path, stem: str, force: bool) -> None:
    certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    try:
        authority.write_pair(pair, certificate, key, force=force)
    except authority.AuthorityError as error:
        raise Failure(f"{error}.") from error
    until = authority.read_certificates(certificate)[0].not_after
    click.echo(f"{certificate} and {key} written, good until {until:%Y-%m-%d}.", err=True)


def _quoted(path: Path) -> str:
    """As a string of TOML, whose escapes those of JSON are among."""
    return json.dumps(str(path), ensure_ascii=False)


def _as_object(shown: Shown, now: datetime) -> dict[str, object]:
    return {
        "subject": shown.subject,
        "issuer": shown.issuer,
        "names": list(shown.names),
        "usage": list(shown.usage),
        "key": shown.key,
        "not_before": shown.not_before.isoformat(),
        "not_after": shown.not_after.isoformat(),
        "days_left": shown.days_left(now),
        "fingerprint": shown.fingerprint,
    }


def _as_text(shown: Shown, now: datetime) -> str:
    left = shown.days_left(now)
    if shown.not_before > now:
        state = "NOT YET VALID"
    elif left < 0:
        state = f"EXPIRED {-left} days ago"
    else:
        state = f"{left} days left" + (", renew it" if left < SOON else "")
    fingerprint = shown.fingerprint.upper()
    rows = {
        "subject": shown.subject or "(none)",
        "issuer": "itself" if shown.issuer == shown.subject else shown.issuer,
        "names": ", ".join(shown.names) or "(none)",
        "for": ", ".join(shown.usage) or "anything",
        "key": shown.key,
        "from": f"{shown.not_before:%Y-%m-%d %H:%M} UTC",
        "until": f"{shown.not_after:%Y-%m-%d %H:%M} UTC, {state}",
        "SHA-256": ":".join(fingerprint[place : place + 2] for place in range(0, len(fingerprint), 2)),
    }
    return "\n".join(f"{name:<8} {value}" for name, value in rows.items())
