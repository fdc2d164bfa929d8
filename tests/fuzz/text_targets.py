"""Fuzz targets of what is text: Topic Filters, patterns of roles, password files, configuration files.

As in `wire_targets`, a target takes any bytes and returns; an exception is a find.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from broker.auth.hashing import HashMistake, read_hash
from broker.auth.passwords import ScramVerifier, parse
from broker.auth.patterns import Extent, Pattern, PatternError, misfit
from broker.config import Config
from broker.config.errors import ConfigError
from broker.config.load import load
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

PATH: Final = "users"
SECRET_BYTES: Final = 12  # what is shorter may stand in a message by chance


# -- Topic Filters


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


def topics(data: bytes) -> None:
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


def patterns(data: bytes) -> None:
    """A pattern, a Client Identifier and a user name, a line each: no name becomes syntax."""
    text, client_identifier, user_name = (data.decode("utf-8", "replace") + "\n\n").split("\n")[:3]
    try:
        pattern = Pattern(text)
    except PatternError:
        return
    for deny in (False, True):
        extent, fault = pattern.fill(client_identifier, user_name, deny)
        if extent is None:
            assert fault
            assert not deny
            continue
        assert valid_topic_filter(extent.text)
        assert len(extent.text.split("/")) == len(text.split("/")) or (deny and fault and extent.text[-1] == "#")
        wildcards = [level for level in extent.text.split("/") if level in ("+", "#")]
        written = [level for level in text.split("/") if level in ("+", "#")]
        assert wildcards == written or (deny and fault)
        if not fault and not pattern.personal:
            assert extent.text == text.replace("%%", "%")
        if not fault and "%c" in text.replace("%%", ""):
            assert not misfit(client_identifier)
            assert client_identifier in extent.text


# -- Password files


def passwords(data: bytes) -> None:
    """Every line is a user or a mistake, and no mistake shows what stands behind the name."""
    users, mistakes = parse(data, PATH)
    lines = data.split(b"\n")
    for name, user in users.items():
        assert user.name == name
        assert not re.search("[\x00-\x1f\x7f-\x9f:]", name)
        assert str(user).encode() == lines[user.line - 1].removesuffix(b"\r")
        assert read_hash(user.hash.text).text == user.hash.text
        assert user.hash.cost
        assert user.hash.text not in repr(user)
        if user.scram is not None:
            assert ScramVerifier.read(user.scram.text).text == user.scram.text
    assert mistakes == sorted(mistakes)
    for mistake in mistakes:
        assert 1 <= mistake.line <= len(lines)
        line = lines[mistake.line - 1].decode("utf-8", "replace")
        assert 1 <= mistake.column <= len(line) + 2
        name, _, secret = line.partition(":")
        assert len(secret) < SECRET_BYTES or secret in name or secret not in str(mistake)
    for text in data.decode("utf-8", "replace").split("\n"):
        try:
            written = read_hash(text).text
        except HashMistake as wrong:
            at = wrong.at
        else:
            at = 0
            assert written == text
        assert 0 <= at <= len(text)


# -- Configuration files


@cache
def file() -> Path:
    """One that is written anew for each input, and goes with the process."""
    made = NamedTemporaryFile(suffix=".toml", delete=False)  # noqa: SIM115
    made.close()
    return Path(made.name)


def configuration(data: bytes) -> None:
    """A configuration, or all mistakes at once, each with its place."""
    path = file()
    path.write_bytes(data)
    lines = len(data.splitlines()) + 1
    try:
        config = load(path, {})
    except ConfigError as error:
        mistakes = error.mistakes
    else:
        assert isinstance(config, Config)
        return
    assert mistakes
    for mistake in mistakes:
        assert mistake.message
        place = re.match(re.escape(str(path)) + r":(\d+):(\d+)", mistake.where)
        assert place is None or 1 <= int(place[1]) <= lines
