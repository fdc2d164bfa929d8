"""How fast one Client may send: so many messages, and so many bytes, per second.

Nothing is dropped. A Client that has sent more is not read until its share has grown again; what it has sent meanwhile
waits in the sockets, and TCP slows the Client down. A share holds one second's worth at most, and that is the burst.

One read is handled as it came, so it may take a share below nothing: then the Client rests until it is at nothing
again. How much is read at once follows what such reads bring, so that a slow stream does not come in lumps; it cannot
be less than one record of TLS or one compressed frame holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.core.limits import Limits

MOST: Final = 64 * 1024  # bytes at once
FEWEST: Final = 448  # and where a few bytes hold many messages
SMALL: Final = 16  # bytes of a message, until it is known better
LUMP: Final = 0.25  # seconds' worth in one read: where there is more, less is read at once


class Rates:
    """The shares of one Client. `until` is when it may be read again; `room` is how many bytes to read at once."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.until = now
        rooms = [SMALL * limits.messages_per_second, int(LUMP * limits.bytes_per_second)]
        self.room = max(FEWEST, min([MOST, *[room for room in rooms if room]]))
        self.setting = ""  # the bound that the Client is above
        self.bound = 0
        self._messages_per_second = limits.messages_per_second
        self._bytes_per_second = limits.bytes_per_second
        self._messages = float(limits.messages_per_second)  # what may still come
        self._bytes = float(limits.bytes_per_second)
        self._counted_at = now

    def take(self, messages: int, size: int, now: float) -> None:
        """One read has brought so many messages and bytes."""
        passed = now - self._counted_at
        self._counted_at = now
        rest = lump = 0.0
        rate = self._messages_per_second
        if rate:
            self._messages = min(rate, self._messages + passed * rate) - messages
            rest = -self._messages / rate
            lump = messages / rate
            self.setting, self.bound = "messages_per_second", rate
        rate = self._bytes_per_second
        if rate:
            self._bytes = min(rate, self._bytes + passed * rate) - size
            lump = max(lump, size / rate)
            if rest < -self._bytes / rate or not self._messages_per_second:
                rest = -self._bytes / rate
                self.setting, self.bound = "bytes_per_second", rate
        self.until = now + max(rest, 0.0)
        if lump > LUMP:
            self.room = max(FEWEST, self.room // 2)
        elif size >= self.room and 4 * lump < LUMP:
            self.room = min(MOST, self.room * 2)

    def complaint(self, connection: Connection) -> str:
        """For the log."""
        return (
            f"{connection.name[:64]!a} at {connection.peer.address} sends more than {self.bound} "
            f"{self.setting.partition('_')[0]} per second: it is read later (limits.{self.setting})"
        )


def rates_of(limits: Limits, now: float) -> Rates | None:
    """The shares of a Client that comes now; None where it may send as fast as it can."""
    if limits.messages_per_second or limits.bytes_per_second:
        return Rates(limits, now)
    return None
