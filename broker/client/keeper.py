"""Keeping a Client connected: one Network Connection after the other, and whoever waits for something.

`Keeper.run` is the task. `Client` and `Messages` are what an application sees of it.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import trio

from broker.client.connection import Connection
from broker.client.errors import CannotConnect, ClientError, ConnectRefused, Disconnected
from broker.client.impasse import Impasse
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from broker.client.backoff import Backoff
    from broker.client.protocol import Protocol
    from broker.client.requests import Request
    from broker.client.transport import Wire

LEAVE_TIMEOUT: Final = 3.0  # seconds for leaving, all in all

# Refusals and DISCONNECTs after which to come back would be wrong, or would do no good
FINAL_REASONS: Final = frozenset(
    {
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
        ReasonCode.BAD_USER_NAME_OR_PASSWORD,
        ReasonCode.NOT_AUTHORIZED,
        ReasonCode.BANNED,
        ReasonCode.BAD_AUTHENTICATION_METHOD,
        ReasonCode.SESSION_TAKEN_OVER,
        ReasonCode.USE_ANOTHER_SERVER,
        ReasonCode.SERVER_MOVED,
        # What we sent was at fault, and we would send it again
        ReasonCode.MALFORMED_PACKET,
        ReasonCode.PROTOCOL_ERROR,
        ReasonCode.TOPIC_FILTER_INVALID,
        ReasonCode.TOPIC_NAME_INVALID,
        ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
        ReasonCode.TOPIC_ALIAS_INVALID,
        ReasonCode.PACKET_TOO_LARGE,
        ReasonCode.PAYLOAD_FORMAT_INVALID,
        ReasonCode.RETAIN_NOT_SUPPORTED,
        ReasonCode.QOS_NOT_SUPPORTED,
        ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
        ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
    }
)


class Keeper:
    """Keeps `protocol` connected over what `open_wire` opens.

    `reconnect` None means a single Network Connection. With `patient` the first attempt may fail like any other;
    without, its failure is the end.
    """

    def __init__(
        self,
        protocol: Protocol,
        open_wire: Callable[[], Awaitable[Wire]],
        reconnect: Backoff | None,
        patient: bool,
    ) -> None:
        self.protocol = protocol
        self.ended: ClientError | None = None  # why there will be no Network Connection any more
        self._open_wire = open_wire
        self._reconnect = reconnect
        self._patient = patient
        self._connection: Connection | None = None
        self._changed = trio.Event()  # connected or ended, one of them changed
        self._leaving = False
        self._scope = trio.CancelScope(shield=True)

    # -- the task

    async def run(self) -> None:
        """Connect, and again when the Network Connection is lost, until `ended` or `stop`.

        Shielded: when the application is cancelled it still gets its DISCONNECT out, see `leave`.
        """
        with self._scope:
            await self._run()
        self.end(Disconnected(None, "the Client was left"))

    def stop(self) -> None:
        """Leave nothing of `run`."""
        self._scope.cancel()

    async def _run(self) -> None:
        protocol = self.protocol
        delays = None if self._reconnect is None else self._reconnect.delays()
        impasse = Impasse()
        while True:
            error = await self._attempt()
            accepted = not isinstance(error, CannotConnect | ConnectRefused)
            hopeless = impasse.ended(error, protocol.unanswered_subscribe())
            protocol.lost()
            self._tell()
            final = hopeless is not None or _is_final(error)
            if self._reconnect is None or self._leaving or final or not (self._patient or accepted):
                break
            if accepted:
                self._patient = True
                if impasse.count < 2:
                    delays = self._reconnect.delays()
            assert delays is not None
            await trio.sleep(next(delays))
        if not self._leaving:
            self.end(hopeless or error)

    async def _attempt(self) -> ClientError:
        """One Network Connection, from its opening to its end; why it ended."""
        timeout = self.protocol.settings.connect_timeout
        try:
            with trio.fail_after(timeout):
                wire = await self._open_wire()
        except CannotConnect as error:
            return error
        except trio.TooSlowError:
            return CannotConnect(f"no Network Connection within {timeout:g} s")
        self._connection = Connection(self.protocol, wire, self._tell)
        try:
            return await self._connection.run()
        finally:
            self._connection = None

    def end(self, error: ClientError) -> None:
        """It is over: everybody who waits is told. Only the first call counts."""
        if self.ended is None:
            self.ended = error
            self.protocol.fail(error)
            self._tell()

    async def leave(self) -> None:
        """DISCONNECT, and wait until the Server has closed; also in a cancelled task, but not for long."""
        self._leaving = True
        connection = self._connection
        if connection is None or not self.protocol.connected:
            return
        self.protocol.close()
        connection.end()
        with trio.move_on_after(LEAVE_TIMEOUT, shield=True):
            while self.ended is None:
                await self._changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # -- those who wait

    def check(self) -> None:
        """Raise what ended it all."""
        if self.ended is not None:
            raise self.ended

    async def connected(self) -> None:
        """Wait until there is a Network Connection with its CONNACK; raise what ended it all."""
        while not self.protocol.connected:
            self.check()
            await self._changed.wait()

    async def settled(self, request: Request, answered: bool = True) -> None:
        """Wait for `request`; raise its error. `answered`: the Server's answer settles it, so it must be read."""
        self.wake()
        if not request.done:
            event = trio.Event()
            request.settled = event.set
            try:
                with self.awaiting() if answered else nullcontext():
                    await event.wait()
            finally:
                request.settled = None
        if request.error is not None:
            raise request.error

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """Meanwhile the Network Connection is read, even if a buffer is full: somebody waits for what is to come."""
        self.protocol.awaited += 1
        self.read_on()
        try:
            yield
        finally:
            self.protocol.awaited -= 1

    def wake(self) -> None:
        """Something may be there to be sent."""
        if self._connection is not None:
            self._connection.wake()

    def read_on(self) -> None:
        """There may be a reason to read."""
        if self._connection is not None:
            self._connection.read_on()


def _is_final(error: ClientError) -> bool:
    """Whether the Server said what it would say again. A fault that we found in the Server may be gone next time."""
    if isinstance(error, Disconnected) and not error.by_server:
        return False
    return isinstance(error, ConnectRefused | Disconnected) and error.reason in FINAL_REASONS
