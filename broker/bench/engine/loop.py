"""The loop of one worker: all its Clients, one poller, and whose turn it is to connect, to send, or to be given up.

A turn sends what may be sent, then reads what has come. Nothing in it waits but the poller, and that to the moment at
which the next message is due: an open loop sleeps nearly as long as it may and then looks again and again, so that a
message is late by microseconds, not by the poller's millisecond.
"""

from __future__ import annotations

import select
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from broker.bench.engine.client import READ_BYTES, READ_MORE_BYTES, READY, Client, Network
from broker.bench.engine.flow import Arrivals
from broker.bench.engine.pacing import Schedule
from broker.bench.engine.publisher import UNBOUNDED, Publisher
from broker.bench.engine.receiver import Receiver, Sources
from broker.bench.engine.tally import NEVER
from broker.packets.topics import split_share
from broker.transport.poller import READ

if TYPE_CHECKING:
    from broker.bench.engine.plan import Plan
    from broker.bench.workload import Workload

# Why `run` came back
TIME: Final = 0
CONTROL: Final = 1  # the control descriptor is readable
CONNECTED: Final = 2  # all Clients are
BROKEN: Final = 3  # of the publishers, of the subscribers or of the others all have ended

SECOND: Final = 1_000_000_000
LOOK: Final = SECOND // 20  # between two looks at what is overdue
READY_AT_ONCE: Final = 256  # sockets that one look gives
COARSE: Final = 2_000_000  # ns: above that the poller's own timeout, of whole milliseconds, does
SPIN: Final = 20_000  # ns: so long before a message is due nothing sleeps any more
RETRY: Final = 2_000_000  # ns: when a Unix socket's queue was full
REMOTE_LOOK: Final = 100_000  # ns: how often the counters of other workers are looked at
STALL: Final = SECOND * 3 // 2  # nothing arrived for so long: what is under way is lost

_SETTING_UP: Final = 0
_SETTLED: Final = 1
_SENDING: Final = 2
_DRAINING: Final = 3


class Loop:
    """The share of `worker` (of `workers`) in `workload`.

    `shared` are the counters of all workers, None where there is one; `control` is a file descriptor to be told of.
    """

    def __init__(
        self,
        workload: Workload,
        network: Network,
        plan: Plan,
        worker: int,
        workers: int,
        shared: memoryview | None = None,
        control: int = -1,
    ) -> None:
        self.network = network
        self.tally = network.tally
        self.publishers: list[Publisher] = []
        self.clients: list[Client] = []
        self._shared = shared if workers > 1 else None
        self._control = control
        self._phase = _SETTING_UP
        self._ready: list[Publisher] = []
        self._sender: dict[int, Client] = {}  # by the publisher's number
        self._alive: dict[str, int] = {}
        self._spacing: float = SECOND / workload.rate if workload.rate else 0.0
        self._of = workload.publishers
        self._count = workload.count if workload.count and workload.publishers else UNBOUNDED
        self._stall = min(STALL, int(workload.timeout * SECOND) // 2)

        # connecting
        self._order: list[int] = []  # the place of each of `clients` among those of all workers
        self._next = 0  # of `clients`, to connect
        self._under_way: deque[Client] = deque()
        self._connect_spacing: float = SECOND / workload.connect_rate if workload.connect_rate else 0.0
        self._at_a_time = max(1, workload.connecting // workers)
        self._timeout = int(workload.timeout * SECOND)
        self._connect_start = 0
        self._retry_at = 0

        # sending
        self._begun = NEVER
        self._schedule = Schedule(self.publishers, self._of, self._spacing, self._count)
        self._remote: list[Publisher] = []
        self._remote_seen: list[int] = []
        self._next_remote = 0

        # looking
        self._next_look = 0
        self._next_ping = 0
        self._pinged = 0

        self._build(workload, plan, worker, workers)
        if control >= 0:
            network.poller.add(control, READ)

    # -- Who is here

    def _build(self, workload: Workload, plan: Plan, worker: int, workers: int) -> None:
        framed = self.network.opening is not None
        if workload.payload > READ_BYTES // 2:
            self.network.read_bytes = READ_MORE_BYTES
        qos = workload.qos
        sources = Sources(plan.topics, workload.payload, workload.version, plan.first_source)
        self._sources = sources
        place = 0
        for number, topic_filter in enumerate(plan.filters):
            if not workload.echo:
                if plan.subscriber_worker[number] == worker:
                    client = Client(self.network, "subscriber", number, plan.identifier("s", number))
                    self._subscribe(client, topic_filter, sources)
                    self._add(client, place)
                place += 1
        for number, topic in enumerate(plan.topics):
            audiences = plan.receivers[number]
            here = sum(audience.sizes[worker] for audience in audiences)
            arrivals: Arrivals | None = None
            if here:
                arrivals = sources.arrivals[number] = Arrivals(here, workload.inflight)
                arrivals.place = worker * workload.publishers + number
            if plan.publisher_worker[number] == worker:
                quota = UNBOUNDED
                if workload.count:
                    quota = workload.count // self._of + (number < workload.count % self._of)
                publisher = Publisher(
                    self.tally,
                    self._ready,
                    number,
                    self._of,
                    topic,
                    workload.payload,
                    qos,
                    workload.version,
                    framed,
                    self._spacing,
                    workload.inflight,
                    quota,
                    plan.first_source,
                )
                publisher.fan = here
                publisher.arrivals = arrivals
                publisher.written_off.append(0)
                if arrivals is not None:
                    arrivals.publisher = publisher
                for other in range(workers):
                    there = 0
                    if other != worker:
                        there = sum(audience.sizes[other] for audience in audiences)
                    if there:
                        publisher.fan += there
                        publisher.remote.append(other * workload.publishers + number)
                        publisher.written_off.append(0)
                if publisher.remote:
                    self._remote.append(publisher)
                    self._remote_seen.append(0)
                self.publishers.append(publisher)
                client = Client(self.network, "publisher", number, plan.identifier("p", number))
                client.publisher = publisher
                if workload.echo:
                    self._subscribe(client, plan.filters[number], sources)
                self._sender[number] = client
                self._add(client, place)
            place += 1
        for number in range(workload.idle):
            if number % workers == worker:
                self._add(Client(self.network, "connection", number, plan.identifier("i", number)), place)
            place += 1

    def _subscribe(self, client: Client, topic_filter: str, sources: Sources) -> None:
        share_name, plain = split_share(topic_filter)
        receiver = Receiver(self.tally, sources, plain, share_name is not None, self.network.decoder)
        client.subscribe_to(topic_filter, receiver)

    def _add(self, client: Client, place: int) -> None:
        self.clients.append(client)
        self._order.append(place)
        self._alive[client.kind] = self._alive.get(client.kind, 0) + 1

    # -- What others want to know and to have done

    @property
    def unacknowledged(self) -> int:
        return sum(publisher.unacknowledged for publisher in self.publishers)

    @property
    def unsent(self) -> int:
        """Messages that are still to be sent: those that are due, or all that a count leaves."""
        if self._count != UNBOUNDED:
            return sum(publisher.quota - publisher.sequence for publisher in self.publishers)
        return sum(publisher.backlog for publisher in self.publishers)

    def start(self, begun: int, window_start: int, window_end: int) -> None:
        """Send from `begun` on; what is due between the other two instants is measured, and after them nothing sent."""
        self._phase = _SENDING
        self._begun = begun
        self._schedule.begin(begun, window_end)
        self.tally.window_start = window_start
        self.tally.window_end = window_end
        for publisher in self.publishers:
            publisher.begun = begun
            publisher.progress_at = begun
            publisher.wake()

    def drain(self) -> None:
        """Send nothing new: only what was due before now, and is late."""
        if self._spacing and self._phase == _SENDING:
            self._schedule.hand_out(monotonic_ns())
        self._phase = _DRAINING

    def end(self) -> None:
        """Disconnect all."""
        for client in self.clients:
            client.say_goodbye()

    # -- The loop

    def run(self, until: int) -> int:
        """Go on until the instant `until`, or until something happens that the caller must know of."""
        network = self.network
        clients = network.clients
        while True:
            now = monotonic_ns()
            if now >= until:
                return TIME
            if now >= self._next_look:
                self._look(now)
            wait = min(until, self._next_look) - now
            if self._phase == _SETTING_UP:
                wait = min(wait, self._connect(now))
                if network.ready == len(self.clients):
                    self._phase = _SETTLED
                    return CONNECTED
            elif self._phase >= _SENDING and now >= self._begun:
                if self._spacing and self._phase == _SENDING:
                    wait = min(wait, self._schedule.hand_out(now))
                if self._remote:
                    wait = min(wait, self._look_at_others(now))
                if self._ready and (self._phase == _SENDING or self._spacing):
                    self._send(now)
                    if self._ready:
                        wait = 0
            elif self._phase == _SENDING:
                wait = min(wait, self._begun - now)
            if network.dirty:
                self._flush(now)
            control = False
            for fd, mask in self._wait(wait):
                if fd == self._control:
                    control = True
                    continue
                client = clients[fd]
                if client is not None:
                    client.happened(mask)
            if self._sources.changed:
                self._tell_others()
            if network.ended and self._bury():
                return BROKEN
            if control:
                return CONTROL

    def _wait(self, nanoseconds: int) -> list[tuple[int, int]]:
        poller = self.network.poller
        if nanoseconds > COARSE:
            return poller.poll((nanoseconds - COARSE // 2) / SECOND, READY_AT_ONCE)
        if nanoseconds > SPIN:
            select.select((poller.fileno(),), (), (), (nanoseconds - SPIN) / SECOND)
        return poller.poll(0.0, READY_AT_ONCE)

    def _flush(self, now: int) -> None:
        dirty = self.network.dirty
        for client in dirty:
            client.flush(now)
        dirty.clear()

    # -- Sending

    def _send(self, now: int) -> None:
        waiting = self._ready.copy()
        self._ready.clear()
        for publisher in waiting:
            publisher.queued = False
            client = self._sender[publisher.number]
            if client.full or client.state != READY:
                continue  # it is woken when its socket has room
            room = publisher.room(self._shared)
            if room <= 0:
                continue
            if room > publisher.batch:
                client.publish(publisher.messages(publisher.batch, now))
                publisher.wake()
            else:
                client.publish(publisher.messages(room, now))

    # -- Other workers

    def _tell_others(self) -> None:
        changed = self._sources.changed
        for arrivals in changed:
            arrivals.changed = False
            if self._shared is not None:
                self._shared[arrivals.place] = arrivals.completed
        changed.clear()

    def _look_at_others(self, now: int) -> int:
        """Wake those for whom there was progress elsewhere; nanoseconds until the next look."""
        shared = self._shared
        if now < self._next_remote or shared is None:
            return self._next_remote - now
        for index, publisher in enumerate(self._remote):
            seen = 0
            for place in publisher.remote:
                completed: int = shared[place]
                seen += completed
            if seen != self._remote_seen[index]:
                self._remote_seen[index] = seen
                publisher.progress_at = now
                publisher.wake()
        self._next_remote = now + REMOTE_LOOK
        return REMOTE_LOOK

    # -- Connecting

    def _connect(self, now: int) -> int:
        """Let those connect whose turn it is; nanoseconds until the next one's."""
        under_way = self._under_way
        while under_way and under_way[0].state >= READY:
            under_way.popleft()
        if not self._connect_start:
            self._connect_start = now
        if now < self._retry_at:
            return self._retry_at - now
        while self._next < len(self.clients):
            if self._connect_spacing:
                wait = self._connect_start + int(self._order[self._next] * self._connect_spacing) - now
                if wait > 0:
                    return wait
            elif self._next - self.network.ready >= self._at_a_time:
                return NEVER
            client = self.clients[self._next]
            if not client.connect(now):
                if now - client.started > self._timeout:
                    raise client.late()
                self._retry_at = now + RETRY
                return RETRY
            under_way.append(client)
            self._next += 1
        return NEVER

    # -- Looking

    def _look(self, now: int) -> None:
        """What is overdue."""
        self._next_look = now + LOOK
        if self._phase == _SETTING_UP:
            for client in self._under_way:
                if client.state < READY and now - client.started > self._timeout:
                    raise client.late()
        elif self._phase == _SENDING and not self._spacing:
            for publisher in self.publishers:
                if publisher.fan and now - publisher.progress_at > self._stall:
                    publisher.progress_at = now
                    if publisher.write_off(self._shared):
                        publisher.wake()
        if self.network.keep_alive and self._phase != _SETTING_UP:
            self._ping(now)

    def _ping(self, now: int) -> None:
        """Each Client has its turn twice in a Keep Alive, and sends PINGREQ where it was silent for a quarter of it."""
        keep_alive = self.network.keep_alive * SECOND
        if not self._next_ping:
            self._next_ping = now
        clients = self.clients
        share = keep_alive // 2 // max(1, len(clients))
        turns = 0
        while self._next_ping <= now and turns < len(clients):
            client = clients[self._pinged % len(clients)]
            self._pinged += 1
            turns += 1
            self._next_ping += share
            if client.state == READY and now - client.last_sent >= keep_alive // 4:
                client.ping()

    def _bury(self) -> bool:
        """Count who has ended; whether nobody of its kind is left."""
        broken = False
        for client in self.network.ended:
            self._alive[client.kind] -= 1
            broken = broken or not self._alive[client.kind]
        self.network.ended.clear()
        return broken
