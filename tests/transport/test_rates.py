"""How fast a Client may send: the shares alone, and a Client that is not read while it is above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.types import Pingreq, Publish
from broker.transport.rates import FEWEST, MOST, SMALL, Rates, rates_of
from tests.core.parts import limits
from tests.statements import statement
from tests.transport.parts import UPGRADE, Bench, complete, connect, frame, names, publish, subscribe, warnings

if TYPE_CHECKING:
    from tests.transport.parts import Client

PINGREQ = encode(Pingreq(), 5)


def rates(messages: int = 0, size: int = 0) -> Rates:
    return Rates(limits(messages_per_second=messages, bytes_per_second=size), 100.0)


# -- Shares


def test_without_a_bound_there_is_nothing_to_count() -> None:
    assert rates_of(limits(), 0.0) is None
    assert rates_of(limits(messages_per_second=1), 0.0) is not None
    assert rates_of(limits(bytes_per_second=1), 0.0) is not None


def test_a_second_worth_is_free() -> None:
    share = rates(messages=10)
    share.take(10, 1_000_000, 100.0)
    assert share.until == 100.0
    share.take(1, 1, 100.0)
    assert share.until == pytest.approx(100.1)


def test_a_share_goes_below_nothing_by_what_one_read_brought() -> None:
    share = rates(messages=10)
    share.take(50, 1, 100.0)
    assert share.until == pytest.approx(104.0)
    share.take(0, 1, 102.0)
    assert share.until == pytest.approx(104.0), "what was read although it should not be is counted all the same"


def test_a_share_grows_to_one_second_and_no_further() -> None:
    share = rates(messages=10)
    share.take(10, 1, 100.0)
    share.take(15, 1, 1000.0)
    assert share.until == pytest.approx(1000.5)


def test_the_longer_rest_counts_and_is_named() -> None:
    share = rates(messages=10, size=1000)
    share.take(20, 1500, 100.0)
    assert share.until == pytest.approx(101.0)
    assert (share.setting, share.bound) == ("messages_per_second", 10)
    share = rates(messages=10, size=1000)
    share.take(11, 4000, 100.0)
    assert share.until == pytest.approx(103.0)
    assert (share.setting, share.bound) == ("bytes_per_second", 1000)


def test_lumps_are_read_in_smaller_pieces_and_large_messages_in_larger_ones() -> None:
    share = rates(messages=1000)
    assert share.room == 1000 * SMALL
    for _ in range(10):
        share.take(1000, share.room, 100.0)
    assert share.room == FEWEST
    share = rates(messages=1000)
    for _ in range(10):
        share.take(1, share.room, 100.0)
    assert share.room == MOST
    share.take(1, 10, 100.0)
    assert share.room == MOST, "it had no more to say"
    assert [rates(size=size).room for size in (10, 10_000, 1_000_000)] == [FEWEST, 2500, MOST]


# -- Through sockets


def taken(client: Client) -> list[Publish]:
    return [packet for packet in complete(client.read()) if isinstance(packet, Publish)]


@pytest.mark.parametrize(("setting", "bound"), [("messages_per_second", 10), ("bytes_per_second", 1000)])
async def test_who_sends_too_fast_is_read_later(setting: str, bound: int, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    slow_lane, fast_lane = bench.listen(of=limits(**{setting: bound})), bench.listen()
    reader = bench.connected(fast_lane, "reader")
    reader.send(subscribe("a"))
    reader.expect("Suback")
    fast, other = bench.connected(slow_lane, "fast"), bench.connected(slow_lane, "other")
    start = bench.now
    for number in range(30):
        fast.send(publish("a", b"%02d" % number + bytes(91)))  # 100 bytes
    got = taken(reader)
    assert 10 <= len(got) <= 15, "a second's worth, and what the last read brought"
    other.send(publish("a", b"other"), PINGREQ)
    other.expect("Pingresp")
    assert [message.payload for message in taken(reader)] == [b"other"], "another Client has its own share"
    while len(got) < 30:
        bench.advance(0.1)
        got += taken(reader)
        assert len(got) <= 20 + (bench.now - start) * 10
    assert bench.now - start == pytest.approx(2.0, abs=0.6)
    assert [int(message.payload[:2]) for message in got] == list(range(30))
    assert bench.broker.stats.over_rate >= 4
    assert len(warnings(caplog)) == 1
    assert "'fast' at 127.0.0.1" in warnings(caplog)[0]
    assert f"more than {bound} {setting.partition('_')[0]} per second" in warnings(caplog)[0]
    assert f"(limits.{setting})" in warnings(caplog)[0]
    bench.close()


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
async def test_who_is_not_read_is_not_silent() -> None:
    bench = Bench(of=limits(messages_per_second=1))
    client = bench.client(bench.listen())
    client.send(connect("c", keep_alive=1))
    client.expect("Connack")
    client.send(publish("a") * 10)  # nine seconds too much
    client.socket.sendall(PINGREQ)
    bench.advance(8.8)
    assert client.read() == b""
    assert not client.ended
    bench.advance(0.4)
    client.expect("Pingresp")
    bench.advance(3.0)
    assert names(client.end()) == ["Disconnect"], "now it is"
    bench.close()


async def test_a_silent_one_is_pinged_while_it_is_not_read() -> None:
    bench = Bench(of=limits(messages_per_second=1, websocket_ping_interval=5.0))
    client = bench.client(bench.listen("ws"))
    client.send(UPGRADE, frame(connect("c")))
    client.send(frame(publish("a") * 31))
    client.read()
    bench.advance(5.1)
    assert client.read() == b"\x89\x00"
    client.send(frame(b"", 0x9))
    assert client.read() == b"", "its own Ping lies behind"
    bench.advance(26.0)
    assert b"\x8a\x00" in client.read()
    bench.close()


async def test_the_end_is_not_kept_waiting() -> None:
    """Whoever is taken over while it is not read ends at once; what it had sent is thrown away."""
    bench = Bench(of=limits(messages_per_second=1))
    listener = bench.listen()
    client = bench.connected(listener, "c")
    client.send(publish("a") * 100, PINGREQ)
    bench.connected(listener, "c")
    assert names(client.end()) == ["Disconnect"]
    client.close()
    bench.advance(200.0)
    assert len(bench.pump.links) == 1
    bench.close()


async def test_what_came_with_the_connect_is_not_free() -> None:
    bench = Bench(of=limits(messages_per_second=1))
    client = bench.client(bench.listen())
    client.send(connect("c") + publish("a") * 6)
    client.expect("Connack")
    client.send(PINGREQ)
    bench.advance(4.9)
    assert client.read() == b""
    bench.advance(0.2)
    client.expect("Pingresp")
    bench.close()


async def test_the_bytes_before_the_connack_are_free() -> None:
    bench = Bench(of=limits(bytes_per_second=100))
    client = bench.client(bench.listen("ws"))
    client.send(UPGRADE)
    assert client.read().startswith(b"HTTP/1.1 101 ")
    client.send(frame(connect("c")))
    assert client.read()
    client.send(frame(PINGREQ))
    assert client.read() == b"\x82\x02\xd0\x00"
    bench.close()
