"""When to send PINGREQ, and when to give up (section 3.1.2.10).

A Network Connection that was idle in either direction is pinged. Nothing sent: the Server wants to hear from us within
the Keep Alive. Nothing heard: one who only publishes at QoS 0 finds out in no other way that nobody listens.
"""

from __future__ import annotations

from math import inf
from typing import Final

PING_SHARE: Final = 0.75  # of the Keep Alive without a packet, then a PINGREQ: leaves time for it to arrive


class KeepAlive:
    """The clock of one Network Connection after the other; time is passed in, in seconds.

    While `reading` is false no answer can be missed: we are told to go on pinging, and not that it failed.
    """

    def __init__(self, ping_timeout: float) -> None:
        self.reading = True
        self._ping_timeout = ping_timeout
        self._interval = 0.0
        self._sent = 0.0
        self._received = 0.0
        self._pinged = inf  # when the PINGREQ went out that has no PINGRESP yet

    def start(self, interval: float, now: float) -> None:
        """A Network Connection is accepted, with a Keep Alive of `interval` seconds; 0 is none."""
        self.reading = True
        self._interval = interval
        self._sent = self._received = now
        self._pinged = inf

    def sent(self, now: float) -> None:
        """A packet went out."""
        self._sent = now

    def received(self, now: float) -> None:
        """Bytes came. They too are a sign of life: a PINGRESP may be behind a large packet."""
        self._received = now

    def answered(self) -> None:
        """PINGRESP came."""
        self._pinged = inf

    def read_again(self, now: float) -> None:
        """What came while `reading` was false, a PINGRESP perhaps, is only read now."""
        self.reading = True
        self._received = now

    def deadline(self) -> float:
        """When `ping` or `failed` may become true."""
        if not self._interval:
            return inf
        share = self._interval * PING_SHARE
        due = self._sent + share
        if not self.reading:
            return due
        if self._pinged == inf:
            return min(due, self._received + share)
        return min(due, self._given_up())

    def failed(self, now: float) -> bool:
        """Nothing at all came in the time that a PINGRESP may take."""
        return self.reading and now >= self._given_up()

    def ping(self, now: float) -> None:
        """PINGREQ is sent."""
        self._sent = now
        self._pinged = min(self._pinged, now)

    def _given_up(self) -> float:
        return max(self._pinged, self._received) + self._ping_timeout
