"""A broker with listeners in memory, for what looks at it over HTTP."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from broker.core.broker import Broker
from broker.core.limits import Limits
from broker.core.message import ApplicationMessage
from broker.core.ports import Peer
from broker.packets.encode import encode
from broker.packets.types import Connect, Subscribe, SubscriptionRequest
from broker.web.system import System

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from broker.core.connection import Connection
    from broker.core.limits import ServerLimits
    from broker.core.ports import Store
    from broker.packets.types import ControlPacket

WS = "ws://127.0.0.1:8080/mqtt"
NOW = 1_800_000_000.0


class Door:
    """What is asked of a Listener."""

    def __init__(self, url: str = WS, kind: str = "ws") -> None:
        self.url = url
        self.type = kind
        self.tls = None
        self.limits = Limits()
        self.connections = 0


class Bench:
    """A System to look at, and Clients to fill it."""

    def __init__(
        self,
        limits: ServerLimits | None = None,
        names: Mapping[str, str] | None = None,
        reload: Callable[[], Awaitable[Sequence[str]]] | None = None,
        effective: Callable[[], Mapping[str, tuple[object, str]]] | None = None,
        store: Store | None = None,
    ) -> None:
        self.broker = Broker(limits, store=store, version="9.8.7")
        self.doors: list[Any] = [Door(), Door("mqtt://127.0.0.1:1883", "tcp")]
        self.now = 1000.0
        self.settled = 0
        self.system = System(
            self.broker,
            self.doors,
            self._settle,
            names=names,
            build="plain",
            reload=reload,
            effective=effective,
            clock=lambda: NOW,
        )

    def _settle(self, now: float) -> None:
        self.settled += 1
        self.broker.flush(now)

    def client(
        self,
        identifier: str,
        *packets: ControlPacket,
        transport: str = "tcp",
        address: str = "192.0.2.1:5000",
        **connect: Any,
    ) -> Connection:
        """Somebody who is connected, and has sent these packets."""
        peer = Peer(address, transport, self.doors[0].url if transport == "ws" else self.doors[1].url)
        connection = self.broker.accept(peer, Limits(), self.now)
        for packet in (Connect(identifier, **connect), *packets):
            connection.receive(encode(packet, 5), self.now)
        assert connection.session is not None, connection.end_reason
        return connection

    def retain(self, topic: str, payload: bytes, expires_at: float = math.inf) -> None:
        self.broker.publish(ApplicationMessage(topic, payload, 0, 1, True, expires_at=expires_at), None, self.now)


def subscribe(*topic_filters: str, qos: int = 0, identifier: int = 1) -> Subscribe:
    return Subscribe(identifier, [SubscriptionRequest(topic_filter, qos) for topic_filter in topic_filters])
