"""The settings in force, for programs: each by its dotted name, and whether somebody has set it.

Nothing here is a secret: a configuration names files of secrets and holds none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.config.errors import dotted
from broker.config.settings import LISTS, TABLES
from broker.config.table import path_of, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.config.positions import Loc
    from broker.config.settings import Config
    from broker.config.table import Table

DEFAULT = "default"
GIVEN = "configuration"


def effective(config: Config) -> dict[str, tuple[Any, str]]:
    """ "limits.maximum_qos" -> (2, "default"); values as JSON writes them. Of a listener's limits only what differs."""
    return dict(_of_table(config, ()))


def _of_table(table: Table, loc: Loc) -> Iterator[tuple[str, tuple[Any, str]]]:
    path = path_of(loc)
    values = table.model_dump(mode="json", include=set(plain(type(table))))
    for name, value in values.items():
        given = name in table.model_fields_set
        if given or path != ("listeners", "limits"):
            yield dotted((*loc, name)), (value, GIVEN if given else DEFAULT)
    for name in type(table).model_fields:
        below = (*path, name)
        held = getattr(table, name)
        if below not in TABLES or held is None:
            continue
        if below not in LISTS:
            yield from _of_table(held, (*loc, name))
            continue
        for index, one in enumerate(held):
            yield from _of_table(one, (*loc, name, index))
