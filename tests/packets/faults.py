"""The other half of the table of bytes: what must be refused, and with which Reason Code.

Grouped by what is wrong; a test of `test_bodies` or `test_decode` reads each group. Notation: `table.octets`. Where a
version is 0 the decoder is a Server's that awaits the CONNECT.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from broker.packets.reasons import ReasonCode
from tests.packets.table import decoder, octets

MALFORMED: Final = ReasonCode.MALFORMED_PACKET
PROTOCOL: Final = ReasonCode.PROTOCOL_ERROR


class Fault(NamedTuple):
    name: str
    version: int
    server: bool
    data: bytes
    reason: ReasonCode


def refused(*wrong: Fault) -> None:
    """Each ends the decoder with its Reason Code, and no packet comes of it."""
    assert wrong
    for fault in wrong:
        reader = decoder(fault.version, fault.server)
        assert reader.feed(fault.data) == [], fault.name
        assert reader.error is not None, fault.name
        assert reader.error.reason == fault.reason, fault.name
        assert reader.error.detail, fault.name


def bad(name: str, version: int, notation: str, reason: ReasonCode = MALFORMED, server: bool = True) -> Fault:
    return Fault(f"{name}, {version}", version, server, octets(notation), reason)


def everywhere(name: str, notation: str, reason: ReasonCode = MALFORMED, server: bool = True) -> list[Fault]:
    """In every version the same bytes are the same fault."""
    return [bad(name, version, notation, reason, server) for version in (3, 4, 5)]


FIRST_PACKET = [
    *(bad(f"first byte {first:02x}", 0, f"{first:02x}", PROTOCOL) for first in range(256) if first >> 4 != 1),
    *(bad(f"first byte {first:02x}", 0, f"{first:02x}") for first in range(0x11, 0x20)),
    bad("a whole PINGREQ", 0, "c0 00", PROTOCOL),
    bad("HTTP", 0, "'GET / HTTP/1.1'", PROTOCOL),
]

FLAGS = [
    *(
        bad(f"flags of {first:02x}", version, f"{first:02x}")
        for version in (3, 4, 5)
        for kind, right in ((4, 0), (5, 0), (6, 2), (7, 0), (8, 2), (10, 2), (12, 0), (14, 0))
        for first in range(kind << 4, (kind << 4) + 16)
        if first & 15 != right and not (version == 3 and right and first & 15 == right | 8)
    ),
    *(bad(f"flags of {first:02x}", 5, f"{first:02x}") for first in range(0xF1, 0x100)),
    *(
        bad(f"flags of {kind << 4 | 1:02x} from a Server", 5, f"{kind << 4 | 1:02x}", server=False)
        for kind in (2, 9, 11, 13, 15)
    ),
]

QOS_3 = [
    bad(f"QoS 3 {first:02x}", version, f"{first:02x}", server=server)
    for version in (3, 4, 5)
    for first in (0x36, 0x37, 0x3E, 0x3F)
    for server in (True, False)
]

DUP_AT_QOS_0 = [
    *(bad(f"DUP at QoS 0 {first:02x}", version, f"{first:02x}") for version in (3, 4, 5) for first in (0x38, 0x39)),
    *everywhere("DUP at QoS 0, whole", '38 .. "a" 00'),
]

UNKNOWN_TYPES = [
    *everywhere("type 0", "00"),
    bad("AUTH", 3, "f0"),
    bad("AUTH", 4, "f0"),
    bad("AUTH from Server", 4, "f0", server=False),
]

DIRECTION = [
    *(bad(f"packet {first}", version, first, PROTOCOL) for first in ("20", "90", "b0", "d0") for version in (3, 4, 5)),
    *(
        bad(f"packet {first} from Server", version, first, PROTOCOL, server=False)
        for first in ("10", "82", "a2", "c0")
        for version in (3, 4, 5)
    ),
    bad("DISCONNECT from Server", 3, "e0", PROTOCOL, server=False),
    bad("DISCONNECT from Server", 4, "e0", PROTOCOL, server=False),
]

SECOND_CONNECT = everywhere("second CONNECT", "10", PROTOCOL)

REMAINING_LENGTH = [
    *everywhere("five bytes of length", "30 ffffffff 01"),
    *everywhere("four bytes that go on", "30 80808080"),
    *everywhere("length 0 in two bytes", "c0 8000"),
    *everywhere("length 5 in two bytes", "30 8500 0001 'a' 0000"),
    *everywhere("length 5 in four bytes", "30 85808000 0001 'a' 0000"),
    bad("Property Length in two bytes", 5, '30 .. "a" 8000'),
    bad("Property Length of five bytes", 5, '30 .. "a" ffffffff01'),
    bad("Property Length unfinished", 5, '30 .. "a" 80'),
    bad("Subscription Identifier in two bytes", 5, '82 .. 0001 [0b 8100] "a" 00'),
    bad("Subscription Identifier of five bytes", 5, '82 .. 0001 [0b ffffffff01] "a" 00'),
    bad("Subscription Identifier unfinished", 5, '82 .. 0001 [0b 80] "a" 00'),
]

LENGTHS = [
    *everywhere("PINGREQ with a body", "c0 01 00"),
    *everywhere("PINGRESP with a body", "d0 01 00", server=False),
    *everywhere("PUBLISH of nothing", "30 00"),
    *everywhere("PUBLISH of one byte", "30 01 00"),
    *everywhere("Topic Name past the end", "30 03 0002 'a'"),
    *everywhere("long Topic Name past the end", "30 04 0100 'aa'"),
    *everywhere("PUBLISH without Packet Identifier", '32 .. "a"'),
    *everywhere("PUBLISH with half a Packet Identifier", '34 .. "a" 00'),
    *everywhere("PUBACK of one byte", "40 01 00"),
    *everywhere("SUBSCRIBE of one byte", "82 01 00"),
    *everywhere("UNSUBSCRIBE of nothing", "a2 00"),
    *everywhere("CONNACK of one byte", "20 01 00", server=False),
    *everywhere("UNSUBACK of one byte", "b0 01 00", server=False),
    *(bad("PUBACK of three bytes", version, "40 03 0001 00") for version in (3, 4)),
    *(bad("PUBREL of three bytes", version, "62 03 0001 00") for version in (3, 4)),
    *(bad("DISCONNECT of one byte", version, "e0 01 00") for version in (3, 4)),
    *(bad("CONNACK of three bytes", version, "20 03 00 00 00", server=False) for version in (3, 4)),
    *(bad("UNSUBACK of three bytes", version, "b0 03 0001 00", server=False) for version in (3, 4)),
    *(bad("SUBACK of two bytes", version, "90 02 0001", server=False) for version in (3, 4)),
    *(bad("filter past the end", version, "82 .. 0001 0002 'a'") for version in (3, 4)),
    *(bad("half a filter length", version, "82 .. 0001 00") for version in (3, 4)),
    *(bad("filter without its QoS", version, '82 .. 0001 "a"') for version in (3, 4)),
    *(bad("UNSUBSCRIBE filter past the end", version, "a2 .. 0001 0002 'a'") for version in (3, 4)),
    bad("PUBLISH without Property Length", 5, '30 .. "a"'),
    bad("PUBLISH properties past the end", 5, "30 .. \"a\" 02 '%'"),
    bad("PUBACK properties past the end", 5, "40 .. 0001 00 01"),
    bad("PUBACK properties before the end", 5, "40 .. 0001 00 [] 00"),
    bad("SUBSCRIBE without Property Length", 5, "82 .. 0001"),
    bad("SUBSCRIBE filter without options", 5, '82 .. 0001 [] "a"'),
    bad("SUBACK without codes", 5, "90 .. 0001 []", server=False),
    bad("UNSUBACK without codes", 5, "b0 .. 0001 []", server=False),
    bad("DISCONNECT properties before the end", 5, "e0 .. 00 [] 00"),
    bad("AUTH without Property Length", 5, "f0 .. 18"),
    bad("AUTH properties before the end", 5, 'f0 .. 18 [15 "m"] 00'),
    bad("CONNACK without Property Length", 5, "20 02 00 00", server=False),
    bad("CONNACK properties before the end", 5, "20 .. 00 00 [] 00", server=False),
    bad("a string's property ends early", 5, '40 .. 0001 00 [1f 0002] "aa"'),
    bad("a string past the properties' end", 5, "40 .. 0001 00 [1f 0002 'a']"),
    bad("a pair of one string", 5, '40 .. 0001 00 [26 "a"]'),
    bad("binary data past the properties' end", 5, '30 .. "a" [09 0002 00]'),
    bad("half a Four Byte Integer", 5, '30 .. "a" [02 0000]'),
    bad("a Byte of no byte", 5, '30 .. "a" [01]'),
    bad("half a Two Byte Integer", 5, '30 .. "a" [23 00]'),
]

CONNECT_LENGTHS = [
    bad("nothing", 0, "10 00"),
    bad("half a Protocol Name", 0, "10 .. 0004 'MQ'"),
    bad("no Protocol Version", 0, '10 .. "MQTT"'),
    bad("no Connect Flags", 0, '10 .. "MQTT" 04'),
    bad("half a Keep Alive", 0, '10 .. "MQTT" 04 02 00'),
    bad("no Client Identifier", 0, '10 .. "MQTT" 04 02 0000'),
    bad("no Property Length", 0, '10 .. "MQTT" 05 02 0000'),
    bad("no Client Identifier, 5.0", 0, '10 .. "MQTT" 05 02 0000 []'),
    bad("Client Identifier past the end", 0, "10 .. \"MQTT\" 04 02 0000 0002 'a'"),
    bad("a byte more", 0, '10 .. "MQTT" 04 02 0000 "a" 00'),
    bad("a byte more, 3.1", 0, '10 .. "MQIsdp" 03 02 0000 "a" 00'),
    bad("no Will Topic", 0, '10 .. "MQTT" 04 06 0000 "a"'),
    bad("no Will Payload", 0, '10 .. "MQTT" 04 06 0000 "a" "w"'),
    bad("no Will Properties", 0, '10 .. "MQTT" 05 06 0000 [] "a"'),
    bad("no User Name", 0, '10 .. "MQTT" 04 82 0000 "a"'),
    bad("no User Name, 5.0", 0, '10 .. "MQTT" 05 82 0000 [] "a"'),
    bad("no Password", 0, '10 .. "MQTT" 04 c2 0000 "a" "u"'),
    bad("no Password, 5.0", 0, '10 .. "MQTT" 05 42 0000 [] "a"'),
    bad("a User Name without its flag", 0, '10 .. "MQTT" 04 02 0000 "a" "u"'),
    bad("a Password without its flag", 0, '10 .. "MQTT" 04 82 0000 "a" "u" "p"'),
    bad("a User Name without its flag, 5.0", 0, '10 .. "MQTT" 05 02 0000 [] "a" "u"'),
    bad("a Password without its flag, 5.0", 0, '10 .. "MQTT" 05 82 0000 [] "a" "u" "p"'),
    bad("a Will without its flag", 0, '10 .. "MQTT" 04 02 0000 "a" "w" ""'),
]

CONNECT_FLAGS = [
    bad("reserved flag, 3.1.1", 0, '10 .. "MQTT" 04 03 0000 "a"'),
    bad("reserved flag, 5.0", 0, '10 .. "MQTT" 05 03 0000 [] "a"'),
    *(bad(f"Will QoS 3, {level}", 0, f'10 .. "MQTT" {level} 1e 0000 "a"') for level in ("04", "05")),
    bad("Will QoS 3, 3.1", 0, '10 .. "MQIsdp" 03 1e 0000 "a" "w" ""'),
    *(
        bad(f"flags {flags} without Will Flag, {level}", 0, f'10 .. "MQTT" {level} {flags} 0000 00 "a"')
        for level in ("04", "05")
        for flags in ("0a", "12", "22")
    ),
    bad("Password without User Name, 3.1.1", 0, '10 .. "MQTT" 04 42 0000 "a" "p"'),
    bad("Password without User Name, 3.1", 0, '10 .. "MQIsdp" 03 42 0000 "a" "p"'),
]

PACKET_IDENTIFIER_0 = [
    bad(name, version, notation, PROTOCOL if version == 5 else MALFORMED)
    for version in (3, 4, 5)
    for name, notation in (
        ("PUBLISH QoS 1", '32 .. "a" 0000 00'),
        ("PUBLISH QoS 2", '34 .. "a" 0000 00'),
        ("PUBACK", "40 02 0000"),
        ("PUBREC", "50 02 0000"),
        ("PUBREL", "62 02 0000"),
        ("PUBCOMP", "70 02 0000"),
        ("SUBSCRIBE", '82 .. 0000 00 "a" 00'),
        ("UNSUBSCRIBE", 'a2 .. 0000 00 "a"'),
    )
] + [
    bad(f"{name} from Server", version, notation, PROTOCOL if version == 5 else MALFORMED, server=False)
    for version in (3, 4, 5)
    for name, notation in (
        ("PUBLISH QoS 1", '32 .. "a" 0000 00'),
        ("PUBREL", "62 02 0000"),
        ("SUBACK", "90 .. 0000 00 00"),
        ("UNSUBACK", "b0 02 0000"),
    )
]

TOPIC_NAMES = [
    *(
        bad(f"Topic Name {name!r}", version, f'30 .. "{name}" 00', ReasonCode.TOPIC_NAME_INVALID)
        for version in (3, 4, 5)
        for name in ("#", "+", "a/#", "a/+/b", "a#", "+a")
    ),
    bad("empty", 3, '30 .. ""', ReasonCode.TOPIC_NAME_INVALID),
    bad("empty", 4, '30 .. ""', ReasonCode.TOPIC_NAME_INVALID),
    bad("empty without Topic Alias", 5, '30 .. "" []', PROTOCOL),
    bad("empty without Topic Alias, other properties", 5, '30 .. "" [01 00]', PROTOCOL),
    *(
        bad(f"Will Topic {name!r}", 0, f'10 .. "MQTT" 04 06 0000 "a" "{name}" ""', ReasonCode.TOPIC_NAME_INVALID)
        for name in ("", "#", "a/+")
    ),
    bad("Will Topic, 5.0", 0, '10 .. "MQTT" 05 06 0000 [] "a" [] "a/#" ""', ReasonCode.TOPIC_NAME_INVALID),
]

RESPONSE_TOPICS = [
    *(
        bad(f"Response Topic {name!r}", 5, f'30 .. "a" [08 "{name}"]', ReasonCode.TOPIC_NAME_INVALID)
        for name in ("", "#", "a/+")
    ),
    bad("of a Will", 0, '10 .. "MQTT" 05 06 0000 [] "a" [08 "+"] "w" ""', ReasonCode.TOPIC_NAME_INVALID),
]

TOPIC_FILTERS = [
    fault
    for name in ("", "a#", "#/a", "a/#/b", "##", "a+", "+a", "a/+b/c", "++", "a/b+")
    for fault in (
        bad(f"filter {name!r}", 4, f'82 .. 0001 "{name}" 00', ReasonCode.TOPIC_FILTER_INVALID),
        bad(f"filter {name!r}", 5, f'82 .. 0001 [] "a" 00 "{name}" 00', ReasonCode.TOPIC_FILTER_INVALID),
        bad(f"UNSUBSCRIBE filter {name!r}", 4, f'a2 .. 0001 "a" "{name}"', ReasonCode.TOPIC_FILTER_INVALID),
    )
]

SHARE_FILTERS = [
    fault
    for name in ("$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/a#/a", "$share/g/a#")
    for fault in (
        bad(f"filter {name!r}", 5, f'82 .. 0001 [] "{name}" 00', ReasonCode.TOPIC_FILTER_INVALID),
        bad(f"UNSUBSCRIBE filter {name!r}", 5, f'a2 .. 0001 [] "{name}"', ReasonCode.TOPIC_FILTER_INVALID),
    )
]

NO_FILTERS = [
    *(bad("SUBSCRIBE without filters", version, "82 02 0001", PROTOCOL) for version in (3, 4)),
    *(bad("UNSUBSCRIBE without filters", version, "a2 02 0001", PROTOCOL) for version in (3, 4)),
    bad("SUBSCRIBE without filters", 5, "82 .. 0001 []", PROTOCOL),
    bad("UNSUBSCRIBE without filters", 5, "a2 .. 0001 []", PROTOCOL),
]

SUBSCRIPTION_OPTIONS = [
    *(
        bad(f"options {options:02x}", version, f'82 .. 0001 "a" {options:02x}')
        for version in (3, 4)
        for options in (0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF)
    ),
    *(bad(f"options {options}", 5, f'82 .. 0001 [] "a" {options}') for options in ("40", "80", "c0", "43")),
    bad("QoS 3", 5, '82 .. 0001 [] "a" 03', PROTOCOL),
    bad("Retain Handling 3", 5, '82 .. 0001 [] "a" 30', PROTOCOL),
]

NO_LOCAL_SHARED = [bad("No Local on a Shared Subscription", 5, '82 .. 0001 [] "$share/g/a" 04', PROTOCOL)]

SUBSCRIPTION_IDENTIFIERS = [
    bad("0", 5, '82 .. 0001 [0b 00] "a" 00', PROTOCOL),
    bad("twice", 5, '82 .. 0001 [0b 01 0b 01] "a" 00', PROTOCOL),
    bad("in UNSUBSCRIBE", 5, 'a2 .. 0001 [0b 01] "a"'),
    bad("0 from Server", 5, '30 .. "a" [0b 00]', PROTOCOL, server=False),
]

PUBLISHED_SUBSCRIPTION_IDENTIFIER = [bad("in a PUBLISH from a Client", 5, '30 .. "a" [0b 01]', PROTOCOL)]

TOPIC_ALIAS_0 = [
    bad("Topic Alias 0", 5, '30 .. "a" [23 0000]', ReasonCode.TOPIC_ALIAS_INVALID),
    bad("Topic Alias 0 alone", 5, '30 .. "" [23 0000]', ReasonCode.TOPIC_ALIAS_INVALID),
]

AUTHENTICATION = [
    bad("data without method", 0, '10 .. "MQTT" 05 02 0000 [16 0001 00] "a"', PROTOCOL),
    bad("AUTH without method", 5, "f0 .. 18 []", PROTOCOL),
    bad("AUTH without method, with data", 5, "f0 .. 19 [16 0001 00]", PROTOCOL),
]

CONNACK_FLAGS = [
    *(
        bad(
            f"acknowledge flags {flags}",
            version,
            f"20 02 {flags} 00" if version == 4 else f"20 03 {flags} 00 00",
            server=False,
        )
        for flags in ("02", "80", "ff", "03")
        for version in (4, 5)
    ),
    bad("Session Present with a refusal", 4, "20 02 01 05", PROTOCOL, server=False),
    bad("Session Present with a refusal", 5, "20 03 01 87 00", PROTOCOL, server=False),
]

RETURN_CODES = [
    *(bad("Connect Return Code 6", version, "20 02 00 06", server=False) for version in (3, 4)),
    *(bad("Connect Return Code 255", version, "20 02 00 ff", server=False) for version in (3, 4)),
    *(
        bad(f"SUBACK {code}", version, f"90 03 0001 {code}", server=False)
        for code in ("03", "7f", "81", "ff")
        for version in (3, 4)
    ),
]

SESSION_EXPIRY_FROM_SERVER = [bad("DISCONNECT", 5, "e0 .. 00 [11 00000001]", PROTOCOL, server=False)]

# A UTF-8 Encoded String in every place that has one; `@` stands for its two bytes of length and its bytes
STRINGS = {
    "Protocol Name": (0, '10 .. @ 04 02 0000 "a"'),
    "Client Identifier, 3.1": (0, '10 .. "MQIsdp" 03 02 0000 @'),
    "Client Identifier, 3.1.1": (0, '10 .. "MQTT" 04 02 0000 @'),
    "Client Identifier, 5.0": (0, '10 .. "MQTT" 05 02 0000 [] @'),
    "Will Topic": (0, '10 .. "MQTT" 04 06 0000 "a" @ ""'),
    "Will Topic, 5.0": (0, '10 .. "MQTT" 05 06 0000 [] "a" [] @ ""'),
    "Content Type of a Will": (0, '10 .. "MQTT" 05 06 0000 [] "a" [03 @] "w" ""'),
    "User Name": (0, '10 .. "MQTT" 04 82 0000 "a" @'),
    "User Name, 5.0": (0, '10 .. "MQTT" 05 82 0000 [] "a" @'),
    "Authentication Method": (0, '10 .. "MQTT" 05 02 0000 [15 @] "a"'),
    "Topic Name, 3.1": (3, "30 .. @ 00"),
    "Topic Name, 3.1.1": (4, "30 .. @ 00"),
    "Topic Name, 5.0": (5, "30 .. @ 00"),
    "Response Topic": (5, '30 .. "a" [08 @]'),
    "Content Type": (5, '30 .. "a" [03 @]'),
    "User Property, name": (5, '30 .. "a" [26 @ ""]'),
    "User Property, value": (5, '30 .. "a" [26 "" @]'),
    "Reason String": (5, "40 .. 0001 00 [1f @]"),
    "Topic Filter, 3.1.1": (4, "82 .. 0001 @ 00"),
    "Topic Filter, 5.0": (5, "82 .. 0001 [] @ 00"),
    "UNSUBSCRIBE, 3.1.1": (4, "a2 .. 0001 @"),
    "UNSUBSCRIBE, 5.0": (5, "a2 .. 0001 [] @"),
}
ILL_FORMED = {
    "a surrogate": "eda080",
    "a pair of surrogates": "eda081edb080",
    "the last surrogate": "edbfbf",
    "overlong, two bytes": "c0af",
    "overlong, three bytes": "e080af",
    "overlong NUL": "c080",
    "a continuation alone": "80",
    "cut short": "e282",
    "beyond U+10FFFF": "f4908080",
    "five bytes": "f888808080",
    "ff": "ff",
}
NULLS = {"U+0000 alone": "00", "U+0000 first": "0061", "U+0000 inside": "610061"}
DISALLOWED = {
    "U+0001": "01",
    "LF": "0a",
    "U+001F": "1f",
    "DEL": "7f",
    "U+0080": "c280",
    "U+009F": "c29f",
    "U+FDD0": "efb790",
    "U+FFFE": "efbfbe",
    "U+FFFF": "efbfbf",
    "U+1FFFE": "f09fbfbe",
}


def with_string(place: str, raw: str) -> Fault:
    """`raw`, in hex, where `place` has its string."""
    version, notation = STRINGS[place]
    given = f"{len(raw) // 2:04x} {raw}"
    return bad(place, version, notation.replace("@", given))


FAULTS = [
    *FIRST_PACKET,
    *FLAGS,
    *QOS_3,
    *DUP_AT_QOS_0,
    *UNKNOWN_TYPES,
    *DIRECTION,
    *SECOND_CONNECT,
    *REMAINING_LENGTH,
    *LENGTHS,
    *CONNECT_LENGTHS,
    *CONNECT_FLAGS,
    *PACKET_IDENTIFIER_0,
    *TOPIC_NAMES,
    *RESPONSE_TOPICS,
    *TOPIC_FILTERS,
    *SHARE_FILTERS,
    *NO_FILTERS,
    *SUBSCRIPTION_OPTIONS,
    *NO_LOCAL_SHARED,
    *SUBSCRIPTION_IDENTIFIERS,
    *PUBLISHED_SUBSCRIPTION_IDENTIFIER,
    *TOPIC_ALIAS_0,
    *AUTHENTICATION,
    *CONNACK_FLAGS,
    *RETURN_CODES,
    *SESSION_EXPIRY_FROM_SERVER,
    *(with_string(place, raw) for place in STRINGS for raw in (*ILL_FORMED.values(), *NULLS.values())),
]
