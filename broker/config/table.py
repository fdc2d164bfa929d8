"""What all tables of settings share, and how one holds another.

A field may be a table (`[limits]`), a table that need not be there (`[listeners.tls]`) or a list of tables
(`[[listeners]]`). A path of tables is written without indices: ("listeners", "tls", "hosts").
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from broker.config.positions import Loc

Path = tuple[str, ...]


class Table(BaseModel):
    """One table: it knows its keys, refuses all others, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def _fill(self, **values: object) -> None:
        """Give settings that nobody has set a default that depends on others. For validators only."""
        self.__dict__.update({name: value for name, value in values.items() if name not in self.model_fields_set})


class Below(NamedTuple):
    """The table that a field holds; `many` where it is a list of them."""

    model: type[Table]
    many: bool


def below(field: FieldInfo) -> Below | None:
    """What table a field holds, or None for a plain setting."""
    kinds = (field.annotation, *(kind for kind in get_args(field.annotation) if kind is not NoneType))
    for kind in kinds:
        if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Table):
            return Below(kind, get_origin(field.annotation) is list)
    return None


def walk(model: type[Table], path: Path = ()) -> Iterator[tuple[Path, Below]]:
    """All tables below `model`, each with its path, before those that it holds."""
    for name, field in model.model_fields.items():
        held = below(field)
        if held is not None:
            yield (*path, name), held
            yield from walk(held.model, (*path, name))


def plain(model: type[Table]) -> dict[str, FieldInfo]:
    """The fields that are settings and no tables."""
    return {name: field for name, field in model.model_fields.items() if below(field) is None}


def path_of(loc: Loc) -> Path:
    """("listeners", 0, "port") -> ("listeners", "port")."""
    return tuple(part for part in loc if isinstance(part, str))
