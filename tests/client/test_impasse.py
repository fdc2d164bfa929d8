"""Ends of Network Connections that are an answer when they come in a row."""

from __future__ import annotations

import pytest

from broker.client.errors import CannotConnect, ClientError, ConnectRefused, Disconnected
from broker.client.impasse import IN_A_ROW, Impasse
from broker.packets.reasons import ReasonCode

CLOSED = Disconnected(None, "closed")


def test_the_same_subscribe_so_many_times_in_a_row() -> None:
    impasse = Impasse()
    for number in range(1, IN_A_ROW):
        assert impasse.ended(CLOSED, ["a", "b"]) is None
        assert impasse.count == number
    error = impasse.ended(CLOSED, ["a", "b"])
    assert error is not None
    assert (error.reason, error.by_server) == (None, False)
    assert str(error) == "closed; 5 times in a row, right behind the SUBSCRIBE of 'a', 'b'"


def test_a_disconnect_that_names_no_cause_counts_too() -> None:
    impasse = Impasse()
    said = Disconnected(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, "why", "there", by_server=True)
    for _ in range(IN_A_ROW - 1):
        assert impasse.ended(said, ["a"]) is None
    error = impasse.ended(said, ["a"])
    assert error is not None
    assert (error.reason, error.by_server, error.server_reference) == (said.reason, True, "there")
    assert "why; 5 times" in error.detail


@pytest.mark.parametrize(
    ("error", "topic_filters"),
    [
        (CLOSED, []),
        (CLOSED, ["b"]),
        (Disconnected(ReasonCode.SERVER_BUSY, by_server=True), ["a"]),
        (Disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT), ["a"]),
        (CannotConnect("not there"), []),
        (ConnectRefused(ReasonCode.SERVER_UNAVAILABLE), []),
    ],
)
def test_anything_else_in_between_begins_anew(error: ClientError, topic_filters: list[str]) -> None:
    impasse = Impasse()
    for _ in range(IN_A_ROW - 1):
        assert impasse.ended(CLOSED, ["a"]) is None
    assert impasse.ended(error, topic_filters) is None
    for _ in range(IN_A_ROW - 1):
        assert impasse.ended(CLOSED, ["a"]) is None
    assert impasse.ended(CLOSED, ["a"]) is not None
