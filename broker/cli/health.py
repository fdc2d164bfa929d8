"""`broker health`: whether a broker lives, in one exit code.

Where HTTP is spoken it asks for /healthz, and for /readyz where there is one: that tells of the store. Elsewhere it
says CONNECT without a name and without credentials: a CONNACK is a sign of life, a refusal too, but one that calls the
Server unavailable or busy; behind an accepted one PINGREQ must bring PINGRESP. No Session is left behind. All of it
within one deadline.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import click

from broker.cli.connecting import tls_of, tls_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.client import Tls

MOST: Final = 65_536  # bytes of an answer that are looked at
PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443, "http": 80, "https": 443}
SECURE: Final = ("mqtts", "wss", "https")
LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d{1,9})")
OF_OLD: Final = b"\x20\x02\x00\x01"  # a Server without 5.0 answers "unacceptable protocol version"
# A Server that says this of our certificate has said something, and that is all that is asked.
ALERTS: Final = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"})


class Place(NamedTuple):
    """Where to ask: `scheme` of the URL, and the socket's path instead of a host for "unix"."""

    scheme: str
    host: str
    port: int
    url: str


class Unwell(Exception):
    """Why it is not healthy."""


@click.command(
    epilog="""\b
Examples:
  broker health                                  (the broker that runs here)
  broker health mqtt://127.0.0.1:1883
  broker health http://127.0.0.1:8080            (its /healthz; ws:// is the same)
  broker health mqtts://broker.example --cafile ca.crt
  broker health -c /etc/triomq/broker.toml --json

\b
mqtt://, mqtts:// and unix: are asked in MQTT, without credentials: a broker that refuses us for that is alive. Without
a URL, a listener of this machine's own broker is asked (Linux), of the one that -c says where it is given; the
certificate of such a listener is not verified.

\b
Exit codes: 0 healthy, 1 not, or nobody answers within --timeout, 2 usage or configuration.
""",
)
@click.argument("url", required=False)
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ask at a listener of this configuration.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="For all of it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@tls_options
def health(
    url: str | None,
    path: Path | None,
    timeout: float,
    as_json: bool,
    cafile: Path | None,
    cert: Path | None,
    key: Path | None,
    key_password_file: Path | None,
    insecure: bool,
) -> None:
    """Say whether a broker is healthy: exit code 0, or 1."""
    if url is not None and path is not None:
        raise click.UsageError("A URL and -c each say where to ask; give one.")
    tls = tls_of(cafile=cafile, cert=cert, key=key, key_password_file=key_password_file, insecure=insecure)
    began = time.monotonic()
    place = parse(url) if url is not None else local(path)
    if tls is not None and place is not None and place.scheme not in SECURE:
        raise click.UsageError(f"Options of TLS were given, and {place.url} is without it.")
    try:
        if place is None:
            raise Unwell("no broker of this user runs here; 'broker serve' starts one, and a URL names another.")
        context = None
        if place.scheme in SECURE:
            context = make_context(tls, place, verified=url is not None)
        said = ask(place, context, began + timeout)
        healthy = True
    except Unwell as error:
        said, healthy = str(error), False
    milliseconds = round(1000 * (time.monotonic() - began), 1)
    where = place.url if place is not None else ""
    if as_json:
        told = {"healthy": healthy, "url": where, "said": said, "milliseconds": milliseconds}
        click.echo(json.dumps(told, ensure_ascii=False))
    elif healthy:
        click.echo(f"healthy: {where}: {said} ({milliseconds:g} ms)")
    else:
        click.echo(f"not healthy: {where + ': ' if where else ''}{said}", err=True)
    if not healthy:
        raise click.exceptions.Exit(1)


def parse(url: str) -> Place:
    """Raises click.UsageError."""
    scheme, _, rest = url.partition(":")
    if scheme == "unix" and rest.removeprefix("//"):
        return Place("unix", rest.removeprefix("//"), 0, url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise click.UsageError(f"'{url}' is no URL: {error}.") from None
    if parts.scheme not in PORTS or not parts.hostname:
        schemes = ", ".join(f"{each}://" for each in PORTS)
        raise click.UsageError(f"'{url}' is none of {schemes} with a host, and unix:/path.")
    port = port or PORTS[parts.scheme]
    host = parts.hostname
    shown = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"  # without a password that stood in it
    return Place(parts.scheme, host, port, shown)


def local(path: Path | None) -> Place | None:
    """A listener of this machine's broker; with `path` of the one that this file configures.

    None where nothing runs. Raises ConfigurationMistake for a file with mistakes, UsageError for one without a listener
    that can be asked and where several brokers run.
    """
    from broker.cli import beacon
    from broker.cli.reload import plain, same_file

    brokers = beacon.running()
    if path is not None:
        brokers = {pid: told for pid, told in brokers.items() if same_file(told.config, path)}
    if len(brokers) > 1:
        urls = [plain(each["url"]) for told in brokers.values() for each in told.listeners]
        raise click.UsageError("Several brokers run here; say which: " + ", ".join(urls))
    for told in brokers.values():
        return _first([(each["type"], plain(each["url"])) for each in told.listeners])
    return None if path is None else _first(configured(path))


def configured(path: Path) -> list[tuple[str, str]]:
    """Type and URL of the listeners of a configuration that speak without a header of the PROXY protocol before."""
    from broker.cli.serve import read_config

    found: list[tuple[str, str]] = []
    for listener in read_config(path).listeners:
        if listener.type == "unix":
            found.append((listener.type, f"unix:{listener.path}"))
        elif listener.port and not listener.proxy_protocol:
            scheme = ("ws" if listener.type == "ws" else "mqtt") + ("s" if listener.secure else "")
            host = "localhost" if listener.host in ("", "0.0.0.0", "::", None) else listener.host
            found.append((listener.type, f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.port}"))
    return found


def _first(listeners: Sequence[tuple[str, str]]) -> Place:
    """The one that is asked: where HTTP is spoken, if there is one."""
    for kind in ("ws", "auto", "tcp", "unix"):
        for each, url in listeners:
            if each == kind:
                place = parse(url)
                if kind != "auto":
                    return place
                scheme = "wss" if place.scheme == "mqtts" else "ws"
                return place._replace(scheme=scheme, url=f"{scheme}{place.url[len(place.scheme) :]}")
    raise click.UsageError("It has no listener that can be asked; name a URL.")


def ask(place: Place, context: ssl.SSLContext | None, deadline: float) -> str:
    """What the broker says, in a few words. Raises Unwell."""
    try:
        if place.scheme in ("mqtt", "mqtts", "unix"):
            with _open(place, context, deadline) as opened:
                return _in_mqtt(opened, deadline)
        status, said = _get("/healthz", place, context, deadline)
        if status != "200":
            raise Unwell(f"/healthz answers {status}{': ' + said if said else ''}")
        status, ready = _get("/readyz", place, context, deadline)
        if status == "503":
            raise Unwell(f"/readyz: {ready}")
        return f"{said}; /readyz: {ready}" if status == "200" else said
    except TimeoutError:
        raise Unwell("no answer in time") from None
    except ssl.SSLError as error:
        if error.reason in ALERTS:
            return "it wants a certificate of ours, and so it lives"
        from broker.client.tls import handshake_failed

        raise Unwell(handshake_failed(error)) from None
    except OSError as error:
        raise Unwell(error.strerror or str(error)) from None


def _open(place: Place, context: ssl.SSLContext | None, deadline: float) -> socket.socket:
    if place.scheme == "unix":
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            plain.settimeout(_left(deadline))
            plain.connect(place.host)
        except BaseException:
            plain.close()
            raise
        return plain
    plain = socket.create_connection((place.host, place.port), _left(deadline))
    if context is None:
        return plain
    try:
        plain.settimeout(_left(deadline))
        return context.wrap_socket(plain, server_hostname=place.host)
    except BaseException:
        plain.close()
        raise


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _receive(opened: socket.socket, deadline: float) -> bytes:
    opened.settimeout(_left(deadline))
    return opened.recv(MOST)


def _get(path: str, place: Place, context: ssl.SSLContext | None, deadline: float) -> tuple[str, str]:
    """Status and the beginning of the body, in one line. Raises Unwell where it is no HTTP."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    head = (f"GET {path} HTTP/1.1", f"Host: {host}:{place.port}", "Connection: close", "", "")
    data = b""
    with _open(place, context, deadline) as opened:
        opened.settimeout(_left(deadline))
        opened.sendall("\r\n".join(head).encode())
        while len(data) < MOST and not _complete(data) and (more := _receive(opened, deadline)):
            data += more
    first, _, _ = data.partition(b"\r\n")
    _, _, body = data.partition(b"\r\n\r\n")
    words = first.split(b" ", 2)
    if not words[0].startswith(b"HTTP/") or len(words) < 2:
        raise Unwell("what answers does not speak HTTP")
    said = "".join(each for each in body[:200].decode("utf-8", "replace") if each.isprintable())
    return words[1].decode("ascii", "replace"), said


def _complete(data: bytes) -> bool:
    """Whether that is all of an answer that says how long it is: its connection may end later."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def _in_mqtt(opened: socket.socket, deadline: float) -> str:
    from broker.packets.decode import Decoder, DecoderLimits
    from broker.packets.encode import encode
    from broker.packets.reasons import ReasonCode
    from broker.packets.types import MQTT_5_0, Connack, Connect, Disconnect, Pingreq, Pingresp

    decoder = Decoder(DecoderLimits(), MQTT_5_0, server=False)
    accepted = False
    opened.settimeout(_left(deadline))
    opened.sendall(encode(Connect("", MQTT_5_0, keep_alive=10), MQTT_5_0))
    while True:
        data = _receive(opened, deadline)
        if not data:
            raise Unwell("it closed the connection without an answer")
        if not accepted and data.startswith(OF_OLD):
            return "it speaks no MQTT 5.0, and so it lives"
        for packet in decoder.feed(data):
            if isinstance(packet, Connack) and not accepted:
                said = f"CONNACK 0x{packet.reason:02X} {packet.reason.name.replace('_', ' ').lower()}"
                if packet.reason in (ReasonCode.SERVER_UNAVAILABLE, ReasonCode.SERVER_BUSY):
                    raise Unwell(said)
                if packet.reason:
                    return f"{said}, and so it lives"
                accepted = True
                opened.sendall(encode(Pingreq(), MQTT_5_0))
            elif not accepted:
                raise Unwell("what answers does not speak MQTT")
            elif isinstance(packet, Pingresp):
                with suppress(OSError):
                    opened.sendall(encode(Disconnect(ReasonCode.SUCCESS), MQTT_5_0))
                return "CONNACK and PINGRESP"
        if decoder.error is not None:
            raise Unwell("what answers does not speak MQTT")


def make_context(tls: Tls | None, place: Place, verified: bool) -> ssl.SSLContext:
    """As the options of TLS say; without them, and where our own broker says where to ask, nothing is verified."""
    from broker.client import Tls
    from broker.client import parse as endpoint

    if tls is None and not verified:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    scheme = "mqtts" if place.scheme == "mqtts" else "wss"
    try:
        return (tls or Tls()).make_context(endpoint(f"{scheme}{place.url[len(place.scheme) :]}"))
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
