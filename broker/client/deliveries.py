"""The receiving half of the QoS exchanges (sections 4.3, 4.4 and 4.6), across Network Connections.

The law of this file: **a message is acknowledged when the application is through with it**, which is when it asks its
iterator for the next one or leaves it. So the Server's send quota, our Receive Maximum, bounds what waits in memory,
and a message that nobody was through with when the program died is sent again.

    QoS 1    PUBLISH  (held) ... PUBACK
    QoS 2    PUBLISH  (held) ... PUBREC  PUBREL  PUBCOMP

Acknowledgements leave in the order in which the messages came [MQTT-4.6.0-2] [MQTT-4.6.0-3]: one that is ready early
waits for those before it.

A repeat is never handed out twice while its exchange is open: not at QoS 2 [MQTT-4.3.3-10], and not at QoS 1 either,
where the standard would allow it.
"""

from __future__ import annotations

from collections import deque

from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import Puback, Pubcomp, Publish, Pubrec, Pubrel


class Delivery:
    """One message received at QoS 1 or 2. `holders` counts the iterators that are not through with it."""

    __slots__ = ("current", "holders", "packet_identifier", "qos")

    def __init__(self, packet_identifier: int, qos: int) -> None:
        self.packet_identifier = packet_identifier
        self.qos = qos
        self.holders = 0
        self.current = True  # received, or received again, on the present Network Connection


class Deliveries:
    """All deliveries of a Session whose exchange is open.

    `receive_maximum` is what we announced; 0 before 5.0, which has no such thing.
    """

    def __init__(self, receive_maximum: int = 0) -> None:
        self._receive_maximum = receive_maximum
        self._held: dict[int, Delivery] = {}  # received, PUBACK or PUBREC not sent
        self._recorded: set[int] = set()  # PUBREC sent, PUBREL not received
        self._order: deque[Delivery] = deque()  # to be acknowledged on this Network Connection, first come first
        self._window: set[int] = set()  # counted against our Receive Maximum

    def connected(self, resumed: bool) -> None:
        """A Network Connection is there. What was held keeps waiting for its repeat, or for nothing any more."""
        self._order.clear()
        self._window.clear()
        if not resumed:
            self._held.clear()
            self._recorded.clear()
        for delivery in self._held.values():
            delivery.current = False

    def publish(self, packet: Publish) -> Delivery | None:
        """A QoS 1 or 2 message came. The Delivery to hand out, or None where it was handed out before."""
        packet_identifier = packet.packet_identifier
        self._window.add(packet_identifier)
        if 0 < self._receive_maximum < len(self._window):
            raise ProtocolError(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, f"more than {self._receive_maximum} messages")
        if packet.qos == 2 and packet_identifier in self._recorded:
            self._order.append(Delivery(packet_identifier, 2))  # answer again with PUBREC, no more
            return None
        known = self._held.get(packet_identifier)
        if known is not None and known.qos == packet.qos and (packet.dup or packet.qos == 2):
            if not known.current:
                known.current = True
                self._order.append(known)
            return None
        delivery = Delivery(packet_identifier, packet.qos)
        self._held[packet_identifier] = delivery
        self._order.append(delivery)
        return delivery

    def due(self) -> list[Puback | Pubrec]:
        """The acknowledgements that may leave now."""
        packets: list[Puback | Pubrec] = []
        order = self._order
        while order and not order[0].holders:
            delivery = order.popleft()
            packet_identifier = delivery.packet_identifier
            if self._held.get(packet_identifier) is delivery:
                del self._held[packet_identifier]
            if delivery.qos == 1:
                self._window.discard(packet_identifier)
                packets.append(Puback(packet_identifier))  # [MQTT-4.3.2-4]
            else:
                self._recorded.add(packet_identifier)
                packets.append(Pubrec(packet_identifier))  # [MQTT-4.3.3-8]
        return packets

    def pubrel(self, packet: Pubrel) -> Pubcomp:
        """The PUBCOMP that answers it [MQTT-4.3.3-11]."""
        packet_identifier = packet.packet_identifier
        self._window.discard(packet_identifier)
        if packet_identifier in self._recorded:
            self._recorded.discard(packet_identifier)
            return Pubcomp(packet_identifier)
        return Pubcomp(packet_identifier, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)
