"""The pump: one Trio task that reads and writes all sockets.

A Trio task a connection costs ten microseconds for every small read, mostly in waking it. This task waits on one
poller for all of them, takes every ready socket in turn without awaiting, and after each round flushes every dirty
outbox once. Two things make that fit into Trio: it asks its poller with a short timeout before it goes back to sleep
through Trio (waking through Trio costs four times as much), and it passes a checkpoint every few milliseconds so that
other tasks live.

Whatever happens in one connection stays in it: a bug is logged once with the connection's name and ends that
connection with 0x83.
"""

from __future__ import annotations

import errno
import logging
import math
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final

import trio

from broker.core.deadlines import Deadlines
from broker.core.limits import LENIENT
from broker.packets.reasons import ReasonCode
from broker.transport.admission import PAUSE, Admission, Place
from broker.transport.complaints import Complaints, log
from broker.transport.layers import MQTT, Layers
from broker.transport.link import LINGER, Link
from broker.transport.listeners import Listener
from broker.transport.poller import READ, WRITE, Poller
from broker.transport.watermark import UNSAFE, Watermark, publishes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.transport.http import HttpService

LOOK: Final = 0.0005  # seconds to wait in the poller itself before sleeping through Trio (epoll makes it 1 ms)
# The same when so many looks in a row found something: a short timer is a tenth of what a message costs at low rates.
LONG_LOOK: Final = 0.005
BUSY: Final = 16
READY_AT_ONCE: Final = 256  # sockets in one round; room for more would be made and thrown away at each poll
CHECKPOINT: Final = 0.005  # seconds of traffic, and then a look, that other Trio tasks wait; ten times it was no faster
ACCEPTED_AT_ONCE: Final = 16  # then those that came before have their turn
ACCEPT_PAUSE: Final = 0.5  # seconds without accepting when file descriptors have run out
WATERMARK_LOOK: Final = 0.05  # seconds between two looks at the bytes that slow readers hold

# Kinds in the pump's own deadlines
PING: Final = 0
LINGERING: Final = 1
STALLED: Final = 2
ACCEPT_AGAIN: Final = 3
WATERMARK: Final = 4
KNOCK: Final = 5
RESTED: Final = 6
MEMORY: Final = 7

_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))


class Pump:
    """See the module."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._since, self._read_clock = _clock(trio.lowlevel.current_clock())
        self.now = self.clock()
        self.poller = Poller()
        self.links: dict[int, Link] = {}
        self.listeners: dict[int, Listener] = {}
        self.stalled: dict[Link, None] = {}
        self.complaints = Complaints()
        self.admission = Admission(broker, self.complaints)
        self.accepting = True
        self.deadlines = Deadlines()
        self.watermark = Watermark(broker, self.complaints, self.watch_slow_readers)
        self._watching = False  # a look at it is due
        self._watching_memory = False
        self._held_back: list[Link] = []  # publishers that are not read while slow readers hold too much
        self._nursery: trio.Nursery | None = None
        self._link_closed = trio.Event()
        self._wake: Callable[[], None] = _nothing
        self._watched: dict[int, Callable[[float], object]] = {}
        self._arriving: list[Link] = []  # not read until their CONNACK has left
        self._at_the_door: list[Listener] = []  # that accept nothing until they may
        self._knock_at = 0.0  # and are not looked at before
        self._last_in: Listener | None = None
        self.http: HttpService | None = None  # answers plain HTTP

    def clock(self) -> float:
        """What `trio.current_time` gives."""
        return self._since + self._read_clock()

    # -- The loop

    async def run(self, nursery: trio.Nursery, wake: Callable[[], None]) -> None:
        """Serve until cancelled. Waiting for an authenticator happens in `nursery`."""
        self._nursery = nursery
        self._wake = wake
        poller = self.poller
        dirty = self.broker.dirty
        store = self.broker.store
        awaited = self.clock()
        found = 0  # looks in a row
        while True:
            gathering = store is not None and store.gathering
            ready = poller.poll(0.0 if dirty else LOOK if found < BUSY or gathering else LONG_LOOK, READY_AT_ONCE)
            found += 1
            if not ready and not dirty and not gathering:
                found = 0
                await trio.lowlevel.wait_readable(poller.fileno())
                awaited = self.clock()
                continue
            self.now = now = self.clock()
            if store is not None:
                store.patient = True
                self.round(ready, now)
                store.patient = False
            else:
                self.round(ready, now)
            self._wake()
            if now - awaited > CHECKPOINT:
                await trio.lowlevel.checkpoint()
                awaited = self.clock()

    def round(self, ready: list[tuple[int, int]], now: float) -> None:
        """Every ready socket in turn, then one flush."""
        links = self.links
        for fd, mask in ready:
            link = links.get(fd)
            if link is None:
                listener = self.listeners.get(fd)
                if listener is not None:
                    self.accept(listener, now)
                elif fd in self._watched:
                    self._watched[fd](now)
                continue
            try:
                if mask & WRITE:
                    link.writable(now)
                if mask != WRITE and not link.closed:
                    link.readable(now)
            except Exception as error:
                self.bug(link, error, now)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Let dirty outboxes leave. Also for whoever makes them dirty outside a round."""
        self.now = now
        broker = self.broker
        try:
            broker.flush(now)
        except Exception as bug:
            log.error("a bug, met while ending a connection", exc_info=bug)
        self._measure(now)
        if broker.faults:
            for connection, error in broker.faults:
                name = connection.name if connection is not None else "what was due"
                log.error("a bug, met with %s", name, exc_info=error)
            broker.faults.clear()
        if self._arriving:
            still = []
            for link in self._arriving:
                if link.layers.connection.arriving:
                    still.append(link)
                else:
                    self._arrived(link, now)
            self._arriving = still
        if self._at_the_door:
            self._let_in(now)
        if not self._watching and broker.unsafe_bytes() > UNSAFE:
            self.watch_slow_readers(now)

    def _measure(self, now: float) -> None:
        """Record how long the round has taken, for all that left in it."""
        seconds = -1.0
        for each in self.broker.stats.transports:
            latency = each.latency
            if latency.pending():
                if seconds < 0.0:
                    seconds = max(0.0, self.clock() - now)
                latency.settle(seconds, now)

    def _arrived(self, link: Link, now: float) -> None:
        """Its CONNACK has left."""
        link.resume()
        if not link.closed:
            try:
                link.layers.go_on(now)
                self.rest(link, now)
            except Exception as error:
                self.bug(link, error, now)

    def settle(self) -> None:
        """For a task that has put something out: let it leave."""
        self.flush(self.clock())
        self._wake()

    def bug(self, link: Link, error: Exception, now: float) -> None:
        """Log it, end that connection, go on."""
        connection = link.layers.connection
        log.error("a bug, met in the connection of %s", connection.name, exc_info=error)
        if not connection.ended:
            try:
                connection.end(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, "internal error", now)
                return
            except Exception as another:
                log.error("another, met while ending it", exc_info=another)
        link.abort("internal error", now)

    # -- Sockets

    def watch(self, fd: int, readable: Callable[[float], object]) -> None:
        """Call `readable` in the round after `fd` has become readable. What it raises ends the pump."""
        self._watched[fd] = readable
        self.poller.add(fd, READ)

    def unwatch(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            self.poller.remove(fd, READ)

    def listen(self, listener: Listener) -> None:
        """Accept on a listening socket from now on."""
        fd = listener.socket.fileno()
        self.listeners[fd] = listener
        self.poller.add(fd, READ)

    def stop_accepting(self) -> None:
        """Close the listening sockets: new Clients are refused by the system."""
        self.accepting = False
        for fd, listener in list(self.listeners.items()):
            if not listener.paused:
                self.poller.remove(fd, READ)
            listener.close()
        self.listeners.clear()

    def accept(self, listener: Listener, now: float) -> None:
        """Take new connections, many at a time."""
        failures = 0
        room = self.admission.room(listener, ACCEPTED_AT_ONCE, now)
        if not room:
            self._keep_waiting(listener, now)
        while room:
            try:
                connected, address = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                failures += 1
                if error.errno in _OUT_OF_RESOURCES or failures == ACCEPTED_AT_ONCE:
                    self._pause_accepting(listener, now, error)
                    return
                continue  # that one is gone before it was here
            room -= 1
            try:
                self._accepted(listener, connected, address, now)
            except OSError as error:
                connected.close()
                self.complaints.complain(now, logging.WARNING, "accept", f"{listener.url}: accepting failed: {error}")
            except Exception as error:
                connected.close()
                log.error("a bug, met while accepting at %s", listener.url, exc_info=error)

    def _accepted(self, listener: Listener, connected: socket.socket, address: object, now: float) -> None:
        name = listener.peer_name(address)
        network = self.admission.admit(listener, name, now)
        if network is None:
            connected.close()
            return
        limits = listener.limits
        listener.prepare(connected)
        self.poller.add(connected.fileno(), READ)
        layers = Layers(
            self.broker,
            limits,
            listener.kind,
            name,
            listener.transport,
            listener.url,
            listener.is_loopback(connected),
            now,
            listener.tls,
            listener.proxy_protocol,
            listener.trusted_proxies,
        )
        link = Link(self, connected, layers)
        self.links[link.fd] = link
        layers.place = Place(self.admission, listener, network)
        self._last_in = listener
        layers.service = self.http
        layers.settle = self.settle
        if limits.websocket_ping_interval > 0 and listener.kind != MQTT:
            self._remember(now + limits.websocket_ping_interval, PING, link)

    def _keep_waiting(self, listener: Listener, now: float) -> None:
        """Leave new connections in the backlog until they may come in."""
        delay = self.admission.delay()
        self.admission.complain_of_delay(listener, delay, now)
        self._stop_listening(listener)
        self._at_the_door.append(listener)
        self._knock_at = 0.0
        if delay != math.inf:
            self._knock_at = now + PAUSE
            self._remember(now + delay, KNOCK, self)  # a tick is followed by a flush

    def _let_in(self, now: float) -> None:
        """Go on accepting where nothing speaks against it any more."""
        door = self._at_the_door
        if now < self._knock_at or not self.accepting or not self.admission.room(door[0], 1, now):
            return
        last = self._last_in
        if last is not None and last in door:
            door.remove(last)
            door.append(last)  # the others have their turn first
        for listener in door:
            self._listen_again(listener)
        door.clear()

    def _pause_accepting(self, listener: Listener, now: float, error: OSError) -> None:
        """No more file descriptors: leave new connections in the backlog for a moment, the present ones live on."""
        advice = "; waiting for connections to close (raise `ulimit -n`)" if error.errno in _OUT_OF_RESOURCES else ""
        self.complaints.complain(
            now, logging.ERROR, f"paused {listener.url}", f"{listener.url}: cannot accept: {error.strerror}{advice}"
        )
        self.broker.stats.kept_waiting["descriptors"] += 1
        self._stop_listening(listener)
        self._remember(now + ACCEPT_PAUSE, ACCEPT_AGAIN, listener)

    def _stop_listening(self, listener: Listener) -> None:
        listener.paused = True
        self.poller.change(listener.socket.fileno(), READ, 0)

    def _listen_again(self, listener: Listener) -> None:
        listener.paused = False
        self.poller.change(listener.socket.fileno(), 0, READ)

    def forget(self, link: Link) -> None:
        """A link closes."""
        if self.links.pop(link.fd, None) is not None:
            self.poller.remove(link.fd, link.interest)
        self.stalled.pop(link, None)
        self.broker.gone(link.layers.connection)
        self._link_closed.set()
        link.layers.close()

    # -- What a link asks for

    def stall(self, link: Link) -> None:
        """Bytes wait for a slow reader: it must take some within the write stall timeout."""
        link.progress_at = self.now
        self.stalled[link] = None
        if not link.stall_due:
            link.stall_due = True
            self._remember(self.now + link.layers.limits.write_stall_timeout, STALLED, link)
        self.watch_slow_readers(self.now)

    def watch_slow_readers(self, now: float) -> None:
        """Look soon whether publishers may still be read, and from then on as long as there is anything to look at."""
        if not self._watching:
            self._watching = True
            self._remember(now + WATERMARK_LOOK, WATERMARK, self)

    def watch_memory(self, now: float) -> None:
        """Look at the memory of the process from now on, where there is a bound to it."""
        if self.broker.limits.memory and not self._watching_memory:
            self._watching_memory = True
            self._remember(now, MEMORY, self)

    def linger(self, link: Link) -> None:
        self._remember(self.now + LINGER, LINGERING, link)

    def hold(self, link: Link) -> None:
        """Its CONNACK waits for the Store: what comes behind the CONNECT is not read before."""
        link.pause()
        self._arriving.append(link)

    def rest(self, link: Link, now: float) -> None:
        """It is not read for as long as it is above its rates."""
        rates = link.layers.rates
        if rates is None or rates.until <= now or link.resting or link.closed or link.layers.connection.ended:
            return
        link.resting = True
        link.pause()
        self._remember(rates.until, RESTED, link)
        self.complaints.complain(now, logging.WARNING, f"rate {rates.setting}", rates.complaint(link.layers.connection))

    def wait_for(self, link: Link) -> None:
        """An authenticator wants to be awaited: this link is not read meanwhile, all others are."""
        nursery = self._nursery
        if nursery is not None and not link.paused:
            link.pause()
            nursery.start_soon(self._authenticate, link, link.layers.connection.waiting)

    async def _authenticate(self, link: Link, waiting: object) -> None:
        connection = link.layers.connection
        if connection.waiting is None and isinstance(waiting, Coroutine):
            waiting.close()  # the Client has gone already, and nobody has begun to find out who it was
        try:
            # By then the connection has ended for want of a CONNACK; an answer that never comes is not waited for.
            with trio.move_on_after(link.layers.limits.handshake_timeout) as patience:
                while connection.waiting is not None:
                    answer = await connection.waiting
                    now = self.clock()
                    connection.authenticated(answer, now)
                    if not connection.ended:
                        link.layers.go_on(now)
            if patience.cancelled_caught and not connection.ended:
                connection.end(ReasonCode.NOT_AUTHORIZED, "no answer about the authentication", self.clock())
        except Exception as error:  # the authenticator's fault: fail closed
            self.bug(link, error, self.clock())
        link.resume()
        if connection.arriving:
            self.hold(link)
        else:
            self.rest(link, self.clock())
        self.flush(self.clock())
        self._wake()

    # -- What is due

    def _remember(self, at: float, kind: int, subject: object) -> None:
        """Have `tick` see to it at that time."""
        self.deadlines.add(at, kind, subject)
        if self.deadlines.crowded():
            self.deadlines.sweep(_still_true)

    def next_deadline(self) -> float:
        if self.broker.dirty:
            return self.now
        return self.deadlines.first

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.now = now
        for _, kind, subject in self.deadlines.due(now):
            if kind == WATERMARK:
                self._look_at_watermark(now)
            elif kind == MEMORY:
                delay = self.watermark.look_at_memory(now)
                self._watching_memory = delay > 0
                if delay:
                    self._remember(now + delay, MEMORY, self)
            elif kind == ACCEPT_AGAIN:
                assert isinstance(subject, Listener)
                if self.accepting:
                    self._listen_again(subject)
            elif kind != KNOCK:
                assert isinstance(subject, Link)
                if not subject.closed:
                    try:
                        self._tick_link(subject, kind, now)
                    except Exception as error:
                        self.bug(subject, error, now)

    def _tick_link(self, link: Link, kind: int, now: float) -> None:
        limits = link.layers.limits
        if kind == LINGERING:
            link.abort(link.failure, now)
        elif kind == RESTED:
            link.resting = False
            link.resume()
        elif kind == STALLED:
            due = link.progress_at + limits.write_stall_timeout
            if link not in self.stalled:
                link.stall_due = False
            elif due <= now:
                link.abort(f"took no byte for {limits.write_stall_timeout:g} s", now)
            else:
                self._remember(due, STALLED, link)
        elif kind == PING:
            # One who is not read counts as heard; a proxy between sees what we send.
            idle_since = link.last_sent
            if not link.paused:
                idle_since = link.layers.connection.last_received
                if limits.keep_alive != LENIENT:  # there its Pong is wanted, whatever we send
                    idle_since = max(link.last_sent, idle_since)
            due = idle_since + limits.websocket_ping_interval
            if due <= now:
                if link.layers.websocket and link.unsent is None and not link.shut:
                    link.layers.ping(now)
                due = now + limits.websocket_ping_interval
            self._remember(due, PING, link)

    def _look_at_watermark(self, now: float) -> None:
        """While slow readers hold more than the broker may buffer, those who publish are not read."""
        again = self.watermark.look([link.layers for link in self.stalled], now)
        if self.watermark.above:
            for link in self.links.values():
                if not link.paused and not link.shut and publishes(link.layers, now):
                    link.pause()
                    self._held_back.append(link)
            for link in self._held_back:
                link.layers.connection.last_received = now  # it is not silent: its Keep Alive would run out unread
        elif self._held_back:
            for link in self._held_back:
                if not link.closed:
                    link.resume()
            self._held_back.clear()
        self._watching = again
        if again:
            self._remember(now + WATERMARK_LOOK, WATERMARK, self)

    # -- The end

    async def all_closed(self) -> None:
        """Wait until the last link is gone."""
        while self.links:
            self._link_closed = trio.Event()
            await self._link_closed.wait()

    def close(self) -> None:
        """Close everything at once."""
        self.stop_accepting()
        for link in list(self.links.values()):
            try:
                link.abort("the server stopped", self.now)
            except Exception as error:
                self.bug(link, error, self.now)
        self.poller.close()


def _still_true(at: float, kind: int, subject: object) -> bool:
    """Whether a deadline is still about something."""
    return not (isinstance(subject, Link) and subject.closed)


def _clock(of_trio: trio.abc.Clock) -> tuple[float, Callable[[], float]]:
    """The two whose sum is Trio's time. Its own clock is `perf_counter` from a random start, in a function of Python's
    that would be called once in every round; a clock of tests is asked itself."""
    kind = type(of_trio)
    if kind.__name__ == "SystemClock" and kind.__module__.startswith("trio."):
        return of_trio.current_time() - time.perf_counter(), time.perf_counter
    return 0.0, of_trio.current_time


def _nothing() -> None:
    return None
