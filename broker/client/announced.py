"""What a Server announces in its CONNACK (section 3.2.2.3), and what may so not be sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.client.errors import PublishRefused
from broker.packets.reasons import ReasonCode
from broker.packets.topics import SHARE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.client.publications import Publication
    from broker.packets.types import Properties

NO_MAXIMUM: Final = 268_435_460  # bytes: the largest packet that MQTT can express


class Announced:
    """The abilities of the Server of one Network Connection; what it does not mention it has."""

    def __init__(self, properties: Properties) -> None:
        self.receive_maximum = properties.receive_maximum or 65_535
        self.maximum_packet_size = properties.maximum_packet_size or NO_MAXIMUM
        self.topic_alias_maximum = properties.topic_alias_maximum or 0
        self.maximum_qos = 2 if properties.maximum_qos is None else properties.maximum_qos
        self.retain_available = properties.retain_available != 0
        self.wildcard_subscription_available = properties.wildcard_subscription_available != 0
        self.shared_subscription_available = properties.shared_subscription_available != 0
        self.subscription_identifier_available = properties.subscription_identifier_available != 0

    def refusal(self, publication: Publication) -> PublishRefused | None:
        """Why this one must not be sent, if it must not."""
        if publication.qos > self.maximum_qos:  # [MQTT-3.2.2-11]
            return PublishRefused(ReasonCode.QOS_NOT_SUPPORTED, f"the Server's Maximum QoS is {self.maximum_qos}")
        if publication.retain and not self.retain_available:  # [MQTT-3.2.2-14]
            return PublishRefused(ReasonCode.RETAIN_NOT_SUPPORTED, "the Server retains nothing")
        if publication.topic_alias > self.topic_alias_maximum:  # [MQTT-3.2.2-17]
            detail = f"the Server's Topic Alias Maximum is {self.topic_alias_maximum}"
            return PublishRefused(ReasonCode.TOPIC_ALIAS_INVALID, detail)
        if publication.size > self.maximum_packet_size:  # [MQTT-3.2.2-15]
            detail = f"{publication.size} bytes; the Server takes {self.maximum_packet_size}"
            return PublishRefused(ReasonCode.PACKET_TOO_LARGE, detail)
        return None

    def unavailable(self, topic_filters: Sequence[str], size: int) -> dict[str, ReasonCode]:
        """Those of a SUBSCRIBE of `size` bytes that must not be asked for, and why."""
        if size > self.maximum_packet_size:  # [MQTT-3.2.2-15]
            return dict.fromkeys(topic_filters, ReasonCode.PACKET_TOO_LARGE)
        refused: dict[str, ReasonCode] = {}
        for topic_filter in topic_filters:
            if topic_filter.startswith(SHARE_PREFIX) and not self.shared_subscription_available:
                refused[topic_filter] = ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
            elif ("+" in topic_filter or "#" in topic_filter) and not self.wildcard_subscription_available:
                refused[topic_filter] = ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
        return refused
