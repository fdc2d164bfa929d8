"""Comparisons and their reports, the newest of them: in a folder where there is one, else in memory.

A report is a file `ID.json` of the folder `bench`, written whole under another name and then renamed. A file that is
none of ours, or that cannot be read, is left alone and left out, and a line in the log says so. What has no report, as
it failed, is known until the broker ends. These methods wait for the disk: they are for a thread.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

from broker.transport.complaints import log

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEPT: Final = 20
REPORT_BYTES: Final = 2 * 1024 * 1024
FOLDER: Final = "bench"  # in the data folder

RUNNING: Final = "running"
DONE: Final = "done"
STOPPING: Final = "stopping"
STOPPED: Final = "stopped"  # before its end; there is a report of the rounds that were complete
FAILED: Final = "failed"

_KIND: Final = "broker bench"  # what `broker bench --json` calls its own
_NAMED: Final = 3  # files that a line of the log names
_IDENTIFIER: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_NEW: Final = ".new"


class Comparison:
    """One, on its way or over. `seconds` are those of a run, `started` is a time since the epoch."""

    __slots__ = ("connections", "error", "id", "progress", "rounds", "seconds", "started", "state", "workload")

    def __init__(
        self, identifier: str, workload: str, seconds: float, rounds: int, connections: int, started: float
    ) -> None:
        self.id = identifier
        self.workload = workload
        self.seconds = seconds
        self.rounds = rounds
        self.connections = connections
        self.started = started
        self.state = RUNNING
        self.progress = 0.0  # 0 to 1
        self.error: str | None = None

    def told(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {name: getattr(self, name) for name in sorted(self.__slots__)}


class Reports:
    """See the module. `folder` need not be there yet; its parent has to be."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._texts: dict[str, str] = {}  # what is in no file, by id

    def found(self) -> list[Comparison]:
        """The newest that the folder has, the newest first; the others are taken away."""
        folder = self._folder
        if folder is None:
            return []
        found: list[Comparison] = []
        wrong: list[str] = []
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("%s: reports of comparisons cannot be read: %s", folder, error.strerror)
            return []
        for name in names:
            identifier = name.removesuffix(_NEW).removesuffix(".json")
            if _IDENTIFIER.fullmatch(identifier) and name.endswith(_NEW):  # we died over it
                self._unlink(name)
                continue
            try:
                found.append(_comparison(identifier, _parsed(self._content(name))))
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                wrong.append(name)
        if wrong:
            shown = ", ".join(ascii(name) for name in wrong[:_NAMED]) + (", ..." if len(wrong) > _NAMED else "")
            log.warning("%s: what is no report of a comparison is left out: %s", folder, shown)
        found.sort(key=lambda each: each.id, reverse=True)
        for each in found[KEPT:]:
            self.remove(each.id)
        return found[:KEPT]

    def keep(self, comparison: Comparison, report: str) -> None:
        """Write a report, JSON as it came; where that cannot be, it is kept in memory, and the log says so."""
        if self._folder is not None:
            try:
                self._write(self._folder, comparison, report)
                return
            except OSError as error:
                log.warning("%s: a report of a comparison is kept in memory alone: %s", self._folder, error.strerror)
        self._texts[comparison.id] = report

    def report(self, identifier: str) -> str | None:
        """A report as JSON; None where there is none, or it cannot be read any more."""
        if identifier in self._texts or self._folder is None:
            return self._texts.get(identifier)
        try:
            return json.dumps(_parsed(self._content(f"{identifier}.json"))["report"], ensure_ascii=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("%s: the report %s cannot be read: %s", self._folder, identifier, error)
            return None

    def remove(self, identifier: str) -> None:
        """Take one away, where it is."""
        self._texts.pop(identifier, None)
        self._unlink(f"{identifier}.json")

    def _content(self, name: str) -> bytes:
        assert self._folder is not None
        with open(self._folder / name, "rb") as file:
            content = file.read(REPORT_BYTES * 2 + 1)
        if len(content) > REPORT_BYTES * 2:
            raise ValueError("it is too long")
        return content

    def _unlink(self, name: str) -> None:
        if self._folder is None:
            return
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: %s cannot be removed: %s", self._folder, name, error.strerror)

    def _write(self, folder: Path, comparison: Comparison, report: str) -> None:
        told = json.dumps(comparison.told())
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = folder / f"{comparison.id}.json{_NEW}"
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(f'{told[:-1]}, "report": {report}}}\n')
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(folder / f"{comparison.id}.json")
        except OSError:
            self._unlink(fresh.name)
            raise


def check(report: bytes) -> str:
    """The same as text, where it is what `broker bench compare` writes. Raises ValueError."""
    text = report.decode().strip()
    try:
        _check(_parsed(text))
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise ValueError("it is no report") from None
    return text


def _parsed(text: str | bytes) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check(report: Any) -> None:
    figures = report["points"][0]["figures"]
    if report["kind"] != _KIND or not figures or not all(_numbers(each.values()) for each in figures.values()):
        raise ValueError("it is no report")


def _numbers(values: Iterable[object]) -> bool:
    return all(value is None or isinstance(value, (int, float)) for value in values)


def _comparison(identifier: str, told: Any) -> Comparison:
    """Out of a file. Raises ValueError, KeyError, TypeError where it is none."""
    if not _IDENTIFIER.fullmatch(identifier) or told["id"] != identifier or told["state"] not in (DONE, STOPPED):
        raise ValueError("it is no report")
    found = Comparison(
        identifier,
        str(told["workload"]),
        float(told["seconds"]),
        int(told["rounds"]),
        int(told["connections"]),
        float(told["started"]),
    )
    found.state, found.progress = told["state"], 1.0
    found.error = str(told["error"]) if told["error"] is not None else None
    try:
        _check(told["report"])
    except (IndexError, AttributeError):
        raise ValueError("it is no report") from None
    return found
