"""The QoS exchanges, both directions, as the standard draws them (section 4.3), and the Packet Identifiers in them.

    we send                        a Client sends

    QoS 1                          QoS 1
      start      PUBLISH ->          PUBLISH ->   routed
      puback     <- PUBACK           <- PUBACK

    QoS 2                          QoS 2
      start      PUBLISH ->          PUBLISH ->   received: identifier kept, routed once
      pubrec     <- PUBREC           <- PUBREC
                 PUBREL ->           PUBREL ->    identifier released
      pubcomp    <- PUBCOMP          <- PUBCOMP

An identifier is in use from `start` until the last packet of its exchange [MQTT-2.2.1-3]; new ones count upwards and
skip those in use, so that a late acknowledgement never meets a new message. `quota` is the send quota of section 4.9.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from broker.packets.reasons import ProtocolError, ReasonCode

if TYPE_CHECKING:
    from broker.core.journal import Exchange, Queued


NO_IDENTIFIERS: Final[deque[int]] = deque(maxlen=0)


class Outgoing:
    """What we have sent at QoS 1 and 2 and not seen through. Lives as long as its Session.

    `unacknowledged`: PUBLISH sent, in the order of sending. `released`: PUBREL sent. `resend`: identifiers of
    `unacknowledged` that this Network Connection has not seen yet; the quota may make them wait. `carried`: those of
    `released` whose PUBLISH was sent on an older one, so that they are no part of this one's quota.
    """

    __slots__ = ("carried", "last_identifier", "maximum", "quota", "released", "resend", "unacknowledged")

    def __init__(self) -> None:
        self.unacknowledged: dict[int, Queued] = {}
        self.released: dict[int, Exchange | None] = {}
        self.resend: deque[int] = NO_IDENTIFIERS
        self.carried: dict[int, None] = {}
        self.last_identifier = 0
        self.maximum = 0
        self.quota = 0

    def connected(self, maximum: int) -> list[int]:
        """A Network Connection begins, with this Receive Maximum. Returns the PUBRELs to send again, in order.

        All unacknowledged messages are due again [MQTT-4.4.0-1]; take them from `resend` as the quota allows.
        """
        self.maximum = self.quota = maximum
        self.resend = deque(self.unacknowledged) if self.unacknowledged else NO_IDENTIFIERS
        self.carried = dict.fromkeys(self.released)
        return list(self.released)

    def start(self, queued: Queued) -> int:
        """Begin an exchange; the quota must allow it. Returns its Packet Identifier."""
        unacknowledged = self.unacknowledged
        released = self.released
        identifier = self.last_identifier
        while True:
            identifier = identifier + 1 if identifier < 65535 else 1
            if identifier not in unacknowledged and identifier not in released:
                break
        self.last_identifier = identifier
        unacknowledged[identifier] = queued
        self.quota -= 1
        return identifier

    def full(self) -> bool:
        """Whether all Packet Identifiers are in use."""
        return len(self.unacknowledged) + len(self.released) >= 65535

    def puback(self, identifier: int) -> Queued | None:
        """PUBACK came; what it ended. An unknown identifier is let pass: its exchange is over."""
        queued = self.unacknowledged.get(identifier)
        if queued is None:
            return None
        if queued.message.qos != 1 and queued.delivery.maximum_qos != 1:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"PUBACK for QoS 2 message {identifier}")
        del self.unacknowledged[identifier]
        self._restore_quota(identifier)
        return queued

    def pubrec(self, identifier: int, reason: int) -> bool:
        """PUBREC came; whether the exchange is known. A reason >= 0x80 ends it [MQTT-4.3.3-4]."""
        queued = self.unacknowledged.get(identifier)
        if queued is None:
            return identifier in self.released
        if min(queued.message.qos, queued.delivery.maximum_qos) != 2:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"PUBREC for QoS 1 message {identifier}")
        del self.unacknowledged[identifier]
        if reason >= 0x80:
            self._restore_quota(identifier)
        else:
            if self._forget_resend(identifier):
                self.carried[identifier] = None
            self.released[identifier] = None
        return True

    def pubcomp(self, identifier: int) -> bool:
        """PUBCOMP came; whether it ended an exchange."""
        if identifier in self.unacknowledged:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"PUBCOMP before PUBREC for message {identifier}")
        if identifier not in self.released:
            return False
        self.released.pop(identifier)
        if identifier in self.carried:
            del self.carried[identifier]
        else:
            self.quota += 1
        return True

    def _restore_quota(self, identifier: int) -> None:
        """One more may be sent, unless it was sent on an older connection only [MQTT-3.3.4-9]."""
        if not self._forget_resend(identifier):
            self.quota += 1

    def _forget_resend(self, identifier: int) -> bool:
        # A Client may acknowledge on a new connection what it got on the old one, before we have sent it again.
        if self.resend and identifier in self.resend:
            self.resend.remove(identifier)
            return True
        return False
