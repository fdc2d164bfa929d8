"""The iterator that `Client.subscribe` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from broker.client.message import Message

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from broker.client.keeper import Keeper
    from broker.client.subscriptions import Subscription
    from broker.packets.reasons import ReasonCode


class Messages(trio.abc.ReceiveChannel[Message]):
    """Messages that match a subscription, in the order in which the Server sent them.

        async for message in client.subscribe("a/#"): ...

        async with client.subscribe("a/#") as messages:  # here the Server has granted the subscription
            async for message in messages: ...

    The Server is asked at the first of these; SubscribeRefused when it refuses. Asking for the next message says that
    the application is through with the one before: only then that is acknowledged at QoS 1 and 2, so one whose
    processing failed is not lost to a Session that outlives the program.

    Leaving unsubscribes, without waiting for the Server. A bare `async for` leaves when it ends; with an exception in
    flight that may be later than expected, so prefer `async with` where it matters. After a reconnect the subscription
    is renewed where the Server lost it. When there will be no Network Connection any more, what has come is still
    given, then the reason is raised.
    """

    def __init__(self, keeper: Keeper, subscription: Subscription, unsubscribe: bool) -> None:
        self._keeper = keeper
        self._subscription = subscription
        self._keep = not unsubscribe
        self._begun = False
        self._left = False

    @property
    def granted(self) -> dict[str, int]:
        """The QoS that the Server granted to each Topic Filter."""
        return self._subscription.granted

    @property
    def refused(self) -> dict[str, ReasonCode]:
        """The Topic Filters that the Server refused of a subscription that may be granted `partly`, and why."""
        return self._subscription.refused

    @property
    def dropped(self) -> int:
        """Messages of QoS 0 that were dropped: the buffer was full, and an answer had to be read."""
        return self._subscription.dropped

    @property
    def buffered(self) -> int:
        """Messages that wait."""
        return len(self._subscription.buffer)

    async def receive(self) -> Message:
        """The next message. Only one task at a time may ask."""
        if self._left:
            raise trio.ClosedResourceError
        if not self._begun:
            await self._begin()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        protocol = self._keeper.protocol
        subscription = self._subscription
        if subscription.arrived is not None:
            raise trio.BusyResourceError("another task waits for the next message")
        if subscription.in_hand is not None:
            protocol.through(subscription)
            self._keeper.wake()
        while not subscription.buffer:
            if subscription.ended is not None:
                raise subscription.ended
            if self._left:
                raise trio.ClosedResourceError
            arrived = trio.Event()
            subscription.arrived = arrived.set
            try:
                await arrived.wait()
            finally:
                subscription.arrived = None
        message = protocol.subscriptions.take(subscription)
        self._keeper.read_on()
        return message

    async def aclose(self) -> None:
        self._leave(failed=False)
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        if not self._begun:
            await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(failed=error is not None)

    def __del__(self) -> None:
        self._leave(failed=True)

    async def _begin(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._keeper.check()
        self._keeper.protocol.subscribe(self._subscription)
        self._begun = True
        try:
            await self._keeper.settled(self._subscription)
        except BaseException:
            self._leave(failed=True)
            raise

    def _leave(self, failed: bool) -> None:
        """With `failed` the message in hand counts as not worked on, which a Session that is kept remembers."""
        if self._left:
            return
        self._left = True
        if not self._begun or self._keeper.ended is not None:
            return
        protocol = self._keeper.protocol
        subscription = self._subscription
        if not (failed and self._keep):
            protocol.through(subscription)
        protocol.leave(subscription, self._keep)
        subscription.wake()
        self._keeper.wake()
        self._keeper.read_on()
