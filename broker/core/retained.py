"""Retained messages: one a Topic Name, read by Topic Filter.

The naive way, testing the filter against every retained topic, costs a second at a million topics and stops the world
meanwhile. So topics stand in a tree of levels, a filter visits only the branches that it can match, and the visit is
*lazy*: `read` yields one message at a time, whoever reads stops when the receiver's outbox is full and goes on when it
has drained. The tree may change in between: each node's children are listed when the reader reaches it, so a topic set
behind the reader comes to the subscriber as a live message and one removed ahead of it does not come at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from broker.core.journal import RetainedRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.journal import Journal
    from broker.core.message import ApplicationMessage


STRETCH = 64  # nodes visited between two answers of `read` (a guess)
UNKNOWN = math.inf  # of when a message came, where a Store has kept it from before
LEVEL_BYTES = 272  # of memory that a level of a topic takes where it holds no message itself (measured)


class Author:
    """Who has published a retained message: all that is needed to ask again, under other roles, whether he may.

    `roles` are those that his proof itself had given when he published.
    """

    __slots__ = ("client_identifier", "principal", "roles")

    def __init__(self, principal: str, client_identifier: str, roles: tuple[str, ...] = ()) -> None:
        self.principal = principal
        self.client_identifier = client_identifier
        self.roles = roles


class TopicNode:
    __slots__ = ("author", "children", "message", "row", "since")

    def __init__(self) -> None:
        self.children: dict[str, TopicNode] = {}
        self.message: ApplicationMessage | None = None
        self.author: Author | None = None  # of the message; None where it is not known, or the Server itself
        self.row: RetainedRow | None = None  # where a Store keeps it
        self.since = UNKNOWN  # monotonic seconds: when the message came


class RetainedMessages:
    """All retained messages, with their count and bytes kept as they change.

    `maximum_bytes` bounds the messages and the levels of their topics together: a message of one byte under 128 levels
    takes 33 KB, so that without them a few megabytes sent would be gigabytes kept.
    """

    def __init__(self, maximum_messages: int, maximum_bytes: int, journal: Journal | None = None) -> None:
        self._journal = journal
        self._root = TopicNode()
        self._dollar_root = TopicNode()
        self.count = 0
        self.bytes = 0
        self.levels = 0  # in both trees; one of each topic is counted with its message
        self.maximum_messages = maximum_messages
        self.maximum_bytes = maximum_bytes

    def set(self, message: ApplicationMessage, author: Author | None = None, now: float = UNKNOWN) -> bool:
        """Keep `message` in place of an older one of its topic [MQTT-3.3.1-5].

        False where a bound forbids it: then the older one goes too, for it is no longer true.
        """
        path = self._find(message.topic)
        old = path.message if path is not None else None
        more = message.size
        if old is not None:
            more -= old.size
        else:
            more += (self._missing(message.topic) - 1) * LEVEL_BYTES
        between = (self.levels - self.count) * LEVEL_BYTES
        if self.bytes + between + more > self.maximum_bytes or (old is None and self.count >= self.maximum_messages):
            self.remove(message.topic)
            return False
        node = self._place(message.topic)
        node.message = message
        node.author = author
        node.since = now
        self.bytes += message.size
        if old is None:
            self.count += 1
        else:
            self.bytes -= old.size
        journal = self._journal
        if journal is not None and not message.topic.startswith("$SYS/"):
            row = node.row
            if row is None:
                row = node.row = RetainedRow(message)
            row.message = message
            row.author = author
            journal.retain(row)
        return True

    def restore(self, row: RetainedRow) -> None:
        """Put back what a Store has kept; bounds are not looked at."""
        message = row.message
        node = self._place(message.topic)
        node.message = message
        node.author = row.author
        node.row = row
        node.since = UNKNOWN
        self.bytes += message.size
        self.count += 1

    def _place(self, topic: str) -> TopicNode:
        """The node of a topic, made if need be."""
        node = self._dollar_root if topic.startswith("$") else self._root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = TopicNode()
                self.levels += 1
            node = child
        return node

    def _missing(self, topic: str) -> int:
        """How many levels of `topic` there are not."""
        node = self._dollar_root if topic.startswith("$") else self._root
        levels = topic.split("/")
        for depth, level in enumerate(levels):
            child = node.children.get(level)
            if child is None:
                return len(levels) - depth
            node = child
        return 0

    def get(self, topic: str, now: float) -> ApplicationMessage | None:
        """The retained message of one Topic Name, if it has not expired."""
        node = self._find(topic)
        if node is None or node.message is None or node.message.expires_at <= now:
            return None
        return node.message

    def remove(self, topic: str) -> bool:
        """Forget the retained message of `topic` [MQTT-3.3.1-6]; whether there was one."""
        levels = topic.split("/")
        node = self._dollar_root if topic.startswith("$") else self._root
        path: list[TopicNode] = []
        for level in levels:
            child = node.children.get(level)
            if child is None:
                return False
            path.append(node)
            node = child
        if node.message is None:
            return False
        self.count -= 1
        self.bytes -= node.message.size
        node.message = None
        node.author = None
        if node.row is not None and self._journal is not None:
            self._journal.unretain(node.row)
            node.row = None
        for parent, level in zip(reversed(path), reversed(levels), strict=True):
            child = parent.children[level]
            if child.children or child.message is not None:
                break
            del parent.children[level]
            self.levels -= 1
        return True

    def holds(self, message: ApplicationMessage) -> bool:
        """Whether `message` is still the retained one of its topic."""
        node = self._find(message.topic)
        return node is not None and node.message is message

    def expire(self, message: ApplicationMessage) -> bool:
        """Forget `message` if it is still the retained one of its topic; whether it was."""
        return self.holds(message) and self.remove(message.topic)

    def read(self, topic_filter: str) -> Iterator[ApplicationMessage | None]:
        """The messages whose topic matches the filter (without `$share`), one by one; expired ones too.

        None stands for "a stretch of branches without a match": a reader with little time may go on later.
        """
        levels = topic_filter.split("/")
        last = len(levels)
        root = self._dollar_root if topic_filter.startswith("$") else self._root
        # Nodes to visit, level by level, and how many levels of the filter are behind them.
        stack: list[tuple[Iterator[TopicNode], int]] = [(iter((root,)), 0)]
        visited = 0
        while stack:
            nodes, at = stack[-1]
            node = next(nodes, None)
            if node is None:
                stack.pop()
                continue
            visited += 1
            if visited % STRETCH == 0:
                yield None
            if at == last:
                if node.message is not None:
                    yield node.message
                continue
            level = levels[at]
            if level == "#":
                if node.message is not None:
                    yield node.message
                if node.children:
                    stack.append((iter(list(node.children.values())), at))
            elif level == "+":
                if node.children:
                    stack.append((iter(list(node.children.values())), at + 1))
            else:
                found = node.children.get(level)
                if found is not None:
                    stack.append((iter((found,)), at + 1))

    def authored(self) -> Iterator[tuple[Author, str] | None]:
        """Author and topic of all messages that have one; None for a stretch without. Messages may come and go."""
        visited = 0
        for root in (self._root, self._dollar_root):
            stack = [iter((root,))]
            while stack:
                node = next(stack[-1], None)
                if node is None:
                    stack.pop()
                    continue
                visited += 1
                message, author = node.message, node.author
                if message is not None and author is not None:
                    yield author, message.topic
                elif visited % STRETCH == 0:
                    yield None
                if node.children:
                    stack.append(iter(list(node.children.values())))

    def since(self, topic: str) -> float:
        """When the message of that topic came, in monotonic seconds, or UNKNOWN."""
        node = self._find(topic)
        return node.since if node is not None else UNKNOWN

    def _find(self, topic: str) -> TopicNode | None:
        node = self._dollar_root if topic.startswith("$") else self._root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                return None
            node = child
        return node
