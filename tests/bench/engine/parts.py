"""Publishers and subscribers of the engine without any socket, and the packets that go between them."""

from __future__ import annotations

from broker.bench.engine.flow import Arrivals
from broker.bench.engine.payload import STAMP, filler
from broker.bench.engine.publisher import UNBOUNDED, Publisher
from broker.bench.engine.receiver import Receiver, Sources
from broker.bench.engine.tally import NEVER, Tally
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode_publish
from broker.packets.types import ControlPacket, Publish
from broker.websocket.frames import FrameDecoder

SECOND = 1_000_000_000
NOW = 5_000 * SECOND


def limits() -> DecoderLimits:
    found = DecoderLimits()
    found.maximum_packet_size = 268_435_460
    return found


def publisher(
    tally: Tally | None = None,
    *,
    number: int = 1,
    of: int = 4,
    topic: str = "bench/1",
    payload: int = 64,
    qos: int = 0,
    version: int = 5,
    framed: bool = False,
    spacing: float = 0.0,
    inflight: int = 10,
    quota: int = UNBOUNDED,
    fan: int = 1,
    ready: list[Publisher] | None = None,
) -> Publisher:
    """One with `fan` subscribers, all in the same worker."""
    made = Publisher(
        tally or Tally(),
        ready if ready is not None else [],
        number,
        of,
        topic,
        payload,
        qos,
        version,
        framed,
        spacing,
        inflight,
        quota,
    )
    made.begun = NOW
    made.fan = fan
    made.written_off.append(0)
    if fan:
        made.arrivals = Arrivals(fan, inflight)
        made.arrivals.publisher = made
    return made


def decoded(data: bytes, version: int = 5, framed: bool = False) -> list[ControlPacket]:
    """What a Server reads in `data`."""
    if framed:
        frames = FrameDecoder(1 << 30)
        data = frames.feed(data)
        assert not frames.closed, frames.violation
    decoder = Decoder(limits(), version)
    packets = decoder.feed(data)
    assert decoder.error is None
    return packets


def published(data: bytes, version: int = 5, framed: bool = False) -> list[Publish]:
    packets = decoded(data, version, framed)
    found = [packet for packet in packets if isinstance(packet, Publish)]
    assert len(found) == len(packets)
    return found


class Subscriber:
    """A Receiver, the Tally it counts in, and two publishers, `bench/0` and `bench/1`, that it may hear."""

    def __init__(
        self, *, topic_filter: str = "bench/#", qos: int = 0, version: int = 5, payload: int = 64, known: bool = True
    ) -> None:
        self.tally = Tally()
        self.tally.window_start = 0
        self.tally.window_end = NEVER
        self.version = version
        self.qos = qos
        self.payload = payload
        self.sources = Sources(["bench/0", "bench/1", "other/2"] if known else [], payload, version)
        self.ready: list[Publisher] = []
        self.publishers = [
            publisher(self.tally, number=number, topic=topic, qos=qos, version=version, ready=self.ready)
            for number, topic in enumerate(self.sources.topics)
        ]
        for number, one in enumerate(self.publishers):
            assert one.arrivals is not None
            self.sources.arrivals[number] = one.arrivals
        decoder = Decoder(limits(), version, False)
        self.receiver = Receiver(self.tally, self.sources, topic_filter, False, decoder)
        self.receiver.granted = qos

    def message(
        self,
        sequence: int,
        *,
        source: int = 0,
        topic: str = "",
        due: int = NOW - 1000,
        packet_identifier: int = 0,
        qos: int | None = None,
        retain: bool = False,
        dup: bool = False,
        payload: bytes | None = None,
        identifiers: tuple[int, ...] = (),
    ) -> bytes:
        """A PUBLISH as a Server sends it; all that is not given is as it should be."""
        qos = self.qos if qos is None else qos
        return encode_publish(
            (topic or f"bench/{source}").encode(),
            STAMP.pack(source, sequence, due) + filler(self.payload) if payload is None else payload,
            qos,
            retain,
            dup,
            packet_identifier or (sequence % 65_535 + 1 if qos else 0),
            self.version,
            subscription_identifiers=identifiers,
        )

    def take(self, *packets: bytes, now: int = NOW) -> int:
        data = b"".join(packets)
        return self.receiver.take(data, 0, len(data), now)
