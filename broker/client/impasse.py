"""When to come back would do no good, though no Server said so.

A Server of 3.x that does not take a SUBSCRIBE closes the Network Connection without a word, and the Client, as it
renews its subscriptions, would run into the same again for ever. So `IN_A_ROW` Network Connections one after the other
are taken for an answer when each was accepted, sent the same SUBSCRIBE, and ended before any packet came back. A
DISCONNECT that names no cause (0x80, 0x83) counts like a close.

Five, and with growing pauses between them, since a Server that falls over while it starts looks the same from here:
with the default `Backoff` it has some ten seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.client.errors import Disconnected
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from broker.client.errors import ClientError

IN_A_ROW: Final = 5

_NO_CAUSE: Final = (None, ReasonCode.UNSPECIFIED_ERROR, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)


class Impasse:
    """Told of the end of every Network Connection; `count` are those in a row behind the same SUBSCRIBE."""

    def __init__(self) -> None:
        self.count = 0
        self._topic_filters: list[str] = []

    def ended(self, error: ClientError, topic_filters: list[str]) -> Disconnected | None:
        """One ended with `error`; `topic_filters` are those of a SUBSCRIBE that was the last word of both sides, none
        where there was no such. What to tell instead of coming back, when it is time."""
        if not topic_filters or not isinstance(error, Disconnected) or error.reason not in _NO_CAUSE:
            self.count = 0
            return None
        self.count = self.count + 1 if topic_filters == self._topic_filters else 1
        self._topic_filters = topic_filters
        if self.count < IN_A_ROW:
            return None
        shown = ", ".join(repr(topic_filter[:80]) for topic_filter in topic_filters[:3])
        detail = f"{error.detail}; {self.count} times in a row, right behind the SUBSCRIBE of {shown}"
        return Disconnected(error.reason, detail.removeprefix("; "), error.server_reference, error.by_server)
