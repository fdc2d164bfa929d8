"""The bounds as they ship."""

from __future__ import annotations

from broker.core.limits import DISCONNECT, DROP_NEWEST, DROP_OLDEST, LATEST, OVERFLOW_POLICIES, Limits, ServerLimits
from broker.packets.decode import DecoderLimits
from tests.core.parts import values_of


def test_every_policy_is_known_by_name() -> None:
    assert set(OVERFLOW_POLICIES) == {DROP_NEWEST, DROP_OLDEST, LATEST, DISCONNECT}
    assert Limits().overflow in OVERFLOW_POLICIES


def test_each_object_has_its_own_values() -> None:
    one, other = Limits(), Limits()
    one.receive_maximum = 7
    assert other.receive_maximum != 7
    assert values_of(ServerLimits()) == values_of(ServerLimits())


def test_the_defaults_can_be_announced() -> None:
    """What goes into a CONNACK stays within what its properties can hold (section 3.2.2.3)."""
    limits = Limits()
    assert limits.versions == (3, 4, 5)
    assert limits.maximum_qos in (0, 1, 2)
    assert 1 <= limits.receive_maximum <= 65535
    assert 1 <= limits.maximum_packet_size <= 0xFFFFFFFF
    assert 0 <= limits.topic_alias_maximum <= 65535
    assert 0 <= limits.server_keep_alive_maximum <= 65535
    assert 0 <= limits.session_expiry_maximum <= 0xFFFFFFFF
    assert 1 <= limits.max_inflight <= 65535


def test_bounds_that_depend_on_each_other() -> None:
    limits = Limits()
    assert limits.connect_packet_size <= limits.maximum_packet_size
    assert limits.outbox_soft_bytes <= limits.outbox_hard_bytes
    assert limits.outbox_hard_bytes <= ServerLimits().buffered_bytes
    assert limits.queue_bytes <= ServerLimits().buffered_bytes
    assert limits.keep_alive_grace == 1.5  # [MQTT-3.1.2-22]


def test_a_decoder_needs_nothing_that_limits_do_not_have() -> None:
    own_names = {"topic_names"}
    assert set(values_of(DecoderLimits())) - own_names <= set(values_of(Limits()))
