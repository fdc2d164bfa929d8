"""What a run does: who connects where, who publishes what to whom, how fast and for how long.

A Workload is a plain record, so that it can be handed to worker processes and printed beside the figures that it made.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

LARGEST_PAYLOAD: Final = 268_435_455 - 65_535 - 5  # bytes: with the longest Topic Name it fits in a packet
MANY: Final = 10_000_000_000
MOST_INFLIGHT: Final = 65_535  # of one publisher, as many as there are Packet Identifiers
SMALLEST_PAYLOAD: Final = 16  # bytes: who sent it, which one it is, and when it was due


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One run against one broker. Counts are of all workers together; times are in seconds.

    In `topic` and `topic_filter`, `%i` is the Client's own number among its kind, from 0; `%m` that number modulo the
    count of the other kind; `%c` its Client Identifier; `%u` its User Name.
    """

    url: str
    version: int = 5  # of MQTT: 4 is 3.1.1
    publishers: int = 0
    subscribers: int = 0
    idle: int = 0  # Clients that connect and stay
    echo: bool = False  # a publisher subscribes to `topic_filter` itself, and there are no subscribers
    topic: str = "bench/%i"
    topic_filter: str = "bench/%i"
    qos: int = 0  # of the messages and of the Subscriptions
    payload: int = 64  # bytes
    rate: float = 0.0  # messages a second of all publishers, each due at its time (open loop); 0 is a closed loop
    inflight: int = 20  # in a closed loop: messages of one publisher that are under way
    count: int = 0  # messages to be sent in all, whatever the time (without publishers: received); 0 is for `seconds`
    seconds: float = 10.0  # that are measured
    warm_up: float = 1.0  # before them
    connect_rate: float = 0.0  # connections a second; 0 is as many as the broker takes
    connecting: int = 64  # handshakes under way at a time
    timeout: float = 10.0  # for a handshake, and for what is under way at the end
    keep_alive: int = 60
    client_prefix: str = "bench"
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None  # of TLS: whom to trust, instead of the system's authorities
    certificate: str | None = None  # shown to a broker that asks for one, with its `key`
    key: str | None = None
    insecure: bool = False  # take any certificate

    def check(self) -> None:
        """ValueError, which says what is wrong, for a run that nobody can make."""
        if self.publishers + self.subscribers + self.idle < 1:
            raise ValueError("a run takes at least one client")
        if self.publishers and not SMALLEST_PAYLOAD <= self.payload <= LARGEST_PAYLOAD:
            raise ValueError(f"a payload is {SMALLEST_PAYLOAD} to {LARGEST_PAYLOAD:,} bytes, not {self.payload:,}")
        if self.version not in (3, 4, 5) or self.qos not in (0, 1, 2):
            raise ValueError(f"there is no version {self.version} of MQTT with QoS {self.qos}")
        if self.echo and self.subscribers:
            raise ValueError("with echo the publishers are the subscribers")
        for name in ("publishers", "subscribers", "idle", "rate", "count", "warm_up", "connect_rate", "keep_alive"):
            if not 0 <= getattr(self, name) <= MANY:
                raise ValueError(f"{name} is 0 to {MANY:,}, not {getattr(self, name):,}")
        if self.inflight > MOST_INFLIGHT:
            raise ValueError(f"inflight is at most {MOST_INFLIGHT:,}, not {self.inflight:,}")
        for name in ("inflight", "connecting", "seconds", "timeout"):
            if not 0 < getattr(self, name) <= MANY:
                raise ValueError(f"{name} is above 0 and at most {MANY:,}, not {getattr(self, name):,}")
        if self.keep_alive > 0xFFFF:
            raise ValueError(f"a Keep Alive is at most 65,535 seconds, not {self.keep_alive:,}")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for msgpack and JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Workload:
        """The reverse of `to_dict`; TypeError for a name that is no field."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise TypeError(f"a Workload has no {', '.join(sorted(unknown))}")
        return cls(**values)
