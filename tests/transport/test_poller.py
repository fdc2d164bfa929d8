"""The Poller: what is ready, what is not, and what is reported although nobody asked."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest
import trio

from broker.transport.poller import READ, WRITE, Poller

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize(
    ("interest", "data", "ready"),
    [
        (READ, b"", 0),
        (READ, b"x", READ),
        (WRITE, b"", WRITE),
        (WRITE, b"x", WRITE),
        (READ | WRITE, b"", WRITE),
        (READ | WRITE, b"x", READ | WRITE),
        (0, b"x", 0),
    ],
)
def test_what_is_asked_for_and_there_is_reported(
    poller: Poller, pair: Pair, interest: int, data: bytes, ready: int
) -> None:
    ours, theirs = pair
    poller.add(ours.fileno(), interest)
    theirs.sendall(data)
    reported = 0
    for fd, mask in poller.poll(0.0, 8):
        assert fd == ours.fileno()
        reported |= mask
    assert reported == ready


def test_what_is_not_taken_is_reported_again(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno(), READ)
    theirs.sendall(b"x")
    assert poller.poll(0.0, 8) == poller.poll(0.0, 8) == [(ours.fileno(), READ)]
    ours.recv(10)
    assert poller.poll(0.0, 8) == []


def test_interest_changes(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    fd = ours.fileno()
    theirs.sendall(b"x")
    poller.add(fd, READ)
    poller.change(fd, READ, 0)
    assert poller.poll(0.0, 8) == []
    poller.change(fd, 0, WRITE)
    assert poller.poll(0.0, 8) == [(fd, WRITE)]
    poller.change(fd, WRITE, READ)
    assert poller.poll(0.0, 8) == [(fd, READ)]
    poller.remove(fd, READ)
    assert poller.poll(0.0, 8) == []


def test_it_waits_so_long(poller: Poller) -> None:
    start = time.monotonic()
    assert poller.poll(0.02, 8) == []
    assert 0.015 < time.monotonic() - start < 5.0


def test_the_end_is_readable(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno(), READ)
    theirs.close()
    assert [(fd, mask & READ) for fd, mask in poller.poll(1.0, 8)] == [(ours.fileno(), READ)]


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="kqueue reports nothing that was not asked for")
def test_a_reset_is_readable_though_nobody_asked(poller: Poller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        poller.add(ours.fileno(), 0)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        ((fd, mask),) = poller.poll(1.0, 8)
        assert fd == ours.fileno()
        assert mask != WRITE, "what is not for writing is for reading"
        with pytest.raises(ConnectionResetError):
            ours.recv(1)
        ours.close()


def test_a_closed_socket_is_forgotten(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno(), READ)
    theirs.sendall(b"x")
    ours.close()
    assert poller.poll(0.0, 8) == []


async def test_one_task_waits_for_all(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno(), READ)
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await trio.lowlevel.wait_readable(poller.fileno())
        woken += 1

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert woken == 0
            theirs.sendall(b"x")


async def test_a_change_wakes_who_waits(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno(), 0)
    theirs.sendall(b"x")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, poller.fileno())
            await trio.testing.wait_all_tasks_blocked(0.01)
            poller.change(ours.fileno(), 0, READ)
