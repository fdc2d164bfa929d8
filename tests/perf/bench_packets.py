"""Nanoseconds per packet of the decoder and the encoder: `python -m tests.perf.bench_packets`.

Each line is the best of several rounds; a round works on a batch, as one read of a busy socket brings it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode, encode_publish, puback, publish_parts
from broker.packets.types import Pingreq, Puback, Publish, Pubrel, Subscribe, SubscriptionRequest

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 100
BATCH = 1000
PAYLOAD = b"x" * 64
TOPIC = "plant/line-7/motor/temperature"


def best(work: Callable[[], object], operations: int) -> float:
    fastest = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        work()
        fastest = min(fastest, time.process_time_ns() - begun)
    return fastest / operations


def decoding(packet: bytes, version: int, batch: int) -> float:
    limits = DecoderLimits()
    decoder = Decoder(limits, version)
    data = packet * batch

    def work() -> None:
        for _ in range(BATCH // batch):
            decoder.feed(data)

    if len(decoder.feed(data)) != batch or decoder.error is not None:
        raise RuntimeError(f"the decoder did not read its batch: {decoder.error}")
    return best(work, BATCH)


def encoding(write: Callable[[], object]) -> float:
    def work() -> None:
        for _ in range(BATCH):
            write()

    return best(work, BATCH)


def main() -> None:
    qos0 = Publish(TOPIC, PAYLOAD)
    qos1 = Publish(TOPIC, PAYLOAD, qos=1, packet_identifier=7)
    rich = Publish(TOPIC, PAYLOAD, forwarded=b"\x01\x01\x26\x00\x01k\x00\x05value", message_expiry_interval=60)
    subscribe = Subscribe(1, [SubscriptionRequest("plant/+/motor/#", 1)])
    topic = TOPIC.encode()
    for name, packet, version in (
        ("PUBLISH QoS 0, 3.1.1", qos0, 4),
        ("PUBLISH QoS 0, 5.0", qos0, 5),
        ("PUBLISH QoS 1, 3.1.1", qos1, 4),
        ("PUBLISH QoS 0, 5.0, properties", rich, 5),
        ("PUBACK", Puback(7), 4),
        ("PUBREL", Pubrel(7), 5),
        ("PINGREQ", Pingreq(), 4),
        ("SUBSCRIBE", subscribe, 5),
    ):
        data = encode(packet, version)
        batched, alone = decoding(data, version, BATCH), decoding(data, version, 1)
        print(f"decode {name:32}{batched:8.0f} ns in a batch{alone:8.0f} alone")
    for name, write in (
        ("PUBLISH QoS 0, 3.1.1", lambda: encode_publish(topic, PAYLOAD, version=4)),
        ("PUBLISH QoS 1, 5.0", lambda: encode_publish(topic, PAYLOAD, 1, packet_identifier=7)),
        ("PUBLISH parts, 5.0", lambda: publish_parts(topic, PAYLOAD, 1, False, False, 5)),
        ("PUBACK", lambda: puback(7)),
    ):
        print(f"encode {name:32}{encoding(write):8.0f} ns")


if __name__ == "__main__":
    main()
