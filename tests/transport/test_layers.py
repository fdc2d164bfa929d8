"""Layers by bytes: what is read, what is written, and in which order."""

from __future__ import annotations

import tracemalloc
import zlib
from ipaddress import IPv4Address, ip_network
from socket import SOCK_STREAM
from typing import TYPE_CHECKING

import pytest
from proxyprotocol.result import ProxyResultIPv4
from proxyprotocol.tlv import ProxyProtocolSSLTLV, ProxyProtocolTLV
from proxyprotocol.v2 import ProxyProtocolV2

from broker.core.connection import CONNECTED
from broker.core.grants import Grant
from broker.core.ports import Peer, Refusal
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, Connack, Connect, Disconnect, Pingreq
from broker.transport.layers import AUTO, HTTP, MEASURED, MQTT
from broker.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame
from tests.core.parts import limits, new_broker
from tests.statements import statement
from tests.transport.parts import UPGRADE, Wire, connect, frame, frames, names, packets, publish, subscribe

if TYPE_CHECKING:
    from collections.abc import Awaitable

PINGREQ = encode(Pingreq(), 5)


def closed_with(data: bytes) -> int:
    """The code of the Close frame that `data` is."""
    ((opcode, payload),) = frames(data)
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big")


# -- First bytes


@pytest.mark.parametrize("kind", [MQTT, AUTO])
def test_mqtt_is_passed_on_as_it_is(kind: str) -> None:
    wire = Wire(kind)
    assert names(wire.feed(connect())) == ["Connack"]
    assert names(wire.feed(PINGREQ)) == ["Pingresp"]
    assert wire.layers.plain
    assert not wire.layers.websocket


@pytest.mark.parametrize("kind", [HTTP, AUTO])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_websocket_is_opened_whatever_the_reads(kind: str, size: int) -> None:
    wire = Wire(kind)
    data = UPGRADE + frame(connect())
    answer = wire.feed(*[data[start : start + size] for start in range(0, len(data), size)])
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    ((opcode, payload),) = frames(rest)
    assert opcode == BINARY
    assert names(payload) == ["Connack"]
    assert wire.layers.websocket
    assert not wire.layers.plain
    assert wire.connection.peer.headers["host"] == "localhost"


def test_auto_takes_lower_case_for_mqtt() -> None:
    # No method of HTTP is in lower case, and no Control Packet that may come first is a letter.
    wire = Wire(AUTO)
    assert wire.feed(b"get / HTTP/1.1\r\n\r\n") == b""
    assert wire.layers.plain
    assert wire.connection.ended


def test_tls_meets_a_closed_door_on_auto() -> None:
    wire = Wire(AUTO)
    assert wire.feed(b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n") == b""
    assert wire.connection.ended
    assert wire.connection.end_reason == "TLS on a listener without TLS"


def test_tls_meets_a_closed_door_on_mqtt() -> None:
    wire = Wire(MQTT)
    assert wire.feed(b"\x16\x03\x01\x02\x00\x01") == b""
    assert wire.connection.ended


def test_tls_is_told_on_http_what_it_is() -> None:
    wire = Wire(HTTP)
    assert b"This is TLS" in wire.feed(b"\x16\x03\x01\x02\x00\x01")
    assert wire.connection.ended


@statement("MQTT5-3.1.0-1", "MQTT311-3.1.0-1")
def test_mqtt_on_http_is_told_where_it_is() -> None:
    wire = Wire(HTTP)
    assert wire.feed(connect()).startswith(b"HTTP/1.1 400 ")
    assert wire.connection.ended


def test_it_is_counted_as_what_it_turns_out_to_be() -> None:
    broker = new_broker()
    plain, upgraded, unknown = (Wire(AUTO, broker=broker) for _ in range(3))
    assert broker.stats.transport("auto").connections == 3
    plain.feed(connect("a", MQTT_3_1_1))
    upgraded.upgraded().feed(frame(connect("b")))
    stats = {name: (each.connections, each.accepted, each.connects) for name, each in broker.stats.by_transport.items()}
    assert stats == {"auto": (1, 1, 0), "tcp": (1, 1, 1), "ws": (1, 1, 1)}
    assert plain.connection.peer.transport == "tcp"
    assert upgraded.connection.peer.transport == "ws"
    for wire in (plain, upgraded, unknown):
        broker.gone(wire.connection)
    assert [each.connections for each in broker.stats.by_transport.values()] == [0, 0, 0]


def test_bytes_are_counted_without_their_framing() -> None:
    wire = Wire(HTTP).upgraded()
    connack = frames(wire.feed(frame(connect())))[0][1]
    stats = wire.broker.stats.transport("ws")
    assert (stats.bytes_received, stats.bytes_sent) == (len(connect()), len(connack))


# -- Plain HTTP


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n", b"426"),
        (UPGRADE.replace(b"/mqtt", b"/elsewhere", 1), b"404"),
        (UPGRADE.replace(b"protocol: mqtt", b"protocol: chat").replace(b"Protocol: mqtt", b"Protocol: chat"), b"400"),
        (UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: https://evil.example\r\n\r\n"), b"403"),
    ],
    ids=["page", "endpoint", "path", "subprotocol", "origin"],
)
def test_what_is_no_upgrade_is_answered_and_ended(request_: bytes, status: bytes) -> None:
    wire = Wire(HTTP)
    answer = wire.feed(request_, b"and more\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert wire.connection.ended
    assert not wire.layers.peer_is_done, "it has to read the answer"
    assert wire.out() == b""


@pytest.mark.parametrize(("loopback", "status"), [(True, b"403"), (False, b"101")])
def test_on_loopback_the_same_origin_proves_nothing(loopback: bool, status: bytes) -> None:
    # A stranger's page can give its own name the address 127.0.0.1.
    wire = Wire(HTTP, loopback=loopback)
    request = UPGRADE.replace(b"Host: localhost", b"Host: page.example:8080")
    request = request.replace(b"\r\n\r\n", b"\r\nOrigin: http://page.example:8080\r\n\r\n")
    assert wire.feed(request).startswith(b"HTTP/1.1 " + status)


# -- Frames in


@statement("MQTT5-6.0.0-2", "MQTT311-6.0.0-2", "RFC6455-5.4", "RFC6455-6.2")
def test_fragments_and_packets_need_not_be_aligned() -> None:
    wire = Wire(HTTP).upgraded()
    first, middle, last = (frame(part, BINARY) for part in (connect()[:5], connect()[5:9], connect()[9:] + PINGREQ))
    first = bytes([first[0] & 0x7F]) + first[1:]
    middle = bytes([CONTINUATION]) + middle[1:]
    last = bytes([0x80 | CONTINUATION]) + last[1:]
    ping = frame(b"are you there", PING)
    answer = frames(wire.feed(first + ping + middle, ping, last))
    assert [opcode for opcode, _ in answer] == [PONG, PONG, BINARY]
    assert answer[0][1] == b"are you there"
    assert names(answer[2][1]) == ["Connack", "Pingresp"]


@statement("MQTT5-6.0.0-1", "MQTT311-6.0.0-1", "RFC6455-7.1.7")
def test_a_text_frame_ends_it() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    assert closed_with(wire.feed(frame(b"hello", TEXT))) == 1003
    assert wire.connection.ended
    assert not wire.layers.peer_is_done
    assert "WebSocket" in wire.connection.end_reason


@statement("RFC6455-10.4")
def test_a_message_is_bounded_before_connack_and_may_be_larger_behind() -> None:
    of = limits(connect_packet_size=1024, maximum_packet_size=8192)
    wire = Wire(HTTP, of).upgraded()
    assert closed_with(wire.feed(frame(bytes(1025)))) == 1009
    wire = Wire(HTTP, of).upgraded()
    wire.feed(frame(connect()))
    many = publish("a", bytes(8000)) * 16
    assert wire.feed(frame(many)) == b""
    assert not wire.connection.ended
    assert closed_with(wire.feed(frame(many + bytes(8192)))) == 1009


@statement("RFC6455-10.4")
def test_a_message_may_be_larger_behind_a_connack_that_was_waited_for() -> None:
    class Later:
        def authenticate(self, connect: Connect, peer: Peer) -> object:
            return object()  # whoever is awaited is the door's business

    broker = new_broker()
    broker.authenticator = Later()  # type: ignore[assignment]  # an awaitable is not needed here
    wire = Wire(HTTP, limits(connect_packet_size=1024), broker).upgraded()
    assert wire.feed(frame(connect())) == b""
    wire.connection.authenticated(Grant(), 0.0)
    assert [names(payload) for _, payload in frames(wire.out())] == [["Connack"]]
    assert wire.feed(frame(publish("a", bytes(5000)))) == b""
    assert wire.connection.state == CONNECTED


def test_fragments_of_a_message_are_bounded() -> None:
    wire = Wire(HTTP, limits(websocket_fragments=3)).upgraded()
    start, more = b"\x02\x80\0\0\0\0", b"\x00\x80\0\0\0\0"
    assert wire.feed(start + more + more) == b""
    assert closed_with(wire.feed(more)) == 1008


# -- Frames out


@statement("RFC6455-5.5.2", "RFC6455-5.5.3")
def test_control_goes_before_payload() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    data = wire.feed(frame(PINGREQ) + frame(b"1", PING) + frame(PINGREQ) + frame(b"2", PING))
    assert [(opcode, payload) for opcode, payload in frames(data)] == [
        (PONG, b"1"),
        (PONG, b"2"),
        (BINARY, b"\xd0\x00\xd0\x00"),
    ]


def test_a_flush_is_one_frame_and_one_write() -> None:
    broker = new_broker()
    wire = Wire(HTTP, broker=broker).upgraded()
    wire.feed(frame(connect() + subscribe("#")))
    other = Wire(MQTT, broker=broker)
    other.feed(connect("other"), *[publish("a", b"%d" % number) for number in range(100)])
    (written,) = wire.takes()
    ((opcode, payload),) = frames(written)
    assert opcode == BINARY
    assert names(payload) == ["Publish"] * 100


def test_frames_are_cut_at_the_size_that_is_set() -> None:
    wire = Wire(HTTP, limits(websocket_frame_bytes=1000)).upgraded()
    wire.feed(frame(connect() + subscribe("#") + publish("a", bytes(2500))))
    wire.feed(frame(publish("a", bytes(2500))))
    other = Wire(MQTT, broker=wire.broker)
    other.feed(connect("other") + publish("a", bytes(2500)))
    sent = frames(wire.out())
    assert [len(payload) for _, payload in sent] == [1000, 1000, len(publish("a", bytes(2500))) - 2000]
    assert b"".join(payload for _, payload in sent) == publish("a", bytes(2500))


@pytest.mark.parametrize("kind", [MQTT, HTTP])
def test_an_outbox_is_taken_in_pieces(kind: str) -> None:
    wire = Wire(kind)
    if kind == HTTP:
        wire.upgraded().feed(frame(connect()))
    else:
        wire.feed(connect())
    message = publish("a", bytes(100_000))
    for _ in range(10):
        wire.layers.outbox.put(message)
    pieces = wire.takes()
    assert [len(piece) // len(message) for piece in pieces] == [3, 3, 3, 1]
    assert wire.layers.outbox.size == 0


@statement("RFC6455-5.5.2")
def test_a_ping_of_ours_is_a_frame_without_a_payload() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    wire.layers.ping(0.0)
    assert wire.layers.outbox in wire.broker.dirty
    assert frames(wire.out()) == [(PING, b"")]
    assert wire.feed(frame(b"", PONG)) == b""
    assert not wire.connection.ended


def test_a_pong_tells_the_round_trip() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    traffic = wire.connection.traffic
    wire.layers.receive(frame(b"", PONG), 1.0)
    assert traffic.round_trip < 0, "nobody has asked"
    wire.layers.measure(2.0)
    wire.layers.measure(9.0)
    assert frames(wire.out()) == [(PING, b"")], "one at a time"
    wire.layers.receive(frame(b"", PONG), 9.5)
    wire.layers.receive(frame(b"", PONG), 20.0)
    assert traffic.round_trip == 7.5
    wire.layers.measure(2.0 + MEASURED - 0.1)
    assert wire.out() == b"", "not too often"
    wire.layers.measure(9.5 + MEASURED)
    assert frames(wire.out()) == [(PING, b"")]


def test_a_pong_answers_the_oldest_ping() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    wire.layers.ping(10.0)
    wire.layers.ping(35.0)
    wire.layers.receive(frame(b"", PONG), 36.0)
    assert wire.connection.traffic.round_trip == 26.0


def test_no_round_trip_of_plain_mqtt() -> None:
    wire = Wire(MQTT)
    wire.feed(connect())
    wire.layers.measure(1.0)
    assert wire.out() == b""


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
@pytest.mark.parametrize("keep_alive", ["strict", "lenient"])
def test_a_pong_keeps_alive_where_that_is_said(keep_alive: str) -> None:
    wire = Wire(HTTP, limits(keep_alive=keep_alive)).upgraded()
    wire.feed(frame(connect("c", keep_alive=10)))
    for second in range(0, 40, 8):
        wire.layers.receive(frame(b"", PONG), float(second))
        wire.layers.receive(frame(b"", PING), second + 1.0)
        wire.broker.tick(second + 1.0)
    assert wire.connection.ended == (keep_alive == "strict")
    wire.broker.tick(32.0 + 15.1)
    assert wire.connection.ended, "no Pong, no Control Packet"


def test_pongs_that_nobody_reads_are_bounded() -> None:
    wire = Wire(HTTP, limits(outbox_hard_bytes=10_000)).upgraded()
    wire.feed(frame(connect()))
    for _ in range(10_000 // 127):
        wire.layers.receive(frame(bytes(125), PING), 0.0)
    assert not wire.connection.ended
    wire.layers.receive(frame(bytes(125), PING), 0.0)
    assert wire.connection.ended
    (_, disconnect), (opcode, close) = frames(wire.out())
    (packet,) = packets(disconnect)
    assert isinstance(packet, Disconnect)
    assert packet.reason == ReasonCode.QUOTA_EXCEEDED
    assert (opcode, int.from_bytes(close[:2], "big")) == (CLOSE, 1008)


def test_pongs_that_nobody_reads_cost_the_same_each() -> None:
    # Kept in one buffer: a list of them, added up at each read, would take minutes for this.
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    ping = frame(b"", PING)
    for _ in range(60_000):
        wire.layers.receive(ping, 0.0)
    assert len(wire.out()) == 120_000


# -- The end


@statement("RFC6455-5.5.1", "RFC6455-7.1.2", "RFC6455-7.1.5")
@pytest.mark.parametrize("code", [1000, 1001, 4000])
def test_a_close_of_the_peer_is_answered_with_its_code(code: int) -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    assert closed_with(wire.feed(close_frame(code, "bye", True))) == code
    assert wire.connection.ended
    assert wire.layers.peer_is_done
    assert wire.out() == b""


@statement("RFC6455-5.5.1")
def test_nothing_goes_behind_our_close() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    data = frames(wire.feed(frame(publish("a", b"x", qos=1)) + frame(b"?", PING) + close_frame(1000, "", True)))
    assert [opcode for opcode, _ in data] == [BINARY, PONG, CLOSE]
    assert names(data[0][1]) == ["Puback"]


@statement("RFC6455-5.5.1")
def test_a_close_waits_for_a_long_outbox() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    for _ in range(10):
        wire.layers.outbox.put(publish("a", bytes(60_000)))
    wire.layers.receive(close_frame(1000, "", True), 0.0)
    sent = frames(wire.out())
    assert [opcode for opcode, _ in sent[:-1]] == [BINARY] * (len(sent) - 1)
    assert sent[-1][0] == CLOSE


@statement("RFC6455-7.1.2")
@pytest.mark.parametrize(
    ("reason", "code"),
    [(ReasonCode.SERVER_SHUTTING_DOWN, 1001), (ReasonCode.KEEP_ALIVE_TIMEOUT, 1008)],
)
def test_our_close_follows_the_disconnect(reason: ReasonCode, code: int) -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    wire.connection.end(reason, "", 0.0)
    (_, disconnect), close = frames(wire.out())
    assert names(disconnect) == ["Disconnect"]
    assert (close[0], int.from_bytes(close[1][:2], "big")) == (CLOSE, code)
    assert wire.out() == b"", "once"
    assert not wire.layers.peer_is_done
    assert wire.feed(close_frame(code, "", True)) == b"", "its answer is not answered"
    assert wire.layers.peer_is_done


def test_a_disconnect_of_the_client_is_closed_normally() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    assert closed_with(wire.feed(frame(encode(Disconnect(), 5)))) == 1000
    assert not wire.layers.peer_is_done, "its Close is still to come"


@statement("MQTT5-3.14.4-2", "MQTT311-3.14.4-2")
def test_a_disconnect_of_the_client_is_its_last_word_in_mqtt() -> None:
    wire = Wire(MQTT)
    wire.feed(connect())
    assert wire.feed(encode(Disconnect(), 5)) == b""
    assert wire.layers.peer_is_done


@pytest.mark.parametrize("kind", [MQTT, HTTP, AUTO])
def test_the_end_of_the_stream_is_the_end(kind: str) -> None:
    wire = Wire(kind)
    wire.layers.eof(0.0)
    assert wire.connection.ended
    assert wire.connection.end_reason == "closed by the peer"
    assert wire.layers.peer_is_done
    assert wire.layers.outbox in wire.broker.dirty
    assert wire.out() == b""


def test_the_end_of_the_stream_says_why() -> None:
    wire = Wire(HTTP).upgraded()
    wire.feed(frame(connect()))
    wire.layers.eof(0.0, "a truck ran over the cable")
    assert wire.connection.end_reason == "a truck ran over the cable"
    assert wire.layers.peer_is_done, "a WebSocket without its closing handshake, too"


def test_a_connection_that_was_ended_before_its_kind_was_known_says_nothing() -> None:
    for kind in (MQTT, HTTP, AUTO):
        wire = Wire(kind)
        wire.connection.end(ReasonCode.SERVER_BUSY, "no CONNECT in time", 0.0)
        assert wire.out() == b""


def test_a_refusal_is_told_through_the_frames() -> None:
    class Never:
        def authenticate(self, connect: Connect, peer: Peer) -> Refusal:
            return Refusal(ReasonCode.NOT_AUTHORIZED)

    wire = Wire(HTTP, broker=new_broker(Never())).upgraded()
    (_, connack), (opcode, _) = frames(wire.feed(frame(connect())))
    (packet,) = packets(connack)
    assert isinstance(packet, Connack)
    assert packet.reason == ReasonCode.NOT_AUTHORIZED
    assert opcode == CLOSE


# -- Behind a proxy

HEADER = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 1883\r\n"


def proxied(kind: str) -> Wire:
    return Wire(kind, proxy_protocol=True)


@pytest.mark.parametrize("kind", [MQTT, AUTO])
@pytest.mark.parametrize("size", [1, 13, 1000])
def test_a_proxy_says_for_whom_it_speaks(kind: str, size: int) -> None:
    wire = proxied(kind)
    assert not wire.layers.plain
    data = HEADER + connect() + PINGREQ
    answer = wire.feed(*[data[start : start + size] for start in range(0, len(data), size)])
    assert names(answer) == ["Connack", "Pingresp"]
    assert wire.connection.peer.address == "198.51.100.7:4711"
    assert wire.layers.plain


def test_a_websocket_behind_a_proxy() -> None:
    wire = proxied(HTTP)
    assert wire.feed(HEADER + UPGRADE).startswith(b"HTTP/1.1 101 ")
    assert wire.connection.peer.address == "198.51.100.7:4711"


def test_the_name_that_a_proxy_tells_is_no_certificate() -> None:
    """It would let whoever is in `trusted_proxies` be any user."""
    tlv = ProxyProtocolTLV(ssl=ProxyProtocolSSLTLV(has_ssl=True, has_cert_conn=True, verified=True, cn="admin"))
    address = (IPv4Address("198.51.100.7"), 4711)
    wire = proxied(MQTT)
    header = ProxyProtocolV2().pack(ProxyResultIPv4(address, address, protocol=SOCK_STREAM, tlv=tlv))
    assert names(wire.feed(header + connect())) == ["Connack"]
    assert wire.connection.peer.address == "198.51.100.7:4711"
    assert wire.connection.peer.certificate is None


@pytest.mark.parametrize("kind", [MQTT, AUTO, HTTP])
@pytest.mark.parametrize("data", [b"PROXY TCP4 nonsense\r\n", connect(), UPGRADE])
def test_without_a_header_nobody_comes_in(kind: str, data: bytes) -> None:
    wire = proxied(kind)
    assert wire.feed(data + connect()) == b""
    assert wire.connection.ended
    assert wire.connection.end_reason.startswith("PROXY protocol: ")
    assert not wire.connection.broker.sessions


@pytest.mark.parametrize(("trusted", "address"), [("127.0.0.0/8", "198.51.100.9:0"), ("10.0.0.0/8", "127.0.0.1:5000")])
def test_forwarded_for_is_believed_of_trusted_proxies(trusted: str, address: str) -> None:
    wire = Wire(HTTP, trusted_proxies=(ip_network(trusted),), address="127.0.0.1:5000")
    head = UPGRADE.replace(b"Host:", b"X-Forwarded-For: 198.51.100.9\r\nHost:")
    assert wire.feed(head).startswith(b"HTTP/1.1 101 ")
    assert wire.connection.peer.address == address


# -- Compression

OFFER = UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")


def deflated(payload: bytes) -> bytes:
    """A compressed message of a Client's."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    small = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    data = bytearray(frame(small[:-4]))
    data[0] |= 0x40
    return bytes(data)


def test_compressed_messages_both_ways() -> None:
    wire = Wire(HTTP, limits(websocket_compression=True))
    assert b"permessage-deflate" in wire.feed(OFFER)
    assert names(frames(wire.feed(deflated(connect("c"))))[0][1]) == ["Connack"]
    wire.feed(deflated(subscribe("a")))
    answer = wire.feed(deflated(publish("a", bytes(10_000))))
    assert len(answer) < 200
    assert answer[0] == 0xC2


def test_compression_is_off_unless_it_is_wanted() -> None:
    assert b"permessage-deflate" not in Wire(HTTP).feed(OFFER)


def test_little_is_inflated_before_anybody_is_known() -> None:
    """Behind the CONNECT come twelve megabytes, made small; the Authenticator has not answered yet."""

    class Thinking:
        def authenticate(self, connect: Connect, peer: Peer) -> Awaitable[Grant]:
            return asked

    async def nothing() -> Grant:
        return Grant()

    asked = nothing()
    broker = new_broker(Thinking())
    wire = Wire(HTTP, limits(websocket_compression=True), broker)
    wire.feed(OFFER)
    tracemalloc.start()
    try:
        wire.feed(deflated(connect("c")) + deflated(publish("a", bytes(60_000))) * 200)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    asked.close()
    assert used < 2_000_000
    assert wire.connection.waiting is not None
    wire.connection.authenticated(Grant(), 0.0)
    wire.layers.go_on(0.0)
    assert wire.connection.stats.publish_received == 200
