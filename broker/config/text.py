"""The configuration written for people: the sample file, the tables of the guide, and what is in force.

All of it comes from `settings`. `python -m broker.config.text` writes `config/broker.toml`,
`config/broker.schema.json` and the tables of `docs/guides/configuration.md` anew in the source tree; tests fail while
one of them is stale.
"""

from __future__ import annotations

import json
import pathlib
import textwrap
from typing import TYPE_CHECKING, Any, Final, get_args

from broker.config.kinds import VERSIONS
from broker.config.limits import LimitsConfig
from broker.config.settings import LISTS, TABLES, Config, ListenerConfig, schema, title
from broker.config.sources import COMMAND_LINE_VARIABLES
from broker.config.table import path_of, plain
from broker.config.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from broker.config.positions import Loc
    from broker.config.sources import Sources
    from broker.config.table import Path, Table

_HEAD: Final = """\
#:schema ./broker.schema.json

# TrioMQ: every setting with its default. A file needs only those that differ.
#
# Sizes are bytes or strings such as "64KiB" and "1MB"; durations are seconds or strings such as "500ms", "15s", "7d".
# `broker check-config FILE` names every mistake; `broker config show -c FILE` says what is in force, and why.
# An environment variable goes before the file: BROKER_LIMITS__MAXIMUM_PACKET_SIZE=2MB, BROKER_LISTENERS__0__PORT=1884.
"""

_UNIX_LISTENER: Final = """\
#[[listeners]]
#type = "unix"
"""

_DEPENDS: Final = {
    "port": "`1883`, `8080`; with tls `8883`, `8443`",
    "durability": '`"none"`, with a path `"fsync"`',
    "key": "that of `certificate`",
    "require_client_certificate": "`true` with `client_ca`",
}
_UNIX_ONLY: Final = ("path", "mode")
_NETWORK_ONLY: Final = ("host", "port")

_BEGIN: Final = "<!-- begin: {} -->"
_END: Final = "<!-- end: {} -->"


def toml_value(field: FieldInfo, value: Any) -> str:
    """A setting's value as a person would write it in TOML."""
    unit = _unit(field)
    if unit is not None and not isinstance(value, str):
        value = unit.show(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    # Paths and networks are written as strings.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False, default=str)


def setting(name: str, field: FieldInfo, value: Any) -> str:
    """ "maximum_qos = 2"."""
    if name == "versions":
        value = tuple(spoken for spoken, level in VERSIONS.items() if level in value)
    return f"{name} = {f'0o{value:o}' if name == 'mode' else toml_value(field, value)}"


def sample() -> str:
    """`config/broker.toml`: every key with its default and its sentence."""
    config = Config()
    parts = [_HEAD]
    for name, field in Config.model_fields.items():
        parts.append("")
        if name == "listeners":
            parts += _sample_listeners(config)
        elif (name,) in LISTS:
            parts += _sample_example((name,), field)
        else:
            parts += [_comment(str(field.description)), title((name,))]
            parts += _sample_table((name,), getattr(config, name))
        parts.pop()
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _sample_table(path: Path, table: Table) -> Iterator[str]:
    for name, field in type(table).model_fields.items():
        if (*path, name) in TABLES:
            yield from _sample_example((*path, name), field)
            continue
        yield _comment(str(field.description))
        yield _sample_setting(name, field, getattr(table, name))
        yield ""


def _sample_listeners(config: Config) -> Iterator[str]:
    fields = ListenerConfig.model_fields
    first = config.listeners[0]
    yield _comment(str(Config.model_fields["listeners"].description))
    yield "[[listeners]]"
    for name, field in fields.items():
        if name in _UNIX_ONLY:
            continue
        if name == "limits":
            yield _comment(str(field.description))
            yield "#[listeners.limits]"
            yield f"#{setting('receive_maximum', LimitsConfig.model_fields['receive_maximum'], 32)}"
            yield ""
        elif ("listeners", name) in TABLES:
            yield from _sample_example(("listeners", name), field)
        else:
            yield _comment(str(field.description))
            yield _sample_setting(name, field, getattr(first, name))
            yield ""
    for listener in config.listeners[1:]:
        yield "[[listeners]]"
        for name in ("type", "host", "port"):
            yield setting(name, fields[name], getattr(listener, name))
        yield ""
    yield _UNIX_LISTENER
    for name in _UNIX_ONLY:
        yield _comment(str(fields[name].description))
        yield _sample_setting(name, fields[name], None)
    yield ""


def _sample_example(path: Path, field: FieldInfo) -> Iterator[str]:
    """A table that is not there by default: all of it is switched off."""
    yield _comment(str(field.description))
    yield f"#{title(path)}"
    for name, inner in TABLES[path].model_fields.items():
        if (*path, name) in TABLES:
            yield from _sample_example((*path, name), inner)
            continue
        default = None if inner.is_required() else inner.get_default(call_default_factory=True, validated_data={})
        line = _sample_setting(name, inner, default)
        yield _comment(str(inner.description))
        yield line if line.startswith("#") else f"#{line}"
        yield ""


def _sample_setting(name: str, field: FieldInfo, value: Any) -> str:
    """A setting; switched off, with its example, where the default is nothing that could be written."""
    return f"#{setting(name, field, field.examples[0])}" if field.examples else setting(name, field, value)


def _comment(sentence: str) -> str:
    return textwrap.fill(sentence, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def in_force(config: Config, sources: Sources, changed: bool = False) -> str:
    """The configuration as TOML, each value with its source as comment; `changed` leaves out the defaults.

    What it prints can be read as a configuration file and means the same.
    """
    parts = [] if config.listeners else ["listeners = []"]
    parts += _tables_in_force(config, (), sources, changed)
    return "\n\n".join(parts) + "\n"


def _tables_in_force(table: Table, loc: Loc, sources: Sources, changed: bool) -> Iterator[str]:
    """The tables below `table`, lists of them last; of a listener's limits only what differs, else all of it."""
    path = path_of(loc)
    held = {name: getattr(table, name) for name in type(table).model_fields if (*path, name) in TABLES}
    for name in sorted(held, key=lambda name: (*path, name) in LISTS):
        below, value = (*path, name), held[name]
        for index, one in enumerate(value if below in LISTS else [] if value is None else [value]):
            here: Loc = (*loc, name, index) if below in LISTS else (*loc, name)
            narrow = below == ("listeners", "limits") or (changed and len(below) == 1 and below not in LISTS)
            lines = list(_settings_in_force(one, here, sources, narrow))
            if lines:
                origin = sources.origin(here)
                said = origin.title() if origin else "default"
                head = _aside(title(below), said) if below in LISTS else title(below)
                yield "\n".join([head, *lines])
            yield from _tables_in_force(one, here, sources, narrow)


def _settings_in_force(table: Table, loc: Loc, sources: Sources, changed: bool) -> Iterator[str]:
    for name, field in plain(type(table)).items():
        value = getattr(table, name)
        given = name in table.model_fields_set
        if value is None or (changed and not given):
            continue
        if isinstance(table, ListenerConfig) and name in (_NETWORK_ONLY if table.type == "unix" else _UNIX_ONLY):
            continue
        origin = sources.origin((*loc, name)) if given else None
        yield _aside(setting(name, field, value), origin.title() if origin else "default")


def _aside(text: str, comment: str) -> str:
    return f"{text:<46}  # {comment}"


def guide_table(table: tuple[str, ...]) -> str:
    """One table of settings in Markdown."""
    rows = ["| Setting | Default | Range | |", "| --- | --- | --- | --- |"]
    for name, field in plain(TABLES[table]).items():
        sentence = str(field.description).replace("|", "\\|")
        rows.append(f"| `{name}` | {_default(name, field)} | {_range(field)} | {sentence} |")
    return "\n".join(rows)


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if name in _DEPENDS:
        return _DEPENDS[name]
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or (field.examples and not value):
        return "not set"
    return f"`{setting(name, field, value).partition(' = ')[2]}`"


def _range(field: FieldInfo) -> str:
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds: dict[str, Any] = {}
    for item in field.metadata:
        for name in ("ge", "gt", "le"):
            if hasattr(item, name):
                bounds[name] = getattr(item, name)
    if field.annotation is int and bounds.get("le") == 0o777:
        return "`0` … `0o777`"
    shown = {name: f"`{toml_value(field, bound)}`" for name, bound in bounds.items()}
    low = shown.get("ge") or (f"more than {shown['gt']}" if "gt" in shown else "")
    return f"{low} … {shown['le']}" if "le" in shown else f"{low} …" if low else ""


def _unit(field: FieldInfo) -> Unit | None:
    return next((item for item in field.metadata if isinstance(item, Unit)), None)


def guide(text: str) -> str:
    """`docs/guides/configuration.md` with its tables written anew; the prose between them stays as it is."""
    tables = {".".join(table): guide_table(table) for table in TABLES if table and table != ("listeners", "limits")}
    tables["variables"] = "\n".join(
        [
            "| Variable | |",
            "| --- | --- |",
            *(f"| `{name}` | {what} |" for name, what in COMMAND_LINE_VARIABLES.items()),
        ]
    )
    for name, table in tables.items():
        before, begin, rest = text.partition(_BEGIN.format(name))
        _, end, after = rest.partition(_END.format(name))
        if not begin or not end:
            raise ValueError(f"the guide has no place for the table of {name}")
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return text


def schema_text() -> str:
    """`config/broker.schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def write(root: pathlib.Path) -> None:
    """Write the three generated texts below `root`, the source tree."""
    (root / "config" / "broker.toml").write_text(sample(), "utf-8")
    (root / "config" / "broker.schema.json").write_text(schema_text(), "utf-8")
    page = root / "docs" / "guides" / "configuration.md"
    page.write_text(guide(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write(pathlib.Path(__file__).parent.parent.parent)
