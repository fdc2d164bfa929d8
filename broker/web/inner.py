"""A Network Connection without a network: who publishes or listens over HTTP is a Client of the broker like any other.

It sends Control Packets and reads the answers, so that who it is, what it may, every limit and every counter are those
of MQTT. Its transport is called "http". What it does not read waits in its outbox, whose bounds hold as for a socket.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

import trio

from broker.core.limits import Limits
from broker.core.ports import Peer
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import Disconnect

if TYPE_CHECKING:
    from broker.packets.types import ControlPacket
    from broker.web.exchange import Caller
    from broker.web.system import System

P = TypeVar("P")

READ_BYTES = 16 * 1024  # taken from the outbox at once


class Ended(Exception):
    """The broker has ended the connection; `reason` is that of its DISCONNECT."""

    def __init__(self, reason: int) -> None:
        super().__init__(f"0x{reason:02X}")
        self.reason = reason


class Inner:
    """See the module. An async context manager: at its end the connection is over."""

    def __init__(self, system: System, caller: Caller, headers: dict[str, str]) -> None:
        self._system = system
        limits = next((each.limits for each in system.listeners if each.url == caller.listener), None) or Limits()
        peer = Peer(caller.address, "http", caller.listener, headers)
        self.connection = system.broker.accept(peer, limits, trio.current_time())
        self.connection.outbox.sink = self
        self._decoder = Decoder(DecoderLimits(), 5, server=False)
        self._packets: deque[ControlPacket] = deque()
        self._came = trio.Event()

    async def __aenter__(self) -> Inner:
        return self

    async def __aexit__(self, *_: object) -> None:
        now = trio.current_time()
        connection = self.connection
        connection.outbox.sink = None
        connection.lost(now, "the HTTP request is answered")
        connection.outbox.clear()
        self._system.broker.gone(connection)
        self._system.settle(now)

    def flush(self) -> None:
        """For the outbox, whose sink this is."""
        self._came.set()

    def measure(self, now: float) -> None:
        """For the outbox: there is nobody at the other end."""

    async def say(self, packet: ControlPacket) -> None:
        """Send one Control Packet."""
        connection = self.connection
        connection.receive(encode(packet, 5), trio.current_time())
        while connection.waiting is not None:
            answer = await connection.waiting
            connection.authenticated(answer, trio.current_time())
        self._system.settle(trio.current_time())

    async def hear(self, kind: type[P], keep: bool = False) -> P:
        """The next Control Packet of this kind; others before it are left out, or with `keep` are heard later. Raises
        Ended."""
        passed: list[ControlPacket] = []
        while True:
            while self._packets:
                packet = self._packets.popleft()
                if isinstance(packet, Disconnect):
                    raise Ended(packet.reason)
                if isinstance(packet, kind):
                    self._packets.extendleft(reversed(passed))
                    return packet
                if keep:
                    passed.append(packet)
            await self._read()

    async def _read(self) -> None:
        """Take some of the outbox, when there is something."""
        connection = self.connection
        outbox = connection.outbox
        while not (data := outbox.take(READ_BYTES)):
            if connection.ended:
                raise Ended(ReasonCode.UNSPECIFIED_ERROR)
            self._came = trio.Event()
            await self._came.wait()
        outbox.sent()
        self._packets.extend(self._decoder.feed(data))
        if not connection.ended:
            now = trio.current_time()
            connection.drained(now)
            self._system.settle(now)
