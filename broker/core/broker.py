"""The Broker: Sessions, subscriptions, retained messages, and what is due when.

It is driven from outside and never waits: the transport calls `accept` for each Network Connection, then the
Connection's own methods; the ticker calls `tick` at `next_deadline`; whoever has called anything calls `flush` at the
end of its round, which is when outboxes leave, together. Methods by who calls them:

    the transport     accept, flush, tick, next_deadline, shut_down
    a Connection      connect, publish, unsubscribe, disconnected, doom
    everybody         publish (bridges, `$SYS`, embedding programs)
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING

from broker.core.aliases import IncomingAliases, OutgoingAliases
from broker.core.announcing import connack_properties, settle_keep_alive
from broker.core.auditing import Audit, go_on
from broker.core.authenticating import regrant
from broker.core.connection import CONNECTED, ENDED, Connection
from broker.core.deadlines import (
    AUDIT,
    GRANT_EXPIRY,
    HANDSHAKE,
    PROCESS,
    RETAINED_EXPIRY,
    SESSION_EXPIRY,
    SYS,
    TAKEOVERS,
    WILL,
    Deadlines,
    KeepAliveRing,
)
from broker.core.flapping import Flapping, banned
from broker.core.flight import Flights
from broker.core.grants import AllowAll
from broker.core.journal import EXCHANGES, SESSIONS, SUBSCRIPTIONS, Journal
from broker.core.limits import ServerLimits
from broker.core.message import NEVER, ApplicationMessage, from_will
from broker.core.owners import Owners, no_room
from broker.core.ports import Refusal
from broker.core.promises import hold_back, settle
from broker.core.retained import RetainedMessages
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import ACCEPTED, NOBODY, REFUSED, ShareGroup, SubscriptionTree, bytes_alone
from broker.core.sys_topics import PROCESS_INTERVAL, SysTopics
from broker.core.takeovers import MINUTE, Takeovers
from broker.packets.encode import CONNACK_3, encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import NO_PROPERTIES, Connack

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.auditing import MayRetain
    from broker.core.grants import Grant
    from broker.core.limits import Limits
    from broker.core.outbox import Outbox
    from broker.core.ports import Authenticator, Peer, Store, Watcher
    from broker.packets.decode import DecoderLimits
    from broker.packets.types import Connect

NO_LIMIT = 0xFFFFFFFF


class Broker:
    """See the module. One object is one broker; there are no globals."""

    def __init__(
        self,
        limits: ServerLimits | None = None,
        authenticator: Authenticator | None = None,
        store: Store | None = None,
        version: str = "",
    ) -> None:
        self.limits = limits or ServerLimits()
        self.authenticator: Authenticator = authenticator or AllowAll()
        self.store = store
        self.journal = Journal() if store is not None else None  # without one nothing waits
        self.told_full = False  # as it was told
        self.released = 0  # the position up to which whoever waited was told
        self.version = version
        self.stats = Stats()
        self.sessions: dict[str, Session] = {}
        self.subscriptions = SubscriptionTree(self.limits.topic_cache)
        self.retained = RetainedMessages(self.limits.retained_messages, self.limits.retained_bytes, self.journal)
        self.watchers: tuple[Watcher, ...] = ()
        self.process: Callable[[], tuple[float, int]] | None = None  # CPU seconds, resident bytes
        self.connections: dict[Connection, None] = {}
        self.dirty: list[Outbox] = []
        self.staging: dict[Connection, None] = {}  # connections with acknowledgements that wait for the Store
        self.arriving: dict[Connection, None] = {}  # connections whose CONNACK does
        self.faults: list[tuple[Connection | None, Exception]] = []  # bugs that are no peer's fault, for the log
        self._doomed: list[tuple[Connection, ReasonCode, str]] = []
        self.deadlines = Deadlines()
        self.keep_alive = KeepAliveRing()
        self._decoder_limits: dict[int, tuple[Limits, DecoderLimits]] = {}
        self.audit: Audit | None = None  # under way
        self.owners = Owners()
        self.flights = Flights()
        self.flapping = Flapping(self.limits)
        self.banned: dict[str, float] = {}  # Client Identifiers that whoever runs the broker has banned: until when
        self.takeovers = Takeovers(self.limits)
        self.sys_topics = SysTopics(self)
        self._shutting_down = False
        self.memory_full = False  # as the transport finds it: nobody gets a new Session

    # -- The transport

    def accept(self, peer: Peer, limits: Limits, now: float) -> Connection:
        """A Network Connection has begun."""
        connection = Connection(self, peer, limits, now)
        connection.stats.connections += 1
        connection.stats.accepted += 1
        self.stats.handshakes += 1
        self.connections[connection] = None
        self.remember(now + limits.handshake_timeout, HANDSHAKE, connection)
        return connection

    def gone(self, connection: Connection) -> None:
        """The transport has closed its socket: the last that is heard of a Connection."""
        if connection in self.connections:
            del self.connections[connection]
            connection.stats.connections -= 1

    def decoder_limits(self, limits: Limits) -> DecoderLimits:
        """The decoder's part of a listener's limits: one object a listener, whose Topic Names are shared."""
        found = self._decoder_limits.get(id(limits))
        if found is not None:
            return found[1]
        result = limits.of_decoder()
        self._decoder_limits[id(limits)] = (limits, result)
        return result

    def forget_limits(self) -> None:
        """Limits have changed: those who connect from now on have the new ones."""
        self._decoder_limits.clear()

    def flush(self, now: float) -> None:
        """End of a round: end whom the round has doomed, then let every dirty outbox leave, once.

        Where `dirty` is not empty afterwards there is more to do: come back soon.
        """
        while self._doomed:
            connection, reason, detail = self._doomed.pop()
            self._end(connection, reason, detail, now)
        journal = self.journal
        if journal is not None:
            settle(self, journal, now)
        dirty = self.dirty
        if not dirty:
            return
        # A sink may make its own or others dirty again: they have their turn in the next round, so that one reader
        # of a long snapshot does not keep the rest waiting. Outboxes hold on to this very list: it is emptied in place.
        self.flights.now = now
        round_ = dirty[:]
        dirty.clear()
        for outbox in round_:
            outbox.dirty = False
            sink = outbox.sink
            if sink is not None:
                sink.flush()
        if journal is not None and journal.pending():
            settle(self, journal, now)  # what has drained may have begun new exchanges

    def next_deadline(self) -> float:
        """When `tick` must be called at the latest; infinity where nothing is due."""
        return min(self.deadlines.first, self.keep_alive.first)

    def tick(self, now: float) -> None:
        """Do what is due. Call `flush` afterwards."""
        for connection in self.keep_alive.due(now):
            if connection.state == CONNECTED:
                overdue = connection.last_received + connection.keep_alive_seconds
                if overdue <= now:
                    self._end(connection, ReasonCode.KEEP_ALIVE_TIMEOUT, "nothing received in 1.5 x Keep Alive", now)
                else:
                    self.keep_alive.add(connection, overdue)
        for at, kind, subject in self.deadlines.due(now):
            try:
                self._due(at, kind, subject, now)
            except Exception as error:  # a bug with one must not keep the others from their time
                self.faults.append((None, error))

    def start(self, now: float) -> None:
        """Begin to publish `$SYS/broker/#`, where the limits want it."""
        self.sys_topics.started_at = now
        if self.limits.sys_interval > 0:
            self.sys_topics.update(now)
            self.remember(now + self.limits.sys_interval, SYS, self)
            if self.process is not None:
                self._tell_process(now)

    def shut_down(self, now: float) -> None:
        """Say goodbye to everybody: DISCONNECT 0x8B to 5.0 Clients. Call `flush` afterwards; accept no more."""
        self._shutting_down = True
        for connection in list(self.connections):
            self._end(connection, ReasonCode.SERVER_SHUTTING_DOWN, "the server is shutting down", now)

    # -- A Connection

    def connect(self, connection: Connection, connect: Connect, now: float) -> Refusal | None:
        """A good CONNECT: find or make the Session, answer CONNACK. Returns why not, where it can't be."""
        if self._shutting_down:
            return Refusal(ReasonCode.SERVER_UNAVAILABLE, "the server is shutting down")
        limits = connection.limits
        identifier = connect.client_identifier
        assigned = ""
        if not identifier:
            identifier = assigned = self._new_identifier(limits.client_identifier_prefix)
        expiry_interval = self._expiry_interval(connection, connect)
        properties = NO_PROPERTIES
        if connect.version == 5:
            properties = connack_properties(connection, connect, assigned, expiry_interval)
            if connection.maximum_packet_size:
                size = len(encode(Connack(ReasonCode.SUCCESS, False, properties), 5))
                if size > connection.maximum_packet_size:  # [MQTT-3.1.2-24]
                    return Refusal(ReasonCode.PACKET_TOO_LARGE, f"CONNACK takes {size} bytes")
        session = self.sessions.get(identifier)
        if session is not None and session.expires_at <= now:  # and the next tick has not come yet
            self._expire(session, now)
            session = None
        principal = connection.grant.principal
        if session is not None and session.principal != principal and not session.is_anybodys():
            return Refusal(ReasonCode.NOT_AUTHORIZED, "the Session belongs to somebody else")
        refusal = no_room(self, session, principal)
        if refusal is not None:
            return refusal
        if self.banned and self.banned.get(identifier, now) > now:
            return Refusal(ReasonCode.BANNED, "this Client is banned for a while")
        if not assigned and self.flapping.banned(identifier, principal, connection.peer.address, now):
            return banned(self, connection, identifier)
        journal = self.journal
        before = journal.changes if journal is not None else 0
        if session is not None:
            holder = session.holder()
            if holder is not None:
                if connect.clean_start:
                    session.expiry_interval = 0  # it ends with its connection, and its Will is due at once
                self.stats.takeovers += 1
                if self.takeovers.count(identifier, holder.peer.address, connection.peer.address):
                    self.remember(now + MINUTE, TAKEOVERS, self)
                holder.end(ReasonCode.SESSION_TAKEN_OVER, "another connection took over", now)
            if connect.clean_start:
                self.end_session(session, now)  # [MQTT-3.1.2-4]
            session = self.sessions.get(identifier)
        present = session is not None
        if session is None:
            session = Session(identifier, limits, self.stats, self.limits.buffered_bytes)
            session.gate = journal
            session.store = self.store
            session.flights = self.flights
            self.sessions[identifier] = session
        else:
            session.limits = limits
        connection.session = session
        self.owners.move(session.principal, principal)
        session.principal = principal
        session.guard = None if connection.grant.everything else connection.grant
        session.will = connect.will
        session.will_at = math.inf  # [MQTT-3.1.3-9]
        session.expires_at = session.away_since = math.inf
        session.expiry_interval = expiry_interval
        connection.connack = (present, properties)
        if journal is not None:
            if session.durable or expiry_interval:  # one without an interval has ended with its connection
                session.durable = True
                journal.change(SESSIONS, session)
            if journal.changes != before:
                # The CONNACK waits, and so does all that follows it: until then the Client is not there.
                session.claimed_by = connection
                connection.arriving = journal.position
                self.arriving[connection] = None
                return None
        self.arrive(connection, connect, session, now)
        return None

    def arrive(self, connection: Connection, connect: Connect, session: Session, now: float) -> None:
        """The Session is the Client's: CONNACK, then what waited for it."""
        limits = connection.limits
        present, properties = connection.connack
        session.claimed_by = None
        session.connection = connection
        connection.carried = dict.fromkeys(session.received)
        settle_keep_alive(connection, connect, now)
        receive_maximum = connect.properties.receive_maximum or 65535
        releases = session.outgoing.connected(min(receive_maximum, limits.max_inflight))
        if connect.version == 5:
            if limits.topic_alias_maximum:
                connection.incoming_aliases = IncomingAliases(limits.topic_alias_maximum)
            alias_maximum = min(connect.properties.topic_alias_maximum or 0, limits.outgoing_topic_alias_maximum)
            if alias_maximum:
                connection.outgoing_aliases = OutgoingAliases(alias_maximum)
        connection.simple = connection.outgoing_aliases is None and not connection.maximum_packet_size
        if connect.version == 5:
            connection.outbox.put(encode(Connack(ReasonCode.SUCCESS, present, properties), 5))
        else:
            connection.outbox.put(CONNACK_3[1 if present and connect.version == 4 else 0])
        connection.stats.connects += 1
        self.stats.handshakes -= 1
        self.stats.clients_connected += 1
        connection.stats.connected += 1
        self.stats.clients_maximum = max(self.stats.clients_maximum, self.stats.clients_connected)
        connection.state = CONNECTED
        self.flights.arrived(connection, session, present, now)
        if session.will is not None and session.will.retain:
            session.author()  # what the proof gives is not known any more when the Will is published
        for identifier_ in releases:
            connection.send_release(identifier_)
        session.page_in(now)
        session.refill(now)
        for watcher in self.watchers:
            try:
                watcher.connected(session.client_identifier, connection.peer)
            except Exception as error:  # a Watcher's bug is nobody's fault but its own
                self.faults.append((connection, error))

    def publish(self, message: ApplicationMessage, source: Session | None, now: float) -> int:
        """Route one message: retain it, and give it to everybody who should have it.

        `source` is the Session that published it, for No Local. Returns a Reason Code for the acknowledgement that
        tells the truth: 0x97 where a queue or the retained store had no room (at QoS 2: where nobody took it), 0x10
        where nobody was there, else 0.
        """
        accepted = False
        refused = message.retain and not self._retain(message, source, now)
        plan = self.subscriptions.plan(message.topic)
        if message.qos == 2 and self.journal is not None:
            hold_back(self.journal, message, plan, source, now)
        plan.messages += 1
        plan.last = now
        no_local = plan.no_local
        for delivery in plan.deliveries:
            session = delivery.session
            if no_local and session is source:
                if delivery.skip_own:
                    continue
                delivery = delivery.own or delivery
            try:
                outcome = session.deliver(message, delivery, now)
            except Exception as error:  # a bug is the receiver's, never the publisher's
                self.fault(session, error)
                continue
            if outcome == ACCEPTED:
                accepted = True
            elif outcome == REFUSED:
                refused = True
        for group in plan.groups:
            outcome = self._deliver_shared(group, message, now)
            if outcome == ACCEPTED:
                accepted = True
            elif outcome == REFUSED:
                refused = True
        if refused and message.qos and not (accepted and message.qos == 2):
            return ReasonCode.QUOTA_EXCEEDED
        if not accepted and not refused:
            return ReasonCode.NO_MATCHING_SUBSCRIBERS
        return ReasonCode.SUCCESS

    def regrant(self, session: Session, grant: Grant) -> None:
        """What the owner of a Session may do has changed: with its next message on either way it holds."""
        holder = session.holder()
        if holder is not None:
            regrant(holder, grant)
        else:
            session.guard = None if grant.everything else grant

    def audit_retained(self, may_retain: MayRetain, now: float) -> None:
        """Take out, by and by, the retained messages of authors who `may_retain` them no more."""
        self.audit = Audit(self.retained, may_retain)
        self.remember(now, AUDIT, self.audit)

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Take one subscription (its filter as subscribed) out; whether it was there."""
        subscription = session.subscriptions.pop(topic_filter, None)
        if subscription is None:
            return False
        session.drop_snapshot(topic_filter)
        if session.durable and self.journal is not None:
            self.journal.delete(SUBSCRIPTIONS, subscription)
        self.subscriptions.remove(subscription)
        session.subscription_bytes -= bytes_alone(subscription.topic_filter, subscription.share_name)
        self.stats.subscriptions -= 1
        if subscription.share_name:
            self.stats.shared_subscriptions -= 1
        return True

    def notice(self, kind: str, text: str) -> None:
        """Tell the Watchers what somebody should look at."""
        for watcher in self.watchers:
            try:
                watcher.noticed(kind, text)
            except Exception as error:
                self.faults.append((None, error))

    def disconnected(self, connection: Connection, now: float, will: bool) -> None:
        """A Connection has ended: its Session goes on, or ends with it; the Will is due now, later, or never."""
        self.staging.pop(connection, None)
        self.arriving.pop(connection, None)
        self.keep_alive.remove(connection)
        session = connection.session
        if session is None:
            return
        if session.connection is connection:
            session.connection = None
            session.unsent.clear()
            self.stats.clients_connected -= 1
            connection.stats.connected -= 1
            self.flights.of(session.client_identifier).decide(now, f"disconnected: {connection.end_reason}")
            for watcher in self.watchers:
                try:
                    watcher.disconnected(session.client_identifier, connection.peer, connection.end_reason)
                except Exception as error:
                    self.faults.append((connection, error))
        elif session.claimed_by is connection:
            session.claimed_by = None
        else:
            return
        session.away_since = now
        if not will:
            session.will = None  # [MQTT-3.14.4-3]
        if session.expiry_interval == 0:
            self.end_session(session, now)
            return
        if session.will is not None:
            if session.will.delay_interval == 0:
                self._publish_will(session, now)
            else:
                session.will_at = now + session.will.delay_interval
                self.remember(session.will_at, WILL, session)
        if session.expiry_interval != NO_LIMIT:
            session.expires_at = now + session.expiry_interval
            self.remember(session.expires_at, SESSION_EXPIRY, session)
        if session.durable and self.journal is not None:
            self.journal.change(SESSIONS, session)

    def doom(self, connection: Connection, reason: ReasonCode, detail: str) -> None:
        """End a connection at the end of the round: from within routing, where ending it now would route its Will."""
        self._doomed.append((connection, reason, detail))
        connection.outbox.touch()  # so that there is a next round, where this happens while flushing

    def fault(self, session: Session, error: Exception) -> None:
        """A bug while writing to a receiver: that connection ends with 0x83, the others go on."""
        connection = session.connection
        if connection is not None:
            self.faults.append((connection, error))
            self.doom(connection, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, "internal error")

    def _expire(self, session: Session, now: float) -> None:
        self.stats.clients_expired += 1
        self.end_session(session, now)

    def end_session(self, session: Session, now: float) -> None:
        """The Session ends: its Will, if it is still due, its subscriptions, its queue."""
        if self.sessions.get(session.client_identifier) is not session:
            return
        del self.sessions[session.client_identifier]
        self.owners.move(session.principal, "")
        session.expires_at = math.inf
        shared = any(each.share_name for each in session.subscriptions.values())
        for topic_filter in list(session.subscriptions):
            self.unsubscribe(session, topic_filter)
        if session.will is not None:
            self._publish_will(session, now)
        orphans = session.take_orphans(now, shared)
        journal = self.journal
        if session.durable and journal is not None:
            for exchange in [*session.received.values(), *session.outgoing.released.values()]:
                if exchange is not None:
                    journal.delete(EXCHANGES, exchange)
            journal.delete(SESSIONS, session)
            session.durable = False
        for queued in orphans:
            group = queued.delivery.group
            if group is not None and queued.message.expires_at > now:
                self._deliver_shared(group, queued.message, now)

    # -- The Store

    def committed(self, now: float) -> None:
        """The Store has committed more: what waited for it leaves. Call `flush` afterwards; it does this too."""
        if self.journal is not None:
            settle(self, self.journal, now)

    def unsafe_bytes(self) -> int:
        """Bytes of messages that are recorded and not yet committed."""
        journal = self.journal
        return journal.bytes + journal.taken_bytes if journal is not None else 0

    # -- Parts

    def _due(self, at: float, kind: int, subject: object, now: float) -> None:
        if kind == HANDSHAKE:
            assert isinstance(subject, Connection)
            if subject.state < CONNECTED and not subject.arriving:  # that one waits for us
                subject.end(ReasonCode.SERVER_BUSY, "no complete CONNECT in time", now)
        elif kind == WILL:
            assert isinstance(subject, Session)
            if subject.will_at == at:
                self._publish_will(subject, now)
        elif kind == SESSION_EXPIRY:
            assert isinstance(subject, Session)
            if subject.expires_at == at and subject.connection is None:
                self._expire(subject, now)
        elif kind == GRANT_EXPIRY:
            assert isinstance(subject, Connection)
            if subject.grant.expires_at == at:
                subject.end(ReasonCode.NOT_AUTHORIZED, "the authentication has expired", now)
        elif kind == RETAINED_EXPIRY:
            assert isinstance(subject, ApplicationMessage)
            self.retained.expire(subject)
        elif kind == SYS:
            self.remember(now + self.limits.sys_interval, SYS, self)
            self.sys_topics.update(now)
        elif kind == TAKEOVERS:
            for place, text in enumerate(self.takeovers.minute()):
                self.notice(f"takeovers {place}", f"{text} ([server] takeover_storm): do several use one identifier?")
        elif kind == AUDIT:
            assert isinstance(subject, Audit)
            go_on(self, subject, now)
        elif kind == PROCESS:
            self._tell_process(now)

    def _tell_process(self, now: float) -> None:
        self.remember(now + PROCESS_INTERVAL, PROCESS, self)
        process = self.process
        if process is not None:
            cpu, memory = process()
            self.sys_topics.tell_process(cpu, memory, now)

    def _end(self, connection: Connection, reason: ReasonCode, detail: str, now: float) -> None:
        """End one of several; a bug in ending it is not the others'."""
        try:
            connection.end(reason, detail, now)
        except Exception as error:
            self.faults.append((connection, error))

    def _deliver_shared(self, group: ShareGroup, message: ApplicationMessage, now: float) -> int:
        try:
            return group.deliver(message, now)
        except Exception as error:
            if group.asked is not None:
                self.fault(group.asked, error)
            return NOBODY

    def remember(self, at: float, kind: int, subject: object) -> None:
        """Have `tick` see to it at that time."""
        self.deadlines.add(at, kind, subject)
        if self.deadlines.crowded():
            self.deadlines.sweep(self._still_true)

    def _still_true(self, at: float, kind: int, subject: object) -> bool:
        """Whether `tick` would act on this, as far as can be said now."""
        if isinstance(subject, Connection):
            if kind == GRANT_EXPIRY:
                return subject.state != ENDED and subject.grant.expires_at == at
            return subject.state < CONNECTED
        if isinstance(subject, Session):
            return at == (subject.will_at if kind == WILL else subject.expires_at)
        if isinstance(subject, ApplicationMessage):
            return self.retained.holds(subject)
        return True

    def _publish_will(self, session: Session, now: float) -> None:
        will = session.will
        session.will = None
        session.will_at = math.inf
        if session.row and self.journal is not None:
            self.journal.change(SESSIONS, session)
        guard = session.guard
        if will is not None and (guard is None or guard.publish(will.topic, will.qos, will.retain) < 0x80):
            self.publish(from_will(will, now, session.limits.message_expiry_maximum), session, now)

    def _retain(self, message: ApplicationMessage, source: Session | None, now: float) -> bool:
        """Keep, replace or clear the retained message of a topic (section 3.3.1.3)."""
        if not message.payload_bytes or message.expires_at <= now:
            self.retained.remove(message.topic)  # [MQTT-3.3.1-6]; what expires at once replaces too [MQTT-3.3.1-5]
            return True
        if not self.retained.set(message, None if source is None else source.author(), now):
            return False
        if message.expires_at != NEVER:
            self.remember(message.expires_at, RETAINED_EXPIRY, message)
        return True

    def _expiry_interval(self, connection: Connection, connect: Connect) -> int:
        """Session Expiry Interval; a 3.x Session lives for its connection, or (Clean Session 0) for the maximum."""
        maximum = connection.limits.session_expiry_maximum
        if connect.version == 5:
            connection.session_expiry_interval = connect.properties.session_expiry_interval or 0
            return min(connection.session_expiry_interval, maximum)
        return 0 if connect.clean_start else maximum

    def _new_identifier(self, prefix: str) -> str:
        while True:
            identifier = prefix + secrets.token_hex(8)
            if identifier not in self.sessions:
                return identifier
