"""`broker retained`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from broker.cli.admin.retained import SHOWN, payload_of, preview
from tests.cli.admin.conftest import Answering, answer, failure

if TYPE_CHECKING:
    from tests.cli.admin.conftest import Site
    from tests.cli.conftest import Command


def item(payload: bytes, **more: object) -> dict[str, object]:
    return {"topic": "t", "payload_base64": base64.b64encode(payload).decode(), **more}


def test_they_are_listed_by_filter(site: Site, command: Command) -> None:
    site.retain("list/1", b'{"x":  1}')
    site.retain("list/2", b"\x1b[2J")
    result = command("retained", "list", "list/+", "--url", site.url)
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()[1:]) == ['list/1    1      9  {"x":1}', "list/2    1      4  1b5b324a"]
    result = command("retained", "list", "list/+", "-o", "json", "--limit", "1", "--url", site.url)
    assert [each["qos"] for each in json.loads(result.stdout)] == [1]
    result = command("retained", "list", "none/#", "--url", site.url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No such retained message.\n")
    result = command("retained", "list", "a/#/b", "--url", site.url)
    assert result.exit_code == 1
    assert "Topic Filter" in result.stderr


def test_one_is_got_whole(site: Site, command: Command) -> None:
    payload = bytes(range(256)) * 40
    site.retain("got", payload)
    assert command("retained", "get", "got", "-o", "raw", "--url", site.url).stdout_bytes == payload
    site.retain("got/text", '{"t":"ü"}'.encode())
    result = command("retained", "get", "got/text", "--url", site.url)
    assert result.stdout == 'topic  got/text\nQoS    1\nsize   10 B\n\n{\n  "t": "ü"\n}\n'
    assert json.loads(command("retained", "get", "got/text", "-o", "json", "--url", site.url).stdout)["bytes"] == 10
    result = command("retained", "get", "not/there", "--url", site.url)
    assert (result.exit_code, result.stderr) == (1, "Error: There is no retained message of this topic.\n")


def test_one_is_deleted(site: Site, command: Command) -> None:
    site.retain("old", b"x")
    result = command("retained", "delete", "old", "--url", site.url)
    assert (result.exit_code, result.stdout) == (0, "1 retained message deleted.\n")
    assert command("retained", "delete", "old", "--url", site.url).exit_code == 1


def test_many_are_counted_and_deleted_only_by_who_says_so(site: Site, command: Command) -> None:
    for topic in ("many", "many/1", "many/2"):
        site.retain(topic, b"x")
    words = ("retained", "delete", "--recursive", "many/#", "--url", site.url)
    result = command(*words, stdin="n\n")
    assert result.exit_code == 1
    assert "Delete 3 retained messages of many/#?" in result.stderr
    result = command(*words, stdin="")
    assert result.exit_code == 1
    assert "--yes does not ask" in result.stderr
    result = command(*words, stdin="y\n")
    assert (result.exit_code, result.stdout) == (0, "3 retained messages deleted.\n")
    result = command(*words, "--yes")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No such retained message.\n")
    site.retain("many", b"x")
    assert json.loads(command(*words, "--yes", "-o", "json").stdout) == {"deleted": 1}


def test_where_the_count_changes_it_is_asked_for_anew_but_not_for_ever(command: Command) -> None:
    words = ("retained", "delete", "--recursive", "a/#", "--yes", "--url")
    conflicts = [failure(409, "no", count=count) for count in (3, 4)]
    with Answering(*conflicts, answer(200, {"deleted": 4})) as there:
        assert command(*words, there.url).stdout == "4 retained messages deleted.\n"
    assert [each.partition("?")[2] for each in there.asked] == [
        *("filter=a%2F%23", "filter=a%2F%23&expected=3", "filter=a%2F%23&expected=4")
    ]
    with Answering(*[failure(409, "no", count=count) for count in range(1, 9)]) as there:
        result = command(*words, there.url)
    assert result.exit_code == 1
    assert "changes all the time" in result.stderr


@pytest.mark.parametrize("words", [("get", "a/+"), ("get", ""), ("delete", "a/#"), ("delete", ""), ("a/#",)])
def test_mistakes_are_usage_errors(command: Command, words: tuple[str, ...]) -> None:
    assert command("retained", *words).exit_code == 2


def test_previews() -> None:
    assert preview(item(b"")) == ""
    assert preview(item(b"a\nb")) == "a\\nb"
    assert preview(item(b"x" * 100)) == "x" * (SHOWN - 1) + "…"
    assert preview(item(b"\xff\xfe", truncated=True)) == "\ufffd\ufffd…"
    assert preview(item(b"12", properties={"content_type": "text/plain"})) == "12"
    assert payload_of({"payload_base64": "?"}) == b""
    assert payload_of({"payload_base64": 5}) == b""
