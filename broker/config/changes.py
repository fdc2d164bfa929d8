"""What differs between two configurations, and what of that a running broker can take over.

Only what stands in `AT_ONCE` is taken over; whatever is not named there needs a restart, so that nothing is promised
by an oversight. Values are those in force: a default that depends on a changed setting is a change as well.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.config.errors import dotted
from broker.config.settings import LISTS, TABLES
from broker.config.table import path_of, plain
from broker.config.text import setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic.fields import FieldInfo

    from broker.config.positions import Loc
    from broker.config.settings import Config
    from broker.config.table import Path, Table

# A setting, or a table with all that is in it. New limits are those of Clients that connect from then on.
AT_ONCE: Final[frozenset[Path]] = frozenset(
    {
        ("log", "level"),
        ("listeners", "allow_anonymous"),
        ("listeners", "limits"),
        ("auth",),
        ("roles",),
        ("limits",),
        ("server", "sessions"),
        ("server", "sessions_per_user"),
        ("server", "connections"),
        ("server", "connections_per_address"),
        ("server", "connects_per_second"),
        ("server", "handshakes"),
        ("server", "buffered_bytes"),
        ("server", "memory"),
        ("server", "shutdown_timeout"),
        ("server", "subscription_bytes"),
        ("server", "flapping_connects"),
        ("server", "flapping_window"),
        ("server", "flapping_ban"),
        ("server", "takeover_storm"),
        ("server", "allow_readable_keys"),
        *(("web", name) for name in ("admins", "operators", "viewers", "tokens_file", "anonymous")),
        ("web", "metrics_anonymous"),
        ("web", "session_idle"),
        *(("listeners", "tls", name) for name in TABLES["listeners", "tls"].model_fields),
    }
)

# By what one of a list of tables is known again.
KNOWN_BY: Final[dict[Path, tuple[str, ...]]] = {
    ("listeners",): ("host", "port", "path"),
    ("listeners", "tls", "hosts"): ("names",),
    ("auth", "jwt", "keys"): ("kid", "algorithm"),
    ("roles",): ("name",),
}


class Change(NamedTuple):
    """One setting, or a table that has come or gone; values as TOML writes them, "" where there is none.

    `restart`: the running broker keeps the old value.
    """

    path: str
    old: str
    new: str
    restart: bool

    def __str__(self) -> str:
        """ "limits.maximum_qos: 2 -> 1", for a log."""
        end = " (needs a restart)" if self.restart else ""
        return f"{self.path}: {self.old or 'not set'} -> {self.new or 'not set'}{end}"


def changes(old: Config, new: Config) -> list[Change]:
    """All that differs, in the order of the tables; indices are those of `new`, but of what is gone those of `old`.

    Listeners are the same if their addresses are, roles if their names are.
    """
    return list(_of_table(old, new, ()))


def _of_table(old: Table, new: Table, loc: Loc) -> Iterator[Change]:
    """Settings before tables, as in the file."""
    for name, field in plain(type(new)).items():
        here: Loc = (*loc, name)
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield _change(here, _written(name, field, before), _written(name, field, after))
    for name in type(new).model_fields:
        here = (*loc, name)
        before, after = getattr(old, name), getattr(new, name)
        if path_of(here) in LISTS:
            yield from _of_list(before, after, here)
        elif path_of(here) == ("listeners", "limits"):
            yield from _of_listeners_limits(before, after, here)
        elif path_of(here) in TABLES:
            if before is None or after is None:
                if before is not after:
                    yield _change(here, _shown(before), _shown(after))
            else:
                yield from _of_table(before, after, here)


def _of_listeners_limits(old: Table, new: Table, loc: Loc) -> Iterator[Change]:
    """Those of [limits] are told once, and not for each listener."""
    own = old.model_fields_set | new.model_fields_set
    yield from (change for change in _of_table(old, new, loc) if change.path.rpartition(".")[2] in own)


def _of_list(old: Sequence[Table], new: Sequence[Table], loc: Loc) -> Iterator[Change]:
    left = dict(zip(_keys(old, path_of(loc)), enumerate(old), strict=True))
    for index, (key, after) in enumerate(zip(_keys(new, path_of(loc)), new, strict=True)):
        if key in left:
            yield from _of_table(left.pop(key)[1], after, (*loc, index))
        else:
            yield _change((*loc, index), "", _shown(after))
    for index, before in left.values():
        yield _change((*loc, index), _shown(before), "")


def _keys(tables: Sequence[Table], path: Path) -> list[tuple[object, ...]]:
    """By what each of a list is known again; those that have it in common are counted, as several ports 0 are."""
    counted: defaultdict[object, int] = defaultdict(int)
    found: list[tuple[object, ...]] = []
    for table in tables:
        key = tuple(getattr(table, name) for name in KNOWN_BY[path])
        found.append((key, counted[key]))
        counted[key] += 1
    return found


def _change(loc: Loc, old: str, new: str) -> Change:
    path = path_of(loc)
    at_once = any(path[:length] in AT_ONCE for length in range(1, len(path) + 1))
    return Change(dotted(loc), old, new, not at_once)


def _written(name: str, field: FieldInfo, value: Any) -> str:
    return "" if value is None else setting(name, field, value).partition(" = ")[2]


def _shown(table: Table | None) -> str:
    """What was said of a table, on one line."""
    if table is None:
        return ""
    given = [
        setting(name, field, getattr(table, name))
        for name, field in plain(type(table)).items()
        if name in table.model_fields_set
    ]
    return f"{{ {', '.join(given)} }}"
