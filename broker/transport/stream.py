"""The other door: one Network Connection over any `trio.abc.Stream`, through the same layers, with two small tasks.

For embedding behind other servers, for memory streams in virtual time, and where there is no pollable selector.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from broker.core.connection import AWAITING_CONNECT
from broker.packets.reasons import ReasonCode
from broker.transport.complaints import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.transport.layers import Layers

READ_BYTES = 64 * 1024
LINGER = 2.0  # seconds for the peer to close after us


class StreamLink:
    """The sink of an outbox whose bytes a task writes."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.dirty = trio.Event()
        layers.outbox.sink = self

    def flush(self) -> None:
        self.dirty.set()


async def serve_stream(
    stream: trio.abc.Stream, layers: Layers, broker: Broker, settle: Callable[[float], None]
) -> None:
    """Serve one Network Connection until it ends, and close the stream.

    `settle(now)` is called after each step: it flushes the broker and wakes the ticker.
    """
    link = StreamLink(layers)
    connection = layers.connection
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, stream, layers, settle, nursery.cancel_scope)
            await _write(stream, link, settle)
            if not layers.peer_is_done:
                # As a link does: let the peer read our last words, and close.
                if isinstance(stream, trio.abc.HalfCloseableStream):
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await stream.send_eof()
                with trio.move_on_after(LINGER):
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel()
    except trio.Cancelled:
        connection.lost(trio.current_time(), "the server stopped")
        raise
    finally:
        layers.outbox.sink = None
        layers.outbox.clear()
        layers.close()
        broker.gone(connection)
        settle(trio.current_time())
        await trio.aclose_forcefully(stream)


async def _read(
    stream: trio.abc.Stream, layers: Layers, settle: Callable[[float], None], done: trio.CancelScope
) -> None:
    connection = layers.connection
    try:
        while True:
            data = await stream.receive_some(READ_BYTES)
            now = trio.current_time()
            if not data:
                if connection.ended:
                    done.cancel()
                else:
                    layers.eof(now)
                    settle(now)
                return
            if connection.ended:
                continue
            try:
                layers.receive(bytes(data), now)
                while connection.waiting is not None:
                    answer = await connection.waiting
                    now = trio.current_time()
                    connection.authenticated(answer, now)
                    if not connection.ended:
                        connection.receive(b"", now)
            except Exception as error:
                log.error("a bug, met in the connection of %s", connection.name, exc_info=error)
                connection.end(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, "internal error", now)
            settle(now)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        now = trio.current_time()
        connection.peer_is_done = True
        connection.lost(now, "connection lost")
        layers.outbox.touch()
        settle(now)


async def _write(stream: trio.abc.Stream, link: StreamLink, settle: Callable[[float], None]) -> None:
    """Write what the outbox holds until the connection is over and everything is said."""
    layers = link.layers
    connection = layers.connection
    outbox = layers.outbox
    stall = layers.limits.write_stall_timeout
    ping = layers.limits.websocket_ping_interval
    while True:
        data = layers.take()
        if not data:
            if connection.ended:
                return
            link.dirty = trio.Event()
            with trio.move_on_after(ping if ping > 0 else float("inf")) as idle:
                await link.dirty.wait()
            if idle.cancelled_caught and layers.websocket and connection.state != AWAITING_CONNECT:
                layers.ping()
            continue
        try:
            with trio.move_on_after(stall) as stalled:
                await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            now = trio.current_time()
            connection.peer_is_done = True
            connection.lost(now, "connection lost")
            settle(now)
            return
        now = trio.current_time()
        if stalled.cancelled_caught:
            connection.peer_is_done = True
            connection.lost(now, f"took no byte for {stall:g} s")
            log.log(logging.INFO, "%s took no byte for %g s", connection.name, stall)
            settle(now)
            return
        outbox.sent()
        if not connection.ended:
            connection.drained(now)
            settle(now)
