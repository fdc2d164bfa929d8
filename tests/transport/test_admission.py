"""Admission: who is closed at once, who waits, who is counted, in the test's own time."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import PINGRESP_PACKET, encode
from broker.packets.types import MQTT_3_1_1, Connect, Pingreq
from broker.transport.admission import AT_ONCE, PAUSE, counted_as
from broker.transport.pump import ACCEPTED_AT_ONCE
from tests.core.parts import limits
from tests.transport.parts import UPGRADE, Bench, Client, Unfit, connect, frame, warnings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from broker.transport.listeners import Listener

HERE = ip_network("127.0.0.0/8")


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Bench]]:
    """A Bench whose broker has these bounds of the door, and no others."""
    made: list[Bench] = []

    def bench(**server: int) -> Bench:
        bounds = dict.fromkeys(("connections", "connections_per_address", "connects_per_second", "handshakes"), 0)
        made.append(Bench(None, None, **(bounds | server)))
        return made[-1]

    yield bench
    for each in made:
        each.close()


class Abroad(socket.socket):
    """A listening socket whose peers are somewhere else, at `host`; with an `error` they cannot be made ready."""

    host: str
    error: Exception | None = None

    def accept(self) -> tuple[socket.socket, object]:
        accepted, address = super().accept()
        if self.error is not None:
            accepted = unfit = Unfit(fileno=accepted.detach())
            unfit.error = self.error
        return accepted, (self.host, *address[1:])


def move(listener: Listener, host: str) -> None:
    """From now on who comes in at `listener` is at `host`."""
    port = listener.socket.detach()
    listener.socket = abroad = Abroad(fileno=port)
    abroad.setblocking(False)
    abroad.host = host


def is_in(client: Client) -> bool:
    client.bench.settle()
    client.read()
    return not client.ended


def alive(client: Client) -> None:
    client.send(encode(Pingreq(), MQTT_3_1_1))
    assert client.read() == PINGRESP_PACKET


# -- How many


async def test_connections_of_all_listeners(
    make: Callable[..., Bench], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(connections=3)
    one, other, local = bench.listen(), bench.listen("ws"), bench.listen("unix", path=str(tmp_path / "socket"))
    first, second = bench.connected(one), bench.client(other)
    third = bench.client(local)
    for listener in (one, other, local):
        assert not is_in(bench.client(listener))
    alive(first)
    assert is_in(second)
    assert is_in(third)
    assert bench.broker.stats.turned_away["connections"] == 3
    (line,) = warnings(caplog)
    assert line.startswith(f"{one.url}: 127.0.0.1:")
    assert line.endswith(" is not let in: 3 connections (server.connections)")
    second.close()
    assert is_in(bench.client(local))
    assert not is_in(bench.client(local))
    bench.broker.limits.connections = 4
    assert is_in(bench.client(local))


async def test_connections_of_an_address(make: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    bench = make(connections_per_address=2)
    listener, other = bench.listen(), bench.listen("ws")
    for each in (listener, other):
        move(each, "192.0.2.1")
    first, second = bench.client(listener), bench.client(other)
    assert is_in(first)
    assert is_in(second)
    for each in (listener, other):
        refused = bench.client(each)
        assert not is_in(refused)
    assert bench.broker.stats.turned_away["connections_per_address"] == 2
    (line,) = warnings(caplog)
    assert line.startswith(f"{listener.url}: 192.0.2.1:")
    assert line.endswith(" is not let in: 2 connections of 192.0.2.1 (server.connections_per_address)")
    move(listener, "192.0.2.2")
    assert is_in(bench.client(listener)), "another address"
    move(listener, "192.0.2.1")
    second.close()
    assert is_in(bench.client(listener))
    assert not is_in(bench.client(listener))
    bench.broker.limits.connections_per_address = 0
    assert is_in(bench.client(listener))
    assert is_in(first)


async def test_who_has_left_is_forgotten(make: Callable[..., Bench]) -> None:
    bench = make(connections_per_address=2)
    listener = bench.listen()
    clients = []
    for number in range(10):
        move(listener, f"2001:db8:0:{number // 2}::{number}")
        clients.append(bench.client(listener))
    assert bench.pump.admission.addresses == {f"2001:db8:0:{n}::/64".replace(":0:0::", "::"): 2 for n in range(5)}
    for each in clients:
        each.close()
    assert bench.pump.admission.addresses == {}


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::]:1", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:1", "fe80::/64"),
        ("127.0.0.1:1", ""),
        ("127.9.9.9:1", ""),
        ("[::1]:1", ""),
        ("[::ffff:127.0.0.1]:1", ""),
        ("10.0.0.1:1", ""),  # the proxy
        ("unix", ""),
    ],
)
async def test_who_is_counted(make: Callable[..., Bench], name: str, network: str) -> None:
    listener = make().listen()
    listener.trusted_proxies = (ip_network("10.0.0.0/8"),)
    assert counted_as(name, listener) == network


async def test_a_reload_puts_nobody_out(make: Callable[..., Bench]) -> None:
    bench = make()
    listener = bench.listen()
    move(listener, "192.0.2.1")
    clients = [bench.client(listener) for _ in range(5)]
    bench.broker.limits.connections_per_address = 2
    assert not is_in(bench.client(listener))
    assert all(is_in(each) for each in clients)
    for each in clients[:4]:
        each.close()
    assert is_in(bench.client(listener))
    assert not is_in(bench.client(listener))


async def test_who_cannot_be_made_ready_takes_no_place(make: Callable[..., Bench]) -> None:
    bench = make(connections_per_address=1)
    listener = bench.listen()
    move(listener, "192.0.2.1")
    assert isinstance(listener.socket, Abroad)
    listener.socket.error = OSError("not ready")
    assert not is_in(bench.client(listener))
    listener.socket.error = None
    assert is_in(bench.client(listener))
    assert listener.connections == 1


# -- Behind a proxy


def header(host: str) -> bytes:
    return f"PROXY TCP4 {host} 203.0.113.1 4711 1883\r\n".encode()


def forwarded(host: str) -> bytes:
    return UPGRADE.replace(b"\r\n\r\n", f"\r\nX-Forwarded-For: {host}\r\n\r\n".encode())


async def test_a_proxys_header_tells_who_is_counted(
    make: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(connections_per_address=1)
    listener = bench.listen()
    listener.proxy_protocol, listener.trusted_proxies = True, (ip_network("10.0.0.0/8"),)
    move(listener, "10.0.0.1")
    clients = [bench.client(listener) for _ in range(3)]
    assert all(is_in(each) for each in clients), "the proxy itself is not counted"
    clients[0].send(header("192.0.2.1") + connect("0"))
    clients[0].expect("Connack")
    clients[1].send(header("192.0.2.1") + connect("1"))
    assert clients[1].end() == b"", "nothing is said, as at accept"
    clients[2].send(header("192.0.2.2") + connect("2"))
    clients[2].expect("Connack")
    assert bench.broker.stats.turned_away["connections_per_address"] == 1
    (line,) = warnings(caplog)
    assert "192.0.2.1:4711 is not let in: 1 connections of 192.0.2.1 (server.connections_per_address)" in line
    clients[0].close()
    late = bench.client(listener)
    late.send(header("192.0.2.1") + connect("3"))
    late.expect("Connack")
    assert bench.broker.stats.handshakes == 0


async def test_what_speaks_for_nobody_is_the_proxy_itself(make: Callable[..., Bench]) -> None:
    bench = make(connections_per_address=1)
    listener = bench.listen()
    listener.proxy_protocol, listener.trusted_proxies = True, (ip_network("10.0.0.0/8"),)
    move(listener, "10.0.0.1")
    for number in range(3):
        client = bench.client(listener)
        client.send(b"PROXY UNKNOWN\r\n" + connect(str(number)))
        client.expect("Connack")
    assert bench.pump.admission.addresses == {}


async def test_x_forwarded_for_tells_who_is_counted(make: Callable[..., Bench]) -> None:
    bench = make(connections_per_address=1)
    listener = bench.listen("ws")
    listener.trusted_proxies = (HERE,)
    clients = [bench.client(listener) for _ in range(3)]
    clients[0].send(forwarded("192.0.2.1"))
    assert clients[0].read().startswith(b"HTTP/1.1 101 ")
    clients[1].send(forwarded("192.0.2.1") + frame(connect()))
    answer = clients[1].end()
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert answer.endswith(b"\r\n\r\nThere are too many connections from this address.\n")
    clients[2].send(forwarded("192.0.2.2, 127.0.0.1"))
    assert clients[2].read().startswith(b"HTTP/1.1 101 ")
    assert bench.pump.admission.addresses == {"192.0.2.1": 1, "192.0.2.2": 1}
    assert bench.broker.stats.handshakes == 2
    for each in clients:
        each.close()
    assert bench.pump.admission.addresses == {}
    assert bench.broker.stats.handshakes == 0


async def test_nobody_else_is_believed(make: Callable[..., Bench]) -> None:
    bench = make(connections_per_address=1)
    listener = bench.listen("ws")
    move(listener, "192.0.2.9")
    first, second = bench.client(listener), bench.client(listener)
    first.send(forwarded("192.0.2.1"))
    assert bench.pump.admission.addresses == {"192.0.2.9": 1}
    assert not is_in(second)


# -- How fast


def knock(bench: Bench, listener: Listener, count: int) -> list[Client]:
    return [bench.client(listener) for _ in range(count)]


def came_in(bench: Bench) -> int:
    """How many have ever."""
    return bench.broker.stats.total().accepted


async def test_connects_per_second(make: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    bench = make(connects_per_second=10)
    listener = bench.listen()
    clients = knock(bench, listener, 10 * AT_ONCE + 7)
    assert came_in(bench) == 10 * AT_ONCE
    assert listener.paused
    bench.advance(0.21)
    assert came_in(bench) == 10 * AT_ONCE + 2
    bench.advance(0.3)
    assert came_in(bench) == 10 * AT_ONCE + 5
    bench.advance(1)
    assert came_in(bench) == len(clients), "nobody is lost"
    assert all(is_in(each) for each in clients)
    assert not listener.paused
    assert bench.broker.stats.kept_waiting["connects_per_second"] > 1
    (line,) = warnings(caplog)
    assert line == (
        f"{listener.url}: more than 10 connects a second: the next ones wait (server.connects_per_second is 10)"
    )
    bench.advance(60)
    knock(bench, listener, 10 * AT_ONCE + 1)
    assert came_in(bench) == len(clients) + 10 * AT_ONCE, "what was not used is there again, and no more"


async def test_a_reload_of_the_rate_counts_at_once(make: Callable[..., Bench]) -> None:
    bench = make(connects_per_second=1)
    listener = bench.listen()
    knock(bench, listener, AT_ONCE + 9)
    assert came_in(bench) == AT_ONCE
    bench.broker.limits.connects_per_second = 0
    bench.advance(PAUSE * 1.1)
    bench.pump.flush(bench.now)
    bench.settle()
    assert came_in(bench) == AT_ONCE + 9
    bench.broker.limits.connects_per_second = 1
    knock(bench, listener, AT_ONCE + 1)
    assert came_in(bench) == 2 * AT_ONCE + 9


async def test_listeners_have_their_turns(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make(connects_per_second=1)
    listeners = [bench.listen(kind, limits(handshake_timeout=60.0)) for kind in ("tcp", "ws", "auto")]
    for _ in range(10):
        for each in listeners:
            knock(bench, each, 1)
    for _ in range(10):
        bench.advance(1)
    counts = [each.connections for each in listeners]
    assert sum(counts) == AT_ONCE + 10
    assert min(counts) >= 3
    local = bench.listen("unix", path=str(tmp_path / "socket"))
    knock(bench, local, 5)
    assert local.connections == 5, "a Unix socket does not wait"


async def test_a_fast_rate_is_looked_at_now_and_then(make: Callable[..., Bench]) -> None:
    bench = make(connects_per_second=1000)
    listener = bench.listen()
    present = bench.connected(listener)
    bench.pump.admission._credit = 0.0
    knock(bench, listener, ACCEPTED_AT_ONCE)
    bench.advance(PAUSE / 2)
    alive(present)
    assert came_in(bench) == 1
    bench.advance(PAUSE * 0.55)
    assert came_in(bench) - 1 in (9, 10), "a hundredth of a thousand"


# -- How many at once on their way


async def test_handshakes_under_way(
    make: Callable[..., Bench], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(handshakes=3)
    listener, other = bench.listen(), bench.listen("ws")
    present = bench.connected(listener, "present")
    silent = [*knock(bench, listener, 2), *knock(bench, other, 1)]
    waiting = [bench.client(listener), bench.client(other)]
    assert came_in(bench) == 4
    assert listener.paused
    assert other.paused
    alive(present)
    silent[0].send(connect("0"))
    silent[0].expect("Connack")
    assert came_in(bench) == 5
    silent[1].close()
    assert came_in(bench) == 6, "one has gone, one has come"
    assert all(is_in(each) for each in waiting)
    local = bench.listen("unix", path=str(tmp_path / "socket"))
    bench.connected(local, "local")
    (line,) = warnings(caplog)
    text = "3 connections have no CONNACK yet: the next ones wait (server.handshakes is 3)"
    assert line == f"{listener.url}: {text}"
    assert bench.broker.stats.kept_waiting["handshakes"] == 3


async def test_handshakes_that_come_to_nothing_make_room(make: Callable[..., Bench]) -> None:
    bench = make(handshakes=2)
    listener = bench.listen(of=limits(handshake_timeout=5.0))
    knock(bench, listener, 5)
    assert came_in(bench) == 2
    bench.advance(5.1)
    assert came_in(bench) == 4
    assert bench.broker.stats.handshakes == 2
    bench.advance(5.1)
    assert bench.broker.stats.handshakes == 1
    bench.broker.limits.handshakes = 1
    client = bench.client(listener)
    bench.broker.limits.handshakes = 0
    bench.pump.flush(bench.now)
    client.send(connect("c"))
    client.expect("Connack")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x10",
        b"\xff\xff",
        encode(Connect("c", MQTT_3_1_1), MQTT_3_1_1),
        encode(Connect("", MQTT_3_1_1, clean_start=False), MQTT_3_1_1),
    ],
    ids=["silent", "half", "malformed", "good", "refused"],
)
@pytest.mark.parametrize("kind", ["tcp", "ws"])
async def test_each_handshake_is_counted_once(make: Callable[..., Bench], kind: str, data: bytes) -> None:
    bench = make()
    listener = bench.listen(kind)
    for _ in range(3):
        client = bench.client(listener)
        assert bench.broker.stats.handshakes == 1
        client.send(data if kind == "tcp" or not data else UPGRADE + frame(data))
        client.close()
        assert bench.broker.stats.handshakes == 0
        assert listener.connections == 0


async def test_the_end_while_somebody_waits(make: Callable[..., Bench]) -> None:
    bench = make(handshakes=1)
    listener = bench.listen()
    silent, waiting = bench.client(listener), bench.client(listener)
    assert listener.paused
    bench.pump.stop_accepting()
    silent.close()
    assert not is_in(waiting)
    assert came_in(bench) == 1
