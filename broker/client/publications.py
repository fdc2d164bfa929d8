"""The sending half of the QoS exchanges (sections 4.3, 4.4, 4.6 and 4.9), across Network Connections.

    QoS 1    PUBLISH -> ... PUBACK                      unacknowledged until PUBACK
    QoS 2    PUBLISH -> ... PUBREC  PUBREL -> ... PUBCOMP    unacknowledged until PUBREC, then released until PUBCOMP

A publication waits until the send quota has room, is sent, and is sent again only on the next Network Connection
[MQTT-4.4.0-1], in the order of the first time [MQTT-4.6.0-1]. Where the Server lost the Session meanwhile, what had no
answer is published anew; what had its PUBREC belongs to the Server and is done.

No input or output here: `Protocol` writes the packets that these methods give.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from broker.client.errors import PublishRefused, reason_code
from broker.client.requests import PacketIdentifiers, Request
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import NO_PROPERTIES, Properties, Puback, Pubcomp, Pubrec, Pubrel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.client.errors import ClientError

# Below 65,535, so that a SUBSCRIBE always finds a free Packet Identifier
QUOTA_MAXIMUM: Final = 65_000


class Publication(Request):
    """One message on its way to the Server; `reason` and `properties` are those of the answer once it is `done`.

    `head` and `tail` are the packet around its Packet Identifier, as `broker.packets.encode.publish_parts` cuts it.
    With a `topic_alias`, which is in `tail` too, `bare_head` is the head without the Topic Name.
    """

    __slots__ = (
        "bare_head",
        "counted",
        "dup",
        "head",
        "packet_identifier",
        "properties",
        "qos",
        "reason",
        "retain",
        "tail",
        "topic",
        "topic_alias",
    )

    def __init__(self, head: bytes, tail: bytes, qos: int, retain: bool) -> None:
        super().__init__()
        self.head = head
        self.topic = ""
        self.topic_alias = 0
        self.bare_head = b""
        self.tail = tail
        self.qos = qos
        self.retain = retain
        self.dup = False
        self.packet_identifier = 0
        self.counted = False  # against the send quota of the present Network Connection
        self.reason = ReasonCode.SUCCESS
        self.properties: Properties = NO_PROPERTIES

    @property
    def size(self) -> int:
        """Of the packet, in bytes."""
        return len(self.head) + len(self.tail) + (2 if self.qos else 0)

    def packet(self, bare: bool = False) -> bytes:
        """The PUBLISH as it is sent now; `bare` leaves the Topic Name to the Topic Alias."""
        head = self.bare_head if bare else self.head
        if not self.qos:
            return head + self.tail
        if self.dup:
            head = bytes((head[0] | 0x08,)) + head[1:]  # [MQTT-3.3.1-1]
        return head + self.packet_identifier.to_bytes(2, "big") + self.tail


class Publications:
    """All publications of a Session that are not done."""

    def __init__(self, identifiers: PacketIdentifiers) -> None:
        self._identifiers = identifiers
        self._waiting: deque[Publication] = deque()
        self._unacknowledged: dict[int, Publication] = {}
        self._released: dict[int, Publication] = {}
        self._quota = 0
        self._quota_maximum = 0

    def add(self, publication: Publication) -> None:
        self._waiting.append(publication)

    def put_back(self, publications: Sequence[Publication]) -> None:
        """They were given by `next` at QoS 0, but not sent."""
        self._waiting.extendleft(reversed(publications))

    # -- the Network Connection comes and goes

    def connected(self, resumed: bool, receive_maximum: int) -> list[Pubrel]:
        """A Network Connection is there; the PUBRELs to be sent again, in their order [MQTT-4.6.0-4].

        `resumed` says whether the Server still has the Session, `receive_maximum` how many it takes at a time.
        """
        self._quota_maximum = min(receive_maximum, QUOTA_MAXIMUM)
        self._quota = self._quota_maximum
        again = list(self._unacknowledged.values())
        fresh = [one for one in self._waiting if not one.packet_identifier and not one.done]
        released = list(self._released.values())
        for publication in again:
            publication.counted = False
            if resumed:
                publication.dup = True
            else:
                self._forget(publication)  # its state is the old Session's [MQTT-3.2.2-5]
        for publication in released:
            publication.counted = False
            if not resumed:
                self._settle(publication)
        self._waiting = deque([*again, *fresh])
        return [Pubrel(packet_identifier) for packet_identifier in self._released]

    def next(self) -> Publication | None:
        """The next one to be sent, its Packet Identifier set; None when nothing waits or the quota is used up."""
        while self._waiting:
            publication = self._waiting[0]
            if publication.done:
                self._waiting.popleft()
                continue
            if publication.qos:
                if not self._quota:  # [MQTT-3.3.4-7]
                    return None
                if not publication.packet_identifier:
                    publication.packet_identifier = self._identifiers.take()
                    self._unacknowledged[publication.packet_identifier] = publication
                self._quota -= 1
                publication.counted = True
            self._waiting.popleft()
            return publication
        return None

    def refuse(self, publication: Publication, error: PublishRefused) -> None:
        """It cannot be sent to this Server."""
        self._settle(publication, error)

    def cancel(self, publication: Publication) -> None:
        """Nobody waits any more: it is not sent if it was not before, and goes its way otherwise."""
        publication.settled = None
        if not publication.packet_identifier:
            publication.settle()

    def fail(self, error: ClientError) -> None:
        """There will be no Network Connection any more."""
        for publication in [*self._released.values(), *self._unacknowledged.values(), *self._waiting]:
            self._settle(publication, error)
        self._waiting.clear()

    # -- what the Server answers

    def puback(self, packet: Puback) -> None:
        publication = self._unacknowledged.get(packet.packet_identifier)
        if publication is not None:
            if publication.qos != 1:
                raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a PUBACK at QoS 2")
            self._answered(publication, packet)

    def pubrec(self, packet: Pubrec) -> Pubrel | None:
        """The PUBREL that answers it [MQTT-4.3.3-4]."""
        packet_identifier = packet.packet_identifier
        publication = self._unacknowledged.get(packet_identifier)
        if publication is None:
            known = packet_identifier in self._released
            return Pubrel(packet_identifier, 0 if known else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)
        if publication.qos != 2:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "a PUBREC at QoS 1")
        if packet.reason >= 0x80:
            self._answered(publication, packet)
            return None
        publication.reason = reason_code(packet.reason)
        publication.properties = packet.properties
        del self._unacknowledged[packet_identifier]
        self._released[packet_identifier] = publication
        return Pubrel(packet_identifier)

    def pubcomp(self, packet: Pubcomp) -> None:
        """Done, also with 0x92: what the Server no longer knows, it has published (section 4.3.3)."""
        publication = self._released.get(packet.packet_identifier)
        if publication is not None:
            self._settle(publication)

    def _answered(self, publication: Publication, packet: Puback | Pubrec) -> None:
        publication.reason = reason_code(packet.reason)
        publication.properties = packet.properties
        refusal = None
        if packet.reason >= 0x80:
            refusal = PublishRefused(publication.reason, packet.properties.reason_string or "")
        self._settle(publication, refusal)

    def _settle(self, publication: Publication, error: ClientError | None = None) -> None:
        self._forget(publication)
        if publication.counted:
            publication.counted = False
            self._quota = min(self._quota + 1, self._quota_maximum)
        publication.settle(error)

    def _forget(self, publication: Publication) -> None:
        """Its exchange is over, so its Packet Identifier is free (section 2.2.1)."""
        packet_identifier = publication.packet_identifier
        if packet_identifier:
            self._unacknowledged.pop(packet_identifier, None)
            self._released.pop(packet_identifier, None)
            self._identifiers.release(packet_identifier)
            publication.packet_identifier = 0
            publication.dup = False
