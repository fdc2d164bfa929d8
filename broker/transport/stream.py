"""The other door: one Network Connection over any `trio.abc.Stream`, through the same layers, with two small tasks.

For embedding behind other servers, for memory streams in virtual time, and where there is no pollable selector.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from broker.core.connection import AWAITING_CONNECT
from broker.core.limits import LENIENT
from broker.packets.reasons import ReasonCode
from broker.transport.complaints import log
from broker.transport.watermark import Watermark, publishes

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.transport.layers import Layers
    from broker.transport.rates import Rates

READ_BYTES = 64 * 1024
WRITE_BYTES = 16 * 1024  # at a time: each has the write stall timeout to leave
LINGER = 2.0  # seconds for the peer to close after us
HELD_BACK = 0.5  # seconds between two looks at a publisher that is not read


class StreamLink:
    """The sink of an outbox whose bytes a task writes."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.dirty = trio.Event()
        self.noticed = trio.Event()
        self.resumed: trio.Event | None = None  # while nothing is to be read
        layers.outbox.sink = self
        layers.door = self

    def flush(self) -> None:
        self.dirty.set()
        self.noticed.set()

    def measure(self, now: float) -> None:
        self.layers.measure(now)

    def pause(self) -> None:
        if self.resumed is None:
            self.resumed = trio.Event()

    def resume(self) -> None:
        if self.resumed is not None:
            self.resumed.set()
            self.resumed = None


async def serve_stream(
    stream: trio.abc.Stream,
    layers: Layers,
    broker: Broker,
    settle: Callable[[float], None],
    watermark: Watermark,
) -> None:
    """Serve one Network Connection until it ends, and close the stream.

    `settle(now)` is called after each step: it flushes the broker and wakes the ticker. A publisher is not read while
    it is above `watermark`.
    """
    link = StreamLink(layers)
    connection = layers.connection
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, stream, link, settle, watermark, nursery.cancel_scope)
            await _write(stream, link, settle, watermark)
            if not layers.peer_is_done:
                # As a link does: let the peer read our last words, and close.
                if isinstance(stream, trio.abc.HalfCloseableStream):
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await stream.send_eof()
                with trio.move_on_after(LINGER):
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel()
    finally:
        now = trio.current_time()
        try:
            connection.lost(now, "the server stopped")  # where that is why we are here
        except Exception as error:
            _bug(layers, error, now)
        watermark.writing.pop(layers, None)
        layers.outbox.sink = None
        layers.outbox.clear()
        layers.close()
        broker.gone(connection)
        settle(now)
        await trio.aclose_forcefully(stream)


async def _read(
    stream: trio.abc.Stream,
    link: StreamLink,
    settle: Callable[[float], None],
    watermark: Watermark,
    done: trio.CancelScope,
) -> None:
    layers = link.layers
    connection = layers.connection
    rates = layers.rates
    try:
        while True:
            if watermark.above and publishes(layers, trio.current_time()):
                await _hold_back(link, watermark)
            if link.resumed is not None:
                await link.resumed.wait()
            data = await stream.receive_some(READ_BYTES if rates is None else rates.room)
            now = trio.current_time()
            if not data:
                if layers.over:
                    done.cancel()
                else:
                    layers.eof(now)
                    settle(now)
                return
            if layers.over:
                continue
            try:
                if rates is None:
                    layers.receive(bytes(data), now)
                else:
                    layers.receive_counted(rates, bytes(data), now)
                while connection.waiting is not None:
                    answer = await connection.waiting
                    now = trio.current_time()
                    connection.authenticated(answer, now)
                    if not connection.ended:
                        layers.go_on(now)
            except Exception as error:
                now = trio.current_time()
                _bug(layers, error, now)
            settle(now)
            while connection.arriving:  # until the CONNACK is out; the Store is what it waits for
                link.noticed = trio.Event()
                await link.noticed.wait()
                if not connection.arriving and not connection.ended:
                    layers.go_on(trio.current_time())
            if rates is not None and rates.until > now:
                await _rest(link, rates)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        now = trio.current_time()
        layers.eof(now, "connection lost")
        settle(now)


async def _rest(link: StreamLink, rates: Rates) -> None:
    """Do not read for as long as the Client is above its rates, unless the connection ends."""
    with trio.move_on_at(rates.until):
        while not link.layers.connection.ended:
            link.noticed = trio.Event()
            await link.noticed.wait()


async def _hold_back(link: StreamLink, watermark: Watermark) -> None:
    """Do not read before it is no longer above the watermark, unless the connection ends."""
    connection = link.layers.connection
    lowered = watermark.lowered
    while not lowered.is_set() and not connection.ended:
        connection.last_received = trio.current_time()  # it is not silent: its Keep Alive would run out unread
        with trio.move_on_after(HELD_BACK):
            await lowered.wait()


async def _write(
    stream: trio.abc.Stream, link: StreamLink, settle: Callable[[float], None], watermark: Watermark
) -> None:
    """Write what the outbox holds until the connection is over and everything is said."""
    layers = link.layers
    connection = layers.connection
    outbox = layers.outbox
    stall = layers.limits.write_stall_timeout
    ping = layers.limits.websocket_ping_interval
    lenient = layers.limits.keep_alive == LENIENT and ping > 0
    pinged = trio.current_time()
    while True:
        data = layers.take()
        if not data:
            if layers.over:
                return
            link.dirty = trio.Event()
            if layers.line is not None:
                layers.line.left()
            _drain(layers, settle)  # a walk over retained messages may have found none in its last stretch
            with trio.move_on_after(ping if ping > 0 else float("inf")) as idle:
                await link.dirty.wait()
            if idle.cancelled_caught and layers.websocket and connection.state != AWAITING_CONNECT:
                pinged = trio.current_time()
                layers.ping(pinged)
            continue
        unsent = memoryview(data)
        outbox.hold(trio.current_time())
        watermark.writing[layers] = None
        watermark.watch(trio.current_time())
        try:
            for start in range(0, len(data), WRITE_BYTES):
                with trio.fail_after(stall):
                    await stream.send_all(unsent[start : start + WRITE_BYTES])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            with trio.move_on_after(LINGER):
                await _hear_out(link)
            now = trio.current_time()
            layers.eof(now, "connection lost")
            settle(now)
            return
        except trio.TooSlowError:
            now = trio.current_time()
            layers.eof(now, f"took no byte for {stall:g} s")
            settle(now)
            return
        outbox.recover(trio.current_time())
        outbox.sent()
        watermark.writing.pop(layers, None)
        if lenient and layers.websocket and trio.current_time() - max(connection.last_received, pinged) >= ping:
            pinged = trio.current_time()
            layers.ping(pinged)  # its Pong is wanted, whatever we send
        if not connection.ended:
            _drain(layers, settle)


def _drain(layers: Layers, settle: Callable[[float], None]) -> None:
    now = trio.current_time()
    try:
        layers.connection.drained(now)
    except Exception as error:
        _bug(layers, error, now)
    settle(now)


async def _hear_out(link: StreamLink) -> None:
    """Say no more, but let what the peer had sent before be read to its end: a DISCONNECT may stand there."""
    while not link.layers.over:
        link.layers.outbox.clear()
        link.dirty = trio.Event()
        await link.dirty.wait()


def _bug(layers: Layers, error: Exception, now: float) -> None:
    """Log it, end that connection, go on."""
    connection = layers.connection
    log.error("a bug, met in the connection of %s", connection.name, exc_info=error)
    try:
        connection.end(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, "internal error", now)
    except Exception as another:
        log.error("another, met while ending it", exc_info=another)
    layers.outbox.touch()
