"""Topic Aliases, both directions (section 3.3.2.3.4). They belong to a Network Connection and die with it."""

from __future__ import annotations

from broker.packets.reasons import ProtocolError, ReasonCode


class IncomingAliases:
    """What the Client has set. At most `maximum` of them, none larger [MQTT-3.3.2-9]."""

    __slots__ = ("_topics", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._topics: dict[int, str] = {}

    def resolve(self, alias: int, topic: str) -> str:
        """The Topic Name that is meant; a name that came along is remembered under the alias.

        Raises ProtocolError: 0x94 beyond our maximum, 0x82 for an alias that was never set.
        """
        if alias > self.maximum:
            raise ProtocolError(ReasonCode.TOPIC_ALIAS_INVALID, f"Topic Alias {alias}, maximum {self.maximum}")
        if topic:
            self._topics[alias] = topic
            return topic
        known = self._topics.get(alias)
        if known is None:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"Topic Alias {alias} was never set")
        return known


class OutgoingAliases:
    """What we set, learned from use. At most `maximum` [MQTT-3.1.2-26].

    While there are free ones, a topic gets an alias at its first message. When all are taken, a topic that is sent a
    second time gets the one that was used longest ago: topics that are sent once do not push out those in use.
    """

    __slots__ = ("_by_topic", "_seen", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._by_topic: dict[str, int] = {}  # in order of use
        self._seen: dict[str, None] = {}  # sent once, without an alias

    def use(self, topic: str) -> tuple[int, bool]:
        """(alias, whether the Topic Name must go along); alias 0: send without one."""
        by_topic = self._by_topic
        alias = by_topic.pop(topic, 0)
        if alias:
            by_topic[topic] = alias
            return alias, False
        if len(by_topic) < self.maximum:
            alias = len(by_topic) + 1
        elif topic in self._seen:
            del self._seen[topic]
            alias = by_topic.pop(next(iter(by_topic)))
        else:
            if len(self._seen) >= 4 * self.maximum:
                self._seen.clear()
            self._seen[topic] = None
            return 0, True
        by_topic[topic] = alias
        return alias, True

    def forget_all(self) -> None:
        """A packet that set an alias was not sent after all: begin anew; setting an alias again is allowed."""
        self._by_topic.clear()
        self._seen.clear()
