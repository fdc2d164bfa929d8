"""The kinds of value that a setting can have, beyond those that pydantic knows: how each is read and what is refused.

Every reader takes the native TOML value and also a string, because the environment and `--bind` know only strings.
"""

from __future__ import annotations

import os
import re
import sys
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from broker.config.errors import did_you_mean, shown
from broker.config.units import DURATION, SIZE, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS: Final[dict[str, int]] = {"3.1": 3, "3.1.1": 4, "5.0": 5}  # as a person says it -> protocol level

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?")
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")
_PATH: Final = re.compile(r"/[^\s?#]*")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")

SOCKET_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103  # sockaddr_un, less its final zero

T = TypeVar("T")


def no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {shown(value)}")
    return value


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def split(value: object) -> object:
    """An array may be written as one string with commas: the environment has no arrays."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _reader(unit: Unit, whole: bool = False) -> Callable[[object], object]:
    def read(value: object) -> object:
        number = unit.parse(no_bool(value))
        if whole and isinstance(number, float) and not number.is_integer():
            raise ValueError(f"must be whole {'bytes' if unit is SIZE else 'seconds'}, not {shown(value)}")
        return number

    return read


def _with_unit(unit: Unit) -> Callable[[dict[str, Any]], None]:
    """In the schema: the number with its range, or a string with a unit."""

    def widen(schema: dict[str, Any]) -> None:
        names = ("type", "minimum", "maximum", "exclusiveMinimum")
        number = {name: schema.pop(name) for name in names if name in schema}
        schema["anyOf"] = [number, {"type": "string", "pattern": unit.pattern}]

    return widen


def _optional_with_unit(unit: Unit) -> Callable[[dict[str, Any]], None]:
    """As `_with_unit`, of a setting that may be left to the broker; TOML has no null."""

    def widen(schema: dict[str, Any]) -> None:
        del schema["default"]
        schema["anyOf"] = [schema["anyOf"][0], {"type": "string", "pattern": unit.pattern}]

    return widen


def _octal_or_text(schema: dict[str, Any]) -> None:
    number = {name: schema.pop(name) for name in ("type", "minimum", "maximum")}
    schema["anyOf"] = [number, {"type": "string", "pattern": "^(0o)?[0-7]{1,3}$"}]


def without_default(schema: dict[str, Any]) -> None:
    """The schema of a setting whose default depends on another."""
    del schema["default"]


def without_null(schema: dict[str, Any]) -> None:
    """The schema of a setting that may be left out; TOML has no null."""
    schema.pop("default", None)
    kinds = [kind for kind in schema.pop("anyOf") if kind != {"type": "null"}]
    schema |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def distinct(value: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(value)) < len(value):
        raise ValueError("holds the same item twice")
    return value


def _version(value: object) -> object:
    """ "3.1.1", "5", 5.0 or a protocol level -> protocol level."""
    text = str(value)
    if text in VERSIONS:
        return VERSIONS[text]
    if text in ("3", "4", "5"):
        return int(text)
    raise ValueError(f'{shown(value)} is no version of MQTT; there are "3.1", "3.1.1" and "5.0"')


def _name(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not hold control characters")
    return value


def _host(value: str) -> str:
    host = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if host in ("", "*"):
        raise ValueError('must be an address or a name; every address of the machine is "0.0.0.0" or "::"')
    if not _HOST_NAME.fullmatch(host) and not _IPV6.fullmatch(host):
        raise ValueError(f"must be an address or a name alone, not {shown(value)}")
    return host


def _socket_path(value: str) -> str:
    length = len(os.fsencode(_name(value)))
    if length > SOCKET_PATH_BYTES:
        raise ValueError(f"is {length} bytes long; this system takes {SOCKET_PATH_BYTES} at most")
    return value


def _path(what: str) -> Callable[[object], object]:
    """A path, "~" being the folder of the user. "" is refused: a variable that is not set would leave a door open."""

    def read(value: object) -> object:
        if not isinstance(value, str | Path):
            return value
        if not _name(str(value)) or not value:
            raise ValueError(f"must name a {what}; without one leave the setting out")
        try:
            return Path(value).expanduser()
        except RuntimeError:
            raise ValueError(f"names a home that is not known: {shown(str(value))}") from None

    return read


def _network(value: object) -> object:
    """ "10.0.0.0/8", or one address."""
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f'must be a network such as "10.0.0.0/8" or an address, not {shown(value)}') from None
    raise ValueError(f"the network of {shown(value)} is {shown(str(network))}")


def _host_pattern(value: str) -> str:
    """A name in lower case; its first label may be a star."""
    name = value.lower().removesuffix(".")
    labels = name.split(".")
    if labels[0] == "*" and len(labels) > 2:
        labels = labels[1:]
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f'must be a name such as "mqtt.example.org" or "*.example.org", not {shown(value)}')
    return name


def _word(value: str) -> str:
    if not _name(value) or value != value.strip():
        raise ValueError(f"must be a name, without blanks around it, not {shown(value)}")
    return value


def _pattern(value: str) -> str:
    """A Topic Filter in which a level may hold `%c` or `%u`; `%%` is a percent sign. So says `broker.auth.patterns`."""
    if not value or len(value.encode("utf-8", "replace")) > 65535 or _CONTROL.search(value):
        raise ValueError("must be 1 to 65535 bytes long and hold no control characters")
    if value.startswith("$share/"):
        raise ValueError("a Shared Subscription is judged by its Topic Filter: leave $share/name/ out")
    levels = value.split("/")
    for number, level in enumerate(levels, 1):
        text = level.replace("%%", "")
        places = text.count("%c") + text.count("%u")
        if places != text.count("%"):
            raise ValueError(f"{shown(level)}: a % is followed by c, u or another %")
        if places > 1:
            raise ValueError(f"{shown(level)}: a level has at most one place, either %c or %u")
        if places and number == 1 and level.startswith("$"):
            raise ValueError(f"{shown(level)}: a first level that begins with $ has to be written out")
        if ("+" in level or "#" in level) and len(level) > 1:
            raise ValueError(f"{shown(level)}: + and # stand alone in their level")
        if level == "#" and number < len(levels):
            raise ValueError(f"{shown(value)}: # is the last level")
    return value


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "#" in value or not value.isprintable() or " " in value:
        raise ValueError('must be a URL such as "https://login.example.org/mqtt"')
    if "@" in parts.netloc:
        raise ValueError("holds a user name or a password; write them into an authorization_file")
    return value


def _mode(value: object) -> object:
    """0o660 in TOML, "660" or "0o660" in a string."""
    if isinstance(value, str):
        try:
            return int(value.removeprefix("0o"), 8)
        except ValueError:
            raise ValueError(f'must be an octal number such as 0o660 or "660", not {shown(value)}') from None
    if isinstance(value, int) and value > 0o777:
        raise ValueError(f'must be an octal number such as 0o660 or "660", not {value}')
    return no_bool(value)


def _websocket_path(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError(f'must be a path such as "/mqtt", not {shown(value)}')
    return value


def _subprotocol(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(f'must be a name such as "mqtt", not {shown(value)}')
    return value


def _origin(value: str) -> str:
    origin = value.lower()
    if origin in ("*", "same-origin", "null") or _ORIGIN.fullmatch(origin):
        return origin
    if _ORIGIN.fullmatch(origin.rstrip("/")):
        raise ValueError(f'an origin has no path: "{origin.rstrip("/")}", not {shown(value)}')
    hint = did_you_mean(origin, ["same-origin"])
    raise ValueError(f'must be "same-origin", "*" or an origin such as "https://example.org", not {shown(value)}{hint}')


def _identifier_prefix(value: str) -> str:
    if _CONTROL.search(value) or len(value.encode("utf-8", "replace")) > 64:
        raise ValueError("must be at most 64 bytes long and hold no control characters")
    if re.search("[+#/]", value):
        raise ValueError(f"must not hold +, # or /, which mean something in topics: {shown(value)}")
    return value


def _response_information(value: str) -> str:
    if _CONTROL.search(value) or len(value.encode("utf-8", "replace")) > 4096:
        raise ValueError("must be at most 4096 bytes long and hold no control characters")
    if re.search("[+#]", value):
        raise ValueError(f"is the beginning of a Topic Name, without + and #: {shown(value)}")
    return value


Count = Annotated[int, BeforeValidator(no_bool)]
Number = Annotated[float, BeforeValidator(no_bool)]
Size = Annotated[int, BeforeValidator(_reader(SIZE, whole=True)), SIZE, Field(json_schema_extra=_with_unit(SIZE))]
OptionalSize = Annotated[
    int | None, BeforeValidator(_reader(SIZE, whole=True)), SIZE, Field(json_schema_extra=_optional_with_unit(SIZE))
]
Seconds = Annotated[
    float,
    BeforeValidator(_reader(DURATION)),
    DURATION,
    Field(allow_inf_nan=False, json_schema_extra=_with_unit(DURATION)),
]
WholeSeconds = Annotated[
    int, BeforeValidator(_reader(DURATION, whole=True)), DURATION, Field(json_schema_extra=_with_unit(DURATION))
]
Versions = Annotated[
    tuple[
        Annotated[
            int, BeforeValidator(_version), WithJsonSchema({"enum": [*VERSIONS, 3.1, 5.0, 3, 4, 5], "title": "Version"})
        ],
        ...,
    ],
    Field(min_length=1),
    BeforeValidator(split),
    AfterValidator(distinct),
]
Name = Annotated[str, AfterValidator(_name)]
Word = Annotated[str, AfterValidator(_word)]
Words = Annotated[tuple[Word, ...], BeforeValidator(split), AfterValidator(distinct)]
Patterns = Annotated[
    tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(split), AfterValidator(distinct)
]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Host = Annotated[str, AfterValidator(_host)]
SocketPath = Annotated[str, AfterValidator(_socket_path)]
Folder = Annotated[Path, BeforeValidator(_path("folder"))]
File = Annotated[Path, BeforeValidator(_path("file"))]
Networks = Annotated[
    tuple[
        Annotated[
            IPv4Network | IPv6Network, BeforeValidator(_network), WithJsonSchema({"type": "string", "title": "Network"})
        ],
        ...,
    ],
    BeforeValidator(split),
    AfterValidator(distinct),
]
HostNames = Annotated[
    tuple[Annotated[str, AfterValidator(_host_pattern)], ...],
    Field(min_length=1),
    BeforeValidator(split),
    AfterValidator(distinct),
]
Mode = Annotated[int, BeforeValidator(_mode), Field(json_schema_extra=_octal_or_text)]
Paths = Annotated[
    tuple[Annotated[str, AfterValidator(_websocket_path)], ...],
    Field(min_length=1),
    BeforeValidator(split),
    AfterValidator(distinct),
]
Subprotocols = Annotated[
    tuple[Annotated[str, AfterValidator(_subprotocol)], ...], BeforeValidator(split), AfterValidator(distinct)
]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(split), AfterValidator(distinct)
]
IdentifierPrefix = Annotated[str, AfterValidator(_identifier_prefix)]
ResponseInformation = Annotated[str, AfterValidator(_response_information)]
