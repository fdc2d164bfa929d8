"""Watching a fleet through the broker: one Client a URL, which also asks first whether anybody is there.

Two URLs often lead to the same broker by two doors. `Watch` finds out, by a message that goes in at one and is looked
for at the other, and then watches each broker once: no message is counted twice, and none is fetched for nothing.
"""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from broker.client import Backoff, CannotConnect, Client, ClientError, ConnectRefused, connect, parse
from broker.client.client import VERSIONS
from broker.client.keeper import FINAL_REASONS
from broker.client.subscriptions import Subscription
from broker.packets.types import SubscriptionRequest
from broker.simulation.line import Ear, open_line, settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broker.packets.types import Publish
    from broker.simulation.fleet import Fleet
    from broker.simulation.meter import Meter

BUFFER: Final = 1000  # messages of QoS 1 and 2, which nobody sends to a subscription of QoS 0
CHORES: Final = 5.0  # seconds between two looks at the Keep Alive
ROOTS: Final = 16  # Topic Filters of a watcher; one that has more watches everything below the prefix
LOOKED_FOR: Final = 0.4  # seconds in which a message comes from one door to another
CLEARING_SECONDS: Final = 3.0
LONGEST_PAUSE: Final = 5.0  # seconds before a Client that lost its connection tries again


class Watch:
    """What `watching` gives: a Client for each URL, and for each broker the places of the URLs that lead to it."""

    def __init__(self, fleet: Fleet, meter: Meter, clients: Sequence[Client], groups: list[list[int]]) -> None:
        self.groups = groups
        self._fleet = fleet
        self._meter = meter
        self._clients = clients

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Count what comes through each broker, until cancelled; started when each has granted its subscription."""
        async with trio.open_nursery() as nursery:
            for group in self.groups:
                await nursery.start(self._listen, group)
            task_status.started()

    async def _listen(self, group: list[int], *, task_status: trio.TaskStatus[None]) -> None:
        meter = self._meter
        mine = set(group)
        everything = len(mine) == len(self._clients)

        def heard(packet: Publish) -> None:
            # What is retained was said before, or by somebody else
            if not packet.retain and (everything or meter.place_of(packet.topic) in mine):
                meter.count(packet.topic, packet.payload)

        url = self._fleet.urls[group[0]]
        endpoint = parse(url)
        requests = [SubscriptionRequest(topic_filter, 0) for topic_filter in topic_filters(self._fleet)]
        waiting = task_status
        backoff = Backoff(maximum=LONGEST_PAUSE)
        delays = backoff.delays()
        while True:
            protocol = Ear(settings_for(endpoint, VERSIONS[self._fleet.version]), heard)
            subscription = Subscription(requests, BUFFER)
            try:
                line = await open_line(endpoint, protocol, self._fleet.tls.get(url))
            except ClientError as error:
                if isinstance(error, ConnectRefused) and error.reason in FINAL_REASONS:
                    raise
                await trio.sleep(next(delays))
                continue
            try:
                protocol.subscribe(subscription)
                line.flush(trio.current_time())
                while not line.closed:
                    if subscription.done:
                        if subscription.error is not None:
                            raise subscription.error
                        waiting.started()
                        waiting = trio.TASK_STATUS_IGNORED
                        delays = backoff.delays()
                    with trio.move_on_after(CHORES):
                        await trio.lowlevel.wait_readable(line.fd)
                        line.readable(trio.current_time())
                    line.tick(trio.current_time())
            finally:
                line.disconnect()
                line.flush(trio.current_time())
                line.close()
            await trio.sleep(next(delays))

    async def clear(self) -> None:
        """Clear what devices left behind that were away at the end."""
        with trio.move_on_after(CLEARING_SECONDS):
            async with trio.open_nursery() as nursery:
                for place, client in enumerate(self._clients):
                    if client.connected:
                        nursery.start_soon(self._clear, place, client)

    async def _clear(self, place: int, client: Client) -> None:
        for member in self._fleet.members:
            if member.place == place and not member.cleared:
                try:
                    for topic in member.device.retained_topics:
                        await client.publish(topic, b"", qos=1, retain=True)
                except ClientError:
                    return
                member.cleared = True


@asynccontextmanager
async def watching(fleet: Fleet, meter: Meter, urls: Sequence[str], version: str) -> AsyncIterator[Watch]:
    """A Watch on `fleet`. The first error of connecting to any of `urls` is raised; later on, Clients come back."""
    async with AsyncExitStack() as leaving:
        backoff = Backoff(maximum=LONGEST_PAUSE)
        clients: list[Client] = []
        for url in urls:
            try:
                connecting = connect(url, version=version, reconnect=backoff, tls=fleet.tls.get(url))
                clients.append(await leaving.enter_async_context(connecting))
            except CannotConnect as error:
                # Which of them it is, where the error does not say so itself
                where = str(parse(url))
                raise (error if where in str(error) else CannotConnect(f"{where}: {error}")) from error.__cause__
        groups: list[list[int]] = []
        for place, client in enumerate(clients):
            for group in groups:
                if await leads_to(client, clients[group[0]]):
                    group.append(place)
                    break
            else:
                groups.append([place])
        yield Watch(fleet, meter, clients, groups)


async def leads_to(one: Client, other: Client) -> bool:
    """Whether what is published to one is published to the other: the same broker, or a bridge to it."""
    topic = f"simulate/{secrets.token_hex(8)}"
    found = False
    try:
        with trio.move_on_after(LOOKED_FOR * 5):
            async with other.subscribe(topic) as messages:
                await one.publish(topic, b"?", qos=1)
                with trio.move_on_after(LOOKED_FOR):
                    await messages.receive()
                    found = True
    except ClientError:
        return False  # it may not be asked, so both are watched
    return found


def topic_filters(fleet: Fleet) -> list[str]:
    """What to subscribe to for all that the devices say."""
    roots = sorted({device.root for device in fleet.devices})
    if len(roots) <= ROOTS:
        return [f"{root}/#" for root in roots]
    prefix = fleet.devices[0].prefix
    return [f"{prefix}#"]
