"""A fleet of simulated devices on the network: each a Client of its own, some over TCP, some over WebSocket.

A device is born with a retained `online` on its `<device>/state` and has `offline` as its Will Message, retained too.
It publishes a message every so often until the fleet is told to end; then it clears its state, so that nothing is left
in the broker, and disconnects in order. A device that loses its connection comes back, and is born again.

One task a device: a fleet is to look like life, not to be the heaviest load that can be made.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import trio

from broker.client import Backoff, Client, ClientError, Will, connect
from broker.packets.types import Properties

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.simulation.devices import Device

CONNECTING: Final = 32  # devices that connect at a time
ENDING_SECONDS: Final = 5.0  # for all devices to clear their state and to disconnect
ONLINE: Final = "online"
OFFLINE: Final = "offline"


class Fleet:
    """`run` it, ask it how it is doing, and `end` it."""

    def __init__(
        self, devices: Sequence[Device], urls: Sequence[str], rate: float, clock: Callable[[], float] = time.time
    ) -> None:
        """`rate` is the messages a second of all devices together; `clock` tells their readings' time.

        Devices of each kind are dealt out to the `urls` in turn. ValueError where there is nothing to do.
        """
        if not devices or not urls or not rate > 0:
            raise ValueError("a fleet needs a device, a URL and a rate above 0")
        self.devices = devices
        self.interval = len(devices) / rate  # seconds between two messages of one device
        self.connected = 0
        self.published = 0  # messages of the devices' sensors
        self.cleared = 0  # devices that came to their end in order
        self.lost = 0  # connections that ended, or did not come about, unasked
        self.trouble: ClientError | None = None  # the last one's reason
        self.url_of: dict[str, str] = {}
        self._clock = clock
        self._ending = trio.Event()
        self._doors = trio.CapacityLimiter(CONNECTING)
        kinds: dict[str, list[str]] = {}
        for device in devices:
            of_kind = kinds.setdefault(device.kind, [])
            # The nth of a kind, counted from another url for each kind
            self.url_of[device.topic] = urls[(len(of_kind) + list(kinds).index(device.kind)) % len(urls)]
            of_kind.append(device.topic)

    def transport_of(self, topic: str) -> str:
        """ "tcp", "ws" or "unix": how the device publishes to whom a topic belongs; "" for a topic of nobody here."""
        device = "/".join(topic.split("/")[:2])
        return transport(self.url_of[device]) if device in self.url_of else ""

    @property
    def is_ending(self) -> bool:
        return self._ending.is_set()

    def end(self) -> None:
        """Let `run` come to its end, in order."""
        self._ending.set()

    async def run(self) -> None:
        """Live until `end`; then nothing is left behind, or ENDING_SECONDS have passed."""
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._bound, nursery.cancel_scope)
            async with trio.open_nursery() as alive:
                for index, device in enumerate(self.devices):
                    phase = self.interval * index / len(self.devices)
                    alive.start_soon(self._live, device, started + phase)
            nursery.cancel_scope.cancel()

    async def _bound(self, scope: trio.CancelScope) -> None:
        await self._ending.wait()
        await trio.sleep(ENDING_SECONDS)
        scope.cancel()

    async def _live(self, device: Device, due: float) -> None:
        will = Will(f"{device.topic}/state", OFFLINE, qos=1, retain=True)
        delays = Backoff().delays()
        while not self._ending.is_set():
            try:
                async with AsyncExitStack() as leaving:
                    async with self._doors:
                        client = await leaving.enter_async_context(
                            connect(
                                self.url_of[device.topic], client_identifier=device.name, will=will, reconnect=False
                            )
                        )
                    self.connected += 1
                    leaving.callback(self._left)
                    delays = Backoff().delays()
                    await self._publish_until_end(client, device, due)
            except ClientError as error:
                self.lost += 1
                self.trouble = error
                due = max(due, trio.current_time())
                with trio.move_on_after(next(delays)):
                    await self._ending.wait()

    def _left(self) -> None:
        self.connected -= 1

    async def _publish_until_end(self, client: Client, device: Device, due: float) -> None:
        state = f"{device.topic}/state"
        properties = Properties()
        properties.content_type = device.content_type
        await client.publish(state, ONLINE, qos=1, retain=True)
        while True:
            with trio.move_on_at(due):
                await self._ending.wait()
                break
            topic, payload, qos = device.next_message(self._clock())
            await client.publish(topic, payload, qos=qos, properties=properties)
            self.published += 1
            # Who is late does not make up for it: a burst is not what a sensor does
            due = max(due + self.interval, trio.current_time())
        await client.publish(state, b"", qos=1, retain=True)
        self.cleared += 1


def transport(url: str) -> str:
    """How the broker names what a URL leads to."""
    scheme = url.partition(":")[0]
    return {"mqtt": "tcp", "tcp": "tcp", "ws": "ws", "unix": "unix"}[scheme]
