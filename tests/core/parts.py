"""Parts of the core for the tests of one of them: Connections without a transport, their packets, messages.

A Connection made here has no sink: what the broker says stays in its outbox until `said` takes it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from broker.core.broker import Broker
from broker.core.grants import Grant
from broker.core.journal import QUEUED, Queued
from broker.core.limits import Limits, ServerLimits
from broker.core.message import NEVER, ApplicationMessage
from broker.core.ports import Peer
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Connack,
    Connect,
    ControlPacket,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from tests.pair import properties

if TYPE_CHECKING:
    from array import array

    from broker.core.connection import Connection
    from broker.core.journal import Batch, Journal
    from broker.core.ports import Authenticator, Store
    from broker.core.session import Session


class Disorder(deque[Any]):
    """A queue that a bug has left in disorder: whoever asks it what it has fails.

    As a Session's `pending` it makes fail what fills the outbox and what ends the Session.
    """

    def __len__(self) -> int:
        raise RuntimeError("a queue in disorder")


class LateStore:
    """A Store that a test drives: it takes a batch at a time, and `write` is its commit.

    Entries that are written can be read back (`page`) until the test's end, so that deleted ones would be seen.
    """

    def __init__(self) -> None:
        self.broker: Broker | None = None
        self.batches: list[Batch] = []  # all that were taken
        self.writing: Batch | None = None
        self.entries: dict[int, Queued] = {}
        self.pages: list[list[int]] = []  # what was read back
        self.patient = False
        self.gathering = False

    @property
    def journal(self) -> Journal:
        assert self.broker is not None
        assert self.broker.journal is not None
        return self.broker.journal

    def hand_over(self, now: float) -> bool:
        if self.writing is not None:
            return False
        batch = self.journal.take()
        self.batches.append(batch)
        for row in batch.added[QUEUED]:
            assert isinstance(row, Queued)
            self.entries[row.row] = row
        if batch.empty():
            self.journal.written(batch)
            return True
        self.writing = batch
        return False

    def page(self, session: Session, queued: array[int], messages: array[int], now: float) -> list[Queued]:
        self.pages.append(list(queued))
        shared = self.journal.shared
        result = []
        for number, of_message in zip(queued, messages, strict=True):
            kept = self.entries[number]
            assert kept.delivery.session is session
            entry = Queued(copy_of(kept.message), kept.delivery)
            entry.row = number
            entry.message.row = of_message
            entry.message.holders = -1 if of_message in shared else 1
            result.append(entry)
        return result

    def write(self, now: float = 0.0) -> None:
        """The batch under way is safe; who waits for it is told. Others may follow: see `catch_up`."""
        batch, self.writing = self.writing, None
        assert batch is not None
        self.journal.written(batch)
        assert self.broker is not None
        self.broker.committed(now)

    def catch_up(self, now: float = 0.0) -> None:
        """Commit until there is nothing more to commit."""
        assert self.broker is not None
        self.broker.flush(now)
        while self.writing is not None:
            self.write(now)


def copy_of(one: ApplicationMessage) -> ApplicationMessage:
    """As it comes back from a Store."""
    return ApplicationMessage(one.topic, one.payload, 0, one.qos, one.retain, one.forwarded, one.expires_at)


def values_of(plain: object) -> dict[str, Any]:
    """The attributes of a plain object; if it is compiled, `vars` knows none."""
    values = {name: getattr(plain, name) for name in dir(plain) if not name.startswith("_")}
    return {name: value for name, value in values.items() if not callable(value)}


def limits(**values: Any) -> Limits:
    """The limits that ship, without a Server Keep Alive, and with these values."""
    result = Limits()
    result.server_keep_alive_maximum = 0
    for name, value in values.items():
        assert hasattr(result, name), name
        setattr(result, name, value)
    return result


def new_broker(authenticator: Authenticator | None = None, store: Store | None = None, **values: Any) -> Broker:
    """A broker that publishes no $SYS; `values` are of its ServerLimits."""
    server_limits = ServerLimits()
    server_limits.sys_interval = 0.0
    for name, value in values.items():
        assert hasattr(server_limits, name), name
        setattr(server_limits, name, value)
    broker = Broker(server_limits, authenticator, store)
    if isinstance(store, LateStore):
        store.broker = broker
    return broker


def accept(broker: Broker, of: Limits | None = None, now: float = 0.0, transport: str = "memory") -> Connection:
    return broker.accept(Peer("memory", transport), of or limits(), now)


def connect(
    broker: Broker,
    client_identifier: str,
    version: int = MQTT_5_0,
    of: Limits | None = None,
    now: float = 0.0,
    clean_start: bool = True,
    keep_alive: int = 0,
    will: Will | None = None,
    **values: Any,
) -> Connection:
    """A Connection whose CONNECT was accepted and whose CONNACK is read, be it after a commit; `values` are properties.

    A CONNACK that waits for a LateStore has all committed that is recorded by then.
    """
    connection = accept(broker, of, now)
    request(connection, client_identifier, version, now, clean_start, keep_alive, will, **values)
    if connection.arriving and isinstance(broker.store, LateStore):
        broker.store.catch_up(now)
    packets = said(connection)
    assert isinstance(packets[0], Connack)
    assert packets[0].reason == 0, packets[0].reason
    return connection


def request(
    connection: Connection,
    client_identifier: str,
    version: int = MQTT_5_0,
    now: float = 0.0,
    clean_start: bool = True,
    keep_alive: int = 0,
    will: Will | None = None,
    **values: Any,
) -> None:
    """Send a CONNECT."""
    packet = Connect(client_identifier, version, clean_start, keep_alive, None, None, will, properties(**values))
    connection.receive(encode(packet, version), now)


def session_of(connection: Connection) -> Session:
    assert connection.session is not None
    return connection.session


def send(connection: Connection, *packets: ControlPacket, now: float = 0.0) -> None:
    connection.receive(b"".join(encode(each, connection.version) for each in packets), now)


def said(connection: Connection) -> list[Any]:
    """All that waits in the outbox, taken and decoded; Any, since a test knows which packet it waits for."""
    data = connection.outbox.take()
    connection.outbox.sent()
    return decoded(data, connection.version)


def kinds(packets: list[ControlPacket]) -> list[str]:
    return [type(each).__name__ for each in packets]


def decoded(data: bytes, version: int) -> list[ControlPacket]:
    bounds = DecoderLimits()
    bounds.maximum_packet_size = 268_435_460
    decoder = Decoder(bounds, version or MQTT_5_0, server=False)
    packets = decoder.feed(data)
    assert decoder.error is None, decoder.error
    return packets


def publishes(connection: Connection) -> list[Publish]:
    """All that waits in the outbox, which must be PUBLISH packets."""
    packets = said(connection)
    result = [each for each in packets if isinstance(each, Publish)]
    assert len(result) == len(packets), packets
    return result


def payloads(connection: Connection) -> list[bytes]:
    return [each.payload for each in publishes(connection)]


def subscribe(connection: Connection, topic_filter: str, qos: int = 0, now: float = 0.0, **options: Any) -> int:
    """SUBSCRIBE, with the SUBACK's Reason Code taken out of an otherwise empty outbox."""
    values = {name: options.pop(name) for name in ("subscription_identifiers", "user_properties") if name in options}
    packet = Subscribe(1, [SubscriptionRequest(topic_filter, qos, **options)], properties(**values))
    send(connection, packet, now=now)
    if connection.staged and isinstance(connection.broker.store, LateStore):
        connection.broker.store.catch_up(now)
    data = connection.outbox.parts.pop(0)
    connection.outbox.size -= len(data)
    (suback,) = decoded(data, connection.version)
    assert isinstance(suback, Suback)
    return suback.reasons[0]


def message(
    topic: str = "a",
    payload: bytes = b"x",
    qos: int = 0,
    retain: bool = False,
    expires_at: float = NEVER,
    forwarded: bytes = b"",
) -> ApplicationMessage:
    return ApplicationMessage(topic, payload, 0, qos, retain, forwarded, expires_at)


class Sink:
    """Takes what the outbox holds, as a link does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.flushes = 0
        connection.outbox.sink = self

    def flush(self) -> None:
        self.flushes += 1
        self.connection.outbox.take()
        self.connection.outbox.sent()

    def measure(self, now: float) -> None:
        """For the outbox: nothing here takes time."""


class Strict(Grant):
    """May publish below `own/` and subscribe to what has no wildcard."""

    def __init__(self) -> None:
        super().__init__("ann", everything=False)

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        return ReasonCode.SUCCESS if topic.startswith("own/") else ReasonCode.NOT_AUTHORIZED

    def subscribe(self, topic_filter: str, qos: int) -> ReasonCode:
        return ReasonCode.NOT_AUTHORIZED if "#" in topic_filter else ReasonCode.SUCCESS
