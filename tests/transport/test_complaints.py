"""What a stranger can make happen as often as he likes gives a line in ten seconds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.transport.complaints import INTERVAL, Complaints

if TYPE_CHECKING:
    import pytest


def test_the_first_is_logged_at_once_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for number in range(1000):
        complaints.complain(5.0 + number / 1000, logging.WARNING, "full", f"no room for {number}")
    complaints.complain(5.0 + INTERVAL, logging.WARNING, "full", "no room")
    complaints.complain(5.0 + 2 * INTERVAL, logging.WARNING, "full", "no room")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "no room for 0"),
        (logging.WARNING, "no room (and 999 more like it)"),
        (logging.WARNING, "no room"),
    ]


def test_kinds_do_not_hide_each_other(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    complaints.complain(0.0, logging.WARNING, "full", "no room")
    complaints.complain(0.0, logging.ERROR, "resources", "no file descriptors")
    complaints.complain(1.0, logging.ERROR, "resources", "no file descriptors")
    assert caplog.messages == ["no room", "no file descriptors"]


def test_the_interval_begins_with_the_line_that_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for now in (0.0, 6.0, 12.0, 18.0, 24.0):
        complaints.complain(now, logging.WARNING, "full", str(now))
    assert [record.getMessage() for record in caplog.records] == [
        "0.0",
        "12.0 (and 1 more like it)",
        "24.0 (and 1 more like it)",
    ]


def test_a_percent_sign_is_a_percent_sign(caplog: pytest.LogCaptureFixture) -> None:
    Complaints().complain(0.0, logging.WARNING, "x", "100% full: %s %d")
    assert caplog.messages == ["100% full: %s %d"]
