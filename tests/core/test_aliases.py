"""Topic Aliases, both directions."""

from __future__ import annotations

from random import Random

import pytest

from broker.core.aliases import IncomingAliases, OutgoingAliases
from broker.packets.reasons import ProtocolError, ReasonCode
from tests.statements import statement


@statement("MQTT5-3.3.2-12")
def test_every_alias_up_to_the_maximum_is_accepted() -> None:
    aliases = IncomingAliases(3)
    for alias in (1, 2, 3):
        assert aliases.resolve(alias, f"topic/{alias}") == f"topic/{alias}"
    for alias in (3, 1, 2):
        assert aliases.resolve(alias, "") == f"topic/{alias}"


def test_an_alias_may_be_set_anew() -> None:
    aliases = IncomingAliases(1)
    aliases.resolve(1, "old")
    assert aliases.resolve(1, "new") == "new"
    assert aliases.resolve(1, "") == "new"


@pytest.mark.parametrize(
    ("alias", "topic", "reason"),
    [
        (3, "a", ReasonCode.TOPIC_ALIAS_INVALID),
        (3, "", ReasonCode.TOPIC_ALIAS_INVALID),
        (65535, "a", ReasonCode.TOPIC_ALIAS_INVALID),
        (2, "", ReasonCode.PROTOCOL_ERROR),
    ],
)
def test_an_alias_beyond_the_maximum_or_never_set(alias: int, topic: str, reason: ReasonCode) -> None:
    aliases = IncomingAliases(2)
    aliases.resolve(1, "known")
    with pytest.raises(ProtocolError) as refused:
        aliases.resolve(alias, topic)
    assert refused.value.reason == reason
    assert aliases.resolve(1, "") == "known"


def test_the_first_use_sets_an_alias_and_the_second_leaves_the_name_out() -> None:
    aliases = OutgoingAliases(2)
    assert aliases.use("a") == (1, True)
    assert aliases.use("a") == (1, False)
    assert aliases.use("b") == (2, True)
    assert aliases.use("b") == (2, False)


def test_the_alias_unused_for_longest_goes_to_a_topic_that_comes_again() -> None:
    aliases = OutgoingAliases(2)
    for topic in ("a", "b"):
        aliases.use(topic)
    assert aliases.use("a") == (1, False)
    assert aliases.use("c") == (0, True)
    assert aliases.use("c") == (2, True)  # that of b
    assert aliases.use("b") == (0, True)
    assert aliases.use("a") == (1, False)


def test_topics_sent_once_do_not_pile_up_nor_push_out_those_in_use() -> None:
    aliases = OutgoingAliases(2)
    aliases.use("a")
    aliases.use("b")
    for number in range(1000):
        assert aliases.use(str(number)) == (0, True)
        assert len(aliases._seen) <= 8
    assert aliases.use("a") == (1, False)


def test_all_can_be_forgotten() -> None:
    aliases = OutgoingAliases(1)
    aliases.use("a")
    aliases.use("b")
    aliases.forget_all()
    assert aliases.use("b") == (1, True)
    assert aliases.use("b") == (1, False)


@statement("MQTT5-3.1.2-26", "MQTT5-3.3.2-11")
def test_the_receiver_can_follow() -> None:
    """Whatever is sent in whatever order, a receiver who keeps the mapping knows the topic of each message."""
    random = Random(7)
    for maximum in (1, 3, 16):
        aliases = OutgoingAliases(maximum)
        known: dict[int, str] = {}
        without_name = 0
        for _ in range(3000):
            topic = f"topic/{int(random.expovariate(0.2))}"
            alias, with_topic = aliases.use(topic)
            assert alias <= maximum
            if with_topic:
                if alias:
                    known[alias] = topic
            else:
                without_name += 1
                assert known[alias] == topic
        assert without_name > 100
