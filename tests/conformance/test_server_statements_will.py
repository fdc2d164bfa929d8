"""The Will Message (sections 3.1.2.5 and 3.1.3.2), statement by statement, against the core broker."""

from __future__ import annotations

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Connack,
    Publish,
    Will,
)
from tests.conformance.scripts import VERSIONS, connect, none
from tests.pair import Pair, raw, string
from tests.statements import statement


@statement("MQTT5-3.1.2-7", "MQTT5-3.1.2-8", "MQTT311-3.1.2-8", "MQTT5-3.1.2-10", "MQTT311-3.1.2-10")
@VERSIONS
def test_a_will_is_published_once_when_the_network_fails(version: int) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("will", qos=2)
    client = pair.connected("c", version, will=Will("will", b"gone", 1))
    watcher.nothing()
    client.drop()
    will = watcher.accept()
    assert (will.topic, will.payload, will.qos) == ("will", b"gone", 1)
    pair.connected("c", version, clean_start=False).drop()  # this one has no Will
    pair.advance(100)
    watcher.nothing()


@statement("MQTT5-3.1.2-8", "MQTT311-3.1.2-8")
@VERSIONS
def test_a_will_is_published_when_the_client_breaks_the_protocol(version: int) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("will")
    client = pair.connected("c", version, will=Will("will", b"gone"))
    client.send(b"\x00\x00")
    client.ends(ReasonCode.MALFORMED_PACKET)
    assert watcher.receive(Publish).payload == b"gone"


@statement("MQTT5-3.1.2-8", "MQTT5-3.1.2-10", "MQTT311-3.1.2-10", "MQTT5-3.14.4-3", "MQTT311-3.14.4-3")
@VERSIONS
def test_disconnect_discards_the_will(version: int) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("will")
    client = pair.connected("c", version, will=Will("will", b"gone"))
    client.send(bytes.fromhex("e0 00"))
    assert client.closed
    assert client.next() is None
    pair.advance(100)
    watcher.nothing()


@statement("MQTT5-3.1.2-8", "MQTT5-3.14.4-3")
@pytest.mark.parametrize("reason", [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99])
def test_disconnect_with_another_reason_leaves_the_will(reason: int) -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    pair.connected("c", will=Will("will", b"gone")).send(raw(0xE0, bytes([reason])))
    assert watcher.receive(Publish).payload == b"gone"


@statement("MQTT311-3.1.2-12")
@VERSIONS
def test_without_will_flag_nothing_is_published(version: int) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("#")
    pair.connected("c", version).drop()
    pair.advance(100)
    watcher.nothing()


@statement("MQTT5-3.1.2-8", "MQTT5-3.1.2-7")
def test_a_will_waits_for_its_delay() -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    client = pair.connected("c", will=Will("will", b"gone", delay_interval=10), session_expiry_interval=100)
    client.drop()
    pair.advance(9.9)
    watcher.nothing()
    pair.advance(0.2)
    assert watcher.receive(Publish).payload == b"gone"
    pair.advance(200)
    watcher.nothing()


@statement("MQTT5-3.1.2-8")
@pytest.mark.parametrize(("expiry", "after"), [(0, 0.0), (5, 5.0)])
def test_a_will_does_not_wait_longer_than_its_session(expiry: int, after: float) -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    client = pair.connected("c", will=Will("will", b"gone", delay_interval=10), session_expiry_interval=expiry)
    client.drop()
    if after:
        pair.advance(after - 0.1)
        watcher.nothing()
    pair.advance(0.2)
    assert watcher.receive(Publish).payload == b"gone"


@statement("MQTT5-3.1.3-9", "MQTT5-3.1.2-8")
def test_a_new_connection_within_the_delay_keeps_the_will_back() -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    pair.connected("c", will=Will("will", b"gone", delay_interval=10), session_expiry_interval=100).drop()
    pair.advance(9)
    pair.connected("c", clean_start=False, session_expiry_interval=100)
    pair.advance(50)
    watcher.nothing()


@statement("MQTT5-3.1.3-9", "MQTT5-3.1.2-8", "MQTT5-3.1.2-7")
def test_a_new_will_does_not_inherit_the_delay_of_an_old_one() -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    pair.connected("c", will=Will("will", b"old", delay_interval=10), session_expiry_interval=100).drop()
    pair.advance(5)
    new = Will("will", b"new", delay_interval=10)
    client = pair.connected("c", clean_start=False, will=new, session_expiry_interval=100)
    pair.advance(50)
    watcher.nothing()
    client.drop()
    pair.advance(9)
    watcher.nothing()
    pair.advance(2)
    assert watcher.receive(Publish).payload == b"new"


@statement("MQTT5-3.1.2-8", "MQTT5-3.1.2-4")
def test_a_clean_start_ends_the_session_and_its_will_is_due() -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    pair.connected("c", will=Will("will", b"gone", delay_interval=10), session_expiry_interval=100).drop()
    pair.advance(1)
    pair.connected("c", clean_start=True)
    assert watcher.receive(Publish).payload == b"gone"


@statement("MQTT5-3.1.2-9", "MQTT311-3.1.2-9", "MQTT5-3.1.4-1", "MQTT311-3.1.4-1")
@VERSIONS
def test_will_flag_without_will_fields(version: int) -> None:
    for payload in (
        [string("c")],
        [string("c"), none(version), string("t")],
        [string("c"), none(version), string("t"), b"\x00\x05ab"],
    ):
        client = Pair().client(version)
        client.send(connect(version, 0x06, *payload))
        client.refused(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.1.2-11", "MQTT311-3.1.2-11", "MQTT5-3.1.2-13", "MQTT311-3.1.2-13", "MQTT311-3.1.2-15")
@VERSIONS
@pytest.mark.parametrize("flags", [0x08, 0x10, 0x18, 0x20, 0x38])
def test_will_qos_and_will_retain_without_will_flag(version: int, flags: int) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2 | flags, string("c")))
    client.refused(ReasonCode.MALFORMED_PACKET)


@statement("MQTT311-3.1.2-11")
@VERSIONS
def test_will_fields_without_will_flag(version: int) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2, string("c"), none(version), string("will"), string("gone")))
    client.refused(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.1.2-12", "MQTT311-3.1.2-14")
@VERSIONS
def test_will_qos(version: int) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("will", qos=2)
    for qos in (0, 1, 2):
        client = pair.client(version)
        client.send(connect(version, 6 | qos << 3, string("c"), none(version), string("will"), string("gone")))
        assert client.receive(Connack).reason == ReasonCode.SUCCESS
        client.drop()
        assert watcher.accept().qos == qos
    client = pair.client(version)
    client.send(connect(version, 6 | 3 << 3, string("c"), none(version), string("will"), string("gone")))
    client.refused(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.1.2-14", "MQTT311-3.1.2-16", "MQTT5-3.1.2-15", "MQTT311-3.1.2-17")
@VERSIONS
@pytest.mark.parametrize("retain", [False, True])
def test_will_retain(version: int, retain: bool) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("will")
    pair.connected("c", version, will=Will("will", b"gone", 1, retain)).drop()
    assert not watcher.accept().retain
    late = pair.connected("late", version)
    late.subscribe("will", qos=1)
    if retain:
        message = late.receive(Publish)
        assert (message.payload, message.qos, message.retain) == (b"gone", 1, True)
    late.send(raw(0xC0))
    if not retain:
        late.receive_bytes(b"\xd0\x00")


@statement("MQTT5-3.1.3-10")
def test_user_properties_of_a_will_keep_their_order() -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    forwarded = b"".join(
        b"\x26" + string(key) + string(value)
        for key, value in [("b", "2"), ("a", "1"), ("b", "1"), ("a", "1"), ("", "")]
    )
    client = pair.client()
    client.send(connect(MQTT_5_0, 6, string("c"), bytes([len(forwarded)]), forwarded, string("will"), string("gone")))
    client.receive(Connack)
    client.drop()
    watcher.receive_bytes(raw(0x30, string("will"), bytes([len(forwarded)]), forwarded, b"gone"))


@statement("MQTT5-3.1.4-3")
def test_a_takeover_publishes_the_will_of_a_session_that_ends() -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("will")
    first = pair.connected("c", will=Will("will", b"gone"))
    pair.connected("c")
    first.ends(ReasonCode.SESSION_TAKEN_OVER)
    assert watcher.receive(Publish).payload == b"gone"
