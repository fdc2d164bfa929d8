"""What an MQTT Client knows and decides, without input or output: bytes in, bytes out, time passed in.

Who calls what:

- the application, at any time: `publish`, `cancel`, `subscribe`, `leave`, `unsubscribe`, `through`;
- the connection, for one Network Connection after the other: `open`, then `receive` with what was read, `take` for
  what is to be written and `handed` before the next `take`, `tick` when `deadline` has come, and `lost` at its end;
- at the very end, once: `close` for an orderly one, and `fail`.

A fault, ours or the Server's, sets `error`; the connection flushes what `take` still gives and closes. The Session
lives in `publications`, `deliveries` and `subscriptions`, beyond the Network Connection (section 4.1).
"""

from __future__ import annotations

from math import inf

from broker.client.announced import Announced
from broker.client.deliveries import Deliveries
from broker.client.errors import (
    CannotConnect,
    ClientError,
    ConnectRefused,
    Disconnected,
    SubscribeRefused,
    describe,
    reason_code,
)
from broker.client.keepalive import KeepAlive
from broker.client.message import Message
from broker.client.publications import Publication, Publications
from broker.client.requests import PacketIdentifiers, Request
from broker.client.subscriptions import Subscription, Subscriptions
from broker.packets.codes import REASONS_FROM_CLIENT
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import PINGREQ_PACKET, acknowledgement, encode, puback, pubrec, pubrel
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import split_share
from broker.packets.types import (
    DISCONNECT,
    MQTT_3_1,
    MQTT_5_0,
    NO_PROPERTIES,
    PUBCOMP,
    PUBREL,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)


class Settings:
    """What is asked of a Server; the attributes are the arguments of `broker.client.connect`."""

    def __init__(self) -> None:
        self.version = MQTT_5_0
        self.client_identifier = ""
        self.clean_start = True
        self.session_expiry_interval = 0  # seconds; 5.0 only
        self.end_session = False  # on leaving, whatever `session_expiry_interval` says
        self.keep_alive = 60  # seconds
        self.ping_timeout = 10.0  # seconds
        self.connect_timeout = 10.0  # seconds
        self.user_name: str | None = None
        self.password: bytes | None = None
        self.will: Will | None = None
        self.receive_maximum = 256
        self.maximum_packet_size = 16 * 1024 * 1024  # bytes
        self.topic_alias_maximum = 64
        self.request_response_information = False  # 5.0 only
        self.request_problem_information = True  # 5.0 only
        self.user_properties: list[tuple[str, str]] = []


class Unsubscription(Request):
    """An UNSUBSCRIBE and its answer; `reasons` is empty before 5.0."""

    __slots__ = ("reasons", "topic_filters")

    def __init__(self, topic_filters: list[str]) -> None:
        super().__init__()
        self.topic_filters = topic_filters
        self.reasons: dict[str, ReasonCode] = {}


class Protocol:
    """One Client. `connected` is true from CONNACK to the end of the Network Connection.

    Whatever ends one before its CONNACK is a CannotConnect or a ConnectRefused, afterwards a Disconnected: see `gone`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.version = settings.version
        self.client_identifier = settings.client_identifier
        self.connected = False
        self.accepted = False  # the present or last Network Connection had its CONNACK
        self.error: ClientError | None = None  # of the present Network Connection
        self.connack: Connack | None = None
        self.spill = False  # whether QoS 0 messages for a full buffer are dropped
        self.awaited = 0  # how many applications wait for an answer of the Server
        self.keep_alive = KeepAlive(settings.ping_timeout)
        self.identifiers = PacketIdentifiers()
        self.publications = Publications(self.identifiers)
        self.deliveries = Deliveries(settings.receive_maximum if settings.version == MQTT_5_0 else 0)
        self.subscriptions = Subscriptions()

        self._limits = DecoderLimits()
        self._limits.maximum_packet_size = settings.maximum_packet_size
        self._limits.properties_bytes = settings.maximum_packet_size
        self._limits.acknowledgement_bytes = settings.maximum_packet_size
        self._limits.user_properties = 0  # any number
        self._limits.topic_levels = 0
        self._limits.topic_bytes = 65_535
        self._decoder = Decoder(self._limits, self.version, server=False)
        self._outbox: list[bytes] = []
        self._handing: list[Publication] = []  # QoS 0, in the outbox
        self._taken: list[Publication] = []  # QoS 0, taken from the outbox but not handed yet
        self._subscribing: dict[int, Subscription] = {}
        self._unsubscribing: dict[int, Unsubscription] = {}
        self._unsubscriptions: list[Unsubscription] = []  # not sent yet
        self._aliases: dict[int, str] = {}  # the Server's Topic Aliases
        self._given_aliases: dict[int, str] = {}  # ours
        self._had_session = False
        self._clean_start = settings.clean_start  # of the last CONNECT
        self._closed = False  # DISCONNECT is sent or received, or the Network Connection gone
        self._answered = False  # something came on the present Network Connection, behind CONNACK
        self._announced = Announced(NO_PROPERTIES)
        self._connack_due = inf

    # -- the application

    def publish(self, publication: Publication) -> None:
        """Send it as soon as may be; it is settled when acknowledged, or at QoS 0 when handed to the transport."""
        self.publications.add(publication)
        if self.connected:
            self._send_publications()

    def cancel(self, publication: Publication) -> None:
        self.publications.cancel(publication)

    def subscribe(self, subscription: Subscription) -> None:
        """Settled by SUBACK; with SubscribeRefused when one Topic Filter is refused, and then all are given up. Where
        `partly` is enough, only when all are refused."""
        self.subscriptions.add(subscription)
        if self.connected:
            self._send_subscribe(subscription)

    def leave(self, subscription: Subscription, keep: bool) -> None:
        """The iterator is left; with `keep` the Session keeps the subscription."""
        self.subscriptions.remove(subscription, keep)
        self._acknowledge()
        if not keep and subscription.ended is None:
            asked = [name for name in subscription.topic_filters if name not in subscription.refused]
            self._unsubscribe(Unsubscription(asked))

    def unsubscribe(self, unsubscription: Unsubscription) -> None:
        """End subscriptions of the Session that no iterator has; settled by UNSUBACK."""
        self.subscriptions.forget(split_share(topic_filter)[1] for topic_filter in unsubscription.topic_filters)
        self._acknowledge()
        self._unsubscribe(unsubscription)

    def through(self, subscription: Subscription) -> None:
        """The application is through with the message in hand: it may be acknowledged."""
        if subscription.in_hand is not None:
            subscription.through()
            self._acknowledge()

    # -- the Network Connection

    def open(self, now: float) -> None:
        """A new Network Connection: CONNECT is its first packet [MQTT-3.1.0-1]."""
        self._decoder = Decoder(self._limits, self.version, server=False)
        self.error = None
        self.spill = False
        self.accepted = False
        self._answered = False
        self._closed = False
        self._outbox.clear()
        self._aliases.clear()  # [MQTT-3.3.2-7]
        self._given_aliases.clear()
        self._connack_due = now + self.settings.connect_timeout
        self._clean_start = self.settings.clean_start and not self._resumes()
        self._outbox.append(self.connect_packet())

    def connect_packet(self) -> bytes:
        """The CONNECT as it is sent next; ValueError where the settings cannot be expressed."""
        settings = self.settings
        properties = NO_PROPERTIES
        if self.version == MQTT_5_0:
            properties = Properties()
            properties.session_expiry_interval = settings.session_expiry_interval or None
            properties.receive_maximum = settings.receive_maximum
            properties.maximum_packet_size = settings.maximum_packet_size
            properties.topic_alias_maximum = settings.topic_alias_maximum or None
            properties.request_response_information = 1 if settings.request_response_information else None
            properties.request_problem_information = None if settings.request_problem_information else 0
            properties.user_properties = settings.user_properties
        connect = Connect(
            self.client_identifier,
            self.version,
            self._clean_start,
            settings.keep_alive,
            settings.user_name,
            settings.password,
            settings.will,
            properties,
        )
        return encode(connect, self.version)

    def receive(self, data: bytes, now: float) -> None:
        """Bytes came. Never raises for the Server's fault: see `error`."""
        if self.error is not None or self._closed:
            return
        self.keep_alive.received(now)
        try:
            for packet in self._decoder.feed(data):
                self._packet(packet, now)
                if self.error is not None:
                    return
            if self._decoder.error is not None:
                raise self._decoder.error
        except ProtocolError as error:
            self._fault(error.reason, error.detail)
            return
        if self.connected:
            self._acknowledge()
            self._send_publications()

    @property
    def pending(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._outbox)

    def take(self) -> bytes:
        """What is to be written now, packet behind packet; empty when there is nothing."""
        outbox = self._outbox
        if not outbox:
            return b""
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        outbox.clear()
        if self._handing:
            self._taken, self._handing = self._handing, []
        return data

    def handed(self, now: float) -> None:
        """What `take` gave is with the transport."""
        self.keep_alive.sent(now)
        if self._taken:
            taken, self._taken = self._taken, []
            for publication in taken:
                publication.settle()

    def deadline(self) -> float:
        """When `tick` must be called, unless packets are sent or received before."""
        if self._closed or self.error is not None:
            return inf
        if not self.connected:
            return self._connack_due
        return self.keep_alive.deadline()

    def tick(self, now: float) -> None:
        """Send PINGREQ when the Network Connection was idle, either way; end it when nothing answers."""
        if now < self.deadline():
            return
        if not self.connected:
            self.error = CannotConnect(f"no CONNACK within {self.settings.connect_timeout:g} s")
        elif self.keep_alive.failed(now):
            self._fault(ReasonCode.KEEP_ALIVE_TIMEOUT, f"no PINGRESP within {self.settings.ping_timeout:g} s")
        else:
            self._outbox.append(PINGREQ_PACKET)  # [MQTT-3.1.2-20]
            self.keep_alive.ping(now)

    def close(self) -> None:
        """Leave in order: DISCONNECT is the last packet [MQTT-3.14.4-1]."""
        if not self.connected:
            return
        properties = NO_PROPERTIES
        if self.settings.end_session and self.settings.session_expiry_interval:
            properties = Properties()
            properties.session_expiry_interval = 0
        self._outbox.append(encode(Disconnect(ReasonCode.SUCCESS, properties), self.version))
        self._ended()

    def lost(self) -> None:
        """The Network Connection is gone. What waits goes on waiting for the next one."""
        self._ended()
        self._outbox.clear()
        for publication in self._taken:
            publication.settle()  # at most once: it may have arrived, so it is not sent again
        self._taken.clear()
        self.publications.put_back(self._handing)
        self._handing.clear()
        self.identifiers.release(*self._subscribing, *self._unsubscribing)
        self._subscribing.clear()
        self._unsubscriptions[:0] = self._unsubscribing.values()
        self._unsubscribing.clear()

    def fail(self, error: ClientError) -> None:
        """There will be no other Network Connection: everybody who waits is told."""
        self.lost()
        self.publications.fail(error)
        for subscription in self.subscriptions:
            subscription.settle(error)
            subscription.end(error)
        for unsubscription in self._unsubscriptions:
            unsubscription.settle(error)
        self._unsubscriptions.clear()

    def gone(self, why: str) -> ClientError:
        """The Network Connection ended without a word of the Server's."""
        return Disconnected(None, why) if self.accepted else CannotConnect(f"{why} before CONNACK")

    def unanswered_subscribe(self) -> list[str]:
        """The Topic Filters of the first SUBSCRIBE of this Network Connection, if nothing came behind CONNACK."""
        if self._answered or not self._subscribing:
            return []
        return next(iter(self._subscribing.values())).topic_filters

    # -- what the Server sends

    def _packet(self, packet: ControlPacket, now: float) -> None:
        if not self.connected:
            if not isinstance(packet, Connack):  # [MQTT-3.2.0-1]
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "the first packet is not a CONNACK")
            self._connack(packet, now)
            return
        self._answered = self._answered or not isinstance(packet, Disconnect)
        if isinstance(packet, Publish):
            self._publish(packet)
        elif isinstance(packet, Puback):
            self.publications.puback(packet)
        elif isinstance(packet, Pubrec):
            answer = self.publications.pubrec(packet)
            if answer is not None:
                self._outbox.append(acknowledgement(PUBREL, answer.packet_identifier, answer.reason, self.version))
        elif isinstance(packet, Pubrel):
            pubcomp = self.deliveries.pubrel(packet)
            self._outbox.append(acknowledgement(PUBCOMP, pubcomp.packet_identifier, pubcomp.reason, self.version))
        elif isinstance(packet, Pubcomp):
            self.publications.pubcomp(packet)
        elif isinstance(packet, Pingresp):
            self.keep_alive.answered()
        elif isinstance(packet, Suback):
            self._suback(packet)
        elif isinstance(packet, Unsuback):
            self._unsuback(packet)
        elif isinstance(packet, Disconnect):
            self._disconnect(packet)
        else:  # a second CONNACK, or an AUTH though we named no method [MQTT-4.12.0-6]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"an unexpected {type(packet).__name__.upper()}")

    def _connack(self, packet: Connack, now: float) -> None:
        properties = packet.properties
        self.connack = packet
        if packet.reason != ReasonCode.SUCCESS:
            self.error = ConnectRefused(
                packet.reason, properties.reason_string or "", properties.server_reference or ""
            )
            return
        first = not self._had_session
        if packet.session_present and self._clean_start:  # [MQTT-3.2.2-4]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "Session Present though a clean start was asked for")
        self.connected = self.accepted = True
        self._had_session = True
        self._announced = Announced(properties)
        server_keep_alive = properties.server_keep_alive  # [MQTT-3.1.2-21]
        self.keep_alive.start(self.settings.keep_alive if server_keep_alive is None else server_keep_alive, now)
        if properties.assigned_client_identifier:
            self.client_identifier = properties.assigned_client_identifier
        resumed = packet.session_present
        if self.version == MQTT_3_1:  # does not tell, but does keep the Session
            resumed = not self._clean_start
        if first and resumed:
            self.subscriptions.holding = True
        self.deliveries.connected(resumed)
        for released in self.publications.connected(resumed, self._announced.receive_maximum):
            self._outbox.append(pubrel(released.packet_identifier))
        for subscription in self.subscriptions:
            if first or not resumed or not subscription.done or self.version == MQTT_3_1:
                self._send_subscribe(subscription)
        waiting, self._unsubscriptions = self._unsubscriptions, []
        for unsubscription in waiting:
            if resumed:
                self._unsubscribe(unsubscription)
            else:
                unsubscription.settle()
        self._send_publications()

    def _publish(self, packet: Publish) -> None:
        topic = packet.topic
        alias = packet.topic_alias
        if alias:
            if alias > self.settings.topic_alias_maximum:  # [MQTT-3.1.2-26]
                raise ProtocolError(ReasonCode.TOPIC_ALIAS_INVALID, f"Topic Alias {alias}")
            if topic:
                self._aliases[alias] = topic
            elif alias not in self._aliases:
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"Topic Alias {alias} stands for nothing")
            else:
                topic = self._aliases[alias]
        delivery = None
        if packet.qos:
            delivery = self.deliveries.publish(packet)
            if delivery is None:
                return
        self.subscriptions.deliver(Message(packet, topic), delivery, self.spill)

    def _suback(self, packet: Suback) -> None:
        subscription = self._subscribing.pop(packet.packet_identifier, None)
        if subscription is None:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a SUBACK for no SUBSCRIBE")
        self.identifiers.release(packet.packet_identifier)
        asked = [name for name in subscription.topic_filters if name not in subscription.refused]
        if len(packet.reasons) != len(asked):  # [MQTT-3.8.4-6]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a SUBACK with another number of Reason Codes")
        answers = list(zip(asked, packet.reasons, strict=True))
        subscription.granted = {name: reason for name, reason in answers if reason < 3}
        subscription.refused |= {name: reason_code(reason) for name, reason in answers if reason >= 0x80}
        if subscription.refused and not (subscription.partly and subscription.granted):
            self._refuse(subscription, SubscribeRefused(subscription.refused, packet.properties.reason_string or ""))
        else:
            subscription.settle()

    def _refuse(self, subscription: Subscription, error: SubscribeRefused) -> None:
        self.subscriptions.remove(subscription, keep=False)
        if subscription.granted:
            self._unsubscribe(Unsubscription(list(subscription.granted)))
        subscription.settle(error)
        subscription.end(error)

    def _unsuback(self, packet: Unsuback) -> None:
        unsubscription = self._unsubscribing.pop(packet.packet_identifier, None)
        if unsubscription is None:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "an UNSUBACK for no UNSUBSCRIBE")
        self.identifiers.release(packet.packet_identifier)
        unsubscription.reasons = {
            name: reason_code(reason)
            for name, reason in zip(unsubscription.topic_filters, packet.reasons, strict=False)
        }
        unsubscription.settle()

    def _disconnect(self, packet: Disconnect) -> None:
        properties = packet.properties
        self.error = Disconnected(
            packet.reason,
            properties.reason_string or "",
            properties.server_reference or "",
            by_server=True,
        )
        self._ended()
        self._outbox.clear()

    # -- what we send

    def _send_publications(self) -> None:
        while (publication := self.publications.next()) is not None:
            refusal = self._announced.refusal(publication)
            if refusal is not None:
                self.publications.refuse(publication, refusal)
                continue
            alias = publication.topic_alias
            known = alias > 0 and self._given_aliases.get(alias) == publication.topic
            if alias:
                self._given_aliases[alias] = publication.topic
            self._outbox.append(publication.packet(bare=known))
            if not publication.qos:
                self._handing.append(publication)

    def subscribe_packet(self, packet_identifier: int, subscription: Subscription) -> bytes:
        """The SUBSCRIBE as it is sent to this Server; ValueError where it cannot be expressed."""
        properties = NO_PROPERTIES
        if self.version == MQTT_5_0:
            properties = Properties()
            properties.user_properties = subscription.user_properties
            if subscription.identifier and self._announced.subscription_identifier_available:
                properties.subscription_identifiers = [subscription.identifier]
        requests = [request for request in subscription.requests if request.topic_filter not in subscription.refused]
        return encode(Subscribe(packet_identifier, requests, properties), self.version)

    def _send_subscribe(self, subscription: Subscription) -> None:
        packet_identifier = self.identifiers.take()
        subscription.refused = {}
        data = self.subscribe_packet(packet_identifier, subscription)
        refused = self._announced.unavailable(subscription.topic_filters, len(data))
        if refused and subscription.partly and len(refused) < len(subscription.requests):
            subscription.refused = refused
            data = self.subscribe_packet(packet_identifier, subscription)
            refused = {}
        if refused:
            self.identifiers.release(packet_identifier)
            self._refuse(subscription, SubscribeRefused(refused, "the Server's CONNACK rules it out"))
        else:
            self._subscribing[packet_identifier] = subscription
            self._outbox.append(data)

    def _unsubscribe(self, unsubscription: Unsubscription) -> None:
        if not self.connected:
            self._unsubscriptions.append(unsubscription)
            return
        packet_identifier = self.identifiers.take()
        self._unsubscribing[packet_identifier] = unsubscription
        self._outbox.append(encode(Unsubscribe(packet_identifier, unsubscription.topic_filters), self.version))

    def _acknowledge(self) -> None:
        """Send the acknowledgements that are due; without a Network Connection they wait for the repeat."""
        if not self.connected:
            return
        for packet in self.deliveries.due():
            write = puback if isinstance(packet, Puback) else pubrec
            self._outbox.append(write(packet.packet_identifier))

    def _fault(self, reason: ReasonCode, detail: str) -> None:
        """End the Network Connection for `reason`, which a 5.0 Server is told (section 4.13)."""
        self.error = Disconnected(reason, detail) if self.accepted else CannotConnect(describe(reason, detail))
        if self.connected and self.version == MQTT_5_0:
            told = reason if reason in REASONS_FROM_CLIENT[DISCONNECT] else ReasonCode.UNSPECIFIED_ERROR
            self._outbox.append(encode(Disconnect(told), self.version))
        self._ended()

    def _ended(self) -> None:
        """Nothing is sent or read any more on this Network Connection."""
        self.connected = False
        self._closed = True

    def _resumes(self) -> bool:
        """Whether the Session of the last Network Connection may still be there, and is asked for."""
        if not self._had_session:
            return False
        return self.settings.session_expiry_interval > 0 if self.version == MQTT_5_0 else not self.settings.clean_start
