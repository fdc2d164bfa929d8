"""Theory against our own encoder and our own frames: they were written from the same standards, by other means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.bench.theory import frame_overhead, mean_publish_bytes, overhead, predictions, publish_bytes
from broker.packets.encode import encode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Publish
from broker.websocket.frames import binary_frames
from tests.bench.parts import WORKLOAD, comparison


@pytest.mark.parametrize("payload", [16, 125, 126, 200, 65_535, 65_536])
@pytest.mark.parametrize("masked", [False, True])
def test_frames(payload: int, masked: bool) -> None:
    wire = binary_frames(bytes(payload), 1 << 30, masked)
    assert frame_overhead(payload, masked=masked) == len(wire) - payload


def test_frames_of_the_standard() -> None:
    assert [frame_overhead(size, masked=False) for size in (125, 126, 65_535, 65_536)] == [2, 4, 4, 10]
    assert [frame_overhead(size, masked=True) for size in (125, 126, 65_535, 65_536)] == [6, 8, 8, 14]


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("payload", [16, 110, 130, 16_384, 2_100_000])
def test_publish(version: int, qos: int, payload: int) -> None:
    packet = Publish("bench/17", bytes(payload), 0, qos, packet_identifier=9 if qos else 0)
    assert publish_bytes(8, payload, qos=qos, version=version) == len(encode(packet, version))


def test_the_mean_of_all_topics() -> None:
    workload = replace(WORKLOAD, publishers=20, topic="t/%i", payload=16)
    ten_of_each = (publish_bytes(3, 16, qos=0, version=5) + publish_bytes(4, 16, qos=0, version=5)) / 2
    assert mean_publish_bytes(workload) == ten_of_each
    assert mean_publish_bytes(replace(workload, publishers=0)) == 0


def test_what_was_measured_agrees() -> None:
    found = comparison(2)
    tcp = predictions(found, "tcp")
    assert [(each.name, each.measured, each.theory, each.agrees) for each in tcp] == [
        ("sent_framing", 0, 0, True),
        ("received_framing", 0, 0, True),
    ]
    sent, received = predictions(found, "ws")
    assert (sent.measured, sent.theory) == (6, 6)
    assert sent.agrees
    assert "2 of header and 4 of masking key for a PUBLISH of 76 bytes" in sent.how  # "bench/0" and 64 bytes, 5.0
    # five packets of 76 bytes in a frame: 4 of header for 380 bytes
    assert received.theory == pytest.approx(0.8)
    assert received.agrees
    assert received.how == "0.2 frames a message, 4 of header each for 380 bytes, no masking key"


def test_acknowledgements_have_frames_of_their_own() -> None:
    found = comparison(1)
    for qos, theory in ((1, 12.0), (2, 24.0)):
        found.workload = replace(found.workload, qos=qos)
        sent = predictions(found, "ws")[0]
        assert sent.theory == theory
        assert not sent.agrees


def test_nothing_sent_nothing_said() -> None:
    found = comparison(1)
    found.rounds.clear()
    assert predictions(found, "ws") == []


def test_overhead_grows_at_the_steps_of_the_standard() -> None:
    seen = [overhead(WORKLOAD, payload) for payload in (64, 1024, 65_536)]
    assert [each.to_broker for each in seen] == [6, 8, 14]
    assert [each.from_broker for each in seen] == [2, 4, 10]
    assert [each.mqtt for each in seen] == [12, 13, 14]
