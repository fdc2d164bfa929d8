"""Before CONNACK: whoever has not said who he is takes little memory and little time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connect, Properties, Will
from tests.faults.brokers import HTTP_HEAD, MIB, frame, read_some, read_until_end, running
from tests.statements import statement

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.faults.brokers import BrokerProcess

HUNDRED_MILLION = b"\x80\xc2\xd7\x2f"  # as a Remaining Length
CONNECT = encode(Connect("c", MQTT_5_0, keep_alive=30), MQTT_5_0)


@statement("MQTT5-3.1.0-1", "MQTT311-3.1.0-1")
def test_first_packets_that_promise_much(tmp_path: Path) -> None:
    """Every other packet type claims 100 MB as the first packet: refused by its first byte."""
    with running(tmp_path, handshake_timeout=30) as broker:
        before = broker.memory()
        made: list[socket.socket] = []
        for number in range(112):
            kind = number % 16
            if kind == 1:
                continue
            flags = 2 if kind in (6, 8, 10) else 0
            connected = broker.connect(("tcp", "auto", "unix")[number % 3])
            if number % 3 == 1 and 0x41 <= (kind << 4 | flags) <= 0x5A:
                connected.sendall(b"\xe0")  # what looks like a letter begins HTTP on this listener
            else:
                connected.sendall(bytes((kind << 4 | flags,)) + HUNDRED_MILLION + bytes(1000))
            made.append(connected)
        for connected in made:
            assert read_until_end(connected) == b""
            connected.close()
        assert broker.memory() - before < 20 * MIB


def test_connects_that_promise_much(tmp_path: Path) -> None:
    """1,000 sockets promise 256 MB each and send a few bytes."""
    with running(tmp_path, handshake_timeout=2) as broker:
        before = broker.memory()
        descriptors = broker.descriptors()
        made = [broker.connect() for _ in range(500)]
        for connected in made[:250]:
            connected.sendall(b"\x10\xff\xff\xff\x7f\x00\x04MQTT")
        for connected in made[250:]:
            connected.sendall(b"\x10\xf0\xff\x03\x00\x04MQTT")  # within the limit of 64 KiB
        more = [broker.connect("ws") for _ in range(500)]
        for connected in more:
            connected.sendall(HTTP_HEAD + b"\x82\xff\x00\x00\x00\x00\x10\x00\x00\x00abcd\x10\xff\xff\xff\x7f")
        start = time.monotonic()
        for connected in made + more:
            read_until_end(connected)
        assert time.monotonic() - start < 15
        assert broker.memory() - before < 40 * MIB
        for connected in made + more:
            connected.close()
        assert broker.settled(descriptors + 5) <= descriptors + 5


STAGES: dict[str, tuple[tuple[str, ...], bytes]] = {
    "nothing": (("tcp", "ws", "auto", "unix"), b""),
    "a byte of MQTT": (("tcp", "auto", "unix"), b"\x10"),
    "half a CONNECT": (("tcp", "auto", "unix"), CONNECT[: len(CONNECT) // 2]),
    "a byte of HTTP": (("ws", "auto"), b"G"),
    "half an HTTP head": (("ws", "auto"), HTTP_HEAD[: len(HTTP_HEAD) // 2]),
    "an upgrade and no more": (("ws", "auto"), HTTP_HEAD),
    "half a frame": (("ws", "auto"), HTTP_HEAD + frame(CONNECT)[:4]),
    "a frame of half a CONNECT": (("ws", "auto"), HTTP_HEAD + frame(CONNECT[:5])),
    "a ping": (("ws", "auto"), HTTP_HEAD + frame(b"", opcode=9)),
}


def test_a_stall_at_any_stage_ends_at_the_deadline(tmp_path: Path) -> None:
    with running(tmp_path, handshake_timeout=1.5) as broker:
        stalled: list[tuple[str, socket.socket, float]] = []
        for stage, (types, data) in STAGES.items():
            for type_ in types:
                start = time.monotonic()
                connected = broker.connect(type_)
                connected.sendall(data)
                stalled.append((f"{stage} on {type_}", connected, start))
        for name, connected, start in stalled:
            read_until_end(connected)
            assert 1.2 < time.monotonic() - start < 15, name
            connected.close()


def test_a_drip_ends_at_the_deadline(tmp_path: Path) -> None:
    """A byte now and then is no progress: the deadline counts from accept."""
    with running(tmp_path, handshake_timeout=1.5) as broker:
        start = time.monotonic()
        made = {type_: broker.connect(type_) for type_ in ("tcp", "ws", "auto", "unix")}
        data = {
            type_: CONNECT if type_ in ("tcp", "unix") else HTTP_HEAD + frame(CONNECT)
            for type_ in ("tcp", "ws", "auto", "unix")
        }
        ended: dict[str, float] = {}
        at = 0
        while len(ended) < 4 and time.monotonic() - start < 10:
            for type_, connected in made.items():
                if type_ in ended:
                    continue
                connected.settimeout(0.01)
                try:
                    connected.sendall(data[type_][at : at + 1])
                    if connected.recv(100) == b"":
                        ended[type_] = time.monotonic() - start
                except TimeoutError:
                    continue
                except OSError:
                    ended[type_] = time.monotonic() - start
            at += 1
            time.sleep(0.4)  # a whole CONNECT would take until after the end of this loop
        assert set(ended) == set(made)
        assert all(1.2 < seconds < 8 for seconds in ended.values()), ended
        for connected in made.values():
            connected.close()


def full_connect() -> bytes:
    """A CONNECT with everything in it."""
    properties = Properties()
    properties.session_expiry_interval = 10
    properties.receive_maximum = 20
    properties.user_properties = [("name", "value")]
    will = Will("will/topic", b"payload", 1, True, 5, 6, b"\x01\x01\x03\x00\x04text")
    connect = Connect("client", MQTT_5_0, False, 30, "user", b"password", will, properties)
    return encode(connect, MQTT_5_0)


def test_cut_at_every_byte(tmp_path: Path) -> None:
    """The connection ends, or time does, behind each byte of CONNECT on each kind of listener."""
    data = full_connect()
    with running(tmp_path, handshake_timeout=0.5) as broker:
        descriptors = broker.descriptors()
        waiting: list[socket.socket] = []
        for at in range(len(data)):
            for type_ in ("tcp", "ws", "auto"):
                cut = data[:at] if type_ == "tcp" else HTTP_HEAD + frame(data)[: at + 6]
                gone, patient = broker.connect(type_), broker.connect(type_)
                gone.sendall(cut)
                gone.close()
                patient.sendall(cut)
                waiting.append(patient)
        for connected in waiting:
            read_until_end(connected)
            connected.close()
        assert broker.settled(descriptors + 5) <= descriptors + 5
        greeted(broker)


def test_the_upgrade_cut_at_every_byte(tmp_path: Path) -> None:
    with running(tmp_path, ("ws", "auto"), handshake_timeout=0.5) as broker:
        descriptors = broker.descriptors()
        waiting = []
        for at in range(0, len(HTTP_HEAD), 2):
            connected = broker.connect("ws" if at % 4 else "auto")
            connected.sendall(HTTP_HEAD[:at])
            waiting.append(connected)
        for connected in waiting:
            read_until_end(connected)
            connected.close()
        assert broker.settled(descriptors + 5) <= descriptors + 5


def greeted(broker: BrokerProcess) -> None:
    """A good Client is served as ever."""
    with broker.connect() as connected:
        connected.sendall(encode(Connect("good", MQTT_3_1_1), MQTT_3_1_1))
        assert read_some(connected, 4) == b"\x20\x02\x00\x00"


REFUSED = {
    "no identifier and Clean Session 0": encode(Connect("", MQTT_3_1_1, clean_start=False), MQTT_3_1_1),
    "an Authentication Method": encode(Connect("c", MQTT_5_0), MQTT_5_0).replace(
        b"\x00\x00\x01c", b"\x04\x15\x00\x01x\x00\x01c"
    ),
    "another level": encode(Connect("c", MQTT_3_1_1), MQTT_3_1_1).replace(b"MQTT\x04", b"MQTT\x09"),
    "no MQTT": b"GET / HTTP/1.0\r\n\r\n",
}


def test_refused_connects_leave_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path, ("tcp",), handshake_timeout=0.5) as broker:

        def refused(count: int) -> None:
            cases = list(REFUSED.values())
            for number in range(count):
                with broker.connect() as connected:
                    connected.sendall(cases[number % len(cases)])
                    read_until_end(connected)

        refused(1000)
        time.sleep(2.3)  # what deadlines still hold
        descriptors, before = broker.descriptors(), broker.memory()
        refused(2000)
        time.sleep(2.3)
        assert broker.settled(descriptors) <= descriptors
        assert broker.memory() - before < 8 * MIB
        greeted(broker)
        assert len(broker.records()) < 50


@pytest.mark.parametrize("type_", ["tcp", "ws"])
def test_good_clients_do_not_wait_for_bad_ones(tmp_path: Path, type_: str) -> None:
    with running(tmp_path, ("tcp", "ws")) as broker:
        idle = [broker.connect(type_) for _ in range(300)]
        start = time.monotonic()
        greeted(broker)
        assert time.monotonic() - start < 8
        for connected in idle:
            connected.close()
