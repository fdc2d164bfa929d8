from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

from broker.cli.logs import chosen_format, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("broker")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def written(level: str, form: str) -> str:
    stream = io.StringIO()
    handler = set_up(level, form, stream)
    try:
        log = logging.getLogger("broker.transport")
        log.debug("a detail")
        log.warning("too many %s", "files", extra={"limit": 7})
        logging.getLogger("somebody.else").info("chatter")
        try:
            raise KeyError("missing")
        except KeyError:
            log.exception("a bug")
    finally:
        logging.getLogger().removeHandler(handler)
    return stream.getvalue()


def test_text_is_a_line_a_record() -> None:
    lines = written("info", "text").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning broker.transport: too many files", lines[0])
    assert lines[1].endswith(" error   broker.transport: a bug")
    assert lines[2] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'missing'"


def test_json_is_an_object_a_record() -> None:
    warning, error = (json.loads(line) for line in written("info", "json").splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", warning.pop("time"))
    assert warning == {"level": "warning", "logger": "broker.transport", "message": "too many files", "limit": 7}
    assert error["level"] == "error"
    assert error["exception"].endswith("KeyError: 'missing'")


def test_the_level_is_that_of_the_broker_and_others_only_warn() -> None:
    assert "a detail" in written("debug", "text")
    assert "a detail" not in written("info", "text")
    assert "too many" not in written("error", "text")
    assert "chatter" not in written("debug", "text")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_is_text_for_people_and_json_for_programs() -> None:
    assert chosen_format("auto", Terminal()) == "text"
    assert chosen_format("auto", io.StringIO()) == "json"
    assert chosen_format("json", Terminal()) == "json"
    assert chosen_format("text", io.StringIO()) == "text"
