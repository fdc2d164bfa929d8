"""What a run saw: counts, bytes and histograms of one worker, or of all of them added up.

Counts and bytes named `…_in_window` belong to the measured seconds; the checks (`lost` and its kind) to the whole run,
as a message that is lost during the warm-up is lost all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from broker.bench.histogram import Histogram

SERIES_STEP = 0.25  # seconds between two points of a series

# Of workers side by side not the sum but the greatest
_GREATEST = ("seconds", "connect_seconds", "connect_busiest", "busiest", "starved", "latest")


@dataclass(slots=True)
class Measured:
    """Times in seconds, latencies in nanoseconds."""

    # what was done in the measured seconds
    seconds: float = 0.0
    sent: int = 0  # messages published
    received: int = 0  # messages that arrived at subscribers
    acknowledged: int = 0  # QoS 1 and 2: exchanges that came to their end
    bytes_sent: int = 0  # on the wire, WebSocket frames and heads included, what TCP and TLS add not
    bytes_received: int = 0
    mqtt_bytes_sent: int = 0  # of these, MQTT Control Packets; the rest is framing
    mqtt_bytes_received: int = 0
    frames_received: int = 0  # WebSocket
    latency: Histogram = field(default_factory=Histogram)  # intended send time to arrival
    acknowledgement: Histogram = field(default_factory=Histogram)  # intended send time to PUBACK or PUBCOMP
    series: list[tuple[int, int]] = field(default_factory=list)  # (sent, received) of each SERIES_STEP

    # connecting: from the TCP connect to CONNACK
    connected: int = 0
    connect: Histogram = field(default_factory=Histogram)
    connect_seconds: float = 0.0  # from the first connect to the last CONNACK
    connect_busiest: float = 0.0  # share of a core that the busiest worker used meanwhile
    connect_bytes_sent: int = 0  # of all handshakes: WebSocket head, CONNECT
    connect_bytes_received: int = 0

    # what was wrong, in the whole run
    expected: int = 0  # deliveries that should have come
    lost: int = 0
    repeated: int = 0  # at QoS 1 a repetition is legal, and still counted
    disordered: int = 0
    corrupted: int = 0
    refused: int = 0  # acknowledgements with a Reason Code of 0x80 or more
    disconnected: int = 0  # connections that ended unasked
    trouble: dict[str, int] = field(default_factory=dict)  # a sentence -> how often

    # the generator itself, in the measured seconds
    generator_cpu: float = 0.0  # CPU seconds of all workers
    workers: int = 0
    busiest: float = 0.0  # share of a core that the busiest worker used
    starved: float = 0.0  # share of the time that a worker, the worst off, waited for a core; 0 where nobody counts
    latest: float = 0.0  # open loop: the most that a message was sent after it was due

    def add(self, other: Measured) -> None:
        """Take in what another worker measured in the same run."""
        for each in fields(self):
            mine = getattr(self, each.name)
            theirs = getattr(other, each.name)
            if isinstance(mine, Histogram):
                mine.add(theirs)
            elif isinstance(mine, dict):
                for sentence, count in theirs.items():
                    mine[sentence] = mine.get(sentence, 0) + count
            elif isinstance(mine, list):
                shorter = min(len(mine), len(theirs))
                mine[:shorter] = [(a + c, b + d) for (a, b), (c, d) in zip(mine, theirs, strict=False)]
                mine += theirs[shorter:]
            elif each.name in _GREATEST:
                setattr(self, each.name, max(mine, theirs))
            else:
                setattr(self, each.name, mine + theirs)

    def to_dict(self) -> dict[str, Any]:
        """For msgpack and JSON."""
        packed = {}
        for each in fields(self):
            value = getattr(self, each.name)
            packed[each.name] = value.to_list() if isinstance(value, Histogram) else value
        return packed

    @classmethod
    def from_dict(cls, packed: dict[str, Any]) -> Measured:
        """The reverse of `to_dict`."""
        measured = cls(**packed)
        for each in fields(cls):
            if each.default_factory is Histogram:
                setattr(measured, each.name, Histogram.from_list(packed[each.name]))
        measured.series = [(sent, received) for sent, received in packed["series"]]
        return measured

    @property
    def ok(self) -> bool:
        """Whether all arrived whole, in order and as often as the QoS promises, and every connection stood."""
        return not (self.corrupted or self.disordered or self.refused or self.disconnected or self.trouble)
