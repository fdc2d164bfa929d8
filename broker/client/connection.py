"""One Network Connection in Trio: a task that reads, a task that writes, nothing a message.

The writer gathers: whatever was asked for since its last write goes out in one. It keeps time as well, for CONNACK,
Keep Alive and a write that does not come to its end.

**Back-pressure.** While a buffer of messages is full the reader does not read, so that TCP slows the Server down. Yet
an application that waits for an answer, perhaps in the very loop that empties the buffer, must get it: then the reader
reads on. What comes meanwhile at QoS 0 for a full buffer is dropped and counted; at QoS 1 and 2 the Receive Maximum
bounds it, since nothing is acknowledged before the application is through with it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import trio

from broker.client.tls import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.client.errors import ClientError
    from broker.client.protocol import Protocol
    from broker.client.transport import Wire

WRITE_TIMEOUT: Final = 30.0  # seconds for one write to come to its end
CLOSE_TIMEOUT: Final = 1.0  # seconds for the last write, and again for the Server to close after it


class Connection:
    """The two tasks of one Network Connection of `protocol` over `wire`; `changed` is called when it is accepted."""

    def __init__(self, protocol: Protocol, wire: Wire, changed: Callable[[], None]) -> None:
        self._protocol = protocol
        self._wire = wire
        self._changed = changed
        self._asked = trio.Event()  # the writer has something to do
        self._room = trio.Event()  # the reader may go on
        self._stall = trio.CancelScope()  # round the writer
        self._ending = False
        self._failure: ClientError | None = None

    def wake(self) -> None:
        """The protocol was asked for something."""
        if self._protocol.pending:
            self._asked.set()

    def read_on(self) -> None:
        """A buffer may have room again, or somebody waits for an answer."""
        self._room.set()

    def end(self) -> None:
        """Send what there is to send, then close."""
        if not self._ending:
            self._ending = True
            self._stall.deadline = trio.current_time() + CLOSE_TIMEOUT
            self._asked.set()
            self._room.set()

    async def run(self) -> ClientError:
        """Keep up the Network Connection until it ends; why it did."""
        protocol = self._protocol
        try:
            protocol.open(trio.current_time())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                await self._read()
                self.end()
        finally:
            await trio.aclose_forcefully(self._wire.stream)
        return protocol.error or self._failure or protocol.gone("the Server closed the Network Connection")

    async def _read(self) -> None:
        """Until the end, also when we are closing: unread bytes would turn our close into a reset of the connection."""
        protocol = self._protocol
        wire = self._wire
        while protocol.error is None:
            if protocol.subscriptions.full:
                await self._wait_for_room()
            try:
                data = await wire.receive()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._broken(error)
                return
            if data is None:
                return
            connected = protocol.connected
            protocol.spill = protocol.awaited > 0 and protocol.subscriptions.full
            protocol.receive(data, trio.current_time())
            if protocol.connected is not connected:
                self._changed()
                self._asked.set()
            elif protocol.pending or wire.replies:
                self._asked.set()

    async def _wait_for_room(self) -> None:
        protocol = self._protocol
        while protocol.subscriptions.full and not protocol.awaited and not self._ending:
            protocol.keep_alive.reading = False
            self._room = trio.Event()
            await self._room.wait()
        if not protocol.keep_alive.reading:
            protocol.keep_alive.read_again(trio.current_time())
            self._asked.set()

    async def _write(self, scope: trio.CancelScope) -> None:
        """`scope` holds the reader too."""
        try:
            with self._stall:
                await self._write_until_the_end()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._broken(error)
        if self._stall.cancelled_caught:
            self._failure = self._protocol.gone("a write did not come to its end")
        if self._failure is not None:
            scope.cancel()
        else:
            scope.deadline = trio.current_time() + CLOSE_TIMEOUT

    async def _write_until_the_end(self) -> None:
        protocol = self._protocol
        wire = self._wire
        while True:
            self._asked = trio.Event()
            data = protocol.take()
            if data or wire.replies:
                if not self._ending:
                    self._stall.deadline = trio.current_time() + WRITE_TIMEOUT
                await wire.send(data)
                if not self._ending:
                    self._stall.deadline = inf
                protocol.handed(trio.current_time())
            elif self._ending:
                break
            else:
                await self._wait(protocol.deadline())
                protocol.tick(trio.current_time())
                if protocol.error is not None:
                    self.end()
        wire.close_frame()
        if wire.replies:
            await wire.send(b"")

    async def _wait(self, deadline: float) -> None:
        if deadline == inf:
            await self._asked.wait()
        else:
            with trio.CancelScope(deadline=deadline):
                await self._asked.wait()

    def _broken(self, error: Exception) -> None:
        self._failure = self._protocol.gone(f"the Network Connection broke off ({explain(error.__cause__ or error)})")
