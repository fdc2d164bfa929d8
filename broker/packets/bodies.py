"""What stands in a packet after its fixed header: every packet but those that `decode` reads in its loop.

The data of a method is the whole input; `at` is where the reader stands and `end` where the packet ends. Each field is
read in its order and judged at once, so the first fault is the one that is answered.
"""

from __future__ import annotations

from typing import Final

from broker.packets.codes import REASONS_FROM_CLIENT, REASONS_FROM_SERVER
from broker.packets.properties import (
    WILL,
    read_message_properties,
    read_properties,
    read_property_length,
)
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import SHARE_PREFIX, check_topic_filter, check_topic_name
from broker.packets.types import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5_0,
    NO_PROPERTIES,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Auth,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)
from broker.packets.wire import (
    decode_string,
    holds_disallowed_characters,
    malformed,
    read_binary,
    read_string,
    read_two_byte_integer,
)

CACHED_TOPIC_NAMES: Final = 8192  # of one DecoderLimits; when it is full it is emptied
CACHED_TOPIC_BYTES: Final = 256  # longer Topic Names are validated anew each time: they may not fill the memory

BRIDGE_BIT: Final = 0x80  # of the Protocol Version: mosquitto's sign for a bridge, in no standard

# Connect Return Codes of 3.1.1, table 3.1
_CONNECT_RETURN_CODES: Final = (
    ReasonCode.SUCCESS,
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    ReasonCode.SERVER_UNAVAILABLE,
    ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    ReasonCode.NOT_AUTHORIZED,
)


class DecoderLimits:
    """The bounds of the decoders of one listener (names and defaults of `broker.core.limits.Limits`; bytes, counts).

    It holds the Topic Names that they met as well, so that each is validated once and is one string in memory.
    """

    def __init__(self) -> None:
        self.versions: tuple[int, ...] = (3, 4, 5)
        self.connect_packet_size = 64 * 1024
        self.maximum_packet_size = 1024 * 1024
        self.topic_bytes = 4096
        self.topic_levels = 128
        self.properties_bytes = 8 * 1024
        self.user_properties = 64
        self.acknowledgement_bytes = 8 * 1024
        self.subscriptions_per_packet = 1000
        self.client_identifier_maximum = 256
        self.topic_names: dict[bytes, str] = {}


class Bodies:
    """The reader of packet bodies; `Decoder` adds to it where packets begin and end.

    `version` is the Protocol Version as soon as it is known, in whose style even a refusal is written; 0 when the first
    packet did not say.
    """

    def __init__(self, limits: DecoderLimits, version: int, server: bool) -> None:
        self.version = version
        self._limits = limits
        self._server = server
        self._reasons = REASONS_FROM_CLIENT if server else REASONS_FROM_SERVER

    # -- PUBLISH, its rare parts

    def _topic_name(self, raw: bytes) -> str:
        if not raw and self.version == MQTT_5_0:
            return ""  # a Topic Alias may stand for it (section 3.3.2.3.4)
        limits = self._limits
        topic = decode_string(raw)
        check_topic_name(topic, limits.topic_bytes, limits.topic_levels)  # [MQTT-3.3.2-2]
        if len(raw) <= CACHED_TOPIC_BYTES:
            if len(limits.topic_names) >= CACHED_TOPIC_NAMES:
                limits.topic_names.clear()
            limits.topic_names[raw] = topic
        return topic

    def _publish(self, data: bytes, start: int, at: int, end: int, topic: str, packet_identifier: int) -> Publish:
        """A PUBLISH of 5.0 whose properties begin with the Property Length at `at`."""
        limits = self._limits
        at, payload_start = read_property_length(data, at, end, limits.properties_bytes)
        found = read_message_properties(
            data,
            at,
            payload_start,
            PUBLISH,
            limits.user_properties,
            limits.topic_bytes,
            limits.topic_levels,
        )
        if self._server and found.subscription_identifiers:  # [MQTT-3.3.4-6]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a Subscription Identifier from a Client")
        if not topic and not found.topic_alias:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "neither Topic Name nor Topic Alias")
        first = data[start]
        return Publish(
            topic,
            data[start:end] if start or end != len(data) else data,
            payload_start - start,
            first >> 1 & 3,
            first & 1 != 0,
            first & 8 != 0,
            packet_identifier,
            MQTT_5_0,
            found.forwarded,
            found.message_expiry_interval,
            found.topic_alias,
            found.subscription_identifiers,
        )

    # -- All other packets: data[at:end] is what follows the fixed header

    def _packet(self, kind: int, data: bytes, at: int, end: int) -> ControlPacket:
        if kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            return self._acknowledgement(kind, data, at, end)
        if kind == PINGREQ:
            return Pingreq()
        if kind == PINGRESP:
            return Pingresp()
        if kind == SUBSCRIBE:
            return self._subscribe(data, at, end)
        if kind == UNSUBSCRIBE:
            return self._unsubscribe(data, at, end)
        if kind == CONNECT:
            return self._connect(data, at, end)
        if kind == DISCONNECT:
            return self._disconnect(data, at, end)
        if kind == AUTH:
            return self._auth(data, at, end)
        if kind == CONNACK:
            return self._connack(data, at, end)
        if kind == SUBACK:
            return self._suback(data, at, end)
        return self._unsuback(data, at, end)

    def _connect(self, data: bytes, at: int, end: int) -> Connect:
        limits = self._limits
        name, at = read_string(data, at, end)
        if name not in ("MQTT", "MQIsdp"):  # [MQTT-3.1.2-1]
            raise ProtocolError(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "the Protocol Name is not MQTT")
        if at == end:
            raise malformed("a CONNECT without a Protocol Version")
        level = data[at]
        self._choose_version(name, level)
        version = self.version
        at += 1
        if at == end:
            raise malformed("a CONNECT without Connect Flags")
        flags = data[at]
        at += 1
        will_flag = flags & 0x04
        will_qos = flags >> 3 & 3
        if flags & 0x01 and version != MQTT_3_1:  # 3.1 leaves the bit unused [MQTT-3.1.2-3]
            raise malformed("the reserved Connect Flag is set")
        if will_qos == 3:  # [MQTT-3.1.2-12]
            raise malformed("Will QoS 3")
        if not will_flag and flags & 0x38:  # [MQTT-3.1.2-11] [MQTT-3.1.2-13]
            raise malformed("Will QoS or Will Retain without Will Flag")
        if flags & 0xC0 == 0x40 and version != MQTT_5_0:  # [MQTT-3.1.2-22] of 3.1.1
            raise malformed("a Password without a User Name")
        keep_alive, at = read_two_byte_integer(data, at, end)
        properties = NO_PROPERTIES
        if version == MQTT_5_0:
            properties, at = self._properties(data, at, end, CONNECT)
            if properties.authentication_data is not None and properties.authentication_method is None:
                # section 3.1.2.11.10
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "Authentication Data without Authentication Method")

        # The payload's fields, in this order [MQTT-3.1.3-1]
        raw, at = read_binary(data, at, end)  # [MQTT-3.1.3-3]
        if len(raw) > limits.client_identifier_maximum:
            raise ProtocolError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, f"a Client Identifier of {len(raw)} bytes")
        client_identifier = _name(decode_string(raw), "Client Identifier")  # [MQTT-3.1.3-4]
        will = None
        if will_flag:  # [MQTT-3.1.2-9]
            will, at = self._will(data, at, end, will_qos, flags & 0x20 != 0)
        user_name = None
        password = None
        # 3.1 lets a Remaining Length that ends here take precedence over both flags (its section 3.1)
        if flags & 0x80 and (at < end or version != MQTT_3_1):  # [MQTT-3.1.2-17]
            user_name, at = read_string(data, at, end)  # [MQTT-3.1.3-12]
            user_name = _name(user_name, "User Name")
        if flags & 0x40 and (at < end or version != MQTT_3_1):  # [MQTT-3.1.2-19]
            password, at = read_binary(data, at, end)
        _check_end(at, end)  # [MQTT-3.1.2-16] [MQTT-3.1.2-18]
        clean_start = flags & 0x02 != 0
        return Connect(client_identifier, version, clean_start, keep_alive, user_name, password, will, properties)

    def _choose_version(self, name: str, level: int) -> None:
        """Set `version`, also where the level is refused: then to the style in which the refusal is understood."""
        known = level == MQTT_3_1 if name == "MQIsdp" else level in (MQTT_3_1_1, MQTT_5_0)
        if known:
            self.version = level
            if level in self._limits.versions:
                return
        elif name == "MQIsdp":
            self.version = MQTT_3_1
        elif level & BRIDGE_BIT == 0 and level > MQTT_5_0:
            self.version = MQTT_5_0
        else:
            # A 3.1.1 Client must be told 0x01 [MQTT-3.1.2-2]. A mosquitto bridge, which sets `BRIDGE_BIT`, connects
            # again without the bit when it hears that; to accept it would promise not to send its messages back.
            self.version = MQTT_3_1_1
        raise ProtocolError(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, f"{name} with Protocol Version {level}")

    def _will(self, data: bytes, at: int, end: int, qos: int, retain: bool) -> tuple[Will, int]:
        limits = self._limits
        delay_interval = 0
        message_expiry_interval = -1
        forwarded = b""
        if self.version == MQTT_5_0:
            at, properties_end = read_property_length(data, at, end, limits.properties_bytes)
            found = read_message_properties(
                data,
                at,
                properties_end,
                WILL,
                limits.user_properties,
                limits.topic_bytes,
                limits.topic_levels,
            )
            delay_interval = found.will_delay_interval
            message_expiry_interval = found.message_expiry_interval
            forwarded = found.forwarded  # User Properties in their order [MQTT-3.1.3-10]
            at = properties_end
        topic, at = read_string(data, at, end)  # [MQTT-3.1.3-11]
        check_topic_name(topic, limits.topic_bytes, limits.topic_levels)
        payload, at = read_binary(data, at, end)
        return Will(topic, payload, qos, retain, delay_interval, message_expiry_interval, forwarded), at

    def _connack(self, data: bytes, at: int, end: int) -> Connack:
        if at + 2 > end:
            raise malformed("a CONNACK of less than two bytes")
        flags = data[at]
        code = data[at + 1]
        at += 2
        properties = NO_PROPERTIES
        if self.version == MQTT_5_0 and (at < end or code > 5):
            reason = self._reason(CONNACK, code)
            properties, at = self._properties(data, at, end, CONNACK)
        else:
            # Also a Server that knows no 5.0 answers so, with 0x01
            if code >= len(_CONNECT_RETURN_CODES) or (self.version == MQTT_5_0 and code != 1):
                raise malformed(f"Connect Return Code {code}")
            reason = _CONNECT_RETURN_CODES[code]
        _check_end(at, end)
        if self.version == MQTT_3_1:  # has no Connect Acknowledge Flags
            flags = 0
        if flags & 0xFE:  # [MQTT-3.2.2-1]
            raise malformed("reserved Connect Acknowledge Flags")
        if flags and reason != ReasonCode.SUCCESS:  # [MQTT-3.2.2-6]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "Session Present with a refusal")
        return Connack(reason, flags == 1, properties)

    def _acknowledgement(self, kind: int, data: bytes, at: int, end: int) -> Puback | Pubrec | Pubrel | Pubcomp:
        packet_identifier, at = self._packet_identifier(data, at, end)
        reason = 0
        properties = NO_PROPERTIES
        if at < end:  # sections 3.4.2.1 and 3.4.2.2.1: both may be left out
            reason = int(self._reason(kind, data[at]))
            at += 1
            if at < end:
                properties, at = self._properties(data, at, end, kind)
                _check_end(at, end)
        if kind == PUBACK:
            return Puback(packet_identifier, reason, properties)
        if kind == PUBREC:
            return Pubrec(packet_identifier, reason, properties)
        if kind == PUBREL:
            return Pubrel(packet_identifier, reason, properties)
        return Pubcomp(packet_identifier, reason, properties)

    def _subscribe(self, data: bytes, at: int, end: int) -> Subscribe:
        limits = self._limits
        packet_identifier, at = self._packet_identifier(data, at, end)
        properties, at = self._properties(data, at, end, SUBSCRIBE)
        requests: list[SubscriptionRequest] = []
        while at < end:
            if len(requests) == limits.subscriptions_per_packet:
                raise ProtocolError(ReasonCode.QUOTA_EXCEEDED, f"more than {len(requests)} Topic Filters")
            topic_filter, at = read_string(data, at, end)  # [MQTT-3.8.3-1]
            if at == end:
                raise malformed("a Topic Filter without Subscription Options")
            check_topic_filter(topic_filter, limits.topic_bytes, limits.topic_levels)
            requests.append(self._request(topic_filter, data[at]))
            at += 1
        if not requests:  # [MQTT-3.8.3-2]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a SUBSCRIBE without a Topic Filter")
        return Subscribe(packet_identifier, requests, properties)

    def _request(self, topic_filter: str, options: int) -> SubscriptionRequest:
        """Section 3.8.3.1. Before 5.0 all bits but those of the QoS are reserved [MQTT-3-8.3-4]."""
        if options & (0xC0 if self.version == MQTT_5_0 else 0xFC):  # [MQTT-3.8.3-5]
            raise malformed("reserved bits in Subscription Options")
        qos = options & 3
        if qos == 3:
            if self.version != MQTT_5_0:
                raise malformed("QoS 3 in a SUBSCRIBE")
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "QoS 3 in a SUBSCRIBE")
        no_local = options & 4 != 0
        retain_handling = options >> 4
        if retain_handling == 3:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "Retain Handling 3")
        if no_local and topic_filter.startswith(SHARE_PREFIX):  # [MQTT-3.8.3-4]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "No Local on a Shared Subscription")
        return SubscriptionRequest(topic_filter, qos, no_local, options & 8 != 0, retain_handling)

    def _suback(self, data: bytes, at: int, end: int) -> Suback:
        packet_identifier, at = self._packet_identifier(data, at, end)
        properties, at = self._properties(data, at, end, SUBACK)
        reasons = list(data[at:end])
        for code in reasons:
            if self.version == MQTT_5_0:
                self._reason(SUBACK, code)
            elif code > 2 and code != 0x80:  # [MQTT-3.9.3-2]
                raise malformed(f"return code {code} in a SUBACK")
        if not reasons:
            raise malformed("a SUBACK without a Reason Code")
        return Suback(packet_identifier, reasons, properties)

    def _unsubscribe(self, data: bytes, at: int, end: int) -> Unsubscribe:
        limits = self._limits
        packet_identifier, at = self._packet_identifier(data, at, end)
        properties, at = self._properties(data, at, end, UNSUBSCRIBE)
        topic_filters: list[str] = []
        while at < end:
            if len(topic_filters) == limits.subscriptions_per_packet:
                raise ProtocolError(ReasonCode.QUOTA_EXCEEDED, f"more than {len(topic_filters)} Topic Filters")
            topic_filter, at = read_string(data, at, end)  # [MQTT-3.10.3-1]
            check_topic_filter(topic_filter, limits.topic_bytes, limits.topic_levels)
            topic_filters.append(topic_filter)
        if not topic_filters:  # [MQTT-3.10.3-2]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "an UNSUBSCRIBE without a Topic Filter")
        return Unsubscribe(packet_identifier, topic_filters, properties)

    def _unsuback(self, data: bytes, at: int, end: int) -> Unsuback:
        packet_identifier, at = self._packet_identifier(data, at, end)
        properties, at = self._properties(data, at, end, UNSUBACK)
        reasons = list(data[at:end])
        for code in reasons:
            self._reason(UNSUBACK, code)
        if not reasons and self.version == MQTT_5_0:
            raise malformed("an UNSUBACK without a Reason Code")
        return Unsuback(packet_identifier, reasons, properties)

    def _disconnect(self, data: bytes, at: int, end: int) -> Disconnect:
        if at == end:
            return Disconnect()
        reason = self._reason(DISCONNECT, data[at])
        at += 1
        properties = NO_PROPERTIES
        if at < end:  # section 3.14.2.2.1: without a Property Length there are none
            properties, at = self._properties(data, at, end, DISCONNECT)
            _check_end(at, end)
        if not self._server and properties.session_expiry_interval is not None:  # [MQTT-3.14.2-2]
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a Session Expiry Interval from a Server")
        return Disconnect(reason, properties)

    def _auth(self, data: bytes, at: int, end: int) -> Auth:
        reason = self._reason(AUTH, data[at] if at < end else 0)
        properties = NO_PROPERTIES
        if at < end:
            properties, at = self._properties(data, at + 1, end, AUTH)
            _check_end(at, end)
            if properties.authentication_method is None:  # section 3.15.2.2.2
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "an AUTH without Authentication Method")
        return Auth(reason, properties)

    # -- Parts that several packets have

    def _properties(self, data: bytes, at: int, end: int, where: int) -> tuple[Properties, int]:
        """The Properties whose Property Length is at `at`, and the position after them. None before 5.0."""
        if self.version != MQTT_5_0:
            return NO_PROPERTIES, at
        at, stop = read_property_length(data, at, end, self._limits.properties_bytes)
        return read_properties(data, at, stop, where, self._limits.user_properties), stop

    def _packet_identifier(self, data: bytes, at: int, end: int) -> tuple[int, int]:
        packet_identifier, at = read_two_byte_integer(data, at, end)
        if not packet_identifier:
            raise self._no_packet_identifier()
        return packet_identifier, at

    def _no_packet_identifier(self) -> ProtocolError:
        """[MQTT-2.2.1-3] [MQTT-2.2.1-4], [MQTT-2.3.1-1] of 3.1.1."""
        reason = ReasonCode.PROTOCOL_ERROR if self.version == MQTT_5_0 else ReasonCode.MALFORMED_PACKET
        return ProtocolError(reason, "Packet Identifier 0")

    def _reason(self, kind: int, code: int) -> ReasonCode:
        """Table 2-6: [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.9.3-2] [MQTT-3.14.2-1] and so on."""
        if code not in self._reasons[kind]:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"Reason Code 0x{code:02X} in packet type {kind}")
        return ReasonCode(code)


def _name(text: str, what: str) -> str:
    if holds_disallowed_characters(text):
        raise malformed(f"a control character or noncharacter in a {what}")
    return text


def _check_end(at: int, end: int) -> None:
    if at != end:
        raise malformed(f"{end - at} bytes more than the packet's fields")
