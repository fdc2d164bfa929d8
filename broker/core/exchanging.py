"""PUBACK, PUBREC, PUBREL and PUBCOMP: the second halves of the exchanges (sections 3.4 to 3.7).

Where a Session is durable an answer waits for the commit of what it says: see `Connection.acknowledge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.journal import EXCHANGES, Exchange
from broker.packets.encode import acknowledgement, pubcomp, pubrel
from broker.packets.reasons import ReasonCode
from broker.packets.types import PUBCOMP, PUBREL

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.packets.types import Puback, Pubcomp, Pubrec, Pubrel


def on_puback(connection: Connection, packet: Puback, now: float) -> None:
    """A message of QoS 1 has arrived: the exchange is over."""
    session = connection.session
    assert session is not None
    queued = session.outgoing.puback(packet.packet_identifier)
    if queued is not None:
        if queued.row:
            session.forget(queued)
        if session.waiting():
            session.refill(now)


def on_pubrec(connection: Connection, packet: Pubrec, now: float) -> None:
    """A message of QoS 2 has arrived: it is not sent again, and its identifier is released."""
    session = connection.session
    assert session is not None
    identifier = packet.packet_identifier
    outgoing = session.outgoing
    queued = outgoing.unacknowledged.get(identifier)
    known = outgoing.pubrec(identifier, packet.reason)
    journal = connection.broker.journal if session.durable else None
    if journal is not None and queued is not None:
        session.forget(queued)
        if packet.reason < 0x80:
            exchange = Exchange(session, identifier, False)
            outgoing.released[identifier] = exchange
            journal.add(EXCHANGES, exchange)
    if packet.reason >= 0x80:
        if known and session.waiting():
            session.refill(now)  # the exchange is over, and its place in the send quota free
        return
    if known or connection.version < 5:
        # Before its commit a crash would have the PUBLISH sent again, to a Client who is through with it.
        connection.acknowledge(pubrel(identifier), journal.latest() if journal is not None else 0)  # [MQTT-4.3.3-4]
    else:
        connection.outbox.put(acknowledgement(PUBREL, identifier, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND, 5))


def on_pubrel(connection: Connection, packet: Pubrel) -> None:
    """The Client will not send the message again: its identifier is free."""
    session = connection.session
    assert session is not None
    identifier = packet.packet_identifier
    journal = connection.broker.journal if session.durable else None
    if identifier in session.received:
        exchange = session.received.pop(identifier)
        counts = identifier not in connection.carried
        if not counts:
            del connection.carried[identifier]
        position = 0
        if journal is not None and exchange is not None:
            # Before its commit a crash would have the identifier's next message taken for this one.
            journal.delete(EXCHANGES, exchange)
            position = journal.position
        connection.acknowledge(pubcomp(identifier), position, counts)  # [MQTT-4.3.3-11]
        return
    data = pubcomp(identifier)
    if connection.version == 5:
        data = acknowledgement(PUBCOMP, identifier, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND, 5)
    connection.acknowledge(data, journal.latest() if journal is not None else 0)


def on_pubcomp(connection: Connection, packet: Pubcomp, now: float) -> None:
    """The identifier that we released is free."""
    session = connection.session
    assert session is not None
    outgoing = session.outgoing
    exchange = outgoing.released.get(packet.packet_identifier)
    if outgoing.pubcomp(packet.packet_identifier):
        if exchange is not None and connection.broker.journal is not None:
            connection.broker.journal.delete(EXCHANGES, exchange)
        if session.waiting():
            session.refill(now)
