"""What one worker counts. Everything grows only; who wants the share of some seconds takes the difference.

Latencies are those of messages that were due between `window_start` and `window_end`, whenever they arrive.
"""

from __future__ import annotations

from typing import Final

from broker.bench.histogram import Histogram

KINDS_OF_TROUBLE: Final = 50
NEVER: Final = 1 << 60  # ns: an instant that does not come


class Tally:
    """Counts, and instants in nanoseconds of the monotonic clock."""

    def __init__(self) -> None:
        self.window_start = NEVER
        self.window_end = NEVER

        self.sent = 0
        self.received = 0
        self.acknowledged = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.mqtt_bytes_sent = 0
        self.mqtt_bytes_received = 0
        self.frames_received = 0
        self.latest = 0  # ns: the most that a message was sent after it was due
        self.latency = Histogram()
        self.acknowledgement = Histogram()

        self.connected = 0
        self.connect = Histogram()
        self.first_connect = 0
        self.last_connect = 0
        self.connect_bytes_sent = 0
        self.connect_bytes_received = 0

        self.expected = 0  # deliveries of all messages that were sent here
        self.unique = 0  # deliveries that came here, repetitions not counted
        self.unacknowledged = 0
        self.repeated = 0
        self.disordered = 0
        self.corrupted = 0
        self.refused = 0
        self.disconnected = 0
        self.trouble: dict[str, int] = {}
        self.last_event = 0  # when a message was sent, arrived, or was acknowledged

    def complain(self, sentence: str) -> None:
        """Count something that is wrong; what is new when there are too many kinds of it already is dropped."""
        if sentence in self.trouble or len(self.trouble) < KINDS_OF_TROUBLE:
            self.trouble[sentence] = self.trouble.get(sentence, 0) + 1
