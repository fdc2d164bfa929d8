"""What must go over the wire, by the standards alone: to hold what was measured against.

A PUBLISH is counted out by MQTT 5.0 section 3.3 (3.1.1: the same without properties). A WebSocket frame (RFC 6455
section 5.2) has a header of 2 bytes, 4 from 126 bytes of payload on, 10 from 65,536 on, and from a Client 4 more of
masking key. Over TCP and Unix sockets there is no framing. TCP's and IP's own headers are in no figure here.

The load generator sends each packet in a frame of its own, as Clients do. A broker may gather several in one frame,
so that its framing is held against the frames that came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.bench.engine.plan import expand
from broker.client import parse
from broker.packets.types import MQTT_5_0
from broker.packets.wire import variable_byte_integer

if TYPE_CHECKING:
    from broker.bench.comparison import Comparison
    from broker.bench.workload import Workload

MASK: Final = 4
ACKNOWLEDGEMENT: Final = 4  # PUBACK, PUBREC, PUBREL or PUBCOMP that says no more than that it worked
_TOPICS: Final = 1000  # publishers whose Topic Names are looked at for their mean length


@dataclass(frozen=True, slots=True)
class Prediction:
    """One figure in bytes per message, measured and by theory; `how` says how theory comes to it."""

    name: str  # of the Metric
    measured: float
    theory: float
    how: str

    @property
    def agrees(self) -> bool:
        """Within 2 %, or a twentieth of a byte: packets that are no messages (pings) come in between."""
        return abs(self.measured - self.theory) <= max(0.05, 0.02 * self.theory)


def frame_overhead(payload_bytes: int, *, masked: bool) -> int:
    """Bytes of a WebSocket frame that are not its payload."""
    header = 2 if payload_bytes < 126 else 4 if payload_bytes < 65_536 else 10
    return header + (MASK if masked else 0)


def publish_bytes(topic_bytes: int, payload_bytes: int, *, qos: int, version: int) -> int:
    """Bytes of a PUBLISH without properties."""
    remaining = 2 + topic_bytes + (2 if qos else 0) + (1 if version == MQTT_5_0 else 0) + payload_bytes
    return 1 + len(variable_byte_integer(remaining)) + remaining


def mean_publish_bytes(workload: Workload) -> float:
    """Of all publishers, whose Topic Names may be of different lengths."""
    count = min(workload.publishers, _TOPICS)
    if not count:
        return 0.0
    others = workload.publishers if workload.echo else workload.subscribers
    total = 0
    for number in range(count):
        identifier = f"{workload.client_prefix}-{number}"
        topic = expand(workload.topic, number, others, identifier, workload.username or "")
        total += publish_bytes(len(topic.encode()), workload.payload, qos=workload.qos, version=workload.version)
    return total / count


def predictions(comparison: Comparison, label: str) -> list[Prediction]:
    """What theory says of a subject's framing; empty where nothing was sent."""
    subject = next(each for each in comparison.subjects if each.label == label)
    workload = comparison.workload
    websocket = parse(subject.url).websocket
    sent = comparison.figure(label, "sent_framing")
    received = comparison.figure(label, "received_framing")
    found: list[Prediction] = []
    if sent is not None:
        deliveries = _deliveries(comparison, label)
        found.append(Prediction("sent_framing", sent.value, *_sent_framing(workload, websocket, deliveries)))
    if received is not None:
        frames = _frames(comparison, label)
        found.append(Prediction("received_framing", received.value, *_received_framing(websocket, frames)))
    return found


def _deliveries(comparison: Comparison, label: str) -> float:
    """Arrivals of one message."""
    runs = comparison.rounds_of(label)
    sent = sum(run.measured.sent for run in runs)
    return sum(run.measured.received for run in runs) / sent if sent else 0.0


def _frames(comparison: Comparison, label: str) -> tuple[float, float]:
    """Frames for one message that arrives, and bytes of MQTT in a frame."""
    runs = comparison.rounds_of(label)
    frames = sum(run.measured.frames_received for run in runs)
    received = sum(run.measured.received for run in runs)
    mqtt = sum(run.measured.mqtt_bytes_received for run in runs)
    return (frames / received, mqtt / frames) if frames and received else (0.0, 0.0)


def _sent_framing(workload: Workload, websocket: bool, deliveries: float) -> tuple[float, str]:
    if not websocket:
        return 0.0, "no framing beside MQTT's own"
    packet = round(mean_publish_bytes(workload))
    header = frame_overhead(packet, masked=False)
    how = f"{header} of header and {MASK} of masking key for a PUBLISH of {packet} bytes"
    acknowledgements = {0: 0.0, 1: deliveries, 2: 1 + 2 * deliveries}[workload.qos]
    if acknowledgements:
        how += f"; {acknowledgements:.3g} acknowledgements of {2 + MASK} more"
    return header + MASK + acknowledgements * frame_overhead(ACKNOWLEDGEMENT, masked=True), how


def _received_framing(websocket: bool, frames: tuple[float, float]) -> tuple[float, str]:
    if not websocket:
        return 0.0, "no framing beside MQTT's own"
    each, size = frames
    header = frame_overhead(round(size), masked=False)
    return each * header, f"{each:.3g} frames a message, {header} of header each for {size:,.0f} bytes, no masking key"


@dataclass(frozen=True, slots=True)
class Overhead:
    """What one PUBLISH needs beside its payload."""

    payload: int
    mqtt: int  # bytes of MQTT around the payload
    to_broker: int  # WebSocket framing from a Client
    from_broker: int  # from a Server that puts each packet into a frame of its own


def overhead(workload: Workload, payload: int) -> Overhead:
    """For the workload's first Topic Name, its QoS and its version, and any size of payload."""
    topic = expand(workload.topic, 0, workload.subscribers, f"{workload.client_prefix}-0", workload.username or "")
    packet = publish_bytes(len(topic.encode()), payload, qos=workload.qos, version=workload.version)
    return Overhead(
        payload, packet - payload, frame_overhead(packet, masked=True), frame_overhead(packet, masked=False)
    )
