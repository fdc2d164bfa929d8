"""What an application waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.client.errors import ClientError


class Request:
    """Something that the Server will answer: `done` once it has, `error` when it was refused or will never come.

    `settled` is called once, when `done` becomes true; whoever waits sets it.
    """

    __slots__ = ("done", "error", "settled")

    def __init__(self) -> None:
        self.done = False
        self.error: ClientError | None = None
        self.settled: Callable[[], None] | None = None

    def settle(self, error: ClientError | None = None) -> None:
        """The answer is here. What was settled stays as it is."""
        if self.done:
            return
        self.done = True
        self.error = error
        if self.settled is not None:
            self.settled()


class PacketIdentifiers:
    """The identifiers that we give to PUBLISH, SUBSCRIBE and UNSUBSCRIBE (section 2.2.1).

    They go round, so that one is used again as late as can be.
    """

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._last = 0

    def take(self) -> int:
        """One that is not in use [MQTT-2.2.1-3]; never 0."""
        if len(self._used) >= 65_535:
            raise RuntimeError("all 65,535 Packet Identifiers are in use")
        candidate = self._last
        while True:
            candidate = candidate % 65_535 + 1
            if candidate not in self._used:
                break
        self._last = candidate
        self._used.add(candidate)
        return candidate

    def release(self, *packet_identifiers: int) -> None:
        self._used.difference_update(packet_identifiers)
