"""Read the configuration: all sources together, all mistakes at once.

pydantic finds what is wrong with single values. So that checks of settings seen together speak in the same run, what
is wrong is taken out of the data and the rest is validated again; a check in which something taken out has a part
stays silent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from broker.config.checks import access_problems, config_problems
from broker.config.errors import ConfigError, Mistake, Problem, did_you_mean, nearest, shown
from broker.config.files import file_problems
from broker.config.settings import DEFERRED, LISTS, TABLES, Config, ListenerConfig, title
from broker.config.sources import BindOrigin, EnvironmentOrigin, Origin, Sources, bind_table, read
from broker.config.table import path_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from broker.config import table
    from broker.config.positions import Loc


def load(path: Path | None, environ: Mapping[str, str], binds: Sequence[str] = (), data: str | None = None) -> Config:
    """The configuration from its file (None = no file), `BROKER_…` variables, `--bind` and `--data`, each over the one
    before.

    Raises ConfigError, whose text is the list of all mistakes.
    """
    return load_with_sources(path, environ, binds, data)[0]


def load_with_sources(
    path: Path | None, environ: Mapping[str, str], binds: Sequence[str] = (), data: str | None = None
) -> tuple[Config, Sources]:
    """As `load`, and whence each setting came."""
    sources = read(path, environ, binds, data)
    found = list(sources.mistakes)
    config: Config | None = None
    dropped: set[Loc] = set()
    try:
        config = Config.model_validate(sources.data, context=DEFERRED)
    except ValidationError as error:
        for detail in _details(error):
            found.append(_from_detail(sources, detail))
            dropped.add(_drop(sources.data, detail["loc"]))
        config = _without_the_dropped(sources.data)
    if config is not None:
        found += [
            _from_problem(sources, problem)
            for problem in config_problems(config)
            + access_problems(config, authenticated=False)
            + file_problems(config)
            if not any(_overlap(loc, gone) for loc in problem.involves for gone in dropped)
        ]
    if found or config is None:
        raise ConfigError([mistake for _, mistake in sorted(found, key=lambda item: item[0])])
    return config, sources


def parse_bind(text: str) -> ListenerConfig:
    """The listener that `--bind` describes: tcp://, ws://, auto://, mqtts://, wss:// with host and port, or unix: with
    a path.

    IPv6 addresses stand in brackets; without a port it is the type's own; the path of a ws, wss or auto address is the
    only one at which WebSocket is served. `?allow_anonymous=true`, `?name=…` and `?mode=…` set these keys, and
    `?certificate=…`, `?key=…`, `?client_ca=…` and `?user_name=…` those of its TLS. Raises ConfigError.
    """
    origin = BindOrigin(text, 0)
    try:
        return ListenerConfig.model_validate(bind_table(text))
    except ValidationError as error:
        raise ConfigError([origin.mistake(detail["loc"], explain(detail)) for detail in _details(error)]) from None
    except ValueError as error:
        raise ConfigError([Mistake(origin.title(), str(error))]) from None


def _details(error: ValidationError) -> list[ErrorDetails]:
    """All single errors; an array is not called empty because all its items are wrong."""
    details = error.errors(include_url=False)
    arrays = {detail["loc"][:-1] for detail in details}
    return [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in arrays]


def _without_the_dropped(data: dict[str, Any]) -> Config | None:
    try:
        return Config.model_validate(data, context=DEFERRED)
    except ValidationError:
        return None


def _overlap(one: Loc, other: Loc) -> bool:
    """Whether one of two paths is at or below the other."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _drop(data: dict[str, Any], loc: Loc) -> Loc:
    """Take the value at `loc` out of the data, or put a harmless one in its place; the path that this concerned.

    An array goes as a whole; a table goes when it lacks what it cannot be without, and a list of tables with it. Only
    a listener stays, so that its other settings are judged.
    """
    if loc[0] == "listeners" and len(loc) > 1:
        listener = data["listeners"][loc[1]]
        if not isinstance(listener, dict):
            data["listeners"][loc[1]] = {"type": "tcp", "port": 0}
            return loc[:2]
        if loc[2] == "type":
            listener["type"] = "tcp"
            return loc
        return (*loc[:2], *_drop_key(listener, loc[2:], ("listeners",)))
    return _drop_key(data, loc, ())


def _drop_key(data: dict[str, Any], loc: Loc, path: table.Path) -> Loc:
    """Remove from `data`, whose path is `path`, the innermost optional key of `loc` that stands in it or below."""
    removable = 1
    owner: dict[str, Any] = data
    target: Any = data
    here = path
    for depth, part in enumerate(loc):
        if isinstance(target, list) and here in LISTS and isinstance(part, int) and part < len(target):
            target = target[part]
            continue
        if not isinstance(target, dict):
            break
        field = TABLES[here].model_fields.get(str(part)) if here in TABLES else None
        if field is None or not field.is_required():
            owner, removable = target, depth + 1
        here = (*here, str(part))
        target = target.get(str(part))
    owner.pop(str(loc[removable - 1]), None)
    return loc[:removable]


def _from_detail(sources: Sources, detail: ErrorDetails) -> tuple[tuple[int, int], Mistake]:
    loc = detail["loc"]
    origin = sources.origin(loc)
    unknown = detail["type"] == "extra_forbidden"
    message = _unknown(loc, origin) if unknown else explain(detail)
    return _placed(origin, loc, message, at_key=unknown)


def _from_problem(sources: Sources, problem: Problem) -> tuple[tuple[int, int], Mistake]:
    """The place is the first setting with a part in it that somebody wrote."""
    written = [loc for loc in problem.involves if loc in sources.origins]
    loc = written[0] if written else problem.involves[0]
    origin = sources.origin(loc)
    order, mistake = _placed(origin, loc, problem.message)
    if problem.cures and origin is not None:
        mistake = mistake._replace(remedy="\n".join(origin.remedy(cure) for cure in problem.cures))
    return order, mistake


def _placed(origin: Origin | None, loc: Loc, message: str, at_key: bool = False) -> tuple[tuple[int, int], Mistake]:
    if origin is None:
        return (0, 0), Mistake(".".join(str(part) for part in loc), message)
    return origin.order, origin.mistake(loc, message, at_key)


def _unknown(loc: Loc, origin: Origin | None) -> str:
    """An unknown setting: misspelt, or in the wrong table."""
    name = str(loc[-1])
    here = path_of(loc[:-1])
    own = TABLES[here].model_fields if here in TABLES else {}
    what = "unknown setting" if isinstance(origin, EnvironmentOrigin) else f"unknown setting '{name}'"
    # Of two tables with the name the nearer one is meant: limits of a listener in its own table.
    others = sorted((table for table in TABLES if table != here), key=lambda table: (table[:1] != here[:1], len(table)))
    for table in others:
        if table and name in TABLES[table].model_fields:
            return f"{what}; it belongs in {title(table)}"
    # The beginning of a key is nearer to it than another key that happens to be as short.
    near = next((key for key in own if key.startswith(f"{name}_")), None) or nearest(
        name, dict.fromkeys([*own, *(key for table in others if table for key in TABLES[table].model_fields)])
    )
    if near is None:
        return what
    if near in own:
        return f"{what}; did you mean {origin.spell((*loc[:-1], near)) if origin is not None else near}?"
    table = next(table for table in others if near in TABLES[table].model_fields)
    return f"{what}; did you mean '{near}' in {title(table)}?"


def explain(detail: ErrorDetails) -> str:
    """pydantic's error about one value, in our words."""
    kind = detail["type"]
    # A whole table would fill the screen and say nothing.
    but = "" if isinstance(detail["input"], dict | list) else f", not {shown(detail['input'])}"
    context = detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        path = path_of(detail["loc"])
        if path == ("listeners", "type"):
            return f"is missing; a listener needs its type, one of {', '.join(ListenerConfig.TYPES)}"
        return f"is missing; {title(path[:-1])} needs its {path[-1]}"
    if kind == "literal_error":
        choices_list = re.findall(r"'([^']*)'", context["expected"])
        given = str(detail["input"])
        hint = did_you_mean(given, choices_list) if re.search("[a-z]", given, re.IGNORECASE) else ""
        return f"must be one of {', '.join(choices_list)}{but}{hint}"
    if kind == "too_short":
        return "must not be empty"
    for name, words in _BOUNDS.items():
        if name in context and kind in _BOUND_KINDS:
            return f"must be {words} {_plain(context[name])}{but}"
    if kind == "list_type":
        return f"must be an array of tables: write {title(path_of(detail['loc']))}"
    for prefix, words in _KINDS.items():
        if kind.startswith(prefix):
            return f"must be {words}{but}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _plain(bound: float) -> str:
    """3600.0 -> "3600"."""
    return str(int(bound)) if float(bound).is_integer() else str(bound)


_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_BOUND_KINDS = ("greater_than_equal", "greater_than", "less_than_equal", "less_than")
_KINDS = {
    "bool_": "true or false",
    "int_": "a whole number",
    "float_": "a number",
    "finite_number": "a number",
    "string_type": "a string",
    "path_type": "a string",
    "tuple_type": "an array",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}
