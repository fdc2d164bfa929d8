"""Any packet that may be sent, for hypothesis: `packets(version, server)`."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from broker.packets.codes import REASONS_FROM_CLIENT, REASONS_FROM_SERVER
from broker.packets.properties import (
    BINARY,
    STRING,
    STRING_PAIR,
    TABLE,
    WILL,
    Property,
    forwarded_properties,
)
from broker.packets.reasons import ReasonCode
from broker.packets.topics import valid_topic_filter
from broker.packets.types import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    NO_PROPERTIES,
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

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NAME = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn")), max_size=12)
TOPIC_NAME = st.text(
    st.sampled_from("ab/$ é\U0001f525") | st.characters(codec="utf-8", exclude_categories=("Cc", "Cn")),
    min_size=1,
    max_size=12,
).filter(lambda topic: "+" not in topic and "#" not in topic)
TOPIC_FILTER = st.builds(
    lambda share, levels, end: share + "/".join(levels + end),
    st.sampled_from(["", "", "$share/g/"]),
    st.lists(st.sampled_from(["", "a", "+", "é", "$SYS"]), max_size=4),
    st.sampled_from([[], ["#"], ["a"]]),
).filter(valid_topic_filter)
PAYLOAD = st.binary(max_size=300)
QOS = st.integers(0, 2)
PACKET_IDENTIFIER = st.integers(1, 65_535)


def _values(row: Property) -> st.SearchStrategy[Any]:
    if row.kind == STRING:
        return TEXT
    if row.kind == BINARY:
        return st.binary(max_size=12)
    if row.kind == STRING_PAIR:
        return st.lists(st.tuples(TEXT, TEXT), max_size=3)
    number = st.integers(row.minimum, row.maximum)
    return number.map(lambda one: [one]) if row.attribute == "subscription_identifiers" else number


@st.composite
def properties(draw: st.DrawFn, where: int, left_out: tuple[str, ...] = ()) -> Properties:
    rows = [row for row in TABLE if row.where >> where & 1 and row.attribute not in left_out]
    chosen = draw(st.lists(st.sampled_from(rows), unique_by=lambda row: row.identifier, max_size=6))
    if not chosen:
        return NO_PROPERTIES
    made = Properties()
    for row in chosen:
        setattr(made, row.attribute, draw(_values(row)))
    if made.authentication_data is not None and made.authentication_method is None:
        made.authentication_method = "m"
    return made


def _properties(version: int, where: int, left_out: tuple[str, ...] = ()) -> st.SearchStrategy[Properties]:
    return properties(where, left_out) if version == 5 else st.just(NO_PROPERTIES)


@st.composite
def forwarded(draw: st.DrawFn, version: int, where: int) -> bytes:
    if version != 5:
        return b""
    made = draw(properties(where, ("response_topic",)))
    if made is not NO_PROPERTIES:
        made.response_topic = draw(st.none() | TOPIC_NAME)
    return forwarded_properties(made)


def _expiry(version: int) -> st.SearchStrategy[int]:
    return st.just(-1) | st.integers(0, 0xFFFFFFFF) if version == 5 else st.just(-1)


def wills(version: int) -> st.SearchStrategy[Will]:
    delay = st.integers(0, 0xFFFFFFFF) if version == 5 else st.just(0)
    return st.builds(Will, TOPIC_NAME, PAYLOAD, QOS, st.booleans(), delay, _expiry(version), forwarded(version, WILL))


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    user_name = draw(st.none() | NAME)
    password = draw(st.none() | PAYLOAD) if version == 5 or user_name is not None else None
    return Connect(
        draw(NAME),
        version,
        draw(st.booleans()),
        draw(st.integers(0, 65_535)),
        user_name,
        password,
        draw(st.none() | wills(version)),
        draw(_properties(version, CONNECT)),
    )


@st.composite
def publishes(draw: st.DrawFn, version: int, server: bool) -> Publish:
    qos = draw(QOS)
    alias = draw(st.integers(0, 65_535)) if version == 5 else 0
    identifiers = draw(st.lists(st.integers(1, 268_435_455), max_size=3)) if version == 5 and not server else []
    return Publish(
        "" if alias and draw(st.booleans()) else draw(TOPIC_NAME),
        draw(PAYLOAD),
        qos=qos,
        retain=draw(st.booleans()),
        dup=qos > 0 and draw(st.booleans()),
        packet_identifier=draw(PACKET_IDENTIFIER) if qos else 0,
        forwarded=draw(forwarded(version, PUBLISH)),
        message_expiry_interval=draw(_expiry(version)),
        topic_alias=alias,
        subscription_identifiers=tuple(identifiers),
    )


def _reasons(version: int, server: bool, kind: int) -> st.SearchStrategy[ReasonCode]:
    codes = sorted((REASONS_FROM_CLIENT if server else REASONS_FROM_SERVER)[kind])
    return st.sampled_from([ReasonCode(code) for code in codes]) if version == 5 else st.just(ReasonCode.SUCCESS)


def _acknowledgements(version: int, server: bool) -> st.SearchStrategy[ControlPacket]:
    return st.one_of(
        *(
            st.builds(kind, PACKET_IDENTIFIER, _reasons(version, server, number), _properties(version, number))
            for kind, number in ((Puback, PUBACK), (Pubrec, PUBREC), (Pubrel, PUBREL), (Pubcomp, PUBCOMP))
        )
    )


@st.composite
def requests(draw: st.DrawFn, version: int) -> SubscriptionRequest:
    topic_filter = draw(TOPIC_FILTER)
    if version != 5:
        return SubscriptionRequest(topic_filter, draw(QOS))
    no_local = not topic_filter.startswith("$share/") and draw(st.booleans())
    return SubscriptionRequest(topic_filter, draw(QOS), no_local, draw(st.booleans()), draw(st.integers(0, 2)))


def _connack_reasons(version: int) -> st.SearchStrategy[ReasonCode]:
    if version == 5:
        return _reasons(5, False, CONNACK)
    # Those that stand for a Connect Return Code of their own
    own = [code for code in ReasonCode if code in (0x00, 0x84, 0x85, 0x86, 0x87, 0x88)]
    return st.sampled_from(own)


@st.composite
def connacks(draw: st.DrawFn, version: int) -> Connack:
    reason = draw(_connack_reasons(version))
    session_present = version != 3 and reason == ReasonCode.SUCCESS and draw(st.booleans())
    return Connack(reason, session_present, draw(_properties(version, CONNACK)))


@st.composite
def auths(draw: st.DrawFn, server: bool) -> Auth:
    made = draw(properties(AUTH))
    if made is NO_PROPERTIES:
        made = Properties()
    made.authentication_method = draw(TEXT)
    return Auth(draw(_reasons(5, server, AUTH)), made)


def packets(version: int, server: bool) -> st.SearchStrategy[ControlPacket]:
    """All that a Server (`server`) or a Client may receive after the CONNECT."""
    kinds: list[st.SearchStrategy[ControlPacket]] = [publishes(version, server), _acknowledgements(version, server)]
    if server:
        some = st.lists(requests(version), min_size=1, max_size=4)
        filters = st.lists(TOPIC_FILTER, min_size=1, max_size=4)
        kinds.append(st.builds(Subscribe, PACKET_IDENTIFIER, some, _properties(version, SUBSCRIBE)))
        kinds.append(st.builds(Unsubscribe, PACKET_IDENTIFIER, filters, _properties(version, UNSUBSCRIBE)))
        kinds.append(st.builds(Pingreq))
    else:
        failure = ReasonCode.UNSPECIFIED_ERROR
        granted = _reasons(5, False, SUBACK) if version == 5 else st.sampled_from([0, 1, 2, failure])
        removed = st.lists(_reasons(5, False, UNSUBACK), min_size=1, max_size=4) if version == 5 else st.just([])
        kinds.append(st.builds(Suback, PACKET_IDENTIFIER, st.lists(granted, min_size=1), _properties(version, SUBACK)))
        kinds.append(st.builds(Unsuback, PACKET_IDENTIFIER, removed, _properties(version, UNSUBACK)))
        kinds.append(st.builds(Pingresp))
        kinds.append(connacks(version))
    if server or version == 5:
        left_out = () if server else ("session_expiry_interval",)
        reasons = _reasons(version, server, DISCONNECT)
        kinds.append(st.builds(Disconnect, reasons, _properties(version, DISCONNECT, left_out)))
    if version == 5:
        kinds.append(auths(server))
    return st.one_of(kinds)
