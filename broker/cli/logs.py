"""The log on stderr: lines for people or for programs. All of the broker logs through `logging`, below "broker"."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import IO, Final

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("auto", "text", "json")

# What every LogRecord has; anything else came with `extra=` and is told.
_OWN: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """`2026-11-21T22:13:18.118Z warning broker: what happened`"""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_stamp(record)} {record.levelname.lower():<7} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, what came with `extra=`, and the exception."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


def chosen_format(name: str, stream: IO[str]) -> str:
    """What `auto` comes to: text where a person may read it."""
    return ("text" if stream.isatty() else "json") if name == "auto" else name


def set_up(level: str, format_name: str, stream: IO[str] | None = None) -> logging.Handler:
    """Let the log go to `stream` (stderr), in `text` or `json`; the handler, for who wants to take it off again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format_name == "json" else TextFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("broker").setLevel(level.upper())
    return handler


def _stamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
