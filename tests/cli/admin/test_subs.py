"""`broker subs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.admin.conftest import Answering, answer

if TYPE_CHECKING:
    from tests.cli.admin.conftest import Site
    from tests.cli.conftest import Command


def test_by_client_by_topic_and_by_text(site: Site, command: Command) -> None:
    def filters(*words: str) -> list[str]:
        result = command("subs", *words, "-o", "json", "--url", site.url)
        assert result.exit_code == 0
        return sorted(each["topic_filter"] for each in json.loads(result.stdout))

    with site.device("s1", "hall/+/lux", "hall/1/co2"), site.device("s2", "hall/1/#"):
        assert filters("--client", "s1") == ["hall/+/lux", "hall/1/co2"]
        assert filters("--topic", "hall/1/lux") == ["hall/+/lux", "hall/1/#"]
        assert filters("--filter", "co2") == ["hall/1/co2"]
        assert len(filters("--filter", "hall/", "--limit", "2")) == 2
        result = command("subs", "--client", "s2", "--url", site.url)
        assert result.stdout.splitlines() == ["CLIENT  TOPIC FILTER  QOS", "s2      hall/1/#        1"]
    result = command("subs", "--client", "nobody", "--url", site.url)
    assert (result.exit_code, result.stderr) == (0, "No such subscription.\n")


def test_options_of_a_subscription_are_named(command: Command) -> None:
    item = {"client_identifier": "a", "topic_filter": "t", "qos": 2, "no_local": True, "retain_as_published": True}
    with Answering(answer(200, {"total": 1, "items": [item | {"subscription_identifier": 7}]})) as there:
        result = command("subs", "--url", there.url)
    assert result.stdout.splitlines()[1].split("  ")[-1] == "no local, retain as published"
    assert "IDENTIFIER" in result.stdout


@pytest.mark.parametrize("topic", ["", "a/+", "#"])
def test_a_topic_is_a_topic_name(command: Command, topic: str) -> None:
    result = command("subs", "--topic", topic)
    assert result.exit_code == 2
    assert "Topic Name" in result.stderr
