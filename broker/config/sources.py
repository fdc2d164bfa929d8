"""Where settings come from: defaults < file < environment < command line.

`read` lays the sources over each other as plain data and remembers of every value whence it came, so that a mistake
found later is reported where the person made it. It judges no values: that is the business of `settings`.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from broker.config.errors import ConfigError, Cure, Mistake, did_you_mean, dotted, indent, nearest, veiled
from broker.config.positions import Loc, Place, line_and_column, positions
from broker.config.settings import LISTS, SECURE_SCHEMES, TABLES, ListenerConfig, default_listeners, title
from broker.config.table import path_of, plain
from broker.config.tls import BIND_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PREFIX: Final = "BROKER_"

# Names that belong to commands and say nothing about the configuration.
COMMAND_LINE_VARIABLES: Final[dict[str, str]] = {
    "BROKER_CONFIG": "the configuration file, when `-c` is not given",
    "BROKER_URL": "the URL that client commands connect to, when `-L` is not given",
    "BROKER_USERNAME": "the User Name of client commands",
    "BROKER_PASSWORD": "the Password of client commands",
}

# What Kubernetes puts into the environment for a service that happens to be called "broker-server".
_SERVICE_LINK: Final = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)=.*|.*_PORT=\w+://.*"
)

_SYNTAX_PLACE: Final = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")

_QUERY_KEYS: Final = ("allow_anonymous", "mode", "name")
_FOREIGN_SCHEMES: Final = {"mqtt": "tcp", "http": "ws", "https": "wss", "ssl": "mqtts", "tls": "mqtts"}
_SECURE_TYPES: Final = {scheme: kind for kind, scheme in SECURE_SCHEMES.items()}


class Origin(Protocol):
    """Where one value comes from."""

    @property
    def order(self) -> tuple[int, int]:
        """By which mistakes are sorted."""

    def title(self) -> str:
        """For a person who asks where a value comes from."""

    def mistake(self, loc: Loc, message: str, at_key: bool = False) -> Mistake: ...

    def spell(self, loc: Loc) -> str:
        """How this source would write `loc` in place of what it wrote."""

    def remedy(self, cure: Cure) -> str: ...


class FileOrigin:
    """A key in the file."""

    def __init__(self, path: str, text: str, place: Place) -> None:
        self.path = path
        self.text = text
        self.place = place

    @property
    def order(self) -> tuple[int, int]:
        return 0, self.place.key[0]

    def title(self) -> str:
        return f"{self.path}:{line_and_column(self.text, self.place.key[0])[0]}"

    def mistake(self, loc: Loc, message: str, at_key: bool = False) -> Mistake:
        start, end = self.place.key if at_key else self.place.value
        return _at(self.path, self.text, start, end, f"{dotted(loc)}: {message}")

    def spell(self, loc: Loc) -> str:
        return f"'{loc[-1]}'"

    def remedy(self, cure: Cure) -> str:
        line = f"    {cure.loc[-1]} = {cure.value}"
        if cure.loc[0] == "listeners":
            table = "this table" if len(cure.loc) == 3 else title(path_of(cure.loc[:-1]))
            return indent(f"{cure.purpose}, add to {table}:\n{line}")
        return indent(f"{cure.purpose}, add to the file:\n    {title(path_of(cure.loc[:-1]))}\n{line}")


class EnvironmentOrigin:
    """A variable."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.order = (1, number)

    def title(self) -> str:
        return self.name

    def mistake(self, loc: Loc, message: str, at_key: bool = False) -> Mistake:
        return Mistake(self.name, message)

    def spell(self, loc: Loc) -> str:
        below = self.name.split("__")[len(loc) :]  # a table is misspelt, and its key goes on
        return "__".join([variable(loc), *below])

    def remedy(self, cure: Cure) -> str:
        return _variable_remedy(cure)


class BindOrigin:
    """A `--bind`."""

    def __init__(self, text: str, number: int) -> None:
        self.text = text
        self.order = (2, number)

    def title(self) -> str:
        return f"--bind {self.text}"

    def mistake(self, loc: Loc, message: str, at_key: bool = False) -> Mistake:
        return Mistake(self.title(), f"{loc[-1]} {message}" if message.startswith("must") else message)

    def spell(self, loc: Loc) -> str:
        return f"'{loc[-1]}'"

    def remedy(self, cure: Cure) -> str:
        if cure.loc[0] != "listeners":
            return _variable_remedy(cure)
        joint = "&" if "?" in self.text else "?"
        value = cure.value.strip('"')  # of TOML
        return indent(f"{cure.purpose}, write:\n    --bind '{self.text}{joint}{cure.loc[-1]}={value}'")


class DataOrigin:
    """`--data`."""

    order = (2, -1)

    def __init__(self, text: str) -> None:
        self.text = text

    def title(self) -> str:
        return f"--data {self.text}"

    def mistake(self, loc: Loc, message: str, at_key: bool = False) -> Mistake:
        return Mistake("--data", message)

    def spell(self, loc: Loc) -> str:
        return "--data"

    def remedy(self, cure: Cure) -> str:
        return _variable_remedy(cure)


class Sources:
    """The data of all sources together; `mistakes` are those that reading showed."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.origins: dict[Loc, Origin] = {}
        self.mistakes: list[tuple[tuple[int, int], Mistake]] = []

    def origin(self, loc: Loc) -> Origin | None:
        """Whence the value at `loc` comes, or the nearest table around it; None where nobody said anything."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.origins:
                return self.origins[loc[:length]]
        return None

    def replace(self, loc: Loc, origin: Origin) -> None:
        """What stands at `loc` and below comes from `origin` now."""
        for other in [other for other in self.origins if other[: len(loc)] == loc]:
            del self.origins[other]
        self.origins[loc] = origin


def read(path: Path | None, environ: Mapping[str, str], binds: Sequence[str] = (), data: str | None = None) -> Sources:
    """All sources, the later over the earlier. Raises ConfigError when the file cannot be read as TOML."""
    sources = Sources()
    if path is not None:
        sources.data, places = read_document(path)
        sources.origins.update(places)
    sources.data.setdefault("listeners", [{"type": listener.type} for listener in default_listeners()])
    _read_environment(sources, environ)
    if binds:
        _read_binds(sources, binds)
    if data is not None:
        store = sources.data.setdefault("store", {})
        if isinstance(store, dict):
            store["path"] = data
            sources.replace(("store", "path"), DataOrigin(data))
    return sources


def _variable_remedy(cure: Cure) -> str:
    value = cure.value.strip('"')  # of TOML
    return indent(f"{cure.purpose}, set:\n    {variable(cure.loc)}={value}")


def _at(path: str, text: str, start: int, end: int, message: str) -> Mistake:
    """A mistake at characters [start, end) of a file, with its line and a caret under it."""
    line, column = line_and_column(text, start)
    begin = start - column + 1
    source = text[begin:].split("\n", 1)[0].rstrip("\r")
    # A tab stays a tab, so that the caret stands below its character whatever a tab's width.
    margin = "".join("\t" if character == "\t" else " " for character in source[: column - 1])
    width = max(1, min(end - begin, len(source)) - column + 1)
    return Mistake(f"{path}:{line}:{column}", message, f"{veiled(source)}\n{margin}{'^' * width}")


def read_document(path: Path) -> tuple[dict[str, Any], dict[Loc, FileOrigin]]:
    """A TOML file's data, and where each key of it stands. ConfigError when it cannot be read."""
    name = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError([Mistake(name, f"cannot be read: {error.strerror or error}")]) from error
    try:
        text = raw.decode("utf-8-sig")  # some editors put a byte order mark, which TOML does not know
    except UnicodeDecodeError as error:
        line, column = raw.count(b"\n", 0, error.start) + 1, error.start - raw.rfind(b"\n", 0, error.start)
        raise ConfigError([Mistake(f"{name}:{line}:{column}", "is not UTF-8")]) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_mistake(name, text, str(error))]) from error
    return data, {loc: FileOrigin(name, text, place) for loc, place in positions(text).items()}


def _syntax_mistake(path: str, text: str, message: str) -> Mistake:
    """tomllib says the place in its sentence."""
    match = _SYNTAX_PLACE.search(message)
    offset = len(text.rstrip())
    if match is not None:
        message = message[: match.start()]
        if match[1] is not None:
            lines = text.split("\n")
            offset = sum(len(line) + 1 for line in lines[: int(match[1]) - 1]) + int(match[2]) - 1
    return _at(path, text, offset, offset + 1, f"is not TOML: {message[:1].lower()}{message[1:]}")


def _read_environment(sources: Sources, environ: Mapping[str, str]) -> None:
    names = sorted(
        (name for name in environ if name.startswith(PREFIX) and name not in COMMAND_LINE_VARIABLES),
        key=lambda name: [part.zfill(8) if part.isdigit() else part for part in name.split("__")],
    )
    for number, name in enumerate(names):
        origin = EnvironmentOrigin(name, number)
        rest, value = name.removeprefix(PREFIX), environ[name]
        message = _lay(sources, rest.lower().split("__"), value, origin) if "__" in rest else _stray(rest, value)
        if message:
            sources.mistakes.append((origin.order, Mistake(name, message)))


def _stray(rest: str, value: str) -> str:
    """What is wrong with a name without a double underscore, if it looks like one of ours at all."""
    section = rest.partition("_")[0].lower()
    if (section,) not in TABLES or _SERVICE_LINK.fullmatch(f"{rest}={value}"):
        return ""
    if rest.lower() == section:
        return f"[{section}] is a table: set its keys, such as {variable_names(section)[0]}"
    near = nearest(rest, [name.removeprefix(PREFIX).lower() for name in variable_names(section)])
    return f"unknown setting; did you mean {PREFIX}{near.upper()}?" if near else "unknown setting"


def variable(loc: Loc) -> str:
    """("limits", "maximum_qos") -> "BROKER_LIMITS__MAXIMUM_QOS"."""
    return PREFIX + "__".join(str(part).upper() for part in loc)


def variable_names(section: str) -> list[str]:
    """The variables of a section; those of listeners for the first of them."""
    names: list[str] = []
    for table, model in TABLES.items():
        if table[:1] == (section,):
            loc: Loc = ()
            for length, name in enumerate(table, 1):
                loc = (*loc, name, 0) if table[:length] in LISTS else (*loc, name)
            names += [variable((*loc, key)) for key in plain(model)]
    return names


def _lay(sources: Sources, parts: list[str], value: str, origin: Origin) -> str:
    """Lay one variable over the data; what is wrong with its path, or nothing."""
    target: Any = sources.data
    loc: Loc = ()
    for part in parts[:-1]:
        if isinstance(target, list) and path_of(loc) in LISTS:
            count = len(target)
            if not part.isdigit():
                return f"{loc[-1]} are numbered from 0, as in {variable((*loc, 0, parts[-1]))}"
            if int(part) > count:
                return f"there are {count} {loc[-1]} before this; the next has the number {count}"
            loc = (*loc, int(part))
            if int(part) == count:
                target.append({})
                sources.origins[loc] = origin
            target = target[int(part)]
        elif isinstance(target, dict):
            loc = (*loc, part)
            if part not in target:
                target[part] = [] if path_of(loc) in LISTS else {}
                sources.origins[loc] = origin
            target = target[part]
        else:
            break
    if isinstance(target, list) and path_of(loc) in LISTS:
        return f"a {str(loc[-1]).removesuffix('s')} is a table: set its keys"
    if not isinstance(target, dict):
        return f"{dotted(loc)} has no settings below it"
    loc = (*loc, parts[-1])
    target[parts[-1]] = value
    sources.replace(loc, origin)
    return ""


def _read_binds(sources: Sources, binds: Sequence[str]) -> None:
    """`--bind` replaces the listeners of all other sources."""
    tables: list[dict[str, Any]] = []
    for other in [other for other in sources.origins if other[0] == "listeners"]:
        del sources.origins[other]
    for number, text in enumerate(binds):
        origin = BindOrigin(text, number)
        try:
            table = bind_table(text)
        except ValueError as error:
            sources.mistakes.append((origin.order, Mistake(origin.title(), str(error))))
            continue
        loc: Loc = ("listeners", len(tables))
        sources.origins[loc] = origin
        sources.origins |= {(*loc, key): origin for key in table}
        tables.append(table)
    sources.data["listeners"] = tables


def bind_table(text: str) -> dict[str, Any]:
    """ "ws://0.0.0.0:8080/mqtt?allow_anonymous=true" as a `[[listeners]]` table. Raises ValueError with a sentence."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    kind = _SECURE_TYPES.get(scheme, scheme)
    if kind not in ListenerConfig.TYPES or not colon:
        if scheme in _FOREIGN_SCHEMES:
            raise ValueError(f"write {_FOREIGN_SCHEMES[scheme]}{colon}{rest} for a listener")
        known = (*ListenerConfig.TYPES, *_SECURE_TYPES)
        hint = f"; did you mean 'tcp://{text}'?" if "//" not in text else did_you_mean(scheme, known)
        raise ValueError(f"must begin with tcp://, ws://, auto://, mqtts://, wss:// or unix:{hint}")
    address, _, query = rest.partition("?")
    table: dict[str, Any] = {"type": kind}
    if kind == "unix":
        table["path"] = address.removeprefix("//")
        if not table["path"]:
            raise ValueError("needs a path, such as unix:/run/broker.sock")
    else:
        if not address.startswith("//"):
            raise ValueError(f"write {scheme}://{address} with two slashes")
        table |= _network_address(scheme, f"{scheme}:{address}")
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in BIND_KEYS:
            table.setdefault("tls", {})[key] = value
        elif key in _QUERY_KEYS:
            table[key] = value
        else:
            raise ValueError(f"unknown setting '{key}'{did_you_mean(key, (*_QUERY_KEYS, *BIND_KEYS))}")
    if scheme in _SECURE_TYPES and "certificate" not in table.get("tls", {}):
        mark = "&" if query else "?"
        raise ValueError(
            f"needs a certificate: {text}{mark}certificate=FILE&key=FILE, or [listeners.tls] in a configuration file"
        )
    return table


def _network_address(scheme: str, url: str) -> dict[str, Any]:
    table: dict[str, Any] = {}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is no address: {str(error)[:1].lower()}{str(error)[1:]}") from None
    if "@" in parts.netloc:
        raise ValueError("a listener has no user and no password")
    if parts.fragment or "#" in url:
        raise ValueError("an address has no #")
    # urlsplit makes names lower case, which leaves their meaning; a zone is written %25 in a URL (RFC 6874).
    host = (parts.hostname or "").replace("%25", "%")
    if not host:
        raise ValueError(
            f"needs a host: {scheme}://127.0.0.1:… for this machine, {scheme}://0.0.0.0:… for every address"
        )
    table["host"] = host
    if port is not None:
        table["port"] = port
    if parts.path not in ("", "/"):
        if scheme in ("tcp", "mqtts"):
            raise ValueError("a tcp listener has no path")
        table["limits"] = {"websocket_paths": [parts.path]}
    return table
