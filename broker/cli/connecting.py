"""Where to connect and as whom: the options that `pub`, `sub` and others share, spelled as mosquitto's."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.client import Tls

_VERSIONS: Final = {
    "5": MQTT_5_0,
    "5.0": MQTT_5_0,
    "311": MQTT_3_1_1,
    "3.1.1": MQTT_3_1_1,
    "4": MQTT_3_1_1,
    "31": MQTT_3_1,
    "3.1": MQTT_3_1,
    "3": MQTT_3_1,
}
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_SECURE: Final = ("mqtts", "wss")
NEVER: Final = 0xFFFFFFFF  # a Session Expiry Interval that does not end [MQTT-3.1.2.11.2]


class VersionType(click.ParamType[int]):
    """A protocol version in any spelling in use: 5, 5.0, mqttv5, 311, 3.1.1, mqttv311, 31, 3.1, mqttv31."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        version = _VERSIONS.get(str(value).lower().removeprefix("mqtt").removeprefix("v"))
        if version is None:
            self.fail(f"'{value}' is none of 5, 3.1.1 and 3.1.", param, ctx)
        return version


class ExpiryType(click.ParamType[int]):
    """A Session Expiry Interval in seconds; -1 and ∞ never end."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value in ("-1", "∞"):
            return NEVER
        try:
            seconds = int(value)
        except ValueError:
            seconds = -1
        if not 0 <= seconds <= NEVER:
            self.fail(f"'{value}' is neither -1 nor a number of seconds from 0 to {NEVER}.", param, ctx)
        return seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class WillOptions:
    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """What the connection options say. `url` has neither user nor topic in it; `topic` is the URL's, or empty."""

    url: str
    topic: str = ""
    user_name: str | None = None
    password: str | None = None
    client_identifier: str = ""
    keep_alive: int = 60
    version: int = MQTT_5_0
    clean_start: bool = True
    session_expiry_interval: int = 0
    will: WillOptions | None = None
    tls: Tls | None = None


_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
TLS_OPTIONS: Final = (
    click.option("--cafile", type=_FILE, metavar="FILE", help="Trust this CA (PEM) for TLS, and no other."),
    click.option("--cert", type=_FILE, metavar="FILE", help="Our own certificate (PEM), for a broker that wants one."),
    click.option("--key", type=_FILE, metavar="FILE", help="Its key (PEM)."),
    click.option(
        "--insecure",
        is_flag=True,
        help="Take any certificate, or with --cafile any that it signed: no protection against who is between.",
    ),
)
_KEY_PASSWORD: Final = click.option(
    "--key-password-file", type=_FILE, metavar="FILE", help="What decrypts the key of --key."
)
TLS_PARAMETERS: Final = ("cafile", "cert", "key", "insecure")
_OPTIONS: Final = (
    click.option(
        "-L", "--url", metavar="URL", help="mqtt[s]://[user[:password]@]host[:port][/topic], or ws[s]:// with a path."
    ),
    click.option("-h", "--host", metavar="HOST", help="Defaults to 127.0.0.1."),
    click.option("-p", "--port", type=click.IntRange(1, 65535), metavar="PORT", help="Defaults to 1883; 8883 is TLS."),
    click.option("--unix", metavar="PATH", help="Connect to a Unix domain socket."),
    click.option("-u", "--username", metavar="NAME", envvar="BROKER_USERNAME"),
    click.option("-P", "--pw", metavar="PASSWORD", help="Others see it in the process list; better --password-file."),
    click.option("--password-file", type=_FILE, metavar="FILE"),
    *TLS_OPTIONS,
    _KEY_PASSWORD,
    click.option(
        "-i", "--id", "client_identifier", metavar="ID", help="Client Identifier; else the broker assigns one."
    ),
    click.option("-I", "--id-prefix", metavar="PREFIX", help="Client Identifier: this, and the process id."),
    click.option("-k", "--keepalive", type=click.IntRange(0, 65535), default=60, show_default=True, metavar="SECONDS"),
    click.option(
        "-V",
        "--protocol-version",
        "version",
        type=VersionType(),
        default="5",
        show_default=True,
        help="5, 3.1.1 or 3.1.",
    ),
    click.option("-c", "--disable-clean-session", "keep_session", is_flag=True, help="Keep the Session (needs -i)."),
    click.option(
        "-x",
        "--session-expiry-interval",
        type=ExpiryType(),
        help="Seconds that the Session lives on; -1 for ever. 5.0.",
    ),
    click.option("--will-topic", metavar="TOPIC", help="The Will Message: sent by the broker when we vanish."),
    click.option("--will-payload", metavar="TEXT"),
    click.option("--will-qos", type=click.IntRange(0, 2), default=0, metavar="QOS"),
    click.option("--will-retain", is_flag=True),
    click.option("--quiet", is_flag=True, help="No messages about errors."),
)


CONNECTION_PARAMETERS: Final = frozenset(
    {
        *("url", "host", "port", "unix", "username", "pw", "password_file", "client_identifier", "id_prefix"),
        *("keepalive", "version", "keep_session", "session_expiry_interval"),
        *("will_topic", "will_payload", "will_qos", "will_retain"),
        *(*TLS_PARAMETERS, "key_password_file"),
    }
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them; `target` makes a Target of what they collect."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def tls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those of TLS alone; `tls_of` makes a Tls of what they collect."""
    for option in reversed((*TLS_OPTIONS, _KEY_PASSWORD)):
        command = option(command)
    return command


def tls_of(
    *, cafile: Path | None, cert: Path | None, key: Path | None, key_password_file: Path | None, insecure: bool
) -> Tls | None:
    """None where nothing was said. Raises click.UsageError."""
    if not (cafile or cert or key or key_password_file or insecure):
        return None
    from broker.client import Tls

    if key is not None and cert is None:
        raise click.UsageError("--key is of no use without its certificate: --cert.")
    if key_password_file is not None and cert is None:
        raise click.UsageError("--key-password-file is of no use without --cert and --key.")
    password = None if key_password_file is None else _secret("--key-password-file", key_password_file)
    return Tls(ca_file=cafile, certificate=cert, key=key, key_password=password, insecure=insecure)


def check_tls(tls: Tls | None, *urls: str) -> None:
    """That what was said of TLS has a URL of TLS to be for; click.UsageError otherwise."""
    if tls is not None and not any(url.partition(":")[0].lower() in _SECURE for url in urls):
        first = next(iter(urls), "a broker of its own")
        scheme = "wss" if first.startswith("ws:") else "mqtts"
        raise click.UsageError(f"Options of TLS were given, and {first} is without it: say {scheme}://.")


def _secret(option: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise click.UsageError(f"{option} {path}: {said}.") from error


def target(
    *,
    url: str | None,
    host: str | None,
    port: int | None,
    unix: str | None,
    username: str | None,
    pw: str | None,
    password_file: Path | None,
    client_identifier: str | None,
    id_prefix: str | None,
    keepalive: int,
    version: int,
    keep_session: bool,
    session_expiry_interval: int | None,
    will_topic: str | None,
    will_payload: str | None,
    will_qos: int,
    will_retain: bool,
    cafile: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    key_password_file: Path | None = None,
    insecure: bool = False,
) -> Target:
    """Raises click.UsageError where the options contradict each other. `BROKER_URL` stands in for all of -L -h -p.

    With -h and -p it is TLS where an option says so, or the port is 8883.

    What was given empty, an unset variable of a shell perhaps, is no default: it may be another broker that was meant.
    """
    for option, value in (("-L", url), ("-h", host), ("--unix", unix)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{option} is empty: say where to connect, or leave it out.")
    spoken = [name for name, value in (("-L", url), ("-h", host or port), ("--unix", unix)) if value]
    if len(spoken) > 1:
        raise click.UsageError(f"{' and '.join(spoken)} each say where to connect; give one.")
    if not spoken:
        url = os.environ.get("BROKER_URL") or None
    if unix:
        url = f"unix:{unix}"
    tls = tls_of(cafile=cafile, cert=cert, key=key, key_password_file=key_password_file, insecure=insecure)
    if url is None:
        host = host or "127.0.0.1"
        scheme = "mqtts" if tls is not None or port == _PORTS["mqtts"] else "mqtt"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port or _PORTS[scheme]}"
    base, topic, user_name, password = split_url(url)
    check_tls(tls, base)
    if username is not None:
        user_name = username
    if pw is not None and password_file is not None:
        raise click.UsageError("-P and --password-file each give a password; give one.")
    if password_file is not None:
        password = _secret("--password-file", password_file)
    password = pw if pw is not None else password or os.environ.get("BROKER_PASSWORD")
    if id_prefix is not None:
        if client_identifier is not None:
            raise click.UsageError("-i and -I each give a Client Identifier; give one.")
        client_identifier = f"{id_prefix}{os.getpid()}"
    if keep_session and not client_identifier:
        raise click.UsageError("A Session can be kept under a name only: give one with -i.")
    if session_expiry_interval is None:
        session_expiry_interval = NEVER if keep_session else 0
    will = None
    if will_topic is not None:
        payload = (will_payload or "").encode()
        will = WillOptions(topic=will_topic, payload=payload, qos=will_qos, retain=will_retain)
    elif will_payload is not None or will_qos or will_retain:
        raise click.UsageError("A Will Message needs a topic: --will-topic.")
    return Target(
        url=base,
        topic=topic,
        user_name=user_name,
        password=password,
        client_identifier=client_identifier or "",
        keep_alive=keepalive,
        version=version,
        clean_start=not keep_session,
        session_expiry_interval=session_expiry_interval,
        will=will,
        tls=tls,
    )


def split_url(url: str) -> tuple[str, str, str | None, str | None]:
    """`url` without user and topic, the topic, the user name, the password.

    What follows the host is the topic in mqtt:// and mqtts:// (as mosquitto reads it, letter by letter: '#' and '?' are
    no delimiters there), and the path of the upgrade request in ws:// and wss://. Raises click.UsageError.
    """
    from urllib.parse import unquote

    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme == "unix" and colon:
        path = rest.removeprefix("//")
        if not path:
            raise click.UsageError(f"'{url}' names no socket: unix:/path/to/socket")
        return f"unix:{path}", "", None, None
    if scheme not in _PORTS or not rest.startswith("//"):
        raise click.UsageError(f"'{url}' begins with none of mqtt://, mqtts://, ws://, wss:// and unix:")
    authority, slash, path = rest[2:].partition("/")
    user, at, address = authority.rpartition("@")
    user_name, _, password = user.partition(":")
    host, port = _split_address(url, address, _PORTS[scheme])
    base = f"{scheme}://{host}:{port}"
    if scheme in ("ws", "wss"):
        base += f"/{path}" if slash else "/mqtt"
        path = ""
    return base, path, unquote(user_name) if at else None, unquote(password) if ":" in user else None


def _split_address(url: str, address: str, port: int) -> tuple[str, int]:
    host, colon, digits = address.rpartition(":")
    if not colon or address.endswith("]"):
        host = address
    elif digits.isdigit() and 0 < int(digits) < 65536:
        port = int(digits)
    else:
        raise click.UsageError(f"'{digits}' in '{url}' is no port")
    if not host:
        raise click.UsageError(f"'{url}' names no host")
    return host, port
