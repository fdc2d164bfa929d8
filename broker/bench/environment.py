"""Where figures were made: without it a figure says nothing.

What the machine does not tell stays empty. Host names and user names are left out, as reports are passed on.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Machine, software and moment."""

    version: str = ""  # of this program, with "compiled" or "plain"
    command: str = ""  # to make the same figures again, without passwords
    date: str = ""  # ISO 8601, local time with its offset
    python: str = ""
    system: str = ""  # kernel and architecture
    cpu: str = ""  # its model
    cores: int = 0  # that may be used
    memory: int = 0  # bytes of the machine
    load: float = 0.0  # average of the last minute when it began

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Environment:
        """The reverse; what is not known here is left out, as a later version may say more."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def gather(version: str, command: str) -> Environment:
    """The environment of now, to be asked for before any load. `command` as `command_line` makes it."""
    return Environment(
        version=version,
        command=command,
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(),
        cores=cores(),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        load=os.getloadavg()[0],
    )


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def command_line(arguments: Sequence[str], secret: Sequence[str] = ()) -> str:
    """One line for a shell; each of `secret` is shown as ***."""
    shown = []
    for argument in arguments:
        for each in secret:
            if each:
                argument = argument.replace(each, "***")
        shown.append(shlex.quote(argument))
    return " ".join(shown)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
