"""Fuzz target of all layers at once: what a peer may say to a whole broker, beside a Client that must not notice."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Final

from broker.packets.types import MQTT_5_0
from broker.transport.layers import AUTO, HTTP, MQTT
from tests.core.parts import limits, new_broker
from tests.faults.brokers import frame
from tests.fuzz.cuts import pieces
from tests.transport.parts import UPGRADE, Wire, complete, connect, frames, subscribe

KINDS: Final = (MQTT, HTTP, AUTO, HTTP)
OPENED: Final = 3  # of KINDS: behind the opening handshake
VERSIONS: Final = (0, 3, 4, 5)  # 0: nothing comes before the input
PROXIES: Final = (ip_network("10.0.0.0/8"),)
PING: Final = b"\xc0\x00"
PONG: Final = b"\xd0\x00"
DAY: Final = 86_400.0  # seconds


def target(data: bytes) -> None:
    """The first byte of `data` says what the peer has already done, the second how the rest is cut into reads."""
    if len(data) < 2:
        return
    mode, cut, data = data[0], data[1], data[2:]
    opened = mode & 3 == OPENED
    version = VERSIONS[mode >> 6]
    broker = new_broker()
    healthy = Wire(MQTT, broker=broker, address="192.0.2.1:5")
    healthy.feed(connect("healthy") + subscribe("#", 1))
    of = limits(websocket_compression=mode & 8 != 0, websocket_context_takeover=mode & 16 != 0)
    wire = Wire(KINDS[mode & 3], of, broker, proxy_protocol=mode & 4 != 0, trusted_proxies=PROXIES)
    before = b"PROXY UNKNOWN\r\n" if version and mode & 4 else b""
    if opened:
        before += UPGRADE
    if version:
        hello = connect("c", version)
        before += frame(hello) if opened else hello
    out = wire.feed(before) if before else b""
    now = 0.0
    for piece in pieces(data, cut):
        if wire.connection.ended:
            break
        now += 0.001
        wire.layers.receive(piece, now)
        broker.flush(now)
        out += wire.out()
        assert len(wire.layers._control) <= wire.layers.outbox.hard
    out += wire.out()
    well_formed(out, version, opened, mode)
    passed = complete(healthy.feed(PING), MQTT_5_0)
    assert type(passed[-1]).__name__ == "Pingresp"
    wire.layers.eof(now)
    assert wire.connection.ended
    wire.layers.close()
    broker.gone(wire.connection)
    broker.flush(now)
    broker.tick(now + DAY)
    broker.flush(now + DAY)
    healthy.out()
    assert not broker.faults
    assert list(broker.connections) == [healthy.connection]
    assert healthy.feed(PING) == PONG


def well_formed(out: bytes, version: int, opened: bool, mode: int) -> None:
    """What was said to the peer is what a Client can read."""
    if opened and out.startswith(b"HTTP/1.1 101 "):
        said = frames(out.partition(b"\r\n\r\n")[2])
        assert all(opcode in (2, 8, 9, 10) for opcode, _ in said)
        out = b"".join(payload for opcode, payload in said if opcode == 2)
        if mode & 8:
            return
    elif mode & 3:
        return
    if version:
        complete(out, version)
