"""Plain counters, one set a transport."""

from __future__ import annotations

from broker.core.stats import Stats, TransportStats
from tests.core.parts import accept, new_broker, request, said, values_of


def test_one_set_a_transport() -> None:
    stats = Stats()
    tcp = stats.transport("tcp")
    assert stats.transport("tcp") is tcp
    assert stats.transport("ws") is not tcp
    assert set(stats.by_transport) == {"tcp", "ws"}
    assert stats.transports == list(stats.by_transport.values())


def test_the_total_is_the_sum_of_every_counter() -> None:
    stats = Stats()
    names = [name for name, value in values_of(TransportStats()).items() if isinstance(value, int)]
    assert len(names) == 13
    for factor, transport in ((1, "tcp"), (100, "ws"), (10_000, "unix")):
        counters = stats.transport(transport)
        for number, name in enumerate(names, 1):
            setattr(counters, name, number * factor)
    total = stats.total()
    for number, name in enumerate(names, 1):
        assert getattr(total, name) == number * 10_101, name


def test_the_total_is_an_object_of_its_own() -> None:
    stats = Stats()
    stats.transport("tcp").connections = 1
    stats.total().connections += 5
    assert stats.total().connections == 1
    assert Stats().total().connections == 0


def test_first_bytes_tell_the_transport() -> None:
    broker = new_broker()
    connection = accept(broker, transport="auto")
    connection.identify("ws")
    connection.identify("ws")
    request(connection, "c")
    said(connection)
    auto, ws = broker.stats.transport("auto"), broker.stats.transport("ws")
    assert (auto.connections, auto.accepted, ws.connections, ws.accepted, ws.connects) == (0, 0, 1, 1, 1)
    assert ws.bytes_received > 0
    assert ws.bytes_sent > 0
    assert connection.peer.transport == "ws"
