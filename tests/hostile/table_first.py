"""What comes instead of a good CONNECT: nothing of it may cost more than one connection.

Before a CONNECT is accepted 3.x knows five answers (3.1.1 table 3.1) and a plain close, 5.0 a CONNACK with a Reason
Code or a plain close (section 4.13.2). Nothing is sent to who has not yet said which version he speaks.
"""

from __future__ import annotations

from typing import Final

from tests.hostile.inputs import FirstBytes, first

MALFORMED: Final = 0x81
PROTOCOL: Final = 0x82
VERSION: Final = 0x84
IDENTIFIER: Final = 0x85
NAME: Final = 0x90
UNKNOWN_VERSION_3 = "20 02 00 01"  # Connect Return Code 0x01
IDENTIFIER_REJECTED_3 = "20 02 00 02"
NOT_AUTHORIZED_3 = "20 02 00 05"
STRANGE = "an Authentication Method that is not offered"

NO_CONNECT: Final[list[FirstBytes]] = [
    *(
        first(f"{name} first", notation, "MQTT-3.1.0-1")
        for name, notation in (
            ("type 0", "00 00"),
            ("CONNACK", "20 02 00 00"),
            ("PUBLISH at QoS 0", '30 .. "a" []'),
            ("PUBLISH at QoS 2", '34 .. "a" 0001 []'),
            ("PUBLISH with QoS 3", '36 .. "a" 0001 []'),
            ("a PUBLISH that promises 256 MiB", "30 ff ff ff 7f"),
            ("PUBACK", "40 02 0001"),
            ("PUBREC", "50 02 0001"),
            ("PUBREL", "62 02 0001"),
            ("PUBCOMP", "70 02 0001"),
            ("SUBSCRIBE", '82 .. 0001 [] "#" 00'),
            ("SUBACK", "90 03 0001 00"),
            ("UNSUBSCRIBE", 'a2 .. 0001 [] "#"'),
            ("UNSUBACK", "b0 02 0001"),
            ("PINGREQ", "c0 00"),
            ("PINGRESP", "d0 00"),
            ("DISCONNECT", "e0 00"),
            ("AUTH", 'f0 .. 18 [15 "SCRAM-SHA-256"]'),
            ("one byte that is no CONNECT", "ff"),
            ("1,000 zeros", "00" * 1000),
        )
    ),
    first("a TLS ClientHello", "16 03 01 00 05 01 00 00 01 00", "MQTT-3.1.0-1: 0x16 is a CONNACK's place with flags"),
    first("the greeting of SSH", "'SSH-2.0-OpenSSH_9.6' 0d 0a", "MQTT-3.1.0-1"),
    first("the preface of HTTP/2", "'PRI * HTTP/2.0' 0d0a0d0a 'SM' 0d0a0d0a", "MQTT-3.1.0-1"),
    first("PROXY protocol 2", "0d0a0d0a000d0a515549540a 21 11 000c 7f000001 7f000001 1234 075b", "MQTT-3.1.0-1"),
    first("SOCKS 5", "05 01 00", "MQTT-3.1.0-1"),
    first("a query of AMQP", "'AMQP' 00 00 09 01", "MQTT-3.1.0-1"),
    first("CONNECT with flags", "11 00", "MQTT-2.1.3-1"),
    first("CONNECT with flags 15", "1f 00", "MQTT-2.1.3-1"),
]

SIZES: Final[list[FirstBytes]] = [
    first("a CONNECT of nothing", "10 00", "3.1.2: Protocol Name"),
    first("a length of five bytes", "10 ff ff ff ff 01", "1.5.5: at most four bytes"),
    first("a length of 0 in four bytes", "10 80 80 80 00", "MQTT-1.5.5-1"),
    first("a CONNECT that promises 256 MiB", "10 ff ff ff 7f 'MQTT'", "setting connect_packet_size"),
    first("a byte more than 64 KiB", "10 fe ff 03", "setting connect_packet_size"),
    first("half a Protocol Name", "10 .. 0004 'MQ'", "1.5.4, 4.13.1"),
    first("a Protocol Name of 65,535 bytes", "10 .. ffff 'MQTT'", "1.5.4, 4.13.1"),
    first("no Protocol Version", '10 .. "MQTT"', "3.1.2.2, 4.13.1"),
    first("no Connect Flags", '10 .. "MQTT" 04', "3.1.2.3, 4.13.1"),
    first("half a Keep Alive", '10 .. "MQTT" 04 02 00', "3.1.2.10, 4.13.1"),
    first("no Client Identifier", '10 .. "MQTT" 04 02 0000', "MQTT-3.1.3-3"),
    first("no Property Length", '10 .. "MQTT" 05 02 0000', "MQTT-2.2.2-1", reason=MALFORMED),
    first("no Client Identifier, 5.0", '10 .. "MQTT" 05 02 0000 []', "MQTT-3.1.3-3", reason=MALFORMED),
    first("Client Identifier past the end", "10 .. \"MQTT\" 04 02 0000 0002 'a'", "1.5.4, 4.13.1"),
    first("a byte behind the payload", '10 .. "MQTT" 04 02 0000 "a" 00', "3.1.3, 4.13.1"),
    first("a byte behind the payload, 5.0", '10 .. "MQTT" 05 02 0000 [] "a" 00', "3.1.3, 4.13.1", reason=MALFORMED),
    first("a Will without its Topic", '10 .. "MQTT" 04 06 0000 "a"', "MQTT-3.1.2-9"),
    first("a Will without its Payload", '10 .. "MQTT" 05 06 0000 [] "a" [] "w"', "MQTT-3.1.2-9", reason=MALFORMED),
    first("no User Name", '10 .. "MQTT" 04 82 0000 "a"', "MQTT-3.1.2-17"),
    first("no Password", '10 .. "MQTT" 05 c2 0000 [] "a" "u"', "MQTT-3.1.2-19", reason=MALFORMED),
    first("a Password without its flag", '10 .. "MQTT" 05 82 0000 [] "a" "u" "p"', "MQTT-3.1.2-18", reason=MALFORMED),
]

VERSIONS_AND_FLAGS: Final[list[FirstBytes]] = [
    first("Protocol Name HTTP", '10 .. "HTTP" 04 02 0000 "a"', "MQTT-3.1.2-1"),
    first("Protocol Name mqtt", '10 .. "mqtt" 04 02 0000 "a"', "MQTT-3.1.2-1"),
    first("Protocol Name of no character", '10 .. "" 05 02 0000 [] "a"', "MQTT-3.1.2-1"),
    first("Protocol Name with U+0000", "10 .. 0004 'MQT' 00 04 02 0000 \"a\"", "MQTT-1.5.4-2"),
    first("MQTT 0", '10 .. "MQTT" 00 02 0000 "a"', "MQTT-3.1.2-2 of 3.1.1", UNKNOWN_VERSION_3),
    first("MQTT 3", '10 .. "MQTT" 03 02 0000 "a"', "MQTT-3.1.2-2 of 3.1.1", UNKNOWN_VERSION_3),
    first("MQTT 6", '10 .. "MQTT" 06 02 0000 [] "a"', "MQTT-3.1.2-2", reason=VERSION),
    first("MQTT 127", '10 .. "MQTT" 7f 02 0000 [] "a"', "MQTT-3.1.2-2", reason=VERSION),
    first("MQTT 255", '10 .. "MQTT" ff 02 0000 "a"', "MQTT-3.1.2-2 of 3.1.1", UNKNOWN_VERSION_3),
    first("the bit of a bridge", '10 .. "MQTT" 84 02 0000 "a"', "MQTT-3.1.2-2 of 3.1.1", UNKNOWN_VERSION_3),
    first("MQIsdp 4", '10 .. "MQIsdp" 04 02 0000 "a"', "MQTT-3.1.2-2 of 3.1.1", UNKNOWN_VERSION_3),
    first("MQIsdp 5", '10 .. "MQIsdp" 05 02 0000 [] "a"', "MQTT-3.1.2-2 of 3.1.1", UNKNOWN_VERSION_3),
    first("the reserved flag, 3.1.1", '10 .. "MQTT" 04 03 0000 "a"', "MQTT-3.1.2-3"),
    first("the reserved flag, 5.0", '10 .. "MQTT" 05 03 0000 [] "a"', "MQTT-3.1.2-3", reason=MALFORMED),
    first("Will QoS 3", '10 .. "MQTT" 05 1e 0000 [] "a" [] "w" ""', "MQTT-3.1.2-12", reason=MALFORMED),
    first("Will QoS 3, 3.1", '10 .. "MQIsdp" 03 1e 0000 "a" "w" ""', "MQTT-3.1.2-14 of 3.1.1"),
    first("Will QoS without a Will", '10 .. "MQTT" 05 0a 0000 [] "a"', "MQTT-3.1.2-11", reason=MALFORMED),
    first("Will Retain without a Will", '10 .. "MQTT" 04 22 0000 "a"', "MQTT-3.1.2-13"),
    first("a Password without User Name", '10 .. "MQTT" 04 42 0000 "a" "p"', "MQTT-3.1.2-22 of 3.1.1"),
]

FIELDS: Final[list[FirstBytes]] = [
    first("no name and Clean Session 0", '10 .. "MQTT" 04 00 0000 ""', "MQTT-3.1.3-8 of 3.1.1", IDENTIFIER_REJECTED_3),
    first("no name and Clean Session 0, 3.1", '10 .. "MQIsdp" 03 00 0000 ""', "3.1 section 3.1", IDENTIFIER_REJECTED_3),
    first(
        "a Client Identifier of 257 bytes",
        f'10 .. "MQTT" 04 02 0000 "{"x" * 257}"',
        "setting client_identifier_maximum",
        IDENTIFIER_REJECTED_3,
    ),
    first(
        "a Client Identifier of 60,000 bytes, 5.0",
        f'10 .. "MQTT" 05 02 0000 [] "{"x" * 60_000}"',
        "setting client_identifier_maximum, MQTT-3.1.3-8",
        "",
        IDENTIFIER,
    ),
    first("a Client Identifier with U+0000", '10 .. "MQTT" 04 02 0000 0001 00', "MQTT-1.5.4-2"),
    first(
        "a Client Identifier with a line feed", "10 .. \"MQTT\" 05 02 0000 [] 0002 'a' 0a", "1.5.4", reason=MALFORMED
    ),
    first("a Client Identifier with ESC", "10 .. \"MQTT\" 05 02 0000 [] 0004 1b '[2J'", "1.5.4", reason=MALFORMED),
    first(
        "a surrogate in the Client Identifier", '10 .. "MQTT" 05 02 0000 [] 0003 eda080', "MQTT-1.5.4-1", "", MALFORMED
    ),
    first("an ill-formed User Name", '10 .. "MQTT" 05 82 0000 [] "a" 0001 ff', "MQTT-3.1.3-12", reason=MALFORMED),
    first("a User Name with CR LF", '10 .. "MQTT" 04 82 0000 "a" 0002 0d0a', "1.5.4: disallowed code points"),
    first("Will Topic #", '10 .. "MQTT" 05 06 0000 [] "a" [] "#" ""', "MQTT-4.7.0-1", reason=NAME),
    first("Will Topic of no character", '10 .. "MQTT" 04 06 0000 "a" "" ""', "MQTT-4.7.3-1"),
    first("Will Topic with U+0000", '10 .. "MQTT" 04 06 0000 "a" 0001 00 ""', "MQTT-3.1.3-11"),
    first("Will Topic $SYS", '10 .. "MQTT" 05 06 0000 [] "a" [] "$SYS/x" ""', "MQTT-4.7.2-1", reason=0x87),
    first("Will Topic $SYS, 3.1.1", '10 .. "MQTT" 04 06 0000 "a" "$SYS/x" ""', "3.1.1 table 3.1", NOT_AUTHORIZED_3),
    first(
        "Will Topic of 4,097 bytes",
        f'10 .. "MQTT" 05 06 0000 [] "a" [] "{"w" * 4097}" ""',
        "setting topic_bytes",
        "",
        NAME,
    ),
    first("Receive Maximum 0", '10 .. "MQTT" 05 02 0000 [21 0000] "a"', "3.1.2.11.3", reason=PROTOCOL),
    first("Maximum Packet Size 0", '10 .. "MQTT" 05 02 0000 [27 00000000] "a"', "3.1.2.11.4", reason=PROTOCOL),
    first("Receive Maximum twice", '10 .. "MQTT" 05 02 0000 [21 0001 21 0001] "a"', "3.1.2.11.3", reason=PROTOCOL),
    first(
        "Session Expiry Interval twice",
        '10 .. "MQTT" 05 02 0000 [11 00000001 11 00000001] "a"',
        "3.1.2.11.2",
        "",
        PROTOCOL,
    ),
    first("Request Problem Information 2", '10 .. "MQTT" 05 02 0000 [17 02] "a"', "3.1.2.11.7", reason=PROTOCOL),
    first("Request Response Information 255", '10 .. "MQTT" 05 02 0000 [19 ff] "a"', "3.1.2.11.6", reason=PROTOCOL),
    first("Topic Alias in a CONNECT", '10 .. "MQTT" 05 02 0000 [23 0001] "a"', "2.2.2.2", reason=MALFORMED),
    first("Server Keep Alive in a CONNECT", '10 .. "MQTT" 05 02 0000 [13 0001] "a"', "2.2.2.2", reason=MALFORMED),
    first("unknown property in a CONNECT", '10 .. "MQTT" 05 02 0000 [ff 01] "a"', "2.2.2.2", reason=MALFORMED),
    first(
        "Will Delay Interval outside a Will", '10 .. "MQTT" 05 02 0000 [18 00000001] "a"', "2.2.2.2", reason=MALFORMED
    ),
    first("Topic Alias in a Will", '10 .. "MQTT" 05 06 0000 [] "a" [23 0001] "w" ""', "2.2.2.2", reason=MALFORMED),
    first("Property Length past the end", '10 .. "MQTT" 05 02 0000 7f "a"', "2.2.2.1", reason=MALFORMED),
    first(
        "65 User Properties",
        '10 .. "MQTT" 05 02 0000 [' + '26 "k" "v"' * 65 + '] "a"',
        "setting user_properties",
        "",
        0x97,
    ),
    first(
        "10,000 User Properties",
        '10 .. "MQTT" 05 02 0000 [' + '26 "" ""' * 10_000 + '] "a"',
        "setting properties_bytes",
        "",
        0x95,
    ),
    first("Authentication Data alone", '10 .. "MQTT" 05 02 0000 [16 0001 00] "a"', "3.1.2.11.10", reason=PROTOCOL),
    first(STRANGE, '10 .. "MQTT" 05 02 0000 [15 "x"] "a"', "4.12: 0x8C", reason=0x8C),
]

TABLE: Final = [*NO_CONNECT, *SIZES, *VERSIONS_AND_FLAGS, *FIELDS]
