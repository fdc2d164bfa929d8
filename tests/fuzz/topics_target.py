"""Topic Filters: who matches what, by section 4.7 as a regular expression, by the broker's tree, and in roles."""

from __future__ import annotations

import re
from functools import cache

from broker.auth.patterns import Extent
from broker.core.limits import Limits
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Subscription, SubscriptionTree
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import (
    check_topic_filter,
    check_topic_name,
    matches,
    split_share,
    valid_topic_filter,
    valid_topic_name,
)


def expression(topic_filter: str) -> re.Pattern[str]:
    """Section 4.7 as a regular expression; `topic_filter` is valid and not shared."""
    levels = topic_filter.split("/")
    last = ""
    if levels[-1] == "#":
        levels.pop()
        last = "(?:/.*)?" if levels else ".*"
    return re.compile("/".join("[^/]*" if level == "+" else re.escape(level) for level in levels) + last, re.DOTALL)


def should_match(topic_filter: str, topic: str) -> bool:
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    return expression(topic_filter).fullmatch(topic) is not None


@cache
def session(number: int) -> Session:
    return Session(f"s{number}", Limits(), Stats(), 1 << 30)


def target(data: bytes) -> None:
    """The lines but the last are Topic Filters, the last is a Topic Name."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    *lines, topic = text.split("\n")[:17]
    named = judged(topic, name=True)
    found = [split_share(line)[1] for line in lines if judged(line, name=False)]
    for topic_filter in found:
        assert valid_topic_filter(topic_filter)
        assert valid_topic_name(topic_filter) == (not set("+#") & set(topic_filter))
    if not named:
        return
    wanted = {number for number, topic_filter in enumerate(found) if should_match(topic_filter, topic)}
    assert {number for number, topic_filter in enumerate(found) if matches(topic_filter, topic)} == wanted
    tree = SubscriptionTree()
    kept = [Subscription(session(number), topic_filter, "", 0) for number, topic_filter in enumerate(found)]
    for subscription in kept:
        tree.add(subscription)
    assert {delivery.session.client_identifier for delivery in tree.plan(topic).deliveries} == {
        f"s{number}" for number in wanted
    }
    for subscription in kept:
        tree.remove(subscription)
    assert not tree.plan(topic).deliveries
    check_extents(found, topic)


def judged(text: str, name: bool) -> bool:
    """Whether the text is one; who refuses it raises ProtocolError and nothing else."""
    try:
        check_topic_name(text, 4096, 128) if name else check_topic_filter(text, 4096, 128)
    except ProtocolError as error:
        reason = error.reason
    else:
        return True
    invalid = ReasonCode.TOPIC_NAME_INVALID if name else ReasonCode.TOPIC_FILTER_INVALID
    assert reason in (ReasonCode.MALFORMED_PACKET, invalid)
    return False


def check_extents(filters: list[str], topic: str) -> None:
    """What a role allows: an Extent holds what its Topic Filter matches, and covers only filters that stay within."""
    names = topic.split("/")
    for allowed in filters:
        extent = Extent(allowed)
        holds = extent.holds(names)
        assert holds == should_match(allowed, topic)
        assert Extent(allowed, True).holds(names) >= holds
        assert extent.covers(allowed.split("/"))
        for asked in filters:
            levels = asked.split("/")
            if should_match(asked, topic):
                assert holds or not extent.covers(levels)
                assert not holds or extent.meets(levels)
