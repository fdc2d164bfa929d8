"""CONNECT and CONNACK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5_0,
    Auth,
    Connack,
    Connect,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from tests.scripted import properties
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door
    from tests.scripted import Peer


async def refused(peer: Peer, *reasons: ReasonCode) -> None:
    """The CONNECT is answered by a CONNACK with one of `reasons` (to 5.0 alone), if at all, and by the end."""
    packet = await peer.next()
    if packet is not None:
        assert peer.version == MQTT_5_0
        assert isinstance(packet, Connack)
        assert packet.reason in reasons
        assert not packet.session_present
        await peer.closed()


@statement("MQTT5-3.1.4-5", "MQTT5-3.2.0-1", "MQTT5-3.2.2-2", "MQTT5-3.1.2-6")
@statement("MQTT311-3.1.4-4", "MQTT311-3.2.0-1", "MQTT311-3.2.2-1")
async def test_a_client_is_welcome(door: Door, version: int) -> None:
    peer = await door.peer(version)
    connack = await peer.connect("c")
    assert connack.reason == ReasonCode.SUCCESS
    assert connack.session_present is False
    await peer.quiet()


async def test_mqtt_3_1_is_spoken(door: Door) -> None:
    peer = await door.connect("c", MQTT_3_1)
    assert await peer.subscribe("a", qos=2) == [2]
    assert await peer.unsubscribe("a") == []
    await peer.leave()


async def test_connack_announces_what_the_server_does(door: Door) -> None:
    door.settings.update(receive_maximum=7, maximum_packet_size=70_000, topic_alias_maximum=5)
    peer = await door.peer()
    told = (await peer.connect("c", keep_alive=30)).properties
    assert (told.receive_maximum, told.maximum_packet_size, told.topic_alias_maximum) == (7, 70_000, 5)
    assert told.maximum_qos is None, "2 is what its absence means, and no value to send"
    assert told.retain_available in (None, 1)
    assert told.wildcard_subscription_available in (None, 1)
    assert told.subscription_identifier_available in (None, 1)
    assert told.shared_subscription_available in (None, 1)
    assert told.assigned_client_identifier is None
    assert told.server_keep_alive is None


@statement("MQTT5-3.1.0-1", "MQTT5-3.14.0-1", "MQTT311-3.1.0-1")
@pytest.mark.parametrize("packet", [Pingreq(), Publish("a", b"x"), Subscribe(1, [SubscriptionRequest("a")])])
async def test_the_first_packet_must_be_connect(
    door: Door, version: int, packet: Pingreq | Publish | Subscribe
) -> None:
    peer = await door.peer(version)
    await peer.send(packet)
    await peer.closed()


@statement("MQTT5-3.1.0-2", "MQTT5-3.2.0-2", "MQTT311-3.1.0-2")
async def test_a_second_connect_ends_the_connection(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(Connect("c", version))
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.1.2-1", "MQTT311-3.1.4-1")
async def test_another_protocol_name_is_refused(door: Door, version: int) -> None:
    peer = await door.peer(version)
    await peer.send(encode(Connect("c", version), version).replace(b"MQTT", b"MQTX"))
    await refused(peer, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.1.2-2", "MQTT311-3.1.2-2", "MQTT5-3.2.2-7", "MQTT311-3.2.2-5")
@pytest.mark.parametrize("level", [0, 2, 6, 255])
async def test_another_protocol_level_is_refused(door: Door, level: int) -> None:
    peer = await door.peer(MQTT_3_1_1)
    data = bytearray(encode(Connect("c", MQTT_3_1_1), MQTT_3_1_1))
    data[8] = level
    await peer.send(bytes(data))
    answer = await peer.stream.receive_some(100)
    assert answer[:1] == b"\x20"
    assert answer[2:4] in (b"\x00\x01", b"\x00\x84")
    assert await peer.stream.receive_some(100) == b""


@statement("MQTT5-3.1.2-2", "MQTT311-3.1.2-2")
async def test_a_version_switched_off_is_refused(door: Door) -> None:
    door.settings["versions"] = [5]
    peer = await door.peer(MQTT_3_1_1)
    await peer.connect("c", reason=ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
    await peer.closed()
    await door.connect("c", MQTT_5_0)


@statement("MQTT5-3.1.2-3", "MQTT5-3.1.4-1", "MQTT311-3.1.2-3", "MQTT311-3.1.4-1")
async def test_the_reserved_connect_flag_must_be_zero(door: Door, version: int) -> None:
    peer = await door.peer(version)
    data = bytearray(encode(Connect("c", version), version))
    data[9] |= 0x01
    await peer.send(bytes(data))
    await refused(peer, ReasonCode.MALFORMED_PACKET, ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.1.3-6", "MQTT5-3.1.3-7", "MQTT5-3.2.2-16")
async def test_a_client_identifier_is_assigned_and_may_be_used_again(door: Door) -> None:
    first, second = await door.peer(), await door.peer()
    lasting = properties(session_expiry_interval=60)
    one = (await first.connect("", properties=lasting)).properties.assigned_client_identifier
    two = (await second.connect("", properties=lasting)).properties.assigned_client_identifier
    assert one
    assert two
    assert one != two
    assert one.startswith("auto-")
    await first.subscribe("a")
    await first.lose()
    await door.connect(one, clean_start=False, session_present=True)


@statement("MQTT311-3.1.3-6")
async def test_a_3_1_1_client_without_identifier_is_served(door: Door) -> None:
    first = await door.connect("", MQTT_3_1_1)
    second = await door.connect("", MQTT_3_1_1)
    await first.quiet()
    await second.quiet()


@statement("MQTT311-3.1.3-8", "MQTT311-3.2.2-4", "MQTT311-3.2.2-5")
async def test_a_3_1_1_client_without_identifier_cannot_keep_a_session(door: Door) -> None:
    peer = await door.peer(MQTT_3_1_1)
    await peer.connect("", clean_start=False, reason=ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)
    await peer.closed()


@statement("MQTT5-3.1.3-8", "MQTT5-3.2.2-6", "MQTT5-3.2.2-7", "MQTT311-3.1.3-9")
async def test_clients_without_identifier_can_be_refused(door: Door, version: int) -> None:
    door.settings["zero_length_client_identifiers"] = False
    peer = await door.peer(version)
    connack = await peer.connect("", reason=ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)
    assert connack.session_present is False
    await peer.closed()


@statement("MQTT5-3.1.3-5", "MQTT5-3.1.3-2", "MQTT311-3.1.3-5", "MQTT311-3.1.3-2")
async def test_identifiers_of_letters_and_digits_name_a_session_each(door: Door, version: int) -> None:
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for name in ("A", "a", alphabet[:23], alphabet):
        peer = await door.durable(name, version, session_present=False)
        await peer.leave()
    await door.durable("a", version, session_present=True)


@statement("MQTT5-3.1.4-6", "MQTT311-3.1.4-5")
async def test_nothing_is_done_for_a_client_that_was_refused(door: Door, version: int) -> None:
    door.settings["zero_length_client_identifiers"] = False
    watcher = await door.connect("watcher", version)
    await watcher.subscribe("#")
    peer = await door.peer(version)
    await peer.send(Connect("", version), Publish("a", b"x"), Pingreq())
    assert (await peer.expect(Connack)).reason == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    await peer.closed()
    await watcher.quiet()


async def test_a_client_need_not_wait_for_connack(door: Door, version: int) -> None:
    peer = await door.peer(version)
    await peer.send(
        Connect("c", version, keep_alive=30), Subscribe(1, [SubscriptionRequest("a")]), Publish("a", b"x"), Pingreq()
    )
    await peer.expect(Connack)
    await peer.expect(Suback)
    assert (await peer.expect(Publish)).payload == b"x"
    await peer.expect(Pingresp)


@statement("MQTT5-4.12.0-1")
async def test_an_authentication_method_unknown_is_refused(door: Door) -> None:
    peer = await door.peer()
    await peer.connect(
        "c", properties=properties(authentication_method="magic"), reason=ReasonCode.BAD_AUTHENTICATION_METHOD
    )
    await peer.closed()


@statement("MQTT5-4.12.0-6", "MQTT5-4.12.0-7")
async def test_auth_without_a_method_is_a_protocol_error(door: Door) -> None:
    peer = await door.peer()
    connack = await peer.connect("c")
    assert connack.properties.authentication_method is None
    await peer.send(Auth(ReasonCode.RE_AUTHENTICATE, properties(authentication_method="magic")))
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)
