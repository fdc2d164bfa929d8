"""`[store]`: what survives a restart, and where it is kept."""

from typing import Literal, Self

from pydantic import Field, model_validator

from broker.config import kinds
from broker.config.table import Table


class StoreConfig(Table):
    """`[store]`: what survives a restart, and where it is kept. Without a path nothing does."""

    path: kinds.Folder | None = Field(
        default=None,
        description="Folder in which Sessions, their messages and retained messages are kept, on a local disk; "
        "when not set, in memory only.",
        examples=["/var/lib/triomq"],
    )
    durability: Literal["none", "written", "fsync"] = Field(
        default="none",
        description="What an acknowledgement waits for: the disk (`fsync`), the system (`written`), or nothing is "
        "written at all (`none`); when not set, fsync with a path and none without.",
        examples=["fsync"],
        json_schema_extra=kinds.without_default,
    )
    reserve: kinds.OptionalSize = Field(
        default=None,
        ge=0,
        description="Free space on the disk below which QoS 1 and 2 messages are refused; 0 = none; when not set, "
        "64MiB, or an eighth of a smaller disk.",
        examples=["64MiB"],
    )
    ballast: kinds.OptionalSize = Field(
        default=None,
        ge=0,
        description="File that is given up on a full disk, so that what waits can still be taken away; 0 = none; when "
        "not set, 16MiB, or a sixteenth of a smaller disk.",
        examples=["16MiB"],
    )

    @model_validator(mode="after")
    def _follow(self) -> Self:
        self._fill(durability="none" if self.path is None else "fsync")
        return self
