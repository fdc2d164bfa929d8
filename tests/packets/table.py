"""The table of bytes: whole packets as they stand on the wire, and what they mean.

Decoder, encoder and fuzzers all read it. The notation of `octets`: hex digits are themselves, `'text'` is that text,
`"text"` is a UTF-8 Encoded String of it (two bytes of length before), `[...]` has its length before it as a Variable
Byte Integer (the Property Length), and `..` is the Remaining Length of all that follows.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
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

TOKEN = re.compile(r"""\s*(?:(?P<hex>(?:[0-9a-f]{2})+)|'(?P<text>[^']*)'|"(?P<string>[^"]*)"|(?P<mark>\.\.|\[|\]))""")


def octets(notation: str) -> bytes:
    """The bytes that `notation` means; see the head of this module."""
    pieces = [b""]
    counted = False
    at = 0
    notation = notation.strip()
    while at < len(notation):
        token = TOKEN.match(notation, at)
        if token is None:
            raise ValueError(f"not understood: {notation[at:]!r}")
        at = token.end()
        if token["hex"]:
            pieces[-1] += bytes.fromhex(token["hex"])
        elif token["text"] is not None:
            pieces[-1] += token["text"].encode()
        elif token["string"] is not None:
            text = token["string"].encode()
            pieces[-1] += bytes((len(text) // 256, len(text) % 256)) + text
        elif token["mark"] == "]":
            inner = pieces.pop()
            pieces[-1] += variable(len(inner)) + inner
        else:
            counted = counted or token["mark"] == ".."
            pieces.append(b"")
    if counted:
        body = pieces.pop()
        pieces[-1] += variable(len(body)) + body
    (encoded,) = pieces
    return encoded


def variable(value: int) -> bytes:
    """The standard's own algorithm (section 1.5.5), apart from ours."""
    encoded = b""
    while True:
        value, digit = divmod(value, 128)
        encoded += bytes((digit + 128 if value else digit,))
        if not value:
            return encoded


class Case(NamedTuple):
    """`version` is the decoder's: 0 where a Server awaits the CONNECT. `exact`: the encoder writes these very bytes."""

    name: str
    version: int
    server: bool
    data: bytes
    packet: ControlPacket
    exact: bool = True

    @property
    def spoken(self) -> int:
        """The version to encode for."""
        return self.packet.version if isinstance(self.packet, Connect) else self.version


def decoder(version: int, server: bool = True) -> Decoder:
    return Decoder(DecoderLimits(), version, server)


def fields(packet: object) -> object:
    """All that a packet says, to compare by; not how a Publish was received."""
    if isinstance(packet, list | tuple):
        return [fields(item) for item in packet]
    if type(packet).__module__ != Publish.__module__:
        return packet
    names = [name for name in dir(packet) if not name.startswith("_")]
    if isinstance(packet, Publish):
        names = [name for name in names if name not in ("packet", "payload_start", "version")]
    return type(packet).__name__, {name: fields(getattr(packet, name)) for name in names}


def properties(**given: object) -> Properties:
    made = Properties()
    for name, value in given.items():
        setattr(made, name, value)
    return made


def client(name: str, version: int, notation: str, packet: ControlPacket, exact: bool = True) -> Case:
    """What a Client sends."""
    awaited = 0 if isinstance(packet, Connect) else version
    return Case(f"{name}, {version}", awaited, True, octets(notation), packet, exact)


def server(name: str, version: int, notation: str, packet: ControlPacket, exact: bool = True) -> Case:
    """What a Server sends."""
    return Case(f"{name} from Server, {version}", version, False, octets(notation), packet, exact)


KV = [("k", "v")]
FORWARDED = '01 01 03 "x" 08 "t" 09 0002 \'cd\' 26 "k" "v"'
ACKS = (("40", Puback), ("50", Pubrec), ("62", Pubrel), ("70", Pubcomp))

CONNECT_CASES = [
    client("CONNECT", 3, '10 .. "MQIsdp" 03 02 003c "dev"', Connect("dev", 3)),
    client(
        *("CONNECT in full", 3, '10 .. "MQIsdp" 03 ee 000a "dev" "gone" "bye" "ann" "pw"'),
        Connect("dev", 3, True, 10, "ann", b"pw", Will("gone", b"bye", 1, True)),
    ),
    client("CONNECT flags without fields", 3, '10 .. "MQIsdp" 03 c2 003c "dev"', Connect("dev", 3), exact=False),
    client("CONNECT unused flag", 3, '10 .. "MQIsdp" 03 03 003c "dev"', Connect("dev", 3), exact=False),
    client("CONNECT", 4, '10 .. "MQTT" 04 02 003c "dev"', Connect("dev", 4)),
    client("CONNECT no identifier", 4, '10 .. "MQTT" 04 00 0000 ""', Connect("", 4, False, 0)),
    client("CONNECT user name", 4, '10 .. "MQTT" 04 80 ffff "dev" "ann"', Connect("dev", 4, False, 65535, "ann")),
    client(
        *("CONNECT in full", 4, '10 .. "MQTT" 04 f6 000a "dev" "gone" "" "ann" ""'),
        Connect("dev", 4, True, 10, "ann", b"", Will("gone", b"", 2, True)),
    ),
    client("CONNECT", 5, '10 .. "MQTT" 05 02 003c [] "dev"', Connect("dev")),
    client("CONNECT password", 5, '10 .. "MQTT" 05 42 003c [] "dev" "pw"', Connect("dev", password=b"pw")),
    client(
        *("CONNECT all properties", 5),
        '10 .. "MQTT" 05 00 003c [11 ffffffff 15 "m" 16 0001 00 17 00 19 01 21 0001 22 ffff 26 "k" "v" 26 "k" "v" '
        '27 00000001] "dev"',
        Connect(
            *("dev", 5, False),
            properties=properties(
                session_expiry_interval=0xFFFFFFFF,
                authentication_method="m",
                authentication_data=b"\0",
                request_problem_information=0,
                request_response_information=1,
                receive_maximum=1,
                topic_alias_maximum=65535,
                user_properties=KV * 2,
                maximum_packet_size=1,
            ),
        ),
    ),
    client(
        *("CONNECT Will Properties", 5),
        f'10 .. "MQTT" 05 36 003c [] "dev" [{FORWARDED} 18 00000005 02 00000000] "gone" "bye"',
        Connect("dev", will=Will("gone", b"bye", 2, True, 5, 0, octets(FORWARDED))),
    ),
]

CONNACK_CASES = [
    server("CONNACK", 3, "20 02 00 00", Connack(ReasonCode.SUCCESS)),
    server("CONNACK byte 1 unused", 3, "20 02 ff 00", Connack(ReasonCode.SUCCESS), exact=False),
    server("CONNACK", 4, "20 02 00 00", Connack(ReasonCode.SUCCESS)),
    server("CONNACK Session Present", 4, "20 02 01 00", Connack(ReasonCode.SUCCESS, True)),
    *(
        server(f"CONNACK {code}", version, f"20 02 00 {code:02x}", Connack(reason))
        for code, reason in enumerate(
            (
                ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
                ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
                ReasonCode.SERVER_UNAVAILABLE,
                ReasonCode.BAD_USER_NAME_OR_PASSWORD,
                ReasonCode.NOT_AUTHORIZED,
            ),
            start=1,
        )
        for version in (3, 4)
    ),
    server("CONNACK", 5, "20 .. 00 00 []", Connack(ReasonCode.SUCCESS)),
    server("CONNACK refusal", 5, "20 .. 00 86 []", Connack(ReasonCode.BAD_USER_NAME_OR_PASSWORD)),
    server(
        *("CONNACK from 3.1.1", 5, "20 02 00 01", Connack(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)),
        exact=False,
    ),
    server(
        *("CONNACK all properties", 5),
        '20 .. 01 00 [11 00000000 12 "id" 13 0000 15 "m" 16 0000 1a "i" 1c "s" 1f "r" 21 ffff 22 0000 24 01 25 00 '
        '26 "k" "v" 27 ffffffff 28 00 29 01 2a 00]',
        Connack(
            *(ReasonCode.SUCCESS, True),
            properties(
                session_expiry_interval=0,
                assigned_client_identifier="id",
                server_keep_alive=0,
                authentication_method="m",
                authentication_data=b"",
                response_information="i",
                server_reference="s",
                reason_string="r",
                receive_maximum=65535,
                topic_alias_maximum=0,
                maximum_qos=1,
                retain_available=0,
                user_properties=KV,
                maximum_packet_size=0xFFFFFFFF,
                wildcard_subscription_available=0,
                subscription_identifier_available=1,
                shared_subscription_available=0,
            ),
        ),
    ),
]

PUBLISH_CASES = [
    client("PUBLISH", 3, "30 .. \"a/b\" 'hi'", Publish("a/b", b"hi")),
    client("PUBLISH", 4, "30 .. \"a/b\" 'hi'", Publish("a/b", b"hi")),
    client("PUBLISH no payload, RETAIN", 4, '31 .. "/"', Publish("/", b"", retain=True)),
    client("PUBLISH QoS 1", 4, '32 .. "a" 0001 00', Publish("a", b"\0", qos=1, packet_identifier=1)),
    client(
        *("PUBLISH QoS 2, DUP, RETAIN", 4, '3d .. "a" ffff'),
        Publish("a", b"", qos=2, dup=True, retain=True, packet_identifier=0xFFFF),
    ),
    client("PUBLISH 200 bytes", 4, f"30 .. \"a\" '{'x' * 200}'", Publish("a", b"x" * 200)),
    client("PUBLISH 20,000 bytes", 4, f"30 .. \"a\" '{'x' * 20000}'", Publish("a", b"x" * 20000)),
    client("PUBLISH U+FEFF", 4, "30 .. \"\ufeffa\ufeff\" 'hi'", Publish("\ufeffa\ufeff", b"hi")),
    client("PUBLISH long characters", 4, '30 .. "\U0001f525 é"', Publish("\U0001f525 é", b"")),
    client("PUBLISH", 5, "30 .. \"a/b\" [] 'hi'", Publish("a/b", b"hi")),
    client("PUBLISH QoS 1", 5, '3a .. "a" 0100 []', Publish("a", b"", qos=1, dup=True, packet_identifier=256)),
    client("PUBLISH Topic Alias", 5, "30 .. \"\" [23 ffff] 'hi'", Publish("", b"hi", topic_alias=0xFFFF)),
    client(
        *("PUBLISH all properties", 5),
        '3d .. "a" 0009 [01 00 03 "é" 08 "r" 09 0000 26 "" "" 26 "k" "v" 02 ffffffff 23 0001] \'hi\'',
        Publish(
            *("a", b"hi"),
            qos=2,
            retain=True,
            dup=True,
            packet_identifier=9,
            forwarded=octets('01 00 03 "é" 08 "r" 09 0000 26 "" "" 26 "k" "v"'),
            message_expiry_interval=0xFFFFFFFF,
            topic_alias=1,
        ),
    ),
    client("PUBLISH expiry 0", 5, '30 .. "a" [02 00000000]', Publish("a", b"", message_expiry_interval=0)),
    client(
        *("PUBLISH mingled properties", 5, '30 .. "a" [26 "k" "v" 02 00000007 01 01 23 0001] \'hi\''),
        Publish("a", b"hi", forwarded=octets('26 "k" "v" 01 01'), message_expiry_interval=7, topic_alias=1),
        exact=False,
    ),
    server(
        *("PUBLISH Subscription Identifiers", 5, "30 .. \"a\" [0b 01 0b ffffff7f 0b 01] 'hi'"),
        Publish("a", b"hi", subscription_identifiers=(1, 268_435_455, 1)),
    ),
]

ACKNOWLEDGEMENT_CASES = [
    *(
        Case(f"{kind.__name__}, {version}, {server}", version, server, octets(f"{first} 02 00 ff"), kind(255))
        for first, kind in ACKS
        for version in (3, 4, 5)
        for server in (True, False)
    ),
    client("PUBREL sent again", 3, "6a 02 0001", Pubrel(1), exact=False),
    client("PUBACK reason", 5, "40 .. 0001 10", Puback(1, 0x10)),
    client("PUBACK no properties", 5, "40 .. 0001 97 []", Puback(1, 0x97), exact=False),
    client("PUBACK Success at length", 5, "40 .. 0001 00 []", Puback(1), exact=False),
    client("PUBREC reason", 5, "50 .. 0001 83", Pubrec(1, 0x83)),
    client("PUBREL reason", 5, "62 .. 0001 92", Pubrel(1, 0x92)),
    client("PUBCOMP reason", 5, "70 .. 0001 92", Pubcomp(1, 0x92)),
    *(
        server(
            *(f"{kind.__name__} properties", 5, f'{first} .. 0001 00 [1f "r" 26 "k" "v"]'),
            kind(1, 0, properties(reason_string="r", user_properties=KV)),
        )
        for first, kind in ACKS
    ),
]

SUBSCRIPTION_CASES = [
    client("SUBSCRIBE", 3, '82 .. 0001 "a" 01', Subscribe(1, [SubscriptionRequest("a", 1)])),
    client("SUBSCRIBE again", 3, '8a .. 0001 "a" 01', Subscribe(1, [SubscriptionRequest("a", 1)]), exact=False),
    client(
        *("SUBSCRIBE three", 4, '82 .. ffff "a" 00 "+/#" 01 "#" 02'),
        Subscribe(0xFFFF, [SubscriptionRequest("a"), SubscriptionRequest("+/#", 1), SubscriptionRequest("#", 2)]),
    ),
    client("SUBSCRIBE", 5, '82 .. 0001 [] "a" 00', Subscribe(1, [SubscriptionRequest("a")])),
    client(
        *("SUBSCRIBE options and properties", 5),
        '82 .. 0001 [0b 8001 26 "k" "v"] "a" 2e "$share/g//+" 19',
        Subscribe(
            1,
            [SubscriptionRequest("a", 2, True, True, 2), SubscriptionRequest("$share/g//+", 1, False, True, 1)],
            properties(subscription_identifiers=[128], user_properties=KV),
        ),
    ),
    server("SUBACK", 3, "90 .. 0001 02", Suback(1, [2])),
    server("SUBACK", 4, "90 .. 0001 00 01 02 80", Suback(1, [0, 1, 2, 0x80])),
    server("SUBACK", 5, "90 .. 0001 [] 00 01 02 80 a2", Suback(1, [0, 1, 2, 0x80, 0xA2])),
    server(
        *("SUBACK properties", 5, '90 .. 0001 [1f "r" 26 "k" "v"] 97'),
        Suback(1, [0x97], properties(reason_string="r", user_properties=KV)),
    ),
    client("UNSUBSCRIBE", 3, 'a2 .. 0001 "a"', Unsubscribe(1, ["a"])),
    client("UNSUBSCRIBE again", 3, 'aa .. 0001 "a"', Unsubscribe(1, ["a"]), exact=False),
    client("UNSUBSCRIBE", 4, 'a2 .. 0001 "a" "#"', Unsubscribe(1, ["a", "#"])),
    client(
        *("UNSUBSCRIBE", 5, 'a2 .. 0001 [26 "k" "v"] "$share/g/a"'),
        Unsubscribe(1, ["$share/g/a"], properties(user_properties=KV)),
    ),
    server("UNSUBACK", 3, "b0 02 0001", Unsuback(1, [])),
    server("UNSUBACK", 4, "b0 02 ffff", Unsuback(0xFFFF, [])),
    server(
        *("UNSUBACK", 5, 'b0 .. 0001 [1f "r"] 00 11 8f'),
        Unsuback(1, [0, 0x11, 0x8F], properties(reason_string="r")),
    ),
]

OTHER_CASES = [
    *(client("PINGREQ", version, "c0 00", Pingreq()) for version in (3, 4, 5)),
    *(server("PINGRESP", version, "d0 00", Pingresp()) for version in (3, 4, 5)),
    client("DISCONNECT", 3, "e0 00", Disconnect()),
    client("DISCONNECT", 4, "e0 00", Disconnect()),
    client("DISCONNECT", 5, "e0 00", Disconnect()),
    client("DISCONNECT reason only", 5, "e0 01 04", Disconnect(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE), exact=False),
    client("DISCONNECT Success at length", 5, "e0 .. 00 []", Disconnect(), exact=False),
    client(
        *("DISCONNECT properties", 5, 'e0 .. 04 [11 00000001 1f "r" 26 "k" "v"]'),
        Disconnect(
            ReasonCode.DISCONNECT_WITH_WILL_MESSAGE,
            properties(session_expiry_interval=1, reason_string="r", user_properties=KV),
        ),
    ),
    server(
        *("DISCONNECT", 5, 'e0 .. 9c [1c "other"]'),
        Disconnect(ReasonCode.USE_ANOTHER_SERVER, properties(server_reference="other")),
    ),
    server("AUTH", 5, "f0 00", Auth()),
    client(
        *("AUTH", 5, 'f0 .. 18 [15 "m" 16 0001 00 1f "r" 26 "k" "v"]'),
        Auth(
            ReasonCode.CONTINUE_AUTHENTICATION,
            properties(
                authentication_method="m",
                authentication_data=b"\0",
                reason_string="r",
                user_properties=KV,
            ),
        ),
    ),
    client(
        "AUTH again", 5, 'f0 .. 19 [15 "m"]', Auth(ReasonCode.RE_AUTHENTICATE, properties(authentication_method="m"))
    ),
]

CASES = [
    *CONNECT_CASES,
    *CONNACK_CASES,
    *PUBLISH_CASES,
    *ACKNOWLEDGEMENT_CASES,
    *SUBSCRIPTION_CASES,
    *OTHER_CASES,
]
