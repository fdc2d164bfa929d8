"""The fifteen Control Packets, as plain objects with the standard's field names.

`Publish` and the four acknowledgements are met once or more for every message: they are hand-written classes with
`__slots__` and positional arguments. The others are made once a connection or once a subscription. Nothing here
reads or writes bytes: that is `decode` and `encode`.
"""

from __future__ import annotations

from typing import Final

from broker.packets.reasons import ReasonCode

MQTT_3_1: Final = 3
MQTT_3_1_1: Final = 4
MQTT_5_0: Final = 5

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15


_PROPERTIES: Final = (
    "assigned_client_identifier",
    "authentication_data",
    "authentication_method",
    "content_type",
    "correlation_data",
    "maximum_packet_size",
    "maximum_qos",
    "message_expiry_interval",
    "payload_format_indicator",
    "reason_string",
    "receive_maximum",
    "request_problem_information",
    "request_response_information",
    "response_information",
    "response_topic",
    "retain_available",
    "server_keep_alive",
    "server_reference",
    "session_expiry_interval",
    "shared_subscription_available",
    "subscription_identifier_available",
    "subscription_identifiers",
    "topic_alias",
    "topic_alias_maximum",
    "user_properties",
    "wildcard_subscription_available",
    "will_delay_interval",
)


class Properties:
    """The properties of one packet but PUBLISH on the broker's side; an attribute is None (or empty) where absent.

    Attribute names are those of MQTT 5.0 table 2-4 in snake case. Treat `NO_PROPERTIES`, which all packets without any
    share, as immutable.
    """

    __slots__ = _PROPERTIES

    def __init__(self) -> None:
        self.payload_format_indicator: int | None = None
        self.message_expiry_interval: int | None = None
        self.content_type: str | None = None
        self.response_topic: str | None = None
        self.correlation_data: bytes | None = None
        self.subscription_identifiers: list[int] = []
        self.session_expiry_interval: int | None = None
        self.assigned_client_identifier: str | None = None
        self.server_keep_alive: int | None = None
        self.authentication_method: str | None = None
        self.authentication_data: bytes | None = None
        self.request_problem_information: int | None = None
        self.will_delay_interval: int | None = None
        self.request_response_information: int | None = None
        self.response_information: str | None = None
        self.server_reference: str | None = None
        self.reason_string: str | None = None
        self.receive_maximum: int | None = None
        self.topic_alias_maximum: int | None = None
        self.topic_alias: int | None = None
        self.maximum_qos: int | None = None
        self.retain_available: int | None = None
        self.user_properties: list[tuple[str, str]] = []
        self.maximum_packet_size: int | None = None
        self.wildcard_subscription_available: int | None = None
        self.subscription_identifier_available: int | None = None
        self.shared_subscription_available: int | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Properties):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _PROPERTIES)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in _PROPERTIES)
        return f"Properties({', '.join(f'{name}={value!r}' for name, value in given if value not in (None, []))})"


NO_PROPERTIES: Final = Properties()


class Publish:
    """PUBLISH, both ways.

    `packet` is the whole packet as received (fixed header included) and the payload is `packet[payload_start:]`: a
    message that leaves as it came costs no encoding. A Publish that was not received has `packet = payload` and
    `payload_start = 0`, and `version = 0`.

    `forwarded` is the validated slice of those properties that a Server must pass on unaltered, in their order:
    Payload Format Indicator, Response Topic, Correlation Data, Content Type, User Property [MQTT-3.3.2-4 .. -20].
    `subscription_identifiers` are met by a Client only. `topic_alias` 0 and `message_expiry_interval` -1 mean absent.
    `packet_identifier` is 0 at QoS 0.
    """

    __slots__ = (
        "dup",
        "forwarded",
        "message_expiry_interval",
        "packet",
        "packet_identifier",
        "payload_start",
        "qos",
        "retain",
        "subscription_identifiers",
        "topic",
        "topic_alias",
        "version",
    )

    def __init__(
        self,
        topic: str,
        packet: bytes,
        payload_start: int = 0,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packet_identifier: int = 0,
        version: int = 0,
        forwarded: bytes = b"",
        message_expiry_interval: int = -1,
        topic_alias: int = 0,
        subscription_identifiers: tuple[int, ...] = (),
    ) -> None:
        self.topic = topic
        self.packet = packet
        self.payload_start = payload_start
        self.qos = qos
        self.retain = retain
        self.dup = dup
        self.packet_identifier = packet_identifier
        self.version = version
        self.forwarded = forwarded
        self.message_expiry_interval = message_expiry_interval
        self.topic_alias = topic_alias
        self.subscription_identifiers = subscription_identifiers

    @property
    def payload(self) -> bytes:
        return self.packet[self.payload_start :] if self.payload_start else self.packet

    def __repr__(self) -> str:
        return (
            f"Publish({self.topic!r}, {self.payload[:40]!r}, qos={self.qos}, retain={self.retain}, dup={self.dup}, "
            f"packet_identifier={self.packet_identifier})"
        )


class Will:
    """The Will Message of a CONNECT. `forwarded` as in Publish, of the Will Properties (section 3.1.3.2)."""

    __slots__ = ("delay_interval", "forwarded", "message_expiry_interval", "payload", "qos", "retain", "topic")

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        delay_interval: int = 0,
        message_expiry_interval: int = -1,
        forwarded: bytes = b"",
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.delay_interval = delay_interval
        self.message_expiry_interval = message_expiry_interval
        self.forwarded = forwarded


class Connect:
    __slots__ = (
        "clean_start",
        "client_identifier",
        "keep_alive",
        "password",
        "properties",
        "user_name",
        "version",
        "will",
    )

    def __init__(
        self,
        client_identifier: str,
        version: int = MQTT_5_0,
        clean_start: bool = True,
        keep_alive: int = 60,
        user_name: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
    ) -> None:
        self.client_identifier = client_identifier
        self.version = version
        self.clean_start = clean_start
        self.keep_alive = keep_alive
        self.user_name = user_name
        self.password = password
        self.will = will
        self.properties = properties


class Connack:
    """`reason` is a ReasonCode for 5.0; for 3.x `encode` maps it to the Connect Return Code and `decode` back."""

    __slots__ = ("properties", "reason", "session_present")

    def __init__(
        self, reason: ReasonCode, session_present: bool = False, properties: Properties = NO_PROPERTIES
    ) -> None:
        self.reason = reason
        self.session_present = session_present
        self.properties = properties


class _Acknowledgement:
    __slots__ = ("packet_identifier", "properties", "reason")

    def __init__(self, packet_identifier: int, reason: int = 0, properties: Properties = NO_PROPERTIES) -> None:
        self.packet_identifier = packet_identifier
        self.reason = reason
        self.properties = properties

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.packet_identifier}, 0x{self.reason:02X})"


class Puback(_Acknowledgement):
    __slots__ = ()


class Pubrec(_Acknowledgement):
    __slots__ = ()


class Pubrel(_Acknowledgement):
    __slots__ = ()


class Pubcomp(_Acknowledgement):
    __slots__ = ()


class SubscriptionRequest:
    """One Topic Filter of a SUBSCRIBE with its Subscription Options (section 3.8.3.1)."""

    __slots__ = ("maximum_qos", "no_local", "retain_as_published", "retain_handling", "topic_filter")

    def __init__(
        self,
        topic_filter: str,
        maximum_qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
    ) -> None:
        self.topic_filter = topic_filter
        self.maximum_qos = maximum_qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.retain_handling = retain_handling


class Subscribe:
    __slots__ = ("packet_identifier", "properties", "requests")

    def __init__(
        self, packet_identifier: int, requests: list[SubscriptionRequest], properties: Properties = NO_PROPERTIES
    ) -> None:
        self.packet_identifier = packet_identifier
        self.requests = requests
        self.properties = properties


class Suback:
    __slots__ = ("packet_identifier", "properties", "reasons")

    def __init__(self, packet_identifier: int, reasons: list[int], properties: Properties = NO_PROPERTIES) -> None:
        self.packet_identifier = packet_identifier
        self.reasons = reasons
        self.properties = properties


class Unsubscribe:
    __slots__ = ("packet_identifier", "properties", "topic_filters")

    def __init__(
        self, packet_identifier: int, topic_filters: list[str], properties: Properties = NO_PROPERTIES
    ) -> None:
        self.packet_identifier = packet_identifier
        self.topic_filters = topic_filters
        self.properties = properties


class Unsuback:
    """`reasons` is empty for 3.x, whose UNSUBACK has no payload."""

    __slots__ = ("packet_identifier", "properties", "reasons")

    def __init__(self, packet_identifier: int, reasons: list[int], properties: Properties = NO_PROPERTIES) -> None:
        self.packet_identifier = packet_identifier
        self.reasons = reasons
        self.properties = properties


class Pingreq:
    __slots__ = ()


class Pingresp:
    __slots__ = ()


class Disconnect:
    __slots__ = ("properties", "reason")

    def __init__(self, reason: ReasonCode = ReasonCode.SUCCESS, properties: Properties = NO_PROPERTIES) -> None:
        self.reason = reason
        self.properties = properties


class Auth:
    __slots__ = ("properties", "reason")

    def __init__(self, reason: ReasonCode = ReasonCode.SUCCESS, properties: Properties = NO_PROPERTIES) -> None:
        self.reason = reason
        self.properties = properties


ControlPacket = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
