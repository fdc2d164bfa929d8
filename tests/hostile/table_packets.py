"""MQTT packets that break a rule, behind a CONNACK; and some that look as if they did.

A code in `because` is a normative statement of 5.0 (MQTT-…), which 3.1.1 has too where the row serves all versions, or
a section of 5.0. A setting stands for itself: its bound is announced or documented.
"""

from __future__ import annotations

from typing import Final

from tests.hostile.inputs import Packets, borne, broken

MALFORMED: Final = 0x81
PROTOCOL: Final = 0x82
FILTER: Final = 0x8F
NAME: Final = 0x90
RECEIVE: Final = 0x93
ALIAS: Final = 0x94
LARGE: Final = 0x95
QUOTA: Final = 0x97
OLD: Final = (3, 4)
NEW: Final = (5,)
LATER: Final = (4, 5)

FIXED_HEADER: Final[list[Packets]] = [
    broken("packet type 0", "00 00", "MQTT-2.1.3-1 and table 2-1: type 0 is forbidden", MALFORMED),
    broken("AUTH before 5.0", "f0 00", "3.1.1 table 2.1: type 15 is forbidden", MALFORMED, OLD),
    broken("AUTH without a method", "f0 00", "MQTT-4.12.0-6", PROTOCOL, NEW),
    broken("AUTH that goes on, without a method", "f0 .. 18 []", "3.15.2.2.2", PROTOCOL, NEW),
    broken("AUTH with flags", "f1 00", "MQTT-3.15.1-1", MALFORMED, NEW),
    broken("second CONNECT", '10 .. "MQTT" 04 02 0000 "hostile"', "MQTT-3.1.0-2", PROTOCOL),
    broken("second CONNECT, its first byte only", "10", "MQTT-3.1.0-2", PROTOCOL),
    broken("CONNACK from a Client", "20 02 00 00", "table 2-1: direction", PROTOCOL),
    broken("SUBACK from a Client", "90 03 0001 00", "table 2-1: direction", PROTOCOL),
    broken("UNSUBACK from a Client", "b0 02 0001", "table 2-1: direction", PROTOCOL),
    broken("PINGRESP from a Client", "d0 00", "table 2-1: direction", PROTOCOL),
    broken("PUBACK with flags", "41 02 0001", "MQTT-2.1.3-1", MALFORMED),
    broken("PUBREC with flags", "52 02 0001", "MQTT-2.1.3-1", MALFORMED),
    broken("PUBREL with flags 0", "60 02 0001", "MQTT-3.6.1-1", MALFORMED),
    broken("PUBREL with flags 3", "63 02 0001", "MQTT-3.6.1-1", MALFORMED),
    broken("PUBCOMP with flags", "78 02 0001", "MQTT-2.1.3-1", MALFORMED),
    broken("SUBSCRIBE with flags 0", '80 .. 0001 [] "a" 00', "MQTT-3.8.1-1", MALFORMED),
    broken("SUBSCRIBE with flags 15", '8f .. 0001 [] "a" 00', "MQTT-3.8.1-1", MALFORMED),
    broken("UNSUBSCRIBE with flags 0", 'a0 .. 0001 [] "a"', "MQTT-3.10.1-1", MALFORMED),
    broken("PINGREQ with flags", "c1 00", "MQTT-2.1.3-1", MALFORMED),
    broken("DISCONNECT with flags", "e1 00", "MQTT-3.14.1-1", MALFORMED),
    broken("PUBLISH with QoS 3", '36 .. "a" 0001 []', "MQTT-3.3.1-4", MALFORMED),
    broken("PUBLISH with QoS 3, DUP and RETAIN", '3f .. "a" 0001 []', "MQTT-3.3.1-4", MALFORMED),
    broken("PUBLISH with DUP at QoS 0", '38 .. "a" []', "MQTT-3.3.1-2", MALFORMED),
]

REMAINING_LENGTH: Final[list[Packets]] = [
    broken("a length of five bytes", "30 ff ff ff ff 01", "1.5.5: at most four bytes", MALFORMED),
    broken("a length of four bytes that go on", "30 80 80 80 80", "1.5.5", MALFORMED),
    broken("a length of 0 in two bytes", "c0 80 00", "MQTT-1.5.5-1", MALFORMED),
    broken("a length of 5 in three bytes", "30 85 80 00 0001 'a' 0000", "MQTT-1.5.5-1", MALFORMED),
    broken("256 MiB are promised", "30 ff ff ff 7f 0001 'a'", "MQTT-3.2.2-15: Maximum Packet Size", LARGE),
    broken("a byte more than the largest packet", "30 fd ff 3f 0001 'a'", "MQTT-3.2.2-15: Maximum Packet Size", LARGE),
    broken("PINGREQ with a body", "c0 01 00", "3.12.2: no body", MALFORMED),
    broken("PINGREQ with a body of 100 MB", "c0 80 c2 d7 2f", "MQTT-3.2.2-15, 3.12.2", LARGE),
    broken("PUBACK of one byte", "40 01 00", "3.4.2: two bytes at least", MALFORMED),
    broken("PUBACK of three bytes", "40 03 0001 00", "3.1.1 section 3.4.1: two bytes", MALFORMED, OLD),
    broken("DISCONNECT with a body", "e0 01 00", "3.1.1 section 3.14.1: no body", MALFORMED, OLD),
    broken("an acknowledgement of 9,000 bytes", "40 a8 46", "setting acknowledgement_bytes", LARGE, NEW),
    broken("PUBLISH of nothing", "30 00", "MQTT-3.3.2-1", MALFORMED),
    broken("PUBLISH of one byte", "30 01 00", "MQTT-3.3.2-1", MALFORMED),
    broken("SUBSCRIBE of nothing", "82 00", "MQTT-2.2.1-3", MALFORMED),
    broken("UNSUBSCRIBE of one byte", "a2 01 00", "MQTT-2.2.1-3", MALFORMED),
]

LENGTHS_INSIDE: Final[list[Packets]] = [
    broken("Topic Name past the end", "30 03 0002 'a'", "1.5.4, 4.13.1", MALFORMED),
    broken("Topic Name of 65,535 bytes past the end", "30 04 ffff 'aa'", "1.5.4, 4.13.1", MALFORMED),
    broken("QoS 1 without Packet Identifier", '32 .. "a"', "MQTT-2.2.1-3", MALFORMED),
    broken("QoS 2 with half a Packet Identifier", '34 .. "a" 00', "MQTT-2.2.1-3", MALFORMED),
    broken("Topic Filter past the end", "82 .. 0001 [] 0002 'a'", "1.5.4, 4.13.1", MALFORMED),
    broken("half a length", "82 .. 0001 [] 00", "1.5.4, 4.13.1", MALFORMED),
    broken("Topic Filter without options", '82 .. 0001 [] "a"', "3.8.3", MALFORMED),
    broken("UNSUBSCRIBE filter past the end", "a2 .. 0001 [] 0002 'a'", "1.5.4, 4.13.1", MALFORMED),
    broken("PUBLISH without Property Length", '30 .. "a"', "MQTT-2.2.2-1", MALFORMED, NEW),
    broken("Property Length past the end", "30 .. \"a\" 02 '%'", "2.2.2.1", MALFORMED, NEW),
    broken("Property Length of five bytes", '30 .. "a" ff ff ff ff 01', "1.5.5", MALFORMED, NEW),
    broken("Property Length in two bytes", '30 .. "a" 80 00', "MQTT-1.5.5-1", MALFORMED, NEW),
    broken("properties before the end of a PUBACK", "40 .. 0001 00 [] 00", "3.4.2.2", MALFORMED, NEW),
    broken("properties before the end of a DISCONNECT", "e0 .. 00 [] 00", "3.14.2.2", MALFORMED, NEW),
    broken("half a Four Byte Integer", '30 .. "a" [02 0000]', "1.5.3", MALFORMED, NEW),
    broken("half a Two Byte Integer", '30 .. "a" [23 00]', "1.5.2", MALFORMED, NEW),
    broken("a Byte of no byte", '30 .. "a" [01]', "2.2.2.2", MALFORMED, NEW),
    broken("a string past its properties", "30 .. \"a\" [03 0002 'a'] 'a'", "1.5.4", MALFORMED, NEW),
    broken("a pair of one string", '30 .. "a" [26 "a"]', "1.5.7", MALFORMED, NEW),
    broken("binary data past its properties", '30 .. "a" [09 0002 00]', "1.5.6", MALFORMED, NEW),
]

TEXT: Final[list[Packets]] = [
    broken("a surrogate in a Topic Name", "30 .. 0003 eda080 []", "MQTT-1.5.4-1", MALFORMED),
    broken("a pair of surrogates", "30 .. 0006 eda081 edb080 []", "MQTT-1.5.4-1", MALFORMED),
    broken("an overlong slash", "30 .. 0002 c0af []", "MQTT-1.5.4-1", MALFORMED),
    broken("an overlong NUL", "30 .. 0002 c080 []", "MQTT-1.5.4-1", MALFORMED),
    broken("a continuation byte alone", "30 .. 0001 80 []", "MQTT-1.5.4-1", MALFORMED),
    broken("a character cut short", "30 .. 0002 e282 []", "MQTT-1.5.4-1", MALFORMED),
    broken("beyond U+10FFFF", "30 .. 0004 f4908080 []", "MQTT-1.5.4-1", MALFORMED),
    broken("bytes of Latin-1", "30 .. 0004 'caf' e9 []", "MQTT-1.5.4-1", MALFORMED),
    broken("U+0000 in a Topic Name", "30 .. 0003 'a' 00 'b' []", "MQTT-1.5.4-2", MALFORMED),
    broken("U+0000 in a Topic Filter", "82 .. 0001 [] 0002 'a' 00 00", "MQTT-1.5.4-2", MALFORMED),
    broken("U+0000 in an UNSUBSCRIBE", "a2 .. 0001 [] 0001 00", "MQTT-1.5.4-2", MALFORMED),
    broken("a surrogate in a Topic Filter", "82 .. 0001 [] 0003 eda080 00", "MQTT-1.5.4-1", MALFORMED),
    broken("a line feed in a Topic Name", "30 .. 0002 'a' 0a []", "1.5.4: disallowed code points", MALFORMED),
    broken("ESC in a Topic Filter", "82 .. 0001 [] 0002 'a' 1b 00", "1.5.4: disallowed code points", MALFORMED),
    broken("a C1 control in a Topic Name", "30 .. 0002 c285 []", "1.5.4: disallowed code points", MALFORMED),
    broken("the noncharacter U+FFFF", "30 .. 0003 efbfbf []", "1.5.4: disallowed code points", MALFORMED),
    broken("U+0000 in a Content Type", '30 .. "a" [03 0001 00]', "MQTT-1.5.4-2", MALFORMED, NEW),
    broken("a surrogate in a User Property", '30 .. "a" [26 "k" 0003 eda080]', "MQTT-1.5.7-1", MALFORMED, NEW),
    broken("ill-formed Reason String", "40 .. 0001 10 [1f 0001 ff]", "MQTT-1.5.4-1", MALFORMED, NEW),
]

TOPICS: Final[list[Packets]] = [
    broken("a Topic Name of no character", '30 .. ""', "MQTT-4.7.3-1", NAME, OLD),
    broken("neither Topic Name nor Topic Alias", '30 .. "" []', "3.3.2.3.4", PROTOCOL, NEW),
    broken("Topic Name #", '30 .. "#" []', "MQTT-3.3.2-2", NAME),
    broken("Topic Name +", '30 .. "+" []', "MQTT-3.3.2-2", NAME),
    broken("Topic Name a/+/b at QoS 2", '34 .. "a/+/b" 0001 []', "MQTT-3.3.2-2", NAME),
    broken("Topic Name a#", '30 .. "a#" []', "MQTT-3.3.2-2", NAME),
    broken("a Topic Name of 4,097 bytes", f'30 .. "{"a" * 4097}" []', "setting topic_bytes", NAME),
    broken("a Topic Name of 65,535 slashes", f'30 .. "{"/" * 65_535}" []', "setting topic_bytes", NAME),
    broken("a Topic Name of 129 levels", f'30 .. "{"/" * 128}" []', "setting topic_levels", NAME),
    broken("a Topic Filter of no character", '82 .. 0001 [] "" 00', "MQTT-4.7.3-1", FILTER),
    broken("Topic Filter a#", '82 .. 0001 [] "a#" 00', "MQTT-4.7.1-1", FILTER),
    broken("Topic Filter a/#/b", '82 .. 0001 [] "a/#/b" 00', "MQTT-4.7.1-1", FILTER),
    broken("Topic Filter ##", '82 .. 0001 [] "##" 00', "MQTT-4.7.1-1", FILTER),
    broken("Topic Filter a+", '82 .. 0001 [] "a+" 00', "MQTT-4.7.1-2", FILTER),
    broken("Topic Filter +a/b", '82 .. 0001 [] "+a/b" 00', "MQTT-4.7.1-2", FILTER),
    broken("Topic Filter ++", '82 .. 0001 [] "++" 00', "MQTT-4.7.1-2", FILTER),
    broken("a good filter before a bad one", '82 .. 0001 [] "a" 00 "a#" 00', "MQTT-4.7.1-1", FILTER),
    broken("UNSUBSCRIBE a#", 'a2 .. 0001 [] "a#"', "MQTT-4.7.1-1", FILTER),
    broken("UNSUBSCRIBE of no character", 'a2 .. 0001 [] ""', "MQTT-4.7.3-1", FILTER),
    broken("a Topic Filter of 4,097 bytes", f'82 .. 0001 [] "{"a" * 4097}" 00', "setting topic_bytes", FILTER),
    broken("a Topic Filter of 129 levels", f'82 .. 0001 [] "{"+/" * 128}+" 00', "setting topic_levels", FILTER),
    broken("$share/", '82 .. 0001 [] "$share/" 00', "MQTT-4.8.2-1", FILTER),
    broken("$share/g", '82 .. 0001 [] "$share/g" 00', "MQTT-4.8.2-2", FILTER),
    broken("$share/g/", '82 .. 0001 [] "$share/g/" 00', "MQTT-4.8.2-2", FILTER),
    broken("$share//a", '82 .. 0001 [] "$share//a" 00', "MQTT-4.8.2-1", FILTER),
    broken("$share/+/a", '82 .. 0001 [] "$share/+/a" 00', "MQTT-4.8.2-2", FILTER),
    broken("$share/g#/a", '82 .. 0001 [] "$share/g#/a" 00', "MQTT-4.8.2-2", FILTER),
    broken("$share/g/a#", '82 .. 0001 [] "$share/g/a#" 00', "MQTT-4.7.1-1", FILTER),
    broken("UNSUBSCRIBE $share/g", 'a2 .. 0001 [] "$share/g"', "MQTT-4.8.2-2", FILTER),
    broken("Response Topic #", '30 .. "a" [08 "#"]', "MQTT-3.3.2-14", NAME, NEW),
    broken("Response Topic of no character", '30 .. "a" [08 ""]', "MQTT-4.7.3-1", NAME, NEW),
]

FIELDS: Final[list[Packets]] = [
    broken("PUBLISH with Packet Identifier 0", '32 .. "a" 0000 []', "MQTT-2.2.1-3", PROTOCOL),
    broken("PUBACK with Packet Identifier 0", "40 02 0000", "MQTT-2.2.1-3", PROTOCOL),
    broken("PUBREC with Packet Identifier 0", "50 02 0000", "MQTT-2.2.1-3", PROTOCOL),
    broken("PUBREL with Packet Identifier 0", "62 02 0000", "MQTT-2.2.1-3", PROTOCOL),
    broken("PUBCOMP with Packet Identifier 0", "70 02 0000", "MQTT-2.2.1-3", PROTOCOL),
    broken("SUBSCRIBE with Packet Identifier 0", '82 .. 0000 [] "a" 00', "MQTT-2.2.1-3", PROTOCOL),
    broken("UNSUBSCRIBE with Packet Identifier 0", 'a2 .. 0000 [] "a"', "MQTT-2.2.1-3", PROTOCOL),
    broken("SUBSCRIBE without a filter", "82 .. 0001 []", "MQTT-3.8.3-2", PROTOCOL),
    broken("UNSUBSCRIBE without a filter", "a2 .. 0001 []", "MQTT-3.10.3-2", PROTOCOL),
    broken("1,001 filters at once", "82 .. 0001 []" + ' "a" 00' * 1001, "setting subscriptions_per_packet", QUOTA),
    broken("1,001 filters to leave", "a2 .. 0001 []" + ' "a"' * 1001, "setting subscriptions_per_packet", QUOTA),
    broken("QoS 3 wanted", '82 .. 0001 "a" 03', "MQTT-3-8.3-4 of 3.1.1", MALFORMED, OLD),
    broken("QoS 3 wanted, 5.0", '82 .. 0001 [] "a" 03', "3.8.3.1", PROTOCOL, NEW),
    broken("options of 5.0 before it", '82 .. 0001 "a" 04', "MQTT-3-8.3-4 of 3.1.1", MALFORMED, OLD),
    broken("reserved options", '82 .. 0001 [] "a" c0', "MQTT-3.8.3-5", MALFORMED),
    broken("Retain Handling 3", '82 .. 0001 [] "a" 30', "3.8.3.1", PROTOCOL, NEW),
    broken("No Local on a Shared Subscription", '82 .. 0001 [] "$share/g/a" 04', "MQTT-3.8.3-4", PROTOCOL, NEW),
    broken("Subscription Identifier 0", '82 .. 0001 [0b 00] "a" 00', "3.8.2.1.2", PROTOCOL, NEW),
    broken("Subscription Identifier twice", '82 .. 0001 [0b 01 0b 02] "a" 00', "3.8.2.1.2", PROTOCOL, NEW),
    broken("Subscription Identifier of five bytes", '82 .. 0001 [0b ffffffff01] "a" 00', "1.5.5", MALFORMED, NEW),
    broken("Subscription Identifier of a Client", '30 .. "a" [0b 01]', "MQTT-3.3.4-6", PROTOCOL, NEW),
    broken("Topic Alias 0", '30 .. "a" [23 0000]', "MQTT-3.3.2-8", ALIAS, NEW),
    broken("Topic Alias 17 of 16", '30 .. "a" [23 0011]', "MQTT-3.3.2-9", ALIAS, NEW),
    broken("Topic Alias 65,535", '30 .. "a" [23 ffff]', "MQTT-3.3.2-9", ALIAS, NEW),
    broken("Topic Alias never set", '30 .. "" [23 0005]', "3.3.2.3.4, 3.3.4", PROTOCOL, NEW),
    broken("Topic Alias twice", '30 .. "a" [23 0001 23 0001]', "3.3.2.3.4", PROTOCOL, NEW),
    broken("Payload Format Indicator 2", '30 .. "a" [01 02]', "3.3.2.3.2", PROTOCOL, NEW),
    broken("Message Expiry Interval twice", '30 .. "a" [02 00000001 02 00000001]', "3.3.2.3.3", PROTOCOL, NEW),
    broken("Content Type twice", '30 .. "a" [03 "x" 03 "x"]', "3.3.2.3.9", PROTOCOL, NEW),
    broken("Response Topic twice", '30 .. "a" [08 "x" 08 "x"]', "3.3.2.3.5", PROTOCOL, NEW),
    broken("Correlation Data twice", '30 .. "a" [09 0001 00 09 0001 00]', "3.3.2.3.6", PROTOCOL, NEW),
    broken("unknown property", '30 .. "a" [7e 00]', "2.2.2.2, 4.13.1", MALFORMED, NEW),
    broken("unknown property of two bytes", '30 .. "a" [80 01 00]', "2.2.2.2, 4.13.1", MALFORMED, NEW),
    broken("property 0", '30 .. "a" [00]', "2.2.2.2, 4.13.1", MALFORMED, NEW),
    broken("Receive Maximum in a PUBLISH", '30 .. "a" [21 0001]', "2.2.2.2, 4.13.1", MALFORMED, NEW),
    broken("Topic Alias in a SUBSCRIBE", '82 .. 0001 [23 0001] "a" 00', "2.2.2.2, 4.13.1", MALFORMED, NEW),
    broken("Will Delay Interval in a PUBLISH", '30 .. "a" [18 00000001]', "2.2.2.2, 4.13.1", MALFORMED, NEW),
    broken("Subscription Identifier in an UNSUBSCRIBE", 'a2 .. 0001 [0b 01] "a"', "2.2.2.2, 4.13.1", MALFORMED, NEW),
    broken("65 User Properties", '30 .. "a" [' + '26 "k" "v"' * 65 + "]", "setting user_properties", QUOTA, NEW),
    broken("10,000 User Properties", '30 .. "a" [' + '26 "" ""' * 10_000 + "]", "setting properties_bytes", LARGE, NEW),
    broken(
        "8,193 bytes of properties", '30 .. "a" [' + f'03 "{"x" * 8190}"' + "]", "setting properties_bytes", LARGE, NEW
    ),
    broken("Reason Code 0x01 in a PUBACK", "40 03 0001 01", "MQTT-3.4.2-1", PROTOCOL, NEW),
    broken("Reason Code 0xFF in a PUBREC", "50 03 0001 ff", "MQTT-3.5.2-1", PROTOCOL, NEW),
    broken("Reason Code 0x80 in a PUBREL", "62 03 0001 80", "MQTT-3.6.2-1", PROTOCOL, NEW),
    broken("Reason Code 0x01 in a DISCONNECT", "e0 01 01", "MQTT-3.14.2-1", PROTOCOL, NEW),
    broken("Session taken over, said a Client", "e0 01 8e", "table 3-13: sent by a Server", PROTOCOL, NEW),
    broken("a Session Expiry Interval at the end", "e0 .. 00 [11 00000001]", "3.14.2.2.2", PROTOCOL, NEW),
    broken("Reason String twice", '40 .. 0001 00 [1f "a" 1f "a"]', "3.4.2.2.2", PROTOCOL, NEW),
    broken(
        "33 messages of QoS 2 without a PUBREL",
        ";".join(f'34 .. "x" {number:04x} []' for number in range(1, 34)),
        "MQTT-3.3.4-7: Receive Maximum 32",
        RECEIVE,
        NEW,
        ";".join(f"50 03 {n:04x} 10" for n in range(1, 33)),
    ),
]

BORNE: Final[list[Packets]] = [
    borne("a PUBACK for nothing", "40 02 1234", "4.3.2: nothing is owed"),
    borne("a PUBCOMP for nothing", "70 02 1234", "4.3.3: nothing is owed"),
    borne("a PUBREL for nothing", "62 02 1234", "MQTT-4.3.3-11", "70 02 1234", OLD),
    borne("a PUBREL for nothing, 5.0", "62 02 1234", "table 3-7: 0x92", "70 03 1234 92", NEW),
    borne("a PUBREC for nothing, 5.0", "50 02 1234", "table 3-6: 0x92", "62 03 1234 92", NEW),
    borne("$SYS is not a Client's to write", '32 .. "$SYS/x" 0001', "MQTT-3.3.5-2 of 3.1.1", "40 02 0001", OLD),
    borne(
        "$SYS is not a Client's to write, 5.0",
        '32 .. "$SYS/x" 0001 []',
        "MQTT-4.7.2-1, table 3-4: 0x87",
        '40 .. 0001 87 [1f "this Client may not publish to this topic"]',
        NEW,
    ),
    borne("UNSUBSCRIBE of what is not there", 'a2 .. 0001 "none"', "MQTT-3.10.4-4", "b0 02 0001", OLD),
    borne("UNSUBSCRIBE of what is not there, 5.0", 'a2 .. 0001 [] "none"', "3.11.3", "b0 .. 0001 [] 11", NEW),
    borne("1,000 PINGREQ in a piece", "c000" * 1000, "MQTT-3.12.4-1", "d000" * 1000),
    borne("the deepest filter", f'82 .. 0001 [] "{"+/" * 127}#" 00', "setting topic_levels", "90 .. 0001 [] 00"),
    borne("a filter of slashes", f'82 .. 0001 [] "{"/" * 127}" 02', "MQTT-4.7.3-1", "90 .. 0001 [] 02"),
    borne(
        "$share without a ShareName",
        '82 .. 0001 [] "$share" 00',
        "4.8.2: not a Shared Subscription",
        "90 .. 0001 [] 00",
    ),
    borne("a topic with a dollar", '30 .. "$share/g/a" []', "4.7.2"),
    borne(
        "16 Topic Aliases, set and set anew",
        ";".join(f'30 .. "{t}" [23 {n:04x}]' for t in "ab" for n in range(1, 17)),
        "MQTT-3.3.2-9, 3.3.2.3.4",
        "",
        NEW,
    ),
    borne(
        "the same filter 1,000 times",
        "82 .. 0001 []" + ' "nobody/publishes/here" 00' * 1000,
        "MQTT-3.8.4-6",
        "90 .. 0001 []" + "00" * 1000,
    ),
]

TABLE: Final = [*FIXED_HEADER, *REMAINING_LENGTH, *LENGTHS_INSIDE, *TEXT, *TOPICS, *FIELDS, *BORNE]
