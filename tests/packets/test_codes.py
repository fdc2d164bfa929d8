"""Which Reason Codes each packet may carry, against table 2-6 read the other way round."""

from __future__ import annotations

from broker.packets.codes import REASONS_FROM_CLIENT, REASONS_FROM_SERVER
from broker.packets.reasons import ReasonCode
from broker.packets.types import AUTH, CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, UNSUBACK
from tests.statements import statement

# Table 2-6: for each code the packets that it may be in
TABLE_2_6 = {
    0x00: (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK, AUTH, DISCONNECT, SUBACK),
    0x01: (SUBACK,),
    0x02: (SUBACK,),
    0x04: (DISCONNECT,),
    0x10: (PUBACK, PUBREC),
    0x11: (UNSUBACK,),
    0x18: (AUTH,),
    0x19: (AUTH,),
    0x80: (CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT),
    0x81: (CONNACK, DISCONNECT),
    0x82: (CONNACK, DISCONNECT),
    0x83: (CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT),
    0x84: (CONNACK,),
    0x85: (CONNACK,),
    0x86: (CONNACK,),
    0x87: (CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT),
    0x88: (CONNACK,),
    0x89: (CONNACK, DISCONNECT),
    0x8A: (CONNACK,),
    0x8B: (DISCONNECT,),
    0x8C: (CONNACK,),  # the table adds DISCONNECT, sections 3.14.2.1 and 4.12 do not
    0x8D: (DISCONNECT,),
    0x8E: (DISCONNECT,),
    0x8F: (SUBACK, UNSUBACK, DISCONNECT),
    0x90: (CONNACK, PUBACK, PUBREC, DISCONNECT),
    0x91: (PUBACK, PUBREC, SUBACK, UNSUBACK),
    0x92: (PUBREL, PUBCOMP),
    0x93: (DISCONNECT,),
    0x94: (DISCONNECT,),
    0x95: (CONNACK, DISCONNECT),
    0x96: (DISCONNECT,),
    0x97: (CONNACK, PUBACK, PUBREC, SUBACK, DISCONNECT),
    0x98: (DISCONNECT,),
    0x99: (CONNACK, PUBACK, PUBREC, DISCONNECT),
    0x9A: (CONNACK, DISCONNECT),
    0x9B: (CONNACK, DISCONNECT),
    0x9C: (CONNACK, DISCONNECT),
    0x9D: (CONNACK, DISCONNECT),
    0x9E: (SUBACK, DISCONNECT),
    0x9F: (CONNACK, DISCONNECT),
    0xA0: (DISCONNECT,),
    0xA1: (SUBACK, DISCONNECT),
    0xA2: (SUBACK, DISCONNECT),
}


@statement(
    *("MQTT5-3.2.2-8", "MQTT5-3.4.2-1", "MQTT5-3.5.2-1", "MQTT5-3.6.2-1", "MQTT5-3.7.2-1"),
    *("MQTT5-3.9.3-2", "MQTT5-3.11.3-2", "MQTT5-3.14.2-1", "MQTT5-3.15.2-1"),
)
def test_table_2_6() -> None:
    for packet in (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH):
        expected = {code for code, packets in TABLE_2_6.items() if packet in packets}
        assert REASONS_FROM_CLIENT[packet] | REASONS_FROM_SERVER[packet] == expected, packet


def test_every_code_has_a_packet() -> None:
    assert set(TABLE_2_6) == set(ReasonCode)


def test_who_may_send_it() -> None:
    """Tables 3-10 and 3-11."""
    both = {0x00, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99}
    assert REASONS_FROM_CLIENT[DISCONNECT] & REASONS_FROM_SERVER[DISCONNECT] == both
    assert REASONS_FROM_CLIENT[DISCONNECT] - REASONS_FROM_SERVER[DISCONNECT] == {0x04}
    assert REASONS_FROM_CLIENT[AUTH] == {0x18, 0x19}
    assert REASONS_FROM_SERVER[AUTH] == {0x00, 0x18}
