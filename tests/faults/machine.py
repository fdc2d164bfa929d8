"""A broker with its store and its Clients in one thread, without a socket or a loop: a test may stop it at any point.

A `Machine` is a core over a `SqliteStore`, driven as the pump drives it: bytes in, outboxes out, and at the end of a
round what has changed is handed to the store. Its time moves when a test says so. Only the store's own writer is a
thread, and `step` waits for it or does not, so that the next round may come while a commit is under way.
"""

from __future__ import annotations

import contextlib
import select
import shutil
from typing import TYPE_CHECKING

import apsw

from broker.core.broker import Broker
from broker.core.limits import Limits, ServerLimits
from broker.core.ports import Peer
from broker.core.restoring import Restorer
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.types import MQTT_5_0, Connect, ControlPacket, Properties
from broker.store.folder import StoreFailed
from broker.store.store import SqliteStore
from tests.faults.traffic import Durable, Wire

if TYPE_CHECKING:
    from pathlib import Path

    from broker.core.journal import Journal
    from broker.core.session import Session
    from tests.faults.disks import Disk

WALL_TIME = 1_800_000_000.0  # at the time 0 of all machines
COMMIT_SECONDS = 20.0  # for a commit on a busy machine


class Machine:
    """See the module. `folder` is the data folder, `disk` what it is on; `now` is not before the last machine's."""

    def __init__(self, folder: Path, durability: str, disk: Disk | None = None, now: float = 1000.0) -> None:
        self.now = now
        self.limits = Limits()
        self.limits.server_keep_alive_maximum = 0
        server_limits = ServerLimits()
        server_limits.sys_interval = 0.0
        self.store = SqliteStore(folder, durability, vfs=disk.name if disk else "", reserve=0, ballast=0)
        self.store._wall = self.wall_time
        self.store.open(now)
        self.broker = Broker(server_limits, None, self.store)
        assert self.broker.journal is not None
        self.journal: Journal = self.broker.journal
        self.store.load(Restorer(self.broker, self.limits, now))
        self.store.start(now)
        self._next_tick = now + 1.0

    def wall_time(self) -> float:
        return WALL_TIME + self.now

    def settle(self) -> None:
        """End a round: what has changed is handed over, unless a batch is being written, and outboxes leave."""
        self.broker.flush(self.now)
        while self.broker.dirty:
            self.broker.flush(self.now)

    def ready(self, within: float) -> bool:
        """Whether the store has something to say within so many seconds."""
        poll = select.poll()
        poll.register(self.store.fileno(), select.POLLIN)
        return bool(poll.poll(within * 1000))

    def collect(self) -> None:
        """Take back what is committed; the next batch is on its way then."""
        self.store.collect(self.now)
        self.settle()

    def step(self, wait: bool = True) -> bool:
        """End a round, and take back what is committed, after waiting for it or at once; whether something was."""
        before = self.journal.committed
        self.settle()
        if self.store.busy and self.ready(COMMIT_SECONDS if wait else 0.0):
            self.collect()
        return self.journal.committed != before

    def advance(self, seconds: float) -> None:
        """Let time pass, and the broker and the store do what falls due."""
        self.now += seconds
        self.broker.tick(self.now)
        self.settle()
        if self.now >= self._next_tick:
            self._next_tick = self.now + 1.0
            self.store.tick(self.now)

    def rest(self) -> None:
        """Until there is nothing left to commit."""
        while self.store.busy or self.journal.pending():
            assert self.step(), "the store does not come to an end"

    def retained(self) -> dict[str, bytes]:
        """Payloads by topic."""
        return {message.topic: message.payload for message in self.broker.retained.read("#") if message is not None}

    def copy(self, folder: Path) -> None:
        """Copy the data folder as a process leaves it that is killed now; no commit may be under way."""
        folder.mkdir()
        for name in ("store.db", "store.db-wal", "clock"):
            shutil.copyfile(self.store.folder.path / name, folder / name)

    def close(self) -> None:
        """An end in order."""
        self.store.close(self.now)

    def discard(self) -> None:
        """The end of a machine whose folder nobody looks at any more, be its disk dead."""
        with contextlib.suppress(StoreFailed, apsw.Error):
            self.store.close(self.now)


def contents(session: Session, now: float) -> list[tuple[bytes, int]]:
    """Payload and QoS of all that a Session without a connection holds, in order: sent before, and waiting."""
    session.page_in(now)
    assert session.paged is None or session.queued_messages() == len(session.pending), "more than a page"
    held = [*session.outgoing.unacknowledged.values(), *session.pending]
    return [(each.message.payload, min(each.message.qos, each.delivery.maximum_qos)) for each in held]


class MemoryWire(Wire):
    """A Network Connection to a `Machine`."""

    def __init__(self, machine: Machine, version: int) -> None:
        self.machine = machine
        self.version = version
        self.ended = False
        self._come = b""
        self._decoder = Decoder(DecoderLimits(), version, server=False)
        self.connection = machine.broker.accept(Peer("memory", "memory"), machine.limits, machine.now)
        self.connection.outbox.sink = self

    def send(self, data: bytes) -> None:
        if not self.connection.ended:
            self.connection.receive(data, self.machine.now)

    def measure(self, now: float) -> None:
        """For the outbox: nothing here takes time."""

    def flush(self) -> None:
        """The broker's side: take what waits in the outbox."""
        outbox = self.connection.outbox
        while outbox.parts:
            self._come += outbox.take()
            outbox.sent()
        if self.connection.ended and not self.ended:
            self.ended = True
            self.connection.lost(self.machine.now)
            self.machine.broker.gone(self.connection)
        elif not self.ended:
            self.connection.drained(self.machine.now)

    def blocked(self) -> bool:
        return False

    def receive(self) -> list[ControlPacket]:
        data, self._come = self._come, b""
        packets = self._decoder.feed(data)
        assert self._decoder.error is None, self._decoder.error
        return packets

    def close(self) -> None:
        """The network is lost: no DISCONNECT."""
        if not self.ended:
            self.ended = True
            self.connection.lost(self.machine.now)
            self.connection.outbox.clear()
            self.machine.broker.gone(self.connection)


class Near(Durable):
    """A Client that keeps its word, of a `Machine`."""

    def join(self, machine: Machine, clean_start: bool = False) -> None:
        """Begin a Network Connection; an older one is left as it is."""
        self.wire = MemoryWire(machine, self.version)
        self.connack = self.disconnect = None
        self.ready = self.pinged = False
        self.answers.clear()
        self.held.clear()
        properties = Properties()
        if self.version == MQTT_5_0 and self.durable:
            properties.session_expiry_interval = self.expiry
        clean = clean_start or not self.durable
        self.send(Connect(self.name, self.version, clean, 0, will=self.will, properties=properties))

    def turn(self) -> None:
        """Read and answer what there is."""
        wire = self.wire
        if wire is None:
            return
        for packet in wire.receive():
            self.handle(packet)
        if wire.ended:
            self.close()
        else:
            self.let_go()
