"""One Network Connection's protocol: from CONNECT to the end of the socket. It dies with the socket; the Session stays.

Bytes come in through `receive`; answers go into `outbox`; the transport flushes it, looks at `ended` and closes. A
peer's fault is a ProtocolError raised anywhere below `receive` and answered there: CONNACK or DISCONNECT with its
Reason Code for 5.0, a plain close for 3.x (section 4.13). Methods in the order in which they are met:

    the transport     receive, authenticated, drained, lost
    packets           on_connect, on_publish, on_disconnect; the others in `authenticating`, `exchanging`, `subscribing`
    the Session       send_new, send_again, send_at_most_once, send_retained, send_backlog
    the Broker        end
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from broker.core.authenticating import answered, answered_again, ask, on_auth
from broker.core.backlog import Backlog
from broker.core.exchanging import on_puback, on_pubcomp, on_pubrec, on_pubrel
from broker.core.flight import BARRED, NOT_ALLOWED, TOO_LARGE
from broker.core.grants import Grant
from broker.core.journal import EXCHANGES, Exchange
from broker.core.limits import DISCONNECT as POLICY_DISCONNECT
from broker.core.limits import DROP_NEWEST
from broker.core.message import from_publish
from broker.core.outbox import Outbox
from broker.core.refusals import refusal, with_reason_string
from broker.core.stats import Traffic
from broker.core.subscribing import subscribe, unsubscribe
from broker.core.subscriptions import ACCEPTED, NOBODY, REFUSED
from broker.packets.codes import REASONS_FROM_SERVER
from broker.packets.decode import Decoder
from broker.packets.encode import PINGRESP_PACKET, acknowledgement, encode, puback, pubrec, pubrel
from broker.packets.reasons import ProtocolError, ReasonCode, connect_return_code
from broker.packets.types import (
    CONNACK,
    DISCONNECT,
    NO_PROPERTIES,
    PUBACK,
    PUBREC,
    Auth,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.core.aliases import IncomingAliases, OutgoingAliases
    from broker.core.broker import Broker
    from broker.core.flight import Tap
    from broker.core.journal import Queued
    from broker.core.limits import Limits
    from broker.core.message import ApplicationMessage
    from broker.core.ports import Answer, AuthenticationExchange, Peer
    from broker.core.session import Session
    from broker.core.subscriptions import Delivery

AWAITING_CONNECT: Final = 0
AUTHENTICATING: Final = 1
CONNECTED: Final = 2
ENDED: Final = 3

NOTHING_STAGED: Final[deque[tuple[int, bytes, int, float]]] = deque(maxlen=0)

# What may stand in a DISCONNECT from a Server (table 3-13); another code becomes 0x80.
_DISCONNECT_REASONS: Final = REASONS_FROM_SERVER[DISCONNECT]
# What may stand in a CONNACK (table 3-1).
_CONNACK_REASONS: Final = REASONS_FROM_SERVER[CONNACK]


class Connection:
    """See the module. `now` is monotonic seconds everywhere."""

    def __init__(self, broker: Broker, peer: Peer, limits: Limits, now: float) -> None:
        self.broker = broker
        self.peer = peer
        self.limits = limits
        self.stats = broker.stats.transport(peer.transport)
        self.decoder = Decoder(broker.decoder_limits(limits))
        self.traffic = Traffic()
        self.outbox = Outbox(broker.dirty, self.stats, self.traffic, limits.outbox_soft_bytes, limits.outbox_hard_bytes)
        self.state = AWAITING_CONNECT
        self.version = 0
        self.grant = Grant()
        self.may_publish_anything = False  # what the grant says, asked once: it may be a class that is not compiled
        self.session: Session | None = None
        self.accepted_at = now
        self.last_received = now
        self.keep_alive_seconds = 0.0  # without a packet until the end; 0 = for ever
        self.keep_alive_second = 0  # its place in the broker's KeepAliveRing
        self.waiting: Awaitable[Answer] | None = None  # the transport awaits it, then calls `authenticated`
        self.method = ""  # of an enhanced authentication
        self.exchange: AuthenticationExchange | None = None  # its next AUTH
        self.connect: Connect | None = None  # while AUTHENTICATING
        self.incoming_aliases: IncomingAliases | None = None
        self.outgoing_aliases: OutgoingAliases | None = None
        self.maximum_packet_size = 0  # what the Client can take; 0 = anything
        self.problem_information = True
        self.session_expiry_interval = 0  # as in CONNECT
        self.clean_start = False
        self.simple = True  # a QoS 0 message needs no look at aliases, packet size or backlog
        self.backlog: Backlog | None = None
        # Acknowledgements that wait for the Store: position, bytes, 1 where the send quota waits for it, received at.
        self.staged: deque[tuple[int, bytes, int, float]] = NOTHING_STAGED
        self.staged_count = 0  # of those ones
        self.arriving = 0  # the position that the CONNACK waits for
        self.connack = (False, NO_PROPERTIES)  # what it says: Session Present, properties
        self.dropped = 0  # QoS 0 messages dropped for this slow reader
        self.noted = 0  # of them, in the flight record
        self.last_published = -math.inf
        self.tap: Tap | None = None  # of a Client that is watched
        self.end_reason = ""
        self.carried: dict[int, None] = {}  # of the Session's `received`, what came on an older Network Connection
        self.peer_is_done = False  # the peer has sent its last byte: DISCONNECT, or the end of the stream

    @property
    def ended(self) -> bool:
        """Nothing more is received: flush, then close."""
        return self.state == ENDED

    @property
    def name(self) -> str:
        """For logs."""
        return self.session.client_identifier if self.session is not None else self.peer.address

    # -- The transport

    def identify(self, transport: str) -> None:
        """The first bytes have told what this is: count it under that transport."""
        if transport != self.peer.transport:
            self.stats.connections -= 1
            self.stats.accepted -= 1
            self.peer.transport = transport
            self.stats = self.outbox.stats = self.broker.stats.transport(transport)
            self.stats.connections += 1
            self.stats.accepted += 1

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the peer."""
        if self.state == ENDED:
            return
        stats = self.stats
        traffic = self.traffic
        stats.bytes_received += len(data)
        traffic.bytes_received += len(data)
        decoder = self.decoder
        try:
            while True:
                before = self.state
                packets = decoder.feed(data)
                if packets:
                    self.last_received = now
                    stats.messages_received += len(packets)
                    traffic.messages_received += len(packets)
                    if self.tap is not None:
                        self.tap.came(packets, now)
                    for packet in packets:
                        if type(packet) is Publish:
                            self.on_publish(packet, now)
                        elif type(packet) is Puback:
                            on_puback(self, packet, now)
                        else:
                            self._handle(packet, now)
                        if self.state == ENDED:
                            return
                if decoder.error is not None:
                    self.fail(decoder.error, now)
                    return
                if before == CONNECTED or (self.state != CONNECTED and (self.exchange is None or not packets)):
                    break
                data = b""  # what came behind the CONNECT, or behind an AUTH
        except ProtocolError as error:
            self.fail(error, now)
            return
        outbox = self.outbox
        if outbox.size > outbox.hard:
            self.end(ReasonCode.QUOTA_EXCEEDED, "the Client sends requests and does not read the answers", now)

    def authenticated(self, answer: Answer, now: float) -> None:
        """What the Authenticator said; if it was awaited, call `receive(b"")` for what came behind the CONNECT."""
        self.waiting = None
        if self.state == CONNECTED:
            answered_again(self, answer, now)
        elif self.state == AUTHENTICATING:
            answered(self, answer, now)
            if self.state == CONNECTED:
                self.connect = None
                self.decoder.accept()

    def arrived(self, now: float) -> None:
        """The CONNACK has been put out after a commit: go on with what came behind the CONNECT."""
        self.connect = None
        self.arriving = 0
        self.decoder.accept()
        self.receive(b"", now)

    def drained(self, now: float) -> None:
        """The outbox has room again, or the store has committed."""
        session = self.session
        if session is not None and (self.backlog is not None or session.waiting()):
            try:
                session.refill(now)
            except Exception as error:  # a bug ends this connection, not the flush of all the others
                self.broker.fault(session, error)

    def lost(self, now: float, reason: str = "connection lost") -> None:
        """The Network Connection is gone without a DISCONNECT: the Will Message is due [MQTT-3.1.2-8]."""
        if self.state != ENDED:
            self._over(reason, now, will=True)

    # -- Packets

    def _handle(self, packet: ControlPacket, now: float) -> None:
        if isinstance(packet, Pubrec):
            on_pubrec(self, packet, now)
        elif isinstance(packet, Pubrel):
            on_pubrel(self, packet)
        elif isinstance(packet, Pubcomp):
            on_pubcomp(self, packet, now)
        elif isinstance(packet, Pingreq):
            self.outbox.put(PINGRESP_PACKET)
        elif isinstance(packet, Subscribe):
            subscribe(self, packet, now)
        elif isinstance(packet, Unsubscribe):
            unsubscribe(self, packet)
        elif isinstance(packet, Disconnect):
            self.on_disconnect(packet, now)
        elif isinstance(packet, Connect):
            self.on_connect(packet, now)
        elif isinstance(packet, Auth):
            on_auth(self, packet, now)
        else:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"{type(packet).__name__} from a Client")

    def on_connect(self, connect: Connect, now: float) -> None:
        """The first packet (section 3.1)."""
        self.version = connect.version
        limits = self.limits
        properties = connect.properties
        self.problem_information = properties.request_problem_information != 0
        if properties.maximum_packet_size is not None:
            self.maximum_packet_size = properties.maximum_packet_size
        if not connect.client_identifier:
            if connect.version < 5 and not connect.clean_start:
                # [MQTT-3.1.3-8]
                self.refuse(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "a zero-length one needs Clean Session 1", now)
                return
            if not limits.zero_length_client_identifiers:
                self.refuse(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "a Client Identifier is needed", now)
                return
        will = connect.will
        if will is not None:
            if will.qos > limits.maximum_qos:
                self.refuse(ReasonCode.QOS_NOT_SUPPORTED, f"Will QoS {will.qos}", now)  # [MQTT-3.2.2-12]
                return
            if will.retain and not limits.retain_available:
                self.refuse(ReasonCode.RETAIN_NOT_SUPPORTED, "Will Retain", now)  # [MQTT-3.2.2-13]
                return
            if will.topic.startswith("$SYS/"):
                self.refuse(ReasonCode.NOT_AUTHORIZED, "no Client publishes into $SYS", now)
                return
        self.clean_start = connect.clean_start
        self.connect = connect
        self.state = AUTHENTICATING
        ask(self, connect, now)

    def on_publish(self, publish: Publish, now: float) -> None:
        """PUBLISH (section 3.3): route, then acknowledge what has become of it."""
        limits = self.limits
        stats = self.stats
        stats.publish_received += 1
        stats.publish_bytes_received += len(publish.packet) - publish.payload_start
        self.last_published = now
        qos = publish.qos
        if publish.topic_alias:
            aliases = self.incoming_aliases
            if aliases is None:
                raise ProtocolError(ReasonCode.TOPIC_ALIAS_INVALID, "Topic Alias Maximum is 0")
            publish.topic = aliases.resolve(publish.topic_alias, publish.topic)
        if publish.retain and not limits.retain_available:
            raise ProtocolError(ReasonCode.RETAIN_NOT_SUPPORTED, "RETAIN is not available")  # [MQTT-3.2.2-14]
        if qos > limits.maximum_qos:
            raise ProtocolError(ReasonCode.QOS_NOT_SUPPORTED, f"QoS {qos} is not available")  # [MQTT-3.2.2-11]
        session = self.session
        assert session is not None
        identifier = publish.packet_identifier
        broker = self.broker
        journal = broker.journal
        if qos == 2 and identifier in session.received:
            self.carried.pop(identifier, None)  # sent again on this connection
            # again, and not routed again [MQTT-4.3.3-10]
            self.acknowledge(pubrec(identifier), journal.latest() if journal is not None else 0)
            return
        if qos and self.version == 5 and self.in_flight() >= limits.receive_maximum:
            raise ProtocolError(
                ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, f"{limits.receive_maximum} messages unacknowledged"
            )  # [MQTT-3.3.4-7]
        topic = publish.topic
        if topic.startswith("$SYS/"):
            reason: int = ReasonCode.NOT_AUTHORIZED
        elif not self.may_publish_anything:
            reason = self.grant.publish(topic, qos, publish.retain)
            if reason >= 0x80:
                self.broker.flights.of(session.client_identifier).decide(now, NOT_ALLOWED, topic, qos)
        else:
            reason = 0
        position = 0
        if reason < 0x80:
            message = from_publish(publish, now, limits.message_expiry_maximum)
            if qos == 0 or journal is None:
                reason = broker.publish(message, session, now)
            elif journal.full:
                stats_of_all = broker.stats
                stats_of_all.publish_refused += 1
                if self.version < 5:
                    return  # it cannot be told and is not acknowledged: the Client sends it again some day
                reason = ReasonCode.QUOTA_EXCEEDED
            else:
                before = journal.changes
                reason = broker.publish(message, session, now)
                if qos == 2 and session.durable and (reason < 0x80 or self.version < 5):
                    exchange = Exchange(session, identifier, True)
                    session.received[identifier] = exchange
                    journal.add(EXCHANGES, exchange)
                if journal.changes != before:
                    position = journal.position
        if qos == 0:
            return
        if qos == 2 and (reason < 0x80 or self.version < 5) and identifier not in session.received:
            # For 3.x a refusal cannot be told; the exchange is gone through [MQTT-3.3.5-2].
            session.received[identifier] = None
        if self.version < 5 or not reason:
            data = puback(identifier) if qos == 1 else pubrec(identifier)
        elif reason < 0x80:
            data = acknowledgement(PUBACK if qos == 1 else PUBREC, identifier, reason, 5)
        else:
            data = refusal(self, Puback if qos == 1 else Pubrec, identifier, reason)
        if journal is None:
            self.outbox.put(data)
            if qos == 1:
                stats.latency.given_1 += 1
            else:
                stats.latency.given_2 += 1
        else:
            self.acknowledge(data, position, qos == 1 or reason >= 0x80)

    def in_flight(self) -> int:
        """Messages of QoS 1 and 2 that this Network Connection has brought and that are not seen through.

        The Client's send quota begins anew with each Network Connection (section 4.9): what an older one left between
        PUBREC and PUBREL does not count.
        """
        session = self.session
        assert session is not None
        return len(session.received) - len(self.carried) + self.staged_count

    def on_disconnect(self, packet: Disconnect, now: float) -> None:
        """DISCONNECT (section 3.14): the Will goes with Reason Code 0 and stays with any other [MQTT-3.14.4-3]."""
        interval = packet.properties.session_expiry_interval
        session = self.session
        if interval is not None and session is not None:
            if self.session_expiry_interval == 0 and interval != 0:
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "Session Expiry Interval was 0 at CONNECT")
            session.expiry_interval = min(interval, self.limits.session_expiry_maximum)
        self.peer_is_done = True  # [MQTT-3.14.4-2]
        self._over("client disconnected", now, will=packet.reason != ReasonCode.SUCCESS)
        self.outbox.touch()

    # -- The Session

    def send_new(self, queued: Queued, qos: int, now: float) -> int:
        """Begin the exchange of one message of QoS 1 or 2; the quota allows it."""
        session = self.session
        assert session is not None
        identifier = session.outgoing.start(queued)
        if self.simple and queued.delivery.plain and not queued.maybe_sent:
            message = queued.message
            head, tail = message.head_and_tail(self.version, qos, False, now)
            self.outbox.put_publish_parts(head, identifier, tail, message.payload_bytes)
            return ACCEPTED
        return self._send_first(session, queued, qos, identifier, now)

    def send_started(self, identifier: int, now: float) -> None:
        """A message of QoS 2 whose Packet Identifier is committed now."""
        session = self.session
        assert session is not None
        queued = session.outgoing.unacknowledged.get(identifier)
        if queued is not None:
            self._send_first(session, queued, 2, identifier, now)

    def _send_first(self, session: Session, queued: Queued, qos: int, identifier: int, now: float) -> int:
        message = queued.message
        data = b""
        if not session.barred(message):
            data = self._encode(message, queued.delivery, qos, now, identifier, queued.maybe_sent)
        if not data:
            what = BARRED if session.barred(message) else TOO_LARGE
            self.broker.flights.of(session.client_identifier).decide(now, what, message.topic, qos)
            self._give_up(session, queued, qos, identifier)
            session.stats.publish_dropped += 1
            return NOBODY
        self.outbox.put_publish(data, message.payload_bytes)
        return ACCEPTED

    def _give_up(self, session: Session, queued: Queued, qos: int, identifier: int) -> None:
        """Too large for this Client [MQTT-3.1.2-25], or no longer for it: as if it had been sent and seen through."""
        if qos == 1:
            session.outgoing.puback(identifier)
        else:
            session.outgoing.pubrec(identifier, 0x95)
        session.forget(queued)

    def send_release(self, identifier: int) -> None:
        """A PUBREL once more on this connection [MQTT-4.4.0-1]."""
        self.outbox.put(pubrel(identifier))

    def send_again(self, identifier: int, now: float) -> None:
        """An unacknowledged message once more on this connection, with DUP [MQTT-3.3.1-1]."""
        session = self.session
        assert session is not None
        queued = session.outgoing.unacknowledged[identifier]
        message = queued.message
        delivery = queued.delivery
        qos = min(message.qos, delivery.maximum_qos)
        data = b""
        if not session.barred(message):
            data = self._encode(message, delivery, qos, now, identifier, True)
        if not data:
            self._give_up(session, queued, qos, identifier)
            return
        self.outbox.put_publish(data, message.payload_bytes)

    def send_at_most_once(self, message: ApplicationMessage, delivery: Delivery, now: float) -> int:
        """One message of QoS 0, where something is to be looked at: size, alias, flags, or a full outbox."""
        outbox = self.outbox
        if outbox.size >= outbox.soft or self.backlog is not None:
            policy = delivery.overflow or self.limits.overflow
            if policy == DROP_NEWEST:
                if outbox.size >= outbox.soft:
                    self._drop(1, message, policy, now)
                    return REFUSED
            elif policy == POLICY_DISCONNECT:
                if outbox.size >= outbox.soft:
                    self._drop(1, message, policy, now)
                    self.broker.doom(self, ReasonCode.QUOTA_EXCEEDED, "slow reader, overflow policy disconnect")
                    return REFUSED
            else:
                if self.backlog is None:
                    self.backlog = Backlog(self.limits.queue_messages, self.limits.queue_bytes)
                    self.simple = False
                self._drop(self.backlog.add(message, delivery, policy), message, policy, now)
                return ACCEPTED
        data = self._encode(message, delivery, 0, now, 0, False)
        if not data:
            self._drop(1, message, "", now)
            return NOBODY
        outbox.put_publish(data, message.payload_bytes)
        return ACCEPTED

    def send_retained(self, message: ApplicationMessage, delivery: Delivery, now: float) -> None:
        """One retained message at QoS 0; the caller paces, nothing is dropped here."""
        data = self._encode(message, delivery, 0, now, 0, False)
        if data:
            self.outbox.put_publish(data, message.payload_bytes)

    def send_backlog(self, now: float) -> bool:
        """The oldest message kept by an overflow policy; whether a step was made."""
        backlog = self.backlog
        if backlog is None or not len(backlog):
            self.backlog = None
            self.simple = self.outgoing_aliases is None and not self.maximum_packet_size
            return False
        message, delivery = backlog.pop()
        if message.expires_at > now and not delivery.session.barred(message):
            data = self._encode(message, delivery, 0, now, 0, False)
            if data:
                self.outbox.put_publish(data, message.payload_bytes)
        return True

    def _encode(
        self, message: ApplicationMessage, delivery: Delivery, qos: int, now: float, identifier: int, dup: bool
    ) -> bytes:
        """The PUBLISH for this Client; empty where it would be larger than the Client can take [MQTT-3.1.2-24]."""
        retain = delivery.retained or (message.retain and delivery.retain_as_published)
        version = self.version
        identifiers = delivery.identifiers if version == 5 else ()
        aliases = self.outgoing_aliases
        alias, with_topic = 0, True
        if aliases is not None:
            alias, with_topic = aliases.use(message.topic)
        data = message.wire(version, qos, retain, now, identifier, dup, identifiers, alias, with_topic)
        if self.maximum_packet_size and len(data) > self.maximum_packet_size:
            if aliases is not None:
                aliases.forget_all()
            return b""
        return data

    def _drop(self, count: int, message: ApplicationMessage, policy: str, now: float) -> None:
        """Messages of QoS 0 are dropped: by an overflow `policy`, or for want of one as too large."""
        if not count:
            return
        self.dropped += count
        self.broker.stats.publish_dropped += count
        if self.session is not None:
            self.broker.flights.dropped(self, self.session, message.topic, policy, now)

    def acknowledge(self, data: bytes, position: int, counts: bool = False) -> None:
        """Send an acknowledgement when the Store has what it promises, `position`; 0 for nothing, but always in the
        order of the packets [MQTT-4.6.0-2]. `counts`: until then a message of the Client is in flight."""
        journal = self.broker.journal
        if journal is None or (not self.staged and position <= journal.committed):
            self.outbox.put(data)
            self.stats.latency.give(data)
        else:
            if self.staged is NOTHING_STAGED:
                self.staged = deque()
            if counts:
                self.staged_count += 1
            self.staged.append((position, data, 1 if counts else 0, self.last_received))
            self.broker.staging[self] = None

    # -- The end

    def fail(self, error: ProtocolError, now: float) -> None:
        """The peer's fault: answer it with its Reason Code and end (section 4.13)."""
        if self.state in (AWAITING_CONNECT, AUTHENTICATING):
            if not self.version:
                self.version = self.decoder.version
            self.refuse(error.reason, error.detail, now)
        else:
            self.end(error.reason, error.detail, now)

    def end(self, reason: ReasonCode, detail: str, now: float) -> None:
        """End this connection from our side: DISCONNECT for 5.0, then the transport closes; the Will is due."""
        if self.state == ENDED:
            return
        if self.state == CONNECTED:
            if self.version == 5:
                code = reason if reason in _DISCONNECT_REASONS else ReasonCode.UNSPECIFIED_ERROR
                self._say(Disconnect(code, with_reason_string(detail)), Disconnect(code))
            will = True
        else:
            self.stats.refused += 1
            will = False
        self._over(f"0x{int(reason):02X} {reason.name.lower()}: {detail}", now, will)
        self.outbox.touch()

    def refuse(self, reason: ReasonCode, detail: str, now: float) -> None:
        """CONNACK with a refusal, then the end [MQTT-3.2.2-7]. No Session has been touched."""
        if self.version == 5:
            code = reason if reason in _CONNACK_REASONS else ReasonCode.UNSPECIFIED_ERROR
            self._say(Connack(code, False, with_reason_string(detail)), Connack(code))
        elif self.version and connect_return_code(reason) > 0:
            self.outbox.put(encode(Connack(reason), self.version))
        self.stats.refused += 1
        client_identifier = self.connect.client_identifier if self.connect is not None else ""
        for watcher in self.broker.watchers:
            try:
                watcher.refused(client_identifier, self.peer, str(ProtocolError(reason, detail)))
            except Exception as error:
                self.broker.faults.append((self, error))
        self._over(f"0x{int(reason):02X} {reason.name.lower()}: {detail}", now, will=False)
        self.outbox.touch()

    def _say(self, packet: ControlPacket, shorter: ControlPacket) -> None:
        """Put `packet`, or `shorter` where the Client could not take it [MQTT-3.2.2-19, MQTT-3.14.2-3]."""
        data = encode(packet, self.version)
        if self.maximum_packet_size and len(data) > self.maximum_packet_size:
            data = encode(shorter, self.version)
            if len(data) > self.maximum_packet_size:
                return
        self.outbox.put(data)

    def _over(self, reason: str, now: float, will: bool) -> None:
        if self.state != CONNECTED:
            self.broker.stats.handshakes -= 1
        self.state = ENDED
        self.arriving = 0
        self.connect = None
        self.waiting = None
        self.end_reason = reason
        self.backlog = None
        self.broker.disconnected(self, now, will)
