"""One Network Connection over a socket: reads into its Layers, writes what they give. Owned and called by the Pump.

Writing is direct: `flush` takes what the outbox holds and sends it; what the socket does not take waits for the poller
to say that it can. Ending is orderly: what is to be said goes out first, then our half is shut, and the rest of what
the peer sends is read and thrown away until it closes too or LINGER has passed. Closing a socket with unread bytes in
it would reset the connection, and the peer would lose the very DISCONNECT that says why.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from broker.transport.layers import TAKE_BYTES
from broker.transport.poller import READ, WRITE

if TYPE_CHECKING:
    from broker.transport.layers import Layers
    from broker.transport.pump import Pump

# From one socket in one round. Above the 128 KiB from which malloc maps pages, each read would map and unmap some.
READ_BYTES: Final = 64 * 1024
# And where it has long sent little: as much as fits into the smallest blocks of Python's allocator.
FEW_BYTES: Final = 448
SMALL_READS: Final = 16  # in a row, then room is made for FEW_BYTES only
LINGER: Final = 2.0  # seconds for the peer to close after us


class Link:
    """See the module. `interest` is what the poller watches for; 0 when the socket is closed."""

    __slots__ = (
        "closed",
        "failure",
        "fd",
        "interest",
        "last_sent",
        "layers",
        "paused",
        "progress_at",
        "pump",
        "resting",
        "room",
        "shut",
        "small_reads",
        "socket",
        "stall_due",
        "unsent",
    )

    def __init__(self, pump: Pump, connected: socket.socket, layers: Layers) -> None:
        self.pump = pump
        self.socket = connected
        self.fd = connected.fileno()
        self.layers = layers
        self.unsent: memoryview | None = None
        self.interest = READ
        self.paused = False
        self.resting = False  # not read because it has sent more than its rates allow
        self.room = READ_BYTES if layers.rates is None else layers.rates.room
        self.small_reads = 0
        self.shut = False  # our half is
        self.failure = ""  # why the peer takes nothing any more
        self.closed = False
        self.progress_at = 0.0  # when a byte last left while some were waiting
        self.stall_due = False  # the pump has a deadline for that
        self.last_sent = pump.now
        layers.outbox.sink = self
        layers.door = self

    def measure(self, now: float) -> None:
        """For the outbox, whose sink this is."""
        if not self.shut:
            self.layers.measure(now)

    # -- The pump

    def readable(self, now: float) -> None:
        """Take what has come."""
        try:
            data = self.socket.recv(FEW_BYTES if self.small_reads >= SMALL_READS else self.room)
        except BlockingIOError:
            return
        except OSError as error:
            self.abort(f"connection lost: {error.strerror}", now)
            return
        self.small_reads = self.small_reads + 1 if len(data) < FEW_BYTES else 0
        if self.shut:
            if not data:
                self.close()
            return
        layers = self.layers
        if data:
            rates = layers.rates
            if rates is None:
                layers.receive(data, now)
            else:
                layers.receive_counted(rates, data, now)
                self.room = rates.room
            connection = layers.connection
            if connection.waiting is not None:
                self.pump.wait_for(self)
            elif connection.arriving:
                self.pump.hold(self)
            elif rates is not None:
                self.pump.rest(self, now)
        elif self.failure:
            self.abort(self.failure, now)
        else:
            layers.eof(now)
            self.pause()  # while bytes wait for a slow reader: its end would be reported in every round

    def writable(self, now: float) -> None:
        """There is room in the socket for what waits."""
        self.progress_at = now
        unsent = self.unsent
        if unsent is not None:
            sent = self._send(unsent)
            if sent < 0:
                return
            if sent < len(unsent):
                self.unsent = unsent[sent:]
                return
            self.unsent = None
            self.layers.outbox.recover(now)
            self.layers.outbox.sent()
            self.watch(self.interest & ~WRITE)
            self.pump.stalled.pop(self, None)
        self.flush()

    # -- The outbox

    def flush(self) -> None:
        """Send what the layers give, as far as the socket takes it; close when the connection is over."""
        if self.unsent is not None or self.closed:
            return
        if self.failure:
            self._hear_out()
            return
        try:
            layers = self.layers
            outbox = layers.outbox
            while True:
                data = outbox.take(TAKE_BYTES) if layers.plain else layers.take(TAKE_BYTES)
                if not data:
                    break
                sent = self._send(data)
                if sent < 0:
                    return
                if sent < len(data):
                    self.unsent = memoryview(data)[sent:]
                    self.watch(self.interest | WRITE)
                    self.pump.stall(self)
                    outbox.hold(self.pump.now)
                    return
                if outbox.held:
                    outbox.recover(self.pump.now)
                outbox.sent()
                if not outbox.parts and layers.plain:
                    break
            self.last_sent = self.pump.now
            connection = layers.connection
            if connection.ended:
                self._finish()
            else:
                connection.drained(self.pump.now)
        except Exception as error:
            self.pump.bug(self, error, self.pump.now)

    # -- The end

    def _finish(self) -> None:
        """Everything is said. Shut our half; the peer closes, or `linger` ends it."""
        if self.shut:
            return
        line = self.layers.line
        if line is not None and not line.over:
            line.left()
            return
        self.shut = True
        if self.layers.peer_is_done:
            self.close()
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        if self.paused:
            self.resume()
        self.pump.linger(self)

    def abort(self, reason: str, now: float) -> None:
        """The network has failed, or we give up on it: close at once."""
        if not self.closed:
            self.layers.connection.lost(now, reason)
            self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.unsent = None
            self.layers.outbox.clear()
            self.layers.outbox.sink = None
            self.pump.forget(self)
            self.socket.close()

    # -- Reading or not

    def pause(self) -> None:
        if not self.paused:
            self.paused = True
            self.watch(self.interest & ~READ)

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.watch(self.interest | READ)

    def watch(self, interest: int) -> None:
        if interest != self.interest and not self.closed:
            self.pump.poller.change(self.fd, self.interest, interest)
            self.interest = interest

    def _send(self, data: bytes | memoryview) -> int:
        """Bytes sent, 0 when the socket is full; -1 when the peer takes nothing any more."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.failure = f"connection lost: {error.strerror}"
            self.unsent = None
            self.watch(self.interest & ~WRITE)
            self.pump.stalled.pop(self, None)
            self.pump.linger(self)
            self._hear_out()
            return -1

    def _hear_out(self) -> None:
        """Say no more, but read to the end what has come before it: a DISCONNECT may stand there."""
        if self.layers.connection.ended:
            self.close()
        else:
            self.layers.outbox.clear()
