"""What waits for the Store: acknowledgements, CONNACKs, QoS 2 messages on their way, and long queues to be put away.

`settle` is called at the end of each round: it hands over what the round has recorded, and when more is committed tells
everybody who waited for that, in the order of what was promised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.connection import Connection
    from broker.core.journal import Journal
    from broker.core.message import ApplicationMessage
    from broker.core.plans import Plan
    from broker.core.session import Session


def settle(broker: Broker, journal: Journal, now: float) -> None:
    """Hand over what this round has recorded, and tell whoever waited for what is committed."""
    store = broker.store
    assert store is not None
    if journal.full != broker.told_full:
        broker.told_full = journal.full
        if broker.limits.sys_interval > 0:
            broker.sys_topics.tell_store("full" if journal.full else "ok", now)
    if journal.pending():
        store.hand_over(now)
    while journal.committed != broker.released:
        committed = broker.released = journal.committed
        _committed(broker, journal, committed, now)
        if journal.pending():
            store.hand_over(now)


def _committed(broker: Broker, journal: Journal, committed: int, now: float) -> None:
    for connection in list(broker.staging):
        if _release(connection, committed, now):
            del broker.staging[connection]
    held = journal.held
    while held and held[0][0] <= committed:
        _, session, message, delivery = held.popleft()
        receiver = session.connection
        try:
            if receiver is None:
                session.deliver(message, delivery, now)
            else:
                receiver.outbox.mark()
                session.deliver(message, delivery, now)
                receiver.outbox.waited(now - journal.committed_since, now)
        except Exception as error:
            broker.fault(session, error)
    if journal.waiting:
        waiting = list(journal.waiting)
        journal.waiting.clear()
        for session in waiting:
            try:
                session.opened(committed, now)
            except Exception as error:
                broker.fault(session, error)
    for connection in [each for each in broker.arriving if each.arriving <= committed]:
        if connection in broker.arriving:  # one that arrives may end another
            del broker.arriving[connection]
            _let_in(broker, connection, now)
    if journal.long_queues:
        long_queues = list(journal.long_queues)
        journal.long_queues.clear()
        for session in long_queues:
            if session.paged is not None:
                session.paged.put_away(journal)


def _release(connection: Connection, committed: int, now: float) -> bool:
    """Put out the acknowledgements that are true now; whether nothing waits any more."""
    staged = connection.staged
    latency = connection.stats.latency
    count = 0  # of one kind that were received in one round: they are recorded together
    first, since = b"", 0.0
    while staged and staged[0][0] <= committed:
        _, data, counts, received = staged.popleft()
        connection.staged_count -= counts
        connection.outbox.put(data)
        if count and (received != since or data[0] != first[0]):
            latency.gave(first, count, now - since, now)
            count = 0
        count += 1
        first, since = data, received
    if count:
        latency.gave(first, count, now - since, now)
    return not staged


def _let_in(broker: Broker, connection: Connection, now: float) -> None:
    session, connect = connection.session, connection.connect
    assert session is not None
    assert connect is not None
    try:
        broker.arrive(connection, connect, session, now)
        connection.arrived(now)
    except Exception as error:
        broker.faults.append((connection, error))
        broker.doom(connection, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, "internal error")


def hold_back(journal: Journal, message: ApplicationMessage, plan: Plan, source: Session | None, now: float) -> None:
    """A QoS 2 message is forwarded after its commit, so that a crash does not have it sent a second time."""
    if (
        (source is not None and source.durable)
        or message.retain
        or plan.groups
        or any(delivery.session.durable for delivery in plan.deliveries)
    ):
        message.position = journal.position
        if not journal.since:
            journal.since = now
