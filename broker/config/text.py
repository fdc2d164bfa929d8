"""The configuration written for people: the sample file, the tables of the guide, and what is in force.

All of it comes from `settings`. `python -m broker.config.text` writes `config/broker.toml`,
`config/broker.schema.json` and the tables of `docs/guides/configuration.md` anew in the source tree; tests fail while
one of them is stale.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from broker.config.kinds import VERSIONS
from broker.config.settings import TABLES, Config, LimitsConfig, ListenerConfig, schema
from broker.config.sources import COMMAND_LINE_VARIABLES
from broker.config.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from broker.config.positions import Loc
    from broker.config.sources import Sources

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

# Keys that TOML cannot write with their default, or that belong to another type of listener: shown switched off.
_SWITCHED_OFF: Final[dict[tuple[str, str], str]] = {
    ("listeners", "allow_anonymous"): "true",
    ("listeners", "path"): '"/run/broker.sock"',
    ("listeners", "mode"): "0o660",
    ("store", "path"): '"/var/lib/triomq"',
    ("store", "durability"): '"fsync"',
    ("store", "reserve"): '"64MiB"',
    ("store", "ballast"): '"16MiB"',
}
_DEPENDS: Final = {"port": "`1883`, `8080`", "durability": '`"none"`, with a path `"fsync"`'}
_UNIX_ONLY: Final = ("path", "mode")
_NETWORK_ONLY: Final = ("host", "port")

_BEGIN: Final = "<!-- begin: {} -->"
_END: Final = "<!-- end: {} -->"


def toml_value(field: FieldInfo, value: Any) -> str:
    """A setting's value as a person would write it in TOML."""
    unit = _unit(field)
    if unit is not None:
        value = unit.show(value)
    elif isinstance(value, Path):
        value = str(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def setting(name: str, field: FieldInfo, value: Any) -> str:
    """ "maximum_qos = 2"."""
    if name == "versions":
        value = tuple(spoken for spoken, level in VERSIONS.items() if level in value)
    return f"{name} = {f'0o{value:o}' if name == 'mode' else toml_value(field, value)}"


def sample() -> str:
    """`config/broker.toml`: every key with its default and its sentence."""
    config = Config()
    parts = [_HEAD]
    for table in (("log",), ("listeners",), ("limits",), ("server",), ("store",)):
        parts.append("")
        parts.append(_comment(str(Config.model_fields[table[0]].description)))
        if table == ("listeners",):
            parts += _sample_listeners(config)
            continue
        parts.append(f"[{table[0]}]")
        values = getattr(config, table[0])
        for name, field in TABLES[table].model_fields.items():
            parts += [
                _comment(str(field.description)),
                _sample_setting(table[0], name, field, getattr(values, name)),
                "",
            ]
        parts.pop()
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _sample_listeners(config: Config) -> Iterator[str]:
    fields = ListenerConfig.model_fields
    first = config.listeners[0]
    yield "[[listeners]]"
    for name, field in fields.items():
        if name in _UNIX_ONLY:
            continue
        yield _comment(str(field.description))
        if name == "limits":
            yield "#[listeners.limits]"
            yield f"#{setting('receive_maximum', LimitsConfig.model_fields['receive_maximum'], 32)}"
        else:
            yield _sample_setting("listeners", name, field, getattr(first, name))
        yield ""
    for listener in config.listeners[1:]:
        yield "[[listeners]]"
        for name in ("type", "host", "port"):
            yield setting(name, fields[name], getattr(listener, name))
        yield ""
    yield _UNIX_LISTENER
    for name in _UNIX_ONLY:
        yield _comment(str(fields[name].description))
        yield _sample_setting("listeners", name, fields[name], None)


def _sample_setting(table: str, name: str, field: FieldInfo, value: Any) -> str:
    example = _SWITCHED_OFF.get((table, name))
    return setting(name, field, value) if example is None else f"#{name} = {example}"


def _comment(sentence: str) -> str:
    return textwrap.fill(sentence, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def in_force(config: Config, sources: Sources, changed: bool = False) -> str:
    """The configuration as TOML, each value with its source as comment; `changed` leaves out the defaults.

    What it prints can be read as a configuration file and means the same.
    """
    parts = [] if config.listeners else ["listeners = []"]
    for table in ("log", "limits", "server", "store"):
        lines = list(_settings_in_force(getattr(config, table), (table,), sources, changed))
        if lines:
            parts.append("\n".join([f"[{table}]", *lines]))
    for index, listener in enumerate(config.listeners):
        loc: Loc = ("listeners", index)
        origin = sources.origin(loc)
        head = _aside("[[listeners]]", origin.title() if origin else "default")
        parts.append("\n".join([head, *_settings_in_force(listener, loc, sources, False)]))
        lines = list(_settings_in_force(listener.limits, (*loc, "limits"), sources, True))
        if lines:
            parts.append("\n".join(["[listeners.limits]", *lines]))
    return "\n\n".join(parts) + "\n"


def _settings_in_force(table: Any, loc: Loc, sources: Sources, changed: bool) -> Iterator[str]:
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        given = name in table.model_fields_set
        if name == "limits" or value is None or (changed and not given):
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
    for name, field in TABLES[table].model_fields.items():
        if name == "limits":
            continue
        sentence = str(field.description).replace("|", "\\|")
        rows.append(f"| `{name}` | {_default(name, field)} | {_range(field)} | {sentence} |")
    return "\n".join(rows)


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if name in _DEPENDS:
        return _DEPENDS[name]
    value = field.get_default(call_default_factory=True, validated_data={})
    if not value and (name == "path" or value is None):
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


def write(root: Path) -> None:
    """Write the three generated texts below `root`, the source tree."""
    (root / "config" / "broker.toml").write_text(sample(), "utf-8")
    (root / "config" / "broker.schema.json").write_text(schema_text(), "utf-8")
    page = root / "docs" / "guides" / "configuration.md"
    page.write_text(guide(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent.parent.parent)
