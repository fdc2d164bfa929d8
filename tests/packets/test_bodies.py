"""What stands in a packet: each group of faults with the statements that it breaks, and the bounds of the broker."""

from __future__ import annotations

import pytest

from broker.core.limits import Limits
from broker.packets.bodies import CACHED_TOPIC_BYTES, CACHED_TOPIC_NAMES, DecoderLimits
from broker.packets.decode import Decoder
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connack, Connect, Publish, Subscribe, Unsubscribe
from tests.packets import faults
from tests.packets.faults import DISALLOWED, ILL_FORMED, NULLS, STRINGS, refused, with_string
from tests.packets.table import CASES, CONNECT_CASES, Case, decoder, fields, octets
from tests.statements import statement

# Places whose string names something: no control characters and no noncharacters
NAMING = [place for place in STRINGS if not place.startswith(("Protocol", "Content", "Auth", "User Prop", "Reason"))]


def reason(limits: DecoderLimits, version: int, notation: str) -> ReasonCode | None:
    """How a Server's decoder ends with these bytes; None: not at all, and a packet is read."""
    reader = Decoder(limits, version)
    read = reader.feed(octets(notation))
    assert bool(read) is (reader.error is None)
    return reader.error.reason if reader.error else None


@statement(
    *("MQTT5-3.1.3-1", "MQTT311-3.1.3-1", "MQTT5-3.1.3-3", "MQTT311-3.1.3-3", "MQTT5-3.1.2-9", "MQTT311-3.1.2-9"),
    *("MQTT5-3.1.2-17", "MQTT311-3.1.2-19", "MQTT5-3.1.2-19", "MQTT311-3.1.2-21"),
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_table(case: Case) -> None:
    reader = decoder(case.version, case.server)
    assert fields(reader.feed(case.data)) == fields([case.packet])
    assert reader.error is None
    assert reader.version == case.spoken


# -- Strings


@statement("MQTT5-1.5.4-1", "MQTT311-1.5.3-1", "MQTT5-1.5.7-1", "MQTT5-3.1.3-4", "MQTT311-3.1.3-4", "MQTT5-3.1.3-11")
@statement("MQTT311-3.1.3-10", "MQTT5-3.1.3-12", "MQTT311-3.1.3-11", "MQTT5-3.3.2-1", "MQTT311-3.3.2-1")
@statement("MQTT5-3.3.2-13", "MQTT5-3.3.2-19", "MQTT5-3.8.3-1", "MQTT311-3.8.3-1", "MQTT5-3.10.3-1", "MQTT311-3.10.3-1")
@pytest.mark.parametrize("place", STRINGS)
def test_ill_formed_utf8(place: str) -> None:
    refused(*(with_string(place, raw) for raw in ILL_FORMED.values()))


@statement("MQTT5-1.5.4-2", "MQTT311-1.5.3-2", "MQTT5-4.7.3-2", "MQTT311-4.7.3-2", "MQTT5-1.5.7-1")
@pytest.mark.parametrize("place", STRINGS)
def test_null_character(place: str) -> None:
    refused(*(with_string(place, raw) for raw in NULLS.values()))


@pytest.mark.parametrize("place", NAMING)
def test_control_characters_in_names(place: str) -> None:
    """Section 1.5.4 lets a receiver refuse them. We do where they could become an injection elsewhere."""
    refused(*(with_string(place, raw) for raw in DISALLOWED.values()))


@pytest.mark.parametrize("place", sorted(set(STRINGS) - set(NAMING) - {"Protocol Name"}))
def test_control_characters_in_other_strings(place: str) -> None:
    for raw in DISALLOWED.values():
        fault = with_string(place, raw)
        reader = decoder(fault.version)
        assert len(reader.feed(fault.data)) == 1
        assert reader.error is None


@statement("MQTT5-1.5.4-3", "MQTT311-1.5.3-3")
def test_zero_width_no_break_space_is_kept() -> None:
    for place in sorted(set(STRINGS) - {"Protocol Name"}):
        fault = with_string(place, "efbbbf61")
        reader = decoder(fault.version)
        said = ascii(fields(reader.feed(fault.data)))
        assert reader.error is None
        assert "\\ufeffa" in said or "\\xef\\xbb\\xbfa" in said, place


# -- Lengths and flags


@statement("MQTT5-1.5.5-1")
def test_variable_byte_integers() -> None:
    refused(*faults.REMAINING_LENGTH)


@statement("MQTT5-2.2.2-1", "MQTT5-4.13.1-1", "MQTT311-4.8.0-1")
def test_lengths_that_do_not_add_up() -> None:
    refused(*faults.LENGTHS)


@statement("MQTT5-3.1.4-1", "MQTT311-3.1.4-1", "MQTT5-3.1.3-3", "MQTT311-3.1.3-3", "MQTT5-3.1.2-9", "MQTT311-3.1.2-9")
@statement("MQTT5-3.1.2-16", "MQTT311-3.1.2-18", "MQTT5-3.1.2-17", "MQTT311-3.1.2-19", "MQTT311-3.1.2-11")
@statement("MQTT5-3.1.2-18", "MQTT311-3.1.2-20", "MQTT5-3.1.2-19", "MQTT311-3.1.2-21")
def test_a_connect_holds_what_its_flags_say() -> None:
    refused(*faults.CONNECT_LENGTHS)


@statement("MQTT5-3.1.2-3", "MQTT311-3.1.2-3", "MQTT5-3.1.2-11", "MQTT311-3.1.2-13", "MQTT5-3.1.2-13")
@statement("MQTT311-3.1.2-15", "MQTT311-3.1.2-11", "MQTT5-3.1.2-12", "MQTT311-3.1.2-14", "MQTT311-3.1.2-22")
@statement("MQTT5-3.1.4-1", "MQTT311-3.1.4-1")
def test_connect_flags() -> None:
    refused(*faults.CONNECT_FLAGS)


@statement("MQTT5-3.1.2-12", "MQTT311-3.1.2-14")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_will_qos_and_retain(qos: int, retain: bool) -> None:
    reader = decoder(0)
    (connect,) = reader.feed(octets(f'10 .. "MQTT" 04 {4 | qos << 3 | retain << 5:02x} 0000 "a" "w" ""'))
    assert isinstance(connect, Connect)
    assert connect.will is not None
    assert (connect.will.qos, connect.will.retain) == (qos, retain)


@statement("MQTT5-2.2.1-3", "MQTT311-2.3.1-1")
def test_packet_identifier_0() -> None:
    refused(*faults.PACKET_IDENTIFIER_0)


# -- Protocol Name and Version


@statement("MQTT5-3.1.2-1", "MQTT311-3.1.2-1")
@pytest.mark.parametrize("name", ["", "mqtt", "MQTTX", "MQT", "MQIsdq", "HTTP", "\ufeffMQTT"])
def test_another_protocol_name(name: str) -> None:
    """It is not known whether the other side speaks MQTT: there is no style to answer in."""
    for level in ("03", "04", "05"):
        reader = decoder(0)
        assert reader.feed(octets(f'10 .. "{name}" {level} 02 0000 00 "a"')) == []
        assert reader.error is not None
        assert reader.error.reason == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
        assert reader.version == 0


@statement("MQTT5-3.1.2-2", "MQTT311-3.1.2-2")
@pytest.mark.parametrize(
    ("name", "level", "answered_in"),
    [
        *(("MQTT", level, 4) for level in (0, 1, 2, 3)),
        *(("MQTT", level, 5) for level in (6, 7, 127)),
        *(("MQTT", level | 0x80, 4) for level in (3, 4, 5, 127)),  # with the bridge bit of mosquitto
        *(("MQIsdp", level, 3) for level in (0, 2, 4, 5, 6, 0x83)),
    ],
)
def test_another_protocol_version(name: str, level: int, answered_in: int) -> None:
    """Decided before the rest is read, whose form is unknown."""
    reader = decoder(0)
    assert reader.feed(octets(f"10 .. \"{name}\" {level:02x} 'whatever'")) == []
    assert reader.error is not None
    assert reader.error.reason == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
    assert reader.version == answered_in


@statement("MQTT5-3.1.2-2", "MQTT311-3.1.2-2")
@pytest.mark.parametrize("case", CONNECT_CASES, ids=lambda case: case.name)
def test_a_version_that_is_switched_off(case: Case) -> None:
    limits = DecoderLimits()
    limits.versions = tuple(version for version in (3, 4, 5) if version != case.spoken)
    reader = Decoder(limits)
    assert reader.feed(case.data) == []
    assert reader.error is not None
    assert reader.error.reason == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
    assert reader.version == case.spoken


def test_the_version_is_known_when_a_connect_is_refused() -> None:
    reader = decoder(0)
    reader.feed(octets('10 .. "MQTT" 05 03 0000 00 "a"'))
    assert reader.error is not None
    assert reader.version == 5


# -- Topics and Subscriptions


@statement("MQTT5-3.3.2-2", "MQTT311-3.3.2-2", "MQTT5-4.7.0-1", "MQTT311-4.7.1-1", "MQTT5-4.7.3-1", "MQTT311-4.7.3-1")
def test_topic_names() -> None:
    refused(*faults.TOPIC_NAMES)


@statement("MQTT5-3.3.2-14")
def test_response_topics() -> None:
    refused(*faults.RESPONSE_TOPICS)


@statement("MQTT5-4.7.1-1", "MQTT311-4.7.1-2", "MQTT5-4.7.1-2", "MQTT311-4.7.1-3", "MQTT5-4.7.3-1", "MQTT311-4.7.3-1")
def test_topic_filters() -> None:
    refused(*faults.TOPIC_FILTERS)


@statement("MQTT5-4.8.2-1", "MQTT5-4.8.2-2")
def test_share_filters() -> None:
    refused(*faults.SHARE_FILTERS)


@statement("MQTT5-3.8.3-2", "MQTT311-3.8.3-3", "MQTT5-3.10.3-2", "MQTT311-3.10.3-2")
def test_at_least_one_topic_filter() -> None:
    refused(*faults.NO_FILTERS)


@statement("MQTT5-3.8.3-5", "MQTT311-3.8.3-4")
def test_subscription_options() -> None:
    refused(*faults.SUBSCRIPTION_OPTIONS)


@statement("MQTT5-3.8.3-5")
@pytest.mark.parametrize("options", range(0x30))
def test_all_subscription_options(options: int) -> None:
    reader = decoder(5)
    read = reader.feed(octets(f'82 .. 0001 [] "a" {options:02x}'))
    if options & 3 == 3:
        assert reader.error is not None
        return
    (subscribe,) = read
    assert isinstance(subscribe, Subscribe)
    (request,) = subscribe.requests
    assert request.maximum_qos == options % 4
    assert request.no_local is (options // 4 % 2 == 1)
    assert request.retain_as_published is (options // 8 % 2 == 1)
    assert request.retain_handling == options // 16


@statement("MQTT5-3.8.3-4")
def test_no_local_on_a_shared_subscription() -> None:
    refused(*faults.NO_LOCAL_SHARED)


def test_subscription_identifiers() -> None:
    refused(*faults.SUBSCRIPTION_IDENTIFIERS)


@statement("MQTT5-3.3.4-6")
def test_subscription_identifier_from_a_client() -> None:
    refused(*faults.PUBLISHED_SUBSCRIPTION_IDENTIFIER)


@statement("MQTT5-3.3.2-8")
def test_topic_alias_0() -> None:
    refused(*faults.TOPIC_ALIAS_0)


def test_authentication() -> None:
    """Sections 3.1.2.11.10 and 3.15.2.2.2."""
    refused(*faults.AUTHENTICATION)


# -- What a Client reads


@statement("MQTT5-3.2.2-1", "MQTT5-3.2.2-6", "MQTT311-3.2.2-4")
def test_connect_acknowledge_flags() -> None:
    refused(*faults.CONNACK_FLAGS)


@statement("MQTT311-3.9.3-2")
def test_return_codes() -> None:
    refused(*faults.RETURN_CODES)


@statement("MQTT5-3.14.2-2")
def test_session_expiry_interval_from_a_server() -> None:
    refused(*faults.SESSION_EXPIRY_FROM_SERVER)


def test_a_server_that_knows_no_5_refuses_in_its_own_words() -> None:
    reader = decoder(5, server=False)
    (connack,) = reader.feed(octets("20 02 00 01"))
    assert isinstance(connack, Connack)
    assert connack.reason == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION


@statement("MQTT5-3.4.2-1", "MQTT5-3.5.2-1", "MQTT5-3.6.2-1", "MQTT5-3.7.2-1", "MQTT5-3.14.2-1", "MQTT5-3.15.2-1")
@statement("MQTT5-3.2.2-8", "MQTT5-3.9.3-2", "MQTT5-3.11.3-2")
@pytest.mark.parametrize(
    ("server", "notation", "allowed"),
    [
        *(
            (server, f"{first} .. 0001 @", "00 10 80 83 87 90 91 97 99")
            for first in ("40", "50")
            for server in (True, False)
        ),
        *((server, f"{first} .. 0001 @", "00 92") for first in ("62", "70") for server in (True, False)),
        (True, "e0 .. @", "00 04 80 81 82 83 90 93 94 95 96 97 98 99"),
        (False, "e0 .. @", "00 80-83 87 89 8b 8d-90 93-9f a0 a1 a2"),
        (True, 'f0 .. @ [15 "m"]', "18 19"),
        (False, 'f0 .. @ [15 "m"]', "00 18"),
        (False, "20 .. 00 @ []", "00 80-8a 8c 90 95 97 99-9d 9f"),
        (False, "90 .. 0001 [] 00 @", "00 01 02 80 83 87 8f 91 97 9e a1 a2"),
        (False, "b0 .. 0001 [] 00 @", "00 11 80 83 87 8f 91"),
    ],
)
def test_reason_codes(server: bool, notation: str, allowed: str) -> None:
    codes: set[int] = set()
    for one in allowed.split():
        first, _, last = one.partition("-")
        codes.update(range(int(first, 16), int(last or first, 16) + 1))
    for code in range(256):
        reader = decoder(5, server)
        read = reader.feed(octets(notation.replace("@", f"{code:02x}")))
        if code in codes:
            assert len(read) == 1
            assert reader.error is None
        else:
            assert read == []
            assert reader.error is not None
            assert reader.error.reason == ReasonCode.PROTOCOL_ERROR


# -- Bounds of the broker


def test_defaults_are_those_of_the_broker() -> None:
    limits, decoders = Limits(), DecoderLimits()
    names = [name for name in dir(decoders) if not name.startswith("_") and name != "topic_names"]
    assert len(names) == 10
    for name in names:
        assert getattr(decoders, name) == getattr(limits, name), name


def test_client_identifier_maximum() -> None:
    limits = DecoderLimits()
    limits.client_identifier_maximum = 4
    assert reason(limits, 0, '10 .. "MQTT" 04 02 0000 "éé"') is None
    assert reason(limits, 0, '10 .. "MQTT" 04 02 0000 "aéé"') == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    assert reason(limits, 0, '10 .. "MQTT" 05 02 0000 [] "aaaaa"') == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID


@statement("MQTT5-3.1.3-5", "MQTT311-3.1.3-5")
def test_client_identifiers_that_must_be_let_in() -> None:
    """And by default longer ones."""
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for start in range(0, len(letters), 23):
        reader = decoder(0)
        (connect,) = reader.feed(octets(f'10 .. "MQTT" 04 02 0000 "{letters[start : start + 23]}"'))
        assert isinstance(connect, Connect)
        assert connect.client_identifier == letters[start : start + 23]
    assert reason(DecoderLimits(), 0, f'10 .. "MQTT" 04 02 0000 "{"a" * 256}"') is None


@pytest.mark.parametrize(("topic_bytes", "topic_levels"), [(4, 9), (9, 2)])
def test_topic_bounds(topic_bytes: int, topic_levels: int) -> None:
    limits = DecoderLimits()
    limits.topic_bytes = topic_bytes
    limits.topic_levels = topic_levels
    name, topic_filter = ReasonCode.TOPIC_NAME_INVALID, ReasonCode.TOPIC_FILTER_INVALID
    for version, notation, expected in (
        (4, "30 .. @", name),
        (5, "30 .. @ []", name),
        (5, '30 .. "a" [08 @]', name),
        (0, '10 .. "MQTT" 04 06 0000 "a" @ ""', name),
        (0, '10 .. "MQTT" 05 06 0000 [] "a" [] @ ""', name),
        (4, "82 .. 0001 @ 00", topic_filter),
        (5, "82 .. 0001 [] @ 00", topic_filter),
        (4, "a2 .. 0001 @", topic_filter),
    ):
        assert reason(limits, version, notation.replace("@", '"aa/b"')) is None
        assert reason(limits, version, notation.replace("@", '"a/b/c"')) == expected


def test_deepest_topics() -> None:
    """65,535 separators are refused, and with no bound of levels taken, without a stack."""
    deep = "/" * 65_535
    limits = DecoderLimits()
    notations = ((4, f'30 .. "{deep}"'), (4, f'82 .. 0001 "{deep}" 00'), (4, f'a2 .. 0001 "{deep}"'))
    for version, notation in notations:
        assert reason(limits, version, notation) in (ReasonCode.TOPIC_NAME_INVALID, ReasonCode.TOPIC_FILTER_INVALID)
    limits.topic_bytes = 65_535
    limits.topic_levels = 65_536
    for version, notation in notations:
        assert reason(limits, version, notation) is None


def test_subscriptions_per_packet() -> None:
    limits = DecoderLimits()
    limits.subscriptions_per_packet = 3
    for version, properties in ((3, ""), (4, ""), (5, "[]")):
        for first, one in (("82", '"a" 00'), ("a2", '"a"')):
            assert reason(limits, version, f"{first} .. 0001 {properties} {one * 3}") is None
            assert reason(limits, version, f"{first} .. 0001 {properties} {one * 4}") == ReasonCode.QUOTA_EXCEEDED


def test_properties_bytes() -> None:
    """Told by the Property Length, before any property is read: these are malformed as well."""
    limits = DecoderLimits()
    limits.properties_bytes = 7
    for version, notation in (
        (0, '10 .. "MQTT" 05 02 0000 [@] "a"'),
        (0, '10 .. "MQTT" 05 06 0000 [] "a" [@] "w" ""'),
        (5, '30 .. "a" [@]'),
        (5, "40 .. 0001 00 [@]"),
        (5, '82 .. 0001 [@] "a" 00'),
        (5, 'a2 .. 0001 [@] "a"'),
        (5, "e0 .. 00 [@]"),
        (5, "f0 .. 18 [@]"),
    ):
        assert reason(limits, version, notation.replace("@", "ff" * 8)) == ReasonCode.PACKET_TOO_LARGE
        if not notation.startswith("f0"):
            assert reason(limits, version, notation.replace("@", '26 "k" "v"')) is None


def test_ten_thousand_user_properties() -> None:
    pairs = '26 "k" "v" ' * 10_000
    limits = DecoderLimits()
    assert reason(limits, 5, f'30 .. "a" [{pairs}]') == ReasonCode.PACKET_TOO_LARGE
    limits.properties_bytes = 1 << 20
    # Given up at the 65th: what is malformed after it is never reached
    assert reason(limits, 5, f'30 .. "a" [{pairs} ff]') == ReasonCode.QUOTA_EXCEEDED
    assert reason(limits, 5, f'82 .. 0001 [{pairs} ff] "a" 00') == ReasonCode.QUOTA_EXCEEDED
    limits.user_properties = 10_000
    assert reason(limits, 5, f'30 .. "a" [{pairs}]') is None


# -- The cache of Topic Names


def publish(limits: DecoderLimits, topic: str) -> Publish:
    reader = Decoder(limits, 4)
    (packet,) = reader.feed(octets(f'30 .. "{topic}"'))
    assert isinstance(packet, Publish)
    return packet


def test_a_topic_name_is_one_string_for_all_connections() -> None:
    limits = DecoderLimits()
    assert publish(limits, "plant/line").topic is publish(limits, "plant/line").topic


def test_long_and_refused_topic_names_are_not_kept() -> None:
    limits = DecoderLimits()
    assert publish(limits, "x" * CACHED_TOPIC_BYTES).topic == "x" * CACHED_TOPIC_BYTES
    assert len(limits.topic_names) == 1
    assert publish(limits, "x" * (CACHED_TOPIC_BYTES + 1)).topic == "x" * (CACHED_TOPIC_BYTES + 1)
    refused_topic = Decoder(limits, 4)
    refused_topic.feed(octets('30 .. "a/#"'))
    aliased = Decoder(limits, 5)
    aliased.feed(octets('30 .. "" [23 0001]'))
    assert len(limits.topic_names) == 1


def test_the_cache_is_bounded() -> None:
    limits = DecoderLimits()
    for number in range(CACHED_TOPIC_NAMES + 10):
        assert publish(limits, f"t/{number}").topic == f"t/{number}"
        assert len(limits.topic_names) <= CACHED_TOPIC_NAMES
    assert len(limits.topic_names) == 10


def test_unsubscribe_compares_what_was_sent() -> None:
    reader = decoder(5)
    (unsubscribe,) = reader.feed(octets('a2 .. 0001 [] "A/ b/" "a/é"'))
    assert isinstance(unsubscribe, Unsubscribe)
    assert unsubscribe.topic_filters == ["A/ b/", "a/é"]
